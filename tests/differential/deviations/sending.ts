import { TcpFlag } from "../../../net/wire/tcp.ts";
import { type Deviation, isNews, onSegment } from "./case.ts";

const { FIN } = TcpFlag;

/** What leaves with what, and when. */
export const sending: readonly Deviation[] = [
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
];
