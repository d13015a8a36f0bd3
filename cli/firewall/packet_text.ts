import { Slab } from "../../base/slab.ts";
import { DATA_TYPES } from "../../net/firewall/nft/words/datatypes.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { foldSum, sumWords } from "../../net/wire/checksum.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { UsageError } from "../command.ts";

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 };
const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 1: 2, 58: 2 };
/** Bytes of the headers in front of the data. */
const HEADER: Readonly<Record<number, number>> = { 6: 20, 17: 8, 1: 8, 58: 8 };

interface End {
  /** 4 bytes or 16. */
  readonly address: readonly number[];
  readonly port: number | undefined;
}

/**
 * The IP packet that words describe: `tcp 10.9.0.4:4000 > 10.7.0.1:80 flags syn`, `icmp 10.0.0.1 > 10.0.0.2 type
 * echo-request`, `udp [2001:db8::1]:53 > [2001:db8::2]:53 length 100`; or its bytes, `hex 4500...`.
 *
 * @throws {UsageError} When the words do not say one packet.
 */
export function parsePacketText(text: string): Uint8Array<ArrayBuffer> {
  const words = text.trim().split(/\s+/);
  if (words[0] === "hex") return fromHex(words.slice(1).join(""));
  const protocol = Object.hasOwn(PROTOCOLS, words[0]!) ? PROTOCOLS[words[0]!]! : Number(words[0]);
  if (!Number.isInteger(protocol) || protocol < 0 || protocol > 255 || words[2] !== ">" || words.length < 4) {
    throw new UsageError(
      `--packet "${text}": expected words like "tcp 10.9.0.4:4000 > 10.7.0.1:80 flags syn"`,
    );
  }
  const source = parseEnd(words[1]!);
  const destination = parseEnd(words[3]!);
  if (source.address.length !== destination.address.length) {
    throw new UsageError(`--packet "${text}": addresses of two families`);
  }
  const fields = new Map<string, string>();
  for (let at = 4; at < words.length; at += 2) fields.set(words[at]!, words[at + 1] ?? "");
  const packet = build(protocol, source, destination, fields);
  const known = ["flags", "seq", "ack", "type", "code", "length", "ttl", "id", "dscp"];
  for (const name of fields.keys()) {
    if (!known.includes(name)) {
      throw new UsageError(`--packet: unknown word "${name}", expected ${known.join(", ")}`);
    }
  }
  return packet;
}

function build(
  protocol: number,
  source: End,
  destination: End,
  fields: Map<string, string>,
): Uint8Array<ArrayBuffer> {
  const six = source.address.length === 16;
  const number = (name: string, fallback: number, max: number): number => {
    const text = fields.get(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (/^\d+$/.test(text) && value <= max) return value;
    throw new UsageError(`--packet: ${name} "${text}" is no number up to ${max}`);
  };
  const ip = six ? 40 : 20;
  const header = HEADER[protocol] ?? 0;
  const bytes = new Uint8Array(ip + header + number("length", 0, 60_000));
  const slab = new Slab(bytes);
  const { view } = slab;
  const hops = number("ttl", 64, 255);
  const dscp = number("dscp", 0, 63);
  if (six) {
    view.setUint32(0, 0x6000_0000 | (dscp << 22));
    view.setUint16(4, bytes.length - ip);
    bytes.set([protocol, hops], 6);
  } else {
    bytes.set([0x45, dscp << 2], 0);
    view.setUint16(2, bytes.length);
    view.setUint16(4, number("id", 0, 65_535));
    bytes.set([hops, protocol], 8);
  }
  bytes.set([...source.address, ...destination.address], six ? 8 : 12);
  if (!six) view.setUint16(10, ~foldSum(sumWords(slab, 0, ip, 0)));
  if (protocol === 6 || protocol === 17) {
    if (source.port === undefined || destination.port === undefined) {
      throw new UsageError("--packet: TCP and UDP have ports, as in 10.7.0.1:80 and [2001:db8::1]:80");
    }
    view.setUint16(ip, source.port);
    view.setUint16(ip + 2, destination.port);
  }
  if (protocol === 6) {
    bytes[ip + 12] = 5 << 4;
    bytes[ip + 13] = flagsOf(fields.get("flags") ?? "syn");
    view.setUint32(ip + 4, number("seq", 0, 0xffff_ffff));
    view.setUint32(ip + 8, number("ack", 0, 0xffff_ffff));
    view.setUint16(ip + 14, 0xffff);
  } else if (protocol === 17) view.setUint16(ip + 4, bytes.length - ip);
  else if (header > 0) {
    bytes[ip] = symbol(protocol === 1 ? "icmp_type" : "icmpv6_type", fields.get("type") ?? "echo-request");
    bytes[ip + 1] = number("code", 0, 255);
    view.setUint16(ip + 4, number("id", 1, 65_535));
  }
  const field = CHECKSUM_AT[protocol];
  if (field !== undefined) {
    const pseudo = protocol === 1 ? 0 : sumWords(slab, six ? 8 : 12, ip, protocol + bytes.length - ip);
    const sum = ~foldSum(sumWords(slab, ip, bytes.length, pseudo)) & 0xffff;
    view.setUint16(ip + field, sum === 0 && protocol === 17 ? 0xffff : sum);
  }
  return bytes;
}

function flagsOf(text: string): number {
  return text.split(",").reduce((flags, word) => flags | symbol("tcp_flag", word), 0);
}

function symbol(type: "tcp_flag" | "icmp_type" | "icmpv6_type", word: string): number {
  const symbols = DATA_TYPES[type].symbols!;
  const value = Object.hasOwn(symbols, word) ? symbols[word]! : /^\d{1,3}$/.test(word) ? Number(word) : 256;
  if (value <= 255) return value;
  throw new UsageError(`--packet: "${word}" is none of ${Object.keys(symbols).join(", ")}`);
}

function parseEnd(text: string): End {
  const parts = /^\[([^\]]+)\](?::(\d+))?$|^([^:]+)(?::(\d+))?$/.exec(text);
  const host = parts?.[1] ?? parts?.[3] ?? text;
  const portText = parts?.[2] ?? parts?.[4];
  const port = portText === undefined ? undefined : Number(portText);
  const four = parseIpv4(host);
  const six = parseIpv6(host);
  if ((port ?? 0) > 65_535 || (four === undefined && six === undefined)) {
    throw new UsageError(`--packet: "${text}" is no address like 10.7.0.1, 10.7.0.1:80 or [2001:db8::1]:80`);
  }
  const words = four === undefined ? six! : [four];
  return {
    address: words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]),
    port,
  };
}

function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (!/^(?:[\da-f]{2})+$/i.test(text)) {
    throw new UsageError("--packet hex: expected pairs of hexadecimal digits");
  }
  return Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
}
