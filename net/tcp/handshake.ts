import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { Slab } from "../../base/slab.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { TCP_HEADER_LENGTH, TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { startCongestion } from "./congestion/window.ts";
import { DELAYED_ACK_MS_MAX, enterQuickAcks } from "./delayed_ack.ts";
import { holdHandshake } from "./durable.ts";
import { takeEcnAnswer } from "./ecn.ts";
import { type FastOpenOption, FastOpenState } from "./fast_open.ts";
import { sendAck, sendStrayReset, sendSyn } from "./output.ts";
import { receiveData, takeFin } from "./receive.ts";
import { retransmitSynData } from "./retransmit.ts";
import { rearmTimeout } from "./rto.ts";
import { startMtuSearch, updateMss } from "./path_mtu.ts";
import { echoedRttUs, minRttSample, rttSample } from "./rtt.ts";
import { Sent } from "./sent_queue.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { announceUserTimeout, takeUserTimeout } from "./user_timeout.ts";
import { timestampNow } from "./timestamp.ts";

/** A SYN with data leaves room for all the options that a header can have. */
const OPTION_BYTES_MAX = 40;
/** Bytes of data in a segment when the peer names no MSS (MUST-15). */
const MSS_DEFAULT = 536;
const MSS_DEFAULT_IPV6 = 1_220;
/** An MSS below this is an attack on our packet rate; Linux has the same floor. */
const MSS_MIN = 48;

/** ISN of a connection that follows another at once: beyond all that its predecessor sent, as in Linux. */
const REOPEN_DISTANCE = 65_537;

/** Old segments of `predecessor`, whose ports `tcb` takes over, must not fit into the new connection. */
export function startBeyond(tcb: Tcb, predecessor: Tcb): void {
  if (!seqLessEqual(tcb.iss, predecessor.sndMax)) return;
  tcb.iss =
    tcb.sndUna =
    tcb.sndMax =
    tcb.smallEnd =
      (predecessor.sndMax + REOPEN_DISTANCE) | 0;
}

/** Starts an active open: the SYN leaves now (RFC 9293 section 3.10.1). */
export function openActive(
  tcp: Tcp,
  tcb: Tcb,
  nowMs: number,
  predecessor?: Tcb,
  fastOpen?: Uint8Array,
): void {
  tcb.state = TcpState.synSent;
  chooseStart(tcp, tcb, nowMs);
  if (predecessor !== undefined) startBeyond(tcb, predecessor);
  tcb.rcvShift = receiveShift(tcp, tcb);
  tcb.timestamps = tcp.config.timestamps;
  tcb.sackPermitted = tcp.config.sack;
  if (fastOpen === undefined) return sendFirstSyn(tcp, tcb, nowMs);
  queueForSyn(tcp, tcb, fastOpen, nowMs);
  sendFirstSyn(tcp, tcb, nowMs, tcp.fastOpen.option);
}

/** As much of `data` as our SYN may carry goes into the send queue (RFC 7413 section 4.2.1). */
function queueForSyn(tcp: Tcp, tcb: Tcb, data: Uint8Array, nowMs: number): void {
  const { fastOpen } = tcp;
  const { localAddress: local, remoteAddress: remote } = tcb;
  const mayCarry = fastOpen.prepareSyn(local, remote, nowMs);
  if (fastOpen.option.length >= 0) tcb.fastOpen |= FastOpenState.asked;
  if (fastOpen.option.experimental) tcb.fastOpen |= FastOpenState.experimental;
  if (fastOpen.probing) tcb.fastOpen |= FastOpenState.probing;
  if (!mayCarry || data.length === 0) return;
  const mss = tcp.output.mtuTowards(remote) - ipHeaderLength(remote) - TCP_HEADER_LENGTH;
  const most = tcb.mssMax > 0 ? Math.min(mss, tcb.mssMax) : mss;
  const room = Math.min(most, fastOpen.mssOf(local, remote, mss)) - OPTION_BYTES_MAX;
  tcb.sendQueue.append(data, 0, Math.min(data.length, Math.max(0, room), tcb.sendBufferBytes));
  if (tcb.sendQueue.length > 0) tcb.fastOpen |= FastOpenState.sentData;
}

/**
 * SYN or SYN-ACK for the first time: it is timed, and sent again when nothing answers. Only this one has a Fast Open
 * option, and data.
 */
export function sendFirstSyn(tcp: Tcp, tcb: Tcb, nowMs: number, fastOpen?: FastOpenOption): void {
  tcb.lastActivityMs = nowMs;
  sendSyn(tcp, tcb, nowMs, fastOpen);
  tcb.rttTiming = true;
  tcb.rttStartMs = nowMs;
  tcb.retransmitAtMs = nowMs + tcb.rtoMs;
  tcp.arm(tcb);
}

