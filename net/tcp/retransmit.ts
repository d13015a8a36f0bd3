import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { currentMss, SendMode, sendNewData, transmitSegment } from "./output.ts";
import { markLost } from "./rack.ts";
import { enterCwr } from "./recovery.ts";
import { inCwndReduction } from "./reduction.ts";
import { rearmTimeout, setRetransmitTimer } from "./rto.ts";
import { rtoBackedOffMs } from "./rtt.ts";
import { Sent, SENT_AGAIN } from "./sent_queue.ts";
import { CaState, cwndPackets, packetsInFlight, RetransmitTimer, sendLimit, type Tcb } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { isSendingUrgent } from "./urgent.ts";

/** A clock of milliseconds shows many segments at once, and RACK must know which of them left after the others. */
const STAMP_STEP_MS = 0.001;

/** What says whether a segment waits to be sent again. */
const IN_HAND = Sent.lost | Sent.sacked | Sent.retransmitted;

/** Cuts the segment at `place` at sequence number `at`, counters and all. */
function splitSegment(tcb: Tcb, place: number, at: number): void {
  const flags = tcb.sent.flags[tcb.sent.slot(place)]!;
  tcb.sent.split(place, at);
  if ((flags & Sent.sacked) !== 0) tcb.sackedOut++;
  if ((flags & Sent.lost) !== 0) tcb.lostOut++;
  if ((flags & Sent.retransmitted) !== 0) tcb.retransOut++;
}

/** Bytes of data in the segment at `place`. */
function dataBytes(tcb: Tcb, place: number): number {
  const at = tcb.sent.slot(place);
  return ((tcb.sent.end[at]! - tcb.sent.sequence[at]!) | 0) - (tcb.sent.flags[at]! & Sent.fin ? 1 : 0);
}

/** Takes in the segments behind a small one that fit beside it: its retransmission costs one header only. */
function mergeSuccessors(tcb: Tcb, place: number, limit: number): void {
  const { sent } = tcb;
  const windowEnd = (tcb.sndUna + tcb.sndWnd) | 0;
  while (place + 1 < sent.length) {
    const at = sent.slot(place), next = sent.slot(place + 1);
    if ((sent.flags[at]! & Sent.record) !== 0) return;
    const flags = sent.flags[next]!;
    const bytes = ((sent.end[next]! - sent.sequence[at]!) | 0) - (flags & Sent.fin ? 1 : 0);
    if ((flags & Sent.sacked) !== 0 || bytes > limit || seqLess(windowEnd, sent.end[next]!)) return;
    if ((flags & Sent.lost) !== 0) tcb.lostOut--;
    if ((flags & Sent.retransmitted) !== 0) tcb.retransOut--;
    if (!tcb.sackPermitted && tcb.sackedOut > 0) tcb.sackedOut--;
    sent.merge(place);
  }
}

/**
 * Sends the segment at `place` again: with its own bounds, cut where the MSS or the peer's window has become
 * smaller. Behind a window that shrank nothing is sent, but the first segment is, as a probe (MUST-35).
 * @param push `Sent.push` for the last of several that leave together.
 * @returns Whether it left: not when our own link was full, which is congestion, too. Counts nothing: a probe is no recovery.
 */
export function retransmitSegment(tcp: Tcp, tcb: Tcb, place: number, push: number, nowMs: number): boolean {
  const { sent } = tcb;
  const at = sent.slot(place);
  if (seqLess(sent.sequence[at]!, tcb.sndUna)) sent.sequence[at] = tcb.sndUna; // its front has arrived
  const sequence = sent.sequence[at]!;
  const mss = currentMss(tcp, tcb);
  let room = (tcb.sndUna + tcb.sndWnd - sequence) | 0;
  if (room <= 0) {
    if (sequence !== tcb.sndUna) return false;
    room = mss;
  }
  const limit = Math.min(mss, room);
  const bytes = dataBytes(tcb, place);
  if (bytes > limit) splitSegment(tcb, place, (sequence + limit) | 0);
  else if (bytes < limit) mergeSuccessors(tcb, place, limit);
  const now = sent.slot(place); // both may have moved it
  tcb.retransmittedSegments++;
  tcb.mtuProbeSize = 0; // whatever is sent twice tells nothing of its size
  sent.flags[now] = sent.flags[now]! | Sent.everRetransmitted;
  if (!transmitSegment(tcp, tcb, sequence, sent.end[now]!, sent.flags[now]! | push, nowMs)) {
    enterCwr(tcb, nowMs);
    return false;
  }
  sent.sentMs[now] = tcb.sentStampMs = Math.max(nowMs, tcb.sentStampMs + STAMP_STEP_MS);
  return true;
}

/** Sends a lost segment again, in a recovery or after a timeout. */
export function retransmitLost(tcp: Tcp, tcb: Tcb, place: number, push: number, nowMs: number): boolean {
  if (!retransmitSegment(tcp, tcb, place, push, nowMs)) return false;
  const at = tcb.sent.slot(place);
  if ((tcb.sent.flags[at]! & Sent.retransmitted) === 0) tcb.retransOut++;
  tcb.sent.flags[at] = tcb.sent.flags[at]! | SENT_AGAIN;
  if (tcb.retransmitStampMs < 0) tcb.retransmitStampMs = nowMs;
  tcb.undoRetrans = Math.max(0, tcb.undoRetrans) + 1;
  return true;
}

