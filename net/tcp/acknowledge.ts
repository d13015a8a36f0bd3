import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { takeAce } from "./acc_ecn.ts";
import { Ack, ACK_NOT_DUPLICATE, type AckSample } from "./ack_sample.ts";
import { tuneSendBuffer } from "./buffers.ts";
import { congestionOf } from "./congestion/choose.ts";
import { isEcnEcho, takeCwr } from "./ecn.ts";
import { SendMode, sendNewData } from "./output.ts";
import { checkMtuProbe } from "./path_mtu.ts";
import { rackAdvance, rackUpdateReorderWindow } from "./rack.ts";
import { processProbeAck, recoveryAlert, reduceWindow, removeRenoSacks, Resend } from "./recovery.ts";
import { inCwndReduction } from "./reduction.ts";
import { retransmitQueue } from "./retransmit.ts";
import { clearRetransmitTimer, rearmTimeout, scheduleLossProbe } from "./rto.ts";
import { echoedRttUs, minRttSample, rttSample } from "./rtt.ts";
import { checkReordering, highestSacked, tagSacks } from "./scoreboard.ts";
import { tellWritable } from "./send_buffer.ts";
import { Sent, SENT_AGAIN } from "./sent_queue.ts";
import { CaState, finSent, Push, sendEnd, type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import { checkUserTimeoutTold } from "./user_timeout.ts";
import type { Tcp } from "./tcp.ts";
import { leaveFinWait2 } from "./timers.ts";
import { echoesBefore } from "./undo.ts";

/**
 * Takes in an acceptable ACK: frees what it acknowledges, reads its SACKs, learns the round-trip time,
 * moves the send window and the congestion window, repairs losses, and moves the states that wait for
 * our FIN to be acknowledged. `length` is the segment's length in sequence space.
 */
export function acknowledge(tcp: Tcp, tcb: Tcb, segment: TcpRecord, length: number, nowMs: number): void {
  if (tcp.config.headerPrediction && isPlain(tcb, segment)) {
    const news = segment.acknowledgment !== tcb.sndUna;
    if (news ? acknowledgePlain(tcp, tcb, segment, nowMs) : acknowledgeNothing(tcp, tcb, segment)) return;
  }
  const ack = segment.acknowledgment;
  const sample = tcp.ackSample;
  const { sent } = tcb;
  const prior = sent.length;
  const priorFack = highestSacked(tcb);
  sample.reset(nowMs, tcb.sndUna, tcb.delivered, tcb.lost);
  sample.hasEcho = tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0;
  sample.tsEcr = segment.tsEcr;
  tcb.probesUnanswered = 0;
  tcb.softError = 0; // something gets through
  if (tcb.push === Push.hold) tcb.push = Push.normal;
  if (seqLess(ack, tcb.sndUna)) return oldAck(tcp, tcb, segment, sample);
  const finAcked = finSent(tcb) && seqLess(sendEnd(tcb), ack);
  if (length > 0) sample.flags |= Ack.data;
  if (seqLess(tcb.sndUna, ack)) {
    sample.flags |= Ack.advanced;
    advance(tcp, tcb, ack, finAcked);
  }
  if (isEcnEcho(tcb, segment)) sample.flags |= Ack.ece;
  takeCwr(tcb, segment);
  if (updateSendWindow(tcp, tcb, segment, (sample.flags & Ack.advanced) !== 0)) {
    sample.flags |= Ack.windowUpdate;
  }
  if (tcb.sndWnd === 0) tcb.persistAtMs = Infinity; // it has just been said: the next question waits anew, as on Linux
  if (segment.sackCount > 0 && tcb.sackPermitted) {
    tagSacks(tcb, segment, sample, tcp.config);
    tcb.delivered += sample.sackDelivered;
  }
  if (prior > 0) {
    cleanQueue(tcp, tcb, sample, priorFack);
    if (tcb.accEcn !== undefined) takeAce(tcb, tcb.accEcn, segment, sample);
    react(tcp, tcb, ack, sample);
  } else {
    if (tcb.accEcn !== undefined) takeAce(tcb, tcb.accEcn, segment, sample);
    // Nothing was in flight: a DSACK may still say that the last recovery was for nothing.
    if ((sample.flags & Ack.dsack) !== 0) recoveryAlert(tcp, tcb, 0, sample);
    if (tcb.probeOut) processProbeAck(tcb, ack, sample.flags, nowMs);
  }
  if ((sample.flags & Ack.ece) !== 0 && tcb.accEcn === undefined) {
    tcb.deliveredCe += tcb.delivered - sample.priorDelivered;
  }
  if ((sample.flags & Ack.advanced) !== 0 && tcb.wantsWritable) {
    tuneSendBuffer(tcb, tcp.config);
    tellWritable(tcp, tcb);
  }
  if (finAcked) ourFinAcknowledged(tcp, tcb, segment, nowMs);
  if (tcb.state !== TcpState.closed) tcp.queueOutput(tcb);
}

/** Flags of what `acknowledgePlain` does not understand. */
const NOT_PLAIN = TcpFlag.ECE | TcpFlag.CWR | TcpFlag.AE;
const SENT_NOT_PLAIN = Sent.sacked | Sent.lost | SENT_AGAIN;

/** Nothing was lost, overtaken or marked, nothing is being probed or closed, and the ACK is no old one: nearly always. */
function isPlain(tcb: Tcb, segment: TcpRecord): boolean {
  return tcb.caState === CaState.open && tcb.sackedOut === 0 && tcb.lostOut === 0 && tcb.retransOut === 0 &&
    segment.sackCount === 0 && tcb.accEcn === undefined && (segment.flags & NOT_PLAIN) === 0 &&
    tcb.sackPermitted && !tcb.probeOut && !tcb.finQueued && tcb.mtuProbeSize === 0 &&
    tcb.userTimeoutNews === 0 && !seqLess(segment.acknowledgment, tcb.sndUna);
}

/** The ACK of a peer that only sends: nothing is in flight, and it moves the window at most. False as below. */
function acknowledgeNothing(tcp: Tcp, tcb: Tcb, segment: TcpRecord): boolean {
  if (tcb.sent.length > 0) return false; // it may be a duplicate
  tcb.probesUnanswered = 0;
  tcb.softError = 0;
  if (tcb.push === Push.hold) tcb.push = Push.normal;
  updateSendWindow(tcp, tcb, segment, false);
  if (tcb.sndWnd === 0) tcb.persistAtMs = Infinity;
  tcp.queueOutput(tcb);
  return true;
}

/**
 * Header prediction (Jacobson 1990) for ACKs: does what `acknowledge` would do with a plain one, without asking at each
 * step for what cannot be. `acknowledge` is its slow twin.
 * @returns False when it has done nothing, for something that is acknowledged was sent again, or in part.
 */
function acknowledgePlain(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): boolean {
  const ack = segment.acknowledgment;
  const { sent } = tcb;
  const priorUna = tcb.sndUna, priorDelivered = tcb.delivered;
  const { sequence, end: ends, flags } = sent;
  let count = 0, bytes = 0, longest = tcb.provenBytes;
  let end = priorUna, first = 0, last = 0;
  for (; count < sent.length; count++) {
    const at = sent.slot(count);
    if (seqLess(ack, ends[at]!)) break;
    if ((flags[at]! & SENT_NOT_PLAIN) !== 0) return false;
    end = ends[at]!;
    const length = (end - sequence[at]!) | 0;
    bytes += length;
    if (length > longest) longest = length;
    last = at;
    if (count === 0) first = at;
  }
  if (count === 0 || end !== ack) return false;
  tcb.probesUnanswered = 0;
  tcb.softError = 0;
  if (tcb.push === Push.hold) tcb.push = Push.normal;
  advance(tcp, tcb, ack, false);
  updateSendWindow(tcp, tcb, segment, true);
  if (tcb.sndWnd === 0) tcb.persistAtMs = Infinity;
  tcb.provenBytes = longest;
  tcb.delivered += count;
  rackAdvance(tcb, 0, last, nowMs); // what left before it advances nothing any more
  const lastUs = sentAgoUs(tcb, last, nowMs);
  const firstUs = count === 1 ? lastUs : sentAgoUs(tcb, first, nowMs);
  sent.drop(count);
  if (sent.length === 0) {
    tcb.rackSentMs = 0;
    tcb.retransmitHint = ack;
  }
  const maybeDelayed = count === 1 && ((ack - priorUna) | 0) < tcb.sndMss;
  minRttSample(tcb, lastUs, maybeDelayed, nowMs);
  rttSample(tcb, firstUs, tcp.config);
  const congestion = congestionOf(tcb);
  congestion.measured(tcb, lastUs, nowMs);
  rackUpdateReorderWindow(tcb, priorDelivered);
  if (!scheduleLossProbe(tcp, tcb, true, nowMs)) rearmTimeout(tcp, tcb, nowMs);
  congestion.acked(tcb, bytes, nowMs);
  if (tcb.wantsWritable) {
    tuneSendBuffer(tcb, tcp.config);
    tellWritable(tcp, tcb);
  }
  tcp.queueOutput(tcb);
  return true;
}

/** The ACK is older than another: its SACKs may be news all the same. */
function oldAck(tcp: Tcp, tcb: Tcb, segment: TcpRecord, sample: AckSample): void {
  tcp.queueOutput(tcb);
  if (segment.sackCount === 0 || !tcb.sackPermitted) return;
  tagSacks(tcb, segment, sample, tcp.config);
  resend(tcp, tcb, recoveryAlert(tcp, tcb, 0, sample), sample.nowMs);
}

/** Frees the bytes that are acknowledged, and tells who waited for the last of them. */
function advance(tcp: Tcp, tcb: Tcb, ack: number, finAcked: boolean): void {
  const bytes = ((ack - tcb.sndUna) >>> 0) - (finAcked ? 1 : 0);
  tcb.sendQueue.drop(Math.min(bytes, tcb.sendQueue.length));
  tcb.sndUna = ack;
  tcb.retransmits = 0;
  tcb.stuckSinceMs = 0;
  if (tcb.wantsDrained && tcb.sendQueue.length === 0) {
    tcb.wantsDrained = false;
    tcp.notify(tcb, TcpEvent.drained);
  }
}

/** How long ago the segment in `slot` left. To be given its time, a double, would cost a number for each call. */
function sentAgoUs(tcb: Tcb, slot: number, nowMs: number): number {
  return Math.max(0, Math.round((nowMs - tcb.sent.sentMs[slot]!) * 1000));
}

/** In whole microseconds, as everything here counts round trips. */
function elapsedUs(sinceMs: number, nowMs: number): number {
  return Math.max(0, Math.round((nowMs - sinceMs) * 1000));
}

/** Removes the segments that are acknowledged whole, and takes the round-trip sample. */
function cleanQueue(tcp: Tcp, tcb: Tcb, sample: AckSample, priorFack: number): void {
  const { sent } = tcb;
  const { nowMs, priorUna } = sample;
  const priorSacked = tcb.sackedOut;
  let first = -1, last = -1;
  let reordered = tcb.sndMax;
  let count = 0;
  for (; count < sent.length; count++) {
    const at = sent.slot(count);
    const end = sent.end[at]!;
    if (seqLess(tcb.sndUna, end)) break;
    const flags = sent.flags[at]!;
    const sequence = sent.sequence[at]!;
    if (((end - sequence) | 0) > tcb.provenBytes) tcb.provenBytes = (end - sequence) | 0;
    if ((flags & SENT_AGAIN) !== 0) {
      if ((flags & Sent.retransmitted) !== 0) tcb.retransOut--;
      sample.flags |= Ack.retransmittedDataAcked;
    } else if ((flags & Sent.sacked) === 0) {
      last = at;
      if (first < 0) first = at;
      if (seqLess(sequence, reordered)) reordered = sequence;
      if (seqLessEqual(end, tcb.highSeq)) sample.flags |= Ack.originalArrived;
    }
    if ((flags & Sent.sacked) !== 0) {
      tcb.sackedOut--;
    } else if (tcb.sackPermitted) {
      tcb.delivered++;
      sample.deliveredBytes += (end - sequence) | 0;
      const spurious = (flags & SENT_AGAIN) !== 0 && echoesBefore(tcb, sample, sent.sentMs[at]!);
      if (!spurious) rackAdvance(tcb, flags, at, nowMs);
    } else {
      sample.deliveredBytes += (end - sequence) | 0;
    }
    if ((flags & Sent.lost) !== 0) tcb.lostOut--;
  }
  const lastSlot = sent.slot(Math.max(0, count - 1));
  const lastEnd = sent.end[lastSlot]!;
  const firstUs = first < 0 ? -1 : sentAgoUs(tcb, first, nowMs);
  const lastUs = first < 0 ? -1 : sentAgoUs(tcb, last, nowMs);
  sent.drop(count);
  if (count > 0) sample.flags |= Ack.dataAcked;
  if (sent.length === 0) {
    tcb.rackSentMs = 0; // whatever leaves from now on does so later
    tcb.retransmitHint = tcb.sndUna;
  } else if ((sent.flags[sent.slot(0)]! & Sent.sacked) !== 0) {
    sample.flags |= Ack.reneging;
  }

  let rttUs = -1, sackRttUs = -1, lastRttUs = -1;
  if (firstUs >= 0 && (sample.flags & Ack.retransmittedDataAcked) === 0) {
    rttUs = firstUs;
    lastRttUs = lastUs;
    const small = ((tcb.sndUna - priorUna) | 0) < tcb.sndMss && lastEnd === tcb.sndUna;
    const alone = count === 1 && priorSacked === 0 && tcb.delivered === sample.priorDelivered + 1;
    if (small && alone && (sample.flags & (Ack.dataSacked | Ack.ece | Ack.dsack)) === 0) {
      sample.flags |= Ack.maybeDelayed;
    }
  }
  if (sample.firstSackedMs >= 0) {
    sackRttUs = elapsedUs(sample.firstSackedMs, nowMs);
    lastRttUs = elapsedUs(sample.lastSackedMs, nowMs);
  }
  const measured = updateRtt(tcp, tcb, sample, rttUs, sackRttUs, lastRttUs);

  if (count > 0) {
    sample.flags |= Ack.setTimer;
    if (tcb.mtuProbeSize > 0) checkMtuProbe(tcp, tcb);
    if (tcb.userTimeoutNews !== 0) checkUserTimeoutTold(tcb);
    if (!tcb.sackPermitted) {
      removeRenoSacks(tcp, tcb, count, sample);
      // Without SACK nobody knows which of them did it.
      if ((sample.flags & Ack.retransmittedDataAcked) !== 0) sample.flags &= ~Ack.originalArrived;
    } else if (seqLess(reordered, priorFack)) {
      checkReordering(tcb, reordered, tcp.config);
    }
  } else if (measured && sackRttUs >= 0 && sent.length > 0) {
    // A SACK of what left after the head did says that the path is alive: the timeout starts anew.
    if (sackRttUs > (nowMs - sent.sentMs[sent.slot(0)]!) * 1000) sample.flags |= Ack.setTimer;
  }
}

/**
 * Round trips are measured from when a segment left (RFC 6298 section 4); what was sent twice tells none (Karn),
 * but an echoed timestamp still does, where new data is acknowledged (RFC 7323 section 4.1).
 */
function updateRtt(
  tcp: Tcp,
  tcb: Tcb,
  sample: AckSample,
  ackedUs: number,
  sackedUs: number,
  lastUs: number,
): boolean {
  let rttUs = ackedUs >= 0 ? ackedUs : sackedUs;
  if (rttUs < 0 && sample.hasEcho && (sample.flags & Ack.dataAcked) !== 0) {
    rttUs = lastUs = echoedRttUs(tcb, sample.tsEcr, sample.nowMs);
  }
  sample.rttUs = lastUs;
  if (rttUs < 0) return false;
  minRttSample(tcb, lastUs, (sample.flags & Ack.maybeDelayed) !== 0, sample.nowMs);
  rttSample(tcb, rttUs, tcp.config);
  congestionOf(tcb).measured(tcb, lastUs, sample.nowMs);
  return true;
}

/** What the ACK means for loss recovery and the congestion window, and what it lets out. */
function react(tcp: Tcp, tcb: Tcb, ack: number, sample: AckSample): void {
  const { nowMs } = sample;
  rackUpdateReorderWindow(tcb, sample.priorDelivered);
  if (tcb.probeOut) processProbeAck(tcb, ack, sample.flags, nowMs);

  let wanted: Resend = Resend.nothing;
  const plain = (sample.flags & ACK_NOT_DUPLICATE) !== 0 && tcb.caState === CaState.open &&
    (sample.flags & (Ack.dataSacked | Ack.ece | Ack.dsack)) === 0;
  if (!plain) {
    const duplicate = (sample.flags & (Ack.advanced | ACK_NOT_DUPLICATE | Ack.dsack)) === 0;
    wanted = recoveryAlert(tcp, tcb, duplicate ? 1 : 0, sample);
  }
  if ((sample.flags & Ack.setTimer) !== 0 && !scheduleLossProbe(tcp, tcb, true, nowMs)) {
    rearmTimeout(tcp, tcb, nowMs);
  }
  const delivered = tcb.delivered - sample.priorDelivered;
  if (inCwndReduction(tcb)) {
    reduceWindow(tcb, delivered, tcb.lost - sample.priorLost, (sample.flags & Ack.advanced) !== 0);
  } else if (sample.deliveredBytes > 0 && mayRaiseWindow(tcp, tcb, sample)) {
    congestionOf(tcb).acked(tcb, sample.deliveredBytes, nowMs);
  }
  resend(tcp, tcb, wanted, nowMs);
}

/** Only data in order makes the window grow (RFC 5681), unless segments are known to overtake each other a lot. */
function mayRaiseWindow(tcp: Tcp, tcb: Tcb, sample: AckSample): boolean {
  const counted = tcb.reordering > tcp.config.reorderingSegments
    ? Ack.dataAcked | Ack.dataSacked
    : Ack.dataAcked;
  return (sample.flags & counted) !== 0;
}

function resend(tcp: Tcp, tcb: Tcb, wanted: Resend, nowMs: number): void {
  if (wanted === Resend.nothing) return;
  if (wanted === Resend.fresh) {
    sendNewData(tcp, tcb, nowMs, SendMode.push);
    if (seqLess(tcb.highSeq, tcb.sndMax)) return;
    tcb.frto = false;
  }
  retransmitQueue(tcp, tcb, nowMs);
}

/**
 * RFC 9293 section 3.10.7.4, fifth step: only news moves the window. An ACK that advances is news, too, in a segment
 * sent again as well: SND.WND counts from SND.UNA, and left as it is would grant what nobody granted (as Linux sees it).
 * @returns Whether the segment differs from its predecessors by its window, or by what came before it.
 */
function updateSendWindow(tcp: Tcp, tcb: Tcb, segment: TcpRecord, advanced: boolean): boolean {
  const ack = segment.acknowledgment;
  const later = advanced || seqLess(tcb.sndWl1, segment.sequence);
  if (!later && (tcb.sndWl1 !== segment.sequence || seqLess(ack, tcb.sndWl2))) return false;
  const windowBytes = segment.window << tcb.sndShift;
  const changed = later || windowBytes !== tcb.sndWnd;
  if (windowBytes > tcb.sndWnd) tcp.queueOutput(tcb);
  tcb.sndWnd = windowBytes;
  tcb.sndWl1 = segment.sequence;
  tcb.sndWl2 = ack;
  if (windowBytes > tcb.sndWndMax) tcb.sndWndMax = windowBytes;
  return changed;
}

function ourFinAcknowledged(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  if (tcb.state === TcpState.finWait1) {
    tcb.state = TcpState.finWait2;
    if (tcb.orphan) leaveFinWait2(tcp, tcb, nowMs, segment);
  } else if (tcb.state === TcpState.closing) {
    enterTimeWait(tcp, tcb, nowMs);
  } else if (tcb.state === TcpState.lastAck) {
    tcp.destroy(tcb, TcpError.none);
  }
}

/** RFC 9293 section 3.6: the end that closed first remembers the connection for a while. */
export function enterTimeWait(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  clearRetransmitTimer(tcb);
  tcb.persistAtMs = tcb.keepAliveAtMs = Infinity;
  tcb.expireAtMs = nowMs + tcp.config.timeWaitMs;
  if (tcb.state === TcpState.timeWait) return;
  tcb.state = TcpState.timeWait;
  if (tcp.timeWaits++ < tcp.config.timeWaitsMax) return;
  tcp.counters.timeWaitOverflow++;
  tcb.expireAtMs = nowMs; // no room to remember it: it goes when its last ACK has left
}
