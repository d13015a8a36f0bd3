import { seqLess } from "../../base/sequence.ts";
import { sendingAgain, validateWindow } from "./congestion/window.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { TCP_HEADER_LENGTH, TcpFlag, type TcpRecord, writeTcp } from "../wire/tcp.ts";
import { watchLimit } from "./counters.ts";
import { tellWritable } from "./send_buffer.ts";
import { isSendingUrgent, writeUrgent } from "./urgent.ts";
import { finSent, flightSize, Recovery, sendEnd, type Tcb, TcpState } from "./tcb.ts";
import { rtoBackedOffMs } from "./rtt.ts";
import { type Tcp, timestampNow } from "./tcp.ts";

/** Bytes of `nop,nop,TS` in every segment of a connection with timestamps. */
export const TIMESTAMP_OPTION_BYTES = 12;
/** Rounding windows up may overdraw the receive buffer by a sixteenth. */
const OVERDRAFT_SHIFT = 4;

/**
 * Sends what window, congestion window, Nagle and the peer's silly-window rule allow, then an ACK if
 * one is owed and nothing carried it (RFC 9293 section 3.8.6.2.1, RFC 1122 section 4.2.3.4).
 */
export function tcpOutput(tcp: Tcp, tcb: Tcb, nowMs: number, force = false): void {
  if (canSendData(tcb)) {
    if (flightSize(tcb) === 0 && tcb.sndWnd > 0 && hasUnsent(tcb)) sendingAgain(tcb, tcp.config, nowMs);
    const before = tcb.bytesOut;
    while (sendNext(tcp, tcb, nowMs, force)) force = false;
    const full = tcb.sndNxt === tcb.sndMax && flightSize(tcb) + tcb.sndMss > tcb.cwnd;
    if (full || tcb.bytesOut !== before) validateWindow(tcb, full, tcp.config, nowMs);
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
  tcp.arm(tcb);
}

function canSendData(tcb: Tcb): boolean {
  return tcb.state === TcpState.established || tcb.state === TcpState.closeWait ||
    tcb.state === TcpState.finWait1 || tcb.state === TcpState.closing || tcb.state === TcpState.lastAck;
}

function hasUnsent(tcb: Tcb): boolean {
  return seqLess(tcb.sndMax, sendEnd(tcb)) || (tcb.finQueued && !finSent(tcb));
}

/** How long until the next window probe: an RTO, doubled each time (SHLD-29, SHLD-30). */
function persistDelayMs(tcp: Tcp, tcb: Tcb, nowMs: number): number {
  const base = Math.max(tcp.config.rtoMinMs, tcb.rtoMs);
  const delayMs = Math.min(tcp.config.persistMaxMs, base * 2 ** Math.min(tcb.persists, 16));
  if (tcb.userTimeoutMs === 0 || tcb.persists === 0) return delayMs;
  return Math.max(1, Math.min(delayMs, tcb.persistSinceMs + tcb.userTimeoutMs - nowMs));
}

/** Sends one segment of data or FIN at `sndNxt`, if the rules allow it; false when there is no more to do. */
function sendNext(tcp: Tcp, tcb: Tcb, nowMs: number, force: boolean): boolean {
  const end = sendEnd(tcb);
  const offset = (tcb.sndNxt - tcb.sndUna) | 0;
  const unsent = (end - tcb.sndNxt) | 0; // -1 behind the FIN
  if (unsent < 0 || (unsent === 0 && !tcb.finQueued)) return false;
  // RFC 3042: the first two duplicate ACKs each let one new segment out.
  const limited = tcb.recovery === Recovery.open ? Math.min(tcb.dupAcks, 2) * tcb.sndMss : 0;
  const usable = Math.min(tcb.cwnd + limited, tcb.sndWnd) - offset;
  const length = Math.min(unsent, tcb.sndMss, force ? Math.max(usable, 1) : usable);
  if (length < 0) return false;
  const last = length === unsent;
  const fin = last && tcb.finQueued && (usable > length || force);
  if (length === 0 && !fin) return false;
  const again = seqLess(tcb.sndNxt, tcb.sndMax);
  if (!fin && !force && !worthSending(tcb, length, last, again)) return false;
  sendSegment(tcp, tcb, tcb.sndNxt, offset, length, fin, last, nowMs);
  const next = (tcb.sndNxt + length + (fin ? 1 : 0)) | 0;
  if (!again && !tcb.rttTiming) {
    tcb.rttTiming = true;
    tcb.rttSeq = next;
    tcb.rttStartMs = nowMs;
  }
  tcb.sndNxt = next;
  if (seqLess(tcb.sndMax, next)) tcb.sndMax = next;
  if (fin && tcb.state === TcpState.established) tcb.state = TcpState.finWait1;
  else if (fin && tcb.state === TcpState.closeWait) tcb.state = TcpState.lastAck;
  if (tcb.retransmitAtMs === Infinity) tcb.retransmitAtMs = nowMs + rtoBackedOffMs(tcb, tcp.config);
  return true;
}

/** Sender's silly-window avoidance and Nagle (RFC 9293 section 3.8.6.2.1). */
function worthSending(tcb: Tcb, length: number, last: boolean, again: boolean): boolean {
  if (length >= tcb.sndMss) return true;
  if (tcb.cork && !tcb.finQueued && !again) return false; // the persist timer ends it: MUST-60
  if (again) return true; // its bounds were chosen when it was new
  if (!tcb.noDelay && !tcb.finQueued && !isSendingUrgent(tcb) && flightSize(tcb) > 0) return false;
  return last || length >= tcb.sndWndMax >>> 1;
}

/** Retransmits one segment from `sndUna` without moving `sndNxt` (fast retransmit, partial ACK). */
export function retransmitFirst(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const length = Math.min(tcb.sendQueue.length, tcb.sndMss, (tcb.sndMax - tcb.sndUna) >>> 0);
  const last = length === tcb.sendQueue.length;
  const fin = last && finSent(tcb);
  if (length === 0 && !fin) return;
  tcb.rttTiming = false; // Karn: what is sent twice is not timed
  tcb.retransmittedSegments++;
  sendSegment(tcp, tcb, tcb.sndUna, 0, length, fin, last, nowMs);
}

function sendSegment(
  tcp: Tcp,
  tcb: Tcb,
  sequence: number,
  offset: number,
  length: number,
  fin: boolean,
  push: boolean,
  nowMs: number,
): void {
  const segment = beginSegment(tcp, tcb, nowMs);
  segment.sequence = sequence;
  segment.flags = TcpFlag.ACK | (push && length > 0 ? TcpFlag.PSH : 0) | (fin ? TcpFlag.FIN : 0);
  if (tcb.sndUrgent) writeUrgent(tcb, segment);
  const { slab, transportStart } = tcp.output;
  const dataStart = writeTcp(segment, slab, transportStart);
  tcb.sendQueue.copyTo(offset, length, slab.bytes, dataStart);
  tcb.bytesOut += length;
  if (length > 0) tcb.dataSegmentsOut++;
  if (seqLess(sequence, tcb.sndMax)) tcb.retransmittedBytes += length;
  tcb.lastActivityMs = tcb.lastSentMs = nowMs;
  finish(tcp, tcb, dataStart + length, nowMs);
}

/** Sends a bare ACK of everything received. */
export function sendAck(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const segment = beginSegment(tcp, tcb, nowMs);
  // Behind the window of a peer that shrank it, even an ACK would be refused (MUST-34).
  const windowEnd = (tcb.sndUna + tcb.sndWnd) | 0;
  segment.sequence = seqLess(windowEnd, tcb.sndMax) ? windowEnd : tcb.sndMax;
  segment.flags = TcpFlag.ACK;
  if (tcb.sndUrgent) writeUrgent(tcb, segment);
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs);
}

