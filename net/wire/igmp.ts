import type { Slab } from "../../base/slab.ts";
import { checksumOf } from "./checksum.ts";
import { Drop } from "./drop.ts";

/** The protocol's number. */
export const PROTOCOL_IGMP = 2;

/** Message types (RFC 3376 section 4). */
export const IgmpType = {
  Query: 0x11,
  ReportV1: 0x12,
  ReportV2: 0x16,
  LeaveV2: 0x17,
  ReportV3: 0x22,
} as const;
export type IgmpType = (typeof IgmpType)[keyof typeof IgmpType];

/** What a group record says (RFC 3376 section 4.2.12; RFC 3810 section 5.2.12 has the same numbers). */
export const GroupRecordType = {
  IsInclude: 1,
  IsExclude: 2,
  ToInclude: 3,
  ToExclude: 4,
} as const;
export type GroupRecordType = (typeof GroupRecordType)[keyof typeof GroupRecordType];

/** One group in a report. */
export interface GroupRecord {
  readonly type: GroupRecordType;
  readonly group: number;
  readonly sources: readonly number[];
}

/** Bytes of a message of version 1 or 2, and of a query or report of version 3 before its sources or records. */
export const IGMP_LENGTH = 8;
const QUERY_V3_LENGTH = 12;
const RECORD_LENGTH = 8;

const AT = {
  type: 0,
  code: 1,
  checksum: 2,
  group: 4,
  flags: 8,
  interval: 9,
  sources: 10,
  records: 6,
} as const;

/** A message as hosts need it: a query, or what another host of old reports. */
export class IgmpRecord {
  type = 0;
  /** 1, 2 or 3; of reports that of their type. */
  version = 0;
  /** 0 for a general query. */
  group = 0;
  /** How long answers may take. */
  responseMs = 0;
  /** The querier's robustness variable and its interval, 0 when it does not say. Version 3 only. */
  robustness = 0;
  intervalMs = 0;
  /** Version 3 only: sources that the query asks about, in the slab. */
  sourcesStart = 0;
  sourceCount = 0;
}

/** Fills `into` from the message in `[start, end)`; `Drop.None`, or the reason, and then `into` is untouched. */
export function readIgmp(slab: Slab, start: number, end: number, into: IgmpRecord): Drop {
  const { view } = slab;
  const length = end - start;
  if (length < IGMP_LENGTH) return Drop.IgmpMalformed;
  if (checksumOf(slab, start, end) !== 0) return Drop.IgmpMalformed;
  const type = view.getUint8(start + AT.type);
  const code = view.getUint8(start + AT.code);
  // RFC 3376 section 7.1: between the two lengths there is no version.
  if (type === IgmpType.Query && length > IGMP_LENGTH && length < QUERY_V3_LENGTH) return Drop.IgmpMalformed;
  const v3 = type === IgmpType.Query && length >= QUERY_V3_LENGTH;
  const sourceCount = v3 ? view.getUint16(start + AT.sources) : 0;
  if (v3 && QUERY_V3_LENGTH + 4 * sourceCount > length) return Drop.IgmpMalformed;
  into.type = type;
  into.group = view.getInt32(start + AT.group);
  into.version = v3 ? 3 : type === IgmpType.ReportV1 || (type === IgmpType.Query && code === 0) ? 1 : 2;
  into.responseMs = 100 * (v3 ? floating(code) : into.version === 1 ? 100 : code); // version 1 means 10 s
  into.robustness = v3 ? view.getUint8(start + AT.flags) & 7 : 0;
  into.intervalMs = v3 ? 1_000 * floating(view.getUint8(start + AT.interval)) : 0;
  into.sourcesStart = start + QUERY_V3_LENGTH;
  into.sourceCount = sourceCount;
  return Drop.None;
}

/** RFC 3376 section 4.1.1: from 128 on a mantissa of four bits and an exponent of three. */
function floating(code: number): number {
  return code < 128 ? code : ((code & 15) | 16) << (((code >>> 4) & 7) + 3);
}

/** Writes a report or a leave of version 1 or 2 at `at` and returns where it ends. */
export function writeIgmp(type: number, group: number, slab: Slab, at: number): number {
  const { view } = slab;
  view.setUint8(at + AT.type, type);
  view.setUint8(at + AT.code, 0);
  view.setUint16(at + AT.checksum, 0);
  view.setInt32(at + AT.group, group);
  view.setUint16(at + AT.checksum, checksumOf(slab, at, at + IGMP_LENGTH));
  return at + IGMP_LENGTH;
}

/** Bytes of one record. */
export function igmpRecordLength(record: GroupRecord): number {
  return RECORD_LENGTH + 4 * record.sources.length;
}

/** Writes a report of version 3 at `at` and returns where it ends. */
export function writeIgmpReport(records: readonly GroupRecord[], slab: Slab, at: number): number {
  const { view } = slab;
  view.setUint32(at, IgmpType.ReportV3 << 24);
  view.setUint16(at + AT.group, 0);
  view.setUint16(at + AT.records, records.length);
  let end = at + IGMP_LENGTH;
  for (const { type, group, sources } of records) {
    view.setUint8(end, type);
    view.setUint8(end + 1, 0);
    view.setUint16(end + 2, sources.length);
    view.setInt32(end + 4, group);
    end += RECORD_LENGTH;
    for (const source of sources) {
      view.setInt32(end, source);
      end += 4;
    }
  }
  view.setUint16(at + AT.checksum, checksumOf(slab, at, end));
  return end;
}
