import type { Slab } from "../../base/slab.ts";
import { foldSum, sumWords } from "./checksum.ts";
import { Drop } from "./drop.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import { IPV6_HEADER_LENGTH, IPV6_MTU_MIN, Ipv6Record, PROTOCOL_ICMPV6, readQuotedIpv6 } from "./ipv6.ts";

/** Types that mean something to us (RFC 4443, 4861, 3810). */
export const Icmpv6Type = {
  Unreachable: 1,
  /** The MTU is the second word. */
  PacketTooBig: 2,
  TimeExceeded: 3,
  /** The second word points at the mistake. */
  ParameterProblem: 4,
  Echo: 128,
  EchoReply: 129,
  MulticastQuery: 130,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  Redirect: 137,
  MulticastReport2: 143,
} as const;
export type Icmpv6Type = (typeof Icmpv6Type)[keyof typeof Icmpv6Type];

/** Codes of `Icmpv6Type.Unreachable`. */
export const Icmpv6Unreachable = {
  NoRoute: 0,
  Prohibited: 1,
  BeyondScope: 2,
  Address: 3,
  Port: 4,
  SourcePolicy: 5,
  RejectRoute: 6,
} as const;
export type Icmpv6Unreachable = (typeof Icmpv6Unreachable)[keyof typeof Icmpv6Unreachable];

/** Bytes before the data: echo's payload, an error's quotation. */
export const ICMPV6_HEADER_LENGTH = 8;
/** Bytes that an error may quote: it must not be longer than the least MTU (RFC 4443 section 2.4 c). */
const QUOTE_MAX = IPV6_MTU_MIN - IPV6_HEADER_LENGTH - ICMPV6_HEADER_LENGTH;

const AT = { type: 0, code: 1, checksum: 2, rest: 4 } as const;

/** A message as the layers above see it. */
export class Icmpv6Record {
  type = 0;
  code = 0;
  /** The second word. */
  rest = 0;
  /** Offsets into the slab of what follows the second word. */
  dataStart = 0;
  dataEnd = 0;
  /** Whether the message is an error that quotes a packet. Without, the fields below are an earlier one's. */
  hasQuote = false;
  readonly quote: Ipv6Record = new Ipv6Record();
  /** That packet's ports, when it was TCP or UDP and that much of it is quoted; else 0. */
  quoteSourcePort = 0;
  quoteDestinationPort = 0;
  /** That segment's sequence number; else 0. */
  quoteSequence = 0;
}

/** Whether `type` reports an error: such a message is never answered by another. */
export function isIcmpv6Error(type: number): boolean {
  return type < 128;
}

/**
 * Fills `into` from the message in `[start, end)`, which came from `source` to `destination` (their partial
 * sums). Judges length and checksum and, of errors, that they quote a header.
 *
 * @returns `Drop.None`, or the reason, and then only `quote` may have been touched.
 */
export function readIcmpv6(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
  into: Icmpv6Record,
): Drop {
  const view = slab.view;
  if (end - start < ICMPV6_HEADER_LENGTH) return Drop.IcmpShort;
  if (foldSum(sumWords(slab, start, end, pseudo(source, destination, end - start))) !== 0xffff) {
    return Drop.IcmpChecksum;
  }
  const type = view.getUint8(start + AT.type);
  const dataStart = start + ICMPV6_HEADER_LENGTH;
  const hasQuote = type >= Icmpv6Type.Unreachable && type <= Icmpv6Type.ParameterProblem;
  if (hasQuote) {
    if (readQuotedIpv6(slab, dataStart, end, into.quote) !== Drop.None) return Drop.IcmpShort;
    fillQuote(view, into, end);
  }
  into.type = type;
  into.code = view.getUint8(start + AT.code);
  into.rest = view.getInt32(start + AT.rest);
  into.dataStart = dataStart;
  into.dataEnd = end;
  into.hasQuote = hasQuote;
  return Drop.None;
}

function fillQuote(view: DataView, into: Icmpv6Record, end: number): void {
  const { protocol, fragmentOffset, dataStart } = into.quote;
  const whole = fragmentOffset === 0 && dataStart + 8 <= end;
  const isTcp = protocol === PROTOCOL_TCP && whole;
  const hasPorts = isTcp || (protocol === PROTOCOL_UDP && whole);
  into.quoteSourcePort = hasPorts ? view.getUint16(dataStart) : 0;
  into.quoteDestinationPort = hasPorts ? view.getUint16(dataStart + 2) : 0;
  into.quoteSequence = isTcp ? view.getInt32(dataStart + 4) : 0;
}

/**
 * Writes a message at `at` with `[dataStart, dataEnd)` of `from` as its data. Both slabs may be one, and
 * the ranges may overlap. The checksum is left zero for `finishIcmpv6Checksum`.
 *
 * @returns Where the message ends.
 */
export function writeIcmpv6(
  type: number,
  code: number,
  rest: number,
  from: Slab,
  dataStart: number,
  dataEnd: number,
  slab: Slab,
  at: number,
): number {
  slab.bytes.set(from.bytes.subarray(dataStart, dataEnd), at + ICMPV6_HEADER_LENGTH);
  slab.view.setUint8(at + AT.type, type);
  slab.view.setUint8(at + AT.code, code);
  slab.view.setUint16(at + AT.checksum, 0);
  slab.view.setInt32(at + AT.rest, rest);
  return at + ICMPV6_HEADER_LENGTH + dataEnd - dataStart;
}

/** As `writeIcmpv6`, about the packet in `[quoteStart, quoteEnd)` of `from`, as much of which is quoted as may be. */
export function writeIcmpv6Error(
  type: number,
  code: number,
  rest: number,
  from: Slab,
  quoteStart: number,
  quoteEnd: number,
  slab: Slab,
  at: number,
): number {
  return writeIcmpv6(
    type,
    code,
    rest,
    from,
    quoteStart,
    Math.min(quoteEnd, quoteStart + QUOTE_MAX),
    slab,
    at,
  );
}

/** Fills the checksum of the message in `[start, end)`; addresses are given as their partial sums. */
export function finishIcmpv6Checksum(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
): void {
  slab.view.setUint16(start + AT.checksum, 0);
  const sum = sumWords(slab, start, end, pseudo(source, destination, end - start));
  slab.view.setUint16(start + AT.checksum, ~foldSum(sum) & 0xffff);
}

function pseudo(source: number, destination: number, length: number): number {
  return source + destination + PROTOCOL_ICMPV6 + length;
}
