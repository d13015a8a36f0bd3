import { expect, test } from "vitest";
import { congestionNumber } from "../../../../net/tcp/congestion/choose.ts";
import { cubic } from "../../../../net/tcp/congestion/cubic.ts";
import { Tcb } from "../../../../net/tcp/tcb.ts";
import { tcpSetCongestionControl } from "../../../../net/tcp/user.ts";
import { Prng } from "../../../../base/random.ts";

const MSS = 1000;

/** A connection in full use, with `segments` in flight. */
function flying(segments: number, rttMs: number): Tcb {
  const tcb = new Tcb(0);
  tcb.congestion = congestionNumber("cubic");
  tcb.sndMss = MSS;
  tcb.cwnd = segments * MSS;
  tcb.cwndLimited = true;
  tcb.srttUs = rttMs * 1000;
  cubic.start(tcb);
  return tcb;
}

function lose(tcb: Tcb, nowMs: number): void {
  tcb.ssthresh = cubic.thresholdAfterLoss(tcb, tcb.cwnd, nowMs);
  tcb.cwnd = tcb.ssthresh;
}

/** RFC 9438's own formulas, in segments and seconds, nothing rounded: one call per segment delivered. */
class Twin {
  cwnd: number;
  wMax = 0;
  cwndPrior = 0;
  wEst = 0;
  k = 0;
  origin = 0;
  epochS = NaN;

  constructor(cwnd: number) {
    this.cwnd = cwnd;
  }

  lose(): void {
    this.cwndPrior = this.cwnd;
    this.wMax = this.cwnd < this.wMax ? this.cwnd * (1 + 0.7) / 2 : this.cwnd; // section 4.7
    this.cwnd = Math.max(this.cwnd * 0.7, 2); // section 4.6
    this.epochS = NaN;
  }

  delivered(nowS: number, rttS: number): void {
    if (Number.isNaN(this.epochS)) {
      this.epochS = nowS;
      this.wEst = this.cwnd;
      this.k = Math.cbrt(Math.max(0, this.wMax - this.cwnd) / 0.4); // figure 2
      this.origin = Math.max(this.wMax, this.cwnd);
    }
    const t = nowS - this.epochS;
    const ahead = 0.4 * (t + rttS - this.k) ** 3 + this.origin; // W_cubic(t + RTT)
    const target = Math.min(Math.max(ahead, this.cwnd), 1.5 * this.cwnd); // section 4.2
    const alpha = this.wEst >= this.cwndPrior ? 1 : 3 * (1 - 0.7) / (1 + 0.7); // section 4.3
    this.wEst += alpha / this.cwnd;
    this.cwnd += Math.max(
      (target - this.cwnd) / this.cwnd,
      this.wEst > this.cwnd ? (this.wEst - this.cwnd) / this.cwnd : 0,
    );
  }
}

test("the window after a loss is 0.7 of what it was, at least two segments (RFC 9438 section 4.6)", () => {
  for (const [before, after] of [[10, 7], [100, 70], [1000, 700], [3, 2], [2, 2], [1, 2]] as const) {
    const tcb = flying(before, 10);
    lose(tcb, 0);
    expect(tcb.cwnd, `${before}`).toBe(after * MSS);
  }
});

test("the window follows the RFC's formulas through losses, concave, convex and Reno-friendly (RFC 9438 sections 4.1 to 4.7)", () => {
  for (const rttMs of [1, 10, 50, 100, 200]) {
    for (let seed = 1; seed <= 2; seed++) {
      const prng = new Prng(seed);
      const tcb = flying(200, rttMs), twin = new Twin(200);
      let nowMs = 1_700_000_000_000;
      let farthest = 0;
      for (let loss = 0; loss < 4; loss++) {
        // Both start each epoch alike: near the last limit a hair decides between two branches.
        [twin.cwnd, twin.wMax] = [tcb.cwnd / MSS, tcb.cubicWMax / MSS];
        lose(tcb, nowMs);
        twin.lose();
        const rounds = prng.between(20, Math.min(2_000, 8_000 / rttMs + 60));
        for (let round = 0; round < rounds; round++) {
          const acks = Math.floor(tcb.cwnd / MSS);
          for (let ack = 0; ack < acks; ack++) {
            nowMs += rttMs / acks;
            cubic.acked(tcb, MSS, nowMs);
            twin.delivered(nowMs / 1000, rttMs / 1000);
          }
          farthest = Math.max(farthest, Math.abs(tcb.cwnd / MSS - twin.cwnd) / (3 + 0.02 * twin.cwnd));
          if (tcb.cwnd > 2_000 * MSS) break;
        }
      }
      expect(farthest, `RTT ${rttMs}, seed ${seed}`).toBeLessThan(1);
    }
  }
});

