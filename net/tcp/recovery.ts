import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { Ack, type AckSample } from "./ack_sample.ts";
import { congestionOf } from "./congestion/choose.ts";
import { markLost, rackDetectLoss, rackOverdueInUs } from "./rack.ts";
import { inCwndReduction } from "./reduction.ts";
import { loseMtuProbe } from "./path_mtu.ts";
import { anyRetransmitted, markHeadLost, retransmitQueue } from "./retransmit.ts";
import { rearmTimeout, setRetransmitTimer, TIMER_SLACK_US } from "./rto.ts";
import { Sent } from "./sent_queue.ts";
import {
  CaState,
  flightSize,
  packetsInFlight,
  RetransmitTimer,
  sendLimit,
  SSTHRESH_INFINITE,
  type Tcb,
} from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { tryKeepOpen, tryUndoDsack, tryUndoLoss, tryUndoPartial, tryUndoRecovery } from "./undo.ts";

/** What an ACK asks the sender to send. */
export const Resend = { nothing: 0, lost: 1, fresh: 2 } as const;
export type Resend = (typeof Resend)[keyof typeof Resend];

/** Time that a peer which seems to have dropped SACKed data has to say that it did not. */
const RENEGING_MS_MIN = 10;

/** The window is reduced from here on (RFC 6937 section 3.1); the state says over which time. */
function beginReduction(tcb: Tcb, nowMs: number): void {
  tcb.highSeq = tcb.sndMax;
  tcb.probeOut = false;
  tcb.ecnReduced = tcb.ecnOk;
  tcb.cwndBytesAcked = 0;
  tcb.prrDelivered = 0;
  tcb.prrOut = 0;
  tcb.ssthresh = congestionOf(tcb).thresholdAfterLoss(tcb, flightSize(tcb), nowMs);
}

/** The reduction is over: the window is what it was reduced to, unless that was undone. */
function endReduction(tcb: Tcb): void {
  if (tcb.ssthresh < SSTHRESH_INFINITE && (tcb.caState === CaState.cwr || tcb.undoArmed)) {
    tcb.cwnd = tcb.ssthresh;
  }
}

/** The network said that the window is too large (RFC 3168 section 6.1.2); there is no undo. */
export function enterCwr(tcb: Tcb, nowMs: number): void {
  tcb.undoWindow = false;
  if (tcb.caState >= CaState.cwr) return;
  tcb.undoArmed = false;
  beginReduction(tcb, nowMs);
  tcb.caState = CaState.cwr;
}

function armUndo(tcb: Tcb): void {
  tcb.undoArmed = true;
  tcb.undoMarker = tcb.sndUna;
  tcb.undoRetrans = tcb.retransOut + (tcb.probeOut && tcb.probeRetransmitted ? 1 : 0);
  if (tcb.undoRetrans === 0) tcb.undoRetrans = -1; // 0 would mean that all were reported
}

function enterRecovery(tcb: Tcb, ece: boolean, nowMs: number): void {
  if (!anyRetransmitted(tcb)) tcb.retransmitStampMs = -1;
  tcb.undoWindow = false;
  armUndo(tcb);
  if (!inCwndReduction(tcb)) {
    tcb.undoWindow = !ece;
    beginReduction(tcb, nowMs);
  }
  tcb.caState = CaState.recovery;
}

/** After a retransmission timeout (RFC 5681 section 3.1, RFC 5682 section 2.1 step 1, RFC 8985 section 6.3). */
export function enterLoss(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const fresh = tcb.caState < CaState.recovery;
  markLostByTimeout(tcb, nowMs);
  const first = tcb.caState === CaState.loss && tcb.retransmits === 0;
  if (tcb.caState <= CaState.disorder || seqLessEqual(tcb.highSeq, tcb.sndUna) || first) {
    tcb.undoWindow = true;
    tcb.ssthresh = congestionOf(tcb).thresholdAfterLoss(tcb, flightSize(tcb), nowMs);
    congestionOf(tcb).timedOut(tcb, nowMs);
    armUndo(tcb);
  }
  tcb.cwnd = (packetsInFlight(tcb) + 1) * tcb.sndMss;
  tcb.cwndBytesAcked = 0;
  // Many SACKs and yet no fast retransmit: reordering was over-estimated.
  const { reorderingSegments } = tcp.config;
  if (tcb.caState <= CaState.disorder && tcb.sackedOut >= reorderingSegments) {
    tcb.reordering = Math.min(tcb.reordering, reorderingSegments);
  }
  tcb.caState = CaState.loss;
  tcb.ecnReduced = tcb.ecnOk;
  tcb.highSeq = tcb.sndMax;
  tcb.probeOut = false;
  tcb.frto = tcp.config.frto && (fresh || tcb.retransmits > 0);
}

