/** Heads of CBOR items (RFC 8949 section 3): what frames and entries are walked by. @module */

/** Bytes that are not the one deterministic encoding of an allowed value; `offset` is the first bad byte. */
export class CborError extends Error {
  override name = "CborError";
  readonly offset: number;
  constructor(offset: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.offset = offset;
  }
}

/** The least argument that needs 1, 2, 4, 8 bytes after the initial one. */
export const LEAST: readonly number[] = [24, 0x100, 0x1_0000, 0x1_0000_0000];

/** A head as read: its major type, its argument, and the byte after it. */
export interface Head {
  major: number;
  argument: number;
  next: number;
}

/**
 * Reads the head at `start`, of any major type but 7.
 * @throws {CborError} When it is cut short by `limit`, longer than needed, indefinite, or above 2^53 - 1.
 */
export function readHead(bytes: Uint8Array, start: number, into: Head, limit: number = bytes.length): void {
  if (start >= limit) throw new CborError(start, `Data ends at byte ${start} where an item must start`);
  const initial = bytes[start]!;
  const info = initial & 31;
  let argument = info;
  let at = start + 1;
  if (info >= 24) {
    if (info > 27) throw new CborError(start, `Byte ${start} starts an indefinite length or reserved head`);
    const more = 1 << (info - 24);
    if (limit - at < more) throw new CborError(start, `Byte ${start} starts a head that is cut short`);
    argument = 0;
    for (let byte = 0; byte < more; byte++) argument = argument * 256 + bytes[at++]!;
    if (argument < LEAST[info - 24]! || argument > Number.MAX_SAFE_INTEGER) {
      throw new CborError(
        start,
        `Byte ${start} starts ${argument}, too large or in a longer form than needed`,
      );
    }
  }
  into.major = initial >> 5;
  into.argument = argument;
  into.next = at;
}

/**
 * Writes the shortest head of major type `major` (already shifted to the top three bits: 0x40 for
 * bytes) with `argument`.
 * @returns The byte after it.
 */
export function writeHead(into: Uint8Array, at: number, major: number, argument: number): number {
  if (argument < 24) {
    into[at] = major | argument;
    return at + 1;
  }
  if (argument < 0x100) {
    into[at] = major | 24;
    into[at + 1] = argument;
    return at + 2;
  }
  if (argument < 0x1_0000) {
    into[at] = major | 25;
    into[at + 1] = argument >>> 8;
    into[at + 2] = argument;
    return at + 3;
  }
  if (argument < 0x1_0000_0000) {
    into[at] = major | 26;
    writeUint32(into, at + 1, argument);
    return at + 5;
  }
  into[at] = major | 27;
  writeUint32(into, at + 1, Math.floor(argument / 0x1_0000_0000));
  writeUint32(into, at + 5, argument % 0x1_0000_0000);
  return at + 9;
}

function writeUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

/** How many bytes `writeHead` writes for `argument`. */
export function headBytes(argument: number): number {
  return argument < 24
    ? 1
    : argument < 0x100
    ? 2
    : argument < 0x1_0000
    ? 3
    : argument < 0x1_0000_0000
    ? 5
    : 9;
}
