import { copied, Copies } from "../../base/copies.ts";
import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { sendingAgain, validateWindow } from "./congestion/window.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { TCP_HEADER_BYTES_MAX, TCP_HEADER_LENGTH, TcpFlag, type TcpRecord, writeTcp } from "../wire/tcp.ts";
import { type AccEcn, accEcnFit, accEcnMark, writeAccEcn } from "./acc_ecn.ts";
import { watchLimit } from "./counters.ts";
import { ackSent, watchDataSent } from "./delayed_ack.ts";
import { ackWaits, type Durable, watchLog } from "./durable.ts";
import { type FastOpenOption, FastOpenState } from "./fast_open.ts";
import { Ecn, ecnEchoFlag, ecnSynFlags, markNewData } from "./ecn.ts";
import { accEcnOptionLength } from "../wire/tcp_options.ts";
import { pathChanged, probePathMtu, ProbeResult } from "./path_mtu.ts";
import { bytesOfRecord, takeRecordEnd } from "./records.ts";
import { enterCwr } from "./recovery.ts";
import { inCwndReduction } from "./reduction.ts";
import { rearmTimeout, scheduleLossProbe } from "./rto.ts";
import { sackBlocksToSend, writeSackBlocks } from "./sack_blocks.ts";
import { tellWritable } from "./send_buffer.ts";
import { Sent } from "./sent_queue.ts";
import { isShortSegment, sendShortSegment } from "./short_segment.ts";
import {
  cwndPackets,
  finReady,
  finSent,
  flightSize,
  packetsInFlight,
  Push,
  RetransmitTimer,
  sendLimit,
  sentStampMs,
  type Tcb,
  TcpState,
} from "./tcb.ts";
import type { Tcp, TransportOutput } from "./tcp.ts";
import { userTimeoutMs, writeUserTimeout, writeUserTimeoutSyn } from "./user_timeout.ts";
import { USER_TIMEOUT_LENGTH } from "../wire/tcp_options.ts";
import { windowBytesMax } from "./memory.ts";
import { timestampNow } from "./timestamp.ts";
import { isSendingUrgent, writeUrgent } from "./urgent.ts";

/** Bytes of `nop,nop,TS` in every segment of a connection with timestamps. */
export const TIMESTAMP_OPTION_BYTES = 12;
/** Less data than that goes behind its headers at once: to sum and to move it in pieces would cost more. */
const TAIL_BYTES_MIN = 256;
/** What a card cuts at once. */
const TRAIN_BYTES_MAX = 65_536;
/** Rounding windows up may overdraw the receive buffer by a sixteenth. */
const OVERDRAFT_SHIFT = 4;

/**
 * Sends what window, congestion window, Nagle and the peer's silly-window rule allow, then an ACK if
 * one is owed and nothing carried it (RFC 9293 section 3.8.6.2.1, RFC 1122 section 4.2.3.4).
 */
export function tcpOutput(tcp: Tcp, tcb: Tcb, nowMs: number, force = false): void {
  if (canSendData(tcb)) {
    if (flightSize(tcb) === 0 && tcb.sndWnd > 0 && hasUnsent(tcb)) sendingAgain(tcb, tcp.config, nowMs);
    if (tcb.pathGeneration !== tcp.output.pathGeneration) pathChanged(tcp, tcb);
    const probing = tcb.mtuProbing && !force && probePathMtu(tcp, tcb, nowMs) === ProbeResult.wait;
    if (!probing) sendNewData(tcp, tcb, nowMs, force ? SendMode.force : SendMode.normal);
    if (tcb.push === Push.now || force) tcb.push = Push.normal;
    if (flightSize(tcb) === 0 && hasUnsent(tcb)) {
      if (tcb.persistAtMs === Infinity) tcb.persistAtMs = nowMs + persistDelayMs(tcp, tcb, nowMs);
    } else {
      tcb.persistAtMs = Infinity;
      tcb.persists = 0;
    }
  }
  if (tcb.ackNow) sendAck(tcp, tcb, nowMs);
  watchLimit(tcb, nowMs);
  if (tcb.notSentLowWaterBytes > 0) tellWritable(tcp, tcb);
  if (tcb.durable !== undefined) watchLog(tcp, tcb, tcb.durable);
  tcp.arm(tcb);
}

