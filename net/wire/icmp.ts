import type { Slab } from "../../base/slab.ts";
import { checksumOf } from "./checksum.ts";
import { Drop } from "./drop.ts";
import { IPV4_HEADER_LENGTH, Ipv4Record, PROTOCOL_TCP, PROTOCOL_UDP, readQuotedIpv4 } from "./ipv4.ts";

/** Types that mean something to us (RFC 792). */
export const IcmpType = {
  EchoReply: 0,
  Unreachable: 3,
  /** To be ignored (RFC 6633). */
  SourceQuench: 4,
  Redirect: 5,
  Echo: 8,
  TimeExceeded: 11,
  ParameterProblem: 12,
} as const;
export type IcmpType = (typeof IcmpType)[keyof typeof IcmpType];

/** Codes of `IcmpType.Unreachable` (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1). */
export const IcmpUnreachable = {
  Network: 0,
  Host: 1,
  Protocol: 2,
  Port: 3,
  /** The next hop's MTU is in the lower half of `rest` (RFC 1191). */
  FragmentationNeeded: 4,
  SourceRouteFailed: 5,
  NetworkUnknown: 6,
  HostUnknown: 7,
  NetworkProhibited: 9,
  HostProhibited: 10,
  /** Filtered. */
  Prohibited: 13,
} as const;
export type IcmpUnreachable = (typeof IcmpUnreachable)[keyof typeof IcmpUnreachable];

/** Codes of `IcmpType.TimeExceeded`. */
export const IcmpTimeExceeded = { Transit: 0, Reassembly: 1 } as const;
export type IcmpTimeExceeded = (typeof IcmpTimeExceeded)[keyof typeof IcmpTimeExceeded];

/** Bytes before the data: echo's payload, an error's quotation. */
export const ICMP_HEADER_LENGTH = 8;

/** The longest error, its own IPv4 header included (RFC 1812 section 4.3.2.3). */
export const ICMP_ERROR_LENGTH_MAX = 576;

/** Bytes of a quoted datagram's payload that every error carries: ports and sequence number. */
const QUOTED_DATA_LENGTH = 8;

const AT = { type: 0, code: 1, checksum: 2, rest: 4 } as const;

/** A message as the layers above see it. */
export class IcmpRecord {
  type = 0;
  code = 0;
  /** The second word. Echo: identifier, sequence number. Fragmentation needed: 0, MTU. */
  rest = 0;
  /** Offsets into the slab of what follows the second word. */
  dataStart = 0;
  dataEnd = 0;
  /** Whether the message is an error. Without, the fields below are left over from an earlier one. */
  hasQuote = false;
  /** The header of the datagram that the error is about: its source is us. */
  readonly quote: Ipv4Record = new Ipv4Record();
  /** That datagram's ports, when it was TCP or UDP and not a later fragment; else 0. */
  quoteSourcePort = 0;
  quoteDestinationPort = 0;
  /** That segment's sequence number, when it was TCP and not a later fragment; else 0. */
  quoteSequence = 0;
}

/** Whether `type` reports an error: such a message quotes a datagram, and is never answered by an error. */
export function isIcmpError(type: number): boolean {
  return type === IcmpType.Unreachable || type === IcmpType.TimeExceeded ||
    type === IcmpType.ParameterProblem || type === IcmpType.SourceQuench || type === IcmpType.Redirect;
}

/**
 * Fills `into` from the message in `[start, end)`, `end` being where the IP datagram ends.
 *
 * Judges length and checksum and, of errors, that the quotation holds an IPv4 header and eight bytes
 * more. Messages of any type pass: what they mean is the caller's to judge.
 *
 * @returns `Drop.None`, or the reason, and then only `quote` may have been touched.
 */
