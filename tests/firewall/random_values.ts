import type { Prng } from "../../base/random.ts";
import type { Expression, PayloadProtocol } from "../../net/firewall/nft/schema.ts";

/** Interfaces that rules name, beside one that is not there. */
export const INTERFACES = ["tun0", "eth1", "lo"];

/** Few values, so that drawn packets meet drawn rules. */
export const IPV4 = ["10.1.0.1", "10.1.0.2", "10.1.0.77", "10.1.3.4", "10.2.0.1", "10.2.200.9", "192.0.2.1"];
export const IPV6 = [
  "fd01::1",
  "fd01::2",
  "fd01::77",
  "fd01:0:0:3::4",
  "fd02::1",
  "fd02::200:9",
  "2001:db8::1",
];
export const PORTS = [22, 53, 80, 81, 443, 1_000, 1_023, 1_024, 8_080, 65_535];
export const LENGTHS = [0, 1, 40, 100, 400, 1_000];
export const TTLS = [1, 2, 64, 255];
export const MARKS = [0, 1, 2, 0x10, 0xff];
const CHECKSUMS = [0, 0x1234, 0x8000, 0xf000];
const PROTOCOLS = [1, 6, 17, 58, 47];

/** Of each field of a header what drawn packets are likely to have there. Addresses and ports are drawn apart. */
export const FIELD_VALUES: Readonly<Record<PayloadProtocol, Readonly<Record<string, readonly number[]>>>> = {
  ip: {
    version: [4],
    hdrlength: [5, 6],
    dscp: [0, 8, 10, 46],
    ecn: [0, 1, 2, 3],
    length: LENGTHS.map((length) => 60 + length),
    id: [0, 7],
    "frag-off": [0, 0x4000, 0x2000],
    ttl: TTLS,
    protocol: PROTOCOLS,
    checksum: CHECKSUMS,
  },
  ip6: {
    version: [6],
    dscp: [0, 8, 10, 46],
    ecn: [0, 1, 2, 3],
    flowlabel: [0, 5, 0xf_ffff],
    length: LENGTHS.map((length) => 20 + length),
    nexthdr: [6, 17, 58, 44, 0],
    hoplimit: TTLS,
  },
  icmp: {
    type: [0, 3, 8, 11],
    code: [0, 1, 3],
    checksum: CHECKSUMS,
    id: [0, 7],
    sequence: [0, 1, 2, 3],
    gateway: [0x7_0001, 0x7_0002],
    mtu: [0, 1, 2, 3],
  },
  icmpv6: {
    type: [1, 2, 3, 128, 129],
    code: [0, 1],
    checksum: CHECKSUMS,
    "parameter-problem": [0, 1, 2, 3],
    mtu: [0, 1, 2, 3],
    id: [0, 1],
    sequence: [0, 1, 2, 3],
    "max-delay": [0, 7],
  },
  tcp: {
    sequence: [0, 1, 2],
    ackseq: [0, 1, 2],
    doff: [5, 6, 7, 8, 10],
    reserved: [0, 1],
    flags: [2, 0x12, 0x10, 0x18, 4],
    window: [0x400, 0x401],
    checksum: CHECKSUMS,
    urgptr: [0, 1],
  },
  udp: { length: LENGTHS.map((length) => 8 + length), checksum: CHECKSUMS },
  th: {},
};

/** The same of TCP options; which of them there are is asked as well. nft 1.0.6 has no word for their `kind`. */
export const OPTION_VALUES: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  maxseg: { length: [4, 5], size: [1_400, 1_460] },
  window: { length: [3, 4], count: [7, 1] },
  "sack-perm": { length: [2, 3] },
  sack: { length: [10, 34], left: [1, 2], right: [2, 3] },
  sack1: { left: [17, 18], right: [18, 19] },
  sack2: { left: [33], right: [34] },
  sack3: { left: [49], right: [50] },
  timestamp: { length: [10, 11], tsval: [1, 2], tsecr: [0, 2] },
  md5sig: { length: [18] },
  mptcp: { length: [4], subtype: [0, 1, 2] },
  fastopen: { length: [2, 10] },
};

/** The same of IPv6's extension headers. */
export const EXTENSION_VALUES: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  hbh: { nexthdr: PROTOCOLS, hdrlength: [0, 1] },
  rt: { nexthdr: PROTOCOLS, hdrlength: [0, 1, 2], type: [0, 4], "seg-left": [0, 1] },
  frag: {
    nexthdr: PROTOCOLS,
    reserved: [0, 1],
    "frag-off": [0, 1],
    reserved2: [0, 1],
    "more-fragments": [0, 1],
    id: [1, 2],
  },
  dst: { nexthdr: PROTOCOLS, hdrlength: [0, 1] },
};

/** Where what rules read without a name begins, and how long it is, in bits: whole bytes, as nft 1.0.6 has them right. */
export const RAW_SPANS = {
  nh: [[0, 8], [8, 8], [16, 16], [64, 8], [64, 32], [96, 32]],
  th: [[0, 16], [16, 16], [0, 8], [8, 8], [32, 32]],
} as const;

export function drawAddress(prng: Prng, family: "ip" | "ip6"): string {
  return prng.pick(family === "ip" ? IPV4 : IPV6);
}

/** Networks that hold some of the addresses. */
export function drawNetwork(prng: Prng, family: "ip" | "ip6"): Expression {
  const [addr, len] = family === "ip"
    ? prng.pick([["10.1.0.0", 16], ["10.0.0.0", 8], ["10.1.0.0", 24], ["192.0.2.0", 24]] as const)
    : prng.pick([["fd01::", 16], ["fd01::", 64], ["2001:db8::", 32]] as const);
  return { prefix: { addr, len } };
}
