import { frozenReceiveBytes } from "../tcp/buffers.ts";
import { mayShow } from "../tcp/freeze_recovery.ts";
import { FrozenFlag, type FrozenTcb, frozenTcbFields } from "../tcp/frozen_tcb.ts";
import { peekWindow, type WindowState } from "../tcp/output.ts";
import { TcpState } from "../tcp/tcb.ts";
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
  const {
    0: frozenAtMs,
    1: localAddress,
    2: remoteAddress,
    3: localPort,
    4: remotePort,
    6: flags,
    7: sndUna,
  } = frozen;
  into.fill(0, at, at + SUMMARY_WORDS);
  let kind = putAddress(localAddress, into, at + Summary.localAddress, at + Summary.localPrefix);
  kind |= putAddress(remoteAddress, into, at + Summary.remoteAddress, at + Summary.remotePrefix);
  into[at + Summary.ports] = (localPort << 16) | remotePort;
  if (!isQuiet(frozen)) {
    into[at + Summary.tag] = LAYOUT | kind | SummaryKind.keyOnly;
    return;
  }
  const place = PLACES;
  const sndShift = frozen[place.sndShift] as number;
  const rcvShift = frozen[place.rcvShift] as number;
  const rcvNxt = frozen[place.rcvNxt] as number;
  const promised = frozen[place.rcvAdvOffset] as number;
  receiver.rcvShift = rcvShift;
  receiver.rcvNxt = rcvNxt | 0;
  receiver.rcvAdv = (rcvNxt + promised) | 0;
  receiver.peerMss = frozen[place.peerMss] as number;
  receiver.receiveBufferBytes = frozenReceiveBytes(
    frozen[place.bufferState] as number[],
    frozen[place.receiveBufferBytes] as number,
  );
  const field = peekWindow(receiver);
  const keepAlive = (flags & FrozenFlag.keepAlive) !== 0;
  const askIn = frozen[place.keepAliveIn] as number | null;
  const frozenAtS = Math.ceil(frozenAtMs / 1000);
  const askAt = (askIn ?? 0) + frozenAtMs - 1000 * frozenAtS;
  const idleMs = frozen[place.keepAliveIdleMs] as number;
  const intervalMs = frozen[place.keepAliveIntervalMs] as number;
  const fits = frozenAtS <= INT32_MAX && Math.abs(askAt) <= INT32_MAX && idleMs <= INT32_MAX &&
    intervalMs <= INT32_MAX;
  if (!fits || (askIn !== null && !keepAlive) || field << Math.max(rcvShift, 0) < promised) {
    into[at + Summary.tag] = LAYOUT | kind | SummaryKind.keyOnly;
    return;
  }
  if (askIn !== null) kind |= SummaryKind.asked;
  into[at + Summary.tag] = LAYOUT | kind;
  into[at + Summary.meta] = metaOf(
    ((flags & FrozenFlag.timestamps) !== 0 ? Asleep.timestamps : 0) | (keepAlive ? Asleep.keepAlive : 0) |
      ((flags & FrozenFlag.sackPermitted) !== 0 ? Asleep.sack : 0),
    sndShift,
    rcvShift,
    frozenAtMs - (frozen[place.tsRecentAgeMs] as number),
  );
  into[at + Summary.sndNxt] = sndUna | 0;
  into[at + Summary.rcvNxt] = rcvNxt | 0;
  into[at + Summary.windows] = (((frozen[place.sndWnd] as number) >>> sndShift) << 16) | field;
  into[at + Summary.tsRecent] = (frozen[place.tsRecent] as number) | 0;
  into[at + Summary.tsOffset] = (frozen[place.tsOffset] as number) | 0;
  into[at + Summary.frozenAtS] = frozenAtS;
  if (!keepAlive) return;
  into[at + Summary.askAt] = askAt;
  into[at + Summary.keepAliveIdleMs] = idleMs;
  into[at + Summary.keepAliveIntervalMs] = intervalMs;
  into[at + Summary.keepAliveProbes] = frozen[place.keepAliveProbes] as number;
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

/** What `sleepRecord` finds neither busy nor unusual, and no timer is running for. */
function isQuiet(frozen: FrozenTcb): boolean {
  const place = PLACES;
  const state = frozen[place.state];
  const ecnBits = (frozen[place.ecnState] as number[])[0] ?? 0;
  return state === TcpState.established && (frozen[place.receiveQueue] as Uint8Array).length === 0 &&
    ((frozen[place.flags] as number) & BUSY_FLAGS) === 0 &&
    frozen[place.softError] === 0 && frozen[place.lastAckSentBehind] === 0 &&
    (frozen[place.sndWl1Behind] as number) >= 0 && frozen[place.sndMaxOffset] === 0 &&
    (frozen[place.sendQueue] as Uint8Array).length === 0 && (frozen[place.lent] as Uint8Array).length === 0 &&
    (frozen[place.protocolState] as number[]).length === 0 &&
    (frozen[place.ahead] as unknown[]).length === 0 &&
    !mayShow(frozen[place.recoveryState] as number[]) &&
    (frozen[place.ecnState] as number[]).length <= 2 && (ecnBits & ECN_ECHO) === 0 &&
    frozen[place.typeOfService] === 0 && frozen[place.timeToLive] === 64 &&
    ((frozen[place.options] as number[])[NO_PATH_MTU_DISCOVERY] ?? 0) === 0 &&
    frozen[place.userTimeoutMs] === 0 && (frozen[place.userTimeoutState] as number[]).length === 0 &&
    frozen[place.retransmitIn] === null && frozen[place.persistIn] === null &&
    frozen[place.delayedAckIn] === null && frozen[place.expireIn] === null;
}

/** In `ecnState` (ecn.ts), and in `options` (freeze_options.ts). */
const ECN_ECHO = 4;
const NO_PATH_MTU_DISCOVERY = 6;
