import type { Disk, DiskFile } from "./disk.ts";
import { newEntry, readEntry } from "./entry.ts";
import { FOLLOWS_TORN, headCutOff, noteCutOff, tornEnd, UNFINISHED } from "./open.ts";
import { type Damage, type Scanned, scanSegment, Window } from "./scan.ts";
import { HEADER_BYTES_MAX, Segment, segmentHeader, segmentName, segmentNumber } from "./segment.ts";
import { type CutOff, cutOffBehind, fillFromIndex, indexName, readIndexFile } from "./segment_index.ts";
import { type Location, locationOf, offsetOf, segmentOf } from "./store.ts";

/** Something in a store's folder that is not as it should be. */
export interface Finding {
  /** `damage`: something is not what was written. `notice`: what a crash leaves; the next opening deals with it. */
  readonly severity: "damage" | "notice";
  readonly file: string;
  /** Where in the file, and how many bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** In words. */
  readonly what: string;
  /** Live records, which are connections, that this costs: exactly so many where an index tells, else at most. */
  readonly records: number;
}

/** What `checkSegments` has read. */
export interface SegmentsChecked {
  readonly segments: number;
  readonly entries: number;
  readonly bytes: number;
  /** Stretches of segments that hold no sound entry, */
  readonly damage: readonly Damage[];
  /** and the torn end, which opening cuts off with all newer segments. */
  readonly torn: readonly Damage[];
}

/** An entry with a connection in it has at least so many bytes: what a stretch without an index may have held. */
const RECORD_ENTRY_BYTES_MIN = 64;
const INDEX = /^(\d{8})\.idx$/;

/**
 * Reads every byte of every segment of a store and compares it with its hash, and each index with its segment.
 * Changes nothing. What records hold is for the caller to judge, who finds them in a `FileStore` of the same disk.
 *
 * @throws {StoreError} When the disk refuses to read.
 * @example
 * ```ts
 * import { checkSegments } from "@torpor/torpor/checkpoint/store/check.ts";
 * import { SnapshotDisk } from "@torpor/torpor/checkpoint/store/snapshot_disk.ts";
 * using disk = new SnapshotDisk("./connections"); // of a living process as well
 * checkSegments(disk, ({ severity, file, offset, what }) => console.log(severity, file, offset, what));
 * ```
 */
export function checkSegments(disk: Disk, report: (finding: Finding) => void): SegmentsChecked {
  const names = disk.list();
  const numbers = names.map(segmentNumber).filter((number) => number > 0).sort((a, b) => a - b);
  const gone = checkNames(disk, new Set(numbers), report);
  const found: Scanned[] = [];
  const indexes = new Map<Scanned, Segment>();
  let bytes = 0;
  for (const number of numbers) {
    const isLast = number === numbers.at(-1);
    const name = segmentName(number);
    const file = disk.open(name, false);
    try {
      bytes += file.size();
      const scanned = scanSegment(file, number) ?? headCutOff(disk, number, file.size());
      if (scanned?.cutOff !== undefined) {
        found.push(scanned);
        continue;
      }
      if (scanned === undefined || (!scanned.sound && scanned.segment.count === 0)) {
        report(headless(name, file.size(), isLast));
        continue;
      }
      found.push(scanned);
      const { segment, damage } = scanned;
      const { index, cutOff } = checkIndex(disk, names, segment, damage, isLast, report);
      if (index === undefined) continue;
      indexes.set(scanned, index);
      noteCutOff(scanned, cutOff);
      scanned.durable = Math.max(scanned.durable, index.indexedBytes);
      scanned.proves ||= index.count > 0;
    } finally {
      file.close();
    }
  }
  const torn = tornEnd(found);
  const segments: Segment[] = [];
  const stretches: { damage: Damage; locations: Location[]; torn: boolean; exact: boolean }[] = [];
  let entries = 0;
  for (const [at, scanned] of found.entries()) {
    const { segment, damage } = scanned;
    if (torn !== undefined && at > torn.at) {
      const gone = { file: segment.name, offset: 0, bytes: segment.size, reason: FOLLOWS_TORN };
      stretches.push({ damage: gone, locations: [], torn: true, exact: true });
      continue;
    }
    for (const each of damage) {
      const isTorn = at === torn?.at && each === torn.place;
      const index = indexes.get(scanned);
      const isCut = scanned.cutOff?.end === each.offset + each.bytes;
      const known = isCut || (index !== undefined && each.offset < index.indexedBytes);
      const locations = known
        ? [...putsWithin(index, each), ...isCut ? scanned.cutOff!.records : []]
        : [locationOf(segment.number, each.offset)];
      const bytes = isTorn ? segment.size - each.offset : each.bytes;
      stretches.push({ damage: { ...each, bytes }, locations, torn: isTorn, exact: known });
      if (isTorn) break; // what follows is cut off with it
    }
    if (at === torn?.at && torn.place !== undefined) segment.cut(torn.place.offset);
    entries += segment.count;
    segments.push(segment);
  }
  for (const { file, cutOff } of gone) {
    const damage = {
      file,
      offset: 0,
      bytes: 0,
      reason: `is not there; its index knows of ${cutOff.end} bytes`,
    };
    stretches.push({ damage, locations: [...cutOff.records], torn: false, exact: true });
  }
  const lost = stretches.map(({ damage }) => damage);
  checkRemovals(disk, segments, lost, report);
  const removed = removedAmong(new Set(stretches.flatMap(({ locations }) => locations)), [
    ...segments,
    ...gone.map(({ cutOff }) => cutOff),
  ]);
  for (const { damage, locations, torn, exact } of stretches) {
    const live = locations.filter((location) => !removed.has(location)).length;
    const { file, offset, reason } = damage;
    const isGone = damage.bytes === 0;
    if (isGone && live === 0) continue; // it was deleted in good order
    const isHeader = offset === 0 && !isGone && damage.bytes <= HEADER_BYTES_MAX;
    const records = torn || isHeader || (live === 0 && isSmall(damage))
      ? 0
      : exact
      ? live
      : Math.max(1, Math.floor(damage.bytes / RECORD_ENTRY_BYTES_MIN));
    report({
      severity: torn ? "notice" : "damage",
      ...{ file, offset, bytes: damage.bytes, records },
      what: torn ? `torn end: ${reason}; opening cuts it off, none of it was promised` : reason,
    });
  }
  return {
    segments: numbers.length,
    entries,
    bytes,
    damage: stretches.flatMap(({ damage, torn }) => torn || damage.bytes === 0 ? [] : [damage]),
    torn: stretches.flatMap(({ damage, torn }) => torn ? [damage] : []),
  };
}