function markLostByTimeout(tcb: Tcb, nowMs: number): void {
  const { sent } = tcb;
  const reneging = sent.length > 0 && (sent.flags[sent.slot(0)]! & Sent.sacked) !== 0;
  if (reneging) {
    tcb.sackedOut = 0;
    tcb.reneging = true;
  } else if (!tcb.sackPermitted) {
    tcb.sackedOut = 0;
  }
  for (let place = 0; place < sent.length; place++) {
    const at = sent.slot(place);
    if (reneging) sent.flags[at] = sent.flags[at]! & ~Sent.sacked;
    else if (place > 0 && rackOverdueInUs(tcb, at, 0, nowMs) > 0) continue; // it may well arrive yet
    markLost(tcb, at);
  }
  tcb.retransmitHint = tcb.sndUna;
}

/**
 * RFC 6937's proportional rate reduction, with Linux's choice of the bound: slow start
 * only while nothing more is lost.
 */
export function reduceWindow(tcb: Tcb, delivered: number, lost: number, advanced: boolean): void {
  if (delivered <= 0 || tcb.priorCwnd === 0) return;
  const inFlight = packetsInFlight(tcb);
  const target = Math.floor(tcb.ssthresh / tcb.sndMss);
  const room = target - inFlight;
  tcb.prrDelivered += delivered;
  let count: number;
  if (room < 0) {
    const prior = Math.max(1, Math.floor(tcb.priorCwnd / tcb.sndMss));
    count = Math.floor((target * tcb.prrDelivered + prior - 1) / prior) - tcb.prrOut;
  } else {
    count = Math.max(tcb.prrDelivered - tcb.prrOut, delivered);
    if (advanced && lost === 0) count++;
    count = Math.min(room, count);
  }
  count = Math.max(count, tcb.prrOut > 0 ? 0 : 1); // the first retransmission always leaves
  tcb.cwnd = Math.max(1, inFlight + count) * tcb.sndMss;
}

/** Ends a tail loss probe's episode and learns from it whether the tail was lost (RFC 8985 section 7.4). */
export function processProbeAck(tcb: Tcb, ack: number, flags: number, nowMs: number): void {
  if (seqLess(ack, tcb.probeSeq)) return;
  const dup = flags & (Ack.advanced | Ack.data | Ack.windowUpdate | Ack.dataAcked | Ack.dataSacked);
  if (!tcb.probeRetransmitted || (flags & Ack.dsackProbe) !== 0) {
    tcb.probeOut = false; // new data has arrived, or both the original and the probe
  } else if (seqLess(tcb.probeSeq, ack)) {
    beginReduction(tcb, nowMs); // the probe repaired a loss
    tcb.caState = CaState.cwr;
    endReduction(tcb);
    tryKeepOpen(tcb);
  } else if (dup === 0) {
    tcb.probeOut = false; // a plain duplicate ACK: both arrived, and the peer knows no DSACK
  }
}

function tryToOpen(tcb: Tcb, flags: number, nowMs: number): void {
  if (!anyRetransmitted(tcb)) tcb.retransmitStampMs = -1;
  if ((flags & Ack.ece) !== 0) enterCwr(tcb, nowMs);
  if (tcb.caState !== CaState.cwr) tryKeepOpen(tcb);
}

// Without SACK duplicate ACKs stand for it (RFC 5681 section 3.2, RFC 6582): each says that one segment arrived.

function limitRenoSacks(tcb: Tcb): boolean {
  const holes = Math.min(Math.max(tcb.lostOut, 1), tcb.sent.length);
  if (tcb.sackedOut + holes <= tcb.sent.length) return false;
  tcb.sackedOut = tcb.sent.length - holes;
  return true;
}

