import type { TcpRecord } from "../wire/tcp.ts";
import type { TcpConfig } from "./config.ts";
import { initialWindowBytes } from "./congestion/window.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import type { TcpListener } from "./listeners.ts";
import type { Tcb } from "./tcb.ts";
import { timestampNow } from "./timestamp.ts";

/** A measurement that has not ended by then was ended by a pause: what it knew is of no use any more. */
const STALE_MS = 2_000;
/** Segments that fit beside twice what came in a round trip, so that small windows can lose some, too. */
const CUSHION_SEGMENTS = 16;
/** A round trip that the timestamp clock cannot see is this long, in microseconds. */
const RTT_US_MIN = 1_000;

/**
 * Dynamic right-sizing, as in Linux: measures how much the application takes in a round trip, and lets the
 * receive buffer, and with it the window, grow to what the sender will need two round trips from now. Called
 * before in-order data is queued; it never shrinks anything (SHLD-14), so an application that reads slowly
 * keeps the buffer that it has.
 */
export function tuneReceiveBuffer(
  tcb: Tcb,
  segment: TcpRecord,
  config: Readonly<TcpConfig>,
  nowMs: number,
): void {
  if (tcb.receiveBufferBytes >= config.receiveBufferMax || tcb.receiveBufferSet || tcb.memory?.tight) return;
  const elapsedMs = nowMs - tcb.receiveSpaceAtMs;
  if (elapsedMs > STALE_MS) return startMeasuring(tcb, config, nowMs);
  measureRtt(tcb, segment, nowMs);
  if (elapsedMs * 1000 < tcb.receiveRttUs) return;
  const unread = tcb.receiveQueue.length;
  const read = (tcb.rcvNxt - unread) | 0;
  const copied = ((read - tcb.receiveSpaceSeq) | 0) - unread; // what is left unread was not needed
  const before = tcb.receiveSpaceBytes;
  if (copied > before) {
    // Twice, since a lost segment halts the reader for a round trip while the rest comes in; and more of it, if
    // the sender is speeding up: what is offered now is used in the next round trip.
    const twice = 2 * copied + CUSHION_SEGMENTS * tcb.sndMss;
    const wanted = twice + 2 * Math.floor(twice * (copied - before) / before);
    if (wanted > tcb.receiveBufferBytes) tcb.receiveBufferBytes = Math.min(wanted, config.receiveBufferMax);
    tcb.receiveSpaceBytes = copied;
  }
  tcb.receiveSpaceSeq = read;
  tcb.receiveSpaceAtMs = nowMs;
}

/**
 * While a segment is missing the application gets nothing to read, and what comes behind it fills the window: the
 * buffer grows by what has come already, as in Linux since 6.18, so that the sender goes on meanwhile. Not while
 * connections wait to be accepted: this one may be among them, and nobody might ever read it.
 */
export function growForHole(tcb: Tcb, config: Readonly<TcpConfig>, listener: TcpListener | undefined): void {
  if (tcb.receiveBufferBytes >= config.receiveBufferMax || tcb.receiveBufferSet || tcb.memory?.tight) return;
  if (listener !== undefined && listener.waiting > 0) return;
  const round = tcb.receiveSpaceBytes || initialWindowBytes(tcb, config);
  const wanted = 2 * round + CUSHION_SEGMENTS * tcb.sndMss + tcb.ahead[tcb.ahead.length - 1]!;
  if (wanted > tcb.receiveBufferBytes) tcb.receiveBufferBytes = Math.min(wanted, config.receiveBufferMax);
}

function startMeasuring(tcb: Tcb, config: Readonly<TcpConfig>, nowMs: number): void {
  tcb.receiveSpaceAtMs = nowMs;
  tcb.receiveSpaceSeq = (tcb.rcvNxt - tcb.receiveQueue.length) | 0;
  tcb.receiveSpaceBytes = initialWindowBytes(tcb, config);
  tcb.receiveRttUs = Math.max(RTT_US_MIN, tcb.srttUs);
  tcb.receiveEchoed = 0;
}

/**
 * The round trip as a receiver of data sees it: from our ACK to the data that it let out, by the timestamp that
 * the peer echoes. Without timestamps it stays what the handshake and our own data told.
 */
