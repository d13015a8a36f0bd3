/**
 * Parts of a frozen connection are rows of whole numbers, zeros at the end left out. Thousands are written and read in a
 * turn, so this goes without a closure for each.
 * @module
 */

/** Most rows are shorter: more room is made when somebody needs it. */
const CELLS = 256;

/**
 * Rows as they are written, one behind the other, in memory that is used again: `begin` a row, `put` its numbers, and
 * `end` it. Zeros at a row's end are left out, since they are what is meant when nothing stands there.
 */
export class RowWriter {
  /** The rows; between `start` and `length` is the one that was begun last. */
  cells: Float64Array<ArrayBuffer> = new Float64Array(CELLS);
  length = 0;
  start = 0;

  /** Forgets all rows. */
  clear(): this {
    this.length = this.start = 0;
    return this;
  }

  /** Begins a row behind those that are here. */
  begin(): this {
    this.start = this.length;
    return this;
  }

  put(value: number): void {
    if (this.length === this.cells.length) {
      const { cells } = this;
      this.cells = new Float64Array(2 * cells.length);
      this.cells.set(cells);
    }
    this.cells[this.length++] = value;
  }

  /** Leaves out the zeros at the row's end, but for its first `leastLength` numbers. */
  end(leastLength = 0): void {
    const least = this.start + leastLength;
    while (this.length > least && this.cells[this.length - 1] === 0) this.length--;
  }

  /** The row that was written last, as a list. */
  toRow(): number[] {
    const row: number[] = [];
    for (let at = this.start; at < this.length; at++) row.push(this.cells[at]!);
    return row;
  }
}

/** Reads a row place by place. */
export class RowReader {
  #row: readonly number[] = [];
  #at = 0;

  /** Begins with `row`, and ends with what was read before. */
  over(row: readonly number[]): this {
    this.#row = row;
    this.#at = 0;
    return this;
  }

  /** The number that comes next: 0 behind the end. */
  next(): number {
    return this.#row[this.#at++] ?? 0;
  }

  /** Whether all that stands there has been read. */
  get ended(): boolean {
    return this.#at >= this.#row.length;
  }
}

/** Whole milliseconds from `sinceMs` to `atMs`, none when that is later. */
export function ageMs(atMs: number, sinceMs: number): number {
  return Math.max(0, Math.floor(atMs - sinceMs));
}
