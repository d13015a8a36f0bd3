import { ClassesFull, lowestBit, RuleClasses } from "../classes.ts";
import { Line, type Window } from "./line.ts";

/** Values from `low` to `high`, both included: up to 128 bits. */
export interface Interval {
  readonly low: bigint;
  readonly high: bigint;
}

/** One dimension in which things are told apart: for each thing the values it takes, or undefined for all of them. */
export interface DimensionSpec {
  /** 1 to 32, or 128. */
  readonly bits: number;
  /** By thing: disjoint, rising. */
  readonly intervals: readonly (readonly Interval[] | undefined)[];
}

/**
 * Things in an order (rules, elements of a set), each with intervals in some dimensions, in the form in which the
 * first, and the next, that takes a key is found at a cost that hardly depends on how many there are: aggregated bit
 * vectors, as `CompiledRules` says.
 */
export class Classifier {
  readonly count: number;
  readonly dimensions: number;
  readonly #lines: readonly Line[];
  readonly #summaryWords: number;
  readonly #wordsPerSet: number;
  readonly #summary: Int32Array;
  readonly #starts: Int32Array;
  readonly #words: Int32Array;
  readonly #wild: Int32Array;
  readonly #wildSummary: Int32Array;
  readonly #all: Int32Array;
  readonly #allSummary: Int32Array;
  readonly #rows: Int32Array;
  readonly #absent: number;
  readonly #askedByAll: readonly boolean[];

