import { assert } from "../../base/assert.ts";
import type { ByteRing } from "../../base/ring.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { freezeBuffers, thawBuffers } from "./buffers.ts";
import type { TcpConfig } from "./config.ts";
import { freezeCongestion, thawCongestion } from "./congestion/freeze.ts";
import { newDurable } from "./durable.ts";
import { freezeEcn, thawEcn } from "./ecn.ts";
import { freezeCounters, thawCounters } from "./freeze_counters.ts";
import { freezeNumbers } from "./freeze_numbers.ts";
import { freezeOptions, thawOptions } from "./freeze_options.ts";
import { freezeRecovery, freezeSent, thawRecovery, thawSent } from "./freeze_recovery.ts";
import { RowWriter } from "./frozen_row.ts";
import {
  FROZEN_PLACES,
  FROZEN_TCB_ALWAYS,
  type FrozenDeadline,
  FrozenFlag,
  FrozenPlace,
  type FrozenTcb,
  frozenTcbDefaults,
} from "./frozen_tcb.ts";
import { freezeMtuSearch, thawMtuSearch } from "./path_mtu.ts";
import { type Tcb, type TcpError, TcpState } from "./tcb.ts";
import { freezeTooBig, thawTooBig } from "./too_big.ts";
import { freezeUrgent, thawUrgent } from "./urgent.ts";
import { freezeUserTimeout, thawUserTimeout } from "./user_timeout.ts";

/** A state for the log of a durable connection (durable.ts): nothing is said of what has been sent, or of holes. */
export interface Unsettled {
  /** Bytes at the front of the send queue and of the receive queue that the image does without. */
  readonly sentFrom: number;
  readonly unreadFrom: number;
}

/**
 * Copies the state out; `addresses` says what handles stand for, where there are any. The TCB is left as it is;
 * any state but CLOSED can be frozen, data in flight and all.
 */
export function freezeTcb(
  tcb: Tcb,
  nowMs: number,
  addresses?: Pick<AddressTable, "freeze">,
  unsettled?: Unsettled,
): FrozenTcb {
  assert(tcb.state !== TcpState.closed, "A closed connection has no state to keep");
  const atMs = Math.floor(nowMs);
  const settled = unsettled === undefined;
  const idle = freezeNumbers(tcb, atMs, settled, numbers);
  const frozen: unknown[] = [];
  for (let place = 0; place < FROZEN_PLACES; place++) {
    const number = numbers[place]!;
    frozen.push(number !== number && isNullable(place) ? null : number);
  }
  frozen[FrozenPlace.localAddress] = frozenAddress(tcb.localAddress, addresses);
  frozen[FrozenPlace.remoteAddress] = frozenAddress(tcb.remoteAddress, addresses);
  frozen[FrozenPlace.sendQueue] = queuedFrom(tcb.sendQueue, unsettled?.sentFrom ?? 0);
  frozen[FrozenPlace.receiveQueue] = queuedFrom(tcb.receiveQueue, unsettled?.unreadFrom ?? 0);
  frozen[FrozenPlace.ahead] = settled ? freezeAhead(tcb) : [];
  freezeCongestion(tcb, atMs, idle, row.clear());
  frozen[FrozenPlace.congestionState] = row.toRow();
  freezeBuffers(tcb, atMs, row.clear());
  frozen[FrozenPlace.bufferState] = row.toRow();
  freezeCounters(tcb, atMs, row.clear());
  frozen[FrozenPlace.counters] = row.toRow();
  freezeOptions(tcb, row.clear());
  frozen[FrozenPlace.options] = row.toRow();
  frozen[FrozenPlace.urgentState] = freezeUrgent(tcb);
  row.clear();
  if (settled) freezeRecovery(tcb, atMs, row);
  frozen[FrozenPlace.recoveryState] = row.toRow();
  frozen[FrozenPlace.sent] = settled ? freezeSent(tcb, atMs) : [];
  freezeEcn(tcb, atMs, row.clear());
  frozen[FrozenPlace.ecnState] = row.toRow();
  frozen[FrozenPlace.mtuState] = freezeMtuSearch(tcb, atMs);
  freezeUserTimeout(tcb, row.clear());
  frozen[FrozenPlace.userTimeoutState] = row.toRow();
  freezeTooBig(tcb, row.clear());
  frozen[FrozenPlace.tooBigState] = row.toRow();
  frozen[FrozenPlace.protocolState] = tcb.protocolState.slice();
  frozen[FrozenPlace.lent] = tcb.durable?.lent ?? NOTHING;
  return frozen as FrozenTcb;
}

