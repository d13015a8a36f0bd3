import type { DataType, Immediate } from "../schema.ts";
import { DATA_TYPES, flagWords, symbolOf } from "./datatypes.ts";
import { formatClassid, formatDate, formatHour } from "./times.ts";

/** The last second that a date of four digits names. */
const DATE_MAX = 253_402_300_799;
/** Types whose words are read and not printed, as nft does unless asked. */
const NUMERIC: readonly DataType[] = ["inet_service", "uid", "gid", "devgroup"];

/** The words of a literal: one, or several flags that are set together. A number where there is none. */
export function wordsOf(value: Immediate, type: DataType): readonly string[] | Immediate {
  if (typeof value !== "number") return value;
  const { flags, print } = DATA_TYPES[type];
  if (flags === true) return flagWords(type, value) ?? value;
  if (print === "classid") return [symbolOf(type, value) ?? formatClassid(value)];
  if (print === "hour") return value < 86_400 ? [formatHour(value)] : value;
  if (print === "date") return value <= DATE_MAX ? [formatDate(value)] : value;
  const symbol = NUMERIC.includes(type) ? undefined : symbolOf(type, value);
  return symbol === undefined ? value : [symbol];
}
