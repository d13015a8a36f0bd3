import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import {
  countDuplicate,
  countMark,
  reflectAgain,
  takeAccEcnSynAgain,
  takeAccEcnThirdAck,
} from "./acc_ecn.ts";
import { acknowledge } from "./acknowledge.ts";
import { countSegmentIn } from "./counters.ts";
import { acceptQueueFull } from "./listeners.ts";
import { wasSentBefore } from "./durable.ts";
import { countFastOpenReset, FastOpenState } from "./fast_open.ts";
import { becomeEstablished, echoesOurSyn, startKeepAlive, synSentInput, takeAckOfSyn } from "./handshake.ts";
import { mayAnswerNoise, sendAck, sendChallengeAck, sendStrayReset, sendSyn } from "./output.ts";
import { reportDuplicate } from "./sack_blocks.ts";
import { receiveData, receiveWindow, takeFin } from "./receive.ts";
import { rtoBackedOffMs } from "./rtt.ts";
import { takeUserTimeout } from "./user_timeout.ts";
import { LISTENER_AWAITED, NO_LISTENER, type Tcb, TcpError, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { takeUrgent } from "./urgent.ts";

/** After this much silence a timestamp proves nothing any more (RFC 7323 section 5.5). */
const PAWS_MS_MAX = 24 * 86_400_000;

/**
 * A segment arrives for an awake connection (RFC 9293 sections 3.10.7.3 and 3.10.7.4, in its order).
 *
 * What must be answered at once is sent from here; everything else waits for the end of the turn, so
 * that one ACK serves all that arrived in a batch (MUST-58, MUST-59).
 */
export function tcpInput(tcp: Tcp, tcb: Tcb, segment: TcpRecord, slab: Slab, nowMs: number): Drop {
  countSegmentIn(tcb, segment, nowMs);
  tcp.ackSample.tsAdvanced = false;
  if (tcb.state === TcpState.synSent) return synSentInput(tcp, tcb, segment, slab, nowMs);
  const flags = segment.flags;
  let synchronize = (flags & TcpFlag.SYN) !== 0;

  if (synchronize && tcb.state === TcpState.timeWait && mayReopen(tcp, tcb, segment)) {
    tcp.destroy(tcb, TcpError.none);
    return Drop.TcpClosed; // the caller offers the segment to a listener
  }

  // First: timestamps, then the sequence number. RST is judged by its sequence number alone (RFC 7323 section 5.2).
  if (tcb.timestamps && (flags & TcpFlag.RST) === 0) {
    if (!segment.hasTimestamp) {
      if (!tcp.config.tolerateMissingTimestamps) return Drop.TcpPaws; // section 3.2
    } else if (seqLess(segment.tsVal, tcb.tsRecent) && !tsRecentOutdated(tcb, nowMs)) {
      answerUnacceptable(tcp, tcb, segment, nowMs);
      return Drop.TcpPaws;
    }
  }
  const dataLength = segment.dataEnd - segment.dataStart;
  if (synchronize && crossesOurSynAck(tcb, segment)) {
    segment.sequence = tcb.rcvNxt; // its SYN we have; what else it says counts (figure 8)
    synchronize = false;
  }
  // Before the window is asked: data that it carries, and that was not taken, would be in it.
  if (synchronize && (flags & (TcpFlag.ACK | TcpFlag.RST)) === 0 && segment.sequence === tcb.irs) {
    if (tcb.state === TcpState.synReceived) return answerSynAgain(tcp, tcb, segment, nowMs);
  }
  // RST is judged by its sequence number alone: a closed window must let it in (MUST-66).
  const length = flags & TcpFlag.RST ? 0 : dataLength + (synchronize ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0);
  if (!isAcceptable(tcb, segment.sequence, length) && !isNextFin(tcb, segment, length)) {
    if ((flags & TcpFlag.RST) !== 0) {
      return resetsAtFin(tcb, segment.sequence) ? reset(tcp, tcb, nowMs) : Drop.TcpUnacceptable;
    }
    answerUnacceptable(tcp, tcb, segment, nowMs);
    // RFC 9293 section 3.10.7.4: with a closed window valid ACKs still count. So do those of the peer's last segment
    // sent again, as on Linux and FreeBSD: it may be the only one that acknowledges our FIN.
    const closedWindow = segment.sequence === tcb.rcvNxt;
    const again = length > 0 && ((segment.sequence + length) | 0) === tcb.rcvNxt;
    if (
      (closedWindow || again) && tcb.state >= TcpState.established && tcb.state !== TcpState.timeWait &&
      !synchronize && believableAck(tcb, segment, nowMs)
    ) {
      acknowledge(tcp, tcb, segment, length, nowMs);
      if ((flags & TcpFlag.URG) !== 0) takeUrgent(tcp, tcb, segment); // MUST-66
    }
    return Drop.TcpUnacceptable;
  }

  // Second: RST (RFC 5961 section 3).
  if ((flags & TcpFlag.RST) !== 0) {
    if (isExactReset(tcb, segment.sequence)) return reset(tcp, tcb, nowMs);
    if (fastOpenUnproven(tcb)) tcp.fastOpen.blackhole(nowMs);
    sendChallengeAck(tcp, tcb, nowMs);
    return Drop.TcpUnacceptable;
  }

  // Fourth: SYN (RFC 5961 section 4).
  if (synchronize) {
    if (isHalfOpen(tcb) && !tcb.durable?.inherits) { // back to LISTEN, where the peer's next SYN is welcome
      tcp.counters.embryonicRsts++;
      tcp.destroy(tcb, TcpError.reset);
    } else {
      sendChallengeAck(tcp, tcb, nowMs);
    }
    return Drop.TcpUnacceptable;
  }

  // Fifth: ACK.
  if ((flags & TcpFlag.ACK) === 0) return Drop.TcpUnacceptable;
  if (tcb.state === TcpState.timeWait && (length > 0 || segment.sequence !== tcb.rcvNxt)) {
    // Nothing may come behind the peer's FIN but that FIN again; whatever it is, Linux says where we stand.
    answerUnacceptable(tcp, tcb, segment, nowMs);
    return Drop.TcpUnacceptable;
  }
  const opening = tcb.state === TcpState.synReceived;
  if (opening) {
    if (tcb.listener === LISTENER_AWAITED) return Drop.TcpNoListener; // as if it had been lost: both sides ask again
    const ack = segment.acknowledgment;
    const listener = tcp.listeners.byId(tcb.listener);
    if (isHalfOpen(tcb) && listener === undefined) {
      sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs); // nobody accepts it any more
      tcp.destroy(tcb, TcpError.aborted);
      return Drop.TcpNoListener;
    }
    if (seqLessEqual(ack, tcb.iss) || seqLess(tcb.sndMax, ack)) {
      sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
      return Drop.TcpBadAck;
    }
    // What an earlier process's SYN-ACK said, and so what its ACK echoes, died with that.
    if (isHalfOpen(tcb) && !tcb.durable?.inherits && echoesNothing(tcb, segment, nowMs)) {
      sendChallengeAck(tcp, tcb, nowMs);
      return Drop.TcpPaws;
    }
    if (isHalfOpen(tcb) && acceptQueueFull(listener!)) {
      tcp.counters.listenOverflows++; // as if it had been lost: our SYN-ACK goes again, and so does the peer's ACK
      return Drop.TcpBacklogFull;
    }
    takeAckOfSyn(tcb, ack);
    tcb.sndWnd = tcb.sndWndMax = segment.window << tcb.sndShift;
    tcb.sndWl1 = segment.sequence;
    tcb.sndWl2 = ack;
    if (tcb.accEcn !== undefined) takeAccEcnThirdAck(tcb, tcb.accEcn, segment, tcp.config.ecnFallback);
    becomeEstablished(tcp, tcb, segment, nowMs);
    if (tcb.finQueued) tcp.queueOutput(tcb);
  } else if (!believableAck(tcb, segment, nowMs)) {
    sendChallengeAck(tcp, tcb, nowMs);
    return Drop.TcpBadAck;
  }
  if (segment.userTimeout > 0) takeUserTimeout(tcb, segment);
  if (
    tcb.timestamps && segment.hasTimestamp && seqLessEqual(segment.sequence, tcb.lastAckSent) &&
    (seqLessEqual(tcb.tsRecent, segment.tsVal) || tsRecentOutdated(tcb, nowMs))
  ) {
    tcp.ackSample.tsAdvanced = !opening && tcb.tsRecent !== segment.tsVal;
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAtMs = nowMs;
  }
  startKeepAlive(tcb, nowMs);
  acknowledge(tcp, tcb, segment, length, nowMs);
  if ((tcb.state as TcpState) === TcpState.closed) return Drop.None; // LAST-ACK is over
  if (tcb.accEcn !== undefined) countMark(tcb, tcb.accEcn, segment);

  // Sixth: URG. Seventh and eighth: data and FIN.
  if ((flags & TcpFlag.URG) !== 0) takeUrgent(tcp, tcb, segment);
  if (
    tcb.orphan && !tcb.finReceived && length > 0 && seqLess(tcb.rcvNxt, (segment.sequence + dataLength) | 0)
  ) {
    // Nobody will ever read this, or what stands before this FIN: say so (SHLD-3, RFC 2525 section 2.17), as to a
    // stranger.
    sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
    tcp.destroy(tcb, TcpError.aborted);
    return Drop.TcpClosed;
  }
  if (dataLength > 0) receiveData(tcp, tcb, segment, slab, nowMs);
  if ((flags & TcpFlag.FIN) !== 0) takeFin(tcp, tcb, segment.sequence, dataLength, nowMs);
  if (tcb.fastOpen !== 0) watchFastOpen(tcp, tcb, nowMs);
  tcp.queueOutput(tcb);
  return Drop.None;
}