/** Any other place that is no number is a mistake, and an image that holds one is refused as it is written. */
function isNullable(place: number): boolean {
  return frozenTcbDefaults[place - FROZEN_TCB_ALWAYS] === null;
}

const numbers = new Float64Array(FROZEN_PLACES);
const row = new RowWriter();

const NOTHING = new Uint8Array(0);

function deadlineMs(baseMs: number, leftMs: FrozenDeadline): number {
  return leftMs === null ? Infinity : baseMs + leftMs;
}

/** What came ahead of its time: where, as a distance from RCV.NXT, and the bytes. */
function freezeAhead({ ahead, receiveQueue }: Tcb): [number, Uint8Array][] {
  const runs: [number, Uint8Array][] = [];
  for (let at = 0; at < ahead.length; at += 2) {
    const start = ahead[at]!;
    runs.push([start, receiveQueue.placed(receiveQueue.length + start, ahead[at + 1]! - start)]);
  }
  return runs;
}

function queuedFrom(queue: ByteRing, from: number): Uint8Array {
  if (queue.length === from) return NOTHING;
  if (from === 0) return queue.toBytes();
  const bytes = new Uint8Array(queue.length - from);
  queue.copyTo(from, bytes.length, bytes, 0);
  return bytes;
}

function frozenAddress(
  address: number,
  addresses: Pick<AddressTable, "freeze"> | undefined,
): number | Uint8Array {
  if (addresses !== undefined) return addresses.freeze(address);
  assert(!isIpv6Handle(address), "A handle means nothing outside its table");
  return address >>> 0;
}

export function thawedAddress(
  frozen: number | Uint8Array,
  addresses: Pick<AddressTable, "thaw"> | undefined,
): number {
  if (addresses !== undefined) return addresses.thaw(frozen);
  assert(typeof frozen === "number", "An IPv6 address needs a table");
  return frozen | 0;
}

/**
 * Puts a frozen state into a fresh TCB at today's clock: deadlines keep their distance from the
 * moment of freezing, so that those that passed meanwhile come due at once, and the timestamp clock
 * never runs backward, even when the machine's did.
 */
