import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import process from "node:process";
import { Readable } from "node:stream";
import type { Transform } from "node:stream";
import zlib from "node:zlib";
import { Decompress } from "fzstd";
import { refuse } from "../appliance_error.ts";
import { ByteStream } from "../tar/byte_stream.ts";

/** Read at a time. */
const PIECE_BYTES = 1024 * 1024;
/** Of what a program says when it fails, this many characters are passed on. */
const WORDS_MAX = 2_000;

/** The bytes of a file. */
export function streamFile(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: PIECE_BYTES });
}

/**
 * What `source` holds without the compression around it, which its first bytes tell: gzip, zstd, or none.
 * @param what Names it in errors.
 * @throws {ApplianceError} When it is compressed in another way, or damaged.
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array, void, void> {
  const { first, all } = await peeked(source, 6);
  const begins = (...bytes: number[]): boolean => bytes.every((byte, at) => first[at] === byte);
  if (begins(0x1f, 0x8b)) yield* through(zlib.createGunzip({ chunkSize: PIECE_BYTES }), all, what, "gzip");
  else if (begins(0x28, 0xb5, 0x2f, 0xfd)) {
    const ours = (zlib as { createZstdDecompress?: (options: object) => Transform }).createZstdDecompress;
    // What Node 20 has not: there a library does it, at a fifth of the speed.
    if (ours === undefined) yield* unzstd(all, what);
    else yield* through(ours({ chunkSize: PIECE_BYTES }), all, what, "zstd");
  } else if (begins(0xfd, 0x37, 0x7a, 0x58) || begins(0x42, 0x5a, 0x68)) {
    refuse("format", `Cannot read ${what}: it is compressed with ${first[0] === 0x42 ? "bzip2" : "xz"}`);
  } else yield* all;
}

/** What comes out of `transform` when all of `source` goes in. */
async function* through(
  transform: Transform,
  source: AsyncIterable<Uint8Array>,
  what: string,
  form: string,
): AsyncGenerator<Uint8Array, void, void> {
  let failed: unknown;
  const input = Readable.from(source, { objectMode: false });
  input.on("error", (error) => {
    failed = error; // the source's own mistake, not one of the form
    transform.destroy(error);
  });
  try {
    yield* input.pipe(transform);
  } catch (error) {
    if (failed !== undefined) throw failed;
    const why = error instanceof Error ? error.message : String(error);
    refuse("format", `Cannot read ${what}: its ${form} stream is damaged: ${why}`, { cause: error });
  } finally {
    input.destroy();
    transform.destroy();
  }
}

/** The first bytes of a stream, as many as asked for or all, and the whole of it. */
async function peeked(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): Promise<{ first: Uint8Array; all: AsyncIterable<Uint8Array> }> {
  const stream = new ByteStream(source);
  const first = (await stream.take(bytes))?.slice() ?? (await stream.some(bytes))?.slice() ??
    new Uint8Array(0);
  return {
    first,
    all: (async function* () {
      if (first.length > 0) yield first;
      for (let piece = await stream.some(Infinity); piece; piece = await stream.some(Infinity)) yield piece;
    })(),
  };
}

async function* unzstd(
  source: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array, void, void> {
  let out: Uint8Array[] = [];
  let whole = false;
  const stream = new Decompress((piece, final) => {
    if (piece.length > 0) out.push(piece);
    whole = final === true;
  });
  const step = (piece: Uint8Array, final: boolean): void => {
    try {
      // It keeps views of what it is given.
      stream.push(piece.slice(), final);
    } catch (error) {
      refuse("format", `Cannot read ${what}: its zstd stream is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  for await (const piece of source) {
    step(piece, false);
    yield* out;
    out = [];
  }
  step(new Uint8Array(0), true);
  yield* out;
  if (!whole) refuse("format", `Cannot read ${what}: its zstd stream is cut off`);
}

/** A program of the system that runs, and how it ends. */
export interface Running {
  readonly child: ChildProcess;
  /** Resolves when it has ended well. */
  readonly ended: Promise<void>;
}

/**
 * Starts a program of the system. What it prints to standard error is in the refusal when it fails.
 * @param stdin Whether it is written to; else it is read from.
 */
export function run(program: string, args: readonly string[], stdin: boolean): Running {
  const child = spawn(program, args, {
    stdio: [stdin ? "pipe" : "ignore", stdin ? "ignore" : "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
  });
  let words = "";
  child.stderr!.on("data", (piece: Uint8Array) => {
    if (words.length < WORDS_MAX) words += new TextDecoder().decode(piece);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (error) => reject(asRefusal(error, `Cannot run ${program}: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else {reject(
          asRefusal(undefined, `${program} failed (${signal ?? code}): ${words.trim().slice(0, WORDS_MAX)}`),
        );}
    });
  });
  ended.catch(() => {}); // whoever awaits it hears of it
  return { child, ended };
}

function asRefusal(cause: unknown, message: string): Error {
  try {
    return refuse("system", message, cause === undefined ? {} : { cause });
  } catch (error) {
    return error as Error;
  }
}

/** What a program of the system prints, to its end. */
export async function* printed(
  program: string,
  args: readonly string[],
): AsyncGenerator<Uint8Array, void, void> {
  const { child, ended } = run(program, args, false);
  try {
    yield* child.stdout! as AsyncIterable<Uint8Array>;
    await ended;
  } finally {
    child.kill();
  }
}
