import { TcpFlag } from "../../../net/wire/tcp.ts";
import { type Deviation, failsPaws, inPlan, inRound, isFarStamp, oneAck, onSegment, silent } from "./case.ts";

const { FIN, SYN, RST, ACK } = TcpFlag;

/** Which segments are acceptable, and what counts of them. */
export const segments: readonly Deviation[] = [
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
    name: "the timestamp of an old ACK, of a duplicate, or behind an ACK that waits",
    section: "RFC 7323 section 4.3",
    reason:
      "TS.Recent is taken from every acceptable segment, and from no other. Linux does not take it from one whose ACK " +
      "is older than another, and takes it from a duplicate that ends where its last ACK did; which " +
      "segments cover the last ACK depends on when that was sent.",
    diverges: true,
    explains: ({ kernel, stack, plan, step, lives }) =>
      (kernel.replace(/ecr -?\d+/, "") === stack.replace(/ecr -?\d+/, "") ||
        failsPaws(step, lives, plan.steps.slice(0, step + 1).some(isFarStamp))) &&
      plan.steps.slice(0, step + 1).some((each, at) => {
        const { segment, before, now } = lives.stack.results[at]!;
        if (now.length !== lives.kernel.results[at]!.now.length) return true; // an ACK left at another time
        // Linux's TIME-WAIT takes it from a segment without ACK, too, where nothing else of it counts.
        if (before!.state === "TIME_WAIT" && ((segment?.flags ?? TcpFlag.ACK) & TcpFlag.ACK) === 0) {
          return true;
        }
        return each.do === "segment" && (((segment!.acknowledgment - before!.sndUna) | 0) < 0 ||
          ((segment!.sequence - before!.rcvNxt) | 0) < 0);
      }),
  },
  {
    name: "a duplicate whose ACK waits",
    section: "RFC 2883 section 4",
    reason: "It is reported by the next ACK. Linux forgets it when more data comes first.",
    diverges: false,
    explains: onSegment(({ kernel, stack }) =>
      kernel.length === 1 && stack.length === 1 && kernel[0]!.plain && stack[0]!.plain &&
      stack[0]!.text.replace(/ sack [-+:\w]+( (?=\S))?/, (_, more) => more === undefined ? "" : " sack ") ===
        kernel[0]!.text
    ),
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
];