/** A segment for a connection in SYN-SENT (RFC 9293 section 3.10.7.3). */
export function synSentInput(tcp: Tcp, tcb: Tcb, segment: TcpRecord, slab: Slab, nowMs: number): Drop {
  const flags = segment.flags;
  const acks = (flags & TcpFlag.ACK) !== 0;
  if (
    acks && (seqLessEqual(segment.acknowledgment, tcb.iss) || seqLess(tcb.sndMax, segment.acknowledgment))
  ) {
    sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
    return Drop.TcpBadAck;
  }
  if (
    acks && tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0 &&
    !echoesOurSyn(tcb, segment, nowMs)
  ) {
    tcp.counters.pawsActive++; // of an earlier connection (RFC 7323 section 5.1; Linux does the same)
    sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
    return Drop.TcpPaws;
  }
  if ((flags & TcpFlag.RST) !== 0) {
    if (!acks) return Drop.TcpUnacceptable;
    tcp.destroy(tcb, TcpError.refused);
    return Drop.None;
  }
  if ((flags & TcpFlag.SYN) === 0) return Drop.TcpUnacceptable;
  if (segment.windowScale < 0) tcb.rcvShift = -1;
  if (!segment.hasTimestamp) tcb.timestamps = false;
  if (!segment.sackPermitted) tcb.sackPermitted = false;
  takeEcnAnswer(tcp, tcb, segment);
  learnFromSyn(tcp, tcb, segment, nowMs);
  tcb.lastActivityMs = nowMs;
  if (!acks) {
    // Simultaneous open (figure 8): answer with SYN-ACK and wait for the ACK of our SYN.
    tcb.state = TcpState.synReceived;
    sendSyn(tcp, tcb, nowMs);
    tcb.retransmitAtMs = nowMs + tcb.rtoMs;
    tcp.arm(tcb);
    return Drop.None;
  }
  takeAckOfSyn(tcb, segment.acknowledgment);
  // The window of a SYN-ACK is not scaled (RFC 7323 section 2.2).
  tcb.sndWnd = tcb.sndWndMax = segment.window;
  tcb.sndWl1 = segment.sequence;
  tcb.sndWl2 = segment.acknowledgment;
  tcb.rcvAdv = (tcb.rcvNxt + Math.min(0xffff, tcb.receiveBufferBytes)) | 0;
  if ((tcb.fastOpen & (FastOpenState.asked | FastOpenState.sentData)) !== 0) {
    learnFromSynAck(tcp, tcb, segment);
  }
  const waiting = tcb.wantsWritable;
  tcb.ackNow = !waiting;
  becomeEstablished(tcp, tcb, segment, nowMs);
  if (waiting) { // more data follows at once: it will carry the ACK, and be an answer
    tcb.delayedAckAtMs = nowMs + DELAYED_ACK_MS_MAX;
    enterQuickAcks(tcb, tcp.config, tcp.config.quickAcks);
  }
  const dataLength = segment.dataEnd - segment.dataStart;
  segment.sequence = tcb.rcvNxt; // behind the SYN
  if (dataLength > 0) receiveData(tcp, tcb, segment, slab, nowMs);
  if ((flags & TcpFlag.FIN) !== 0) takeFin(tcp, tcb, segment.sequence, dataLength, nowMs);
  if (tcb.ackNow) sendAck(tcp, tcb, nowMs); // unless data that the peer had not taken carried it
  tcp.arm(tcb);
  return Drop.None;
}

/**
 * Our SYN is acknowledged, and perhaps data that it carried. What is not is in flight until `becomeEstablished` sends them again.
 */
export function takeAckOfSyn(tcb: Tcb, ack: number): void {
  const start = (tcb.iss + 1) | 0;
  if ((tcb.fastOpen & FastOpenState.child) !== 0) return; // acknowledge() does that
  const sent = (tcb.sndMax - start) >>> 0;
  const acked = (ack - start) >>> 0;
  tcb.sendQueue.drop(acked);
  tcb.sndUna = ack;
  if (sent > acked) tcb.sent.push(ack, tcb.sndMax, Sent.push, tcb.rttStartMs);
}

/** What a SYN-ACK says about Fast Open at this server (RFC 7413 section 4.2.1). */
function learnFromSynAck(tcp: Tcp, tcb: Tcb, synAck: TcpRecord): void {
  const sentData = (tcb.fastOpen & FastOpenState.sentData) !== 0;
  const gaveNone = tcb.retransmits === 0 && synAck.fastOpenLength < 0 && !sentData;
  tcp.fastOpen.learn(
    tcb.localAddress,
    tcb.remoteAddress,
    synAck,
    synAck.mss || tcb.peerMss,
    tcb.fastOpen,
    gaveNone,
  );
  if (!sentData) return;
  if (tcb.sendQueue.length > 0) {
    tcp.counters.fastOpenActiveFail++;
  } else {
    tcp.counters.fastOpenActive++;
    tcb.fastOpen |= FastOpenState.dataAcked;
  }
}

/** Whether the timestamp that a segment of the handshake echoes is not from before our SYN or SYN-ACK, nor to come. */
export function echoesOurSyn(tcb: Tcb, segment: TcpRecord, nowMs: number): boolean {
  const agoMs = (timestampNow(tcb, nowMs) - segment.tsEcr) | 0;
  return agoMs >= 0 && agoMs <= Math.floor(nowMs) - Math.floor(tcb.rttStartMs);
}

