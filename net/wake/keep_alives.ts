import type { Tcb } from "../tcp/tcb.ts";

/**
 * Sleepers with keep-alive: when their peers were heard last. Each sign of life puts off the next probe,
 * as it does for who is awake, and wakes nobody. Other sleepers cost nothing here. A crash forgets it: the
 * next process asks a little early.
 */
export class SleepingKeepAlives {
  readonly #sleepers = new Map<number, { readonly idleMs: number; heardAtMs: number }>(); // by record

  get size(): number {
    return this.#sleepers.size;
  }

  /** `tcb` goes to sleep in `record`. */
  add(record: number, tcb: Tcb): void {
    if (tcb.keepAlive) this.#sleepers.set(record, { idleMs: tcb.keepAliveIdleMs, heardAtMs: NaN });
    else this.#sleepers.delete(record);
  }

  /** The peer has shown life. @returns When the next probe is due. */
  heard(record: number, nowMs: number): number {
    const sleeper = this.#sleepers.get(record);
    if (sleeper === undefined) return Infinity;
    sleeper.heardAtMs = nowMs;
    return nowMs + sleeper.idleMs;
  }

  /** Tells the thawed TCB what was heard, and forgets it. */
  take(record: number, tcb: Tcb): void {
    const sleeper = this.#sleepers.get(record);
    if (sleeper === undefined) return;
    this.#sleepers.delete(record);
    if (Number.isNaN(sleeper.heardAtMs)) return; // the image's deadline holds
    tcb.keepAlives = 0;
    tcb.keepAliveAtMs = sleeper.heardAtMs + sleeper.idleMs;
  }
}
