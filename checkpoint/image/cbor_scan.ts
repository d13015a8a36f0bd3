import { CborError, LEAST } from "./cbor_head.ts";

/** Arrays and maps nest at most this deep: decoding recurses, and our deepest body needs five. */
export const DEPTH_MAX = 64;

/** What cbor-x cannot decode faithfully by itself, noted while scanning. */
export interface Scan {
  /** The byte after the item. */
  end: number;
  /** There is neither text nor a float nor a wide integer. */
  plain: boolean;
  /** There is an integer beyond ±(2^53 - 1), which JavaScript holds as a bigint. */
  wide: boolean;
  /**
   * Texts that start with U+FEFF, of which TextDecoder swallows the first: ordinal among all texts ->
   * how many of it the text starts with.
   */
  marked: Map<number, number> | undefined;
}

let source: Uint8Array = new Uint8Array(0);
let view: DataView = new DataView(source.buffer);
let at = 0;
let end = 0;
let texts = 0;
const result: Scan = { end: 0, plain: true, wide: false, marked: undefined };

/**
 * Checks that one item starts at `start` of `bytes` and ends by `limit`, in the core deterministic
 * encoding of RFC 8949 section 4.2.1, and that it holds only what images may hold.
 *
 * cbor-x checks none of this: it takes long forms, duplicate keys, broken UTF-8 and any tag.
 *
 * @returns One object, reused: valid until the next scan.
 * @throws {CborError}
 */
export function scanCbor(
  bytes: Uint8Array,
  start = 0,
  limit = bytes.length,
  data: DataView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
): Scan {
  source = bytes;
  view = data;
  at = start;
  end = limit;
  texts = 0;
  result.plain = true;
  result.wide = false;
  result.marked = undefined;
  scanItem(0);
  result.end = at;
  if (result.wide) result.plain = false;
  return result;
}

function fail(offset: number, found: string): never {
  throw new CborError(offset, `Byte ${offset} starts ${found}`);
}

function scanItem(depth: number): void {
  const start = at;
  if (start >= end) throw new CborError(start, `Data ends at byte ${start} where an item must start`);
  const initial = source[at++]!;
  const major = initial >> 5;
  const info = initial & 31;
  if (major === 7) return scanSimple(start, info);
  const argument = info < 24 ? info : scanArgument(start, info);
  switch (major) {
    case 0:
      if (argument > Number.MAX_SAFE_INTEGER) result.wide = true;
      return;
    case 1: // the value is -1 - argument
      if (argument >= Number.MAX_SAFE_INTEGER) {
        result.wide = true;
        if (view.getUint32(start + 1) >= 0x8000_0000) fail(start, "an integer below -2^63");
      }
      return;
    case 2:
      if (argument > end - at) fail(start, `${argument} bytes of which ${end - at} are there`);
      at += argument;
      return;
    case 3:
      if (argument > end - at) fail(start, `text of ${argument} bytes of which ${end - at} are there`);
      result.plain = false;
      return scanText(argument);
    case 4:
      if (depth === DEPTH_MAX) fail(start, `nesting deeper than ${DEPTH_MAX}`);
      if (argument > end - at) fail(start, `an array of ${argument} items in ${end - at} bytes`);
      for (let i = 0; i < argument; i++) scanItem(depth + 1);
      return;
    case 5:
      if (depth === DEPTH_MAX) fail(start, `nesting deeper than ${DEPTH_MAX}`);
      if (argument > (end - at) / 2) fail(start, `a map of ${argument} pairs in ${end - at} bytes`);
      return scanMap(argument, depth);
    default:
      fail(start, "a tag, which bodies do not use");
  }
}

function scanArgument(start: number, info: number): number {
  if (info > 27) fail(start, "an indefinite length or reserved head");
  const more = 1 << (info - 24);
  if (end - at < more) fail(start, "a head that is cut short");
  let argument: number;
  if (more === 1) argument = source[at]!;
  else if (more === 2) argument = view.getUint16(at);
  else if (more === 4) argument = view.getUint32(at);
  else argument = view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
  if (argument < LEAST[info - 24]!) fail(start, `${argument} in a longer form than needed`);
  at += more;
  return argument;
}

