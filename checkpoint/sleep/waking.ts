import { HANDED_ON } from "../../base/handed_on.ts";
import type { Histogram } from "../../base/histogram.ts";
import { throwLater } from "../../net/socket/throw_later.ts";
import { tcpCalls } from "../../net/tcp/calls.ts";
import type { FrozenBatch } from "../../net/tcp/frozen_batch.ts";
import type { Tcb } from "../../net/tcp/tcb.ts";
import type { Tcp } from "../../net/tcp/tcp.ts";
import { checkWakeBudget, type WakeBudget } from "../../net/wake/policy.ts";
import { locationOfRecord } from "../../net/wake/slot.ts";
import { Relief } from "../relief.ts";
import { isDurableImage } from "../sockets/socket_image.ts";
import { StoreError } from "../store/store.ts";
import { type AwakeCounts, WakeQueue } from "../wake_queue.ts";
import { type WakeReason, WakeTimes } from "../wake_times.ts";
import type { Cleaning } from "./cleaning.ts";
import type { FallingAsleep } from "./falling_asleep.ts";
import { toError } from "./teller.ts";
import { type Wake, WakeBatch } from "./wake_batch.ts";
import type { Walk } from "./walk.ts";

/** Deadlines of sleepers served per turn, most of them keep-alive probes: the same. A million may come at once. */
const DUE_MAX = 1_024;
/** When others wait: an application has answered by then, and its peer has acknowledged it. */
const QUIET_MS = 100;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;
/** Reads that a disk may refuse before the image counts as lost. */
const READS_MAX = 5;

/** How many connections of a stack are awake. */
class Awake implements AwakeCounts {
  readonly #tcp: Tcp;

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
  }

  of(listener: number): number {
    return this.#tcp.listeners.byId(listener)?.awake ?? 0;
  }

  get all(): number {
    return this.#tcp.awake;
  }
}