function canSendData(tcb: Tcb): boolean {
  if (tcb.state === TcpState.synReceived) return (tcb.fastOpen & FastOpenState.child) !== 0;
  return tcb.state === TcpState.established || tcb.state === TcpState.closeWait ||
    tcb.state === TcpState.finWait1 || tcb.state === TcpState.closing || tcb.state === TcpState.lastAck;
}

function hasUnsent(tcb: Tcb): boolean {
  return seqLess(tcb.sndMax, sendLimit(tcb)) || (finReady(tcb) && !finSent(tcb));
}

/** How long until the next window probe: an RTO, doubled each time (SHLD-29, SHLD-30). */
function persistDelayMs(tcp: Tcp, tcb: Tcb, nowMs: number): number {
  const base = Math.max(tcp.config.rtoMinMs, tcb.rtoMs);
  const delayMs = Math.min(tcp.config.persistMaxMs, base * 2 ** Math.min(tcb.persists, 16));
  const userMs = userTimeoutMs(tcb, tcp.config);
  if (userMs === 0 || tcb.persists === 0) return delayMs;
  return Math.max(1, Math.min(delayMs, tcb.persistSinceMs + userMs - nowMs));
}

/** How `sendNewData` sends. */
export const SendMode = {
  normal: 0,
  /** However small the segment: F-RTO wants an answer. */
  push: 1,
  /** One segment, whatever the congestion window says: the tail loss probe. */
  probe: 2,
  /** The first one as much as fits, however little: the peer's window is small for good. */
  force: 3,
} as const;
export type SendMode = (typeof SendMode)[keyof typeof SendMode];

/**
 * Sends what was never sent, as much as the windows admit.
 * @returns Whether something was sent.
 */
export function sendNewData(tcp: Tcp, tcb: Tcb, nowMs: number, mode: SendMode): boolean {
  const before = tcb.sent.length;
  if (mode === SendMode.normal && tcp.config.headerPrediction && isShortSegment(tcb)) {
    sendShortSegment(tcp, tcb, nowMs);
  } else sendSegments(tcp, tcb, nowMs, mode);
  const count = tcb.sent.length - before;
  const full = packetsInFlight(tcb) >= cwndPackets(tcb);
  if (count > 0 || (full && hasUnsent(tcb))) validateWindow(tcb, full, tcp.config, nowMs);
  if (count === 0) return false;
  if (tcb.state === TcpState.synReceived) return true; // until it is acknowledged, only the SYN-ACK goes again
  const starts = before === 0 || tcb.retransmitTimer === RetransmitTimer.probe;
  if (inCwndReduction(tcb)) tcb.prrOut += count;
  const probes = mode !== SendMode.probe && scheduleLossProbe(tcp, tcb, false, nowMs);
  if (starts && !probes) rearmTimeout(tcp, tcb, nowMs);
  return true;
}

/** As many as there may be, in trains. */
function sendSegments(tcp: Tcp, tcb: Tcb, nowMs: number, mode: SendMode): void {
  let next = mode, train = 0, left = 0;
  for (;;) {
    if (left === 0) train = left = trainSegments(tcp, tcb);
    if (left > 1 && mode === SendMode.normal) {
      const sent = sendTrain(tcp, tcb, left, nowMs);
      if (sent < 0) break;
      left -= sent;
      if (left === 0) continue;
    }
    left--;
    const trainEnd = left === 0 ? Sent.trainEnd : 0;
    if (!sendNext(tcp, tcb, nowMs, next, trainEnd, train > 1) || next === SendMode.probe) break;
    if (next === SendMode.force) next = SendMode.normal;
  }
}

/**
 * Sends up to `count` full segments as one packet, which our own link cuts into them, where it can: what the peer gets is
 * the same. The train's last segment is left to `sendNext` where it is not a full one, or more than data.
 * @returns How many segments it was, 0 for none, -1 when our own link was full.
 */
