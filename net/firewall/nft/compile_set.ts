import type { Cell } from "./cells.ts";
import { loadKept, makeCell, saveKept } from "./cells.ts";
import { ClassesFull, Classifier } from "./classifier.ts";
import { codeOf, verdictOf } from "./codes.ts";
import { constantWords, wordsOf } from "./compile_value.ts";
import type { NftEnvironment } from "./environment.ts";
import { KeyTable } from "./key_table.ts";
import { Line } from "./line.ts";
import { LinkError } from "./link_error.ts";
import type { CellSpec, LinkedElement, LinkedSet } from "./linked.ts";
import type { NftPacket } from "./packet.ts";
import type { ElementState } from "./state.ts";

/** The number of what holds for all keys that no element has; those of elements follow. */
const REST = 0;

/**
 * A set or map in the form in which keys are found: single keys by their hash, intervals of one part by search,
 * intervals of several parts by classes. Elements are known by numbers from 1 on; -1 is none.
 */
export class CompiledSet {
  readonly spec: LinkedSet;
  /** Bits of each part of a key. */
  readonly parts: readonly number[];
  readonly keyWords: number;
  /** Words of data of each element; a verdict and an object are one. */
  readonly dataWords: number;
  readonly #environment: NftEnvironment;
  readonly #starts: readonly number[];
  readonly #table: KeyTable | undefined;
  readonly #line: Line | undefined;
  readonly #classifier: Classifier | undefined;
  /** `REST`, or -1. */
  readonly #rest: number;
  readonly #changes: boolean;
  #data: Int32Array;
  #expires: Float64Array;
  #timeouts: Float64Array;
  #cells: (Cell[] | undefined)[] = [];
  /** No element ends before, epoch milliseconds. */
  #firstEnd = Infinity;

  constructor(spec: LinkedSet, environment: NftEnvironment, nowMs: number) {
    this.spec = spec;
    this.parts = spec.parts;
    this.#environment = environment;
    this.#changes = spec.changes;
    this.keyWords = spec.parts.reduce((sum, bits) => sum + wordsOf(bits), 0);
    const dataParts = Array.isArray(spec.data) ? spec.data as readonly number[] : [];
    this.#starts = dataParts.map((_, at) =>
      dataParts.slice(0, at).reduce((sum, bits) => sum + wordsOf(bits), 0)
    );
    this.dataWords = typeof spec.data === "string"
      ? 1
      : dataParts.reduce((sum, bits) => sum + wordsOf(bits), 0);
    const { elements } = spec;
    const exact = elements.every(({ low, high }) => low.every((part, at) => part === high[at]));
    const seed = (environment.random?.() ?? 0) | 0;
    if (this.#changes || exact) {
      this.#table = new KeyTable(this.keyWords, this.#changes ? spec.size : elements.length, seed);
      for (const { low } of elements) this.#table.add(this.#keyOf(low), 0);
    } else if (spec.parts.length === 1) this.#line = lineOf(spec);
    else this.#classifier = classifierOf(spec);
    const count = elements.length + 1;
    this.#rest = spec.rest === undefined ? -1 : REST;
    this.#data = new Int32Array(count * this.dataWords);
    this.#expires = new Float64Array(this.#changes ? count : 0);
    this.#timeouts = new Float64Array(this.#expires.length);
    elements.forEach((element, at) => this.#fill(at + 1, element, nowMs));
    if (spec.rest !== undefined) this.#fill(REST, spec.rest, nowMs);
  }

