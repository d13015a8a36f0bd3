import { seqLess } from "../../base/sequence.ts";
import type { TcpConfig } from "./config.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import { Sent } from "./sent_queue.ts";
import { type CaState, RetransmitTimer, type Tcb, TcpState } from "./tcb.ts";

/** Linux's floor of the timeout's variance, where most connections are: a constant of the format. */
const USUAL_VAR_US = 200_000;

const Bit = {
  reneging: 1,
  rackAdvanced: 2,
  rackDsackSeen: 4,
  probeOut: 8,
  probeRetransmitted: 16,
  frto: 32,
  undoArmed: 64,
  undoWindow: 128,
  dsackPending: 256,
  rackSent: 512,
  retransmitted: 1024,
  noMinRtt: 2048,
  rackRtt: 4096,
} as const;

/**
 * The state of loss recovery as whole numbers, zeros at the end left out but the first. Positions are distances from SND.UNA
 * (or RCV.NXT, for what we received), times are microseconds before `atMs`; when the shortest round trip was seen
 * is kept to the second.
 */
export function freezeRecovery(tcb: Tcb, atMs: number, into: RowWriter): void {
  const flying = tcb.sent.length > 0;
  const armed = tcb.undoArmed;
  const { reneging, rackAdvanced, rackDsackSeen, probeOut, probeRetransmitted, frto, dsackPending } = tcb;
  const bits = (reneging ? Bit.reneging : 0) | (rackAdvanced ? Bit.rackAdvanced : 0) |
    (rackDsackSeen ? Bit.rackDsackSeen : 0) | (probeOut ? Bit.probeOut : 0) |
    (probeRetransmitted ? Bit.probeRetransmitted : 0) | (frto ? Bit.frto : 0) |
    (armed ? Bit.undoArmed : 0) | (tcb.undoWindow ? Bit.undoWindow : 0) |
    (dsackPending ? Bit.dsackPending : 0) | (tcb.rackSentMs > 0 ? Bit.rackSent : 0) |
    (tcb.retransmitStampMs >= 0 ? Bit.retransmitted : 0) | (tcb.minRttUs < 0 ? Bit.noMinRtt : 0) |
    (tcb.rackRttUs === 0 ? 0 : Bit.rackRtt);
  into.put(tcb.minRttUs < 0 ? 0 : Math.max(0, Math.floor((atMs - tcb.minRttAtMs) / 1000)));
  into.put(tcb.minRttUs < 0 ? 0 : tcb.minRttUs - tcb.srttUs); // on a quiet path they are the same
  into.put(tcb.rtoVarUs - USUAL_VAR_US);
  into.put(tcb.rtoVarMaxUs - USUAL_VAR_US);
  into.put(from(tcb, tcb.rttSeq));
  into.put(tcb.delivered);
  into.put(tcb.rackRttUs === 0 ? 0 : tcb.rackRttUs - tcb.srttUs);
  into.put(bits);
  into.put(tcb.caState);
  into.put(tcb.retransmitTimer);
  into.put(tcb.sackedOut);
  into.put(tcb.lostOut);
  into.put(tcb.retransOut);
  into.put(tcb.sackedOut > 0 ? from(tcb, tcb.fack) : 0);
  into.put(tcb.reordering - 3);
  into.put(tcb.reorderingSeen);
  into.put(tcb.lost);
  into.put(tcb.dsackDups);
  into.put(tcb.rackReorderSteps - 1);
  into.put(tcb.rackReorderPersist);
  into.put(tcb.rackLastDelivered);
  into.put(tcb.rackSentMs > 0 ? ageUs(atMs, tcb.rackSentMs) : 0);
  into.put(tcb.rackSentMs > 0 ? from(tcb, tcb.rackEnd) : 0);
  into.put(probeOut ? from(tcb, tcb.probeSeq) : 0);
  into.put(tcb.prrDelivered);
  into.put(tcb.prrOut);
  into.put(armed ? from(tcb, tcb.undoMarker) : 0);
  into.put(tcb.undoRetrans + 1);
  into.put(tcb.retransmitStampMs < 0 ? 0 : ageUs(atMs, tcb.retransmitStampMs));
  into.put(flying ? from(tcb, tcb.retransmitHint) : 0);
  into.put(dsackPending ? (tcb.rcvNxt - tcb.dsackStart) | 0 : 0);
  into.put(dsackPending ? (tcb.rcvNxt - tcb.dsackEnd) | 0 : 0);
  into.put(seqLess(tcb.sndUna, tcb.smallEnd) ? from(tcb, tcb.smallEnd) : 0);
  const { sackBlocks } = tcb;
  for (let at = 0; at < sackBlocks.length; at++) into.put((sackBlocks[at]! - tcb.rcvNxt) | 0);
  // One zero stays: nothing at all is what images of before have, which knew no shortest round trip.
  into.end(1);
}

