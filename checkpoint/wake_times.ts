import { Histogram } from "../base/histogram.ts";

/** What woke a connection: news from its peer, a deadline of its own, or the application, who wrote or closed. */
export type WakeReason = "packet" | "timer" | "application";

/** Wakes of which it is remembered when they began, at a time. More wait only in a herd, of which these are a sample. */
const STARTS_MAX = 4_096;

/** Why connections woke, and how long that took from the first wish until they were awake. */
export class WakeTimes {
  readonly counts: Record<WakeReason, number> = { packet: 0, timer: 0, application: 0 };
  readonly seconds: Histogram = new Histogram();
  /** By record: its place in what follows. */
  readonly #starts = new Map<number, number>();
  readonly #atMs = new Float64Array(STARTS_MAX);
  readonly #reasons: WakeReason[] = [];
  /** Places that nobody has, below how many have been used. */
  readonly #free: number[] = [];

  began(record: number, reason: WakeReason, nowMs: number): void {
    this.counts[reason]++;
    if (this.#starts.size >= STARTS_MAX) return;
    const known = this.#starts.get(record);
    const place = known ?? this.#free.pop() ?? this.#starts.size;
    this.#atMs[place] = nowMs;
    this.#reasons[place] = reason;
    if (known === undefined) this.#starts.set(record, place);
  }

  /** What is known of a wake that is over; nothing of those that were not in the sample. */
  ended(record: number, nowMs: number): { reason: WakeReason; tookMs: number } | undefined {
    const place = this.#starts.get(record);
    if (place === undefined) return undefined;
    this.forget(record);
    const tookMs = Math.max(0, nowMs - this.#atMs[place]!);
    this.seconds.record(tookMs / 1_000);
    return { reason: this.#reasons[place]!, tookMs };
  }

  forget(record: number): void {
    const place = this.#starts.get(record);
    if (place === undefined) return;
    this.#starts.delete(record);
    this.#free.push(place);
  }
}
