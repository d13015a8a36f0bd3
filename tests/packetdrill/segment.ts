import type { TcpOptionSpec } from "./script.ts";

/** A TCP segment with what matters of its IP header: the runner's own, so that it judges the stack's. */
export interface Segment {
  sourcePort: number;
  destinationPort: number;
  /** Unsigned, as all sequence numbers here. */
  sequence: number;
  acknowledgment: number;
  /** `TcpFlag` bits. */
  flags: number;
  ae: boolean;
  reserved: number;
  window: number;
  urgent: number;
  options: TcpOptionSpec[];
  payload: Uint8Array;
  tos: number;
  ttl: number;
  flowLabel: number;
}

/** Where packets go between. */
export interface Addresses {
  readonly version: 4 | 6;
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
}

const PROTOCOL_TCP = 6;

/** The packet of a segment from the remote host to the local one. */
export function writeSegment(
  segment: Segment,
  { version, local, remote }: Addresses,
  badChecksum = false,
): Uint8Array<ArrayBuffer> {
  const optionBytes = segment.options.flatMap(({ kind, data }) =>
    kind <= 1 ? [kind] : [kind, data.length + 2, ...data]
  );
  while (optionBytes.length % 4 !== 0) optionBytes.push(0);
  const tcp = new Uint8Array(20 + optionBytes.length + segment.payload.length);
  const view = new DataView(tcp.buffer);
  view.setUint16(0, segment.sourcePort);
  view.setUint16(2, segment.destinationPort);
  view.setUint32(4, segment.sequence);
  view.setUint32(8, segment.acknowledgment);
  view.setUint8(12, ((5 + optionBytes.length / 4) << 4) | (segment.reserved << 1) | (segment.ae ? 1 : 0));
  view.setUint8(13, segment.flags);
  view.setUint16(14, segment.window);
  view.setUint16(18, segment.urgent);
  tcp.set(optionBytes, 20);
  tcp.set(segment.payload, 20 + optionBytes.length);
  const sum = checksum(pseudoHeader(remote, local, PROTOCOL_TCP, tcp.length), tcp);
  view.setUint16(16, badChecksum ? sum ^ 0x5555 : sum);
  return wrapIp(version, PROTOCOL_TCP, remote, local, tcp, segment);
}

/** `payload` in an IP packet. */
export function wrapIp(
  version: 4 | 6,
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
  payload: Uint8Array,
  { tos, ttl, flowLabel }: { tos: number; ttl: number; flowLabel: number },
): Uint8Array<ArrayBuffer> {
  const header = version === 4 ? 20 : 40;
  const packet = new Uint8Array(header + payload.length);
  const view = new DataView(packet.buffer);
  if (version === 4) {
    packet.set([0x45, tos]);
    view.setUint16(2, packet.length);
    view.setUint16(6, 0x4000); // not to be fragmented
    packet.set([ttl, protocol], 8);
    packet.set(source, 12);
    packet.set(destination, 16);
    view.setUint16(10, checksum(packet.subarray(0, 20)));
  } else {
    view.setUint32(0, (0x6000_0000 | (tos << 20) | flowLabel) >>> 0);
    view.setUint16(4, payload.length);
    packet.set([protocol, ttl], 6);
    packet.set(source, 8);
    packet.set(destination, 24);
  }
  packet.set(payload, header);
  return packet;
}

/**
 * Reads a packet that the stack sent; `undefined` when it is no TCP.
 *
 * @throws {Error} When a length or a checksum is wrong: no stack may send that.
 */
export function readSegment(packet: Uint8Array): Segment | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const version = packet[0]! >>> 4;
  const header = version === 4 ? (packet[0]! & 15) * 4 : 40;
  const protocol = version === 4 ? packet[9] : packet[6];
  const length = version === 4 ? view.getUint16(2) : view.getUint16(4) + 40;
  if (length !== packet.length) {
    throw new Error(`bad outbound IP length: ${length} vs actual ${packet.length}`);
  }
  if (version === 4 && checksum(packet.subarray(0, header)) !== 0) {
    throw new Error("bad outbound IP checksum");
  }
  if (protocol !== PROTOCOL_TCP) return undefined;
  const [source, destination] = version === 4
    ? [packet.subarray(12, 16), packet.subarray(16, 20)]
    : [packet.subarray(8, 24), packet.subarray(24, 40)];
  const tcp = packet.subarray(header);
  if (checksum(pseudoHeader(source, destination, PROTOCOL_TCP, tcp.length), tcp) !== 0) {
    throw new Error("bad outbound TCP checksum");
  }
  const dataStart = (tcp[12]! >>> 4) * 4;
  const vtf = version === 4 ? 0 : view.getUint32(0);
  return {
    sourcePort: view.getUint16(header),
    destinationPort: view.getUint16(header + 2),
    sequence: view.getUint32(header + 4),
    acknowledgment: view.getUint32(header + 8),
    flags: tcp[13]!,
    ae: (tcp[12]! & 1) !== 0,
    reserved: (tcp[12]! >>> 1) & 7,
    window: view.getUint16(header + 14),
    urgent: view.getUint16(header + 18),
    options: readOptions(tcp.subarray(20, dataStart)),
    payload: tcp.slice(dataStart),
    tos: version === 4 ? packet[1]! : (vtf >>> 20) & 0xff,
    ttl: version === 4 ? packet[8]! : packet[7]!,
    flowLabel: vtf & 0xf_ffff,
  };
}

function readOptions(bytes: Uint8Array): TcpOptionSpec[] {
  const options: TcpOptionSpec[] = [];
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at]!;
    const length = kind <= 1 ? 1 : bytes[at + 1]!;
    if ((kind > 1 && length < 2) || at + length > bytes.length) throw new Error("bad outbound TCP options");
    options.push({ kind, data: [...bytes.subarray(kind <= 1 ? at + 1 : at + 2, at + length)] });
    at += length;
  }
  return options;
}

export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  return Uint8Array.of(...source, ...destination, 0, protocol, length >>> 8, length & 0xff);
}

/** The Internet checksum over parts, each but the last of even length. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) sum += (part[at]! << 8) | (part[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}
