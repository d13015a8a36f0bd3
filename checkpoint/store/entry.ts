/**
 * The entries of a segment. Each is one CBOR item, so that a segment is a CBOR sequence (RFC 8742):
 *
 *     [record, hash]                 a record: its bytes, or of an image without chunks `[kind, version, body]` (bare.ts)
 *     [record, location, hash]       a record that supersedes the one at `location`
 *     [record, location, origin, hash]  one that was moved here from `location`, first written at `origin`
 *     [[location, ...], hash]        a removal
 *     [offset, hash]                 a mark: everything before byte `offset` was durable, and all older segments
 *     [number, size, hash]           a seam, a segment's first entry: segment `number` before it ended at `size`
 *
 * `hash` is the xxHash64, seeded with the segment's salt, of the entry's bytes before its own eight.
 * The salt is random and on disk only: nobody who sends us data can plant an entry inside a record
 * for the search after damage to find. store.cddl is the schema.
 * @module
 */
import { CborError, type Head, headBytes, readHead, writeHead } from "../image/cbor_head.ts";
import { getHash, hash64, HASH_BYTES, hashText, putHash } from "../image/hash.ts";
import { bareEnd, recordOf } from "./bare.ts";
import { type Location, RECORD_BYTES_MAX } from "./store.ts";

