import { assert } from "../../base/assert.ts";
import { seqLess } from "../../base/sequence.ts";
import type { TcpConfig } from "./config.ts";
import { type Tcb, type TcpError, TcpState } from "./tcb.ts";
import { timestampNow } from "./tcp.ts";

/** Time to a deadline in whole milliseconds, negative when it is past; `null` when it is not set. */
type FrozenDeadline = number | null;

/**
 * Everything that a TCB is, as a tuple of CBOR-ready values. Addresses and sequence numbers are
 * uint32, positions near another one are distances from it, deadlines are milliseconds after
 * `frozenAtMs` (epoch). The order is the `socket` image's version 1: append only.
 */
export type FrozenTcb = [
  frozenAtMs: number,
  localAddress: number,
  remoteAddress: number,
  localPort: number,
  remotePort: number,
  state: number,
  softError: number,
  flags: number,
  iss: number,
  sndUna: number,
  sndNxtOffset: number,
  sndMaxOffset: number,
  sndWnd: number,
  sndWndMax: number,
  sndWl1: number,
  sndWl2: number,
  sndShift: number,
  sndMss: number,
  peerMss: number,
  irs: number,
  rcvNxt: number,
  rcvAdvOffset: number,
  rcvShift: number,
  lastAckSentBehind: number,
  finAheadOffset: number,
  tsClock: number,
  tsOffset: number,
  tsRecent: number,
  tsRecentAgeMs: number,
  srttUs: number,
  rttvarUs: number,
  rtoMs: number,
  backoff: number,
  rttSeqOffset: number,
  rttAgeMs: number,
  cwnd: number,
  ssthresh: number,
  cwndBytesAcked: number,
  dupAcks: number,
  recovery: number,
  recoverOffset: number,
  retransmitIn: FrozenDeadline,
  persistIn: FrozenDeadline,
  delayedAckIn: FrozenDeadline,
  keepAliveIn: FrozenDeadline,
  expireIn: FrozenDeadline,
  retransmits: number,
  persists: number,
  probesUnanswered: number,
  keepAlives: number,
  stuckForMs: number,
  segmentsUnacked: number,
  quickAcks: number,
  keepAliveIdleMs: number,
  keepAliveIntervalMs: number,
  keepAliveProbes: number,
  userTimeoutMs: number,
  typeOfService: number,
  timeToLive: number,
  sendBufferBytes: number,
  receiveBufferBytes: number,
  idleMs: number,
  bytesIn: number,
  bytesOut: number,
  retransmittedSegments: number,
  sendQueue: Uint8Array,
  receiveQueue: Uint8Array,
  ahead: [offset: number, bytes: Uint8Array][],
];

/** The tuple's places by name, for whoever prints an image. */
export const frozenTcbFields: readonly string[] = [
  "frozenAtMs localAddress remoteAddress localPort remotePort state softError flags iss sndUna",
  "sndNxtOffset sndMaxOffset sndWnd sndWndMax sndWl1 sndWl2 sndShift sndMss peerMss irs rcvNxt",
  "rcvAdvOffset rcvShift lastAckSentBehind finAheadOffset tsClock tsOffset tsRecent tsRecentAgeMs",
  "srttUs rttvarUs rtoMs backoff rttSeqOffset rttAgeMs cwnd ssthresh cwndBytesAcked dupAcks recovery",
  "recoverOffset retransmitIn persistIn delayedAckIn keepAliveIn expireIn retransmits persists",
  "probesUnanswered keepAlives stuckForMs segmentsUnacked quickAcks keepAliveIdleMs",
  "keepAliveIntervalMs keepAliveProbes userTimeoutMs typeOfService timeToLive sendBufferBytes",
  "receiveBufferBytes idleMs bytesIn bytesOut retransmittedSegments sendQueue receiveQueue ahead",
].join(" ").split(" ");

