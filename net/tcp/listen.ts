import type { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { beginLog } from "./durable.ts";
import { FastOpenState } from "./fast_open.ts";
import {
  chooseStart,
  learnFromSyn,
  receiveShift,
  sendFirstSyn,
  startBeyond,
  startSending,
} from "./handshake.ts";
import { tcpInput } from "./input.ts";
import { acceptQueueFull, synQueueFull, type TcpListener } from "./listeners.ts";
import { tcpSetOptions } from "./options.ts";
import { sendStrayReset, sendSyn } from "./output.ts";
import { receiveData } from "./receive.ts";
import { takeEcnSyn } from "./ecn.ts";
import { COOKIE_MS_MAX, cookieSequence, cookieTimestamp, readCookie } from "./syn_cookies.ts";
import { type Tcb, TcpEvent, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { timestampNow } from "./timestamp.ts";

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
  const full = synQueueFull(listener, synBacklogMax) || tcp.memory.full;
  if (predecessor === undefined && (synCookies === 2 || full)) {
    if (synCookies > 0) return answerWithCookie(tcp, listener, ip, segment, nowMs);
    tcp.counters.reqQFullDrop++;
    return Drop.TcpBacklogFull;
  }
  const opened = tcp.fastOpen.judgeSyn(listener, ip.destination, ip.source, segment, nowMs);
  const tcb = tcp.create(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
  if (tcb === undefined) return Drop.TcpTableFull;
  tcp.setListener(tcb, listener.id);
  beginPassive(tcp, tcb, listener, segment, nowMs);
  if (predecessor !== undefined) startBeyond(tcb, predecessor); // MAY-2
  // Data on a SYN without Fast Open is not taken: it is neither acknowledged nor kept, and the peer sends it again.
  if (opened) openOnSyn(tcp, tcb, listener, segment, slab, nowMs);
  else listener.pending++;
  if (listener.durable) beginLog(tcp, tcb, tcb.iss); // the SYN-ACK leaves when it is in the log
  sendFirstSyn(tcp, tcb, nowMs, tcp.fastOpen.option);
  return Drop.None;
}

/**
 * The listener's application gets the connection, and the SYN's data, before the handshake is over (RFC 7413 section
 * 4.2.2). From here on SND.UNA is beyond the SYN, although only the state knows that its ACK is still to come.
 */
function openOnSyn(
  tcp: Tcp,
  tcb: Tcb,
  listener: TcpListener,
  segment: TcpRecord,
  slab: Slab,
  nowMs: number,
): void {
  listener.fastOpenPending++;
  listener.waiting++;
  tcp.counters.fastOpenPassive++;
  tcb.fastOpen = FastOpenState.child;
  tcb.sndUna = tcb.sndMax = (tcb.iss + 1) | 0;
  startSending(tcp, tcb, nowMs);
  if (segment.dataEnd > segment.dataStart) {
    tcb.fastOpen |= FastOpenState.dataAcked;
    tcb.rcvAdv = (tcb.rcvNxt + Math.min(0xffff, tcb.receiveBufferBytes)) | 0;
    segment.sequence = tcb.rcvNxt;
    receiveData(tcp, tcb, segment, slab, nowMs);
    tcb.ackNow = false; // the SYN-ACK says it
    tcb.delayedAckAtMs = Infinity;
    tcb.ackTimeoutMs = tcb.quickAcks = 0; // the first data is what comes after it, as on Linux
  }
  tcp.notify(tcb, TcpEvent.established | TcpEvent.writable);
}

/** A fresh TCB takes in the SYN of its peer. */
function beginPassive(tcp: Tcp, tcb: Tcb, listener: TcpListener, syn: TcpRecord, nowMs: number): void {
  tcb.state = TcpState.synReceived;
  if (listener.options !== undefined) tcpSetOptions(tcp, tcb, listener.options, nowMs);
  chooseStart(tcp, tcb, nowMs);
  tcb.rcvShift = syn.windowScale >= 0 ? receiveShift(tcp, tcb) : -1;
  tcb.timestamps = tcp.config.timestamps && syn.hasTimestamp;
  takeEcnSyn(tcp, tcb, syn);
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
  segment.flags &= ~TcpFlag.AE; // no cookie remembers so much: RFC 3168's ECN at best
  const tcb = tcp.scratchTcb(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
  if (!tcp.config.timestamps || !segment.hasTimestamp) { // nowhere to keep what they say
    segment.windowScale = -1;
    segment.sackPermitted = false;
    segment.flags &= ~(TcpFlag.ECE | TcpFlag.CWR);
  }
  beginPassive(tcp, tcb, listener, segment, nowMs);
  tcb.iss = tcb.sndUna = tcb.sndMax = cookieSequence(tcp, ip.destination, ip.source, segment, nowMs);
  if (tcb.timestamps) {
    const clock = (timestampNow(tcb, nowMs) - tcb.tsOffset) | 0;
    const stamp = cookieTimestamp(segment, segment.sackPermitted, tcb.ecnOk, clock);
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
  tcp.setListener(tcb, listener.id);
  beginPassive(tcp, tcb, listener, tcp.syn, nowMs);
  tcb.iss = tcb.sndUna = (segment.acknowledgment - 1) | 0;
  tcb.sndMax = segment.acknowledgment;
  tcb.rcvAdv = (tcb.rcvNxt + Math.min(0xffff, tcb.receiveBufferBytes)) | 0;
  tcb.lastAckSent = tcb.rcvNxt;
  if (listener.durable) beginLog(tcp, tcb, tcb.sndMax);
  segment.tsEcr = 0; // its low bits were options: it tells no round-trip time
  tcpInput(tcp, tcb, segment, slab, nowMs);
  return true;
}
