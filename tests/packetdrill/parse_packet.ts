import { TcpFlag } from "../../net/wire/tcp.ts";
import { parseTcpOptions } from "./parse_tcp_options.ts";
import type { Scanner } from "./scanner.ts";
import { type IcmpAction, type IpInfo, type PacketAction, Unsupported } from "./script.ts";

const FLAGS: Readonly<Record<string, number>> = {
  F: TcpFlag.FIN,
  S: TcpFlag.SYN,
  R: TcpFlag.RST,
  P: TcpFlag.PSH,
  ".": TcpFlag.ACK,
  U: TcpFlag.URG,
  E: TcpFlag.ECE,
  W: TcpFlag.CWR,
};
const ECN: Readonly<Record<string, number>> = { noecn: 0, ect1: 1, ect0: 2, ce: 3 };

/** `< [ect0] 5000 > 80 P. 1:101(100) ack 1 win 500 <nop,nop,TS val 1 ecr 2>`, or an ICMP message. */
export function parsePacket(scanner: Scanner): PacketAction | IcmpAction {
  const line = scanner.line();
  const inbound = scanner.need(/[<>]/, '"<" or ">"')[0] === "<";
  if (scanner.sees(/(ipv4|ipv6|gre|mpls)\b/)) throw new Unsupported("encapsulated packet", line);
  const badChecksum = inbound && scanner.take(/bad checksum\b/) !== undefined;
  const ip = parseIpInfo(scanner);
  if (scanner.sees(/udp\b/)) throw new Unsupported("UDP packet", line);
  const quote = scanner.take(/\[\s*(\d+):(\d+)\((\d+)\)\s*\](?=\s*icmp)/); // some write it in front
  if (scanner.sees(/icmp/)) return parseIcmp(scanner, inbound, quote);
  const ports = scanner.take(/(\d+)\s*>\s*(\d+)/);
  const flags = parseFlags(scanner);
  const sequence = parseSequence(scanner);
  let acknowledgment = 0, window = -1, urgent = 0;
  for (;;) {
    const field = scanner.take(/(ack|win|urg)\s+(\d+)/);
    if (field === undefined) break;
    const value = Number(field[2]);
    if (value > (field[1] === "ack" ? 0xffff_ffff : 0xffff)) scanner.fail(`${field[1]} is out of range`);
    if (field[1] === "ack") acknowledgment = value;
    else if (field[1] === "win") window = value;
    else urgent = value;
  }
  const options = parseTcpOptions(scanner);
  if (scanner.sees(/\{/)) throw new Unsupported("packet mutation", line);
  if (inbound && options === undefined) scanner.fail("<...> is only for outbound packets; found it");
  if (inbound && ip.anyEct) scanner.fail("ect01 is only for outbound packets; found it");
  return {
    kind: "packet",
    inbound,
    ip,
    sourcePort: Number(ports?.[1] ?? 0),
    destinationPort: Number(ports?.[2] ?? 0),
    ...flags,
    ...sequence,
    acknowledgment,
    window,
    urgent,
    options,
    badChecksum,
  };
}

function parseFlags(scanner: Scanner): Pick<PacketAction, "flags" | "ae" | "ace"> {
  const text = scanner.need(/-(?=\s)|[A-Z.0-7]+(?=\s)/, "TCP flags")[0];
  let flags = 0, ae = false, ace = false;
  for (const letter of text === "-" ? "" : text) {
    if (letter === "A") {
      ae = true;
    } else if (/[0-7]/.test(letter)) {
      const count = Number(letter);
      ace = true;
      ae = (count & 4) !== 0;
      flags |= (count & 2 ? TcpFlag.CWR : 0) | (count & 1 ? TcpFlag.ECE : 0);
    } else {
      const bit = FLAGS[letter];
      if (bit === undefined) scanner.fail(`unknown TCP flag "${letter}"`);
      flags |= bit;
    }
  }
  return { flags, ae, ace };
}

function parseSequence(
  scanner: Scanner,
): Pick<PacketAction, "sequence" | "length" | "absoluteSequence" | "anySequence"> {
  const any = scanner.take(/\.\.\.\s*\((\d+)\)/);
  if (any !== undefined) {
    return { sequence: 0, length: Number(any[1]), absoluteSequence: false, anySequence: true };
  }
  const found = scanner.need(/(\d+)\s*:\s*(\d+)\s*\(\s*(\d+)\s*\)/, "sequence numbers");
  const [first, end, length] = found.slice(1).map(Number) as [number, number, number];
  if (first > 0xffff_ffff || end > 0xffff_ffff) scanner.fail("TCP sequence number out of range");
  if (length > 0xffff) scanner.fail("TCP payload size out of range");
  if (end !== (first + length) >>> 0) scanner.fail("inconsistent TCP sequence numbers and payload size");
  const absoluteSequence = scanner.take(/!/) !== undefined;
  return { sequence: first, length, absoluteSequence, anySequence: false };
}

function parseIpInfo(scanner: Scanner): IpInfo {
  let ecn: number | undefined, anyEct = false;
  let tos: number | undefined, ttl: number | undefined, flowLabel: number | undefined;
  for (;;) { // some write two of them
    const close =
      scanner.take(/[([](?=\s*(?:ect0|ect1|ect01|ce|noecn|tos|ttl|flowlabel|class|hlim)\b)/)?.[0] === "("
        ? /\)/
        : /\]/;
    if (!scanner.sees(/(?:ect0|ect1|ect01|ce|noecn|tos|ttl|flowlabel|class|hlim)\b/)) break;
    do {
      const word = scanner.need(/\w+/, "a word about the IP header")[0];
      if (word in ECN) ecn = ECN[word];
      else if (word === "ect01") anyEct = true;
      else {
        const value = Number(scanner.need(/0x[0-9a-fA-F]+|\d+/, `a number after "${word}"`)[0]);
        if (word === "tos" || word === "class") tos = value;
        else if (word === "ttl" || word === "hlim") ttl = value;
        else if (word === "flowlabel") flowLabel = value;
        else scanner.fail(`unknown word "${word}" about the IP header`);
      }
    } while (scanner.take(/,/) !== undefined);
    scanner.need(close, "the end of what is said about the IP header");
  }
  return { ecn, anyEct, tos, ttl, flowLabel };
}

function parseIcmp(scanner: Scanner, inbound: boolean, before: RegExpExecArray | undefined): IcmpAction {
  const version = scanner.need(/icmp(v6)?\b/, "icmp")[1] === undefined ? 4 : 6;
  const type = scanner.need(/[a-z_]+/, "an ICMP type")[0];
  const code = scanner.sees(/mtu\b|id\b/) ? undefined : scanner.take(/[a-z_]+[0-9]?/)?.[0];
  const mtu = Number(scanner.take(/mtu\s+(\d+)/)?.[1] ?? 0);
  if (scanner.sees(/id\b|\[\s*(udp|raw)\b/)) {
    throw new Unsupported("ICMP other than about TCP", scanner.line());
  }
  const quote = before ?? scanner.take(/\[\s*(\d+):(\d+)\((\d+)\)\s*\]/);
  const [sequence, length] = [Number(quote?.[1] ?? 0), Number(quote?.[3] ?? 0)];
  return { kind: "icmp", inbound, version, type, code, mtu, sequence, length };
}
