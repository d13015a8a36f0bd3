import type { Log, LogLevel } from "../schema.ts";
import { LOG_PREFIX_CHARACTERS_MAX } from "../words/limits.ts";
import { LOG_FLAGS, type Source } from "./raw.ts";
import { sorted } from "./sorted.ts";

export const LOG_LEVELS: readonly LogLevel[] = [
  ...["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"] as const,
];

/** A log statement in its one form. */
export function makeLog(
  source: Source,
  log: { readonly [Key in keyof Log]-?: Log[Key] | undefined },
  at: string | number,
): Log {
  const { prefix, group, snaplen, queueThreshold, level } = log;
  const flags = log.flags ?? [];
  if (prefix !== undefined && (prefix.length > LOG_PREFIX_CHARACTERS_MAX || /["\n\r\0]/.test(prefix))) {
    source.fail(
      at,
      `A prefix has at most ${LOG_PREFIX_CHARACTERS_MAX} characters, and no quotes or line ends`,
    );
  }
  if (group === undefined && (snaplen ?? queueThreshold) !== undefined) {
    source.fail(at, "snaplen and queue-threshold are for logs with a group");
  }
  if (group !== undefined && (level !== undefined || flags.length > 0)) {
    source.fail(at, "Logs with a group have neither level nor flags");
  }
  return {
    ...prefix === undefined || prefix === "" ? {} : { prefix },
    ...group === undefined ? {} : { group },
    ...snaplen === undefined || snaplen === 0 ? {} : { snaplen },
    ...queueThreshold === undefined || queueThreshold === 0 ? {} : { queueThreshold },
    ...level === undefined || level === "warn" ? {} : { level },
    flags: flags.includes("all") || flags.length === LOG_FLAGS.length - 1
      ? ["all"]
      : sorted(flags, LOG_FLAGS),
  };
}
