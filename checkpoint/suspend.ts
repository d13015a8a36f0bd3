import { Histogram } from "../base/histogram.ts";
import { TimerWheel } from "../base/timer_wheel.ts";
import { RecordState } from "../net/connections/connection_map.ts";
import type { Host } from "../net/socket/host.ts";
import type { Stack } from "../net/stack.ts";
import { type Tcb, TcpError, TcpState } from "../net/tcp/tcb.ts";
import { checkWakeBudget, type WakeBudget } from "../net/wake/policy.ts";
import type { SleepOwner } from "../net/wake/sleep_owner.ts";
import { SleepTimers } from "../net/wake/sleep_timers.ts";
import { Field } from "../net/connections/connection_map.ts";
import { locationOfRecord } from "../net/wake/slot.ts";
import {
  summarize,
  summarizedKey,
  Summary,
  SUMMARY_WORDS,
  SummaryKind,
  summaryKind,
} from "../net/wake/summary.ts";
import { type Analyzer, IdleAnalyzer } from "./analyzer.ts";
import { Events } from "./events.ts";
import { type CborValue, encodeCbor } from "./image/cbor.ts";
import { FirewallKeeper } from "./firewall/firewall_keeper.ts";
import { Journal, type Pieces } from "./journal.ts";
import { recoverConnections, type Recovered } from "./recover.ts";
import {
  type FrozenSocket,
  isDurableImage,
  readKeptSocket,
  readSocketImage,
  writeSocketImage,
} from "./sockets/socket_image.ts";
import { type Commit, RECORD_BYTES_MAX, type Store, StoreError } from "./store/store.ts";
import { maySleep, Relief } from "./relief.ts";
import { Unheard } from "./unheard.ts";
import { WakeQueue } from "./wake_queue.ts";
import { type WakeReason, WakeTimes } from "./wake_times.ts";

/** What a sleeper tells about. */
export interface SleeperEvents {
  /** The image is durable and the connection's objects are gone. */
  suspended(event: { id: string; imageBytes: number; tookMs: number }): void;
  /** The connection is awake again: why, and how long that took, where it is known (of all but some in a herd it is). */
  restored(event: { id: string; reason?: WakeReason; tookMs?: number }): void;
  /** The image could not be read: the peer will get a reset. An `error` when nobody listens to it. */
  lost(event: { id: string; error: Error }): void;
  /** As `lost`, before it, for whoever only looks on: it stays an `error` when nobody listens to `lost`. */
  seenLost(event: { id: string; error: Error }): void;
  /**
   * The store, an attachment or the analyzer refused something: connections stay as they are, and it is tried
   * again. Or an image that `recover` found could not be used. When nobody listens, each message goes to
   * `console.error` once.
   */
  error(error: Error): void;
}

export interface SleeperOptions {
  /** Default: sixty seconds without data. */
  readonly analyzer?: Analyzer;
  /** Connections suspended, or restored, in one turn, so that no turn takes long. */
  readonly batchMax?: number;
  /** How many may wake, and be awake, of all listeners together. Default: no limit. */
  readonly wake?: WakeBudget;
}

/** Counts since the start, and how many are under way. */
export interface SleeperStats {
  /** Connections that fell asleep. */
  suspends: number;
  /** Connections that woke. */
  restores: number;
  /** Connections whose images could not be read. */
  lost: number;
  /** Connections whose images are being written. */
  saving: number;
  /** Connections that wait for a budget to wake by. */
  waiting: number;
  /** Wakes that had to. */
  waited: number;
  /** Wakes by what asked for them. */
  wakes: Readonly<Record<WakeReason, number>>;
}

