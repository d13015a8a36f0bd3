import type { Tcb } from "./tcb.ts";

/** Drops the zeros at the end: they are what is meant when nothing stands there. */
export function withoutTail(state: number[]): number[] {
  let length = state.length;
  while (length > 0 && state[length - 1] === 0) length--;
  state.length = length;
  return state;
}

/** As a rule, once there was data: a constant of the format. */
const ACK_TIMEOUT_MS = 40;

/** What tcp_info counts, as whole numbers. Times are distances from the last activity, in milliseconds. */
export function freezeCounters(tcb: Tcb, atMs: number): number[] {
  const before = (sinceMs: number): number => Math.floor(tcb.lastActivityMs) - Math.floor(sinceMs);
  return withoutTail([
    tcb.segmentsIn,
    tcb.segmentsOut,
    tcb.dataSegmentsIn,
    tcb.dataSegmentsOut,
    tcb.rcvMss - tcb.advMss,
    tcb.advMss - tcb.peerMss, // as a rule each end announces the same
    before(tcb.lastReceivedMs),
    before(tcb.lastAckMs),
    Math.floor(tcb.limitedMs),
    Math.floor(tcb.windowLimitedMs),
    Math.floor(tcb.bufferLimitedMs),
    tcb.limit,
    tcb.limit === 0 ? 0 : Math.floor(atMs - tcb.limitedSinceMs),
    tcb.retransmittedBytes,
    tcb.outOfOrderSegments,
    tcb.ackTimeoutMs - (tcb.dataSegmentsIn > 0 ? ACK_TIMEOUT_MS : 0),
  ]);
}

/** Puts them back; `peerMss` and `lastActivityMs` are there already, and `baseMs` is when they were frozen. */
export function thawCounters(state: readonly number[], tcb: Tcb, baseMs: number): void {
  let at = 0;
  const next = (): number => state[at++] ?? 0;
  tcb.segmentsIn = next();
  tcb.segmentsOut = next();
  tcb.dataSegmentsIn = next();
  tcb.dataSegmentsOut = next();
  tcb.rcvMss = next();
  tcb.advMss = tcb.peerMss + next();
  tcb.rcvMss += tcb.advMss;
  tcb.lastReceivedMs = Math.floor(tcb.lastActivityMs) - next();
  tcb.lastAckMs = Math.floor(tcb.lastActivityMs) - next();
  tcb.limitedMs = next();
  tcb.windowLimitedMs = next();
  tcb.bufferLimitedMs = next();
  tcb.limit = next();
  tcb.limitedSinceMs = baseMs - next();
  tcb.retransmittedBytes = next();
  tcb.outOfOrderSegments = next();
  tcb.ackTimeoutMs = next() + (tcb.dataSegmentsIn > 0 ? ACK_TIMEOUT_MS : 0);
}
