import { Prng } from "../../../base/random.ts";

/** Bounds of a chunk, in bytes. */
export const CHUNK_MIN = 4 * 1024;
export const CHUNK_MAX = 64 * 1024;
/** Up to here a border is rarer, and from here on more frequent: most chunks are about this long. */
const CHUNK_NORMAL = 16 * 1024;
/** So many high bits of the rolling hash are zero at a border. */
const RARE_BITS = 16;
const FREQUENT_BITS = 12;

/** A random word for each byte. A border depends on the last 32 bytes: each shifts the ones before out by one bit. */
const GEAR: Uint32Array = (() => {
  const prng = new Prng(0x70_72_6f_74);
  return Uint32Array.from({ length: 256 }, () => prng.below(2 ** 32));
})();

/**
 * Where the chunk that starts at `start` of `bytes` ends, by its content (FastCDC: gear hash, normalized): the same
 * content has the same borders wherever it lies in a file.
 * @param end No border lies beyond it.
 */
export function chunkEnd(bytes: Uint8Array, start: number, end: number): number {
  const last = Math.min(end, start + CHUNK_MAX);
  let at = start + CHUNK_MIN;
  if (at >= last) return last;
  const normal = Math.min(last, start + CHUNK_NORMAL);
  let hash = 0;
  for (let byte = at - 32; byte < at; byte++) hash = (hash << 1) + GEAR[bytes[byte]!]! | 0;
  for (; at < normal; at++) {
    if (hash >>> (32 - RARE_BITS) === 0) return at;
    hash = (hash << 1) + GEAR[bytes[at]!]! | 0;
  }
  for (; at < last; at++) {
    if (hash >>> (32 - FREQUENT_BITS) === 0) return at;
    hash = (hash << 1) + GEAR[bytes[at]!]! | 0;
  }
  return last;
}
