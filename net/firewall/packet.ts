/** Which way a packet goes, seen from the stack. */
export const Direction = {
  /** To one of the stack's own addresses. */
  Input: 0,
  /** From the stack. */
  Output: 1,
  /** Through it, from one interface to another. */
  Forward: 2,
} as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** What connection tracking says of a packet. */
export const ConnState = {
  /** Opens a connection, or belongs to none yet. */
  New: 0,
  /** Belongs to a connection that has seen packets both ways. */
  Established: 1,
  /** Opens a connection that another one announced, or is an ICMP error about one. */
  Related: 2,
  /** Belongs to no connection and may open none. */
  Invalid: 3,
} as const;
export type ConnState = (typeof ConnState)[keyof typeof ConnState];

/** What happens to a packet. */
export const Verdict = {
  Accept: 0,
  /** It vanishes. */
  Drop: 1,
  /** It vanishes and its sender is told: a TCP reset, or ICMP destination unreachable. */
  Reject: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * What rules may ask about a packet. The stack makes one and fills it for every packet it has to
 * judge; fields that the packet's protocol lacks are never read, so they need no clearing.
 */
export class FirewallPacket {
  direction: Direction = Direction.Input;
  /** Index into the firewall's interface names: where it came in, or leaves by. Others match no name. */
  interfaceIndex = 0;
  /** IP protocol number, 0 to 255. */
  protocol = 0;
  /** IPv4 addresses as integers (signed and unsigned mean the same), or IPv6 ones as handles: both of one family. */
  source = 0;
  destination = 0;
  /** TCP and UDP only. */
  sourcePort = 0;
  /** TCP and UDP only. */
  destinationPort = 0;
  /** ICMP only, 0 to 255. */
  icmpType = 0;
  /** TCP only: the header's flag byte. */
  tcpFlags = 0;
  state: ConnState = ConnState.New;
  /** Bytes of the whole IP packet, for the counters. */
  length = 0;
}
