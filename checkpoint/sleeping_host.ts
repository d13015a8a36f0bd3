import { Host } from "../net/socket/host.ts";
import type { HostOptions } from "../net/socket/host_options.ts";
import type { WakeBudget } from "../net/wake/policy.ts";
import { type Analyzer, IdleAnalyzer } from "./analyzer.ts";
import type { Archived, ArchiveOptions, ArchiveSink } from "./archive/archive_writer.ts";
import { writeArchive } from "./archive/archive_writer.ts";
import { restoreFirewall, saveFirewall } from "./firewall/host_firewall.ts";
import type { Store } from "./store/store.ts";
import type { Recovered } from "./recover.ts";
import { Sleeper } from "./sleep/sleeper.ts";

/** A host whose idle connections sleep. */
export interface SleepyHostOptions extends HostOptions {
  /**
   * Where sleeping connections live. The host closes it when it is closed by `shutdown`. nftables rules, what they have
   * counted and learnt, and the flows that are followed for them are kept in it as well, and go on in the next process: its
   * `firewall` goes before the rules that were kept, and what is the same in both counts on.
   */
  store: Store;
  /** Milliseconds without data after which a connection sleeps. Default 60,000. */
  idleMs?: number;
  /**
   * What `firewallImage()` of an earlier process gave, which goes before what the store has kept: its flows and translations
   * go on. So do its rules and sets, where `firewall` says no others.
   */
  firewallImage?: Uint8Array;
  /** Another way to decide; `idleMs` is then ignored. */
  analyzer?: Analyzer;
  /**
   * How many may wake, and be awake, of all listeners together; a listener has its own beside that (`WakePolicy`). What
   * waits meanwhile is bounded by `tcp.heldPacketsMax` and `tcp.heldBytesMax`. Default: no limit.
   */
  wake?: WakeBudget;
}

/** How long a process finishes what it is at: longer than nearly all requests, shorter than clients wait. */
export const DRAIN_MS = 5_000;

/** The part of {@linkcode SleepyHost} that needs no files and no sockets of the machine: what runs in a page. */
export class SleepingHost extends Host {
  /** Who puts connections to sleep, and tells when they go and come. */
  readonly sleeper: Sleeper;
  /** What the store held when it was opened. */
  readonly recovered: Recovered;
  /** What ends with the host. */
  protected readonly atClose: Set<() => void> = new Set();
  readonly #store: Store;

  /**
   * Opens the links, and enters what sleeps in the store.
   * @throws {RouteError} {FirewallError} {TypeError} When an option is wrong; {StoreError} When the store cannot be read.
   */
  constructor(options: SleepyHostOptions) {
    super(options);
    this.#store = options.store;
    const analyzer = options.analyzer ??
      new IdleAnalyzer(options.idleMs === undefined ? {} : { idleMs: options.idleMs });
    this.sleeper = new Sleeper(this, options.store, {
      analyzer,
      ...(options.wake === undefined ? {} : { wake: options.wake }),
    });
    try {
      if (options.firewallImage !== undefined) {
        restoreFirewall(
          this.stack,
          options.firewallImage,
          options.firewall === undefined,
          this.clock.nowMs(),
        );
      }
      this.recovered = this.sleeper.recover();
      const given = options.firewall === undefined
        ? this.stack.hooks.rules?.list(this.stack.nowMs)
        : options.firewall;
      const rules = given !== undefined && !("tables" in given) ? { tables: [] } : given;
      this.sleeper.firewall.goOn(rules, options.firewallImage === undefined);
    } catch (error) {
      this.close(); // its links are open
      throw error;
    }
  }

  /** Connections now, by what holds them. */
  get counts(): { awake: number; asleep: number; waking: number } {
    const { awake, asleep, waking } = this.stack.connections;
    return { awake, asleep, waking };
  }

  /**
   * What is attached to a connection. One that sleeps sleeps on: its image is read, no more.
   * @returns `undefined` also when there is no such connection.
   * @throws {TypeError} When `id` is not one. {StoreError} {ImageError} When its image cannot be read.
   */
  attachmentOf(id: string): unknown {
    const record = this.recordOf(id);
    return record < 0 ? undefined : this.sleeper.attachmentOf(record);
  }

  /**
   * The image of the firewall as it is now: rules in nftables' words with what they have counted, sets with what is left
   * of their elements' time, flows and translations. The store keeps the same by itself; this is for who takes it elsewhere.
   *
   * @throws {RangeError} When it would be over a limit of images.
   */
  firewallImage(): Uint8Array<ArrayBuffer> {
    return saveFirewall(this.stack, this.clock.nowMs());
  }

  /**
   * Has the servers on this host come to an end with what they are at, before `shutdown`: no request, no message is begun
   * that this process may not finish. What arrives meanwhile waits in TCP, for the process that goes on.
   *
   * @param withinMs Waits so long; what is under way then is cut off.
   */
  async drain(withinMs = DRAIN_MS): Promise<void> {
    if (this.drains.size === 0) return;
    const over = new AbortController();
    const alarm = this.clock.at(this.clock.nowMs() + withinMs, () => over.abort());
    try {
      await Promise.all([...this.drains].map((drain) => drain(over.signal)));
    } finally {
      alarm.cancel();
    }
  }

  /**
   * Puts every connection to sleep, then closes links and store, and waits until another process can open them: that one
   * goes on with all of them.
   * New connections are not accepted from now on, nor refused: their peers ask again, and reach that process.
   */
  async shutdown(): Promise<void> {
    await this.sleeper.shutdown();
    this.close();
    await Promise.all([this.#store.close(), this.released()]);
  }

  /**
   * Puts every connection to sleep and gives all of them to `sink` piece by piece, in bounded memory, as one portable
   * archive. Then they wake as they are wanted, and this process goes on; until then nobody wakes and nobody new is
   * accepted. {@linkcode unarchive} brings them up elsewhere, and only one of both processes may go on with them.
   *
   * `awake` connections are not in it: handshakes under way, and those whose attachment CBOR cannot hold.
   *
   * @throws {StoreError} When the store refuses, or another checkpoint is under way.
   * @throws {Error} What `sink` throws.
   */
  async checkpoint(
    sink: ArchiveSink,
    options: Pick<ArchiveOptions, "onProgress"> = {},
  ): Promise<Archived & { awake: number }> {
    return await this.archive((store, all) => writeArchive(store, sink, all), options);
  }

  /** Has `write` write an archive of all connections while they sleep. */
  protected async archive(
    write: (store: Store, options: ArchiveOptions) => Promise<Archived>,
    options: Pick<ArchiveOptions, "onProgress">,
  ): Promise<Archived & { awake: number }> {
    return await this.sleeper.whileAllSleep(async () => {
      const { awake } = this.counts;
      return { ...await write(this.#store, { ...options, nowMs: this.clock.nowMs() }), awake };
    });
  }

  /** As {@linkcode Host.close}. Connections that are awake get a reset; use `shutdown` to keep them. */
  override close(): void {
    if (this.closed) return;
    for (const end of this.atClose) end();
    super.close();
    this.sleeper.hostClosed();
  }

  /** As `shutdown()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}