function sendTrain(tcp: Tcp, tcb: Tcb, count: number, nowMs: number): number {
  const bytesMax = tcp.output.trainBytesTowards(tcb.remoteAddress);
  if (bytesMax === 0 || !tcb.pathMtuDiscovery || hasNewsForOne(tcb)) return 0;
  const mss = currentMss(tcp, tcb);
  const unsent = (sendLimit(tcb) - tcb.sndMax) | 0;
  const usable = (tcb.sndUna + tcb.sndWnd - tcb.sndMax) | 0;
  const ready = Math.min(unsent - (finReady(tcb) ? 1 : 0), usable, bytesOfRecord(tcb) - 1);
  const full = Math.floor(ready / mss);
  const fit = Math.floor((bytesMax - ipHeaderLength(tcb.remoteAddress) - TCP_HEADER_BYTES_MAX) / mss);
  const segments = Math.min(count, full, fit);
  if (segments < 2) return 0;
  const sequence = tcb.sndMax;
  const end = (sequence + segments * mss) | 0;
  const push = segments * mss === unsent && !tcb.more ? Sent.push : 0;
  const trainEnd = segments === count ? Sent.trainEnd : 0;
  if (!transmitSegment(tcp, tcb, sequence, end, push | (trainEnd === 0 ? 0 : Sent.push), nowMs, mss)) {
    enterCwr(tcb, nowMs);
    return -1;
  }
  const stampMs = sentStampMs(tcb, nowMs);
  for (let at = sequence; at !== end; at = (at + mss) | 0) {
    const next = (at + mss) | 0;
    tcb.sent.push(at, next, next === end ? push | trainEnd : 0, stampMs);
  }
  tcb.sndMax = end;
  return segments;
}

/** Whether the next segment says what those behind it do not say as well. */
function hasNewsForOne(tcb: Tcb): boolean {
  return tcb.accEcn !== undefined || tcb.ecnReduced || tcb.dsackPending || tcb.sndUrgent ||
    tcb.userTimeoutNews !== 0;
}

/** Sends one new segment of data or FIN, if the rules allow it; false when there is no more to do. */
function sendNext(
  tcp: Tcp,
  tcb: Tcb,
  nowMs: number,
  mode: SendMode,
  trainEnd: number,
  train: boolean,
): boolean {
  const unsent = (sendLimit(tcb) - tcb.sndMax) | 0; // -1 behind the FIN
  const ending = finReady(tcb);
  if (unsent < 0 || (unsent === 0 && !ending)) return false;
  const mss = currentMss(tcp, tcb);
  // The congestion window is not strict about the end of the stream: one segment, and no more follow it (Linux).
  const final = ending && unsent <= mss;
  if (mode < SendMode.probe && !final && packetsInFlight(tcb) >= cwndPackets(tcb)) return false;
  const force = mode === SendMode.force;
  const usable = (tcb.sndUna + tcb.sndWnd - tcb.sndMax) | 0;
  const record = bytesOfRecord(tcb);
  const length = Math.min(unsent, mss, record, force ? Math.max(usable, 1) : usable);
  if (length < 0) return false;
  const last = length === unsent;
  const whole = length === record && !last; // nothing can be added to it: there is nothing to wait for
  const fin = last && ending && (usable > length || force);
  if (length === 0 && !fin) return false;
  if (!fin && mode === SendMode.normal && !whole && !worthSending(tcb, length, mss, last)) return false;
  const sequence = tcb.sndMax;
  const end = (sequence + length + (fin ? 1 : 0)) | 0;
  const ends = length === record && !fin;
  const push = ends || (last && length > 0 && (!tcb.more || force));
  const flags = (fin ? Sent.fin : 0) | (push ? Sent.push : 0) | (ends ? Sent.record : 0) | trainEnd;
  // Sent again it may be a segment by itself: the train's PSH is not remembered.
  const trainPush = train && trainEnd !== 0 && length > 0 ? Sent.push : 0;
  if (!transmitSegment(tcp, tcb, sequence, end, flags | trainPush, nowMs)) {
    enterCwr(tcb, nowMs);
    return false; // the next ACK tries again, or the persist timer
  }
  if (length === record) takeRecordEnd(tcb, end);
  if (length < mss) tcb.smallEnd = end;
  tcb.sent.push(sequence, end, flags, sentStampMs(tcb, nowMs));
  tcb.sndMax = end;
  if (fin && tcb.state === TcpState.established) tcb.state = TcpState.finWait1;
  else if (fin && tcb.state === TcpState.closeWait) tcb.state = TcpState.lastAck;
  return true;
}

