import { assert } from "../../base/assert.ts";
import { copyBytes, Slab } from "../../base/slab.ts";
import { copyTail, type Tail } from "../../base/tail.ts";

/** The slab a queue starts with: a batch of 40 full Ethernet frames. */
const BYTES_AT_FIRST = 65_536;

/**
 * Frames waiting in order, copied into one slab that is used as a ring.
 *
 * Bounded by a number of frames. The slab grows by doubling until it holds the longest backlog seen;
 * after that nothing is allocated. An empty queue starts again at byte 0, so a queue that is drained
 * between batches stays in the processor's cache.
 */
export class FrameQueue {
  readonly framesMax: number;
  #slab = Slab.forPackets(BYTES_AT_FIRST);
  #starts: Int32Array;
  #lengths: Int32Array;
  #segmentBytes: Int32Array;
  #dueMs: Float64Array;
  #head = 0;
  #count = 0;
  /** Where the next frame goes. */
  #tail = 0;

  constructor(framesMax: number) {
    assert(Number.isInteger(framesMax) && framesMax > 0, "A frame queue holds at least one frame");
    this.framesMax = framesMax;
    const slots = Math.min(framesMax, 64);
    this.#starts = new Int32Array(slots);
    this.#lengths = new Int32Array(slots);
    this.#segmentBytes = new Int32Array(slots);
    this.#dueMs = new Float64Array(slots);
  }

  /** Frames waiting. */
  get count(): number {
    return this.#count;
  }

  /** The slab that holds the first frame, in `[headStart, headEnd)`, until the next `shift`. */
  get slab(): Slab {
    return this.#slab;
  }

  get headStart(): number {
    return this.#starts[this.#head]!;
  }

  get headEnd(): number {
    return this.#starts[this.#head]! + this.#lengths[this.#head]!;
  }

  /** The `segmentBytes` that the first frame was pushed with. */
  get headSegmentBytes(): number {
    return this.#segmentBytes[this.#head]!;
  }

  /** The `dueMs` that the first frame was pushed with. */
  get headDueMs(): number {
    return this.#dueMs[this.#head]!;
  }

  /**
   * Copies `[start, end)` of `from` to the end; false when the queue is full. Its last bytes may lie elsewhere: `tail`.
   */
  push(
    from: Slab,
    start: number,
    end: number,
    dueMs = 0,
    segmentBytes = 0,
    tail?: Tail,
  ): boolean {
    if (this.#count === this.framesMax) return false;
    if (this.#count === this.#starts.length) this.#growSlots();
    const length = end - start;
    const at = this.#place(length);
    if (tail === undefined) copyBytes(from, start, this.#slab, at, length);
    else {
      const headers = length - tail.bytes;
      copyBytes(from, start, this.#slab, at, headers);
      copyTail(tail, this.#slab, at + headers);
    }
    let slot = this.#head + this.#count;
    if (slot >= this.#starts.length) slot -= this.#starts.length;
    this.#starts[slot] = at;
    this.#lengths[slot] = length;
    this.#segmentBytes[slot] = segmentBytes;
    this.#dueMs[slot] = dueMs;
    this.#tail = at + length;
    this.#count++;
    return true;
  }

  /** Forgets the first frame. */
  shift(): void {
    assert(this.#count > 0, "A frame is taken from an empty queue");
    this.#count--;
    this.#head = this.#head + 1 === this.#starts.length ? 0 : this.#head + 1;
    if (this.#count === 0) this.#tail = this.#head = 0;
  }

  clear(): void {
    this.#count = this.#tail = this.#head = 0;
  }

  /** Where `length` bytes fit in one piece without touching a waiting frame. */
  #place(length: number): number {
    const capacity = this.#slab.bytes.length;
    if (this.#count === 0) {
      if (length > capacity) this.#growBytes(length);
      return 0;
    }
    const first = this.headStart;
    if (this.#tail > first) { // the waiting frames lie in one run: behind it, or from byte 0 up to it
      if (this.#tail + length <= capacity) return this.#tail;
      if (length <= first) return 0;
    } else if (this.#tail + length <= first) return this.#tail;
    this.#growBytes(length);
    return this.#tail;
  }

  /** Moves the waiting frames to a larger slab; a reader of the first frame keeps the old one. */
  #growBytes(length: number): void {
    let bytes = 0;
    for (let index = 0; index < this.#count; index++) bytes += this.#lengths[this.#slot(index)]!;
    let capacity = this.#slab.bytes.length * 2;
    while (capacity < bytes + length) capacity *= 2;
    const slab = Slab.forPackets(capacity);
    let at = 0;
    for (let index = 0; index < this.#count; index++) {
      const slot = this.#slot(index);
      const start = this.#starts[slot]!;
      copyBytes(this.#slab, start, slab, at, this.#lengths[slot]!);
      this.#starts[slot] = at;
      at += this.#lengths[slot]!;
    }
    this.#slab = slab;
    this.#tail = at;
  }

  #growSlots(): void {
    const slots = Math.min(this.framesMax, this.#starts.length * 2);
    const starts = new Int32Array(slots);
    const lengths = new Int32Array(slots);
    const segmentBytes = new Int32Array(slots);
    const dueMs = new Float64Array(slots);
    for (let index = 0; index < this.#count; index++) {
      const slot = this.#slot(index);
      starts[index] = this.#starts[slot]!;
      lengths[index] = this.#lengths[slot]!;
      segmentBytes[index] = this.#segmentBytes[slot]!;
      dueMs[index] = this.#dueMs[slot]!;
    }
    this.#starts = starts;
    this.#lengths = lengths;
    this.#segmentBytes = segmentBytes;
    this.#dueMs = dueMs;
    this.#head = 0;
  }

  #slot(index: number): number {
    const slot = this.#head + index;
    return slot >= this.#starts.length ? slot - this.#starts.length : slot;
  }
}
