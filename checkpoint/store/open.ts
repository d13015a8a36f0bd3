import type { Disk, DiskFile } from "./disk.ts";
import { type Damage, readFully, scanSegment } from "./scan.ts";
import { HEADER_BYTES_MAX, readHeader, type Segment, segmentNumber } from "./segment.ts";
import { readIndex, UNFINISHED } from "./segment_index.ts";
import { offsetOf, segmentOf, StoreError } from "./store.ts";

/** What a folder held. */
export interface Opened {
  /** In rising order of their numbers, which records live known. */
  readonly segments: Segment[];
  /** The one to append to; undefined when a new one is needed. */
  readonly active: Segment | undefined;
  readonly lastNumber: number;
}

/**
 * Reads what a store left in its folder, after any crash.
 *
 * Only the newest segment can have a torn end, since an older one was synced before the newer was
 * made. There, what is unsound from the last known durable byte on is cut off with all that follows
 * it: the state is that after a prefix of the changes. Anything unsound before that byte, or in an
 * older segment, is damage, and costs only itself. What remains is made durable before it is relied on.
 */
export function openSegments(disk: Disk, onDamage: (damage: Damage) => void): Opened {
  const names = disk.list();
  for (const name of names) if (UNFINISHED.test(name)) disk.remove(name);
  const numbers = names.map(segmentNumber).filter((number) => number > 0).sort((a, b) => a - b);
  for (const name of names) {
    const owner = /^(\d{8})\.idx$/.exec(name);
    if (owner && !numbers.includes(Number(owner[1]))) disk.remove(name);
  }
  const segments: Segment[] = [];
  let active: Segment | undefined;
  for (const number of numbers) {
    const isLast = number === numbers.at(-1);
    const name = `${String(number).padStart(8, "0")}.seg`;
    const file = disk.open(name, false);
    const segment = (isLast ? undefined : indexed(disk, file, number)) ??
      scanned(disk, file, name, number, isLast, onDamage);
    if (!segment) {
      file.close();
      disk.remove(name);
      continue;
    }
    if (isLast && segment.appendable) active = segment.segment;
    if (isLast) segment.segment.file = file;
    else file.close();
    segments.push(segment.segment);
  }
  settle(segments);
  for (const segment of segments) if (segment !== active) segment.slim();
  return { segments, active, lastNumber: numbers.at(-1) ?? 0 };
}

type Found = { segment: Segment; appendable: boolean };

function indexed(disk: Disk, file: DiskFile, number: number): Found | undefined {
  const start = new Uint8Array(HEADER_BYTES_MAX);
  const length = readFully(file, start, 0);
  const { salts, sound } = readHeader(start.subarray(0, length), number);
  const segment = sound ? readIndex(disk, number, file.size(), salts[0]!) : undefined;
  return segment && { segment, appendable: false };
}

function scanned(
  disk: Disk,
  file: DiskFile,
  name: string,
  number: number,
  isLast: boolean,
  onDamage: (damage: Damage) => void,
): Found | undefined {
  const found = scanSegment(file, number);
  if (!found || (!found.sound && found.segment.count === 0)) {
    if (file.size() <= HEADER_BYTES_MAX) {
      // Its making was cut off before anything could be written into it.
      onDamage({ file: name, offset: 0, bytes: file.size(), reason: "was never finished" });
      return undefined;
    }
  }
  if (!found) throw new StoreError(`Cannot open "${name}": it has no header`, { file: name, offset: 0 });
  const { segment, damage } = found;
  const torn = isLast ? damage.find((place) => place.offset >= found.durable) : undefined;
  for (const place of damage) {
    if (place === torn) break;
    onDamage(place);
  }
  if (torn) {
    onDamage({
      ...torn,
      bytes: segment.size - torn.offset,
      reason: `${torn.reason}; cut off as a torn write`,
    });
    segment.cut(torn.offset, found.removedBefore[damage.indexOf(torn)]!);
    file.truncate(torn.offset);
  }
  if (isLast) makeDurable(file, found.durable, segment.size, disk);
  return { segment, appendable: found.sound };
}

/**
 * Writes bytes `[from, to)` once more and syncs: after a failed sync (or before any) the page cache
 * may hold, as clean, what the disk does not.
 */
function makeDurable(file: DiskFile, from: number, to: number, disk: Disk): void {
  const bytes = new Uint8Array(Math.min(1024 * 1024, to - from));
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
  disk.syncFolder();
}

/** Brings to life every record that no later entry removes. */
function settle(segments: Segment[]): void {
  const byNumber = new Map(segments.map((segment) => [segment.number, segment]));
  for (const segment of segments) {
    for (let index = 0; index < segment.count; index++) if (segment.isPut(index)) segment.revive(index);
  }
  for (const segment of segments) {
    for (const location of segment.removed) {
      const target = byNumber.get(segmentOf(location)); // gone with its segment, else
      const index = target?.find(offsetOf(location)) ?? -1; // lost in a damaged stretch
      if (target && index >= 0 && target.isLive(index)) target.kill(index);
    }
  }
}
