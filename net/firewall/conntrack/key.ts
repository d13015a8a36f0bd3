import { Icmpv6Type } from "../../wire/icmpv6.ts";
import { IcmpType } from "../../wire/icmp.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";

/**
 * Who speaks to whom: the kernel's tuple. Addresses are int32 or handles. `ports` is source << 16 | destination;
 * of ICMP queries the identifier << 16 | type << 8 | code, and 0 of protocols without ports.
 */
export class FlowKey {
  source = 0;
  destination = 0;
  ports = 0;
  /** Protocol number, and the zone above its 8 bits. */
  protocolAndZone = 0;

  get protocol(): number {
    return this.protocolAndZone & 0xff;
  }

  set(source: number, destination: number, ports: number, protocolAndZone: number): void {
    this.source = source | 0;
    this.destination = destination | 0;
    this.ports = ports | 0;
    this.protocolAndZone = protocolAndZone;
  }

  copy(from: FlowKey): void {
    this.set(from.source, from.destination, from.ports, from.protocolAndZone);
  }

  equals(other: FlowKey): boolean {
    return this.source === other.source && this.destination === other.destination &&
      this.ports === other.ports && this.protocolAndZone === other.protocolAndZone;
  }

  /** Becomes the key of the answers to `of`. @returns False when nothing answers that. */
  invert(of: FlowKey): boolean {
    const ports = invertPorts(of.protocolAndZone & 0xff, of.ports);
    if (ports === NO_ANSWER) return false;
    this.set(of.destination, of.source, ports, of.protocolAndZone);
    return true;
  }
}

/** Not a word. */
export const NO_ANSWER: number = 2 ** 40;

/** Types of ICMP queries, each beside its answer's: echo, timestamp, information, address mask (RFC 792, RFC 950). */
const PAIRS4 = [[IcmpType.Echo, IcmpType.EchoReply], [13, 14], [15, 16], [17, 18]] as const;
/** Echo, and node information (RFC 4620). */
const PAIRS6 = [[Icmpv6Type.Echo, Icmpv6Type.EchoReply], [139, 140]] as const;

const NONE = 0xffff;
const ANSWERS4 = answers(PAIRS4);
const ANSWERS6 = answers(PAIRS6);
const QUERIES4 = Uint8Array.from(
  { length: 256 },
  (_, type) => Number(PAIRS4.some(([query]) => query === type)),
);
const QUERIES6 = Uint8Array.from(
  { length: 256 },
  (_, type) => Number(PAIRS6.some(([query]) => query === type)),
);

function answers(pairs: readonly (readonly [number, number])[]): Uint16Array {
  const table = new Uint16Array(256).fill(NONE);
  for (const [query, answer] of pairs) {
    table[query] = answer;
    table[answer] = query;
  }
  return table;
}

/** `ports` as they stand in an answer, or `NO_ANSWER`. */
export function invertPorts(protocol: number, ports: number): number {
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    const type = (protocol === PROTOCOL_ICMP ? ANSWERS4 : ANSWERS6)[(ports >>> 8) & 0xff]!;
    return type === NONE ? NO_ANSWER : (ports & 0xffff_00ff) | (type << 8);
  }
  return (ports << 16) | (ports >>> 16);
}

/** Whether an ICMP message of this type may begin a flow. */
export function isIcmpQuery(protocol: number, type: number): boolean {
  return (protocol === PROTOCOL_ICMP ? QUERIES4 : QUERIES6)[type] === 1;
}

/** Whether it has an identifier that can be translated. */
export function hasIdentifier(protocol: number, type: number): boolean {
  return (protocol === PROTOCOL_ICMP ? ANSWERS4 : ANSWERS6)[type] !== NONE;
}

export function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
}
