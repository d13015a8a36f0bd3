import type { Tcb } from "../tcb.ts";

/** What a congestion controller decides: how `cwnd` and `ssthresh` move. Its state lives in the TCB. */
export interface CongestionControl {
  readonly name: string;
  /** The connection is established. */
  start(tcb: Tcb, initialWindowSegments: number): void;
  /** `ackedBytes` of new data were acknowledged outside of recovery. */
  acked(tcb: Tcb, ackedBytes: number, nowMs: number): void;
  /** The window after a loss, in bytes: the new `ssthresh`. */
  thresholdAfterLoss(tcb: Tcb, flightBytes: number, nowMs: number): number;
  /** Nothing was sent for longer than an RTO (RFC 5681 section 4.1). */
  restartAfterIdle(tcb: Tcb, initialWindowSegments: number): void;
}