/** Whether a segment of `length` lies in the window. */
function isAcceptable(tcb: Tcb, sequence: number, length: number): boolean {
  return isInWindow((sequence - tcb.rcvNxt) | 0, length, receiveWindow(tcb));
}

/**
 * A FIN alone is taken at a closed window, too, as in Linux: it needs no room, and peers that send it there would send
 * it again at each of our ACKs.
 */
function isNextFin(tcb: Tcb, segment: TcpRecord, length: number): boolean {
  return length === 1 && (segment.flags & TcpFlag.FIN) !== 0 && segment.sequence === tcb.rcvNxt &&
    !tcb.finReceived;
}

/**
 * RFC 9293 section 3.4, table 5, for a segment that starts `first` behind RCV.NXT, and one thing more: a segment
 * that covers the whole window, from before its start to beyond its end, overlaps it as well.
 */
export function isInWindow(first: number, length: number, window: number): boolean {
  if (length === 0) return first === 0 || (first > 0 && first < window);
  return window > 0 && first < window && ((first + length) | 0) > 0;
}

/** Whether TS.Recent is too old to refuse anything (RFC 7323 section 5.5). */
function tsRecentOutdated(tcb: Tcb, nowMs: number): boolean {
  return nowMs - tcb.tsRecentAtMs >= PAWS_MS_MAX;
}

