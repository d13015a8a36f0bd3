import { assert } from "../../base/assert.ts";
import { copied, Copies } from "../../base/copies.ts";
import { Field, RecordState } from "../connections/connection_map.ts";
import { BUFFER_BYTES_MAX } from "./config.ts";
import { congestionNumber, congestionOf } from "./congestion/choose.ts";
import type { CongestionControlName } from "./congestion/congestion.ts";
import { tcpRemember } from "./durable.ts";
import { FastOpenState } from "./fast_open.ts";
import { openActive, startKeepAlive } from "./handshake.ts";
import { QUEUE_BYTES_MIN } from "./memory.ts";
import { type ReadOffer, returnOffered } from "./offer.ts";
import { type TcpOptions, tcpSetOptions } from "./options.ts";
import { sendReset, windowGrowth } from "./output.ts";
import { Push, type Tcb, TcpError, TcpState } from "./tcb.ts";
import { sendRoom, tellWritable } from "./send_buffer.ts";
import type { Tcp } from "./tcp.ts";
import { markRecordEnd } from "./records.ts";
import { orphanDeadline } from "./timers.ts";
import { markUrgent } from "./urgent.ts";
import { timeWaitStampAgeMs } from "../wake/slot.ts";

/** The user calls of RFC 9293 section 3.10: nothing here waits; segments leave at the end of the turn. */

/**
 * OPEN, active. The SYN leaves at once, with the beginning of `fastOpen` where the server has given us a cookie, else
 * asking for one (RFC 7413): `tcb.sendQueue` then holds what it carries, and the rest is still the caller's.
 * @param chosenPort The application has chosen `localPort` itself: a predecessor in TIME-WAIT that had timestamps makes
 * room at once, whatever the configuration says of ports that we choose (as Linux does for a bound socket).
 * @returns `undefined` when the connection exists already, the map is full, or `remote` is no host (MUST-46).
 */
export function tcpConnect(
  tcp: Tcp,
  local: number,
  localPort: number,
  remote: number,
  remotePort: number,
  nowMs: number,
  options?: TcpOptions,
  fastOpen?: Uint8Array,
  chosenPort = false,
): Tcb | undefined {
  if (!tcp.output.isHost(remote)) return undefined;
  const record = tcp.connections.find(local, remote, localPort, remotePort);
  const predecessor = record < 0 ? undefined : reusableTimeWait(tcp, record, remote, chosenPort, nowMs);
  if (record >= 0) {
    if (predecessor === undefined) return undefined;
    tcp.counters.twRecycled++;
    tcp.destroy(predecessor, TcpError.none);
  }
  const tcb = tcp.create(local, remote, localPort, remotePort);
  if (tcb === undefined) return undefined;
  if (options !== undefined) tcpSetOptions(tcp, tcb, options, nowMs);
  openActive(tcp, tcb, nowMs, predecessor, fastOpen);
  return tcb;
}

/**
 * The connection of `record`, if it does nothing but wait and its timestamps tell its segments from those of a
 * successor (RFC 6191 section 2, for an active open).
 */
function reusableTimeWait(
  tcp: Tcp,
  record: number,
  remote: number,
  chosenPort: boolean,
  nowMs: number,
): Tcb | undefined {
  const { connections } = tcp;
  if (connections.state(record) !== RecordState.awake) return undefined;
  const tcb = tcp.tcbAt(connections.get(record, Field.slot));
  if (tcb.state !== TcpState.timeWait || !tcb.timestamps || tcb.saving) return undefined;
  return chosenPort || mayReuse(tcp, record, remote, nowMs - tcb.tsRecentAtMs) ? tcb : undefined;
}

/** Whether the rules let an active open take over a TIME-WAIT whose TS.Recent is so old. */
function mayReuse({ connections, config }: Tcp, record: number, remote: number, stampAgeMs: number): boolean {
  if (config.timeWaitReuse === 0 || stampAgeMs <= config.timeWaitReuseDelayMs) return false;
  return config.timeWaitReuse === 1 || remote === connections.get(record, Field.localAddress);
}