/**
 * How many segments go as one train: what Linux gives to a network card to cut, which sets PSH on the last one, so
 * that the receiver takes the whole train at once. Half the congestion window at most, and what the pace of the
 * connection sends in a millisecond, or more on a short path.
 */
function trainSegments(tcp: Tcp, tcb: Tcb): number {
  const mss = currentMss(tcp, tcb);
  const usable = (tcb.sndUna + tcb.sndWnd - tcb.sndMax) | 0;
  const ready = Math.min((sendLimit(tcb) - tcb.sndMax) | 0, usable);
  if (ready <= mss) return 1;
  const cwnd = cwndPackets(tcb);
  const most = Math.min(
    Math.max(1, cwnd >>> 1),
    cwnd - packetsInFlight(tcb),
    Math.max(1, Math.floor(Math.min(TRAIN_BYTES_MAX, tcb.sndWndMax >>> 1) / mss)),
    Math.max(tcp.config.trainSegmentsMin, Math.floor(pacedTrainBytes(tcb) / mss)),
  );
  if (ready >= most * mss) return Math.max(1, most);
  const full = Math.floor(Math.max(0, ready) / mss);
  const rest = ready - full * mss;
  return Math.max(1, full + (rest > 0 && worthSending(tcb, rest, mss, true) ? 1 : 0));
}

/** Linux's tcp_tso_autosize: a 1024th of what is sent in a second, and up to 64 KiB on a path of microseconds. */
function pacedTrainBytes(tcb: Tcb): number {
  if (tcb.srttUs <= 0) return TRAIN_BYTES_MAX;
  const ratio = tcb.cwnd < tcb.ssthresh / 2 ? 2 : 1.2;
  const paceBytes = ratio * Math.max(tcb.cwnd, flightSize(tcb)) * 1e6 / tcb.srttUs / 1024;
  const bytes = paceBytes + TRAIN_BYTES_MAX / 2 ** (Math.max(0, tcb.minRttUs) >>> 9);
  return Math.floor(Math.min(TRAIN_BYTES_MAX, bytes));
}

/** Sender's silly-window avoidance and Nagle (RFC 9293 section 3.8.6.2.1). */
export function worthSending(tcb: Tcb, length: number, mss: number, last: boolean): boolean {
  if (length >= mss) return true;
  if (tcb.push !== Push.normal) return tcb.push === Push.now || tcb.finQueued;
  if (tcb.cork && !tcb.finQueued) return false; // the persist timer ends it: MUST-60
  // As Minshall and Linux do it: a small segment waits for other small ones, not for full ones.
  if (!tcb.noDelay && !tcb.finQueued && !isSendingUrgent(tcb) && smallOnTheWay(tcb)) return false;
  return last || length >= tcb.sndWndMax >>> 1;
}

function smallOnTheWay(tcb: Tcb): boolean {
  return seqLess(tcb.sndUna, tcb.smallEnd) && seqLessEqual(tcb.smallEnd, tcb.sndMax);
}

/** Payload of a segment at present: SACK blocks take room, too. */
export function currentMss(tcp: Tcp, tcb: Tcb): number {
  const blocks = sackBlocksToSend(tcb);
  if (tcb.accEcn !== undefined) return mssBesideAccEcn(tcp, tcb, tcb.accEcn, blocks);
  return blocks === 0 ? tcb.sndMss : tcb.sndMss - 4 - 8 * blocks;
}

/** As `currentMss`, beside an Accurate ECN option and the SACK blocks that it leaves. */
function mssBesideAccEcn(tcp: Tcp, tcb: Tcb, acc: AccEcn, blocks: number): number {
  const fit = accEcnFit(tcp, tcb, acc, blocks);
  const left = fit < 0 ? blocks : fit & 7;
  const option = fit < 0 ? 0 : accEcnOptionLength(fit >>> 3, left > 0);
  return tcb.sndMss - option - (left > 0 ? 4 + 8 * left : 0);
}

