import { ageMs } from "./frozen_row.ts";
import { FrozenFlag, UNSET_BUFFER_BYTES } from "./frozen_tcb.ts";
import { flightSize, type Tcb, TcpState } from "./tcb.ts";
import { fullSegmentProven } from "./too_big.ts";

/** What stands for `null` among numbers. */
const NO_DEADLINE = NaN;
const NOT_SENT = NaN;

/**
 * Writes those places of a `FrozenTcb` that are numbers, where they are in the tuple; what is `null` there is NaN. The
 * other places are left as they were.
 *
 * @param settled What has been sent and what lies ahead of a hole counts (see `Unsettled`).
 * @returns Whether nothing was sent for so long that it does not matter when.
 */
export function freezeNumbers(tcb: Tcb, atMs: number, settled: boolean, into: Float64Array): boolean {
  const flags = (tcb.finQueued ? FrozenFlag.finQueued : 0) | (tcb.finReceived ? FrozenFlag.finReceived : 0) |
    (tcb.finPending && settled ? FrozenFlag.finPending : 0) | (tcb.timestamps ? FrozenFlag.timestamps : 0) |
    (tcb.rttTiming ? FrozenFlag.rttTiming : 0) | (tcb.ackNow ? FrozenFlag.ackNow : 0) |
    (tcb.noDelay ? FrozenFlag.noDelay : 0) | (tcb.keepAlive ? FrozenFlag.keepAlive : 0) |
    (tcb.orphan ? FrozenFlag.orphan : 0) | (tcb.wantsWritable ? FrozenFlag.wantsWritable : 0) |
    (tcb.wantsDrained ? FrozenFlag.wantsDrained : 0) | (tcb.cwndLimited ? FrozenFlag.cwndLimited : 0) |
    (tcb.sackPermitted ? FrozenFlag.sackPermitted : 0) | (tcb.interactive ? FrozenFlag.interactive : 0) |
    (fullSegmentProven(tcb) ? FrozenFlag.fullSegmentProven : 0) |
    (tcb.durable !== undefined ? FrozenFlag.durable : 0);
  // Longer ago than this is idleness, however long (RFC 5681 section 4.1).
  const sentAgoMs = Math.max(0, Math.floor(atMs - tcb.lastSentMs));
  // CUBIC alone wants to know how long: its curve stands still meanwhile.
  const timeoutMs = tcb.backoff === 0 ? tcb.rtoMs : tcb.rtoMs * 2 ** tcb.backoff; // a power takes a call
  const idle = flightSize(tcb) === 0 && sentAgoMs > timeoutMs && tcb.cubicEpochMs === Infinity;
  into[0] = atMs;
  into[3] = tcb.localPort;
  into[4] = tcb.remotePort;
  into[5] = tcb.state;
  into[6] = flags;
  into[7] = tcb.sndUna >>> 0;
  into[8] = (tcb.sndUna - tcb.iss) >>> 0;
  into[9] = tcb.sndWnd;
  into[10] = tcb.sndWndMax - tcb.sndWnd;
  into[11] = (tcb.rcvNxt - tcb.sndWl1) | 0;
  into[12] = (tcb.sndUna - tcb.sndWl2) | 0;
  into[13] = tcb.sndShift;
  into[14] = tcb.peerMss;
  into[15] = tcb.peerMss - tcb.sndMss;
  into[16] = tcb.rcvNxt >>> 0;
  into[17] = (tcb.rcvNxt - tcb.irs) >>> 0;
  into[18] = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  into[19] = tcb.rcvShift;
  into[20] = tcb.tsOffset >>> 0;
  into[21] = tcb.tsRecent >>> 0;
  into[22] = tcb.timestamps ? ageMs(atMs, tcb.tsRecentAtMs) : 0;
  into[23] = tcb.srttUs;
  into[24] = tcb.rttvarUs;
  into[25] = tcb.rtoMs;
  into[26] = tcb.cwnd;
  into[27] = tcb.quickAcks;
  into[28] = ageMs(atMs, tcb.lastActivityMs);
  into[29] = tcb.bytesIn;
  into[30] = tcb.bytesOut;
  into[31] = tcb.ssthresh;
  into[32] = tcb.cwndBytesAcked;
  into[33] = (tcb.highSeq - tcb.iss) | 0;
  into[34] = tcb.retransmittedSegments;
  into[35] = leftMs(atMs, tcb.keepAliveAtMs);
  into[36] = tcb.keepAlives;
  into[37] = tcb.keepAliveIdleMs;
  into[38] = tcb.keepAliveIntervalMs;
  into[39] = tcb.keepAliveProbes;
  into[40] = tcb.userTimeoutMs;
  into[41] = tcb.sendBufferSet ? tcb.sendBufferBytes : UNSET_BUFFER_BYTES;
  into[42] = tcb.receiveBufferSet ? tcb.receiveBufferBytes : UNSET_BUFFER_BYTES;
  into[43] = tcb.typeOfService;
  into[44] = tcb.timeToLive;
  into[45] = tcb.softError;
  into[46] = leftMs(atMs, tcb.delayedAckAtMs);
  into[47] = (tcb.rcvNxt - tcb.lastAckSent) | 0;
  into[48] = idle || sentAgoMs === Infinity ? NOT_SENT : sentAgoMs; // nothing but a handshake was sent
  into[49] = 0;
  into[50] = settled ? (tcb.sndMax - tcb.sndUna) >>> 0 : 0;
  into[51] = settled ? leftMs(atMs, tcb.retransmitAtMs) : NO_DEADLINE;
  into[52] = settled ? tcb.retransmits : 0;
  into[53] = settled && tcb.retransmits > 0 ? ageMs(atMs, tcb.stuckSinceMs) : 0;
  into[54] = settled ? tcb.backoff : 0;
  into[55] = 0;
  into[56] = 0;
  into[57] = 0;
  into[58] = handshakeAgeMs(tcb, atMs);
  into[59] = settled ? leftMs(atMs, tcb.persistAtMs) : NO_DEADLINE;
  into[60] = settled ? tcb.persists : 0;
  into[61] = settled ? tcb.probesUnanswered : 0;
  into[62] = leftMs(atMs, tcb.expireAtMs);
  into[63] = tcb.finPending && settled ? (tcb.finAhead - tcb.rcvNxt) | 0 : 0;
  into[71] = settled && tcb.persists + tcb.probesUnanswered > 0 ? ageMs(atMs, tcb.persistSinceMs) : 0;
  into[75] = tcb.fastOpen;
  return idle;
}

/**
 * How long ago our first SYN or SYN-ACK left, rounded up: while a handshake lasts, what echoes an older timestamp is of
 * another (handshake.ts), whether a round trip is still timed or not.
 */
function handshakeAgeMs({ state, rttTiming, rttStartMs }: Tcb, atMs: number): number {
  if (!rttTiming && (state >= TcpState.established || rttStartMs === 0)) return 0;
  return Math.max(0, atMs - Math.floor(rttStartMs));
}

function leftMs(atMs: number, deadlineMs: number): number {
  return deadlineMs === Infinity ? NO_DEADLINE : Math.ceil(deadlineMs - atMs);
}
