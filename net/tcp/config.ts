import { HELD_BYTES_MAX, HELD_PACKETS_MAX } from "../wake/held.ts";
import type { CongestionControlName } from "./congestion/congestion.ts";
import type { HystartName } from "./congestion/hystart.ts";

/** Every constant of the TCP in one record, so that a profile can set them. Defaults are Linux's. */
export interface TcpConfig {
  /** Bytes that a new connection may hold unread; also the largest window offered. */
  receiveBufferBytes: number;
  /** How far that grows while the application reads fast (Linux's tcp_rmem). */
  receiveBufferMax: number;
  /** Bytes that a new connection may hold unacknowledged. */
  sendBufferBytes: number;
  /** How far that grows with the congestion window (Linux's tcp_wmem). */
  sendBufferMax: number;
  /**
   * Memory in the queues of all awake connections together, in bytes (Linux's tcp_mem): from `memoryPressureBytes` on
   * until it is below `memoryLowBytes` buffers and windows do not grow; above `memoryMaxBytes` only what each
   * connection needs to make progress is taken. Of the other two the defaults are a half and three quarters of it.
   */
  memoryLowBytes: number;
  /** Bytes of all queues together from which on buffers do not grow. */
  memoryPressureBytes: number;
  /** Bytes of all queues together at most. */
  memoryMaxBytes: number;
  /** RFC 7323 shift offered; by default the least with which 65,535 * 2^shift reaches `receiveBufferMax`. */
  receiveWindowScale: number;
  /** Timestamps (RFC 7323). */
  timestamps: boolean;
  /**
   * As Linux's tcp_ecn: 0 never; 1 ask for RFC 3168's ECN and accept it; 2 accept it when the peer asks. Accurate ECN
   * (RFC 9768) as well: 3 ask for it and accept it; 4 accept it, ask for RFC 3168's; 5 accept it, ask for nothing.
   */
  ecn: number;
  /** Accurate ECN's option, as Linux's tcp_ecn_option: 0 never, 1 when it brings news, 2 in every segment. */
  ecnOption: number;
  /** Stop marking packets as capable where the handshake shows that the network rewrites the bits (tcp_ecn_fallback). */
  ecnFallback: boolean;
  /** RFC 6928. */
  initialWindowSegments: number;
  /** Longer segments do not make it larger, as RFC 6928 has it; Linux counts segments only. */
  initialWindowCapped: boolean;
  /** RFC 9438 or RFC 5681; a connection may have another than its stack. */
  congestionControl: CongestionControlName;
  /**
   * Leave slow start when round trips grow longer, before something is lost: as RFC 9406 says, or as Linux's CUBIC does
   * it (`classic_hystart.ts`; it ends slow start at once, and so too early on some paths).
   */
  hystart: HystartName;
  /** RFC 5681 section 4.1: after an RTO without sending the window is the initial one again. */
  slowStartAfterIdle: boolean;
  /** Offer SACK and use it when the peer knows it too (RFC 2018); RFC 2883's reports of duplicates. */
  sack: boolean;
  /** Duplicates are reported (RFC 2883). */
  dsack: boolean;
  /** RFC 8985 section 7. */
  tailLossProbe: boolean;
  /** A shorter round trip says nothing of how long a peer may be busy: Linux waits for two ticks of its clock. */
  lossProbeMinMs: number;
  /** Plain ACKs take the short way (acknowledge.ts). Off, they take the one that understands all: both must do the same. */
  headerPrediction: boolean;
  /** RFC 5682. */
  frto: boolean;
  /** Segments that may overtake another before it counts as lost: at first, and the most that is believed. */
  reorderingSegments: number;
  /** Segments by which packets may overtake each other, at most, before they count as lost. */
  reorderingMax: number;
  /**
   * RFC 5927 section 7.2: a router that says a packet was too big, where longer ones have got through before, is believed
   * only when a timeout shows that it does not get through now. Linux believes at once.
   */
  tooBigWaits: boolean;
  /** RFC 4821, as Linux's tcp_mtu_probing: 0 never, 1 when a black hole is suspected, 2 always. */
  mtuProbing: number;
  /** Where the search begins, as payload without options. */
  mtuBaseMss: number;
  /** Passive connections start from there, too; Linux's start with what the handshake settled. */
  mtuBaseForAll: boolean;
  /** How far down it goes. */
  mtuProbeFloor: number;
  /** It ends when so few bytes are open. */
  mtuProbeThreshold: number;
  /** After so long it begins anew. */
  mtuProbeIntervalMs: number;
  /** Segments of a train, which ends with PSH, where the pace alone would make it shorter (Linux's tcp_min_tso_segs). */
  trainSegmentsMin: number;
  /** The retransmission timeout before anything is known of the path (RFC 6298). */
  rtoInitialMs: number;
  /** The shortest one. */
  rtoMinMs: number;
  /** The longest one. */
  rtoMaxMs: number;
  /** The least that an ACK waits for data to carry it. RFC 9293 MUST-40: below 500. */
  delayedAckMs: number;
  /** ACKs sent at once at most, when data comes for the first time and after a pause: the peer's window is small. */
  quickAcks: number;
  /** R2 as a count of retransmissions of data; 15 takes about 924 s (SHLD-11: at least 100 s). */
  retransmitsMax: number;
  /** R1: from so many retransmissions on the application is told that there is trouble (SHLD-10: at least 3). */
  retransmitsTrouble: number;
  /**
   * R2 for SYN, linear timeouts not counted. 7 gives up after 251 s; Linux's 6 would after 131 s, where MUST-23 asks
   * for 180.
   */
  synRetransmitsMax: number;
  /** So many timeouts of a SYN come before they begin to double, as since Linux 6.5. */
  synLinearTimeouts: number;
  /** R2 for the SYN-ACK of a passive open; 5 holds a half-open connection for 63 s. */
  synAckRetransmitsMax: number;
  /** Half-open connections of one listener, however long its backlog (Linux: somaxconn). */
  synBacklogMax: number;
  /**
   * RFC 4987: 1 answers with SYN cookies what finds the SYN queue full, 2 every SYN (for tests), 0 none: what finds
   * the queue full is dropped.
   */
  synCookies: 0 | 1 | 2;
  /**
   * RFC 7413: `FastOpenMode` bits, those of net.ipv4.tcp_fastopen: 1 for clients, 2 for servers. Linux has only 1 by
   * default; but a listener has to ask for it as well.
   */
  fastOpen: number;
  /**
   * Key of our Fast Open cookies as net.ipv4.tcp_fastopen_key has it: four words of hexadecimal digits with "-" between
   * them, and perhaps "," and an older key whose cookies are still good. Absent: a random one.
   */
  fastOpenKey?: string;
  /** Servers whose cookies are remembered; some 200 bytes each. */
  fastOpenCacheMax: number;
  /** How long Fast Open stays off when data in a SYN seems to vanish on the way; 0, Linux's default: it never goes off. */
  fastOpenBlackholeMs: number;
  /** What the user timeout option may make of R2 (RFC 5482 section 3.1; SHLD-11: at least 100 s). */
  userTimeoutMinMs: number;
  /** The longest one that a peer may ask for. */
  userTimeoutMaxMs: number;
  /** Default for connections that switch keep-alive on (MUST-28: at least 2 h). */
  keepAliveIdleMs: number;
  /** Between probes that are not answered. */
  keepAliveIntervalMs: number;
  /** Probes without an answer until the connection is over. */
  keepAliveProbes: number;
  /** How long a closed connection is remembered. */
  timeWaitMs: number;
  /** Connections in TIME-WAIT; one more is forgotten at once. A TCB with empty queues has some 2 KB. */
  timeWaitsMax: number;
  /**
   * Whether an active open takes the ports of a connection in TIME-WAIT that had timestamps (RFC 6191): 0 never, 1
   * always, 2 only for connections of a host to itself.
   */
  timeWaitReuse: 0 | 1 | 2;
  /** So long it has been silent: the peer's timestamp clock must have ticked (RFC 7323 section 5.4). */
  timeWaitReuseDelayMs: number;
  /**
   * Whether any ICMP unreachable ends a handshake at once, as on Linux and in RFC 5461 section 4.1. RFC 9293 keeps
   * trying where the error may pass (MUST-56): only unreachable ports and protocols end an active open.
   */
  icmpEndsHandshake: boolean;
  /** RFC 1337: no RST ends TIME-WAIT. RFC 9293 lets it. */
  rfc1337: boolean;
  /** Take segments without the timestamp that was agreed on, as Linux does; RFC 7323 section 3.2 says to drop them. */
  tolerateMissingTimestamps: boolean;
  /** How long an orphan (closed by the application) waits for the peer's FIN. */
  finWait2Ms: number;
  /** The longest time between probes of a closed window. */
  persistMaxMs: number;
  /** Separate runs of out-of-order data kept; more than that is dropped and sent again. */
  outOfOrderRangesMax: number;
  /** RFC 5961: at most one challenge ACK per connection in this time. */
  challengeAckMs: number;
  /**
   * RFC 5961 section 7: challenge ACKs of all connections in one second, on average. No limit, as in Linux since
   * 5.17: a shared counter tells an attacker what other connections do (CVE-2016-5696), and the limit per
   * connection is enough against storms.
   */
  challengeAcksPerSecondMax: number;
  /** Packets held for one connection that is waking, and bytes for all of them together. */
  heldPacketsMax: number;
  /** Bytes of packets that wait for wakes, of all connections together. */
  heldBytesMax: number;
}

