import type { Slab } from "../../base/slab.ts";
import type { Medium } from "../link/link.ts";
import { formatIpv4 } from "./address.ts";
import { ArpOperation, ArpRecord, readArp } from "./arp.ts";
import { foldSum } from "./checksum.ts";
import { Drop, dropNames } from "./drop.ts";
import { ETHER_ARP, ETHER_IPV4, ETHER_IPV6, EthernetRecord, readEthernet } from "./ethernet.ts";
import { IcmpRecord, IcmpTimeExceeded, IcmpType, IcmpUnreachable, readIcmp } from "./icmp.ts";
import { Icmpv6Record, Icmpv6Type, Icmpv6Unreachable, readIcmpv6 } from "./icmpv6.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, readIpv4 } from "./ipv4.ts";
import { Ipv6Record, NEXT_FRAGMENT, PROTOCOL_ICMPV6, readIpv6, sumIpv6Address } from "./ipv6.ts";
import { formatIpv6 } from "./ipv6_address.ts";
import { formatMac } from "./mac.ts";
import { MldType } from "./mld.ts";
import { readTcp, TCP_HEADER_LENGTH, tcpChecksumOk, TcpFlag, TcpRecord } from "./tcp.ts";
import { TcpOption } from "./tcp_options.ts";
import { readUdp, udpChecksumOk, UdpRecord } from "./udp.ts";

/** Bytes shown of a packet that could not be read. */
const MALFORMED_BYTES_SHOWN = 32;

/** Bits and letters in tcpdump's order. */
const FLAG_LETTERS = [
  [TcpFlag.FIN, "F"],
  [TcpFlag.SYN, "S"],
  [TcpFlag.RST, "R"],
  [TcpFlag.PSH, "P"],
  [TcpFlag.ACK, "."],
  [TcpFlag.URG, "U"],
  [TcpFlag.ECE, "E"],
  [TcpFlag.CWR, "W"],
] as const;

/**
 * The packet in `[start, end)` on one line, as `tcpdump -nn -S -t` prints it, for logs and for the
 * messages of failed tests. What cannot be read is shown as its drop reason and first bytes. Allocates
 * freely: not for hot paths.
 *
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * import { formatPacket } from "@torpor/torpor/net/wire/print.ts";
 * console.log(formatPacket(Slab.of(3), 0, 3, "ip")); // [Ipv4Short] 000000, length 3
 * ```
 */
export function formatPacket(slab: Slab, start: number, end: number, medium: Medium): string {
  if (medium === "ip") return formatIp(slab, start, end);
  const ethernet = new EthernetRecord();
  const drop = readEthernet(slab, start, end, ethernet);
  if (drop !== Drop.None) return malformed(drop, slab, start, end);
  if (ethernet.etherType === ETHER_ARP) return formatArp(slab, ethernet.dataStart, end);
  if (ethernet.etherType === ETHER_IPV4 || ethernet.etherType === ETHER_IPV6) {
    return formatIp(slab, ethernet.dataStart, end);
  }
  const from = formatMac(ethernet.sourceHi, ethernet.sourceLo);
  const to = formatMac(ethernet.destinationHi, ethernet.destinationLo);
  const etherType = ethernet.etherType.toString(16).padStart(4, "0");
  return `${from} > ${to}, ethertype 0x${etherType}, length ${end - start}`;
}

/** The flags as tcpdump writes them: `S.` for SYN and ACK, `none` for none. */
export function formatTcpFlags(flags: number): string {
  return FLAG_LETTERS.map(([bit, letter]) => flags & bit ? letter : "").join("") || "none";
}

