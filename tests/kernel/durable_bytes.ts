/** The byte at `at` of a client's stream. */
export function durableByte(at: number): number {
  return (at * 7 + (at >>> 8) * 3 + (at >>> 16)) & 0xff;
}
