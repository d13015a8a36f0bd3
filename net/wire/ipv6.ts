import type { Slab } from "../../base/slab.ts";
import { isIpv6Handle } from "./address.ts";
import { Drop } from "./drop.ts";
import { IPV4_HEADER_LENGTH } from "./ipv4.ts";
import { isMulticastWord } from "./ipv6_address.ts";

/** Next-header numbers that are IPv6's own (RFC 8200 section 4, RFC 4443). */
export const NEXT_HOP_BY_HOP = 0;
export const NEXT_ROUTING = 43;
export const NEXT_FRAGMENT = 44;
export const PROTOCOL_ICMPV6 = 58;
/** Nothing follows. */
export const NEXT_NONE = 59;
export const NEXT_DESTINATION_OPTIONS = 60;

export const IPV6_HEADER_LENGTH = 40;
export const IPV6_FRAGMENT_HEADER_LENGTH = 8;
/** Every link carries packets of this length whole (RFC 8200 section 5). */
export const IPV6_MTU_MIN = 1_280;

/** Extension headers before the upper layer's: RFC 8200 wants each kind once, destination options twice. */
export const EXTENSION_HEADERS_MAX = 8;
/** Options in one header beside padding, and bytes of one padding: Linux's max_hbh_opts_number and its rule. */
export const OPTIONS_MAX = 8;
const PADDING_MAX = 7;

const AT = { payloadLength: 4, nextHeader: 6, hopLimit: 7, source: 8, destination: 24 } as const;

const Option = { pad1: 0, padN: 1, routerAlert: 5 } as const;

/** Codes of ICMPv6 Parameter Problem (RFC 4443 section 3.4). */
export const Problem = { none: -1, header: 0, nextHeader: 1, option: 2 } as const;

/** An IPv6 packet as the layers above see it. Its addresses are read from `headerStart` + 8 and + 24. */
export class Ipv6Record {
  /** DSCP in the upper six bits, ECN in the lower two. */
  trafficClass = 0;
  flowLabel = 0;
  hopLimit = 0;
  /** What the payload is, behind all extension headers; `NEXT_FRAGMENT` for a part of a datagram. */
  protocol = 0;
  /** Offsets into the slab: the header, the payload, and the end that the payload length names. */
  headerStart = 0;
  dataStart = 0;
  dataEnd = 0;
  /** Where the byte lies that gives `protocol`. */
  protocolAt = 0;
  /** The fragment header's fields, for a part of a datagram; the payload is what follows that header. */
  fragmentAt = 0;
  fragmentProtocol = 0;
  fragmentOffset = 0;
  moreFragments = false;
  identification = 0;
  /** After a failure: what its sender must be told (`Problem`), and where in the packet the mistake is. */
  problem = -1;
  problemAt = 0;
}

/**
 * Fills `into` from the packet in `[start, end)`, which may end in padding, and walks its extension
 * headers up to the payload or the fragment header.
 *
 * Judges version, length, and the extension headers (RFC 8200 section 4, RFC 5095); addresses and hop
 * limit are the caller's to judge. A fragment that is a whole datagram (RFC 6946) is taken as that.
 *
 * @returns `Drop.None`, or the reason; then `problem` and `problemAt` say what to answer.
 */
export function readIpv6(slab: Slab, start: number, end: number, into: Ipv6Record): Drop {
  const view = slab.view;
  into.problem = Problem.none;
  if (end - start < IPV6_HEADER_LENGTH) return Drop.Ipv6Short;
  const first = view.getInt32(start);
  if (first >>> 28 !== 6) return Drop.Ipv6Version;
  const dataStart = start + IPV6_HEADER_LENGTH;
  const dataEnd = dataStart + view.getUint16(start + AT.payloadLength);
  if (dataEnd > end) return Drop.Ipv6Length;
  into.trafficClass = (first >>> 20) & 0xff;
  into.flowLabel = first & 0xf_ffff;
  into.hopLimit = view.getUint8(start + AT.hopLimit);
  into.protocol = view.getUint8(start + AT.nextHeader);
  into.headerStart = start;
  into.dataStart = dataStart;
  into.dataEnd = dataEnd;
  into.protocolAt = start + AT.nextHeader;
  if (!isExtension(into.protocol)) return Drop.None;
  return walk(slab, into);
}

