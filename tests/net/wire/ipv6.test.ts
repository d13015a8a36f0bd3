import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { foldSum, sumWords } from "../../../net/wire/checksum.ts";
import { Drop } from "../../../net/wire/drop.ts";
import {
  finishIcmpv6Checksum,
  Icmpv6Record,
  Icmpv6Type,
  readIcmpv6,
  writeIcmpv6Error,
} from "../../../net/wire/icmpv6.ts";
import {
  EXTENSION_HEADERS_MAX,
  Ipv6Record,
  NEXT_FRAGMENT,
  OPTIONS_MAX,
  readIpv6,
  readQuotedIpv6,
  sumIpv6Address,
} from "../../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { NdpRecord, readNdp, writeNdp } from "../../../net/wire/ndp.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { framed, fromHex, ip6 } from "./frames.ts";

function read(packet: Uint8Array): [Drop, Ipv6Record] {
  const { slab, start, end } = framed(packet);
  const record = new Ipv6Record();
  const drop = readIpv6(slab, start, end, record);
  record.dataStart -= start;
  record.dataEnd -= start;
  record.protocolAt -= start;
  return [drop, record];
}

const PAYLOAD = "0011223344556677";
/** Destination options with these option bytes, padded to 8 by what follows. */
const header = (next: number, body: string): string =>
  next.toString(16).padStart(2, "0") + ((body.length / 2 + 2) / 8 - 1).toString(16).padStart(2, "0") + body;

test("a plain header: every field, and the end that the payload length names", () => {
  const [drop, record] = read(Uint8Array.from([...ip6(6, PAYLOAD), 9, 9, 9]));
  expect(drop).toBe(Drop.None);
  expect(record).toMatchObject({
    trafficClass: 0xb9,
    flowLabel: 0xabcde,
    hopLimit: 64,
    protocol: 6,
    dataStart: 40,
    dataEnd: 48,
    protocolAt: 6,
    problem: -1,
  });
  expect(read(ip6(6, PAYLOAD).subarray(0, 39))[0]).toBe(Drop.Ipv6Short);
  expect(read(ip6(6, PAYLOAD).subarray(0, 47))[0]).toBe(Drop.Ipv6Length);
  const other = ip6(6, PAYLOAD);
  other[0] = 0x45;
  expect(read(other)[0]).toBe(Drop.Ipv6Version);
});

test("RFC 8200 section 4: extension headers are walked in order, each by its own length", () => {
  const chain = header(60, "050200000100") + header(43, "010400000000") +
    header(60, "0300" + "00".repeat(12)) +
    header(17, "010400000000");
  const [drop, record] = read(ip6(0, chain + PAYLOAD));
  expect(drop).toBe(Drop.None);
  expect(record).toMatchObject({ protocol: 17, dataStart: 40 + chain.length / 2, protocolAt: 40 + 32 });
  for (let length = 40; length < 40 + chain.length / 2; length++) {
    const cut = ip6(0, (chain + PAYLOAD).slice(0, 2 * (length - 40)));
    expect(read(cut)[0], `${length}`).toBe(length === 40 ? Drop.Ipv6Extension : Drop.Ipv6Extension);
  }
});

test("RFC 8200 section 4.1: hop-by-hop options stand first, or are an unrecognised next header", () => {
  const chain = header(0, "010400000000") + header(6, "010400000000");
  expect(read(ip6(60, chain))).toMatchObject([Drop.Ipv6Extension, { problem: 1, problemAt: 40 }]);
});

test("RFC 5095: a routing header with segments left is refused, pointing at its type; without, it is skipped", () => {
  for (const type of ["00", "02", "04", "99"]) {
    expect(read(ip6(43, header(6, `${type}0100000000`)))).toMatchObject([
      Drop.Ipv6Routing,
      { problem: 0, problemAt: 42 },
    ]);
    expect(read(ip6(43, header(6, `${type}0000000000`) + PAYLOAD))).toMatchObject([Drop.None, {
      protocol: 6,
    }]);
  }
});

