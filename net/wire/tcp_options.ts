import type { Slab } from "../../base/slab.ts";
import type { TcpRecord } from "./tcp.ts";

/** Option kinds (RFC 9293 section 3.1, RFC 2018, RFC 7323, RFC 5482, RFC 7413). */
export const TcpOption = {
  End: 0,
  Nop: 1,
  Mss: 2,
  WindowScale: 3,
  SackPermitted: 4,
  Sack: 5,
  Timestamp: 8,
  UserTimeout: 28,
  FastOpen: 34,
  /** Shared by experiments, which a magic number tells apart (RFC 6994). */
  Experiment: 254,
  /** RFC 9768: counters in the order ECT(0), CE, ECT(1), and in the reverse order. */
  AccEcn0: 172,
  AccEcn1: 174,
} as const;
export type TcpOption = (typeof TcpOption)[keyof typeof TcpOption];

/** RFC 7323 section 2.3: a larger shift count is used as 14. */
export const WINDOW_SCALE_MAX = 14;

/** The room for options: the data offset counts at most 15 words, five of them fixed. */
export const TCP_OPTIONS_LENGTH_MAX = 40;

// Option headers in words as Linux lays them out: kind and length after what pads them to a word.
const MSS_4 = 0x0204_0000;
export const NOP_NOP_TIMESTAMP_10 = 0x0101_080a;
const SACK_PERMITTED_2_TIMESTAMP_10 = 0x0402_080a;
const NOP_NOP_SACK_PERMITTED_2 = 0x0101_0402;
const NOP_WINDOW_SCALE_3 = 0x0103_0300;
const NOP_NOP_SACK = 0x0101_0500;
const USER_TIMEOUT_4 = 0x1c04_0000;
/** Bytes of that option. */
export const USER_TIMEOUT_LENGTH = 4;

/** The experiment's number of Fast Open. */
const FAST_OPEN_MAGIC = 0xf989;
/** RFC 7413 section 4.1.1. */
const COOKIE_LENGTH_MIN = 4;
const COOKIE_LENGTH_MAX = 16;

/**
 * Reads the options in `[start, end)` into the optional fields of `into`, which are clear.
 *
 * Unknown kinds are skipped by their length. A length that cannot be (0, 1, or beyond `end`) ends the
 * reading and keeps what was found; a known kind of the wrong length is skipped. `syn` admits the
 * options that only a SYN may carry.
 */
export function readTcpOptions(slab: Slab, start: number, end: number, syn: boolean, into: TcpRecord): void {
  const view = slab.view;
  // What nearly every segment of an established connection carries.
  if (end - start === 12 && view.getInt32(start) === NOP_NOP_TIMESTAMP_10) {
    into.hasTimestamp = true;
    into.tsVal = view.getInt32(start + 4);
    into.tsEcr = view.getInt32(start + 8);
    return;
  }
  let at = start;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === TcpOption.End) return;
    if (kind === TcpOption.Nop) {
      at++;
      continue;
    }
    if (at + 2 > end) return;
    const length = view.getUint8(at + 1);
    if (length < 2 || at + length > end) return;
    readOption(view, at, kind, length, syn, into);
    at += length;
  }
}

