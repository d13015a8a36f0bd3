import { seqLess } from "../../base/sequence.ts";
import { type ConnectionMap, Field, RecordState } from "../connections/connection_map.ts";
import { peekWindow } from "../tcp/output.ts";
import { flightSize, type Tcb, TcpError, TcpState } from "../tcp/tcb.ts";

/**
 * What the connection map keeps of a sleeping connection beside its key: enough to tell news from
 * noise and to answer the noise, without reading the image.
 *
 * `meta`, above the record's state: bit 2 timestamps, bit 3 wake on anything acceptable, bit 4 the
 * peer's window was heard asleep, bit 5 an ACK was sent asleep, bits 6-9 send shift, bits 10-13 receive
 * shift, bit 14 wake on anything at all, bit 15 keep-alive, bit 16 duplicates are reported (RFC 2883), bits 17-31 the
 * day of TS.Recent, which comes round every 89 years. `windows`: the peer's window field << 16 | ours; of one that
 * wakes on anything at all, the low 32 bits of the time of TS.Recent when it is in TIME-WAIT, else 0.
 */
export const Asleep = {
  timestamps: 4,
  wakeOnAny: 8,
  windowHeard: 16,
  answered: 32,
  wakeOnAll: 1 << 14,
  keepAlive: 1 << 15,
  sack: 1 << 16,
} as const;

const SEND_SHIFT_BIT = 6;
const RECEIVE_SHIFT_BIT = 10;
const DAY_BIT = 17;
const DAY_MASK = 0x7fff;
const DAY_MS = 86_400_000;

/**
 * Fills the words of `record` from a TCB that goes to sleep at `location`, and marks it asleep.
 * @param silent Nothing may be answered from the record: whatever comes wakes.
 */
export function sleepRecord(
  map: ConnectionMap,
  record: number,
  tcb: Tcb,
  location: number,
  silent = false,
): void {
  // Whatever a timer or the application still has to do for this connection, the filter cannot.
  const busy = flightSize(tcb) > 0 || tcb.sendQueue.length > 0 || tcb.ahead.length > 0 || tcb.finQueued ||
    tcb.finPending || tcb.ackNow || tcb.orphan || tcb.softError !== 0 ||
    tcb.lastAckSent !== tcb.rcvNxt || seqLess(tcb.rcvNxt, tcb.sndWl1) ||
    tcb.probeOut; // a bare ACK may end the loss probe's episode
  // Other states answer otherwise, and so does one whose peer shrank its window, or with another IP header. And
  // the filter knows our window only as its field says it: less than was promised would refuse good data.
  const established = tcb.state === TcpState.established || tcb.state === TcpState.closeWait;
  const shrunk = seqLess((tcb.sndUna + tcb.sndWnd) | 0, tcb.sndMax);
  const windowField = peekWindow(tcb);
  const promised = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  const reports = tcb.sackBlocks.length > 0 || tcb.dsackPending; // what lies ahead of a hole stands in every answer
  const unusual = !established || shrunk || reports || windowField << Math.max(tcb.rcvShift, 0) < promised ||
    tcb.ecnEcho || tcb.accEcn !== undefined || tcb.typeOfService !== 0 || tcb.timeToLive !== 64 ||
    !tcb.pathMtuDiscovery;
  const flags = (tcb.timestamps ? Asleep.timestamps : 0) | (busy ? Asleep.wakeOnAny : 0) |
    (unusual || silent ? Asleep.wakeOnAll : 0) | (tcb.keepAlive ? Asleep.keepAlive : 0) |
    (tcb.sackPermitted ? Asleep.sack : 0);
  const meta = metaOf(flags, tcb.sndShift, tcb.rcvShift, tcb.tsRecentAtMs);
  setLocation(map, record, location);
  map.set(record, Field.sndNxt, tcb.sndMax);
  map.set(record, Field.rcvNxt, tcb.rcvNxt);
  const waiting = tcb.state === TcpState.timeWait && tcb.timestamps;
  const windows = !unusual
    ? ((tcb.sndWnd >>> tcb.sndShift) << 16) | windowField
    : waiting
    ? tcb.tsRecentAtMs | 0
    : 0;
  map.set(record, Field.windows, windows);
  map.set(record, Field.tsRecent, tcb.tsRecent);
  map.set(record, Field.tsOffset, tcb.tsOffset);
  map.set(record, Field.meta, meta);
}

/** The meta word of a record that goes to sleep. */
export function metaOf(flags: number, sndShift: number, rcvShift: number, tsRecentAtMs: number): number {
  return RecordState.asleep | flags | (sndShift << SEND_SHIFT_BIT) |
    (Math.max(rcvShift, 0) << RECEIVE_SHIFT_BIT) | (dayOf(tsRecentAtMs) << DAY_BIT);
}

