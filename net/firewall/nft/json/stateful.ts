import type { Source } from "../read/raw.ts";
import { BYTE_UNITS, inBytes, PACKETS_BURST, TIME_UNITS } from "../read/units.ts";
import type { Limit, Quota, StatefulStatement } from "../schema.ts";
import { Fields } from "./fields.ts";

export function readStateful(source: Source, name: string, value: unknown, at: string): StatefulStatement {
  if (name === "counter") {
    if (value === null) return { counter: { packets: 0, bytes: 0 } };
    const fields = new Fields(source, value, at);
    const counter = {
      packets: fields.optionalNumber("packets") ?? 0,
      bytes: fields.optionalNumber("bytes") ?? 0,
    };
    fields.end();
    return { counter };
  }
  const known = ["quota", "limit", "ct count"];
  if (!known.includes(name)) return source.fail(at, `Expected one of counter, ${known.join(", ")}`);
  const fields = new Fields(source, value, at);
  const statement: StatefulStatement = name === "quota"
    ? { quota: readQuota(source, fields) }
    : name === "limit"
    ? { limit: readLimit(source, fields) }
    : { "ct count": { val: fields.number("val", 0xffff_ffff), inv: fields.boolean("inv") } };
  fields.end();
  return statement;
}

function readQuota(source: Source, fields: Fields): Quota {
  const val = fields.number("val");
  const unit = fields.optionalWord("val_unit", BYTE_UNITS) ?? "bytes";
  const used = fields.optionalNumber("used") ?? 0;
  const usedUnit = fields.optionalWord("used_unit", BYTE_UNITS) ?? "bytes";
  return {
    bytes: inBytes(source, fields.at("val"), val, unit),
    used: inBytes(source, fields.at("used"), used, usedUnit),
    inv: fields.boolean("inv"),
  };
}

/** The fields of a limit, in a rule or as an object of its own. */
export function readLimit(source: Source, fields: Fields): Limit {
  const rate = fields.number("rate", Number.MAX_SAFE_INTEGER, 1);
  const unit = fields.optionalWord("rate_unit", ["packets", ...BYTE_UNITS]) ??
    fields.optionalWord("unit", ["packets", ...BYTE_UNITS]) ?? "packets";
  const burst = fields.optionalNumber("burst", 0xffff_ffff);
  const burstUnit = fields.optionalWord("burst_unit", ["packets", ...BYTE_UNITS]) ?? "bytes";
  const per = fields.optionalWord("per", TIME_UNITS) ?? "second";
  const inv = fields.boolean("inv");
  if (unit === "packets") return { rate, per, burst: burst ?? PACKETS_BURST, unit, inv };
  return {
    rate: inBytes(source, fields.at("rate"), rate, unit),
    per,
    burst: burst === undefined
      ? 0
      : inBytes(source, fields.at("burst"), burst, burstUnit === "packets" ? "bytes" : burstUnit),
    unit: "bytes",
    inv,
  };
}
