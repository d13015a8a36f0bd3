import { assert } from "./assert.ts";

/**
 * One memory for what packets are made in and what rings hold: in WebAssembly, because there a checksum is taken with
 * SIMD and bytes are moved without making a view of them first, which costs more than a packet's bytes do. Of 1,460
 * bytes the sum takes a fifth, a move less than half (`npm run bench -- bytes`).
 *
 * It has a fixed size, so that its views are made once; whoever finds it full, or no WebAssembly, takes memory of the
 * usual kind and is slower. Pages that were never used are not resident.
 */

/** As much as an idle process may keep: a few large transfers, or some thousand small ones. */
export const PACKET_MEMORY_BYTES: number = 32 << 20;
const PAGE_BYTES = 65_536;

/** packet_memory.wat */
const CODE =
  "AGFzbQEAAAABEwNgAnt+AX9gAn9/AX9gA39/fwACEgEGdG9ycG9yBm1lbW9yeQIAAQMEAwABAgcOAgNzdW0AAQRjb3B5AAIK7QIDbgEBfiAA/RsArSAA/RsBrXwgAP0bAq0gAP0bA618IAF8fCECIAJC//8DgyACQhCIQv//A4N8IAJCIIh8IQIgAkL//wODIAJCEIh8IQIgAkL//wODIAJCEIh8IQIgAqdBCHRBgP4DcSACp0EIdnIL7gEDAn8CewF+IAAgAWohAiACQcAAayEDAkADQCAAIANKDQEgBCAA/QAEAP1/IAD9AAQQ/X/9rgH9rgEhBCAFIAD9AAQg/X8gAP0ABDD9f/2uAf2uASEFIABBwABqIQAMAAsLIAJBEGshAwJAA0AgACADSg0BIAQgAP0ABAD9f/2uASEEIABBEGohAAwACwsgAkEEayEDAkADQCAAIANKDQEgBiAANQIAfCEGIABBBGohAAwACwsgAEECaiACTARAIAYgADMBAHwhBiAAQQJqIQALIAAgAkgEQCAGIAAxAAB8IQYLIAQgBf2uASAGEAALDAAgACABIAL8CgAACw==";

interface Code {
  sum(at: number, length: number): number;
  copy(to: number, from: number, length: number): void;
}

function load(): { bytes: Uint8Array<ArrayBuffer>; code: Code | undefined } {
  const none = { bytes: new Uint8Array(0), code: undefined };
  if (typeof WebAssembly === "undefined") return none;
  const binary = Uint8Array.from(atob(CODE), (character) => character.charCodeAt(0));
  if (!WebAssembly.validate(binary)) return none; // without SIMD
  try {
    const pages = PACKET_MEMORY_BYTES / PAGE_BYTES;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const instance = new WebAssembly.Instance(new WebAssembly.Module(binary), { torpor: { memory } });
    const buffer = memory.buffer as ArrayBuffer; // shared only where that is asked for
    return { bytes: new Uint8Array(buffer), code: instance.exports as unknown as Code };
  } catch (error) {
    if (error instanceof RangeError || error instanceof WebAssembly.CompileError) return none; // no room, or forbidden
    throw error;
  }
}

const { bytes, code } = load();

/** All of it; empty where there is none. */
export const packetMemory: Uint8Array<ArrayBuffer> = bytes;

/** The one's complement sum of `[at, at + length)` as 16 bits in network order (RFC 1071), for at most 64 KiB. */
export const sumPacketMemory: Code["sum"] = code?.sum ?? missing;
/** Copies `length` bytes inside the memory. */
export const copyPacketMemory: Code["copy"] = code?.copy ?? missing;

function missing(): never {
  throw new Error("There is no packet memory");
}

// Who has what: a buddy system (Knuth 1968). Blocks are powers of two from a unit up, and begin at a multiple of their
// size. Those that come back are kept as they are, for the next one wants the same size as a rule; only when there is no
// room they are put together with their neighbours.
const UNIT_BITS = 10;
const ORDERS = 31 - Math.clz32(PACKET_MEMORY_BYTES) - UNIT_BITS + 1;
const UNITS = bytes.length >>> UNIT_BITS;
/** Order of the free block that begins at a unit, plus 1; 0 for none. */
const freeOrder = new Uint8Array(UNITS);
// Free blocks by order, in lists through their first units; -1 ends them.
const next = new Int32Array(UNITS);
const previous = new Int32Array(UNITS);
const first = new Int32Array(ORDERS).fill(-1);
/** Blocks that came back, by order, in lists through `next`. */
const kept = new Int32Array(ORDERS).fill(-1);
if (UNITS > 0) free(0, ORDERS - 1);

/** Takes a block of at least `length` bytes; -1 when there is no room. What it holds is what somebody left in it. */
export function takePacketMemory(length: number): number {
  const order = orderOf(length);
  if (order >= ORDERS) return -1;
  const again = kept[order]!;
  if (again >= 0) {
    kept[order] = next[again]!;
    return again << UNIT_BITS;
  }
  let unit = takeFree(order);
  if (unit < 0) {
    joinKept();
    unit = takeFree(order);
  }
  return unit < 0 ? -1 : unit << UNIT_BITS;
}

/** Gives back the block of `length` bytes at `at`. */
export function givePacketMemory(at: number, length: number): void {
  const order = orderOf(length);
  const unit = at >>> UNIT_BITS;
  assert(unit < UNITS && freeOrder[unit] === 0, "What is given back was taken");
  next[unit] = kept[order]!;
  kept[order] = unit;
}

function orderOf(length: number): number {
  return Math.max(0, 32 - Math.clz32(length - 1) - UNIT_BITS);
}

function takeFree(order: number): number {
  let from = order;
  while (from < ORDERS && first[from]! < 0) from++;
  if (from === ORDERS) return -1;
  const unit = first[from]!;
  unlink(unit, from);
  while (from > order) free(unit + (1 << --from), from); // the upper half, again and again
  return unit;
}

function joinKept(): void {
  for (let order = 0; order < ORDERS; order++) {
    for (let unit = kept[order]!; unit >= 0;) {
      const following = next[unit]!;
      join(unit, order);
      unit = following;
    }
    kept[order] = -1;
  }
}

/** Frees a block together with its other half, if that is free, and so on. */
function join(unit: number, order: number): void {
  for (; order < ORDERS - 1 && freeOrder[unit ^ (1 << order)] === order + 1; order++) {
    unlink(unit ^ (1 << order), order);
    unit &= ~(1 << order);
  }
  free(unit, order);
}

function free(unit: number, order: number): void {
  freeOrder[unit] = order + 1;
  previous[unit] = -1;
  next[unit] = first[order]!;
  if (first[order]! >= 0) previous[first[order]!] = unit;
  first[order] = unit;
}

function unlink(unit: number, order: number): void {
  freeOrder[unit] = 0;
  if (previous[unit]! >= 0) next[previous[unit]!] = next[unit]!;
  else first[order] = next[unit]!;
  if (next[unit]! >= 0) previous[next[unit]!] = previous[unit]!;
}
