/** Upper bounds of the buckets, in seconds, for what takes from microseconds to seconds: each about twice the one before. */
export const SECONDS_BOUNDS: readonly number[] = [
  ...[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005],
  ...[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
];

/**
 * How long things took, counted in buckets: a number of fixed size, however many there were.
 *
 * @example
 * ```ts
 * import { Histogram } from "@torpor/torpor/base/histogram.ts";
 * const took = new Histogram();
 * took.record(0.003);
 * console.log(took.count, took.quantile(0.5)); // 1 0.005
 * ```
 */
export class Histogram {
  /** The upper bounds of the buckets, ascending. */
  readonly bounds: readonly number[];
  readonly #counts: Float64Array; // the last one: above all bounds
  #count = 0;
  #sum = 0;

  /** An empty one; by default for seconds. */
  constructor(bounds: readonly number[] = SECONDS_BOUNDS) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Counts a value. */
  record(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > this.bounds[at]!) at++;
    this.#counts[at]!++;
    this.#count++;
    this.#sum += value;
  }

  /** How many were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Of all that were recorded. */
  get sum(): number {
    return this.#sum;
  }

  /** How many were at most each bound, as Prometheus counts them; the last entry is all of them. */
  cumulative(): number[] {
    let sum = 0;
    return [...this.#counts].map((count) => sum += count);
  }

  /** The bound that this share of all values does not exceed: 0 when there are none, `Infinity` above the last bound. */
  quantile(share: number): number {
    if (this.#count === 0) return 0;
    const wanted = Math.ceil(share * this.#count);
    return this.bounds[this.cumulative().findIndex((count) => count >= wanted)] ?? Infinity;
  }
}
