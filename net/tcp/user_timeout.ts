import { seqLess } from "../../base/sequence.ts";
import { TCP_OPTIONS_LENGTH_MAX, tcpOptionsLength, USER_TIMEOUT_LENGTH } from "../wire/tcp_options.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import type { TcpConfig } from "./config.ts";
import type { Tcb } from "./tcb.ts";

/**
 * The user timeout option (RFC 5482): each side may tell the other how long it keeps a connection whose data stays
 * unacknowledged. It is no promise, and the other side need not follow.
 */

/** `Tcb.userTimeoutNews`: whether the peer is yet to be told. */
export const UserTimeoutNews = {
  none: 0,
  /** To be told with the next segment that has room. */
  waiting: 1,
  /** Told in a bare ACK, which may be lost: still to be told with data. */
  toldInAck: 2,
  /** Told with data, up to `userTimeoutToldEnd`: told again until that is acknowledged. */
  toldInData: 3,
} as const;
export type UserTimeoutNews = (typeof UserTimeoutNews)[keyof typeof UserTimeoutNews];

/** The option's value: 15 bits, and one that says that they are minutes (section 3). */
const VALUE_MAX = 0x7fff;
const MINUTES = 0x8000;
/** The most that it can say. */
export const USER_TIMEOUT_MS_MAX: number = VALUE_MAX * 60_000;

/**
 * How long data may stay unacknowledged, 0 when retransmissions are counted instead: what the application has set; else,
 * where the option is in use, the longer of what both sides say, within the stack's limits (section 3.1).
 */
export function userTimeoutMs(tcb: Tcb, config: Readonly<TcpConfig>): number {
  if (tcb.userTimeoutMs > 0 || !tcb.userTimeoutOption) return tcb.userTimeoutMs;
  const saidMs = Math.max(tcb.userTimeoutAdvertisedMs, tcb.userTimeoutHeardMs);
  if (saidMs === 0) return 0;
  return Math.min(config.userTimeoutMaxMs, Math.max(config.userTimeoutMinMs, saidMs));
}

/** The option's value for `ms` milliseconds, never shorter, 0 for none. */
export function userTimeoutField(ms: number): number {
  const seconds = Math.ceil(ms / 1_000);
  return seconds <= VALUE_MAX ? seconds : MINUTES | Math.min(VALUE_MAX, Math.ceil(ms / 60_000));
}

/** What we say to the peer, 0 for nothing. */
function advertisedField(tcb: Tcb): number {
  return tcb.userTimeoutOption ? userTimeoutField(tcb.userTimeoutAdvertisedMs || tcb.userTimeoutMs) : 0;
}

/** The application has changed something: the peer is told with what leaves next. */
export function announceUserTimeout(tcb: Tcb): void {
  const news = advertisedField(tcb) > 0;
  tcb.userTimeoutNews = news ? UserTimeoutNews.waiting : UserTimeoutNews.none;
}

/** Puts the option into a SYN, if there is something to say and room for it. A SYN is told again behind the handshake, which a cookie may have forgotten. */
export function writeUserTimeoutSyn(tcb: Tcb, segment: TcpRecord): void {
  const field = advertisedField(tcb);
  if (field > 0 && hasRoom(segment, true)) segment.userTimeout = field;
}

/**
 * Puts the option into a segment of a synchronized connection if the peer has yet to be told.
 * @param end The sequence number behind its data and FIN, or `undefined` for a segment without.
 */
export function writeUserTimeout(tcb: Tcb, segment: TcpRecord, end: number | undefined): void {
  if (!hasRoom(segment, false)) return;
  const news = tcb.userTimeoutNews;
  if (end === undefined) {
    if (news !== UserTimeoutNews.waiting) return;
    tcb.userTimeoutNews = UserTimeoutNews.toldInAck;
  } else if (news !== UserTimeoutNews.toldInData) {
    tcb.userTimeoutNews = UserTimeoutNews.toldInData;
    tcb.userTimeoutToldEnd = end;
  }
  segment.userTimeout = advertisedField(tcb);
}

/** SND.UNA has moved: perhaps the peer knows. */
export function checkUserTimeoutTold(tcb: Tcb): void {
  const told = tcb.userTimeoutNews === UserTimeoutNews.toldInData &&
    !seqLess(tcb.sndUna, tcb.userTimeoutToldEnd);
  if (told) tcb.userTimeoutNews = UserTimeoutNews.none;
}

function hasRoom(segment: TcpRecord, syn: boolean): boolean {
  return segment.sackCount === 0 &&
    tcpOptionsLength(segment, syn) + USER_TIMEOUT_LENGTH <= TCP_OPTIONS_LENGTH_MAX;
}

/** What an acceptable segment says of the peer's timeout; 0 is reserved and says nothing (section 3). */
export function takeUserTimeout(tcb: Tcb, segment: TcpRecord): void {
  const { userTimeout: field } = segment;
  if (field <= 0 || !tcb.userTimeoutOption) return;
  const value = field & VALUE_MAX;
  if (value > 0) tcb.userTimeoutHeardMs = (field & MINUTES) !== 0 ? value * 60_000 : value * 1_000;
}

/** As whole numbers, `[]` where the option is not in use. */
export function freezeUserTimeout(tcb: Tcb, into: RowWriter): void {
  const told = tcb.userTimeoutNews === UserTimeoutNews.toldInData;
  into.put(tcb.userTimeoutOption ? 1 : 0);
  into.put(tcb.userTimeoutAdvertisedMs);
  into.put(tcb.userTimeoutHeardMs);
  into.put(tcb.userTimeoutNews);
  into.put(told ? (tcb.userTimeoutToldEnd - tcb.sndUna) | 0 : 0);
  into.end();
}

/** Puts it back; `sndUna` is there already. */
export function thawUserTimeout(row: RowReader, tcb: Tcb): void {
  tcb.userTimeoutOption = row.next() !== 0;
  tcb.userTimeoutAdvertisedMs = row.next();
  tcb.userTimeoutHeardMs = row.next();
  tcb.userTimeoutNews = row.next() as UserTimeoutNews;
  tcb.userTimeoutToldEnd = (tcb.sndUna + row.next()) | 0;
}
