import type { TcpConfig } from "./config.ts";
import { type Tcb, TcpState } from "./tcb.ts";

/**
 * When an ACK may wait (RFC 9293 section 3.8.6.3, MUST-58, MUST-59, SHLD-18), decided as Linux does. At the start and
 * after a pause each segment is acknowledged at once ("quick ACKs"), because the peer's window is small. A connection
 * that answers data with data is interactive ("pingpong"): there the answer will carry the ACK.
 */

/** No guess of when the next segment comes is above this (Linux's `TCP_DELACK_MAX`; RFC 9293 MUST-40: below 500 ms). */
export const DELAYED_ACK_MS_MAX = 200;

/** New data is taken in, in order or not: when it came says how long an ACK may wait, and whether the peer paused. */
export function watchDataReceived(tcb: Tcb, config: Readonly<TcpConfig>, nowMs: number): void {
  const least = config.delayedAckMs;
  const sinceMs = nowMs - tcb.lastReceivedMs;
  tcb.lastReceivedMs = nowMs;
  if (tcb.ackTimeoutMs === 0) { // the first data
    addQuickAcks(tcb, config.quickAcks);
    tcb.ackTimeoutMs = least;
  } else if (sinceMs <= least / 2) {
    tcb.ackTimeoutMs = Math.floor(tcb.ackTimeoutMs / 2) + Math.floor(least / 2);
  } else if (sinceMs < tcb.ackTimeoutMs) {
    const guessMs = Math.floor(tcb.ackTimeoutMs / 2) + Math.floor(sinceMs);
    tcb.ackTimeoutMs = Math.min(guessMs, tcb.rtoMs, Math.max(least, DELAYED_ACK_MS_MAX));
  } else if (sinceMs > tcb.rtoMs) {
    addQuickAcks(tcb, config.quickAcks); // its congestion window may be small again
  }
}

/** Data leaves: soon after the peer's, it is an answer. */
export function watchDataSent(tcb: Tcb, nowMs: number): void {
  if (nowMs - tcb.lastReceivedMs < tcb.ackTimeoutMs) tcb.interactive = true;
}

/** The peer cannot wait, for it has lost something or its window is small: the next ACKs, `most` of them, do not. */
export function enterQuickAcks(tcb: Tcb, config: Readonly<TcpConfig>, most: number): void {
  addQuickAcks(tcb, most);
  tcb.interactive = false;
  tcb.ackTimeoutMs = config.delayedAckMs;
}

/** As many as there are full segments in half the window, 2 at least. */
function addQuickAcks(tcb: Tcb, most: number): void {
  const window = Math.max(0, (tcb.rcvAdv - tcb.rcvNxt) | 0);
  const count = Math.floor(window / (2 * tcb.rcvMss)) || 2;
  tcb.quickAcks = Math.max(tcb.quickAcks, Math.min(count, most));
}

/** The ACK that is owed leaves at the end of this turn, or waits for data that would carry it. */
export function scheduleAck(tcb: Tcb, filledHole: boolean, config: Readonly<TcpConfig>, nowMs: number): void {
  // The peer's segments are as long as its longest so far. Both sides' paths are one path as a rule, so they are
  // not taken for longer than ours; what the peer can receive (its MSS) says nothing about what it sends.
  const secondSegment = ((tcb.rcvNxt - tcb.lastAckSent) | 0) > Math.min(tcb.rcvMss, tcb.sndMss);
  if (filledHole || secondSegment || (tcb.quickAcks > 0 && !tcb.interactive)) {
    tcb.ackNow = true;
    return;
  }
  const least = config.delayedAckMs;
  const roundMs = tcb.srttUs > 0 ? Math.max(least, Math.floor(tcb.srttUs / 1000)) : Infinity;
  // A FIN without any data before it waits for nothing.
  const delayMs = tcb.ackTimeoutMs === 0 ? 0 : Math.min(Math.max(least, tcb.ackTimeoutMs), roundMs);
  // Almost over: a second ACK so soon after would be worth nothing.
  if (delayMs === 0 || tcb.delayedAckAtMs <= nowMs + Math.floor(delayMs / 4)) tcb.ackNow = true;
  else tcb.delayedAckAtMs = Math.min(tcb.delayedAckAtMs, nowMs + delayMs);
}

/** Nothing has carried the ACK in time: it leaves by itself, and the next guess is another one. */
export function missDelayedAck(tcb: Tcb, config: Readonly<TcpConfig>): void {
  if (tcb.interactive) {
    tcb.interactive = false;
    tcb.ackTimeoutMs = config.delayedAckMs;
    return;
  }
  const most = Math.min(tcb.rtoMs, Math.max(config.delayedAckMs, DELAYED_ACK_MS_MAX));
  tcb.ackTimeoutMs = Math.min(2 * tcb.ackTimeoutMs, most);
}

/** A segment that tells RCV.NXT, or what of it is in the log, leaves: no ACK is owed any more. */
export function ackSent(tcb: Tcb, config: Readonly<TcpConfig>): void {
  const told = tcb.durable === undefined ? tcb.rcvNxt : tcb.durable.rcvNxt;
  const owed = tcb.ackNow || tcb.delayedAckAtMs !== Infinity || tcb.lastAckSent !== told;
  tcb.lastAckSent = told;
  if (told === tcb.rcvNxt) { // else the rest is owed, once it is in the log
    tcb.ackNow = false;
    tcb.delayedAckAtMs = Infinity;
  }
  if (!owed || tcb.quickAcks === 0) return;
  if (--tcb.quickAcks === 0) tcb.ackTimeoutMs = config.delayedAckMs;
}

/** The peer ends its stream: only our end is still to come, and it carries the ACK (Linux calls this interactive, too). */
export function expectOurEnd(tcb: Tcb): void {
  if (tcb.state === TcpState.established) tcb.interactive = true;
}