const Flag = {
  finQueued: 1,
  finReceived: 2,
  finPending: 4,
  timestamps: 8,
  rttTiming: 16,
  ackNow: 32,
  noDelay: 64,
  keepAlive: 128,
  orphan: 256,
  wantsWritable: 512,
  wantsDrained: 1024,
} as const;

/** Copies the state out. The TCB is left as it is; any state but CLOSED can be frozen, data in flight and all. */
export function freezeTcb(tcb: Tcb, nowMs: number): FrozenTcb {
  assert(tcb.state !== TcpState.closed, "A closed connection has no state to keep");
  const atMs = Math.floor(nowMs);
  const left = (deadlineMs: number): FrozenDeadline =>
    deadlineMs === Infinity ? null : Math.ceil(deadlineMs - atMs);
  const age = (sinceMs: number): number => Math.max(0, Math.floor(atMs - sinceMs));
  const flags = (tcb.finQueued ? Flag.finQueued : 0) | (tcb.finReceived ? Flag.finReceived : 0) |
    (tcb.finPending ? Flag.finPending : 0) | (tcb.timestamps ? Flag.timestamps : 0) |
    (tcb.rttTiming ? Flag.rttTiming : 0) | (tcb.ackNow ? Flag.ackNow : 0) |
    (tcb.noDelay ? Flag.noDelay : 0) | (tcb.keepAlive ? Flag.keepAlive : 0) |
    (tcb.orphan ? Flag.orphan : 0) | (tcb.wantsWritable ? Flag.wantsWritable : 0) |
    (tcb.wantsDrained ? Flag.wantsDrained : 0);
  const ahead: [number, Uint8Array][] = [];
  for (let at = 0; at < tcb.ahead.length; at += 2) {
    const start = tcb.ahead[at]!;
    const bytes = tcb.receiveQueue.placed(tcb.receiveQueue.length + start, tcb.ahead[at + 1]! - start);
    ahead.push([start, bytes]);
  }
  return [
    atMs,
    tcb.localAddress >>> 0,
    tcb.remoteAddress >>> 0,
    tcb.localPort,
    tcb.remotePort,
    tcb.state,
    tcb.softError,
    flags,
    tcb.iss >>> 0,
    tcb.sndUna >>> 0,
    (tcb.sndNxt - tcb.sndUna) >>> 0,
    (tcb.sndMax - tcb.sndUna) >>> 0,
    tcb.sndWnd,
    tcb.sndWndMax,
    tcb.sndWl1 >>> 0,
    tcb.sndWl2 >>> 0,
    tcb.sndShift,
    tcb.sndMss,
    tcb.peerMss,
    tcb.irs >>> 0,
    tcb.rcvNxt >>> 0,
    (tcb.rcvAdv - tcb.rcvNxt) | 0,
    tcb.rcvShift,
    (tcb.rcvNxt - tcb.lastAckSent) | 0,
    tcb.finPending ? (tcb.finAhead - tcb.rcvNxt) | 0 : 0,
    timestampNow(tcb, nowMs) >>> 0,
    tcb.tsOffset >>> 0,
    tcb.tsRecent >>> 0,
    tcb.timestamps ? age(tcb.tsRecentAtMs) : 0,
    tcb.srttUs,
    tcb.rttvarUs,
    tcb.rtoMs,
    tcb.backoff,
    tcb.rttTiming ? (tcb.rttSeq - tcb.sndUna) | 0 : 0,
    tcb.rttTiming ? age(tcb.rttStartMs) : 0,
    tcb.cwnd,
    tcb.ssthresh,
    tcb.cwndBytesAcked,
    tcb.dupAcks,
    tcb.recovery,
    (tcb.recover - tcb.sndUna) | 0,
    left(tcb.retransmitAtMs),
    left(tcb.persistAtMs),
    left(tcb.delayedAckAtMs),
    left(tcb.keepAliveAtMs),
    left(tcb.expireAtMs),
    tcb.retransmits,
    tcb.persists,
    tcb.probesUnanswered,
    tcb.keepAlives,
    tcb.retransmits > 0 ? age(tcb.stuckSinceMs) : 0,
    tcb.segmentsUnacked,
    tcb.quickAcks,
    tcb.keepAliveIdleMs,
    tcb.keepAliveIntervalMs,
    tcb.keepAliveProbes,
    tcb.userTimeoutMs,
    tcb.typeOfService,
    tcb.timeToLive,
    tcb.sendBufferBytes,
    tcb.receiveBufferBytes,
    age(tcb.lastActivityMs),
    tcb.bytesIn,
    tcb.bytesOut,
    tcb.retransmittedSegments,
    tcb.sendQueue.toBytes(),
    tcb.receiveQueue.toBytes(),
    ahead,
  ];
}

