import { TimerWheel } from "../../base/timer_wheel.ts";
import { RecordRows } from "./record_rows.ts";

/** Timers per wheel: a wheel copies its arrays when it grows, and a megabyte takes no time. */
const WHEEL_BITS = 16;
const WHEEL_TIMERS = 1 << WHEEL_BITS;

/**
 * Deadlines of sleeping connections: retransmissions of what was in flight, keep-alives, the end of
 * TIME-WAIT. 25 bytes for each; most sleepers have none and cost nothing here.
 */
export class SleepTimers {
  readonly #rows = new RecordRows();
  readonly #wheels: TimerWheel[] = []; // by row
  #nowMs: number;
  #nextMs = Infinity; // of all wheels; NaN when it must be looked up

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#rows.size;
  }

  set(record: number, deadlineMs: number): void {
    const row = this.#rows.add(record);
    const wheel = this.#wheels[row >>> WHEEL_BITS] ??= new TimerWheel(this.#nowMs);
    wheel.schedule(row & (WHEEL_TIMERS - 1), deadlineMs);
    this.#nextMs = NaN;
  }

  clear(record: number): void {
    const row = this.#rows.remove(record);
    if (row < 0) return;
    this.#wheels[row >>> WHEEL_BITS]!.cancel(row & (WHEEL_TIMERS - 1));
    this.#nextMs = NaN;
  }

  nextDeadlineMs(): number {
    if (Number.isNaN(this.#nextMs)) {
      this.#nextMs = Infinity;
      for (const wheel of this.#wheels) this.#nextMs = Math.min(this.#nextMs, wheel.nextDeadlineMs());
    }
    return this.#nextMs;
  }

  /**
   * Calls `due` for every connection whose deadline has come, which clears it; for `countMax` at most, the rest wait.
   * Of more than 65,536 timers those come first whose wheel has waited longest.
   */
  advance(nowMs: number, due: (record: number) => void, countMax: number = Infinity): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if (this.nextDeadlineMs() > nowMs) return;
    let left = countMax;
    const at = this.#wheels.map((wheel, index) => ({ wheel, index, nextMs: wheel.nextDeadlineMs() }));
    try {
      for (const { wheel, index, nextMs } of at.sort((a, b) => a.nextMs - b.nextMs || a.index - b.index)) {
        if (nextMs > nowMs || left <= 0) return;
        const ring = (id: number): void => {
          left--;
          const record = this.#rows.recordOf((index << WHEEL_BITS) | id);
          this.#rows.remove(record);
          due(record);
        };
        wheel.advance(nowMs, ring, left);
      }
    } finally {
      this.#nextMs = NaN;
    }
  }
}
