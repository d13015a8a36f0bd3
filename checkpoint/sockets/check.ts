import { CONGESTION_CONTROLS } from "../../net/tcp/congestion/congestion.ts";
import { FastOpenState } from "../../net/tcp/fast_open.ts";
import {
  FROZEN_TCB_ALWAYS,
  FrozenFlag,
  type FrozenTcb,
  frozenTcbDefaults,
  frozenTcbFields,
} from "../../net/tcp/frozen_tcb.ts";
import { RECORDS_MAX } from "../../net/tcp/records.ts";
import { Sent } from "../../net/tcp/sent_queue.ts";
import { CaState, RetransmitTimer, TcpState } from "../../net/tcp/tcb.ts";

/** A whole number of 16, 31 or 32 bits; a distance of sequence numbers; a count; a time in ms or µs. */
const UINT16 = [0, 0xffff] as const;
const UINT31 = [0, 0x7fff_ffff] as const;
const UINT32 = [0, 0xffff_ffff] as const;
const INT32 = [-0x8000_0000, 0x7fff_ffff] as const;
const COUNT = [0, Number.MAX_SAFE_INTEGER] as const;
/** Milliseconds: ECMAScript's dates end there. */
const TIME = [0, 8.64e15] as const;
/** To a deadline, which may be past. */
const LEFT = [-8.64e15, 8.64e15] as const;
/** RFC 7323: windows are below 2^30, shifts at most 14. */
const WINDOW = [0, 2 ** 30] as const;
const SHIFT = [0, 14] as const;
const PORT = [1, 0xffff] as const;
const MSS = [1, 0xffff] as const;
const FLAGS = allOf(FrozenFlag);

function allOf(bits: Readonly<Record<string, number>>): number {
  return Object.values(bits).reduce((all, bit) => all | bit, 0);
}

/** What each number may be; lists, bytes and addresses are checked on their own. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  frozenAtMs: TIME,
  localPort: PORT,
  remotePort: PORT,
  state: [1, 9],
  flags: [0, FLAGS],
  sndUna: UINT32,
  issBehind: UINT32,
  sndWnd: WINDOW,
  sndWndMaxAbove: WINDOW,
  sndWl1Behind: INT32,
  sndWl2Behind: INT32,
  sndShift: SHIFT,
  peerMss: MSS,
  sndMssBelow: [-0xffff, 0xffff],
  rcvNxt: UINT32,
  irsBehind: UINT32,
  rcvAdvOffset: INT32,
  rcvShift: [-1, 14],
  tsOffset: UINT32,
  tsRecent: UINT32,
  tsRecentAgeMs: TIME,
  srttUs: [-1, 8.64e15],
  rttvarUs: TIME,
  rtoMs: [1, 8.64e15],
  cwnd: COUNT,
  quickAcks: UINT31,
  idleMs: TIME,
  bytesIn: COUNT,
  bytesOut: COUNT,
  ssthresh: COUNT,
  cwndBytesAcked: COUNT,
  recoverAfterIss: INT32,
  retransmittedSegments: COUNT,
  keepAliveIn: LEFT,
  keepAlives: UINT31,
  keepAliveIdleMs: TIME,
  keepAliveIntervalMs: TIME,
  keepAliveProbes: UINT31,
  userTimeoutMs: TIME,
  sendBufferBytes: UINT31,
  receiveBufferBytes: UINT31,
  typeOfService: [0, 255],
  timeToLive: [1, 255],
  softError: UINT16,
  delayedAckIn: LEFT,
  lastAckSentBehind: INT32,
  sentAgoMs: TIME,
  sndMaxOffset: UINT31,
  retransmitIn: LEFT,
  retransmits: UINT31,
  stuckForMs: TIME,
  backoff: [0, 1_000], // 2 to its power is a number
  rttAgeMs: TIME,
  persistIn: LEFT,
  persists: UINT31,
  probesUnanswered: UINT31,
  expireIn: LEFT,
  finAheadOffset: INT32,
  persistForMs: TIME,
  fastOpen: [0, allOf(FastOpenState)],
};
/** By place; an empty place holds something else. Numbers that are kept for old images only may be any. */
const RANGE_AT = frozenTcbFields.map((name, place) => {
  const standard = frozenTcbDefaults[place - FROZEN_TCB_ALWAYS];
  return RANGES[name] ?? (typeof standard === "number" || standard === null ? LEFT : undefined);
});