function checkRenoReordering(tcp: Tcp, tcb: Tcb, more: number): void {
  if (!limitRenoSacks(tcb)) return; // more duplicate ACKs than segments: that was reordering
  tcb.reordering = Math.min(tcb.sent.length + more, tcp.config.reorderingMax);
  tcb.reorderingSeen++;
}

function addRenoSacks(tcp: Tcp, tcb: Tcb, count: number, sample: AckSample): void {
  if (count === 0) return;
  const before = tcb.sackedOut;
  tcb.sackedOut += count;
  checkRenoReordering(tcp, tcb, 0);
  const more = tcb.sackedOut - before;
  if (more <= 0) return;
  tcb.delivered += more;
  sample.deliveredBytes += more * tcb.sndMss;
}

/** `acked` segments are acknowledged: one filled the hole, the others were counted with duplicate ACKs. */
export function removeRenoSacks(tcp: Tcp, tcb: Tcb, acked: number, sample: AckSample): void {
  const counted = Math.min(tcb.sackedOut, acked - 1);
  tcb.delivered += acked - counted;
  sample.deliveredBytes = Math.max(1, sample.deliveredBytes - counted * tcb.sndMss);
  tcb.sackedOut -= counted;
  checkRenoReordering(tcp, tcb, acked);
}

function identifyLoss(tcp: Tcp, tcb: Tcb, sample: AckSample): void {
  if (tcb.sent.length === 0) return;
  if (!tcb.sackPermitted) {
    const dupThreshold = tcb.caState < CaState.recovery && tcb.sackedOut >= tcb.reordering;
    const partial = tcb.caState === CaState.recovery && (sample.flags & Ack.advanced) !== 0;
    if (dupThreshold || partial) markHeadLost(tcp, tcb);
    return;
  }
  const before = tcb.retransOut;
  if (tcb.rackAdvanced) {
    tcb.rackAdvanced = false;
    const waitUs = rackDetectLoss(tcb, sample.nowMs);
    if (waitUs > 0) {
      const inMs = Math.ceil((waitUs + TIMER_SLACK_US) / 1000);
      setRetransmitTimer(tcb, RetransmitTimer.reordering, sample.nowMs, inMs);
      sample.flags &= ~Ack.setTimer;
    }
  }
  if (tcb.retransOut < before) sample.flags |= Ack.lostRetransmission;
}

/** The reordering window is over (RFC 8985 section 6.2, step 5): what has not arrived is lost. */
export function reorderingTimeout(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const lostBefore = tcb.lost;
  const before = packetsInFlight(tcb);
  rackDetectLoss(tcb, nowMs);
  if (packetsInFlight(tcb) !== before) {
    if (tcb.caState !== CaState.recovery) {
      enterRecovery(tcb, false, nowMs);
      reduceWindow(tcb, 1, tcb.lost - lostBefore, false);
    }
    retransmitQueue(tcp, tcb, nowMs);
  }
  if (tcb.retransmitTimer !== RetransmitTimer.timeout) rearmTimeout(tcp, tcb, nowMs);
}

/** RFC 2018 section 8: the peer may drop what it SACKed. It gets a moment, then the timeout forgets all SACKs. */
function checkReneging(tcb: Tcb, sample: AckSample): boolean {
  if ((sample.flags & Ack.reneging) === 0 || (sample.flags & Ack.advanced) === 0) return false;
  const inMs = Math.max(Math.ceil(tcb.srttUs / 2000), RENEGING_MS_MIN);
  setRetransmitTimer(tcb, RetransmitTimer.timeout, sample.nowMs, inMs);
  sample.flags &= ~Ack.setTimer;
  return true;
}

/**
 * Linux's state machine of loss recovery, for every ACK that is unusual or comes in an unusual state: it says
 * what is lost and how far the window must fall, not yet what is sent.
 */
