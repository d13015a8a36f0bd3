/** What is played to every host alike: numbers that are named, since each host has chosen its own. */

/** A number of the peer's own sequence space, by what the host has said of it. */
export interface SequenceRef {
  /** ISN; what the peer has sent in order so far; the right edge of the window. */
  readonly from: "isn" | "next" | "edge";
  readonly plus: number;
}

/** A number of the host's sequence space. */
export interface AckRef {
  /** The host's ISN; what the peer acknowledged last; the end of what the host has sent. */
  readonly from: "iss" | "una" | "next";
  readonly plus: number;
}

/** Ways to break a packet, or its options. */
export const SPOILS = [
  "checksum",
  "offset short",
  "offset long",
  "option length 0",
  "option length 1",
  "option too long",
  "unknown option",
  "end of options first",
  "timestamp of 8 bytes",
] as const;
export type Spoil = (typeof SPOILS)[number];

export interface SegmentStep {
  readonly do: "segment";
  /** Bits of the flags byte. */
  readonly flags: number;
  readonly sequence: SequenceRef;
  readonly acknowledgment: AckRef;
  /** Bytes of data. */
  readonly length: number;
  /** As in the header. */
  readonly window: number;
  readonly urgent: number;
  /** Timestamps option: how far from the peer's clock, and what is echoed. Absent: no option. */
  readonly timestamp?: { readonly plus: number; readonly echo: "last" | "zero" | "future" | "first" };
  readonly sack: readonly (readonly [AckRef, AckRef])[];
  /** Options that a SYN may carry; `undefined` leaves each of them out. */
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  readonly spoil?: Spoil;
}

export type CallName = "write" | "read" | "shutdown" | "close" | "abort";

export interface CallStep {
  readonly do: "call";
  readonly call: CallName;
  /** For `write`. */
  readonly bytes: number;
}

/** Time passes until every timer short of a retransmission has rung. */
export interface WaitStep {
  readonly do: "wait";
}

export type Step = SegmentStep | CallStep | WaitStep;

/** One connection's story. */
export interface Plan {
  /** Which of the run's plans it is: with the run's seed it says everything. */
  readonly index: number;
  readonly scenario: string;
  /** The host opens the connection; else it listens. */
  readonly active: boolean;
  /** Nobody listens where the segments go. */
  readonly closedPort: boolean;
  readonly peerIsn: number;
  readonly steps: readonly Step[];
}

export function countSegments(plan: Plan): number {
  return plan.steps.reduce((sum, step) => sum + (step.do === "segment" ? 1 : 0), 0);
}