function readOption(
  view: DataView,
  at: number,
  kind: number,
  length: number,
  syn: boolean,
  into: TcpRecord,
): void {
  switch (kind) {
    case TcpOption.Mss:
      if (syn && length === 4) into.mss = view.getUint16(at + 2);
      break;
    case TcpOption.WindowScale:
      if (syn && length === 3) into.windowScale = Math.min(view.getUint8(at + 2), WINDOW_SCALE_MAX);
      break;
    case TcpOption.SackPermitted:
      if (syn && length === 2) into.sackPermitted = true;
      break;
    case TcpOption.Sack:
      if (length > 2 && (length - 2) % 8 === 0) { // at most four blocks fit 40 bytes
        into.sackCount = (length - 2) >>> 3;
        for (let edge = 0; edge < 2 * into.sackCount; edge++) {
          into.sackEdges[edge] = view.getInt32(at + 2 + 4 * edge);
        }
      }
      break;
    case TcpOption.Timestamp:
      if (length === 10) {
        into.hasTimestamp = true;
        into.tsVal = view.getInt32(at + 2);
        into.tsEcr = view.getInt32(at + 6);
      }
      break;
    case TcpOption.UserTimeout:
      if (length === USER_TIMEOUT_LENGTH) into.userTimeout = view.getUint16(at + 2);
      break;
    case TcpOption.FastOpen:
      if (syn) readFastOpen(view, at + 2, length - 2, false, into);
      break;
    case TcpOption.Experiment:
      if (syn && length >= 4 && view.getUint16(at + 2) === FAST_OPEN_MAGIC) {
        readFastOpen(view, at + 4, length - 4, true, into);
      }
      break;
    case TcpOption.AccEcn0:
    case TcpOption.AccEcn1:
      readAccEcn(view, at, kind, length, into);
      break;
  }
}

/** A cookie of an odd length is no option at all, one too short or too long is none that could be right. */
function readFastOpen(
  view: DataView,
  at: number,
  length: number,
  experimental: boolean,
  into: TcpRecord,
): void {
  if ((length & 1) !== 0) return;
  into.fastOpenExperimental = experimental;
  if (length !== 0 && (length < COOKIE_LENGTH_MIN || length > COOKIE_LENGTH_MAX)) {
    into.fastOpenLength = -1;
    return;
  }
  into.fastOpenLength = length;
  for (let byte = 0; byte < length; byte++) into.fastOpenCookie[byte] = view.getUint8(at + byte);
}

/** Bytes of the Fast Open option with its padding, behind `used` bytes of others; 0 when it does not fit. */
function fastOpenBytes(record: TcpRecord, used: number): number {
  if (record.fastOpenLength < 0) return 0;
  const bytes = ((record.fastOpenExperimental ? 4 : 2) + record.fastOpenLength + 3) & ~3;
  return used + bytes <= TCP_OPTIONS_LENGTH_MAX ? bytes : 0;
}

/** Where the counters of ECT(1), ECT(0) and CE stand among those of an option of kind `AccEcn1`. */
const ACC_ECN_PLACES = [0, 2, 1] as const;

function readAccEcn(view: DataView, at: number, kind: number, length: number, into: TcpRecord): void {
  const count = Math.min(3, Math.floor((length - 2) / 3));
  into.accEcnCount = count;
  for (let counter = 0; counter < 3; counter++) {
    const place = kind === TcpOption.AccEcn1 ? ACC_ECN_PLACES[counter]! : 2 - ACC_ECN_PLACES[counter]!;
    into.accEcn[counter] = place < count ? view.getUint32(at + 1 + 3 * place) & 0xff_ffff : -1;
  }
}

/** Bytes that an Accurate ECN option with `count` counters takes; before SACK blocks it stands where padding was. */
export function accEcnOptionLength(count: number, beforeSack: boolean): number {
  const length = 2 + 3 * count;
  const rest = length & 3;
  return beforeSack && rest <= 2 ? length - rest : (length + 3) & ~3;
}

/** Up to a word's end, or to where a SACK option goes on without its padding. */
function writeAccEcn(record: TcpRecord, view: DataView, at: number): number {
  const count = record.accEcnCount;
  const start = at;
  view.setUint8(at, TcpOption.AccEcn1);
  view.setUint8(at + 1, 2 + 3 * count);
  at += 2;
  for (let place = 0; place < count; place++, at += 3) {
    const counter = record.accEcn[ACC_ECN_PLACES[place]!]!; // the order is its own reverse
    view.setUint8(at, counter >>> 16);
    view.setUint16(at + 1, counter);
  }
  const end = start + accEcnOptionLength(count, record.sackCount > 0);
  const stop = end < at ? at + (at - start & 1) : end;
  while (at < stop) view.setUint8(at++, TcpOption.Nop);
  return at;
}