/**
 * The record of a connection that `tcpConnect` would take over if it were awake, or -1: it sleeps in TIME-WAIT, or is
 * on its way to sleep or back. Its image has to be revoked first, so whoever connects must wake it.
 */
export function sleepingTimeWait(
  tcp: Tcp,
  local: number,
  localPort: number,
  remote: number,
  remotePort: number,
  nowMs: number,
): number {
  const { connections } = tcp;
  const record = connections.find(local, remote, localPort, remotePort);
  if (record < 0) return -1;
  let ageMs = -1;
  const tcb = tcp.tcbIn(connections.get(record, Field.slot));
  if (tcb?.record !== record) ageMs = timeWaitStampAgeMs(connections, record, nowMs);
  else if (tcb.saving && tcb.state === TcpState.timeWait && tcb.timestamps) ageMs = nowMs - tcb.tsRecentAtMs;
  return mayReuse(tcp, record, remote, ageMs) ? record : -1;
}

/** Whether the application may still write. */
export function canWrite(tcb: Tcb): boolean {
  const child = tcb.state === TcpState.synReceived && (tcb.fastOpen & FastOpenState.child) !== 0;
  return !tcb.finQueued && (child || tcb.state === TcpState.established || tcb.state === TcpState.closeWait);
}

/**
 * SEND: queues as much of `bytes[from, to)` as the send buffer takes. With `more` the small segment at its end waits
 * for what follows, until something is acknowledged or an RTO has passed (MSG_MORE; MAY-16), and has no PSH.
 * @returns The count taken; when less than asked, a `writable` event follows.
 */
export function tcpSend(
  tcp: Tcp,
  tcb: Tcb,
  bytes: Uint8Array,
  from: number,
  to: number,
  more = false,
): number {
  assert(canWrite(tcb), "Write on a connection that cannot send");
  const count = Math.min(to - from, sendRoom(tcb));
  if (count > 0) {
    tcb.sendQueue.append(bytes, from, from + count);
    copied[Copies.out]! += count;
    if (tcb.durable !== undefined) tcpRemember(tcp, tcb);
    tcb.more = more;
    tcb.push = more ? Push.hold : Push.normal;
    tcp.queueOutput(tcb);
  }
  if (count < to - from) tcb.wantsWritable = true;
  return count;
}

/**
 * SEND of a record's end (MSG_EOR): as `tcpSend`, and when all was taken, what follows begins a segment of its own.
 */
export function tcpSendRecord(tcp: Tcp, tcb: Tcb, bytes: Uint8Array, from: number, to: number): number {
  const count = tcpSend(tcp, tcb, bytes, from, to);
  if (count > 0 && count === to - from) markRecordEnd(tcb);
  return count;
}

/** SEND with the URGENT flag: as `tcpSend`, and what was taken ends with the urgent mark (MUST-30). */
export function tcpSendUrgent(tcp: Tcp, tcb: Tcb, bytes: Uint8Array, from: number, to: number): number {
  const count = tcpSend(tcp, tcb, bytes, from, to);
  if (count > 0) markUrgent(tcb);
  return count;
}

/**
 * SEND for who keeps a limit of their own, `limitBytes`: until it is reached neither the connection's send buffer
 * nor the memory of all connections is a limit.
 * @returns As `tcpSend`.
 */
export function tcpSendAll(
  tcp: Tcp,
  tcb: Tcb,
  bytes: Uint8Array,
  limitBytes: number,
  urgent: boolean,
): number {
  const { sendBufferBytes, notSentLowWaterBytes, memory } = tcb;
  tcb.sendBufferBytes = limitBytes;
  tcb.notSentLowWaterBytes = 0;
  tcb.memory = undefined;
  const send = urgent ? tcpSendUrgent : tcpSend;
  const count = send(tcp, tcb, bytes, 0, bytes.length);
  tcb.sendBufferBytes = sendBufferBytes;
  tcb.notSentLowWaterBytes = notSentLowWaterBytes;
  tcb.memory = memory;
  return count;
}

