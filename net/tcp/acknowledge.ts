import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import { tuneSendBuffer } from "./buffers.ts";
import { congestionOf } from "./congestion/choose.ts";
import { retransmitFirst } from "./output.ts";
import { rtoBackedOffMs, rttSample } from "./rtt.ts";
import { tellWritable } from "./send_buffer.ts";
import { finSent, flightSize, Recovery, sendEnd, type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import { type Tcp, timestampNow } from "./tcp.ts";
import { leaveFinWait2 } from "./timers.ts";

/**
 * Takes in an acceptable ACK: frees what it acknowledges, learns the round-trip time, moves the
 * congestion window, the send window, and the states that wait for our FIN to be acknowledged.
 * `length` is the segment's length in sequence space.
 */
export function acknowledge(tcp: Tcp, tcb: Tcb, segment: TcpRecord, length: number, nowMs: number): void {
  const ack = segment.acknowledgment;
  const windowBytes = segment.window << tcb.sndShift;
  tcb.probesUnanswered = 0;
  if (seqLess(tcb.sndUna, ack)) {
    advance(tcp, tcb, segment, nowMs);
  } else if (ack === tcb.sndUna && length === 0 && windowBytes === tcb.sndWnd && flightSize(tcb) > 0) {
    duplicateAck(tcp, tcb, nowMs);
  }
  updateSendWindow(tcp, tcb, segment, windowBytes);
  if ((tcb.state as TcpState) !== TcpState.closed) tcp.queueOutput(tcb);
}

function advance(tcp: Tcp, tcb: Tcb, segment: TcpRecord, nowMs: number): void {
  const ack = segment.acknowledgment;
  const acked = (ack - tcb.sndUna) >>> 0;
  const finAcked = finSent(tcb) && seqLess(sendEnd(tcb), ack);
  const ackedBytes = acked - (finAcked ? 1 : 0);

  if (tcb.timestamps && segment.hasTimestamp && segment.tsEcr !== 0) {
    rttSample(tcb, (timestampNow(tcb, nowMs) - segment.tsEcr) | 0, tcp.config);
  } else if (tcb.rttTiming && seqLessEqual(tcb.rttSeq, ack)) {
    rttSample(tcb, nowMs - tcb.rttStartMs, tcp.config);
  }
  if (tcb.rttTiming && seqLessEqual(tcb.rttSeq, ack)) tcb.rttTiming = false;

  tcb.sendQueue.drop(Math.min(ackedBytes, tcb.sendQueue.length));
  tcb.sndUna = ack;
  if (seqLess(tcb.sndNxt, ack)) tcb.sndNxt = ack;
  tcb.retransmits = 0;
  tcb.stuckSinceMs = 0;
  leaveOrStayInRecovery(tcp, tcb, ack, ackedBytes, nowMs);
  tcb.dupAcks = 0;
  // RFC 6298 sections 5.2 and 5.3.
  tcb.retransmitAtMs = flightSize(tcb) === 0 ? Infinity : nowMs + rtoBackedOffMs(tcb, tcp.config);

  if (tcb.wantsWritable) tuneSendBuffer(tcb, tcp.config);
  tellWritable(tcp, tcb);
  if (tcb.wantsDrained && tcb.sendQueue.length === 0) {
    tcb.wantsDrained = false;
    tcp.notify(tcb, TcpEvent.drained);
  }
  if (finAcked) ourFinAcknowledged(tcp, tcb, nowMs);
}

/** RFC 6582 section 3.2, and slow start after a timeout. */
function leaveOrStayInRecovery(
  tcp: Tcp,
  tcb: Tcb,
  ack: number,
  ackedBytes: number,
  nowMs: number,
): void {
  if (tcb.recovery === Recovery.fast) {
    if (seqLessEqual(tcb.recover, ack)) {
      const flight = flightSize(tcb);
      tcb.cwnd = Math.min(tcb.ssthresh, Math.max(flight, tcb.sndMss) + tcb.sndMss);
      tcb.recovery = Recovery.open;
      return;
    }
    retransmitFirst(tcp, tcb, nowMs); // a partial ACK: the next hole is lost too
    tcb.cwnd = Math.max(tcb.sndMss, tcb.cwnd - ackedBytes);
    if (ackedBytes >= tcb.sndMss) tcb.cwnd += tcb.sndMss;
    return;
  }
  congestionOf(tcb).acked(tcb, ackedBytes, nowMs);
  if (tcb.recovery === Recovery.loss && seqLessEqual(tcb.recover, ack)) tcb.recovery = Recovery.open;
}

/** RFC 5681 section 3.2, RFC 6582. */
function duplicateAck(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.dupAcks++;
  if (tcb.recovery === Recovery.fast) {
    tcb.cwnd += tcb.sndMss; // another segment has left the network
  } else if (tcb.dupAcks === 3 && tcb.recovery === Recovery.open) { // so `recover` is acknowledged
    tcb.ssthresh = congestionOf(tcb).thresholdAfterLoss(tcb, flightSize(tcb), nowMs);
    tcb.recover = tcb.sndMax;
    tcb.recovery = Recovery.fast;
    retransmitFirst(tcp, tcb, nowMs);
    tcb.cwnd = tcb.ssthresh + 3 * tcb.sndMss;
    tcb.retransmitAtMs = nowMs + rtoBackedOffMs(tcb, tcp.config);
  }
}

/** RFC 9293 section 3.10.7.4, fifth step: only news moves the window. */
function updateSendWindow(tcp: Tcp, tcb: Tcb, segment: TcpRecord, windowBytes: number): void {
  const ack = segment.acknowledgment;
  if (seqLess(ack, tcb.sndUna)) return;
  if (
    seqLess(tcb.sndWl1, segment.sequence) ||
    (tcb.sndWl1 === segment.sequence && seqLessEqual(tcb.sndWl2, ack))
  ) {
    if (windowBytes > tcb.sndWnd) tcp.queueOutput(tcb);
    tcb.sndWnd = windowBytes;
    tcb.sndWl1 = segment.sequence;
    tcb.sndWl2 = ack;
    if (windowBytes > tcb.sndWndMax) tcb.sndWndMax = windowBytes;
  }
}

function ourFinAcknowledged(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.state === TcpState.finWait1) {
    tcb.state = TcpState.finWait2;
    if (tcb.orphan) leaveFinWait2(tcp, tcb, nowMs);
  } else if (tcb.state === TcpState.closing) {
    enterTimeWait(tcp, tcb, nowMs);
  } else if (tcb.state === TcpState.lastAck) {
    tcp.destroy(tcb, TcpError.none);
  }
}

/** RFC 9293 section 3.6: the end that closed first remembers the connection for a while. */
export function enterTimeWait(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.retransmitAtMs = tcb.persistAtMs = tcb.keepAliveAtMs = Infinity;
  tcb.expireAtMs = nowMs + tcp.config.timeWaitMs;
  if (tcb.state === TcpState.timeWait) return;
  tcb.state = TcpState.timeWait;
  if (tcp.timeWaits++ < tcp.config.timeWaitsMax) return;
  tcp.counters.timeWaitOverflow++;
  tcb.expireAtMs = nowMs; // no room to remember it: it goes when its last ACK has left
}
