import type { FrozenBatch } from "../../net/tcp/frozen_batch.ts";
import { summarizedKey, Summary, SUMMARY_WORDS, summaryKind } from "../../net/wake/summary.ts";
import type { Journal } from "../journal.ts";
import { type Attached, takeQuiet } from "../sockets/decode_quiet.ts";
import {
  type FrozenSocket,
  readKeptSocket,
  readSocketImage,
  SOCKET_VERSION,
} from "../sockets/socket_image.ts";
import type { Store } from "../store/store.ts";

/** The images of connections that sleep, as the store has them. */
export class Images {
  readonly #store: Store;
  readonly #stretchOf: (number: number) => Uint8Array;

  constructor(store: Store, journal: Journal) {
    this.#store = store;
    this.#stretchOf = (number) => journal.stretch(number);
  }

  /** The connection of an image. @throws {ImageError} {StoreError} */
  at(location: number): FrozenSocket {
    const store = this.#store;
    const kept = store.readKept?.(location) ?? { bytes: store.read(location), isBare: false };
    return readKeptSocket(kept, this.#stretchOf);
  }

  /**
   * As `at`, into the place of a batch that is selected, of a quiet connection's image as a store keeps it (decode_quiet.ts).
   *
   * @returns Whether it is one; else `at` says what it is.
   * @throws {StoreError} When the disk refuses.
   */
  quietAt(location: number, into: FrozenBatch, attached: Attached): boolean {
    const read = this.#store.readBare?.(location);
    return read !== undefined && takeQuiet(read.bytes, read.start, read.end, SOCKET_VERSION, into, attached);
  }

  /** As `at`, of an image that has been read. */
  of(bytes: Uint8Array): FrozenSocket {
    return readSocketImage(bytes, this.#stretchOf);
  }

  /** The peer's address as it is in an image, or else beside it. */
  frozenPeerAt(location: number): number | Uint8Array | undefined {
    try {
      const { tcb: [, , remote] } = this.at(location);
      return remote;
    } catch { // its wake finds that out too, and tells
      return this.summarizedPeerAt(location);
    }
  }

  /** The peer's address as it is beside an image, for when that is damaged. */
  summarizedPeerAt(location: number): number | Uint8Array | undefined {
    try {
      const summary = this.#store.summaryOf(location);
      if (summary?.length !== SUMMARY_WORDS || summaryKind(summary[Summary.tag]!) < 0) return undefined;
      const [, , remote] = summarizedKey(summary);
      return remote;
    } catch {
      return undefined;
    }
  }
}
