import type { RowReader, RowWriter } from "./frozen_row.ts";
import type { Tcb } from "./tcb.ts";

/** As a rule, once there was data: a constant of the format. */
const ACK_TIMEOUT_MS = 40;

/** What tcp_info counts, as whole numbers. Times are distances from the last activity, in milliseconds. */
export function freezeCounters(tcb: Tcb, atMs: number, into: RowWriter): void {
  const activeMs = Math.floor(tcb.lastActivityMs);
  into.put(tcb.segmentsIn);
  into.put(tcb.segmentsOut);
  into.put(tcb.dataSegmentsIn);
  into.put(tcb.dataSegmentsOut);
  into.put(tcb.rcvMss - tcb.advMss);
  into.put(tcb.advMss - tcb.peerMss); // as a rule each end announces the same
  into.put(activeMs - Math.floor(tcb.lastReceivedMs));
  into.put(activeMs - Math.floor(tcb.lastAckMs));
  into.put(Math.floor(tcb.limitedMs));
  into.put(Math.floor(tcb.windowLimitedMs));
  into.put(Math.floor(tcb.bufferLimitedMs));
  into.put(tcb.limit);
  into.put(tcb.limit === 0 ? 0 : Math.floor(atMs - tcb.limitedSinceMs));
  into.put(tcb.retransmittedBytes);
  into.put(tcb.outOfOrderSegments);
  into.put(tcb.ackTimeoutMs - (tcb.dataSegmentsIn > 0 ? ACK_TIMEOUT_MS : 0));
  into.end();
}

/** Puts them back; `peerMss` and `lastActivityMs` are there already, and `baseMs` is when they were frozen. */
export function thawCounters(row: RowReader, tcb: Tcb, baseMs: number): void {
  tcb.segmentsIn = row.next();
  tcb.segmentsOut = row.next();
  tcb.dataSegmentsIn = row.next();
  tcb.dataSegmentsOut = row.next();
  tcb.rcvMss = row.next();
  tcb.advMss = tcb.peerMss + row.next();
  tcb.rcvMss += tcb.advMss;
  tcb.lastReceivedMs = Math.floor(tcb.lastActivityMs) - row.next();
  tcb.lastAckMs = Math.floor(tcb.lastActivityMs) - row.next();
  tcb.limitedMs = row.next();
  tcb.windowLimitedMs = row.next();
  tcb.bufferLimitedMs = row.next();
  tcb.limit = row.next();
  tcb.limitedSinceMs = baseMs - row.next();
  tcb.retransmittedBytes = row.next();
  tcb.outOfOrderSegments = row.next();
  tcb.ackTimeoutMs = row.next() + (tcb.dataSegmentsIn > 0 ? ACK_TIMEOUT_MS : 0);
}
