import { TcpFlag } from "../../../net/wire/tcp.ts";
import {
  type Deviation,
  inPlan,
  inRound,
  isStampedHalfOpen,
  oneAck,
  oneReset,
  onSegment,
  silent,
} from "./case.ts";

const { FIN, SYN, RST, ACK } = TcpFlag;

/** Before a connection is established. */
export const handshake: readonly Deviation[] = [
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
    name: "an RST in answer to crossed SYNs",
    section: "RFC 9293 section 3.10.7.4, second step",
    reason: "The connection was refused, says the RFC. Linux says so in SYN-SENT only, later it was reset.",
    diverges: false,
    explains: ({ what, kernel, stack }) =>
      what === "call" && kernel === "ECONNRESET" && stack === "ECONNREFUSED",
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
    name: "bad ACK in SYN-RECEIVED, outside the window",
    section: "RFC 9293 section 3.10.7.4, first step",
    reason:
      "Linux looks at the ACK of a half-open connection first, and answers a bad one with RST. The RFC looks at the " +
      "sequence number first, and what is outside the window gets an ACK.",
    diverges: true,
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
    name: "an ACK of our SYN's own number",
    section: "RFC 5961 section 5.2, RFC 9293 section 3.10.7.4, fifth step",
    reason:
      "Where it has opened the connection Linux takes ISS for an old ACK, and when SYNs have crossed even for the ACK " +
      "of its SYN; it was never a right one.",
    diverges: true,
    explains: inRound(({ before, segment, stack }) =>
      !before.passive && before.state !== "CLOSE" && before.state !== "SYN_SENT" &&
      segment.ackFromIss === 0 &&
      stack.length === 1
    ),
  },
];