/** SACK blocks of `record` that fit behind `used` bytes of other options. */
function sackBlocksThatFit(record: TcpRecord, used: number): number {
  return Math.min(record.sackCount, (TCP_OPTIONS_LENGTH_MAX - used - 4) >>> 3);
}

/** Bytes that `writeTcpOptions` writes, a multiple of four up to 40. */
export function tcpOptionsLength(record: TcpRecord, syn: boolean): number {
  let length = record.hasTimestamp ? 12 : 0;
  if (record.accEcnCount >= 0) length += accEcnOptionLength(record.accEcnCount, record.sackCount > 0);
  if (syn) {
    if (record.mss > 0) length += 4;
    if (record.sackPermitted && !record.hasTimestamp) length += 4;
    if (record.windowScale >= 0) length += 4;
    length += fastOpenBytes(record, length);
  }
  if (record.userTimeout >= 0) length += USER_TIMEOUT_LENGTH;
  const blocks = record.sackCount > 0 ? sackBlocksThatFit(record, length) : 0;
  return blocks > 0 ? length + 4 + 8 * blocks : length;
}

/**
 * Writes the options of `record` at `at` in Linux's order, which tests of TCP stacks compare exactly.
 * MSS, window scale and SACK-permitted are written only when `syn`.
 *
 * @returns Where the data starts.
 */
export function writeTcpOptions(record: TcpRecord, slab: Slab, at: number, syn: boolean): number {
  const view = slab.view;
  const start = at;
  if (syn && record.mss > 0) {
    view.setInt32(at, MSS_4 | record.mss);
    at += 4;
  }
  const sackPermitted = syn && record.sackPermitted;
  if (record.hasTimestamp) {
    view.setInt32(at, sackPermitted ? SACK_PERMITTED_2_TIMESTAMP_10 : NOP_NOP_TIMESTAMP_10);
    view.setInt32(at + 4, record.tsVal);
    view.setInt32(at + 8, record.tsEcr);
    at += 12;
  }
  if (record.accEcnCount >= 0) at = writeAccEcn(record, view, at);
  if (sackPermitted && !record.hasTimestamp) {
    view.setInt32(at, NOP_NOP_SACK_PERMITTED_2);
    at += 4;
  }
  if (syn && record.windowScale >= 0) {
    view.setInt32(at, NOP_WINDOW_SCALE_3 | record.windowScale);
    at += 4;
  }
  if (syn && record.fastOpenLength >= 0) at = writeFastOpen(record, slab, at, at - start);
  if (record.userTimeout >= 0) {
    view.setInt32(at, USER_TIMEOUT_4 | record.userTimeout);
    at += USER_TIMEOUT_LENGTH;
  }
  const blocks = record.sackCount > 0 ? sackBlocksThatFit(record, (at - start) & ~3) : 0;
  if (blocks > 0) {
    const header = NOP_NOP_SACK | (2 + 8 * blocks);
    if ((at - start & 3) === 2) { // behind an option that took the place of the padding
      view.setInt16(at, header);
      at += 2;
    } else {
      view.setInt32(at, header);
      at += 4;
    }
    for (let edge = 0; edge < 2 * blocks; edge++, at += 4) view.setInt32(at, record.sackEdges[edge]!);
  }
  return at;
}

function writeFastOpen(record: TcpRecord, slab: Slab, at: number, used: number): number {
  const { view } = slab;
  const end = at + fastOpenBytes(record, used);
  if (end === at) return at;
  const { fastOpenLength: length, fastOpenExperimental: experimental } = record;
  view.setUint8(at, experimental ? TcpOption.Experiment : TcpOption.FastOpen);
  view.setUint8(at + 1, length + (experimental ? 4 : 2));
  at += 2;
  if (experimental) {
    view.setUint16(at, FAST_OPEN_MAGIC);
    at += 2;
  }
  for (let byte = 0; byte < length; byte++) view.setUint8(at++, record.fastOpenCookie[byte]!);
  while (at < end) view.setUint8(at++, TcpOption.Nop);
  return end;
}
