import type { RowReader } from "./frozen_row.ts";
import { FROZEN_PLACES } from "./frozen_tcb.ts";

/** Rows of a quiet connection, by their number in a `FrozenBatch`. */
export const FrozenRow = {
  congestionState: 0,
  bufferState: 1,
  counters: 2,
  options: 3,
  recoveryState: 4,
  ecnState: 5,
  userTimeoutState: 6,
  tooBigState: 7,
} as const;
/** One of them. */
export type FrozenRow = (typeof FrozenRow)[keyof typeof FrozenRow];

const ROWS = Object.keys(FrozenRow).length;
const ADDRESS_WORDS = 8;

/**
 * What `FrozenTcb` says of some connections, in memory that is used again: thousands wake in a turn, and what each of
 * them made for it was the collector's to take away. One of them is selected at a time; what is its own begins at
 * `numbersAt`, `rowsAt`, `cellsAt` and `addressesAt`.
 */
export class FrozenBatch {
  /** How many numbers all rows of one connection may have. */
  readonly cellsMax: number;
  /** The places that are numbers; NaN is `null`. Those of IPv6 addresses are NaN, too. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /** The rows: row `r` is `cells` from `rowStarts[rowsAt + r]` to `rowEnds[rowsAt + r]`. */
  cells: Float64Array<ArrayBuffer>;
  readonly rowStarts: Int32Array<ArrayBuffer>;
  readonly rowEnds: Int32Array<ArrayBuffer>;
  /** IPv6 addresses as four words each, as `AddressTable.thawWords` takes them: the local one, then the peer's. */
  readonly addresses: Int32Array<ArrayBuffer>;
  numbersAt = 0;
  rowsAt = 0;
  cellsAt = 0;
  addressesAt = 0;

  constructor(count: number, cellsMax: number) {
    this.cellsMax = cellsMax;
    this.numbers = new Float64Array(FROZEN_PLACES * count);
    this.cells = new Float64Array(cellsMax * count);
    this.rowStarts = new Int32Array(ROWS * count);
    this.rowEnds = new Int32Array(ROWS * count);
    this.addresses = new Int32Array(ADDRESS_WORDS * count);
  }

  /** Selects a connection. */
  select(index: number): this {
    this.numbersAt = FROZEN_PLACES * index;
    this.rowsAt = ROWS * index;
    this.cellsAt = this.cellsMax * index;
    this.addressesAt = ADDRESS_WORDS * index;
    return this;
  }

  /** None of the rows of the connection that is selected has a number. */
  clearRows(): void {
    const { rowStarts, rowEnds, rowsAt } = this;
    for (let at = rowsAt; at < rowsAt + ROWS; at++) rowStarts[at] = rowEnds[at] = this.cellsAt;
  }

  /** Of a batch of one: its rows may have so many numbers together. */
  makeRoom(cells: number): void {
    if (cells <= this.cells.length) return;
    const old = this.cells;
    this.cells = new Float64Array(2 * cells);
    this.cells.set(old);
  }

  /** How many numbers a row of the connection that is selected has. */
  rowLength(row: FrozenRow): number {
    return this.rowEnds[this.rowsAt + row]! - this.rowStarts[this.rowsAt + row]!;
  }

  /** A number of a row, 0 behind its end. */
  cell(row: FrozenRow, index: number): number {
    return index < this.rowLength(row) ? this.cells[this.rowStarts[this.rowsAt + row]! + index]! : 0;
  }

  /** Has `reader` read a row of the connection that is selected. */
  row(row: FrozenRow, reader: RowReader): RowReader {
    return reader.over(this.cells, this.rowStarts[this.rowsAt + row]!, this.rowEnds[this.rowsAt + row]!);
  }
}