  /** The element that has the key which stands in `key` from `at` on; -1 for none. */
  find(key: Int32Array, at: number, nowMs: number): number {
    if (this.#table !== undefined) {
      const number = this.#table.find(key, at) + 1;
      if (number === 0) return this.#rest;
      return this.#changes && this.#expires[number]! <= nowMs ? this.#rest : number;
    }
    const number = 1 +
      (this.#line !== undefined ? this.#line.rowOf(key, at) : this.#classifier!.first(key, at));
    return number === 0 ? this.#rest : number;
  }

  /** The verdict of an element, as a code, or the number of its object. */
  code(element: number): number {
    return this.#data[element]!;
  }

  /** A word of a part of an element's data. */
  word(element: number, part: number, word: number): number {
    return this.#data[element * this.dataWords + this.#starts[part]! + word]!;
  }

  /** Whether what an element keeps lets the packet pass. */
  holdAll(element: number, packet: NftPacket): boolean {
    const cells = this.#cells[element];
    if (cells === undefined) return true;
    for (let at = 0; at < cells.length; at++) if (!cells[at]!.hold(packet)) return false;
    return true;
  }

  /** As the kernel's nft_dynset_eval(): adds an element, or makes it live longer. -1: there is no room. */
  put(
    key: Int32Array,
    data: Int32Array,
    refresh: boolean,
    timeoutMs: number,
    specs: readonly CellSpec[],
    nowMs: number,
  ): number {
    const table = this.#table!;
    let number = table.find(key, 0) + 1;
    if (number > 0 && this.#expires[number]! <= nowMs) {
      this.#remove(number);
      number = 0;
    }
    if (number > 0) {
      if (refresh && this.#expires[number] !== Infinity) this.#ends(number, timeoutMs, nowMs);
      return number;
    }
    if (table.size >= this.spec.size && this.#firstEnd <= nowMs) this.#sweep(nowMs);
    number = table.add(key, 0) + 1;
    if (number === 0) return -1;
    this.#room(number);
    for (let word = 0; word < this.dataWords; word++) {
      this.#data[number * this.dataWords + word] = data[word]!;
    }
    this.#cells[number] = specs.length === 0
      ? undefined
      : specs.map((spec) => makeCell(spec, this.#environment));
    this.#live(number, timeoutMs, nowMs);
    return number;
  }

  /** Adds an element from outside, or lets it live on: never shorter than it would. @returns False when there is no room. */
  learn(parts: readonly bigint[], timeoutMs: number, nowMs: number): boolean {
    const key = this.#keyOf(parts);
    const number = this.#table!.find(key, 0) + 1;
    if (number > 0 && this.#expires[number]! >= nowMs + timeoutMs) return true;
    const put = this.put(key, this.#data, true, timeoutMs, this.spec.cells, nowMs);
    if (put >= 0) this.#timeouts[put] = timeoutMs;
    return put >= 0;
  }

  /** Removes the element with a key, if there is one. */
  take(key: Int32Array): void {
    const number = this.#table!.find(key, 0) + 1;
    if (number > 0) this.#remove(number);
  }

  /** All elements that have not ended, as data. */
  save(nowMs: number): ElementState[] {
    const saved: ElementState[] = [];
    const one = (number: number, low: readonly bigint[], high: readonly bigint[]): void => {
      const timed = this.#changes && number !== REST;
      saved.push({
        low,
        high,
        data: this.#dataOf(number),
        timeoutMs: timed ? this.#timeouts[number]! : 0,
        expiresMs: timed ? this.#expires[number]! : Infinity,
        cells: saveKept(this.#cells[number] ?? []),
      });
    };
    if (this.#changes) {
      const table = this.#table!;
      for (let at = 0; at < table.end; at++) {
        if (!table.has(at) || this.#expires[at + 1]! <= nowMs) continue;
        const key = this.#partsOf(at);
        one(at + 1, key, key);
      }
    } else this.spec.elements.forEach(({ low, high }, at) => one(at + 1, low, high));
    if (this.#rest === REST) one(REST, [], []);
    return saved;
  }

  /** Takes the elements of another evaluation of the same set. */
  load(elements: readonly ElementState[]): void {
    if (this.#changes) {
      const table = this.#table!;
      for (let at = 0; at < table.end; at++) if (table.has(at)) this.#remove(at + 1);
    }
    elements.forEach(({ low, data, timeoutMs, expiresMs, cells }, index) => {
      let number = index + 1;
      if (low.length === 0) number = REST;
      else if (this.#changes) {
        number = this.#table!.add(this.#keyOf(low), 0) + 1;
        if (number === 0) return;
        this.#room(number);
        this.#timeouts[number] = timeoutMs;
        this.#expires[number] = expiresMs;
        this.#firstEnd = Math.min(this.#firstEnd, expiresMs);
        this.#setData(number, data);
      }
      if (cells.length > 0) this.#cells[number] = loadKept(cells, this.#environment);
    });
  }

  #fill(number: number, { data, timeout, expires, cells }: LinkedElement, nowMs: number): void {
    this.#setData(number, data);
    if (cells.length > 0) this.#cells[number] = cells.map((spec) => makeCell(spec, this.#environment));
    if (!this.#changes || number === REST) return;
    const timeoutMs = (timeout || this.spec.timeout) * 1_000;
    this.#timeouts[number] = timeoutMs;
    this.#expires[number] = timeoutMs === 0
      ? Infinity
      : nowMs + (expires === 0 ? timeoutMs : expires * 1_000);
    this.#firstEnd = Math.min(this.#firstEnd, this.#expires[number]!);
  }

  #setData(number: number, data: LinkedElement["data"]): void {
    if (data === undefined) return;
    if (typeof data === "number") this.#data[number] = data;
    else if ("kind" in data) this.#data[number] = codeOf(data);
    else {
      const bits = this.spec.data as readonly number[];
      this.#data.set(data.flatMap((part, at) => constantWords(part, bits[at]!)), number * this.dataWords);
    }
  }

  #dataOf(number: number): LinkedElement["data"] {
    const { data } = this.spec;
    if (data === undefined) return undefined;
    if (data === "cell") return this.#data[number]!;
    if (data === "verdict") return verdictOf(this.#data[number]!);
    return data.map((bits, part) => {
      return joined(bits, (word) => this.#data[number * this.dataWords + this.#starts[part]! + word]!);
    });
  }

  #live(number: number, timeoutMs: number, nowMs: number): void {
    this.#timeouts[number] = timeoutMs;
    this.#ends(number, timeoutMs, nowMs);
  }

  /** As the kernel's update: an element's own timeout stays as it is. */
  #ends(number: number, timeoutMs: number, nowMs: number): void {
    const end = timeoutMs === 0 ? Infinity : nowMs + timeoutMs;
    this.#expires[number] = end;
    if (end < this.#firstEnd) this.#firstEnd = end;
  }

  #sweep(nowMs: number): void {
    const table = this.#table!;
    this.#firstEnd = Infinity;
    for (let at = 0; at < table.end; at++) {
      if (!table.has(at)) continue;
      if (this.#expires[at + 1]! <= nowMs) this.#remove(at + 1);
      else this.#firstEnd = Math.min(this.#firstEnd, this.#expires[at + 1]!);
    }
  }

  #remove(number: number): void {
    this.#table!.remove(number - 1);
    this.#cells[number] = undefined;
  }

  /** Makes room for an element of this number. */
  #room(number: number): void {
    if (number < this.#expires.length) return;
    const count = Math.max(8, this.#expires.length * 2);
    this.#expires = grown(this.#expires, new Float64Array(count));
    this.#timeouts = grown(this.#timeouts, new Float64Array(count));
    if (this.dataWords > 0) this.#data = grown(this.#data, new Int32Array(count * this.dataWords));
  }

  #keyOf(parts: readonly bigint[]): Int32Array {
    return Int32Array.from(parts.flatMap((part, at) => constantWords(part, this.parts[at]!)));
  }

  #partsOf(number: number): bigint[] {
    let from = 0;
    return this.parts.map((bits) => {
      const start = from;
      from += wordsOf(bits);
      return joined(bits, (word) => this.#table!.word(number, start + word));
    });
  }
}

function joined(bits: number, word: (at: number) => number): bigint {
  let value = 0n;
  for (let at = 0; at < wordsOf(bits); at++) value = (value << 32n) | BigInt(word(at) >>> 0);
  return value;
}

function grown<T extends Float64Array | Int32Array>(from: T, into: T): T {
  into.set(from);
  return into;
}

/** Intervals that do not overlap, by search: the number of the element that has a value, or -1. */
function lineOf({ elements, parts }: LinkedSet): Line {
  const sorted = elements.map((element, number) => ({ low: element.low[0]!, high: element.high[0]!, number }))
    .sort((a, b) => (a.low < b.low ? -1 : 1));
  const starts: bigint[] = [0n];
  const numbers: number[] = [-1];
  for (const { low, high, number } of sorted) {
    if (starts.at(-1) === low) {
      starts.pop();
      numbers.pop();
    }
    starts.push(low, high + 1n);
    numbers.push(number, -1);
  }
  if (starts.at(-1)! >> BigInt(parts[0]!) !== 0n) {
    starts.pop();
    numbers.pop();
  }
  return new Line(parts[0]!, starts, numbers);
}

function classifierOf({ elements, parts, name, family, table }: LinkedSet): Classifier {
  try {
    return new Classifier(
      elements.length,
      parts.map((bits, part) => ({
        bits,
        intervals: elements.map(({ low, high }) => [{ low: low[part]!, high: high[part]! }]),
      })),
    );
  } catch (error) {
    if (!(error instanceof ClassesFull)) throw error;
    const place = `table ${family} ${table}${name === "" ? "" : ` set ${name}`}`;
    throw new LinkError(place, undefined, `${error.message}, expected fewer elements or less overlap`, {
      cause: error,
    });
  }
}
