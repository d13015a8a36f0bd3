import type { AddressTable } from "../ip/address_table.ts";
import { frozenReceiveBytes } from "../tcp/buffers.ts";
import { mayShow } from "../tcp/freeze_recovery.ts";
import { FROZEN_PLACES, FrozenFlag, type FrozenTcb, frozenTcbFields } from "../tcp/frozen_tcb.ts";
import { peekWindow, type WindowState } from "../tcp/output.ts";
import { type Tcb, TcpState } from "../tcp/tcb.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { Asleep, metaOf } from "./slot.ts";

/**
 * The words of a summary: what a later process enters into the connection map for a sleeper, without its image. They
 * are those of the record (slot.ts), and what is beside it.
 */
export const Summary = {
  /** The layout's number << 8, and {@linkcode SummaryKind}. */
  tag: 0,
  /** An IPv4 address, or the last word of an IPv6 address. */
  localAddress: 1,
  remoteAddress: 2,
  ports: 3,
  meta: 4,
  sndNxt: 5,
  rcvNxt: 6,
  windows: 7,
  tsRecent: 8,
  tsOffset: 9,
  /** When the image was made: seconds of the epoch, rounded up. */
  frozenAtS: 10,
  /** The keep-alive's next probe, in milliseconds from then; with {@linkcode SummaryKind.asked}. */
  askAt: 11,
  keepAliveIdleMs: 12,
  keepAliveIntervalMs: 13,
  keepAliveProbes: 14,
  /** The first three words of IPv6 addresses, as images have them. */
  localPrefix: 15,
  remotePrefix: 18,
} as const;
/** Words of one summary. */
export const SUMMARY_WORDS = 21;

const LAYOUT = 1 << 8;
export const SummaryKind = {
  /** Only the key is there: what the connection is, its image knows. */
  keyOnly: 1,
  ipv6: 2,
  asked: 4,
} as const;

const INT32_MAX = 2 ** 31 - 1;
const at = (name: string): number => frozenTcbFields.indexOf(name);
/** Places in a frozen TCB; by destructuring, all of it would be copied. */
const PLACES = {
  frozenAtMs: at("frozenAtMs"),
  sndUna: at("sndUna"),
  state: at("state"),
  flags: at("flags"),
  sndWnd: at("sndWnd"),
  sndWl1Behind: at("sndWl1Behind"),
  sndShift: at("sndShift"),
  peerMss: at("peerMss"),
  rcvNxt: at("rcvNxt"),
  rcvAdvOffset: at("rcvAdvOffset"),
  rcvShift: at("rcvShift"),
  tsOffset: at("tsOffset"),
  tsRecent: at("tsRecent"),
  tsRecentAgeMs: at("tsRecentAgeMs"),
  keepAliveIn: at("keepAliveIn"),
  keepAliveIdleMs: at("keepAliveIdleMs"),
  keepAliveIntervalMs: at("keepAliveIntervalMs"),
  keepAliveProbes: at("keepAliveProbes"),
  userTimeoutMs: at("userTimeoutMs"),
  receiveBufferBytes: at("receiveBufferBytes"),
  typeOfService: at("typeOfService"),
  timeToLive: at("timeToLive"),
  softError: at("softError"),
  delayedAckIn: at("delayedAckIn"),
  lastAckSentBehind: at("lastAckSentBehind"),
  sndMaxOffset: at("sndMaxOffset"),
  retransmitIn: at("retransmitIn"),
  persistIn: at("persistIn"),
  expireIn: at("expireIn"),
  sendQueue: at("sendQueue"),
  receiveQueue: at("receiveQueue"),
  ahead: at("ahead"),
  bufferState: at("bufferState"),
  options: at("options"),
  recoveryState: at("recoveryState"),
  ecnState: at("ecnState"),
  userTimeoutState: at("userTimeoutState"),
  protocolState: at("protocolState"),
  lent: at("lent"),
};
/** What else a connection may be doing. */
const BUSY_FLAGS = FrozenFlag.finQueued | FrozenFlag.finPending | FrozenFlag.ackNow | FrozenFlag.orphan |
  FrozenFlag.durable; // what a log has may be behind what the peer has seen

/** The kind of a summary; -1 when it is none, or one that another Torpor wrote. */
export function summaryKind(tag: number): number {
  return (tag & ~0xff) === LAYOUT ? tag & 0xff : -1;
}

const window = { rcvShift: 0, rcvAdv: 0, rcvNxt: 0, peerMss: 0, receiveBufferBytes: 0, memory: undefined };
const receiver: WindowState & typeof window = { ...window, receiveQueue: { length: 0 } };

