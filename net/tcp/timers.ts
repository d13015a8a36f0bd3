import type { TcpRecord } from "../wire/tcp.ts";
import { enterTimeWait } from "./acknowledge.ts";
import type { TcpConfig } from "./config.ts";
import { missDelayedAck } from "./delayed_ack.ts";
import { sendAck, sendProbe, sendReset, sendStrayReset, sendSyn, tcpOutput } from "./output.ts";
import { FastOpenState } from "./fast_open.ts";
import { suspectBlackHole } from "./path_mtu.ts";
import { believeTooBig } from "./too_big.ts";
import { enterLoss, reorderingTimeout } from "./recovery.ts";
import { retransmitLost, sendLossProbe } from "./retransmit.ts";
import { clearRetransmitTimer, setRetransmitTimer } from "./rto.ts";
import { rtoBackedOffMs } from "./rtt.ts";
import { flightSize, NO_LISTENER, RetransmitTimer, type Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { userTimeoutMs } from "./user_timeout.ts";

/** How long to wait for room in our own link (Linux's `TCP_RESOURCE_PROBE_INTERVAL`). */
const LINK_FULL_MS = 500;

/** Acts on every deadline of `tcb` that has come (RFC 9293 section 3.10.8, RFC 6298 section 5). */
export function tcpTimers(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.expireAtMs <= nowMs) return tcp.destroy(tcb, TcpError.none);
  if (tcb.delayedAckAtMs <= nowMs) {
    missDelayedAck(tcb, tcp.config);
    sendAck(tcp, tcb, nowMs);
  }
  if (tcb.retransmitAtMs <= nowMs) retransmitTimer(tcp, tcb, nowMs);
  if (tcb.state !== TcpState.closed && tcb.persistAtMs <= nowMs) persistTimeout(tcp, tcb, nowMs);
  if (tcb.state !== TcpState.closed && tcb.keepAliveAtMs <= nowMs) keepAliveTimeout(tcp, tcb, nowMs);
  if (tcb.state !== TcpState.closed) tcp.arm(tcb);
}

/** The queue's timer has rung: for a tail loss probe, the end of the reordering window, or the timeout. */
function retransmitTimer(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.retransmitTimer === RetransmitTimer.probe) return sendLossProbe(tcp, tcb, nowMs);
  if (tcb.retransmitTimer === RetransmitTimer.reordering) return reorderingTimeout(tcp, tcb, nowMs);
  retransmissionTimeout(tcp, tcb, nowMs);
}

function retransmissionTimeout(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const handshake = tcb.state === TcpState.synSent || tcb.state === TcpState.synReceived;
  // The peer answers with a closed window: each retransmission is a probe, and as long as they are
  // answered it is alive (MUST-37, SHLD-17).
  const probing = !handshake && tcb.sndWnd === 0 && !tcb.orphan;
  if (tcb.retransmits === 0 || (probing && tcb.probesUnanswered === 0)) {
    tcb.stuckSinceMs = nowMs - rtoBackedOffMs(tcb, tcp.config);
  }
  if (probing && tcb.probesUnanswered++ === 0) tcb.persistSinceMs = nowMs;
  const tries = probing ? tcb.probesUnanswered : tcb.retransmits + 1;
  const userTimeout = userTimeoutMs(tcb, tcp.config);
  const userMs = userTimeout > 0 ? tcb.stuckSinceMs + userTimeout : Infinity;
  // Behind the handshake a user timeout decides alone, as on Linux: it may be longer than R2 (RFC 5482).
  const limit = handshake
    ? handshakeRetransmitsMax(tcp, tcb)
    : userTimeout > 0
    ? Infinity
    : tcp.config.retransmitsMax;
  const opensFast = (tcb.fastOpen & (FastOpenState.asked | FastOpenState.sentData)) !== 0;
  const over = tries > limit || nowMs >= userMs;
  if (opensFast && (tcb.retransmits === 2 || (tcb.retransmits < 2 && over))) {
    tcp.counters.fastOpenActiveFail++;
    tcp.fastOpen.blackhole(nowMs);
  }
  if (over) {
    return tcp.destroy(tcb, tcb.softError !== 0 && handshake ? TcpError.unreachable : TcpError.timedOut);
  }
  if (handshake) {
    tcb.rttTiming = false; // Karn
    tcb.retransmits++; // what a SYN asks for depends on how often it was sent
    sendSyn(tcp, tcb, nowMs);
  } else if (tcb.sent.length === 0) {
    return clearRetransmitTimer(tcb);
  } else {
    believeTooBig(tcp, tcb);
    if (isBlackHole(tcp, tcb, nowMs)) suspectBlackHole(tcp, tcb, nowMs);
    enterLoss(tcp, tcb, nowMs);
    retransmitLost(tcp, tcb, 0, 0, nowMs);
    tcb.retransmits++;
  }
  if (!handshake && tcb.retransmits === tcp.config.retransmitsTrouble) tcp.notify(tcb, TcpEvent.trouble); // R1
  const linear = tcb.state === TcpState.synSent && tcb.retransmits <= tcp.config.synLinearTimeouts;
  if (!linear) tcb.backoff++;
  setRetransmitTimer(tcb, RetransmitTimer.timeout, nowMs, rtoBackedOffMs(tcb, tcp.config));
  if (userMs < tcb.retransmitAtMs) tcb.retransmitAtMs = userMs;
}

/** Nothing has got through for as long as R1 takes from the least timeout on, as Linux reckons. */
function isBlackHole(tcp: Tcp, tcb: Tcb, nowMs: number): boolean {
  if (tcb.retransmits === 0 || tcb.retransmitStampMs < 0) return false;
  const limitMs = (2 ** (tcp.config.retransmitsTrouble + 1) - 1) * tcp.config.rtoMinMs;
  return nowMs - tcb.retransmitStampMs >= limitMs;
}