/** A segment that the peer must answer: one below what it expects (window probe, keep-alive). */
export function sendProbe(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (isSendingUrgent(tcb)) sendAck(tcp, tcb, nowMs); // acceptable, so that its pointer counts (MUST-66)
  const segment = beginSegment(tcp, tcb, nowMs);
  segment.sequence = (tcb.sndUna - 1) | 0;
  segment.flags = TcpFlag.ACK;
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs);
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

/** Sends SYN (SYN-SENT) or SYN-ACK (SYN-RECEIVED), with the options that we offer or agreed to. */
export function sendSyn(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const segment = tcp.segment;
  const answer = tcb.state === TcpState.synReceived;
  segment.clear();
  segment.sourcePort = tcb.localPort;
  segment.destinationPort = tcb.remotePort;
  segment.sequence = tcb.iss;
  segment.acknowledgment = answer ? tcb.rcvNxt : 0;
  segment.flags = TcpFlag.SYN | (answer ? TcpFlag.ACK : 0);
  segment.urgentPointer = 0;
  const windowBytes = Math.min(0xffff, tcb.receiveBufferBytes); // never scaled in a SYN
  segment.window = windowBytes;
  segment.mss = tcb.advMss = announcedMss(tcp, tcb);
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
  tcb.sndMax = tcb.sndNxt = (tcb.iss + 1) | 0;
  finish(tcp, tcb, writeTcp(segment, tcp.output.slab, tcp.output.transportStart), nowMs);
}

