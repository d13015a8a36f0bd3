/** A document beside RFC 9293. Tests that name its number show what the stack has of it. */
export interface Rfc {
  number: number;
  title: string;
  /** What of it is missing, and why. */
  missing?: string;
}

const rfc = (number: number, title: string, missing?: string): Rfc =>
  missing === undefined ? { number, title } : { number, title, missing };

export const TCP_RFCS: readonly Rfc[] = [
  rfc(1191, "Path MTU discovery"),
  rfc(1337, "TIME-WAIT assassination"),
  rfc(2018, "Selective acknowledgment"),
  rfc(2525, "Known problems of TCP implementations"),
  rfc(2883, "Duplicate SACK"),
  rfc(2861, "Congestion window validation"),
  rfc(3042, "Limited transmit"),
  rfc(3168, "Explicit congestion notification"),
  rfc(3465, "Appropriate byte counting"),
  rfc(3522, "Eifel: spurious retransmissions found by timestamps"),
  rfc(4015, "Eifel: their response"),
  rfc(4821, "Path MTU discovery by segments alone"),
  rfc(4987, "SYN floods"),
  rfc(5482, "User timeout"),
  rfc(5681, "Congestion control"),
  rfc(5682, "F-RTO"),
  rfc(
    5925,
    "Authentication option",
    "not done: nobody has asked for it, and it wants keys that sleep with the image",
  ),
  rfc(5927, "ICMP attacks"),
  rfc(5961, "Blind attacks inside the window"),
  rfc(6056, "Port randomisation"),
  rfc(6093, "Urgent data"),
  rfc(6191, "TIME-WAIT cut short by timestamps"),
  rfc(6298, "Retransmission timer"),
  rfc(6528, "Sequence number attacks"),
  rfc(6582, "New Reno"),
  rfc(6675, "Recovery by SACK"),
  rfc(6928, "Initial window of ten segments"),
  rfc(6937, "Proportional rate reduction"),
  rfc(7323, "Window scale, timestamps, PAWS"),
  rfc(7413, "Fast open"),
  rfc(7661, "Congestion window validation, anew"),
  rfc(8985, "RACK-TLP"),
  rfc(9406, "HyStart++"),
  rfc(9438, "CUBIC"),
];

export const IP_RFCS: readonly Rfc[] = [
  rfc(768, "UDP"),
  rfc(791, "IPv4"),
  rfc(792, "ICMP"),
  rfc(826, "ARP"),
  rfc(1071, "Checksums"),
  rfc(1112, "Multicast"),
  rfc(1122, "Hosts"),
  rfc(1624, "Checksums, incrementally"),
  rfc(1812, "Routers"),
  rfc(2131, "DHCP"),
  rfc(2236, "IGMPv2"),
  rfc(3376, "IGMPv3"),
  rfc(3810, "MLDv2"),
  rfc(3927, "Link-local IPv4 addresses"),
  rfc(4443, "ICMPv6"),
  rfc(4861, "IPv6 neighbour discovery"),
  rfc(4862, "IPv6 stateless addresses"),
  rfc(5095, "Routing headers of type 0"),
  rfc(5722, "Overlapping fragments"),
  rfc(5952, "IPv6 addresses as text"),
  rfc(6724, "IPv6 address selection"),
  rfc(6864, "IPv4 identification"),
  rfc(6946, "Atomic fragments"),
  rfc(7217, "Stable opaque interface identifiers"),
  rfc(7739, "Identifications of fragments"),
  rfc(8106, "Name servers in router advertisements"),
  rfc(8200, "IPv6"),
  rfc(8201, "IPv6 path MTU discovery"),
];
