import { TcpFlag } from "../../net/wire/tcp.ts";
import type { Answer } from "./answer.ts";
import type { Difference } from "./compare.ts";
import type { SegmentStep, Step } from "./plan.ts";
import type { Moment } from "./stack_host.ts";

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

const { FIN, SYN, RST, ACK } = TcpFlag;

/** A difference in the answers to a segment, taken apart. */
interface Case {
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

type Explains = (difference: Difference) => boolean;

/** Of the answers at once to a segment. */
function onSegment(explains: (at: Case) => boolean): Explains {
  return (difference) => {
    if (difference.what !== "now" && difference.what !== "ack time") return false;
    const at = caseOf(difference, difference.step);
    return at !== undefined && explains(at);
  };
}

/** Of what a segment since the last wait has led to. */
function inRound(explains: (at: Case) => boolean): Explains {
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
function onSegmentOrState(explains: (at: Case) => boolean): Explains {
  const [answers, round] = [onSegment(explains), inRound(explains)];
  return (difference) => (/^(now|ack time)$/.test(difference.what) ? answers : round)(difference);
}

/** Of what any segment so far has led to. */
function inPlan(explains: (at: Case) => boolean): Explains {
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

const isStampedHalfOpen = (before: Moment, step: SegmentStep): boolean =>
  before.state === "SYN_RECV" && before.passive && before.timestamps && step.timestamp !== undefined;
/** An answer without its blocks and what it echoes: which timestamp that is depends on when ACKs left. */
const withoutBlocks = (text: string): string => text.replace(/ sack [-+:\w]+/, "").replace(/ecr -?\d+/, "");
/** A timestamp that one of two different TS.Recent makes old. */
const isFarStamp = (step: Step): boolean =>
  step.do === "segment" && step.timestamp !== undefined && Math.abs(step.timestamp.plus) >= 1_000;
/** Whether our stack finds the timestamp of the segment too old. */
const isStale = (step: number, { stack }: Difference["lives"]): boolean => {
  const { before, segment, tsVal } = stack.results[step]!;
  return segment !== undefined && before!.timestamps && ((tsVal - before!.tsRecent) | 0) < 0;
};
const silent = (answers: readonly Answer[]): boolean => answers.length === 0;
const oneAck = (answers: readonly Answer[]): boolean => answers.length === 1 && answers[0]!.plain;
const isNews = ({ length, flags }: Answer): boolean => length > 0 || (flags & FIN) !== 0;
const oneReset = (answers: readonly Answer[]): boolean =>
  answers.length === 1 && (answers[0]!.flags & RST) !== 0;

export const deviations: readonly Deviation[] = [
  {
    name: "SYN-ACK of crossed SYNs names every option",
    section: "RFC 7323 sections 1.3 and 3.2",
    reason:
      "When both ends open at once Linux sends its own SYN again, with ACK and all that it had offered, also what " +
      "the peer's SYN lacks. Such options belong in a SYN-ACK only when they were in the SYN.",
    diverges: false,
    explains: onSegment(({ kernel, stack }) =>
      kernel.length === 1 && stack.length === 1 && kernel[0]!.flags === (SYN | ACK) &&
      stack[0]!.flags === (SYN | ACK) && kernel[0]!.acknowledgment === stack[0]!.acknowledgment
    ),
  },
  {
    name: "FIN-WAIT-2 without an application",
    section: "RFC 9293 section 3.10.7.4, RFC 5961 sections 3.2, 4.2 and 5.2",
    reason:
      "After close() Linux keeps a small record in FIN-WAIT-2. It believes any RST in the window, looks at no ACK, " +
      "answers a SYN in the window and data with RST, and drops a SYN before it. We do what every connection does.",
    diverges: true,
    explains: onSegment(({ before, flags, acked, flight, kernel, stack, first }) =>
      before.state === "FIN_WAIT2" && before.closed &&
      ((flags & RST) !== 0 && silent(kernel) && oneAck(stack) ||
        oneReset(kernel) && (oneAck(stack) || silent(stack)) ||
        (flags & SYN) !== 0 && first < 0 && oneAck(stack) ||
        (flags & ACK) !== 0 && acked !== flight && oneAck(stack))
    ),
  },
  {
    name: "FIN-WAIT-2 without an application: an RST with data",
    section: "RFC 5961 section 3.2",
    reason: "Both of the above: what reaches into the window ends Linux's record.",
    diverges: true,
    explains: inRound(({ before, flags }) =>
      before.state === "FIN_WAIT2" && before.closed && (flags & RST) !== 0
    ),
  },
  {
    name: "neither ACK, RST nor SYN",
    section: "RFC 9293 section 3.10.7.4, first step",
    reason:
      "Linux drops such a segment before it looks at its numbers. The RFC judges the sequence number and the " +
      "timestamp first, and what is not acceptable gets an ACK.",
    diverges: false,
    explains: onSegment(({ flags, kernel, stack }) =>
      (flags & (ACK | RST | SYN)) === 0 && silent(kernel) && oneAck(stack)
    ),
  },
  {
    name: "RST with data",
    section: "RFC 5961 section 3.2",
    reason:
      "An RST is judged by its sequence number alone. Linux counts its data: they may reach into the window, or " +
      "out of it.",
    diverges: false,
    explains: onSegment(({ step, flags, kernel, stack }) =>
      (flags & RST) !== 0 && (step.length > 0 || (flags & (SYN | FIN)) !== 0) &&
      (oneAck(kernel) && silent(stack) || silent(kernel) && oneAck(stack))
    ),
  },
  {
    name: "RST in TIME-WAIT, in the window",
    section: "RFC 5961 section 3.2",
    reason: "Linux's TIME-WAIT does not challenge: an RST that is not exact is dropped.",
    diverges: false,
    explains: onSegment(({ flags, before, kernel, stack }) =>
      (flags & RST) !== 0 && before.state === "TIME_WAIT" && silent(kernel) && oneAck(stack)
    ),
  },
  {
    name: "bad ACK in SYN-RECEIVED, outside the window",
    section: "RFC 9293 section 3.10.7.4, first step",
    reason:
      "Linux looks at the ACK of a half-open connection first, and answers a bad one with RST. The RFC looks at the " +
      "sequence number first, and what is outside the window gets an ACK.",
    diverges: false,
    explains: onSegment(({ flags, before, acked, kernel, stack }) =>
      before.state === "SYN_RECV" && before.passive && (flags & ACK) !== 0 && acked !== 1 &&
      oneReset(kernel) &&
      oneAck(stack)
    ),
  },
  {
    name: "SYN in the window of a half-open connection",
    section: "RFC 9293 section 3.10.7.4, fourth step",
    reason:
      "A passive open returns to LISTEN. Linux does so, too, but sends RST; and where the segment's ACK is bad it " +
      "sends RST and stays. The SYN of the connection itself, come again with data, it takes for old.",
    diverges: true,
    explains: onSegment(({ flags, before, kernel, stack }) =>
      before.state === "SYN_RECV" && before.passive && (flags & SYN) !== 0 &&
      (oneReset(kernel) || oneAck(kernel)) && silent(stack)
    ),
  },
  {
    name: "TIME-WAIT: no ACK bit",
    section: "RFC 9293 section 3.10.7.4, fifth step",
    reason: "Linux's TIME-WAIT answers whatever is not exactly next; what has no ACK the RFC drops.",
    diverges: false,
    explains: onSegment(({ flags, before, kernel, stack }) =>
      before.state === "TIME_WAIT" && (flags & (ACK | RST | SYN)) === 0 && oneAck(kernel) && silent(stack)
    ),
  },
  {
    name: "FIN-WAIT-2 without an application: what its ACKs say",
    section: "RFC 7323 section 4.3, RFC 2883",
    reason: "Linux's small record keeps no timestamp that came with an ACK, and reports no duplicates.",
    diverges: false,
    explains: onSegment(({ before, kernel, stack }) =>
      before.state === "FIN_WAIT2" && before.closed && oneAck(kernel) && oneAck(stack) &&
      kernel[0]!.acknowledgment === stack[0]!.acknowledgment && kernel[0]!.sequence === stack[0]!.sequence
    ),
  },
  {
    name: "ABORT in TIME-WAIT",
    section: "RFC 9293 section 3.10.5",
    reason: "It deletes the TCB. On Linux the socket is gone already, and TIME-WAIT goes on.",
    diverges: true,
    explains: ({ plan, step, lives }) =>
      plan.steps.slice(0, step + 1).some((each, at) =>
        each.do === "call" && each.call === "abort" && lives.stack.results[at]!.before!.state === "TIME_WAIT"
      ),
  },
  {
    name: "CLOSE in SYN-RECEIVED",
    section: "RFC 9293 section 3.10.4",
    reason:
      "Linux sends the FIN at once, on close() but not on shutdown(); ours waits for the handshake's end.",
    diverges: true,
    explains: ({ plan, step, lives }) =>
      plan.steps.slice(0, step + 1).some((each, at) =>
        each.do === "call" && (each.call === "close" || each.call === "shutdown") &&
        lives.stack.results[at]!.before!.state === "SYN_RECV" && !lives.stack.results[at]!.before!.passive
      ),
  },
  {
    name: "data or FIN on a SYN-ACK",
    section: "RFC 9293 section 3.10.7.3, last paragraph",
    reason: "Linux takes none but that of Fast Open: the peer sends it again. The RFC takes it.",
    diverges: true,
    explains: onSegment(({ step, flags, before, kernel }) =>
      (before.state === "SYN_SENT" || (before.state === "SYN_RECV" && !before.passive)) &&
      (flags & (SYN | ACK)) === (SYN | ACK) && (step.length > 0 || (flags & FIN) !== 0) && oneAck(kernel)
    ),
  },
  {
    name: "data that reaches beyond the peer's FIN",
    section: "RFC 9293 section 3.10.7.4, seventh step",
    reason:
      "What lies behind a FIN is to be ignored. Linux resets the connection when such a segment starts before the " +
      "FIN.",
    diverges: true,
    explains: onSegment(({ before, first, end, kernel }) =>
      before.finReceived && first < 0 && end > 0 && oneReset(kernel)
    ),
  },
  {
    name: "a duplicate that ends at RCV.NXT",
    section: "RFC 9293 section 3.10.7.4, first step",
    reason:
      "It is outside the window, and so nothing of it counts. Linux takes it for acceptable as long as it ends where " +
      "its last ACK did, and reads its ACK and its timestamp.",
    diverges: true,
    explains: inRound(({ before, first, end }) =>
      before.state !== "CLOSE" && before.state !== "SYN_SENT" && first < 0 && end <= 0 &&
      ((end + before.rcvNxt - before.lastAckSent) | 0) >= 0
    ),
  },
  {
    name: "a half-open connection and timestamps",
    section: "RFC 7323 sections 3.2 and 5.2",
    reason:
      "Since 6.14 Linux wants each segment to echo a SYN-ACK, also an RST, and takes not even the echo of an ACK that " +
      "it sent later. We want it of the ACK that opens the connection.",
    diverges: true,
    explains: (difference) =>
      onSegment(({ before, step, kernel }) => isStampedHalfOpen(before, step) && oneAck(kernel))(
        difference,
      ) ||
      inPlan(({ before, step, flags, kernel }) =>
        isStampedHalfOpen(before, step) && (flags & RST) !== 0 && silent(kernel)
      )(difference) ||
      (/^(state|call)$/.test(difference.what) &&
        inRound(({ before, step, kernel }) => isStampedHalfOpen(before, step) && oneAck(kernel))(difference)),
  },
  {
    name: "an RST in the window of a half-open connection",
    section: "RFC 5961 section 3.2",
    reason: "Linux believes any, we only one that is exact.",
    diverges: true,
    explains: onSegment(({ before, flags, kernel, stack }) =>
      before.state === "SYN_RECV" && before.passive && (flags & RST) !== 0 && silent(kernel) && oneAck(stack)
    ),
  },
  {
    name: "a half-open connection reports no duplicates",
    section: "RFC 2883 section 4",
    reason: "Linux's record of a half-open connection has no SACK blocks.",
    diverges: false,
    explains: onSegment(({ before, kernel, stack }) =>
      before.state === "SYN_RECV" && oneAck(kernel) && oneAck(stack) && kernel[0]!.sack === "" &&
      stack[0]!.sack !== "" && kernel[0]!.acknowledgment === stack[0]!.acknowledgment
    ),
  },
  {
    name: "a segment at the right edge of the window",
    section: "RFC 9293 section 3.4, table 5",
    reason:
      "The edge itself is outside. For Linux a segment without length may lie there, and one that ends beyond.",
    diverges: true,
    explains: inRound(({ before, step, first, end, flags, window }) =>
      before.state !== "CLOSE" && before.state !== "SYN_SENT" &&
      ((step.sequence.from === "edge" && Math.abs(step.sequence.plus) <= 2) ||
        (first === window && (end === first || (flags & RST) !== 0)))
    ),
  },
  {
    name: "a second FIN",
    section: "RFC 9293 section 3.10.7.4, eighth step",
    reason:
      "Linux takes another FIN, right behind the first, when it comes with a duplicate of what was before it.",
    diverges: true,
    explains: onSegmentOrState(({ before, first, end, flags }) =>
      before.finReceived && (flags & FIN) !== 0 && first < 0 && end === 1
    ),
  },
  {
    name: "a FIN in the middle of data",
    section: "RFC 9293 section 3.10.7.4, seventh step",
    reason:
      "A peer that sends data behind its FIN gets what it asks for; Linux and we cut at different places.",
    diverges: true,
    explains: onSegmentOrState(({ before, end, flags }) =>
      (before.finPending && end > ((before.finAhead - before.rcvNxt) | 0)) ||
      (before.finPending && (flags & FIN) !== 0) ||
      (before.holes && (flags & FIN) !== 0)
    ),
  },
  {
    name: "a FIN ends SACK",
    section: "RFC 2883 section 4",
    reason: "When the last byte and the FIN are there, Linux forgets the duplicate that it had to report.",
    diverges: false,
    explains: ({ kernel, stack, lives, step, what }) =>
      (what === "now" || what === "late") && withoutBlocks(stack) === withoutBlocks(kernel) &&
      lives.stack.results.slice(0, step + 1).some(({ segment, before }) =>
        segment !== undefined && ((segment.flags & FIN) !== 0 || before!.finPending)
      ),
  },
  {
    name: "our FIN and the ACK of the data that let it go",
    section: "RFC 9293 section 3.10.7.4",
    reason:
      "Linux sends what an ACK admits before it takes the data that came with it, and then an ACK. We do both in one.",
    diverges: true,
    explains: onSegment(({ kernel, stack }) =>
      kernel.length === 2 && (kernel[0]!.flags & FIN) !== 0 && kernel[1]!.plain &&
      stack.some(({ flags, sequence }) => (flags & FIN) !== 0 && sequence === kernel[0]!.sequence)
    ),
  },
  {
    name: "TIME-WAIT: the ACK",
    section: "RFC 9293 section 3.10.7.4, fifth step",
    reason: "Linux's TIME-WAIT does not look at it; we challenge an ACK that cannot be.",
    diverges: true,
    explains: onSegment(({ before, flags, acked, first, end, kernel, stack }) =>
      before.state === "TIME_WAIT" && (flags & ACK) !== 0 && acked !== 0 && first === 0 && end === 0 &&
      silent(kernel) && oneAck(stack)
    ),
  },
  {
    name: "TIME-WAIT: an RST with an old timestamp",
    section: "RFC 7323 section 5.2",
    reason: "An RST is not subject to PAWS; in Linux's TIME-WAIT it is.",
    diverges: true,
    explains: inRound(({ step, before }) =>
      (step.flags & RST) !== 0 && before.state === "TIME_WAIT" && step.timestamp !== undefined
    ),
  },
  {
    name: "the timestamp of an old ACK, of a duplicate, or behind an ACK that waits",
    section: "RFC 7323 section 4.3",
    reason:
      "TS.Recent is taken from every acceptable segment, and from no other. Linux does not take it from one whose ACK " +
      "is older than another, and takes it from a duplicate that ends where its last ACK did; which " +
      "segments cover the last ACK depends on when that was sent.",
    diverges: true,
    explains: ({ kernel, stack, plan, step, lives }) =>
      (kernel.replace(/ecr -?\d+/, "") === stack.replace(/ecr -?\d+/, "") || isStale(step, lives) ||
        plan.steps.slice(0, step + 1).some(isFarStamp)) &&
      plan.steps.slice(0, step + 1).some((each, at) => {
        const { segment, before, now } = lives.stack.results[at]!;
        if (now.length !== lives.kernel.results[at]!.now.length) return true; // an ACK left at another time
        return each.do === "segment" && (((segment!.acknowledgment - before!.sndUna) | 0) < 0 ||
          ((segment!.sequence - before!.rcvNxt) | 0) < 0);
      }),
  },
  {
    name: "an ACK alone that has been overtaken",
    section: "RFC 7323 section 5.3",
    reason:
      "What fails PAWS gets an ACK. Linux, so that ACKs that overtake each other cause no more of them, drops an old " +
      "ACK without data and takes one that changes nothing.",
    diverges: false,
    explains: onSegment(({ before, step, segment, flags, end, kernel, stack }) =>
      before.timestamps && step.timestamp !== undefined && (flags & (ACK | SYN | FIN | RST)) === ACK &&
      step.length === 0 && end <= 0 && segment.stale && silent(kernel) && oneAck(stack)
    ),
  },
  {
    name: "an RST in answer to crossed SYNs",
    section: "RFC 9293 section 3.10.7.4, second step",
    reason: "The connection was refused, says the RFC. Linux says so in SYN-SENT only, later it was reset.",
    diverges: false,
    explains: ({ what, kernel, stack }) =>
      what === "call" && kernel === "ECONNRESET" && stack === "ECONNREFUSED",
  },
  {
    name: "a SYN again when SYNs have crossed",
    section: "RFC 9293 section 3.5, figure 8",
    reason: "It says that our SYN-ACK was lost: we send it again, Linux sends an ACK.",
    diverges: false,
    explains: onSegment(({ before, flags, kernel, stack }) =>
      before.state === "SYN_RECV" && !before.passive && (flags & SYN) !== 0 && oneAck(kernel) &&
      stack.length === 1 && stack[0]!.flags === (SYN | ACK)
    ),
  },
  {
    name: "an ACK of data ahead of a hole beside data of ours",
    section: "RFC 5681 section 4.2",
    reason:
      "Each such segment is to be acknowledged at once, and a duplicate ACK carries no data. Linux lets data of its own " +
      "that has become sendable carry it.",
    diverges: true,
    explains: onSegment(({ kernel, stack }) =>
      stack[0]?.plain === true && !kernel.some(({ plain }) => plain) && kernel.some(({ length }) =>
        length > 0
      ) &&
      stack.some(isNews)
    ),
  },
  {
    name: "data partly beyond the window",
    section: "RFC 9293 section 3.10.7.4, first step",
    reason:
      "We trim it to the window, as the RFC says. Linux refuses it, since 6.17, or keeps it whole when nothing is " +
      "unread.",
    diverges: true,
    explains: onSegment(({ before, step, first, end, window, kernel }) =>
      before.state !== "CLOSE" && first <= window && end > window && step.length > 0 && kernel.length > 0
    ),
  },
  {
    name: "blocks of what lies behind a FIN",
    section: "RFC 2018 section 4",
    reason: "Linux's ACK of a FIN in FIN-WAIT-2 still reports them, ours does not.",
    diverges: false,
    explains: onSegment(({ before, flags, kernel, stack }) =>
      before.holes && ((flags & FIN) !== 0 || before.finPending) && kernel.length === 1 &&
      stack.length === 1 &&
      kernel[0]!.sack !== stack[0]!.sack && kernel[0]!.sack.startsWith(stack[0]!.sack)
    ),
  },
  {
    name: "an ACK of our SYN's own number",
    section: "RFC 5961 section 5.2, RFC 9293 section 3.10.7.4, fifth step",
    reason:
      "Where it has opened the connection Linux takes ISS for an old ACK, and when SYNs have crossed even for the ACK " +
      "of its SYN; it was never a right one.",
    diverges: true,
    explains: onSegment(({ before, segment, stack }) =>
      !before.passive && before.state !== "CLOSE" && before.state !== "SYN_SENT" &&
      segment.ackFromIss === 0 &&
      stack.length === 1
    ),
  },
  {
    name: "how much data leaves at a time",
    section: "RFC 9293 section 3.8.6.2.1, RFC 5681 section 3.1",
    reason:
      "Linux sends at most half of the largest window at a time, waits with the rest of a train for an ACK that is " +
      "near (TSO deferring), and measures its round trips in microseconds: after a timer the two may have sent " +
      "different amounts of the same data.",
    diverges: true,
    explains: ({ what, lives, step }) => {
      if (what !== "now" && what !== "late") return false;
      const kernel = lives.kernel.results[step]!, stack = lives.stack.results[step]!;
      const rest = [kernel, stack].map((each) =>
        [...each.now, ...each.late].filter(({ length, flags, mayWait }) =>
          length === 0 && (flags & FIN) === 0 && !mayWait
        )
          .map(({ text }) => text).join()
      );
      return rest[0] === rest[1] &&
        [kernel, stack].some(({ now, late }) =>
          [...now, ...late].some(({ length, flags }) => length > 0 || (flags & FIN) !== 0)
        );
    },
  },
  {
    name: "an option of impossible length",
    section: "RFC 9293 section 3.1, MUST-7",
    reason:
      "Built with TCP-AO or MD5, Linux drops the segment. We take the options before it and leave the rest.",
    diverges: true,
    explains: inPlan(({ step }) => /^option (length|too long)/.test(step.spoil ?? "")),
  },
  {
    name: "when an ACK that may wait is sent",
    section: "RFC 9293 section 3.8.6.3",
    reason:
      "At once, with what is sent next, or by the timer: both say the same before the next segment comes. Linux's " +
      "clock ticks every few milliseconds, ours does not tick.",
    diverges: false,
    explains: ({ what }) => what === "ack time",
  },
  {
    name: "an ACK that waited, of a connection that has ended",
    section: "RFC 9293 section 3.8.6.3",
    reason: "It is not sent any more. Who did not wait has sent it.",
    diverges: true,
    explains: ({ what }) => what === "ack lost",
  },
  {
    name: "close() with data ahead of a hole",
    section: "RFC 9293 section 3.6.1, SHLD-3",
    reason: "They were received and will not be read: we send RST. Linux counts only what is in order.",
    diverges: true,
    explains: ({ what, plan, step, lives }) => {
      const each = plan.steps[step];
      return what === "now" && each?.do === "call" && each.call === "close" &&
        lives.stack.results[step]!.before!.holes;
    },
  },
  {
    name: "the RST of abort() when the window has shrunk",
    section: "RFC 9293 section 3.10.5",
    reason: "It has the number SND.NXT. Linux takes the window's end, as for an ACK.",
    diverges: false,
    explains: ({ what, plan, step, lives }) => {
      const each = plan.steps[step];
      if (what !== "now" || each?.do !== "call") return false;
      const { before, now } = lives.stack.results[step]!;
      const end = (before!.sndUna + before!.sndWnd - before!.sndMax) | 0;
      return oneReset(now) && end < 0;
    },
  },
  {
    name: "a FIN that is queued",
    section: "RFC 9293 section 3.10.4",
    reason: "Linux changes the state when close() or shutdown() is called, we when the FIN leaves.",
    diverges: true,
    explains: ({ what, kernel, stack }) =>
      what === "state" && (/^FIN_WAIT1/.test(kernel) && /^ESTABLISHED/.test(stack) ||
        /^LAST_ACK/.test(kernel) && /^CLOSE_WAIT/.test(stack)),
  },
  {
    name: "SYN-ACKs that cross",
    section: "RFC 9293 section 3.5, figure 8",
    reason: "Linux acknowledges the peer's SYN-ACK once more; the handshake was over without that.",
    diverges: false,
    explains: onSegment(({ before, flags, kernel, stack }) =>
      before.state === "SYN_RECV" && !before.passive && (flags & (SYN | ACK | RST)) === (SYN | ACK) &&
      oneAck(kernel) && silent(stack)
    ),
  },
  {
    name: "a read and the urgent mark",
    section: "RFC 9293 section 3.8.5",
    reason: "Linux's recv() stops in front of the urgent byte, ours tells of the mark beside the data.",
    diverges: true,
    explains: ({ what, plan, step, lives }) => {
      const each = plan.steps[step];
      return what === "call" && each?.do === "call" && each.call === "read" &&
        lives.stack.results.slice(0, step).some(({ segment }) => ((segment?.flags ?? 0) & TcpFlag.URG) !== 0);
    },
  },
  {
    name: "data with an ACK that is too old",
    section: "RFC 5961 section 5.2",
    reason:
      "It is not to be taken. Linux takes what is exactly next all the same: its header prediction does not look.",
    diverges: true,
    explains: onSegment(({ before, step, flags, first, acked, kernel, stack }) =>
      before.state !== "SYN_RECV" && first === 0 && step.length > 0 && acked < 0 && (flags & FIN) === 0 &&
      oneAck(kernel) && oneAck(stack) && kernel[0]!.acknowledgment > stack[0]!.acknowledgment
    ),
  },
  {
    name: "an ACK when the window has shrunk a little",
    section: "RFC 9293 section 3.8.6, MUST-34",
    reason:
      "We give it the number of the window's end, which the peer must find acceptable. Linux does so only when more " +
      "than the granularity of its own scaled window is behind that.",
    diverges: false,
    explains: onSegment(({ kernel, stack }) =>
      oneAck(kernel) && oneAck(stack) && kernel[0]!.acknowledgment === stack[0]!.acknowledgment &&
      kernel[0]!.sequence !== stack[0]!.sequence
    ),
  },
];