/** Whether `readIpv6` found nothing to go by: the header itself is no good. */
export function isHeaderBroken(reason: Drop): boolean {
  return reason === Drop.Ipv6Short || reason === Drop.Ipv6Version || reason === Drop.Ipv6Length;
}

function isExtension(protocol: number): boolean {
  return protocol === NEXT_HOP_BY_HOP || protocol === NEXT_ROUTING || protocol === NEXT_FRAGMENT ||
    protocol === NEXT_DESTINATION_OPTIONS;
}

function walk(slab: Slab, into: Ipv6Record): Drop {
  const { bytes, view } = slab;
  const { headerStart, dataEnd } = into;
  for (let count = 0; isExtension(into.protocol); count++) {
    if (count === EXTENSION_HEADERS_MAX) return Drop.Ipv6Extension;
    const { protocol, dataStart: at } = into;
    if (protocol === NEXT_HOP_BY_HOP && count > 0) {
      return problem(into, Problem.nextHeader, into.protocolAt, Drop.Ipv6Extension);
    }
    if (dataEnd - at < 8) return Drop.Ipv6Extension;
    if (protocol === NEXT_FRAGMENT) {
      const word = view.getUint16(at + 2);
      into.fragmentAt = at;
      into.fragmentProtocol = bytes[at]!;
      into.fragmentOffset = word & 0xfff8;
      into.moreFragments = (word & 1) !== 0;
      into.identification = view.getInt32(at + 4);
      if (into.moreFragments || into.fragmentOffset !== 0) {
        into.dataStart = at + IPV6_FRAGMENT_HEADER_LENGTH;
        if (into.moreFragments && ((dataEnd - into.dataStart) & 7) !== 0) {
          return problem(into, Problem.header, headerStart + AT.payloadLength, Drop.Ipv6Fragment);
        }
        return Drop.None;
      }
      into.dataStart = at + IPV6_FRAGMENT_HEADER_LENGTH;
    } else {
      const next = at + 8 + 8 * bytes[at + 1]!;
      if (next > dataEnd) return Drop.Ipv6Extension;
      if (protocol === NEXT_ROUTING) {
        // No type is spoken here, and type 0 by nobody any more (RFC 5095): nothing left to visit, or refused.
        if (bytes[at + 3] !== 0) return problem(into, Problem.header, at + 2, Drop.Ipv6Routing);
      } else {
        const reason = readOptions(slab, at + 2, next, into);
        if (reason !== Drop.None) return reason;
      }
      into.dataStart = next;
    }
    into.protocolAt = at;
    into.protocol = bytes[at]!;
  }
  return Drop.None;
}

/** The options in `[at, end)`: known ones and padding pass, the others' first two bits say what to do. */
function readOptions(slab: Slab, at: number, end: number, into: Ipv6Record): Drop {
  const { bytes, view } = slab;
  let options = 0;
  let padding = 0;
  while (at < end) {
    const type = bytes[at]!;
    if (type === Option.pad1) {
      if (++padding > PADDING_MAX) return Drop.Ipv6Extension;
      at++;
      continue;
    }
    const next = at + 2 + (at + 1 < end ? bytes[at + 1]! : end);
    if (next > end) return Drop.Ipv6Extension;
    if (type === Option.padN) {
      padding += next - at;
      if (padding > PADDING_MAX) return Drop.Ipv6Extension;
      for (let pad = at + 2; pad < next; pad++) if (bytes[pad] !== 0) return Drop.Ipv6Extension;
      at = next;
      continue;
    }
    padding = 0;
    if (++options > OPTIONS_MAX) return Drop.Ipv6Extension;
    const action = type >>> 6;
    if (type !== Option.routerAlert && action !== 0) {
      const toGroup = isMulticastWord(view.getInt32(into.headerStart + AT.destination));
      if (action === 1 || (action === 3 && toGroup)) return Drop.Ipv6Option;
      return problem(into, Problem.option, at, Drop.Ipv6Option);
    }
    at = next;
  }
  return Drop.None;
}