/**
 * Writes the summary of a frozen connection at `at`. One that is quiet (nothing is under way, nothing waits to be
 * read, and no timer of it but the keep-alive's is running) gets all of its record; the others, which are few, their key.
 */
export function summarize(frozen: FrozenTcb, into: Int32Array, at = 0): void {
  const { 1: localAddress, 2: remoteAddress, 3: localPort, 4: remotePort } = frozen;
  into.fill(0, at, at + SUMMARY_WORDS);
  let kind = putAddress(localAddress, into, at + Summary.localAddress, at + Summary.localPrefix);
  kind |= putAddress(remoteAddress, into, at + Summary.remoteAddress, at + Summary.remotePrefix);
  into[at + Summary.ports] = (localPort << 16) | remotePort;
  for (let place = 0; place < numbers.length; place++) numbers[place] = asNumber(frozen[place]);
  const { bufferState, receiveBufferBytes } = PLACES;
  const receiveBytes = frozenReceiveBytes(
    frozen[bufferState] as number[],
    frozen[receiveBufferBytes] as number,
  );
  if (isQuiet(frozen) && isStill(numbers)) putRecord(numbers, receiveBytes, kind, into, at);
  else into[at + Summary.tag] = LAYOUT | kind | SummaryKind.keyOnly;
}

/** The places of a frozen connection that are numbers; NaN for `null`, and for the others. */
const numbers = new Float64Array(FROZEN_PLACES);

function asNumber(value: unknown): number {
  return typeof value === "number" ? value : NaN;
}

/** As `summarize`, of what `freezeQuiet` has written of `tcb`. */
export function summarizeQuiet(
  tcb: Tcb,
  from: Float64Array,
  addresses: Pick<AddressTable, "freezeWords">,
  into: Int32Array,
  at: number,
): void {
  const { localAddress, remoteAddress } = tcb;
  into.fill(0, at, at + SUMMARY_WORDS);
  into[at + Summary.ports] = (tcb.localPort << 16) | tcb.remotePort;
  let kind = 0;
  if (isIpv6Handle(localAddress)) {
    kind = SummaryKind.ipv6;
    addresses.freezeWords(localAddress, words);
    putWords(into, at + Summary.localAddress, at + Summary.localPrefix);
    addresses.freezeWords(remoteAddress, words);
    putWords(into, at + Summary.remoteAddress, at + Summary.remotePrefix);
  } else {
    into[at + Summary.localAddress] = localAddress;
    into[at + Summary.remoteAddress] = remoteAddress;
  }
  const shows = tcb.probeOut || tcb.dsackPending || tcb.ecnEcho || !tcb.pathMtuDiscovery ||
    tcb.userTimeoutOption || tcb.userTimeoutAdvertisedMs + tcb.userTimeoutHeardMs + tcb.userTimeoutNews !== 0;
  if (!shows && isStill(from)) putRecord(from, tcb.receiveBufferBytes, kind, into, at);
  else into[at + Summary.tag] = LAYOUT | kind | SummaryKind.keyOnly;
}

const words = new Int32Array(4);

function putWords(into: Int32Array, word: number, prefix: number): void {
  for (let at = 0; at < 3; at++) into[prefix + at] = words[at]!;
  into[word] = words[3]!;
}