/** The MSS option of our SYN: what an IP packet holds here (MUST-67), or what the application allows. */
function announcedMss(tcp: Tcp, tcb: Tcb): number {
  const remote = tcb.remoteAddress;
  const mss = tcp.output.mtuTowards(remote) - ipHeaderLength(remote) - TCP_HEADER_LENGTH;
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

/** The fields that every segment of a synchronised connection shares; its ACK makes owed ones unnecessary. */
function beginSegment(tcp: Tcp, tcb: Tcb, nowMs: number): TcpRecord {
  const segment = tcp.segment;
  segment.clear();
  segment.sourcePort = tcb.localPort;
  segment.destinationPort = tcb.remotePort;
  segment.acknowledgment = tcb.rcvNxt;
  segment.window = offerWindow(tcb);
  segment.urgentPointer = 0;
  if (tcb.timestamps) {
    segment.hasTimestamp = true;
    segment.tsVal = timestampNow(tcb, nowMs);
    segment.tsEcr = tcb.tsRecent;
  }
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.ackNow = false;
  tcb.delayedAckAtMs = Infinity;
  if (tcb.quickAcks > 0) tcb.quickAcks--;
  return segment;
}

/**
 * The window field, scaled; moves `rcvAdv`. The right edge never moves back (SHLD-14) and moves
 * forward only by steps that are worth a segment (RFC 9293 section 3.8.6.2.2).
 */
function offerWindow(tcb: Tcb): number {
  const field = peekWindow(tcb);
  const edge = (tcb.rcvNxt + (field << Math.max(tcb.rcvShift, 0))) | 0;
  if (seqLess(tcb.rcvAdv, edge)) tcb.rcvAdv = edge;
  return field;
}

/** The window field that the next segment will carry. */
export function peekWindow(tcb: Tcb): number {
  const shift = Math.max(tcb.rcvShift, 0);
  const offered = Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0);
  const free = freeWindow(tcb);
  const step = Math.min(tcb.peerMss, tcb.receiveBufferBytes >>> 1);
  const wanted = free - offered >= step ? free : offered;
  // Rounded up where rounding down would take back what was promised. A peer that sends in smaller pieces
  // than the field can express would never see it fall: then the promise is kept, but no longer repeated.
  const field = wanted >>> shift;
  const short = field << shift < offered;
  const limit = tcb.receiveBufferBytes + (tcb.receiveBufferBytes >>> OVERDRAFT_SHIFT);
  const fits = tcb.receiveQueue.length + ((field + 1) << shift) <= limit;
  return Math.min(short && fits ? field + 1 : field, 0xffff);
}

/** The largest window that could be offered now. */
function freeWindow(tcb: Tcb): number {
  const free = tcb.receiveBufferBytes - tcb.receiveQueue.length;
  return Math.max(0, Math.min(free, 0xffff << Math.max(tcb.rcvShift, 0)));
}

/** How much the window would open if it were announced now. */
export function windowGrowth(tcb: Tcb): number {
  return freeWindow(tcb) - Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0);
}

function finish(tcp: Tcp, tcb: Tcb, end: number, nowMs: number): void {
  if (tcb.state !== TcpState.synReceived) tcb.segmentsOut++; // a SYN-ACK does not count, as in Linux
  tcp.output.sendTransport(
    PROTOCOL_TCP,
    tcb.localAddress,
    tcb.remoteAddress,
    end,
    tcb.typeOfService,
    tcb.timeToLive,
    nowMs,
  );
}
