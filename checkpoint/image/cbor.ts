/**
 * The one CBOR codec: RFC 8949 in the core deterministic encoding of section 4.2.1, so that equal
 * values are equal bytes. cbor-x does the bulk; what it leaves open is closed here: values are
 * checked before it encodes, heads are shortened after, bytes are scanned before it decodes.
 * @module
 */
// Never the package root: its optional native add-on kills Deno and Bun.
import { Decoder } from "cbor-x/decode";
import { Encoder } from "cbor-x/encode";
import { CborError, writeHead } from "./cbor_head.ts";
import { decodePlain } from "./cbor_plain.ts";
import { compareBytes, DEPTH_MAX, floatBytes, halfBits, scanCbor } from "./cbor_scan.ts";

export { CborError, DEPTH_MAX };

/**
 * A value that images may hold.
 *
 * Numbers are finite; whole ones within ±(2^53 - 1) are integers (so 1.0 is 1 and -0 is 0), all
 * others are floats. Bigints stay within -2^63 and 2^64 - 1. Strings are well-formed Unicode. Map
 * keys are strings or safe integers. Decoding gives bigints only for integers that no number holds,
 * and `Map` for every map: objects are for encoding.
 */
export type CborValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly CborValue[]
  | ReadonlyMap<string | number, CborValue>
  | { readonly [key: string]: CborValue };

const encoder = new Encoder(
  {
    useRecords: false,
    variableMapSize: true,
    tagUint8Array: false,
    mapsAsObjects: false,
    useTag259ForMaps: false,
  } as ConstructorParameters<typeof Encoder>[0],
);
const narrow = new Decoder(
  { useRecords: false, mapsAsObjects: false, int64AsNumber: true } as DecoderOptions,
);
const wide = new Decoder({ useRecords: false, mapsAsObjects: false, int64AsNumber: false } as DecoderOptions);
type DecoderOptions = ConstructorParameters<typeof Decoder>[0];

/** cbor-x: give the position back after encoding, so that its buffer is used again. */
const RESET_BUFFER = 1024;

/**
 * The deterministic encoding of `value`.
 *
 * @throws {TypeError} When `value` holds something that images may not, naming where.
 * @example
 * ```ts
 * import { decodeCbor, encodeCbor } from "@torpor/torpor/checkpoint/image/cbor.ts";
 * const bytes = encodeCbor({ b: 2 ** 32, a: 1.5 });
 * console.log(decodeCbor(bytes)); // Map(2) { "a" => 1.5, "b" => 4294967296 }
 * ```
 */
export function encodeCbor(value: CborValue): Uint8Array<ArrayBuffer> {
  const shared = encodeShared(value);
  const bytes = new Uint8Array(shared.length); // not slice(): that of a Buffer gives a Buffer
  bytes.set(shared);
  return bytes;
}

/** As `encodeCbor`, in the codec's own buffer: valid until the next encoding. */
export function encodeShared(value: CborValue): Uint8Array {
  const encoded = (encoder as unknown as { encode(value: unknown, mode: number): Uint8Array })
    .encode(checked(value, 0, "value"), RESET_BUFFER);
  return encoded.subarray(0, shorten(encoded));
}

/**
 * The value whose deterministic encoding is `bytes`, all of them. Byte strings are views of `bytes`,
 * plain `Uint8Array`s on every runtime.
 *
 * @throws {CborError} When `bytes` are anything else; `offset` is the first bad byte.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  // A view of our own: cbor-x hangs a property on what it is given, and a Buffer would yield Buffers.
  const source = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scan = scanCbor(source, 0, source.length, view);
  if (scan.end !== source.length) {
    throw new CborError(scan.end, `Data goes on at byte ${scan.end} after the item has ended`);
  }
  if (scan.plain) return decodePlain(source);
  (source as { dataView?: DataView }).dataView = view; // cbor-x would make its own
  const { wide: isWide, marked } = scan;
  const value = (isWide ? wide : narrow).decode(source) as CborValue;
  return isWide || marked ? restored(value, { text: 0, marks: marked ?? new Map() }) : value;
}

/** Checks `value` and puts maps in order; what needs no change is returned as it is. */
function checked(value: unknown, depth: number, path: string): unknown {
  switch (typeof value) {
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`Cannot encode ${path}: ${value} is not finite`);
      return value;
    case "string":
      if (!value.isWellFormed()) {
        throw new TypeError(`Cannot encode ${path}: the string has a lone surrogate`);
      }
      return value;
    case "bigint":
      if (value < -(2n ** 63n) || value >= 2n ** 64n) {
        throw new TypeError(`Cannot encode ${path}: ${value} does not fit in 64 bits`);
      }
      return value;
    case "object":
      break;
    default:
      throw new TypeError(`Cannot encode ${path}: images hold no ${typeof value}`);
  }
  if (value === null || value instanceof Uint8Array) return value;
  if (depth === DEPTH_MAX) throw new TypeError(`Cannot encode ${path}: nesting is deeper than ${DEPTH_MAX}`);
  if (Array.isArray(value)) {
    let items: unknown[] = value;
    for (let index = 0; index < value.length; index++) {
      const item: unknown = value[index];
      if (typeof item === "number" && Number.isFinite(item)) continue; // most of them; no path needed
      const kept = checked(item, depth + 1, `${path}[${index}]`);
      if (kept === item) continue;
      if (items === value) items = [...value];
      items[index] = kept;
    }
    return items.constructor === Array ? items : Array.from(items);
  }
  const pairs = pairsOf(value, path).map(([key, item]) => ({
    key,
    encoded: encodedKey(key, path),
    value: checked(item, depth + 1, `${path}.${key}`),
  }));
  pairs.sort((a, b) => compareBytes(a.encoded, 0, a.encoded.length, b.encoded, 0, b.encoded.length));
  return new Map(pairs.map((pair) => [pair.key, pair.value]));
}