/** No room for two records: whether its first lives says all. */
function isSmall(damage: Damage): boolean {
  return damage.bytes < 2 * RECORD_ENTRY_BYTES_MIN;
}

/** @returns What indexes know of segments that are not there. */
function checkNames(
  disk: Disk,
  numbers: ReadonlySet<number>,
  report: (finding: Finding) => void,
): { file: string; cutOff: CutOff }[] {
  const gone: { file: string; cutOff: CutOff }[] = [];
  for (const name of disk.list()) {
    const owner = INDEX.exec(name);
    const what = UNFINISHED.test(name)
      ? "was never finished; opening removes it"
      : owner && !numbers.has(Number(owner[1]))
      ? "is an index without its segment; opening removes it"
      : undefined;
    if (what !== undefined) {
      report({ severity: "notice", file: name, offset: 0, bytes: 0, what, records: 0 });
    }
    const number = Number(owner?.[1] ?? 0);
    const cutOff = number > 0 && !numbers.has(number) ? headCutOff(disk, number, 0)?.cutOff : undefined;
    if (cutOff !== undefined) gone.push({ file: segmentName(number), cutOff });
  }
  return gone;
}

/** A file without one sound entry, whose header is not sound either. */
function headless(file: string, bytes: number, isLast: boolean): Finding {
  if (isLast && bytes <= HEADER_BYTES_MAX) {
    const what = "was never finished: nothing was written into it; opening removes it";
    return { severity: "notice", file, offset: 0, bytes, what, records: 0 };
  }
  const records = Math.floor(bytes / RECORD_ENTRY_BYTES_MIN);
  return { severity: "damage", file, offset: 0, bytes, what: "header and every entry are damaged", records };
}

/** The index of a segment when it can be believed, after it has been compared, and what it knows that has gone. */
function checkIndex(
  disk: Disk,
  names: readonly string[],
  segment: Segment,
  damage: readonly Damage[],
  isLast: boolean,
  report: (finding: Finding) => void,
): { index?: Segment; cutOff?: CutOff | undefined } {
  const file = indexName(segment.number);
  const tell = (severity: Finding["severity"], what: string): void => {
    report({ severity, file, offset: 0, bytes: 0, what, records: 0 });
  };
  if (!names.includes(file)) {
    if (!isLast) tell("notice", "is not there; opening reads the whole segment instead");
    return {};
  }
  const bytes = readIndexFile(disk, segment.number);
  const index = new Segment(segment.number, segment.salt, segment.size);
  const { length } = segmentHeader(segment.number, segment.salt);
  const sound = bytes === undefined ? 0 : fillFromIndex(bytes, index, length);
  const cutOff = bytes === undefined || sound === bytes.length
    ? undefined
    : cutOffBehind(bytes, segment.number, segment.salt, length, segment.size);
  if (sound === 0 && index.count === 0) {
    tell("damage", "is damaged, or of another state of its segment; opening reads the whole segment instead");
    return {};
  }
  if (sound > 0 && sound < bytes!.length && cutOff === undefined) {
    tell("damage", `is damaged from its byte ${sound} on; opening reads the rest of the segment instead`);
  }
  const wrong = differenceAt(index, segment, damage);
  if (wrong === undefined) return { index, cutOff };
  tell("damage", `is not what the segment holds: they part at byte ${wrong} of the segment`);
  return {};
}

