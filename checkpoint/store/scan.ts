import type { DiskFile } from "./disk.ts";
import { type Entry, EntryKind, newEntry, readEntry } from "./entry.ts";
import { locationOf, StoreError } from "./store.ts";
import type { CutOff } from "./segment_index.ts";
import { HEADER_BYTES_MAX, readHeader, Segment, segmentName } from "./segment.ts";

/** A stretch of a segment that holds no sound entry. */
export interface Damage {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  /** Why, in words. */
  readonly reason: string;
  /** It is what a crash leaves, and was never promised. */
  readonly torn?: boolean;
}

/** What scanning a segment's file gave. */
export interface Scanned {
  readonly segment: Segment;
  readonly damage: Damage[];
  /** Everything before this byte was durable when the segment was last written to, as far as it says. */
  durable: number;
  /** It says that all older segments were durable: by what it holds at all, or by a mark when it begins with a seam. */
  proves: boolean;
  /** Its seam: the segment before, and where that ended. */
  seam: { readonly previous: number; readonly size: number } | undefined;
  /** The header is exactly as written. */
  readonly sound: boolean;
  /** The file is shorter than it was when it was durable. */
  cutOff: CutOff | undefined;
}

/** Bytes read at a time. */
const WINDOW_BYTES = 1024 * 1024;

/** Hashing to find the next sound entry stops at this many times the segment's size. */
const SEARCH_FACTOR = 16;

/** A moving view of a file, read in large pieces. */
export class Window {
  bytes: Uint8Array<ArrayBuffer>;
  /** The file's byte that `bytes` starts with. */
  base = 0;
  length = 0;
  readonly #file: Pick<DiskFile, "read">;
  readonly #size: number;

  constructor(file: Pick<DiskFile, "read">, size: number) {
    this.#file = file;
    this.#size = size;
    this.bytes = new Uint8Array(Math.min(WINDOW_BYTES, size));
  }

  /** Makes `[offset, offset + length)` of the file visible, as far as the file goes; its index in `bytes`. */
  show(offset: number, length: number): number {
    const wanted = Math.min(length, this.#size - offset);
    if (offset < this.base || offset + wanted > this.base + this.length) {
      if (wanted > this.bytes.length) this.bytes = new Uint8Array(wanted);
      this.base = offset;
      this.length = readFully(this.#file, this.bytes, offset, this.#size);
    }
    return offset - this.base;
  }
}

/** Fills `into` from `offset` as far as the file's `size` goes; returns how many bytes came. */
export function readFully(
  file: Pick<DiskFile, "read">,
  into: Uint8Array,
  offset: number,
  size = Infinity,
): number {
  const wanted = Math.min(into.length, Math.max(0, size - offset));
  let have = 0;
  while (have < wanted) {
    const part = have === 0 && wanted === into.length ? into : into.subarray(have, wanted);
    const got = file.read(part, offset + have);
    if (got === 0) break;
    have += got;
  }
  return have;
}

/**
 * Reads a whole segment file. Damage costs itself only: reading goes on at the next entry whose
 * salted hash is right.
 *
 * @returns `undefined` when the file is shorter than a header: its making was cut off by a crash.
 */
export function scanSegment(file: DiskFile, number: number): Scanned | undefined {
  const size = file.size();
  const start = new Uint8Array(Math.min(size, HEADER_BYTES_MAX));
  if (readFully(file, start, 0) < start.length) throw new StoreError("Cannot read segment: it shrank");
  const { salts, length, sound, format } = readHeader(start, number);
  if (salts.length === 0) return undefined;
  let best: Scanned | undefined;
  for (const salt of salts) {
    const segment = new Segment(number, salt, size);
    segment.format = format;
    const scanned = scanEntries(file, segment, length, sound);
    if (!best || scanned.segment.count - scanned.damage.length > best.segment.count - best.damage.length) {
      best = scanned;
    }
  }
  if (!sound) {
    best!.damage.unshift({
      file: segmentName(number),
      offset: 0,
      bytes: length,
      reason: "header is damaged",
    });
  }
  return best;
}

/** Adds to `segment` the entries from byte `from` on, which all come behind those that it has. */
export function scanEntries(file: DiskFile, segment: Segment, from: number, sound: boolean): Scanned {
  const { number, salt, size } = segment;
  const found: Scanned = {
    ...{ segment, sound, damage: [], durable: from, proves: false },
    ...{ seam: undefined, cutOff: undefined },
  };
  if (segment.count === 0) segment.emptySize = from;
  const window = new Window(file, size);
  const entry = newEntry();
  let budget = SEARCH_FACTOR * size;
  let at = from;
  while (at < size) {
    const reason = entryAt(window, at, size, salt, entry);
    if (reason === undefined) {
      // What did not exist yet was not removed: else a record that comes there later would die.
      const here = locationOf(number, at);
      for (const location of entry.removed) if (location < here) segment.addRemoved(location, segment.count);
      if (entry.kind === EntryKind.Mark) found.durable = Math.max(found.durable, Math.min(entry.mark, at));
      if (segment.count > 0) found.proves ||= entry.kind === EntryKind.Mark;
      else if (entry.kind !== EntryKind.Seam) found.proves = true; // from before there were seams
      else {
        found.seam = { previous: entry.previous, size: entry.previousSize };
        segment.emptySize = entry.end;
      }
      segment.add(at, entry.kind === EntryKind.Put);
      at = entry.end;
      continue;
    }
    const bad = at;
    const implied = entry.end; // where it would end, if only its content is damaged
    if (implied > bad && implied < size && entryAt(window, implied, size, salt, entry) === undefined) {
      at = implied;
    } else {
      for (at = bad + 1; at < size && budget > 0; at++) {
        if (entryAt(window, at, size, salt, entry) === undefined) break;
        budget -= 1 + Math.max(0, Math.min(entry.end, size) - at);
      }
      if (budget <= 0) at = size;
    }
    segment.add(bad, false);
    found.damage.push({
      file: segment.name,
      offset: bad,
      bytes: at - bad,
      reason: `entry at byte ${bad} ${reason}`,
    });
  }
  return found;
}

/** As `readEntry`, for the file's byte `at`; `into`'s offsets but `end` are then indices of the window. */
export function entryAt(
  window: Window,
  at: number,
  size: number,
  salt: bigint,
  into: Entry,
): string | undefined {
  let length = 4096;
  for (;;) {
    const index = window.show(at, length);
    const limit = window.length;
    const reason = readEntry(window.bytes, index, limit, salt, into);
    into.end += window.base;
    const more = window.base + limit < size;
    if (reason !== "is cut short" || !more) return reason;
    length = Math.max(into.end - at, 2 * length);
  }
}