/** THE SLEEP WALK's second half: who is wanted awake, in what order, read, revoked, and only then restored. */
export class Waking {
  readonly #walk: Walk;
  readonly #falling: FallingAsleep;
  readonly #cleaning: Cleaning;
  readonly #batchMax: number;
  readonly #quietMs: number;
  readonly #queue: WakeQueue; // of those that a budget is for
  #wanted: number[] = []; // records to wake, all of them in state `waking`: what no budget is for
  readonly #relief: Relief;
  readonly #refused = new Map<number, number>(); // by record: reads that the disk refused
  readonly #times = new WakeTimes();
  #batch: WakeBatch | undefined;
  readonly #awake: AwakeCounts;
  // Made once: one for each wake would take as long as what it does (docs/performance.md).
  readonly #quietMsOf = (tcb: Tcb): number => {
    const { sleepers, tcp } = this.#walk.stack;
    return sleepers.budgetOf(tcp.listeners.byId(tcb.listener))?.quietMs ?? this.#quietMs;
  };
  #againAtMs = -Infinity;
  #ringing = false; // deadlines of sleepers are being served
  #restores = 0;
  #lost = 0;

  /** @throws {RangeError} When the budget makes no sense. */
  constructor(
    walk: Walk,
    falling: FallingAsleep,
    cleaning: Cleaning,
    budget: WakeBudget,
    batchMax: number,
  ) {
    checkWakeBudget(budget, "wake");
    this.#walk = walk;
    this.#falling = falling;
    this.#cleaning = cleaning;
    this.#batchMax = batchMax;
    this.#quietMs = budget.quietMs ?? QUIET_MS;
    this.#queue = new WakeQueue(budget, walk.host.clock.nowMs());
    const { tcp } = walk.stack;
    this.#relief = new Relief(tcp);
    this.#awake = new Awake(tcp);
  }

  /** What `SleeperStats` says of it. */
  get stats(): {
    restores: number;
    lost: number;
    waiting: number;
    waited: number;
    wakes: Readonly<Record<WakeReason, number>>;
  } {
    const { size: waiting, waited } = this.#queue;
    return { restores: this.#restores, lost: this.#lost, waiting, waited, wakes: this.#times.counts };
  }

  /** From the first wish until they were awake. */
  get seconds(): Histogram {
    return this.#times.seconds;
  }

  /** Nobody wakes before the store knows that the clock was set back. */
  waitFor(redated: Promise<void>): void {
    this.#againAtMs = Infinity;
    redated.then(() => {
      this.#againAtMs = -Infinity;
      if (!this.#walk.host.closed) this.#walk.host.kick();
    }, (error) => this.#walk.teller.report(error));
  }

  /** As `SleepOwner.wake`. */
  wake(record: number, nowMs: number): void {
    if (this.#falling.savingOf(record) !== undefined) return void this.#wanted.push(record); // its TCB is here
    const { sleepers } = this.#walk.stack;
    const reason = this.#ringing ? "timer" : sleepers.held.holdsFor(record) ? "packet" : "application";
    this.#times.began(record, reason, this.#walk.host.clock.nowMs());
    const listener = sleepers.listenerOf(record);
    this.#queue.add(record, listener?.id ?? -1, sleepers.budgetOf(listener), nowMs);
  }

  /** As `SleepOwner.waits`. */
  waits(record: number): boolean {
    return this.#queue.isLate(record);
  }

  /** The end of a turn: what is due among sleepers, and then as many wakes as a turn has time for. */
  turn(nowMs: number): void {
    this.#ringing = true;
    this.#nowMs = nowMs;
    this.#walk.timers.advance(nowMs, this.#due, DUE_MAX);
    this.#ringing = false;
    const wanted = this.#wanted.length + this.#queue.size > 0;
    if (!wanted) this.#relief.rest();
    else if (nowMs >= this.#againAtMs && !this.#walk.closing) this.#wakeSome(nowMs);
  }

  nextDeadlineMs(): number {
    const wantedMs = this.#wanted.length > 0 ? -Infinity : this.#queue.nextMs;
    const wakeMs = this.#walk.closing
      ? Infinity
      : Math.max(Math.min(wantedMs, this.#relief.nextMs), this.#againAtMs);
    return Math.min(wakeMs, this.#walk.timers.nextDeadlineMs());
  }

  /** Made once: there is a turn for each packet that comes alone. */
  readonly #due = (record: number): void => {
    const nextMs = this.#walk.stack.sleepers.due(record, this.#nowMs);
    if (nextMs < Infinity) this.#walk.timers.set(record, nextMs);
  };
  #nowMs: number = HANDED_ON;

  /** asleep -> waking -> awake: read, revoke, and only then let them act. */
  #wakeSome(nowMs: number): void {
    const wanted = this.#wanted.splice(0, this.#batchMax);
    this.#queue.take(this.#batchMax - wanted.length, this.#awake, wanted, nowMs);
    this.#makeRoom(nowMs);
    if (wanted.length === 0) return;
    const batch = this.#batch ?? new WakeBatch(this.#batchMax);
    this.#batch = undefined; // whoever is told of one may end up here again
    try {
      this.#wakeAll(wanted, batch, nowMs);
    } finally {
      batch.clear();
      this.#batch = batch;
    }
  }

  #wakeAll(wanted: readonly number[], batch: WakeBatch, nowMs: number): void {
    const lost: { record: number; location: number; error: Error }[] = [];
    // A recorder is to hear of what is thawed.
    const mayBeQuiet = this.#walk.stack.calls.freeze === tcpCalls.freeze;
    for (let index = 0; index < wanted.length; index++) {
      const record = wanted[index]!;
      const saving = this.#falling.savingOf(record);
      const location = saving?.location ?? locationOfRecord(this.#walk.stack.connections, record);
      const wake = batch.next;
      wake.record = record;
      wake.location = location;
      try {
        if (saving === undefined) this.#read(wake, mayBeQuiet, batch);
        batch.count++;
      } catch (cause) {
        const error = toError(cause);
        if (this.#mayBeRead(record, error)) this.#postpone([record], error, nowMs);
        else lost.push({ record, location, error });
      }
    }
    const { count } = batch;
    try {
      const revoked: number[] = [];
      for (let index = 0; index < count; index++) {
        const wake = batch.at(index);
        if (!this.#isDurable(wake)) revoked.push(wake.location);
      }
      if (revoked.length > 0) this.#walk.store.remove(revoked);
    } catch (error) {
      // What cannot be revoked must not act. Its peer sends again, and we try again.
      const records = lost.map(({ record }) => record);
      for (let index = 0; index < count; index++) records.push(batch.at(index).record);
      this.#postpone(records, error, nowMs);
      return;
    }
    this.#cleaning.soon(nowMs);
    for (let index = 0; index < count; index++) this.#decided(batch.at(index).record);
    for (const { record } of lost) this.#decided(record);
    // The images are revoked: whatever an owner does when it is told, the others must go on.
    for (let index = 0; index < count; index++) {
      try {
        this.#restore(batch.at(index), batch.frozen.select(index), nowMs);
      } catch (error) {
        throwLater(error);
      }
    }
    for (const { record, location, error } of lost) {
      this.#walk.teller.guarded(() => this.#lose(record, location, error, nowMs));
    }
  }

  /** Reads the image of one that sleeps, which is to be the batch's next. */
  #read(wake: Wake, mayBeQuiet: boolean, { frozen, count }: WakeBatch): void {
    const { images, journal } = this.#walk;
    wake.quiet = mayBeQuiet && images.quietAt(wake.location, frozen.select(count), wake);
    if (wake.quiet) return;
    const image = images.at(wake.location);
    wake.pieces = image.stretches === undefined ? undefined : journal.piecesOf(image.stretches);
    wake.attachment = image.attachment;
    wake.image = image;
  }

  #decided(record: number): void {
    this.#walk.timers.clear(record);
    if (this.#refused.size > 0) this.#refused.delete(record);
  }

  /** As many are awake as may be, and others wait: who is quiet goes to sleep, however short it was awake. */
  #makeRoom(nowMs: number): void {
    const count = this.#queue.size - this.#falling.underWay;
    for (const [tcb, why] of this.#relief.find(this.#queue.full, count, this.#quietMsOf, nowMs)) {
      this.#falling.giveWay(tcb, why, nowMs);
    }
  }

  /** What a durable connection does is logged before anybody sees it: its image may stay until then. */
  #isDurable({ record, quiet, image }: Wake): boolean {
    if (quiet) return false;
    return image === undefined
      ? this.#falling.savingOf(record)?.tcb.durable !== undefined
      : isDurableImage(image.tcb);
  }

  #restore(
    { record, location, quiet, image, attachment, pieces }: Wake,
    batch: FrozenBatch,
    nowMs: number,
  ): void {
    const frozen = quiet ? batch : image?.tcb;
    if (frozen === undefined) {
      const { tcb } = this.#falling.savingOf(record)!;
      this.#falling.calledOff(record);
      this.#falling.watch(tcb, nowMs);
      if (tcb.durable !== undefined) this.#walk.journal.begin(tcb, location);
      return this.#walk.stack.sleepers.unsave(tcb, nowMs);
    }
    // Now: what it does first may be to end.
    const id = this.#walk.teller.isHeard("restored")
      ? this.#walk.stack.sleepers.idOfFrozen(frozen)
      : undefined;
    this.#restores++;
    const tcb = this.#walk.stack.sleepers.resume(record, frozen, attachment, nowMs);
    if (tcb.durable !== undefined) this.#walk.journal.begin(tcb, location, pieces);
    this.#falling.watch(tcb, nowMs);
    const wake = this.#times.ended(record, this.#walk.host.clock.nowMs());
    if (id !== undefined) this.#walk.teller.emit("restored", { id, ...wake });
  }

  #lose(record: number, location: number, error: Error, nowMs: number): void {
    const id = this.#walk.stack.idOf(record);
    const peer = this.#walk.images.summarizedPeerAt(location); // before it is removed
    try {
      this.#walk.store.remove([location]);
    } catch (refusal) {
      if (this.#walk.store.failed !== undefined) this.#walk.teller.report(refusal); // else the store knows it to be gone
    }
    this.#walk.stack.sleepers.forget(record, nowMs, peer);
    this.#times.forget(record);
    this.#lost++;
    this.#walk.teller.emit("seenLost", { id, error });
    if (this.#walk.teller.isHeard("lost")) this.#walk.teller.emit("lost", { id, error });
    else this.#walk.teller.report(new Error(`Connection ${id} is lost: ${error.message}`, { cause: error }));
  }

  /** Whether the disk refused to read, which it may not do the next time; damage stays. */
  #mayBeRead(record: number, error: Error): boolean {
    const reads = (this.#refused.get(record) ?? 0) + 1;
    if (!(error instanceof StoreError) || error.cause === undefined || reads >= READS_MAX) return false;
    this.#refused.set(record, reads);
    return true;
  }

  #postpone(records: readonly number[], error: unknown, nowMs: number): void {
    for (const record of records) this.#wanted.push(record);
    this.#againAtMs = nowMs + RETRY_MS;
    this.#walk.teller.report(error);
  }
}
