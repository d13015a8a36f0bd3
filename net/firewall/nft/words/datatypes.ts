import type { DataType } from "../schema.ts";

/** What values of a type are made of, and the words for some of them. */
export interface DataTypeInfo {
  readonly base: "number" | "ipv4" | "ipv6" | "text";
  readonly bits: number;
  /** Words for values; where two words mean one value, the first is printed. */
  readonly symbols?: Readonly<Record<string, number>>;
  /** Whether its symbols are flags that can be set together. */
  readonly flags?: true;
  /** How nft prints what has no word; else decimal. */
  readonly print?: "hex8" | "hex2" | "classid" | "hour" | "date";
}

/** Protocols as /etc/protocols names them, and nft's own spellings behind those. */
const PROTOCOLS = {
  ...{ ip: 0, icmp: 1, igmp: 2, ipencap: 4, tcp: 6, udp: 17, dccp: 33, ipv6: 41, "ipv6-route": 43 },
  ...{ "ipv6-frag": 44, gre: 47, esp: 50, ah: 51, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60 },
  ...{ ospf: 89, ipip: 94, pim: 103, ipcomp: 108, vrrp: 112, l2tp: 115, sctp: 132, udplite: 136 },
  ...{ icmpv6: 58, comp: 108 },
};

/** The services that rule files name; others are written as numbers. */
const SERVICES = {
  ...{ echo: 7, discard: 9, daytime: 13, "ftp-data": 20, ftp: 21, ssh: 22, telnet: 23, smtp: 25, time: 37 },
  ...{
    whois: 43,
    tacacs: 49,
    domain: 53,
    bootps: 67,
    bootpc: 68,
    tftp: 69,
    finger: 79,
    http: 80,
    kerberos: 88,
  },
  ...{ pop3: 110, sunrpc: 111, auth: 113, nntp: 119, ntp: 123, "netbios-ns": 137, "netbios-dgm": 138 },
  ...{
    "netbios-ssn": 139,
    imap2: 143,
    imap: 143,
    snmp: 161,
    "snmp-trap": 162,
    bgp: 179,
    ldap: 389,
    https: 443,
  },
  ...{ "microsoft-ds": 445, submissions: 465, isakmp: 500, syslog: 514, printer: 515, "dhcpv6-client": 546 },
  ...{ "dhcpv6-server": 547, rtsp: 554, ipp: 631, submission: 587, ldaps: 636, "domain-s": 853, rsync: 873 },
  ...{ imaps: 993, pop3s: 995, socks: 1080, openvpn: 1194, "ms-sql-s": 1433, l2f: 1701, radius: 1812 },
  ...{
    "radius-acct": 1813,
    nfs: 2049,
    mysql: 3306,
    svn: 3690,
    "ipsec-nat-t": 4500,
    sip: 5060,
    "sip-tls": 5061,
  },
  ...{ mdns: 5353, postgresql: 5432, amqp: 5672, x11: 6000, redis: 6379, "http-alt": 8080 },
};

const DSCP = {
  ...{ cs0: 0, cs1: 8, cs2: 16, cs3: 24, cs4: 32, cs5: 40, cs6: 48, cs7: 56, df: 0, be: 0, lephb: 1 },
  ...{ af11: 10, af12: 12, af13: 14, af21: 18, af22: 20, af23: 22, af31: 26, af32: 28, af33: 30 },
  ...{ af41: 34, af42: 36, af43: 38, va: 44, ef: 46 },
};