export const DEFAULT_TCP_CONFIG: Readonly<TcpConfig> = {
  receiveBufferBytes: 128 << 10,
  receiveBufferMax: 6 << 20,
  sendBufferBytes: 256 << 10,
  sendBufferMax: 4 << 20,
  memoryLowBytes: 512 << 20,
  memoryPressureBytes: 768 << 20,
  memoryMaxBytes: 1024 << 20, // what a process of a few GB can spare
  receiveWindowScale: 7,
  timestamps: true,
  ecn: 2,
  ecnOption: 2,
  ecnFallback: true,
  initialWindowSegments: 10,
  initialWindowCapped: true,
  congestionControl: "cubic",
  hystart: "rfc9406",
  slowStartAfterIdle: true,
  sack: true,
  dsack: true,
  tailLossProbe: true,
  headerPrediction: true,
  lossProbeMinMs: 8,
  frto: true,
  reorderingSegments: 3,
  reorderingMax: 300,
  tooBigWaits: true,
  mtuProbing: 0,
  mtuBaseMss: 1_024,
  mtuBaseForAll: true,
  mtuProbeFloor: 48,
  mtuProbeThreshold: 8,
  mtuProbeIntervalMs: 600_000,
  trainSegmentsMin: 2,
  rtoInitialMs: 1_000,
  rtoMinMs: 200,
  rtoMaxMs: 120_000,
  delayedAckMs: 40,
  quickAcks: 16,
  retransmitsMax: 15,
  retransmitsTrouble: 3,
  synRetransmitsMax: 7,
  synLinearTimeouts: 4,
  synAckRetransmitsMax: 5,
  synBacklogMax: 4_096,
  synCookies: 1,
  fastOpen: 3,
  fastOpenCacheMax: 1_024,
  fastOpenBlackholeMs: 0,
  userTimeoutMinMs: 100_000,
  userTimeoutMaxMs: 3_600_000, // a peer cannot have us hold memory for longer
  keepAliveIdleMs: 7_200_000,
  keepAliveIntervalMs: 75_000,
  keepAliveProbes: 9,
  timeWaitMs: 60_000,
  timeWaitsMax: 65_536,
  timeWaitReuse: 2,
  timeWaitReuseDelayMs: 1_000,
  icmpEndsHandshake: false,
  rfc1337: false,
  tolerateMissingTimestamps: false,
  finWait2Ms: 60_000,
  persistMaxMs: 60_000,
  outOfOrderRangesMax: 64,
  challengeAckMs: 500,
  challengeAcksPerSecondMax: Infinity,
  heldPacketsMax: HELD_PACKETS_MAX,
  heldBytesMax: HELD_BYTES_MAX,
};

/** RFC 7323 section 2.3: a window is at most 2^30. */
export const BUFFER_BYTES_MAX: number = 1 << 30;

/** The defaults with what is given. A buffer size without a maximum of its own is fixed. */
export function completeConfig(given: Partial<TcpConfig> = {}): TcpConfig {
  const config = { ...DEFAULT_TCP_CONFIG, ...given };
  const { receiveBufferBytes, sendBufferBytes } = given;
  config.receiveBufferMax = given.receiveBufferMax ?? receiveBufferBytes ?? config.receiveBufferMax;
  config.sendBufferMax = given.sendBufferMax ?? sendBufferBytes ?? config.sendBufferMax;
  config.memoryLowBytes = given.memoryLowBytes ?? config.memoryMaxBytes / 2;
  config.memoryPressureBytes = given.memoryPressureBytes ?? config.memoryMaxBytes * 3 / 4;
  if (given.receiveWindowScale === undefined) config.receiveWindowScale = scaleFor(config.receiveBufferMax);
  return config;
}

function scaleFor(windowBytes: number): number {
  let shift = 0;
  while (shift < 14 && 0xffff * 2 ** shift < windowBytes) shift++;
  return shift;
}
