import { Histogram } from "../base/histogram.ts";

/** What woke a connection: news from its peer, a deadline of its own, or the application, who wrote or closed. */
export type WakeReason = "packet" | "timer" | "application";

/** Wakes of which it is remembered when they began, at a time. More wait only in a herd, of which these are a sample. */
const STARTS_MAX = 4_096;

/** Why connections woke, and how long that took from the first wish until they were awake. */
export class WakeTimes {
  readonly counts: Record<WakeReason, number> = { packet: 0, timer: 0, application: 0 };
  readonly seconds: Histogram = new Histogram();
  readonly #starts = new Map<number, { atMs: number; reason: WakeReason }>(); // by record

  began(record: number, reason: WakeReason, nowMs: number): void {
    this.counts[reason]++;
    if (this.#starts.size < STARTS_MAX) this.#starts.set(record, { atMs: nowMs, reason });
  }

  /** What is known of a wake that is over; nothing of those that were not in the sample. */
  ended(record: number, nowMs: number): { reason: WakeReason; tookMs: number } | undefined {
    const start = this.#starts.get(record);
    if (start === undefined) return undefined;
    this.#starts.delete(record);
    const tookMs = Math.max(0, nowMs - start.atMs);
    this.seconds.record(tookMs / 1_000);
    return { reason: start.reason, tookMs };
  }

  forget(record: number): void {
    this.#starts.delete(record);
  }
}
