import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { IcmpType, IcmpUnreachable, writeIcmp, writeIcmpError } from "../../../net/wire/icmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { formatPacket, formatTcpFlags } from "../../../net/wire/print.ts";
import { finishTcpChecksum, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";
import { finishIcmpv6Checksum } from "../../../net/wire/icmpv6.ts";
import { sumIpv6Address } from "../../../net/wire/ipv6.ts";
import { framed, fromHex, ip6, toHex } from "./frames.ts";

const [source, destination] = [parseIpv4("10.0.0.1")!, parseIpv4("10.0.0.2")!];

function printed(hex: string, medium: "ip" | "ethernet" = "ip"): string {
  const { slab, start, end } = framed(fromHex(hex), 0xee);
  return formatPacket(slab, start, end, medium);
}

/** An IPv4 packet around `payload`. */
function ip(payload: string, fields: Partial<Ipv4Record>): string {
  const bytes = fromHex("00".repeat(20) + payload);
  writeIpv4(
    Object.assign(new Ipv4Record(), { source, destination, ...fields }),
    new Slab(bytes),
    0,
    bytes.length - 20,
  );
  return toHex(new Slab(bytes), 0, bytes.length);
}

function segment(options: string, fields: Partial<TcpRecord>, data = ""): string {
  const slab = new Slab(fromHex("00".repeat(20) + options + data));
  writeTcp(Object.assign(new TcpRecord(), { sourcePort: 1, destinationPort: 2, ...fields }), slab, 0);
  slab.bytes[12] = (20 + options.length / 2) << 2;
  finishTcpChecksum(slab, 0, slab.bytes.length, source, destination);
  return ip(toHex(slab, 0, slab.bytes.length), { protocol: PROTOCOL_TCP });
}

test("flags are written in tcpdump's order", () => {
  expect(formatTcpFlags(0)).toBe("none");
  expect(formatTcpFlags(0x12)).toBe("S.");
  expect(formatTcpFlags(0xff)).toBe("FSRP.UEW");
});

test("what cannot be read is shown with its reason and first bytes", () => {
  expect(printed("")).toBe("[Ipv4Short] , length 0");
  expect(printed("", "ethernet")).toBe("[FrameShort] , length 0");
  expect(printed("45".repeat(32))).toBe(`[Ipv4Length] ${"45".repeat(32)}, length 32`);
  expect(printed("45".repeat(33))).toBe(`[Ipv4Length] ${"45".repeat(32)}.., length 33`);
  expect(printed(ip("0001000200", { protocol: PROTOCOL_TCP })))
    .toBe("IP 10.0.0.1 > 10.0.0.2: TCP [TcpShort] 0001000200, length 5");
  expect(printed(ip("0001000200090000", { protocol: PROTOCOL_UDP })))
    .toBe("IP 10.0.0.1 > 10.0.0.2: UDP [UdpLength] 0001000200090000, length 8");
  expect(printed(ip("0800000000010000", { protocol: PROTOCOL_ICMP })))
    .toBe("IP 10.0.0.1 > 10.0.0.2: ICMP [IcmpChecksum] 0800000000010000, length 8");
});

test("other protocols, IPv6, other EtherTypes and fragments are named", () => {
  expect(printed("60" + "00".repeat(5) + "3b40" + "00".repeat(32))).toBe(
    "IP6 :: > ::: next-header 59, length 0",
  );
  expect(printed("60" + "00".repeat(39))).toMatch(/^\[Ipv6Extension\] 60/);
  expect(printed("020000000001" + "020000000002" + "88cc" + "00", "ethernet"))
    .toBe("02:00:00:00:00:02 > 02:00:00:00:00:01, ethertype 0x88cc, length 15");
  expect(printed(ip("abcd", { protocol: 47 }))).toBe("IP 10.0.0.1 > 10.0.0.2: ip-proto-47, length 2");
  expect(printed(ip("abcd", { protocol: 17, identification: 7, fragmentOffset: 1480, moreFragments: true })))
    .toBe("IP 10.0.0.1 > 10.0.0.2: fragment id 7, offset 1480+, proto 17, length 2");
});

test("a sequence range wraps, and a bad checksum shows", () => {
  const packet = segment("", { sequence: -2, flags: 0x18, window: 5 }, "616263");
  const line = "IP 10.0.0.1.1 > 10.0.0.2.2: Flags [P.], seq 4294967294:1, ack 0, win 5, length 3";
  expect(printed(packet)).toBe(line);
  expect(printed(packet.slice(0, -2) + "64")).toBe(`${line}, bad checksum`);
});

test("options are printed as they stand, known or not", () => {
  const line = "IP 10.0.0.1.1 > 10.0.0.2.2: Flags [FU], seq 0, win 0, urg 9, ";
  const options = (hex: string): string =>
    printed(segment(hex, { flags: 0x21, urgentPointer: 9 })).replace(line, "");
  expect(options("01030302")).toBe("options [nop,wscale 2], length 0");
  expect(options("2106abcdef010000")).toBe("options [unknown-33 0xabcdef01,eol], length 0");
  expect(options("2206abcdef010000")).toBe("options [tfo cookie abcdef01,eol], length 0");
  expect(options("fe04f98922020101")).toBe("options [exp-tfo cookiereq,tfo cookiereq,nop,nop], length 0");
  expect(options("0203ff01")).toBe("options [unknown-2 0xff,nop], length 0");
  expect(options("01010800")).toBe("options [nop,nop,[bad opt 8]], length 0");
  expect(options("01010304")).toBe("options [nop,nop,[bad opt 3]], length 0");
  expect(options("01030300" + "01010303")).toBe("options [nop,wscale 0,nop,nop,[bad opt 3]], length 0");
  expect(options("01010108")).toBe("options [nop,nop,nop,[bad opt 8]], length 0");
});

test("ICMP messages are told apart as tcpdump tells them", () => {
  const quoted = new Slab(fromHex(ip("0050005100000001", { protocol: PROTOCOL_TCP })));
  const error = (type: number, code: number, rest = 0): string => {
    const slab = Slab.of(36);
    writeIcmpError(type, code, rest, quoted, 0, 28, slab, 0);
    return printed(ip(toHex(slab, 0, 36), { protocol: PROTOCOL_ICMP })).slice(
      "IP 10.0.0.1 > 10.0.0.2: ICMP ".length,
    );
  };
  const lines: [string, number, number, number?][] = [
    ["net 10.0.0.2 unreachable", IcmpType.Unreachable, IcmpUnreachable.Network],
    ["host 10.0.0.2 unreachable", IcmpType.Unreachable, IcmpUnreachable.Host],
    ["10.0.0.2 protocol 6 unreachable", IcmpType.Unreachable, IcmpUnreachable.Protocol],
    ["10.0.0.2 tcp port 81 unreachable", IcmpType.Unreachable, IcmpUnreachable.Port],
    ["10.0.0.2 unreachable - need to frag (mtu 1400)", IcmpType.Unreachable, 4, 1400],
    ["host 10.0.0.2 unreachable - admin prohibited filter", IcmpType.Unreachable, IcmpUnreachable.Prohibited],
    ["10.0.0.2 unreachable - code 77", IcmpType.Unreachable, 77],
    ["source quench", IcmpType.SourceQuench, 0],
    ["time exceeded in-transit", IcmpType.TimeExceeded, 0],
    ["ip reassembly time exceeded", IcmpType.TimeExceeded, 1],
    ["parameter problem - octet 20", IcmpType.ParameterProblem, 0, 20 << 24],
    ["type-#5, code 1", IcmpType.Redirect, 1],
  ];
  for (const [line, type, code, rest] of lines) expect(error(type, code, rest)).toBe(`${line}, length 36`);
  const slab = Slab.of(8);
  writeIcmp(13, 0, 0, slab, 0, 0, slab, 0);
  expect(printed(ip(toHex(slab, 0, 8), { protocol: PROTOCOL_ICMP }))).toContain(
    "ICMP type-#13, code 0, length 8",
  );
});

/** What is printed of an ICMPv6 message, its checksum made right, behind the addresses. */
function printed6(message: string): string {
  const packet = new Slab(ip6(58, message));
  const end = packet.bytes.length;
  finishIcmpv6Checksum(packet, 40, end, sumIpv6Address(packet, 8), sumIpv6Address(packet, 24));
  const line = formatPacket(packet, 0, end, "ip");
  expect(line).toMatch(/^IP6 2001:db8::1 > 2001:db8::2: ICMP6, /);
  return line.slice("IP6 2001:db8::1 > 2001:db8::2: ICMP6, ".length);
}

test("ICMPv6: echo, errors and what they are about, neighbours and routers", () => {
  const quote = toHex(new Slab(ip6(17, "c001003500080000")), 0, 48);
  const target = "20010db8000000000000000000000007";
  expect(printed6("8000000012340001aa")).toBe("echo request, id 4660, seq 1, length 9");
  expect(printed6("8100000012340001")).toBe("echo reply, id 4660, seq 1, length 8");
  expect(printed6(`0104000000000000${quote}`))
    .toBe("destination unreachable, unreachable port, 2001:db8::2 port 53, length 56");
  expect(printed6(`0103000000000000${quote}`)).toBe(
    "destination unreachable, code 3, 2001:db8::2, length 56",
  );
  expect(printed6(`0200000000000500${quote}`)).toBe("packet too big, mtu 1280, length 56");
  expect(printed6(`0300000000000000${quote}`)).toBe("time exceeded in-transit for 2001:db8::2, length 56");
  expect(printed6(`0301000000000000${quote}`)).toBe("time exceeded (reassembly) for 2001:db8::2, length 56");
  expect(printed6(`0401000000000006${quote}`)).toBe("parameter problem, code 1 - octet 6, length 56");
  expect(printed6("8500000000000000")).toBe("router solicitation, length 8");
  expect(printed6("8600000040000708")).toBe("router advertisement, length 8");
  expect(printed6(`8700000000000000${target}`)).toBe("neighbor solicitation, who has 2001:db8::7, length 24");
  expect(printed6(`8800000060000000${target}`)).toBe("neighbor advertisement, tgt is 2001:db8::7, length 24");
  expect(printed6("8700000000000000")).toBe("neighbor solicitation, who has ?, length 8");
  expect(printed6("8f00000000000002")).toBe("multicast listener report v2, 2 group record(s), length 8");
  expect(printed6(`8200000027100000${"ff".repeat(15)}01`)).toMatch(
    /^multicast listener query, max resp delay 10000, for ffff:.*:ff01, length 24$/,
  );
  expect(printed6("8300000000000000")).toBe("multicast listener report, ?, length 8");
  expect(printed6("c800000000000000")).toBe("type-#200, code 0, length 8");
});
