/**
 * Parts of a frozen connection are rows of whole numbers, zeros at the end left out. Thousands are written and read in a
 * turn, so this goes without a closure for each.
 * @module
 */

/**
 * The row without the zeros at its end: they are what is meant when nothing stands there. At least `leastLength` numbers
 * stay. A short copy costs less than it does to shorten the row.
 */
export function withoutTail(row: number[], leastLength = 0): number[] {
  let length = row.length;
  while (length > leastLength && row[length - 1] === 0) length--;
  return length === row.length ? row : length === 0 ? [] : row.slice(0, length);
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
