import { CONGESTION_CONTROLS } from "../../net/tcp/congestion/congestion.ts";
import { type FrozenBatch, FrozenRow } from "../../net/tcp/frozen_batch.ts";
import {
  FROZEN_PLACES,
  FROZEN_TCB_ALWAYS,
  FrozenFlag,
  FrozenPlace,
  frozenTcbDefaults,
  frozenTcbFields,
} from "../../net/tcp/frozen_tcb.ts";
import { CaState, RetransmitTimer, TcpState } from "../../net/tcp/tcb.ts";
import { decodeCbor } from "../image/cbor.ts";
import { CborError } from "../image/cbor_head.ts";
import { scanCbor } from "../image/cbor_scan.ts";
import { Kind } from "../image/kinds.ts";
import { numberRange } from "./check.ts";
import { plain } from "./plain.ts";
import { ZEROS_MAX, ZEROS_MIN } from "./rows.ts";

/** What a place may hold in a quiet connection. */
const NUMBER = 0, ADDRESS = 1, ROW = 2, NOTHING = 3;
const FORMS = new Uint8Array(FROZEN_PLACES).fill(NUMBER);
/** By place: which row it is. */
const ROW_OF = new Uint8Array(FROZEN_PLACES);
/** By place, NaN for `null`; of places that are no number, too. */
const DEFAULTS = new Float64Array(FROZEN_PLACES).fill(NaN);
/** By place: what a number may be, and whether it may be `null`. */
const LEAST = new Float64Array(FROZEN_PLACES).fill(-Infinity);
const MOST = new Float64Array(FROZEN_PLACES).fill(Infinity);
const NULLABLE = new Uint8Array(FROZEN_PLACES);
for (let place = 0; place < FROZEN_PLACES; place++) {
  const standard = frozenTcbDefaults[place - FROZEN_TCB_ALWAYS];
  if (typeof standard === "number") DEFAULTS[place] = standard;
  else if (typeof standard === "object" && standard !== null) FORMS[place] = NOTHING;
  const range = numberRange(place);
  if (range === undefined) continue;
  [LEAST[place], MOST[place]] = range.range;
  NULLABLE[place] = range.nullable ? 1 : 0;
}
for (const [name, row] of Object.entries(FrozenRow)) {
  const place = FrozenPlace[name as keyof typeof FrozenRow];
  FORMS[place] = ROW;
  ROW_OF[place] = row;
}
for (const place of [FrozenPlace.localAddress, FrozenPlace.remoteAddress]) {
  FORMS[place] = ADDRESS;
  [LEAST[place], MOST[place]] = [0, 0xffff_ffff];
}

const place = (name: string): number => frozenTcbFields.indexOf(name);
const STATE = place("state"), FLAGS = place("flags"), SND_MAX = place("sndMaxOffset");
const PEER_MSS = place("peerMss"), MSS_BELOW = place("sndMssBelow");
/** Numbers of rows that a quiet connection has at most: behind them stands what only some have. */
const OPTIONS_MAX = 8, RECOVERY_MAX = 33, ECN_MAX = 2;
/** Places in `recoveryState` (freeze_recovery.ts). */
const CA_STATE = 8, TIMER = 9, FLYING = [10, 11, 12];
const TIMER_MAX = Math.max(...Object.values(RetransmitTimer));

/** What is attached to a connection: `undefined` when nothing is. */
export interface Attached {
  attachment: unknown;
}

const item = new Float64Array(1);

/**
 * Reads the image of a quiet connection, as `putQuiet` writes it (encode_quiet.ts) and a store keeps it, into the place
 * of a batch that is selected: what `decodeSocket` and `mistakeIn` make of it, without any of their objects. Of every
 * other image, and of whatever is not as it should be, it knows nothing, and the long way says what it is.
 *
 * @returns Whether it is such an image; else what is in the place of the batch means nothing.
 */
