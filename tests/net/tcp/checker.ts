import { assert } from "../../../base/assert.ts";

/** A TCP segment read byte by byte, sharing no code with net/wire. */
export interface Segment {
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: string;
  window: number;
  urgentPointer: number;
  options: [kind: number, ...body: number[]][];
  data: Uint8Array;
  typeOfService: number;
  timeToLive: number;
}

const FLAG_LETTERS = "FSRP.UEW";

function word16(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

export function word32(bytes: ArrayLike<number>, at: number): number {
  return ((bytes[at]! * 256 + bytes[at + 1]!) * 256 + bytes[at + 2]!) * 256 + bytes[at + 3]!;
}

/** RFC 1071 as the RFC's text has it: add 16-bit words, fold the carry in at once. */
export function obviousChecksum(...parts: ArrayLike<number>[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) {
      sum += part[at]! * 256 + (at + 1 < part.length ? part[at + 1]! : 0);
      if (sum > 0xffff) sum -= 0xffff;
    }
  }
  return 0xffff - sum;
}

/** The pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoHeader(packet: Uint8Array, protocol: number, length: number): number[] {
  if (packet[0]! >> 4 === 6) {
    return [...packet.subarray(8, 40), 0, 0, length >> 8, length & 255, 0, 0, 0, protocol];
  }
  return [...packet.subarray(12, 20), 0, protocol, length >> 8, length & 255];
}

/** Reads an IP packet that holds a TCP segment, and throws at the first thing that is wrong with it. */
export function readSegment(packet: Uint8Array): Segment {
  const ipv6 = packet[0]! >> 4 === 6;
  if (ipv6) {
    assert(word16(packet, 4) === packet.length - 40, "The payload length is the packet's");
    assert(packet[6] === 6, "The next header is TCP");
  } else {
    assert(packet[0] === 0x45, "A version 4 header without options");
    assert(word16(packet, 2) === packet.length, "The total length is the packet's");
    assert(obviousChecksum(packet.subarray(0, 20)) === 0, "The header checksum is right");
    assert(packet[9] === 6, "The protocol is TCP");
  }
  const tcp = packet.subarray(ipv6 ? 40 : 20);
  assert(obviousChecksum(pseudoHeader(packet, 6, tcp.length), tcp) === 0, "The TCP checksum is right");
  const headerLength = (tcp[12]! >> 4) * 4;
  assert(headerLength >= 20 && headerLength <= tcp.length, "The data offset lies inside the segment");
  assert((tcp[12]! & 14) === 0, "Reserved bits are zero, but AE (RFC 9768)");
  const flags = [...FLAG_LETTERS].filter((_, bit) => tcp[13]! & (1 << bit)).join("");
  const options: Segment["options"] = [];
  for (let at = 20; at < headerLength;) {
    const kind = tcp[at]!;
    if (kind === 0) {
      assert(tcp.subarray(at, headerLength).every((byte) => byte === 0), "Zeros behind the end (MUST-69)");
      break;
    }
    if (kind === 1) {
      at++;
      continue;
    }
    const length = tcp[at + 1]!;
    assert(length >= 2 && at + length <= headerLength, "Options carry their length (MUST-68)");
    assert(kind !== 2 || (flags.includes("S") && length === 4), "MSS only on SYN (MUST-65)");
    assert(kind !== 3 || (flags.includes("S") && length === 3), "Window scale only on SYN");
    assert(kind !== 8 || length === 10, "Timestamps are ten bytes");
    options.push([kind, ...tcp.subarray(at + 2, at + length)]);
    at += length;
  }
  return {
    source: word32(packet, ipv6 ? 20 : 12), // an IPv6 address's last word is enough in a test
    destination: word32(packet, ipv6 ? 36 : 16),
    sourcePort: word16(tcp, 0),
    destinationPort: word16(tcp, 2),
    sequence: word32(tcp, 4),
    acknowledgment: word32(tcp, 8),
    flags,
    window: word16(tcp, 14),
    urgentPointer: word16(tcp, 18),
    options,
    data: tcp.slice(headerLength),
    typeOfService: ipv6 ? (word16(packet, 0) >> 4) & 255 : packet[1]!,
    timeToLive: packet[ipv6 ? 7 : 8]!,
  };
}

/** What is remembered of one direction of one connection. */
interface Flow {
  scale: number | undefined; // offered in its SYN
  edge: number | undefined; // ACK + window of what it announced last
}

/**
 * Watches both directions of a wire and asserts what no TCP may ever do: take back a window (SHLD-14),
 * acknowledge less than before, send what cannot be read.
 */
export class Watcher {
  readonly #flows = new Map<string, Flow>();
  readonly #mtu: number;
  segments = 0;
  /** Windows that came back by less than the field's unit. */
  retractions = 0;

  constructor(mtu = 1500) {
    this.#mtu = mtu;
  }

  /** A packet whose sender is under test. */
  sent(packet: Uint8Array): Segment {
    assert(packet.length <= this.#mtu, "No packet is longer than the MTU");
    const segment = readSegment(packet);
    this.segments++;
    const flow = this.#flowOf(segment);
    if (segment.flags.includes("S")) this.#learn(segment, flow);
    if (segment.flags.includes("R") || !segment.flags.includes(".")) return segment;
    const { destination, source, sourcePort, destinationPort } = segment;
    const reverse = this.#flows.get(`${destination}:${destinationPort}-${source}:${sourcePort}`);
    const scaled = !segment.flags.includes("S") && flow.scale !== undefined && reverse?.scale !== undefined;
    const edge = (segment.acknowledgment + segment.window * 2 ** (scaled ? flow.scale! : 0)) | 0;
    const back = flow.edge === undefined ? 0 : (flow.edge - edge) | 0;
    if (back > 0) {
      // RFC 7323 section 2.4 forgives what the scaled field cannot express.
      assert(back < 2 ** (scaled ? flow.scale! : 0), `The window's right edge moves back by ${back}`);
      this.retractions++;
    } else {
      flow.edge = edge;
    }
    return segment;
  }

  /** A packet that whoever is under test receives; it may be anything. */
  received(packet: Uint8Array): void {
    try {
      const segment = readSegment(packet);
      if (segment.flags.includes("S")) this.#learn(segment, this.#flowOf(segment));
    } catch {
      // broken on purpose
    }
  }

  #learn(segment: Segment, flow: Flow): void {
    flow.scale = segment.options.find(([kind]) => kind === 3)?.[1];
    flow.edge = undefined;
  }

  #flowOf({ source, destination, sourcePort, destinationPort }: Segment): Flow {
    const key = `${source}:${sourcePort}-${destination}:${destinationPort}`;
    let flow = this.#flows.get(key);
    if (flow === undefined) this.#flows.set(key, flow = { scale: undefined, edge: undefined });
    return flow;
  }
}