/** The first byte of the segment at which its index says something else than itself does, damage apart. */
function differenceAt(index: Segment, segment: Segment, damage: readonly Damage[]): number | undefined {
  const isDamaged = (at: number): boolean => damage.some((each) => isWithin(at, each));
  let at = 0;
  for (let place = 0; place < index.count; place++) {
    const offset = index.start(place);
    if (damage.length > 0 && isDamaged(offset)) continue;
    while (damage.length > 0 && at < segment.count && isDamaged(segment.start(at))) at++;
    if (at >= segment.count || segment.start(at) !== offset || segment.isPut(at) !== index.isPut(place)) {
      return offset;
    }
    at++;
  }
  const removed = segment.removedBefore(at);
  while (at < segment.count && isDamaged(segment.start(at))) at++;
  if (at < segment.count && segment.start(at) < index.indexedBytes) return segment.start(at);
  const same = damage.length > 0 || (index.removed.length === removed.length &&
    index.removed.every((location, place) => location === removed[place]));
  return same ? undefined : index.indexedBytes;
}

function isWithin(at: number, { offset, bytes }: Damage): boolean {
  return at >= offset && at < offset + bytes;
}

/** Where records were, by the index, in what cannot be read now. */
function putsWithin(index: Segment | undefined, damage: Damage): Location[] {
  const found: Location[] = [];
  if (index === undefined) return found;
  for (let place = 0; place < index.count; place++) {
    const offset = index.start(place);
    if (isWithin(offset, damage) && index.isPut(place)) found.push(locationOf(index.number, offset));
  }
  return found;
}

/** Those of `locations` that some segment removes. */
function removedAmong(
  locations: ReadonlySet<Location>,
  segments: readonly { readonly removed: Iterable<Location> }[],
): Set<Location> {
  const found = new Set<Location>();
  if (locations.size === 0) return found;
  for (const { removed } of segments) {
    for (const location of removed) if (locations.has(location)) found.add(location);
  }
  return found;
}

/** Each removal removes a record that is there, once; or one of a segment that has gone, or of a damaged stretch. */
function checkRemovals(
  disk: Disk,
  segments: readonly Segment[],
  damage: readonly Damage[],
  report: (finding: Finding) => void,
): void {
  const byNumber = new Map(segments.map((segment) => [segment.number, segment]));
  for (const segment of segments) {
    for (let index = 0; index < segment.count; index++) if (segment.isPut(index)) segment.revive(index);
  }
  for (const segment of segments) {
    const stray = new Set<Location>();
    for (const location of segment.removed) {
      const target = byNumber.get(segmentOf(location));
      if (target === undefined) continue;
      const offset = offsetOf(location);
      const index = target.find(offset);
      if (index >= 0 && target.isLive(index)) target.kill(index);
      else if (!damage.some((each) => each.file === target.name && isWithin(offset, each))) {
        stray.add(location);
      }
    }
    if (stray.size === 0) continue;
    const file = disk.open(segment.name, false);
    try {
      reportStray(file, segment, stray, report);
    } finally {
      file.close();
    }
  }
}

/** Finds the entries that remove what is not there. */
function reportStray(
  file: DiskFile,
  segment: Segment,
  stray: ReadonlySet<Location>,
  report: (finding: Finding) => void,
): void {
  const window = new Window(file, segment.size);
  const entry = newEntry();
  for (let index = 0; index < segment.count; index++) {
    const offset = segment.start(index);
    const bytes = segment.end(index) - offset;
    const at = window.show(offset, bytes);
    if (readEntry(window.bytes, at, window.length, segment.salt, entry) !== undefined) continue;
    const found = entry.removed.filter((location) => stray.has(location));
    if (found.length === 0) continue;
    const [first] = found;
    const what = `removes ${found.length === 1 ? "a record that is" : `${found.length} records that are`} ` +
      `not there: byte ${offsetOf(first!)} of "${segmentName(segmentOf(first!))}"`;
    report({ severity: "damage", file: segment.name, offset, bytes, what, records: 0 });
  }
}