export function recoveryAlert(tcp: Tcp, tcb: Tcb, duplicateAcks: number, sample: AckSample): Resend {
  const { nowMs } = sample;
  const flags = sample.flags;
  const ece = (flags & Ack.ece) !== 0;
  const advanced = (flags & Ack.advanced) !== 0;
  const reno = !tcb.sackPermitted;
  if (tcb.sent.length === 0) tcb.sackedOut = 0;
  if (ece) tcb.undoWindow = false;
  if (checkReneging(tcb, sample)) return Resend.nothing;

  // Is the state over?
  if (tcb.caState === CaState.open) {
    tcb.retransmitStampMs = -1;
  } else if (seqLessEqual(tcb.highSeq, tcb.sndUna)) {
    if (tcb.caState === CaState.cwr && tcb.sndUna !== tcb.highSeq) {
      endReduction(tcb); // something behind `highSeq`: the CWR bit has arrived
      tcb.caState = CaState.open;
    } else if (tcb.caState === CaState.recovery) {
      if (reno) tcb.sackedOut = 0;
      if (tryUndoRecovery(tcb, sample)) return Resend.nothing;
      endReduction(tcb);
    }
  }

  if (tcb.caState === CaState.recovery) {
    if (!advanced) {
      if (reno) addRenoSacks(tcp, tcb, duplicateAcks, sample);
    } else if (tryUndoPartial(tcp, tcb, sample)) {
      return Resend.nothing;
    }
    if (tryUndoDsack(tcb)) tryToOpen(tcb, flags, nowMs);
    identifyLoss(tcp, tcb, sample);
    if ((tcb.caState as CaState) !== CaState.recovery) {
      if (tcb.lostOut === 0) return Resend.nothing;
      enterRecovery(tcb, ece, nowMs); // undone, and yet something is lost
    }
    return Resend.lost;
  }

  let resend: Resend = Resend.nothing;
  if (tcb.caState === CaState.loss) {
    resend = processLoss(tcp, tcb, duplicateAcks, sample);
    identifyLoss(tcp, tcb, sample);
    const open = (tcb.caState as CaState) === CaState.open;
    if (!open && (sample.flags & Ack.lostRetransmission) === 0) return resend;
  }
  if (reno) {
    if (advanced) tcb.sackedOut = 0;
    addRenoSacks(tcp, tcb, duplicateAcks, sample);
  }
  if (tcb.caState <= CaState.disorder) tryUndoDsack(tcb);
  identifyLoss(tcp, tcb, sample);
  if (tcb.lostOut === 0) {
    tryToOpen(tcb, flags, nowMs);
    return resend;
  }
  if (loseMtuProbe(tcp, tcb, nowMs)) return Resend.nothing;
  enterRecovery(tcb, ece, nowMs);
  return Resend.lost;
}

/** An ACK after a timeout: F-RTO (RFC 5682 section 3.1, with SACK), undo, or more to send again. */
function processLoss(tcp: Tcp, tcb: Tcb, duplicateAcks: number, sample: AckSample): Resend {
  const recovered = seqLessEqual(tcb.highSeq, tcb.sndUna);
  const advanced = (sample.flags & Ack.advanced) !== 0;
  if (advanced && tryUndoLoss(tcb, sample, false)) return Resend.nothing;
  if (tcb.frto) {
    // Step 3.b: what was sent before the timeout, and once, has arrived.
    if ((sample.flags & Ack.originalArrived) !== 0 && tryUndoLoss(tcb, sample, true)) return Resend.nothing;
    if (seqLess(tcb.highSeq, tcb.sndMax)) {
      if ((sample.flags & Ack.dataSacked) !== 0 || duplicateAcks > 0) tcb.frto = false; // step 3.a
    } else if (advanced && !recovered) {
      tcb.highSeq = tcb.sndMax;
      // Step 2.b: new data will tell, if there is some and the window takes it.
      const unsent = (sendLimit(tcb) - tcb.sndMax) | 0;
      if (unsent > 0 && seqLess(tcb.sndMax, (tcb.sndUna + tcb.sndWnd) | 0)) return Resend.fresh;
      tcb.frto = false;
    }
  }
  if (recovered) {
    tryUndoRecovery(tcb, sample);
    return Resend.nothing;
  }
  if (!tcb.sackPermitted) {
    if (seqLess(tcb.highSeq, tcb.sndMax) && duplicateAcks > 0) addRenoSacks(tcp, tcb, duplicateAcks, sample);
    else if (advanced) tcb.sackedOut = 0;
  }
  return Resend.lost;
}
