import { Host } from "../net/socket/host.ts";
import type { HostOptions } from "../net/socket/host_options.ts";
import type { WakeBudget } from "../net/wake/policy.ts";
import { type Analyzer, IdleAnalyzer } from "./analyzer.ts";
import type { Archived, ArchiveOptions, ArchiveSink } from "./archive/archive_writer.ts";
import { writeArchive } from "./archive/archive_writer.ts";
import { writeArchiveFile } from "./archive/archive_file.ts";
import { type HandoverOffer, offerHandover, type OfferOptions } from "./handover/offer.ts";
import { type TakenOver, takeOver, type TakeOverOptions } from "./handover/take_over.ts";
import type { Store } from "./store/store.ts";
import type { Recovered } from "./recover.ts";
import { Sleeper } from "./suspend.ts";

/** A host whose idle connections sleep. */
export interface SleepyHostOptions extends HostOptions {
  /** Where sleeping connections live. The host closes it when it is closed by `shutdown`. */
  store: Store;
  /** Milliseconds without data after which a connection sleeps. Default 60,000. */
  idleMs?: number;
  /** Another way to decide; `idleMs` is then ignored. */
  analyzer?: Analyzer;
  /**
   * How many may wake, and be awake, of all listeners together; a listener has its own beside that (`WakePolicy`). What
   * waits meanwhile is bounded by `tcp.heldPacketsMax` and `tcp.heldBytesMax`. Default: no limit.
   */
  wake?: WakeBudget;
}

/**
 * A {@linkcode Host} whose idle connections sleep in a store. Connections that an earlier process left
 * there are open from the first moment: listen, and they come back when they are spoken to.
 *
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * const [link, _theirs] = pipe({ medium: "ip" });
 * const host = new SleepyHost({
 *   interfaces: [{ link }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(),
 *   idleMs: 30_000,
 * });
 * host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
 * await host.shutdown();
 * ```
 * @example Connections that survive whatever is killed, asleep or awake (docs/durable.md)
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * const [link, _theirs] = pipe({ medium: "ip" });
 * using host = new SleepyHost({
 *   interfaces: [{ link }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(), // a FileStore, where it shall outlive the process
 * });
 * host.serve({
 *   port: 7,
 *   durable: true,
 *   open: (connection) => void (connection.attachment = { got: 0 }),
 *   data(connection, bytes) { // what happens in here is one entry of the log
 *     (connection.attachment as { got: number }).got += bytes.length;
 *     connection.write(bytes);
 *   },
 * });
 * ```
 */
export class SleepyHost extends Host {
  readonly sleeper: Sleeper;
  /** What the store held when it was opened. */
  readonly recovered: Recovered;
  readonly #store: Store;
  #offer: HandoverOffer | undefined;

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
      this.recovered = this.sleeper.recover();
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
   * Puts every connection to sleep, then closes links and store: a later process goes on with all of them.
   * New connections are not accepted from now on, nor refused: their peers ask again, and reach that process.
   */
  async shutdown(): Promise<void> {
    await this.#offer?.close();
    await this.sleeper.shutdown();
    this.close();
    await this.#store.close();
  }

  /**
   * Offers to shut down for another process that calls {@linkcode SleepyHost.takeOver} with the same `path`, usually
   * `handover` in the store's folder; the offer's `done` says when that has happened. Connections, those that are in
   * the middle of something as well, go on in that process; what peers send in between they send again.
   *
   * @throws {HandoverError} When there can be no socket at `path`, or another process has one there.
   */
  async offerHandover(path: string, options: OfferOptions = {}): Promise<HandoverOffer> {
    const stop = async (): Promise<number> => {
      await this.shutdown();
      return this.counts.asleep + this.counts.waking;
    };
    return this.#offer = await offerHandover(path, stop, options);
  }

  /**
   * Puts every connection to sleep and writes all of them into one portable file, or gives it to `sink` piece by
   * piece, in bounded memory. Then they wake as they are wanted, and this process goes on; until then nobody wakes and
   * nobody new is accepted. {@linkcode unarchive} brings them up elsewhere, and only one of both processes may go on
   * with them.
   *
   * `awake` connections are not in it: handshakes under way, and those whose attachment CBOR cannot hold.
   *
   * @throws {StoreError} When the store refuses, or another checkpoint is under way.
   * @throws {Error} When the file is there already or cannot be written, or what `sink` throws.
   */
  async checkpoint(
    target: string | ArchiveSink,
    options: Pick<ArchiveOptions, "onProgress"> = {},
  ): Promise<Archived & { awake: number }> {
    return await this.sleeper.whileAllSleep(async () => {
      const { awake } = this.counts;
      const all = { ...options, nowMs: this.clock.nowMs() };
      const archived = typeof target === "string"
        ? await writeArchiveFile(this.#store, target, all)
        : await writeArchive(this.#store, target, all);
      return { ...archived, awake };
    });
  }

  /** Asks another process for its connections; see {@linkcode takeOver}. The store is opened after this. */
  static takeOver(path: string, options: TakeOverOptions = {}): Promise<TakenOver> {
    return takeOver(path, options);
  }

  override close(): void {
    if (this.closed) return;
    super.close();
    this.sleeper.hostClosed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}
