import { obviousChecksum, pseudoHeader } from "../net/tcp/checker.ts";

/** An address as bytes: 4 or 16. */
export type AddressBytes = readonly number[];

/** A TCP segment's parts; its options are bytes already, padded here. */
export interface SegmentParts {
  readonly source: AddressBytes;
  readonly destination: AddressBytes;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly urgentPointer: number;
  readonly options: readonly number[];
  readonly data: Uint8Array;
  readonly ecn: number;
}

/** An IP packet around `payload`, of the addresses' family. */
export function ipPacket(
  source: AddressBytes,
  destination: AddressBytes,
  protocol: number,
  payload: Uint8Array,
  ecn = 0,
  hopLimit = 64,
): Uint8Array<ArrayBuffer> {
  const ipv6 = source.length === 16;
  const headerLength = ipv6 ? 40 : 20;
  const packet = new Uint8Array(headerLength + payload.length);
  const view = new DataView(packet.buffer);
  if (ipv6) {
    view.setUint32(0, 0x6000_0000 | (ecn << 20));
    view.setUint16(4, payload.length);
    packet[6] = protocol;
    packet[7] = hopLimit;
    packet.set(source, 8);
    packet.set(destination, 24);
  } else {
    packet[0] = 0x45;
    packet[1] = ecn;
    view.setUint16(2, packet.length);
    view.setUint16(6, 0x4000);
    packet[8] = hopLimit;
    packet[9] = protocol;
    packet.set(source, 12);
    packet.set(destination, 16);
    view.setUint16(10, obviousChecksum(packet.subarray(0, 20)));
  }
  packet.set(payload, headerLength);
  return packet;
}

/** A segment with right checksums, composed without net/wire. */
export function segmentPacket(parts: SegmentParts): Uint8Array<ArrayBuffer> {
  const options = parts.options.slice(0, 40);
  while (options.length % 4 !== 0) options.push(0);
  const tcp = new Uint8Array(20 + options.length + parts.data.length);
  const view = new DataView(tcp.buffer);
  view.setUint16(0, parts.sourcePort);
  view.setUint16(2, parts.destinationPort);
  view.setInt32(4, parts.sequence | 0);
  view.setInt32(8, parts.acknowledgment | 0);
  view.setUint8(12, ((5 + options.length / 4) << 4) | (parts.flags >> 8));
  view.setUint8(13, parts.flags);
  view.setUint16(14, parts.window);
  view.setUint16(18, parts.urgentPointer);
  tcp.set(options, 20);
  tcp.set(parts.data, 20 + options.length);
  const packet = ipPacket(parts.source, parts.destination, 6, tcp, parts.ecn);
  const headerLength = packet.length - tcp.length;
  const sum = obviousChecksum(pseudoHeader(packet, 6, tcp.length), tcp);
  new DataView(packet.buffer).setUint16(headerLength + 16, sum);
  return packet;
}

/** 32 bits as four bytes. */
export function word(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}