function scanSimple(start: number, info: number): void {
  if (info >= 20 && info <= 22) return; // false, true, null
  result.plain = false;
  if (info < 25 || info > 27) fail(start, "a simple value other than false, true and null");
  const more = 1 << (info - 24);
  if (end - at < more) fail(start, "a float that is cut short");
  const value = info === 25
    ? halfValue(view.getUint16(at))
    : info === 26
    ? view.getFloat32(at)
    : view.getFloat64(at);
  if (!Number.isFinite(value)) fail(start, "a float that is not finite");
  if (Number.isSafeInteger(value)) fail(start, `the whole number ${value} as a float`);
  if (floatBytes(value) < more) fail(start, `the float ${value} in a longer form than needed`);
  at += more;
}

function scanMap(pairs: number, depth: number): void {
  let lastStart = -1;
  let lastEnd = -1;
  for (let pair = 0; pair < pairs; pair++) {
    const start = at;
    const major = start < end ? source[start]! >> 5 : 0;
    if (major !== 0 && major !== 1 && major !== 3) fail(start, "a map key that is neither text nor integer");
    scanItem(depth + 1);
    if (major !== 3 && at - start === 9 && view.getUint32(start + 1) >= 0x20_0000) {
      fail(start, "a map key beyond 2^53");
    }
    if (lastStart >= 0) {
      const order = compareBytes(source, lastStart, lastEnd, source, start, at);
      if (order === 0) fail(start, "a map key that was there before");
      if (order > 0) fail(start, "a map key out of order");
    }
    lastStart = start;
    lastEnd = at;
    scanItem(depth + 1);
  }
}

/** Order of two encoded keys: bytewise (RFC 8949 section 4.2.1); a shorter one never prefixes a longer. */
export function compareBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

/** UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
function scanText(length: number): void {
  const stop = at + length;
  let marks = 0;
  while (3 * marks + 3 <= length && isMark(at + 3 * marks)) marks++;
  if (marks > 0) (result.marked ??= new Map()).set(texts, marks);
  texts++;
  while (at < stop) {
    const start = at;
    const lead = source[at++]!;
    if (lead < 0x80) continue;
    let more: number;
    let low = 0x80; // bounds of the second byte
    let high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead === 0xe0) low = 0xa0;
      if (lead === 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead === 0xf0) low = 0x90;
      if (lead === 0xf4) high = 0x8f;
    } else fail(start, "text that is not UTF-8");
    if (stop - at < more) fail(start, "text that is not UTF-8");
    for (let i = 0; i < more; i++) {
      const next = source[at++]!;
      if (next < low || next > high) fail(start, "text that is not UTF-8");
      low = 0x80;
      high = 0xbf;
    }
  }
}

function isMark(start: number): boolean {
  return source[start] === 0xef && source[start + 1] === 0xbb && source[start + 2] === 0xbf;
}

/** The value of a binary16 float. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const single = new DataView(new ArrayBuffer(4));

/** The binary16 bits that hold `value` exactly, or -1. */
export function halfBits(value: number): number {
  if (Math.fround(value) !== value) return -1;
  single.setFloat32(0, value);
  const bits = single.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const fraction = bits & 0x7f_ffff;
  if (exponent >= -14 && exponent <= 15) {
    return fraction & 0x1fff ? -1 : sign | ((exponent + 15) << 10) | (fraction >> 13);
  }
  const steps = Math.abs(value) * 2 ** 24; // subnormal halves are whole multiples of 2^-24
  return exponent < -14 && steps < 1024 && Number.isInteger(steps) ? sign | steps : -1;
}

/** How many bytes after the head the shortest float that holds `value` exactly takes: 2, 4 or 8. */
export function floatBytes(value: number): 2 | 4 | 8 {
  return Math.fround(value) !== value ? 8 : halfBits(value) < 0 ? 4 : 2;
}
