import { hashFactors } from "./decisions.ts";
import type { PacketClasses } from "./packet_classes.ts";

/** Entries: of five fields 128 KB. */
const ENTRIES = 4_096;
/** Places that one may have. */
const WAYS = 4;
/** Of the number of a place among the hooks. */
const RUN_BITS = 8;

/**
 * Decisions that hold for all packets of which each field lies in the same class: rules that ask nothing else cannot tell
 * them apart. There are few such, however many flows there are.
 */
export class ClassCache {
  readonly #classes: PacketClasses;
  readonly #rows: Int32Array;
  /** How many of the rows are compared: the kind says the others. */
  readonly #count: number;
  readonly #table: Int32Array;
  /** Of the words of an entry, as a power of two. */
  readonly #shift: number;
  /** Decisions on what no rule takes, and one, by `run`. */
  readonly #barren = new Int32Array(256);
  readonly #factors: Int32Array;
  readonly #ofA: number;
  readonly #ofB: number;
  readonly #ofPlace: number;
  #turn = 0;
  // What `find` did not find.
  #first = 0;
  #isBarren = false;
  #run = 0;
  #place = 0;

  /** @param classes Of the packet at hand. */
  constructor(classes: PacketClasses, seed: number) {
    this.#classes = classes;
    this.#rows = classes.rows;
    this.#count = classes.others;
    this.#shift = Math.max(2, 32 - Math.clz32(this.#count + 1)); // its place, decision, rows
    this.#table = new Int32Array(ENTRIES << this.#shift);
    this.#factors = hashFactors(seed ^ 0x5bd1_e995, Math.max(2, this.#count) + 1);
    this.#ofA = this.#factors[0]!;
    this.#ofB = this.#factors[1]!;
    this.#ofPlace = this.#factors.at(-1)!;
  }

  /**
   * @param run The place among the hooks, and the family: 1 to 255.
   * @param isBarren No rule takes the packet: rows say nothing more.
   * @returns The number of the decision, or -1.
   */
  find(run: number, isBarren: boolean): number {
    this.#run = run;
    if (isBarren) {
      this.#isBarren = true;
      return this.#barren[run]! - 1;
    }
    const rows = this.#rows;
    const table = this.#table;
    const count = this.#count;
    const place = run | (this.#classes.kind << RUN_BITS);
    // Most rule sets ask for two fields at the most: those are compared without a loop.
    const a = count > 0 ? rows[0]! : 0;
    const b = count > 1 ? rows[1]! : 0;
    let hash = (Math.imul(place, this.#ofPlace) + Math.imul(a, this.#ofA) + Math.imul(b, this.#ofB)) | 0;
    for (let at = 2; at < count; at++) hash = (hash + Math.imul(rows[at]!, this.#factors[at]!)) | 0;
    const first = hash ^ (hash >>> 15);
    for (let way = 0; way < WAYS; way++) {
      const entry = ((first ^ way) & (ENTRIES - 1)) << this.#shift;
      if (table[entry] !== place || table[entry + 2] !== a || table[entry + 3] !== b) continue;
      let at = 2;
      while (at < count && table[entry + 2 + at] === rows[at]) at++;
      if (at >= count) return table[entry + 1]!;
    }
    this.#first = first;
    this.#isBarren = false;
    this.#place = place;
    return -1;
  }

  /** The decision holds for the packets that `find` did not find. */
  keep(decision: number): void {
    if (this.#isBarren) {
      this.#barren[this.#run] = decision + 1;
      return;
    }
    const table = this.#table;
    let way = 0;
    while (way < WAYS && table[this.#entry(way)] !== 0) way++;
    if (way === WAYS) way = this.#turn = (this.#turn + 1) % WAYS;
    const entry = this.#entry(way);
    table[entry] = this.#place;
    table[entry + 1] = decision;
    for (let at = 0; at < this.#count; at++) table[entry + 2 + at] = this.#rows[at]!;
  }

  /** One of the places of what was not found. */
  #entry(way: number): number {
    return ((this.#first ^ way) & (ENTRIES - 1)) << this.#shift;
  }

  clear(): void {
    this.#table.fill(0);
    this.#barren.fill(0);
  }
}
