import type { Alarm, Clock, VirtualClock } from "../../base/clock.ts";

/**
 * One machine's idea of the world's time: its clock may be set wrong, its processes may be stopped for a
 * while (as by SIGSTOP, or a laptop's lid), and a dead process hears no alarm.
 */
export class NodeClock implements Clock {
  /** What this clock is ahead of the world's, milliseconds. */
  readonly aheadMs: number;
  dead = false;
  readonly #world: VirtualClock;
  readonly #waiting: (() => void)[] = [];
  #stopped = false;

  constructor(world: VirtualClock, aheadMs = 0) {
    this.#world = world;
    this.aheadMs = aheadMs;
  }

  nowMs(): number {
    return this.#world.nowMs() + this.aheadMs;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  at(deadlineMs: number, callback: () => void): Alarm {
    let cancelled = false;
    const ring = (): void => {
      if (cancelled || this.dead) return;
      if (this.#stopped) this.#waiting.push(ring);
      else callback();
    };
    const alarm = this.#world.at(deadlineMs - this.aheadMs, ring);
    return {
      cancel: () => {
        cancelled = true;
        alarm.cancel();
      },
    };
  }

  /** Nothing of this machine runs until `proceed`; time goes on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Alarms that came due meanwhile ring now. */
  proceed(): void {
    this.#stopped = false;
    for (const ring of this.#waiting.splice(0)) ring();
  }
}
