import { TimerWheel } from "../../base/timer_wheel.ts";

/**
 * Deadlines of sleeping connections: retransmissions of what was in flight, keep-alives, the end of
 * TIME-WAIT. Most sleepers have none and cost nothing here.
 */
export class SleepTimers {
  readonly #wheel: TimerWheel;
  readonly #idOf = new Map<number, number>();
  readonly #recordOf: number[] = [];
  readonly #freeIds: number[] = [];

  constructor(nowMs: number) {
    this.#wheel = new TimerWheel(nowMs);
  }

  get size(): number {
    return this.#idOf.size;
  }

  set(record: number, deadlineMs: number): void {
    let id = this.#idOf.get(record);
    if (id === undefined) {
      id = this.#freeIds.pop() ?? this.#recordOf.length;
      this.#idOf.set(record, id);
      this.#recordOf[id] = record;
    }
    this.#wheel.schedule(id, deadlineMs);
  }

  clear(record: number): void {
    const id = this.#idOf.get(record);
    if (id === undefined) return;
    this.#wheel.cancel(id);
    this.#idOf.delete(record);
    this.#freeIds.push(id);
  }

  nextDeadlineMs(): number {
    return this.#wheel.nextDeadlineMs();
  }

  /** Calls `due` for every connection whose deadline has come, which clears it; for `countMax` at most, the rest wait. */
  advance(nowMs: number, due: (record: number) => void, countMax: number = Infinity): void {
    const ring = (id: number): void => {
      const record = this.#recordOf[id]!;
      this.clear(record);
      due(record);
    };
    this.#wheel.advance(nowMs, ring, countMax);
  }
}