function handshakeRetransmitsMax(tcp: Tcp, tcb: Tcb): number {
  const { synAckRetransmitsMax, synRetransmitsMax, synLinearTimeouts } = tcp.config;
  const own = tcb.synRetransmitsMax;
  if (tcb.state === TcpState.synReceived && tcb.listener !== NO_LISTENER) {
    const child = (tcb.fastOpen & FastOpenState.child) !== 0; // its owner deserves one more
    return own > 0 ? own : synAckRetransmitsMax + (child ? 1 : 0);
  }
  return (own > 0 ? own : synRetransmitsMax) + synLinearTimeouts;
}

/** The window is closed, or too small to be worth a segment: ask, or send what fits (MUST-36). */
function persistTimeout(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  tcb.persistAtMs = Infinity;
  if (tcb.persists === 0 && tcb.probesUnanswered === 0) tcb.persistSinceMs = nowMs;
  // A peer that answers may keep its window closed for ever (MAY-8), but for an application that set a limit.
  const userTimeout = userTimeoutMs(tcb, tcp.config);
  const tooLong = userTimeout > 0
    ? nowMs - tcb.persistSinceMs >= userTimeout
    : tcb.probesUnanswered >= tcp.config.retransmitsMax && nowMs - tcb.persistSinceMs >= probingMs(tcp, tcb);
  if (tooLong) return tcp.destroy(tcb, TcpError.timedOut);
  if (tcb.orphan && tcb.persists >= tcp.config.retransmitsMax) {
    sendReset(tcp, tcb, nowMs); // no application is left that could give up: a peer must not hold us for ever
    return tcp.destroy(tcb, TcpError.timedOut);
  }
  let left = true;
  if (tcb.sndWnd === 0) {
    tcb.probesUnanswered++;
    sendProbe(tcp, tcb, nowMs);
    left = !tcp.output.linkFull;
  }
  tcb.persists++;
  tcpOutput(tcp, tcb, nowMs, tcb.sndWnd > 0); // sets the next deadline
  if (tcb.sndWnd > 0 && flightSize(tcb) === 0) {
    tcb.probesUnanswered++;
    left = false;
  }
  if (left) return;
  // Our own link is full: that is nobody's silence, and it may have room soon.
  tcb.persists--;
  const userMs = userTimeout > 0 ? tcb.persistSinceMs + userTimeout : Infinity;
  tcb.persistAtMs = Math.min(nowMs + LINK_FULL_MS, Math.max(userMs, nowMs + 1));
}

/**
 * How long all the probes take that may stay without an answer when each of them leaves. A full link of our own is asked
 * much more often, and a carrier that has to reconnect must have as much time.
 */
function probingMs(tcp: Tcp, tcb: Tcb): number {
  let sum = 0;
  let delayMs = Math.max(tcp.config.rtoMinMs, tcb.rtoMs);
  for (let probe = 1; probe < tcp.config.retransmitsMax; probe++) {
    delayMs = Math.min(tcp.config.persistMaxMs, delayMs * 2);
    sum += delayMs;
  }
  return sum;
}

/** RFC 9293 section 3.8.4. */
function keepAliveTimeout(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  const idle = tcb.state === TcpState.established || tcb.state === TcpState.closeWait ||
    tcb.state === TcpState.finWait2;
  if (!idle || flightSize(tcb) > 0 || tcb.sendQueue.length > 0) {
    tcb.keepAliveAtMs = nowMs + tcb.keepAliveIdleMs; // MUST-26
    return;
  }
  if (tcb.keepAlives >= keepAliveProbesMax(tcb, tcp.config)) {
    sendReset(tcp, tcb, nowMs);
    return tcp.destroy(tcb, TcpError.timedOut);
  }
  tcb.keepAlives++;
  tcp.counters.keepAlive++;
  sendProbe(tcp, tcb, nowMs);
  tcb.keepAliveAtMs = nowMs + tcb.keepAliveIntervalMs;
}

/**
 * Probes without an answer after which a connection is given up. With a user timeout that decides, and not their number
 * (RFC 5482 section 4.2, as Linux does): as many as it takes to have been silent for so long, one at least.
 */
export function keepAliveProbesMax(tcb: Tcb, config: Readonly<TcpConfig>): number {
  const userTimeout = userTimeoutMs(tcb, config);
  if (userTimeout <= 0) return tcb.keepAliveProbes;
  return Math.max(1, Math.ceil((userTimeout - tcb.keepAliveIdleMs) / Math.max(1, tcb.keepAliveIntervalMs)));
}

/** Ends waiting for the peer's FIN once nobody waits for its data. */
export function orphanDeadline(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.state === TcpState.finWait2) leaveFinWait2(tcp, tcb, nowMs);
  else if (tcb.state === TcpState.timeWait) enterTimeWait(tcp, tcb, nowMs);
}

/**
 * An orphan in FIN-WAIT-2: its peer gets some time to end too. Without any it gets RST, as on Linux: in answer to
 * `segment`, when that brought us there.
 */
export function leaveFinWait2(tcp: Tcp, tcb: Tcb, nowMs: number, segment?: TcpRecord): void {
  if (tcb.finWait2Ms >= 0) {
    tcb.expireAtMs = nowMs + tcb.finWait2Ms;
    return;
  }
  if (segment === undefined) sendReset(tcp, tcb, nowMs);
  else sendStrayReset(tcp, tcb.localAddress, tcb.remoteAddress, segment, nowMs);
  tcp.destroy(tcb, TcpError.none);
}
