import { seqLess } from "../../base/sequence.ts";
import type { AckSample } from "./ack_sample.ts";
import { congestionOf } from "./congestion/choose.ts";
import { REORDER_PERSIST } from "./rack.ts";
import { anyRetransmitted } from "./retransmit.ts";
import { checkReordering } from "./scoreboard.ts";
import { Sent } from "./sent_queue.ts";
import { CaState, type Tcb } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { timestampNow } from "./timestamp.ts";

/** The peer echoes a timestamp from before `sentMs`: it answers something older (Eifel, RFC 3522). */
export function echoesBefore(tcb: Tcb, sample: AckSample, sentMs: number): boolean {
  return sample.hasEcho && seqLess(sample.tsEcr, timestampNow(tcb, sentMs));
}

/** What was held to be lost was only late: nothing was sent again yet, or the ACK is older than that. */
export function packetDelayed(tcb: Tcb, sample: AckSample): boolean {
  if (tcb.retransmitStampMs >= 0) return echoesBefore(tcb, sample, tcb.retransmitStampMs);
  // Without SACK the stamp is cleared while the state is held on to.
  return tcb.sackPermitted || seqLess(tcb.sndUna, tcb.highSeq);
}

/** Whether the reduction was for nothing: all retransmissions were reported as duplicates, or were not needed. */
function mayUndo(tcb: Tcb, sample: AckSample): boolean {
  return tcb.undoArmed && (tcb.undoRetrans === 0 || packetDelayed(tcb, sample));
}

function undoReduction(tcb: Tcb, unmark: boolean): void {
  if (unmark) {
    const { sent } = tcb;
    for (let place = 0; place < sent.length; place++) {
      const at = sent.slot(place);
      sent.flags[at] = sent.flags[at]! & ~Sent.lost;
    }
    tcb.lostOut = 0;
  }
  if (tcb.undoWindow) {
    const { ssthresh } = tcb;
    congestionOf(tcb).undo(tcb);
    if (tcb.ssthresh > ssthresh) tcb.ecnReduced = false; // nothing was reduced after all
  }
  tcb.undoArmed = false;
  tcb.rackAdvanced = true; // what is lost must be found anew
}

/**
 * Without SACK a state is held on to until something behind `highSeq` is acknowledged: else the duplicate ACKs
 * of its retransmissions would look like another loss (RFC 6582 section 3.2).
 */
function mustHold(tcb: Tcb): boolean {
  if (tcb.sackPermitted || tcb.sndUna !== tcb.highSeq) return false;
  if (!anyRetransmitted(tcb)) tcb.retransmitStampMs = -1;
  return true;
}

/** Everything is acknowledged that was in flight when the state began; true while the state must be held on to. */
export function tryUndoRecovery(tcb: Tcb, sample: AckSample): boolean {
  if (mayUndo(tcb, sample)) undoReduction(tcb, false);
  else if (tcb.rackReorderPersist > 0) tcb.rackReorderPersist--;
  if (mustHold(tcb)) return true;
  tcb.caState = CaState.open;
  tcb.reneging = false;
  return false;
}

/** RFC 2883: every retransmission has been reported as a duplicate. */
export function tryUndoDsack(tcb: Tcb): boolean {
  if (!tcb.undoArmed || tcb.undoRetrans !== 0) return false;
  tcb.rackReorderPersist = Math.min(REORDER_PERSIST, tcb.rackReorderPersist + 1);
  undoReduction(tcb, false);
  return true;
}

/** After a timeout: by timestamps or DSACKs, or because F-RTO says so. */
export function tryUndoLoss(tcb: Tcb, sample: AckSample, frto: boolean): boolean {
  if (!frto && !mayUndo(tcb, sample)) return false;
  undoReduction(tcb, true);
  tcb.retransmits = 0;
  if (mustHold(tcb)) return true;
  if (frto || tcb.sackPermitted) {
    tcb.caState = CaState.open;
    tcb.reneging = false;
  }
  return true;
}

/** During a recovery: true when the ACK is for a late original, and retransmissions are still in the network. */
export function tryUndoPartial(tcp: Tcp, tcb: Tcb, sample: AckSample): boolean {
  if (!tcb.undoArmed || !packetDelayed(tcb, sample)) return false;
  checkReordering(tcb, sample.priorUna, tcp.config);
  if (tcb.retransOut > 0) return true;
  if (!anyRetransmitted(tcb)) tcb.retransmitStampMs = -1;
  undoReduction(tcb, true);
  tryKeepOpen(tcb);
  return false;
}

/** Back to open, or to disorder while something is missing. */
export function tryKeepOpen(tcb: Tcb): void {
  const state = tcb.sackedOut + tcb.lostOut > 0 || anyRetransmitted(tcb) ? CaState.disorder : CaState.open;
  if (tcb.caState === state) return;
  tcb.caState = state;
  tcb.highSeq = tcb.sndMax;
}
