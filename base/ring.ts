import { assert } from "./assert.ts";
import { copied, Copies } from "./copies.ts";
import { givePacketMemory, takePacketMemory } from "./packet_memory.ts";
import { copyBytes, packetSlab, Slab, viewOf } from "./slab.ts";
import type { Tail } from "./tail.ts";

// Rings borrow from the packet memory. When that is full they have buffers of their own, and those that are not in use
// are kept by power-of-two size, so that busy rings do not allocate.
const POOL_BYTES_MAX = 32 << 20; // what an idle process keeps; the rest goes to the garbage collector
const SIZE_MIN = 1024; // below this the ring's own object outweighs its buffer
const ROOMY_BYTES = 256 << 10; // a buffer larger than this goes back when it is almost empty, too
const SMALL_FILLS = 4; // a link's batches are of very different size
const PATIENCE_MAX = 4_096; // drops: some seconds of a busy connection, some hours of a quiet one
const EMPTY = Slab.of(0);
const pool: Slab[][] = [];
let pooledBytes = 0;

/** Bytes of own buffers that nobody has borrowed, at most 32 MiB: what looks for leaks takes them off. */
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

function takeOwn(size: number): Slab {
  const buffer = pool[31 - Math.clz32(size)]?.pop();
  if (buffer === undefined) return Slab.of(size);
  pooledBytes -= size;
  return buffer;
}

