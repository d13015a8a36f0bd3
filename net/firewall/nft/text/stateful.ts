import { BYTE_UNITS, inBytes, PACKETS_BURST, TIME_UNITS } from "../read/units.ts";
import type { Limit, Quota, StatefulStatement, TimeUnit } from "../schema.ts";
import type { Cursor } from "./cursor.ts";

/** Words that begin a statement with a state of its own. */
export const STATEFUL = ["counter", "quota", "limit", "ct"] as const;

export function parseStateful(cursor: Cursor): StatefulStatement {
  switch (cursor.expectWord(...STATEFUL)) {
    case "counter":
      return { counter: parseCounter(cursor) };
    case "quota":
      return { quota: parseQuota(cursor) };
    case "limit":
      return { limit: parseLimit(cursor) };
    default: {
      cursor.expectWord("count");
      const inv = cursor.takeWord("over") !== undefined;
      return { "ct count": { val: cursor.expectNumber("a number of connections", 0xffff_ffff), inv } };
    }
  }
}

/** `packets 5 bytes 10`, or nothing. */
export function parseCounter(cursor: Cursor): { packets: number; bytes: number } {
  if (cursor.takeWord("packets") === undefined) return { packets: 0, bytes: 0 };
  const packets = cursor.expectNumber("a number of packets", Number.MAX_SAFE_INTEGER);
  cursor.expectWord("bytes");
  return { packets, bytes: cursor.expectNumber("a number of bytes", Number.MAX_SAFE_INTEGER) };
}

/** `over 10 mbytes used 5 bytes`. */
export function parseQuota(cursor: Cursor): Quota {
  const inv = cursor.takeWord("over", "until") === "over";
  const bytes = parseBytes(cursor);
  const used = cursor.takeWord("used") === undefined ? 0 : parseBytes(cursor);
  return { bytes, used, inv };
}

/** `rate over 10 mbytes/second burst 5 packets`. */
export function parseLimit(cursor: Cursor): Limit {
  cursor.expectWord("rate");
  const inv = cursor.takeWord("over", "until") === "over";
  const { at } = cursor;
  const rate = cursor.expectNumber("a rate", Number.MAX_SAFE_INTEGER);
  if (rate === 0) cursor.source.fail(at, "A rate of 0 lets nothing through: expected at least 1");
  // "mbytes/second" is one word to the lexer, as it is to nft's.
  const [unit, joined] = cursor.token.kind === "word"
    ? cursor.next().text.split("/", 2)
    : [undefined, undefined];
  if (unit !== undefined && !["packets", ...BYTE_UNITS].includes(unit)) {
    cursor.source.fail(at, `Found "${unit}", expected a rate like 5/second or 10 mbytes/second`);
  }
  const per = joined ??
    (cursor.takeMark("/")
      ? cursor.expectName("a unit of time").text
      : cursor.expected('"/" and a unit of time'));
  if (!TIME_UNITS.includes(per as TimeUnit)) {
    cursor.source.fail(at, `Found "${per}", expected one of ${TIME_UNITS.join(", ")}`);
  }
  const packets = unit === undefined || unit === "packets";
  let burst = packets ? PACKETS_BURST : 0;
  if (cursor.takeWord("burst") !== undefined) {
    if (packets) {
      burst = cursor.expectNumber("a number of packets", 0xffff_ffff);
      cursor.expectWord("packets");
    } else burst = parseBytes(cursor);
  }
  return {
    rate: packets ? rate : inBytes(cursor.source, at, rate, unit!),
    per: per as TimeUnit,
    burst,
    unit: packets ? "packets" : "bytes",
    inv,
  };
}

function parseBytes(cursor: Cursor): number {
  const { at } = cursor;
  const value = cursor.expectNumber("a number of bytes", Number.MAX_SAFE_INTEGER);
  return inBytes(cursor.source, at, value, cursor.expectWord(...BYTE_UNITS));
}
