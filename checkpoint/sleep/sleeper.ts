import { HANDED_ON } from "../../base/handed_on.ts";
import type { Histogram } from "../../base/histogram.ts";
import { Field, RecordState } from "../../net/connections/connection_map.ts";
import type { Host } from "../../net/socket/host.ts";
import { type Tcb, TcpError, TcpState } from "../../net/tcp/tcb.ts";
import type { SleepOwner } from "../../net/wake/sleep_owner.ts";
import { SleepTimers } from "../../net/wake/sleep_timers.ts";
import { locationOfRecord } from "../../net/wake/slot.ts";
import {
  summarize,
  summarizedKey,
  Summary,
  SUMMARY_WORDS,
  SummaryKind,
  summaryKind,
} from "../../net/wake/summary.ts";
import { type Analyzer, IdleAnalyzer } from "../analyzer.ts";
import { Events } from "../events.ts";
import { FirewallKeeper } from "../firewall/firewall_keeper.ts";
import { Journal } from "../journal.ts";
import { recoverConnections, type Recovered } from "../recover.ts";
import { type Store, StoreError } from "../store/store.ts";
import { Cleaning } from "./cleaning.ts";
import { canSleep, FallingAsleep } from "./falling_asleep.ts";
import { Images } from "./images.ts";
import { Teller } from "./teller.ts";
import type { SleeperEvents, SleeperOptions, SleeperStats } from "./types.ts";
import { Waking } from "./waking.ts";
import type { Walk } from "./walk.ts";

