/**
 * A set of small whole numbers, a bit for each up to the largest: for numbers that are dense, such as records.
 *
 * @example
 * ```ts
 * import { BitSet } from "@torpor/torpor/base/bit_set.ts";
 * const set = new BitSet();
 * set.add(40);
 * console.log(set.has(40), set.has(41), set.has(4_000)); // true false false
 * ```
 */
export class BitSet {
  #words = new Int32Array(32);

  has(member: number): boolean {
    return ((this.#words[member >>> 5] ?? 0) & (1 << (member & 31))) !== 0;
  }

  add(member: number): void {
    const at = member >>> 5;
    if (at >= this.#words.length) {
      const words = new Int32Array(Math.max(at + 1, 2 * this.#words.length));
      words.set(this.#words);
      this.#words = words;
    }
    this.#words[at]! |= 1 << (member & 31);
  }

  delete(member: number): void {
    const at = member >>> 5;
    if (at < this.#words.length) this.#words[at]! &= ~(1 << (member & 31));
  }
}
