/**
 * The position of the last start at or below `key`, in a rising list whose first member is at or
 * below every key: which interval `key` lies in.
 *
 * Addresses are kept in order as signed integers: see `addressKey`.
 */
export function intervalOf(starts: Int32Array, key: number): number {
  let low = 0;
  let count = starts.length;
  while (count > 1) {
    const half = count >> 1;
    if (starts[low + half]! <= key) low += half;
    count -= half;
  }
  return low;
}

/** Maps addresses to signed integers of the same order: 0.0.0.0 is the lowest. */
export function addressKey(address: number): number {
  return address ^ 0x8000_0000;
}