/** Connections frozen, or woken, per turn: about two milliseconds of work. */
const BATCH_MAX = 256;

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
  readonly #walk: Walk;
  readonly #falling: FallingAsleep;
  readonly #waking: Waking;
  readonly #cleaning: Cleaning;
  /** @internal */
  readonly firewall: FirewallKeeper;
  #holding = false;

  /** A {@linkcode SleepyHost} makes its own. */
  constructor(host: Host, store: Store, options: SleeperOptions = {}) {
    super();
    const { analyzer = new IdleAnalyzer(), batchMax = BATCH_MAX, wake = {} } = options;
    this.store = store;
    this.analyzer = analyzer;
    const { stack } = host;
    const teller = new Teller(this);
    const journal = new Journal(host, store, (error) => teller.report(error));
    this.#walk = {
      host,
      stack,
      store,
      images: new Images(store, journal),
      journal,
      timers: new SleepTimers(host.clock.nowMs()),
      teller,
      closing: false,
    };
    this.#falling = new FallingAsleep(this.#walk, analyzer, batchMax);
    this.#cleaning = new Cleaning(this.#walk);
    this.#waking = new Waking(this.#walk, this.#falling, this.#cleaning, wake, batchMax);
    this.firewall = new FirewallKeeper(stack, store, (error) => teller.report(error));
    stack.sleepers.owner = this;
    store.onMoved = (...move) => this.#moved(...move);
  }

  /** Counts since the start. */
  get stats(): SleeperStats {
    return { suspends: this.#falling.suspends, saving: this.#falling.saving, ...this.#waking.stats };
  }

  /** How long connections took to fall asleep, from their freezing until their image was durable. */
  get suspendSeconds(): Histogram {
    return this.#falling.seconds;
  }

  /** How long connections took to wake, from the first wish until they were awake. */
  get restoreSeconds(): Histogram {
    return this.#waking.seconds;
  }

  /** Records in the store that are the log of awake durable connections. */
  get logged(): number {
    return this.#walk.journal.records;
  }

  /**
   * Enters every connection that the store holds: the first thing to do after opening it. What is wrong
   * is told by `error` events a moment later, so that there is time to listen.
   */
  recover(): Recovered {
    const { recovered, errors, redated } = recoverConnections(
      this.store,
      this.#walk.stack,
      this.#walk.timers,
      this.#walk.host.clock.nowMs(),
      this.#walk.journal,
      this.firewall,
    );
    if (errors.length > 0) queueMicrotask(() => errors.forEach((error) => this.#walk.teller.report(error)));
    if (redated !== undefined) this.#waking.waitFor(redated);
    this.#walk.host.kick();
    return recovered;
  }

  /**
   * Suspends a connection now, whatever it is doing; data in flight goes into the image.
   * @returns False when there is no such connection, its handshake is not over, or it sleeps already.
   */
  suspend(id: string): boolean {
    const record = this.#walk.host.recordOf(id);
    if (record < 0 || this.#walk.stack.connections.state(record) !== RecordState.awake) return false;
    const tcb = this.#walk.stack.awakeTcb(record);
    if (tcb.saving || !canSleep(tcb)) return false;
    this.#falling.force(tcb);
    this.#walk.host.kick();
    return true;
  }

  /**
   * Suspends every connection that is established, whatever it is doing. One that is spoken to meanwhile
   * stays awake.
   * @returns How many; resolves when all of them are durable.
   */
  suspendAll(): Promise<number> {
    return this.#falling.all();
  }

  /**
   * As `suspendAll`, at the end of a process: from now on nothing wakes here and nothing is accepted. What
   * arrives is for the process that opens the store next; peers send it again. Connections whose handshake
   * is over by the time of the last save sleep like the others; the others are dropped without a word.
   */
  async shutdown(): Promise<number> {
    this.#walk.host.turn(); // what is wanted awake already may still be
    this.#walk.closing = true;
    this.#holding = false; // whoever holds them asleep may not wake them now
    this.#walk.stack.accepting = false;
    const count = await this.suspendAll();
    const { tcp } = this.#walk.stack;
    for (const tcb of tcp.tcbs()) {
      if (tcb.state === TcpState.synReceived && !tcb.saving) tcp.destroy(tcb, TcpError.aborted); // no RST: its peer asks again
    }
    this.firewall.save(this.#walk.host.clock.nowMs());
    if (this.store.failed === undefined) this.#walk.journal.close(); // here, since the process may end before its host
    return count;
  }

  /** The host has been closed: there will be no more turns. */
  hostClosed(): void {
    if (this.store.failed === undefined) this.#walk.journal.close();
  }

  /**
   * As `suspendAll`, and holds all asleep until `act` is done: what lies in the store meanwhile is the state of one
   * moment. Nobody wakes, and nobody new is accepted; what arrives waits, or its peers send it again.
   *
   * @throws {StoreError} When this is under way already, or after `shutdown`.
   */
  async whileAllSleep<T>(act: () => Promise<T>): Promise<T> {
    if (this.#walk.closing) {
      throw new StoreError("Cannot hold the connections asleep: they are held, or the host ends");
    }
    this.#walk.host.turn(); // what is wanted awake already may still be
    this.#walk.closing = this.#holding = true;
    this.#walk.stack.accepting = false;
    try {
      await this.suspendAll();
      this.firewall.save(this.#walk.host.clock.nowMs());
      return await act();
    } finally {
      if (this.#holding && !this.#walk.host.closed) {
        this.#walk.closing = this.#holding = false;
        this.#walk.stack.accepting = true;
        this.#walk.host.kick();
      }
    }
  }

  /** What is attached to a connection, awake or asleep; a sleeper's image is read, and it sleeps on. */
  attachmentOf(record: number): unknown {
    const { connections, tcp } = this.#walk.stack;
    const tcb = this.#falling.savingOf(record)?.tcb ?? tcp.tcbIn(connections.get(record, Field.slot));
    if (tcb?.record === record) return tcb.attachment;
    return this.#walk.images.at(locationOfRecord(connections, record)).attachment;
  }

  // SleepOwner

  /** @internal */
  frozenPeerOf(record: number): number | Uint8Array | undefined {
    const { addresses, connections } = this.#walk.stack;
    const saving = this.#falling.savingOf(record);
    if (saving !== undefined) return addresses.freeze(saving.tcb.remoteAddress);
    return this.#walk.images.frozenPeerAt(locationOfRecord(connections, record));
  }

  /** @internal */
  watch(tcb: Tcb, nowMs: number): void {
    this.#falling.watch(tcb, nowMs);
  }

  /** @internal */
  wake(record: number, nowMs: number): void {
    this.#waking.wake(record, nowMs);
  }

  /** @internal */
  waits(record: number): boolean {
    return this.#waking.waits(record);
  }

  /** @internal */
  deadlineMoved(record: number, deadlineMs: number): void {
    this.#walk.timers.set(record, deadlineMs);
  }

  /** @internal */
  moved(tcb: Tcb): void {
    this.#walk.journal.moved(tcb);
  }

  /** @internal */
  turn(nowMs: number): void {
    this.#waking.turn(nowMs);
    this.#falling.turn(nowMs);
    if (this.#walk.journal.turn(nowMs)) this.#cleaning.soon(nowMs);
    if (!this.#walk.closing) this.firewall.turn(nowMs);
    this.#cleaning.turn(nowMs);
  }

  /** @internal */
  nextDeadlineMs(): number {
    const nextMs = Math.min(
      this.#waking.nextDeadlineMs(),
      this.#falling.nextDeadlineMs(),
      this.#walk.journal.nextDeadlineMs(),
      this.#walk.closing ? Infinity : this.firewall.nextDeadlineMs(),
      this.#cleaning.nextDeadlineMs(),
    );
    if (nextMs !== this.#toldMs) this.#toldMs = nextMs; // else it is the same number, and not one that is made anew
    return this.#toldMs;
  }
  #toldMs: number = HANDED_ON;

  /** An image lies elsewhere from now on: of a sleeper, or of a connection about to sleep. */
  #moved(from: number, to: number, bytes: Uint8Array, known: Int32Array | undefined): Int32Array | undefined {
    if (this.#walk.journal.relocatedDead(from, to)) return known;
    let summary = known;
    const kind = summary?.length === SUMMARY_WORDS ? summaryKind(summary[Summary.tag]!) : -1;
    if (kind < 0 || (kind & SummaryKind.keyOnly) !== 0) { // else it is no durable connection's
      if (this.#walk.journal.relocated(from, to, bytes) || this.firewall.relocated(from, to, bytes)) {
        return undefined;
      }
      summary = new Int32Array(SUMMARY_WORDS);
      summarize(this.#walk.images.of(bytes).tcb, summary);
    }
    if (this.#walk.stack.sleepers.relocate(summarizedKey(summary!), from, to) < 0) {
      this.#falling.relocate(from, to);
    }
    return summary;
  }
}
