import { canSumBytes, packetSlab, type Slab, sumBytes } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";

/**
 * The Internet checksum (RFC 1071): a one's complement sum of 16-bit words in network order.
 *
 * A partial sum is kept unfolded in a double: four terabytes of 0xff still add up below 2^53. Parts
 * may be added in any order, as long as each but the last has an even length.
 */

/** Up to here there is nothing to be gained by larger steps. */
const SHORT_BYTES = 64;

/**
 * `sum` plus the bytes `[start, end)` as 16-bit words counted from `start`; an odd last byte is
 * padded with zero.
 */
export function sumWords(slab: Slab, start: number, end: number, sum: number): number {
  if (canSumBytes(slab, end - start)) return sum + sumBytes(slab, start, end - start);
  const view = slab.view;
  let at = start;
  if (end - start <= SHORT_BYTES) { // a header: its halves, since small whole numbers cost no memory and doubles may
    for (const last = end - 4; at <= last; at += 4) {
      const word = view.getInt32(at);
      sum += (word >>> 16) + (word & 0xffff);
    }
    if (at + 2 <= end) {
      sum += view.getUint16(at);
      at += 2;
    }
    return at < end ? sum + (view.getUint8(at) << 8) : sum;
  }
  let other = 0; // two chains of additions that do not wait for each other
  // 2^32 = 1 modulo 0xffff, so 32-bit words add up to the same checksum as 16-bit ones.
  for (const last = end - 16; at <= last; at += 16) {
    sum += view.getUint32(at) + view.getUint32(at + 4);
    other += view.getUint32(at + 8) + view.getUint32(at + 12);
  }
  for (const last = end - 4; at <= last; at += 4) sum += view.getUint32(at);
  if (at + 2 <= end) {
    other += view.getUint16(at);
    at += 2;
  }
  if (at < end) other += slab.bytes[at]! << 8;
  return sum + other;
}

/** `sum` plus a tail's words, before which there is an even number of bytes. */
export function sumTail(tail: Tail, sum: number): number {
  const { at, restAt, restBytes } = tail;
  const first = tail.bytes - restBytes;
  sum = sumWords(packetSlab, at, at + first, sum);
  if (restBytes === 0) return sum;
  const rest = foldSum(sumWords(packetSlab, restAt, restAt + restBytes, 0));
  return sum + ((first & 1) === 0 ? rest : (rest >>> 8) | ((rest & 0xff) << 8)); // RFC 1071: bytes may change places
}

/** A partial sum as 16 bits, not inverted. Zero only when every byte was zero. */
export function foldSum(sum: number): number {
  if (sum <= 0x3fff_ffff) { // nearly always
    const once = (sum & 0xffff) + (sum >>> 16);
    return (once & 0xffff) + (once >>> 16);
  }
  const low = sum >>> 0;
  const high = Math.floor(sum / 0x1_0000_0000); // at most 2^21
  let folded = (low & 0xffff) + (low >>> 16) + (high & 0xffff) + (high >>> 16); // at most 18 bits
  folded = (folded & 0xffff) + (folded >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}

/**
 * The checksum field that makes `[start, end)` verify, the field itself being zero; or zero, when
 * the field is already filled and right.
 */
export function checksumOf(slab: Slab, start: number, end: number): number {
  return ~foldSum(sumWords(slab, start, end, 0)) & 0xffff;
}

/** The partial sum of the pseudo-header before TCP and UDP over IPv4; `length` is header and data. */
export function pseudoSum(source: number, destination: number, protocol: number, length: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol +
    length;
}
