import type { Disk } from "./disk.ts";
import { FileStore, type FileStoreOptions } from "./file_store.ts";
import type { Damage } from "./scan.ts";
import { segmentNumber } from "./segment.ts";
import { type Location, locationOf, type StoreStats } from "./store.ts";

/** Options of `compactStore`. */
export interface CompactOptions extends Pick<FileStoreOptions, "onDamage" | "entropy"> {
  /** Bytes of records that are moved at a time, in memory and into one segment; 32 MiB by default. */
  readonly batchBytes?: number;
  /** Also where that would give nothing back: to get rid of damage. */
  readonly always?: boolean;
  /** Told after each batch how many records have moved, of how many. */
  readonly onProgress?: (moved: number, total: number) => void;
}

/** What `compactStore` has done. */
export interface Compacted {
  /** Records that live. */
  readonly records: number;
  /** Bytes of all segments, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

const BATCH_BYTES = 32 * 1024 * 1024;
/** What a record grows by when it says whom it supersedes: a location, which is beyond 2^32. */
const SUPERSEDES_BYTES = 9;

/**
 * Writes the live records of a store anew and lets all else go: dead records, removals, damage. Each record is
 * superseded by its copy, so that after a crash at any instant it is there once; old segments go as soon as nothing
 * in them lives, so that no more disk is needed than one batch. Run again, it goes on. Where less would be won than
 * saying who supersedes whom costs, nothing is done.
 *
 * A store tells the later of two images of one connection by where they were written first, which this forgets:
 * where there may be two, remove the older before.
 *
 * @throws {StoreError} When the store is open elsewhere, or the disk refuses: what has moved by then has moved.
 * @example
 * ```ts
 * import { compactStore } from "@torpor/torpor/checkpoint/store/compact.ts";
 * const { bytesBefore, bytesAfter } = await compactStore("./connections");
 * console.log(`${bytesBefore - bytesAfter} bytes are free again`);
 * ```
 */
export async function compactStore(folder: string | Disk, options: CompactOptions = {}): Promise<Compacted> {
  const { batchBytes = BATCH_BYTES, always = false, onProgress, ...openOptions } = options;
  const damaged: Location[] = [];
  const onDamage = (damage: Damage): void => {
    damaged.push(locationOf(segmentNumber(damage.file), damage.offset));
    openOptions.onDamage?.(damage);
  };
  await using store = await FileStore.open(folder, { ...openOptions, onDamage, freeMin: 0 }); // it gives space back
  const { bytesTotal: bytesBefore, bytesLive, recordsLive: total }: StoreStats = { ...store.stats };
  if (!always && bytesBefore - bytesLive <= total * SUPERSEDES_BYTES) {
    return { records: total, bytesBefore, bytesAfter: bytesBefore }; // there is nothing to win
  }
  await store.seal(); // none of the old segments is written any more, and all of them can go
  damaged.length = 0; // what opening finds is not among the living
  let records: Uint8Array[] = [];
  let locations: Location[] = [];
  let gathered = 0;
  let moved = 0;
  let summaries: number[] = [];
  let words = 0; // of each record's summary
  const move = async (): Promise<void> => {
    const known = words > 0 ? { summaries: Int32Array.from(summaries) } : {};
    await store.append(records, { supersedes: locations, ...known }).durable;
    await store.idle(); // what was emptied goes, and the next segment is made
    moved += records.length;
    onProgress?.(moved, total);
    [records, locations, summaries, gathered] = [[], [], [], 0];
  };
  for (const { location, bytes, summary = new Int32Array(0) } of store.live()) {
    if (summary.length !== words && records.length > 0) await move();
    words = summary.length;
    records.push(bytes.slice());
    locations.push(location);
    for (const word of summary) summaries.push(word);
    gathered += bytes.length;
    if (gathered >= batchBytes) await move();
  }
  if (records.length > 0) await move();
  if (damaged.length > 0) await store.remove(damaged).durable;
  await store.sync(); // what the last batch has emptied goes behind a sync
  await store.idle();
  return { records: moved, bytesBefore, bytesAfter: store.stats.bytesTotal };
}
