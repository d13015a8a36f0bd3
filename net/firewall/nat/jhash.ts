/** What Linux adds to the length and the seed (`JHASH_INITVAL`). */
const INITIAL = 0xdead_beef;
/** A word after the first three. */
const ROUND = 3;

/**
 * Bob Jenkins' lookup3 of four words, as Linux's `jhash2()` computes it: NAT chooses an address out of a range with
 * it, so that a client has the same one as behind a Linux router. For nothing else: it is not keyed.
 *
 * @returns int32.
 */
export function jhash4(words: Int32Array, seed: number): number {
  let a = (INITIAL + (4 << 2) + seed) | 0;
  let b = a, c = a;
  a = (a + words[0]!) | 0;
  b = (b + words[1]!) | 0;
  c = (c + words[2]!) | 0;
  // mix
  a = ((a - c) ^ rotate(c, 4)) | 0;
  c = (c + b) | 0;
  b = ((b - a) ^ rotate(a, 6)) | 0;
  a = (a + c) | 0;
  c = ((c - b) ^ rotate(b, 8)) | 0;
  b = (b + a) | 0;
  a = ((a - c) ^ rotate(c, 16)) | 0;
  c = (c + b) | 0;
  b = ((b - a) ^ rotate(a, 19)) | 0;
  a = (a + c) | 0;
  c = ((c - b) ^ rotate(b, 4)) | 0;
  b = (b + a) | 0;
  a = (a + words[ROUND]!) | 0;
  // final
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  return ((c ^ b) - rotate(b, 24)) | 0;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