/** Connections frozen per turn: about two milliseconds of work. */
const BATCH_MAX = 256;
/** Image bytes per turn: one connection may hold 16 MiB unsent, and all images of a batch lie in memory. */
const BATCH_BYTES_MAX = 64 << 20;
/** Deadlines of sleepers served per turn, most of them keep-alive probes: the same. A million may come at once. */
const DUE_MAX = 1_024;
/** How soon a connection that is not quiet yet is looked at again, and how late at the latest. */
const DRAINING_MS = 50;
const DRAINING_MS_MAX = 10_000;
/** When others wait: an application has answered by then, and its peer has acknowledged it. */
const QUIET_MS = 100;
/** How long after something has woken the store is looked at for space to give back, */
const CLEAN_MS = 1_000;
/** and the pause between steps of that, each of them less than a millisecond. */
const CLEAN_PAUSE_MS = 10;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;
/** How late at the latest a connection that cannot be written down is tried again. */
const UNWRITABLE_MS_MAX = 60_000;
/** How long the analyzer is left alone about a connection for which it has thrown. */
const ANALYZER_RETRY_MS = 10_000;
/** As good as never, and still a time that the timer wheel takes (300 years). */
const NEVER_MS = 1e13;
/** Reads that a disk may refuse before the image counts as lost. */
const READS_MAX = 5;
/** Batches of `suspendAll` that share a sync, while as many others are written. */
const COMMITS_MAX = 4;
/** Turns in which `suspendAll` may get nowhere: one is usual, when an owner has to hear news first. */
const IDLE_ROUNDS_MAX = 16;

/** A connection that is wanted awake: asleep with an image, or without one on its way to sleep. */
interface Wake {
  readonly record: number;
  readonly location: number;
  readonly image: FrozenSocket | undefined;
  /** The stretches that the image names. */
  readonly pieces: Pieces | undefined;
}

/** A connection whose image is written and not yet durable. */
interface Saving {
  readonly tcb: Tcb;
  readonly frozenAtMs: number;
  location: number; // the store may move it
  readonly imageBytes: number;
  /** What the application may change without a call of ours: then the image is out of date. */
  readonly attachment: unknown;
  readonly attached: Uint8Array | undefined;
}

/**
 * THE SLEEP WALK. Watches awake connections, writes the idle ones to the store, frees them, and brings
 * them back when the stack asks.
 *
 * What may never happen is that an image comes back whose connection has moved on. So an image is
 * revoked, and the revocation written, before its connection does anything that a peer could see;
 * and a TCB is freed only when its image is durable.
 */
export class Sleeper extends Events<SleeperEvents> implements SleepOwner {
  /** Where the images are. */
  readonly store: Store;
  /** Who says how long a connection stays awake. */
  readonly analyzer: Analyzer;
  readonly #host: Host;
  readonly #stack: Stack;
  readonly #batchMax: number;
  readonly #summaries: Int32Array; // of one batch
  readonly #watch: TimerWheel; // by TCB slot: when to ask the analyzer
  readonly #timers: SleepTimers;
  readonly #saving = new Map<number, Saving>(); // by record
  readonly #commits = new Set<Promise<void>>(); // settle when their batch is asleep, or awake again
  readonly #ready = new Map<Tcb, "idle" | "forced">(); // connections to suspend
  readonly #refused = new Map<number, number>(); // by record: reads that the disk refused
  readonly #unwritable = new WeakMap<Tcb, number>(); // how often there was no image to be had
  readonly #unheard = new Unheard();
  #wanted: number[] = []; // records to wake, all of them in state `waking`: what no budget is for
  readonly #queue: WakeQueue; // and the others
  readonly #relief: Relief;
  readonly #quietMs: number;
  readonly #journal: Journal;
  readonly #stretchOf = (number: number): Uint8Array => this.#journal.stretch(number);
  /** @internal */
  readonly firewall: FirewallKeeper;
  #saveAgainAtMs = -Infinity;
  #cleanAtMs = Infinity; // when to give space back, once something has been removed
  #wakeAgainAtMs = -Infinity;
  #closing = false; // nothing wakes, nothing is accepted: at the end, or while all are held asleep
  #holding = false;
  #suspends = 0;
  readonly #suspendSeconds = new Histogram();
  readonly #wakes = new WakeTimes();
  #ringing = false; // deadlines of sleepers are being served
  #restores = 0;
  #lost = 0;

