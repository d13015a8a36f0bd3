import type { Slab } from "../../base/slab.ts";
import { Drop } from "./drop.ts";

/** EtherTypes. */
export const ETHER_IPV4 = 0x0800;
export const ETHER_ARP = 0x0806;
export const ETHER_IPV6 = 0x86dd;

/** Bytes before the payload; frames come without preamble and FCS. */
export const ETHERNET_HEADER_LENGTH = 14;

const AT = { destinationHi: 0, destinationLo: 2, sourceHi: 6, sourceLo: 8, etherType: 12 } as const;

/** An Ethernet II header as the layers above see it. Addresses are the pairs of `mac.ts`. */
export class EthernetRecord {
  destinationHi = 0;
  destinationLo = 0;
  sourceHi = 0;
  sourceLo = 0;
  /** Below 0x0600 the frame is IEEE 802.3 and this its length: nobody here speaks that. */
  etherType = 0;
  /** Offsets of the payload into the slab; short payloads end in padding. */
  dataStart = 0;
  dataEnd = 0;
}

/**
 * Fills `into` from the frame in `[start, end)`. Judges the length only: whose frame it is and what it
 * carries is the caller's to judge.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readEthernet(slab: Slab, start: number, end: number, into: EthernetRecord): Drop {
  const view = slab.view;
  if (end - start < ETHERNET_HEADER_LENGTH) return Drop.FrameShort;
  into.destinationHi = view.getUint16(start + AT.destinationHi);
  into.destinationLo = view.getInt32(start + AT.destinationLo);
  into.sourceHi = view.getUint16(start + AT.sourceHi);
  into.sourceLo = view.getInt32(start + AT.sourceLo);
  into.etherType = view.getUint16(start + AT.etherType);
  into.dataStart = start + ETHERNET_HEADER_LENGTH;
  into.dataEnd = end;
  return Drop.None;
}

/** Writes a header at `at` and returns where the payload starts. */
export function writeEthernet(record: EthernetRecord, slab: Slab, at: number): number {
  const view = slab.view;
  view.setUint16(at + AT.destinationHi, record.destinationHi);
  view.setInt32(at + AT.destinationLo, record.destinationLo);
  view.setUint16(at + AT.sourceHi, record.sourceHi);
  view.setInt32(at + AT.sourceLo, record.sourceLo);
  view.setUint16(at + AT.etherType, record.etherType);
  return at + ETHERNET_HEADER_LENGTH;
}
