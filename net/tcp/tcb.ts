import type { AccEcn } from "./acc_ecn.ts";
import { ByteRing } from "../../base/ring.ts";
import { seqLess } from "../../base/sequence.ts";
import type { Durable } from "./durable.ts";
import type { TcpMemory } from "./memory.ts";
import type { ReadOffer } from "./offer.ts";
import type { UserTimeoutNews } from "./user_timeout.ts";
import { SentQueue } from "./sent_queue.ts";

/** Connection states (RFC 9293 section 3.3.2). LISTEN has no TCB: see listeners.ts. */
export const TcpState = {
  closed: 0,
  synSent: 1,
  synReceived: 2,
  established: 3,
  finWait1: 4,
  finWait2: 5,
  closeWait: 6,
  closing: 7,
  lastAck: 8,
  timeWait: 9,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

export const tcpStateNames: readonly string[] = Object.keys(TcpState);

/** What a connection wants its owner to know, as bits; delivered at the end of a turn. */
export const TcpEvent = {
  /** The handshake is over. */
  established: 1,
  /** Unread data, or the peer's FIN behind it. */
  readable: 2,
  /** Room in the send buffer after it was full. */
  writable: 4,
  /** All that was written has been acknowledged. */
  drained: 8,
  /** Urgent data is on its way: `urgentBytes` says how far it reaches (MUST-32). */
  urgent: 64,
  /** Delivery has become doubtful: retransmissions reached R1, or ICMP reported a soft error (SHLD-9, SHLD-25). */
  trouble: 32,
  /** The TCB is gone; `tcb.error` says why. Always the last event. */
  closed: 16,
} as const;

/** Why a connection ended. */
export const TcpError = {
  none: 0,
  /** The peer sent RST. */
  reset: 1,
  /** RST in answer to our SYN, or a hard ICMP error. */
  refused: 2,
  /** R2, keep-alive or user timeout. */
  timedOut: 3,
  /** Our own application aborted it. */
  aborted: 4,
  /** ICMP says that there is no way there. */
  unreachable: 5,
} as const;
export type TcpError = (typeof TcpError)[keyof typeof TcpError];

/** Where the sender stands, with Linux's names and their order: from `cwr` on the window is being reduced. */
export const CaState = {
  /** Nothing unusual. */
  open: 0,
  /** Duplicate ACKs or SACKs, and no loss proven yet. */
  disorder: 1,
  /** The window is reduced because the network said so (ECN), or a loss probe found a loss. */
  cwr: 2,
  /** Fast retransmit and what follows (RFC 6675, 8985). */
  recovery: 3,
  /** After a retransmission timeout. */
  loss: 4,
} as const;
export type CaState = (typeof CaState)[keyof typeof CaState];

/** What `retransmitAtMs` is for: one timer, as in Linux, since each of the three makes the others pointless. */
export const RetransmitTimer = {
  none: 0,
  /** RFC 6298. */
  timeout: 1,
  /** Tail loss probe (RFC 8985 section 7). */
  probe: 2,
  /** The reordering window's end (RFC 8985 section 6.2, step 5). */
  reordering: 3,
} as const;
export type RetransmitTimer = (typeof RetransmitTimer)[keyof typeof RetransmitTimer];

/** What a call of the application means for the small segment at the end of what it wrote. */
export const Push = {
  /** Nagle and cork decide. */
  normal: 0,
  /** It leaves, at the end of this turn. */
  now: 1,
  /** It waits for more, for an ACK, or for an RTO. */
  hold: 2,
} as const;

/** `ssthresh` while nothing was ever lost. */
export const SSTHRESH_INFINITE = 0x7fff_ffff;

/** What `listener` is of an active open, and of a connection that slept through the end of its listener. */
export const NO_LISTENER = -1;
/**
 * And of a durable connection that is restored before its handshake is over, until somebody listens there again: only
 * then is there somebody to be told that it is open.
 */
export const LISTENER_AWAITED = -2;

const NOTHING: readonly number[] = [];

/**
 * One connection's whole state: numbers, bytes and small enums, nothing else (RFC 9293 section 3.3.1
 * gives the names). Sequence numbers are int32, times are epoch milliseconds, `Infinity` is "not set".
 */
export class Tcb {
  // Identity
  slot = -1;
  /** Another one for each connection that has had this object. */
  serial = 0;
  /** Record in the connection map. */
  record = -1;
  /** Listener that it came from; `NO_LISTENER` for an active open, or `LISTENER_AWAITED`. */
  listener: number = NO_LISTENER;
  localAddress = 0;
  remoteAddress = 0;
  localPort = 0;
  remotePort = 0;
  state: TcpState = TcpState.closed;
  error: TcpError = TcpError.none;
  /** ICMP's last soft error, for the application that asks (MUST-47): type << 8 | code. */
  softError = 0;

  // Send sequence space. `sndMax` is RFC 9293's SND.NXT: it never falls back.
  iss = 0;
  sndUna = 0;
  sndMax = 0;
  sndWnd = 0;
  sndWndMax = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  sndShift = 0;
  /** Largest payload of a segment, options already subtracted. */
  sndMss = 536;
  /** MSS the peer announced, before options. */
  peerMss = 536;
  /** The application wrote its last byte: a FIN follows the data. */
  finQueued = false;
  /** Where records end in what was never sent, as sequence numbers (records.ts). */
  readonly records: number[] = [];

  // Receive sequence space. `rcvAdv` is the right edge of the window that the peer knows.
  irs = 0;
  rcvNxt = 0;
  rcvAdv = 0;
  rcvShift = 0;
  /** ACK number of the last segment sent (RFC 7323's Last.ACK.sent). */
  lastAckSent = 0;
  /** A FIN has been taken in; `rcvNxt` is beyond it. */
  finReceived = false;
  /** A FIN waits behind missing data, at `finAhead`. */
  finPending = false;
  finAhead = 0;
  /** Out-of-order runs as offsets [start, end) from rcvNxt: pairs, sorted, disjoint. */
  readonly ahead: number[] = [];
  /** Both ends said that they understand SACK (RFC 2018). */
  sackPermitted = false;
  /** Blocks to report, the most recent first: pairs of sequence numbers [start, end), at most four. */
  readonly sackBlocks: number[] = [];
  /** The next segment reports [dsackStart, dsackEnd) as received twice (RFC 2883). */
  dsackPending = false;
  dsackStart = 0;
  dsackEnd = 0;

  // Urgent data (urgent.ts): the octet behind the last urgent one, while there is urgent data
  sndUrgent = false;
  sndUp = 0;
  rcvUrgent = false;
  rcvUp = 0;

  // ECN (ecn.ts): agreed on; a mark or ECT was seen; we echo a mark; our next new data says CWR
  ecnOk = false;
  ecnSeen = false;
  ecnEcho = false;
  ecnReduced = false;
  /** Accurate ECN: asked for while in SYN-SENT, agreed on after that. */
  accEcn: AccEcn | undefined = undefined;
  /** Segments delivered by ACKs that echo a mark. */
  deliveredCe = 0;

  // Path MTU (path_mtu.ts)
  /** DF is set and ICMP believed (IP_MTU_DISCOVER). */
  pathMtuDiscovery = true;
  /** What was known of paths when `sndMss` was chosen. */
  pathGeneration = 0;
  /** The search: on, between these MTUs, with a probe of this MTU in flight (0: none). */
  mtuProbing = false;
  mtuLow = 0;
  mtuHigh = 0;
  mtuProbeSize = 0;
  mtuProbeStart = 0;
  mtuProbeEnd = 0;
  /** When the search began, last. */
  mtuProbedAtMs = 0;

  // Timestamps (RFC 7323)
  timestamps = false;
  tsOffset = 0;
  tsRecent = 0;
  tsRecentAtMs = 0;

  // Round-trip time (RFC 6298). Microseconds; -1 is "no sample yet".
  srttUs = -1;
  /** Mean deviation. */
  rttvarUs = 0;
  /** What the timeout adds to the mean: four deviations, the largest of a round trip, and never below the floor. */
  rtoVarUs = 0;
  rtoVarMaxUs = 0;
  /** End of the round trip over which `rtoVarMaxUs` is taken. */
  rttSeq = 0;
  rtoMs = 1000;
  backoff = 0;
  /** Smallest round trip of the last minutes and when it was seen; -1 before the first. */
  /** End of the last segment that was smaller than the MSS when it was sent: Nagle's algorithm waits for it. */
  smallEnd = 0;
  minRttUs = -1;
  minRttAtMs = 0;
  /** Our SYN or SYN-ACK, sent at `rttStartMs` and not again, is timed. */
  rttTiming = false;
  rttStartMs = 0;

  // Congestion control (RFC 5681, 6582)
  cwnd = 0;
  ssthresh: number = SSTHRESH_INFINITE;
  cwndBytesAcked = 0;
  /** Number of its congestion control: a place in CONGESTION_CONTROLS. */
  congestion = 0;
  /** The congestion window, and nothing else, ended a sending since `cwndUsageEnd` was set. */
  cwndLimited = false;
  /** Else the most that was in flight since then, in bytes; until what was sent then is acknowledged. */
  cwndFlightMax = 0;
  cwndUsageEnd = 0;
  /** When the window was last in full use, and the most in flight since then, in bytes. */
  cwndFullAtMs = 0;
  cwndUsedBytes = 0;
  /** `cwnd` and `ssthresh` before the last congestion episode, should it prove spurious. */
  priorCwnd = 0;
  priorSsthresh = 0;
  // CUBIC's curve (congestion/cubic.ts): bytes and milliseconds, then what it was before the last episode.
  cubicWMax = 0;
  cubicEpochMs = Infinity;
  cubicOrigin = 0;
  cubicKMs = 0;
  cubicWEst = 0;
  cubicEstAcked = 0;
  cubicPriorWMax = 0;
  cubicPriorEpochMs = Infinity;
  cubicPriorOrigin = 0;
  cubicPriorKMs = 0;
  cubicPriorWEst = 0;
  // HyStart++ (congestion/hystart.ts): microseconds, 0 for none.
  hystart = 0;
  hystartRoundEnd = 0;
  hystartSamples = 0;
  hystartMinUs = 0;
  hystartLastMinUs = 0;
  hystartBaselineUs = 0;
  hystartCssRounds = 0;
  /** Of Linux's HyStart: when the round began, and when the last ACK of its first train came. */
  hystartRoundAtMs = 0;
  hystartTrainAtMs = 0;

  // Loss recovery (RFC 6675, 8985, 6937, 5682), counted in segments as Linux does. `sent.length` is packets_out.
  caState: CaState = CaState.open;
  /** The state ends when this is acknowledged: what had been sent when it began. */
  highSeq = 0;
  /** Segments that the peer has out of order; without SACK, duplicate ACKs. */
  sackedOut = 0;
  /** Segments held to be lost. */
  lostOut = 0;
  /** Retransmissions in the network. */
  retransOut = 0;
  /** Where the highest SACKed segment ends; means something while `sackedOut > 0`. */
  fack = 0;
  /** How far segments are known to overtake each other, in segments. */
  reordering = 3;
  /** Times that reordering was seen. */
  reorderingSeen = 0;
  /** Segments that arrived for all that is known, also those that did so for nothing. */
  delivered = 0;
  /** Segments ever held to be lost. */
  lost = 0;
  /** Duplicates that the peer reported. */
  dsackDups = 0;
  /** Nothing below is lost and not yet retransmitted: where to look for more. */
  retransmitHint = 0;
  /** The peer dropped what it had SACKed. */
  reneging = false;
  // RACK
  /** `sentMs` of what left last: within a millisecond what goes again comes a microsecond after what went before. */
  sentStampMs = 0;
  rackSentMs = 0;
  rackEnd = 0;
  rackRttUs = 0;
  rackAdvanced = false;
  rackDsackSeen = false;
  rackReorderSteps = 1;
  rackReorderPersist = 0;
  rackLastDelivered = 0;
  // Tail loss probe: one is out, sent when SND.NXT was `probeSeq`.
  probeOut = false;
  probeSeq = 0;
  /** It was a retransmission. */
  probeRetransmitted = false;
  // Proportional rate reduction
  prrDelivered = 0;
  prrOut = 0;
  /** F-RTO: the timeout may have been spurious. */
  frto = false;
  // Undo (RFC 3522, 4015, 2883): possible while `undoArmed`, for segments behind `undoMarker`.
  undoArmed = false;
  undoMarker = 0;
  /** Retransmissions not yet reported as duplicates; -1 when there was none. */
  undoRetrans = -1;
  /** Whether an undo gives back the window, too: not when the network itself said that it was too large (ECN). */
  undoWindow = false;
  /** When the first retransmission of this recovery left; -1 before it. */
  retransmitStampMs = -1;

  /** Fast Open: `FastOpenState` bits (RFC 7413). */
  fastOpen = 0;

  // Deadlines
  retransmitAtMs = Infinity;
  retransmitTimer: RetransmitTimer = RetransmitTimer.none;
  persistAtMs = Infinity;
  delayedAckAtMs = Infinity;
  keepAliveAtMs = Infinity;
  /** End of TIME-WAIT or of an orphan's FIN-WAIT-2. */
  expireAtMs = Infinity;
  challengeAtMs = -Infinity;
  retransmits = 0;
  /** Window probes since the window closed (their backoff), and those without an answer. */
  persists = 0;
  probesUnanswered = 0;
  keepAlives = 0;
  /** When the first window probe since then left; for the user timeout. */
  persistSinceMs = 0;
  /** Since when the peer has acknowledged nothing, set by the first retransmission; for the user timeout. */
  stuckSinceMs = 0;

  // Acknowledging
  ackNow = false;
  /** So many more ACKs do not wait, unless the connection is interactive. */
  quickAcks = 0;
  /** Our data has answered the peer's: an ACK waits for the next answer (Linux's pingpong mode). */
  interactive = false;
  /** How long after the last data more is expected from either side; 0 before the first (Linux's ATO). */
  ackTimeoutMs = 0;

  // Options of the application
  noDelay = false;
  keepAlive = false;
  keepAliveIdleMs = 0;
  keepAliveIntervalMs = 0;
  keepAliveProbes = 0;
  userTimeoutMs = 0;
  /** RFC 5482: the option is in use; what it says, 0 for `userTimeoutMs`; what the peer's has said, 0 for nothing. */
  userTimeoutOption = false;
  userTimeoutAdvertisedMs = 0;
  userTimeoutHeardMs = 0;
  userTimeoutNews: UserTimeoutNews = 0;
  userTimeoutToldEnd = 0;
  /** The longest segment that the peer has acknowledged, in bytes: so much the path did carry. */
  provenBytes = 0;
  /** What a router has claimed about the segment with this sequence number, and is not believed yet; 0 for nothing. */
  tooBigMtu = 0;
  tooBigSeq = 0;
  /** DSCP << 2; the ECN bits below it are TCP's. */
  typeOfService = 0;
  timeToLive = 64;
  sendBufferBytes = 0;
  receiveBufferBytes = 0;
  /** The application has chosen the size: no tuning (buffers.ts). */
  sendBufferSet = false;
  receiveBufferSet = false;
  // How fast the application reads: bytes in a round trip, since when and from where the present one is
  // measured, the round trip as the receiver sees it, and our timestamp that was echoed last.
  receiveSpaceBytes = 0;
  receiveSpaceAtMs = -Infinity;
  receiveSpaceSeq = 0;
  receiveRttUs = 0;
  receiveEchoed = 0;
  /** Only full segments leave, until it is off again or 200 ms have passed. */
  cork = false;
  /** The application has said that more will follow what it wrote last (MSG_MORE). */
  more = false;
  /** What becomes of it: a `Push`. */
  push: number = Push.normal;
  /** 0: a close is a reset (SO_LINGER); -1: it is not. */
  lingerMs = -1;
  /** How long FIN-WAIT-2 lasts without an application; -1: not at all (TCP_LINGER2). */
  finWait2Ms = 60_000;
  /** The application is not asked for more while so much is unsent; 0: only the send buffer counts. */
  notSentLowWaterBytes = 0;
  /** Largest segment that we announce and send, options included; 0: what the path allows (TCP_MAXSEG). */
  mssMax = 0;
  /** R2 of the handshake, in retransmissions; 0: the stack's. */
  synRetransmitsMax = 0;
  /** The application has let go: what arrives now is answered with RST. */
  orphan = false;
  /** Somebody waits for room in the send buffer. */
  wantsWritable = false;
  /** Somebody waits until everything is acknowledged. */
  wantsDrained = false;

  // Bookkeeping of the turn
  events = 0;
  outputQueued = false;
  lastActivityMs = 0;
  /** When data left last; -Infinity after a sleep of more than an RTO, which is idleness enough. */
  lastSentMs = -Infinity;
  bytesIn = 0;
  bytesOut = 0;
  retransmittedSegments = 0;
  // Counters that only tcp_info reads (info.ts)
  segmentsIn = 0;
  segmentsOut = 0;
  dataSegmentsIn = 0;
  dataSegmentsOut = 0;
  retransmittedBytes = 0;
  outOfOrderSegments = 0;
  /** Estimate of the peer's segment size, in bytes. */
  rcvMss = 536;
  /** MSS that our SYN announced. */
  advMss = 536;
  lastReceivedMs = 0;
  lastAckMs = 0;
  /** What limits the sender since `limitedSinceMs`: a `Limit`; and how long each of them did so far. */
  limit = 0;
  limitedSinceMs = 0;
  limitedMs = 0;
  windowLimitedMs = 0;
  bufferLimitedMs = 0;
  /** Verdict cache: the firewall generation that accepted this connection on an interface, and the rule. */
  firewallGeneration = -1;
  firewallRule = -1;
  firewallInterface = -1;
  /** Its image is being written: whatever touches the connection now cancels the sleep first. */
  saving = false;
  /** What the application keeps with the connection: plain data that CBOR can hold. */
  attachment: unknown = undefined;
  /** Where the stream stands for what answers while the application sleeps (net/socket/asleep/); empty for nothing. */
  protocolState: readonly number[] = NOTHING;
  /** It woke for that alone: the application knows nothing of it, and it sleeps again as soon as it is quiet. */
  drowsy = false;
  /** Nothing leaves that is not in the log, which reaches as far as this says (durable.ts). */
  durable: Durable | undefined = undefined;

  /** Where the memory of its queues is counted; `undefined` for what is no connection of a stack. */
  memory: TcpMemory | undefined = undefined;
  /** Bytes from `sndUna` on: in flight, then unsent. */
  readonly sendQueue: ByteRing = new ByteRing();
  /** The segments in flight. */
  readonly sent: SentQueue = new SentQueue();
  /** Where what comes next may go at once (offer.ts); only inside of a turn there is something in it. */
  offer: ReadOffer | undefined = undefined;
  /** Its owner will not refer to it when it is over: the next connection may have it. */
  given = false;
  /** In-order bytes not yet read; out-of-order bytes lie beyond its end. */
  readonly receiveQueue: ByteRing = new ByteRing();

  constructor(slot: number) {
    this.slot = slot;
  }
}

/**
 * Fields that begin as small numbers and become times. V8 lays out objects by what it has seen in them: it sees it here,
 * once, and not in the first connection that sleeps or loses something, when all that was compiled for the others, and
 * the others themselves, would have to be made anew.
 */
const taught = new Tcb(-1);
for (
  const name of [
    ...[
      "mtuProbedAtMs",
      "tsRecentAtMs",
      "minRttAtMs",
      "rttStartMs",
      "cwndFullAtMs",
      "hystartRoundAtMs",
    ] as const,
    ...["hystartTrainAtMs", "sentStampMs", "rackSentMs", "retransmitStampMs", "persistSinceMs"] as const,
    ...["stuckSinceMs", "lastActivityMs", "lastReceivedMs", "lastAckMs", "limitedSinceMs"] as const,
  ]
) taught[name] = 0.5;

/** Sequence number just behind the last byte that the application wrote: where the FIN is or will be. */
export function sendEnd(tcb: Tcb): number {
  return (tcb.sndUna + tcb.sendQueue.length) | 0;
}

/** Sequence number behind the last byte that may be sent: of a durable connection, of those in the log. */
export function sendLimit(tcb: Tcb): number {
  const end = sendEnd(tcb);
  const { durable } = tcb;
  return durable !== undefined && seqLess(durable.sndEnd, end) ? durable.sndEnd : end;
}

/** Whether the FIN may follow what was written. */
export function finReady(tcb: Tcb): boolean {
  return tcb.finQueued && (tcb.durable === undefined || seqLess(sendEnd(tcb), tcb.durable.sndEnd));
}

/** Whether the FIN has been sent at least once. */
export function finSent(tcb: Tcb): boolean {
  return tcb.finQueued && ((tcb.sndMax - sendEnd(tcb)) | 0) > 0;
}

/** The `sentMs` of what leaves now: now, as it was handed on, unless what left before it says a little later. */
export function sentStampMs(tcb: Tcb, nowMs: number): number {
  if (tcb.sentStampMs > nowMs) return tcb.sentStampMs;
  tcb.sentStampMs = nowMs;
  return nowMs;
}

/** Segments in the network, as far as that is known (RFC 6675's pipe). */
export function packetsInFlight(tcb: Tcb): number {
  return tcb.sent.length - tcb.sackedOut - tcb.lostOut + tcb.retransOut;
}

/** How many segments the congestion window admits. */
export function cwndPackets(tcb: Tcb): number {
  return Math.max(1, Math.floor(tcb.cwnd / tcb.sndMss));
}

/** Bytes (and SYN, FIN) sent and not acknowledged. */
export function flightSize(tcb: Tcb): number {
  return (tcb.sndMax - tcb.sndUna) >>> 0;
}