  /** A {@linkcode SleepyHost} makes its own. */
  constructor(host: Host, store: Store, options: SleeperOptions = {}) {
    super();
    this.store = store;
    this.analyzer = options.analyzer ?? new IdleAnalyzer();
    this.#host = host;
    this.#stack = host.stack;
    this.#batchMax = options.batchMax ?? BATCH_MAX;
    this.#summaries = new Int32Array(SUMMARY_WORDS * this.#batchMax);
    const nowMs = host.clock.nowMs();
    this.#watch = new TimerWheel(nowMs);
    this.#timers = new SleepTimers(nowMs);
    checkWakeBudget(options.wake ?? {}, "wake");
    this.#queue = new WakeQueue(options.wake ?? {}, nowMs);
    this.#relief = new Relief(this.#stack.tcp);
    this.#quietMs = options.wake?.quietMs ?? QUIET_MS;
    this.#journal = new Journal(host, store, (error) => this.#report(error));
    this.firewall = new FirewallKeeper(this.#stack, store, (error) => this.#report(error));
    this.#stack.sleepers.owner = this;
    store.onMoved = (...move) => this.#moved(...move);
  }

  /** Counts since the start. */
  get stats(): SleeperStats {
    return {
      suspends: this.#suspends,
      restores: this.#restores,
      lost: this.#lost,
      saving: this.#saving.size,
      waiting: this.#queue.size,
      waited: this.#queue.waited,
      wakes: this.#wakes.counts,
    };
  }

  /** How long connections took to fall asleep, from their freezing until their image was durable. */
  get suspendSeconds(): Histogram {
    return this.#suspendSeconds;
  }

  /** How long connections took to wake, from the first wish until they were awake. */
  get restoreSeconds(): Histogram {
    return this.#wakes.seconds;
  }

  /** Records in the store that are the log of awake durable connections. */
  get logged(): number {
    return this.#journal.records;
  }

  /**
   * Enters every connection that the store holds: the first thing to do after opening it. What is wrong
   * is told by `error` events a moment later, so that there is time to listen.
   */
  recover(): Recovered {
    const { recovered, errors, redated } = recoverConnections(
      this.store,
      this.#stack,
      this.#timers,
      this.#host.clock.nowMs(),
      this.#journal,
      this.firewall,
    );
    if (errors.length > 0) queueMicrotask(() => errors.forEach((error) => this.#report(error)));
    if (redated !== undefined) this.#waitFor(redated);
    this.#host.kick();
    return recovered;
  }

  /** Nobody wakes before the store knows that the clock was set back. */
  #waitFor(redated: Promise<void>): void {
    this.#wakeAgainAtMs = Infinity;
    redated.then(() => {
      this.#wakeAgainAtMs = -Infinity;
      if (!this.#host.closed) this.#host.kick();
    }, (error) => this.#report(error));
  }

  /**
   * Suspends a connection now, whatever it is doing; data in flight goes into the image.
   * @returns False when there is no such connection, its handshake is not over, or it sleeps already.
   */
  suspend(id: string): boolean {
    const record = this.#host.recordOf(id);
    if (record < 0 || this.#stack.connections.state(record) !== RecordState.awake) return false;
    const tcb = this.#stack.awakeTcb(record);
    if (tcb.saving || !canSleep(tcb)) return false;
    this.#ready.set(tcb, "forced");
    this.#host.kick();
    return true;
  }

  /**
   * Suspends every connection that is established, whatever it is doing. One that is spoken to meanwhile
   * stays awake.
   * @returns How many; resolves when all of them are durable.
   */
  async suspendAll(): Promise<number> {
    const before = this.#suspends;
    this.#host.turn(); // news first
    this.#wantAll((tcb) => !tcb.saving);
    this.#saveAgainAtMs = -Infinity;
    let idleRounds = 0;
    while (this.#ready.size + this.#commits.size > 0 && idleRounds < IDLE_ROUNDS_MAX) {
      const left = this.#ready.size;
      this.#host.turn();
      idleRounds = this.#commits.size > 0 || this.#ready.size < left ? 0 : idleRounds + 1;
      const goesOn = this.#ready.size > 0 && this.#ready.size < left;
      if (goesOn && this.#commits.size < 2 * COMMITS_MAX) {
        if (this.#commits.size % COMMITS_MAX === 0) await undefined; // the sync of those begins, and others go on meanwhile
        continue;
      }
      await (goesOn ? Promise.race(this.#commits) : Promise.all(this.#commits));
      if (this.#saveAgainAtMs > -Infinity) break; // the store has refused, and said so by an event
      // Handshakes that were under way have ended meanwhile; what could not be written will not be now.
      if (this.#closing) this.#wantAll((tcb) => !tcb.saving && !this.#unwritable.has(tcb));
    }
    return this.#suspends - before;
  }

  #wantAll(which: (tcb: Tcb) => boolean): void {
    for (const tcb of this.#stack.tcp.tcbs()) {
      if (canSleep(tcb) && which(tcb)) this.#ready.set(tcb, "forced");
    }
  }

  /**
   * As `suspendAll`, at the end of a process: from now on nothing wakes here and nothing is accepted. What
   * arrives is for the process that opens the store next; peers send it again. Connections whose handshake
   * is over by the time of the last save sleep like the others; the others are dropped without a word.
   */
  async shutdown(): Promise<number> {
    this.#host.turn(); // what is wanted awake already may still be
    this.#closing = true;
    this.#holding = false; // whoever holds them asleep may not wake them now
    this.#stack.accepting = false;
    const count = await this.suspendAll();
    const { tcp } = this.#stack;
    for (const tcb of tcp.tcbs()) {
      if (tcb.state === TcpState.synReceived && !tcb.saving) tcp.destroy(tcb, TcpError.aborted); // no RST: its peer asks again
    }
    this.firewall.save(this.#host.clock.nowMs());
    return count;
  }

  /** The host has been closed: there will be no more turns. */
  hostClosed(): void {
    if (this.store.failed === undefined) this.#journal.close();
  }

  /**
   * As `suspendAll`, and holds all asleep until `act` is done: what lies in the store meanwhile is the state of one
   * moment. Nobody wakes, and nobody new is accepted; what arrives waits, or its peers send it again.
   *
   * @throws {StoreError} When this is under way already, or after `shutdown`.
   */
  async whileAllSleep<T>(act: () => Promise<T>): Promise<T> {
    if (this.#closing) {
      throw new StoreError("Cannot hold the connections asleep: they are held, or the host ends");
    }
    this.#host.turn(); // what is wanted awake already may still be
    this.#closing = this.#holding = true;
    this.#stack.accepting = false;
    try {
      await this.suspendAll();
      this.firewall.save(this.#host.clock.nowMs());
      return await act();
    } finally {
      if (this.#holding && !this.#host.closed) {
        this.#closing = this.#holding = false;
        this.#stack.accepting = true;
        this.#host.kick();
      }
    }
  }

  /** What is attached to a connection, awake or asleep; a sleeper's image is read, and it sleeps on. */
  attachmentOf(record: number): unknown {
    const { connections, tcp } = this.#stack;
    const tcb = this.#saving.get(record)?.tcb ?? tcp.tcbIn(connections.get(record, Field.slot));
    if (tcb?.record === record) return tcb.attachment;
    return this.#imageAt(locationOfRecord(connections, record)).attachment;
  }

  // SleepOwner

  /** @internal */
  frozenPeerOf(record: number): number | Uint8Array | undefined {
    const { addresses, connections } = this.#stack;
    const saving = this.#saving.get(record);
    if (saving !== undefined) return addresses.freeze(saving.tcb.remoteAddress);
    return this.#frozenPeerAt(locationOfRecord(connections, record));
  }

  /** The peer's address as it is in an image, or else beside it. */
  #frozenPeerAt(location: number): number | Uint8Array | undefined {
    try {
      const { tcb: [, , remote] } = this.#imageAt(location);
      return remote;
    } catch { // its wake finds that out too, and tells
      return this.#summarizedPeerAt(location);
    }
  }

  #summarizedPeerAt(location: number): number | Uint8Array | undefined {
    try {
      const summary = this.store.summaryOf(location);
      if (summary?.length !== SUMMARY_WORDS || summaryKind(summary[Summary.tag]!) < 0) return undefined;
      const [, , remote] = summarizedKey(summary);
      return remote;
    } catch {
      return undefined;
    }
  }

  /** @internal */
  watch(tcb: Tcb, nowMs: number): void {
    if (tcb.state === TcpState.closed) return;
    this.#watchFor(tcb.slot, this.#stayAwakeMs(tcb, nowMs), nowMs);
  }

  /** @internal */
  wake(record: number, nowMs: number): void {
    if (this.#saving.has(record)) return void this.#wanted.push(record); // its TCB is here
    const { sleepers } = this.#stack;
    const reason = this.#ringing ? "timer" : sleepers.held.holdsFor(record) ? "packet" : "application";
    this.#wakes.began(record, reason, this.#host.clock.nowMs());
    const listener = sleepers.listenerOf(record);
    this.#queue.add(record, listener?.id ?? -1, sleepers.budgetOf(listener), nowMs);
  }

  /** @internal */
  waits(record: number): boolean {
    return this.#queue.isLate(record);
  }

  /** @internal */
  deadlineMoved(record: number, deadlineMs: number): void {
    this.#timers.set(record, deadlineMs);
  }

  /** @internal */
  moved(tcb: Tcb): void {
    this.#journal.moved(tcb);
  }

  /** @internal */
  turn(nowMs: number): void {
    this.#ringing = true;
    this.#timers.advance(nowMs, (record) => this.#due(record, nowMs), DUE_MAX);
    this.#ringing = false;
    const wanted = this.#wanted.length + this.#queue.size > 0;
    if (!wanted) this.#relief.rest();
    else if (nowMs >= this.#wakeAgainAtMs && !this.#closing) this.#wakeSome(nowMs);
    this.#watch.advance(nowMs, (slot) => this.#consider(slot, nowMs));
    if (this.#ready.size > 0 && nowMs >= this.#saveAgainAtMs) this.#suspendSome(nowMs);
    this.#journal.turn(nowMs);
    if (!this.#closing) this.firewall.turn(nowMs);
    if (nowMs >= this.#cleanAtMs && !this.#closing) this.#cleanSome(nowMs);
  }

  /** @internal */
  nextDeadlineMs(): number {
    const wantedMs = this.#wanted.length > 0 ? -Infinity : this.#queue.nextMs;
    const wakeMs = this.#closing
      ? Infinity
      : Math.max(Math.min(wantedMs, this.#relief.nextMs), this.#wakeAgainAtMs);
    const saveMs = this.#ready.size > 0 ? this.#saveAgainAtMs : Infinity;
    const cleanMs = this.#closing ? Infinity : this.#cleanAtMs;
    const logMs = this.#journal.nextDeadlineMs();
    const firewallMs = this.#closing ? Infinity : this.firewall.nextDeadlineMs();
    return Math.min(
      wakeMs,
      saveMs,
      cleanMs,
      logMs,
      firewallMs,
      this.#watch.nextDeadlineMs(),
      this.#timers.nextDeadlineMs(),
    );
  }

  #due(record: number, nowMs: number): void {
    const nextMs = this.#stack.sleepers.due(record, nowMs);
    if (nextMs < Infinity) this.#timers.set(record, nextMs);
  }

  #watchFor(slot: number, delayMs: number, nowMs: number): void {
    if (delayMs < NEVER_MS) this.#watch.schedule(slot, nowMs + delayMs);
    else this.#watch.cancel(slot); // the slot's last connection may have left something
  }

  /** The analyzer is the application's: its mistake keeps one connection awake, and no turn from its end. */
  #stayAwakeMs(tcb: Tcb, nowMs: number): number {
    if (tcb.drowsy) return 0;
    try {
      return this.analyzer.stayAwakeMs(tcb, nowMs);
    } catch (error) {
      this.#report(error);
      return ANALYZER_RETRY_MS;
    }
  }

  #consider(slot: number, nowMs: number): void {
    const tcb = this.#stack.tcp.tcbIn(slot);
    if (tcb === undefined || tcb.saving || tcb.state === TcpState.closed) return;
    const delayMs = this.#stayAwakeMs(tcb, nowMs);
    if (delayMs > 0) {
      this.#watchFor(slot, delayMs, nowMs);
    } else if (nowMs < this.#saveAgainAtMs) {
      this.#watch.schedule(slot, this.#saveAgainAtMs);
    } else if (!maySleep(tcb)) {
      // Some never get quiet: a peer that does not read, a half-closed connection.
      const idleMs = nowMs - tcb.lastActivityMs;
      this.#watch.schedule(slot, nowMs + Math.min(Math.max(DRAINING_MS, idleMs / 4), DRAINING_MS_MAX));
    } else {
      this.#ready.set(tcb, "idle");
    }
  }

  /** idle -> saving: freeze, append, and wait until that is durable. */
  #suspendSome(nowMs: number): void {
    const batch: { tcb: Tcb; why: "idle" | "forced"; bytes: Uint8Array; attached: Uint8Array | undefined }[] =
      [];
    let batchBytes = 0;
    for (const [tcb, why] of this.#ready) {
      if (batch.length >= this.#batchMax || batchBytes >= BATCH_BYTES_MAX) break; // the next turn's
      const gone = tcb.record < 0 || tcb.saving || !canSleep(tcb);
      if (!gone && (tcb.events !== 0 || tcb.outputQueued)) continue; // it has news for its owner: after that
      this.#ready.delete(tcb);
      if (gone) continue;
      if (why === "idle" && !maySleep(tcb)) {
        this.#watch.schedule(tcb.slot, nowMs + DRAINING_MS);
        continue;
      }
      try {
        const frozen = this.#stack.calls.freeze(tcb, nowMs, this.#stack.addresses);
        const bytes = writeSocketImage(frozen, tcb.attachment);
        if (bytes.length > RECORD_BYTES_MAX) {
          throw new RangeError(
            `Cannot suspend connection: its image has ${bytes.length} bytes, ${RECORD_BYTES_MAX} are the limit`,
          );
        }
        summarize(frozen, this.#summaries, SUMMARY_WORDS * batch.length);
        batch.push({ tcb, why, bytes, attached: encodedIfObject(tcb.attachment) });
        batchBytes += bytes.length;
      } catch (error) {
        // An attachment that CBOR cannot hold. The connection stays awake until somebody mends it.
        const failures = (this.#unwritable.get(tcb) ?? 0) + 1;
        this.#unwritable.set(tcb, failures);
        const retryMs = Math.min(RETRY_MS * 2 ** (failures - 1), UNWRITABLE_MS_MAX);
        this.#watch.schedule(tcb.slot, nowMs + retryMs);
        this.#report(error);
      }
    }
    if (batch.length === 0) return;
    let commit: Commit;
    try {
      const summaries = this.#summaries.subarray(0, SUMMARY_WORDS * batch.length);
      commit = this.store.append(batch.map(({ bytes }) => bytes), { summaries, hashed: true });
    } catch (error) {
      this.#report(error);
      this.#saveAgainAtMs = nowMs + RETRY_MS;
      for (const { tcb, why } of batch) {
        if (why === "forced") this.#ready.set(tcb, why);
        else this.#watch.schedule(tcb.slot, this.#saveAgainAtMs);
      }
      return;
    }
    const saved = batch.map(({ tcb, bytes, attached }, index): Saving => {
      this.#stack.sleepers.beginSave(tcb);
      this.#journal.replaced(tcb);
      this.#unwritable.delete(tcb);
      const location = commit.locations[index]!;
      const { attachment } = tcb;
      const saving = { tcb, frozenAtMs: nowMs, location, imageBytes: bytes.length, attachment, attached };
      this.#saving.set(tcb.record, saving);
      return saving;
    });
    const settled: Promise<void> = commit.durable
      .then(() => this.#saved(saved), (error) => this.#notSaved(saved, error))
      .finally(() => this.#commits.delete(settled));
    this.#commits.add(settled);
  }

  /** saving -> asleep, for all that nobody has wanted meanwhile. */
  #saved(batch: readonly Saving[]): void {
    if (this.#host.closed) return;
    const nowMs = this.#host.clock.nowMs();
    const events: { id: string; imageBytes: number; tookMs: number }[] = [];
    for (const saving of batch) {
      const { tcb, location, imageBytes, frozenAtMs } = saving;
      const record = tcb.record;
      if (record < 0 || this.#saving.get(record) !== saving) continue;
      const wanted = this.#stack.connections.state(record) !== RecordState.awake;
      if (!wanted && hasChanged(saving)) {
        if (this.#closing) this.#saveAnew(saving, nowMs);
        else this.#stack.sleepers.wake(record, nowMs);
        continue;
      }
      if (wanted) continue; // a wake is on its way, here or in the next process
      this.#saving.delete(record);
      const tookMs = Math.max(0, nowMs - frozenAtMs);
      if (this.listenerCount("suspended") > 0) {
        events.push({ id: this.#stack.idOf(record), imageBytes, tookMs });
      }
      const deadlineMs = this.#stack.sleepers.sleep(tcb, location);
      if (deadlineMs < Infinity) this.#timers.set(record, deadlineMs);
      this.#suspends++;
      this.#suspendSeconds.record(tookMs / 1_000);
    }
    this.#host.kick();
    for (const event of events) this.#guarded(() => this.emit("suspended", event));
  }

  /** Its image is out of date, and there will be no later chance. */
  #saveAnew({ tcb, location }: Saving, nowMs: number): void {
    try {
      if (tcb.durable === undefined) this.store.remove([location]);
      else this.#journal.begin(tcb, location);
    } catch (error) {
      return this.#report(error); // an old attachment is better than no connection
    }
    this.#saving.delete(tcb.record);
    this.#stack.sleepers.unsave(tcb, nowMs);
    this.#ready.set(tcb, "forced");
  }

  /** The disk would not promise it: they stay awake, once the images are revoked. */
  #notSaved(batch: readonly Saving[], error: unknown): void {
    const nowMs = this.#host.clock.nowMs();
    this.#saveAgainAtMs = nowMs + RETRY_MS;
    for (const saving of batch) {
      const record = saving.tcb.record;
      if (record >= 0 && this.#saving.get(record) === saving) this.#stack.sleepers.wake(record, nowMs);
    }
    this.#host.kick();
    this.#report(error);
  }

  /** asleep -> waking -> awake: read, revoke, and only then let them act. */
  #wakeSome(nowMs: number): void {
    const wanted = this.#wanted.splice(0, this.#batchMax);
    const { tcp } = this.#stack;
    const awake = { of: (id: number) => tcp.listeners.byId(id)?.awake ?? 0, all: tcp.awake };
    this.#queue.take(this.#batchMax - wanted.length, awake, wanted, nowMs);
    this.#makeRoom(nowMs);
    if (wanted.length === 0) return;
    const wakes: Wake[] = [];
    const lost: { record: number; location: number; error: Error }[] = [];
    for (const record of wanted) {
      const saving = this.#saving.get(record);
      const location = saving?.location ?? locationOfRecord(this.#stack.connections, record);
      try {
        const image = saving === undefined ? this.#imageAt(location) : undefined;
        const pieces = image?.stretches === undefined ? undefined : this.#journal.piecesOf(image.stretches);
        wakes.push({ record, location, image, pieces });
      } catch (cause) {
        const error = toError(cause);
        if (this.#mayBeRead(record, error)) this.#postpone([record], error, nowMs);
        else lost.push({ record, location, error });
      }
    }
    try {
      const revoked = wakes.filter((wake) => !this.#isDurable(wake)).map(({ location }) => location);
      if (revoked.length > 0) this.store.remove(revoked);
    } catch (error) {
      // What cannot be revoked must not act. Its peer sends again, and we try again.
      this.#postpone([...wakes, ...lost].map(({ record }) => record), error, nowMs);
      return;
    }
    this.#cleanAtMs = Math.min(this.#cleanAtMs, nowMs + CLEAN_MS);
    for (const { record } of [...wakes, ...lost]) {
      this.#timers.clear(record);
      this.#refused.delete(record);
    }
    // The images are revoked: whatever an owner does when it is told, the others must go on.
    for (const wake of wakes) this.#guarded(() => this.#restore(wake, nowMs));
    for (const { record, location, error } of lost) {
      this.#guarded(() => this.#lose(record, location, error, nowMs));
    }
  }

  #imageAt(location: number): FrozenSocket {
    const { store } = this;
    const kept = store.readKept?.(location) ?? { bytes: store.read(location), isBare: false };
    return readKeptSocket(kept, this.#stretchOf);
  }

  /** As many are awake as may be, and others wait: who is quiet goes to sleep, however short it was awake. */
  #makeRoom(nowMs: number): void {
    const count = this.#queue.size - this.#ready.size - this.#saving.size;
    const { sleepers, tcp } = this.#stack;
    const quietMs = (tcb: Tcb): number =>
      sleepers.budgetOf(tcp.listeners.byId(tcb.listener))?.quietMs ?? this.#quietMs;
    for (const [tcb, why] of this.#relief.find(this.#queue.full, count, quietMs, nowMs)) {
      if (this.#unwritable.has(tcb) || this.#ready.has(tcb)) continue;
      if (this.#stayAwakeMs(tcb, nowMs) < NEVER_MS) this.#ready.set(tcb, why);
    }
  }

  /** Gives a little of the store's space back, and again soon while there is more. */
  #cleanSome(nowMs: number): void {
    try {
      this.#cleanAtMs = this.store.clean() ? nowMs + CLEAN_PAUSE_MS : Infinity;
    } catch (error) {
      this.#cleanAtMs = nowMs + RETRY_MS;
      this.#report(error);
    }
  }

  /** An image lies elsewhere from now on: of a sleeper, or of a connection about to sleep. */
  #moved(from: number, to: number, bytes: Uint8Array, known: Int32Array | undefined): Int32Array | undefined {
    let summary = known;
    const kind = summary?.length === SUMMARY_WORDS ? summaryKind(summary[Summary.tag]!) : -1;
    if (kind < 0 || (kind & SummaryKind.keyOnly) !== 0) { // else it is no durable connection's
      if (this.#journal.relocated(from, to, bytes) || this.firewall.relocated(from, to, bytes)) {
        return undefined;
      }
      summary = new Int32Array(SUMMARY_WORDS);
      summarize(readSocketImage(bytes, this.#stretchOf).tcb, summary);
    }
    if (this.#stack.sleepers.relocate(summarizedKey(summary!), from, to) < 0) {
      for (const saving of this.#saving.values()) if (saving.location === from) saving.location = to;
    }
    return summary;
  }

  /** What a durable connection does is logged before anybody sees it: its image may stay until then. */
  #isDurable({ record, image }: Wake): boolean {
    const tcb = this.#saving.get(record)?.tcb;
    return image === undefined ? tcb?.durable !== undefined : isDurableImage(image.tcb);
  }

  #restore({ record, location, image, pieces }: Wake, nowMs: number): void {
    if (image === undefined) {
      const { tcb } = this.#saving.get(record)!;
      this.#saving.delete(record);
      this.watch(tcb, nowMs);
      if (tcb.durable !== undefined) this.#journal.begin(tcb, location);
      return this.#stack.sleepers.unsave(tcb, nowMs);
    }
    // Now: what it does first may be to end.
    const id = this.listenerCount("restored") > 0 ? this.#stack.sleepers.idOfFrozen(image.tcb) : undefined;
    this.#restores++;
    const tcb = this.#stack.sleepers.resume(record, image.tcb, image.attachment, nowMs);
    if (tcb.durable !== undefined) this.#journal.begin(tcb, location, pieces);
    this.watch(tcb, nowMs);
    const wake = this.#wakes.ended(record, this.#host.clock.nowMs());
    if (id !== undefined) this.emit("restored", { id, ...wake });
  }

  #lose(record: number, location: number, error: Error, nowMs: number): void {
    const id = this.#stack.idOf(record);
    const peer = this.#summarizedPeerAt(location); // before it is removed
    try {
      this.store.remove([location]);
    } catch (refusal) {
      if (this.store.failed !== undefined) this.#report(refusal); // else the store knows it to be gone
    }
    this.#stack.sleepers.forget(record, nowMs, peer);
    this.#wakes.forget(record);
    this.#lost++;
    this.emit("seenLost", { id, error });
    if (this.listenerCount("lost") > 0) this.emit("lost", { id, error });
    else this.#report(new Error(`Connection ${id} is lost: ${error.message}`, { cause: error }));
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
    this.#wakeAgainAtMs = nowMs + RETRY_MS;
    this.#report(error);
  }

  #report(error: unknown): void {
    const told = toError(error);
    if (this.listenerCount("error") > 0) this.#guarded(() => this.emit("error", told));
    else this.#unheard.tell(told);
  }

  /** Somebody else's mistake is thrown again where nothing catches it, and no turn ends halfway. */
  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The bytes of an attachment that can be changed in place. */
function encodedIfObject(attachment: unknown): Uint8Array | undefined {
  return typeof attachment === "object" && attachment !== null
    ? encodeCbor(attachment as CborValue)
    : undefined;
}

/** Whether something happened to the connection that its image does not know. */
function hasChanged({ tcb, attachment, attached }: Saving): boolean {
  if (tcb.outputQueued || tcb.events !== 0 || tcb.attachment !== attachment) return true;
  if (attached === undefined) return false;
  try {
    const now = encodeCbor(attachment as CborValue);
    return now.length !== attached.length || now.some((byte, at) => byte !== attached[at]);
  } catch {
    return true;
  }
}

/** Handshakes do not sleep; of durable connections, whose peers may count on ours already, they do when they must. */
function canSleep(tcb: Tcb): boolean {
  const { established, synReceived } = TcpState;
  return tcb.state >= established ||
    (tcb.state === synReceived && tcb.durable !== undefined && tcb.listener >= 0);
}