/** What happened to the connection while it slept goes into the thawed TCB. */
export function wakeRecord(map: ConnectionMap, record: number, tcb: Tcb, nowMs: number): void {
  const meta = map.get(record, Field.meta);
  const windows = map.get(record, Field.windows);
  tcb.tsOffset = map.get(record, Field.tsOffset); // the clock that answers were stamped by
  tcb.tsRecent = map.get(record, Field.tsRecent);
  const day = dayOf(nowMs) - timestampAgeDays(map, record, nowMs);
  tcb.tsRecentAtMs = Math.max(tcb.tsRecentAtMs, day * DAY_MS); // to the day
  if ((meta & Asleep.windowHeard) !== 0) {
    tcb.sndWnd = (windows >>> 16) << tcb.sndShift;
    tcb.sndWndMax = Math.max(tcb.sndWndMax, tcb.sndWnd);
    tcb.sndWl1 = tcb.rcvNxt;
    tcb.sndWl2 = tcb.sndMax;
  }
  if ((meta & Asleep.answered) !== 0) {
    const edge = (tcb.rcvNxt + ((windows & 0xffff) << Math.max(tcb.rcvShift, 0))) | 0;
    if (((edge - tcb.rcvAdv) | 0) > 0) tcb.rcvAdv = edge;
    tcb.lastAckSent = tcb.rcvNxt;
    tcb.ackNow = false;
    tcb.delayedAckAtMs = Infinity;
  }
}

/** What the record alone knows goes into the TCB of a connection whose image is lost: enough to end it. */
export function loseRecord(map: ConnectionMap, record: number, tcb: Tcb): void {
  tcb.state = TcpState.lastAck; // nobody can write any more, and nobody is waited for
  tcb.error = TcpError.reset;
  tcb.finQueued = tcb.finReceived = true;
  tcb.iss =
    tcb.sndUna =
    tcb.sndMax =
      map.get(record, Field.sndNxt);
  tcb.irs =
    tcb.rcvNxt =
    tcb.rcvAdv =
    tcb.lastAckSent =
      map.get(record, Field.rcvNxt);
  tcb.timestamps = (map.get(record, Field.meta) & Asleep.timestamps) !== 0;
  tcb.tsOffset = map.get(record, Field.tsOffset);
  tcb.tsRecent = map.get(record, Field.tsRecent);
}

/** TS.Recent of a sleeping connection, and the day on which it was learnt. */
export function setTsRecent(map: ConnectionMap, record: number, tsVal: number, nowMs: number): void {
  map.set(record, Field.tsRecent, tsVal);
  const meta = map.get(record, Field.meta);
  map.set(record, Field.meta, (meta & ((1 << DAY_BIT) - 1)) | (dayOf(nowMs) << DAY_BIT));
}

/** The age of TS.Recent of a connection that sleeps in TIME-WAIT, in milliseconds; -1 for every other sleeper. */
export function timeWaitStampAgeMs(map: ConnectionMap, record: number, nowMs: number): number {
  const atMs = map.get(record, Field.windows);
  if ((map.get(record, Field.meta) & Asleep.wakeOnAll) === 0 || atMs === 0) return -1;
  return ((nowMs | 0) - atMs) >>> 0;
}

/** Notes where the image of a sleeping connection lies. */
export function setLocation(map: ConnectionMap, record: number, location: number): void {
  map.set(record, Field.slot, location | 0);
  map.set(record, Field.locationHigh, Math.floor(location / 0x1_0000_0000));
}

/** Where the image of a sleeping connection lies. */
export function locationOfRecord(map: ConnectionMap, record: number): number {
  return map.get(record, Field.locationHigh) * 0x1_0000_0000 + (map.get(record, Field.slot) >>> 0);
}

/** Bytes of the window that we last offered. */
export function receiveWindowOf(map: ConnectionMap, record: number): number {
  const shift = (map.get(record, Field.meta) >>> RECEIVE_SHIFT_BIT) & 15;
  return (map.get(record, Field.windows) & 0xffff) << shift;
}

/** Bytes of window that a window field of the peer means. */
export function sendWindowOf(map: ConnectionMap, record: number, field: number): number {
  return field << ((map.get(record, Field.meta) >>> SEND_SHIFT_BIT) & 15);
}

/** Whole days since TS.Recent was learnt. */
export function timestampAgeDays(map: ConnectionMap, record: number, nowMs: number): number {
  return (dayOf(nowMs) - (map.get(record, Field.meta) >>> DAY_BIT)) & DAY_MASK;
}

function dayOf(epochMs: number): number {
  return Math.floor(epochMs / DAY_MS);
}
