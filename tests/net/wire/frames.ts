import { Slab } from "../../../base/slab.ts";
import type { Prng } from "../../../base/random.ts";
import { writeIpv6 } from "../../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../../net/wire/ipv6_address.ts";

/** Bytes between a packet under test and either end of its buffer. */
const MARGIN = 40;

/** A packet inside a larger buffer. */
export interface Framed {
  slab: Slab;
  start: number;
  end: number;
}

/** `bytes` in the middle of a buffer of `poison`, `shift` bytes off an aligned place. */
export function framed(bytes: Uint8Array, poison = 0xa5, shift = 0): Framed {
  const slab = Slab.of(bytes.length + 2 * MARGIN + shift);
  slab.bytes.fill(poison);
  const start = MARGIN + shift;
  slab.bytes.set(bytes, start);
  return { slab, start, end: start + bytes.length };
}

/** `bytes` at the end of a buffer: reading beyond them throws. */
export function atTheEdge(bytes: Uint8Array): Framed {
  const slab = Slab.of(MARGIN + bytes.length);
  slab.bytes.set(bytes, MARGIN);
  return { slab, start: MARGIN, end: MARGIN + bytes.length };
}

/** Whether every byte outside `[start, end)` is still `poison`. */
export function isClean({ slab, start, end }: Framed, poison = 0xa5): boolean {
  return slab.bytes.every((byte, at) => (at >= start && at < end) || byte === poison);
}

export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function toHex(slab: Slab, start: number, end: number): string {
  return Array.from(slab.bytes.subarray(start, end), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function randomBytes(prng: Prng, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  prng.fill(bytes);
  return bytes;
}

/** A random 32-bit integer, the edges among them often. */
export function randomInt32(prng: Prng): number {
  return prng.chance(0.2) ? prng.pick([0, -1, 1, 0x7fff_ffff, -0x8000_0000]) : prng.uint32() | 0;
}

/** A random 16-bit number, the edges among them often. */
export function randomUint16(prng: Prng, from = 0): number {
  return prng.chance(0.2) ? prng.pick([from, 0xffff]) : prng.between(from, 0xffff);
}

/** An IPv6 packet around bytes given in hex. */
export function ip6(
  nextHeader: number,
  payload: string,
  to = "2001:db8::2",
  hopLimit = 64,
): Uint8Array<ArrayBuffer> {
  const data = fromHex(payload);
  const slab = Slab.of(40 + data.length);
  writeIpv6(slab, 0, data.length, nextHeader, 0xb9, 0xabcde, hopLimit);
  parseIpv6("2001:db8::1")!.forEach((word, at) => slab.view.setInt32(8 + 4 * at, word));
  parseIpv6(to)!.forEach((word, at) => slab.view.setInt32(24 + 4 * at, word));
  slab.bytes.set(data, 40);
  return slab.bytes;
}
