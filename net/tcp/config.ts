import type { CongestionControlName } from "./congestion/congestion.ts";

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
  /** RFC 7323 shift offered; by default the least with which 65,535 * 2^shift reaches `receiveBufferMax`. */
  receiveWindowScale: number;
  timestamps: boolean;
  /** RFC 6928. */
  initialWindowSegments: number;
  /** RFC 9438 or RFC 5681; a connection may have another than its stack. */
  congestionControl: CongestionControlName;
  /** RFC 9406: leave slow start when round trips grow longer, before something is lost. */
  hystart: boolean;
  /** RFC 5681 section 4.1: after an RTO without sending the window is the initial one again. */
  slowStartAfterIdle: boolean;
  rtoInitialMs: number;
  rtoMinMs: number;
  rtoMaxMs: number;
  /** RFC 9293 MUST-40: below 500. */
  delayedAckMs: number;
  /** ACKs sent at once after the handshake, while the peer's window is small. */
  quickAcks: number;
  /** R2 as a count of retransmissions of data; 15 takes about 924 s (SHLD-11: at least 100 s). */
  retransmitsMax: number;
  /** R1: from so many retransmissions on the application is told that there is trouble (SHLD-10: at least 3). */
  retransmitsTrouble: number;
  /** R2 for SYN and SYN-ACK; 7 takes 247 s (MUST-23: at least 180 s). */
  synRetransmitsMax: number;
  /** Default for connections that switch keep-alive on (MUST-28: at least 2 h). */
  keepAliveIdleMs: number;
  keepAliveIntervalMs: number;
  keepAliveProbes: number;
  timeWaitMs: number;
  /** How long an orphan (closed by the application) waits for the peer's FIN. */
  finWait2Ms: number;
  persistMaxMs: number;
  /** Separate runs of out-of-order data kept; more than that is dropped and sent again. */
  outOfOrderRangesMax: number;
  /** RFC 5961: at most one challenge ACK per connection in this time. */
  challengeAckMs: number;
}

export const DEFAULT_TCP_CONFIG: Readonly<TcpConfig> = {
  receiveBufferBytes: 128 << 10,
  receiveBufferMax: 6 << 20,
  sendBufferBytes: 256 << 10,
  sendBufferMax: 4 << 20,
  receiveWindowScale: 7,
  timestamps: true,
  initialWindowSegments: 10,
  congestionControl: "cubic",
  hystart: true,
  slowStartAfterIdle: true,
  rtoInitialMs: 1_000,
  rtoMinMs: 200,
  rtoMaxMs: 120_000,
  delayedAckMs: 40,
  quickAcks: 16,
  retransmitsMax: 15,
  retransmitsTrouble: 3,
  synRetransmitsMax: 7,
  keepAliveIdleMs: 7_200_000,
  keepAliveIntervalMs: 75_000,
  keepAliveProbes: 9,
  timeWaitMs: 60_000,
  finWait2Ms: 60_000,
  persistMaxMs: 60_000,
  outOfOrderRangesMax: 64,
  challengeAckMs: 500,
};

/** RFC 7323 section 2.3: a window is at most 2^30. */
export const BUFFER_BYTES_MAX: number = 1 << 30;

/** The defaults with what is given. A buffer size without a maximum of its own is fixed. */
export function completeConfig(given: Partial<TcpConfig> = {}): TcpConfig {
  const config = { ...DEFAULT_TCP_CONFIG, ...given };
  const { receiveBufferBytes, sendBufferBytes } = given;
  config.receiveBufferMax = given.receiveBufferMax ?? receiveBufferBytes ?? config.receiveBufferMax;
  config.sendBufferMax = given.sendBufferMax ?? sendBufferBytes ?? config.sendBufferMax;
  if (given.receiveWindowScale === undefined) config.receiveWindowScale = scaleFor(config.receiveBufferMax);
  return config;
}

function scaleFor(windowBytes: number): number {
  let shift = 0;
  while (shift < 14 && 0xffff * 2 ** shift < windowBytes) shift++;
  return shift;
}