/**
 * Sends the segment [sequence, end) with `Sent` flags, new or again: the bytes are in the send queue. With
 * `segmentBytes` above 0 it is a train of new segments of so many bytes.
 * @returns Whether it left: false when our own link was full.
 */
export function transmitSegment(
  tcp: Tcp,
  tcb: Tcb,
  sequence: number,
  end: number,
  flags: number,
  nowMs: number,
  segmentBytes: number = 0,
): boolean {
  const fin = (flags & Sent.fin) !== 0;
  const length = ((end - sequence) | 0) - (fin ? 1 : 0);
  const segment = beginSegment(tcp, tcb, nowMs);
  segment.sequence = sequence;
  segment.flags = TcpFlag.ACK | ecnEchoFlag(tcb) | ((flags & Sent.push) !== 0 ? TcpFlag.PSH : 0) |
    (fin ? TcpFlag.FIN : 0);
  const ecn = tcb.accEcn !== undefined
    ? accEcnMark(tcb.accEcn)
    : length > 0 && !seqLess(sequence, tcb.sndMax)
    ? markNewData(tcb, segment)
    : Ecn.notEct;
  if (tcb.sndUrgent) writeUrgent(tcb, segment);
  // A segment that is full has no room for another option.
  if (tcb.userTimeoutNews !== 0 && length + USER_TIMEOUT_LENGTH <= currentMss(tcp, tcb)) {
    writeUserTimeout(tcb, segment, end);
  }
  const { slab, transportStart } = tcp.output;
  const dataStart = writeTcp(segment, slab, transportStart);
  const offset = (sequence - tcb.sndUna) | 0;
  if (length > 0) placeData(tcp.output, tcb, offset, length, dataStart);
  tcb.bytesOut += length;
  if (length > 0) {
    tcb.dataSegmentsOut += segmentBytes > 0 ? length / segmentBytes : 1;
    watchDataSent(tcb, nowMs);
  }
  if (seqLess(sequence, tcb.sndMax)) tcb.retransmittedBytes += length;
  tcb.lastActivityMs = tcb.lastSentMs = nowMs;
  if (segmentBytes > 0) tcb.segmentsOut += length / segmentBytes - 1;
  finish(tcp, tcb, dataStart + length, nowMs, ecn, segmentBytes);
  tcp.output.tail.bytes = 0;
  return !tcp.output.linkFull;
}

/** Puts data from the send queue behind the headers, at `at`, or tells where it lies. */
export function placeData(
  { slab, tail }: TransportOutput,
  { sendQueue }: Tcb,
  offset: number,
  length: number,
  at: number,
): void {
  if (length >= TAIL_BYTES_MIN && sendQueue.locate(offset, length, tail)) return;
  sendQueue.copyToSlab(offset, length, slab, at);
  copied[Copies.out]! += length;
}

/** Sends a bare ACK of everything received; of a durable connection, when something of it is in the log. */
export function sendAck(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.durable !== undefined && ackWaits(tcb, tcb.durable)) return;
  const segment = beginSegment(tcp, tcb, nowMs);
  // Behind the window of a peer that shrank it, even an ACK would be refused (MUST-34). A SYN needs no window.
  // What one step of its scale hides was promised, though.
  const windowEnd = (tcb.sndUna + tcb.sndWnd) | 0;
  const beyond = tcb.state === TcpState.synReceived ? 0 : (tcb.sndMax - windowEnd) | 0;
  segment.sequence = beyond > 0 && beyond >>> Math.max(tcb.rcvShift, 0) > 0 ? windowEnd : tcb.sndMax;
  segment.flags = TcpFlag.ACK | ecnEchoFlag(tcb);
  if (tcb.sndUrgent) writeUrgent(tcb, segment);
  if (tcb.userTimeoutNews !== 0) writeUserTimeout(tcb, segment, undefined);
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs, ackMark(tcb));
}

/** ECN bits of a segment without data: only Accurate ECN marks those, too. */
function ackMark(tcb: Tcb): number {
  return tcb.accEcn === undefined ? Ecn.notEct : accEcnMark(tcb.accEcn);
}

