import type { Alarm, Clock } from "../../base/clock.ts";
import { HANDED_ON } from "../../base/handed_on.ts";

/** An alarm so late tells of a process that was held up: stopped, collecting garbage, or busy elsewhere. */
const HELD_UP_MS = 20;
/** Then timers wait until links have brought nothing for so long, as long as an answer is on its way, */
const QUIET_MS = 5;
/** but not for ever: peers may have more to say than that. */
const CATCH_UP_MS = 100;

/** What is done in a turn, until `again` says that there is nothing more to do in it. */
export interface TurnWork {
  /** As `Stack.poll`. */
  poll(nowMs: number, timers: boolean): number;
  again(): boolean;
}

/** When turns happen: soon after somebody asks, and when the next deadline comes. */
export class Turns {
  readonly #clock: Clock;
  readonly #work: TurnWork;
  #alarm: Alarm | undefined;
  #alarmAtMs = Infinity;
  #queued = false;
  #inTurn = false;
  #batchMs: number = HANDED_ON;
  #catchUpEndMs = 0; // 0 when nothing has to be caught up with
  #arrived = false; // since the last look
  #stopped = false;
  #alive = true;

  constructor(clock: Clock, work: TurnWork) {
    this.#clock = clock;
    this.#work = work;
    this.#batchMs = 0;
  }

  /** Asks for a turn soon. Everything that the application did until then goes out together. */
  kick(): void {
    if (this.#queued || this.#inTurn || this.#stopped) return;
    this.#queued = true;
    queueMicrotask(this.#asked);
  }

  readonly #asked = (): void => {
    if (this.#queued) this.turn();
  };

  /** A link has brought a frame: one look at the clock per batch. */
  arrival(): number {
    if (this.#batchMs === 0) this.#batchMs = this.#clock.nowMs();
    this.#arrived = true;
    return this.#batchMs;
  }

  /** Does a turn now. */
  turn(): void {
    if (this.#stopped || this.#inTurn) return;
    this.#queued = false;
    this.#batchMs = 0;
    const nowMs = this.#clock.nowMs();
    const timers = !this.#catchesUp(nowMs);
    this.#inTurn = true;
    let deadlineMs: number;
    try {
      deadlineMs = this.#work.poll(nowMs, timers);
      while (this.#work.again()) deadlineMs = this.#work.poll(this.#clock.nowMs(), timers);
    } finally {
      this.#inTurn = false;
    }
    if (this.#stopped) return; // by somebody who was told something in this turn
    // An alarm that rings too early costs one empty turn; moving it at every turn costs more.
    if (!timers || deadlineMs >= this.#alarmAtMs) return;
    this.#setAlarm(deadlineMs);
  }

  /** Its alarm keeps the process alive, as it does by default. */
  ref(): void {
    this.#alive = true;
    this.#alarm?.ref?.();
  }
  /** It does not. */
  unref(): void {
    this.#alive = false;
    this.#alarm?.unref?.();
  }

  /** There are no more turns. */
  stop(): void {
    this.#stopped = true;
    this.#alarm?.cancel();
  }

  #setAlarm(deadlineMs: number): void {
    this.#alarm?.cancel();
    this.#alarmAtMs = deadlineMs;
    this.#alarm = this.#clock.at(deadlineMs, () => this.#rung());
    if (!this.#alive) this.#alarm.unref?.();
  }

  #rung(): void {
    const nowMs = this.#clock.nowMs();
    const catchesUp = this.#catchUpEndMs > 0;
    if (catchesUp && this.#arrived && nowMs < this.#catchUpEndMs) return this.#waitForLinks(nowMs);
    if (catchesUp || nowMs - this.#alarmAtMs < HELD_UP_MS) this.#alarmAtMs = Infinity;
    this.#catchUpEndMs = 0;
    this.turn();
  }

  /**
   * Whether timers must wait: the process was held up, and links have yet to deliver what came meanwhile. Timers
   * that looked now would miss answers that are there, and send again what has long been acknowledged.
   */
  #catchesUp(nowMs: number): boolean {
    if (this.#catchUpEndMs > 0) return true;
    if (nowMs - this.#alarmAtMs < HELD_UP_MS) return false;
    this.#catchUpEndMs = nowMs + CATCH_UP_MS;
    this.#waitForLinks(nowMs);
    return true;
  }

  #waitForLinks(nowMs: number): void {
    this.#arrived = false;
    this.#setAlarm(nowMs + QUIET_MS);
  }
}
