import { seqLess } from "../../base/sequence.ts";
import { CaState, type Tcb } from "./tcb.ts";
import { Sent, SENT_AGAIN } from "./sent_queue.ts";

/** Largest factor of the reordering window (RFC 8985 section 6.2, step 4: what a byte holds in Linux). */
const REORDER_STEPS_MAX = 255;
/** Recoveries without a DSACK after which the window shrinks again (RFC 8985 section 6.2, step 4). */
export const REORDER_PERSIST = 16;

/** RFC 8985's RACK_sent_after: segments that left together are ordered by where they end. */
function sentAfter(ms: number, end: number, thanMs: number, thanEnd: number): boolean {
  return ms > thanMs || (ms === thanMs && seqLess(thanEnd, end));
}

/**
 * The segment in `slot` has arrived (RFC 8985 section 6.2, step 2). A round trip shorter than any other is that of the
 * original, not of the retransmission.
 */
export function rackAdvance(tcb: Tcb, flags: number, slot: number, nowMs: number): void {
  const sentMs = tcb.sent.sentMs[slot]!;
  const end = tcb.sent.end[slot]!;
  const rttUs = Math.max(0, nowMs - sentMs) * 1000;
  if ((flags & SENT_AGAIN) !== 0 && tcb.minRttUs >= 0 && rttUs < tcb.minRttUs) return;
  tcb.rackAdvanced = true;
  tcb.rackRttUs = Math.round(rttUs);
  if (sentAfter(sentMs, end, tcb.rackSentMs, tcb.rackEnd)) {
    tcb.rackSentMs = sentMs;
    tcb.rackEnd = end;
  }
}

/** How long a segment may be overtaken before it counts as lost, in microseconds (section 6.2, step 4). */
function reorderWindowUs(tcb: Tcb): number {
  if (tcb.reorderingSeen === 0) {
    // Nothing was ever reordered: then three SACKs, or a loss already proven, are proof enough.
    if (tcb.caState >= CaState.recovery || tcb.sackedOut >= tcb.reordering) return 0;
  }
  const minRttUs = Math.max(0, tcb.minRttUs);
  return Math.min((minRttUs / 4) * tcb.rackReorderSteps, Math.max(0, tcb.srttUs));
}

/** Time left, in microseconds, until the segment in `slot` is overdue. */
export function rackOverdueInUs(tcb: Tcb, slot: number, windowUs: number, nowMs: number): number {
  return Math.round(tcb.rackRttUs + windowUs - (nowMs - tcb.sent.sentMs[slot]!) * 1000);
}

/**
 * Marks as lost what left long enough before something that has arrived (section 6.2, step 5).
 * @returns Microseconds until the next one would be; 0 when none waits.
 */
export function rackDetectLoss(tcb: Tcb, nowMs: number): number {
  const { sent } = tcb;
  const windowUs = reorderWindowUs(tcb);
  let waitUs = 0;
  for (let place = 0; place < sent.length; place++) {
    const at = sent.slot(place);
    const flags = sent.flags[at]!;
    if ((flags & Sent.sacked) !== 0) continue;
    if ((flags & (Sent.lost | Sent.retransmitted)) === Sent.lost) continue;
    if (!sentAfter(tcb.rackSentMs, tcb.rackEnd, sent.sentMs[at]!, sent.end[at]!)) {
      // Originals left in the order of the queue: what follows one that is too young is younger still.
      if ((flags & SENT_AGAIN) === 0) break;
      continue;
    }
    const leftUs = rackOverdueInUs(tcb, at, windowUs, nowMs);
    if (leftUs <= 0) markLost(tcb, at);
    else if (leftUs > waitUs) waitUs = leftUs;
  }
  return waitUs;
}

/** The segment in `slot` is held to be lost: it, or its retransmission. */
export function markLost(tcb: Tcb, slot: number): void {
  const { sent } = tcb;
  const flags = sent.flags[slot]!;
  if ((flags & Sent.sacked) !== 0) return;
  if ((flags & Sent.lost) === 0) {
    tcb.lostOut++;
    sent.flags[slot] = flags | Sent.lost;
  } else if ((flags & Sent.retransmitted) !== 0) {
    tcb.retransOut--;
    sent.flags[slot] = flags & ~Sent.retransmitted;
  } else {
    return;
  }
  tcb.lost++;
  if (seqLess(sent.sequence[slot]!, tcb.retransmitHint)) tcb.retransmitHint = sent.sequence[slot]!;
}

/** DSACKs of a round trip widen the reordering window by a step; sixteen recoveries without any close it again. */
export function rackUpdateReorderWindow(tcb: Tcb, priorDelivered: number): void {
  // A DSACK less than a round trip after the last change is about the same event.
  if (priorDelivered < tcb.rackLastDelivered) tcb.rackDsackSeen = false;
  if (tcb.rackDsackSeen) {
    tcb.rackReorderSteps = Math.min(REORDER_STEPS_MAX, tcb.rackReorderSteps + 1);
    tcb.rackDsackSeen = false;
    tcb.rackLastDelivered = tcb.delivered;
    tcb.rackReorderPersist = REORDER_PERSIST;
  } else if (tcb.rackReorderPersist === 0) {
    tcb.rackReorderSteps = 1;
  }
}