/** A segment that the peer must answer: one below what it expects (window probe, keep-alive). */
export function sendProbe(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (isSendingUrgent(tcb)) sendAck(tcp, tcb, nowMs); // acceptable, so that its pointer counts (MUST-66)
  const segment = beginSegment(tcp, tcb, nowMs);
  segment.sequence = (tcb.sndUna - 1) | 0;
  segment.flags = TcpFlag.ACK | ecnEchoFlag(tcb);
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs, ackMark(tcb));
}

/** RFC 5961: at most one challenge ACK per connection and interval, and so many of all connections in a second. */
export function sendChallengeAck(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (!mayAnswerNoise(tcp, tcb, nowMs) || !tcp.challenges.take(tcp.config.challengeAcksPerSecondMax, nowMs)) {
    tcp.counters.ackSkippedChallenge++;
    return;
  }
  tcp.counters.challengeAck++;
  sendAck(tcp, tcb, nowMs);
}

/** Whether a segment that brings nothing may be answered now; the one limit for all of a connection's noise. */
export function mayAnswerNoise(tcp: Tcp, tcb: Tcb, nowMs: number): boolean {
  if (nowMs - tcb.challengeAtMs < tcp.config.challengeAckMs) return false;
  tcb.challengeAtMs = nowMs;
  return true;
}

/**
 * Sends SYN (SYN-SENT) or SYN-ACK (SYN-RECEIVED), with the options that we offer or agreed to. With `fastOpen` a SYN
 * carries what is in the send queue.
 */
export function sendSyn(tcp: Tcp, tcb: Tcb, nowMs: number, fastOpen?: FastOpenOption): void {
  const segment = tcp.segment;
  const answer = tcb.state === TcpState.synReceived;
  if (answer && tcb.durable !== undefined && !seqLess(tcb.iss, tcb.durable.sndEnd)) return;
  segment.clear();
  segment.sourcePort = tcb.localPort;
  segment.destinationPort = tcb.remotePort;
  segment.sequence = tcb.iss;
  segment.acknowledgment = answer ? tcb.rcvNxt : 0;
  segment.flags = TcpFlag.SYN | (answer ? TcpFlag.ACK : 0) | ecnSynFlags(tcp, tcb, segment);
  segment.urgentPointer = 0;
  segment.mss = tcb.advMss = announcedMss(tcp, tcb);
  const windowBytes = Math.min(0xffff, firstWindowBytes(tcb)); // never scaled in a SYN
  segment.window = windowBytes;
  segment.sackPermitted = tcb.sackPermitted;
  if (!answer || tcb.rcvShift >= 0) segment.windowScale = Math.max(tcb.rcvShift, 0);
  if (tcb.timestamps) {
    segment.hasTimestamp = true;
    segment.tsVal = timestampNow(tcb, nowMs);
    segment.tsEcr = answer ? tcb.tsRecent : 0;
  }
  if (answer) {
    tcb.rcvAdv = (tcb.rcvNxt + windowBytes) | 0;
    tcb.lastAckSent = tcb.rcvNxt;
  }
  if (fastOpen !== undefined && fastOpen.length >= 0) {
    segment.fastOpenLength = fastOpen.length;
    segment.fastOpenExperimental = fastOpen.experimental;
    segment.fastOpenCookie.set(fastOpen.cookie);
    segment.accEcnCount = -1; // no room for both
  }
  if (tcb.userTimeoutOption) writeUserTimeoutSyn(tcb, segment);
  const { slab, transportStart } = tcp.output;
  const dataStart = writeTcp(segment, slab, transportStart);
  const length = answer || fastOpen === undefined ? 0 : tcb.sendQueue.length;
  if (length > 0) {
    tcb.sendQueue.copyToSlab(0, length, slab, dataStart);
    copied[Copies.out]! += length;
    tcb.bytesOut += length;
    tcb.dataSegmentsOut++;
    tcb.lastSentMs = nowMs;
  }
  const next = (tcb.iss + 1 + length) | 0;
  if (seqLess(tcb.sndMax, next)) tcb.sndMax = next;
  finish(tcp, tcb, dataStart + length, nowMs);
}