function measureRtt(tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  if (!tcb.timestamps || segment.tsEcr === 0 || segment.tsEcr === tcb.receiveEchoed) return;
  if (segment.dataEnd - segment.dataStart < tcb.sndMss) return; // it may have waited for its application
  const first = tcb.receiveEchoed === 0;
  tcb.receiveEchoed = segment.tsEcr;
  if (first) return; // after a pause it echoes what we said before
  const rttUs = Math.max(RTT_US_MIN, 1000 * ((timestampNow(tcb, nowMs) - segment.tsEcr) | 0));
  if (rttUs > STALE_MS * 1000) return;
  tcb.receiveRttUs += (rttUs - tcb.receiveRttUs) >> 3;
}

/**
 * Lets the send buffer follow the congestion window, as in Linux: two windows of data, one in flight and one
 * that is ready when it is acknowledged. Called when an ACK has made room.
 */
export function tuneSendBuffer(tcb: Tcb, config: Readonly<TcpConfig>): void {
  if (tcb.sendBufferSet || tcb.memory?.tight) return;
  const wanted = Math.min(2 * tcb.cwnd, config.sendBufferMax);
  if (wanted > tcb.sendBufferBytes) tcb.sendBufferBytes = wanted;
}

/**
 * The buffers as whole numbers, zeros at the end left out; `[]` for a connection that never needed more than it
 * began with and has paused. The image's own fields hold what an application has set.
 */
export function freezeBuffers(tcb: Tcb, atMs: number, into: RowWriter): void {
  const measuring = atMs - tcb.receiveSpaceAtMs <= STALE_MS;
  into.put((tcb.receiveBufferSet ? 1 : 0) | (tcb.sendBufferSet ? 2 : 0));
  into.put(tcb.receiveBufferSet ? 0 : tcb.receiveBufferBytes - FROZEN_RECEIVE_BYTES);
  into.put(tcb.sendBufferSet ? 0 : tcb.sendBufferBytes - FROZEN_SEND_BYTES);
  into.put(measuring ? tcb.receiveSpaceBytes : 0);
  into.put(measuring ? Math.max(0, Math.floor(atMs - tcb.receiveSpaceAtMs)) : 0);
  into.put(measuring ? (tcb.rcvNxt - tcb.receiveSpaceSeq) | 0 : 0);
  into.put(measuring ? tcb.receiveRttUs : 0);
  into.put(measuring ? tcb.receiveEchoed >>> 0 : 0);
  into.end();
}

/** The receive buffer that `thawBuffers` would put back. */
export function frozenReceiveBytes(state: readonly number[], receivedBytes: number): number {
  return ((state[0] ?? 0) & 1) !== 0 ? receivedBytes : FROZEN_RECEIVE_BYTES + (state[1] ?? 0);
}

/** Puts the buffers back; `rcvNxt` is there already, and `baseMs` is when they were frozen. */
export function thawBuffers(
  row: RowReader,
  sentBytes: number,
  receivedBytes: number,
  tcb: Tcb,
  baseMs: number,
): void {
  const set = row.next();
  const receiveMore = row.next(), sendMore = row.next();
  tcb.receiveBufferSet = (set & 1) !== 0;
  tcb.sendBufferSet = (set & 2) !== 0;
  tcb.receiveBufferBytes = tcb.receiveBufferSet ? receivedBytes : FROZEN_RECEIVE_BYTES + receiveMore;
  tcb.sendBufferBytes = tcb.sendBufferSet ? sentBytes : FROZEN_SEND_BYTES + sendMore;
  tcb.receiveSpaceBytes = row.next();
  const measuredAgoMs = row.next();
  tcb.receiveSpaceAtMs = tcb.receiveSpaceBytes === 0 ? -Infinity : baseMs - measuredAgoMs;
  tcb.receiveSpaceSeq = (tcb.rcvNxt - row.next()) | 0;
  tcb.receiveRttUs = row.next();
  tcb.receiveEchoed = row.next() | 0;
}

// Constants of the format, whatever today's configuration says.
const FROZEN_RECEIVE_BYTES = 131_072;
const FROZEN_SEND_BYTES = 262_144;
