import { TcpFlag } from "../../../net/wire/tcp.ts";
import type { Answer } from "../answer.ts";
import type { Difference } from "../compare.ts";
import type { SegmentStep, Step } from "../plan.ts";
import type { Moment } from "../stack_host.ts";

/** Where Linux and Torpor are known to differ, and why that is right. */
export interface Deviation {
  readonly name: string;
  /** The section that one of them follows. */
  readonly section: string;
  readonly reason: string;
  /** After it the two connections are not in the same state: nothing more can be compared. */
  readonly diverges: boolean;
  readonly explains: (difference: Difference) => boolean;
}

const { FIN, SYN, RST } = TcpFlag;

/** A difference in the answers to a segment, taken apart. */
export interface Case {
  readonly step: SegmentStep;
  readonly flags: number;
  readonly before: Moment;
  readonly kernel: readonly Answer[];
  readonly stack: readonly Answer[];
  /** Where the segment starts and ends as our stack sees it, from RCV.NXT on; with SYN and FIN. */
  readonly first: number;
  readonly end: number;
  /** Our receive window. */
  readonly window: number;
  /** What it acknowledges, from SND.UNA on. */
  readonly acked: number;
  readonly flight: number;
  readonly segment: { readonly stale: boolean; readonly ackFromIss: number };
}

export type Explains = (difference: Difference) => boolean;

/** Of the answers at once to a segment. */
export function onSegment(explains: (at: Case) => boolean): Explains {
  return (difference) => {
    if (difference.what !== "now" && difference.what !== "ack time") return false;
    const at = caseOf(difference, difference.step);
    return at !== undefined && explains(at);
  };
}

/** Of what a segment since the last wait has led to. */
export function inRound(explains: (at: Case) => boolean): Explains {
  return (difference) => {
    for (let step = difference.step; step >= 0; step--) {
      if (step < difference.step && difference.plan.steps[step]!.do === "wait") return false;
      const at = caseOf(difference, step);
      if (at !== undefined && explains(at)) return true;
    }
    return false;
  };
}

/** Of the answers to a segment, or of the state that the segments since the last wait have led to. */
export function onSegmentOrState(explains: (at: Case) => boolean): Explains {
  const [answers, round] = [onSegment(explains), inRound(explains)];
  return (difference) => (/^(now|ack time)$/.test(difference.what) ? answers : round)(difference);
}

/** Of what any segment so far has led to. */
export function inPlan(explains: (at: Case) => boolean): Explains {
  return (difference) => {
    for (let step = difference.step; step >= 0; step--) {
      const at = caseOf(difference, step);
      if (at !== undefined && explains(at)) return true;
    }
    return false;
  };
}

function caseOf({ plan, lives }: Difference, index: number): Case | undefined {
  const step = plan.steps[index];
  if (step?.do !== "segment") return undefined;
  const kernel = lives.kernel.results[index]!, stack = lives.stack.results[index]!;
  const before = stack.before!, segment = stack.segment!;
  const first = (segment.sequence - before.rcvNxt) | 0;
  const extra = (step.flags & SYN ? 1 : 0) + (step.flags & FIN ? 1 : 0);
  return {
    step,
    flags: step.flags,
    before,
    kernel: kernel.now,
    stack: stack.now,
    first,
    end: first + step.length + extra,
    window: (before.rcvEdge - before.rcvNxt) | 0,
    acked: (segment.acknowledgment - before.sndUna) | 0,
    flight: (before.sndMax - before.sndUna) | 0,
    segment: {
      stale: before.timestamps && ((stack.tsVal - before.tsRecent) | 0) < 0,
      ackFromIss: (segment.acknowledgment - (lives.stack.view.iss ?? 0)) | 0,
    },
  };
}

export const isStampedHalfOpen = (before: Moment, step: SegmentStep): boolean =>
  before.state === "SYN_RECV" && before.passive && before.timestamps && step.timestamp !== undefined;
/** An answer without its blocks and what it echoes: which timestamp that is depends on when ACKs left. */
export const withoutBlocks = (text: string): string =>
  text.replace(/ sack [-+:\w]+/, "").replace(/ecr -?\d+/, "");
/** A timestamp that one of two different TS.Recent makes old. */
export const isFarStamp = (step: Step): boolean =>
  step.do === "segment" && step.timestamp !== undefined && Math.abs(step.timestamp.plus) >= 1_000;
/** Whether one of the two may have found the timestamp of the segment too old, and so done no more than to answer. */
export const failsPaws = (step: number, { kernel, stack }: Difference["lives"], far: boolean): boolean => {
  const { before, segment, tsVal, now } = stack.results[step]!;
  if (segment === undefined || !before!.timestamps) return false;
  const old = ((tsVal - before!.tsRecent) | 0) < 0;
  return (old && (silent(now) || oneAck(now))) ||
    (far && (silent(kernel.results[step]!.now) || oneAck(kernel.results[step]!.now)));
};
export const silent = (answers: readonly Answer[]): boolean => answers.length === 0;
export const oneAck = (answers: readonly Answer[]): boolean => answers.length === 1 && answers[0]!.plain;
export const isNews = ({ length, flags }: Answer): boolean => length > 0 || (flags & FIN) !== 0;
export const oneReset = (answers: readonly Answer[]): boolean =>
  answers.length === 1 && (answers[0]!.flags & RST) !== 0;
