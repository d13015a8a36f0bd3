/** States of a TCP flow, numbered as `enum tcp_conntrack`. */
export const TcpState = {
  none: 0,
  synSent: 1,
  synRecv: 2,
  established: 3,
  finWait: 4,
  closeWait: 5,
  lastAck: 6,
  timeWait: 7,
  close: 8,
  /** Both sides have sent a SYN. */
  synSent2: 9,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

/** Their names in `conntrack -L`. */
export const TCP_STATE_NAMES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;

/**
 * How long a flow is remembered after its last packet, in seconds: names and defaults are those of the kernel's
 * Documentation/networking/nf_conntrack-sysctl.rst.
 */
export interface ConntrackTimeouts {
  readonly tcpSynSent: number;
  readonly tcpSynRecv: number;
  readonly tcpEstablished: number;
  readonly tcpFinWait: number;
  readonly tcpCloseWait: number;
  readonly tcpLastAck: number;
  readonly tcpTimeWait: number;
  readonly tcpClose: number;
  /** Of flows whose last segment was sent `TCP_RETRANSMISSIONS_MAX` times again. */
  readonly tcpMaxRetrans: number;
  /** Of flows with data that nobody has acknowledged. */
  readonly tcpUnacknowledged: number;
  readonly udp: number;
  /** Of datagrams that go both ways for longer than two seconds. */
  readonly udpStream: number;
  readonly icmp: number;
  readonly icmpv6: number;
  /** Of every other protocol. */
  readonly generic: number;
}

export const TIMEOUTS: ConntrackTimeouts = {
  tcpSynSent: 120,
  tcpSynRecv: 60,
  tcpEstablished: 432_000,
  tcpFinWait: 120,
  tcpCloseWait: 60,
  tcpLastAck: 30,
  tcpTimeWait: 120,
  tcpClose: 10,
  tcpMaxRetrans: 300,
  tcpUnacknowledged: 300,
  udp: 30,
  udpStream: 120,
  icmp: 30,
  icmpv6: 30,
  generic: 600,
};

/** The most seconds that a timeout may have: deadlines are differences of 32 bits. */
export const TIMEOUT_SECONDS_MAX = 10_000_000;

/** A TCP flow's timeouts by `TcpState`. */
export function tcpTimeouts(timeouts: ConntrackTimeouts): Float64Array {
  return Float64Array.of(
    0,
    timeouts.tcpSynSent,
    timeouts.tcpSynRecv,
    timeouts.tcpEstablished,
    timeouts.tcpFinWait,
    timeouts.tcpCloseWait,
    timeouts.tcpLastAck,
    timeouts.tcpTimeWait,
    timeouts.tcpClose,
    timeouts.tcpSynSent,
  );
}