export function takeQuiet(
  bytes: Uint8Array,
  start: number,
  end: number,
  version: number,
  into: FrozenBatch,
  attached: Attached,
): boolean {
  if (bytes[start] !== Kind.Socket || bytes[start + 1] !== version || version > 23) return false;
  let at = start + 2;
  let length = bytes[at++]! - 0x40;
  if (length === 24) length = bytes[at++]!;
  else if (length === 25) {
    length = (bytes[at]! << 8) | bytes[at + 1]!;
    at += 2;
    if (length < 256) return false;
  } else return false; // shorter than any connection
  if (length < 24 || at + length !== end) return false;
  if (bytes[at++] !== 0x98) return false;
  const fields = bytes[at++]! - FROZEN_TCB_ALWAYS;
  if (fields !== 1 && fields !== 2) return false;
  into.numbers.set(DEFAULTS, into.numbersAt);
  into.clearRows();
  at = takeAlways(bytes, at, into);
  if (at < 0) return false;
  const initial = bytes[at++]!;
  attached.attachment = undefined;
  if (initial === 0x81) {
    try {
      const next = scanCbor(bytes, at, end).end;
      attached.attachment = plain(decodeCbor(bytes.subarray(at, next)));
      at = next;
    } catch (error) {
      if (!(error instanceof CborError)) throw error;
      return false;
    }
  } else if (initial !== 0x80) return false;
  if (fields === 2) at = takeLater(bytes, at, into);
  return at === end && isSound(into);
}

function takeAlways(bytes: Uint8Array, start: number, into: FrozenBatch): number {
  const { numbers, numbersAt } = into;
  let at = start;
  for (let place = 0; place < FROZEN_TCB_ALWAYS; place++) {
    if (FORMS[place] === ADDRESS && bytes[at] === 0x50) {
      let word = into.addressesAt + (place === FrozenPlace.localAddress ? 0 : 4);
      const behind = at + 17;
      for (at++; at < behind; at += 4) into.addresses[word++] = uint32At(bytes, at) | 0;
      numbers[numbersAt + place] = NaN;
      continue;
    }
    const initial = bytes[at]!;
    if (initial < 24) { // as most are
      numbers[numbersAt + place] = initial;
      at++;
      continue;
    }
    at = takeNumber(bytes, at, numbers, numbersAt + place);
    if (at < 0) return -1;
  }
  return at;
}

function takeLater(bytes: Uint8Array, start: number, into: FrozenBatch): number {
  let at = start;
  let items = bytes[at++]! - 0x80;
  if (items === 24) {
    items = bytes[at++]!;
    if (items < 24) return -1;
  } else if (items < 0 || items > 23) return -1;
  if (items % 2 !== 0) return -1;
  let cell = into.cellsAt;
  for (let place = FROZEN_TCB_ALWAYS; items > 0; items -= 2, place++) {
    at = takeNumber(bytes, at, item, 0);
    if (at < 0 || !(item[0]! >= 0)) return -1;
    place += item[0]!;
    if (place >= FROZEN_PLACES) return -1;
    const form = FORMS[place]!;
    if (form === ROW) {
      const row = into.rowsAt + ROW_OF[place]!;
      into.rowStarts[row] = cell;
      at = takeRow(bytes, at, into, row);
      cell = into.rowEnds[row]!;
    } else if (form !== NUMBER) return -1;
    else if (bytes[at] === 0xf6) {
      into.numbers[into.numbersAt + place] = NaN;
      at++;
    } else at = takeNumber(bytes, at, into.numbers, into.numbersAt + place);
    if (at < 0) return -1;
  }
  return at;
}

