import { expect, test } from "vitest";
import { newReno } from "../../../../net/tcp/congestion/new_reno.ts";
import { Hystart, hystartSample, startHystart } from "../../../../net/tcp/congestion/hystart.ts";
import { Tcb } from "../../../../net/tcp/tcb.ts";

const MSS = 1000;

function starting(segments: number, on = true): Tcb {
  const tcb = new Tcb(0);
  tcb.sndMss = MSS;
  tcb.cwnd = segments * MSS;
  tcb.cwndLimited = true;
  startHystart(tcb, on);
  return tcb;
}

/** A round: everything in flight is acknowledged, segment by segment, at this round-trip time, and as much leaves. */
function round(tcb: Tcb, rttUs: number): void {
  const segments = Math.floor(tcb.cwnd / MSS);
  tcb.sndMax = (tcb.sndUna + segments * MSS) | 0;
  for (let ack = 0; ack < segments; ack++) {
    hystartSample(tcb, rttUs);
    tcb.sndUna = (tcb.sndUna + MSS) | 0;
    tcb.sndMax = (tcb.sndMax + MSS) | 0; // so that there is always something in flight
    newReno.acked(tcb, MSS, 0);
  }
}

const segmentsOf = (tcb: Tcb): number => tcb.cwnd / MSS;

test("a round-trip time that stays the same doubles the window each round (RFC 9406 section 4.2)", () => {
  const tcb = starting(16);
  for (let count = 0; count < 5; count++) round(tcb, 50_000);
  expect(segmentsOf(tcb)).toBe(16 * 32);
  expect(tcb.hystart).toBe(Hystart.slowStart);
});

test("a rise by an eighth slows it to a quarter, and ends slow start after five rounds (RFC 9406 section 4.2)", () => {
  const tcb = starting(16);
  round(tcb, 80_000);
  round(tcb, 80_000);
  round(tcb, 90_000);
  expect(tcb.hystart).toBe(Hystart.conservative);
  const entered = tcb.cwnd;
  expect(entered).toBeLessThan(2 * 64 * MSS);
  let rounds = 1; // the partial one counts
  for (; tcb.hystart !== Hystart.off; rounds++) {
    const before = tcb.cwnd;
    round(tcb, 90_000);
    expect(tcb.cwnd).toBeLessThanOrEqual(1.26 * before);
  }
  expect(rounds).toBeGreaterThanOrEqual(5);
  expect(rounds).toBeLessThanOrEqual(6);
  expect(tcb.ssthresh).toBeLessThanOrEqual(tcb.cwnd);
});

test("a rise that was a mistake: slow start goes on (RFC 9406 section 4.2)", () => {
  const tcb = starting(16);
  round(tcb, 80_000);
  round(tcb, 95_000);
  expect(tcb.hystart).toBe(Hystart.conservative);
  round(tcb, 80_000);
  expect(tcb.hystart).toBe(Hystart.slowStart);
  expect(tcb.ssthresh).toBe(0x7fff_ffff);
});

test("less than 4 ms, and more than an eighth up to 16 ms, are no rise (RFC 9406 section 4.3)", () => {
  for (
    const [first, second, rises] of [
      [1_000, 4_999, false],
      [1_000, 5_000, true],
      [80_000, 89_999, false],
      [80_000, 90_000, true],
      [400_000, 415_999, false],
      [400_000, 416_000, true],
    ] as const
  ) {
    const tcb = starting(16);
    round(tcb, first);
    round(tcb, second);
    expect(tcb.hystart === Hystart.conservative, `${first} to ${second}`).toBe(rises);
  }
});

test("eight samples are needed, and sixteen segments (RFC 9406 section 4.2)", () => {
  const few = starting(7);
  few.cwndLimited = false;
  round(few, 10_000);
  round(few, 50_000);
  expect(few.hystart).toBe(Hystart.slowStart);
});

test("off, or once something was lost, round trips do not matter (RFC 9406 section 4.3)", () => {
  const off = starting(16, false);
  round(off, 10_000);
  round(off, 100_000);
  expect(segmentsOf(off)).toBe(64);
  const lost = starting(16);
  lost.ssthresh = 200 * MSS;
  round(lost, 10_000);
  round(lost, 100_000);
  round(lost, 100_000);
  expect(lost.hystart).toBe(Hystart.off);
  expect(segmentsOf(lost)).toBe(128);
});
