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

/** Places of rows that a quiet connection may have, and of what it has not; the others hold numbers. */
const NUMBER = 0, ROW = 1, NOTHING = 2;
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
let bytes = new Uint8Array(0);
let view: DataView = new DataView(bytes.buffer);
let at = 0;

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
  at = into.room(ROOM_BYTES + (attached?.length ?? 0));
  ({ bytes, view } = into);
  at = writeHead(bytes, at, 0, Kind.Socket);
  at = writeHead(bytes, at, 0, version);
  const head = at;
  at += 2; // as long as most bodies' heads are
  putBody(quiet, attached, addresses);
  const length = at - head - 2;
  if (length > SHORT_MAX) bytes.copyWithin(head + 3, head + 2, at++);
  writeHead(bytes, head, 0x40, length);
  into.take(at);
}

function putBody(
  { numbers, rows, rowStarts, rowEnds }: QuietTcb,
  attached: Uint8Array | undefined,
  addresses: Pick<AddressTable, "freezeWords">,
): void {
  let laterCount = 0;
  for (let place = FROZEN_TCB_ALWAYS; place < FROZEN_PLACES; place++) {
    const form = FORMS[place]!;
    if (form === NUMBER ? isDefault(numbers[place]!, DEFAULTS[place]!) : form === NOTHING) continue;
    if (form === ROW && rowEnds[place] === rowStarts[place]) continue;
    later[laterCount++] = place;
  }
  at = writeHead(bytes, at, 0x80, FROZEN_TCB_ALWAYS + (laterCount > 0 ? 2 : 1));
  for (let place = 0; place < FROZEN_TCB_ALWAYS; place++) {
    if (place === FrozenPlace.localAddress || place === FrozenPlace.remoteAddress) {
      putAddress(numbers[place]!, addresses);
    } else putNumber(numbers[place]!);
  }
  at = writeHead(bytes, at, 0x80, attached === undefined ? 0 : 1);
  if (attached !== undefined) {
    bytes.set(attached, at);
    at += attached.length;
  }
  if (laterCount === 0) return;
  at = writeHead(bytes, at, 0x80, 2 * laterCount);
  let next = FROZEN_TCB_ALWAYS;
  for (let index = 0; index < laterCount; index++) {
    const place = later[index]!;
    at = writeHead(bytes, at, 0, place - next);
    if (FORMS[place] === NUMBER) putNumber(numbers[place]!);
    else putRow(rows.cells, rowStarts[place]!, rowEnds[place]!);
    next = place + 1;
  }
}

function isDefault(value: number, byDefault: number): boolean {
  return value === byDefault || (value !== value && byDefault !== byDefault);
}

/** As rows.ts has them. */
function putRow(cells: Float64Array, start: number, end: number): void {
  let from = start;
  while (from < end && cells[from] === 0) from++;
  if (from - start < ZEROS_MIN) {
    from = start;
    at = writeHead(bytes, at, 0x80, end - start);
  } else {
    at = writeHead(bytes, at, 0x80, 1 + end - from);
    at = writeHead(bytes, at, 0x80, 1);
    at = writeHead(bytes, at, 0, from - start);
  }
  while (from < end) putNumber(cells[from++]!);
}

function putNumber(value: number): void {
  if (value >>> 0 === value) at = writeHead(bytes, at, 0, value);
  else if (Number.isFinite(value)) at = writeNumber(view, bytes, at, value);
  else throw new TypeError(`Cannot encode connection: ${value} is not finite`);
}

function putAddress(address: number, addresses: Pick<AddressTable, "freezeWords">): void {
  if (!isIpv6Handle(address)) return putNumber(address >>> 0);
  addresses.freezeWords(address, words);
  at = writeHead(bytes, at, 0x40, 16);
  for (let word = 0; word < 4; word++, at += 4) view.setInt32(at, words[word]!);
}