function ageUs(atMs: number, sinceMs: number): number {
  return Math.round((atMs - sinceMs) * 1000);
}

function from(tcb: Tcb, position: number): number {
  return (position - tcb.sndUna) | 0;
}

/** Places in the state. */
const BITS_AT = 7;
const SACK_BLOCKS_AT = 33;

/**
 * Whether there is something in a frozen state that shows in the answer to any segment, or that an ACK of nothing new
 * may end: blocks to report, a duplicate, a loss probe. Of states from before there was one it is not known.
 */
export function mayShow(state: readonly number[]): boolean {
  return state.length === 0 || state.length > SACK_BLOCKS_AT ||
    ((state[BITS_AT] ?? 0) & (Bit.probeOut | Bit.dsackPending)) !== 0;
}

/** Puts the state back; `sndUna` and `rcvNxt` are there already, and `baseMs` is when it was frozen. */
export function thawRecovery(
  row: RowReader,
  tcb: Tcb,
  config: Readonly<TcpConfig>,
  baseMs: number,
): void {
  if (row.ended) return thawOld(tcb, config);
  tcb.minRttAtMs = baseMs - 1000 * row.next();
  tcb.minRttUs = row.next() + tcb.srttUs;
  tcb.rtoVarUs = row.next() + USUAL_VAR_US;
  tcb.rtoVarMaxUs = row.next() + USUAL_VAR_US;
  tcb.rttSeq = (tcb.sndUna + row.next()) | 0;
  tcb.delivered = row.next();
  const rackRttUs = row.next() + tcb.srttUs;
  const bits = row.next();
  tcb.rackRttUs = (bits & Bit.rackRtt) !== 0 ? rackRttUs : 0;
  if ((bits & Bit.noMinRtt) !== 0) tcb.minRttUs = -1;
  tcb.reneging = (bits & Bit.reneging) !== 0;
  tcb.rackAdvanced = (bits & Bit.rackAdvanced) !== 0;
  tcb.rackDsackSeen = (bits & Bit.rackDsackSeen) !== 0;
  tcb.probeOut = (bits & Bit.probeOut) !== 0;
  tcb.probeRetransmitted = (bits & Bit.probeRetransmitted) !== 0;
  tcb.frto = (bits & Bit.frto) !== 0;
  tcb.undoArmed = (bits & Bit.undoArmed) !== 0;
  tcb.undoWindow = (bits & Bit.undoWindow) !== 0;
  tcb.dsackPending = (bits & Bit.dsackPending) !== 0;
  tcb.caState = row.next() as CaState;
  tcb.retransmitTimer = row.next() as RetransmitTimer;
  tcb.sackedOut = row.next();
  tcb.lostOut = row.next();
  tcb.retransOut = row.next();
  tcb.fack = (tcb.sndUna + row.next()) | 0;
  tcb.reordering = row.next() + 3;
  tcb.reorderingSeen = row.next();
  tcb.lost = row.next();
  tcb.dsackDups = row.next();
  tcb.rackReorderSteps = row.next() + 1;
  tcb.rackReorderPersist = row.next();
  tcb.rackLastDelivered = row.next();
  const rackSentMs = baseMs - row.next() / 1000;
  tcb.rackSentMs = (bits & Bit.rackSent) !== 0 ? rackSentMs : 0;
  tcb.rackEnd = (tcb.sndUna + row.next()) | 0;
  tcb.probeSeq = (tcb.sndUna + row.next()) | 0;
  tcb.prrDelivered = row.next();
  tcb.prrOut = row.next();
  tcb.undoMarker = (tcb.sndUna + row.next()) | 0;
  tcb.undoRetrans = row.next() - 1;
  const stampMs = baseMs - row.next() / 1000;
  tcb.retransmitStampMs = (bits & Bit.retransmitted) !== 0 ? stampMs : -1;
  tcb.retransmitHint = (tcb.sndUna + row.next()) | 0;
  tcb.dsackStart = (tcb.rcvNxt - row.next()) | 0;
  tcb.dsackEnd = (tcb.rcvNxt - row.next()) | 0;
  tcb.smallEnd = (tcb.sndUna + row.next()) | 0;
  if (tcb.sackBlocks.length > 0) tcb.sackBlocks.length = 0;
  while (!row.ended) tcb.sackBlocks.push((tcb.rcvNxt + row.next()) | 0);
}

