import { seqLess } from "../../base/sequence.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { freezeTcb, type Unsettled } from "./freeze.ts";
import type { FrozenTcb } from "./frozen_tcb.ts";
import { sendFirstSyn } from "./handshake.ts";
import { firstWindowBytes, freeWindow, peekWindow } from "./output.ts";
import { takeRecordEnd } from "./records.ts";
import { Sent } from "./sent_queue.ts";
import { sendEnd, type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * Durable connections (docs/decisions/0025): what a peer is told is in the log before it leaves. Whoever keeps the
 * log is told by `Tcp.moved` that a connection is not as its log says, takes its state by `tcpLog`, and says by
 * `takeLogged` when that is durable.
 */
export interface Durable {
  /** No segment acknowledges more: up to here all that came is in the log. */
  rcvNxt: number;
  /** No segment offers a window beyond. */
  rcvAdv: number;
  /** Of our own stream what is in the log ends here, SYN and FIN included: nothing behind it leaves. */
  sndEnd: number;

  /** What the newest state that was taken says of these, be it durable yet or not. */
  takenRcvNxt: number;
  takenRcvAdv: number;
  takenSndEnd: number;
  takenUnread: number;
  takenState: number;
  /** Its keeper knows that it has moved since. */
  told: boolean;
  /** What the application keeps with it has changed since. */
  touched: boolean;

  /** An earlier process may have sent up to `inheritedEnd`, whatever SND.NXT says, and gone on from a handshake. */
  inherits: boolean;
  inheritedEnd: number;

  /** What is read last stays in the log until the application shows that it is done with it: `tcpRemember`. */
  keepsReads: boolean;
  lent: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** States in which data of ours may be unsent, or unacknowledged. */
function maySend(state: TcpState): boolean {
  const { established, closeWait, finWait1, closing, lastAck } = TcpState;
  return state === established || state === closeWait || state === finWait1 || state === closing ||
    state === lastAck;
}

/** Sequence number behind all that we have said or are about to: SYN, what was written, FIN. */
function writtenEnd(tcb: Tcb): number {
  const syn = tcb.state < TcpState.established && tcb.sndUna === tcb.iss ? 1 : 0;
  return (sendEnd(tcb) + syn + (tcb.finQueued && maySend(tcb.state) ? 1 : 0)) | 0;
}

/** A connection whose state is in the log as it is, or is about to be, but for what lies behind `sndEnd`. */
export function newDurable(tcb: Tcb, sndEnd: number = writtenEnd(tcb)): Durable {
  return {
    rcvNxt: tcb.rcvNxt,
    rcvAdv: tcb.rcvAdv,
    sndEnd,
    takenRcvNxt: tcb.rcvNxt,
    takenRcvAdv: tcb.rcvAdv,
    takenSndEnd: sndEnd,
    takenUnread: tcb.receiveQueue.length,
    takenState: tcb.state,
    told: false,
    touched: false,
    inherits: false,
    inheritedEnd: 0,
    keepsReads: false,
    lent: NOTHING,
  };
}

/** A passive connection is to be durable: from `sndEnd` on nothing leaves until it is in the log. */
export function beginLog(tcp: Tcp, tcb: Tcb, sndEnd: number): void {
  tcb.durable = newDurable(tcb, sndEnd);
  tcb.durable.touched = true;
  watchLog(tcp, tcb, tcb.durable);
}

/** The same for one that has just been opened by `connect`: its SYN may leave, and nothing else. */
export function tcpMakeDurable(tcb: Tcb): void {
  tcb.durable = newDurable(tcb, (tcb.iss + 1) | 0);
  tcb.durable.touched = true;
}

/** The peer's SYN has come for a connection of `tcpMakeDurable`: it is not acknowledged yet. */
export function holdHandshake(tcb: Tcb, durable: Durable): void {
  durable.rcvNxt = tcb.lastAckSent = tcb.irs;
  durable.rcvAdv = durable.takenRcvAdv = tcb.rcvAdv;
}

/** What is read from now on stays in the log until the next call that shows that it is no longer needed. */
export function tcpKeepReads(tcb: Tcb): void {
  if (tcb.durable !== undefined) tcb.durable.keepsReads = true;
}

/**
 * The application has read, written or attached something: what it had read before is its own affair from here on,
 * and the connection is not as its log says.
 */
export function tcpRemember(tcp: Tcp, tcb: Tcb): void {
  const { durable } = tcb;
  if (durable === undefined || tcb.state === TcpState.closed) return;
  durable.lent = NOTHING;
  durable.touched = true;
  tcp.queueOutput(tcb);
}

/** Tells the log's keeper, once, that the connection has moved. */
export function watchLog(tcp: Tcp, tcb: Tcb, durable: Durable): void {
  if (durable.told || tcb.state === TcpState.synSent) return;
  const moved = durable.touched || durable.takenRcvNxt !== tcb.rcvNxt || durable.takenState !== tcb.state ||
    durable.takenUnread !== tcb.receiveQueue.length || durable.takenSndEnd !== writtenEnd(tcb);
  if (!moved) return;
  durable.told = true;
  tcp.moved(tcb);
}

/**
 * Whether an ACK has to wait for the log. It would say what the last one has said, and a peer would take that for
 * the sign of a loss; or a window would open that is not in the log yet, and nothing would announce it later. Then it
 * is owed.
 */
export function ackWaits(tcb: Tcb, durable: Durable): boolean {
  if (seqLess(tcb.lastAckSent, durable.rcvNxt)) return false;
  if (durable.rcvNxt === tcb.rcvNxt && !opensLater(tcb, durable)) return false;
  tcb.ackNow = true;
  tcb.delayedAckAtMs = Infinity;
  return true;
}

/** Whether a log is about to be durable, or to be written, that lets the window grow. */
function opensLater(tcb: Tcb, durable: Durable): boolean {
  if (seqLess(durable.rcvAdv, durable.takenRcvAdv)) return true;
  return (durable.touched || durable.told) && seqLess(durable.rcvAdv, (tcb.rcvNxt + freeWindow(tcb)) | 0);
}

/**
 * The state for the log, as far as it has to survive: not what of the queue has been sent, nor what came out of order,
 * nor what was learnt of losses. `sentFrom` and `unreadFrom` bytes at the front of the two queues are left out, because
 * the log has them already.
 */
export function tcpLog(
  tcb: Tcb,
  nowMs: number,
  addresses: Pick<AddressTable, "freeze">,
  sentFrom = 0,
  unreadFrom = 0,
): FrozenTcb {
  const durable = tcb.durable!;
  const { rcvAdv } = tcb;
  const edge = (tcb.rcvNxt + freeWindow(tcb)) | 0;
  durable.takenRcvNxt = tcb.rcvNxt;
  // What an earlier log allows may have been offered by the time that this one is durable, however short room is now.
  if (seqLess(durable.takenRcvAdv, rcvAdv)) durable.takenRcvAdv = rcvAdv;
  if (seqLess(durable.takenRcvAdv, edge)) durable.takenRcvAdv = edge;
  durable.takenSndEnd = writtenEnd(tcb);
  durable.takenUnread = tcb.receiveQueue.length;
  durable.takenState = tcb.state;
  durable.touched = durable.told = false;
  const unsettled: Unsettled = { sentFrom, unreadFrom };
  // Promised is what may be offered from now on. Windows are rounded up to what their field can say.
  tcb.rcvAdv = (durable.takenRcvAdv + (1 << Math.max(tcb.rcvShift, 0)) - 1) | 0;
  try {
    return freezeTcb(tcb, nowMs, addresses, unsettled);
  } finally {
    tcb.rcvAdv = rcvAdv;
  }
}

/** A state that `tcpLog` gave is durable: what it says may be told. */
export function takeLogged(
  tcp: Tcp,
  tcb: Tcb,
  rcvNxt: number,
  rcvAdv: number,
  sndEnd: number,
  nowMs: number,
): void {
  const { durable } = tcb;
  if (durable === undefined || tcb.state === TcpState.closed) return;
  const opens = tcb.state === TcpState.synReceived && !seqLess(tcb.iss, durable.sndEnd);
  durable.rcvNxt = rcvNxt;
  durable.rcvAdv = rcvAdv;
  durable.sndEnd = sndEnd;
  if (tcb.saving) return; // asked again when the sleep is called off
  if (opens) sendFirstSyn(tcp, tcb, nowMs);
  tcp.queueOutput(tcb);
}

/** Whether a durable connection has something to say that waited for its log, and that no timer will remind it of. */
export function holdsBack(tcb: Tcb): boolean {
  const { durable } = tcb;
  if (durable === undefined) return false;
  const unsent = maySend(tcb.state) && seqLess(tcb.sndMax, writtenEnd(tcb));
  return tcb.ackNow || durable.rcvNxt !== tcb.rcvNxt ||
    (unsent && tcb.retransmitAtMs === Infinity && tcb.persistAtMs === Infinity);
}

/**
 * A durable connection wakes: what was answered for it asleep, by this process or an earlier one, has offered the window
 * that its image leads to, which may be more than the image says was offered.
 */
export function promiseWindow(tcb: Tcb): void {
  const { durable } = tcb;
  if (durable === undefined) return;
  // A SYN-ACK's window is not scaled (RFC 7323 section 2.2), and that it has left is in no image.
  const bytes = tcb.state === TcpState.synReceived
    ? Math.min(0xffff, firstWindowBytes(tcb))
    : peekWindow(tcb) << Math.max(tcb.rcvShift, 0);
  const edge = (tcb.rcvNxt + bytes) | 0;
  if (seqLess(tcb.rcvAdv, edge)) tcb.rcvAdv = edge;
  durable.rcvAdv = durable.takenRcvAdv = tcb.rcvAdv;
}

/**
 * A later process takes over what an earlier one has logged, and may have gone on from: all that was in the log may have
 * been sent; what the application had read and not answered is unread again.
 * @returns Whether the connection has something to do, at once.
 */
export function takeOver(tcb: Tcb, nowMs: number): boolean {
  const { durable } = tcb;
  if (durable === undefined) return false;
  if (durable.lent.length > 0) {
    const rest = tcb.receiveQueue.toBytes();
    tcb.receiveQueue.clear();
    for (const bytes of [durable.lent, rest]) tcb.receiveQueue.append(bytes, 0, bytes.length);
    durable.lent = NOTHING;
    durable.touched = true;
  }
  const end = durable.inheritedEnd = writtenEnd(tcb);
  if (tcb.state === TcpState.synReceived) { // our SYN-ACK may have left, and its ACK may have come
    durable.inherits = true;
    tcb.sndMax = end;
    tcb.rttTiming = false; // Karn: which process sent the one that is answered?
    tcb.retransmits = tcb.backoff = 0; // what earlier processes have asked in vain gives nobody up
    tcb.retransmitAtMs = nowMs;
  } else if (maySend(tcb.state) && seqLess(tcb.sndMax, end)) {
    durable.inherits = true;
  }
  return durable.inherits || tcb.ackNow || tcb.receiveQueue.length > 0;
}

/** Whether the peer may acknowledge more than this process has sent: an earlier one may have. */
export function stillInherits({ durable, state, sndMax }: Tcb): boolean {
  return durable !== undefined && durable.inherits &&
    (state === TcpState.synReceived || seqLess(sndMax, durable.inheritedEnd));
}

/** The same holds after a sleep in this process, whose image does not say so. */
export function inheritAgain({ durable }: Tcb, inheritedEnd: number | undefined): void {
  if (durable === undefined || inheritedEnd === undefined) return;
  durable.inherits = true;
  durable.inheritedEnd = inheritedEnd;
}

/**
 * Whether `ack` acknowledges what an earlier process has sent, beyond all that we have. Then it counts as sent, by
 * whom and when nobody knows.
 */
export function wasSentBefore(tcb: Tcb, durable: Durable, ack: number, nowMs: number): boolean {
  if (!durable.inherits || seqLess(durable.inheritedEnd, ack)) return false;
  const data = sendEnd(tcb);
  while (seqLess(tcb.sndMax, ack)) {
    const sequence = tcb.sndMax;
    const length = Math.min((data - sequence) | 0, (ack - sequence) | 0, tcb.sndMss);
    const fin = length === 0;
    tcb.sndMax = (sequence + (fin ? 1 : length)) | 0;
    takeRecordEnd(tcb, tcb.sndMax);
    tcb.smallEnd = tcb.sndMax;
    tcb.sent.push(sequence, tcb.sndMax, Sent.everRetransmitted | (fin ? Sent.fin : 0), nowMs); // Karn: not timed
  }
  return true;
}
