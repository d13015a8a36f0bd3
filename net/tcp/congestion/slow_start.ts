import type { Tcb } from "../tcb.ts";
import { hystartGrowth } from "./hystart.ts";

/**
 * Slow start (RFC 5681 section 3.1) with byte counting (RFC 3465), HyStart++ in the first one. There is no
 * limit L on what one ACK may add, as in Linux: receivers merge ACKs.
 * @returns The bytes that are left for congestion avoidance when `ssthresh` was reached on the way.
 */
export function slowStart(tcb: Tcb, deliveredBytes: number): number {
  const growth = hystartGrowth(tcb, deliveredBytes);
  const room = Math.max(0, tcb.ssthresh - tcb.cwnd);
  if (growth < room) {
    tcb.cwnd += growth;
    return 0;
  }
  tcb.cwnd += room;
  return growth - room;
}

/** One segment more for every `stepBytes` delivered: additive increase without fractions. */
export function increase(tcb: Tcb, stepBytes: number, deliveredBytes: number): void {
  if (tcb.cwndBytesAcked >= stepBytes) { // counted towards a longer step: that is worth one segment now, not many
    tcb.cwndBytesAcked = 0;
    tcb.cwnd += tcb.sndMss;
  }
  tcb.cwndBytesAcked += deliveredBytes;
  if (tcb.cwndBytesAcked >= stepBytes) {
    const steps = Math.floor(tcb.cwndBytesAcked / stepBytes);
    tcb.cwndBytesAcked = Math.floor(tcb.cwndBytesAcked - steps * stepBytes);
    tcb.cwnd += steps * tcb.sndMss;
  }
}
