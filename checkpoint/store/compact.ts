import type { Disk } from "./disk.ts";
import { FileStore, type FileStoreOptions } from "./file_store.ts";
import type { Damage } from "./scan.ts";
import { segmentNumber } from "./segment.ts";
import { type Commit, type Location, locationOf, type StoreStats } from "./store.ts";

/** Options of `compactStore`. */
export interface CompactOptions extends Pick<FileStoreOptions, "onDamage" | "entropy"> {
  /** Bytes of records that are moved at a time, in memory and into one segment; 32 MiB by default. */
  readonly batchBytes?: number;
  /** Told after each batch how many records have moved, of how many. */
  readonly onProgress?: (moved: number, total: number) => void;
}

/** What `compactStore` has done. */
export interface Compacted {
  readonly records: number;
  /** Bytes of all segments, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

const BATCH_BYTES = 32 * 1024 * 1024;

/**
 * Writes the live records of a store anew and lets all else go: dead records, removals, damage. Each record is
 * superseded by its copy, so that after a crash at any instant it is there once; old segments go as soon as nothing
 * in them lives, so that no more disk is needed than one batch. Run again, it goes on.
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
  const { batchBytes = BATCH_BYTES, onProgress, ...openOptions } = options;
  // Every append begins a segment: none of the old ones is written any more, and all of them can go.
  const damaged: Location[] = [];
  const onDamage = (damage: Damage): void => {
    damaged.push(locationOf(segmentNumber(damage.file), damage.offset));
    openOptions.onDamage?.(damage);
  };
  await using store = await FileStore.open(folder, { ...openOptions, onDamage, segmentBytes: 1 });
  damaged.length = 0; // what opening finds is not among the living
  const { bytesTotal: bytesBefore, recordsLive: total }: StoreStats = { ...store.stats };
  let records: Uint8Array[] = [];
  let locations: Location[] = [];
  let gathered = 0;
  let moved = 0;
  const move = async (): Promise<void> => {
    await store.append(records, { supersedes: locations }).durable;
    moved += records.length;
    onProgress?.(moved, total);
    [records, locations, gathered] = [[], [], 0];
  };
  for (const { location, bytes } of store.live()) {
    records.push(bytes.slice());
    locations.push(location);
    gathered += bytes.length;
    if (gathered >= batchBytes) await move();
  }
  if (records.length > 0) await move();
  if (moved === 0) await beginAnew(store);
  if (damaged.length > 0) await store.remove(damaged).durable;
  await store.sync(); // what the last batch has emptied goes behind a sync
  return { records: moved, bytesBefore, bytesAfter: store.stats.bytesTotal };
}

/** Nothing lives: a new segment all the same, so that the old ones can go. */
async function beginAnew(store: FileStore): Promise<void> {
  const { locations }: Commit = store.append([new Uint8Array(0)]);
  await store.remove([...locations]).durable;
}
