import { seqLessEqual } from "../../../base/sequence.ts";
import type { TcpConfig } from "../config.ts";
import { rtoBackedOffMs } from "../rtt.ts";
import { CaState, flightSize, type Tcb } from "../tcb.ts";
import { congestionOf } from "./choose.ts";
import { startClassicHystart } from "./classic_hystart.ts";
import { startHystart } from "./hystart.ts";
import { mayGrow } from "./usage.ts";

/** The handshake is over: initial window (RFC 6928), slow start. */
export function startCongestion(tcb: Tcb, config: Readonly<TcpConfig>, nowMs: number): void {
  tcb.cwnd = initialWindowBytes(tcb, config);
  tcb.cwndBytesAcked = 0;
  tcb.cwndUsageEnd = tcb.sndMax;
  tcb.cwndFullAtMs = nowMs;
  const control = congestionOf(tcb);
  startHystart(tcb, config.hystart === "rfc9406");
  if (config.hystart === "linux" && control.name === "cubic") startClassicHystart(tcb, nowMs);
  control.start(tcb);
}

/** RFC 6928: ten segments, but not much above 14,600 bytes unless two segments are more. */
export function initialWindowBytes({ sndMss }: Tcb, config: Readonly<TcpConfig>): number {
  const { initialWindowSegments: segments, initialWindowCapped } = config;
  if (!initialWindowCapped) return segments * sndMss;
  return Math.min(segments * sndMss, Math.max(2 * sndMss, segments * 1460));
}

/**
 * Data is about to leave with nothing in flight. After more than an RTO without sending the window is no longer
 * known to fit the path: it becomes the initial one (RFC 5681 section 4.1; Linux halves it for each RTO).
 */
export function sendingAgain(tcb: Tcb, config: Readonly<TcpConfig>, nowMs: number): void {
  const idleMs = nowMs - tcb.lastSentMs;
  if (!(idleMs > 0)) return;
  congestionOf(tcb).sendingAgain(tcb, nowMs);
  tcb.lastSentMs = nowMs; // that time has had its effect, should nothing leave after all
  if (!config.slowStartAfterIdle || tcb.caState !== CaState.open) return;
  if (idleMs <= rtoBackedOffMs(tcb, config)) return;
  tcb.ssthresh = rememberedThreshold(tcb);
  tcb.cwnd = Math.min(tcb.cwnd, initialWindowBytes(tcb, config));
  tcb.cwndFullAtMs = nowMs;
  tcb.cwndUsedBytes = 0;
}

/**
 * Something was sent, or `cwnd` let nothing out (`limited`): remembers how much of the window is in use. A
 * window that is not used does not grow, and when that lasts longer than an RTO it shrinks (RFC 2861, as in
 * Linux).
 */
export function validateWindow(
  tcb: Tcb,
  limited: boolean,
  config: Readonly<TcpConfig>,
  nowMs: number,
): void {
  const flight = flightSize(tcb);
  if (
    limited || seqLessEqual(tcb.cwndUsageEnd, tcb.sndUna) || (!tcb.cwndLimited && flight > tcb.cwndFlightMax)
  ) {
    tcb.cwndLimited = limited;
    tcb.cwndFlightMax = flight;
    tcb.cwndUsageEnd = tcb.sndMax;
  }
  if (mayGrow(tcb)) {
    tcb.cwndUsedBytes = 0;
    tcb.cwndFullAtMs = nowMs;
    return;
  }
  if (flight > tcb.cwndUsedBytes) tcb.cwndUsedBytes = flight;
  if (!config.slowStartAfterIdle || nowMs - tcb.cwndFullAtMs < rtoBackedOffMs(tcb, config)) return;
  // The application waits for room in the send buffer: then it is not what holds us back.
  if (tcb.caState === CaState.open && !tcb.wantsWritable) {
    const used = Math.max(tcb.cwndUsedBytes, initialWindowBytes(tcb, config));
    if (used < tcb.cwnd) {
      tcb.ssthresh = rememberedThreshold(tcb);
      tcb.cwnd = (tcb.cwnd + used) >>> 1;
    }
    tcb.cwndUsedBytes = 0;
  }
  tcb.cwndFullAtMs = nowMs;
}

/** Slow start may go back to three quarters of what was once known to be right. */
function rememberedThreshold(tcb: Tcb): number {
  return Math.max(tcb.ssthresh, (tcb.cwnd >>> 1) + (tcb.cwnd >>> 2));
}