function give(buffer: Slab, base: number, size: number): void {
  if (size === 0) return;
  lentBytes -= size;
  if (buffer === packetSlab) return givePacketMemory(base, size);
  if (pooledBytes + size > POOL_BYTES_MAX) return;
  const power = 31 - Math.clz32(size);
  while (pool.length <= power) pool.push([]);
  pool[power]!.push(buffer);
  pooledBytes += size;
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
  // `[base, base + size)` of a slab, which may be everybody's.
  #slab: Slab = EMPTY;
  #base = 0;
  #size = 0;
  #start = 0;
  #length = 0;
  #sizeHint = SIZE_MIN; // what it needed lately, so that a refill does not regrow step by step
  #needed = 0; // the farthest byte written since the buffer was borrowed
  #smallFills = 0; // how often in succession half of what it had would have been enough
  // Drops that left it almost empty, and how many of them are let be.
  #roomyDrops = 0;
  #patience = 0;

  /** Bytes queued. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#size;
  }

  /** The capacity that it may come to with `left` bytes more than it has; never less than it has. */
  capacityWithin(left: number): number {
    const reach = this.#size + left;
    if (reach >= 2 ** 31) return Infinity;
    return reach < Math.max(SIZE_MIN, this.#size) ? this.#size : 2 ** (31 - Math.clz32(reach));
  }

  /** Adds `source[from, to)` at the end. */
  append(source: Uint8Array, from: number, to: number): void {
    this.place(this.#length, source, from, to);
    this.#length += to - from;
  }

  /** As `append`, of a slab's bytes. */
  appendSlab(source: Slab, from: number, to: number): void {
    this.placeSlab(this.#length, source, from, to);
    this.#length += to - from;
  }

  /** Writes `source[from, to)` at `offset` without changing the length. */
  place(offset: number, source: Uint8Array, from: number, to: number): void {
    const count = to - from;
    if (count === 0) return;
    this.#reach(offset + count);
    const at = (this.#start + offset) & (this.#size - 1);
    const first = Math.min(count, this.#size - at);
    copy(source, from, this.#slab.bytes, this.#base + at, first);
    if (first < count) copy(source, from + first, this.#slab.bytes, this.#base, count - first);
  }

  /** As `place`, of a slab's bytes. */
  placeSlab(offset: number, source: Slab, from: number, to: number): void {
    const count = to - from;
    if (count === 0) return;
    this.#reach(offset + count);
    const at = (this.#start + offset) & (this.#size - 1);
    const first = Math.min(count, this.#size - at);
    copyBytes(source, from, this.#slab, this.#base + at, first);
    if (first < count) copyBytes(source, from + first, this.#slab, this.#base, count - first);
  }

  /** Takes in `count` bytes that `place` put just behind the end. */
  extend(count: number): void {
    assert(this.#length + count <= this.#size);
    this.#length += count;
  }

  /** Copies `count` bytes from `offset` to `target[at...]`. */
  copyTo(offset: number, count: number, target: Uint8Array, at: number): void {
    assert(offset + count <= this.#length);
    if (count === 0) return;
    const from = (this.#start + offset) & (this.#size - 1);
    const first = Math.min(count, this.#size - from);
    copyOut(this.#slab, this.#base + from, target, at, first);
    if (first < count) copyOut(this.#slab, this.#base, target, at + first, count - first);
  }

  /** As `copyTo`, into a slab. */
  copyToSlab(offset: number, count: number, target: Slab, at: number): void {
    assert(offset + count <= this.#length);
    if (count === 0) return;
    const from = (this.#start + offset) & (this.#size - 1);
    const first = Math.min(count, this.#size - from);
    copyBytes(this.#slab, this.#base + from, target, at, first);
    if (first < count) copyBytes(this.#slab, this.#base, target, at + first, count - first);
  }

  /** Tells where `count` bytes from `offset` lie in the packet memory; false when they do not. */
  locate(offset: number, count: number, into: Tail): boolean {
    assert(offset + count <= this.#length);
    if (this.#slab !== packetSlab) return false;
    const from = (this.#start + offset) & (this.#size - 1);
    into.bytes = count;
    into.at = this.#base + from;
    into.restBytes = Math.max(0, from + count - this.#size);
    into.restAt = this.#base;
    return true;
  }

  /** Removes `count` bytes from the front; `keep` holds on to the buffer for bytes placed beyond the end. */
  drop(count: number, keep = false): void {
    assert(count <= this.#length);
    this.#length -= count;
    if (this.#length === 0 && !keep) return this.clear();
    this.#start = (this.#start + count) & (this.#size - 1);
    if (!keep && this.#size > ROOMY_BYTES && this.#length <= this.#size >>> 4) {
      this.#shrink();
    }
  }

  /** Forgets everything and gives the buffer back. */
  clear(): void {
    // Half as much next time, when this was more than enough some times: one large transfer is not for ever.
    this.#smallFills = this.#needed <= this.#sizeHint >>> 1 ? this.#smallFills + 1 : 0;
    if (this.#sizeHint > SIZE_MIN && this.#smallFills > SMALL_FILLS) this.#sizeHint >>>= 1;
    this.#needed = this.#roomyDrops = this.#patience = 0;
    this.#give();
    this.#start = 0;
    this.#length = 0;
  }

  /** As new: forgets what it needed, too. */
  renew(): void {
    this.clear();
    this.#sizeHint = SIZE_MIN;
    this.#smallFills = 0;
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
    const mask = this.#size - 1;
    for (let at = 0; at < count; at++) {
      bytes[at] = this.#slab.bytes[this.#base + ((this.#start + offset + at) & mask)]!;
    }
    return bytes;
  }

  /**
   * Almost empty: what is left, perhaps for long, does not hold on to the memory of a large transfer. A transfer that
   * runs almost empty again and again is let be, though: each time is waited for longer.
   */
  #shrink(): void {
    if (this.#roomyDrops++ < this.#patience) return;
    this.#patience = Math.min(PATIENCE_MAX, 4 * this.#patience + 4);
    let size = ROOMY_BYTES;
    while (size < this.#length) size *= 2;
    this.#resize(size);
    this.#needed = this.#length;
    this.#sizeHint = size;
  }

  #give(): void {
    if (this.#size === 0) return;
    this.meter?.borrowed(-this.#size);
    give(this.#slab, this.#base, this.#size);
    this.#slab = EMPTY;
    this.#base = this.#size = 0;
  }

  /** Sees to it that there is room up to `offset`. */
  #reach(offset: number): void {
    if (offset > this.#size) this.#grow(offset);
    if (offset > this.#needed) this.#needed = offset;
  }

  #grow(needed: number): void {
    let size = this.meter?.tight ? SIZE_MIN : this.#sizeHint;
    while (size < needed) size *= 2;
    this.#resize(size);
    this.#sizeHint = size;
    this.#roomyDrops = 0;
  }

  /** Moves to a buffer of `size` bytes, with all that it has and all that was placed behind that, as far as it fits. */
  #resize(size: number): void {
    lentBytes += size;
    const at = takePacketMemory(size);
    const slab = at < 0 ? takeOwn(size) : packetSlab;
    const base = Math.max(0, at);
    this.meter?.borrowed(size - this.#size);
    if (this.#size > 0) {
      const first = Math.min(size, this.#size - this.#start);
      copied[Copies.rings]! += Math.min(this.#length, size);
      copyBytes(this.#slab, this.#base + this.#start, slab, base, first);
      copyBytes(this.#slab, this.#base, slab, base + first, Math.min(size - first, this.#start));
      give(this.#slab, this.#base, this.#size);
    }
    this.#slab = slab;
    this.#base = base;
    this.#size = size;
    this.#start = 0;
  }
}

/** As `copy`, of a slab's bytes. */
function copyOut(source: Slab, from: number, target: Uint8Array, at: number, count: number): void {
  if (count <= LOOP_MAX) copy(source.bytes, from, target, at, count);
  else target.set(viewOf(source, from, from + count), at);
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