/** What an entry is. */
export const EntryKind = { Put: 1, Remove: 2, Mark: 3, Seam: 4 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/** An entry as read; one record is filled again and again. */
export interface Entry {
  kind: EntryKind;
  /** The byte after the entry; where it should end, when `readEntry` says that it does not. */
  end: number;
  /** The record's bytes, or what is left of them: see `recordIn`. */
  recordStart: number;
  recordEnd: number;
  isBare: boolean;
  /** Locations that die by this entry. */
  removed: Location[];
  /** Where a record that was moved was written first; -1 for one that was not. */
  origin: Location;
  /** A mark's offset. */
  mark: number;
  /** A seam's: the segment before, and its bytes. */
  previous: number;
  previousSize: number;
}

/** A fresh `Entry`. */
export function newEntry(): Entry {
  return {
    kind: EntryKind.Mark,
    end: 0,
    recordStart: 0,
    recordEnd: 0,
    isBare: false,
    removed: [],
    origin: -1,
    mark: 0,
    previous: 0,
    previousSize: 0,
  };
}

/** The most locations of one removal: its entry stays below the size of a record's. */
export const REMOVED_MAX = 2 ** 20;

/** The record of an entry that was read from `bytes`: a view, or made anew. */
export function recordIn(bytes: Uint8Array, { recordStart, recordEnd, isBare }: Entry): Uint8Array {
  const content = bytes.subarray(recordStart, recordEnd);
  return isBare ? recordOf(content) : content;
}

/** Bytes of a record's entry. Only one that supersedes another has an origin. */
export function putBytes(
  recordBytes: number,
  superseded: Location | undefined,
  origin: Location = -1,
  isBare = false,
): number {
  const extra = (superseded === undefined ? 0 : headBytes(superseded)) + (origin < 0 ? 0 : headBytes(origin));
  const heads = isBare ? 1 : headBytes(recordBytes);
  return 1 + heads + recordBytes + extra + 1 + HASH_BYTES;
}

/** Bytes of a removal's entry. */
export function removeBytes(locations: readonly Location[]): number {
  let length = 1 + headBytes(locations.length) + 1 + HASH_BYTES;
  for (const location of locations) length += headBytes(location);
  return length;
}

/** Writes the entry of a record, or of what `bareOf` left of it, at `at`; returns the byte after it. */
export function writePut(
  into: Uint8Array,
  at: number,
  record: Uint8Array,
  superseded: Location | undefined,
  salt: bigint,
  origin: Location = -1,
  isBare = false,
): number {
  into[at] = superseded === undefined ? 0x82 : origin < 0 ? 0x83 : 0x84;
  let next = isBare ? writeHead(into, at + 1, 0x80, 3) : writeHead(into, at + 1, 0x40, record.length);
  into.set(record, next);
  next += record.length;
  if (superseded !== undefined) next = writeHead(into, next, 0, superseded);
  if (origin >= 0) next = writeHead(into, next, 0, origin);
  return seal(into, at, next, salt);
}

/** Makes the bare record that ends at `end` an entry, which begins at `at` (bare_batch.ts). */
export function frameBare(into: Uint8Array, at: number, end: number, salt: bigint): void {
  into[at] = 0x82;
  into[at + 1] = 0x83;
  seal(into, at, end, salt);
}

/** Writes a removal's entry at `at`; returns the byte after it. */
export function writeRemove(
  into: Uint8Array,
  at: number,
  locations: readonly Location[],
  salt: bigint,
): number {
  into[at] = 0x82;
  let next = writeHead(into, at + 1, 0x80, locations.length);
  for (const location of locations) next = writeHead(into, next, 0, location);
  return seal(into, at, next, salt);
}

/** Writes a mark at `at`; returns the byte after it. */
export function writeMark(into: Uint8Array, at: number, offset: number, salt: bigint): number {
  into[at] = 0x82;
  return seal(into, at, writeHead(into, at + 1, 0, offset), salt);
}

/** The largest mark, in bytes. */
export const MARK_BYTES_MAX = 1 + 9 + 1 + HASH_BYTES;

/** The largest seam, in bytes. */
export const SEAM_BYTES_MAX = 1 + 9 + 9 + 1 + HASH_BYTES;

/** Writes a seam at `at`; returns the byte after it. */
export function writeSeam(
  into: Uint8Array,
  at: number,
  previous: number,
  previousSize: number,
  salt: bigint,
): number {
  into[at] = 0x83;
  const next = writeHead(into, at + 1, 0, previous);
  return seal(into, at, writeHead(into, next, 0, previousSize), salt);
}

function seal(into: Uint8Array, start: number, at: number, salt: bigint): number {
  into[at] = 0x40 | HASH_BYTES;
  putHash(into, at + 1, hash64(into.subarray(start, at + 1), salt));
  return at + 1 + HASH_BYTES;
}

const head: Head = { major: 0, argument: 0, next: 0 };

/**
 * Reads and verifies the entry at `at`.
 *
 * @returns Why there is no sound entry, or `undefined`. `into.end` is then where it would end if its
 * heads are right (beyond `limit` when it is cut short), or `at` when not even that is known.
 */
export function readEntry(
  bytes: Uint8Array,
  at: number,
  limit: number,
  salt: bigint,
  into: Entry,
): string | undefined {
  into.end = at;
  const initial = at < limit ? bytes[at] : 0;
  if (initial !== 0x82 && initial !== 0x83 && initial !== 0x84) return "is no entry";
  let next: number;
  try {
    readHead(bytes, at + 1, head, limit);
    next = head.next;
    if (into.removed.length > 0) into.removed.length = 0; // to set it takes a while, whatever it was
    into.origin = -1;
    const bare = head.major === 4 && head.argument === 3 ? bareEnd(bytes, next, limit) : -1;
    if (head.major === 2 || bare >= 0) {
      const end = bare >= 0 ? bare : next + head.argument;
      if (end - next > RECORD_BYTES_MAX) return "is no entry";
      into.kind = EntryKind.Put;
      into.isBare = bare >= 0;
      into.recordStart = next;
      into.recordEnd = next = end;
      if (initial !== 0x82) {
        if (next >= limit) return cutShort(into, next + 9 + 1 + HASH_BYTES);
        readHead(bytes, next, head, limit);
        if ((head.major as number) !== 0) return "is no entry";
        into.removed.push(head.argument);
        next = head.next;
      }
      if (initial === 0x84) {
        if (next >= limit) return cutShort(into, next + 9 + 1 + HASH_BYTES);
        readHead(bytes, next, head, limit);
        if ((head.major as number) !== 0) return "is no entry";
        into.origin = head.argument;
        next = head.next;
      }
    } else if (initial === 0x83 && head.major === 0) {
      into.kind = EntryKind.Seam;
      into.previous = head.argument;
      if (next >= limit) return cutShort(into, next + 9 + 1 + HASH_BYTES);
      readHead(bytes, next, head, limit);
      if ((head.major as number) !== 0) return "is no entry";
      into.previousSize = head.argument;
      next = head.next;
    } else if (initial !== 0x82) {
      return "is no entry";
    } else if (head.major === 4) {
      if (head.argument > REMOVED_MAX) return "is no entry";
      into.kind = EntryKind.Remove;
      const count = head.argument;
      if (next + count + 1 + HASH_BYTES > limit) return cutShort(into, next + 9 * count + 1 + HASH_BYTES);
      for (let index = 0; index < count; index++) {
        if (next >= limit) return cutShort(into, next + 9 * (count - index) + 1 + HASH_BYTES);
        readHead(bytes, next, head, limit);
        if ((head.major as number) !== 0) return "is no entry";
        into.removed.push(head.argument);
        next = head.next;
      }
    } else if (head.major === 0) {
      into.kind = EntryKind.Mark;
      into.mark = head.argument;
    } else {
      return "is no entry";
    }
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    return limit - error.offset < 9 ? cutShort(into, error.offset + 9 + 1 + HASH_BYTES) : "is no entry";
  }
  if (next + 1 + HASH_BYTES > limit) return cutShort(into, next + 1 + HASH_BYTES);
  into.end = next + 1 + HASH_BYTES;
  if (bytes[next] !== (0x40 | HASH_BYTES)) return "is no entry";
  const found = hash64(bytes.subarray(at, next + 1), salt);
  const need = getHash(bytes, next + 1);
  return found === need ? undefined : `hashes to ${hashText(found)}, need ${hashText(need)}`;
}

/** `end` may be beyond the true end: it says how much to read before trying again. */
function cutShort(into: Entry, end: number): string {
  into.end = end;
  return "is cut short";
}
