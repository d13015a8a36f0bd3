import { seqLess } from "../../base/sequence.ts";
import { type ConnectionMap, Field } from "../connections/connection_map.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { TcpFlag, type TcpRecord, writeTcp } from "../wire/tcp.ts";
import { isInWindow } from "../tcp/input.ts";
import type { Tcp } from "../tcp/tcp.ts";
import type { SleepingChallenges } from "./challenges.ts";
import { Asleep, receiveWindowOf, sendWindowOf, setTsRecent, timestampAgeDays } from "./slot.ts";

/** What the filter thinks of a segment for a sleeping connection. */
export const WakeVerdict = {
  /** Nothing to do and nothing to say. */
  ignore: 0,
  /** An ACK, as the awake connection would send. */
  answer: 1,
  /** The same, at the limited rate of challenge ACKs. */
  challenge: 2,
  /** News: it is held until the connection is awake. */
  hold: 3,
  /** Nothing new, but a sign of life that puts off the next keep-alive probe. */
  heard: 4,
} as const;
export type WakeVerdict = (typeof WakeVerdict)[keyof typeof WakeVerdict];

/** Timestamps prove nothing after 24 days (RFC 7323 section 5.5): the TCB, which knows more, decides. */
const TIMESTAMP_DAYS_MAX = 23;

/**
 * Does for a sleeping connection what tcp/input.ts does for an awake one, in the same order, as far as
 * the answer is "nothing new". It must never say less than `hold` to a segment that would change the
 * connection, except for the peer's window and TS.Recent, which it writes into the record. Where the
 * record knows less than the TCB, it says `hold`.
 * @param windowBytes Our window, where it is more than the record can say.
 */
export function judgeAsleep(
  tcp: Tcp,
  record: number,
  segment: TcpRecord,
  nowMs: number,
  windowBytes: number = receiveWindowOf(tcp.connections, record),
): WakeVerdict {
  const map = tcp.connections;
  const meta = map.get(record, Field.meta);
  if ((meta & Asleep.wakeOnAll) !== 0) return WakeVerdict.hold;
  const rcvNxt = map.get(record, Field.rcvNxt);
  const tsRecent = map.get(record, Field.tsRecent);
  const flags = segment.flags;
  const dataLength = segment.dataEnd - segment.dataStart;
  const talks = dataLength > 0 || (flags & TcpFlag.FIN) !== 0;
  const timestamps = (meta & Asleep.timestamps) !== 0;

  if (timestamps && (flags & TcpFlag.RST) === 0) {
    if (!segment.hasTimestamp) {
      return tcp.config.tolerateMissingTimestamps ? WakeVerdict.hold : WakeVerdict.ignore;
    }
    if (seqLess(segment.tsVal, tsRecent)) {
      if (timestampAgeDays(map, record, nowMs) > TIMESTAMP_DAYS_MAX) return WakeVerdict.hold;
      return talks && (flags & TcpFlag.SYN) === 0 ? WakeVerdict.answer : WakeVerdict.challenge;
    }
  }

  const first = (segment.sequence - rcvNxt) | 0;
  const length = flags & TcpFlag.RST
    ? 0
    : dataLength + (flags & TcpFlag.SYN ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0);
  if (!isInWindow(first, length, windowBytes)) {
    if ((flags & TcpFlag.RST) !== 0) return first === -1 ? WakeVerdict.hold : WakeVerdict.ignore; // behind its FIN?
    if (first === 0) { // our window is closed: its ACK still counts, and a FIN alone, and what is urgent
      const asks = dataLength > 0 && (flags & ~TcpFlag.PSH) === TcpFlag.ACK;
      return asks && !mayBeNews(map, record, segment) ? WakeVerdict.answer : WakeVerdict.hold;
    }
    if (length > 0 && first + length === 0 && mayBeNews(map, record, segment)) return WakeVerdict.hold;
    return talks && (flags & TcpFlag.SYN) === 0 ? WakeVerdict.answer : WakeVerdict.challenge;
  }

  const busy = (meta & Asleep.wakeOnAny) !== 0;
  // Busy: there may be data ahead of a hole, at whose end an RST is as good as at RCV.NXT.
  if ((flags & TcpFlag.RST) !== 0) return first === 0 || busy ? WakeVerdict.hold : WakeVerdict.challenge;
  if ((flags & TcpFlag.SYN) !== 0) return WakeVerdict.challenge;
  if ((flags & TcpFlag.ACK) === 0) return WakeVerdict.ignore;
  const behind = (map.get(record, Field.sndNxt) - segment.acknowledgment) | 0;
  // Busy: the record has SND.MAX only, and ACKs are judged from SND.UNA.
  if (behind < 0 || (!busy && behind > sendWindowOf(map, record, 0xffff))) return WakeVerdict.challenge;
  if (talks || busy || (flags & TcpFlag.URG) !== 0 || segment.userTimeout > 0) return WakeVerdict.hold;
  if (reportsSack(meta, segment)) return WakeVerdict.hold; // a duplicate of ours: the last recovery was for nothing

  // A pure ACK of nothing new. It may still move the window and the timestamp to echo.
  const noNews = (meta & Asleep.keepAlive) !== 0 ? WakeVerdict.heard : WakeVerdict.ignore;
  const windows = map.get(record, Field.windows);
  if (behind > 0) return WakeVerdict.hold; // too old, or from before the connection's start? the TCB knows
  if (first > 0) return WakeVerdict.hold; // behind data that is missing
  // The record has room for one window: after a larger one MAX.SND.WND would be forgotten.
  const heard = (meta & Asleep.windowHeard) !== 0;
  if (heard && segment.window < windows >>> 16) return WakeVerdict.hold;
  if (timestamps) setTsRecent(map, record, segment.tsVal, nowMs);
  map.set(record, Field.windows, (segment.window << 16) | (windows & 0xffff));
  map.set(record, Field.meta, map.get(record, Field.meta) | Asleep.windowHeard);
  return noNews;
}