export function readIcmp(slab: Slab, start: number, end: number, into: IcmpRecord): Drop {
  const view = slab.view;
  if (end - start < ICMP_HEADER_LENGTH) return Drop.IcmpShort;
  if (checksumOf(slab, start, end) !== 0) return Drop.IcmpChecksum;
  const type = view.getUint8(start + AT.type);
  const dataStart = start + ICMP_HEADER_LENGTH;
  const hasQuote = isIcmpError(type);
  if (hasQuote) {
    if (readQuotedIpv4(slab, dataStart, end, into.quote) !== Drop.None) return Drop.IcmpShort;
    if (into.quote.dataStart + QUOTED_DATA_LENGTH > end) return Drop.IcmpShort;
    fillQuote(view, into);
  }
  into.type = type;
  into.code = view.getUint8(start + AT.code);
  into.rest = view.getInt32(start + AT.rest);
  into.dataStart = dataStart;
  into.dataEnd = end;
  into.hasQuote = hasQuote;
  return Drop.None;
}

function fillQuote(view: DataView, into: IcmpRecord): void {
  const { protocol, fragmentOffset, dataStart } = into.quote;
  const isTcp = protocol === PROTOCOL_TCP && fragmentOffset === 0;
  const hasPorts = isTcp || (protocol === PROTOCOL_UDP && fragmentOffset === 0);
  into.quoteSourcePort = hasPorts ? view.getUint16(dataStart) : 0;
  into.quoteDestinationPort = hasPorts ? view.getUint16(dataStart + 2) : 0;
  into.quoteSequence = isTcp ? view.getInt32(dataStart + 4) : 0;
}

/**
 * Writes the answer to an echo request at `at`, checksum included: the request's second word and all
 * of its data (RFC 1122 section 3.2.2.6), copied from `from`.
 *
 * @returns Where the message ends.
 */
export function writeIcmpEchoReply(request: IcmpRecord, from: Slab, slab: Slab, at: number): number {
  const { code, rest, dataStart, dataEnd } = request;
  return writeIcmp(IcmpType.EchoReply, code, rest, from, dataStart, dataEnd, slab, at);
}

/**
 * Writes an error at `at`, checksum included, about the datagram in `[quoteStart, quoteEnd)` of `from`,
 * as much of which is quoted as 576 bytes hold beside our own IPv4 header.
 *
 * Whether an error may be sent at all (RFC 1122 section 3.2.2) is the caller's to judge.
 *
 * @returns Where the message ends.
 */
export function writeIcmpError(
  type: number,
  code: number,
  rest: number,
  from: Slab,
  quoteStart: number,
  quoteEnd: number,
  slab: Slab,
  at: number,
): number {
  const room = ICMP_ERROR_LENGTH_MAX - IPV4_HEADER_LENGTH - ICMP_HEADER_LENGTH;
  return writeIcmp(type, code, rest, from, quoteStart, Math.min(quoteEnd, quoteStart + room), slab, at);
}

/**
 * Writes a message at `at` with `[dataStart, dataEnd)` of `from` as its data, checksum included. Both
 * slabs may be one, and the ranges may overlap.
 *
 * @returns Where the message ends.
 */
export function writeIcmp(
  type: number,
  code: number,
  rest: number,
  from: Slab,
  dataStart: number,
  dataEnd: number,
  slab: Slab,
  at: number,
): number {
  const end = at + ICMP_HEADER_LENGTH + dataEnd - dataStart;
  slab.bytes.set(from.bytes.subarray(dataStart, dataEnd), at + ICMP_HEADER_LENGTH);
  slab.view.setUint8(at + AT.type, type);
  slab.view.setUint8(at + AT.code, code);
  slab.view.setInt32(at + AT.rest, rest);
  finishIcmpChecksum(slab, at, end);
  return end;
}

/** Fills the checksum of the message in `[start, end)`. */
export function finishIcmpChecksum(slab: Slab, start: number, end: number): void {
  slab.view.setUint16(start + AT.checksum, 0);
  slab.view.setUint16(start + AT.checksum, checksumOf(slab, start, end));
}
