import type { Tcb } from "./tcb.ts";

/** Timestamp clock of a connection: milliseconds plus its own offset (RFC 7323 section 5.4). */
export function timestampNow(tcb: Tcb, nowMs: number): number {
  return (Math.floor(nowMs) + tcb.tsOffset) | 0;
}
