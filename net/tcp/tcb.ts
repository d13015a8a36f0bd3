import { ByteRing } from "../../base/ring.ts";

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

/** Where the sender stands (RFC 5681, 6582). */
export const Recovery = { open: 0, fast: 1, loss: 2 } as const;

/**
 * One connection's whole state: numbers, bytes and small enums, nothing else (RFC 9293 section 3.3.1
 * gives the names). Sequence numbers are int32, times are epoch milliseconds, `Infinity` is "not set".
 */
export class Tcb {
  // Identity
  readonly slot: number;
  /** Record in the connection map. */
  record = -1;
  /** Listener that it came from, or -1 for an active open. */
  listener = -1;
  localAddress = 0;
  remoteAddress = 0;
  localPort = 0;
  remotePort = 0;
  state: TcpState = TcpState.closed;
  error: TcpError = TcpError.none;
  /** ICMP's last soft error, for the application that asks (MUST-47): type << 8 | code. */
  softError = 0;

  // Send sequence space. `sndNxt` is the next to send and falls back to `sndUna` after a timeout;
  // `sndMax` is the highest ever sent: RFC 9293's SND.NXT.
  iss = 0;
  sndUna = 0;
  sndNxt = 0;
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

  // Urgent data (urgent.ts): the octet behind the last urgent one, while there is urgent data
  sndUrgent = false;
  sndUp = 0;
  rcvUrgent = false;
  rcvUp = 0;

  // Timestamps (RFC 7323)
  timestamps = false;
  tsOffset = 0;
  tsRecent = 0;
  tsRecentAtMs = 0;

  // Round-trip time (RFC 6298). Microseconds; -1 is "no sample yet".
  srttUs = -1;
  rttvarUs = 0;
  rtoMs = 1000;
  backoff = 0;
  /** Without timestamps one segment at a time is timed: it ends at `rttSeq`. */
  rttTiming = false;
  rttSeq = 0;
  rttStartMs = 0;

  // Congestion control (RFC 5681, 6582)
  cwnd = 0;
  ssthresh = 0x7fff_ffff;
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
  dupAcks = 0;
  recovery: number = Recovery.open;
  recover = 0;

  // Deadlines
  retransmitAtMs = Infinity;
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
  quickAcks = 0;

  // Options of the application
  noDelay = false;
  keepAlive = false;
  keepAliveIdleMs = 0;
  keepAliveIntervalMs = 0;
  keepAliveProbes = 0;
  userTimeoutMs = 0;
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

  /** Bytes from `sndUna` on: in flight, then unsent. */
  readonly sendQueue: ByteRing = new ByteRing();
  /** In-order bytes not yet read; out-of-order bytes lie beyond its end. */
  readonly receiveQueue: ByteRing = new ByteRing();

  constructor(slot: number) {
    this.slot = slot;
  }
}

/** Sequence number just behind the last byte that the application wrote: where the FIN is or will be. */
export function sendEnd(tcb: Tcb): number {
  return (tcb.sndUna + tcb.sendQueue.length) | 0;
}

/** Whether the FIN has been sent at least once. */
export function finSent(tcb: Tcb): boolean {
  return tcb.finQueued && ((tcb.sndMax - sendEnd(tcb)) | 0) > 0;
}

/** Bytes (and SYN, FIN) sent and not acknowledged. */
export function flightSize(tcb: Tcb): number {
  return (tcb.sndMax - tcb.sndUna) >>> 0;
}
