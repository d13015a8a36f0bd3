import { type Entropy, systemEntropy } from "../../base/random.ts";
import { getHash, Hash64, HASH_BYTES } from "../image/hash.ts";
import { putBytes, writePut } from "../store/entry.ts";
import type { Store } from "../store/store.ts";
import { isBeside } from "../sockets/stretch.ts";
import { writeArchiveImage } from "./archive_format.ts";

/** Takes the bytes of an archive, piece by piece; a piece is valid until what it returns has resolved. */
export type ArchiveSink = (piece: Uint8Array) => Promise<void> | void;

/** What went into an archive. */
export interface Archived {
  /** How many are in it. */
  readonly connections: number;
  /** How long it is. */
  readonly bytes: number;
}

/** Options of `writeArchive`. */
export interface ArchiveOptions {
  /** When it was made, in milliseconds since 1970; now by default. */
  readonly nowMs?: number;
  /** Where the salt comes from. */
  readonly entropy?: Entropy;
  /** Told now and then how many connections are in it. */
  readonly onProgress?: (connections: number) => void;
}

/** Bytes gathered before the sink is called. */
const PIECE_BYTES = 1024 * 1024;

/**
 * Writes all live records of a store as an archive, in the memory of one piece. The store may not change meanwhile.
 *
 * @throws {StoreError} When the store refuses to be read; damaged records are left out, which the store reports.
 * @throws What the sink throws.
 */
export async function writeArchive(
  store: Store,
  sink: ArchiveSink,
  options: ArchiveOptions = {},
): Promise<Archived> {
  const { nowMs = Date.now(), entropy = systemEntropy, onProgress } = options;
  const seed = new Uint8Array(HASH_BYTES);
  entropy.fill(seed);
  const start = { archivedAtMs: Math.floor(nowMs), salt: getHash(seed, 0) };
  const content = new Hash64();
  let stage = new Uint8Array(PIECE_BYTES);
  let staged = 0;
  let bytes = 0;
  let connections = 0;
  const flush = async (): Promise<void> => {
    const piece = stage.subarray(0, staged);
    content.update(piece);
    bytes += staged;
    await sink(piece);
    staged = 0;
    onProgress?.(connections);
  };
  const head = writeArchiveImage(start);
  stage.set(head);
  staged = head.length;
  for (const { bytes: image } of store.live()) {
    const length = putBytes(image.length, undefined);
    if (staged + length > stage.length) {
      // A record of `live` is valid until the next step only, which may be after the sink: so it goes in first.
      const next = new Uint8Array(Math.max(PIECE_BYTES, length));
      const end = writePut(next, 0, image, undefined, start.salt);
      await flush();
      stage = next;
      staged = end;
    } else {
      staged = writePut(stage, staged, image, undefined, start.salt);
    }
    if (!isBeside(image)) connections++;
  }
  await flush();
  const tail = writeArchiveImage({ ...start, total: { connections, bytes, content: content.digest() } });
  await sink(tail);
  return { connections, bytes: bytes + tail.length };
}
