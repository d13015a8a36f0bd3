/**
 * Why a packet went no further. `None` is the packet that did.
 *
 * The numbers are dense, so that a counter is one array cell; they are not stable between versions:
 * store and print the names.
 */
export const Drop = {
  None: 0,
  /** Shorter than an Ethernet header. */
  FrameShort: 1,
  /** An EtherType that nobody here speaks. */
  FrameEtherType: 2,
  /** Unicast to another station. */
  FrameNotOurs: 3,
  ArpMalformed: 4,
  /** Shorter than an IPv4 header. */
  Ipv4Short: 5,
  Ipv4Version: 6,
  /** IHL below five words, or beyond the packet. */
  Ipv4Header: 7,
  /** Total length below the header's, or beyond the frame: cut short on the way. */
  Ipv4Length: 8,
  Ipv4Checksum: 9,
  /** A fragment that cannot be part of any datagram, or found no room in reassembly. */
  Ipv4Fragment: 10,
  /** A source that may not be one: broadcast, multicast, or our own from outside. */
  Ipv4Source: 11,
  Ipv4NotOurs: 12,
  Ipv4Protocol: 13,
  Ipv4TimeToLive: 14,
  IcmpShort: 15,
  IcmpChecksum: 16,
  /** A type that asks nothing of us, or an error that quotes no connection of ours. */
  IcmpType: 17,
  IcmpRate: 18,
  /** Shorter than a UDP header, or a length field that disagrees with the packet. */
  UdpLength: 19,
  /** Destination port zero. */
  UdpPort: 20,
  UdpChecksum: 21,
  UdpNoSocket: 22,
  UdpQueueFull: 23,
  /** Shorter than a TCP header. */
  TcpShort: 24,
  /** A data offset below five words, or beyond the segment. */
  TcpOffset: 25,
  /** A port of zero on either side. */
  TcpPort: 26,
  TcpChecksum: 27,
  TcpNoListener: 28,
  /** A broadcast or multicast address on a segment (RFC 9293 MUST-57). */
  TcpAddress: 29,
  /** Outside the receive window. */
  TcpUnacceptable: 30,
  /** An old timestamp (RFC 7323 section 5). */
  TcpPaws: 31,
  /** Acknowledges what was never sent, or is too old to believe (RFC 5961). */
  TcpBadAck: 32,
  TcpBacklogFull: 33,
  TcpTableFull: 34,
  /** Data for a socket that the application has closed. */
  TcpClosed: 35,
  Firewall: 36,
  /** Dropped by a rule that also answers. */
  FirewallReject: 37,
  /** The connection sleeps, and the wake filter answered for it. */
  AsleepAnswered: 38,
  /** The connection sleeps, and the packet deserves no answer. */
  AsleepIgnored: 39,
  /** A waking connection already holds as many packets as it may. */
  HeldFull: 40,
  /** The next hop's address is being asked for, and its queue is full. */
  NeighborPending: 41,
  NeighborFull: 42,
  NoRoute: 43,
  LinkFull: 44,
  /** Longer than the link carries, and not to be fragmented. */
  PacketTooBig: 45,
  /** Shorter than an IPv6 header. */
  Ipv6Short: 46,
  Ipv6Version: 47,
  /** A payload length beyond the frame. */
  Ipv6Length: 48,
  /** Extension headers cut short, too many, or in a place that is not theirs. */
  Ipv6Extension: 49,
  /** An option that says of itself that who does not know it must drop the packet. */
  Ipv6Option: 50,
  /** A routing header that wants us to pass the packet on (RFC 5095). */
  Ipv6Routing: 51,
  /** A fragment that cannot be part of any datagram, or found no room in reassembly. */
  Ipv6Fragment: 52,
  /** A source that may not be one: a group, loopback, an IPv4-mapped address, or our own from outside. */
  Ipv6Source: 53,
  Ipv6NotOurs: 54,
  /** A next header that nobody here speaks. */
  Ipv6Protocol: 55,
  /** The address table is full of addresses that are held. */
  AddressTableFull: 56,
  /** Neighbour discovery that breaks RFC 4861's rules, from beyond the link perhaps. */
  NdpMalformed: 57,
  /** An IGMP message that cannot be read, or that a router on this link did not send. */
  IgmpMalformed: 58,
  /** Another station says that it has one of our addresses (RFC 5227). */
  ArpConflict: 59,
  /** An MLD message that cannot be read, or that nobody on this link sent. */
  MldMalformed: 60,
  /** An IPv6 packet on its way through us has come as far as it may. */
  Ipv6HopLimit: 61,
  /** News for a sleeper that its listener's policy does not let wake it. */
  AsleepNotLet: 62,
  /** Sent again to a connection that waits for its wake, and held already. */
  HeldAlready: 63,
  /** About a connection of another stack with the same addresses, which has it now. */
  PassedOn: 64,
} as const;
/** One of the reasons. */
export type Drop = (typeof Drop)[keyof typeof Drop];

/** The name of each reason, at its number. */
export const dropNames: readonly string[] = Object.keys(Drop);

/**
 * How many packets were dropped, by reason.
 *
 * @example
 * ```ts
 * import { Drop, DropCounters } from "@torpor/torpor/net/wire/drop.ts";
 * const drops = new DropCounters();
 * drops.count(Drop.TcpChecksum);
 * console.log(JSON.stringify(drops)); // {"TcpChecksum":1}
 * ```
 */
export class DropCounters {
  readonly #counts = new Float64Array(dropNames.length);

  /** Counts one packet; `Drop.None` is no drop and counts nothing. */
  count(reason: Drop): void {
    if (reason !== Drop.None) this.#counts[reason]!++;
  }

  get(reason: Drop): number {
    return this.#counts[reason]!;
  }

  /** Packets dropped, for whatever reason. */
  get total(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** The reasons that have happened, by name. */
  toJSON(): Record<string, number> {
    const counted: Record<string, number> = {};
    this.#counts.forEach((count, reason) => {
      if (count > 0) counted[dropNames[reason]!] = count;
    });
    return counted;
  }
}
