import { expect, test } from "vitest";
import { classicHystartSample, startClassicHystart } from "../../../../net/tcp/congestion/classic_hystart.ts";
import { cubic } from "../../../../net/tcp/congestion/cubic.ts";
import { Hystart } from "../../../../net/tcp/congestion/hystart.ts";
import { Tcb } from "../../../../net/tcp/tcb.ts";

const MSS = 1000;
const UNKNOWN = 0x7fff_ffff;

function starting(segments: number): Tcb {
  const tcb = new Tcb(0);
  tcb.sndMss = MSS;
  tcb.cwnd = segments * MSS;
  tcb.cwndLimited = true;
  cubic.start(tcb);
  startClassicHystart(tcb, 0);
  return tcb;
}

/** ACKs of one segment each, `gapMs` apart, with these round trips in milliseconds; as much leaves as slow start lets. */
function acks(tcb: Tcb, fromMs: number, gapMs: number, ...rttsMs: number[]): void {
  rttsMs.forEach((rttMs, at) => {
    tcb.sndUna = (tcb.sndUna + MSS) | 0;
    classicHystartSample(tcb, rttMs * 1000, fromMs + at * gapMs);
    cubic.acked(tcb, MSS, fromMs + at * gapMs);
    tcb.sndMax = Math.max(tcb.sndMax, tcb.sndUna + tcb.cwnd);
  });
}

const same = (count: number, rttMs: number): number[] => new Array<number>(count).fill(rttMs);

test("the ninth sample of a round that rose ends slow start where it stands, as Linux's CUBIC has it", () => {
  const tcb = starting(20);
  tcb.sndMax = 20 * MSS;
  acks(tcb, 0, 5, ...same(20, 200)); // the round in which the shortest is learnt
  expect(tcb.ssthresh).toBe(UNKNOWN);
  const before = tcb.cwnd;
  acks(tcb, 300, 5, ...same(8, 217));
  expect([tcb.ssthresh, tcb.cwnd]).toEqual([UNKNOWN, before + 8 * MSS]);
  acks(tcb, 350, 5, 217);
  expect([tcb.ssthresh, tcb.cwnd]).toEqual([before + 8 * MSS, before + 8 * MSS]);
  expect(tcb.hystart).toBe(Hystart.classicOver);
});

test("an eighth is a rise, from 4 ms to 16 ms, and the shortest of the round counts", () => {
  for (
    const [first, second, rises] of [
      [10, 14, false],
      [10, 15, true],
      [80, 90, false],
      [80, 91, true],
      [400, 416, false],
      [400, 417, true],
    ] as const
  ) {
    const tcb = starting(20);
    tcb.sndMax = 20 * MSS;
    acks(tcb, 0, 3, ...same(20, first));
    acks(tcb, 300, 3, ...same(12, second));
    expect(tcb.ssthresh !== UNKNOWN, `${first} to ${second}`).toBe(rises);
  }
  const tcb = starting(20);
  tcb.sndMax = 20 * MSS;
  acks(tcb, 0, 3, ...same(20, 100));
  acks(tcb, 300, 3, 150, 150, 100, ...same(9, 150));
  expect(tcb.ssthresh).toBe(UNKNOWN);
});

test("a train of ACKs over more than half the shortest round trip ends it, but not with gaps in it", () => {
  const train = starting(20);
  train.sndMax = 20 * MSS;
  acks(train, 100, 2, ...same(11, 40)); // 20 ms
  expect(train.ssthresh).toBe(UNKNOWN);
  acks(train, 122, 2, 40);
  expect(train.ssthresh).toBe(31 * MSS);
  const gaps = starting(20);
  gaps.sndMax = 20 * MSS;
  acks(gaps, 100, 3, ...same(19, 40));
  expect(gaps.ssthresh).toBe(UNKNOWN);
});

test("below 16 segments nothing is a sign, and right after a loss round trips say nothing", () => {
  const small = starting(4);
  small.cwndLimited = false;
  small.sndMax = 4 * MSS;
  acks(small, 0, 3, ...same(4, 10));
  acks(small, 100, 3, ...same(40, 90));
  expect(small.ssthresh).toBe(UNKNOWN);
  const lost = starting(20);
  lost.sndMax = 20 * MSS;
  lost.cubicEpochMs = 100;
  acks(lost, 1_099, 0, 50);
  expect(lost.hystartBaselineUs).toBe(0);
  acks(lost, 1_100, 0, 50);
  expect(lost.hystartBaselineUs).toBe(50_000);
});

test("a timeout begins anew, but only where this HyStart was on", () => {
  const tcb = starting(20);
  tcb.hystart = Hystart.classicOver;
  tcb.hystartBaselineUs = 7;
  cubic.timedOut(tcb, 5);
  expect([tcb.hystart, tcb.hystartBaselineUs, tcb.hystartRoundAtMs]).toEqual([Hystart.classic, 0, 5]);
  tcb.hystart = Hystart.off;
  cubic.timedOut(tcb, 9);
  expect(tcb.hystart).toBe(Hystart.off);
});
