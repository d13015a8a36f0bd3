import { assert } from "../../base/assert.ts";
import { type CborValue, encodeShared } from "../image/cbor.ts";
import { putCbor } from "../image/cbor_put.ts";
import { CHUNK_BYTES_MAX } from "../image/frame.ts";
import { Kind, registerKind } from "../image/kinds.ts";
import { writeImage } from "../image/write.ts";
import { HASH_BYTES } from "../image/hash.ts";

registerKind(Kind.Replay, 1, ["segment", "eventsBefore", "previous", "about"]);

/** Event bytes gathered before they are written: the memory that a recorder takes. */
export const SEGMENT_BYTES = 256 * 1024;
/** A call may have more to say than that. */
const GATHER_BYTES = 2 * SEGMENT_BYTES;

/** What a recording says about itself: where it comes from, a seed, a commit. */
export type About = Readonly<Record<string, CborValue>>;

/**
 * Writes the images that a recording is a sequence of (RFC 8742). Each holds the next events in its chunks, one after
 * the other, and names the trailer of the image before: what was written is readable whatever happens to the rest.
 */
export class SegmentWriter {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => void;
  #gathered = new Uint8Array(GATHER_BYTES);
  #view = new DataView(this.#gathered.buffer);
  #length = 0;
  #segment = 0;
  #events = 0; // in the segments that are written
  #gatheredEvents = 0;
  #previous = new Uint8Array(HASH_BYTES);
  #bytesWritten = 0;

  /** The first image has no events; it is written at once. */
  constructor(write: (bytes: Uint8Array<ArrayBuffer>) => void, about: About) {
    this.#write = write;
    this.#image(about, []);
  }

  /** Bytes written, and gathered to be written. */
  get bytes(): number {
    return this.#bytesWritten + this.#length;
  }
  get gatheredBytes(): number {
    return this.#length;
  }

  /** @throws {TypeError} When the event holds something that images may not. */
  add(event: CborValue): void {
    const end = putCbor(event, this.#view, this.#gathered, this.#length);
    if (end >= 0) this.#length = end;
    else this.#append(encodeShared(event));
    this.#gatheredEvents++;
  }

  #append(encoded: Uint8Array): void {
    const length = this.#length + encoded.length;
    if (length > this.#gathered.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#gathered.length));
      larger.set(this.#gathered.subarray(0, this.#length));
      this.#gather(larger);
    }
    this.#gathered.set(encoded, this.#length);
    this.#length = length;
  }

  #gather(into: Uint8Array<ArrayBuffer>): void {
    this.#gathered = into;
    this.#view = new DataView(into.buffer);
  }

  /** Writes what is gathered as the next segment. */
  flush(): void {
    if (this.#length === 0) return;
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < this.#length; at += CHUNK_BYTES_MAX) {
      chunks.push(this.#gathered.subarray(at, Math.min(this.#length, at + CHUNK_BYTES_MAX)));
    }
    this.#image({}, chunks);
    this.#events += this.#gatheredEvents;
    this.#length = this.#gatheredEvents = 0;
    if (this.#gathered.length > GATHER_BYTES) this.#gather(new Uint8Array(GATHER_BYTES));
  }

  #image(about: About, chunks: readonly Uint8Array[]): void {
    const body = [this.#segment, this.#events, this.#previous, about];
    const bytes = writeImage({ kind: Kind.Replay, version: 1, body, chunks });
    this.#segment++;
    this.#previous = bytes.slice(bytes.length - HASH_BYTES);
    this.#bytesWritten += bytes.length;
    assert(this.#previous.length === HASH_BYTES);
    this.#write(bytes);
  }
}
