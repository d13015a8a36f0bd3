import { seqLess } from "../../base/sequence.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { TCP_HEADER_LENGTH } from "../wire/tcp.ts";
import { currentMss, sendSyn, TIMESTAMP_OPTION_BYTES, transmitSegment } from "./output.ts";
import { bytesOfRecord } from "./records.ts";
import { retransmitTooLarge } from "./retransmit.ts";
import { Sent } from "./sent_queue.ts";
import {
  CaState,
  cwndPackets,
  packetsInFlight,
  sendLimit,
  SSTHRESH_INFINITE,
  type Tcb,
  TcpState,
} from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * How large our packets may be: what IP knows of the path (RFC 1191, 8201), and what we found out ourselves by
 * sending larger segments and seeing whether they arrive (RFC 4821, with Linux's search). MTUs are IP packets.
 */

/** `TcpConfig.mtuProbing`, as Linux's tcp_mtu_probing. */
export const MtuProbing = { off: 0, onBlackHole: 1, always: 2 } as const;

/** What a probe costs if it is lost must be small beside the window (Linux). */
const PROBE_CWND_MIN = 11;
/** A smaller segment is no path's fault. */
const MSS_MIN = 48;

/** What `probePathMtu` did. */
export const ProbeResult = {
  /** There is nothing to find out now: data may be sent. */
  none: 0,
  /** A probe left. */
  sent: 1,
  /** A probe is worth waiting for: nothing may be sent that would use up the window. */
  wait: 2,
} as const;
export type ProbeResult = (typeof ProbeResult)[keyof typeof ProbeResult];

function headerBytes(tcb: Tcb): number {
  return ipHeaderLength(tcb.remoteAddress) + TCP_HEADER_LENGTH;
}

function optionBytes(tcb: Tcb): number {
  return tcb.timestamps ? TIMESTAMP_OPTION_BYTES : 0;
}

/** The payload that a packet of `mtu` bytes has room for. */
export function mssOf(tcb: Tcb, mtu: number): number {
  return Math.max(MSS_MIN, Math.min(tcb.peerMss, mtu - headerBytes(tcb)) - optionBytes(tcb));
}

/** The packet around `mss` bytes of payload. */
export function mtuOf(tcb: Tcb, mss: number): number {
  return mss + optionBytes(tcb) + headerBytes(tcb);
}

/**
 * Largest payload: what the peer, the path and our own search allow, less the options of every segment (MUST-16,
 * SHLD-6). Called whenever one of them may have changed.
 */
export function updateMss(tcp: Tcp, tcb: Tcb): void {
  const path = tcp.output.mtuTowards(tcb.remoteAddress);
  tcb.pathGeneration = tcp.output.pathGeneration;
  let mss = Math.max(8, Math.min(tcb.peerMss, path - headerBytes(tcb)) - optionBytes(tcb));
  if (tcb.mtuHigh > path) tcb.mtuHigh = path;
  if (tcb.mtuProbing) mss = Math.min(mss, mssOf(tcb, tcb.mtuLow));
  if (mss === tcb.sndMss) return;
  // Windows are counted in segments, as in Linux: what was learnt is how many of them the path carries.
  tcb.cwnd = Math.round(tcb.cwnd / tcb.sndMss * mss);
  if (tcb.ssthresh < SSTHRESH_INFINITE) tcb.ssthresh = Math.round(tcb.ssthresh / tcb.sndMss * mss);
  tcb.sndMss = mss;
}

/**
 * A router could not forward a packet of this connection. What is too long goes again at once, in pieces
 * (RFC 1191 section 6.4): the caller has checked that the packet is in flight (RFC 5927 section 7).
 */
export function packetTooBig(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  pathChanged(tcp, tcb); // no news for the path may be news for this connection
  if (tcb.state === TcpState.synSent && tcb.rttTiming && tcb.sendQueue.length > tcb.sndMss) {
    tcb.rttTiming = false; // once, and Karn
    sendSyn(tcp, tcb, nowMs); // without the data that made it too long (RFC 7413)
  }
  if (tcb.state < TcpState.established || !anyTooLarge(tcp, tcb)) return;
  retransmitTooLarge(tcp, tcb, nowMs);
  tcp.queueOutput(tcb);
}

/**
 * What is known of paths has changed. That this one carries more is for a search to find out, as long as one is on:
 * what it has not tried yet stays untried.
 */
export function pathChanged(tcp: Tcp, tcb: Tcb): void {
  const path = tcp.output.mtuTowards(tcb.remoteAddress);
  if (tcb.mtuProbing && path >= mtuOf(tcb, tcb.sndMss)) tcb.pathGeneration = tcp.output.pathGeneration;
  else updateMss(tcp, tcb);
}

/** Whether something in flight is longer than what may be sent now; a probe may be as long as the path allows. */
function anyTooLarge(tcp: Tcp, tcb: Tcb): boolean {
  const { sent, sndMss: mss } = tcb;
  const probeFits = tcb.mtuProbeSize > 0 && tcb.mtuProbeSize <= tcp.output.mtuTowards(tcb.remoteAddress);
  for (let place = 0; place < sent.length; place++) {
    const at = sent.slot(place);
    if (probeFits && sent.sequence[at] === tcb.mtuProbeStart) continue;
    const fin = (sent.flags[at]! & Sent.fin) !== 0 ? 1 : 0;
    if (((sent.end[at]! - sent.sequence[at]!) | 0) - fin > mss) return true;
  }
  return false;
}

/** The handshake is over: the search may begin. */
export function startMtuSearch(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcp.config.mtuProbing !== MtuProbing.always) return;
  enableSearch(tcp, tcb, nowMs);
  if (tcb.listener < 0 || tcp.config.mtuBaseForAll) updateMss(tcp, tcb);
}