const at = (name: string): number => frozenTcbFields.indexOf(name);
const AT = {
  state: at("state"),
  flags: at("flags"),
  issBehind: at("issBehind"),
  peerMss: at("peerMss"),
  sndMssBelow: at("sndMssBelow"),
  sndMaxOffset: at("sndMaxOffset"),
  localAddress: at("localAddress"),
  remoteAddress: at("remoteAddress"),
  sendQueue: at("sendQueue"),
  receiveQueue: at("receiveQueue"),
  lent: at("lent"),
  ahead: at("ahead"),
  congestionState: at("congestionState"),
  recoveryState: at("recoveryState"),
  sent: at("sent"),
  options: at("options"),
} as const;
/** Lists of whole numbers. */
const LISTS = frozenTcbFields.flatMap((name, place) => {
  return name !== "ahead" && Array.isArray(frozenTcbDefaults[place - FROZEN_TCB_ALWAYS]) ? [place] : [];
});
const NULLABLE = new Set(frozenTcbFields.filter((name) => name.endsWith("In") || name === "sentAgoMs"));
const NULLABLE_AT = frozenTcbFields.map((name) => NULLABLE.has(name));

/** What the number at a place may be, and whether `null` may stand there; `undefined` where something else does. */
export function numberRange(
  place: number,
): { range: readonly [number, number]; nullable: boolean } | undefined {
  const range = RANGE_AT[place];
  return range === undefined ? undefined : { range, nullable: NULLABLE_AT[place]! };
}

/**
 * Whether a frozen connection, out of an image whose hashes are right, can be one: a well-formed image can
 * still be nonsense, and a TCB filled with that would fail at some later time, far from the cause.
 *
 * @returns The name of the field that cannot be so, `undefined` when all can.
 */
export function mistakeIn(frozen: readonly unknown[]): string | undefined {
  for (let place = 0; place < frozen.length; place++) {
    const value = frozen[place];
    const range = RANGE_AT[place];
    if (range === undefined) continue;
    if (value === null && NULLABLE_AT[place]) continue;
    if (!(typeof value === "number" && value >= range[0] && value <= range[1])) return frozenTcbFields[place];
  }
  for (const place of LISTS) {
    const list = frozen[place];
    if (list === frozenTcbDefaults[place - FROZEN_TCB_ALWAYS]) continue; // most of them
    if (!Array.isArray(list) || !areWhole(list)) return frozenTcbFields[place];
  }
  if (!isAddress(frozen[AT.localAddress])) return "localAddress";
  if (!isAddress(frozen[AT.remoteAddress])) return "remoteAddress";
  if (!(frozen[AT.sendQueue] instanceof Uint8Array)) return "sendQueue";
  if (!(frozen[AT.receiveQueue] instanceof Uint8Array)) return "receiveQueue";
  if (!(frozen[AT.lent] instanceof Uint8Array)) return "lent";
  return mistakeBetween(frozen as FrozenTcb);
}

function areWhole(list: readonly unknown[]): boolean {
  for (let index = 0; index < list.length; index++) if (!Number.isSafeInteger(list[index])) return false;
  return true;
}

function isAddress(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.length === 16;
  return typeof value === "number" && value >= 0 && value <= 0xffff_ffff;
}

