import { NftVerdict } from "./environment.ts";
import { KeyTable } from "./key_table.ts";

/** Decisions that are told apart; with more, all is forgotten. */
export const DECISIONS_MAX = 0xffff;
/** Counters that one decision may count. */
const COUNTERS_MAX = 6;
/** Words of a decision: verdict, number of the rejection, how many counters, which. */
const AT = { verdict: 0, reject: 1, counters: 2, counter: 3 } as const;
const WORDS = AT.counter + COUNTERS_MAX;

/**
 * What rules have said of packets: a verdict, and what was counted on the way. The same is said of many packets, so each
 * has a number, which `FlowCache` and `ClassCache` remember.
 *
 * What is decided again is counted here, in one place for each decision, and added to the counters when somebody looks at them: a
 * packet costs the same however many count it, and nobody has to guess whether one does.
 */
export class Decisions {
  /** Whether the decision at hand is being written down. */
  recording = false;
  readonly #seed: number;
  #known!: KeyTable;
  #verdicts = new Uint8Array(16);
  /** By decision: packets and bytes that have not been added to its counters. */
  #tallies = new Float64Array(2 * 16);
  /** Packets and bytes of counter 0, of counter 1, and so on. */
  readonly #counts: Float64Array;
  readonly #hand = new Int32Array(WORDS);
  #counters = 0;

  constructor(seed: number, counts: Float64Array) {
    this.#seed = seed;
    this.#counts = counts;
    this.#known = new KeyTable(WORDS, DECISIONS_MAX, seed);
  }

  clear(): void {
    this.settle();
    this.#known = new KeyTable(WORDS, DECISIONS_MAX, this.#seed);
  }

  /** Adds what has been counted to the counters. */
  settle(): void {
    const counts = this.#counts;
    const tallies = this.#tallies;
    for (let decision = 0; decision < this.#known.end; decision++) {
      const counters = this.#known.word(decision, AT.counters);
      for (let at = 0; at < counters; at++) {
        const counter = 2 * this.#known.word(decision, AT.counter + at);
        counts[counter]! += tallies[2 * decision]!;
        counts[counter + 1]! += tallies[2 * decision + 1]!;
      }
    }
    this.forget();
  }

  /** What has been counted since `settle` is not added. */
  forget(): void {
    this.#tallies.fill(0);
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
    hand[AT.verdict] = verdict;
    hand[AT.reject] = reject;
    hand[AT.counters] = this.#counters;
    hand.fill(0, AT.counter + this.#counters);
    const known = this.#known.find(hand, 0);
    if (known >= 0) return known;
    const number = this.#known.add(hand, 0);
    if (number < 0) return -1;
    if (number >= this.#verdicts.length) {
      const verdicts = new Uint8Array(2 * number);
      verdicts.set(this.#verdicts);
      this.#verdicts = verdicts;
      const tallies = new Float64Array(2 * verdicts.length);
      tallies.set(this.#tallies);
      this.#tallies = tallies;
    }
    this.#verdicts[number] = verdict;
    return number;
  }

  get isFull(): boolean {
    return this.#known.size >= DECISIONS_MAX;
  }

  /** The decision is made again, of a packet of so many bytes. Returns its verdict. */
  take(decision: number, bytes: number): number {
    const tallies = this.#tallies;
    tallies[2 * decision]!++;
    tallies[2 * decision + 1]! += bytes;
    return this.#verdicts[decision]!;
  }

  /** As `take`, where all that is to be done is to accept or to drop; -1, and nothing is counted, elsewhere. */
  takePlain(decision: number, bytes: number): number {
    const verdict = this.#verdicts[decision]!;
    if (verdict > NftVerdict.Drop) return -1;
    const tallies = this.#tallies;
    tallies[2 * decision]!++;
    tallies[2 * decision + 1]! += bytes;
    return verdict;
  }

  reject(decision: number): number {
    return this.#known.word(decision, AT.reject);
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
