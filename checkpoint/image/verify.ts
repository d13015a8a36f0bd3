import { decodeCbor } from "./cbor.ts";
import { CborError, type Head, readHead } from "./cbor_head.ts";
import { BODY_BYTES_MAX, CHUNK_BYTES_MAX, readFrame, trailerHash } from "./frame.ts";
import { getHash, Hash64, hash64, HASH_BYTES, hashText } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";
import { located } from "./locate.ts";

/** What `verifyImage` found about one part. */
export interface PartReport {
  /** Which one. */
  readonly part: Part;
  /** Bytes `[start, end)` of the image. */
  readonly start: number;
  /** The byte behind it. */
  readonly end: number;
  /** Whether it is whole. */
  readonly ok: boolean;
  /** What is wrong, or the hash of a part that has one. */
  readonly detail: string;
}

/** What `verifyImage` found, part by part in their order. */
export interface Report {
  /** Whether it is whole. */
  readonly ok: boolean;
  /** Each part in its order. */
  readonly parts: readonly PartReport[];
}

/** Checks every part of an image and never throws: what is damaged is said, what is whole too. */
export function verifyImage(bytes: Uint8Array): Report {
  let frame;
  try {
    frame = readFrame(bytes);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const bad = located(bytes, error);
    return report([{ part: bad.part, start: bad.offset, end: bytes.length, ok: false, detail: bad.message }]);
  }
  const parts: PartReport[] = [];
  const found = trailerHash(bytes, frame);
  const need = getHash(bytes, frame.trailerStart);
  const sound = found === need;
  const bad = sound ? undefined : located(
    bytes,
    new ImageError("image", 0, `Cannot open image: it hashes to ${hashText(found)}, need ${hashText(need)}`),
  );
  const add = (part: Part, start: number, end: number, wrong: string | undefined, detail: string): void => {
    const told = bad?.part === part ? bad.message.replace("Cannot open image: ", "") : wrong;
    parts.push({ part, start, end, ok: told === undefined, detail: told ?? detail });
  };
  add("header", 0, frame.bodyStart, undefined, "");
  let wrongBody: string | undefined;
  try {
    decodeCbor(bytes.subarray(frame.bodyStart, frame.bodyEnd));
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    wrongBody = `not deterministic CBOR at byte ${frame.bodyStart + error.offset}: ${error.message}`;
  }
  add("body", frame.bodyStart, frame.bodyEnd, wrongBody, "");
  for (const [index, chunk] of frame.chunks.entries()) {
    const hash = hash64(bytes.subarray(chunk.start, chunk.end));
    const told = getHash(bytes, chunk.hashStart);
    const wrong = hash === told ? undefined : `hashes to ${hashText(hash)}, need ${hashText(told)}`;
    add(`chunk ${index}`, chunk.start, chunk.hashStart + HASH_BYTES, wrong, hashText(hash));
  }
  add("trailer", frame.trailerStart, frame.trailerStart + HASH_BYTES, undefined, hashText(need));
  if (bad && parts.every((part) => part.ok)) {
    parts.push({ part: bad.part, start: bad.offset, end: bytes.length, ok: false, detail: bad.message });
  }
  return report(parts);
}

function report(parts: PartReport[]): Report {
  return { ok: parts.every((part) => part.ok), parts };
}

/**
 * Checks an image that comes in pieces, in the memory of its largest part.
 *
 * @returns How many bytes it has.
 * @throws {ImageError} Naming the first damaged part. Damage to the header or body shows at the trailer.
 */
export async function verifyPieces(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number> {
  const input = new Pieces(pieces);
  const trailer = new Hash64();
  const head: Head = { major: 0, argument: 0, next: 0 };
  /** Takes one head of the frame and hashes it; reading it as far as it goes judges its form. */
  const takeHead = async (part: Part, major: number, argumentMax: number): Promise<number> => {
    const start = input.offset;
    const initial = (await input.peek(1, part))[0]!;
    const bytes = await input.peek(1 + ((initial & 31) < 24 ? 0 : 1 << (initial & 3)), part);
    try {
      readHead(bytes, 0, head);
    } catch (error) {
      throw new ImageError(part, start, `Cannot open image: ${part} at byte ${start} is damaged`, {
        cause: error,
      });
    }
    if (head.major !== major || head.argument > argumentMax) {
      throw new ImageError(part, start, `Cannot open image: ${part} at byte ${start} is damaged`);
    }
    trailer.update(input.take(head.next));
    return head.argument;
  };
  const takeHash = async (part: Part): Promise<bigint> => {
    await takeHead(part, 2, HASH_BYTES);
    const bytes = await input.peek(HASH_BYTES, part);
    return getHash(bytes, 0);
  };
  // The start of the frame is judged by the same code as a whole image: up to the body it needs no more.
  const tag = await takeHead("header", 6, 55799);
  const items = await takeHead("header", 4, 6);
  if (tag !== 55799 || items !== 6) throw new ImageError("header", 0, "Cannot open image: this is no image");
  for (let field = 0; field < 3; field++) await takeHead("header", 0, 0xffff);
  const bodyBytes = await takeHead("header", 2, BODY_BYTES_MAX);
  await input.peek(bodyBytes, "body");
  trailer.update(input.take(bodyBytes));
  const count = await takeHead("chunks", 4, 2 ** 20);
  for (let index = 0; index < count; index++) {
    const part: Part = `chunk ${index}`;
    await takeHead(part, 4, 2);
    const length = await takeHead(part, 2, CHUNK_BYTES_MAX);
    const start = input.offset;
    await input.peek(length, part);
    const found = hash64(input.take(length));
    const need = await takeHash(part);
    trailer.update(input.take(HASH_BYTES));
    if (found !== need) {
      throw new ImageError(
        part,
        start,
        `Cannot open image: ${part} at byte ${start} hashes to ${hashText(found)}, need ${hashText(need)}`,
      );
    }
  }
  const need = await takeHash("trailer");
  const found = trailer.digest();
  if (found !== need) {
    throw new ImageError(
      "image",
      0,
      `Cannot open image: it hashes to ${hashText(found)}, its trailer at byte ${input.offset} says ${
        hashText(need)
      }`,
    );
  }
  input.take(HASH_BYTES);
  if (!(await input.ended())) {
    throw new ImageError("image", input.offset, `Cannot open image: it goes on after byte ${input.offset}`);
  }
  return input.offset;
}

/** Bytes that arrive in pieces, looked at and taken in runs of any length. */
class Pieces {
  offset = 0;
  #from: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#from = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  }

  /** At least `length` bytes that have not been taken. */
  async peek(length: number, part: Part): Promise<Uint8Array> {
    if (this.#held.length >= length) return this.#held;
    const gathered = [this.#held];
    let have = this.#held.length;
    while (have < length) {
      const next = await this.#from.next();
      if (next.done) {
        const at = this.offset + have;
        throw new ImageError(part, at, `Cannot open image: it ends at byte ${at}, within ${part}`);
      }
      gathered.push(next.value);
      have += next.value.length;
    }
    this.#held = new Uint8Array(have);
    let at = 0;
    for (const piece of gathered) {
      this.#held.set(piece, at);
      at += piece.length;
    }
    return this.#held;
  }

  /** Takes bytes that `peek` has promised; valid until the next call. */
  take(length: number): Uint8Array {
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    this.offset += length;
    return taken;
  }

  async ended(): Promise<boolean> {
    while (this.#held.length === 0) {
      const next = await this.#from.next();
      if (next.done) return true;
      this.#held = next.value;
    }
    return false;
  }
}
