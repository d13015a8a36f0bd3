import { copied, Copies } from "../../base/copies.ts";
import { seqLess } from "../../base/sequence.ts";
import type { Slab } from "../../base/slab.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { enterTimeWait } from "./acknowledge.ts";
import { growForHole, tuneReceiveBuffer } from "./buffers.ts";
import { expectOurEnd, scheduleAck, watchDataReceived } from "./delayed_ack.ts";
import { takeEcnData } from "./ecn.ts";
import { measureReceivedMss } from "./counters.ts";
import { QUEUE_BYTES_MIN, queueBytesMax } from "./memory.ts";
import { receiveOffered } from "./offer.ts";
import { sendAck } from "./output.ts";
import { addSackBlock, removeSackBlocks, reportDuplicate } from "./sack_blocks.ts";
import { NO_LISTENER, type Tcb, TcpEvent, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * RCV.WND: what the peer was told. Where the field could not say how much room there is, in a SYN-ACK or without a
 * scale, it is that: half the buffer in whole segments, as Linux counts, so that a peer that takes us at our buffer's
 * word is understood (FreeBSD's tests do).
 */
export function receiveWindow(tcb: Tcb): number {
  const told = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  const room = tcb.receiveBufferBytes >>> 1;
  const halfOpen = tcb.state === TcpState.synReceived && tcb.listener !== NO_LISTENER;
  if (room <= UNSCALED_WINDOW_MAX || halfOpen || tcb.state === TcpState.timeWait) return told;
  return Math.max(told, room - room % tcb.peerMss - tcb.receiveQueue.length);
}

/** The most that a window field can say by itself. */
const UNSCALED_WINDOW_MAX = 0xffff;

/** Takes in the data of an acceptable segment: to the queue, or to its place ahead of a hole. */
export function receiveData(tcp: Tcp, tcb: Tcb, segment: TcpRecord, slab: Slab, nowMs: number): void {
  if (tcb.finReceived) return; // what lies behind a FIN was never sent
  let from = segment.dataStart;
  let to = segment.dataEnd;
  let offset = (segment.sequence - tcb.rcvNxt) | 0;
  const known = offset < 0; // its front has been received before
  if (known) {
    from -= offset;
    offset = 0;
  }
  const window = receiveWindow(tcb);
  // Its tail is more than was offered. What comes next, while nothing waits to be read, is taken whole all the same, as
  // in Linux: so one segment at most lies beyond the buffer, and a peer that thinks its window larger gets on.
  const whole = offset === 0 && window > 0 && tcb.receiveQueue.length === 0 && tcb.ahead.length === 0;
  if (!whole && offset + (to - from) > window) to = from + window - offset;
  if (to <= from) {
    tcb.ackNow = true; // an old duplicate: our ACK was lost
    if (known && tcb.sackPermitted && tcp.config.dsack) reportDuplicate(tcb, segment.sequence, tcb.rcvNxt);
    return;
  }
  measureReceivedMss(tcb, segment);
  watchDataReceived(tcb, tcp.config, nowMs);
  const dsack = tcb.sackPermitted && tcp.config.dsack;
  if (known && dsack) reportDuplicate(tcb, segment.sequence, tcb.rcvNxt);
  takeEcnData(tcb, segment, tcp.config);
  if (offset > 0) {
    tcb.outOfOrderSegments++;
    const fin = (segment.flags & TcpFlag.FIN) !== 0 && to === segment.dataEnd;
    keepAhead(tcp, tcb, slab, from, to, offset, fin);
    sendAck(tcp, tcb, nowMs); // each counts as a duplicate for fast retransmit (RFC 5681 section 4.2)
    return;
  }
  tuneReceiveBuffer(tcb, segment, tcp.config, nowMs);
  if (tcp.memory.full && !fitsAnyway(tcb, to - from)) {
    tcp.counters.rcvQDrop++;
    tcb.ackNow = true;
    return;
  }
  let count = to - from;
  const taken = tcb.offer === undefined ? 0 : receiveOffered(tcp, tcb, tcb.offer, slab, from, to);
  if (taken < count) tcb.receiveQueue.appendSlab(slab, from + taken, to);
  copied[Copies.in]! += count;
  const filledHole = tcb.ahead.length > 0;
  if (filledHole) {
    const first = tcb.ahead[0]!;
    if (first < count && dsack && !known) { // it had come ahead of this one; one report for a segment, the first
      const end = Math.min(count, tcb.ahead[1]!);
      reportDuplicate(tcb, (tcb.rcvNxt + first) | 0, (tcb.rcvNxt + end) | 0);
    }
    const more = joinAhead(tcb, count);
    tcb.receiveQueue.extend(more);
    count += more;
  }
  tcb.rcvNxt = (tcb.rcvNxt + count) | 0;
  if (seqLess(tcb.rcvAdv, tcb.rcvNxt)) tcb.rcvAdv = tcb.rcvNxt;
  if (tcb.sackBlocks.length > 0) removeSackBlocks(tcb);
  tcb.bytesIn += count;
  tcb.lastActivityMs = nowMs;
  if (tcb.finPending && tcb.finAhead === tcb.rcvNxt) acceptFin(tcp, tcb, nowMs);
  tcp.notify(tcb, TcpEvent.readable);
  if ((segment.flags & TcpFlag.FIN) !== 0) expectOurEnd(tcb);
  scheduleAck(tcb, filledHole, tcp.config, nowMs);
}

/**
 * No connection may take more memory: whether `count` bytes that come next can be had all the same. With nothing unread
 * they can, or a reader would wait for ever.
 */
function fitsAnyway({ receiveQueue }: Tcb, count: number): boolean {
  const { length, capacity } = receiveQueue;
  return length === 0 || length + count <= Math.max(capacity, QUEUE_BYTES_MIN);
}

/** Places bytes ahead of a hole, with a FIN behind them or without, and merges their run into the sorted list. */
function keepAhead(
  tcp: Tcp,
  tcb: Tcb,
  slab: Slab,
  from: number,
  to: number,
  offset: number,
  fin: boolean,
): void {
  const ahead = tcb.ahead;
  let start = offset;
  let end = offset + to - from;
  let at = 0;
  while (at < ahead.length && ahead[at + 1]! < start) at += 2;
  let merged = at;
  while (merged < ahead.length && ahead[merged]! <= end) {
    start = Math.min(start, ahead[merged]!);
    end = Math.max(end, ahead[merged + 1]!);
    merged += 2;
  }
  const { memory } = tcp;
  if (memory.tight && tcb.receiveQueue.length + offset + to - from > queueBytesMax(tcb, tcb.receiveQueue)) {
    tcp.counters.ofoDrop++;
    return;
  }
  // Nothing to merge with and no room for another run: the peer will send it again.
  if (merged === at && ahead.length >= 2 * tcp.config.outOfOrderRangesMax) return;
  reportOverlap(tcp, tcb, offset, offset + to - from);
  addSackBlock(tcb, (tcb.rcvNxt + offset) | 0, (tcb.rcvNxt + offset + to - from + (fin ? 1 : 0)) | 0);
  tcb.receiveQueue.placeSlab(tcb.receiveQueue.length + offset, slab, from, to);
  copied[Copies.in]! += to - from;
  ahead.splice(at, merged - at, start, end);
  growForHole(tcb, tcp.config, tcp.listeners.byId(tcb.listener));
}

/** What of [start, end) has come before, ahead of the hole: the first such run, for a DSACK. */
function reportOverlap(tcp: Tcp, tcb: Tcb, start: number, end: number): void {
  if (!tcb.sackPermitted || !tcp.config.dsack) return;
  const ahead = tcb.ahead;
  for (let at = 0; at < ahead.length && ahead[at]! < end; at += 2) {
    if (ahead[at + 1]! <= start) continue;
    const first = Math.max(start, ahead[at]!), last = Math.min(end, ahead[at + 1]!);
    return reportDuplicate(tcb, (tcb.rcvNxt + first) | 0, (tcb.rcvNxt + last) | 0);
  }
}

/** How many bytes beyond `count` have become in-order; the runs move down to the new RCV.NXT. */
function joinAhead(tcb: Tcb, count: number): number {
  const ahead = tcb.ahead;
  let reach = count;
  let used = 0;
  while (used < ahead.length && ahead[used]! <= reach) {
    reach = Math.max(reach, ahead[used + 1]!);
    used += 2;
  }
  ahead.splice(0, used);
  for (let at = 0; at < ahead.length; at++) ahead[at]! -= reach;
  return reach - count;
}

/** The peer's FIN stands behind `dataLength` bytes at `sequence`; it counts once everything before it is here. */
export function takeFin(tcp: Tcp, tcb: Tcb, sequence: number, dataLength: number, nowMs: number): void {
  if (tcb.finReceived) return;
  const at = (sequence + dataLength) | 0;
  if (seqLess(tcb.rcvNxt, at)) {
    tcb.finPending = true;
    tcb.finAhead = at;
    if (dataLength > 0) return; // the data has been answered: one duplicate ACK per segment
    addSackBlock(tcb, at, (at + 1) | 0); // it has a number, too
    sendAck(tcp, tcb, nowMs);
    return;
  }
  if (at === tcb.rcvNxt) acceptFin(tcp, tcb, nowMs);
}

/** RFC 9293 section 3.10.7.4, eighth step. */
function acceptFin(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const filledHole = tcb.finPending || tcb.ahead.length > 0;
  const closed = tcb.rcvAdv === tcb.rcvNxt; // a peer that writes there does so again until it is answered
  tcb.finPending = false;
  tcb.finReceived = true;
  tcb.rcvNxt = (tcb.rcvNxt + 1) | 0;
  if (seqLess(tcb.rcvAdv, tcb.rcvNxt)) tcb.rcvAdv = tcb.rcvNxt;
  if (tcb.ahead.length > 0) tcb.ahead.length = 0; // to set it takes a while, whatever it was
  if (tcb.sackBlocks.length > 0) tcb.sackBlocks.length = 0;
  if (tcb.state === TcpState.established) {
    expectOurEnd(tcb);
    tcb.dsackPending = false; // as Linux: a peer that has ended learns nothing from it
    scheduleAck(tcb, filledHole || closed, tcp.config, nowMs);
  } else {
    tcb.ackNow = true;
  }
  tcb.lastActivityMs = nowMs;
  tcp.notify(tcb, TcpEvent.readable);
  if (tcb.state === TcpState.established) tcb.state = TcpState.closeWait;
  else if (tcb.state === TcpState.finWait1) tcb.state = TcpState.closing;
  else if (tcb.state === TcpState.finWait2) enterTimeWait(tcp, tcb, nowMs);
}
