import { ageMs, type RowReader, type RowWriter } from "../frozen_row.ts";
import { flightSize, type Tcb } from "../tcb.ts";
import { Hystart } from "./hystart.ts";

/**
 * Writes the state of congestion control as whole numbers: an idle connection that never lost anything has
 * none. Positions are distances from SND.UNA, times are milliseconds before `atMs`; one more than
 * that where 0 is "not set". `idle`: nothing was sent for so long that it does not matter when.
 */
export function freezeCongestion(tcb: Tcb, atMs: number, idle: boolean, into: RowWriter): void {
  const flying = flightSize(tcb) > 0;
  into.put(tcb.congestion);
  into.put(tcb.hystart ^ Hystart.slowStart); // where every connection begins
  into.put(tcb.hystart === Hystart.off ? 0 : ahead(tcb, tcb.hystartRoundEnd));
  into.put(tcb.hystartSamples);
  into.put(tcb.hystartMinUs);
  into.put(tcb.hystartLastMinUs);
  into.put(tcb.hystartBaselineUs);
  into.put(tcb.hystartCssRounds);
  into.put(flying ? ahead(tcb, tcb.cwndUsageEnd) : 0);
  into.put(flying ? tcb.cwndFlightMax : 0);
  into.put(idle ? 0 : ageMs(atMs, tcb.cwndFullAtMs));
  into.put(idle ? 0 : tcb.cwndUsedBytes);
  into.put(tcb.priorCwnd);
  into.put(tcb.priorSsthresh);
  into.put(tcb.cubicWMax);
  into.put(epochAge(atMs, tcb.cubicEpochMs));
  into.put(tcb.cubicOrigin);
  into.put(tcb.cubicKMs);
  into.put(tcb.cubicWEst);
  into.put(tcb.cubicEstAcked);
  into.put(tcb.cubicPriorWMax);
  into.put(epochAge(atMs, tcb.cubicPriorEpochMs));
  into.put(tcb.cubicPriorOrigin);
  into.put(tcb.cubicPriorKMs);
  into.put(tcb.cubicPriorWEst);
  into.put(tcb.hystart === Hystart.classic ? ageMs(atMs, tcb.hystartRoundAtMs) : 0);
  into.put(tcb.hystart === Hystart.classic ? ageMs(atMs, tcb.hystartTrainAtMs) : 0);
  into.end();
}

function ahead(tcb: Tcb, position: number): number {
  return Math.max(0, (position - tcb.sndUna) | 0);
}

function epochAge(atMs: number, sinceMs: number): number {
  return sinceMs === Infinity ? 0 : 1 + ageMs(atMs, sinceMs);
}

function epochMs(baseMs: number, age: number): number {
  return age === 0 ? Infinity : baseMs - (age - 1);
}

/** Puts the state back; `sndUna` is there already, and `baseMs` is when it was frozen. */
export function thawCongestion(row: RowReader, tcb: Tcb, baseMs: number): void {
  tcb.congestion = row.next();
  tcb.hystart = row.next() ^ Hystart.slowStart;
  tcb.hystartRoundEnd = (tcb.sndUna + row.next()) | 0;
  tcb.hystartSamples = row.next();
  tcb.hystartMinUs = row.next();
  tcb.hystartLastMinUs = row.next();
  tcb.hystartBaselineUs = row.next();
  tcb.hystartCssRounds = row.next();
  tcb.cwndUsageEnd = (tcb.sndUna + row.next()) | 0;
  tcb.cwndFlightMax = row.next();
  tcb.cwndFullAtMs = baseMs - row.next();
  tcb.cwndUsedBytes = row.next();
  tcb.priorCwnd = row.next();
  tcb.priorSsthresh = row.next();
  tcb.cubicWMax = row.next();
  tcb.cubicEpochMs = epochMs(baseMs, row.next());
  tcb.cubicOrigin = row.next();
  tcb.cubicKMs = row.next();
  tcb.cubicWEst = row.next();
  tcb.cubicEstAcked = row.next();
  tcb.cubicPriorWMax = row.next();
  tcb.cubicPriorEpochMs = epochMs(baseMs, row.next());
  tcb.cubicPriorOrigin = row.next();
  tcb.cubicPriorKMs = row.next();
  tcb.cubicPriorWEst = row.next();
  tcb.hystartRoundAtMs = baseMs - row.next();
  tcb.hystartTrainAtMs = baseMs - row.next();
}