function malformed(drop: Drop, slab: Slab, start: number, end: number): string {
  const shown = slab.bytes.subarray(start, Math.min(end, start + MALFORMED_BYTES_SHOWN));
  const hex = Array.from(shown, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `[${dropNames[drop]}] ${hex}${end - start > shown.length ? ".." : ""}, length ${end - start}`;
}

function formatArp(slab: Slab, start: number, end: number): string {
  const arp = new ArpRecord();
  const drop = readArp(slab, start, end, arp);
  if (drop !== Drop.None) return malformed(drop, slab, start, end);
  const sender = formatIpv4(arp.senderIp);
  return arp.operation === ArpOperation.Request
    ? `ARP, Request who-has ${formatIpv4(arp.targetIp)} tell ${sender}, length ${end - start}`
    : `ARP, Reply ${sender} is-at ${formatMac(arp.senderHi, arp.senderLo)}, length ${end - start}`;
}

/** What the lines of both families share: who speaks to whom, their checksums' share, and the payload. */
interface Shown {
  readonly family: "IP" | "IP6";
  readonly source: string;
  readonly destination: string;
  readonly sourceSum: number;
  readonly destinationSum: number;
  readonly start: number;
  readonly end: number;
}

function formatIp(slab: Slab, start: number, end: number): string {
  if (end > start && slab.bytes[start]! >>> 4 === 6) return formatIp6(slab, start, end);
  const ip = new Ipv4Record();
  const drop = readIpv4(slab, start, end, ip);
  if (drop !== Drop.None) return malformed(drop, slab, start, end);
  const { protocol, fragmentOffset, moreFragments, dataStart, dataEnd } = ip;
  const source = formatIpv4(ip.source);
  const destination = formatIpv4(ip.destination);
  if (fragmentOffset > 0 || moreFragments) {
    const id = `id ${ip.identification}, offset ${fragmentOffset}${moreFragments ? "+" : ""}`;
    return `IP ${source} > ${destination}: fragment ${id}, proto ${protocol}, length ${dataEnd - dataStart}`;
  }
  const shown: Shown = {
    family: "IP",
    source,
    destination,
    sourceSum: ip.source,
    destinationSum: ip.destination,
    start: dataStart,
    end: dataEnd,
  };
  if (protocol === PROTOCOL_TCP) return formatTcp(slab, shown);
  if (protocol === PROTOCOL_UDP) return formatUdp(slab, shown);
  if (protocol === PROTOCOL_ICMP) {
    return `IP ${source} > ${destination}: ICMP ${formatIcmp(slab, dataStart, dataEnd)}`;
  }
  return `IP ${source} > ${destination}: ip-proto-${protocol}, length ${dataEnd - dataStart}`;
}

function formatIp6(slab: Slab, start: number, end: number): string {
  const ip = new Ipv6Record();
  const drop = readIpv6(slab, start, end, ip);
  if (drop !== Drop.None) return malformed(drop, slab, start, end);
  const { protocol, dataStart, dataEnd } = ip;
  const source = formatIpv6At(slab, start + 8);
  const destination = formatIpv6At(slab, start + 24);
  if (protocol === NEXT_FRAGMENT) {
    const id = `id ${ip.identification >>> 0}, offset ${ip.fragmentOffset}${ip.moreFragments ? "+" : ""}`;
    return `IP6 ${source} > ${destination}: frag ${id}, next-header ${ip.fragmentProtocol}, ` +
      `length ${dataEnd - dataStart}`;
  }
  const shown: Shown = {
    family: "IP6",
    source,
    destination,
    sourceSum: foldSum(sumIpv6Address(slab, start + 8)),
    destinationSum: foldSum(sumIpv6Address(slab, start + 24)),
    start: dataStart,
    end: dataEnd,
  };
  if (protocol === PROTOCOL_TCP) return formatTcp(slab, shown);
  if (protocol === PROTOCOL_UDP) return formatUdp(slab, shown);
  if (protocol === PROTOCOL_ICMPV6) return formatIcmp6(slab, shown);
  return `IP6 ${source} > ${destination}: next-header ${protocol}, length ${dataEnd - dataStart}`;
}

function formatIpv6At(slab: Slab, at: number): string {
  const { view } = slab;
  return formatIpv6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}

function formatTcp(slab: Slab, shown: Shown): string {
  const { family, source, destination, start, end } = shown;
  const tcp = new TcpRecord();
  const drop = readTcp(slab, start, end, tcp);
  if (drop !== Drop.None) {
    return `${family} ${source} > ${destination}: TCP ${malformed(drop, slab, start, end)}`;
  }
  const length = tcp.dataEnd - tcp.dataStart;
  const parts = [`Flags [${formatTcpFlags(tcp.flags)}]`];
  const first = tcp.sequence >>> 0;
  if (length > 0) parts.push(`seq ${first}:${(first + length) >>> 0}`);
  else if (tcp.flags & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)) parts.push(`seq ${first}`);
  if (tcp.flags & TcpFlag.ACK) parts.push(`ack ${tcp.acknowledgment >>> 0}`);
  parts.push(`win ${tcp.window}`);
  if (tcp.flags & TcpFlag.URG) parts.push(`urg ${tcp.urgentPointer}`);
  const options = formatTcpOptions(slab, start + TCP_HEADER_LENGTH, tcp.dataStart);
  if (options !== "") parts.push(`options [${options}]`);
  parts.push(`length ${length}`);
  if (!tcpChecksumOk(slab, start, end, shown.sourceSum, shown.destinationSum)) parts.push("bad checksum");
  return `${family} ${source}.${tcp.sourcePort} > ${destination}.${tcp.destinationPort}: ${parts.join(", ")}`;
}

