import { readSocketImage, writeSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import type { Stack } from "../../net/stack.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { type Tcb, TcpState } from "../../net/tcp/tcb.ts";
import { earliestDeadlineMs } from "../../net/tcp/tcp.ts";
import type { SleepOwner } from "../../net/wake/sleep_owner.ts";
import { SleepTimers } from "../../net/wake/sleep_timers.ts";
import { locationOfRecord } from "../../net/wake/slot.ts";

/**
 * Puts every connection to sleep as soon as it has nothing to say, data in flight and all, and wakes it when the
 * stack or a call asks: the sleep walk without its waiting, so that a script meets it at every step.
 */
export class Keeper implements SleepOwner {
  readonly #stack: Stack;
  readonly #store = new MemoryStore();
  readonly #timers: SleepTimers;
  #wanted: number[] = [];
  /** How many sleeps there were. */
  sleeps = 0;

  constructor(stack: Stack, nowMs: number) {
    this.#stack = stack;
    this.#timers = new SleepTimers(nowMs);
    stack.sleepers.owner = this;
  }

  /** After a turn: who can sleep does. */
  sleepAll(nowMs: number): void {
    for (const tcb of [...this.#stack.tcp.tcbs()]) {
      const quiet = tcb.events === 0 && !tcb.outputQueued && earliestDeadlineMs(tcb) > nowMs;
      if (quiet && tcb.state >= TcpState.established) this.#sleep(tcb, nowMs);
    }
  }

  #sleep(tcb: Tcb, nowMs: number): void {
    const { record } = tcb;
    const { locations } = this.#store.append([
      writeSocketImage(freezeTcb(tcb, nowMs, this.#stack.addresses), tcb.attachment),
    ]);
    this.#stack.sleepers.beginSave(tcb);
    const deadlineMs = this.#stack.sleepers.sleep(tcb, locations[0]!);
    if (deadlineMs < Infinity) this.#timers.set(record, deadlineMs);
    this.sleeps++;
  }

  watch(): void {}
  waits(): boolean {
    return false;
  }
  moved(): void {}

  wake(record: number): void {
    this.#wanted.push(record);
  }

  deadlineMoved(record: number, deadlineMs: number): void {
    this.#timers.set(record, deadlineMs);
  }

  turn(nowMs: number): void {
    this.#timers.advance(nowMs, (record) => {
      const nextMs = this.#stack.sleepers.due(record, nowMs);
      if (nextMs < Infinity) this.#timers.set(record, nextMs);
    });
    for (const record of this.#wanted.splice(0)) {
      const location = locationOfRecord(this.#stack.connections, record);
      const { tcb, attachment } = readSocketImage(this.#store.read(location));
      this.#store.remove([location]);
      this.#timers.clear(record);
      this.#stack.sleepers.resume(record, tcb, attachment, nowMs);
    }
  }

  nextDeadlineMs(): number {
    return this.#wanted.length > 0 ? -Infinity : this.#timers.nextDeadlineMs();
  }
}
