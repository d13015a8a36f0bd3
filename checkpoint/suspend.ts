import { EventEmitter } from "eventemitter3";
import { TimerWheel } from "../base/timer_wheel.ts";
import { RecordState } from "../net/connections/connection_map.ts";
import type { Host } from "../net/socket/host.ts";
import type { Stack } from "../net/stack.ts";
import { freezeTcb } from "../net/tcp/freeze.ts";
import { type Tcb, TcpState } from "../net/tcp/tcb.ts";
import { isQuiet } from "../net/tcp/tcp.ts";
import type { SleepOwner } from "../net/wake/sleep_owner.ts";
import { SleepTimers } from "../net/wake/sleep_timers.ts";
import { locationOfRecord } from "../net/wake/slot.ts";
import { type Analyzer, IdleAnalyzer } from "./analyzer.ts";
import { type FrozenSocket, readSocketImage, writeSocketImage } from "./sockets/socket_image.ts";
import type { Store } from "./store/store.ts";

/** What a sleeper tells about. */
export interface SleeperEvents {
  /** The image is durable and the connection's objects are gone. */
  suspended(event: { id: string; imageBytes: number }): void;
  /** The connection is awake again. */
  restored(event: { id: string }): void;
  /** The image could not be read: the peer will get a reset. */
  lost(event: { id: string; error: Error }): void;
  /** The store refused something; connections stay as they are and it is tried again. */
  error(error: Error): void;
}

export interface SleeperOptions {
  /** Default: sixty seconds without data. */
  readonly analyzer?: Analyzer;
  /** Connections suspended in one turn, so that no turn takes long. */
  readonly batchMax?: number;
}

/** Connections frozen per turn: about two milliseconds of work. */
const BATCH_MAX = 256;
/** How soon a connection that is not quiet yet is looked at again. */
const DRAINING_MS = 50;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;

/** A connection whose image is written and not yet durable. */
interface Saving {
  readonly tcb: Tcb;
  readonly location: number;
  readonly imageBytes: number;
}

/**
 * THE SLEEP WALK. Watches awake connections, writes the idle ones to the store, frees them, and brings
 * them back when the stack asks.
 *
 * What may never happen is that an image comes back whose connection has moved on. So an image is
 * revoked, and the revocation written, before its connection does anything that a peer could see;
 * and a TCB is freed only when its image is durable.
 */
export class Sleeper extends EventEmitter<SleeperEvents> implements SleepOwner {
  readonly store: Store;
  readonly analyzer: Analyzer;
  readonly #host: Host;
  readonly #stack: Stack;
  readonly #batchMax: number;
  readonly #watch: TimerWheel; // by TCB slot: when to ask the analyzer
  readonly #timers: SleepTimers;
  readonly #saving = new Map<number, Saving>(); // by record
  #wanted: number[] = []; // records to wake in this turn
  #ready: Tcb[] = []; // connections to suspend in this turn
  #retryAtMs = -Infinity;
  #suspends = 0;
  #restores = 0;

  constructor(host: Host, store: Store, options: SleeperOptions = {}) {
    super();
    this.store = store;
    this.analyzer = options.analyzer ?? new IdleAnalyzer();
    this.#host = host;
    this.#stack = host.stack;
    this.#batchMax = options.batchMax ?? BATCH_MAX;
    const nowMs = host.clock.nowMs();
    this.#watch = new TimerWheel(nowMs);
    this.#timers = new SleepTimers(nowMs);
    this.#stack.sleepOwner = this;
  }