/** The handshake is over: timers off, congestion window set, the owner told. */
export function becomeEstablished(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const retransmits = tcb.retransmits;
  const child = (tcb.fastOpen & FastOpenState.child) !== 0; // its owner has it already, and may have written
  if (tcb.state === TcpState.synReceived && !child) enterAcceptQueue(tcp, tcb);
  tcp.leaveHandshake(tcb);
  tcb.fastOpen &= ~FastOpenState.child;
  tcb.state = tcb.finQueued ? TcpState.finWait1 : TcpState.established;
  tcb.lastReceivedMs = tcb.lastAckMs = nowMs;
  const echo = tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0;
  const rttUs = tcb.rttTiming && retransmits === 0
    ? (nowMs - tcb.rttStartMs) * 1000
    : echo
    ? echoedRttUs(tcb, segment.tsEcr, nowMs)
    : -1;
  if (rttUs >= 0) {
    rttSample(tcb, rttUs, tcp.config);
    minRttSample(tcb, rttUs, false, nowMs);
  } else if (retransmits > 0) {
    tcb.rtoMs = Math.max(tcb.rtoMs, 3_000); // RFC 6298 section 5.7
  }
  tcb.rttTiming = false;
  tcb.backoff = 0;
  tcb.retransmits = 0;
  tcb.delivered++; // our SYN
  rearmTimeout(tcp, tcb, nowMs);
  if (tcb.userTimeoutOption) announceUserTimeout(tcb); // also to who answered with a cookie
  if (!child) startSending(tcp, tcb, nowMs);
  if (!child && tcb.sent.length > 0) retransmitSynData(tcp, tcb, nowMs);
  if (retransmits > 1) tcb.cwnd = tcb.sndMss; // RFC 6928 section 2: one may be no loss, but a long round trip
  startKeepAlive(tcb, nowMs);
  tcp.notify(tcb, child ? TcpEvent.writable : TcpEvent.established | TcpEvent.writable);
  tcp.queueOutput(tcb);
}

/** From here on data may leave. */
export function startSending(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.highSeq = tcb.retransmitHint = tcb.sndUna;
  tcb.lastReceivedMs = nowMs; // as Linux counts
  startMtuSearch(tcp, tcb, nowMs); // it chooses the MSS that windows are counted in
  startCongestion(tcb, tcp.config, nowMs);
}

/** A passive connection waits to be accepted from now on. */
function enterAcceptQueue(tcp: Tcp, tcb: Tcb): void {
  const listener = tcp.listeners.byId(tcb.listener);
  if (listener !== undefined) listener.waiting++;
}

/** (Re)starts the keep-alive clock, when it is switched on. */
export function startKeepAlive(tcb: Tcb, nowMs: number): void {
  tcb.keepAlives = 0;
  tcb.keepAliveAtMs = tcb.keepAlive ? nowMs + tcb.keepAliveIdleMs : Infinity;
}

export function chooseStart(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const ports = (tcb.localPort << 16) | tcb.remotePort;
  tcb.tsOffset = tcp.secrets.timestampOffset(tcb.localAddress, tcb.remoteAddress);
  tcb.iss = tcp.secrets.initialSequence(tcb.localAddress, tcb.remoteAddress, ports, nowMs);
  tcb.sndUna = tcb.sndMax = tcb.smallEnd = tcb.iss;
  tcb.rtoMs = tcp.config.rtoInitialMs;
  tcb.srttUs = -1;
}

/**
 * The shift to offer: one that can tell a sixteenth of the buffer, whatever was configured. For a buffer that the
 * application has set it is, as on Linux, the least that reaches its size.
 */
export function receiveShift(tcp: Tcp, tcb: Tcb): number {
  const shift = tcb.receiveBufferSet
    ? 16 - Math.clz32(tcb.receiveBufferBytes)
    : 27 - Math.clz32(tcp.config.receiveBufferMax);
  return Math.max(0, Math.min(tcp.config.receiveWindowScale, shift));
}

export function learnFromSyn(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  tcb.irs = segment.sequence;
  tcb.rcvNxt = (segment.sequence + 1) | 0;
  tcb.rcvAdv = tcb.rcvNxt;
  tcb.sndShift = Math.max(0, segment.windowScale);
  tcb.sndWnd = tcb.sndWndMax = segment.window;
  tcb.sndWl1 = segment.sequence;
  tcb.sndWl2 = tcb.sndUna;
  tcb.peerMss = Math.max(MSS_MIN, segment.mss || mssDefault(tcb.remoteAddress));
  if (tcb.mssMax > 0) tcb.peerMss = Math.min(tcb.peerMss, tcb.mssMax);
  if (tcb.timestamps) {
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAtMs = nowMs;
  }
  takeUserTimeout(tcb, segment);
  updateMss(tcp, tcb);
  if (tcb.durable !== undefined) holdHandshake(tcb, tcb.durable);
}

function mssDefault(remote: number): number {
  return isIpv6Handle(remote) ? MSS_DEFAULT_IPV6 : MSS_DEFAULT;
}
