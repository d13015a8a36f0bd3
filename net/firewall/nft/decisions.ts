import { NftVerdict } from "./environment.ts";
import { KeyTable } from "./key_table.ts";

/** Decisions that are told apart; with more, all is forgotten. */
export const DECISIONS_MAX = 0xffff;
/** Counters that one decision may count. */
const COUNTERS_MAX = 6;
/** Words of a decision: verdict, with how many counters above it; number of the rejection; which counters. */
const AT = { verdict: 0, reject: 1, counter: 2 } as const;
const WORDS = AT.counter + COUNTERS_MAX;
const COUNT_SHIFT = 8;

/** Verdicts that are most of what is decided: with nothing counted each is its own number. */
const PLAIN = [NftVerdict.Accept, NftVerdict.Drop];

/**
 * What rules have said of packets: a verdict, and what was counted on the way. The same is said of many packets, so each
 * has a number, which `FlowCache` and `ClassCache` remember.
 */
export class Decisions {
  /** Whether the decision at hand is being written down. */
  recording = false;
  readonly #seed: number;
  #known!: KeyTable;
  #words!: Int32Array;
  readonly #hand = new Int32Array(WORDS);
  #counters = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.clear();
  }

  clear(): void {
    this.#known = new KeyTable(WORDS, DECISIONS_MAX, this.#seed);
    this.#words = new Int32Array(16 * WORDS);
    for (const verdict of PLAIN) {
      this.begin();
      this.end(verdict, 0);
    }
  }

  /** A decision is being found. */
  begin(): void {
    this.recording = true;
    this.#counters = 0;
  }

  /** A counter has counted. */
  count(counter: number): void {
    if (this.#counters < COUNTERS_MAX) this.#hand[AT.counter + this.#counters] = counter;
    this.#counters++;
  }

  /** It has been found. Returns its number, or -1: it counts too much, or there are too many. */
  end(verdict: number, reject: number): number {
    this.recording = false;
    if (this.#counters > COUNTERS_MAX) return -1;
    const hand = this.#hand;
    hand[AT.verdict] = verdict | (this.#counters << COUNT_SHIFT);
    hand[AT.reject] = reject;
    hand.fill(0, AT.counter + this.#counters);
    const known = this.#known.find(hand, 0);
    if (known >= 0) return known;
    const number = this.#known.add(hand, 0);
    if (number < 0) return -1;
    if ((number + 1) * WORDS > this.#words.length) {
      const larger = new Int32Array(2 * this.#words.length);
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#words.set(hand, number * WORDS);
    return number;
  }

  get isFull(): boolean {
    return this.#known.size >= DECISIONS_MAX;
  }

  /** Whether a decision is nothing but the verdict that has its number. */
  isPlain(decision: number): boolean {
    return decision < PLAIN.length;
  }

  verdict(decision: number): number {
    return this.#words[decision * WORDS]! & ((1 << COUNT_SHIFT) - 1);
  }

  reject(decision: number): number {
    return this.#words[decision * WORDS + AT.reject]!;
  }

  counters(decision: number): number {
    return this.#words[decision * WORDS]! >> COUNT_SHIFT;
  }

  counter(decision: number, at: number): number {
    return this.#words[decision * WORDS + AT.counter + at]!;
  }
}

/** Random odd numbers to make hashes with: nobody outside knows which keys share a place. */
export function hashFactors(seed: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => {
    seed = (seed + 0x9e37_79b9) | 0; // splitmix32
    let mixed = Math.imul(seed ^ (seed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) | 1;
  });
}
