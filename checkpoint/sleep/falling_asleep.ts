import { HANDED_ON } from "../../base/handed_on.ts";
import { Histogram } from "../../base/histogram.ts";
import { TimerWheel } from "../../base/timer_wheel.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { type Tcb, TcpState } from "../../net/tcp/tcb.ts";
import type { Analyzer } from "../analyzer.ts";
import { type CborValue, encodeCbor } from "../image/cbor.ts";
import { maySleep } from "../relief.ts";
import type { Commit } from "../store/store.ts";
import type { Walk } from "./walk.ts";
import { type Saving, Writing } from "./writing.ts";

/** Image bytes per turn: one connection may hold 16 MiB unsent, and all images of a batch lie in memory. */
const BATCH_BYTES_MAX = 64 << 20;
/** How soon a connection that is not quiet yet is looked at again, and how late at the latest. */
const DRAINING_MS = 50;
const DRAINING_MS_MAX = 10_000;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;
/** How late at the latest a connection that cannot be written down is tried again. */
const UNWRITABLE_MS_MAX = 60_000;
/** How long the analyzer is left alone about a connection for which it has thrown. */
const ANALYZER_RETRY_MS = 10_000;
/** As good as never, and still a time that the timer wheel takes (300 years). */
const NEVER_MS = 1e13;
/** Batches of `suspendAll` that share a sync, while as many others are written. */
const COMMITS_MAX = 4;
/** Turns in which `suspendAll` may get nowhere: one is usual, when an owner has to hear news first. */
const IDLE_ROUNDS_MAX = 16;

/** THE SLEEP WALK's first half: who is idle, frozen, written down, and freed when that is durable. */
export class FallingAsleep {
  readonly #walk: Walk;
  readonly #analyzer: Analyzer;
  readonly #batchMax: number;
  readonly #writing: Writing;
  readonly #watch: TimerWheel; // by TCB slot: when to ask the analyzer
  readonly #saving = new Map<number, Saving>(); // by record
  readonly #commits = new Set<Promise<void>>(); // settle when their batch is asleep, or awake again
  readonly #ready = new Map<Tcb, "idle" | "forced">(); // connections to suspend
  readonly #unwritable = new WeakMap<Tcb, number>(); // how often there was no image to be had
  #saveAgainAtMs = -Infinity;
  #suspends = 0;
  /** From their freezing until their image was durable. */
  readonly seconds: Histogram = new Histogram();

  constructor(walk: Walk, analyzer: Analyzer, batchMax: number) {
    this.#walk = walk;
    this.#analyzer = analyzer;
    this.#batchMax = batchMax;
    this.#writing = new Writing(walk, batchMax);
    this.#watch = new TimerWheel(walk.host.clock.nowMs());
  }

  /** Connections that fell asleep, since the start. */
  get suspends(): number {
    return this.#suspends;
  }

  /** Connections whose images are being written. */
  get saving(): number {
    return this.#saving.size;
  }

  /** Connections on their way to sleep, whether they are being written or not. */
  get underWay(): number {
    return this.#ready.size + this.#saving.size;
  }

  /** What is known of a connection whose image is being written; `undefined` of every other. */
  savingOf(record: number): Saving | undefined {
    return this.#saving.get(record);
  }

  /** The sleep of a connection is called off: its image is revoked, or is its log. */
  calledOff(record: number): void {
    this.#saving.delete(record);
  }

