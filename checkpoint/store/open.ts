import type { Disk, DiskFile } from "./disk.ts";
import { type Damage, readFully, scanEntries, type Scanned, scanSegment } from "./scan.ts";
import { FORMAT, HEADER_BYTES_MAX, readHeader, Segment } from "./segment.ts";
import { segmentHeader, segmentName, segmentNumber } from "./segment.ts";
import { type CutOff, cutOffBehind, fillFromIndex, indexName, indexSalt } from "./segment_index.ts";
import { readIndexFile, SegmentIndex } from "./segment_index.ts";
import { offsetOf, segmentOf, StoreError } from "./store.ts";

/** What a folder held. */
export interface Opened {
  /** In rising order of their numbers, which records live known. */
  readonly segments: Segment[];
  /** The one to append to; undefined when a new one is needed. */
  readonly active: Segment | undefined;
  readonly lastNumber: number;
}

/** Index files of version 1 had this name while they were written. */
export const UNFINISHED = /\.tmp$/;

/**
 * Reads what a store left in its folder, after any crash.
 *
 * A segment is durable as a whole when a newer one says so: by a mark, which is written when all before it is
 * durable, or by an index, of which the same holds. In the others, the last ones, what is unsound from the last
 * known durable byte on is cut off with all that follows it, in newer segments too: the state is that after a
 * prefix of the changes. A file that is shorter than its index was shortened by no crash. Anything unsound elsewhere is damage, and costs only itself. What remains is made
 * durable, in its order, before it is relied on.
 */
export function openSegments(disk: Disk, onDamage: (damage: Damage) => void): Opened {
  const names = disk.list();
  for (const name of names) if (UNFINISHED.test(name)) disk.removeNow(name);
  const numbers = names.map(segmentNumber).filter((number) => number > 0).sort((a, b) => a - b);
  for (const name of names) {
    const owner = /^(\d{8})\.idx$/.exec(name);
    if (owner && !numbers.includes(Number(owner[1]))) disk.removeNow(name);
  }
  const found: Scanned[] = [];
  for (const number of numbers) {
    const one = find(disk, number, onDamage);
    if (one) found.push(one);
  }
  removeUnused(disk, found);
  mend(disk, found, onDamage);
  const segments = found.map(({ segment }) => segment);
  settle(segments);
  const last = found.at(-1);
  // What is shorter than its index stays so: were it to grow, the index would be believed of other bytes.
  const mayGrow = last?.sound && last.cutOff === undefined && last.segment.format === FORMAT;
  const active = mayGrow ? last.segment : undefined;
  for (const { segment, damage } of found) {
    if (damage.length > 0) segment.index.stop(); // it would be told of no more
    segment.forgetRemoved(segment.index.entries);
    if (segment !== active && segment.index.isDone(segment)) segment.slim();
  }
  return { segments, active, lastNumber: numbers.at(-1) ?? 0 };
}

/** One segment, by its index as far as that goes, then by its entries; undefined when it was never finished. */
function find(disk: Disk, number: number, onDamage: (damage: Damage) => void): Scanned | undefined {
  const name = segmentName(number);
  const file = disk.open(name, false);
  try {
    const found = indexed(disk, file, number) ?? scanSegment(file, number) ??
      headCutOff(disk, number, file.size());
    if (!found || (!found.sound && found.segment.count === 0 && found.cutOff === undefined)) {
      const bytes = file.size();
      if (bytes <= HEADER_BYTES_MAX) {
        // Its making was cut off before anything could be written into it.
        onDamage({ file: name, offset: 0, bytes, reason: "was never finished", torn: true });
        disk.removeNow(name);
        return undefined;
      }
    }
    if (!found) throw new StoreError(`Cannot open "${name}": it has no header`, { file: name, offset: 0 });
    return found;
  } finally {
    file.close();
  }
}

function indexed(disk: Disk, file: DiskFile, number: number): Scanned | undefined {
  const start = new Uint8Array(HEADER_BYTES_MAX);
  const length = readFully(file, start, 0);
  const header = readHeader(start.subarray(0, length), number);
  const bytes = header.sound ? readIndexFile(disk, number) : undefined;
  if (bytes === undefined) return undefined;
  const segment = new Segment(number, header.salts[0]!, file.size());
  segment.emptySize = header.length;
  segment.format = header.format;
  const sound = fillFromIndex(bytes, segment, header.length);
  segment.index = new SegmentIndex(undefined, sound, sound > 0 ? segment.count : 0);
  const found = scanEntries(file, segment, Math.max(header.length, segment.indexedBytes), true);
  found.proves ||= segment.indexedBytes > header.length; // blocks are of what was durable
  if (sound < bytes.length) {
    noteCutOff(found, cutOffBehind(bytes, number, segment.salt, header.length, segment.size));
  }
  return found;
}

/** Of a segment that ends before its index does: what has gone is damage, no torn end, and removes what it removed. */
export function noteCutOff(found: Scanned, cutOff: CutOff | undefined): void {
  if (cutOff === undefined) return;
  const { segment, damage } = found;
  found.cutOff = cutOff;
  found.durable = cutOff.end;
  found.proves = true;
  const known = new Set(segment.removed); // a block may begin before the cut
  for (const location of cutOff.removed) {
    if (!known.has(location)) segment.addRemoved(location, segment.count);
  }
  const last = damage.at(-1);
  const offset = last !== undefined && last.offset + last.bytes === segment.size
    ? damage.pop()!.offset
    : segment.size;
  const reason = `the file ends at byte ${segment.size}, its index knows of ${cutOff.end} bytes`;
  damage.push({ file: segment.name, offset, bytes: cutOff.end - offset, reason });
}

