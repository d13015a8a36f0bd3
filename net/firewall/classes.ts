import { Prng } from "../../base/random.ts";

/**
 * Words of all classes together (16 MiB of typed array at the limit, twice that while growing).
 * 10,000 rules of distinct addresses need 40,000; only rules whose ranges overlap each other by the
 * thousand come near it.
 */
export const CLASS_WORDS_MAX = 4_194_304;

/** Too many words: more overlap than the compiled form holds. */
export class ClassesFull extends Error {
  override name = "ClassesFull";
}

/**
 * Sets of rules as sparse bitmaps, each different set stored once and known by its number.
 *
 * Set `c` is a row of `summaryWords` words in `summary`: a bit for every word of 32 rules that is
 * not zero. Those words stand in `words` from `starts[row + s]` on, in order of their bits.
 */
export class RuleClasses {
  readonly summaryWords: number;
  #wordsMax: number;
  #summary: Int32Array<ArrayBuffer>;
  #starts: Int32Array<ArrayBuffer>;
  #words: Int32Array<ArrayBuffer> = new Int32Array(64);
  #count = 0;
  #wordCount = 0;
  #byHash = new Map<number, number[]>(); // hash of a set -> classes with that hash
  #ruleHash: Float64Array; // the hash of a set is the sum of its rules' numbers
  // The set under construction.
  #current: Int32Array;
  #currentSummary: Int32Array;
  #currentHash = 0;

  /** @param draw A number below 2^32 for each rule. Equal hashes cost time, never a wrong answer. */
  constructor(ruleCount: number, wordsMax: number = CLASS_WORDS_MAX, draw: () => number = drawer()) {
    const words = Math.ceil(ruleCount / 32);
    this.summaryWords = Math.ceil(words / 32);
    this.#wordsMax = wordsMax;
    this.#summary = new Int32Array(16 * this.summaryWords);
    this.#starts = new Int32Array(16 * this.summaryWords);
    this.#current = new Int32Array(words);
    this.#currentSummary = new Int32Array(this.summaryWords);
    this.#ruleHash = Float64Array.from({ length: ruleCount }, draw);
  }

  get summary(): Int32Array<ArrayBuffer> {
    return this.#summary.slice(0, this.#count * this.summaryWords);
  }

  get starts(): Int32Array<ArrayBuffer> {
    return this.#starts.slice(0, this.#count * this.summaryWords);
  }

  get words(): Int32Array<ArrayBuffer> {
    return this.#words.slice(0, this.#wordCount);
  }

  /** Puts a rule that is not in the current set into it. */
  add(rule: number): void {
    const word = rule >> 5;
    this.#current[word]! |= 1 << (rule & 31);
    this.#currentSummary[word >> 5]! |= 1 << (word & 31);
    this.#currentHash += this.#ruleHash[rule]!;
  }

  /** Takes a rule that is in the current set out of it. */
  remove(rule: number): void {
    const word = rule >> 5;
    this.#current[word]! &= ~(1 << (rule & 31));
    if (this.#current[word] === 0) this.#currentSummary[word >> 5]! &= ~(1 << (word & 31));
    this.#currentHash -= this.#ruleHash[rule]!;
  }

  /**
   * The number of the class that equals the current set.
   * @throws {ClassesFull} When it would be a new one and there is no room.
   */
  intern(): number {
    const known = this.#byHash.get(this.#currentHash) ?? [];
    const same = known.find((number) => this.#isCurrent(number));
    if (same !== undefined) return same;
    const made = this.#append();
    this.#byHash.set(this.#currentHash, [...known, made]);
    return made;
  }

  #isCurrent(number: number): boolean {
    const row = number * this.summaryWords;
    for (let s = 0; s < this.summaryWords; s++) {
      if (this.#summary[row + s] !== this.#currentSummary[s]) return false;
      let at = this.#starts[row + s]!;
      for (let rest = this.#currentSummary[s]!; rest !== 0; rest &= rest - 1) {
        if (this.#words[at++] !== this.#current[s * 32 + lowestBit(rest)]) return false;
      }
    }
    return true;
  }

  #append(): number {
    const row = this.#count * this.summaryWords;
    if (row + this.summaryWords > this.#summary.length) {
      this.#summary = grown(this.#summary);
      this.#starts = grown(this.#starts);
    }
    for (let s = 0; s < this.summaryWords; s++) {
      this.#summary[row + s] = this.#currentSummary[s]!;
      this.#starts[row + s] = this.#wordCount;
      for (let rest = this.#currentSummary[s]!; rest !== 0; rest &= rest - 1) {
        if (this.#wordCount === this.#wordsMax) {
          throw new ClassesFull(`More than ${this.#wordsMax} words of overlapping rules`);
        }
        if (this.#wordCount === this.#words.length) this.#words = grown(this.#words);
        this.#words[this.#wordCount++] = this.#current[s * 32 + lowestBit(rest)]!;
      }
    }
    return this.#count++;
  }
}

/** The position of the lowest set bit of a word that is not zero. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function drawer(): () => number {
  const prng = new Prng(0x5eed); // any seed will do; a fixed one compiles the same rules to the same bytes
  return () => prng.uint32();
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
