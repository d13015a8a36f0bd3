import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { Slab } from "../../base/slab.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { TCP_HEADER_LENGTH, TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { startCongestion } from "./congestion/window.ts";
import { tcpInput } from "./input.ts";
import { acceptQueueFull, synQueueFull, type TcpListener } from "./listeners.ts";
import { tcpSetOptions } from "./options.ts";
import { sendAck, sendStrayReset, sendSyn, TIMESTAMP_OPTION_BYTES } from "./output.ts";
import { echoedRttUs, minRttSample, rttSample } from "./rtt.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import { COOKIE_MS_MAX, cookieSequence, cookieTimestamp, readCookie } from "./syn_cookies.ts";
import type { Tcp } from "./tcp.ts";
import { timestampNow } from "./timestamp.ts";

/** Bytes of data in a segment when the peer names no MSS (MUST-15). */
const MSS_DEFAULT = 536;
const MSS_DEFAULT_IPV6 = 1_220;
/** An MSS below this is an attack on our packet rate; Linux has the same floor. */
const MSS_MIN = 48;

/** ISN of a connection that follows another at once: beyond all that its predecessor sent, as in Linux. */
const REOPEN_DISTANCE = 65_537;

/**
 * A segment for a port that somebody listens on (RFC 9293 section 3.10.7.2). `predecessor` is the
 * connection whose TIME-WAIT the segment ended.
 */
