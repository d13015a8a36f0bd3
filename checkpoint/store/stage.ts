import type { DiskFile } from "./disk.ts";
import { writeFully } from "./segment_index.ts";

/** Entries gather here before they are written; larger ones make it larger for a while. */
const STAGE_BYTES = 1024 * 1024;

/** Entries on their way to the end of a file, many of them in one write. */
export class Stage {
  /** Where the next entry goes, at the index that `room` says. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(STAGE_BYTES);
  #staged = 0;
  #position = 0;
  #file: DiskFile | undefined;

  /** The file's byte behind all that has been written out. */
  get written(): number {
    return this.#position;
  }

  /** The file's byte that the next entry starts at. */
  get position(): number {
    return this.#position + this.#staged;
  }

  /** Begins behind byte `position` of `file`. */
  begin(file: DiskFile, position: number): void {
    this.#file = file;
    this.#position = position;
    this.#staged = 0;
  }

  /** The index in `bytes` of an entry of at most `lengthMax` bytes. Writes out others when there is no room. */
  room(lengthMax: number): number {
    if (this.#staged + lengthMax > this.bytes.length) {
      this.flush();
      if (lengthMax > this.bytes.length) this.bytes = new Uint8Array(lengthMax);
    }
    return this.#staged;
  }

  /** The entry ends at index `end`. */
  take(end: number): void {
    this.#staged = end;
  }

  /** Writes out what is here, and entries that lie elsewhere behind it. */
  through(bytes: Uint8Array): void {
    this.flush();
    writeFully(this.#file!, bytes, this.#position);
    this.#position += bytes.length;
  }

  /** Writes out what is here. */
  flush(): void {
    if (this.#staged === 0) return;
    writeFully(this.#file!, this.bytes.subarray(0, this.#staged), this.#position);
    this.#position += this.#staged;
    this.#staged = 0;
  }

  /** What is here has been written, or is given up. */
  end(): void {
    this.#file = undefined;
    this.#staged = 0;
    if (this.bytes.length > STAGE_BYTES) this.bytes = new Uint8Array(STAGE_BYTES);
  }
}
