import type { Interval } from "./classifier.ts";

/** All values of so many bits. */
export function everything(bits: number): Interval[] {
  return [{ low: 0n, high: (1n << BigInt(bits)) - 1n }];
}

/** The same values as disjoint intervals in rising order, none touching the next. */
export function merged(intervals: readonly Interval[]): Interval[] {
  const result: { low: bigint; high: bigint }[] = [];
  for (const { low, high } of [...intervals].sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0))) {
    const last = result.at(-1);
    if (last !== undefined && low <= last.high + 1n) {
      if (high > last.high) last.high = high;
    } else result.push({ low, high });
  }
  return result;
}

/** All other values of so many bits. */
export function complement(intervals: readonly Interval[], bits: number): Interval[] {
  const result: Interval[] = [];
  let from = 0n;
  for (const { low, high } of intervals) {
    if (low > from) result.push({ low: from, high: low - 1n });
    from = high + 1n;
  }
  const end = (1n << BigInt(bits)) - 1n;
  if (from <= end) result.push({ low: from, high: end });
  return result;
}

/** The values that are in both. */
export function intersection(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const one = a[i]!;
    const other = b[j]!;
    const low = one.low > other.low ? one.low : other.low;
    const high = one.high < other.high ? one.high : other.high;
    if (low <= high) result.push({ low, high });
    if (one.high < other.high) i++;
    else j++;
  }
  return result;
}
