import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import { Ack, type AckSample } from "./ack_sample.ts";
import type { TcpConfig } from "./config.ts";
import { rackAdvance } from "./rack.ts";
import { Sent, SENT_AGAIN } from "./sent_queue.ts";
import { CaState, type Tcb } from "./tcb.ts";

const BLOCKS_MAX = 4;
/** The believable blocks of one ACK, in order; nothing in them outlives it. */
const starts = new Int32Array(BLOCKS_MAX);
const ends = new Int32Array(BLOCKS_MAX);

/** Where the highest SACKed segment ends; SND.UNA when none is. */
export function highestSacked(tcb: Tcb): number {
  return tcb.sackedOut === 0 ? tcb.sndUna : tcb.fack;
}

/** Reads the SACK option of an ACK into the scoreboard (RFC 2018 section 5, RFC 2883, RFC 6675 section 4). */
export function tagSacks(tcb: Tcb, segment: TcpRecord, sample: AckSample, config: TcpConfig): void {
  const edges = segment.sackEdges;
  sample.reordered = tcb.sndMax;
  const dsack = isDsack(tcb, segment, sample);
  // Older than anything that the window could have let out: its blocks are too.
  if (seqLess(segment.acknowledgment, (sample.priorUna - tcb.sndWndMax) | 0)) return;
  if (tcb.sent.length === 0) return;

  let count = 0;
  let duplicate = -1; // place of the DSACK among the blocks
  for (let block = 0; block < segment.sackCount; block++) {
    const start = edges[2 * block]!, end = edges[2 * block + 1]!;
    const first = block === 0 && dsack;
    if (!isBlockValid(tcb, first, start, end) || seqLessEqual(end, sample.priorUna)) continue;
    let at = count++;
    for (; at > 0 && seqLess(start, starts[at - 1]!); at--) {
      starts[at] = starts[at - 1]!;
      ends[at] = ends[at - 1]!;
      if (duplicate === at - 1) duplicate = at;
    }
    starts[at] = start;
    ends[at] = end;
    if (first) duplicate = at;
  }

  for (let block = 0; block < count; block++) {
    // A DSACK inside of a block is read together with it.
    if (block > 0 && duplicate === block && seqLessEqual(ends[block]!, ends[block - 1]!)) continue;
    tagBlock(tcb, sample, block, duplicate === block + 1 ? duplicate : -1, duplicate === block);
  }
  if (tcb.caState !== CaState.loss || tcb.undoArmed) checkReordering(tcb, sample.reordered, config);
}

function tagBlock(tcb: Tcb, sample: AckSample, block: number, inside: number, duplicate: boolean): void {
  const { sent } = tcb;
  const start = starts[block]!, end = ends[block]!;
  for (let place = sent.find(start); place < sent.length; place++) {
    const at = sent.slot(place);
    const first = sent.sequence[at]!, last = sent.end[at]!;
    if (!seqLess(first, end)) break;
    const twice = inside >= 0 && seqLessEqual(starts[inside]!, first) && seqLessEqual(last, ends[inside]!);
    if (twice || (seqLessEqual(start, first) && seqLessEqual(last, end))) {
      tagSegment(tcb, sample, at, duplicate || twice);
    }
  }
}