  /** Counts since the start. */
  get stats(): { suspends: number; restores: number; saving: number } {
    return { suspends: this.#suspends, restores: this.#restores, saving: this.#saving.size };
  }

  /**
   * Enters every connection that the store holds: the first thing to do after opening it.
   * @returns How many sleep now, and how many images could not be used.
   */
  recover(): { connections: number; damaged: number } {
    const nowMs = this.#host.clock.nowMs();
    let connections = 0;
    let damaged = 0;
    for (const { location, bytes } of this.store.live()) {
      try {
        const { tcb } = readSocketImage(bytes);
        const { record, deadlineMs } = this.#stack.adopt(tcb, location, nowMs);
        if (record < 0) {
          throw new Error(`Cannot adopt the connection at ${location}: known already, or no room`);
        }
        if (deadlineMs < Infinity) this.#timers.set(record, deadlineMs);
        connections++;
      } catch (error) {
        damaged++;
        this.#report(error);
      }
    }
    this.#host.kick();
    return { connections, damaged };
  }

  /**
   * Suspends a connection now, whatever it is doing; data in flight goes into the image.
   * @returns False when there is no such connection, or it sleeps already.
   */
  suspend(id: string): boolean {
    const record = this.#host.recordOf(id);
    if (record < 0 || this.#stack.connections.state(record) !== RecordState.awake) return false;
    const tcb = this.#stack.awakeTcb(record);
    if (tcb.saving) return false;
    this.#ready.push(tcb);
    this.#host.kick();
    return true;
  }

  /**
   * Suspends every connection that is established, whatever it is doing.
   * @returns How many; resolves when all of them are durable.
   */
  async suspendAll(): Promise<number> {
    const before = this.#suspends;
    for (const tcb of this.#stack.tcp.tcbs()) {
      if (!tcb.saving && tcb.state >= TcpState.established) this.#ready.push(tcb);
    }
    this.#host.turn();
    await this.store.sync();
    await undefined; // the commits' own callbacks come first
    return this.#suspends - before;
  }

  // SleepOwner

  watch(tcb: Tcb, nowMs: number): void {
    const delayMs = this.analyzer.stayAwakeMs(tcb, nowMs);
    if (delayMs < Infinity) this.#watch.schedule(tcb.slot, nowMs + delayMs);
  }

  wake(record: number): void {
    this.#wanted.push(record);
  }

  turn(nowMs: number): void {
    this.#timers.advance(nowMs, (record) => this.#stack.wake(record, nowMs));
    if (nowMs < this.#retryAtMs) return;
    if (this.#wanted.length > 0) this.#wakeAll(nowMs);
    this.#watch.advance(nowMs, (slot) => this.#consider(slot, nowMs));
    if (this.#ready.length > 0) this.#suspendAll(nowMs);
  }

  nextDeadlineMs(): number {
    const work = this.#wanted.length > 0 || this.#ready.length > 0 ? -Infinity : this.#watch.nextDeadlineMs();
    return Math.min(Math.max(work, this.#retryAtMs), this.#timers.nextDeadlineMs());
  }

  #consider(slot: number, nowMs: number): void {
    const tcb = this.#stack.tcp.tcbIn(slot);
    if (tcb === undefined || tcb.saving) return;
    const delayMs = this.analyzer.stayAwakeMs(tcb, nowMs);
    if (delayMs > 0) {
      if (delayMs < Infinity) this.#watch.schedule(slot, nowMs + delayMs);
    } else if (maySleep(tcb) && this.#ready.length < this.#batchMax) {
      this.#ready.push(tcb);
    } else {
      this.#watch.schedule(slot, nowMs + DRAINING_MS);
    }
  }

  /** idle -> saving: freeze, append, and wait until that is durable. */
  #suspendAll(nowMs: number): void {
    const saved: { tcb: Tcb; bytes: Uint8Array }[] = [];
    for (const tcb of this.#ready.splice(0)) {
      if (tcb.record < 0 || tcb.saving || tcb.state < TcpState.established) continue;
      if (tcb.events !== 0 || tcb.outputQueued) {
        this.#watch.schedule(tcb.slot, nowMs); // it has news for its owner: after that
        continue;
      }
      try {
        saved.push({ tcb, bytes: writeSocketImage(freezeTcb(tcb, nowMs), tcb.attachment) });
      } catch (error) {
        this.#report(error); // an attachment that CBOR cannot hold: this connection stays awake
      }
    }
    if (saved.length === 0) return;
    try {
      const commit = this.store.append(saved.map(({ bytes }) => bytes));
      const batch = saved.map(({ tcb, bytes }, index): Saving => {
        this.#stack.beginSave(tcb);
        const saving = { tcb, location: commit.locations[index]!, imageBytes: bytes.length };
        this.#saving.set(tcb.record, saving);
        return saving;
      });
      commit.durable.then(() => this.#saved(batch), (error) => this.#notSaved(batch, error));
    } catch (error) {
      this.#report(error);
      this.#retryAtMs = nowMs + RETRY_MS;
      for (const { tcb } of saved) this.#watch.schedule(tcb.slot, nowMs + RETRY_MS);
    }
  }

  /** saving -> asleep, for all that nobody has wanted meanwhile. */
  #saved(batch: readonly Saving[]): void {
    if (this.#host.closed) return;
    for (const saving of batch) {
      const { tcb, location, imageBytes } = saving;
      const record = tcb.record;
      if (record < 0 || this.#saving.get(record) !== saving) continue;
      if (this.#stack.connections.state(record) !== RecordState.awake) continue; // a wake is on its way
      this.#saving.delete(record);
      const deadlineMs = this.#stack.sleep(tcb, location);
      if (deadlineMs < Infinity) this.#timers.set(record, deadlineMs);
      this.#suspends++;
      if (this.listenerCount("suspended") > 0) {
        this.emit("suspended", { id: this.#stack.idOf(record), imageBytes });
      }
    }
    this.#host.kick();
  }

  /** The disk would not promise it: they stay awake, once the images are revoked. */
  #notSaved(batch: readonly Saving[], error: unknown): void {
    this.#report(error);
    const nowMs = this.#host.clock.nowMs();
    for (const saving of batch) {
      const record = saving.tcb.record;
      if (record >= 0 && this.#saving.get(record) === saving) this.#stack.wake(record, nowMs);
    }
    this.#host.kick();
  }

  /** asleep -> waking -> awake: read, revoke, and only then let them act. */
  #wakeAll(nowMs: number): void {
    const wanted = this.#wanted;
    this.#wanted = [];
    const locations = wanted.map((record) =>
      this.#saving.get(record)?.location ?? locationOfRecord(this.#stack.connections, record)
    );
    const images = wanted.map((record, index) => {
      return this.#saving.has(record) ? undefined : this.#read(locations[index]!);
    });
    try {
      this.store.remove(locations.filter((_, index) => !(images[index] instanceof Error)));
    } catch (error) {
      // What cannot be revoked must not act. Its peer sends again, and we try again.
      this.#report(error);
      this.#wanted.push(...wanted);
      this.#retryAtMs = nowMs + RETRY_MS;
      return;
    }
    wanted.forEach((record, index) => {
      const saving = this.#saving.get(record);
      const image = images[index];
      this.#timers.clear(record);
      if (saving !== undefined) {
        this.#saving.delete(record);
        this.#stack.unsave(saving.tcb, nowMs);
        this.watch(saving.tcb, nowMs);
      } else if (image instanceof Error) {
        this.emit("lost", { id: this.#stack.idOf(record), error: image });
        this.#stack.forget(record, nowMs);
      } else {
        const { tcb, attachment } = image!;
        const id = this.#stack.idOf(record); // what it does first may be to end
        const awake = this.#stack.resume(record, tcb, attachment, nowMs);
        this.watch(awake, nowMs);
        this.#restores++;
        if (this.listenerCount("restored") > 0) this.emit("restored", { id });
      }
    });
  }

  /** The image at `location`, or why it cannot be used; then it is removed if the store lets it. */
  #read(location: number): FrozenSocket | Error {
    try {
      return readSocketImage(this.store.read(location));
    } catch (error) {
      try {
        this.store.remove([location]);
      } catch {
        // A place that the store knows to be damaged can be gone already.
      }
      return error as Error;
    }
  }

  #report(error: unknown): void {
    this.emit("error", error instanceof Error ? error : new Error(String(error)));
  }
}

/** Nothing is under way, and nothing is about to be. */
function maySleep(tcb: Tcb): boolean {
  const state = tcb.state === TcpState.established || tcb.state === TcpState.closeWait;
  return state && isQuiet(tcb) && tcb.events === 0 && !tcb.outputQueued;
}