export const DATA_TYPES: Readonly<Record<DataType, DataTypeInfo>> = {
  integer: { base: "number", bits: 64 },
  boolean: { base: "number", bits: 1 },
  string: { base: "text", bits: 128 },
  ipv4_addr: { base: "ipv4", bits: 32 },
  ipv6_addr: { base: "ipv6", bits: 128 },
  ether_addr: { base: "text", bits: 48 },
  inet_proto: { base: "number", bits: 8, symbols: PROTOCOLS },
  inet_service: { base: "number", bits: 16, symbols: SERVICES },
  mark: { base: "number", bits: 32, print: "hex8" },
  ifname: { base: "text", bits: 128 },
  iface_index: { base: "text", bits: 32 },
  devgroup: { base: "number", bits: 32, symbols: { default: 0 } },
  classid: { base: "number", bits: 32, print: "classid", symbols: { root: 0xffff_ffff, none: 0 } },
  ct_state: {
    base: "number",
    bits: 32,
    flags: true,
    symbols: { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 },
    print: "hex8",
  },
  ct_dir: { base: "number", bits: 8, symbols: { original: 0, reply: 1 } },
  ct_status: {
    base: "number",
    bits: 32,
    flags: true,
    symbols: {
      ...{ expected: 1, "seen-reply": 2, assured: 4, confirmed: 8, snat: 16, dnat: 32, dying: 512 },
    },
    print: "hex8",
  },
  tcp_flag: {
    base: "number",
    bits: 8,
    flags: true,
    symbols: { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ecn: 64, cwr: 128 },
    print: "hex2",
  },
  icmp_type: {
    base: "number",
    bits: 8,
    symbols: {
      ...{
        "echo-reply": 0,
        "destination-unreachable": 3,
        "source-quench": 4,
        redirect: 5,
        "echo-request": 8,
      },
      ...{
        "router-advertisement": 9,
        "router-solicitation": 10,
        "time-exceeded": 11,
        "parameter-problem": 12,
      },
      ...{ "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16 },
      ...{ "address-mask-request": 17, "address-mask-reply": 18 },
    },
  },
  icmp_code: {
    base: "number",
    bits: 8,
    symbols: {
      ...{ "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3 },
      ...{ "frag-needed": 4, "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13 },
    },
  },
  icmpv6_type: {
    base: "number",
    bits: 8,
    symbols: {
      ...{ "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4 },
      ...{ "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131 },
      ...{ "mld-listener-done": 132, "mld-listener-reduction": 132, "nd-router-solicit": 133 },
      ...{
        "nd-router-advert": 134,
        "nd-neighbor-solicit": 135,
        "nd-neighbor-advert": 136,
        "nd-redirect": 137,
      },
      ...{ "router-renumbering": 138, "ind-neighbor-solicit": 141, "ind-neighbor-advert": 142 },
      ...{ "mld2-listener-report": 143 },
    },
  },
  icmpv6_code: {
    base: "number",
    bits: 8,
    symbols: {
      ...{ "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4 },
      ...{ "policy-fail": 5, "reject-route": 6 },
    },
  },
  icmpx_code: {
    base: "number",
    bits: 8,
    symbols: { "no-route": 0, "port-unreachable": 1, "host-unreachable": 2, "admin-prohibited": 3 },
  },
  dscp: { base: "number", bits: 6, symbols: DSCP, print: "hex2" },
  ecn: { base: "number", bits: 2, symbols: { "not-ect": 0, ect1: 1, ect0: 2, ce: 3 } },
  nf_proto: { base: "number", bits: 8, symbols: { ipv4: 2, ipv6: 10 } },
  ether_type: {
    base: "number",
    bits: 16,
    symbols: { ip: 0x0800, arp: 0x0806, ip6: 0x86dd, "8021q": 0x8100 },
  },
  pkt_type: {
    base: "number",
    bits: 8,
    symbols: { host: 0, unicast: 0, broadcast: 1, multicast: 2, other: 3 },
  },
  fib_addrtype: {
    base: "number",
    bits: 32,
    symbols: {
      ...{ unspec: 0, unicast: 1, local: 2, broadcast: 3, anycast: 4, multicast: 5, blackhole: 6 },
      ...{ unreachable: 7, prohibit: 8 },
    },
  },
  uid: { base: "number", bits: 32, symbols: { root: 0 } },
  gid: { base: "number", bits: 32, symbols: { root: 0 } },
  time: { base: "number", bits: 32 },
  date: { base: "number", bits: 64, print: "date" },
  day: {
    base: "number",
    bits: 8,
    symbols: { Sunday: 0, Monday: 1, Tuesday: 2, Wednesday: 3, Thursday: 4, Friday: 5, Saturday: 6 },
  },
  hour: { base: "number", bits: 32, print: "hour" },
};

/** The word that is printed for a value; undefined where there is none. */
export function symbolOf(type: DataType, value: number): string | undefined {
  const symbols = DATA_TYPES[type].symbols;
  for (const word in symbols) if (symbols[word] === value) return word;
  return undefined;
}

/** The words for the flags in `value`, lowest first; undefined when some bit has no word, or there is none. */
export function flagWords(type: DataType, value: number): string[] | undefined {
  const symbols = DATA_TYPES[type].symbols!;
  const words = Object.keys(symbols).filter((word) => (value & symbols[word]!) !== 0)
    .sort((a, b) => symbols[a]! - symbols[b]!);
  const known = words.reduce((bits, word) => bits | symbols[word]!, 0);
  return words.length === 0 || known !== value ? undefined : words;
}
