import type { AddressTable } from "../../net/ip/address_table.ts";
import type { QuietTcb } from "../../net/tcp/freeze_quiet.ts";
import {
  FROZEN_PLACES,
  FROZEN_TCB_ALWAYS,
  FrozenPlace,
  frozenTcbDefaults,
} from "../../net/tcp/frozen_tcb.ts";
import { isIpv6Handle } from "../../net/wire/address.ts";
import { writeNumber } from "../image/cbor.ts";
import { writeHead } from "../image/cbor_head.ts";
import { Kind } from "../image/kinds.ts";
import type { BareBatch } from "../store/bare_batch.ts";
import { ZEROS_MIN } from "./rows.ts";

/** The longest item that is no byte string. */
const ITEM_BYTES_MAX = 9;
/** All places, and rows with a head and a count of zeros each; they have fewer numbers than this. */
const ROW_NUMBERS_MAX = 256;
const ROOM_BYTES = ITEM_BYTES_MAX * (4 * FROZEN_PLACES + ROW_NUMBERS_MAX);
/** A body's head says so many bytes in two. */
const SHORT_MAX = 0xff;

/** Places of rows that a quiet connection may have, of what it has not, and of addresses; the others hold numbers. */
const NUMBER = 0, ROW = 1, NOTHING = 2, ADDRESS = 3;
const ROWS: ReadonlySet<number> = new Set([
  FrozenPlace.congestionState,
  FrozenPlace.bufferState,
  FrozenPlace.counters,
  FrozenPlace.options,
  FrozenPlace.recoveryState,
  FrozenPlace.ecnState,
  FrozenPlace.userTimeoutState,
  FrozenPlace.tooBigState,
]);
const FORMS = Uint8Array.from({ length: FROZEN_PLACES }, (_, place) => {
  if (ROWS.has(place)) return ROW;
  if (place === FrozenPlace.localAddress || place === FrozenPlace.remoteAddress) return ADDRESS;
  return typeof frozenTcbDefaults[place - FROZEN_TCB_ALWAYS] === "object" &&
      frozenTcbDefaults[place - FROZEN_TCB_ALWAYS] !== null
    ? NOTHING
    : NUMBER;
});
/** By place; NaN is `null`. */
const DEFAULTS = Float64Array.from({ length: FROZEN_PLACES }, (_, place) => {
  const value = frozenTcbDefaults[place - FROZEN_TCB_ALWAYS];
  return typeof value === "number" ? value : NaN;
});

const later = new Uint8Array(FROZEN_PLACES);
const words = new Int32Array(4);

/**
 * Puts the image of a quiet connection into a batch, as a store keeps it: byte for byte what `writeSocketImage` makes of
 * what `freezeTcb` says, without any of its objects.
 *
 * @param attached What is attached, encoded.
 * @throws {TypeError} When a place that is a number holds none: nothing is put.
 */
export function putQuiet(
  quiet: QuietTcb,
  attached: Uint8Array | undefined,
  addresses: Pick<AddressTable, "freezeWords">,
  version: number,
  into: BareBatch,
): void {
  const start = into.room(ROOM_BYTES + (attached?.length ?? 0));
  const { bytes } = into;
  const head = writeHead(bytes, writeHead(bytes, start, 0, Kind.Socket), 0, version);
  const body = head + 2; // as long as most bodies' heads are
  let at = putBody(quiet, attached, addresses, into, body);
  const length = at - body;
  if (length > SHORT_MAX) bytes.copyWithin(body + 1, body, at++);
  writeHead(bytes, head, 0x40, length);
  into.take(at);
}

/** Writes a body from `start` on; returns the byte after it. */
function putBody(
  { numbers, rows, rowStarts, rowEnds }: QuietTcb,
  attached: Uint8Array | undefined,
  addresses: Pick<AddressTable, "freezeWords">,
  { bytes, view }: BareBatch,
  start: number,
): number {
  let laterCount = 0;
  for (let place = FROZEN_TCB_ALWAYS; place < FROZEN_PLACES; place++) {
    const form = FORMS[place]!;
    if (form === NUMBER) {
      const value = numbers[place]!;
      if (value === DEFAULTS[place] || (value !== value && DEFAULTS[place] !== DEFAULTS[place])) continue;
    } else if (form === NOTHING || rowEnds[place] === rowStarts[place]) continue;
    later[laterCount++] = place;
  }
  let at = writeHead(bytes, start, 0x80, FROZEN_TCB_ALWAYS + (laterCount > 0 ? 2 : 1));
  for (let place = 0; place < FROZEN_TCB_ALWAYS; place++) {
    const value = numbers[place]!;
    if (FORMS[place] === ADDRESS) at = putAddress(bytes, view, at, value, addresses);
    else at = putNumber(bytes, view, at, value);
  }
  at = writeHead(bytes, at, 0x80, attached === undefined ? 0 : 1);
  if (attached !== undefined) {
    bytes.set(attached, at);
    at += attached.length;
  }
  if (laterCount === 0) return at;
  at = writeHead(bytes, at, 0x80, 2 * laterCount);
  let next = FROZEN_TCB_ALWAYS;
  for (let index = 0; index < laterCount; index++) {
    const place = later[index]!;
    at = writeHead(bytes, at, 0, place - next);
    at = FORMS[place] === NUMBER
      ? putNumber(bytes, view, at, numbers[place]!)
      : putRow(bytes, view, at, rows.cells, rowStarts[place]!, rowEnds[place]!);
    next = place + 1;
  }
  return at;
}

/** As rows.ts has them. */
function putRow(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  cells: Float64Array,
  first: number,
  end: number,
): number {
  let from = first;
  while (from < end && cells[from] === 0) from++;
  let at: number;
  if (from - first < ZEROS_MIN) {
    from = first;
    at = writeHead(bytes, start, 0x80, end - first);
  } else {
    at = writeHead(bytes, start, 0x80, 1 + end - from);
    at = writeHead(bytes, at, 0x80, 1);
    at = writeHead(bytes, at, 0, from - first);
  }
  while (from < end) at = putNumber(bytes, view, at, cells[from++]!);
  return at;
}

function putNumber(bytes: Uint8Array, view: DataView, at: number, value: number): number {
  const small = value >>> 0;
  if (small === value) {
    if (small > 23) return writeHead(bytes, at, 0, small);
    bytes[at] = small; // as most are
    return at + 1;
  }
  if (Number.isFinite(value)) return writeNumber(view, bytes, at, value);
  throw new TypeError(`Cannot encode connection: ${value} is not finite`);
}

function putAddress(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  address: number,
  addresses: Pick<AddressTable, "freezeWords">,
): number {
  if (!isIpv6Handle(address)) return putNumber(bytes, view, start, address >>> 0);
  addresses.freezeWords(address, words);
  let at = writeHead(bytes, start, 0x40, 16);
  for (let word = 0; word < 4; word++, at += 4) view.setInt32(at, words[word]!);
  return at;
}
