import type { Tcb } from "../tcb.ts";

/** The controllers there are; the place of a name is its number in `Tcb.congestion` and in images. */
export const CONGESTION_CONTROLS = ["cubic", "newreno"] as const;
/** One of them. */
export type CongestionControlName = (typeof CONGESTION_CONTROLS)[number];

/**
 * What a congestion controller decides: how `cwnd` and `ssthresh` move while nothing is lost, and how far
 * they fall. How the window moves during a recovery is the recovery's business. A controller has no state
 * of its own: it lives in the TCB, as numbers, in bytes and milliseconds.
 */
export interface CongestionControl {
  readonly name: CongestionControlName;
  /** The connection is established, or has changed its controller: forgets the controller's state. */
  start(tcb: Tcb): void;
  /** The last segment that an ACK delivered took `rttUs` for its round trip. Called before `acked`, in every state. */
  measured(tcb: Tcb, rttUs: number, nowMs: number): void;
  /**
   * `deliveredBytes` more have arrived, by what this ACK acknowledges and selectively acknowledges, and the
   * sender is not in fast recovery (slow start after a timeout calls this, too). `sndUna` has moved already.
   */
  acked(tcb: Tcb, deliveredBytes: number, nowMs: number): void;
  /**
   * A congestion episode begins: the new `ssthresh`, in bytes. `flightBytes` is what was in flight just before.
   * Remembers what `undo` needs; call it once per episode and before `cwnd` is touched.
   */
  thresholdAfterLoss(tcb: Tcb, flightBytes: number, nowMs: number): number;
  /** That episode is a retransmission timeout. Called after `thresholdAfterLoss`. */
  timedOut(tcb: Tcb, nowMs: number): void;
  /** The last episode was spurious: `cwnd` and `ssthresh` go back to where they were, or stay if they are higher. */
  undo(tcb: Tcb): void;
  /** Nothing was in flight since `lastSentMs` or later, and now data is about to leave. */
  sendingAgain(tcb: Tcb, nowMs: number): void;
}
