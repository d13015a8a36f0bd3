import type { Slab } from "../../base/slab.ts";
import { foldSum, pseudoSum, sumWords } from "./checksum.ts";
import { Drop } from "./drop.ts";
import { PROTOCOL_UDP } from "./ipv4.ts";

/** Bytes before the data. */
export const UDP_HEADER_LENGTH = 8;

const AT = { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6 } as const;

/** A datagram's header as the layers above see it (RFC 768). */
export class UdpRecord {
  /** 0 when the sender expects no answer. */
  sourcePort = 0;
  destinationPort = 0;
  /** Offsets of the data into the slab; the end is the one that the length field names. */
  dataStart = 0;
  dataEnd = 0;
}

/**
 * Fills `into` from the datagram in `[start, end)`, `end` being where the IP datagram ends. Judges the
 * length field and the destination port; the checksum is `udpChecksumOk`'s business.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readUdp(slab: Slab, start: number, end: number, into: UdpRecord): Drop {
  const view = slab.view;
  if (end - start < UDP_HEADER_LENGTH) return Drop.UdpLength;
  const length = view.getUint16(start + AT.length);
  if (length < UDP_HEADER_LENGTH || length > end - start) return Drop.UdpLength;
  const destinationPort = view.getUint16(start + AT.destinationPort);
  if (destinationPort === 0) return Drop.UdpPort;
  into.sourcePort = view.getUint16(start + AT.sourcePort);
  into.destinationPort = destinationPort;
  into.dataStart = start + UDP_HEADER_LENGTH;
  into.dataEnd = start + length;
  return Drop.None;
}

/**
 * Whether the checksum of the datagram in `[start, end)` is right or absent (zero). `end` is the
 * record's `dataEnd`: where the IP datagram is longer, the rest is not covered.
 */
export function udpChecksumOk(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
): boolean {
  if (slab.view.getUint16(start + AT.checksum) === 0) return true;
  return foldSum(sumWords(slab, start, end, pseudoSum(source, destination, PROTOCOL_UDP, end - start))) ===
    0xffff;
}

/**
 * Writes a header at `at` for `dataLength` bytes of data, the checksum left zero (absent) for
 * `finishUdpChecksum` or a device.
 *
 * @returns Where the data starts.
 */
export function writeUdp(record: UdpRecord, slab: Slab, at: number, dataLength: number): number {
  const view = slab.view;
  view.setUint16(at + AT.sourcePort, record.sourcePort);
  view.setUint16(at + AT.destinationPort, record.destinationPort);
  view.setUint16(at + AT.length, UDP_HEADER_LENGTH + dataLength);
  view.setUint16(at + AT.checksum, 0);
  return at + UDP_HEADER_LENGTH;
}

/** Fills the checksum of the datagram in `[start, end)`, header and data. */
export function finishUdpChecksum(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
): void {
  slab.view.setUint16(start + AT.checksum, 0);
  const sum = sumWords(slab, start, end, pseudoSum(source, destination, PROTOCOL_UDP, end - start));
  const checksum = ~foldSum(sum) & 0xffff;
  slab.view.setUint16(start + AT.checksum, checksum === 0 ? 0xffff : checksum); // 0 would say: none
}
