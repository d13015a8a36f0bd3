import { Prng } from "../../base/random.ts";
import { readSocketImage, writeSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import type { Stack } from "../../net/stack.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { CaState, type Tcb, TcpState } from "../../net/tcp/tcb.ts";
import type { SleepOwner } from "../../net/wake/sleep_owner.ts";

/** Puts connections through an image and back within one moment, whatever they are doing. */
export class Napper implements SleepOwner {
  readonly #stack: Stack;
  readonly #prng: Prng;
  readonly #chance: number;
  readonly states = new Set<number>();
  naps = 0;
  napsInRecovery = 0;
  #image: Uint8Array | undefined;
  #attachment: unknown;

  constructor(stack: Stack, seed: number, chance: number) {
    this.#stack = stack;
    this.#prng = new Prng(seed);
    this.#chance = chance;
    stack.sleepers.owner = this;
  }

  /** Before a turn: nobody has news, nobody waits to send. */
  napAll(nowMs: number): void {
    for (const tcb of [...this.#stack.tcp.tcbs()]) {
      const quiet = tcb.events === 0 && !tcb.outputQueued && tcb.state >= TcpState.established;
      if (quiet && this.#prng.chance(this.#chance)) this.#nap(tcb, nowMs);
    }
  }

  #nap(tcb: Tcb, nowMs: number): void {
    const { record } = tcb;
    this.naps++;
    this.states.add(tcb.state);
    if (tcb.caState >= CaState.recovery) this.napsInRecovery++;
    this.#attachment = tcb.attachment;
    this.#image = writeSocketImage(freezeTcb(tcb, nowMs, this.#stack.addresses), undefined);
    this.#stack.sleepers.beginSave(tcb);
    this.#stack.sleepers.sleep(tcb, 0);
    this.#stack.sleepers.wake(record, nowMs);
  }

  watch(): void {}
  waits(): boolean {
    return false;
  }
  moved(): void {}
  deadlineMoved(): void {}
  turn(): void {}
  nextDeadlineMs(): number {
    return Infinity;
  }
  wake(record: number, nowMs: number): void {
    this.#stack.sleepers.resume(record, readSocketImage(this.#image!).tcb, this.#attachment, nowMs);
  }
}