/** A row, as rows.ts has them, behind the row before. */
function takeRow(bytes: Uint8Array, start: number, into: FrozenBatch, row: number): number {
  const { cells } = into;
  let at = start;
  let count = bytes[at++]! - 0x80;
  if (count === 24) {
    count = bytes[at++]!;
    if (count < 24) return -1;
  } else if (count < 0 || count > 23) return -1;
  let to = into.rowStarts[row]!;
  const first = to;
  const limit = into.cellsAt + into.cellsMax;
  if (count > 0 && bytes[at] === 0x81) {
    at = takeNumber(bytes, at + 1, item, 0);
    const zeros = item[0]!;
    if (at < 0 || !(zeros >= ZEROS_MIN && zeros <= ZEROS_MAX) || to + zeros > limit || bytes[at] === 0) {
      return -1;
    }
    for (const behind = to + zeros; to < behind;) cells[to++] = 0;
    count--;
  }
  if (to + count > limit) return -1;
  const counted = to > first;
  for (const behind = to + count; to < behind; to++) {
    const initial = bytes[at]!;
    if (initial < 24) {
      cells[to] = initial;
      at++;
    } else {
      at = takeNumber(bytes, at, cells, to);
      if (at < 0) return -1;
    }
  }
  into.rowEnds[row] = to;
  // Zeros that were not counted, where they would have been.
  const zero = to - first >= ZEROS_MIN && cells[first] === 0 && cells[first + 1] === 0 &&
    cells[first + 2] === 0;
  return zero && !counted ? -1 : at;
}

/** A whole number, in the one form that it may have. @returns The byte after it; -1 for everything else. */
function takeNumber(bytes: Uint8Array, at: number, into: Float64Array, to: number): number {
  const initial = bytes[at]!;
  const negative = initial >= 0x20;
  const form = negative ? initial - 0x20 : initial;
  let value: number;
  let next = at + 1;
  if (form < 24) value = form;
  else if (form === 24) {
    value = bytes[next++]!;
    if (value < 24) return -1;
  } else if (form === 25) {
    value = (bytes[next]! << 8) | bytes[next + 1]!;
    next += 2;
    if (value < 0x100) return -1;
  } else if (form === 26) {
    value = uint32At(bytes, next);
    next += 4;
    if (value < 0x1_0000) return -1;
  } else if (form === 27) {
    value = uint32At(bytes, next) * 0x1_0000_0000 + uint32At(bytes, next + 4);
    next += 8;
    if (value < 0x1_0000_0000 || value >= Number.MAX_SAFE_INTEGER) return -1;
  } else return -1;
  into[to] = negative ? -1 - value : value;
  return next;
}

function uint32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** As `mistakeIn`, of one that is quiet: what is neither is left to that. */
function isSound(into: FrozenBatch): boolean {
  const { numbers, numbersAt } = into;
  for (let place = 0; place < FROZEN_PLACES; place++) {
    const value = numbers[numbersAt + place]!;
    if (value >= LEAST[place]! && value <= MOST[place]!) continue;
    if (value === value || (FORMS[place] === NUMBER && NULLABLE[place] === 0)) return false;
  }
  const flags = numbers[numbersAt + FLAGS]! | 0;
  const mss = numbers[numbersAt + PEER_MSS]! - numbers[numbersAt + MSS_BELOW]!;
  if (numbers[numbersAt + STATE] !== TcpState.established || (flags & FrozenFlag.durable) !== 0) return false;
  if (numbers[numbersAt + SND_MAX] !== 0 || mss < 1 || mss > 0xffff) return false;
  const congestion = into.cell(FrozenRow.congestionState, 0);
  if (congestion < 0 || congestion >= CONGESTION_CONTROLS.length) return false;
  if (into.rowLength(FrozenRow.options) > OPTIONS_MAX || into.rowLength(FrozenRow.ecnState) > ECN_MAX) {
    return false;
  }
  const recovery = into.rowLength(FrozenRow.recoveryState);
  if (recovery === 0 || recovery > RECOVERY_MAX) return false; // of before there was one, or with blocks to report
  for (const place of FLYING) if (into.cell(FrozenRow.recoveryState, place) !== 0) return false;
  const caState = into.cell(FrozenRow.recoveryState, CA_STATE);
  const timer = into.cell(FrozenRow.recoveryState, TIMER);
  return caState >= 0 && caState <= CaState.loss && timer >= 0 && timer <= TIMER_MAX;
}
