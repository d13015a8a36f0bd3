import type { CtKey, DataType, MetaKey, PayloadProtocol } from "./schema.ts";
import type { CtName, MetaName } from "./linked.ts";
import { Nfproto } from "./packet.ts";

/** A field of a header: where it stands from the header's first bit, and what is in it. */
export interface HeaderField {
  readonly bit: number;
  readonly bits: number;
  readonly type: DataType;
  /** Values of the header's `type` without which the field does not exist: nft asks for them itself. */
  readonly needs?: readonly number[];
}

/** A header as rules name it. */
export interface HeaderKind {
  readonly base: "nh" | "th";
  /** The family whose packets have it. */
  readonly nfproto?: number;
  /** Its number in the header below: nft asks for it itself. */
  readonly protocol?: number;
  readonly fields: Readonly<Record<string, HeaderField>>;
}

const field = (
  bit: number,
  bits: number,
  type: DataType = "integer",
  needs?: readonly number[],
): HeaderField => needs === undefined ? { bit, bits, type } : { bit, bits, type, needs };

const PORTS = { sport: field(0, 16, "inet_service"), dport: field(16, 16, "inet_service") };

/** nft's proto.c: each header that a rule may name, with the bits of its fields. */
export const HEADERS: Readonly<Record<PayloadProtocol, HeaderKind>> = {
  ip: {
    base: "nh",
    nfproto: Nfproto.Ipv4,
    fields: {
      version: field(0, 4),
      hdrlength: field(4, 4),
      dscp: field(8, 6, "dscp"),
      ecn: field(14, 2, "ecn"),
      length: field(16, 16),
      id: field(32, 16),
      "frag-off": field(48, 16),
      ttl: field(64, 8),
      protocol: field(72, 8, "inet_proto"),
      checksum: field(80, 16),
      saddr: field(96, 32, "ipv4_addr"),
      daddr: field(128, 32, "ipv4_addr"),
    },
  },
  ip6: {
    base: "nh",
    nfproto: Nfproto.Ipv6,
    fields: {
      version: field(0, 4),
      dscp: field(4, 6, "dscp"),
      ecn: field(10, 2, "ecn"),
      flowlabel: field(12, 20),
      length: field(32, 16),
      nexthdr: field(48, 8, "inet_proto"),
      hoplimit: field(56, 8),
      saddr: field(64, 128, "ipv6_addr"),
      daddr: field(192, 128, "ipv6_addr"),
    },
  },
  icmp: {
    base: "th",
    nfproto: Nfproto.Ipv4,
    protocol: 1,
    fields: {
      type: field(0, 8, "icmp_type"),
      code: field(8, 8, "icmp_code"),
      checksum: field(16, 16),
      id: field(32, 16, "integer", [0, 8]),
      sequence: field(48, 16, "integer", [0, 8]),
      gateway: field(32, 32, "integer", [5]),
      mtu: field(48, 16, "integer", [3]),
    },
  },
  icmpv6: {
    base: "th",
    nfproto: Nfproto.Ipv6,
    protocol: 58,
    fields: {
      type: field(0, 8, "icmpv6_type"),
      code: field(8, 8, "icmpv6_code"),
      checksum: field(16, 16),
      "parameter-problem": field(32, 32, "integer", [4]),
      mtu: field(32, 32, "integer", [2]),
      id: field(32, 16, "integer", [128, 129]),
      sequence: field(48, 16, "integer", [128, 129]),
      "max-delay": field(32, 16, "integer", [130]),
    },
  },
  tcp: {
    base: "th",
    protocol: 6,
    fields: {
      ...PORTS,
      sequence: field(32, 32),
      ackseq: field(64, 32),
      doff: field(96, 4),
      reserved: field(100, 4),
      flags: field(104, 8, "tcp_flag"),
      window: field(112, 16),
      checksum: field(128, 16),
      urgptr: field(144, 16),
    },
  },
  udp: {
    base: "th",
    protocol: 17,
    fields: { ...PORTS, length: field(32, 16), checksum: field(48, 16) },
  },
  th: { base: "th", fields: PORTS },
};

