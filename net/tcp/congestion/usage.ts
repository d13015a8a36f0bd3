import type { Tcb } from "../tcb.ts";

/** Whether the window is in use: slow start may reach twice what was in flight, avoidance needs all of it. */
export function mayGrow(tcb: Tcb): boolean {
  if (tcb.cwndLimited) return true;
  return tcb.cwnd < tcb.ssthresh && tcb.cwnd < 2 * (tcb.cwndFlightMax + padding(tcb));
}

/** A short segment counts as a whole one. */
function padding(tcb: Tcb): number {
  const short = tcb.cwndFlightMax % tcb.sndMss;
  return short === 0 ? 0 : tcb.sndMss - short;
}
