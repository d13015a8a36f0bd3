import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { acknowledge } from "./acknowledge.ts";
import { countSegmentIn } from "./counters.ts";
import { hasRoom } from "./listeners.ts";
import { becomeEstablished, startKeepAlive, synSentInput } from "./handshake.ts";
import { sendAck, sendChallengeAck, sendReset, sendStrayReset, sendSyn } from "./output.ts";
import { receiveData, takeFin } from "./receive.ts";
import { type Tcb, TcpError, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/** After this much silence a timestamp proves nothing any more (RFC 7323 section 5.5). */
const PAWS_MS_MAX = 24 * 86_400_000;

/**
 * A segment arrives for an awake connection (RFC 9293 sections 3.10.7.3 and 3.10.7.4, in its order).
 *
 * What must be answered at once is sent from here; everything else waits for the end of the turn, so
 * that one ACK serves all that arrived in a batch (MUST-58, MUST-59).
 */
export function tcpInput(tcp: Tcp, tcb: Tcb, segment: TcpRecord, slab: Slab, nowMs: number): Drop {
  countSegmentIn(tcb, segment.dataEnd - segment.dataStart, nowMs);
  if (tcb.state === TcpState.synSent) return synSentInput(tcp, tcb, segment, nowMs);
  const flags = segment.flags;
  let synchronize = (flags & TcpFlag.SYN) !== 0;

  if (synchronize && tcb.state === TcpState.timeWait && mayReopen(tcp, tcb, segment)) {
    tcp.destroy(tcb, TcpError.none);
    return Drop.TcpClosed; // the caller offers the segment to a listener
  }

  // First: timestamps, then the sequence number.
  if (tcb.timestamps && (flags & TcpFlag.RST) === 0) {
    if (!segment.hasTimestamp) return Drop.TcpPaws; // RFC 7323 section 3.2
    if (seqLess(segment.tsVal, tcb.tsRecent) && nowMs - tcb.tsRecentAtMs < PAWS_MS_MAX) {
      answerUnacceptable(tcp, tcb, segment, nowMs);
      return Drop.TcpPaws;
    }
  }
  const dataLength = segment.dataEnd - segment.dataStart;
  if (synchronize && crossesOurSynAck(tcb, segment)) {
    segment.sequence = tcb.rcvNxt; // its SYN we have; what else it says counts (figure 8)
    synchronize = false;
  }
  // RST is judged by its sequence number alone: a closed window must let it in (MUST-66).
  const length = flags & TcpFlag.RST ? 0 : dataLength + (synchronize ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0);
  if (!isAcceptable(tcb, segment.sequence, length)) {
    if ((flags & TcpFlag.RST) !== 0) return Drop.TcpUnacceptable;
    const again = (flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN && segment.sequence === tcb.irs;
    if (again && tcb.state === TcpState.synReceived) {
      sendSyn(tcp, tcb, nowMs); // the peer missed our SYN-ACK
      return Drop.None;
    }
    answerUnacceptable(tcp, tcb, segment, nowMs);
    // RFC 9293 section 3.10.7.4: with a closed window valid ACKs still count.
    const closedWindow = segment.sequence === tcb.rcvNxt && tcb.state >= TcpState.established;
    if (closedWindow && !synchronize && believableAck(tcb, segment)) {
      acknowledge(tcp, tcb, segment, length, nowMs);
    }
    return Drop.TcpUnacceptable;
  }

  // Second: RST (RFC 5961 section 3).
  if ((flags & TcpFlag.RST) !== 0) {
    if (segment.sequence !== tcb.rcvNxt) {
      sendChallengeAck(tcp, tcb, nowMs);
      return Drop.TcpUnacceptable;
    }
    const passive = tcb.state === TcpState.synReceived && tcb.listener >= 0;
    const refused = tcb.state === TcpState.synReceived && !passive;
    const over = tcb.state >= TcpState.closing; // both FINs are out: nobody is left to tell
    tcp.destroy(tcb, over ? TcpError.none : refused ? TcpError.refused : TcpError.reset);
    return Drop.None;
  }

  // Fourth: SYN (RFC 5961 section 4).
  if (synchronize) {
    sendChallengeAck(tcp, tcb, nowMs);
    return Drop.TcpUnacceptable;
  }

  // Fifth: ACK.
  if ((flags & TcpFlag.ACK) === 0) return Drop.TcpUnacceptable;
  if (tcb.state === TcpState.synReceived) {
    const ack = segment.acknowledgment;
    if (tcb.listener >= 0 && tcp.listeners.byId(tcb.listener) === undefined) {
      sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs); // nobody accepts it any more
      tcp.destroy(tcb, TcpError.aborted);
      return Drop.TcpNoListener;
    }
    if (seqLessEqual(ack, tcb.sndUna) || seqLess(tcb.sndMax, ack)) {
      sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
      return Drop.TcpBadAck;
    }
    tcb.sndUna = (tcb.iss + 1) | 0;
    tcb.sndWnd = tcb.sndWndMax = segment.window << tcb.sndShift;
    tcb.sndWl1 = segment.sequence;
    tcb.sndWl2 = ack;
    becomeEstablished(tcp, tcb, segment, nowMs);
    if (tcb.finQueued) tcp.queueOutput(tcb);
  } else if (!believableAck(tcb, segment)) {
    sendChallengeAck(tcp, tcb, nowMs);
    return Drop.TcpBadAck;
  }
  if (
    tcb.timestamps && segment.hasTimestamp && seqLessEqual(segment.sequence, tcb.lastAckSent) &&
    seqLessEqual(tcb.tsRecent, segment.tsVal)
  ) {
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAtMs = nowMs;
  }
  startKeepAlive(tcb, nowMs);
  acknowledge(tcp, tcb, segment, length, nowMs);
  if ((tcb.state as TcpState) === TcpState.closed) return Drop.None; // LAST-ACK is over

  // Seventh and eighth: data and FIN.
  if (dataLength > 0) {
    if (tcb.orphan && seqLess(tcb.rcvNxt, (segment.sequence + dataLength) | 0)) {
      // Nobody will ever read this: say so (SHLD-3, RFC 2525 section 2.17).
      sendReset(tcp, tcb, nowMs);
      tcp.destroy(tcb, TcpError.aborted);
      return Drop.TcpClosed;
    }
    receiveData(tcp, tcb, segment, slab, nowMs);
  }
  if ((flags & TcpFlag.FIN) !== 0) takeFin(tcp, tcb, segment.sequence, dataLength, nowMs);
  tcp.queueOutput(tcb);
  return Drop.None;
}

/** Whether a segment of `length` lies in the window, with the right edge that the peer was told. */
function isAcceptable(tcb: Tcb, sequence: number, length: number): boolean {
  return isInWindow((sequence - tcb.rcvNxt) | 0, length, (tcb.rcvAdv - tcb.rcvNxt) | 0);
}

/**
 * RFC 9293 section 3.4, table 5, for a segment that starts `first` behind RCV.NXT, and one thing more: a segment
 * that covers the whole window, from before its start to beyond its end, overlaps it as well.
 */
export function isInWindow(first: number, length: number, window: number): boolean {
  if (length === 0) return first === 0 || (first > 0 && first < window);
  return window > 0 && first < window && ((first + length) | 0) > 0;
}

/** RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT. */
function believableAck(tcb: Tcb, segment: TcpRecord): boolean {
  return (segment.flags & TcpFlag.ACK) !== 0 && seqLessEqual(segment.acknowledgment, tcb.sndMax) &&
    seqLessEqual((tcb.sndUna - tcb.sndWndMax) | 0, segment.acknowledgment);
}

/** Tells the peer where we stand. What carries data is always answered, the rest at a limited rate. */
function answerUnacceptable(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  if (tcb.state === TcpState.timeWait && (segment.flags & TcpFlag.FIN) !== 0) {
    tcb.expireAtMs = nowMs + tcp.config.timeWaitMs; // the peer has not seen our ACK: wait anew
  }
  if (segment.dataEnd > segment.dataStart || (segment.flags & TcpFlag.FIN) !== 0) sendAck(tcp, tcb, nowMs);
  else sendChallengeAck(tcp, tcb, nowMs);
  tcp.arm(tcb);
}

/** Both ends opened at once, and the peer's SYN-ACK says what our SYN-ACK said: the handshake is over. */
function crossesOurSynAck(tcb: Tcb, segment: TcpRecord): boolean {
  return tcb.state === TcpState.synReceived && (segment.flags & TcpFlag.ACK) !== 0 &&
    segment.sequence === tcb.irs && segment.acknowledgment === tcb.sndMax;
}

/** RFC 6191: a newer timestamp, or without timestamps a later sequence number, opens anew. */
function mayReopen(tcp: Tcp, tcb: Tcb, segment: TcpRecord): boolean {
  if ((segment.flags & (TcpFlag.ACK | TcpFlag.RST)) !== 0) return false;
  const listener = tcp.listeners.find(tcb.localAddress, tcb.localPort);
  if (listener === undefined || !hasRoom(listener)) return false; // TIME-WAIT is worth more than a refusal
  if (tcb.timestamps && segment.hasTimestamp && segment.tsVal !== tcb.tsRecent) {
    return seqLess(tcb.tsRecent, segment.tsVal);
  }
  return seqLess(tcb.rcvNxt, segment.sequence);
}
