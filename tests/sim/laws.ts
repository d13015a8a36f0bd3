import { type Segment, word32 } from "../net/tcp/checker.ts";
import { Intervals } from "./intervals.ts";
import { must } from "./violation.ts";

/** The most that a first flight may be: ten segments as large as Ethernet carries (RFC 6928). */
const FIRST_FLIGHT_BYTES = 14_600;
/** Segments that leave beyond the congestion window: limited transmit (RFC 3042), a tail loss probe, the last one. */
const BEYOND_BYTES = 4 * 1_460;
/** What a peer takes that names no MSS (RFC 9293, MUST-15). */
const MSS_DEFAULT = 1_220;

/** What one end has heard and said, as far as these laws ask. Numbers count from its SYN, as in the judge. */
export class Manners {
  /** The longest segment that it takes, options included. */
  mss = 0;
  /** Whether its SYN had a timestamp, and whether it takes SACK. */
  stamps = false;
  sack = false;
  /** The timestamp of its SYN: none of this connection is older. */
  firstTsVal = 0;
  /** Timestamps of the other's that have reached it. */
  readonly heardTsVals: Set<number> = new Set();
  /** ACKs without anything else that it has sent. */
  bareAcks = 0;
  /** Of what it has sent, what it knows to have arrived. */
  knownArrived = 1;
  /** And what it has been told to have arrived, behind a hole or in front. */
  toldArrived: Intervals = new Intervals();
  /** What it has told the other to have come ahead of a hole. */
  reported: Intervals = new Intervals();

  /** It begins anew, with another number. */
  restart(): void {
    this.knownArrived = 1;
    this.toldArrived = new Intervals();
    this.reported = new Intervals();
    this.mss = 0;
  }
}

/** A SYN of this end. */
export function learnSyn(mine: Manners, segment: Segment): void {
  const mss = segment.options.find(([kind]) => kind === 2);
  mine.mss = Math.max(mine.mss, mss === undefined ? MSS_DEFAULT : mss[1]! * 256 + mss[2]!);
  const ts = segment.options.find(([kind]) => kind === 8);
  mine.stamps = ts !== undefined;
  mine.sack = segment.options.some(([kind]) => kind === 4);
  if (ts !== undefined) mine.firstTsVal = word32(ts, 1) | 0;
}

/** A segment has reached this end, which began at `isn` and has sent up to `end`. */
export function learnHeard(mine: Manners, segment: Segment, isn: number, end: number): void {
  const acks = segment.flags.includes(".");
  const ack = (segment.acknowledgment - isn) | 0;
  if (acks && ack > mine.knownArrived && ack <= end) mine.knownArrived = ack;
  for (const [kind, ...body] of segment.options) {
    if (kind === 8) mine.heardTsVals.add(word32(body, 0) | 0);
    if (kind !== 5 || !acks) continue;
    for (let at = 0; at + 8 <= body.length; at += 8) {
      const left = (word32(body, at) - isn) | 0, right = (word32(body, at + 4) - isn) | 0;
      if (0 < left && left < right && right <= end) mine.toldArrived.add(left, right);
    }
  }
}

/**
 * What a polite TCP does not do, with a segment that this end sends: be longer than the other takes (RFC 6691), echo a
 * timestamp that it has not got (RFC 7323), send more than slow start admits, had every byte been acknowledged by
 * itself (RFC 5681, RFC 6928).
 * @param end One behind the segment's last byte.
 */
export function judgeManners(
  mine: Manners,
  theirs: Manners,
  segment: Segment,
  payloadBytes: number,
  end: number,
  at: () => string,
): void {
  const { data, flags } = segment;
  if (data.length === 0 && flags === ".") mine.bareAcks++;
  if (data.length > 0) {
    must(
      theirs.mss === 0 || payloadBytes <= theirs.mss,
      () => `${at()}: ${payloadBytes} bytes of options and data, where the MSS is ${theirs.mss}`,
    );
    const flight = end - mine.knownArrived;
    const most = FIRST_FLIGHT_BYTES + 2 * mine.knownArrived + BEYOND_BYTES;
    // Without SACK each duplicate ACK says of some segment that it has left the network.
    must(
      !(mine.sack && theirs.sack) || flight <= most || flight <= most + 2 * mine.toldArrived.total,
      () => `${at()}: ${flight} bytes in flight, after ${mine.knownArrived} that have arrived`,
    );
  }
  const ts = segment.options.find(([kind]) => kind === 8);
  if (ts === undefined || !flags.includes(".")) return;
  const echo = word32(ts, 5) | 0;
  must(mine.heardTsVals.has(echo), () => `${at()}: it echoes the timestamp ${echo}, which it has not got`);
}

/** What has been reported as arrived ahead of a hole stays (RFC 2018 section 8 frowns on more): no ACK stands in it. */
export function judgeReports(mine: Manners, ack: number, at: () => string): void {
  must(
    !mine.reported.has(ack, ack + 1),
    () => `${at()}: it waits for ${ack}, which it has reported as arrived`,
  );
}