/** The record of a quiet connection, from its places that are numbers. */
function putRecord(
  from: Float64Array,
  receiveBytes: number,
  kind: number,
  into: Int32Array,
  at: number,
): void {
  const place = PLACES;
  const frozenAtMs = from[place.frozenAtMs]!;
  const flags = from[place.flags]!;
  const sndShift = from[place.sndShift]!;
  const rcvShift = from[place.rcvShift]!;
  const rcvNxt = from[place.rcvNxt]!;
  const promised = from[place.rcvAdvOffset]!;
  receiver.rcvShift = rcvShift;
  receiver.rcvNxt = rcvNxt | 0;
  receiver.rcvAdv = (rcvNxt + promised) | 0;
  receiver.peerMss = from[place.peerMss]!;
  receiver.receiveBufferBytes = receiveBytes;
  const field = peekWindow(receiver);
  const keepAlive = (flags & FrozenFlag.keepAlive) !== 0;
  const askIn = from[place.keepAliveIn]!;
  const frozenAtS = Math.ceil(frozenAtMs / 1000);
  const asks = !Number.isNaN(askIn);
  const askAt = (asks ? askIn : 0) + frozenAtMs - 1000 * frozenAtS;
  const idleMs = from[place.keepAliveIdleMs]!;
  const intervalMs = from[place.keepAliveIntervalMs]!;
  const fits = frozenAtS <= INT32_MAX && Math.abs(askAt) <= INT32_MAX && idleMs <= INT32_MAX &&
    intervalMs <= INT32_MAX;
  if (!fits || (asks && !keepAlive) || field << Math.max(rcvShift, 0) < promised) {
    into[at + Summary.tag] = LAYOUT | kind | SummaryKind.keyOnly;
    return;
  }
  if (asks) kind |= SummaryKind.asked;
  into[at + Summary.tag] = LAYOUT | kind;
  into[at + Summary.meta] = metaOf(
    ((flags & FrozenFlag.timestamps) !== 0 ? Asleep.timestamps : 0) | (keepAlive ? Asleep.keepAlive : 0) |
      ((flags & FrozenFlag.sackPermitted) !== 0 ? Asleep.sack : 0),
    sndShift,
    rcvShift,
    frozenAtMs - from[place.tsRecentAgeMs]!,
  );
  into[at + Summary.sndNxt] = from[place.sndUna]! | 0;
  into[at + Summary.rcvNxt] = rcvNxt | 0;
  into[at + Summary.windows] = ((from[place.sndWnd]! >>> sndShift) << 16) | field;
  into[at + Summary.tsRecent] = from[place.tsRecent]! | 0;
  into[at + Summary.tsOffset] = from[place.tsOffset]! | 0;
  into[at + Summary.frozenAtS] = frozenAtS;
  if (!keepAlive) return;
  into[at + Summary.askAt] = askAt;
  into[at + Summary.keepAliveIdleMs] = idleMs;
  into[at + Summary.keepAliveIntervalMs] = intervalMs;
  into[at + Summary.keepAliveProbes] = from[place.keepAliveProbes]!;
}

/** The beginning of the frozen connection that a summary is of: all that its key is made of. */
export function summarizedKey(words: Int32Array): FrozenTcb {
  const ipv6 = (words[Summary.tag]! & SummaryKind.ipv6) !== 0;
  const address = (word: number, prefix: number): number | Uint8Array => {
    if (!ipv6) return words[word]! >>> 0;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 3; at++) view.setInt32(4 * at, words[prefix + at]!);
    view.setInt32(12, words[word]!);
    return bytes;
  };
  const ports = words[Summary.ports]!;
  return [
    0,
    address(Summary.localAddress, Summary.localPrefix),
    address(Summary.remoteAddress, Summary.remotePrefix),
    ports >>> 16,
    ports & 0xffff,
  ] as unknown as FrozenTcb;
}

function putAddress(address: number | Uint8Array, into: Int32Array, word: number, prefix: number): number {
  if (typeof address === "number") {
    into[word] = address | 0;
    return 0;
  }
  const view = new DataView(address.buffer, address.byteOffset, 16);
  for (let at = 0; at < 3; at++) into[prefix + at] = view.getInt32(4 * at);
  into[word] = view.getInt32(12);
  return SummaryKind.ipv6;
}

/** What `sleepRecord` finds neither busy nor unusual, by all that is no number. */
function isQuiet(frozen: FrozenTcb): boolean {
  const place = PLACES;
  const ecnBits = (frozen[place.ecnState] as number[])[0] ?? 0;
  return (frozen[place.receiveQueue] as Uint8Array).length === 0 &&
    (frozen[place.sendQueue] as Uint8Array).length === 0 && (frozen[place.lent] as Uint8Array).length === 0 &&
    (frozen[place.protocolState] as number[]).length === 0 &&
    (frozen[place.ahead] as unknown[]).length === 0 &&
    !mayShow(frozen[place.recoveryState] as number[]) &&
    (frozen[place.ecnState] as number[]).length <= 2 && (ecnBits & ECN_ECHO) === 0 &&
    ((frozen[place.options] as number[])[NO_PATH_MTU_DISCOVERY] ?? 0) === 0 &&
    (frozen[place.userTimeoutState] as number[]).length === 0;
}

/** And by its numbers; no timer is running for it, either. */
function isStill(from: Float64Array): boolean {
  const place = PLACES;
  return from[place.state] === TcpState.established && (from[place.flags]! & BUSY_FLAGS) === 0 &&
    from[place.softError] === 0 && from[place.lastAckSentBehind] === 0 && from[place.sndWl1Behind]! >= 0 &&
    from[place.sndMaxOffset] === 0 && from[place.typeOfService] === 0 && from[place.timeToLive] === 64 &&
    from[place.userTimeoutMs] === 0 && Number.isNaN(from[place.retransmitIn]) &&
    Number.isNaN(from[place.persistIn]) && Number.isNaN(from[place.delayedAckIn]) &&
    Number.isNaN(from[place.expireIn]);
}

/** In `ecnState` (ecn.ts), and in `options` (freeze_options.ts). */
const ECN_ECHO = 4;
const NO_PATH_MTU_DISCOVERY = 6;
