import { assert } from "../../base/assert.ts";
import type { DiskFile } from "./disk.ts";
import { getHash, hash64, HASH_BYTES, putHash } from "../image/hash.ts";
import { writeHead } from "../image/cbor_head.ts";
import { SegmentIndex } from "./segment_index.ts";

/** So often where an entry lies is guessed; from then on each step halves what is left. */
const GUESSES = 4;
/** Of a segment to which nothing is added any more it is known where each sixteenth entry starts, and how long each is. */
const ANCHOR_BITS = 4;
const ANCHOR_ENTRIES = 1 << ANCHOR_BITS;

/**
 * What is known in memory of one segment file: where each entry starts and whether it is a live
 * record. Four bytes and two bits per entry, in typed arrays, and two and a quarter and a bit when nothing is added any
 * more and no entry has more than 65,535; records are found by guessing, and by halves.
 */
export class Segment {
  readonly number: number;
  /** Seed of the hashes of its entries. */
  readonly salt: bigint;
  /** Bytes of the file that are in use. */
  size: number;
  file: DiskFile | undefined;
  /** Its file is gone from the folder, which is perhaps not durable yet. */
  unlinked = false;
  /** Where the first entry that somebody has asked for starts: a segment that ends there may take any batch. */
  emptySize: number;
  index: SegmentIndex = new SegmentIndex();
  /** Of its header. */
  format: number = FORMAT;
  /** How much of it was known by its index when it was opened. */
  indexedBytes = 0;
  recordsLive = 0;
  /** Bytes of the entries of live records. */
  bytesLive = 0;
  count = 0;
  #offsets = new Uint32Array(16);
  /** Once it is slim: bytes of each entry, and `#offsets` of each sixteenth only. */
  #lengths: Uint16Array | undefined;
  #puts = new Uint8Array(2);
  #live = new Uint8Array(2);
  #removed = new Float64Array(4);
  #removers = new Uint32Array(4); // by which entry
  #removedCount = 0;

  constructor(number: number, salt: bigint, size: number) {
    this.number = number;
    this.salt = salt;
    this.size = size;
    this.emptySize = size;
  }

  get name(): string {
    return segmentName(this.number);
  }

  /** The targets of its removals and supersedings, kept until they are in the index. */
  get removed(): Float64Array {
    return this.#removed.subarray(0, this.#removedCount);
  }

