/**
 * Order of 32-bit sequence numbers and timestamps (RFC 9293 section 3.4, RFC 1982).
 *
 * Sequence numbers are kept as signed 32-bit integers (`x | 0`), which JavaScript engines hold
 * without allocating; these functions accept signed and unsigned alike. Print with `x >>> 0`.
 * `a` is before `b` when it is less than 2^31 steps behind it.
 */

/** `a < b` in sequence space. */
export function seqLess(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** `a <= b` in sequence space. */
export function seqLessEqual(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}
