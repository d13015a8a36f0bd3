import type { Slab } from "../../base/slab.ts";
import { checksumOf, foldSum } from "./checksum.ts";
import { Drop } from "./drop.ts";

/** Protocol numbers (RFC 790). */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** Bytes in a header without options, the only kind that we write. */
export const IPV4_HEADER_LENGTH = 20;
/** The longest datagram: its length field has 16 bits. */
export const IPV4_LENGTH_MAX = 0xffff;

const AT = {
  versionAndLength: 0,
  typeOfService: 1,
  totalLength: 2,
  identification: 4,
  fragment: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
} as const;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;

/** An IPv4 header as the layers above see it (RFC 791). Addresses are signed 32-bit integers. */
export class Ipv4Record {
  source = 0;
  destination = 0;
  protocol = 0;
  /** DSCP in the upper six bits, ECN in the lower two. */
  typeOfService = 0;
  timeToLive = 0;
  identification = 0;
  dontFragment = false;
  moreFragments = false;
  /** In bytes, a multiple of eight. */
  fragmentOffset = 0;
  /** Offsets into the slab: the header, its payload, and the end that the total length names. */
  headerStart = 0;
  dataStart = 0;
  dataEnd = 0;
}

/**
 * Fills `into` from the packet in `[start, end)`, which may end in padding.
 *
 * Judges version, header length, total length and checksum. Options are skipped; addresses, fragments
 * and time to live are the caller's to judge.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readIpv4(slab: Slab, start: number, end: number, into: Ipv4Record): Drop {
  const view = slab.view;
  const available = end - start;
  if (available < IPV4_HEADER_LENGTH) return Drop.Ipv4Short;
  const versionAndLength = view.getUint8(start);
  if (versionAndLength >>> 4 !== 4) return Drop.Ipv4Version;
  const headerLength = (versionAndLength & 15) << 2;
  if (headerLength < IPV4_HEADER_LENGTH || headerLength > available) return Drop.Ipv4Header;
  const totalLength = view.getUint16(start + AT.totalLength);
  if (totalLength < headerLength || totalLength > available) return Drop.Ipv4Length;
  if (checksumOf(slab, start, start + headerLength) !== 0) return Drop.Ipv4Checksum;
  fill(slab, start, headerLength, start + totalLength, into);
  return Drop.None;
}

/**
 * Fills `into` from a datagram as an ICMP error quotes it: cut short, and its time to live, checksum
 * and even total length perhaps changed on the way, so these are not judged.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readQuotedIpv4(slab: Slab, start: number, end: number, into: Ipv4Record): Drop {
  const available = end - start;
  if (available < IPV4_HEADER_LENGTH) return Drop.Ipv4Short;
  const versionAndLength = slab.view.getUint8(start);
  if (versionAndLength >>> 4 !== 4) return Drop.Ipv4Version;
  const headerLength = (versionAndLength & 15) << 2;
  if (headerLength < IPV4_HEADER_LENGTH || headerLength > available) return Drop.Ipv4Header;
  fill(slab, start, headerLength, end, into);
  return Drop.None;
}

function fill(slab: Slab, start: number, headerLength: number, dataEnd: number, into: Ipv4Record): void {
  const view = slab.view;
  const fragment = view.getUint16(start + AT.fragment);
  into.source = view.getInt32(start + AT.source);
  into.destination = view.getInt32(start + AT.destination);
  into.protocol = view.getUint8(start + AT.protocol);
  into.typeOfService = view.getUint8(start + AT.typeOfService);
  into.timeToLive = view.getUint8(start + AT.timeToLive);
  into.identification = view.getUint16(start + AT.identification);
  into.dontFragment = (fragment & DONT_FRAGMENT) !== 0;
  into.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
  into.fragmentOffset = (fragment & FRAGMENT_OFFSET) << 3;
  into.headerStart = start;
  into.dataStart = start + headerLength;
  into.dataEnd = dataEnd;
}

/**
 * Writes a 20-byte header with its checksum at `at`, for `dataLength` bytes of payload. The offsets
 * in `record` are neither read nor changed.
 *
 * @returns Where the payload starts.
 */