/** What fits into the receive buffer: whole segments where the application has set its size, as on Linux. */
export function firstWindowBytes(tcb: Tcb): number {
  const bytes = tcb.receiveBufferBytes;
  const mss = tcb.advMss - (tcb.timestamps ? TIMESTAMP_OPTION_BYTES : 0);
  return tcb.receiveBufferSet && bytes > mss ? bytes - bytes % mss : bytes;
}

/**
 * The MSS option of our SYN: what our link carries, and so what we can receive (MUST-67), or what the application
 * allows. What is known of the way out is none of the peer's business; but our own SYN says it, as Linux's does.
 */
function announcedMss(tcp: Tcp, tcb: Tcb): number {
  const { output } = tcp;
  const remote = tcb.remoteAddress;
  const mtu = tcb.state === TcpState.synSent ? output.mtuTowards(remote) : output.linkMtuTowards(remote);
  const mss = mtu - ipHeaderLength(remote) - TCP_HEADER_LENGTH;
  return tcb.mssMax > 0 ? Math.min(mss, tcb.mssMax) : mss;
}

/** Sends the RST of an abort: at SND.NXT, so that the peer believes it. */
export function sendReset(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const segment = beginSegment(tcp, tcb, nowMs);
  segment.sequence = tcb.sndMax;
  segment.flags = TcpFlag.RST | TcpFlag.ACK;
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs);
}

/**
 * Answers a segment that belongs to no connection (RFC 9293 section 3.10.7.1), or an ACK that a
 * handshake cannot believe: RST at the sequence number that it acknowledges, else RST,ACK.
 */
export function sendStrayReset(
  tcp: Tcp,
  local: number,
  remote: number,
  to: TcpRecord,
  nowMs: number,
): void {
  if ((to.flags & TcpFlag.RST) !== 0) return;
  const acked = (to.flags & TcpFlag.ACK) !== 0;
  const flags = to.flags;
  const length = to.dataEnd - to.dataStart + (flags & TcpFlag.SYN ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0);
  const segment = tcp.segment;
  segment.clear();
  segment.sourcePort = to.destinationPort;
  segment.destinationPort = to.sourcePort;
  segment.sequence = acked ? to.acknowledgment : 0;
  segment.acknowledgment = acked ? 0 : (to.sequence + length) | 0;
  segment.flags = acked ? TcpFlag.RST : TcpFlag.RST | TcpFlag.ACK;
  segment.window = 0;
  segment.urgentPointer = 0;
  const { slab, transportStart } = tcp.output;
  const end = writeTcp(segment, slab, transportStart);
  tcp.output.sendTransport(PROTOCOL_TCP, local, remote, end, 0, 64, nowMs);
}

/** Ends a connection of somebody else's, in the name of one of its ends: the firewall has refused it. */
export function sendForeignReset(
  tcp: Tcp,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  nowMs: number,
): void {
  const segment = tcp.segment;
  segment.clear();
  segment.sourcePort = sourcePort;
  segment.destinationPort = destinationPort;
  segment.sequence = sequence;
  segment.acknowledgment = 0;
  segment.flags = TcpFlag.RST;
  segment.window = 0;
  segment.urgentPointer = 0;
  const { slab, transportStart } = tcp.output;
  const end = writeTcp(segment, slab, transportStart);
  tcp.output.sendTransport(PROTOCOL_TCP, source, destination, end, 0, 64, nowMs);
}

/** The fields that every segment of a synchronised connection shares; its ACK makes owed ones unnecessary. */
function beginSegment(tcp: Tcp, tcb: Tcb, nowMs: number): TcpRecord {
  const segment = tcp.segment;
  segment.clear();
  segment.sourcePort = tcb.localPort;
  segment.destinationPort = tcb.remotePort;
  const { durable } = tcb;
  segment.acknowledgment = durable === undefined ? tcb.rcvNxt : durable.rcvNxt;
  segment.window = durable === undefined ? offerWindow(tcb) : offerLoggedWindow(tcb, durable);
  segment.urgentPointer = 0;
  if (tcb.timestamps) {
    segment.hasTimestamp = true;
    segment.tsVal = timestampNow(tcb, nowMs);
    segment.tsEcr = tcb.tsRecent;
  }
  const dsack = tcb.dsackPending;
  if (dsack || tcb.sackBlocks.length > 0) writeSackBlocks(tcb, segment);
  if (tcb.accEcn !== undefined) writeAccEcn(tcp, tcb, tcb.accEcn, segment, dsack, nowMs);
  ackSent(tcb, tcp.config);
  return segment;
}

