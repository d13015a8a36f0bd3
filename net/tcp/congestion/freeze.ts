import { flightSize, type Tcb } from "../tcb.ts";
import { Hystart } from "./hystart.ts";

/**
 * The state of congestion control as whole numbers, zeros at the end left out: an idle connection that never
 * lost anything has none. Positions are distances from SND.UNA, times are milliseconds before `atMs`; one more
 * than that where 0 is "not set". `idle`: nothing was sent for so long that it does not matter when.
 */
export function freezeCongestion(tcb: Tcb, atMs: number, idle: boolean): number[] {
  const age = (sinceMs: number): number => Math.max(0, Math.floor(atMs - sinceMs));
  const epoch = (sinceMs: number): number => sinceMs === Infinity ? 0 : 1 + age(sinceMs);
  const ahead = (position: number): number => Math.max(0, (position - tcb.sndUna) | 0);
  const flying = flightSize(tcb) > 0;
  const state = [
    tcb.congestion,
    tcb.hystart ^ Hystart.slowStart, // where every connection begins
    tcb.hystart === Hystart.off ? 0 : ahead(tcb.hystartRoundEnd),
    tcb.hystartSamples,
    tcb.hystartMinUs,
    tcb.hystartLastMinUs,
    tcb.hystartBaselineUs,
    tcb.hystartCssRounds,
    flying ? ahead(tcb.cwndUsageEnd) : 0,
    flying ? tcb.cwndFlightMax : 0,
    idle ? 0 : age(tcb.cwndFullAtMs),
    idle ? 0 : tcb.cwndUsedBytes,
    tcb.priorCwnd,
    tcb.priorSsthresh,
    tcb.cubicWMax,
    epoch(tcb.cubicEpochMs),
    tcb.cubicOrigin,
    tcb.cubicKMs,
    tcb.cubicWEst,
    tcb.cubicEstAcked,
    tcb.cubicPriorWMax,
    epoch(tcb.cubicPriorEpochMs),
    tcb.cubicPriorOrigin,
    tcb.cubicPriorKMs,
    tcb.cubicPriorWEst,
    tcb.hystart === Hystart.classic ? age(tcb.hystartRoundAtMs) : 0,
    tcb.hystart === Hystart.classic ? age(tcb.hystartTrainAtMs) : 0,
  ];
  let length = state.length;
  while (length > 0 && state[length - 1] === 0) length--;
  state.length = length;
  return state;
}

/** Puts the state back; `sndUna` is there already, and `baseMs` is when it was frozen. */
export function thawCongestion(state: readonly number[], tcb: Tcb, baseMs: number): void {
  let at = 0;
  const next = (): number => state[at++] ?? 0;
  const epoch = (after: number): number => after === 0 ? Infinity : baseMs - (after - 1);
  tcb.congestion = next();
  tcb.hystart = next() ^ Hystart.slowStart;
  tcb.hystartRoundEnd = (tcb.sndUna + next()) | 0;
  tcb.hystartSamples = next();
  tcb.hystartMinUs = next();
  tcb.hystartLastMinUs = next();
  tcb.hystartBaselineUs = next();
  tcb.hystartCssRounds = next();
  tcb.cwndUsageEnd = (tcb.sndUna + next()) | 0;
  tcb.cwndFlightMax = next();
  tcb.cwndFullAtMs = baseMs - next();
  tcb.cwndUsedBytes = next();
  tcb.priorCwnd = next();
  tcb.priorSsthresh = next();
  tcb.cubicWMax = next();
  tcb.cubicEpochMs = epoch(next());
  tcb.cubicOrigin = next();
  tcb.cubicKMs = next();
  tcb.cubicWEst = next();
  tcb.cubicEstAcked = next();
  tcb.cubicPriorWMax = next();
  tcb.cubicPriorEpochMs = epoch(next());
  tcb.cubicPriorOrigin = next();
  tcb.cubicPriorKMs = next();
  tcb.cubicPriorWEst = next();
  tcb.hystartRoundAtMs = baseMs - next();
  tcb.hystartTrainAtMs = baseMs - next();
}