function pairsOf(value: object, path: string): [string | number, unknown][] {
  if (value instanceof Map) return [...value];
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(
      `Cannot encode ${path}: images hold no ${value.constructor?.name ?? "object of a class"}`,
    );
  }
  return Object.entries(value);
}

const utf8 = new TextEncoder();

function encodedKey(key: unknown, path: string): Uint8Array {
  if (typeof key === "number" && Number.isSafeInteger(key)) {
    return withHead(key < 0 ? 0x20 : 0, key < 0 ? -1 - key : key);
  }
  if (typeof key !== "string") {
    throw new TypeError(`Cannot encode ${path}: a key is neither string nor safe integer`);
  }
  if (!key.isWellFormed()) throw new TypeError(`Cannot encode ${path}: a key has a lone surrogate`);
  const text = utf8.encode(key);
  return withHead(0x60, text.length, text);
}

function withHead(major: number, argument: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(9 + payload.length);
  const length = writeHead(bytes, 0, major, argument);
  bytes.set(payload, length);
  return bytes.subarray(0, length + payload.length);
}

/**
 * Shortens in place what cbor-x writes long: numbers of 2^32 and above as float64, bigints in nine
 * bytes, floats never below 64 bits. Nothing grows, and lengths count items, so the order of heads is
 * all that has to be followed.
 * @returns The new length.
 */
function shorten(bytes: Uint8Array): number {
  let from = 0;
  let to = 0;
  let view: DataView | undefined;
  while (from < bytes.length) {
    const initial = bytes[from]!;
    const major = initial & 0xe0;
    const info = initial & 31;
    let length = 1;
    if (info === 27 && (major === 0xe0 || major < 0x40)) {
      view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      to = major === 0xe0
        ? writeNumber(view, bytes, to, view.getFloat64(from + 1))
        : writeWide(view, bytes, to, from);
      from += 9;
      continue;
    }
    if (info >= 24 && info <= 27) length += 1 << (info - 24);
    if (major === 0x40 || major === 0x60) {
      let argument = info;
      if (info >= 24) {
        argument = 0;
        for (let i = 1; i < length; i++) argument = argument * 256 + bytes[from + i]!;
      }
      length += argument;
    }
    if (from !== to) bytes.copyWithin(to, from, from + length);
    from += length;
    to += length;
  }
  return to;
}

/** Writes a finite number in its shortest form. */
export function writeNumber(view: DataView, bytes: Uint8Array, at: number, value: number): number {
  if (Number.isSafeInteger(value)) {
    return value < 0 ? writeHead(bytes, at, 0x20, -1 - value) : writeHead(bytes, at, 0, value);
  }
  const length = floatBytes(value);
  bytes[at] = length === 2 ? 0xf9 : length === 4 ? 0xfa : 0xfb;
  if (length === 2) view.setUint16(at + 1, halfBits(value));
  else if (length === 4) view.setFloat32(at + 1, value);
  else view.setFloat64(at + 1, value);
  return at + 1 + length;
}

function writeWide(view: DataView, bytes: Uint8Array, at: number, from: number): number {
  const high = view.getUint32(from + 1);
  const low = view.getUint32(from + 5);
  if (high < 0x20_0000) return writeHead(bytes, at, bytes[from]! & 0xe0, high * 0x1_0000_0000 + low);
  bytes.copyWithin(at, from, from + 9);
  return at + 9;
}

/** Mends what cbor-x decodes unfaithfully: bigints that fit a number, and byte order marks it swallowed. */
function restored(value: CborValue, state: { text: number; marks: Map<number, number> }): CborValue {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value === "string") {
    const marks = state.marks.get(state.text++);
    return marks === undefined ? value : "\ufeff".repeat(marks) + value.replace(/^\ufeff+/, "");
  }
  if (Array.isArray(value)) return value.map((item: CborValue) => restored(item, state));
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [
      restored(key as CborValue, state) as string | number,
      restored(item as CborValue, state),
    ]));
  }
  return value;
}
