import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import type { Tcb } from "./tcb.ts";

/** The receiver's side of SACK: which blocks an ACK reports (RFC 2018 section 4, RFC 2883 section 4). */

/** Blocks remembered: as many as a header holds without timestamps. */
const BLOCKS_MAX = 4;
/** The least that must be left for data beside the blocks (Linux's TCP_MIN_GSO_SIZE). */
const DATA_MIN = 8;

/** [start, end) has arrived ahead of a hole: its block becomes the first, with all that it touches. */
export function addSackBlock(tcb: Tcb, start: number, end: number): void {
  if (!tcb.sackPermitted) return;
  const blocks = tcb.sackBlocks;
  for (let at = 0; at < blocks.length;) {
    const first = blocks[at]!, last = blocks[at + 1]!;
    if (seqLess(end, first) || seqLess(last, start)) {
      at += 2;
      continue;
    }
    if (seqLess(first, start)) start = first;
    if (seqLess(end, last)) end = last;
    blocks.splice(at, 2);
    at = 0; // it has grown: what it did not touch before, it may now
  }
  blocks.unshift(start, end);
  if (blocks.length > 2 * BLOCKS_MAX) blocks.length = 2 * BLOCKS_MAX;
}

/** RCV.NXT has moved: what it covers is no block any more. */
export function removeSackBlocks(tcb: Tcb): void {
  const blocks = tcb.sackBlocks;
  for (let at = 0; at < blocks.length;) {
    if (seqLessEqual(blocks[at]!, tcb.rcvNxt)) blocks.splice(at, 2);
    else at += 2;
  }
}

/** The next segment reports that [start, end) came twice. */
export function reportDuplicate(tcb: Tcb, start: number, end: number): void {
  tcb.dsackPending = true;
  tcb.dsackStart = start;
  tcb.dsackEnd = end;
}

/** How many blocks the next segment carries. */
export function sackBlocksToSend(tcb: Tcb): number {
  const blocks = (tcb.dsackPending ? 1 : 0) + (tcb.sackBlocks.length >>> 1);
  if (blocks === 0) return 0;
  return Math.min(blocks, tcb.timestamps ? 3 : 4, Math.max(0, (tcb.sndMss - DATA_MIN - 4) >> 3));
}

/** Puts the blocks into `segment`: the duplicate first, which is reported once. */
export function writeSackBlocks(tcb: Tcb, segment: TcpRecord): void {
  const count = sackBlocksToSend(tcb);
  let block = 0;
  if (tcb.dsackPending && count > 0) {
    segment.sackEdges[0] = tcb.dsackStart;
    segment.sackEdges[1] = tcb.dsackEnd;
    block = 1;
  }
  for (let edge = 0; block < count; block++) {
    segment.sackEdges[2 * block] = tcb.sackBlocks[edge++]!;
    segment.sackEdges[2 * block + 1] = tcb.sackBlocks[edge++]!;
  }
  segment.sackCount = count;
  tcb.dsackPending = false;
}
