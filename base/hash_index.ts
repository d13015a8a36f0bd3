import { assert } from "./assert.ts";

/** Who keeps the keys of an index: it asks for their hashes again when it grows. */
export interface HashedKeys {
  /** Whether there is a key under a number that once had one. */
  has(number: number): boolean;
  /** The hash of the key under a number, as it was when that was added. */
  hashOf(number: number): number;
}

// A bucket is a cache line: a word of counts (entries in it, and above them those that found no room here and went
// on), and 15 entries of which the first are in use.
const BUCKET_BITS = 4;
const COUNT_MASK = 15;
const ENTRIES = 15;
const WENT_ON = 16;
const WORDS_MIN = 1024;
/** Entries per word; of 15 places 12.8 are then taken, and one find in four looks at a second bucket. */
const LOAD_MAX = 0.8;
/**
 * Entries that each change moves while the index grows. It has room for as many again as it held, so one would do;
 * eight are over sooner, and until then a find that finds nothing looks at both tables.
 */
const MOVES = 8;
const NUMBERS_LIMIT = 2 ** 26;

/**
 * A hash table of small whole numbers whose keys lie elsewhere, four bytes for each: its number, and above it as many
 * bits of its hash as there is room for (8 of 16 million numbers), which keep all but one in 255 of the wrong ones
 * from being looked at.
 *
 * When it must grow, a second table is allocated, and every change moves a few numbers into it, in their own
 * order, so that their keys are read one behind the other: no call takes time in proportion to the size. While
 * that goes on a number's place follows from itself: those not moved yet are in the old table, all others in the
 * new one. Nothing is shifted when a number is removed, and nothing is left behind: an entry that found its bucket full
 * was counted there, and is no more.
 *
 * Numbers are dense: those in use should be the lowest ones. The index never shrinks.
 *
 * @example
 * ```ts
 * import { HashIndex } from "@torpor/torpor/base/hash_index.ts";
 * import assert from "node:assert/strict";
 * const words = ["sleep", "wake"];
 * const hashOf = (word: string) => word.length * 0x9e3779b1;
 * const index = new HashIndex(100, { has: () => true, hashOf: (number) => hashOf(words[number]!) });
 * words.forEach((word, number) => index.add(number, hashOf(word)));
 * const find = (word: string): number => {
 *   for (let at = index.first(hashOf(word)); at >= 0; at = index.next()) if (words[at] === word) return at;
 *   return -1;
 * };
 * assert.deepEqual([find("wake"), find("dream")], [1, -1]);
 * ```
 */
export class HashIndex {
  readonly #keys: HashedKeys;
  readonly #numberMask: number;
  #size = 0;
  #end = 0; // numbers from here on have never been in it
  #table: Int32Array = new Int32Array(WORDS_MIN);
  #mask = (WORDS_MIN >>> BUCKET_BITS) - 1; // of bucket numbers
  #growAt = Math.floor(WORDS_MIN * LOAD_MAX);
  #old: Int32Array | undefined; // while growing: where numbers from `moveNext` up to `moveEnd` still are
  #oldMask = 0;
  #moveNext = 0;
  #moveEnd = 0;
  // Where `next` goes on
  #hash = 0;
  #bucket = 0; // its first word
  #at = 0;
  #bucketsLeft = 0;
  #inOld = false;

  /** Numbers are below `numbersMax`, which is 2^26 at most. */
  constructor(numbersMax: number, keys: HashedKeys) {
    assert(numbersMax >= 1 && numbersMax <= NUMBERS_LIMIT, "An index holds 1 to 2^26 numbers");
    this.#keys = keys;
    this.#numberMask = 2 ** (32 - Math.clz32(numbersMax - 1)) - 1;
  }

  /** Numbers in the index. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.#table.byteLength + (this.#old?.byteLength ?? 0);
  }

  /**
   * The first number whose key may have this hash, or -1. The caller looks at the key, and asks for the
   * {@linkcode HashIndex.next} while it is another one.
   */
  first(hash: number): number {
    this.#hash = hash;
    this.#bucket = this.#at = (hash & this.#mask) << BUCKET_BITS;
    this.#bucketsLeft = this.#mask;
    this.#inOld = false;
    return this.#scan(this.#table, this.#mask);
  }

  /** The number after the one that `first` or `next` gave last; nothing may be changed in between. */
  next(): number {
    return this.#inOld ? this.#scan(this.#old!, this.#oldMask) : this.#scan(this.#table, this.#mask);
  }

