import type { TimeUnit } from "../schema.ts";
import type { Source } from "./raw.ts";

export const TIME_UNITS: readonly TimeUnit[] = ["second", "minute", "hour", "day", "week"];
/** nft's own burst, in packets. */
export const PACKETS_BURST = 5;
const SIZES = { bytes: 1, kbytes: 1024, mbytes: 1024 * 1024 } as const;
export const BYTE_UNITS = ["bytes", "kbytes", "mbytes"] as const;

/** A number of bytes that `unit` multiplies. */
export function inBytes(source: Source, at: string | number, value: number, unit: string): number {
  const bytes = value * SIZES[unit as keyof typeof SIZES];
  return Number.isSafeInteger(bytes) ? bytes : source.fail(at, `${value} ${unit} are too many`);
}

/** Bytes in the largest unit that divides them, as nft prints them. */
export function inUnits(bytes: number): [value: number, unit: "bytes" | "kbytes" | "mbytes"] {
  if (bytes > 0 && bytes % (1024 * 1024) === 0) return [bytes / (1024 * 1024), "mbytes"];
  return bytes > 0 && bytes % 1024 === 0 ? [bytes / 1024, "kbytes"] : [bytes, "bytes"];
}
