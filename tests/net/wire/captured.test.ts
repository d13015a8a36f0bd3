import { expect, test } from "vitest";
import { formatIpv4 } from "../../../net/wire/address.ts";
import { ArpRecord, readArp, writeArp } from "../../../net/wire/arp.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { ETHER_ARP, EthernetRecord, readEthernet, writeEthernet } from "../../../net/wire/ethernet.ts";
import { IcmpRecord, readIcmp, writeIcmpEchoReply, writeIcmpError } from "../../../net/wire/icmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, readIpv4, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { formatMac } from "../../../net/wire/mac.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { finishTcpChecksum, readTcp, tcpChecksumOk, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";
import { finishUdpChecksum, readUdp, udpChecksumOk, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { captured } from "./captured.ts";
import { type Framed, framed, fromHex, toHex } from "./frames.ts";

/** What our readers make of a frame, named and written as tshark does. */
function readAll({ slab, start, end }: Framed): Record<string, string> {
  const hex = (number: number, digits: number): string => `0x${number.toString(16).padStart(digits, "0")}`;
  const bit = (flag: boolean): string => (flag ? "1" : "0");
  const unsigned = (edges: Int32Array, count: number, first: number): string =>
    Array.from(edges.subarray(0, 2 * count)).filter((_, at) => at % 2 === first).map((edge) => edge >>> 0)
      .join();

  const ethernet = new EthernetRecord();
  expect(readEthernet(slab, start, end, ethernet)).toBe(Drop.None);
  const fields: Record<string, string> = {
    "eth.dst": formatMac(ethernet.destinationHi, ethernet.destinationLo),
    "eth.src": formatMac(ethernet.sourceHi, ethernet.sourceLo),
    "eth.type": hex(ethernet.etherType, 4),
  };
  if (ethernet.etherType === ETHER_ARP) {
    const arp = new ArpRecord();
    expect(readArp(slab, ethernet.dataStart, end, arp)).toBe(Drop.None);
    return Object.assign(fields, {
      "arp.opcode": `${arp.operation}`,
      "arp.src.hw_mac": formatMac(arp.senderHi, arp.senderLo),
      "arp.src.proto_ipv4": formatIpv4(arp.senderIp),
      "arp.dst.hw_mac": formatMac(arp.targetHi, arp.targetLo),
      "arp.dst.proto_ipv4": formatIpv4(arp.targetIp),
    });
  }

  const ip = new Ipv4Record();
  expect(readIpv4(slab, ethernet.dataStart, end, ip)).toBe(Drop.None);
  const headers = [ip];
  const icmp = new IcmpRecord();
  if (ip.protocol === PROTOCOL_ICMP) {
    expect(readIcmp(slab, ip.dataStart, ip.dataEnd, icmp)).toBe(Drop.None);
    Object.assign(fields, { "icmp.type": `${icmp.type}`, "icmp.code": `${icmp.code}` });
    if (icmp.hasQuote) headers.push(icmp.quote);
    else Object.assign(fields, { "icmp.ident": `${icmp.rest >>> 16}`, "icmp.seq": `${icmp.rest & 0xffff}` });
  } else if (ip.protocol === PROTOCOL_TCP) {
    const tcp = new TcpRecord();
    expect(readTcp(slab, ip.dataStart, ip.dataEnd, tcp)).toBe(Drop.None);
    expect(tcpChecksumOk(slab, ip.dataStart, ip.dataEnd, ip.source, ip.destination)).toBe(true);
    Object.assign(fields, {
      "tcp.srcport": `${tcp.sourcePort}`,
      "tcp.dstport": `${tcp.destinationPort}`,
      "tcp.seq_raw": `${tcp.sequence >>> 0}`,
      "tcp.ack_raw": `${tcp.acknowledgment >>> 0}`,
      "tcp.flags": hex(tcp.flags, 4),
      "tcp.window_size_value": `${tcp.window}`,
      "tcp.urgent_pointer": `${tcp.urgentPointer}`,
      "tcp.hdr_len": `${tcp.dataStart - ip.dataStart}`,
      "tcp.len": `${tcp.dataEnd - tcp.dataStart}`,
    });
    if (tcp.mss > 0) fields["tcp.options.mss_val"] = `${tcp.mss}`;
    if (tcp.windowScale >= 0) fields["tcp.options.wscale.shift"] = `${tcp.windowScale}`;
    if (tcp.sackPermitted) fields["tcp.options.sack_perm"] = "0402";
    if (tcp.hasTimestamp) {
      fields["tcp.options.timestamp.tsval"] = `${tcp.tsVal >>> 0}`;
      fields["tcp.options.timestamp.tsecr"] = `${tcp.tsEcr >>> 0}`;
    }
    if (tcp.sackCount > 0) {
      fields["tcp.options.sack_le"] = unsigned(tcp.sackEdges, tcp.sackCount, 0);
      fields["tcp.options.sack_re"] = unsigned(tcp.sackEdges, tcp.sackCount, 1);
    }
  }
  const last = headers.at(-1)!; // tshark reads on into what an error quotes
  if (last.protocol === 17) {
    const udp = new UdpRecord();
    expect(readUdp(slab, last.dataStart, last.dataEnd, udp)).toBe(Drop.None);
    expect(udpChecksumOk(slab, last.dataStart, udp.dataEnd, last.source, last.destination)).toBe(true);
    Object.assign(fields, {
      "udp.srcport": `${udp.sourcePort}`,
      "udp.dstport": `${udp.destinationPort}`,
      "udp.length": `${udp.dataEnd - udp.dataStart + 8}`,
    });
    if (last === icmp.quote) {
      expect([icmp.quoteSourcePort, icmp.quoteDestinationPort]).toEqual([
        udp.sourcePort,
        udp.destinationPort,
      ]);
    }
  }
  const all = (show: (header: Ipv4Record) => string): string => headers.map(show).join();
  return Object.assign(fields, {
    "ip.src": all((header) => formatIpv4(header.source)),
    "ip.dst": all((header) => formatIpv4(header.destination)),
    "ip.proto": all((header) => `${header.protocol}`),
    "ip.dsfield": all((header) => hex(header.typeOfService, 2)),
    "ip.ttl": all((header) => `${header.timeToLive}`),
    "ip.id": all((header) => hex(header.identification, 4)),
    "ip.flags.df": all((header) => bit(header.dontFragment)),
    "ip.flags.mf": all((header) => bit(header.moreFragments)),
    "ip.frag_offset": all((header) => `${header.fragmentOffset}`),
    "ip.hdr_len": all((header) => `${header.dataStart - header.headerStart}`),
    "ip.len": all((header) => `${header.dataEnd - header.headerStart}`),
  });
}

/** The frame again, from nothing but what the readers found in it and its payload. */
function rewrite({ slab, start, end }: Framed): string {
  const out = framed(new Uint8Array(end - start));
  const ethernet = new EthernetRecord();
  readEthernet(slab, start, end, ethernet);
  const network = writeEthernet(ethernet, out.slab, out.start);
  if (ethernet.etherType === ETHER_ARP) {
    const arp = new ArpRecord();
    readArp(slab, ethernet.dataStart, end, arp);
    return toHex(out.slab, out.start, writeArp(arp, out.slab, network));
  }
  const ip = new Ipv4Record();
  readIpv4(slab, ethernet.dataStart, end, ip);
  const at = writeIpv4(ip, out.slab, network, ip.dataEnd - ip.dataStart);
  const copy = (from: number, to: number): number => {
    out.slab.bytes.set(slab.bytes.subarray(from, ip.dataEnd), to);
    return to + ip.dataEnd - from;
  };
  let done: number;
  if (ip.protocol === PROTOCOL_ICMP) {
    const icmp = new IcmpRecord();
    readIcmp(slab, ip.dataStart, ip.dataEnd, icmp);
    done = icmp.hasQuote
      ? writeIcmpError(icmp.type, icmp.code, icmp.rest, slab, icmp.dataStart, icmp.dataEnd, out.slab, at)
      : writeIcmpEchoReply(icmp, slab, out.slab, at);
  } else if (ip.protocol === PROTOCOL_TCP) {
    const tcp = new TcpRecord();
    readTcp(slab, ip.dataStart, ip.dataEnd, tcp);
    done = copy(tcp.dataStart, writeTcp(tcp, out.slab, at));
    finishTcpChecksum(out.slab, at, done, ip.source, ip.destination);
  } else {
    const udp = new UdpRecord();
    readUdp(slab, ip.dataStart, ip.dataEnd, udp);
    done = copy(udp.dataStart, writeUdp(udp, out.slab, at, udp.dataEnd - udp.dataStart));
    finishUdpChecksum(out.slab, at, done, ip.source, ip.destination);
  }
  return toHex(out.slab, out.start, done);
}

for (const { name, hex, line, fields } of captured) {
  const frame = framed(fromHex(hex));

  test(`${name}: tshark reads the same`, () => {
    expect(readAll(frame)).toEqual(fields);
  });

  test(`${name}: tcpdump prints the same`, () => {
    expect(formatPacket(frame.slab, frame.start, frame.end, "ethernet")).toBe(line);
    if (!line.startsWith("ARP")) {
      expect(formatPacket(frame.slab, frame.start + 14, frame.end, "ip")).toBe(line);
    }
  });

  if (!name.startsWith("ping")) { // ours to answer, not to send
    test(`${name}: written again, byte for byte as Linux wrote it`, () => {
      expect(rewrite(frame)).toBe(hex);
    });
  }
}
