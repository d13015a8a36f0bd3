import { TcpFlag } from "../../../net/wire/tcp.ts";
import {
  type Deviation,
  inRound,
  oneAck,
  oneReset,
  onSegment,
  onSegmentOrState,
  silent,
  withoutBlocks,
} from "./case.ts";

const { FIN, SYN, RST, ACK } = TcpFlag;

/** While a connection ends. */
export const closing: readonly Deviation[] = [
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
    name: "RST in TIME-WAIT, in the window",
    section: "RFC 5961 section 3.2",
    reason: "Linux's TIME-WAIT does not challenge: an RST that is not exact is dropped.",
    diverges: false,
    explains: onSegment(({ flags, before, kernel, stack }) =>
      (flags & RST) !== 0 && before.state === "TIME_WAIT" && silent(kernel) && oneAck(stack)
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
    name: "the RST of abort() or close() when the window has shrunk",
    section: "RFC 9293 section 3.10.5",
    reason: "It has the number SND.NXT. Linux takes the window's end, as for an ACK.",
    diverges: false,
    explains: ({ what, plan, step, lives }) => {
      if (what !== "now" || plan.steps[step]?.do !== "call") return false;
      const { before, now } = lives.stack.results[step]!;
      return oneReset(now) && ((before!.sndUna + before!.sndWnd - before!.sndMax) | 0) < 0;
    },
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
    name: "blocks of what lies behind a FIN",
    section: "RFC 2018 section 4",
    reason: "Linux's ACK of a FIN in FIN-WAIT-2 still reports them, ours does not.",
    diverges: false,
    explains: onSegment(({ before, flags, kernel, stack }) =>
      ((before.holes && (flags & FIN) !== 0) || before.finPending) && kernel.length === 1 &&
      stack.length === 1 &&
      kernel[0]!.sack !== stack[0]!.sack && kernel[0]!.sack.startsWith(stack[0]!.sack)
    ),
  },
  {
    name: "a FIN ends SACK",
    section: "RFC 2883 section 4",
    reason: "When the last byte and the FIN are there, Linux forgets the duplicate that it had to report.",
    diverges: false,
    explains: (difference) =>
      /^(now|late)$/.test(difference.what) && !difference.kernel.includes(" sack ") &&
      withoutBlocks(difference.stack) === withoutBlocks(difference.kernel) &&
      onSegmentOrState(({ flags, before, end, window }) =>
        ((flags & (FIN | SYN)) === FIN && end <= window) || before.finPending
      )(difference),
  },
];
