import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { TcpFlag, writeTimestampedTcp } from "../wire/tcp.ts";
import { ackSent, watchDataSent } from "./delayed_ack.ts";
import { offerWindow, placeData, worthSending } from "./output.ts";
import { enterCwr } from "./recovery.ts";
import { Sent } from "./sent_queue.ts";
import { cwndPackets, packetsInFlight, sentStampMs, type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { timestampNow } from "./timestamp.ts";

/**
 * The short way of data that is all in one segment, with nothing to be said but its ACK: requests, answers, keys. It does
 * what `sendNext` and `transmitSegment` would do, its slow twins, without asking at each step for what cannot be.
 */

/** Whether all that is unsent may leave now, as one segment with timestamps and no other option. */
export function isShortSegment(tcb: Tcb): boolean {
  const length = (tcb.sndUna + tcb.sendQueue.length - tcb.sndMax) | 0;
  return length > 0 && length <= tcb.sndMss && tcb.timestamps && !tcb.finQueued &&
    tcb.durable === undefined &&
    tcb.state >= TcpState.established && tcb.records.length === 0 && !tcb.dsackPending &&
    tcb.sackBlocks.length === 0 && !tcb.ecnOk && tcb.accEcn === undefined && !tcb.sndUrgent &&
    tcb.userTimeoutNews === 0 && length <= ((tcb.sndUna + tcb.sndWnd - tcb.sndMax) | 0) &&
    packetsInFlight(tcb) < cwndPackets(tcb) && worthSending(tcb, length, tcb.sndMss, true);
}

/** Sends it. Nothing is remembered of it when our own link was full. */
export function sendShortSegment(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const { output } = tcp;
  const { slab } = output;
  const sequence = tcb.sndMax;
  const offset = (sequence - tcb.sndUna) | 0;
  const length = tcb.sendQueue.length - offset;
  const end = (sequence + length) | 0;
  const push = tcb.more ? 0 : Sent.push;
  const dataStart = writeTimestampedTcp(
    slab,
    output.transportStart,
    (tcb.localPort << 16) | tcb.remotePort,
    sequence,
    tcb.rcvNxt,
    push === 0 ? TcpFlag.ACK : TcpFlag.ACK | TcpFlag.PSH,
    offerWindow(tcb),
    timestampNow(tcb, nowMs),
    tcb.tsRecent,
  );
  ackSent(tcb, tcp.config);
  placeData(output, tcb, offset, length, dataStart);
  tcb.bytesOut += length;
  tcb.dataSegmentsOut++;
  tcb.segmentsOut++;
  watchDataSent(tcb, nowMs);
  tcb.lastActivityMs = tcb.lastSentMs = nowMs;
  output.sendTransport(
    PROTOCOL_TCP,
    tcb.localAddress,
    tcb.remoteAddress,
    dataStart + length,
    tcb.typeOfService,
    tcb.timeToLive,
    nowMs,
    tcb.pathMtuDiscovery,
  );
  output.tail.bytes = 0;
  if (output.linkFull) return enterCwr(tcb, nowMs);
  if (length < tcb.sndMss) tcb.smallEnd = end;
  tcb.sent.push(sequence, end, push | Sent.trainEnd, sentStampMs(tcb, nowMs));
  tcb.sndMax = end;
}