/** The options in `[start, end)` as they stand there, padding included. */
function formatTcpOptions(slab: Slab, start: number, end: number): string {
  const names: string[] = [];
  let at = start;
  while (at < end) {
    const kind = slab.bytes[at]!;
    if (kind <= TcpOption.Nop) {
      names.push(kind === TcpOption.Nop ? "nop" : "eol");
      if (kind === TcpOption.End) break;
      at++;
      continue;
    }
    const length = at + 1 < end ? slab.bytes[at + 1]! : 0;
    if (length < 2 || at + length > end) {
      names.push(`[bad opt ${kind}]`);
      break;
    }
    names.push(formatTcpOption(slab.view, at, kind, length));
    at += length;
  }
  return names.join(",");
}

function formatTcpOption(view: DataView, at: number, kind: number, length: number): string {
  if (kind === TcpOption.Mss && length === 4) return `mss ${view.getUint16(at + 2)}`;
  if (kind === TcpOption.WindowScale && length === 3) return `wscale ${view.getUint8(at + 2)}`;
  if (kind === TcpOption.SackPermitted && length === 2) return "sackOK";
  if (kind === TcpOption.Timestamp && length === 10) {
    return `TS val ${view.getUint32(at + 2)} ecr ${view.getUint32(at + 6)}`;
  }
  if (kind === TcpOption.FastOpen) return `tfo ${formatCookie(view, at + 2, length - 2)}`;
  if (kind === TcpOption.Experiment && length >= 4 && view.getUint16(at + 2) === 0xf989) {
    return `exp-tfo ${formatCookie(view, at + 4, length - 4)}`;
  }
  if (kind === TcpOption.Sack && length > 2 && length % 8 === 2) {
    let text = `sack ${(length - 2) / 8} `;
    for (let edge = at + 2; edge < at + length; edge += 8) {
      text += `{${view.getUint32(edge)}:${view.getUint32(edge + 4)}}`;
    }
    return text;
  }
  let hex = "";
  for (let byte = at + 2; byte < at + length; byte++) {
    hex += view.getUint8(byte).toString(16).padStart(2, "0");
  }
  return `unknown-${kind}${hex === "" ? "" : ` 0x${hex}`}`;
}

function formatUdp(slab: Slab, shown: Shown): string {
  const { family, source, destination, sourceSum, destinationSum, start, end } = shown;
  const udp = new UdpRecord();
  const drop = readUdp(slab, start, end, udp);
  if (drop !== Drop.None) {
    return `${family} ${source} > ${destination}: UDP ${malformed(drop, slab, start, end)}`;
  }
  const absent = family === "IP6" && slab.view.getUint16(start + 6) === 0; // RFC 8200 section 8.1
  const right = !absent && udpChecksumOk(slab, start, udp.dataEnd, sourceSum, destinationSum);
  return `${family} ${source}.${udp.sourcePort} > ${destination}.${udp.destinationPort}: UDP, length ` +
    `${udp.dataEnd - udp.dataStart}${right ? "" : ", bad checksum"}`;
}

function formatIcmp6(
  slab: Slab,
  { source, destination, sourceSum, destinationSum, start, end }: Shown,
): string {
  const icmp = new Icmpv6Record();
  const drop = readIcmpv6(slab, start, end, sourceSum, destinationSum, icmp);
  const text = drop === Drop.None
    ? `${formatIcmp6Message(slab, icmp, start)}, length ${end - start}`
    : malformed(drop, slab, start, end);
  return `IP6 ${source} > ${destination}: ICMP6, ${text}`;
}