export function thawTcb(
  frozen: FrozenTcb,
  tcb: Tcb,
  config: Readonly<TcpConfig>,
  nowMs: number,
  addresses?: Pick<AddressTable, "thaw">,
): void {
  const {
    0: frozenAtMs,
    1: localAddress,
    2: remoteAddress,
    3: localPort,
    4: remotePort,
    5: state,
    6: flags,
    7: sndUna,
    8: issBehind,
    9: sndWnd,
    10: sndWndMaxAbove,
    11: sndWl1Behind,
    12: sndWl2Behind,
    13: sndShift,
    14: peerMss,
    15: sndMssBelow,
    16: rcvNxt,
    17: irsBehind,
    18: rcvAdvOffset,
    19: rcvShift,
    20: tsOffset,
    21: tsRecent,
    22: tsRecentAgeMs,
    23: srttUs,
    24: rttvarUs,
    25: rtoMs,
    26: cwnd,
    27: quickAcks,
    28: idleMs,
    29: bytesIn,
    30: bytesOut,
    31: ssthresh,
    32: cwndBytesAcked,
    33: recoverAfterIss,
    34: retransmittedSegments,
    35: keepAliveIn,
    36: keepAlives,
    37: keepAliveIdleMs,
    38: keepAliveIntervalMs,
    39: keepAliveProbes,
    40: userTimeoutMs,
    41: sendBufferBytes,
    42: receiveBufferBytes,
    43: typeOfService,
    44: timeToLive,
    45: softError,
    46: delayedAckIn,
    47: lastAckSentBehind,
    48: sentAgoMs,
    50: sndMaxOffset,
    51: retransmitIn,
    52: retransmits,
    53: stuckForMs,
    54: backoff,
    58: rttAgeMs,
    59: persistIn,
    60: persists,
    61: probesUnanswered,
    62: expireIn,
    63: finAheadOffset,
    64: sendQueue,
    65: receiveQueue,
    66: ahead,
    67: congestionState,
    68: bufferState,
    69: counters,
    70: options,
    71: persistForMs,
    72: urgentState,
    73: recoveryState,
    74: sent,
    75: fastOpen,
    76: ecnState,
    77: mtuState,
    78: userTimeoutState,
    79: tooBigState,
    80: protocolState,
    81: lent,
  } = frozen; // not as a list: its iterator makes an object for each
  // A clock that was set back while we slept counts as no time passed.
  const baseMs = Math.min(frozenAtMs, nowMs);
  tcb.localAddress = thawedAddress(localAddress, addresses);
  tcb.remoteAddress = thawedAddress(remoteAddress, addresses);
  tcb.localPort = localPort;
  tcb.remotePort = remotePort;
  tcb.state = state as TcpState;
  tcb.error = 0 as TcpError;
  tcb.softError = softError;
  tcb.finQueued = (flags & FrozenFlag.finQueued) !== 0;
  tcb.finReceived = (flags & FrozenFlag.finReceived) !== 0;
  tcb.finPending = (flags & FrozenFlag.finPending) !== 0;
  tcb.timestamps = (flags & FrozenFlag.timestamps) !== 0;
  tcb.rttTiming = (flags & FrozenFlag.rttTiming) !== 0;
  tcb.ackNow = (flags & FrozenFlag.ackNow) !== 0;
  tcb.noDelay = (flags & FrozenFlag.noDelay) !== 0;
  tcb.keepAlive = (flags & FrozenFlag.keepAlive) !== 0;
  tcb.orphan = (flags & FrozenFlag.orphan) !== 0;
  tcb.wantsWritable = (flags & FrozenFlag.wantsWritable) !== 0;
  tcb.wantsDrained = (flags & FrozenFlag.wantsDrained) !== 0;
  tcb.cwndLimited = (flags & FrozenFlag.cwndLimited) !== 0;
  tcb.sackPermitted = (flags & FrozenFlag.sackPermitted) !== 0;
  tcb.interactive = (flags & FrozenFlag.interactive) !== 0;
  tcb.iss = (sndUna - issBehind) | 0;
  tcb.sndUna = sndUna | 0;
  tcb.sndMax = (sndUna + sndMaxOffset) | 0;
  tcb.sndWnd = sndWnd;
  tcb.sndWndMax = sndWnd + sndWndMaxAbove;
  tcb.sndWl1 = (rcvNxt - sndWl1Behind) | 0;
  tcb.sndWl2 = (sndUna - sndWl2Behind) | 0;
  tcb.sndShift = sndShift;
  tcb.sndMss = peerMss - sndMssBelow;
  tcb.peerMss = peerMss;
  tcb.irs = (rcvNxt - irsBehind) | 0;
  tcb.rcvNxt = rcvNxt | 0;
  tcb.rcvAdv = (rcvNxt + rcvAdvOffset) | 0;
  tcb.rcvShift = rcvShift;
  tcb.lastAckSent = (rcvNxt - lastAckSentBehind) | 0;
  tcb.finAhead = (rcvNxt + finAheadOffset) | 0;
  tcb.tsOffset = tsOffset | 0;
  if (nowMs < frozenAtMs) tcb.tsOffset = (tsOffset + frozenAtMs - Math.floor(nowMs)) | 0;
  tcb.tsRecent = tsRecent | 0;
  tcb.tsRecentAtMs = baseMs - tsRecentAgeMs;
  tcb.srttUs = srttUs;
  tcb.rttvarUs = rttvarUs;
  tcb.rtoMs = Math.min(rtoMs, config.rtoMaxMs);
  tcb.backoff = backoff;
  tcb.rttStartMs = baseMs - rttAgeMs;
  tcb.cwnd = cwnd;
  tcb.ssthresh = ssthresh;
  tcb.cwndBytesAcked = cwndBytesAcked;
  thawCongestion(congestionState, tcb, baseMs);
  tcb.persistSinceMs = baseMs - persistForMs;
  tcb.fastOpen = fastOpen;
  thawSent(sent, tcb, tcb.finQueued && sndMaxOffset > sendQueue.length, baseMs);
  tcb.highSeq = (tcb.iss + recoverAfterIss) | 0;
  tcb.retransmitAtMs = deadlineMs(baseMs, retransmitIn);
  thawRecovery(recoveryState, tcb, config, baseMs);
  tcb.persistAtMs = deadlineMs(baseMs, persistIn);
  tcb.delayedAckAtMs = deadlineMs(baseMs, delayedAckIn);
  tcb.keepAliveAtMs = deadlineMs(baseMs, keepAliveIn);
  tcb.expireAtMs = deadlineMs(baseMs, expireIn);
  tcb.retransmits = retransmits;
  tcb.persists = persists;
  tcb.probesUnanswered = probesUnanswered;
  tcb.keepAlives = keepAlives;
  tcb.stuckSinceMs = baseMs - stuckForMs;
  tcb.quickAcks = quickAcks;
  tcb.keepAliveIdleMs = keepAliveIdleMs;
  tcb.keepAliveIntervalMs = keepAliveIntervalMs;
  tcb.keepAliveProbes = keepAliveProbes;
  tcb.userTimeoutMs = userTimeoutMs;
  tcb.typeOfService = typeOfService;
  tcb.timeToLive = timeToLive;
  thawBuffers(bufferState, sendBufferBytes, receiveBufferBytes, tcb, baseMs);
  tcb.lastActivityMs = baseMs - idleMs;
  tcb.lastSentMs = sentAgoMs === null ? -Infinity : baseMs - sentAgoMs;
  tcb.bytesIn = bytesIn;
  tcb.bytesOut = bytesOut;
  tcb.retransmittedSegments = retransmittedSegments;
  thawCounters(counters, tcb, baseMs);
  thawOptions(options, tcb);
  thawUrgent(urgentState, tcb);
  thawEcn(ecnState, tcb, frozenAtMs);
  thawMtuSearch(mtuState, tcb, baseMs);
  thawUserTimeout(userTimeoutState, tcb);
  thawTooBig(tooBigState, (flags & FrozenFlag.fullSegmentProven) !== 0, tcb);
  tcb.protocolState = protocolState;
  tcb.sendQueue.clear();
  tcb.sendQueue.append(sendQueue, 0, sendQueue.length);
  tcb.receiveQueue.clear();
  tcb.receiveQueue.append(receiveQueue, 0, receiveQueue.length);
  tcb.ahead.length = 0;
  for (const [offset, bytes] of ahead) {
    tcb.receiveQueue.place(tcb.receiveQueue.length + offset, bytes, 0, bytes.length);
    tcb.ahead.push(offset, offset + bytes.length);
  }
  if ((flags & FrozenFlag.durable) === 0) return;
  tcb.durable = newDurable(tcb);
  tcb.durable.lent = lent.slice();
}
