import { assert } from "./assert.ts";

/** Buffers that are not in use, by power-of-two size, so that busy rings do not allocate. */
const POOL_BYTES_MAX = 32 << 20; // what an idle process keeps; the rest goes to the garbage collector
const SIZE_MIN = 1024; // below this the ring's own object outweighs its buffer
const ROOMY_BYTES = 256 << 10; // a buffer larger than this goes back when it is almost empty, too
const EMPTY = new Uint8Array(0);
const pool: Uint8Array<ArrayBuffer>[][] = [];
let pooledBytes = 0;

/** Bytes of buffers that nobody has borrowed, at most 32 MiB: what looks for leaks takes them off. */
export function pooledRingBytes(): number {
  return pooledBytes;
}
let lentBytes = 0;

/** Counts the memory that some rings hold together. */
export interface RingMeter {
  /** Memory is short: buffers are taken no larger than they have to be. */
  readonly tight: boolean;
  /** So many bytes more are held, or less. */
  borrowed(bytes: number): void;
}

/** Bytes of memory that all rings hold at this moment: zero when every ring is empty. */
export function ringBytesLent(): number {
  return lentBytes;
}

function take(size: number): Uint8Array<ArrayBuffer> {
  lentBytes += size;
  const buffer = pool[31 - Math.clz32(size)]?.pop();
  if (buffer === undefined) return new Uint8Array(size);
  pooledBytes -= size;
  return buffer;
}

function give(buffer: Uint8Array<ArrayBuffer>): void {
  lentBytes -= buffer.length;
  if (buffer.length === 0 || pooledBytes + buffer.length > POOL_BYTES_MAX) return;
  const size = 31 - Math.clz32(buffer.length);
  while (pool.length <= size) pool.push([]);
  pool[size]!.push(buffer);
  pooledBytes += buffer.length;
}

/**
 * A byte queue in one power-of-two buffer that is borrowed from a pool while it holds something.
 *
 * Offsets are bytes from the queue's front. Bytes can be placed beyond the end (a TCP receiver
 * puts out-of-order data where it belongs) and later be taken in by `extend`.
 *
 * @example
 * ```ts
 * import { ByteRing } from "@torpor/torpor/base/ring.ts";
 * const ring = new ByteRing();
 * ring.append(Uint8Array.of(1, 2, 3), 0, 3);
 * ring.drop(1);
 * console.log(ring.length, ring.toBytes()); // 2 Uint8Array [ 2, 3 ]
 * ```
 */
export class ByteRing {
  /** Who counts its memory; set before it holds any. */
  meter: RingMeter | undefined = undefined;
  #buffer: Uint8Array<ArrayBuffer> = EMPTY;
  #start = 0;
  #length = 0;
  #sizeHint = SIZE_MIN; // what it needed lately, so that a refill does not regrow step by step
  #needed = 0; // the farthest byte written since the buffer was borrowed

  /** Bytes queued. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#buffer.length;
  }

  /** The capacity that it may come to with `left` bytes more than it has; never less than it has. */
  capacityWithin(left: number): number {
    const reach = this.#buffer.length + left;
    if (reach >= 2 ** 31) return Infinity;
    return reach < Math.max(SIZE_MIN, this.#buffer.length)
      ? this.#buffer.length
      : 2 ** (31 - Math.clz32(reach));
  }

  /** Adds `source[from, to)` at the end. */
  append(source: Uint8Array, from: number, to: number): void {
    this.place(this.#length, source, from, to);
    this.#length += to - from;
  }

  /** Writes `source[from, to)` at `offset` without changing the length. */
  place(offset: number, source: Uint8Array, from: number, to: number): void {
    const count = to - from;
    if (count === 0) return;
    if (offset + count > this.#buffer.length) this.#grow(offset + count);
    if (offset + count > this.#needed) this.#needed = offset + count;
    const size = this.#buffer.length;
    const at = (this.#start + offset) & (size - 1);
    const first = Math.min(count, size - at);
    copy(source, from, this.#buffer, at, first);
    if (first < count) copy(source, from + first, this.#buffer, 0, count - first);
  }

  /** Takes in `count` bytes that `place` put just behind the end. */
  extend(count: number): void {
    assert(this.#length + count <= this.#buffer.length);
    this.#length += count;
  }

  /** Copies `count` bytes from `offset` to `target[at...]`. */
  copyTo(offset: number, count: number, target: Uint8Array, at: number): void {
    assert(offset + count <= this.#length);
    if (count === 0) return;
    const size = this.#buffer.length;
    const from = (this.#start + offset) & (size - 1);
    const first = Math.min(count, size - from);
    copy(this.#buffer, from, target, at, first);
    if (first < count) copy(this.#buffer, 0, target, at + first, count - first);
  }

  /** Removes `count` bytes from the front; `keep` holds on to the buffer for bytes placed beyond the end. */
  drop(count: number, keep = false): void {
    assert(count <= this.#length);
    this.#length -= count;
    if (this.#length === 0 && !keep) return this.clear();
    this.#start = (this.#start + count) & (this.#buffer.length - 1);
    if (!keep && this.#buffer.length > ROOMY_BYTES && this.#length <= this.#buffer.length >>> 4) {
      this.#shrink();
    }
  }

  /** Forgets everything and gives the buffer back. */
  clear(): void {
    // Half as much next time, when this was more than enough: one large transfer is not for ever.
    if (this.#sizeHint > SIZE_MIN && this.#needed <= this.#sizeHint >>> 1) this.#sizeHint >>>= 1;
    this.#needed = 0;
    this.#give();
    this.#start = 0;
    this.#length = 0;
  }

  /** A copy of the queued bytes. */
  toBytes(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#length);
    this.copyTo(0, this.#length, bytes, 0);
    return bytes;
  }

  /** A copy of `[offset, offset + count)`, which may lie beyond the end where `place` wrote. */
  placed(offset: number, count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    const mask = this.#buffer.length - 1;
    for (let at = 0; at < count; at++) bytes[at] = this.#buffer[(this.#start + offset + at) & mask]!;
    return bytes;
  }

  /** Almost empty: what is left, perhaps for long, does not hold on to the memory of a large transfer. */
  #shrink(): void {
    const rest = this.toBytes();
    this.#give();
    this.#start = this.#length = this.#needed = 0;
    this.#sizeHint = ROOMY_BYTES;
    this.append(rest, 0, rest.length);
  }

  #give(): void {
    if (this.#buffer.length === 0) return;
    this.meter?.borrowed(-this.#buffer.length);
    give(this.#buffer);
    this.#buffer = EMPTY;
  }

  #grow(needed: number): void {
    let size = this.meter?.tight ? SIZE_MIN : this.#sizeHint;
    while (size < needed) size *= 2;
    const buffer = take(size);
    const old = this.#buffer;
    this.meter?.borrowed(size - old.length);
    if (old.length > 0) {
      // All of it: placed bytes may lie anywhere behind the queue's end.
      buffer.set(old.subarray(this.#start), 0);
      buffer.set(old.subarray(0, this.#start), old.length - this.#start);
      give(old);
    }
    this.#buffer = buffer;
    this.#start = 0;
    this.#sizeHint = size;
  }
}

const LOOP_MAX = 48; // below this a loop beats the call and the view that `set` needs

function copy(source: Uint8Array, from: number, target: Uint8Array, at: number, count: number): void {
  if (count <= LOOP_MAX) {
    for (let index = 0; index < count; index++) target[at + index] = source[from + index]!;
  } else if (from === 0 && count === source.length) {
    target.set(source, at);
  } else {
    target.set(source.subarray(from, from + count), at);
  }
}