function enableSearch(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.mtuProbing = true;
  tcb.mtuHigh = tcb.peerMss + headerBytes(tcb);
  tcb.mtuLow = mtuOf(tcb, tcp.config.mtuBaseMss);
  tcb.mtuProbeSize = 0;
  tcb.mtuProbedAtMs = nowMs;
}

/**
 * Segments are lost again and again: perhaps the path swallows what is too long for it, and tells nobody (RFC 2923,
 * RFC 4821 section 7.7). First the search starts from its base, then it goes down.
 */
export function suspectBlackHole(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcp.config.mtuProbing === MtuProbing.off) return;
  if (!tcb.mtuProbing) {
    enableSearch(tcp, tcb, nowMs);
    return updateMss(tcp, tcb);
  }
  if (tcb.sndMss > mssOf(tcb, tcb.mtuLow)) return updateMss(tcp, tcb); // the base was not tried yet
  const half = mssOf(tcb, tcb.mtuLow) >> 1;
  const mss = Math.max(Math.min(tcp.config.mtuBaseMss, half), tcp.config.mtuProbeFloor, MSS_MIN);
  tcb.mtuLow = mtuOf(tcb, mss);
  updateMss(tcp, tcb);
}

/** Sends a segment longer than the MSS, if there is something to find out, data for it and window to lose it. */
export function probePathMtu(tcp: Tcp, tcb: Tcb, nowMs: number): ProbeResult {
  if (tcb.mtuProbeSize > 0 || tcb.caState !== CaState.open || cwndPackets(tcb) < PROBE_CWND_MIN) {
    return ProbeResult.none;
  }
  if (tcb.sackBlocks.length > 0 || tcb.dsackPending) return ProbeResult.none; // room is short
  const high = Math.min(tcb.mtuHigh, tcp.output.mtuTowards(tcb.remoteAddress));
  const size = mssOf(tcb, (high + tcb.mtuLow) >> 1);
  if (size > mssOf(tcb, high) || high - tcb.mtuLow < Math.max(1, tcp.config.mtuProbeThreshold)) {
    searchAgain(tcp, tcb, nowMs);
    return ProbeResult.none;
  }
  if (size <= tcb.sndMss) return ProbeResult.none; // every segment shows as much
  const needed = size + (tcb.reordering + 1) * tcb.sndMss; // so that its loss shows by duplicate ACKs
  if (((sendLimit(tcb) - tcb.sndMax) | 0) < needed || tcb.sndWnd < needed) return ProbeResult.none;
  if (bytesOfRecord(tcb) < size) return ProbeResult.none; // no segment goes beyond a record's end
  if (seqLess((tcb.sndUna + tcb.sndWnd) | 0, (tcb.sndMax + needed) | 0)) return ProbeResult.wait;
  const flying = packetsInFlight(tcb);
  if (flying + 2 > cwndPackets(tcb)) return flying === 0 ? ProbeResult.none : ProbeResult.wait;

  const sequence = tcb.sndMax;
  const end = (sequence + size) | 0;
  tcb.sent.push(sequence, end, 0, nowMs);
  transmitSegment(tcp, tcb, sequence, end, 0, nowMs);
  tcb.sndMax = end;
  tcb.cwnd -= tcb.sndMss; // it weighs about two segments; given back when it is lost
  tcb.mtuProbeSize = mtuOf(tcb, size);
  tcb.mtuProbeStart = sequence;
  tcb.mtuProbeEnd = end;
  return ProbeResult.sent;
}

