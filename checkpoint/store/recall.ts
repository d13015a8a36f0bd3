import type { Disk } from "./disk.ts";
import { unpackColumn } from "./column.ts";
import { type Segment, segmentHeader } from "./segment.ts";
import { type IndexBlock, IndexReader, readIndexFile } from "./segment_index.ts";
import { locationOf, type Recall } from "./store.ts";

/** Walks a segment's index again, for the summaries in it: in the order of its entries, once. */
export class Summaries {
  readonly #segment: Segment;
  readonly #reader: IndexReader | undefined;
  #block: IndexBlock | undefined;
  #first = 0; // index of the block's first entry
  /** Its unpacked columns, and which row each entry has in them, -1 for none. */
  #columns: Int32Array[] = [];
  #rows = new Int32Array(0);

  constructor(disk: Disk, segment: Segment) {
    this.#segment = segment;
    const bytes = segment.index.entries > 0 ? readIndexFile(disk, segment.number) : undefined;
    if (bytes === undefined) return;
    const { length } = segmentHeader(segment.number, segment.salt);
    this.#reader = new IndexReader(bytes, segment.number, segment.salt, length, segment.size);
    this.#next(0);
  }

  /** Tells of the live records that have a summary. @returns A bit per entry: those that were told of. */
  tell(take: Recall): Uint8Array {
    const segment = this.#segment;
    const told = new Uint8Array((segment.count + 7) >> 3);
    let locations = new Float64Array(0);
    for (; this.#block !== undefined; this.#next(this.#first + this.#block.count)) {
      const { count } = this.#block;
      if (this.#columns.length === 0) continue;
      if (locations.length < count) locations = new Float64Array(count);
      let lives = 0;
      for (let at = 0; at < count; at++) {
        const entry = this.#first + at;
        const row = this.#rows[at]!;
        if (row < 0 || entry >= segment.count || !segment.isLive(entry)) continue;
        told[entry >> 3]! |= 1 << (entry & 7);
        locations[lives] = locationOf(segment.number, segment.start(entry));
        if (lives !== row) { for (const column of this.#columns) column[lives] = column[row]!; }
        lives++;
      }
      if (lives > 0) take.summaries(lives, locations, this.#columns);
    }
    return told;
  }

  /** The summary of an entry that lies behind all that were asked for before; `undefined` when it has none. */
  of(entry: number): Int32Array | undefined {
    while (this.#block !== undefined && entry >= this.#first + this.#block.count) {
      this.#next(this.#first + this.#block.count);
    }
    if (this.#block === undefined || entry < this.#first) return undefined;
    const row = this.#rows[entry - this.#first]!;
    return row < 0 || this.#columns.length === 0
      ? undefined
      : Int32Array.from(this.#columns, (column) => column[row]!);
  }

  #next(first: number): void {
    this.#first = first;
    const block = this.#block = this.#reader?.next();
    if (block === undefined) return;
    const { count, summarised, columns } = block;
    if (this.#rows.length < count) this.#rows = new Int32Array(count);
    let rows = 0;
    for (let at = 0; at < count; at++) {
      this.#rows[at] = summarised.length > 0 && (summarised[at >> 3]! & (1 << (at & 7))) !== 0 ? rows++ : -1;
    }
    if (this.#columns.length !== columns.length || (this.#columns[0]?.length ?? 0) < rows) {
      this.#columns = columns.map(() => new Int32Array(count));
    }
    try {
      columns.forEach((column, at) => unpackColumn(column, rows, this.#columns[at]!));
    } catch {
      this.#columns = []; // not as it was written: its records are read instead
    }
  }
}