/**
 * Whether an RST in the window is the peer's beyond doubt: at RCV.NXT, or where what came ahead of a hole ends, FIN and
 * all, which is the SND.NXT of a peer whose segments before it were lost. As in Linux only where SACK tells the peer of
 * it: without, one number is all that an attacker may not guess (RFC 5961 section 3.2).
 */
function isExactReset(tcb: Tcb, sequence: number): boolean {
  if (sequence === tcb.rcvNxt) return true;
  if (!tcb.sackPermitted) return false;
  if (tcb.finPending) return sequence === ((tcb.finAhead + 1) | 0);
  const { ahead } = tcb;
  return ahead.length > 0 && sequence === ((tcb.rcvNxt + ahead[ahead.length - 1]!) | 0);
}

/** A peer that aborts behind its FIN may give the RST the FIN's own number, as macOS does; Linux believes it too. */
function resetsAtFin(tcb: Tcb, sequence: number): boolean {
  return sequence === ((tcb.rcvNxt - 1) | 0) &&
    (tcb.state === TcpState.closeWait || tcb.state === TcpState.closing || tcb.state === TcpState.lastAck);
}

/** An RST that is believed (RFC 9293 section 3.10.7.4). A half-open passive connection goes back to LISTEN (MUST-11). */
function reset(tcp: Tcp, tcb: Tcb, nowMs: number): Drop {
  if (tcb.state === TcpState.timeWait && tcp.config.rfc1337) return Drop.TcpUnacceptable;
  if (isHalfOpen(tcb)) tcp.counters.embryonicRsts++;
  if ((tcb.fastOpen & FastOpenState.child) !== 0) {
    const listener = tcp.listeners.byId(tcb.listener);
    if (listener !== undefined) countFastOpenReset(listener, nowMs);
  }
  const refused = tcb.state === TcpState.synReceived && tcb.listener === NO_LISTENER;
  // In CLOSING and LAST-ACK what we sent last may be lost: the application hears of it, as on Linux and FreeBSD.
  const over = tcb.state === TcpState.timeWait;
  tcp.destroy(tcb, over ? TcpError.none : refused ? TcpError.refused : TcpError.reset);
  return Drop.None;
}

