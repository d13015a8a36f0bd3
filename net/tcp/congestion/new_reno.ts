import type { Tcb } from "../tcb.ts";
import type { CongestionControl } from "./congestion.ts";
import { rememberWindows, restoreWindows } from "./episode.ts";
import { hystartRound } from "./hystart.ts";
import { increase, slowStart } from "./slow_start.ts";
import { mayGrow } from "./usage.ts";

/** Slow start and congestion avoidance of RFC 5681 with byte counting (RFC 3465). */
export const newReno: CongestionControl = {
  name: "newreno",
  start(): void {},
  measured(): void {},
  acked(tcb: Tcb, deliveredBytes: number): void {
    hystartRound(tcb);
    if (!mayGrow(tcb)) return;
    let left = deliveredBytes;
    if (tcb.cwnd < tcb.ssthresh) left = slowStart(tcb, left);
    if (left > 0) increase(tcb, tcb.cwnd, left);
  },
  thresholdAfterLoss(tcb: Tcb, flightBytes: number): number {
    rememberWindows(tcb);
    return Math.max(flightBytes >>> 1, 2 * tcb.sndMss);
  },
  timedOut(): void {},
  undo: restoreWindows,
  sendingAgain(): void {},
};
