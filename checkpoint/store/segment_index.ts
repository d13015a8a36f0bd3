import { type CborValue, decodeCbor, encodeCbor } from "../image/cbor.ts";
import { CborError, writeHead } from "../image/cbor_head.ts";
import { getHash, hash64, HASH_BYTES, putHash } from "../image/hash.ts";
import { type Column, packColumn, unpackColumn } from "./column.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { EntryKind, newEntry, putBytes, readEntry, recordIn, writePut } from "./entry.ts";
import { readFully } from "./scan.ts";
import type { Segment } from "./segment.ts";
import { type Location, locationOf, offsetOf, segmentOf } from "./store.ts";

/** The file beside a segment that saves reading it: `00000007.idx`. */
export function indexName(number: number): string {
  return `${String(number).padStart(8, "0")}.idx`;
}

/** Words of one summary, at most. */
export const SUMMARY_WORDS_MAX = 32;

const TITLE = new TextEncoder().encode("torpor index");

/** An index's first item: what it is the index of. */
export function indexHeader(number: number, salt: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + 1 + TITLE.length + 1 + 5 + 1 + HASH_BYTES);
  bytes.set([0xd9, 0xd9, 0xf7, 0x84, 0x60 | TITLE.length]);
  bytes.set(TITLE, 5);
  let at = 5 + TITLE.length;
  bytes[at++] = 2;
  at = writeHead(bytes, at, 0, number);
  bytes[at++] = 0x40 | HASH_BYTES;
  putHash(bytes, at, salt);
  return bytes.subarray(0, at + HASH_BYTES);
}

/**
 * Writes the index of a segment while that grows: blocks of entries that are durable in it. It is a cache. What
 * goes wrong with it is nobody's business: from there on the segment itself is read.
 */
export class SegmentIndex {
  /** Entries of the segment that are in it. */
  entries = 0;
  #file: DiskFile | undefined;
  #size: number;
  #broken = false;
  #words = 0;
  /** Summaries of entries that are not in it yet: of entry `#rowEntries[row]`, `#words` from `row * #words` on. */
  #rows = new Int32Array(0);
  #rowEntries = new Uint32Array(0);
  #rowCount = 0;

  /** @param size Bytes of its file that are sound, with `entries` in them. */
  constructor(file?: DiskFile, size = 0, entries = 0) {
    this.#file = file;
    this.#size = size;
    this.entries = entries;
  }

  /** Whether nothing is missing, or nothing can be added. */
  isDone(segment: Segment): boolean {
    return this.#broken || this.entries === segment.count;
  }

  /** Nothing is added any more. */
  stop(): void {
    this.#broken = true;
    this.#rowCount = 0;
    this.close();
  }