/** Whether the ACK in the peer's last segment, which comes again, may say something new. */
function mayBeNews(map: ConnectionMap, record: number, segment: TcpRecord): boolean {
  const meta = map.get(record, Field.meta);
  return (meta & Asleep.wakeOnAny) !== 0 || reportsSack(meta, segment) ||
    segment.acknowledgment !== map.get(record, Field.sndNxt) ||
    segment.window !== map.get(record, Field.windows) >>> 16;
}

function reportsSack(meta: number, segment: TcpRecord): boolean {
  return segment.sackCount > 0 && (meta & Asleep.sack) !== 0;
}

/**
 * Answers `to`, which `remote` has sent, with the ACK of a sleeping connection, from its record alone; false when the rate limit of `challenge`
 * ACKs forbids it. An old duplicate is reported as one (RFC 2883).
 */
export function answerAsleep(
  tcp: Tcp,
  record: number,
  remote: number,
  to: TcpRecord,
  challenge: SleepingChallenges | undefined,
  nowMs: number,
): boolean {
  const map = tcp.connections;
  if (challenge !== undefined && !challenge.take(tcp, record, nowMs)) return false;
  const meta = map.get(record, Field.meta);
  const segment = beginAsleep(tcp, record, nowMs);
  segment.sequence = map.get(record, Field.sndNxt);
  const length = to.dataEnd - to.dataStart + ((to.flags & TcpFlag.FIN) !== 0 ? 1 : 0);
  const duplicate = challenge === undefined && length > 0 && (to.flags & TcpFlag.SYN) === 0;
  const old = duplicate && seqLess(to.sequence, segment.acknowledgment);
  if (old && (meta & Asleep.sack) !== 0 && tcp.config.dsack) {
    const end = (to.sequence + length) | 0;
    segment.sackEdges[0] = to.sequence;
    segment.sackEdges[1] = seqLess(segment.acknowledgment, end) ? segment.acknowledgment : end;
    segment.sackCount = 1;
  }
  finishAsleep(tcp, record, remote, nowMs);
  return true;
}

/** Sends `remote` a keep-alive probe of a sleeping connection, which has nothing in flight: as tcp/output.ts's `sendProbe`. */
export function probeAsleep(tcp: Tcp, record: number, remote: number, nowMs: number): void {
  const segment = beginAsleep(tcp, record, nowMs);
  segment.sequence = (tcp.connections.get(record, Field.sndNxt) - 1) | 0;
  tcp.counters.keepAlive++;
  finishAsleep(tcp, record, remote, nowMs);
}

/** An ACK of a sleeping connection, from its record alone. */
function beginAsleep(tcp: Tcp, record: number, nowMs: number): TcpRecord {
  const map = tcp.connections;
  const ports = map.get(record, Field.ports);
  const segment = tcp.segment;
  segment.clear();
  segment.sourcePort = ports >>> 16;
  segment.destinationPort = ports & 0xffff;
  segment.acknowledgment = map.get(record, Field.rcvNxt);
  segment.flags = TcpFlag.ACK;
  segment.window = map.get(record, Field.windows) & 0xffff;
  segment.urgentPointer = 0;
  if ((map.get(record, Field.meta) & Asleep.timestamps) !== 0) {
    segment.hasTimestamp = true;
    segment.tsVal = (Math.floor(nowMs) + map.get(record, Field.tsOffset)) | 0;
    segment.tsEcr = map.get(record, Field.tsRecent);
  }
  return segment;
}

function finishAsleep(tcp: Tcp, record: number, remote: number, nowMs: number): void {
  const map = tcp.connections;
  map.set(record, Field.meta, map.get(record, Field.meta) | Asleep.answered);
  const { slab, transportStart } = tcp.output;
  const end = writeTcp(tcp.segment, slab, transportStart);
  const local = map.get(record, Field.localAddress);
  tcp.output.sendTransport(PROTOCOL_TCP, local, remote, end, 0, 64, nowMs);
}