/** A segment of which not even the header is left, as its index knows it. */
export function headCutOff(disk: Disk, number: number, size: number): Scanned | undefined {
  const bytes = readIndexFile(disk, number);
  const salt = bytes === undefined ? undefined : indexSalt(bytes, number);
  if (bytes === undefined || salt === undefined) return undefined;
  const segment = new Segment(number, salt, size);
  const { length } = segmentHeader(number, salt);
  const found: Scanned = {
    ...{ segment, sound: false, damage: [], durable: 0, proves: true },
    ...{ seam: undefined, cutOff: undefined },
  };
  noteCutOff(found, cutOffBehind(bytes, number, salt, length, size));
  return found.cutOff === undefined ? undefined : found;
}

/** A segment that was made in advance holds nothing: the one before it goes on. */
function removeUnused(disk: Disk, found: Scanned[]): void {
  while (found.length > 1 && isUnused(found.at(-1)!) && found.at(-2)!.sound) {
    const { segment } = found.pop()!;
    removeSegment(disk, segment);
  }
}

function isUnused({ segment, cutOff }: Scanned): boolean {
  return segment.count === 0 && cutOff === undefined;
}

function removeSegment(disk: Disk, segment: Segment): void {
  const index = indexName(segment.number);
  if (disk.list().includes(index)) disk.removeNow(index);
  disk.removeNow(segment.name);
}

/** Where the changes that a store holds end, in the middle of what is on its disk. */
export interface TornEnd {
  /** Which segment it is in; all that follow it go. */
  readonly at: number;
  /** What is cut off there; undefined when the segment is merely too short. */
  readonly place: Damage | undefined;
}

/** The first of the segments of which no newer one says that they are durable as a whole. */
function firstUnproven(found: readonly Scanned[]): number {
  let proof = found.length - 1;
  while (proof > 0 && !found[proof]!.proves) proof--;
  return Math.max(0, proof);
}

/** What a power failure has torn, in segments that were not promised to be whole. */
export function tornEnd(found: readonly Scanned[]): TornEnd | undefined {
  for (let at = firstUnproven(found); at < found.length; at++) {
    const { segment, damage, durable } = found[at]!;
    const place = damage.find(({ offset }) => offset >= durable);
    const seam = found[at + 1]?.seam;
    const short = seam?.previous === segment.number && segment.size >= durable &&
      (place?.offset ?? segment.size) < seam.size;
    if (place !== undefined || short) return { at, place };
  }
  return undefined;
}

/** Cuts off a torn end, tells of all damage, and makes durable what may not be. */
function mend(disk: Disk, found: Scanned[], onDamage: (damage: Damage) => void): void {
  const torn = tornEnd(found);
  if (torn !== undefined) {
    // The newest goes first, and for good: should this opening end here, the next one comes to the same end.
    for (const { segment } of found.splice(torn.at + 1).reverse()) {
      onDamage({ file: segment.name, offset: 0, bytes: segment.size, reason: FOLLOWS_TORN, torn: true });
      removeSegment(disk, segment);
      disk.syncFolderNow();
    }
  }
  const from = firstUnproven(found);
  for (const [at, { segment, damage, durable }] of found.entries()) {
    const place = at === torn?.at ? torn.place : undefined;
    if (place !== undefined) damage.splice(damage.indexOf(place));
    damage.forEach((each) => onDamage(each));
    if (place !== undefined) {
      const bytes = segment.size - place.offset;
      onDamage({ ...place, bytes, reason: `${place.reason}; cut off as a torn write`, torn: true });
    }
    if (at < from) continue;
    const seam = found[at + 1]?.seam;
    let end = place?.offset ?? segment.size;
    // What was written behind its end had been refused, and was to be cut off.
    if (seam?.previous === segment.number && seam.size >= durable) end = Math.min(end, seam.size);
    const file = disk.open(segment.name, false);
    try {
      if (end < segment.size) {
        segment.cut(end);
        file.truncate(end);
      }
      makeDurable(file, durable, segment.size);
    } finally {
      file.close();
    }
  }
  if (found.length > 0) disk.syncFolderNow();
}

/** Why a segment goes that is newer than a torn one. */
export const FOLLOWS_TORN = "follows a torn write; removed";

/**
 * Writes bytes `[from, to)` once more and syncs: after a failed sync (or before any) the page cache
 * may hold, as clean, what the disk does not.
 */
function makeDurable(file: DiskFile, from: number, to: number): void {
  const bytes = new Uint8Array(Math.max(0, Math.min(1024 * 1024, to - from)));
  for (let at = from; at < to;) {
    const length = readFully(file, bytes.subarray(0, Math.min(bytes.length, to - at)), at);
    if (length === 0) break;
    for (let written = 0; written < length;) {
      const wrote = file.write(bytes.subarray(written, length), at + written);
      if (wrote === 0) throw new StoreError("Cannot open store: the disk takes no bytes");
      written += wrote;
    }
    at += length;
  }
  file.syncNow();
}

/** Brings to life every record that no later entry removes. */
function settle(segments: Segment[]): void {
  const byNumber = new Map(segments.map((segment) => [segment.number, segment]));
  for (const segment of segments) {
    segment.reviveAll();
  }
  for (const segment of segments) {
    for (const location of segment.removed) {
      const target = byNumber.get(segmentOf(location)); // gone with its segment, else
      const index = target?.find(offsetOf(location)) ?? -1; // lost in a damaged stretch
      if (target && index >= 0 && target.isLive(index)) target.kill(index);
    }
  }
}