/** Sends again what is held to be lost, as much as the congestion window admits, the lowest first. */
export function retransmitQueue(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const { sent } = tcb;
  if (sent.length === 0) return;
  let rearm = false;
  let train = 0;
  let place = sent.find(tcb.retransmitHint);
  for (; place < sent.length && tcb.retransOut < tcb.lostOut; place++) {
    const flags = sent.flags[sent.slot(place)]!;
    if ((flags & IN_HAND) !== Sent.lost) continue;
    const room = cwndPackets(tcb) - packetsInFlight(tcb);
    if (room <= 0) break;
    // What left in one train goes again in one, where it was lost side by side.
    const more = room > 1 && (flags & Sent.trainEnd) === 0 && place + 1 < sent.length &&
      tcb.retransOut + 1 < tcb.lostOut && (sent.flags[sent.slot(place + 1)]! & IN_HAND) === Sent.lost;
    train++;
    const push = !more && train > 1 && !isSendingUrgent(tcb) ? Sent.push : 0; // each has its own urgent pointer
    if (!more) train = 0;
    if (!retransmitLost(tcp, tcb, place, push, nowMs)) break;
    if (inCwndReduction(tcb)) tcb.prrOut++;
    if (place === 0 && tcb.retransmitTimer !== RetransmitTimer.reordering) rearm = true;
  }
  tcb.retransmitHint = place < sent.length ? sent.sequence[sent.slot(place)]! : tcb.sndMax;
  if (rearm) {
    setRetransmitTimer(tcb, RetransmitTimer.timeout, nowMs, rtoBackedOffMs(tcb, tcp.config));
  }
}

/**
 * The tail loss probe (RFC 8985 section 7.3): new data if there is some, else the last segment again, so that
 * the answer tells what became of the tail.
 */
export function sendLossProbe(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (!tcb.probeOut && tcb.sent.length > 0) {
    const before = tcb.sent.length;
    tcb.probeRetransmitted = false;
    const unsent = (sendLimit(tcb) - tcb.sndMax) | 0;
    let probed = false;
    if (
      unsent > 0 && Math.min(unsent, currentMss(tcp, tcb)) <= ((tcb.sndUna + tcb.sndWnd - tcb.sndMax) | 0)
    ) {
      sendNewData(tcp, tcb, nowMs, SendMode.probe);
      probed = tcb.sent.length > before;
    } else {
      probed = tcb.probeRetransmitted = retransmitSegment(tcp, tcb, before - 1, 0, nowMs);
    }
    if (probed) {
      tcb.probeOut = true;
      tcb.probeSeq = tcb.sndMax;
      tcb.retransmitTimer = RetransmitTimer.none; // the timeout counts from the probe
    }
  }
  rearmTimeout(tcp, tcb, nowMs);
}

/**
 * The path takes only smaller segments than some in flight: those are lost, and go again in pieces, without
 * any congestion being meant (RFC 1191 section 6.4).
 */
export function retransmitTooLarge(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const { sent } = tcb;
  const mss = currentMss(tcp, tcb);
  for (let place = 0; place < sent.length; place++) {
    if (dataBytes(tcb, place) > mss) markLost(tcb, sent.slot(place));
  }
  retransmitWithoutBlame(tcp, tcb, mss, nowMs);
}

/** The peer took our SYN and not the data in it: that goes again at once (RFC 7413 section 4.2.1). */
export function retransmitSynData(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  markLost(tcb, tcb.sent.slot(0));
  retransmitWithoutBlame(tcp, tcb, currentMss(tcp, tcb), nowMs);
}

/** What is marked as lost goes again in segments of `mss`; the network is not to blame for it. */
function retransmitWithoutBlame(tcp: Tcp, tcb: Tcb, mss: number, nowMs: number): void {
  const { sent } = tcb;
  if (tcb.lostOut === 0) return;
  cutAnew(tcb, mss);
  if (!tcb.sackPermitted) tcb.sackedOut = Math.min(tcb.sackedOut, sent.length - tcb.lostOut);
  if (tcb.caState !== CaState.loss) {
    tcb.highSeq = tcb.sndMax;
    tcb.undoWindow = false;
    tcb.undoArmed = false;
    tcb.caState = CaState.loss;
  }
  retransmitQueue(tcp, tcb, nowMs);
}

/** Cuts what is lost, and in one piece, into segments of `mss` and one rest, instead of a rest for each. */
function cutAnew(tcb: Tcb, mss: number): void {
  const { sent } = tcb;
  const isLost = (place: number): boolean =>
    (sent.flags[sent.slot(place)]! & (Sent.lost | Sent.retransmitted)) === Sent.lost;
  for (let place = 0; place < sent.length; place++) {
    if (!isLost(place)) continue;
    while (
      place + 1 < sent.length && isLost(place + 1) && (sent.flags[sent.slot(place)]! & Sent.record) === 0
    ) {
      sent.merge(place);
      tcb.lostOut--;
    }
    for (; dataBytes(tcb, place) > mss; place++) {
      splitSegment(tcb, place, (sent.sequence[sent.slot(place)]! + mss) | 0);
    }
  }
}

/** Whether something is, or was, sent twice and is not acknowledged. */
export function anyRetransmitted(tcb: Tcb): boolean {
  return tcb.retransOut > 0 ||
    (tcb.sent.length > 0 && (tcb.sent.flags[tcb.sent.slot(0)]! & Sent.everRetransmitted) !== 0);
}

/** Cuts the head where it is longer than the MSS, and holds its first part to be lost. */
export function markHeadLost(tcp: Tcp, tcb: Tcb): void {
  const { sent } = tcb;
  const at = sent.slot(0);
  if ((sent.flags[at]! & Sent.lost) !== 0) return;
  const mss = currentMss(tcp, tcb);
  const cut = (sent.sequence[at]! + mss) | 0;
  if (dataBytes(tcb, 0) > mss) {
    if (seqLessEqual(cut, tcb.sndUna)) return;
    splitSegment(tcb, 0, cut);
  }
  markLost(tcb, sent.slot(0));
}
