import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { Drop } from "../wire/drop.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { startCongestion } from "./congestion/window.ts";
import { hasRoom, type TcpListener } from "./listeners.ts";
import { tcpSetOptions } from "./options.ts";
import { sendAck, sendStrayReset, sendSyn, TIMESTAMP_OPTION_BYTES } from "./output.ts";
import { rttSample } from "./rtt.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import { type Tcp, timestampNow } from "./tcp.ts";

const IPV4_AND_TCP_BYTES = 40;
/** Bytes of data in a segment when the peer names no MSS (MUST-15). */
const MSS_DEFAULT = 536;
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
  nowMs: number,
  predecessor?: Tcb,
): Drop {
  const flags = segment.flags;
  if ((flags & TcpFlag.RST) !== 0) return Drop.TcpUnacceptable;
  if ((flags & TcpFlag.ACK) !== 0) {
    sendStrayReset(tcp, ip.destination, ip.source, segment, nowMs);
    return Drop.TcpBadAck;
  }
  if ((flags & TcpFlag.SYN) === 0) return Drop.TcpUnacceptable;
  if (!hasRoom(listener)) return Drop.TcpBacklogFull;
  const tcb = tcp.create(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
  if (tcb === undefined) return Drop.TcpTableFull;
  listener.pending++;
  tcb.listener = listener.id;
  tcb.state = TcpState.synReceived;
  if (listener.options !== undefined) tcpSetOptions(tcp, tcb, listener.options, nowMs);
  chooseStart(tcp, tcb, nowMs);
  if (predecessor !== undefined && seqLessEqual(tcb.iss, predecessor.sndMax)) {
    tcb.iss =
      tcb.sndUna =
      tcb.sndNxt =
      tcb.sndMax =
        (predecessor.sndMax + REOPEN_DISTANCE) | 0; // MAY-2
  }
  tcb.rcvShift = segment.windowScale >= 0 ? receiveShift(tcp, tcb) : -1;
  tcb.timestamps = tcp.config.timestamps && segment.hasTimestamp;
  learnFromSyn(tcp, tcb, segment, nowMs);
  sendFirstSyn(tcp, tcb, nowMs);
  return Drop.None;
}

/** Starts an active open: the SYN leaves now (RFC 9293 section 3.10.1). */
export function openActive(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.state = TcpState.synSent;
  chooseStart(tcp, tcb, nowMs);
  tcb.rcvShift = receiveShift(tcp, tcb);
  tcb.timestamps = tcp.config.timestamps;
  sendFirstSyn(tcp, tcb, nowMs);
}

/** SYN or SYN-ACK for the first time: it is timed, and sent again when nothing answers. */
function sendFirstSyn(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.lastActivityMs = nowMs;
  sendSyn(tcp, tcb, nowMs);
  tcb.rttTiming = true;
  tcb.rttSeq = tcb.sndMax;
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
  if ((flags & TcpFlag.RST) !== 0) {
    if (!acks) return Drop.TcpUnacceptable;
    tcp.destroy(tcb, TcpError.refused);
    return Drop.None;
  }
  if ((flags & TcpFlag.SYN) === 0) return Drop.TcpUnacceptable;
  if (segment.windowScale < 0) tcb.rcvShift = -1;
  if (!segment.hasTimestamp) tcb.timestamps = false;
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

/** The handshake is over: timers off, congestion window set, the owner told. */
export function becomeEstablished(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const retransmitted = tcb.retransmits > 0;
  tcp.leaveHandshake(tcb);
  tcb.state = TcpState.established;
  if (tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0) {
    rttSample(tcb, (timestampNow(tcb, nowMs) - segment.tsEcr) | 0, tcp.config);
  } else if (tcb.rttTiming && !retransmitted) {
    rttSample(tcb, nowMs - tcb.rttStartMs, tcp.config);
  } else {
    tcb.rtoMs = Math.max(tcb.rtoMs, 3_000); // RFC 6298 section 5.7
  }
  tcb.rttTiming = false;
  tcb.backoff = 0;
  tcb.retransmits = 0;
  tcb.retransmitAtMs = Infinity;
  tcb.recover = tcb.sndUna;
  tcb.quickAcks = tcp.config.quickAcks;
  startCongestion(tcb, tcp.config, nowMs);
  if (retransmitted) tcb.cwnd = tcb.sndMss; // RFC 5681 section 3.1
  startKeepAlive(tcb, nowMs);
  tcp.notify(tcb, TcpEvent.established | TcpEvent.writable);
  tcp.queueOutput(tcb);
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
  tcb.sndUna = tcb.sndNxt = tcb.sndMax = tcb.iss;
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
  tcb.peerMss = Math.max(MSS_MIN, segment.mss || MSS_DEFAULT);
  if (tcb.mssMax > 0) tcb.peerMss = Math.min(tcb.peerMss, tcb.mssMax);
  if (tcb.timestamps) {
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAtMs = nowMs;
  }
  updateMss(tcp, tcb);
}

/** Largest payload: what the peer and the path allow, less the options of every segment (MUST-16). */
export function updateMss(tcp: Tcp, tcb: Tcb): void {
  const path = tcp.output.mtuTowards(tcb.remoteAddress) - IPV4_AND_TCP_BYTES;
  const options = tcb.timestamps ? TIMESTAMP_OPTION_BYTES : 0;
  tcb.sndMss = Math.max(8, Math.min(tcb.peerMss, path) - options);
}
