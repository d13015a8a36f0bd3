import { assert } from "../../base/assert.ts";
import { HashIndex } from "../../base/hash_index.ts";

const CHUNK_BITS = 12;
const CHUNK_ROWS = 1 << CHUNK_BITS;
const ROWS_MAX = 2 ** 26;

/**
 * Rows for some of the many records: dense small numbers, under which their owner keeps columns of its own. Nine
 * bytes for each at most, and none for the other records; nothing is copied when there are more.
 *
 * @example
 * ```ts
 * import { RecordRows } from "@torpor/torpor/net/wake/record_rows.ts";
 * import assert from "node:assert/strict";
 * const rows = new RecordRows();
 * assert.deepEqual([rows.add(5_000_000), rows.add(7)], [0, 1]);
 * assert.equal(rows.rowOf(5_000_000), 0);
 * rows.remove(5_000_000);
 * assert.deepEqual([rows.rowOf(5_000_000), rows.add(8)], [-1, 0]);
 * ```
 */
export class RecordRows {
  readonly #records: Int32Array[] = []; // in chunks; of a free row ~(the one freed before it), or ~ROWS_MAX
  #end = 0; // rows from here on have never been used
  #freeRow = ROWS_MAX;
  readonly #index: HashIndex = new HashIndex(ROWS_MAX, {
    has: (row) => this.recordOf(row) >= 0,
    hashOf: (row) => hashOf(this.recordOf(row)),
  });

  /** Records that have a row. */
  get size(): number {
    return this.#index.size;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.#records.length * CHUNK_ROWS * 4 + this.#index.byteLength;
  }

  /** The record's row, or -1. */
  rowOf(record: number): number {
    if (this.#index.size === 0) return -1; // as where nobody has a timer: whoever sleeps or wakes asks
    for (let row = this.#index.first(hashOf(record)); row >= 0; row = this.#index.next()) {
      if (this.recordOf(row) === record) return row;
    }
    return -1;
  }

  /** The record of a row that is in use; a negative number for one that was and is not. */
  recordOf(row: number): number {
    return this.#records[row >>> CHUNK_BITS]![row & (CHUNK_ROWS - 1)]!;
  }

  /** The record's row; one that was free, or the next, when it had none. */
  add(record: number): number {
    const known = this.rowOf(record);
    if (known >= 0) return known;
    const row = this.#freeRow < ROWS_MAX ? this.#freeRow : this.#end;
    assert(row < ROWS_MAX, "There are no more rows than records");
    if (row === this.#end) {
      if (this.#end++ >>> CHUNK_BITS === this.#records.length) this.#records.push(new Int32Array(CHUNK_ROWS));
    } else {
      this.#freeRow = ~this.recordOf(row);
    }
    this.#set(row, record);
    this.#index.add(row, hashOf(record));
    return row;
  }

  /** Takes the record's row away, if it has one, and returns which it was, or -1. */
  remove(record: number): number {
    const row = this.rowOf(record);
    if (row < 0) return -1;
    this.#index.remove(row, hashOf(record));
    this.#set(row, ~this.#freeRow);
    this.#freeRow = row;
    return row;
  }

  #set(row: number, value: number): void {
    this.#records[row >>> CHUNK_BITS]![row & (CHUNK_ROWS - 1)] = value;
  }
}

/** Spreads record numbers, which the map gives out one after the other: the finalizer of MurmurHash3. */
function hashOf(record: number): number {
  let hash = Math.imul(record ^ (record >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}
