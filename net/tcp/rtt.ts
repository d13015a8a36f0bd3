import { seqLess } from "../../base/sequence.ts";
import type { TcpConfig } from "./config.ts";
import { hystartSample } from "./congestion/hystart.ts";
import type { Tcb } from "./tcb.ts";
import { timestampNow } from "./timestamp.ts";

/** A round trip longer than this is an echo of something else. */
const RTT_US_MAX = 600_000_000;
/** A minimum that was not seen for so long may be the past's: routes change (Linux's tcp_min_rtt_wlen). */
const MIN_RTT_MS = 300_000;

/**
 * Takes a round-trip sample and ends the backoff; one that cannot be is ignored.
 *
 * RFC 6298 section 2 with Linux's refinements: the deviation grows slowly while round trips get shorter, and
 * what it adds to the timeout is the largest of a whole round trip, falls by a quarter at most, and never below
 * `rtoMinMs`: the floor is under the variance, not under the timeout.
 */
export function rttSample(tcb: Tcb, rttUs: number, config: TcpConfig): void {
  if (rttUs < 0 || rttUs > RTT_US_MAX) return;
  hystartSample(tcb, Math.round(rttUs));
  const floorUs = config.rtoMinMs * 1000;
  if (tcb.srttUs < 0) {
    tcb.srttUs = Math.round(rttUs);
    tcb.rttvarUs = Math.round(rttUs / 2);
    tcb.rtoVarUs = tcb.rtoVarMaxUs = Math.max(floorUs, Math.round(2 * rttUs));
    tcb.rttSeq = tcb.sndMax;
  } else {
    const errorUs = rttUs - tcb.srttUs;
    let changeUs = Math.abs(errorUs) - tcb.rttvarUs;
    if (errorUs < 0 && changeUs > 0) changeUs /= 8;
    tcb.srttUs = Math.round(tcb.srttUs + errorUs / 8);
    tcb.rttvarUs = Math.round(tcb.rttvarUs + changeUs / 4);
    if (4 * tcb.rttvarUs > tcb.rtoVarMaxUs) {
      tcb.rtoVarMaxUs = 4 * tcb.rttvarUs;
      if (tcb.rtoVarMaxUs > tcb.rtoVarUs) tcb.rtoVarUs = tcb.rtoVarMaxUs;
    }
    if (seqLess(tcb.rttSeq, tcb.sndUna)) {
      if (tcb.rtoVarMaxUs < tcb.rtoVarUs) tcb.rtoVarUs -= (tcb.rtoVarUs - tcb.rtoVarMaxUs) >>> 2;
      tcb.rttSeq = tcb.sndMax;
      tcb.rtoVarMaxUs = floorUs;
    }
  }
  tcb.backoff = 0;
  tcb.rtoMs = Math.min(config.rtoMaxMs, Math.ceil((tcb.srttUs + tcb.rtoVarUs) / 1000));
}

/** Takes a sample of the path's shortest round trip; one that a delayed ACK may have stretched only lowers it. */
export function minRttSample(tcb: Tcb, rttUs: number, maybeDelayed: boolean, nowMs: number): void {
  if (rttUs > RTT_US_MAX) return;
  const us = Math.max(1, Math.round(rttUs));
  if (tcb.minRttUs >= 0 && us > tcb.minRttUs && (maybeDelayed || nowMs - tcb.minRttAtMs <= MIN_RTT_MS)) {
    return;
  }
  tcb.minRttUs = us;
  tcb.minRttAtMs = nowMs;
}

/** The round trip that an echoed timestamp tells, in microseconds; -1 when it cannot be. The clock counts milliseconds. */
export function echoedRttUs(tcb: Tcb, tsEcr: number, nowMs: number): number {
  const ms = (timestampNow(tcb, nowMs) - tsEcr) | 0;
  return ms < 0 || ms * 1000 > RTT_US_MAX ? -1 : Math.max(1, ms) * 1000;
}

/** The timeout in force: the estimate, doubled once per unanswered retransmission (section 5.5). */
export function rtoBackedOffMs(tcb: Tcb, config: TcpConfig): number {
  if (tcb.backoff === 0) return Math.min(config.rtoMaxMs, tcb.rtoMs);
  return Math.min(config.rtoMaxMs, tcb.rtoMs * 2 ** Math.min(tcb.backoff, 16));
}