/** Whoever has not seen our SYN-ACK may guess its number, but not its timestamp as well (Linux since 6.14 does the same). */
function echoesNothing(tcb: Tcb, segment: TcpRecord, nowMs: number): boolean {
  return tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0 && !echoesOurSyn(tcb, segment, nowMs);
}

/** Whether a passive open waits for the ACK of its SYN-ACK, and nobody knows of it yet. */
function isHalfOpen(tcb: Tcb): boolean {
  return tcb.state === TcpState.synReceived && tcb.listener !== NO_LISTENER &&
    (tcb.fastOpen & FastOpenState.child) === 0;
}

/** Whether all that is known of a connection that we opened with Fast Open is that its handshake went well. */
function fastOpenUnproven(tcb: Tcb): boolean {
  return (tcb.fastOpen & FastOpenState.asked) !== 0 && tcb.bytesIn === 0 &&
    tcb.state === TcpState.established;
}

/** A FIN without what was before it: something on the way may swallow data. Data that comes proves the contrary. */
function watchFastOpen(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.finPending && tcb.ahead.length === 0 && fastOpenUnproven(tcb)) {
    tcp.fastOpen.blackhole(nowMs);
    tcb.fastOpen &= ~FastOpenState.asked; // once
  } else if (tcb.bytesIn > 0 && (tcb.fastOpen & FastOpenState.probing) !== 0) {
    tcp.fastOpen.cameThrough();
    tcb.fastOpen &= ~FastOpenState.probing;
  }
}

/** The peer's SYN comes again: it missed our SYN-ACK. Not oftener than other noise, and the timer starts over. */
function answerSynAgain(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): Drop {
  if (!mayAnswerNoise(tcp, tcb, nowMs)) return Drop.TcpUnacceptable;
  tcb.rttTiming = false; // Karn
  if (tcb.accEcn !== undefined) takeAccEcnSynAgain(tcb.accEcn, segment);
  sendSyn(tcp, tcb, nowMs);
  tcb.retransmitAtMs = nowMs + rtoBackedOffMs(tcb, tcp.config);
  tcp.arm(tcb);
  return Drop.None;
}

/**
 * RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, and nothing from before the connection's start
 * (as Linux has it: such an ACK was never right).
 */