  /** Those of entries before `end`. */
  removedBefore(end: number): Float64Array {
    let count = this.#removedCount;
    while (count > 0 && this.#removers[count - 1]! >= end) count--;
    return this.#removed.subarray(0, count);
  }

  forgetRemoved(end: number): void {
    const { length } = this.removedBefore(end);
    this.#removed.copyWithin(0, length, this.#removedCount);
    this.#removers.copyWithin(0, length, this.#removedCount);
    this.#removedCount -= length;
  }

  /** Adds an entry that starts at `offset`, behind all others. A record begins dead: see `revive`. */
  add(offset: number, isPut: boolean): void {
    assert(this.#lengths === undefined, "Nothing is added to a segment that is slim");
    if (this.count === this.#offsets.length) {
      this.#offsets = grown(this.#offsets, 2 * this.count);
      this.#puts = grown(this.#puts, this.count >> 2);
      this.#live = grown(this.#live, this.count >> 2);
    }
    this.#offsets[this.count] = offset;
    if (isPut) this.#puts[this.count >> 3]! |= 1 << (this.count & 7);
    this.count++;
  }

  /** Adds `count` entries, the first at `offset`, by their lengths and a bit for each that is a record. */
  addMany(offset: number, count: number, lengths: Int32Array, puts: Uint8Array): void {
    if (this.count + count > this.#offsets.length) {
      const room = Math.max(2 * this.#offsets.length, this.count + count + 7 & ~7);
      this.#offsets = grown(this.#offsets, room);
      this.#puts = grown(this.#puts, room >> 3);
      this.#live = grown(this.#live, room >> 3);
    }
    const offsets = this.#offsets, bits = this.#puts;
    let to = this.count;
    for (let at = 0, next = offset; at < count; at++, to++) {
      offsets[to] = next;
      next += lengths[at]!;
      if ((puts[at >> 3]! & (1 << (at & 7))) !== 0) bits[to >> 3]! |= 1 << (to & 7);
    }
    this.count = to;
  }

  /** All records live. */
  reviveAll(): void {
    const { count } = this;
    const offsets = this.#offsets, bits = this.#puts;
    this.#live.set(bits);
    this.recordsLive = this.bytesLive = 0;
    for (let at = 0; at < count; at++) {
      if ((bits[at >> 3]! & (1 << (at & 7))) === 0) continue;
      this.recordsLive++;
      this.bytesLive += (at + 1 < count ? offsets[at + 1]! : this.size) - offsets[at]!;
    }
  }

  /** Notes that entry `entry` kills what is at `location`; entries come in their order. */
  addRemoved(location: number, entry: number): void {
    if (this.#removedCount === this.#removed.length) {
      this.#removed = grown(this.#removed, 2 * this.#removedCount);
      this.#removers = grown(this.#removers, 2 * this.#removedCount);
    }
    this.#removers[this.#removedCount] = entry;
    this.#removed[this.#removedCount++] = location;
  }

  /** Forgets entries that start at `offset` or later, and what they remove. */
  cut(offset: number): void {
    while (this.count > 0 && this.#offsets[this.count - 1]! >= offset) {
      this.count--;
      this.#puts[this.count >> 3]! &= ~(1 << (this.count & 7));
    }
    this.#removedCount = this.removedBefore(this.count).length;
    this.size = offset;
  }

  /**
   * The index of the entry that starts at `offset`, or -1. Entries are of much the same length, so that where one is can
   * be guessed: of half a million, a guess or two leave some that lie together, where halves would each be a cache miss.
   */
  find(offset: number): number {
    if (this.#lengths !== undefined) return this.#findSlim(this.#lengths, offset);
    const offsets = this.#offsets;
    let low = 0;
    let high = this.count - 1;
    for (let step = 0; low <= high; step++) {
      const first = offsets[low]!, last = offsets[high]!;
      if (offset < first || offset > last) return -1;
      const middle = step < GUESSES && last > first
        ? low + Math.round((offset - first) / (last - first) * (high - low))
        : (low + high) >> 1;
      const found = offsets[middle]!;
      if (found === offset) return middle;
      if (found < offset) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** As `find`: the last anchor that is not behind it, and from there entry by entry. */
  #findSlim(lengths: Uint16Array, offset: number): number {
    const anchors = this.#offsets;
    let low = 0;
    let high = anchors.length - 1;
    if (high < 0 || offset < anchors[0]!) return -1;
    for (let step = 0; low < high; step++) {
      const first = anchors[low]!, last = anchors[high]!;
      if (offset >= last) low = high;
      else {
        const middle = step < GUESSES
          ? low + Math.floor((offset - first) / (last - first) * (high - low))
          : (low + high) >> 1;
        if (anchors[middle]! > offset) high = middle;
        else if (anchors[middle + 1]! > offset) low = high = middle;
        else low = middle + 1;
      }
    }
    const end = Math.min(this.count, (low + 1) << ANCHOR_BITS);
    for (let at = anchors[low]!, index = low << ANCHOR_BITS; index < end && at <= offset; index++) {
      if (at === offset) return index;
      at += lengths[index]!;
    }
    return -1;
  }

  start(index: number): number {
    const lengths = this.#lengths;
    if (lengths === undefined) return this.#offsets[index]!;
    let start = this.#offsets[index >>> ANCHOR_BITS]!;
    for (let at = index & -ANCHOR_ENTRIES; at < index; at++) start += lengths[at]!;
    return start;
  }

  end(index: number): number {
    if (this.#lengths !== undefined) return this.start(index) + this.#lengths[index]!;
    return index + 1 < this.count ? this.#offsets[index + 1]! : this.size;
  }

  /** Bytes of an entry. */
  bytes(index: number): number {
    return this.#lengths !== undefined ? this.#lengths[index]! : this.end(index) - this.start(index);
  }

  isPut(index: number): boolean {
    return (this.#puts[index >> 3]! & (1 << (index & 7))) !== 0;
  }

  isLive(index: number): boolean {
    return (this.#live[index >> 3]! & (1 << (index & 7))) !== 0;
  }

  /** The first live record at or behind `index`, or -1. */
  nextLive(index: number): number {
    for (let at = index; at < this.count; at++) if (this.isLive(at)) return at;
    return -1;
  }

  revive(index: number): void {
    this.#live[index >> 3]! |= 1 << (index & 7);
    this.recordsLive++;
    this.bytesLive += this.bytes(index);
  }

  kill(index: number): void {
    this.#live[index >> 3]! &= ~(1 << (index & 7));
    this.recordsLive--;
    this.bytesLive -= this.bytes(index);
  }

  /** Keeps only what reading and removing need: nothing is appended any more, and its index has all of it. */
  slim(): void {
    if (this.#lengths === undefined) this.#slimOffsets();
    this.#live = this.#live.slice(0, (this.count + 7) >> 3);
    this.#puts = new Uint8Array(0);
    this.#removed = new Float64Array(0);
    this.#removers = new Uint32Array(0);
    this.#removedCount = 0;
    this.index.stop();
  }

  #slimOffsets(): void {
    const { count } = this;
    const lengths = new Uint16Array(count);
    const anchors = new Uint32Array(Math.ceil(count / ANCHOR_ENTRIES));
    for (let index = 0; index < count; index++) {
      const bytes = this.end(index) - this.start(index);
      if (bytes > 0xffff) { // data that nobody had read, or a damaged stretch
        this.#offsets = this.#offsets.slice(0, count);
        return;
      }
      lengths[index] = bytes;
      if (index % ANCHOR_ENTRIES === 0) anchors[index >>> ANCHOR_BITS] = this.start(index);
    }
    this.#offsets = anchors;
    this.#lengths = lengths;
  }
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(old: T, length: number): T {
  const made = new (old.constructor as new (length: number) => T)(Math.max(4, length));
  made.set(old);
  return made;
}

/** `00000007.seg` */
export function segmentName(number: number): string {
  return `${String(number).padStart(8, "0")}.seg`;
}

/** The number of a segment file, or -1 for any other name. */
export function segmentNumber(name: string): number {
  return /^\d{8}\.seg$/.test(name) ? Number(name.slice(0, 8)) : -1;
}

const TITLE = new TextEncoder().encode("torpor store");
/** Segments of format 1 have no bare records (bare.ts); they are read, and nothing is added to them. */
export const FORMAT = 2;

/** How much of a file holds any header. */
export const HEADER_BYTES_MAX = 4 + 1 + TITLE.length + 1 + 5 + 3 * (1 + HASH_BYTES);

/**
 * A segment's first item: `55799(["torpor store", 2, number, salt, salt, hash])`. The salt is there
 * twice, since without it no entry can be verified; the hash is not seeded.
 */
export function segmentHeader(
  number: number,
  salt: bigint,
  format: number = FORMAT,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES_MAX);
  bytes.set([0xd9, 0xd9, 0xf7, 0x86, 0x60 | TITLE.length]);
  bytes.set(TITLE, 5);
  let at = 5 + TITLE.length;
  bytes[at++] = format;
  at = writeHead(bytes, at, 0, number);
  for (let copy = 0; copy < 2; copy++) {
    bytes[at] = 0x40 | HASH_BYTES;
    putHash(bytes, at + 1, salt);
    at += 1 + HASH_BYTES;
  }
  bytes[at++] = 0x40 | HASH_BYTES;
  putHash(bytes, at, hash64(bytes.subarray(0, at)));
  return bytes.subarray(0, at + HASH_BYTES);
}

/** The salts a header may mean, the likeliest first, whether it is exactly as written, and in which format. */
export function readHeader(
  bytes: Uint8Array,
  number: number,
): { salts: bigint[]; length: number; sound: boolean; format: number } {
  const { length } = segmentHeader(number, 0n);
  const format = bytes[5 + TITLE.length] === 1 ? 1 : FORMAT;
  if (bytes.length < length) return { salts: [], length, sound: false, format };
  const first = getHash(bytes, length - 2 * (1 + HASH_BYTES) - HASH_BYTES);
  const second = getHash(bytes, length - (1 + HASH_BYTES) - HASH_BYTES);
  const written = segmentHeader(number, first, format);
  const sound = written.every((byte, at) => byte === bytes[at]);
  return { salts: sound || first === second ? [first] : [first, second], length, sound, format };
}
