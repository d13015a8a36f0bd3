import { checkSegments, type Finding } from "./check.ts";
import { type Compacted, compactStore } from "./compact.ts";
import { type Disk, FolderDisk } from "./disk.ts";
import { FileStore } from "./file_store.ts";
import { holderOf, lockFolder } from "./lock.ts";
import { readFully } from "./scan.ts";
import { segmentName } from "./segment.ts";
import { writeFully } from "./segment_index.ts";
import { SnapshotDisk } from "./snapshot_disk.ts";
import { type Location, offsetOf, segmentOf, type Store, StoreError } from "./store.ts";

/** Where in a store's folder `repairStore` puts what it takes out. */
export const DAMAGED_FOLDER = "damaged";

/** A live record that is to be taken out. */
export interface Rejected {
  readonly location: Location;
  readonly bytes: Uint8Array;
  /** Why, in words. */
  readonly why: string;
}

/** Options of `repairStore`. */
export interface RepairOptions {
  /** Says what would be done, and does nothing. */
  readonly dryRun?: boolean;
  /** Tells of each live record that is to be taken out; what records hold is the caller's to judge. */
  readonly judge?: (store: Store, reject: (rejected: Rejected) => void) => void;
  /** What an index that is made should say of a record, for `Store.recall`; called for what no index tells. */
  readonly summarize?: (bytes: Uint8Array) => Int32Array | undefined;
  /** Told of each step, in words, before it is done. */
  readonly onStep?: (what: string) => void;
}

/** What `repairStore` has done, or would do. */
export interface Repaired {
  readonly findings: readonly Finding[];
  /** Files in the folder of damaged things. */
  readonly saved: readonly string[];
  /** Records that `judge` took out. */
  readonly rejected: number;
  /** Indexes that were made. */
  readonly indexes: number;
  /** When all was written anew to get rid of damage; a dry run does not. */
  readonly compacted: Compacted | undefined;
}

/** Bytes copied at a time. */
const PIECE_BYTES = 1024 * 1024;

/**
 * Makes a store sound: cuts a torn end, takes damaged stretches and records that `judge` rejects out, and makes
 * missing indexes. What is taken out lies in the folder `damaged` before it goes: a stretch as `00000007.seg.4096`,
 * byte 4096 of segment 7, a record as `00000007.seg.4096.img`. Nothing that is sound is lost, whenever this is
 * interrupted; run again, it goes on.
 *
 * @throws {StoreError} When the store is open elsewhere, or the disk refuses.
 * @example
 * ```ts
 * import { repairStore } from "@torpor/torpor/checkpoint/store/repair.ts";
 * import { judgeRecords } from "@torpor/torpor/checkpoint/sockets/stored.ts";
 * await repairStore("./connections", { judge: (store, reject) => void judgeRecords(store, reject) });
 * ```
 */
export async function repairStore(folder: string, options: RepairOptions = {}): Promise<Repaired> {
  if (options.dryRun) {
    using disk = new SnapshotDisk(folder);
    const holder = holderOf(folder);
    if (holder !== undefined) {
      throw new StoreError(`Cannot repair store "${folder}": process ${holder} has it open`);
    }
    return await repair(disk, options);
  }
  new SnapshotDisk(folder).close(); // a folder that is not there is not made
  const unlock = lockFolder(folder);
  try {
    return await repair(new HeldDisk(folder), options);
  } finally {
    unlock();
  }
}

/** A folder that is claimed already. */
class HeldDisk extends FolderDisk {
  override lock(): () => void {
    return () => {};
  }
}

async function repair(disk: Disk & { readonly folder: string }, options: RepairOptions): Promise<Repaired> {
  const { dryRun = false, judge, onStep = () => {} } = options;
  const findings: Finding[] = [];
  const { damage, torn } = checkSegments(disk, (finding) => void findings.push(finding));
  const saved = new Set<string>();
  let attic: Disk | undefined;
  const save = (name: string, pieces: Iterable<Uint8Array>): void => {
    saved.add(name);
    if (!dryRun) writeNew(attic ??= new FolderDisk(`${disk.folder}/${DAMAGED_FOLDER}`), name, pieces);
  };
  for (const { file, offset, bytes } of [...damage, ...torn]) {
    const left = Math.min(bytes, sizeOf(disk, file) - offset); // its index may know of more
    if (left <= 0) continue;
    onStep(`save ${left} damaged bytes of "${file}" from byte ${offset}`);
    save(`${file}.${offset}`, piecesOf(disk, file, offset, bytes));
  }
  for (const { file, offset } of torn) onStep(`cut "${file}" off at byte ${offset}`);
  let indexes = 0;
  for (const { file, what } of findings) {
    const sealed = /^(\d{8})\.idx$/.exec(file);
    if (sealed === null) continue;
    const number = Number(sealed[1]);
    const segment = disk.list().includes(segmentName(number));
    onStep(segment ? `make "${file}" anew: it ${what}` : `remove "${file}": it ${what}`);
    if (!segment) continue; // opening removes it
    indexes++;
    if (!dryRun && disk.list().includes(file)) disk.removeNow(file);
  }
  const rejected: Location[] = [];
  {
    await using store = await FileStore.open(disk); // cuts the torn end, removes what is unfinished
    store.recall({ summaries: () => {}, record: ({ bytes }) => options.summarize?.(bytes) }); // makes indexes
    judge?.(store, ({ location, bytes, why }) => {
      const name = segmentName(segmentOf(location));
      onStep(`take out the record at byte ${offsetOf(location)} of "${name}": ${why}`);
      save(`${name}.${offsetOf(location)}.img`, [bytes]);
      rejected.push(location);
    });
    if (!dryRun && rejected.length > 0) await store.remove(rejected).durable;
  }
  if (damage.length > 0) onStep("write all sound records anew, without the damage");
  const compacted = damage.length > 0 && !dryRun ? await compactStore(disk, { always: true }) : undefined;
  return { findings, saved: [...saved], rejected: rejected.length, indexes, compacted };
}

function sizeOf(disk: Disk, name: string): number {
  const file = disk.open(name, false);
  try {
    return file.size();
  } finally {
    file.close();
  }
}

/** Bytes of a file, some at a time. */
function* piecesOf(disk: Disk, name: string, offset: number, length: number): Iterable<Uint8Array> {
  const file = disk.open(name, false);
  try {
    for (let at = 0; at < length;) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, length - at));
      const read = readFully(file, piece, offset + at);
      if (read === 0) return;
      yield piece.subarray(0, read);
      at += read;
    }
  } finally {
    file.close();
  }
}

/** Writes a file that is durable when this returns, over one of an earlier attempt. */
function writeNew(disk: Disk, name: string, pieces: Iterable<Uint8Array>): void {
  if (disk.list().includes(name)) disk.removeNow(name);
  const file = disk.open(name, true);
  try {
    let at = 0;
    for (const piece of pieces) {
      writeFully(file, piece, at);
      at += piece.length;
    }
    file.syncNow();
  } finally {
    file.close();
  }
  disk.syncFolderNow();
}