function believableAck(tcb: Tcb, segment: TcpRecord, nowMs: number): boolean {
  const behind = (tcb.sndUna - segment.acknowledgment) | 0;
  if ((segment.flags & TcpFlag.ACK) === 0) return false;
  if (seqLess(tcb.sndMax, segment.acknowledgment)) {
    return tcb.durable !== undefined && wasSentBefore(tcb, tcb.durable, segment.acknowledgment, nowMs);
  }
  if (behind <= 0) return true;
  if (behind > tcb.sndWndMax) return false;
  // Once more than half the sequence space was sent, ISS is nowhere.
  return tcb.bytesOut >= 0x8000_0000 || behind < ((tcb.sndUna - tcb.iss) >>> 0);
}

/** Tells the peer where we stand. What carries data is always answered, the rest at a limited rate. */
function answerUnacceptable(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const flags = segment.flags;
  if (tcb.state === TcpState.timeWait && (flags & TcpFlag.FIN) !== 0) {
    tcb.expireAtMs = nowMs + tcp.config.timeWaitMs; // the peer has not seen our ACK: wait anew
  }
  // A loop of ACKs carries no data. A SYN proves nothing, whatever it carries.
  const length = segment.dataEnd - segment.dataStart + ((flags & TcpFlag.FIN) !== 0 ? 1 : 0);
  if (length > 0 && (flags & TcpFlag.SYN) === 0) {
    if (tcb.rcvAdv === tcb.rcvNxt && !seqLess(segment.sequence, tcb.rcvNxt)) tcp.counters.zeroWindowDrop++;
    else if (!seqLess(segment.sequence, tcb.rcvAdv)) tcp.counters.beyondWindow++;
    if (tcb.accEcn !== undefined) countDuplicate(tcb, tcb.accEcn, segment, (segment.sequence + length) | 0);
    const reports = tcb.sackPermitted && tcp.config.dsack && tcb.state !== TcpState.timeWait; // as Linux
    if (reports && seqLess(segment.sequence, tcb.rcvNxt)) {
      const end = (segment.sequence + length) | 0;
      reportDuplicate(tcb, segment.sequence, seqLess(tcb.rcvNxt, end) ? tcb.rcvNxt : end);
    }
    sendAck(tcp, tcb, nowMs);
  } else if ((flags & TcpFlag.SYN) !== 0 && tcb.accEcn !== undefined) {
    reflectAgain(tcb.accEcn, segment);
    sendChallengeAck(tcp, tcb, nowMs);
    tcb.accEcn.reflect = false;
  } else sendChallengeAck(tcp, tcb, nowMs);
  tcp.arm(tcb);
}

/** Both ends opened at once, and the peer's SYN-ACK says what our SYN-ACK said: the handshake is over. */
function crossesOurSynAck(tcb: Tcb, segment: TcpRecord): boolean {
  return tcb.state === TcpState.synReceived && tcb.listener === NO_LISTENER &&
    (segment.flags & (TcpFlag.ACK | TcpFlag.RST)) === TcpFlag.ACK && segment.sequence === tcb.irs &&
    seqLess(tcb.iss, segment.acknowledgment) &&
    seqLessEqual(segment.acknowledgment, tcb.sndMax);
}

/** RFC 6191: a newer timestamp, or without timestamps a later sequence number, opens anew. */
function mayReopen(tcp: Tcp, tcb: Tcb, segment: TcpRecord): boolean {
  if ((segment.flags & (TcpFlag.ACK | TcpFlag.RST)) !== 0) return false;
  const listener = tcp.listeners.find(tcb.localAddress, tcb.localPort);
  if (listener === undefined || acceptQueueFull(listener)) return false; // TIME-WAIT is worth more than a refusal
  if (tcb.timestamps && segment.hasTimestamp && segment.tsVal !== tcb.tsRecent) {
    return seqLess(tcb.tsRecent, segment.tsVal);
  }
  return seqLess(tcb.rcvNxt, segment.sequence);
}
