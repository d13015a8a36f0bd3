import { withoutTail } from "./freeze_counters.ts";
import { freezeRecords, thawRecords } from "./records.ts";
import type { Tcb } from "./tcb.ts";

/** Defaults of the format, whatever today's configuration says. */
const FIN_WAIT_2_MS = 60_000;

/** The application's options beyond those that have places of their own, as whole numbers: 0 is the default. */
export function freezeOptions(tcb: Tcb): number[] {
  return withoutTail([
    tcb.cork ? 1 : 0,
    tcb.lingerMs + 1,
    tcb.finWait2Ms - FIN_WAIT_2_MS,
    tcb.notSentLowWaterBytes,
    tcb.mssMax,
    tcb.synRetransmitsMax,
    tcb.pathMtuDiscovery ? 0 : 1,
    (tcb.more ? 1 : 0) | (tcb.push << 1),
    ...freezeRecords(tcb),
  ]);
}

/** Puts them back. */
export function thawOptions(state: readonly number[], tcb: Tcb): void {
  let at = 0;
  const next = (): number => state[at++] ?? 0;
  tcb.cork = next() !== 0;
  tcb.lingerMs = next() - 1;
  tcb.finWait2Ms = next() + FIN_WAIT_2_MS;
  tcb.notSentLowWaterBytes = next();
  tcb.mssMax = next();
  tcb.synRetransmitsMax = next();
  tcb.pathMtuDiscovery = next() === 0;
  const more = next();
  tcb.more = (more & 1) !== 0;
  tcb.push = more >>> 1;
  thawRecords(state.slice(at), tcb);
}
