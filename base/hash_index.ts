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
/** Entries per word; of 15 places 12 are then taken, and one find of nothing in five looks at a second bucket. */
const LOAD_MAX = 0.75;
/**
 * Entries that each change moves while the index grows. It has room for as many again as it held, so one would do;
 * six are over sooner, and until then a find that finds nothing looks at both tables.
 */
const MOVES = 6;
const NUMBERS_LIMIT = 2 ** 26;

/**
 * A hash table of small whole numbers whose keys lie elsewhere, four bytes for each: its number, a bit that says
 * whether it found no room in its bucket, and above that as many bits of its hash as there is room for (7 of 16 million
 * numbers), which keep all but one in 127 of the wrong ones from being looked at.
 *
 * When it must grow, a second table is allocated, and every change moves a few numbers into it, in their own
 * order, so that their keys are read one behind the other: no call takes time in proportion to the size. While
 * that goes on a number's place follows from itself: those not moved yet are in the old table, all others in the
 * new one. A removal leaves no mark behind. Into the room that it makes in a full bucket comes one of those that had
 * found none there, so that the table is always as if nothing had ever been removed.
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
  readonly #elsewhere: number; // the bit of an entry that is not in its bucket
  readonly #tagMask: number;
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
    this.#elsewhere = this.#numberMask + 1;
    this.#tagMask = ~(this.#numberMask | this.#elsewhere);
  }

  /** Numbers in the index. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.#table.byteLength + (this.#old?.byteLength ?? 0);
  }

  /** Entries that found no room in their bucket; counts them all. */
  get displaced(): number {
    let count = 0;
    for (let bucket = 0; bucket < this.#table.length; bucket += ENTRIES + 1) {
      for (let at = bucket + (this.#table[bucket]! & COUNT_MASK); at > bucket; at--) {
        if ((this.#table[at]! & this.#elsewhere) !== 0) count++;
      }
    }
    return count;
  }

  /** Makes room for so many numbers while it is empty; later it grows by itself. */
  reserve(numbers: number): void {
    if (this.#size > 0 || this.#old !== undefined) return;
    let words = this.#table.length;
    while (Math.floor(words * LOAD_MAX) < numbers) words *= 2;
    if (words === this.#table.length) return;
    this.#table = new Int32Array(words);
    this.#mask = (words >>> BUCKET_BITS) - 1;
    this.#growAt = Math.floor(words * LOAD_MAX);
  }

  /** Looks at where these hashes belong, one behind the other: whoever comes there next need not wait for memory. */
  touch(hashes: Int32Array, count: number): void {
    const table = this.#table, mask = this.#mask;
    let all = 0;
    for (let at = 0; at < count; at++) all ^= table[(hashes[at]! & mask) << BUCKET_BITS]!;
    this.#hash = all; // to no purpose, but an engine must not leave the rest out
  }

  /** Whether a number's key may have this hash: `first` knows better, and takes three times as long. */
  mayHave(hash: number): boolean {
    if (this.#old !== undefined) return true;
    const table = this.#table, tagMask = this.#tagMask, tag = hash & tagMask;
    const bucket = (hash & this.#mask) << BUCKET_BITS;
    const counts = table[bucket]!;
    if (counts >= WENT_ON) return true;
    for (let at = bucket + counts; at > bucket; at--) if ((table[at]! & tagMask) === tag) return true;
    return false;
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
    if (this.#isOld(number)) this.#place(this.#old!, this.#oldMask, hash, number);
    else this.#place(this.#table, this.#mask, hash, number);
    if (number >= this.#end) this.#end = number + 1;
    this.#move(); // after: it must not meet a number that has a key and is in no table
  }

  /** Removes a number; its key can still be read. */
  remove(number: number, hash: number): void {
    this.#move(); // before, for the same reason
    this.#size--;
    if (this.#isOld(number)) {
      this.#unplace(this.#old!, this.#oldMask, hash, number); // what was moved is still in it, with keys that change
    } else {
      this.#pullBack(this.#unplace(this.#table, this.#mask, hash, number));
    }
  }

  #isOld(number: number): boolean {
    return this.#old !== undefined && number >= this.#moveNext && number < this.#moveEnd;
  }

  #scan(table: Int32Array, mask: number): number {
    const numberMask = this.#numberMask, tagMask = this.#tagMask, tag = this.#hash & tagMask;
    let bucket = this.#bucket;
    let at = this.#at;
    for (;;) {
      const counts = table[bucket]!;
      for (const last = bucket + (counts & COUNT_MASK); at < last;) {
        const entry = table[++at]!;
        if ((entry & tagMask) !== tag) continue;
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
      this.#place(this.#table, this.#mask, this.#keys.hashOf(number), number);
    }
    this.#moveNext = end;
    if (end === this.#moveEnd) this.#old = undefined;
  }

  #place(table: Int32Array, mask: number, hash: number, number: number): void {
    let entry = (hash & this.#tagMask) | number;
    for (let home = hash & mask;; home = (home + 1) & mask) {
      const bucket = home << BUCKET_BITS;
      const count = table[bucket]! & COUNT_MASK;
      if (count < ENTRIES) {
        table[bucket + count + 1] = entry;
        table[bucket]!++;
        return;
      }
      table[bucket]! += WENT_ON;
      entry |= this.#elsewhere;
    }
  }

  /** @returns The bucket, by its number, that has room now. */
  #unplace(table: Int32Array, mask: number, hash: number, number: number): number {
    for (let home = hash & mask;; home = (home + 1) & mask) {
      const bucket = home << BUCKET_BITS;
      for (let at = bucket + (table[bucket]! & COUNT_MASK); at > bucket; at--) {
        if ((table[at]! & this.#numberMask) !== number) continue;
        takeOut(table, bucket, at);
        return home;
      }
      assert(table[bucket]! >= WENT_ON, "Every number that is removed is in the index");
      table[bucket]! -= WENT_ON;
    }
  }

  /** Brings an entry that went past bucket `to` back into it, then one into the room that this one leaves. */
  #pullBack(to: number): void {
    const table = this.#table, mask = this.#mask;
    for (let from = (to + 1) & mask; table[to << BUCKET_BITS]! >= WENT_ON; from = (from + 1) & mask) {
      assert(from !== to, "Whoever went past is somewhere");
      const bucket = from << BUCKET_BITS;
      for (let at = bucket + (table[bucket]! & COUNT_MASK); at > bucket; at--) {
        const entry = table[at]!;
        if ((entry & this.#elsewhere) === 0) continue;
        const home = this.#keys.hashOf(entry & this.#numberMask) & mask;
        if (((from - home) & mask) < ((from - to) & mask)) continue; // it began behind
        takeOut(table, bucket, at);
        for (let past = to; past !== from; past = (past + 1) & mask) table[past << BUCKET_BITS]! -= WENT_ON;
        const room = to << BUCKET_BITS;
        table[room]!++;
        table[room + (table[room]! & COUNT_MASK)] = home === to ? entry & ~this.#elsewhere : entry;
        to = from;
        break;
      }
    }
  }
}

/** Puts the last entry of a bucket into the place of another. */
function takeOut(table: Int32Array, bucket: number, at: number): void {
  table[at] = table[bucket + (table[bucket]! & COUNT_MASK)]!;
  table[bucket]!--;
}
