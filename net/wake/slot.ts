import { type ConnectionMap, Field, RecordState } from "../connections/connection_map.ts";
import { peekWindow } from "../tcp/output.ts";
import { flightSize, type Tcb, TcpState } from "../tcp/tcb.ts";

/**
 * What the connection map keeps of a sleeping connection beside its key: enough to tell news from
 * noise and to answer the noise, without reading the image.
 *
 * `meta`, above the record's state: bit 2 timestamps, bit 3 wake on anything acceptable, bit 4 the
 * window was updated asleep, bit 5 an ACK was sent asleep, bits 6-9 send shift, bits 10-13 receive
 * shift, bits 16-31 the day of TS.Recent. `windows`: the peer's window field << 16 | ours.
 * `extra`: low 32 bits of the time of the last challenge ACK.
 */
export const Asleep = {
  timestamps: 4,
  wakeOnAny: 8,
  windowUpdated: 16,
  answered: 32,
} as const;

const SEND_SHIFT_BIT = 6;
const RECEIVE_SHIFT_BIT = 10;
const DAY_BIT = 16;
const DAY_MS = 86_400_000;

/** Fills the words of `record` from a TCB that goes to sleep at `location`, and marks it asleep. */
export function sleepRecord(map: ConnectionMap, record: number, tcb: Tcb, location: number): void {
  const established = tcb.state === TcpState.established || tcb.state === TcpState.closeWait;
  // Whatever a timer or the application still has to do for this connection, the filter cannot.
  const busy = !established || flightSize(tcb) > 0 || tcb.sendQueue.length > 0 || tcb.ahead.length > 0 ||
    tcb.finQueued || tcb.finPending || tcb.ackNow || tcb.keepAlive || tcb.orphan ||
    tcb.lastAckSent !== tcb.rcvNxt || tcb.typeOfService !== 0 || tcb.timeToLive !== 64;
  const meta = RecordState.asleep | (tcb.timestamps ? Asleep.timestamps : 0) | (busy ? Asleep.wakeOnAny : 0) |
    (tcb.sndShift << SEND_SHIFT_BIT) | (Math.max(tcb.rcvShift, 0) << RECEIVE_SHIFT_BIT) |
    (Math.floor(tcb.tsRecentAtMs / DAY_MS) << DAY_BIT);
  map.set(record, Field.slot, location % 0x1_0000_0000 | 0);
  map.set(record, Field.locationHigh, Math.floor(location / 0x1_0000_0000));
  map.set(record, Field.sndNxt, tcb.sndMax);
  map.set(record, Field.rcvNxt, tcb.rcvNxt);
  map.set(record, Field.windows, ((tcb.sndWnd >>> tcb.sndShift) << 16) | peekWindow(tcb));
  map.set(record, Field.tsRecent, tcb.tsRecent);
  map.set(record, Field.tsOffset, tcb.tsOffset);
  map.set(record, Field.extra, Number.isFinite(tcb.challengeAtMs) ? tcb.challengeAtMs | 0 : 0);
  map.set(record, Field.meta, meta);
}

/** What happened to the connection while it slept goes into the thawed TCB. */
export function wakeRecord(map: ConnectionMap, record: number, tcb: Tcb, nowMs: number): void {
  const meta = map.get(record, Field.meta);
  tcb.tsRecent = map.get(record, Field.tsRecent);
  const windows = map.get(record, Field.windows);
  if ((meta & Asleep.windowUpdated) !== 0) {
    tcb.sndWnd = (windows >>> 16) << tcb.sndShift;
    tcb.sndWndMax = Math.max(tcb.sndWndMax, tcb.sndWnd);
    tcb.sndWl1 = tcb.rcvNxt;
    tcb.sndWl2 = tcb.sndMax;
  }
  if ((meta & Asleep.answered) !== 0) {
    const edge = (tcb.rcvNxt + ((windows & 0xffff) << Math.max(tcb.rcvShift, 0))) | 0;
    if (((edge - tcb.rcvAdv) | 0) > 0) tcb.rcvAdv = edge;
  }
  const challengeAgoMs = ((nowMs | 0) - map.get(record, Field.extra)) >>> 0;
  if (map.get(record, Field.extra) !== 0) tcb.challengeAtMs = nowMs - challengeAgoMs;
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

/** The largest window that the peer's 16 bits can have meant. */
export function sendWindowMaxOf(map: ConnectionMap, record: number): number {
  return 0xffff << ((map.get(record, Field.meta) >>> SEND_SHIFT_BIT) & 15);
}

/** Whole days since TS.Recent was learnt. */
export function timestampAgeDays(map: ConnectionMap, record: number, nowMs: number): number {
  return (Math.floor(nowMs / DAY_MS) - (map.get(record, Field.meta) >>> DAY_BIT)) & 0xffff;
}
