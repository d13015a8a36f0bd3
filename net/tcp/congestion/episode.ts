import type { Tcb } from "../tcb.ts";

/** Remembers the windows at the start of a congestion episode. */
export function rememberWindows(tcb: Tcb): void {
  tcb.priorCwnd = tcb.cwnd;
  tcb.priorSsthresh = tcb.ssthresh;
}

/** Takes the windows back to where they were, unless they are higher meanwhile. */
export function restoreWindows(tcb: Tcb): void {
  if (tcb.priorCwnd > tcb.cwnd) tcb.cwnd = tcb.priorCwnd;
  if (tcb.priorSsthresh > tcb.ssthresh) tcb.ssthresh = tcb.priorSsthresh;
}
