import { hashFactors } from "./decisions.ts";

/** Entries: of five fields 128 KB. */
const ENTRIES = 4_096;
/** Places that one may have. */
const WAYS = 4;

/**
 * Decisions that hold for all packets of which each field lies in the same class: rules that ask nothing else cannot tell
 * them apart. There are few such, however many flows there are.
 */
export class ClassCache {
  readonly #rows: Int32Array;
  readonly #table: Int32Array;
  readonly #stride: number;
  /** Decisions on what no rule takes, and one, by `run`. */
  readonly #barren = new Int32Array(256);
  readonly #factors: Int32Array;
  #turn = 0;
  // What `find` did not find.
  #at = 0;
  #run = 0;

  /** @param rows Where the rows of the packet at hand stand. */
  constructor(rows: Int32Array, seed: number) {
    this.#rows = rows;
    this.#stride = 1 << (32 - Math.clz32(rows.length + 1)); // its place, decision, rows
    this.#table = new Int32Array(ENTRIES * this.#stride);
    this.#factors = hashFactors(seed ^ 0x5bd1_e995, rows.length + 1);
  }

  /**
   * @param run The place among the hooks, and the family: 1 to 255.
   * @param isBarren No rule takes the packet: rows say nothing more.
   * @returns The number of the decision, or -1.
   */
  find(run: number, isBarren: boolean): number {
    this.#run = run;
    if (isBarren) {
      this.#at = -1;
      return this.#barren[run]! - 1;
    }
    const rows = this.#rows;
    const table = this.#table;
    const factors = this.#factors;
    const stride = this.#stride;
    const count = rows.length;
    let hash = Math.imul(run, factors[count]!);
    for (let at = 0; at < count; at++) hash = (hash + Math.imul(rows[at]!, factors[at]!)) | 0;
    const first = ((hash ^ (hash >>> 15)) & (ENTRIES - WAYS)) * stride;
    for (let entry = first; entry < first + WAYS * stride; entry += stride) {
      if (table[entry] !== run) continue;
      let at = 0;
      while (at < count && table[entry + 2 + at] === rows[at]) at++;
      if (at === count) return table[entry + 1]!;
    }
    this.#at = first;
    return -1;
  }

  /** The decision holds for the packets that `find` did not find. */
  keep(decision: number): void {
    if (this.#at < 0) {
      this.#barren[this.#run] = decision + 1;
      return;
    }
    const table = this.#table;
    const stride = this.#stride;
    let way = 0;
    while (way < WAYS && table[this.#at + way * stride] !== 0) way++;
    if (way === WAYS) way = this.#turn = (this.#turn + 1) % WAYS;
    const entry = this.#at + way * stride;
    table[entry] = this.#run;
    table[entry + 1] = decision;
    table.set(this.#rows, entry + 2);
  }

  clear(): void {
    this.#table.fill(0);
    this.#barren.fill(0);
  }
}