/** Paths change: after a while the search begins anew, from what works now. */
function searchAgain(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (nowMs - tcb.mtuProbedAtMs < tcp.config.mtuProbeIntervalMs) return;
  tcb.mtuHigh = Math.min(tcb.peerMss + headerBytes(tcb), tcp.output.mtuTowards(tcb.remoteAddress));
  tcb.mtuLow = mtuOf(tcb, currentMss(tcp, tcb));
  tcb.mtuProbedAtMs = nowMs;
}

/** SND.UNA has moved: has the probe arrived? */
export function checkMtuProbe(tcp: Tcp, tcb: Tcb): void {
  if (tcb.mtuProbeSize === 0 || seqLess(tcb.sndUna, tcb.mtuProbeEnd)) return;
  const { cwnd } = tcb;
  tcb.mtuLow = tcb.mtuProbeSize;
  tcb.mtuProbeSize = 0;
  updateMss(tcp, tcb);
  tcb.cwnd = Math.max(cwnd, tcb.sndMss); // no more bytes than before
}

/**
 * The first segment in flight is lost. When it is the probe, that says nothing of congestion: it goes again in
 * pieces, and the window stays (RFC 4821 section 7.4).
 * @returns Whether it was the probe.
 */
export function loseMtuProbe(tcp: Tcp, tcb: Tcb, nowMs: number): boolean {
  if (tcb.mtuProbeSize === 0 || tcb.caState >= CaState.cwr || tcb.sndUna !== tcb.mtuProbeStart) return false;
  tcb.mtuHigh = tcb.mtuProbeSize - 1;
  tcb.mtuProbeSize = 0;
  tcb.cwnd += tcb.sndMss;
  retransmitTooLarge(tcp, tcb, nowMs);
  return true;
}

/** As whole numbers, for an image: nothing while no search is on. Positions from SND.UNA. */
export function freezeMtuSearch(tcb: Tcb, atMs: number): number[] {
  if (!tcb.mtuProbing) return [];
  const state = [tcb.mtuLow, tcb.mtuHigh, Math.max(0, Math.floor(atMs - tcb.mtuProbedAtMs))];
  if (tcb.mtuProbeSize === 0) return state;
  const start = (tcb.mtuProbeStart - tcb.sndUna) | 0;
  const end = (tcb.mtuProbeEnd - tcb.sndUna) | 0;
  return [...state, tcb.mtuProbeSize, start, end];
}

/** Puts it back; `sndUna` is there already, and `baseMs` is when it was frozen. */
export function thawMtuSearch(state: readonly number[], tcb: Tcb, baseMs: number): void {
  const { 0: low = 0, 1: high = 0, 2: ageMs = 0, 3: probeSize = 0, 4: start = 0, 5: end = 0 } = state;
  tcb.mtuProbing = state.length > 0;
  tcb.mtuLow = low;
  tcb.mtuHigh = high;
  tcb.mtuProbedAtMs = baseMs - ageMs;
  tcb.mtuProbeSize = probeSize;
  tcb.mtuProbeStart = (tcb.sndUna + start) | 0;
  tcb.mtuProbeEnd = (tcb.sndUna + end) | 0;
}