test("flat around the last limit, then ever faster: 100 segments lost at 100 ms are back after K = 4.2 s (RFC 9438 section 4.1)", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  const bySecond: number[] = [];
  for (let nowMs = 0; nowMs <= 8_000; nowMs += 10) {
    cubic.acked(tcb, Math.floor(tcb.cwnd / 10), nowMs);
    if (nowMs % 1_000 === 0) bySecond.push(Math.round(tcb.cwnd / MSS));
  }
  expect(bySecond[0]).toBe(70);
  expect(bySecond[4]! - bySecond[3]!).toBeLessThanOrEqual(2);
  expect(Math.abs(bySecond[4]! - 100)).toBeLessThanOrEqual(1);
  expect(bySecond[8]! - bySecond[7]!).toBeGreaterThan(8);
});

test("fast convergence: a second loss below the last limit gives room to others (RFC 9438 section 4.7)", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  expect(tcb.cubicWMax).toBe(100 * MSS);
  lose(tcb, 1_000);
  expect(tcb.cubicWMax / MSS).toBeCloseTo(70 * 0.85, 0);
});

test("a window that is not in use does not grow; slow start reaches twice what was in flight", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  tcb.cwndLimited = false;
  tcb.cwndFlightMax = 60 * MSS;
  for (let ack = 0; ack < 1_000; ack++) cubic.acked(tcb, MSS, ack * 10);
  expect(tcb.cwnd).toBe(70 * MSS);
  tcb.ssthresh = 1_000 * MSS;
  for (let ack = 0; ack < 1_000; ack++) cubic.acked(tcb, MSS, ack * 10);
  expect(tcb.cwnd).toBe(120 * MSS);
});

test("time without data is no time of the curve (RFC 9438 section 5.8)", () => {
  const busy = flying(100, 100), pausing = flying(100, 100);
  for (const tcb of [busy, pausing]) {
    lose(tcb, 0);
    for (let nowMs = 0; nowMs < 2_000; nowMs += 10) cubic.acked(tcb, 8 * MSS, nowMs);
  }
  pausing.lastSentMs = 2_000;
  cubic.sendingAgain(pausing, 62_000);
  for (let nowMs = 2_000; nowMs < 4_000; nowMs += 10) {
    cubic.acked(busy, 8 * MSS, nowMs);
    cubic.acked(pausing, 8 * MSS, nowMs + 60_000);
  }
  expect(pausing.cwnd).toBe(busy.cwnd);
  pausing.lastSentMs = -Infinity;
  cubic.sendingAgain(pausing, 64_000); // asleep for longer than anybody remembers: the curve starts now
  expect(pausing.cubicEpochMs).toBe(64_000);
});

test("a timeout forgets the curve; a spurious one gives all of it back (RFC 9438 sections 4.8 and 4.9.1)", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  for (let nowMs = 0; nowMs < 2_000; nowMs += 10) cubic.acked(tcb, 8 * MSS, nowMs);
  const curve = (): number[] => [
    tcb.cwnd,
    tcb.ssthresh,
    tcb.cubicWMax,
    tcb.cubicEpochMs,
    tcb.cubicOrigin,
    tcb.cubicKMs,
    tcb.cubicWEst,
  ];
  const before = curve();
  tcb.ssthresh = cubic.thresholdAfterLoss(tcb, tcb.cwnd, 2_000);
  cubic.timedOut(tcb, 2_000);
  tcb.cwnd = MSS;
  expect(tcb.cubicWMax).toBe(0);
  cubic.undo(tcb);
  expect(curve()).toEqual(before);
  tcb.priorCwnd = tcb.priorSsthresh = 1; // what grew meanwhile stays
  cubic.undo(tcb);
  expect(tcb.cwnd).toBe(before[0]);
});

test("however far behind its curve, it grows by no more than a half per round trip (RFC 9438 section 4.2)", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  cubic.acked(tcb, MSS, 0);
  const before = tcb.cwnd;
  for (let ack = 0; ack < before / MSS; ack++) cubic.acked(tcb, MSS, 100_000);
  expect(tcb.cwnd).toBe(before + before / 2);
});

test("before the first loss it grows by 5% per round trip at least", () => {
  const tcb = flying(1000, 10);
  tcb.ssthresh = tcb.cwnd;
  tcb.priorCwnd = 1e9; // Reno-friendliness aside
  for (let ack = 0; ack < 1000; ack++) cubic.acked(tcb, MSS, ack / 100);
  expect(tcb.cwnd / MSS).toBe(1050);
});

test("a connection may have another congestion control than its stack, at any time (MAY-18)", () => {
  const tcb = flying(100, 100);
  lose(tcb, 0);
  tcpSetCongestionControl(tcb, "newreno");
  expect(tcb.congestion).toBe(1);
  expect(tcb.cwnd).toBe(70 * MSS);
  tcpSetCongestionControl(tcb, "cubic");
  expect(tcb.cubicWMax).toBe(0); // what it knew is too old to be of use
  expect(() => tcpSetCongestionControl(tcb, "bbr" as "cubic")).toThrow("bbr");
});