/** Linux's state diagram of a segment: S, L and R (see `Sent`) under a SACK. */
function tagSegment(tcb: Tcb, sample: AckSample, at: number, duplicate: boolean): void {
  const { sent } = tcb;
  const start = sent.sequence[at]!, end = sent.end[at]!;
  let flags = sent.flags[at]!;
  if (duplicate && (flags & SENT_AGAIN) !== 0) {
    if (tcb.undoArmed && tcb.undoRetrans > 0 && seqLess(tcb.undoMarker, end)) tcb.undoRetrans--;
    if ((flags & Sent.sacked) !== 0 && seqLess(start, sample.reordered)) sample.reordered = start;
  }
  if (seqLessEqual(end, tcb.sndUna)) return; // acknowledged by the same ACK

  if ((flags & Sent.sacked) === 0) {
    rackAdvance(tcb, flags, at, sample.nowMs);
    if ((flags & Sent.retransmitted) !== 0) {
      // Not held to be lost: then it is the original that arrived, and the retransmission still flies.
      if ((flags & Sent.lost) !== 0) {
        flags &= ~(Sent.lost | Sent.retransmitted);
        tcb.lostOut--;
        tcb.retransOut--;
      }
    } else {
      if ((flags & SENT_AGAIN) === 0) {
        // It filled a hole and was sent once: its successors overtook it.
        if (seqLess(start, highestSacked(tcb)) && seqLess(start, sample.reordered)) sample.reordered = start;
        if (seqLessEqual(end, tcb.highSeq)) sample.flags |= Ack.originalArrived;
        if (sample.firstSackedMs < 0) sample.firstSackedMs = sent.sentMs[at]!;
        sample.lastSackedMs = sent.sentMs[at]!;
      }
      if ((flags & Sent.lost) !== 0) {
        flags &= ~Sent.lost;
        tcb.lostOut--;
      }
    }
    if (tcb.sackedOut === 0 || seqLess(tcb.fack, end)) tcb.fack = end;
    flags |= Sent.sacked;
    tcb.sackedOut++;
    sample.flags |= Ack.dataSacked;
    sample.sackDelivered++;
    sample.deliveredBytes += (end - start) | 0;
  }
  if (duplicate && (flags & Sent.retransmitted) !== 0) {
    flags &= ~Sent.retransmitted;
    tcb.retransOut--;
  }
  sent.flags[at] = flags;
}

/** Whether a block can be: inside of what is in flight, or a DSACK about what may still be undone. */
function isBlockValid(tcb: Tcb, dsack: boolean, start: number, end: number): boolean {
  if (seqLess(tcb.sndMax, end) || !seqLess(start, end) || !seqLess(start, tcb.sndMax)) return false;
  if (seqLess(tcb.sndUna, start)) return true;
  if (!dsack || !tcb.undoArmed || seqLess(tcb.sndUna, end)) return false;
  if (seqLessEqual(tcb.undoMarker, start)) return true;
  return seqLess(tcb.undoMarker, end) && seqLessEqual((end - tcb.sndWndMax) | 0, start);
}

/** RFC 2883 section 4: the first block is below the ACK, or inside of the second. Counts what it says. */
function isDsack(tcb: Tcb, segment: TcpRecord, sample: AckSample): boolean {
  const edges = segment.sackEdges;
  const start = edges[0]!, end = edges[1]!;
  if (!seqLess(start, segment.acknowledgment)) {
    if (segment.sackCount < 2 || seqLess(edges[3]!, end) || seqLess(start, edges[2]!)) return false;
  }
  const duplicates = countDuplicates(tcb, start, end, sample);
  if (duplicates === 0) return false;
  if (
    tcb.undoArmed && tcb.undoRetrans > 0 && seqLessEqual(end, sample.priorUna) && seqLess(tcb.undoMarker, end)
  ) tcb.undoRetrans = Math.max(0, tcb.undoRetrans - duplicates);
  return true;
}

/** Segments that a DSACK reports; 0 when our retransmissions cannot be the reason. */
function countDuplicates(tcb: Tcb, start: number, end: number, sample: AckSample): number {
  if (!seqLess(start, end)) return 0;
  const bytes = (end - start) | 0;
  if (bytes > tcb.sndWndMax) return 0;
  let count = 1;
  if (bytes > tcb.sndMss) count = Math.ceil(bytes / tcb.sndMss);
  else if (tcb.probeOut && tcb.probeSeq === end) sample.flags |= Ack.dsackProbe;
  tcb.dsackDups += count;
  if (tcb.dsackDups > tcb.retransmittedSegments) return 0;
  // A probe is sent by a timer: its duplicate says nothing about reordering.
  if (tcb.reorderingSeen > 0 && (sample.flags & Ack.dsackProbe) === 0) tcb.rackDsackSeen = true;
  sample.flags |= Ack.dsack;
  sample.sackDelivered += count;
  return count;
}

/** `low` arrived though it was sent once and what follows it, up to the highest SACK, was there before. */
export function checkReordering(tcb: Tcb, low: number, config: TcpConfig): void {
  const distance = (highestSacked(tcb) - low) | 0;
  if (distance <= 0) return;
  if (distance > tcb.reordering * tcb.sndMss) {
    tcb.reordering = Math.min(Math.ceil(distance / tcb.sndMss), config.reorderingMax);
  }
  tcb.reorderingSeen++;
}
