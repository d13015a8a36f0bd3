import { seqLessEqual } from "../../../base/sequence.ts";
import type { Tcb } from "../tcb.ts";

/** What may end slow start before something is lost: RFC 9406, Linux's HyStart (classic_hystart.ts), or nothing. */
export type HystartName = "rfc9406" | "linux" | "off";

/** Where HyStart++ stands, or the older one. `off`: the first slow start is over, or it was never on. */
export const Hystart = { off: 0, slowStart: 1, conservative: 2, classic: 3, classicOver: 4 } as const;

// RFC 9406 section 4.3's values.
const MIN_RTT_THRESHOLD_US = 4_000;
const MAX_RTT_THRESHOLD_US = 16_000;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;
/** Below this many segments a rising round-trip time says nothing yet (Linux's hystart_low_window). */
const LOW_WINDOW_SEGMENTS = 16;

/** HyStart++ (RFC 9406) begins, or stays off. */
export function startHystart(tcb: Tcb, on: boolean): void {
  tcb.hystart = on ? Hystart.slowStart : Hystart.off;
  tcb.hystartRoundEnd = tcb.sndMax;
  tcb.hystartSamples =
    tcb.hystartMinUs =
    tcb.hystartLastMinUs =
    tcb.hystartBaselineUs =
      0;
  tcb.hystartCssRounds = 0;
}

/** Neither off nor the older algorithm. */
function isOn(tcb: Tcb): boolean {
  return tcb.hystart === Hystart.slowStart || tcb.hystart === Hystart.conservative;
}

/** A round-trip time was measured. */
export function hystartSample(tcb: Tcb, rttUs: number): void {
  if (!isOn(tcb)) return;
  const us = Math.max(1, rttUs); // 0 stands for none
  if (tcb.hystartMinUs === 0 || us < tcb.hystartMinUs) tcb.hystartMinUs = us;
  tcb.hystartSamples++;
}

/**
 * Looks whether the round-trip time has risen since the last round, which means that a queue builds up: then
 * slow start goes on at a quarter of its pace, and ends after five rounds unless the rise was a mistake (RFC
 * 9406 section 4.2). Called for every ACK in slow start.
 */
export function hystartRound(tcb: Tcb): void {
  if (!isOn(tcb)) return;
  if (tcb.ssthresh !== 0x7fff_ffff) { // something was lost: `ssthresh` is known, and ends slow start
    tcb.hystart = Hystart.off;
    return;
  }
  if (tcb.hystartSamples >= RTT_SAMPLES) {
    if (tcb.hystart === Hystart.slowStart) {
      if (tcb.hystartLastMinUs > 0 && tcb.cwnd >= LOW_WINDOW_SEGMENTS * tcb.sndMss && risen(tcb)) {
        tcb.hystart = Hystart.conservative;
        tcb.hystartBaselineUs = tcb.hystartMinUs;
        tcb.hystartCssRounds = 0;
      }
    } else if (tcb.hystartMinUs < tcb.hystartBaselineUs) {
      tcb.hystart = Hystart.slowStart;
    }
  }
  if (!seqLessEqual(tcb.hystartRoundEnd, tcb.sndUna)) return;
  tcb.hystartRoundEnd = tcb.sndMax;
  // A round without a predecessor in flight (a pause) has nothing to be compared with.
  tcb.hystartLastMinUs = tcb.sndMax === tcb.sndUna ? 0 : tcb.hystartMinUs;
  tcb.hystartMinUs = tcb.hystartSamples = 0;
  if (tcb.hystart === Hystart.conservative && ++tcb.hystartCssRounds >= CSS_ROUNDS) {
    tcb.ssthresh = tcb.cwnd;
    tcb.hystart = Hystart.off;
  }
}

function risen(tcb: Tcb): boolean {
  const eighth = tcb.hystartLastMinUs / MIN_RTT_DIVISOR;
  const threshold = Math.max(MIN_RTT_THRESHOLD_US, Math.min(eighth, MAX_RTT_THRESHOLD_US));
  return tcb.hystartMinUs >= tcb.hystartLastMinUs + threshold;
}

/** How much of what was delivered slow start may add to the window. */
export function hystartGrowth(tcb: Tcb, deliveredBytes: number): number {
  return tcb.hystart === Hystart.conservative
    ? Math.floor(deliveredBytes / CSS_GROWTH_DIVISOR)
    : deliveredBytes;
}
