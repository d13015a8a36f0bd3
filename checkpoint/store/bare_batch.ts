import { HASH_BYTES } from "../image/hash.ts";
import type { BareRecords } from "./store.ts";

/** What an entry has before a bare record, and behind it (entry.ts). */
const BEFORE_BYTES = 2;
const BEHIND_BYTES = 1 + HASH_BYTES;

/**
 * Bare records (bare.ts) on their way into a store, one behind the other, each with room around it for what makes it an
 * entry: so a batch of them is written as it lies, and none of them is an object.
 */
export class BareBatch implements BareRecords {
  /** Where records are written; another buffer after each `room`, perhaps. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Of `bytes`. */
  view: DataView<ArrayBuffer>;
  /** Records. */
  count = 0;
  /** Bytes of them, with the room around them. */
  length = 0;
  #ends: Int32Array<ArrayBuffer> = new Int32Array(256);

  /** With room for so many bytes, and for more when it is needed. */
  constructor(bytes: number) {
    this.bytes = new Uint8Array(bytes);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Forgets all records. */
  clear(): void {
    this.count = this.length = 0;
  }

  /** Where the next record begins, of at most `lengthMax` bytes. */
  room(lengthMax: number): number {
    const most = this.length + BEFORE_BYTES + lengthMax + BEHIND_BYTES;
    if (most > this.bytes.length) {
      const { bytes } = this;
      this.bytes = new Uint8Array(Math.max(2 * bytes.length, most));
      this.view = new DataView(this.bytes.buffer);
      this.bytes.set(bytes.subarray(0, this.length));
    }
    return this.length + BEFORE_BYTES;
  }

  /** The record that was begun last ends at `end`. */
  take(end: number): void {
    if (this.count === this.#ends.length) {
      const ends = this.#ends;
      this.#ends = new Int32Array(2 * ends.length);
      this.#ends.set(ends);
    }
    this.length = end + BEHIND_BYTES;
    this.#ends[this.count++] = this.length;
  }

  /** Where the entry of a record begins. */
  entryStart(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1]!;
  }

  /** Where a record ends. */
  recordEnd(index: number): number {
    return this.#ends[index]! - BEHIND_BYTES;
  }

  /** Bytes of a record. */
  recordBytes(index: number): number {
    return this.recordEnd(index) - this.entryStart(index) - BEFORE_BYTES;
  }
}
