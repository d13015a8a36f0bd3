import { assert } from "../../base/assert.ts";
import { Slab } from "../../base/slab.ts";
import { LinkError } from "./link_error.ts";

/** The length in front of each frame: 32 bits, big-endian (QEMU's `-netdev stream`). */
export const LENGTH_BYTES = 4;

/** Takes each frame that a reader finds in the stream. Returns false to stop reading. */
export type FrameHandler = (slab: Slab, start: number, end: number) => boolean;

/**
 * Cuts a byte stream into frames: a 4-byte big-endian length, then that many bytes.
 *
 * A frame that lies whole in one chunk is handed over where it lies; one that crosses chunks is put
 * together in a slab made once. Lengths of zero carry nothing and are skipped.
 */
export class LengthReader {
  readonly #frameBytesMax: number;
  readonly #onFrame: FrameHandler;
  readonly #partial: Slab;
  #partialBytes = 0;
  #offset = 0;

  constructor(frameBytesMax: number, onFrame: FrameHandler) {
    this.#frameBytesMax = frameBytesMax;
    this.#onFrame = onFrame;
    this.#partial = Slab.of(LENGTH_BYTES + frameBytesMax);
  }

  /** Whether the stream has ended inside a frame, if it ends now. */
  get insideFrame(): boolean {
    return this.#partialBytes > 0;
  }

  /**
   * Reads the next `[0, end)` bytes of the stream. Returns false when the handler stopped it.
   * @throws {LinkError} `protocol`, when a length is above the limit. Where the next frame starts is
   * then unknown: the stream cannot be used any more.
   */
  read(chunk: Slab, end: number): boolean {
    let at = this.#partialBytes > 0 ? this.#finishPartial(chunk, end) : 0;
    if (at < 0) return false;
    while (end - at >= LENGTH_BYTES) {
      const length = this.#check(chunk, at, at);
      const next = at + LENGTH_BYTES + length;
      if (next > end) break;
      if (length > 0 && !this.#onFrame(chunk, at + LENGTH_BYTES, next)) return false;
      at = next;
    }
    this.#take(chunk, at, end);
    this.#offset += end;
    return true;
  }

  /** Returns where in the chunk the frame begun earlier ends; -1 when the handler stopped it. */
  #finishPartial(chunk: Slab, end: number): number {
    let at = 0;
    if (this.#partialBytes < LENGTH_BYTES) {
      at = Math.min(end, LENGTH_BYTES - this.#partialBytes);
      this.#take(chunk, 0, at);
      if (this.#partialBytes < LENGTH_BYTES) return at;
    }
    const length = this.#check(this.#partial, 0, at - this.#partialBytes);
    const stop = Math.min(end, at + LENGTH_BYTES + length - this.#partialBytes);
    this.#take(chunk, at, stop);
    if (this.#partialBytes < LENGTH_BYTES + length) return stop;
    this.#partialBytes = 0;
    if (length > 0 && !this.#onFrame(this.#partial, LENGTH_BYTES, LENGTH_BYTES + length)) return -1;
    return stop;
  }

  #take(chunk: Slab, start: number, end: number): void {
    if (start === end) return;
    assert(this.#partialBytes + end - start <= this.#partial.bytes.length);
    this.#partial.bytes.set(chunk.bytes.subarray(start, end), this.#partialBytes);
    this.#partialBytes += end - start;
  }

  #check(slab: Slab, at: number, chunkOffset: number): number {
    const length = slab.view.getUint32(at);
    if (length <= this.#frameBytesMax) return length;
    throw new LinkError(
      "protocol",
      `Cannot read frame at byte ${this.#offset + chunkOffset} of the stream: its length is ${length}, ` +
        `the limit is ${this.#frameBytesMax}`,
    );
  }
}
