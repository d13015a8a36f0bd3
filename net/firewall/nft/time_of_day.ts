const DAY_SECONDS = 86_400;

/** `meta hour`: seconds since midnight, UTC. */
export function secondOfDay(nowMs: number): number {
  return Math.floor(nowMs / 1_000) % DAY_SECONDS;
}

/** `meta day`: 0 is Sunday; 1970 began on a Thursday. */
export function weekday(nowMs: number): number {
  return (Math.floor(nowMs / 1_000 / DAY_SECONDS) + 4) % 7;
}