test("RFC 8200 section 4.2: an unknown option says by its first two bits what becomes of the packet", () => {
  const option = (type: string): string => header(6, `${type}0400000000`) + PAYLOAD;
  expect(read(ip6(60, option("1e")))[0]).toBe(Drop.None);
  expect(read(ip6(60, option("5e")))).toMatchObject([Drop.Ipv6Option, { problem: -1 }]);
  expect(read(ip6(60, option("9e")))).toMatchObject([Drop.Ipv6Option, { problem: 2, problemAt: 42 }]);
  expect(read(ip6(60, option("de")))).toMatchObject([Drop.Ipv6Option, { problem: 2, problemAt: 42 }]);
  expect(read(ip6(60, option("9e"), "ff02::1"))).toMatchObject([Drop.Ipv6Option, { problem: 2 }]);
  expect(read(ip6(60, option("de"), "ff02::1"))).toMatchObject([Drop.Ipv6Option, { problem: -1 }]);
  expect(read(ip6(0, option("de")))).toMatchObject([Drop.Ipv6Option, { problem: 2, problemAt: 42 }]);
});

test("limits: extension headers, options in one, padding", () => {
  const chain = (count: number): string => {
    let text = "";
    for (let at = 1; at <= count; at++) text += header(at === count ? 6 : 60, "010400000000");
    return text;
  };
  expect(read(ip6(60, chain(EXTENSION_HEADERS_MAX) + PAYLOAD))[0]).toBe(Drop.None);
  expect(read(ip6(60, chain(EXTENSION_HEADERS_MAX + 1) + PAYLOAD))[0]).toBe(Drop.Ipv6Extension);
  const options = (count: number): string => {
    const body = "1e00".repeat(count);
    const padding = (14 - (count * 2) % 8) % 8;
    return header(6, body + "00".repeat(padding)) + PAYLOAD;
  };
  expect(read(ip6(60, options(OPTIONS_MAX)))[0]).toBe(Drop.None);
  expect(read(ip6(60, options(OPTIONS_MAX + 1)))[0]).toBe(Drop.Ipv6Extension);
  const padded = (bytes: number): string =>
    header(6, "1e0" + (14 - bytes - 2).toString(16) + "00".repeat(12 - bytes) + "00".repeat(bytes));
  expect(read(ip6(60, padded(7)))[0]).toBe(Drop.None);
  expect(read(ip6(60, header(6, "1e0400000000" + "0106000000000000")))[0]).toBe(Drop.Ipv6Extension); // 8 in PadN
  expect(read(ip6(60, header(6, "010401000000")))[0]).toBe(Drop.Ipv6Extension); // padding that says something
  expect(read(ip6(60, header(6, "1e05000000000")))[0]).toBe(Drop.Ipv6Extension); // beyond its header
});

test("RFC 8200 section 4.5 and RFC 6946: fragments are told, and one that is everything is no fragment", () => {
  const fragment = (offset: number, more: number): string =>
    "1100" + (offset | more).toString(16).padStart(4, "0") + "89abcdef" + PAYLOAD;
  expect(read(ip6(44, fragment(0, 1)))).toMatchObject([Drop.None, {
    protocol: NEXT_FRAGMENT,
    fragmentProtocol: 17,
    fragmentOffset: 0,
    moreFragments: true,
    identification: 0x89abcdef | 0,
    dataStart: 48,
  }]);
  expect(read(ip6(44, fragment(1480, 0)))).toMatchObject([Drop.None, {
    protocol: NEXT_FRAGMENT,
    fragmentOffset: 1480,
    moreFragments: false,
  }]);
  expect(read(ip6(44, fragment(0, 0)))).toMatchObject([Drop.None, {
    protocol: 17,
    dataStart: 48,
    protocolAt: 40,
  }]);
  expect(read(ip6(44, fragment(0, 1) + "00"))).toMatchObject([Drop.Ipv6Fragment, {
    problem: 0,
    problemAt: 4,
  }]);
});

test("an ICMPv6 error quotes no more than the least MTU holds, and its quotation reads back", () => {
  const tcp = "1f90c001" + "12345678" + "00".repeat(2000);
  const quoted = new Slab(ip6(60, header(6, "010400000000") + tcp));
  const slab = Slab.of(3000);
  const end = writeIcmpv6Error(Icmpv6Type.PacketTooBig, 0, 1400, quoted, 0, quoted.bytes.length, slab, 40);
  expect(end).toBe(1280);
  finishIcmpv6Checksum(slab, 40, end, 11, 22);
  const icmp = new Icmpv6Record();
  expect(readIcmpv6(slab, 40, end, 11, 23, icmp)).toBe(Drop.IcmpChecksum);
  expect(readIcmpv6(slab, 40, end, 11, 22, icmp)).toBe(Drop.None);
  expect(icmp).toMatchObject({
    type: 2,
    rest: 1400,
    hasQuote: true,
    quoteSourcePort: 0x1f90,
    quoteDestinationPort: 0xc001,
    quoteSequence: 0x12345678,
  });
  expect(icmp.quote.protocol).toBe(6);
});

