import { refuse } from "../appliance_error.ts";

/** Headers and data come in blocks of this many bytes. */
export const BLOCK_BYTES = 512;
/** The most that a long name, or the records of an extended header, may take: with all attributes of a file. */
export const EXTENDED_BYTES_MAX = 4 * 1024 * 1024;
/** The longest file, in bytes. */
export const FILE_BYTES_MAX = 2 ** 43;
/** The most bytes of holes of one file: hashing them takes a minute, and a few bytes of a tar may ask for it. */
export const HOLE_BYTES_MAX = 2 ** 36;
/** The most runs of data of one sparse file. */
export const EXTENTS_MAX = 1_000_000;

/** Where the fields of a header lie (POSIX ustar, and GNU's), [start, end). */
const AT = {
  name: [0, 100],
  mode: [100, 108],
  uid: [108, 116],
  gid: [116, 124],
  size: [124, 136],
  mtime: [136, 148],
  checksum: [148, 156],
  linkname: [157, 257],
  magic: [257, 265],
  major: [329, 337],
  minor: [337, 345],
  prefix: [345, 500],
} as const;
const TYPE_AT = 156;

/** A header block as it stands there, before extended headers have their say. */
export interface TarHeader {
  readonly type: string;
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly linkname: string;
  readonly major: number;
  readonly minor: number;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text of a tar, which is UTF-8. */
export function textOf(bytes: Uint8Array, at: number): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return refuse("format", `Cannot read tar: header at byte ${at}: a name in it is not UTF-8`);
  }
}

/**
 * The header in `block`, which is at byte `at` of the tar; `undefined` for a block of zeros, which ends it.
 * @throws {ApplianceError}
 */
export function readHeader(block: Uint8Array, at: number): TarHeader | undefined {
  let sum = 0;
  for (let byte = 0; byte < BLOCK_BYTES; byte++) {
    sum += byte >= AT.checksum[0] && byte < AT.checksum[1] ? 32 : block[byte]!;
  }
  if (sum === 256 && block.every((byte) => byte === 0)) return undefined;
  const told = number(block, AT.checksum, at, "checksum");
  if (told !== sum) {
    refuse("format", `Cannot read tar: header at byte ${at}: it sums to ${sum}, its checksum says ${told}`);
  }
  const magic = String.fromCharCode(...block.subarray(...AT.magic));
  const ustar = magic.startsWith("ustar\0");
  const name = text(block, AT.name, at);
  const prefix = ustar ? text(block, AT.prefix, at) : "";
  const type = String.fromCharCode(block[TYPE_AT]!);
  const device = type === "3" || type === "4";
  return {
    type: type === "\0" ? "0" : type,
    name: prefix === "" ? name : `${prefix}/${name}`,
    mode: number(block, AT.mode, at, "mode") & 0o7777,
    uid: number(block, AT.uid, at, "uid"),
    gid: number(block, AT.gid, at, "gid"),
    size: number(block, AT.size, at, "size"),
    mtime: number(block, AT.mtime, at, "mtime", true),
    linkname: text(block, AT.linkname, at),
    major: device ? number(block, AT.major, at, "device") : 0,
    minor: device ? number(block, AT.minor, at, "device") : 0,
  };
}

function text(block: Uint8Array, [start, end]: readonly [number, number], at: number): string {
  const field = block.subarray(start, end);
  const zero = field.indexOf(0);
  return textOf(zero < 0 ? field : field.subarray(0, zero), at);
}

/** A number in octal digits, or in GNU's binary: the first byte has its highest bit set. */
export function number(
  block: Uint8Array,
  [start, end]: readonly [number, number],
  at: number,
  what: string,
  signed = false,
): number {
  const bad = (): never =>
    refuse("format", `Cannot read tar: header at byte ${at}: its ${what} is no number`);
  const first = block[start]!;
  let value = 0;
  if (first === 0x80 || first === 0xff) {
    for (let byte = start + 1; byte < end; byte++) {
      value = value * 256 + (first === 0xff ? 255 - block[byte]! : block[byte]!);
    }
    if (first === 0xff) value = -1 - value;
  } else {
    let byte = start;
    while (byte < end && block[byte] === 32) byte++;
    for (; byte < end && block[byte] !== 0 && block[byte] !== 32; byte++) {
      const digit = block[byte]! - 48;
      if (digit < 0 || digit > 7) return bad();
      value = value * 8 + digit;
    }
  }
  if (!Number.isSafeInteger(value) || (value < 0 && !signed)) return bad();
  return value;
}

/**
 * The records of an extended header (POSIX pax), in their order.
 * @throws {ApplianceError}
 */
export function readRecords(bytes: Uint8Array, at: number): [key: string, value: Uint8Array][] {
  const records: [string, Uint8Array][] = [];
  const bad = (): never => refuse("format", `Cannot read tar: extended header at byte ${at} is damaged`);
  for (let start = 0; start < bytes.length;) {
    let length = 0;
    let byte = start;
    for (; byte < bytes.length && bytes[byte] !== 32; byte++) {
      const digit = bytes[byte]! - 48;
      if (digit < 0 || digit > 9 || byte - start > 9) return bad();
      length = length * 10 + digit;
    }
    const end = start + length;
    if (end > bytes.length || end <= byte + 1 || bytes[end - 1] !== 10) return bad();
    const equals = bytes.indexOf(61, byte + 1);
    if (equals < 0 || equals >= end) return bad();
    records.push([textOf(bytes.subarray(byte + 1, equals), at), bytes.subarray(equals + 1, end - 1)]);
    start = end;
  }
  return records;
}
