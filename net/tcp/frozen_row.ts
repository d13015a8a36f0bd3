/**
 * Parts of a frozen connection are rows of whole numbers, zeros at the end left out. Thousands are written and read in a
 * turn, so this goes without a closure for each.
 * @module
 */

/** Most rows are shorter: more room is made when somebody needs it. */
const CELLS = 256;

/**
 * Rows as they are written, one behind the other, in memory that is used again: `begin` a row, `put` its numbers, and
 * `end` it. Zeros at a row's end are left out, since they are what is meant when nothing stands there; most numbers of
 * most rows are zeros, so they are only counted until something follows them.
 */
export class RowWriter {
  /** The rows; between `start` and `length` is the one that was begun last, when it is `whole`. */
  cells: Float64Array<ArrayBuffer> = new Float64Array(CELLS);
  length = 0;
  start = 0;
  #zeros = 0; // that were put last

  /** Forgets all rows. */
  clear(): this {
    this.length = this.start = this.#zeros = 0;
    return this;
  }

  /** Begins a row behind those that are here. */
  begin(): this {
    this.whole();
    this.start = this.length;
    return this;
  }

  put(value: number): void {
    if (value === 0) {
      this.#zeros++;
      return;
    }
    if (this.#zeros > 0) this.#fill();
    if (this.length === this.cells.length) this.#grow();
    this.cells[this.length++] = value;
  }

  /** Leaves out the zeros at the row's end, but for its first `leastLength` numbers. */
  end(leastLength = 0): void {
    this.#zeros = Math.max(0, Math.min(this.#zeros, this.start + leastLength - this.length));
  }

  /** All that was put is in `cells`. */
  whole(): this {
    if (this.#zeros > 0) this.#fill();
    return this;
  }

  /** The row that was written last, as a list. */
  toRow(): number[] {
    this.whole();
    const row: number[] = [];
    for (let at = this.start; at < this.length; at++) row.push(this.cells[at]!);
    return row;
  }

  #fill(): void {
    for (; this.#zeros > 0; this.#zeros--) {
      if (this.length === this.cells.length) this.#grow();
      this.cells[this.length++] = 0;
    }
  }

  #grow(): void {
    const { cells } = this;
    this.cells = new Float64Array(2 * cells.length);
    this.cells.set(cells);
  }
}

/** Reads a row place by place. */
export class RowReader {
  #cells: Float64Array = NONE;
  #at = 0;
  #end = 0;

  /** Begins at `start` of `cells`, where a row lies that ends at `end`. */
  over(cells: Float64Array, start: number, end: number): this {
    this.#cells = cells;
    this.#at = start;
    this.#end = end;
    return this;
  }

  /** The number that comes next: 0 behind the end. */
  next(): number {
    return this.#at < this.#end ? whole(this.#cells[this.#at++]!) : 0;
  }

  /** Whether all that stands there has been read. */
  get ended(): boolean {
    return this.#at >= this.#end;
  }

  /** What has not been read yet, as a list. */
  rest(): number[] {
    const rest: number[] = [];
    while (!this.ended) rest.push(this.next());
    return rest;
  }
}

const NONE = new Float64Array(0);

/**
 * A number out of a `Float64Array`, as V8 has small whole ones elsewhere: while it interprets it makes a double of each,
 * and a field that has held a double once is laid out for doubles in all objects of its class.
 */
export function whole(value: number): number {
  const small = value | 0;
  return small === value ? small : value;
}

/** Whole milliseconds from `sinceMs` to `atMs`, none when that is later. */
export function ageMs(atMs: number, sinceMs: number): number {
  return Math.max(0, Math.floor(atMs - sinceMs));
}