/** An image from before there was a scoreboard: what is missing is as on a connection without a loss. */
function thawOld(tcb: Tcb, config: Readonly<TcpConfig>): void {
  tcb.rtoVarUs = tcb.rtoVarMaxUs = Math.max(config.rtoMinMs * 1000, 4 * tcb.rttvarUs);
  tcb.rttSeq = tcb.retransmitHint = tcb.sndUna;
  if (tcb.retransmitAtMs !== Infinity) tcb.retransmitTimer = RetransmitTimer.timeout;
}

/** The segments in flight: for each its length with FIN, its `Sent` bits, and microseconds before `atMs`. */
export function freezeSent(tcb: Tcb, atMs: number): number[] {
  const { sent } = tcb;
  const list: number[] = [];
  for (let place = 0; place < sent.length; place++) {
    const at = sent.slot(place);
    const sequence = sent.sequence[at]!;
    // Of the first one the front may have arrived: that is over.
    const start = place === 0 && seqLess(sequence, tcb.sndUna) ? tcb.sndUna : sequence;
    if (place === 0) list.push((start - tcb.sndUna) | 0);
    list.push((sent.end[at]! - start) | 0, sent.flags[at]!, Math.round((atMs - sent.sentMs[at]!) * 1000));
  }
  return list;
}

/** Puts them back, or makes them up for an image that has none: then everything in flight goes again in time. */
export function thawSent(list: readonly number[], tcb: Tcb, finSent: boolean, baseMs: number): void {
  const { sent } = tcb;
  sent.clear();
  let sequence = (tcb.sndUna + (list[0] ?? 0)) | 0;
  for (let at = 1; at < list.length; at += 3) {
    const end = (sequence + list[at]!) | 0;
    sent.push(sequence, end, list[at + 1]!, baseMs - list[at + 2]! / 1000);
    sequence = end;
    tcb.sentStampMs = Math.max(tcb.sentStampMs, baseMs - list[at + 2]! / 1000);
  }
  while (list.length === 0 && sequence !== tcb.sndMax && tcb.state >= TcpState.established) {
    const left = (tcb.sndMax - sequence) >>> 0;
    const end = left <= tcb.sndMss + (finSent ? 1 : 0) ? tcb.sndMax : (sequence + tcb.sndMss) | 0;
    sent.push(sequence, end, end === tcb.sndMax && finSent ? Sent.fin : 0, baseMs);
    sequence = end;
  }
}