  /** Keeps the summary of an entry: the `words` words at `from`. Entries come in their order. */
  note(entry: number, summaries: Int32Array, from: number, words: number): void {
    if (this.#broken || entry < this.entries) return;
    if (this.#rowCount === 0) this.#words = words;
    else if (words !== this.#words || entry <= this.#rowEntries[this.#rowCount - 1]!) return; // it is read instead
    if (this.#rowCount === this.#rowEntries.length) this.#growTo(Math.max(64, 2 * this.#rowCount));
    if (this.#rows.length < this.#rowEntries.length * words) this.#growTo(this.#rowEntries.length);
    this.#rowEntries[this.#rowCount] = entry;
    const rows = this.#rows;
    for (let word = 0, to = this.#rowCount * words; word < words; word++) {
      rows[to + word] = summaries[from + word]!;
    }
    this.#rowCount++;
  }

  /** The summary of an entry that is not in the file yet. */
  noted(entry: number): Int32Array | undefined {
    const row = this.#rowEntries.subarray(0, this.#rowCount).indexOf(entry);
    return row < 0 ? undefined : this.#rows.slice(row * this.#words, (row + 1) * this.#words);
  }

  /**
   * Writes blocks of the entries that end at `through` or before: all that have `blockEntries`, and when `last` is
   * set what remains as well.
   */
  write(disk: Disk, segment: Segment, through: number, blockEntries: number, last: boolean): void {
    while (!this.#broken) {
      let end = Math.min(this.entries + blockEntries, segment.count);
      if (!last && end < this.entries + blockEntries) return;
      while (end > this.entries && segment.end(end - 1) > through) end--;
      if (end === this.entries || (!last && end < this.entries + blockEntries)) return;
      try {
        this.#append(disk, segment, this.#block(segment, end));
      } catch {
        return this.stop(); // what is written of it has no right hash
      }
      this.entries = end;
      segment.forgetRemoved(end);
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #block(segment: Segment, end: number): Uint8Array {
    const start = this.entries;
    const count = end - start;
    const lengths = new Int32Array(count);
    const puts = new Uint8Array((count + 7) >> 3);
    for (let at = 0; at < count; at++) {
      lengths[at] = segment.end(start + at) - segment.start(start + at);
      if (segment.isPut(start + at)) puts[at >> 3]! |= 1 << (at & 7);
    }
    const removed = segment.removedBefore(end);
    const segments = new Int32Array(removed.length);
    const offsets = new Int32Array(removed.length);
    for (const [at, location] of removed.entries()) {
      segments[at] = segmentOf(location);
      offsets[at] = location % 0x1_0000_0000 | 0;
    }
    const summarised = new Uint8Array(puts.length);
    let rows = 0;
    while (rows < this.#rowCount && this.#rowEntries[rows]! < end) {
      const at = this.#rowEntries[rows++]! - start;
      summarised[at >> 3]! |= 1 << (at & 7);
    }
    const columns: Column[] = [];
    const words = rows > 0 ? this.#words : 0;
    for (let word = 0; word < words; word++) columns.push(packColumn(this.#rows, word, words, rows));
    const block = encodeCbor([
      segment.start(start),
      count,
      packColumn(lengths, 0, 1, count),
      puts,
      removed.length,
      packColumn(segments, 0, 1, removed.length),
      packColumn(offsets, 0, 1, removed.length),
      rows > 0 ? summarised : new Uint8Array(0),
      columns,
    ] as CborValue);
    this.#rows.copyWithin(0, rows * this.#words, this.#rowCount * this.#words);
    this.#rowEntries.copyWithin(0, rows, this.#rowCount);
    this.#rowCount -= rows;
    return block;
  }

  #append(disk: Disk, segment: Segment, block: Uint8Array): void {
    const file = this.#file ??= this.#open(disk, segment);
    const bytes = new Uint8Array(putBytes(block.length, undefined));
    writePut(bytes, 0, block, undefined, segment.salt);
    writeFully(file, bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Of a segment that an earlier process has left: behind the sound part of what it wrote. */
  #open(disk: Disk, segment: Segment): DiskFile {
    const name = indexName(segment.number);
    const file = disk.open(name, !disk.list().includes(name));
    file.truncate(this.#size);
    if (this.#size === 0) this.#size = writeHeader(file, segment);
    return file;
  }

  #growTo(rows: number): void {
    const entries = new Uint32Array(rows);
    entries.set(this.#rowEntries.subarray(0, this.#rowCount));
    this.#rowEntries = entries;
    const words = new Int32Array(rows * this.#words);
    words.set(this.#rows.subarray(0, this.#rowCount * this.#words));
    this.#rows = words;
  }
}

/** The index of a new segment; one that can hold nothing when the disk refuses. */
export async function createIndex(disk: Disk, segment: Segment): Promise<SegmentIndex> {
  let file: DiskFile | undefined;
  try {
    file = await disk.create(indexName(segment.number));
    return new SegmentIndex(file, writeHeader(file, segment));
  } catch {
    const none = new SegmentIndex(file);
    none.stop();
    return none;
  }
}

function writeHeader(file: DiskFile, segment: Segment): number {
  const header = indexHeader(segment.number, segment.salt);
  writeFully(file, header, 0);
  return header.length;
}

/** Writes all of `bytes`, however many calls that takes. */
export function writeFully(file: DiskFile, bytes: Uint8Array, position: number): void {
  let at = 0;
  while (at < bytes.length) {
    const wrote = file.write(at === 0 ? bytes : bytes.subarray(at), position + at);
    if (wrote === 0) throw new Error("the disk takes no more bytes");
    at += wrote;
  }
}

/** A block as read: entries that follow those of the block before. */
export interface IndexBlock {
  readonly start: number;
  readonly count: number;
  /** The byte after its last entry. */
  readonly end: number;
  /** Bytes of each entry. */
  readonly lengths: Int32Array;
  readonly puts: Uint8Array;
  readonly removedSegments: Int32Array;
  readonly removedOffsets: Int32Array;
  /** A bit per entry: whether it has a summary. */
  readonly summarised: Uint8Array;
  /** To be unpacked: one value for each entry with a summary. */
  readonly columns: readonly unknown[];
}

/** Reads an index from its first block to the first that is not sound. */
export class IndexReader {
  /** Bytes that are sound. */
  size: number;
  readonly #bytes: Uint8Array;
  readonly #salt: bigint;
  readonly #entry = newEntry();
  #next: number;
  readonly #limit: number;

  /**
   * @param from The segment's byte at which its first entry starts.
   * @param limit Bytes of the segment: a block of more is of another state of its file.
   */
  constructor(bytes: Uint8Array, number: number, salt: bigint, from: number, limit: number) {
    this.#bytes = bytes;
    this.#salt = salt;
    this.#next = from;
    this.#limit = limit;
    const header = indexHeader(number, salt);
    const isOurs = header.every((byte, at) => byte === bytes[at]);
    this.size = isOurs ? header.length : 0;
  }

  /** The next block; `undefined` when what follows is none. */
  next(): IndexBlock | undefined {
    if (this.size === 0) return undefined;
    const entry = this.#entry;
    if (readEntry(this.#bytes, this.size, this.#bytes.length, this.#salt, entry) !== undefined) {
      return undefined;
    }
    if (entry.kind !== EntryKind.Put) return undefined;
    try {
      const block = blockOf(decodeCbor(recordIn(this.#bytes, entry)));
      if (block.start !== this.#next || block.end > this.#limit) return undefined;
      this.#next = block.end;
      this.size = entry.end;
      return block;
    } catch (error) {
      if (error instanceof CborError) return undefined;
      throw error;
    }
  }
}

/** Entries of one block, at most: as many as we ever wrote, and more. */
const COUNT_MAX = 2 ** 16;

function blockOf(value: CborValue): IndexBlock {
  if (!Array.isArray(value) || value.length !== 9) throw new CborError(0, "A block has nine parts");
  const [start, count, lengths, puts, removed, segments, offsets, summarised, columns] = value as unknown[];
  const isCount = (part: unknown, most: number): part is number =>
    typeof part === "number" && Number.isInteger(part) && part >= 0 && part <= most;
  if (!isCount(start, 2 ** 32) || !isCount(count, COUNT_MAX) || !isCount(removed, 2 ** 28) || count === 0) {
    throw new CborError(0, "A block has counts");
  }
  const bits = (count + 7) >> 3;
  if (!(puts instanceof Uint8Array) || puts.length !== bits) throw new CborError(0, "A bit per entry");
  if (!(summarised instanceof Uint8Array) || (summarised.length !== 0 && summarised.length !== bits)) {
    throw new CborError(0, "A bit per entry, or none");
  }
  if (!Array.isArray(columns) || columns.length > SUMMARY_WORDS_MAX) throw new CborError(0, "Columns");
  if (removed > 0 && !hasBytes(segments, removed) && !hasBytes(offsets, removed)) {
    throw new CborError(0, "No segment is removed so often");
  }
  const unpacked = (column: unknown, length: number): Int32Array => {
    const into = new Int32Array(length);
    unpackColumn(column, length, into);
    return into;
  };
  const lengthOf = unpacked(lengths, count);
  let end = start;
  for (let at = 0; at < count; at++) {
    if (lengthOf[at]! <= 0) throw new CborError(0, "An entry has bytes");
    end += lengthOf[at]!;
  }
  return {
    start,
    count,
    end,
    lengths: lengthOf,
    puts,
    removedSegments: unpacked(segments, removed),
    removedOffsets: unpacked(offsets, removed),
    summarised,
    columns,
  };
}

/** Different locations differ in their segment or in their offset: so many have bytes in one of the columns. */
function hasBytes(column: unknown, count: number): boolean {
  return count === 1 ||
    (Array.isArray(column) && column[1] instanceof Uint8Array && column[1].length >= count);
}

/** All bytes of a segment's index; `undefined` when there is none that can be read. */
export function readIndexFile(disk: Disk, number: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    const file = disk.open(indexName(number), false);
    try {
      const bytes = new Uint8Array(file.size());
      return readFully(file, bytes, 0) < bytes.length ? undefined : bytes;
    } finally {
      file.close();
    }
  } catch {
    return undefined;
  }
}

/**
 * Fills `segment`, which is empty, from its index, of either version, as far as that goes.
 *
 * @param from The segment's byte at which its first entry starts.
 * @returns Bytes of the index that are sound, 0 when none are; 0 too for a whole one of version 1, which is replaced
 * when it is written to.
 */
export function fillFromIndex(bytes: Uint8Array<ArrayBuffer>, segment: Segment, from: number): number {
  if (fillFromIndex1(bytes, segment)) return 0;
  const { number } = segment;
  const reader = new IndexReader(bytes, number, segment.salt, from, segment.size);
  let next = from;
  for (let block = reader.next(); block !== undefined; block = reader.next()) {
    segment.addMany(next, block.count, block.lengths, block.puts);
    next = block.end;
    for (let removal = 0; removal < block.removedSegments.length; removal++) {
      const target = locationOf(block.removedSegments[removal]!, block.removedOffsets[removal]! >>> 0);
      if (target < locationOf(number, next)) segment.addRemoved(target, segment.count - 1); // as a scan does
    }
  }
  segment.indexedBytes = next;
  return reader.size;
}

/** What an index knows of a segment's file that the file does not have any more: it was durable. */
export interface CutOff {
  /** Where the segment ended, at least. */
  readonly end: number;
  /** Records that have gone. */
  readonly records: readonly Location[];
  /** What the entries that have gone had removed, so that it stays removed. */
  readonly removed: readonly Location[];
}

/**
 * What the index of a segment knows behind byte `size`, where its file ends; undefined when that is nothing. Blocks are
 * of what is durable, so no crash leaves such a file: somebody has cut it, or put an older one in its place.
 *
 * @param from The segment's byte at which its first entry starts.
 */
export function cutOffBehind(
  bytes: Uint8Array,
  number: number,
  salt: bigint,
  from: number,
  size: number,
): CutOff | undefined {
  const reader = new IndexReader(bytes, number, salt, from, Infinity);
  const records: Location[] = [];
  const removed: Location[] = [];
  let end = 0;
  for (let block = reader.next(); block !== undefined; block = reader.next()) {
    end = block.end;
    if (end <= size) continue;
    for (let at = 0, start = block.start; at < block.count; start += block.lengths[at++]!) {
      const isRecord = (block.puts[at >> 3]! & (1 << (at & 7))) !== 0;
      if (isRecord && start + block.lengths[at]! > size) records.push(locationOf(number, start));
    }
    for (let at = 0; at < block.removedSegments.length; at++) {
      const target = locationOf(block.removedSegments[at]!, block.removedOffsets[at]! >>> 0);
      if (target < locationOf(number, end)) removed.push(target);
    }
  }
  return end > size ? { end, records, removed } : undefined;
}

/** The salt that an index says its segment has; undefined when these bytes are none of this segment. */
export function indexSalt(bytes: Uint8Array, number: number): bigint | undefined {
  const { length } = indexHeader(number, 0n);
  if (bytes.length < length) return undefined;
  const salt = getHash(bytes, length - HASH_BYTES);
  return indexHeader(number, salt).every((byte, at) => byte === bytes[at]) ? salt : undefined;
}

/**
 * Fills `segment` from an index of version 1: `[1, number, size, salt, offsets, puts, removed]` and the xxHash64 of
 * it, of a sealed segment. False when it is not that, or of another state of the segment's file.
 */
function fillFromIndex1(bytes: Uint8Array, segment: Segment): boolean {
  try {
    const content = bytes.subarray(0, -1 - HASH_BYTES);
    if (hash64(content) !== getHash(bytes, content.length + 1)) return false;
    const [version, isNumber, isSize, isSalt, offsets, puts, removed] = decodeCbor(content) as [
      number,
      number,
      number,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    if (version !== 1 || isNumber !== segment.number || isSize !== segment.size) return false;
    if (getHash(isSalt, 0) !== segment.salt) return false;
    const starts = new DataView(offsets.buffer, offsets.byteOffset, offsets.length);
    for (let index = 0; 4 * index < offsets.length; index++) {
      segment.add(starts.getUint32(4 * index, true), (puts[index >> 3]! & (1 << (index & 7))) !== 0);
    }
    const targets = new DataView(removed.buffer, removed.byteOffset, removed.length);
    // It does not say which entry removes what: the first that can, since all of them are durable.
    const removals: [entry: number, location: Location][] = [];
    for (let at = 0; at < removed.length; at += 8) {
      const location = targets.getFloat64(at, true);
      const isHere = segmentOf(location) === segment.number;
      removals.push([isHere ? segment.find(offsetOf(location)) + 1 : 0, location]);
    }
    for (const [entry, location] of removals.sort(([a], [b]) => a - b)) segment.addRemoved(location, entry);
    segment.indexedBytes = segment.size;
    return true;
  } catch {
    return false; // whatever is wrong with a cache, the segment itself decides
  }
}