export function listenInput(
  tcp: Tcp,
  listener: TcpListener,
  ip: Ipv4Record,
  segment: TcpRecord,
  slab: Slab,
  nowMs: number,
  predecessor?: Tcb,
): Drop {
  const flags = segment.flags;
  if ((flags & TcpFlag.RST) !== 0) return Drop.TcpUnacceptable;
  if ((flags & TcpFlag.ACK) !== 0) {
    if ((flags & TcpFlag.SYN) === 0 && cookieInput(tcp, listener, ip, segment, slab, nowMs)) return Drop.None;
    sendStrayReset(tcp, ip.destination, ip.source, segment, nowMs);
    return Drop.TcpBadAck;
  }
  // Nobody closes what he opens but to probe for holes in firewalls. RFC 9293 would keep the FIN; Linux does as we.
  if ((flags & (TcpFlag.SYN | TcpFlag.FIN)) !== TcpFlag.SYN) return Drop.TcpUnacceptable;
  if (acceptQueueFull(listener)) {
    tcp.counters.listenOverflows++;
    return Drop.TcpBacklogFull;
  }
  const { synCookies, synBacklogMax } = tcp.config;
  // Whoever was in TIME-WAIT is no flood: it gets a place, and an ISN beyond its predecessor's.
  if (predecessor === undefined && (synCookies === 2 || synQueueFull(listener, synBacklogMax))) {
    if (synCookies > 0) return answerWithCookie(tcp, listener, ip, segment, nowMs);
    tcp.counters.reqQFullDrop++;
    return Drop.TcpBacklogFull;
  }
  const tcb = tcp.create(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
  if (tcb === undefined) return Drop.TcpTableFull;
  listener.pending++;
  tcb.listener = listener.id;
  beginPassive(tcp, tcb, listener, segment, nowMs);
  if (predecessor !== undefined) startBeyond(tcb, predecessor); // MAY-2
  // Data on a SYN without Fast Open is not taken: it is neither acknowledged nor kept, and the peer sends it again.
  sendFirstSyn(tcp, tcb, nowMs);
  return Drop.None;
}

/** A fresh TCB takes in the SYN of its peer. */
function beginPassive(tcp: Tcp, tcb: Tcb, listener: TcpListener, syn: TcpRecord, nowMs: number): void {
  tcb.state = TcpState.synReceived;
  if (listener.options !== undefined) tcpSetOptions(tcp, tcb, listener.options, nowMs);
  chooseStart(tcp, tcb, nowMs);
  tcb.rcvShift = syn.windowScale >= 0 ? receiveShift(tcp, tcb) : -1;
  tcb.timestamps = tcp.config.timestamps && syn.hasTimestamp;
  tcb.sackPermitted = tcp.config.sack && syn.sackPermitted;
  learnFromSyn(tcp, tcb, syn, nowMs);
}

/** The SYN-ACK that remembers itself (RFC 4987 section 3.6). */
function answerWithCookie(
  tcp: Tcp,
  listener: TcpListener,
  ip: Ipv4Record,
  segment: TcpRecord,
  nowMs: number,
): Drop {
  const tcb = tcp.scratchTcb(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
  if (!tcp.config.timestamps || !segment.hasTimestamp) { // nowhere to keep what they say
    segment.windowScale = -1;
    segment.sackPermitted = false;
    segment.flags &= ~(TcpFlag.ECE | TcpFlag.CWR);
  }
  beginPassive(tcp, tcb, listener, segment, nowMs);
  tcb.iss = tcb.sndUna = cookieSequence(tcp, ip.destination, ip.source, segment, nowMs);
  if (tcb.timestamps) {
    const clock = (timestampNow(tcb, nowMs) - tcb.tsOffset) | 0;
    const ecn = (segment.flags & (TcpFlag.ECE | TcpFlag.CWR)) === (TcpFlag.ECE | TcpFlag.CWR);
    const stamp = cookieTimestamp(segment, segment.sackPermitted, ecn, clock);
    tcb.tsOffset = (tcb.tsOffset + stamp - clock) | 0;
  }
  sendSyn(tcp, tcb, nowMs);
  tcp.counters.syncookiesSent++;
  listener.cookiesUntilMs = nowMs + COOKIE_MS_MAX;
  return Drop.None;
}

/** An ACK without a connection may bring back a cookie: then the connection is made of it. False when it does not. */
function cookieInput(
  tcp: Tcp,
  listener: TcpListener,
  ip: Ipv4Record,
  segment: TcpRecord,
  slab: Slab,
  nowMs: number,
): boolean {
  const { destination: local, source: remote } = ip;
  if (tcp.config.synCookies === 0 || nowMs >= listener.cookiesUntilMs) return false;
  const tsOffset = tcp.secrets.timestampOffset(local, remote);
  if (!readCookie(tcp, local, remote, segment, tsOffset, nowMs, tcp.syn)) {
    tcp.counters.syncookiesFailed++;
    return false;
  }
  tcp.counters.syncookiesRecv++;
  if (acceptQueueFull(listener)) {
    tcp.counters.listenOverflows++;
    return true; // silence: the peer tries again with its data
  }
  const tcb = tcp.create(local, remote, segment.destinationPort, segment.sourcePort);
  if (tcb === undefined) return true;
  listener.pending++;
  tcb.listener = listener.id;
  beginPassive(tcp, tcb, listener, tcp.syn, nowMs);
  tcb.iss = tcb.sndUna = (segment.acknowledgment - 1) | 0;
  tcb.sndMax = segment.acknowledgment;
  tcb.rcvAdv = (tcb.rcvNxt + Math.min(0xffff, tcb.receiveBufferBytes)) | 0;
  tcb.lastAckSent = tcb.rcvNxt;
  segment.tsEcr = 0; // its low bits were options: it tells no round-trip time
  tcpInput(tcp, tcb, segment, slab, nowMs);
  return true;
}

/** Old segments of `predecessor`, whose ports `tcb` takes over, must not fit into the new connection. */
export function startBeyond(tcb: Tcb, predecessor: Tcb): void {
  if (!seqLessEqual(tcb.iss, predecessor.sndMax)) return;
  tcb.iss =
    tcb.sndUna =
    tcb.sndMax =
      (predecessor.sndMax + REOPEN_DISTANCE) | 0;
}

/** Starts an active open: the SYN leaves now (RFC 9293 section 3.10.1). */
export function openActive(tcp: Tcp, tcb: Tcb, nowMs: number, predecessor?: Tcb): void {
  tcb.state = TcpState.synSent;
  chooseStart(tcp, tcb, nowMs);
  if (predecessor !== undefined) startBeyond(tcb, predecessor);
  tcb.rcvShift = receiveShift(tcp, tcb);
  tcb.timestamps = tcp.config.timestamps;
  tcb.sackPermitted = tcp.config.sack;
  sendFirstSyn(tcp, tcb, nowMs);
}

/** SYN or SYN-ACK for the first time: it is timed, and sent again when nothing answers. */
function sendFirstSyn(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.lastActivityMs = nowMs;
  sendSyn(tcp, tcb, nowMs);
  tcb.rttTiming = true;
  tcb.rttStartMs = nowMs;
  tcb.retransmitAtMs = nowMs + tcb.rtoMs;
  tcp.arm(tcb);
}

/** A segment for a connection in SYN-SENT (RFC 9293 section 3.10.7.3). */
export function synSentInput(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): Drop {
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
  tcb.sndUna = segment.acknowledgment;
  // The window of a SYN-ACK is not scaled (RFC 7323 section 2.2).
  tcb.sndWnd = tcb.sndWndMax = segment.window;
  tcb.sndWl1 = segment.sequence;
  tcb.sndWl2 = segment.acknowledgment;
  tcb.rcvAdv = (tcb.rcvNxt + Math.min(0xffff, tcb.receiveBufferBytes)) | 0;
  becomeEstablished(tcp, tcb, segment, nowMs);
  sendAck(tcp, tcb, nowMs);
  tcp.arm(tcb);
  return Drop.None;
}

/** Whether the timestamp that a SYN-ACK echoes is of one of the SYNs that we sent. */
function echoesOurSyn(tcb: Tcb, segment: TcpRecord, nowMs: number): boolean {
  const agoMs = (timestampNow(tcb, nowMs) - segment.tsEcr) | 0;
  return agoMs >= 0 && agoMs <= Math.floor(nowMs) - Math.floor(tcb.rttStartMs);
}

/** The handshake is over: timers off, congestion window set, the owner told. */
export function becomeEstablished(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const retransmits = tcb.retransmits;
  if (tcb.state === TcpState.synReceived) enterAcceptQueue(tcp, tcb);
  tcp.leaveHandshake(tcb);
  tcb.state = TcpState.established;
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
  tcb.retransmitAtMs = Infinity;
  tcb.highSeq = tcb.retransmitHint = tcb.sndUna;
  tcb.quickAcks = tcp.config.quickAcks;
  startCongestion(tcb, tcp.config, nowMs);
  if (retransmits > 1) tcb.cwnd = tcb.sndMss; // RFC 6928 section 2: one may be no loss, but a long round trip
  startKeepAlive(tcb, nowMs);
  tcp.notify(tcb, TcpEvent.established | TcpEvent.writable);
  tcp.queueOutput(tcb);
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

function chooseStart(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const ports = (tcb.localPort << 16) | tcb.remotePort;
  tcb.tsOffset = tcp.secrets.timestampOffset(tcb.localAddress, tcb.remoteAddress);
  tcb.iss = tcp.secrets.initialSequence(tcb.localAddress, tcb.remoteAddress, ports, nowMs);
  tcb.sndUna = tcb.sndMax = tcb.iss;
  tcb.rtoMs = tcp.config.rtoInitialMs;
  tcb.srttUs = -1;
}

/** The shift to offer: one that can tell a sixteenth of the buffer, whatever was configured. */
function receiveShift(tcp: Tcp, tcb: Tcb): number {
  const largest = tcb.receiveBufferSet ? tcb.receiveBufferBytes : tcp.config.receiveBufferMax;
  return Math.max(0, Math.min(tcp.config.receiveWindowScale, 27 - Math.clz32(largest)));
}

function learnFromSyn(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
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
  updateMss(tcp, tcb);
}

function mssDefault(remote: number): number {
  return isIpv6Handle(remote) ? MSS_DEFAULT_IPV6 : MSS_DEFAULT;
}

/** Largest payload: what the peer and the path allow, less the options of every segment (MUST-16). */
export function updateMss(tcp: Tcp, tcb: Tcb): void {
  const path = tcp.output.mtuTowards(tcb.remoteAddress) - ipHeaderLength(tcb.remoteAddress) -
    TCP_HEADER_LENGTH;
  const options = tcb.timestamps ? TIMESTAMP_OPTION_BYTES : 0;
  tcb.sndMss = Math.max(8, Math.min(tcb.peerMss, path) - options);
}
