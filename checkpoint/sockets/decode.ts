import { FROZEN_TCB_ALWAYS, type FrozenTcb, frozenTcbDefaults } from "../../net/tcp/frozen_tcb.ts";
import { type CborValue, decodeCbor } from "../image/cbor.ts";
import { CborError, LEAST } from "../image/cbor_head.ts";
import { scanCbor } from "../image/cbor_scan.ts";
import { Kind } from "../image/kinds.ts";
import { ZEROS_MAX, ZEROS_MIN, zerosBefore } from "./rows.ts";

/** Where a connection begins: nothing is known of it. */
const BLANK: readonly unknown[] = [...new Array<number>(FROZEN_TCB_ALWAYS).fill(0), ...frozenTcbDefaults];

const NO_BYTES = new Uint8Array(0);
let source: Uint8Array = NO_BYTES;
let at = 0;
/** What was read is not what this reader knows. */
let strange = false;

/** What `decodeSocket` has read. */
export interface DecodedSocket {
  readonly tcb: FrozenTcb;
  /** Undefined when nothing is attached. */
  readonly attachment: CborValue | undefined;
}

/**
 * Kind, version and body of a connection's image, one item behind the other, read into place in one go: thousands are
 * in a turn. It knows what idle connections have; of all else, and of anything that is not as it should be, it knows
 * nothing, and the general reader (socket_image.ts) says what it is.
 *
 * @returns What was read, no value of it judged, or `undefined`.
 */
export function decodeSocket(bytes: Uint8Array, version: number): DecodedSocket | undefined {
  source = bytes;
  at = 0;
  strange = false;
  const isOurs = count(0) === Kind.Socket && count(0) === version && count(2) === bytes.length - at;
  const decoded = isOurs ? body() : undefined;
  const read = !strange && at === bytes.length;
  source = NO_BYTES;
  return read ? decoded : undefined;
}

function body(): DecodedSocket | undefined {
  const fields = count(4) - FROZEN_TCB_ALWAYS;
  if (fields < 1 || fields > 2) return undefined;
  const tcb = BLANK.slice();
  for (let place = 0; place < FROZEN_TCB_ALWAYS; place++) tcb[place] = item();
  const attached = count(4);
  const attachment = attached === 1 ? attachedValue() : undefined;
  if (attached > 1) return undefined;
  if (fields === 2) later(tcb, count(4));
  return { tcb: tcb as unknown as FrozenTcb, attachment };
}

function later(tcb: unknown[], items: number): void {
  let place = FROZEN_TCB_ALWAYS;
  for (let index = 0; index + 1 < items && !strange; index += 2) {
    place += count(0);
    if (place >= BLANK.length) strange = true;
    else tcb[place++] = source[at]! >> 5 === 4 ? row() : item();
  }
  if (items % 2 !== 0) strange = true;
}

/** A row of whole numbers, as rows.ts has them. */
function row(): number[] {
  let items = count(4);
  let zeros = 0;
  if (items > 0 && source[at] === ONE_ITEM) {
    at++;
    zeros = count(0);
    items--;
    if (zeros < ZEROS_MIN || zeros > ZEROS_MAX || source[at] === 0) strange = true;
  }
  if (strange || items > source.length - at) {
    strange = true;
    return [];
  }
  const numbers = new Array<number>(zeros + items).fill(0);
  for (let index = zeros; index < numbers.length; index++) {
    const initial = source[at]!;
    if (initial < 24) numbers[index] = source[at++]!;
    else if (initial >> 5 === 1) numbers[index] = -1 - count(1);
    else numbers[index] = count(0);
  }
  if (zeros === 0 && zerosBefore(numbers) > 0) strange = true; // they would have been counted
  return numbers;
}

/** The head of an array of one. */
const ONE_ITEM = 0x81;

/** A whole number, bytes, or nothing. */
function item(): unknown {
  const initial = source[at]!;
  if (initial < 24) {
    at++;
    return initial;
  }
  if (initial === 0xf6) {
    at++;
    return null;
  }
  const major = initial >> 5;
  const argument = count(major);
  if (major === 0) return argument;
  if (major === 1) return -1 - argument;
  if (major !== 2 || argument > source.length - at) strange = true;
  return strange ? undefined : source.subarray(at, at += argument);
}

/** The argument of a head, of a major type, in the one form that it may have. */
function count(major: number): number {
  const initial = source[at++];
  if (initial === undefined || initial >> 5 !== major) {
    strange = true;
    return 0;
  }
  const info = initial & 31;
  if (info < 24) return info;
  const bytes = info > 27 ? 0 : 1 << (info - 24);
  let argument = 0;
  for (let byte = 0; byte < bytes; byte++) argument = argument * 256 + (source[at++] ?? 0);
  if (
    bytes === 0 || at > source.length || argument < LEAST[info - 24]! || argument >= Number.MAX_SAFE_INTEGER
  ) {
    strange = true;
  }
  return argument;
}

function attachedValue(): CborValue | undefined {
  if (strange) return undefined;
  try {
    const start = at;
    const { end } = scanCbor(source, start);
    at = end;
    return decodeCbor(source.subarray(start, end));
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    strange = true;
    return undefined;
  }
}
