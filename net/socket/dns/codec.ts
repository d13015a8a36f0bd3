import { Buffer } from "node:buffer";
import packet from "dns-packet";
import { parseIpv4 } from "../../wire/address.ts";
import { parseIpv6 } from "../../wire/ipv6_address.ts";
import {
  canonical,
  DNS_TYPES,
  type DnsRecord,
  type DnsRecords,
  type DnsResponse,
  type DnsType,
  UDP_ANSWER_MAX,
  withoutDot,
} from "./message.ts";

/** The bytes of a question for one name, whose letters' case is part of what the answer must repeat. */
export function encodeQuery(id: number, name: string, type: DnsType, edns: boolean): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(packet.encode({
    type: "query",
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type, class: "IN" }],
    additionals: edns
      ? [{
        type: "OPT",
        name: ".",
        udpPayloadSize: UDP_ANSWER_MAX,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      }]
      : [],
  }));
}

/**
 * The response in `bytes` to a question; `undefined` when it is none to this one, or cannot be read.
 * `"other case"` when only the letters' case differs: somebody guesses, or a server that changes names.
 */
export function decodeResponse(
  bytes: Uint8Array,
  id: number,
  name: string,
  type: DnsType,
): DnsResponse | "other case" | undefined {
  let read: packet.DecodedPacket;
  try {
    read = packet.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch {
    return undefined;
  }
  // The library reads over the end of a message that was cut short, and then counts NaN bytes.
  if (!((packet.decode as unknown as { bytes: number }).bytes <= bytes.length)) return undefined;
  if (read.id !== id || read.type !== "response" || read.questions?.length !== 1) return undefined;
  const [question] = read.questions;
  const { class: questionClass = "IN" } = question!;
  if (question!.type !== type || questionClass !== "IN") return undefined;
  if (canonical(question!.name) !== canonical(name)) return undefined;
  if (withoutDot(question!.name) !== withoutDot(name)) return "other case";
  const { rcode } = read as packet.DecodedPacket & { rcode: string };
  return {
    code: rcode,
    truncated: read.flag_tc,
    answers: (read.answers ?? []).map(recordOf).filter((record) => record !== undefined),
    negativeTtl: negativeTtlOf(read.authorities ?? []),
  };
}

function withDot(name: string): string {
  return name.endsWith(".") ? name : `${name}.`;
}

function recordOf(answer: packet.Answer): DnsRecord | undefined {
  const { type, name } = answer;
  if (type === "OPT" || (answer.class !== undefined && answer.class !== "IN")) return undefined;
  if (!DNS_TYPES.includes(type as DnsType)) return undefined;
  const value = valueOf(answer);
  if (value === undefined) return undefined;
  const { ttl = 0 } = answer as { ttl?: number };
  // RFC 2181 section 8: the first bit set means zero.
  return { name: canonical(name), type: type as DnsType, ttl: ttl > 0x7fff_ffff ? 0 : ttl, value };
}

function valueOf(answer: packet.Answer): DnsRecords[DnsType] | undefined {
  switch (answer.type) {
    case "A":
      return parseIpv4(answer.data) === undefined ? undefined : answer.data;
    case "AAAA":
      return parseIpv6(answer.data) === undefined ? undefined : answer.data;
    case "CNAME":
    case "NS":
    case "PTR":
      return withDot(answer.data);
    case "CAA": {
      const { flags = 0, tag, value } = answer.data;
      return { critical: (flags & 128) !== 0, tag, value };
    }
    case "MX":
      return { preference: answer.data.preference ?? 0, exchange: withDot(answer.data.exchange) };
    case "NAPTR":
      return { ...answer.data, replacement: withDot(answer.data.replacement) };
    case "SOA": {
      const { mname, rname, serial = 0, refresh = 0, retry = 0, expire = 0, minimum = 0 } = answer.data;
      return { mname: withDot(mname), rname: withDot(rname), serial, refresh, retry, expire, minimum };
    }
    case "SRV": {
      const { priority = 0, weight = 0, port, target } = answer.data;
      return { priority, weight, port, target: withDot(target) };
    }
    case "TXT": {
      const { data } = answer;
      const parts: readonly (string | Uint8Array)[] = Array.isArray(data) ? data : [data];
      return parts.map((part) => typeof part === "string" ? part : new TextDecoder().decode(part));
    }
    default:
      return undefined;
  }
}

function negativeTtlOf(authorities: readonly packet.Answer[]): number {
  for (const authority of authorities) {
    if (authority.type === "SOA") return Math.min(authority.ttl ?? 0, authority.data.minimum ?? 0);
  }
  return 0;
}
