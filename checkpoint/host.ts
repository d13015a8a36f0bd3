import type { Archived, ArchiveOptions, ArchiveSink } from "./archive/archive_writer.ts";
import { writeArchive } from "./archive/archive_writer.ts";
import { writeArchiveFile } from "./archive/archive_file.ts";
import { type ControlOffer, offerControl } from "./control/offer.ts";
import { type HandoverOffer, offerHandover, type OfferOptions } from "./handover/offer.ts";
import { type TakenOver, takeOver, type TakeOverOptions } from "./handover/take_over.ts";
import { SleepingHost } from "./sleeping_host.ts";

export type { SleepyHostOptions } from "./sleeping_host.ts";

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
export class SleepyHost extends SleepingHost {
  #offer: HandoverOffer | undefined;

  /** Puts every connection to sleep, takes an offer of a handover back, and closes links and store. */
  override async shutdown(): Promise<void> {
    await this.#offer?.close();
    await super.shutdown();
  }

  /**
   * Offers a control socket at `path`, usually `control` in the store's folder: what `torpor ls`, `top`, `inspect`,
   * `suspend`, `restore` and `capture` ask this host through. It ends with the host.
   *
   * @throws {ControlError} When there can be no socket at `path`, or another process has one there.
   */
  async offerControl(path: string): Promise<ControlOffer> {
    this.checkOpen();
    const control = await offerControl(this, path);
    this.atClose.add(() => void control.close());
    if (this.closed) await control.close();
    return control;
  }

  /**
   * Offers to shut down for another process that calls {@linkcode SleepyHost.takeOver} with the same `path`, usually
   * `handover` in the store's folder; the offer's `done` says when that has happened. First servers finish what they are
   * at, see `drain`. Connections, those that are in the middle of something as well, go on in that process; what peers send in between they send again.
   *
   * @throws {HandoverError} When there can be no socket at `path`, or another process has one there.
   */
  async offerHandover(path: string, options: OfferOptions = {}): Promise<HandoverOffer> {
    const stop = async (): Promise<number> => {
      await this.drain(options.drainMs);
      await this.shutdown();
      return this.counts.asleep + this.counts.waking;
    };
    return this.#offer = await offerHandover(path, stop, options);
  }

  /**
   * As the checkpoint of a {@linkcode SleepingHost}, into a file as well.
   *
   * @throws {StoreError} When the store refuses, or another checkpoint is under way.
   * @throws {Error} When the file is there already or cannot be written, or what `sink` throws.
   */
  override async checkpoint(
    target: string | ArchiveSink,
    options: Pick<ArchiveOptions, "onProgress"> = {},
  ): Promise<Archived & { awake: number }> {
    return await this.archive(
      (store, all) =>
        typeof target === "string" ? writeArchiveFile(store, target, all) : writeArchive(store, target, all),
      options,
    );
  }

  /** Asks another process for its connections; see {@linkcode takeOver}. The store is opened after this. */
  static takeOver(path: string, options: TakeOverOptions = {}): Promise<TakenOver> {
    return takeOver(path, options);
  }
}
