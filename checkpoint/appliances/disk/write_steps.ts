import fs from "node:fs";
import { type Digest, readFileAt } from "./contents.ts";
import type { Meter, WorkOptions } from "./progress.ts";
import { writeAll } from "./spool.ts";
import type { Done } from "./unfinished.ts";

/** A file in parts that are each written at once: what is skipped is never read. The same work has the same steps. */
export type Steps = Iterable<Iterable<Uint8Array>>;

/** Options of whoever writes a tree. */
export interface WriteOptions extends WorkOptions {
  /** Steps, and bytes, after which progress is made durable and noted; for tests. */
  readonly batchSteps?: number;
  readonly batchBytes?: number;
}

/** So many steps, or bytes, are at most done again after a kill. */
export const BATCH_STEPS = 5_000;
export const BATCH_BYTES = 256 * 1024 * 1024;

/** Read again at once, of what an earlier run has written. */
const PIECE_BYTES = 1024 * 1024;

/** How a file is written in steps. */
export interface StepsOptions extends WriteOptions {
  readonly meter: Meter;
  /** Of the file, when it is new. */
  readonly mode: number;
  /** What an earlier run has done of it. */
  readonly done?: Pick<Done, "steps" | "bytes"> | undefined;
  /** Takes all of the file's bytes, those too that were there. */
  readonly digest?: Digest;
  /** Called when what it says is durable. */
  note(steps: number, bytes: number): void;
}

/**
 * Writes a file step by step, durably, and goes on behind what is done.
 * @returns Its steps and bytes, and how many steps were done already.
 */
export async function writeSteps(
  path: string,
  steps: Steps,
  options: StepsOptions,
): Promise<{ steps: number; bytes: number; resumed: number }> {
  const { meter, digest, batchSteps = BATCH_STEPS, batchBytes = BATCH_BYTES } = options;
  const there = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  // A file that is shorter than the note says is not the one that it speaks of.
  const done = options.done !== undefined && options.done.bytes <= there
    ? options.done
    : { steps: 0, bytes: 0 };
  const file = fs.openSync(path, done.bytes === 0 ? "w+" : "r+", options.mode);
  try {
    fs.ftruncateSync(file, done.bytes);
    if (digest !== undefined) await takeIn(digest, file, path, done.bytes, meter);
    let count = 0, bytes = done.bytes;
    let noted = done;
    for (const step of steps) {
      if (count++ < done.steps) continue;
      for (const piece of step) {
        writeAll(file, piece, bytes);
        digest?.update(piece);
        bytes += piece.length;
        await meter.add(piece.length);
      }
      if (count - noted.steps < batchSteps && bytes - noted.bytes < batchBytes) continue;
      fs.fsyncSync(file);
      noted = { steps: count, bytes };
      options.note(count, bytes);
    }
    fs.fsyncSync(file);
    return { steps: count, bytes, resumed: done.steps };
  } finally {
    fs.closeSync(file);
  }
}

async function takeIn(
  digest: Digest,
  file: number,
  path: string,
  bytes: number,
  meter: Meter,
): Promise<void> {
  const readAt = readFileAt(file, path);
  const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes));
  for (let at = 0; at < bytes; at += piece.length) {
    const some = piece.subarray(0, Math.min(piece.length, bytes - at));
    readAt(at, some);
    digest.update(some);
    await meter.add(0);
  }
}
