/** What the server process said of itself at one moment. */
export interface Sample {
  readonly atMs: number;
  /** After garbage collection. */
  readonly liveBytes: number;
  readonly rssBytes: number;
}

export interface Growth {
  readonly samples: number;
  /** Over the whole time that was watched, as the straight line through all samples has it. */
  readonly liveBytes: number;
  readonly rssBytes: number;
  readonly minutes: number;
}

/** Until then code is compiled and pools fill. */
const WARM_UP_SHARE = 0.3;
/** Less than that is noise, and what connections of another kind have at the moment. */
const LIVE_BYTES_MAX = 6 << 20;
const RSS_BYTES_MAX = 32 << 20;

/** How much memory grew in one server's life, once it was warm. */
export function growthOf(samples: readonly Sample[]): Growth {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP_SHARE));
  const minutes = warm.length < 2 ? 0 : (warm.at(-1)!.atMs - warm[0]!.atMs) / 60_000;
  return {
    samples: warm.length,
    minutes,
    liveBytes: slope(warm.map(({ atMs, liveBytes }) => [atMs, liveBytes])) * minutes * 60_000,
    rssBytes: slope(warm.map(({ atMs, rssBytes }) => [atMs, rssBytes])) * minutes * 60_000,
  };
}

/** Least squares: units of the second per unit of the first. */
function slope(points: readonly (readonly [number, number])[]): number {
  if (points.length < 2) return 0;
  const mean = (at: 0 | 1): number => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x0, y0] = [mean(0), mean(1)];
  let xy = 0, xx = 0;
  for (const [x, y] of points) {
    xy += (x - x0) * (y - y0);
    xx += (x - x0) ** 2;
  }
  return xx === 0 ? 0 : xy / xx;
}

/** What there still is when there should be nothing, and what grew. */
export function leaksIn(
  left: Readonly<Record<string, unknown>>,
  growth: Growth,
  kernelSockets: number,
  handlesBefore: Readonly<Record<string, number>>,
): string[] {
  const leaks: string[] = [];
  const none = [
    "awake",
    "asleep",
    "waking",
    "tcbs",
    "records",
    "timeWaits",
    "heldBytes",
    "queueBytes",
    "imagesLive",
  ];
  for (const name of none) if (left[name] !== 0) leaks.push(`${name}: ${left[name]}`);
  for (const [name, count] of Object.entries(left["handles"] as Record<string, number>)) {
    if (name !== "Timeout" && count > (handlesBefore[name] ?? 0) + 1) {
      leaks.push(`${name} handles: ${handlesBefore[name] ?? 0} at first, ${count} now`);
    }
  }
  const timers = (left["handles"] as Record<string, number>)["Timeout"] ?? 0;
  if (timers > (handlesBefore["Timeout"] ?? 0) + 4) leaks.push(`timers: ${timers}`);
  if (kernelSockets > 0) leaks.push(`sockets of the kernel: ${kernelSockets}`);
  if (growth.liveBytes > LIVE_BYTES_MAX) leaks.push(`live memory grew by ${growth.liveBytes} bytes`);
  if (growth.rssBytes > RSS_BYTES_MAX) leaks.push(`resident memory grew by ${growth.rssBytes} bytes`);
  return leaks;
}
