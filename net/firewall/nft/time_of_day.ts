const DAY_SECONDS = 86_400;

/** `meta hour`: seconds since midnight, UTC. */
export function secondOfDay(nowMs: number): number {
  return Math.floor(nowMs / 1_000) % DAY_SECONDS;
}

/** `meta time`: nanoseconds since 1970, the higher and the lower 32 bits of them. */
export function nanoseconds(nowMs: number, into: Int32Array, at: number): void {
  // In parts that are whole numbers in a double.
  const high = Math.floor(nowMs / 0x1_0000) * 1_000_000;
  const low = (high % 0x1_0000) * 0x1_0000 + (nowMs % 0x1_0000) * 1_000_000;
  into[at] = Math.floor(high / 0x1_0000) + Math.floor(low / 0x1_0000_0000);
  into[at + 1] = low % 0x1_0000_0000;
}

/** `meta day`: 0 is Sunday; 1970 began on a Thursday. */
export function weekday(nowMs: number): number {
  return (Math.floor(nowMs / 1_000 / DAY_SECONDS) + 4) % 7;
}
