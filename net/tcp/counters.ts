import { seqLess } from "../../base/sequence.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import { cwndPackets, packetsInFlight, sendEnd, type Tcb } from "./tcb.ts";

/** What keeps data from being sent or acknowledged sooner (Linux's `tcp_chrono`). */
export const Limit = {
  /** There is no data. */
  none: 0,
  /** The network: congestion window and round trip. */
  network: 1,
  /** The peer's window. */
  window: 2,
  /** Our send buffer: all of it is in flight, and the application has more. */
  buffer: 3,
} as const;

/** A smaller estimate is not believed (Linux's `TCP_MIN_MSS`). */
const RECEIVED_MSS_MIN = 88;

/** Counts a segment that arrives, or those of a train. */
export function countSegmentIn(tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const { segmentBytes } = segment;
  const length = segment.dataEnd - segment.dataStart;
  const count = segmentBytes > 0 && length > segmentBytes ? Math.ceil(length / segmentBytes) : 1;
  tcb.segmentsIn += count;
  if (length > 0) tcb.dataSegmentsIn += count;
  tcb.lastAckMs = nowMs;
}

/** Looks at the length of data that is taken in: the peer's segments are as long as its longest. */
export function measureReceivedMss(tcb: Tcb, { dataStart, dataEnd, segmentBytes }: TcpRecord): void {
  const length = dataEnd - dataStart;
  const dataLength = segmentBytes > 0 ? Math.min(length, segmentBytes) : length;
  if (dataLength > tcb.rcvMss) tcb.rcvMss = Math.max(RECEIVED_MSS_MIN, Math.min(dataLength, tcb.advMss));
}

/** Looks at what limits the sender from `nowMs` on. */
export function watchLimit(tcb: Tcb, nowMs: number): void {
  const limit = limitOf(tcb);
  if (limit === tcb.limit) return;
  const elapsedMs = Math.max(0, nowMs - tcb.limitedSinceMs);
  if (tcb.limit !== Limit.none) tcb.limitedMs += elapsedMs;
  if (tcb.limit === Limit.window) tcb.windowLimitedMs += elapsedMs;
  if (tcb.limit === Limit.buffer) tcb.bufferLimitedMs += elapsedMs;
  tcb.limit = limit;
  tcb.limitedSinceMs = nowMs;
}

function limitOf(tcb: Tcb): number {
  if (tcb.sendQueue.length === 0) return Limit.none;
  const unsent = (sendEnd(tcb) - tcb.sndMax) | 0;
  if (unsent <= 0) return tcb.wantsWritable ? Limit.buffer : Limit.network;
  if (packetsInFlight(tcb) >= cwndPackets(tcb)) return Limit.network; // whatever the peer says
  const next = (tcb.sndMax + Math.min(unsent, tcb.sndMss)) | 0;
  return seqLess((tcb.sndUna + tcb.sndWnd) | 0, next) ? Limit.window : Limit.network;
}
