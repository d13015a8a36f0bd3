import {
  copyPacketMemory,
  givePacketMemory,
  packetMemory,
  sumPacketMemory,
  takePacketMemory,
} from "./packet_memory.ts";

/**
 * A buffer with its byte view and its DataView, both made once.
 *
 * Making a view costs five to ten times a header read, so packets travel as `(slab, start, end)`:
 * whoever owns a buffer makes one slab for it and every layer reads through that.
 *
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * const slab = Slab.of(2048);
 * slab.view.setUint16(0, 0x0800);
 * console.log(slab.bytes[0]); // 8
 * ```
 */
export class Slab {
  /** The memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory as numbers. */
  readonly view: DataView<ArrayBuffer>;
  /** Where it lies in the packet memory; -1 elsewhere. */
  readonly address: number;

  /** Wraps `bytes` without copying. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.address = bytes.buffer === packetMemory.buffer ? bytes.byteOffset : -1;
  }

  /** A new slab of `length` zero bytes. */
  static of(length: number): Slab {
    return new Slab(new Uint8Array(length));
  }

  /**
   * As `of`, in the packet memory where there is room: for who lives long and works on many packets. Its place is given
   * back when nobody refers to the slab any more; a view of its bytes alone does not keep it.
   */
  static forPackets(length: number): Slab {
    const at = takePacketMemory(length);
    if (at < 0) return Slab.of(length);
    const slab = new Slab(packetMemory.subarray(at, at + length));
    slab.bytes.fill(0);
    places.register(slab, { at, length });
    return slab;
  }
}

const places = new FinalizationRegistry<{ at: number; length: number }>(({ at, length }) =>
  givePacketMemory(at, length)
);

/** The whole packet memory as a slab; empty where there is none. */
export const packetSlab: Slab = new Slab(packetMemory);

/** Below this, moving words costs less than the call, or the view, that moves more. */
const WORDS_MAX = 32;

/** Copies `count` bytes from one slab to another, or inside of one where they do not overlap. */
export function copyBytes(from: Slab, start: number, to: Slab, at: number, count: number): void {
  if (from.address >= 0 && to.address >= 0 && count > WORDS_MAX) {
    if (start + count > from.bytes.length || at + count > to.bytes.length) {
      throw new RangeError("Out of the slab");
    }
    copyPacketMemory(to.address + at, from.address + start, count);
  } else if (count <= 2 * WORDS_MAX) {
    const source = from.view, target = to.view;
    const end = start + count;
    for (; start + 4 <= end; start += 4, at += 4) target.setInt32(at, source.getInt32(start));
    for (; start < end; start++, at++) target.setUint8(at, source.getUint8(start));
  } else if (start === 0 && count === from.bytes.length) {
    to.bytes.set(from.bytes, at);
  } else {
    to.bytes.set(from.bytes.subarray(start, start + count), at);
  }
}

let lastBytes: Uint8Array<ArrayBuffer> | undefined;
let lastFrom = 0;
let lastTo = 0;
let lastView: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/**
 * `slab.bytes.subarray(from, to)`, not to be kept. The last one is: a device's packets, and a queue that is emptied each
 * time, lie at the same place again and again.
 */
export function viewOf({ bytes }: Slab, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (bytes !== lastBytes || from !== lastFrom || to !== lastTo) {
    lastBytes = bytes;
    lastFrom = from;
    lastTo = to;
    lastView = bytes.subarray(from, to);
  }
  return lastView;
}

/** Below this a loop over words costs less than the call. */
const SUM_MIN = 64;

/** Whether `sumBytes` may be asked about so many bytes of `slab`. */
export function canSumBytes(slab: Slab, count: number): boolean {
  return slab.address >= 0 && count >= SUM_MIN && count <= 0xffff;
}

/** The one's complement sum of `[start, start + count)` as 16 bits (RFC 1071). */
export function sumBytes(slab: Slab, start: number, count: number): number {
  if (start + count > slab.bytes.length) throw new RangeError("Out of the slab");
  return sumPacketMemory(slab.address + start, count);
}
