import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Limiter } from "../../../net/ip/limiter.ts";

const START_MS = 1_700_000_000_000;

test("a burst passes, one more does not, and time gives back one at a time", () => {
  const limiter = new Limiter(10, 3);
  const allowed = (nowMs: number, asks: number) =>
    Array.from({ length: asks }, () => limiter.allow(nowMs)).filter(Boolean).length;
  expect(allowed(START_MS, 5)).toBe(3);
  expect(allowed(START_MS + 99, 5)).toBe(0);
  expect(allowed(START_MS + 100, 5)).toBe(1);
  expect(allowed(START_MS + 400, 5)).toBe(3);
  expect(allowed(START_MS + 3_600_000, 5)).toBe(3); // idle time does not pile up
});

test("time that goes back neither gives nor takes", () => {
  const limiter = new Limiter(1, 1);
  expect(limiter.allow(START_MS)).toBe(true);
  expect(limiter.allow(START_MS - 60_000)).toBe(false);
  expect(limiter.allow(START_MS + 999)).toBe(false);
  expect(limiter.allow(START_MS + 1_000)).toBe(true);
  const full = new Limiter(1, 2);
  expect([START_MS, START_MS - 60_000].map((nowMs) => full.allow(nowMs))).toEqual([true, true]);
});

test("over any stretch of time at most burst + rate x time pass, and under steady demand as many do", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const prng = new Prng(seed);
    const perSecond = prng.between(1, 200);
    const burst = prng.between(1, 20);
    const limiter = new Limiter(perSecond, burst);
    const passedMs: number[] = [];
    let nowMs = START_MS;
    for (let ask = 0; ask < 2_000; ask++) {
      nowMs += prng.chance(0.01) ? prng.below(3_000) : prng.below(8) / 4;
      if (limiter.allow(nowMs)) passedMs.push(nowMs);
    }
    for (let first = 0; first < passedMs.length; first += 7) {
      for (let last = first; last < passedMs.length; last += 5) {
        const most = burst + (passedMs[last]! - passedMs[first]!) * perSecond / 1000 + 1e-6;
        expect(last - first + 1, `seed ${seed}`).toBeLessThanOrEqual(most);
      }
    }
    const room = burst + 1; // a bucket for one spills the fractions that gather between two asks
    const steady = new Limiter(perSecond, room);
    let passed = 0;
    for (let at = 0; at <= 10_000; at++) passed += Number(steady.allow(START_MS + at));
    const due = Math.min(room + 10 * perSecond, 10_001);
    expect(Math.abs(passed - due), `seed ${seed}`).toBeLessThanOrEqual(1);
  }
});

test("the state of one limiter continues another", () => {
  const first = new Limiter(1, 2);
  first.allow(START_MS);
  const second = new Limiter(1, 2);
  Object.assign(second.state, JSON.parse(JSON.stringify(first.state)));
  expect([second.allow(START_MS), second.allow(START_MS)]).toEqual([true, false]);
});

test("a limiter that could never allow is refused", () => {
  expect(() => new Limiter(0, 1)).toThrow();
  expect(() => new Limiter(1, 0.9)).toThrow();
  new Limiter(0.001, 1);
});