/** A `drained` event is to follow once all that was sent is acknowledged. */
export function tcpWantDrained(tcb: Tcb): void {
  tcb.wantsDrained = true;
}

/** Where its stream stands for what answers while the application sleeps. */
export function tcpSetProtocol(tcb: Tcb, state: readonly number[]): void {
  tcb.protocolState = state;
}

/** The connection is of this listener from here on: it slept through the one that took it. */
export function tcpSetListener(tcp: Tcp, tcb: Tcb, listenerId: number): void {
  tcp.setListener(tcb, listenerId);
  tcp.enterHandshake(tcb);
}

/**
 * RECEIVE: copies unread bytes to `target[at, at + limit)`.
 * @returns The count; 0 with `tcb.finReceived` is the end of the stream.
 */
export function tcpReceive(tcp: Tcp, tcb: Tcb, target: Uint8Array, at: number, limit: number): number {
  const count = Math.min(limit, tcb.receiveQueue.length);
  if (tcb.durable !== undefined) tcpRemember(tcp, tcb);
  if (count === 0) return 0;
  tcb.receiveQueue.copyTo(0, count, target, at);
  copied[Copies.in]! += count;
  tcb.receiveQueue.drop(count, tcb.ahead.length > 0);
  if (tcb.durable?.keepsReads) tcb.durable.lent = target.slice(at, at + count);
  if (tcb.state !== TcpState.closed && !tcb.finReceived) announceWindow(tcp, tcb);
  return count;
}

/** What comes next may be put into `offer` at once; `undefined` takes that back, and what has been is unread again. */
export function tcpOffer(tcb: Tcb, offer: ReadOffer | undefined): void {
  if (tcb.offer !== undefined) returnOffered(tcb, tcb.offer);
  tcb.offer = offer;
}

/**
 * As `tcpReceive`, of what has been put into an offered buffer, from its front on; it is empty again.
 * @returns The count; 0 when nothing of this connection's is in it.
 */
export function tcpTakeOffered(tcp: Tcp, tcb: Tcb, offer: ReadOffer): number {
  const count = offer.take(tcb);
  if (count > 0 && tcb.state !== TcpState.closed && !tcb.finReceived) announceWindow(tcp, tcb);
  return count;
}

/** Sends a window update when it is worth one: the peer may be waiting for it (MUST-39). */
function announceWindow(tcp: Tcp, tcb: Tcb): void {
  const growth = windowGrowth(tcb);
  const offered = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  const half = tcb.receiveBufferBytes >>> 1;
  const starved = offered < 2 * tcb.peerMss && growth >= Math.min(tcb.peerMss, half);
  // Before our first segment it is the SYN-ACK, which cannot say more, that keeps the window down, not what was unread.
  if (starved || (growth >= half && tcb.segmentsOut > 0)) {
    tcb.ackNow = true;
    tcp.queueOutput(tcb);
  }
}

/** CLOSE of the sending half: a FIN follows what is queued. Idempotent. */
export function tcpShutdown(tcp: Tcp, tcb: Tcb): void {
  if (tcb.finQueued || tcb.state === TcpState.closed) return;
  if (tcb.state === TcpState.synSent) return tcp.destroy(tcb, TcpError.aborted);
  tcb.finQueued = true;
  if (tcb.durable !== undefined) tcpRemember(tcp, tcb);
  // In any case the state moves on now, whenever the FIN can leave (RFC 9293 section 3.10.4).
  if (tcb.state === TcpState.established) tcb.state = TcpState.finWait1;
  else if (tcb.state === TcpState.closeWait) tcb.state = TcpState.lastAck;
  tcp.queueOutput(tcb);
}

/**
 * CLOSE by an application that will not read any more. With unread data the peer gets RST, so that it
 * knows that they were lost (SHLD-3); otherwise FIN, and data arriving later gets RST.
 */