  /** Adds a number that is not in the index; its key can be read already. */
  add(number: number, hash: number): void {
    if (this.#size >= this.#growAt) this.#grow();
    assert(number <= this.#numberMask, "A number is below the most that an index holds");
    this.#size++;
    if (this.#isOld(number)) place(this.#old!, this.#oldMask, hash, this.#entry(number, hash));
    else place(this.#table, this.#mask, hash, this.#entry(number, hash));
    if (number >= this.#end) this.#end = number + 1;
    this.#move(); // after: it must not meet a number that has a key and is in no table
  }

  /** Removes a number; its key can still be read. */
  remove(number: number, hash: number): void {
    this.#move(); // before, for the same reason
    this.#size--;
    if (this.#isOld(number)) unplace(this.#old!, this.#oldMask, hash, this.#entry(number, hash));
    else unplace(this.#table, this.#mask, hash, this.#entry(number, hash));
  }

  #isOld(number: number): boolean {
    return this.#old !== undefined && number >= this.#moveNext && number < this.#moveEnd;
  }

  #entry(number: number, hash: number): number {
    return this.#tag(hash) | number;
  }

  /** The bits of a hash that are above a number's. */
  #tag(hash: number): number {
    return hash & ~this.#numberMask;
  }

  #scan(table: Int32Array, mask: number): number {
    const numberMask = this.#numberMask, tag = this.#tag(this.#hash);
    let bucket = this.#bucket;
    let at = this.#at;
    for (;;) {
      const counts = table[bucket]!;
      for (const last = bucket + (counts & COUNT_MASK); at < last;) {
        const entry = table[++at]!;
        if ((entry & ~numberMask) !== tag) continue;
        const number = entry & numberMask;
        if (this.#inOld && number < this.#moveNext) continue; // it has moved
        this.#bucket = bucket;
        this.#at = at;
        return number;
      }
      if (counts >= WENT_ON && this.#bucketsLeft-- > 0) {
        bucket = at = ((bucket >>> BUCKET_BITS) + 1 & mask) << BUCKET_BITS;
        continue;
      }
      if (this.#inOld || this.#old === undefined) return -1;
      this.#inOld = true;
      this.#bucket = this.#at = (this.#hash & this.#oldMask) << BUCKET_BITS;
      this.#bucketsLeft = this.#oldMask;
      return this.#scan(this.#old, this.#oldMask);
    }
  }

  #grow(): void {
    assert(this.#old === undefined, "Growth is over long before the next one");
    const words = 2 * this.#table.length;
    this.#old = this.#table;
    this.#oldMask = this.#mask;
    this.#moveNext = 0;
    this.#moveEnd = this.#end;
    this.#table = new Int32Array(words);
    this.#mask = (words >>> BUCKET_BITS) - 1;
    this.#growAt = Math.floor(words * LOAD_MAX);
  }

  #move(): void {
    if (this.#old === undefined) return;
    const end = Math.min(this.#moveNext + MOVES, this.#moveEnd);
    for (let number = this.#moveNext; number < end; number++) {
      if (!this.#keys.has(number)) continue;
      const hash = this.#keys.hashOf(number);
      place(this.#table, this.#mask, hash, this.#entry(number, hash));
    }
    this.#moveNext = end;
    if (end === this.#moveEnd) this.#old = undefined;
  }
}

function place(table: Int32Array, mask: number, hash: number, entry: number): void {
  for (let home = hash & mask;; home = (home + 1) & mask) {
    const bucket = home << BUCKET_BITS;
    const count = table[bucket]! & COUNT_MASK;
    if (count < ENTRIES) {
      table[bucket + count + 1] = entry;
      table[bucket]!++;
      return;
    }
    table[bucket]! += WENT_ON;
  }
}

function unplace(table: Int32Array, mask: number, hash: number, entry: number): void {
  for (let home = hash & mask;; home = (home + 1) & mask) {
    const bucket = home << BUCKET_BITS;
    const last = bucket + (table[bucket]! & COUNT_MASK);
    for (let at = bucket + 1; at <= last; at++) {
      if (table[at] !== entry) continue;
      table[at] = table[last]!;
      table[bucket]!--;
      return;
    }
    assert(table[bucket]! >= WENT_ON, "Every number that is removed is in the index");
    table[bucket]! -= WENT_ON;
  }
}
