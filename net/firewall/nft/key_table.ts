import { HashIndex } from "../../../base/hash_index.ts";

/** So few keys are compared one after another. */
const SCAN_MAX = 8;

/**
 * Keys of a few words each, known by their numbers. Numbers of removed keys are given out again.
 */
export class KeyTable {
  readonly words: number;
  readonly #keysMax: number;
  readonly #seed: number;
  #keys: Int32Array;
  #used: Uint8Array;
  readonly #free: number[] = [];
  #end = 0;
  #size = 0;
  #index: HashIndex | undefined;

  /** @param seed For the hash: nobody outside should know it where keys come from outside. */
  constructor(words: number, keysMax: number, seed: number) {
    this.words = words;
    this.#keysMax = Math.max(1, keysMax);
    this.#seed = seed;
    this.#keys = new Int32Array(SCAN_MAX * words);
    this.#used = new Uint8Array(SCAN_MAX);
  }

  /** Keys in the table. */
  get size(): number {
    return this.#size;
  }

  /** All numbers ever given out are below. */
  get end(): number {
    return this.#end;
  }

  has(number: number): boolean {
    return this.#used[number] === 1;
  }

  /** Word `word` of a key. */
  word(number: number, word: number): number {
    return this.#keys[number * this.words + word]!;
  }

  /** The number of the key that stands in `key` from `at` on, or -1. */
  find(key: Int32Array, at: number): number {
    const index = this.#index;
    if (index === undefined) {
      for (let number = 0; number < this.#end; number++) {
        if (this.#used[number] === 1 && this.#equals(number, key, at)) return number;
      }
      return -1;
    }
    for (let number = index.first(this.#hash(key, at)); number >= 0; number = index.next()) {
      if (this.#equals(number, key, at)) return number;
    }
    return -1;
  }

  /** Enters a key that is not in the table; -1 when it is full. */
  add(key: Int32Array, at: number): number {
    if (this.#size >= this.#keysMax) return -1;
    const number = this.#free.pop() ?? this.#end++;
    if (number >= this.#used.length) this.#grow();
    this.#keys.set(key.subarray(at, at + this.words), number * this.words);
    this.#used[number] = 1;
    this.#size++;
    if (this.#index !== undefined) this.#index.add(number, this.#hash(key, at));
    else if (this.#end > SCAN_MAX) this.#makeIndex();
    return number;
  }

  remove(number: number): void {
    if (this.#used[number] !== 1) return;
    this.#index?.remove(number, this.#hash(this.#keys, number * this.words));
    this.#used[number] = 0;
    this.#size--;
    this.#free.push(number);
  }

  #makeIndex(): void {
    this.#index = new HashIndex(this.#keysMax + 1, {
      has: (number) => this.has(number),
      hashOf: (number) => this.#hash(this.#keys, number * this.words),
    });
    for (let number = 0; number < this.#end; number++) {
      if (this.#used[number] === 1) this.#index.add(number, this.#hash(this.#keys, number * this.words));
    }
  }

  #grow(): void {
    const keys = new Int32Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
    const used = new Uint8Array(this.#used.length * 2);
    used.set(this.#used);
    this.#used = used;
  }

  #equals(number: number, key: Int32Array, at: number): boolean {
    const from = number * this.words;
    for (let word = 0; word < this.words; word++) {
      if (this.#keys[from + word] !== key[at + word]) return false;
    }
    return true;
  }

  #hash(key: Int32Array, at: number): number {
    let hash = this.#seed;
    for (let word = 0; word < this.words; word++) {
      hash = Math.imul(hash ^ key[at + word]!, 0x85eb_ca6b);
      hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    }
    return hash ^ (hash >>> 16);
  }
}
