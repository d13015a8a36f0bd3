import type { Tcb } from "../tcb.ts";
import { classicHystartSample, startClassicHystart } from "./classic_hystart.ts";
import type { CongestionControl } from "./congestion.ts";
import { rememberWindows, restoreWindows } from "./episode.ts";
import { Hystart, hystartRound } from "./hystart.ts";
import { increase, slowStart } from "./slow_start.ts";
import { mayGrow } from "./usage.ts";

/** RFC 9438 section 4.1: segments per second cubed. */
const C = 0.4;
/** The multiplicative decrease, 0.7, as Linux rounds it: 10 segments become 7. */
const BETA = 717 / 1024;
/** How fast Reno would have to grow to be as strong with this decrease (section 4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
/** Before the first loss the path's limit is unknown: at least 5% per round trip, as in Linux. */
const STEP_UNKNOWN = 20;
/** At most one segment for each two delivered: 1.5 times per round trip (section 4.4). */
const STEP_MIN = 2;

/**
 * CUBIC (RFC 9438), with Linux's choices where the RFC leaves one: the decrease is of `cwnd`, which validation
 * keeps honest (section 4.6 allows it), and a timeout forgets the curve.
 *
 * An epoch is a stretch of congestion avoidance between two losses; `cubicEpochMs` is `Infinity` until one
 * begins. The curve is `origin + C (t - K)^3`: it starts at `cwnd`, is flat around what was the limit at the
 * last loss, and probes beyond it ever faster.
 */
export const cubic: CongestionControl = {
  name: "cubic",
  start(tcb: Tcb): void {
    forgetCurve(tcb);
  },
  measured: classicHystartSample,
  acked(tcb: Tcb, deliveredBytes: number, nowMs: number): void {
    hystartRound(tcb);
    if (!mayGrow(tcb)) return;
    let left = deliveredBytes;
    if (tcb.cwnd < tcb.ssthresh) {
      left = slowStart(tcb, left);
      if (left === 0) return;
    }
    increase(tcb, stepBytes(tcb, left, nowMs), left);
  },
  thresholdAfterLoss(tcb: Tcb): number {
    rememberWindows(tcb);
    tcb.cubicPriorWMax = tcb.cubicWMax;
    tcb.cubicPriorEpochMs = tcb.cubicEpochMs;
    tcb.cubicPriorOrigin = tcb.cubicOrigin;
    tcb.cubicPriorKMs = tcb.cubicKMs;
    tcb.cubicPriorWEst = tcb.cubicWEst;
    tcb.cubicEpochMs = Infinity;
    // Fast convergence (section 4.7): below the last limit there is somebody new, who needs room.
    tcb.cubicWMax = tcb.cwnd < tcb.cubicWMax ? Math.floor(tcb.cwnd * (1 + BETA) / 2) : tcb.cwnd;
    return Math.max(Math.floor(Math.floor(tcb.cwnd / tcb.sndMss) * BETA), 2) * tcb.sndMss;
  },
  timedOut(tcb: Tcb, nowMs: number): void {
    forgetCurve(tcb); // section 4.8: the next epoch starts with K = 0 wherever slow start ends
    if (tcb.hystart >= Hystart.classic) startClassicHystart(tcb, nowMs);
  },
  undo(tcb: Tcb): void {
    restoreWindows(tcb);
    // Section 4.9.1.
    tcb.cubicWMax = tcb.cubicPriorWMax;
    tcb.cubicEpochMs = tcb.cubicPriorEpochMs;
    tcb.cubicOrigin = tcb.cubicPriorOrigin;
    tcb.cubicKMs = tcb.cubicPriorKMs;
    tcb.cubicWEst = tcb.cubicPriorWEst;
  },
  sendingAgain(tcb: Tcb, nowMs: number): void {
    // Section 5.8: time without data is no time of the curve.
    if (tcb.cubicEpochMs !== Infinity) {
      tcb.cubicEpochMs = Math.min(tcb.cubicEpochMs + nowMs - tcb.lastSentMs, nowMs);
    }
  },
};

function forgetCurve(tcb: Tcb): void {
  tcb.cubicWMax =
    tcb.cubicOrigin =
    tcb.cubicKMs =
    tcb.cubicWEst =
    tcb.cubicEstAcked =
      0;
  tcb.cubicEpochMs = Infinity;
}

/** How many bytes must be delivered for the window to grow by a segment (sections 4.2 to 4.5). */
function stepBytes(tcb: Tcb, deliveredBytes: number, nowMs: number): number {
  const { cwnd, sndMss } = tcb;
  if (tcb.cubicEpochMs === Infinity) beginEpoch(tcb, nowMs);
  // Where the curve will be a round trip from now.
  const seconds = (nowMs - tcb.cubicEpochMs + Math.max(0, tcb.srttUs) / 1000 - tcb.cubicKMs) / 1000;
  const above = tcb.cubicOrigin + C * seconds * seconds * seconds * sndMss - cwnd;
  let segments = above > 0 ? cwnd / above : Infinity;
  if (tcb.cubicWMax === 0 && segments > STEP_UNKNOWN) segments = STEP_UNKNOWN;
  // The Reno-friendly region (section 4.3): never slower than Reno would be.
  tcb.cubicEstAcked += deliveredBytes;
  const alpha = tcb.cubicWEst >= tcb.priorCwnd ? 1 : ALPHA; // faster once the loss is made good
  const perSegment = cwnd / alpha;
  if (tcb.cubicEstAcked > perSegment) {
    const count = Math.floor(tcb.cubicEstAcked / perSegment);
    tcb.cubicEstAcked = Math.floor(tcb.cubicEstAcked - count * perSegment);
    tcb.cubicWEst += count * sndMss;
  }
  if (tcb.cubicWEst > cwnd) segments = Math.min(segments, cwnd / (tcb.cubicWEst - cwnd));
  return Math.max(segments, STEP_MIN) * sndMss;
}

function beginEpoch(tcb: Tcb, nowMs: number): void {
  tcb.cubicEpochMs = nowMs;
  tcb.cubicEstAcked = 0;
  tcb.cubicWEst = tcb.cwnd;
  tcb.cubicOrigin = Math.max(tcb.cubicWMax, tcb.cwnd);
  const below = (tcb.cubicOrigin - tcb.cwnd) / tcb.sndMss;
  tcb.cubicKMs = Math.round(1000 * cubeRoot(below / C));
}

/** Math.cbrt differs between engines in the last bit, and a recording is to replay on all of them. */
function cubeRoot(x: number): number {
  if (x <= 0) return 0;
  let root = Math.max(x, 1);
  for (;;) { // Newton from above: falls until it is there
    const next = (2 * root + x / (root * root)) / 3;
    if (next >= root) return root;
    root = next;
  }
}
