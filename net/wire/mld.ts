import type { Slab } from "../../base/slab.ts";
import { Drop } from "./drop.ts";
import type { GroupRecord } from "./igmp.ts";

/** Message types of ICMPv6 (RFC 2710, RFC 3810). */
export const MldType = { Query: 130, Report1: 131, Done1: 132, Report2: 143 } as const;
export type MldType = (typeof MldType)[keyof typeof MldType];

/** Bytes of a message of version 1, and of a query of version 2 before its sources. */
export const MLD_LENGTH = 24;
const QUERY_V2_LENGTH = 28;
/** Bytes of a report of version 2 before its records, and of a record without sources. */
export const MLD_REPORT_LENGTH = 8;
export const MLD_RECORD_LENGTH = 20;

const AT = { type: 0, response: 4, group: 8, flags: 24, interval: 25, sources: 26, records: 6 } as const;

/** A query, or a report of version 1; `group` is an offset into the slab. */
export class MldRecord {
  type = 0;
  /** 3 for version 2, as MLD is one behind IGMP; 2 for version 1. */
  version = 0;
  groupAt = 0;
  responseMs = 0;
  robustness = 0;
  intervalMs = 0;
}

/** Fills `into` from the message in `[start, end)`, whose checksum is right; `Drop.None`, or the reason. */
export function readMld(slab: Slab, start: number, end: number, into: MldRecord): Drop {
  const { view } = slab;
  const length = end - start;
  if (length < MLD_LENGTH) return Drop.MldMalformed;
  const type = view.getUint8(start + AT.type);
  // RFC 3810 section 8.1: between the two lengths there is no version.
  if (type === MldType.Query && length > MLD_LENGTH && length < QUERY_V2_LENGTH) return Drop.MldMalformed;
  const v2 = type === MldType.Query && length >= QUERY_V2_LENGTH;
  if (v2 && QUERY_V2_LENGTH + 16 * view.getUint16(start + AT.sources) > length) return Drop.MldMalformed;
  const response = view.getUint16(start + AT.response);
  into.type = type;
  into.version = v2 ? 3 : 2;
  into.groupAt = start + AT.group;
  // RFC 3810 sections 5.1.3 and 5.1.9: beyond a limit a mantissa and an exponent of three bits.
  into.responseMs = v2 && response >= 0x8000
    ? ((response & 0xfff) | 0x1000) << (((response >>> 12) & 7) + 3)
    : response;
  const interval = v2 ? view.getUint8(start + AT.interval) : 0;
  into.intervalMs = 1_000 *
    (interval < 128 ? interval : ((interval & 15) | 16) << (((interval >>> 4) & 7) + 3));
  into.robustness = v2 ? view.getUint8(start + AT.flags) & 7 : 0;
  return Drop.None;
}

/** Who writes 16 bytes of an address. */
export type WriteAddress = (address: number, slab: Slab, at: number) => void;

/** Writes a report or done of version 1 at `at`, the checksum left zero, and returns where it ends. */
export function writeMld1(type: number, group: number, slab: Slab, at: number, write: WriteAddress): number {
  slab.bytes.fill(0, at, at + AT.group);
  slab.view.setUint8(at + AT.type, type);
  write(group, slab, at + AT.group);
  return at + MLD_LENGTH;
}

/** Writes a report of version 2, of records without sources, at `at`, the checksum left zero; returns its end. */
export function writeMld2(
  records: readonly GroupRecord[],
  slab: Slab,
  at: number,
  write: WriteAddress,
): number {
  const { view } = slab;
  view.setUint32(at, MldType.Report2 << 24);
  view.setUint32(at + 4, records.length);
  let end = at + MLD_REPORT_LENGTH;
  for (const { type, group } of records) {
    view.setUint32(end, type << 24);
    write(group, slab, end + 4);
    end += MLD_RECORD_LENGTH;
  }
  return end;
}