  /** An image lies elsewhere from now on. */
  relocate(from: number, to: number): void {
    for (const saving of this.#saving.values()) if (saving.location === from) saving.location = to;
  }

  /** Suspends a connection in the next turn, whatever it is doing. */
  force(tcb: Tcb): void {
    this.#ready.set(tcb, "forced");
  }

  /** Suspends a connection for which others wait, unless it cannot, or its analyzer says never. */
  giveWay(tcb: Tcb, why: "idle" | "forced", nowMs: number): void {
    if (this.#unwritable.has(tcb) || this.#ready.has(tcb)) return;
    if (this.#stayAwakeMs(tcb, nowMs) < NEVER_MS) this.#ready.set(tcb, why);
  }

  /** Suspends all that are established, whatever they are doing. @returns How many; resolves when they are durable. */
  async all(): Promise<number> {
    const before = this.#suspends;
    this.#walk.host.turn(); // news first
    this.#wantAll((tcb) => !tcb.saving);
    this.#saveAgainAtMs = -Infinity;
    let idleRounds = 0;
    while (this.#ready.size + this.#commits.size > 0 && idleRounds < IDLE_ROUNDS_MAX) {
      const left = this.#ready.size;
      this.#walk.host.turn();
      idleRounds = this.#commits.size > 0 || this.#ready.size < left ? 0 : idleRounds + 1;
      const goesOn = this.#ready.size > 0 && this.#ready.size < left;
      if (goesOn && this.#commits.size < 2 * COMMITS_MAX) {
        if (this.#commits.size % COMMITS_MAX === 0) await undefined; // the sync of those begins, and others go on meanwhile
        continue;
      }
      await (goesOn ? Promise.race(this.#commits) : Promise.all(this.#commits));
      if (this.#saveAgainAtMs > -Infinity) break; // the store has refused, and said so by an event
      // Handshakes that were under way have ended meanwhile; what could not be written will not be now.
      if (this.#walk.closing) this.#wantAll((tcb) => !tcb.saving && !this.#unwritable.has(tcb));
    }
    return this.#suspends - before;
  }

  #wantAll(which: (tcb: Tcb) => boolean): void {
    for (const tcb of this.#walk.stack.tcp.tcbs()) {
      if (canSleep(tcb) && which(tcb)) this.#ready.set(tcb, "forced");
    }
  }

  /** Asks the analyzer, now or when it has said. */
  watch(tcb: Tcb, nowMs: number): void {
    if (tcb.state === TcpState.closed) return;
    this.#watchFor(tcb.slot, this.#stayAwakeMs(tcb, nowMs), nowMs);
  }

  /** Made once: there is a turn for each packet that comes alone. */
  readonly #due = (slot: number): void => this.#consider(slot, this.#nowMs);
  #nowMs: number = HANDED_ON;

  /** The end of a turn: those that have been idle for long enough fall asleep. */
  turn(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#watch.advance(nowMs, this.#due);
    if (this.#ready.size > 0 && nowMs >= this.#saveAgainAtMs) this.#suspendSome(nowMs);
  }

  nextDeadlineMs(): number {
    const saveMs = this.#ready.size > 0 ? this.#saveAgainAtMs : Infinity;
    return Math.min(saveMs, this.#watch.nextDeadlineMs());
  }

  #watchFor(slot: number, delayMs: number, nowMs: number): void {
    if (delayMs < NEVER_MS) this.#watch.schedule(slot, nowMs + delayMs);
    else this.#watch.cancel(slot); // the slot's last connection may have left something
  }

  /** The analyzer is the application's: its mistake keeps one connection awake, and no turn from its end. */
  #stayAwakeMs(tcb: Tcb, nowMs: number): number {
    if (tcb.drowsy) return 0;
    try {
      return this.#analyzer.stayAwakeMs(tcb, nowMs);
    } catch (error) {
      this.#walk.teller.report(error);
      return ANALYZER_RETRY_MS;
    }
  }

  #consider(slot: number, nowMs: number): void {
    const tcb = this.#walk.stack.tcp.tcbIn(slot);
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
    const writing = this.#writing;
    let batchBytes = 0;
    for (const [tcb, why] of this.#ready) {
      if (writing.count >= this.#batchMax || batchBytes >= BATCH_BYTES_MAX) break; // the next turn's
      const gone = tcb.record < 0 || tcb.saving || !canSleep(tcb);
      if (!gone && (tcb.events !== 0 || tcb.outputQueued)) continue; // it has news for its owner: after that
      this.#ready.delete(tcb);
      if (gone) continue;
      if (why === "idle" && !maySleep(tcb)) {
        this.#watch.schedule(tcb.slot, nowMs + DRAINING_MS);
        continue;
      }
      try {
        batchBytes += writing.add(tcb, why, nowMs);
      } catch (error) {
        // An attachment that CBOR cannot hold. The connection stays awake until somebody mends it.
        const failures = (this.#unwritable.get(tcb) ?? 0) + 1;
        this.#unwritable.set(tcb, failures);
        const retryMs = Math.min(RETRY_MS * 2 ** (failures - 1), UNWRITABLE_MS_MAX);
        this.#watch.schedule(tcb.slot, nowMs + retryMs);
        this.#walk.teller.report(error);
      }
    }
    writing.append((batch, commit, error) => {
      if (commit === undefined) this.#refused(batch, error, nowMs);
      else this.#written(batch, commit);
    });
  }

  /** The store did not take them. */
  #refused(batch: readonly Saving[], error: unknown, nowMs: number): void {
    this.#walk.teller.report(error);
    this.#saveAgainAtMs = nowMs + RETRY_MS;
    for (const { tcb, why } of batch) {
      if (why === "forced") this.#ready.set(tcb, why);
      else this.#watch.schedule(tcb.slot, this.#saveAgainAtMs);
    }
  }

  /** They are in the store, which is at work to make them durable. */
  #written(batch: readonly Saving[], commit: Commit): void {
    for (let index = 0; index < batch.length; index++) {
      const saving = batch[index]!;
      const { tcb } = saving;
      this.#walk.stack.sleepers.beginSave(tcb);
      this.#walk.journal.replaced(tcb);
      this.#unwritable.delete(tcb);
      this.#saving.set(tcb.record, saving);
    }
    const settled: Promise<void> = commit.durable
      .then(() => this.#saved(batch), (error) => this.#notSaved(batch, error))
      .finally(() => this.#commits.delete(settled));
    this.#commits.add(settled);
  }

  /** saving -> asleep, for all that nobody has wanted meanwhile. */
  #saved(batch: readonly Saving[]): void {
    if (this.#walk.host.closed) return;
    const nowMs = this.#walk.host.clock.nowMs();
    const events: { id: string; imageBytes: number; tookMs: number }[] = [];
    for (const saving of batch) {
      const { tcb, location, imageBytes, frozenAtMs } = saving;
      const record = tcb.record;
      if (record < 0 || this.#saving.get(record) !== saving) continue;
      const wanted = this.#walk.stack.connections.state(record) !== RecordState.awake;
      if (!wanted && hasChanged(saving)) {
        if (this.#walk.closing) this.#saveAnew(saving, nowMs);
        else this.#walk.stack.sleepers.wake(record, nowMs);
        continue;
      }
      if (wanted) continue; // a wake is on its way, here or in the next process
      this.#saving.delete(record);
      const tookMs = Math.max(0, nowMs - frozenAtMs);
      if (this.#walk.teller.isHeard("suspended")) {
        events.push({ id: this.#walk.stack.idOf(record), imageBytes, tookMs });
      }
      const deadlineMs = this.#walk.stack.sleepers.sleep(tcb, location);
      if (deadlineMs < Infinity) this.#walk.timers.set(record, deadlineMs);
      this.#suspends++;
      this.seconds.record(tookMs / 1_000);
    }
    this.#walk.host.kick();
    for (const event of events) this.#walk.teller.guarded(() => this.#walk.teller.emit("suspended", event));
  }

  /** Its image is out of date, and there will be no later chance. */
  #saveAnew({ tcb, location }: Saving, nowMs: number): void {
    try {
      if (tcb.durable === undefined) this.#walk.store.remove([location]);
      else this.#walk.journal.begin(tcb, location);
    } catch (error) {
      return this.#walk.teller.report(error); // an old attachment is better than no connection
    }
    this.#saving.delete(tcb.record);
    this.#walk.stack.sleepers.unsave(tcb, nowMs);
    this.#ready.set(tcb, "forced");
  }

  /** The disk would not promise it: they stay awake, once the images are revoked. */
  #notSaved(batch: readonly Saving[], error: unknown): void {
    const nowMs = this.#walk.host.clock.nowMs();
    this.#saveAgainAtMs = nowMs + RETRY_MS;
    for (const saving of batch) {
      const record = saving.tcb.record;
      if (record >= 0 && this.#saving.get(record) === saving) this.#walk.stack.sleepers.wake(record, nowMs);
    }
    this.#walk.host.kick();
    this.#walk.teller.report(error);
  }
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
export function canSleep(tcb: Tcb): boolean {
  const { established, synReceived } = TcpState;
  return tcb.state >= established ||
    (tcb.state === synReceived && tcb.durable !== undefined && tcb.listener >= 0);
}
