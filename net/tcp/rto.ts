import { rtoBackedOffMs } from "./rtt.ts";
import { CaState, RetransmitTimer, type Tcb } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/** What a timer of less than a jiffy or two would be worth: Linux adds it to every short one. */
export const TIMER_SLACK_US = 2_000;

/** Sets the one timer of the retransmission queue: `inMs` from now, a whole number, so that none is made for the call. */
export function setRetransmitTimer(tcb: Tcb, timer: RetransmitTimer, nowMs: number, inMs: number): void {
  tcb.retransmitTimer = timer;
  tcb.retransmitAtMs = nowMs + inMs;
}

export function clearRetransmitTimer(tcb: Tcb): void {
  tcb.retransmitTimer = RetransmitTimer.none;
  tcb.retransmitAtMs = Infinity;
}

/** How long, from now, until the head of the queue has been out for a whole timeout. */
function timeoutInMs(tcp: Tcp, tcb: Tcb, nowMs: number): number {
  return tcb.sent.sentMs[tcb.sent.slot(0)]! + rtoBackedOffMs(tcb, tcp.config) - nowMs;
}

/**
 * Starts the retransmission timeout anew (RFC 6298 sections 5.1 to 5.3). Where a shorter timer stood in for it,
 * the time that the head of the queue has waited counts: else each probe would put the timeout off.
 */
export function rearmTimeout(tcp: Tcp, tcb: Tcb, nowMs: number): void {
  if (tcb.sent.length === 0) return clearRetransmitTimer(tcb);
  const standIn = tcb.retransmitTimer === RetransmitTimer.probe ||
    tcb.retransmitTimer === RetransmitTimer.reordering;
  const inMs = standIn
    ? Math.max(1, Math.ceil(timeoutInMs(tcp, tcb, nowMs)))
    : rtoBackedOffMs(tcb, tcp.config);
  setRetransmitTimer(tcb, RetransmitTimer.timeout, nowMs, inMs);
}

/**
 * Schedules a tail loss probe instead of the timeout (RFC 8985 section 7.2): after two round trips, and the
 * peer's delayed ACK where one segment waits for it. `advancing`: an ACK has just restarted the timeout.
 * @returns Whether there is a reason to probe.
 */
export function scheduleLossProbe(tcp: Tcp, tcb: Tcb, advancing: boolean, nowMs: number): boolean {
  const { config } = tcp;
  if (!config.tailLossProbe || !tcb.sackPermitted || tcb.sent.length === 0) return false;
  if (tcb.caState !== CaState.open && tcb.caState !== CaState.cwr) return false;
  let inMs = config.rtoInitialMs;
  if (tcb.srttUs >= 0) {
    const allowanceUs = tcb.sent.length === 1 ? config.rtoMinMs * 1000 : TIMER_SLACK_US;
    inMs = Math.max(config.lossProbeMinMs, Math.ceil((2 * tcb.srttUs + allowanceUs) / 1000));
  }
  const timeoutMs = advancing ? rtoBackedOffMs(tcb, config) : Math.ceil(timeoutInMs(tcp, tcb, nowMs));
  if (timeoutMs > 0) inMs = Math.min(inMs, timeoutMs);
  setRetransmitTimer(tcb, RetransmitTimer.probe, nowMs, inMs);
  return true;
}