/**
 * Puts a frozen state into a fresh TCB at today's clock: deadlines keep their distance from the
 * moment of freezing, so that those that passed meanwhile come due at once, and the timestamp clock
 * never runs backward, even when the machine's did.
 */
export function thawTcb(frozen: FrozenTcb, tcb: Tcb, config: Readonly<TcpConfig>, nowMs: number): void {
  const [
    frozenAtMs,
    localAddress,
    remoteAddress,
    localPort,
    remotePort,
    state,
    softError,
    flags,
    iss,
    sndUna,
    sndNxtOffset,
    sndMaxOffset,
    sndWnd,
    sndWndMax,
    sndWl1,
    sndWl2,
    sndShift,
    sndMss,
    peerMss,
    irs,
    rcvNxt,
    rcvAdvOffset,
    rcvShift,
    lastAckSentBehind,
    finAheadOffset,
    tsClock,
    tsOffset,
    tsRecent,
    tsRecentAgeMs,
    srttUs,
    rttvarUs,
    rtoMs,
    backoff,
    rttSeqOffset,
    rttAgeMs,
    cwnd,
    ssthresh,
    cwndBytesAcked,
    dupAcks,
    recovery,
    recoverOffset,
    retransmitIn,
    persistIn,
    delayedAckIn,
    keepAliveIn,
    expireIn,
    retransmits,
    persists,
    probesUnanswered,
    keepAlives,
    stuckForMs,
    segmentsUnacked,
    quickAcks,
    keepAliveIdleMs,
    keepAliveIntervalMs,
    keepAliveProbes,
    userTimeoutMs,
    typeOfService,
    timeToLive,
    sendBufferBytes,
    receiveBufferBytes,
    idleMs,
    bytesIn,
    bytesOut,
    retransmittedSegments,
    sendQueue,
    receiveQueue,
    ahead,
  ] = frozen;
  // A clock that was set back while we slept counts as no time passed.
  const baseMs = Math.min(frozenAtMs, nowMs);
  const deadline = (inMs: FrozenDeadline): number => inMs === null ? Infinity : baseMs + inMs;
  tcb.localAddress = localAddress | 0;
  tcb.remoteAddress = remoteAddress | 0;
  tcb.localPort = localPort;
  tcb.remotePort = remotePort;
  tcb.state = state as TcpState;
  tcb.error = 0 as TcpError;
  tcb.softError = softError;
  tcb.finQueued = (flags & Flag.finQueued) !== 0;
  tcb.finReceived = (flags & Flag.finReceived) !== 0;
  tcb.finPending = (flags & Flag.finPending) !== 0;
  tcb.timestamps = (flags & Flag.timestamps) !== 0;
  tcb.rttTiming = (flags & Flag.rttTiming) !== 0;
  tcb.ackNow = (flags & Flag.ackNow) !== 0;
  tcb.noDelay = (flags & Flag.noDelay) !== 0;
  tcb.keepAlive = (flags & Flag.keepAlive) !== 0;
  tcb.orphan = (flags & Flag.orphan) !== 0;
  tcb.wantsWritable = (flags & Flag.wantsWritable) !== 0;
  tcb.wantsDrained = (flags & Flag.wantsDrained) !== 0;
  tcb.iss = iss | 0;
  tcb.sndUna = sndUna | 0;
  tcb.sndNxt = (sndUna + sndNxtOffset) | 0;
  tcb.sndMax = (sndUna + sndMaxOffset) | 0;
  tcb.sndWnd = sndWnd;
  tcb.sndWndMax = sndWndMax;
  tcb.sndWl1 = sndWl1 | 0;
  tcb.sndWl2 = sndWl2 | 0;
  tcb.sndShift = sndShift;
  tcb.sndMss = sndMss;
  tcb.peerMss = peerMss;
  tcb.irs = irs | 0;
  tcb.rcvNxt = rcvNxt | 0;
  tcb.rcvAdv = (rcvNxt + rcvAdvOffset) | 0;
  tcb.rcvShift = rcvShift;
  tcb.lastAckSent = (rcvNxt - lastAckSentBehind) | 0;
  tcb.finAhead = (rcvNxt + finAheadOffset) | 0;
  tcb.tsOffset = tsOffset | 0;
  const tsNow = timestampNow(tcb, nowMs);
  if (seqLess(tsNow, tsClock)) tcb.tsOffset = (tsOffset + tsClock - tsNow) | 0;
  tcb.tsRecent = tsRecent | 0;
  tcb.tsRecentAtMs = baseMs - tsRecentAgeMs;
  tcb.srttUs = srttUs;
  tcb.rttvarUs = rttvarUs;
  tcb.rtoMs = Math.min(rtoMs, config.rtoMaxMs);
  tcb.backoff = backoff;
  tcb.rttSeq = (sndUna + rttSeqOffset) | 0;
  tcb.rttStartMs = baseMs - rttAgeMs;
  tcb.cwnd = cwnd;
  tcb.ssthresh = ssthresh;
  tcb.cwndBytesAcked = cwndBytesAcked;
  tcb.dupAcks = dupAcks;
  tcb.recovery = recovery;
  tcb.recover = (sndUna + recoverOffset) | 0;
  tcb.retransmitAtMs = deadline(retransmitIn);
  tcb.persistAtMs = deadline(persistIn);
  tcb.delayedAckAtMs = deadline(delayedAckIn);
  tcb.keepAliveAtMs = deadline(keepAliveIn);
  tcb.expireAtMs = deadline(expireIn);
  tcb.retransmits = retransmits;
  tcb.persists = persists;
  tcb.probesUnanswered = probesUnanswered;
  tcb.keepAlives = keepAlives;
  tcb.stuckSinceMs = baseMs - stuckForMs;
  tcb.segmentsUnacked = segmentsUnacked;
  tcb.quickAcks = quickAcks;
  tcb.keepAliveIdleMs = keepAliveIdleMs;
  tcb.keepAliveIntervalMs = keepAliveIntervalMs;
  tcb.keepAliveProbes = keepAliveProbes;
  tcb.userTimeoutMs = userTimeoutMs;
  tcb.typeOfService = typeOfService;
  tcb.timeToLive = timeToLive;
  tcb.sendBufferBytes = sendBufferBytes;
  tcb.receiveBufferBytes = receiveBufferBytes;
  tcb.lastActivityMs = baseMs - idleMs;
  tcb.bytesIn = bytesIn;
  tcb.bytesOut = bytesOut;
  tcb.retransmittedSegments = retransmittedSegments;
  tcb.sendQueue.clear();
  tcb.sendQueue.append(sendQueue, 0, sendQueue.length);
  tcb.receiveQueue.clear();
  tcb.receiveQueue.append(receiveQueue, 0, receiveQueue.length);
  tcb.ahead.length = 0;
  for (const [offset, bytes] of ahead) {
    tcb.receiveQueue.place(tcb.receiveQueue.length + offset, bytes, 0, bytes.length);
    tcb.ahead.push(offset, offset + bytes.length);
  }
}
