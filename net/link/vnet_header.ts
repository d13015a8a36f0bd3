import type { Slab } from "../../base/slab.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { WHOLE_SEGMENT } from "../wire/train.ts";

/**
 * What a TUN device with IFF_VNET_HDR has in front of each packet (struct virtio_net_hdr_v1 of linux/virtio_net.h, in the
 * byte order of the machine, which is little-endian everywhere we run).
 */
export const VNET_HEADER_BYTES = 12;

const AT = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const;
const NEEDS_CHECKSUM = 1;
const GSO_TCP4 = 1;
const GSO_TCP6 = 4;
const GSO_UDP = 5;
/** Beside the type: the first segment has CWR. Whoever cuts clears it in the others in any case. */
const GSO_ECN = 0x80;
const TCP_OFFSET = 12;
const TCP_CHECKSUM = 16;
const UDP_HEADER_BYTES = 8;
const UDP_CHECKSUM = 6;

/** Offloads to ask a device for, as TUNSETOFFLOAD takes them: checksums, trains of both families, with CWR as well. */
export const TUN_OFFLOADS: number = 1 | 2 | 4 | 8;
/** And trains of datagrams of both families, from Linux 6.2 on. */
export const TUN_UDP_OFFLOADS: number = 0x20 | 0x40;

/** Reads the header at `at`; returns the `segmentBytes` of the packet behind it, -1 for one that nobody asked for. */
export function readVnetHeader({ bytes, view }: Slab, at: number): number {
  const type = bytes[at + AT.gsoType]! & ~GSO_ECN;
  if (type === GSO_TCP4 || type === GSO_TCP6 || type === GSO_UDP) {
    return view.getUint16(at + AT.gsoSize, true) || -1;
  }
  if (type !== 0) return -1;
  return (bytes[at + AT.flags]! & NEEDS_CHECKSUM) === 0 ? 0 : WHOLE_SEGMENT;
}

/** Whether the packet behind the header at `at` is a train of datagrams. */
export function isDatagramTrain({ bytes }: Slab, at: number): boolean {
  return bytes[at + AT.gsoType] === GSO_UDP;
}

/** Writes the header at `at` for a train of datagrams behind it. */
export function writeDatagramsHeader({ bytes, view }: Slab, at: number, segmentBytes: number): void {
  bytes.fill(0, at, at + VNET_HEADER_BYTES);
  const first = bytes[at + VNET_HEADER_BYTES]!;
  const ipBytes = first >>> 4 === 6 ? IPV6_HEADER_LENGTH : (first & 15) << 2;
  bytes[at + AT.flags] = NEEDS_CHECKSUM;
  bytes[at + AT.gsoType] = GSO_UDP;
  view.setUint16(at + AT.headerLength, ipBytes + UDP_HEADER_BYTES, true);
  view.setUint16(at + AT.gsoSize, segmentBytes, true);
  view.setUint16(at + AT.checksumStart, ipBytes, true);
  view.setUint16(at + AT.checksumOffset, UDP_CHECKSUM, true);
}

/** Writes the header at `at` for the packet of IP behind it, which ends at `end`: TCP where `segmentBytes` is above 0. */
export function writeVnetHeader({ bytes, view }: Slab, at: number, end: number, segmentBytes: number): void {
  bytes.fill(0, at, at + VNET_HEADER_BYTES);
  if (segmentBytes === 0) return;
  const start = at + VNET_HEADER_BYTES;
  const ipv6 = bytes[start]! >>> 4 === 6;
  const ipBytes = ipv6 ? IPV6_HEADER_LENGTH : (bytes[start]! & 15) << 2;
  const headers = ipBytes + (bytes[start + ipBytes + TCP_OFFSET]! >>> 4 << 2);
  bytes[at + AT.flags] = NEEDS_CHECKSUM;
  view.setUint16(at + AT.checksumStart, ipBytes, true);
  view.setUint16(at + AT.checksumOffset, TCP_CHECKSUM, true);
  if (end - start - headers <= segmentBytes) return;
  bytes[at + AT.gsoType] = ipv6 ? GSO_TCP6 : GSO_TCP4;
  view.setUint16(at + AT.headerLength, headers, true);
  view.setUint16(at + AT.gsoSize, segmentBytes, true);
}
