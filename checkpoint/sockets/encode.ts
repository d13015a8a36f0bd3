import { FROZEN_TCB_ALWAYS, type FrozenTcb, isFrozenTcbDefault } from "../../net/tcp/frozen_tcb.ts";
import { type CborValue, encodeShared, writeNumber } from "../image/cbor.ts";
import { writeHead } from "../image/cbor_head.ts";
import { zerosBefore } from "./rows.ts";
import type { Stretches } from "./stretch.ts";

/** As long as an idle connection's body and some; one with data gets more for a while. */
const ROOM_BYTES = 4_096;
/** The longest item that is no byte string. */
const ITEM_BYTES_MAX = 9;

let bytes = new Uint8Array(ROOM_BYTES);
let view = new DataView(bytes.buffer);
const later: number[] = [];

/**
 * The body of a connection's image, as `encodeCbor` would give it: an item by item that it is known to hold, since
 * thousands are written in a turn. Valid until the next call.
 *
 * @throws {TypeError} When the attachment is something that CBOR cannot hold.
 */
export function encodeSocket(tcb: FrozenTcb, attachment: unknown, stretches?: Stretches): Uint8Array {
  const attached = attachment === undefined ? undefined : encodeShared(attachment as CborValue);
  later.length = 0;
  for (let place = FROZEN_TCB_ALWAYS; place < tcb.length; place++) {
    if (!isFrozenTcbDefault(tcb, place)) later.push(place);
  }
  makeRoom(ROOM_BYTES + (attached?.length ?? 0));
  const more = stretches !== undefined ? 3 : later.length > 0 ? 2 : 1;
  let at = writeHead(bytes, 0, 0x80, FROZEN_TCB_ALWAYS + more);
  for (let place = 0; place < FROZEN_TCB_ALWAYS; place++) {
    const value = tcb[place];
    at = isUint32(value) ? writeHead(bytes, at, 0, value) : write(at, value); // there is room for all of them
  }
  at = writeHead(bytes, at, 0x80, attached === undefined ? 0 : 1);
  if (attached !== undefined) {
    bytes.set(attached, at);
    at += attached.length;
  }
  if (more > 1) {
    at = writeHead(bytes, at, 0x80, 2 * later.length);
    let next = FROZEN_TCB_ALWAYS;
    for (const place of later) {
      at = writeLater(writeHead(bytes, at, 0, place - next), tcb[place]);
      next = place + 1;
    }
  }
  if (stretches !== undefined) {
    at = write(at, [stretches.sent, stretches.unread, stretches.unreadStart >>> 0]);
  }
  const body = bytes.subarray(0, at);
  if (bytes.length > 4 * ROOM_BYTES) makeAnew(ROOM_BYTES);
  return body;
}

/** Writes what stands at a later place: as `write`, but of a row the zeros that it begins with are counted. */
function writeLater(at: number, value: unknown): number {
  const zeros = Array.isArray(value) ? zerosBefore(value) : 0;
  if (zeros === 0) return write(at, value);
  const row = value as number[];
  makeRoom(at + 3 * ITEM_BYTES_MAX);
  let next = writeHead(bytes, at, 0x80, 1 + row.length - zeros);
  next = writeHead(bytes, writeHead(bytes, next, 0x80, 1), 0, zeros);
  for (let index = zeros; index < row.length; index++) next = write(next, row[index]);
  return next;
}

/** Writes an item; returns the byte after it. */
function write(at: number, value: unknown): number {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError(`Cannot encode connection: ${value} is not finite`);
    if (at + ITEM_BYTES_MAX > bytes.length) makeRoom(2 * bytes.length);
    if (isUint32(value)) return writeHead(bytes, at, 0, value);
    return writeNumber(view, bytes, at, value);
  }
  if (at + ITEM_BYTES_MAX > bytes.length) makeRoom(2 * bytes.length);
  if (value === null) {
    bytes[at] = 0xf6;
    return at + 1;
  }
  if (value instanceof Uint8Array) {
    makeRoom(at + ITEM_BYTES_MAX + value.length);
    const next = writeHead(bytes, at, 0x40, value.length);
    bytes.set(value, next);
    return next + value.length;
  }
  if (!Array.isArray(value)) {
    const encoded = encodeShared(value as CborValue);
    makeRoom(at + encoded.length);
    bytes.set(encoded, at);
    return at + encoded.length;
  }
  let next = writeHead(bytes, at, 0x80, value.length);
  for (let index = 0; index < value.length; index++) next = write(next, value[index]); // no iterator: thousands in a turn
  return next;
}

/** Most numbers are. */
function isUint32(value: unknown): value is number {
  return typeof value === "number" && value >>> 0 === value;
}

function makeRoom(length: number): void {
  if (length <= bytes.length) return;
  const old = bytes;
  makeAnew(Math.max(length, 2 * old.length));
  bytes.set(old);
}

function makeAnew(length: number): void {
  bytes = new Uint8Array(length);
  view = new DataView(bytes.buffer);
}