  /** @throws {ClassesFull} When the intervals overlap so much that there is no room for the classes. */
  constructor(count: number, dimensions: readonly DimensionSpec[], wordsMax?: number) {
    this.count = count;
    this.dimensions = dimensions.length;
    const classes = new RuleClasses(count, wordsMax);
    this.#summaryWords = classes.summaryWords;
    this.#wordsPerSet = Math.ceil(count / 32);
    this.#wild = new Int32Array(dimensions.length * this.#wordsPerSet);
    this.#wildSummary = new Int32Array(dimensions.length * this.#summaryWords);
    this.#all = new Int32Array(this.#wordsPerSet);
    this.#allSummary = new Int32Array(this.#summaryWords);
    for (let thing = 0; thing < count; thing++) this.#put(this.#all, this.#allSummary, 0, thing);
    this.#absent = classes.intern() * classes.summaryWords; // the empty class
    this.#lines = dimensions.map(({ bits, intervals }, at) => {
      intervals.forEach((each, thing) => {
        if (each === undefined) this.#put(this.#wild, this.#wildSummary, at, thing);
      });
      return sweep(bits, intervals, classes);
    });
    this.#summary = classes.summary;
    this.#starts = classes.starts;
    this.#words = classes.words;
    this.#rows = new Int32Array(dimensions.length);
    this.#askedByAll = dimensions.map(({ intervals }) => intervals.every((each) => each !== undefined));
  }

  /** Bytes of typed array that grow with the things. */
  get bytes(): number {
    return this.#lines.reduce((sum, line) => sum + line.bytes, 0) + this.#wild.byteLength +
      this.#summary.byteLength + this.#starts.byteLength + this.#words.byteLength;
  }

  /** Rows of a key, one for each dimension: what `next` is asked about. */
  newRows(): Int32Array<ArrayBuffer> {
    return new Int32Array(this.dimensions);
  }

  /** The row of the value in `key` from `at` on, in one dimension. */
  rowOf(dimension: number, key: Int32Array, at: number): number {
    return this.#lines[dimension]!.rowOf(key, at);
  }

  /** The row of a value of up to 32 bits. */
  rowOfWord(dimension: number, word: number): number {
    return this.#lines[dimension]!.rowOfWord(word);
  }

  /** For who looks a value up without a call: see {@linkcode Line.window}. */
  window(dimension: number): Window {
    return this.#lines[dimension]!.window();
  }

  /** The row of a value for which the window has none. */
  rowFrom(dimension: number, word: number, entry: number): number {
    return this.#lines[dimension]!.rowFrom(word, entry);
  }

  /** The row of a key that has no value in a dimension, or one that nothing asks for: only what does not ask takes it. */
  get absent(): number {
    return this.#absent;
  }

  /** Whether all things ask in this dimension: none takes a key whose row there is `absent`. */
  isAskedByAll(dimension: number): boolean {
    return this.#askedByAll[dimension]!;
  }

  /** The first that takes the key whose parts stand one after another in `key`, from `at` on; -1 for none. */
  first(key: Int32Array, at: number): number {
    const rows = this.#rows;
    for (let dimension = 0; dimension < this.dimensions; dimension++) {
      const line = this.#lines[dimension]!;
      rows[dimension] = line.rowOf(key, at);
      at += line.words;
    }
    return this.next(rows, 0, this.count);
  }

  /** The first from `from` up to `to` that takes the key with these rows; -1 for none. */
  next(rows: Int32Array, from: number, to: number): number {
    if (from >= to) return -1;
    const summaryWords = this.#summaryWords;
    const dimensions = this.dimensions;
    let word = from >> 5;
    // Rules of a chain stand together, as a rule in one word: it is looked at first, without its summary.
    let found = this.#intersect(rows, word) & (-1 << (from & 31));
    if (found !== 0) {
      const thing = (word << 5) + lowestBit(found);
      return thing < to ? thing : -1;
    }
    word++;
    const last = (to - 1) >> 5;
    if (word > last) return -1;
    for (let s = word >> 5; s <= last >> 5; s++) {
      let candidates = this.#allSummary[s]!;
      if (s === word >> 5) candidates &= -1 << (word & 31);
      for (let at = 0; at < dimensions && candidates !== 0; at++) {
        candidates &= this.#wildSummary[at * summaryWords + s]! | this.#summary[rows[at]! + s]!;
      }
      for (; candidates !== 0; candidates &= candidates - 1) {
        const each = (s << 5) + lowestBit(candidates);
        if (each > last) return -1;
        found = this.#intersect(rows, each);
        if (found === 0) continue;
        const thing = (each << 5) + lowestBit(found);
        return thing < to ? thing : -1;
      }
    }
    return -1;
  }

  /** Those of the 32 of a word that take the key. */
  #intersect(rows: Int32Array, word: number): number {
    const s = word >> 5;
    const bit = 1 << (word & 31);
    let things = this.#all[word]!;
    for (let at = 0; at < this.dimensions && things !== 0; at++) {
      const cell = rows[at]! + s;
      const summary = this.#summary[cell]!;
      let set = this.#wild[at * this.#wordsPerSet + word]!;
      if ((summary & bit) !== 0) set |= this.#words[this.#starts[cell]! + countBits(summary & (bit - 1))]!;
      things &= set;
    }
    return things;
  }

  #put(sets: Int32Array, summaries: Int32Array, set: number, thing: number): void {
    const word = thing >> 5;
    sets[set * this.#wordsPerSet + word]! |= 1 << (thing & 31);
    summaries[set * this.#summaryWords + (word >> 5)]! |= 1 << (word & 31);
  }
}

export { ClassesFull };

/** Walks along a dimension from one end of an interval to the next, keeping the set of things that hold there. */
function sweep(
  bits: number,
  intervals: readonly (readonly Interval[] | undefined)[],
  classes: RuleClasses,
): Line {
  const edges: { at: bigint; thing: number; enters: boolean }[] = [];
  intervals.forEach((each, thing) => {
    for (const { low, high } of each ?? []) {
      edges.push({ at: low, thing, enters: true }, { at: high + 1n, thing, enters: false });
    }
  });
  edges.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const end = 1n << BigInt(bits);
  const starts: bigint[] = [];
  const rows: number[] = [];
  let next = 0;
  for (let at = 0n; at < end;) {
    for (; next < edges.length && edges[next]!.at === at; next++) {
      const { thing, enters } = edges[next]!;
      if (enters) classes.add(thing);
      else classes.remove(thing);
    }
    const row = classes.intern() * classes.summaryWords;
    if (row !== rows.at(-1)) {
      starts.push(at);
      rows.push(row);
    }
    at = edges[next]?.at ?? end;
  }
  for (; next < edges.length; next++) classes.remove(edges[next]!.thing); // intervals that end with the line
  return new Line(bits, starts, rows);
}

function countBits(word: number): number {
  word -= (word >>> 1) & 0x5555_5555;
  word = (word & 0x3333_3333) + ((word >>> 2) & 0x3333_3333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