test("a quotation of a later fragment has no ports; one cut in its headers has no protocol to speak of", () => {
  const record = new Ipv6Record();
  const later = new Slab(ip6(44, "06000008" + "00000001" + PAYLOAD));
  expect(readQuotedIpv6(later, 0, later.bytes.length, record)).toBe(Drop.None);
  expect(record).toMatchObject({ protocol: 6, fragmentOffset: 8 });
  const cut = new Slab(ip6(60, "0600"));
  expect(readQuotedIpv6(cut, 0, cut.bytes.length, record)).toBe(Drop.None);
  expect(record.protocol).toBe(60);
  expect(readQuotedIpv6(cut, 0, 39, record)).toBe(Drop.Ipv6Short);
});

test("RFC 4861 section 6.1.2, 7.1: options of no length, wrong codes and short messages are refused", () => {
  const ndp = (hex: string): Drop => {
    const { slab, start, end } = framed(fromHex(hex));
    return readNdp(slab, start, end, new NdpRecord());
  };
  const solicitation = "8700000000000000" + "00".repeat(16);
  expect(ndp(solicitation)).toBe(Drop.None);
  expect(ndp(solicitation.slice(2 * 1))).not.toBe(Drop.None);
  expect(ndp(solicitation + "0101020000000001")).toBe(Drop.None);
  expect(ndp(solicitation + "0100020000000001")).toBe(Drop.NdpMalformed);
  expect(ndp(solicitation + "0102020000000001")).toBe(Drop.NdpMalformed);
  expect(ndp(solicitation + "01")).toBe(Drop.NdpMalformed);
  expect(ndp("8701" + solicitation.slice(4))).toBe(Drop.NdpMalformed);
  expect(ndp("86000000" + "00".repeat(11))).toBe(Drop.NdpMalformed);
});

test("a router advertisement: lifetimes, MTU, prefixes and name servers, as many as are taken", () => {
  const prefix = "0304" + "40c0" + "00000e10" + "00000708" + "00000000" + "20010db8000700000000000000000000";
  const rdnss = "1903" + "0000" + "00000258" + "20010db8000000000000000000000053";
  const { slab, start, end } = framed(
    fromHex(
      "86000000" + "40800708" + "00007530" + "000003e8" + "0101021122334455" + "05010000000005dc" +
        prefix.repeat(20) + rdnss,
    ),
  );
  const record = new NdpRecord();
  expect(readNdp(slab, start, end, record)).toBe(Drop.None);
  expect(record).toMatchObject({
    hopLimit: 64,
    routerLifetimeS: 1800,
    reachableMs: 30_000,
    retransmitMs: 1000,
    mtu: 1500,
    hasLink: true,
    linkHi: 0x0211,
    linkLo: 0x22334455,
    prefixCount: 16,
    serverCount: 1,
  });
  expect(record.prefixes[15]).toMatchObject({
    prefixLength: 64,
    onLink: true,
    autonomous: true,
    validS: 3600,
    preferredS: 1800,
  });
  expect(record.serverLifetimesS[0]).toBe(600);
  expect(slab.bytes[record.servers[0]! + 15]).toBe(0x53);
});

test("what writeNdp writes is read back, and printed in tcpdump's words", () => {
  const slab = Slab.of(100);
  const at = 40;
  const end = writeNdp(Icmpv6Type.NeighborAdvertisement, 0x60, 0x0200, 7, slab, at);
  slab.bytes.set(ip6(58, "00".repeat(end - at)).subarray(0, 40));
  parseIpv6("2001:db8::1")!.forEach((word, index) => slab.view.setInt32(at + 8 + 4 * index, word));
  finishIcmpv6Checksum(slab, at, end, sumIpv6Address(slab, 8), sumIpv6Address(slab, 24));
  const pseudo = sumIpv6Address(slab, 8) + sumIpv6Address(slab, 24) + 58 + (end - at);
  expect(foldSum(sumWords(slab, at, end, pseudo))).toBe(0xffff);
  const record = new NdpRecord();
  expect(readNdp(slab, at, end, record)).toBe(Drop.None);
  expect(record).toMatchObject({
    type: 136,
    flags: 0x60,
    hasLink: true,
    linkHi: 0x0200,
    linkLo: 7,
    targetAt: 48,
  });
  expect(formatPacket(slab, 0, end, "ip")).toBe(
    "IP6 2001:db8::1 > 2001:db8::2: ICMP6, neighbor advertisement, tgt is 2001:db8::1, length 32",
  );
});