export function tcpClose(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.state === TcpState.closed) return;
  if (tcb.offer !== undefined) tcpOffer(tcb, undefined); // what nobody has taken is unread
  if (tcb.state === TcpState.timeWait) tcb.receiveQueue.clear(); // the peer is past hearing of it (MUST-13)
  const unread = tcb.receiveQueue.length > 0; // what is ahead of a hole was never told to anybody
  if (unread || (tcb.lingerMs === 0 && tcb.state !== TcpState.timeWait)) return tcpAbort(tcp, tcb, nowMs);
  if (tcp.memory.full && tcb.sendQueue.length > QUEUE_BYTES_MIN) { // nobody may hold memory whom nobody waits for
    tcp.counters.abortOnMemory++;
    return tcpAbort(tcp, tcb, nowMs);
  }
  tcb.orphan = true;
  tcpShutdown(tcp, tcb);
  orphanDeadline(tcp, tcb, nowMs);
  if (tcb.record >= 0) tcp.arm(tcb);
}

/**
 * ABORT: RST now, everything queued is forgotten. When both ends have sent their FIN there is nothing left that an RST
 * would end (RFC 9293 section 3.10.5), but it says that data was not read (SHLD-3).
 */
export function tcpAbort(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.state === TcpState.closed) return;
  if (tcb.offer !== undefined) tcpOffer(tcb, undefined);
  const { synSent, closing, lastAck, timeWait } = TcpState;
  const over = tcb.state === closing || tcb.state === lastAck;
  const silent = tcb.state === synSent || tcb.state === timeWait || (over && tcb.receiveQueue.length === 0);
  if (!silent) sendReset(tcp, tcb, nowMs);
  tcp.destroy(tcb, TcpError.aborted);
}

/** Nagle's algorithm off (MUST-17). */
export function tcpSetNoDelay(tcp: Tcp, tcb: Tcb, noDelay: boolean): void {
  tcb.noDelay = noDelay;
  if (noDelay) tcb.push = Push.now; // whatever waits leaves, corked or not, as in Linux
  if (noDelay) tcp.queueOutput(tcb);
}

/** The receive buffer is this large from here on: no tuning. What was offered to the peer stays offered (SHLD-14). */
export function tcpSetReceiveBuffer(tcp: Tcp, tcb: Tcb, bytes: number): void {
  tcb.receiveBufferBytes = bufferBytes(bytes);
  tcb.receiveBufferSet = true;
  if (tcb.state >= TcpState.established && !tcb.finReceived) announceWindow(tcp, tcb);
}

/** The send buffer is this large from here on: no tuning. */
export function tcpSetSendBuffer(tcp: Tcp, tcb: Tcb, bytes: number): void {
  tcb.sendBufferBytes = bufferBytes(bytes);
  tcb.sendBufferSet = true;
  tellWritable(tcp, tcb);
}

/** At least what Linux allows at least: less than that is no window that a peer could use. */
const BUFFER_BYTES_MIN = 2_304;

function bufferBytes(bytes: number): number {
  assert(Number.isFinite(bytes), "A buffer's size is a number of bytes");
  return Math.max(BUFFER_BYTES_MIN, Math.min(Math.floor(bytes), BUFFER_BYTES_MAX));
}

/** Another congestion control than the stack's, at any time; the window stays as it is. */
export function tcpSetCongestionControl(tcb: Tcb, name: CongestionControlName): void {
  const number = congestionNumber(name);
  if (number === tcb.congestion) return;
  tcb.congestion = number;
  congestionOf(tcb).start(tcb);
}

/** Keep-alive on or off, per connection, off by default (MUST-24, MUST-25). Times in milliseconds. */
export function tcpSetKeepAlive(
  tcp: Tcp,
  tcb: Tcb,
  on: boolean,
  nowMs: number,
  idleMs: number = tcb.keepAliveIdleMs,
  intervalMs: number = tcb.keepAliveIntervalMs,
  probes: number = tcb.keepAliveProbes,
): void {
  tcb.keepAlive = on;
  tcb.keepAliveIdleMs = idleMs;
  tcb.keepAliveIntervalMs = intervalMs;
  tcb.keepAliveProbes = probes;
  if (tcb.state >= TcpState.established) startKeepAlive(tcb, nowMs);
  if (tcb.record >= 0) tcp.arm(tcb);
}