/**
 * The window field, scaled; moves `rcvAdv`. The right edge never moves back (SHLD-14) and moves
 * forward only by steps that are worth a segment (RFC 9293 section 3.8.6.2.2).
 */
export function offerWindow(tcb: Tcb): number {
  const field = peekWindow(tcb);
  const edge = (tcb.rcvNxt + (field << Math.max(tcb.rcvShift, 0))) | 0;
  if (seqLess(tcb.rcvAdv, edge)) tcb.rcvAdv = edge;
  return field;
}

/** As `offerWindow`, from the logged RCV.NXT on, and with no edge that is not in the log. */
function offerLoggedWindow(tcb: Tcb, durable: Durable): number {
  const shift = Math.max(tcb.rcvShift, 0);
  const field = peekWindow(tcb);
  let edge = (tcb.rcvNxt + (field << shift)) | 0;
  const logged = !seqLess(durable.rcvAdv, edge);
  if (logged && durable.rcvNxt === tcb.rcvNxt) return offerWindow(tcb);
  if (!logged) edge = durable.rcvAdv;
  const bytes = Math.max(0, (edge - durable.rcvNxt) | 0);
  const told = Math.min(0xffff, Math.ceil(bytes / 2 ** shift)); // what was promised is not taken back
  const reach = (durable.rcvNxt + (told << shift)) | 0;
  if (seqLess(tcb.rcvAdv, reach)) tcb.rcvAdv = reach;
  return told;
}

/** What of a connection its window depends on. */
export type WindowState =
  & Pick<Tcb, "rcvShift" | "rcvAdv" | "rcvNxt" | "peerMss" | "receiveBufferBytes" | "memory">
  & { readonly receiveQueue: { readonly length: number } };

/** The window field that the next segment will carry. */
export function peekWindow(tcb: WindowState): number {
  const shift = Math.max(tcb.rcvShift, 0);
  const offered = Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0);
  const free = freeWindow(tcb);
  const step = Math.min(tcb.peerMss, tcb.receiveBufferBytes >>> 1);
  // A buffer that has more than the field can say has always the step to give (Linux, too, says 65,535 on and on).
  const spare = tcb.receiveBufferBytes - tcb.receiveQueue.length - offered;
  const wanted = spare >= step ? Math.max(free, offered) : offered;
  // Rounded up where rounding down would take back what was promised. A peer that sends in smaller pieces
  // than the field can express would never see it fall: then the promise is kept, but no longer repeated.
  const field = wanted >>> shift;
  const short = field << shift < offered;
  const limit = tcb.receiveBufferBytes + (tcb.receiveBufferBytes >>> OVERDRAFT_SHIFT);
  const fits = tcb.receiveQueue.length + ((field + 1) << shift) <= limit;
  return Math.min(short && fits ? field + 1 : field, 0xffff);
}

/** The largest window that could be offered now. */
export function freeWindow(tcb: WindowState): number {
  const free = Math.min(tcb.receiveBufferBytes - tcb.receiveQueue.length, windowBytesMax(tcb));
  return Math.max(0, Math.min(free, 0xffff << Math.max(tcb.rcvShift, 0)));
}

/** How much the window would open if it were announced now. */
export function windowGrowth(tcb: Tcb): number {
  return freeWindow(tcb) - Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0);
}

function finish(
  tcp: Tcp,
  tcb: Tcb,
  end: number,
  nowMs: number,
  ecn: number = Ecn.notEct,
  segmentBytes: number = 0,
): void {
  if (tcb.state !== TcpState.synReceived) tcb.segmentsOut++; // a SYN-ACK does not count, as in Linux
  tcp.output.sendTransport(
    PROTOCOL_TCP,
    tcb.localAddress,
    tcb.remoteAddress,
    end,
    tcb.typeOfService | ecn,
    tcb.timeToLive,
    nowMs,
    tcb.pathMtuDiscovery,
    segmentBytes,
  );
}
