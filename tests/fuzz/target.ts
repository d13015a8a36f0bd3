import type { Prng } from "../../base/random.ts";

/** Something that takes bytes, and a judgement of what it does with them. */
export interface Target {
  readonly name: string;
  /** What is attacked and who judges, for `--list`. */
  readonly about: string;
  /** Returns when all is well; whatever it throws is a bug. */
  run(input: Uint8Array<ArrayBuffer>): void | Promise<void>;
  /** Inputs to begin with. */
  seeds(): Iterable<Uint8Array>;
  /** Words worth inserting. */
  readonly dictionary?: readonly (string | Uint8Array)[];
  /** Longer inputs are not tried; 512 when left out. */
  readonly bytesMax?: number;
  /** Bytes that an input of `length` bytes may make it ask for; 64 KiB and 64 a byte when left out. */
  allocationMax?(length: number): number;
  /** Loop turns and calls of one input; a million and 2,000 a byte when left out. */
  workMax?(length: number): number;
  /** Puts right what would else be refused at the door: checksums, hashes, lengths. */
  mend?(input: Uint8Array<ArrayBuffer>, prng: Prng): Uint8Array<ArrayBuffer>;
}

export const BYTES_MAX = 512;

export function allocationMaxOf(target: Target, length: number): number {
  return target.allocationMax?.(length) ?? 65_536 + 64 * length;
}

export function workMaxOf(target: Target, length: number): number {
  return target.workMax?.(length) ?? 1_000_000 + 2_000 * length;
}
