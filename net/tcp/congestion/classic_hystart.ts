import { seqLess } from "../../../base/sequence.ts";
import type { Tcb } from "../tcb.ts";
import { Hystart } from "./hystart.ts";

/**
 * HyStart as Linux's CUBIC has it (Ha and Rhee 2011), which RFC 9406 was made from: it ends slow start at the first sign
 * of a queue instead of slowing it down for a while. There are two signs: the shortest round trip of a round is longer
 * than the shortest of all, or the ACKs of one train reach over half of it.
 */

/** Samples of a round before it says something. */
const SAMPLES = 8;
/** Below this many segments nothing is a sign yet. */
const LOW_WINDOW_SEGMENTS = 16;
const RISE_US_MIN = 4_000;
const RISE_US_MAX = 16_000;
const RISE_DIVISOR = 8;
/** ACKs that are not further apart are one train. */
const TRAIN_GAP_MS = 2;
/** Right after a loss round trips tell of the queue that it emptied. */
const QUIET_AFTER_LOSS_MS = 1_000;

/** Slow start begins, or begins again after a timeout. */
export function startClassicHystart(tcb: Tcb, nowMs: number): void {
  tcb.hystart = Hystart.classic;
  tcb.hystartBaselineUs = 0;
  beginRound(tcb, nowMs);
}

/** The last segment that an ACK brought took `rttUs` for its round trip. Called before the window grows by that ACK. */
export function classicHystartSample(tcb: Tcb, rttUs: number, nowMs: number): void {
  if (tcb.hystart !== Hystart.classic || rttUs < 0) return;
  if (tcb.cubicEpochMs !== Infinity && nowMs - tcb.cubicEpochMs < QUIET_AFTER_LOSS_MS) return;
  const us = Math.max(1, Math.round(rttUs)); // 0 stands for none
  if (tcb.hystartBaselineUs === 0 || us < tcb.hystartBaselineUs) tcb.hystartBaselineUs = us;
  if (tcb.cwnd >= tcb.ssthresh) return;
  if (seqLess(tcb.hystartRoundEnd, tcb.sndUna)) beginRound(tcb, nowMs);
  if (tcb.cwnd < LOW_WINDOW_SEGMENTS * tcb.sndMss) return;
  if (longTrain(tcb, nowMs) || risen(tcb, us)) {
    tcb.hystart = Hystart.classicOver;
    tcb.ssthresh = tcb.cwnd;
  }
}

function beginRound(tcb: Tcb, nowMs: number): void {
  tcb.hystartRoundAtMs = tcb.hystartTrainAtMs = nowMs;
  tcb.hystartRoundEnd = tcb.sndMax;
  tcb.hystartMinUs = tcb.hystartSamples = 0;
}

/** Segments that left at once come back over more than half the shortest round trip: they queue. */
function longTrain(tcb: Tcb, nowMs: number): boolean {
  if (nowMs - tcb.hystartTrainAtMs > TRAIN_GAP_MS) return false;
  tcb.hystartTrainAtMs = nowMs;
  return (nowMs - tcb.hystartRoundAtMs) * 1000 > tcb.hystartBaselineUs / 2;
}

function risen(tcb: Tcb, us: number): boolean {
  if (tcb.hystartMinUs === 0 || us < tcb.hystartMinUs) tcb.hystartMinUs = us;
  if (tcb.hystartSamples < SAMPLES) {
    tcb.hystartSamples++;
    return false;
  }
  const rise = Math.min(Math.max(tcb.hystartBaselineUs / RISE_DIVISOR, RISE_US_MIN), RISE_US_MAX);
  return tcb.hystartMinUs > tcb.hystartBaselineUs + rise;
}