export function writeIpv4(record: Ipv4Record, slab: Slab, at: number, dataLength: number): number {
  const view = slab.view;
  const totalLength = IPV4_HEADER_LENGTH + dataLength;
  const fragment = (record.dontFragment ? DONT_FRAGMENT : 0) |
    (record.moreFragments ? MORE_FRAGMENTS : 0) |
    ((record.fragmentOffset >>> 3) & FRAGMENT_OFFSET);
  // In whole words, and the sum of what is at hand: reading back what was written in smaller pieces stalls.
  const first = ((0x4500 | (record.typeOfService & 0xff)) << 16) | (totalLength & 0xffff);
  const second = ((record.identification & 0xffff) << 16) | fragment;
  const third = ((record.timeToLive & 0xff) << 24) | ((record.protocol & 0xff) << 16);
  const { source, destination } = record;
  const sum = halves(first) + halves(second) + halves(third) + halves(source) + halves(destination);
  view.setInt32(at + AT.versionAndLength, first);
  view.setInt32(at + AT.identification, second);
  view.setInt32(at + AT.timeToLive, third | (~foldSum(sum) & 0xffff));
  view.setInt32(at + AT.source, source);
  view.setInt32(at + AT.destination, destination);
  return at + IPV4_HEADER_LENGTH;
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/** Bytes of the option that asks routers to look at a packet (RFC 2113). */
export const IPV4_ROUTER_ALERT_LENGTH = 4;
const ROUTER_ALERT = 0x9404_0000;

/** As `writeIpv4`, with a router alert option behind the 20 bytes: the payload starts four bytes later. */
export function writeIpv4RouterAlert(record: Ipv4Record, slab: Slab, at: number, dataLength: number): number {
  const view = slab.view;
  const end = writeIpv4(record, slab, at, IPV4_ROUTER_ALERT_LENGTH + dataLength) + IPV4_ROUTER_ALERT_LENGTH;
  view.setUint8(at + AT.versionAndLength, 0x46);
  view.setUint32(at + IPV4_HEADER_LENGTH, ROUTER_ALERT);
  view.setUint16(at + AT.checksum, 0);
  view.setUint16(at + AT.checksum, checksumOf(slab, at, end));
  return end;
}

/** Options (RFC 791 section 3.1) that end the list, fill it, and name hosts to go through. */
const OPTION = { end: 0, fill: 1, looseRoute: 131, strictRoute: 137 } as const;

/** Whether the sender chose the way itself; options that cannot be read count as such. */
export function hasSourceRoute(slab: Slab, ip: Ipv4Record): boolean {
  const { bytes } = slab;
  for (let at = ip.headerStart + IPV4_HEADER_LENGTH; at < ip.dataStart;) {
    const kind = bytes[at]!;
    if (kind === OPTION.end) return false;
    if (kind === OPTION.looseRoute || kind === OPTION.strictRoute) return true;
    const length = kind === OPTION.fill ? 1 : at + 1 < ip.dataStart ? bytes[at + 1]! : 0;
    if (kind !== OPTION.fill && length < 2) return true;
    at += length;
    if (at > ip.dataStart) return true;
  }
  return false;
}

/**
 * Makes the header at `at` that of a datagram whose fragments were put together: `[at, end)` is all of it.
 * Options and the rest of the header stay the first fragment's; it may be cut again where it is passed on.
 */
export function wholeIpv4(slab: Slab, at: number, end: number, congestionExperienced: boolean): void {
  const view = slab.view;
  const headerEnd = at + ((view.getUint8(at) & 15) << 2);
  if (congestionExperienced) view.setUint8(at + AT.typeOfService, view.getUint8(at + AT.typeOfService) | 3);
  view.setUint16(at + AT.totalLength, end - at);
  view.setUint16(at + AT.fragment, 0);
  view.setUint16(at + AT.checksum, 0);
  view.setUint16(at + AT.checksum, checksumOf(slab, at, headerEnd));
}