function problem(into: Ipv6Record, code: number, at: number, reason: Drop): Drop {
  into.problem = code;
  into.problemAt = at - into.headerStart;
  return reason;
}

/**
 * Fills `into` from a packet as an ICMPv6 error quotes it, cut short: the same walk, but what cannot be read
 * ends it in peace, with `protocol` as far as it was found.
 *
 * @returns `Drop.None`, or `Drop.Ipv6Short` when there is not even a header.
 */
export function readQuotedIpv6(slab: Slab, start: number, end: number, into: Ipv6Record): Drop {
  const { bytes, view } = slab;
  if (end - start < IPV6_HEADER_LENGTH || bytes[start]! >>> 4 !== 6) return Drop.Ipv6Short;
  into.headerStart = start;
  into.hopLimit = bytes[start + AT.hopLimit]!;
  into.protocol = bytes[start + AT.nextHeader]!;
  into.protocolAt = start + AT.nextHeader;
  into.dataStart = start + IPV6_HEADER_LENGTH;
  into.dataEnd = end;
  into.fragmentOffset = 0;
  into.moreFragments = false;
  for (let count = 0; count < EXTENSION_HEADERS_MAX && isExtension(into.protocol); count++) {
    const { protocol, dataStart: at } = into;
    if (end - at < 8) break;
    const next = at + 8 + (protocol === NEXT_FRAGMENT ? 0 : 8 * bytes[at + 1]!);
    if (next > end) break;
    if (protocol === NEXT_FRAGMENT) into.fragmentOffset = view.getUint16(at + 2) & 0xfff8;
    into.protocolAt = at;
    into.protocol = bytes[at]!;
    into.dataStart = next;
    if (into.fragmentOffset !== 0) break;
  }
  return Drop.None;
}

/**
 * Writes the header's first eight bytes at `at`, for `payloadLength` bytes behind it; the addresses are the
 * address table's to write, at `at` + 8 and + 24.
 */
export function writeIpv6(
  slab: Slab,
  at: number,
  payloadLength: number,
  protocol: number,
  trafficClass: number,
  flowLabel: number,
  hopLimit: number,
): void {
  const view = slab.view;
  view.setInt32(at, (6 << 28) | (trafficClass << 20) | flowLabel);
  view.setUint16(at + AT.payloadLength, payloadLength);
  view.setUint8(at + AT.nextHeader, protocol);
  view.setUint8(at + AT.hopLimit, hopLimit);
}

/** Writes a fragment header (RFC 8200 section 4.5) at `at`; `offset` is in bytes, a multiple of eight. */
export function writeIpv6Fragment(
  slab: Slab,
  at: number,
  protocol: number,
  offset: number,
  more: boolean,
  identification: number,
): void {
  const view = slab.view;
  view.setUint16(at, protocol << 8);
  view.setUint16(at + 2, offset | (more ? 1 : 0));
  view.setInt32(at + 4, identification);
}

/** Makes the header in `[at, end)` that of a datagram put together, whose payload length changes. */
export function wholeIpv6(slab: Slab, at: number, end: number, congestionExperienced: boolean): void {
  const view = slab.view;
  if (congestionExperienced) view.setUint32(at, view.getUint32(at) | (3 << 20));
  view.setUint16(at + AT.payloadLength, end - at - IPV6_HEADER_LENGTH);
}

/** Bytes of the IP header in front of what is sent to `address`, of either family. */
export function ipHeaderLength(address: number): number {
  return isIpv6Handle(address) ? IPV6_HEADER_LENGTH : IPV4_HEADER_LENGTH;
}

/** The partial sum of a 128-bit address in a packet, for pseudo-headers. */
export function sumIpv6Address(slab: Slab, at: number): number {
  const view = slab.view;
  return view.getUint32(at) + view.getUint32(at + 4) + view.getUint32(at + 8) + view.getUint32(at + 12);
}