function formatIcmp6Message(slab: Slab, icmp: Icmpv6Record, start: number): string {
  const about = (): string => formatIpv6At(slab, icmp.quote.headerStart + 24);
  const hasTarget = icmp.dataEnd - icmp.dataStart >= 16;
  const target = (): string => hasTarget ? formatIpv6At(slab, icmp.dataStart) : "?";
  switch (slab.bytes[start]) {
    case Icmpv6Type.Echo:
      return `echo request, id ${icmp.rest >>> 16}, seq ${icmp.rest & 0xffff}`;
    case Icmpv6Type.EchoReply:
      return `echo reply, id ${icmp.rest >>> 16}, seq ${icmp.rest & 0xffff}`;
    case Icmpv6Type.Unreachable:
      return icmp.code === Icmpv6Unreachable.Port
        ? `destination unreachable, unreachable port, ${about()} port ${icmp.quoteDestinationPort}`
        : `destination unreachable, code ${icmp.code}, ${about()}`;
    case Icmpv6Type.PacketTooBig:
      return `packet too big, mtu ${icmp.rest >>> 0}`;
    case Icmpv6Type.TimeExceeded:
      return `time exceeded ${icmp.code === 1 ? "(reassembly)" : "in-transit"} for ${about()}`;
    case Icmpv6Type.ParameterProblem:
      return `parameter problem, code ${icmp.code} - octet ${icmp.rest >>> 0}`;
    case Icmpv6Type.RouterSolicitation:
      return "router solicitation";
    case Icmpv6Type.RouterAdvertisement:
      return "router advertisement";
    case Icmpv6Type.NeighborSolicitation:
      return `neighbor solicitation, who has ${target()}`;
    case Icmpv6Type.NeighborAdvertisement:
      return `neighbor advertisement, tgt is ${target()}`;
    case MldType.Query:
      return `multicast listener query, max resp delay ${icmp.rest >>> 16}, for ${target()}`;
    case MldType.Report1:
      return `multicast listener report, ${target()}`;
    case MldType.Done1:
      return `multicast listener done, ${target()}`;
    case MldType.Report2:
      return `multicast listener report v2, ${icmp.rest & 0xffff} group record(s)`;
    default:
      return `type-#${slab.bytes[start]}, code ${icmp.code}`;
  }
}

function formatIcmp(slab: Slab, start: number, end: number): string {
  const icmp = new IcmpRecord();
  const drop = readIcmp(slab, start, end, icmp);
  return drop === Drop.None
    ? `${formatIcmpMessage(icmp)}, length ${end - start}`
    : malformed(drop, slab, start, end);
}

function formatIcmpMessage(icmp: IcmpRecord): string {
  switch (icmp.type) {
    case IcmpType.Echo:
      return `echo request, id ${icmp.rest >>> 16}, seq ${icmp.rest & 0xffff}`;
    case IcmpType.EchoReply:
      return `echo reply, id ${icmp.rest >>> 16}, seq ${icmp.rest & 0xffff}`;
    case IcmpType.Unreachable:
      return formatUnreachable(icmp);
    case IcmpType.SourceQuench:
      return "source quench";
    case IcmpType.TimeExceeded:
      return icmp.code === IcmpTimeExceeded.Reassembly
        ? "ip reassembly time exceeded"
        : "time exceeded in-transit";
    case IcmpType.ParameterProblem:
      return `parameter problem - octet ${icmp.rest >>> 24}`;
    default:
      return `type-#${icmp.type}, code ${icmp.code}`;
  }
}

function formatUnreachable(icmp: IcmpRecord): string {
  const { quote } = icmp;
  const destination = formatIpv4(quote.destination);
  switch (icmp.code) {
    case IcmpUnreachable.Network:
      return `net ${destination} unreachable`;
    case IcmpUnreachable.Host:
      return `host ${destination} unreachable`;
    case IcmpUnreachable.Protocol:
      return `${destination} protocol ${quote.protocol} unreachable`;
    case IcmpUnreachable.Port: {
      const name = quote.protocol === PROTOCOL_TCP
        ? "tcp"
        : quote.protocol === PROTOCOL_UDP
        ? "udp"
        : `protocol ${quote.protocol}`;
      return `${destination} ${name} port ${icmp.quoteDestinationPort} unreachable`;
    }
    case IcmpUnreachable.FragmentationNeeded:
      return `${destination} unreachable - need to frag (mtu ${icmp.rest & 0xffff})`;
    case IcmpUnreachable.Prohibited:
      return `host ${destination} unreachable - admin prohibited filter`;
    default:
      return `${destination} unreachable - code ${icmp.code}`;
  }
}

function formatCookie(view: DataView, at: number, length: number): string {
  if (length === 0) return "cookiereq";
  let hex = "";
  for (let byte = 0; byte < length; byte++) hex += view.getUint8(at + byte).toString(16).padStart(2, "0");
  return `cookie ${hex}`;
}
