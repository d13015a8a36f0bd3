import { Slab } from "../../../../base/slab.ts";
import { checksumOf, foldSum, sumWords } from "../../../../net/wire/checksum.ts";
import { parseIpv4 } from "../../../../net/wire/address.ts";
import { parseIpv6 } from "../../../../net/wire/ipv6_address.ts";

/** How packets of the tests are told from what the kernel says of its own accord: identification, or flow label. */
export const OURS = 0x0ff1;

export interface IpOptions {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly transport: Uint8Array;
  /** The checksum of TCP, UDP or ICMP is wrong. */
  readonly badChecksum?: boolean;
}

const CHECKSUM_AT: Record<number, number> = { 6: 16, 17: 6, 1: 2, 58: 2 };

/** An IP packet of either family, whole, its transport's checksum filled in (a UDP datagram's unless it is 1: none). */
export function ipPacket(options: IpOptions): Uint8Array<ArrayBuffer> {
  const { source, destination, protocol, transport } = options;
  const ipv6 = source.includes(":");
  const header = ipv6 ? 40 : 20;
  const bytes = new Uint8Array(header + transport.length);
  const slab = new Slab(bytes);
  const { view } = slab;
  bytes.set(transport, header);
  if (ipv6) {
    view.setUint32(0, 0x6000_0000 | OURS);
    view.setUint16(4, transport.length);
    bytes[6] = protocol;
    bytes[7] = 64;
    parseIpv6(source)!.forEach((word, at) => view.setInt32(8 + 4 * at, word));
    parseIpv6(destination)!.forEach((word, at) => view.setInt32(24 + 4 * at, word));
  } else {
    view.setUint16(0, 0x4500);
    view.setUint16(2, bytes.length);
    view.setUint16(4, OURS);
    view.setUint16(6, 0x4000);
    bytes[8] = 64;
    bytes[9] = protocol;
    view.setInt32(12, parseIpv4(source)!);
    view.setInt32(16, parseIpv4(destination)!);
    view.setUint16(10, checksumOf(slab, 0, 20));
  }
  const at = CHECKSUM_AT[protocol];
  if (at === undefined || transport.length < at + 2) return bytes;
  if (protocol === 17 && view.getUint16(header + at) === 1 && !ipv6) {
    view.setUint16(header + at, 0);
    return bytes;
  }
  view.setUint16(header + at, 0);
  const pseudo = protocol === 1 ? 0 : sumWords(slab, ipv6 ? 8 : 12, header, protocol + transport.length);
  let sum = ~foldSum(sumWords(slab, header, bytes.length, pseudo)) & 0xffff;
  if (protocol === 17 && sum === 0) sum = 0xffff;
  view.setUint16(header + at, options.badChecksum ? sum ^ 0x1234 : sum);
  return bytes;
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly options?: Uint8Array;
  readonly length?: number;
}

export function tcpSegment(segment: Segment): Uint8Array<ArrayBuffer> {
  const options = segment.options ?? new Uint8Array(0);
  const header = 20 + options.length;
  const bytes = new Uint8Array(header + (segment.length ?? 0)).fill(0x61, header);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, segment.sourcePort);
  view.setUint16(2, segment.destinationPort);
  view.setUint32(4, segment.seq >>> 0);
  view.setUint32(8, segment.ack >>> 0);
  bytes[12] = (header >>> 2) << 4;
  bytes[13] = segment.flags;
  view.setUint16(14, segment.window);
  bytes.set(options, 20);
  return bytes;
}

export function udpDatagram(
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
  checksum = 0,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint16(4, bytes.length);
  view.setUint16(6, checksum);
  bytes.set(data, 8);
  return bytes;
}

export function icmpMessage(
  type: number,
  code: number,
  rest: number,
  data: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = type;
  bytes[1] = code;
  new DataView(bytes.buffer).setUint32(4, rest >>> 0);
  bytes.set(data, 8);
  return bytes;
}
