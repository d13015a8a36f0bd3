import { FastOpenState } from "./fast_open.ts";
import { TIMESTAMP_OPTION_BYTES } from "./output.ts";
import { Limit } from "./counters.ts";
import { unsentBytes } from "./send_buffer.ts";
import { finSent, flightSize, type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/** Bits of `TcpInfo.options`, as Linux has them in `tcpi_options`. */
export const TcpInfoOption = {
  timestamps: 1,
  sack: 2,
  windowScale: 4,
  ecn: 8,
  /** ECN was agreed on, and a packet with an ECN mark has arrived. */
  ecnSeen: 16,
  /** Data on our SYN was acknowledged (RFC 7413). */
  synData: 32,
} as const;

/**
 * A connection in numbers: Linux's `struct tcp_info`, field by field. Each name is Linux's without `tcpi_` and in
 * camel case (`sndCwnd` is `tcpi_snd_cwnd`), so are units: microseconds for round trips and timeouts,
 * milliseconds for `last…`, segments for `sndCwnd`, `unacked`, `lost`, `retrans`, bytes for the rest.
 */
export interface TcpInfo {
  /** Linux's number: 1 ESTABLISHED, 2 SYN_SENT, 3 SYN_RECV, 4 FIN_WAIT1, 5 FIN_WAIT2, 6 TIME_WAIT, 7 CLOSE, 8 CLOSE_WAIT, 9 LAST_ACK, 11 CLOSING. */
  state: number;
  /** 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss. */
  caState: number;
  /** Timeouts in a row without an answer. */
  retransmits: number;
  /** Window and keep-alive probes without an answer. */
  probes: number;
  /** How often the retransmission timeout is doubled at present. */
  backoff: number;
  /** A set of `TcpInfoOption` bits. */
  options: number;
  /** By how many bits the windows that the peer names are shifted. */
  sndWscale: number;
  /** By how many bits those are that we name. */
  rcvWscale: number;
  /** The retransmission timeout. */
  rto: number;
  /** The timeout of a delayed ACK. */
  ato: number;
  /** Bytes of the segments that we send. */
  sndMss: number;
  /** Bytes of those that the peer sends. */
  rcvMss: number;
  /** Segments in flight. */
  unacked: number;
  /** Of those, the ones that the peer has. */
  sacked: number;
  /** Of those, the ones that are lost. */
  lost: number;
  /** Of those, the ones that were sent again. */
  retrans: number;
  /** Since we have sent data. */
  lastDataSent: number;
  /** Since data has come. */
  lastDataRecv: number;
  /** Since an ACK has come. */
  lastAckRecv: number;
  /** The longest packet of the path. */
  pmtu: number;
  /** How far our window may grow at present. */
  rcvSsthresh: number;
  /** The smoothed round trip time. */
  rtt: number;
  /** Its variation. */
  rttvar: number;
  /** In segments; 2^31 - 1 while there was no loss. */
  sndSsthresh: number;
  /** The congestion window. */
  sndCwnd: number;
  /** The segment size that we have announced. */
  advmss: number;
  /** By how many segments packets overtake each other, as far as is known. */
  reordering: number;
  /** The round trip time as the receiver sees it. */
  rcvRtt: number;
  /** Bytes that were read in the last round trip. */
  rcvSpace: number;
  /** Segments that were ever sent again. */
  totalRetrans: number;
  /** Linux counts the FIN as one, and in an active open the SYN, which this does not. */
  bytesAcked: number;
  /** Bytes that have arrived in order. */
  bytesReceived: number;
  /** Segments sent. */
  segsOut: number;
  /** Segments received. */
  segsIn: number;
  /** Bytes written and not sent yet. */
  notsentBytes: number;
  /** 2^32 - 1 while there is no sample. */
  minRtt: number;
  /** Segments with data received. */
  dataSegsIn: number;
  /** Segments with data sent. */
  dataSegsOut: number;
  /** Microseconds with data unacknowledged; of those, with the peer's window or the send buffer in the way. */
  busyTime: number;
  /** Of that, with the peer's window in the way. */
  rwndLimited: number;
  /** Of that, with the send buffer in the way. */
  sndbufLimited: number;
  /** Segments that have arrived, as far as is known. */
  delivered: number;
  /** Of those, with a congestion mark. */
  deliveredCe: number;
  /** Packets that arrived with a mark (Accurate ECN, as the seven below; else 0). */
  receivedCe: number;
  /** Bytes that the peer received as ECT(1), ECT(0) and CE. */
  deliveredE1Bytes: number;
  /** As ECT(0). */
  deliveredE0Bytes: number;
  /** As CE. */
  deliveredCeBytes: number;
  /** Bytes that we received so. */
  receivedE1Bytes: number;
  /** As ECT(0). */
  receivedE0Bytes: number;
  /** As CE. */
  receivedCeBytes: number;
  /** Bytes sent, again too. */
  bytesSent: number;
  /** Bytes sent again. */
  bytesRetrans: number;
  /** Segments that have arrived twice, as the peer says. */
  dsackDups: number;
  /** How often reordering was seen. */
  reordSeen: number;
  /** Segments that came out of order. */
  rcvOoopack: number;
  /** The window that the peer has given. */
  sndWnd: number;
  /** The window that we have given. */
  rcvWnd: number;
}

/** Our states as Linux numbers them. */
const LINUX_STATES: readonly number[] = [7, 2, 3, 1, 4, 5, 8, 11, 9, 6];
const INFINITE_THRESHOLD = 0x7fff_ffff;

/** What is known about the connection now. A sleeping one must be awake for it: only a TCB knows. */
export function tcpInfo(tcp: Tcp, tcb: Tcb, nowMs: number): TcpInfo {
  const options = tcb.timestamps ? TIMESTAMP_OPTION_BYTES : 0;
  const scaled = tcb.rcvShift >= 0 && tcb.state > TcpState.synSent;
  const since = (atMs: number): number => Math.max(0, Math.floor(nowMs - Math.max(atMs, 0)));
  const pmtu = tcp.output.mtuTowards(tcb.remoteAddress);
  const unsent = tcb.state < TcpState.established ? tcb.sendQueue.length : unsentBytes(tcb);
  const inFlight = tcb.sendQueue.length - unsent;
  const nowLimitedMs = tcb.limit === Limit.none ? 0 : Math.max(0, nowMs - tcb.limitedSinceMs);
  const micros = (ms: number, limit: number): number =>
    Math.round((ms + (limit === tcb.limit ? nowLimitedMs : 0)) * 1000);
  return {
    state: LINUX_STATES[tcb.state]!,
    caState: tcb.caState,
    retransmits: tcb.retransmits,
    probes: tcb.probesUnanswered + tcb.keepAlives,
    backoff: Math.max(tcb.backoff, tcb.persists),
    options: (tcb.timestamps ? TcpInfoOption.timestamps : 0) | (tcb.sackPermitted ? TcpInfoOption.sack : 0) |
      (scaled ? TcpInfoOption.windowScale : 0) |
      ((tcb.fastOpen & FastOpenState.dataAcked) !== 0 ? TcpInfoOption.synData : 0) |
      ((tcb.ecnOk || tcb.accEcn !== undefined) && tcb.state > TcpState.synSent ? TcpInfoOption.ecn : 0) |
      (tcb.ecnSeen ? TcpInfoOption.ecnSeen : 0),
    sndWscale: scaled ? tcb.sndShift : 0,
    rcvWscale: scaled ? tcb.rcvShift : 0,
    rto: Math.min(tcp.config.rtoMaxMs, tcb.rtoMs * 2 ** Math.min(tcb.backoff, 16)) * 1000,
    ato: tcb.ackTimeoutMs * 1000,
    sndMss: tcb.sndMss,
    rcvMss: tcb.rcvMss,
    unacked: tcb.sent.length,
    sacked: tcb.sackedOut,
    lost: tcb.lostOut,
    retrans: tcb.retransOut,
    lastDataSent: since(tcb.lastSentMs === -Infinity ? tcb.lastActivityMs : tcb.lastSentMs),
    lastDataRecv: since(tcb.lastReceivedMs),
    lastAckRecv: since(tcb.lastAckMs),
    pmtu,
    rcvSsthresh: tcb.receiveBufferBytes,
    rtt: Math.max(0, tcb.srttUs),
    rttvar: tcb.rttvarUs,
    sndSsthresh: tcb.ssthresh >= INFINITE_THRESHOLD
      ? INFINITE_THRESHOLD
      : Math.floor(tcb.ssthresh / tcb.sndMss),
    sndCwnd: Math.floor(tcb.cwnd / tcb.sndMss),
    advmss: tcb.advMss - (tcb.state > TcpState.synSent ? options : 0),
    reordering: tcb.reordering,
    rcvRtt: tcb.receiveRttUs,
    rcvSpace: tcb.receiveSpaceBytes,
    totalRetrans: tcb.retransmittedSegments,
    bytesAcked: tcb.bytesOut - tcb.retransmittedBytes - inFlight + (isFinAcknowledged(tcb) ? 1 : 0),
    bytesReceived: tcb.bytesIn,
    segsOut: tcb.segmentsOut,
    segsIn: tcb.segmentsIn,
    notsentBytes: unsent,
    minRtt: tcb.minRttUs < 0 ? 0xffff_ffff : tcb.minRttUs,
    dataSegsIn: tcb.dataSegmentsIn,
    dataSegsOut: tcb.dataSegmentsOut,
    busyTime: Math.round((tcb.limitedMs + nowLimitedMs) * 1000),
    rwndLimited: micros(tcb.windowLimitedMs, Limit.window),
    sndbufLimited: micros(tcb.bufferLimitedMs, Limit.buffer),
    delivered: tcb.delivered,
    deliveredCe: tcb.deliveredCe,
    receivedCe: tcb.accEcn?.receivedCe ?? 0,
    deliveredE1Bytes: tcb.accEcn?.deliveredBytes[0] ?? 0,
    deliveredE0Bytes: tcb.accEcn?.deliveredBytes[1] ?? 0,
    deliveredCeBytes: tcb.accEcn?.deliveredBytes[2] ?? 0,
    receivedE1Bytes: tcb.accEcn?.receivedBytes[0] ?? 0,
    receivedE0Bytes: tcb.accEcn?.receivedBytes[1] ?? 0,
    receivedCeBytes: tcb.accEcn?.receivedBytes[2] ?? 0,
    bytesSent: tcb.bytesOut,
    bytesRetrans: tcb.retransmittedBytes,
    dsackDups: tcb.dsackDups,
    reordSeen: tcb.reorderingSeen,
    rcvOoopack: tcb.outOfOrderSegments,
    sndWnd: tcb.sndWnd,
    rcvWnd: Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0),
  };
}

function isFinAcknowledged(tcb: Tcb): boolean {
  return tcb.state === TcpState.finWait2 || tcb.state === TcpState.timeWait ||
    (finSent(tcb) && flightSize(tcb) === 0);
}

/** The same under Linux's own names, `tcpi_snd_cwnd` for `sndCwnd`. */
export function linuxTcpInfo(info: TcpInfo): Record<string, number> {
  const names = Object.entries(info) as [string, number][];
  return Object.fromEntries(names.map(([name, value]) => {
    return [`tcpi_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`, value];
  }));
}
