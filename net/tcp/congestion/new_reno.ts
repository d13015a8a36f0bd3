import { Recovery, type Tcb } from "../tcb.ts";
import type { CongestionControl } from "./congestion.ts";

/**
 * Slow start and congestion avoidance of RFC 5681 with byte counting (RFC 3465). As in Linux there is
 * no limit L while nothing is lost, since receivers merge ACKs; after a timeout L is one segment.
 */
export const newReno: CongestionControl = {
  name: "newreno",
  start(tcb: Tcb, initialWindowSegments: number): void {
    tcb.cwnd = initialWindowBytes(tcb, initialWindowSegments);
    tcb.cwndBytesAcked = 0;
  },
  acked(tcb: Tcb, ackedBytes: number): void {
    if (tcb.cwnd < tcb.ssthresh) {
      tcb.cwnd += tcb.recovery === Recovery.loss ? Math.min(ackedBytes, tcb.sndMss) : ackedBytes;
      return;
    }
    tcb.cwndBytesAcked += ackedBytes;
    if (tcb.cwndBytesAcked >= tcb.cwnd) {
      tcb.cwndBytesAcked -= tcb.cwnd;
      tcb.cwnd += tcb.sndMss;
    }
  },
  thresholdAfterLoss(tcb: Tcb, flightBytes: number): number {
    return Math.max(flightBytes >>> 1, 2 * tcb.sndMss);
  },
  restartAfterIdle(tcb: Tcb, initialWindowSegments: number): void {
    tcb.cwnd = Math.min(tcb.cwnd, initialWindowBytes(tcb, initialWindowSegments));
  },
};

/** RFC 6928: ten segments, but not much above 14,600 bytes unless two segments are more. */
function initialWindowBytes(tcb: Tcb, segments: number): number {
  return Math.min(segments * tcb.sndMss, Math.max(2 * tcb.sndMss, segments * 1460));
}