/** As `mistakeIn`, for what has to do with one another; each field is of its type by now. */
function mistakeBetween(frozen: FrozenTcb): string | undefined {
  const mss = frozen[AT.peerMss] as number - (frozen[AT.sndMssBelow] as number);
  if (mss < MSS[0] || mss > MSS[1]) return "sndMssBelow";
  if (!areRuns(frozen[AT.ahead])) return "ahead";
  const flying = frozen[AT.sndMaxOffset] as number;
  const queued = (frozen[AT.sendQueue] as Uint8Array).length;
  // SYN and FIN have numbers as well.
  const synUnheard = frozen[AT.issBehind] === 0;
  if ((frozen[AT.state] as number) < TcpState.established && !synUnheard) return "issBehind";
  const ends = (synUnheard ? 1 : 0) + (((frozen[AT.flags] as number) & FrozenFlag.finQueued) !== 0 ? 1 : 0);
  if (flying > queued + ends) return "sndMaxOffset";
  const congestion = (frozen[AT.congestionState] as number[])[0] ?? 0;
  if (congestion < 0 || congestion >= CONGESTION_CONTROLS.length) return "congestionState";
  const sent = frozen[AT.sent] as number[];
  const segments = sent.length === 0 ? 0 : (sent.length - 1) / 3;
  let end = sent[0] ?? flying;
  if (!Number.isInteger(segments)) return "sent";
  for (let place = 1; place < sent.length; place += 3) {
    if (sent[place]! < 1 || sent[place + 1]! < 0 || sent[place + 1]! > 0xff) return "sent";
    end += sent[place]!;
  }
  // What an ACK has cut begins before SND.UNA, and ends behind it.
  if (end !== flying || (sent[0] ?? 0) + (sent[1] ?? 1) < 1) return "sent";
  const options = frozen[AT.options] as number[];
  if (options.length > RECORDS_AT && !areRecordEnds(options.slice(RECORDS_AT), flying, queued)) {
    return "options";
  }
  return mistakeInRecovery(frozen[AT.recoveryState] as number[], sent, segments);
}

/** Behind so many of the application's options come the ends of its records (freeze_options.ts). */
const RECORDS_AT = 8;

/** Ends of records in what was written and not sent, in order. */
function areRecordEnds(ends: readonly number[], flying: number, queued: number): boolean {
  return ends.length <= RECORDS_MAX &&
    ends.every((end, place) => end > (ends[place - 1] ?? flying) && end <= queued);
}

/** Runs of what came ahead of its time: in order, none touching the next, behind a gap. */
function areRuns(ahead: unknown): boolean {
  if (!Array.isArray(ahead)) return false;
  let last = 0;
  for (const run of ahead) {
    if (!Array.isArray(run) || run.length !== 2 || !(run[1] instanceof Uint8Array)) return false;
    const [start, bytes] = run as [unknown, Uint8Array];
    if (!Number.isInteger(start) || start as number <= last || bytes.length === 0) return false;
    last = start as number + bytes.length;
    if (last > WINDOW[1]) return false;
  }
  return true;
}

/** Places in `recoveryState` (freeze_recovery.ts). */
const RECOVERY = { caState: 8, timer: 9, sacked: 10, lost: 11, again: 12 } as const;

const TIMER_MAX = Math.max(...Object.values(RetransmitTimer));

/** What is counted of the segments in flight is what they say themselves. */
function mistakeInRecovery(
  state: readonly number[],
  sent: readonly number[],
  segments: number,
): string | undefined {
  let sacked = 0;
  let lost = 0;
  let again = 0;
  for (let place = 2; place < sent.length; place += 3) {
    const flags = sent[place]!;
    if ((flags & Sent.sacked) !== 0) sacked++;
    if ((flags & Sent.lost) !== 0) lost++;
    if ((flags & Sent.retransmitted) !== 0) again++;
  }
  const caState = state[RECOVERY.caState] ?? 0;
  const timer = state[RECOVERY.timer] ?? 0;
  const sackedOut = state[RECOVERY.sacked] ?? 0;
  const counted = (state[RECOVERY.lost] ?? 0) === lost && (state[RECOVERY.again] ?? 0) === again &&
    sackedOut >= sacked && sackedOut + lost <= segments; // without SACK, duplicate ACKs
  const known = caState >= 0 && caState <= CaState.loss && timer >= 0 && timer <= TIMER_MAX;
  return state.length === 0 || (counted && known) ? undefined : "recoveryState";
}