/** A TCP option or an extension header: its number, and its fields from its first bit. */
export interface OptionKind {
  readonly kind: number;
  readonly fields: Readonly<Record<string, HeaderField>>;
}

const option = (kind: number, fields: Readonly<Record<string, HeaderField>> = {}): OptionKind => ({
  kind,
  fields: { kind: field(0, 8), length: field(8, 8), ...fields },
});
const sack = (block: number): OptionKind =>
  option(5, { left: field(16 + 64 * block, 32), right: field(48 + 64 * block, 32) });

/** nft's tcpopt.c. */
export const TCP_OPTIONS: Readonly<Record<string, OptionKind>> = {
  eol: { kind: 0, fields: { kind: field(0, 8) } },
  nop: { kind: 1, fields: { kind: field(0, 8) } },
  maxseg: option(2, { size: field(16, 16) }),
  window: option(3, { count: field(16, 8) }),
  "sack-perm": option(4),
  sack: sack(0),
  sack1: sack(1),
  sack2: sack(2),
  sack3: sack(3),
  timestamp: option(8, { tsval: field(16, 32), tsecr: field(48, 32) }),
  md5sig: option(19),
  mptcp: option(30, { subtype: field(16, 4) }),
  fastopen: option(34),
};

const EXTENSION = { nexthdr: field(0, 8, "inet_proto"), hdrlength: field(8, 8) };

/** nft's exthdr.c. */
export const EXTENSIONS: Readonly<Record<string, OptionKind>> = {
  hbh: { kind: 0, fields: EXTENSION },
  rt: { kind: 43, fields: { ...EXTENSION, type: field(16, 8), "seg-left": field(24, 8) } },
  frag: {
    kind: 44,
    fields: {
      nexthdr: field(0, 8, "inet_proto"),
      reserved: field(8, 8),
      "frag-off": field(16, 13),
      reserved2: field(29, 2),
      "more-fragments": field(31, 1),
      id: field(32, 32),
    },
  },
  dst: { kind: 60, fields: EXTENSION },
};

/** The `meta` keys that can be known here, of those that `META_KEYS` describes. */
export const META_KNOWN: ReadonlySet<MetaKey> = new Set(
  [
    ...["length", "protocol", "nfproto", "l4proto", "mark", "priority", "iif", "oif"] as const,
    ...["iifname", "oifname", "pkttype", "random", "time", "hour", "day"] as const,
  ] satisfies MetaName[],
);

/** The `ct` keys that a tracker answers, of those that `CT_KEYS` describes. */
export const CT_KNOWN: ReadonlySet<CtKey> = new Set(
  [
    ...["state", "direction", "status", "mark", "expiration", "l3proto", "protocol"] as const,
    ...["proto-src", "proto-dst", "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"] as const,
    ...["bytes", "packets", "zone"] as const,
  ] satisfies CtName[],
);

/** Bits of a part of a key in a set, by type. */
export const TYPE_BITS: Readonly<Record<DataType, number>> = {
  ipv4_addr: 32,
  ipv6_addr: 128,
  ether_addr: 48,
  inet_proto: 8,
  inet_service: 16,
  mark: 32,
  ifname: 128,
  iface_index: 32,
  ct_state: 32,
  ct_dir: 8,
  ct_status: 32,
  icmp_type: 8,
  icmp_code: 8,
  icmpv6_type: 8,
  icmpv6_code: 8,
  icmpx_code: 8,
  tcp_flag: 8,
  dscp: 6,
  ecn: 2,
  nf_proto: 8,
  ether_type: 16,
  pkt_type: 8,
  fib_addrtype: 32,
  uid: 32,
  gid: 32,
  classid: 32,
  devgroup: 32,
  time: 32,
  date: 64,
  day: 8,
  hour: 32,
  string: 128,
  boolean: 8,
  integer: 32,
};
