import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { SleepTimers } from "../../../net/wake/sleep_timers.ts";

const COUNT = 200_000; // four wheels

test("many more deadlines than one wheel takes: each rings once, in time and not before", () => {
  const prng = new Prng(11);
  const timers = new SleepTimers(1_000);
  const deadline = new Float64Array(COUNT);
  for (let at = 0; at < COUNT; at++) {
    deadline[at] = 1_000 + prng.below(10_000);
    timers.set(3 * at, 1_000 + prng.below(10_000));
    timers.set(3 * at, deadline[at]!); // the later word counts
  }
  for (let at = 0; at < COUNT; at += 10) {
    timers.clear(3 * at);
    deadline[at] = NaN;
  }
  expect(timers.size).toBe(COUNT * 0.9);
  let rung = 0;
  for (let nowMs = 1_000; timers.size > 0;) {
    const nextMs = timers.nextDeadlineMs();
    if (nextMs < nowMs) expect.fail(`${nextMs} lies before ${nowMs}`);
    nowMs = Math.max(nextMs, nowMs + 700);
    timers.advance(nowMs, (record) => {
      const atMs = deadline[record / 3]!;
      if (!(atMs <= nowMs && atMs > nowMs - 800)) expect.fail(`${atMs} rings at ${nowMs}`);
      deadline[record / 3] = NaN;
      rung++;
    });
  }
  expect(rung).toBe(COUNT * 0.9);
  expect(timers.nextDeadlineMs()).toBe(Infinity);
});

test("so many ring in one turn and no more, the longest waiting first; the rest stay due", () => {
  const timers = new SleepTimers(0);
  for (let record = 0; record < COUNT; record++) timers.set(record, record < COUNT / 2 ? 200 : 100);
  const rung: number[] = [];
  timers.advance(300, (record) => void rung.push(record), 1_000);
  expect(rung.length).toBe(1_000);
  expect(Math.min(...rung)).toBeGreaterThanOrEqual(65_536);
  expect(timers.nextDeadlineMs()).toBeLessThanOrEqual(300);
  timers.advance(300, (record) => void rung.push(record));
  expect(new Set(rung).size).toBe(COUNT);
});

test("a deadline in the past that is set by a deadline waits for the next turn, and one that throws for nobody", () => {
  const timers = new SleepTimers(0);
  for (let record = 0; record < 70_000; record++) timers.set(record, 10);
  let rung = 0;
  timers.advance(20, (record) => {
    rung++;
    timers.set(record, 5);
  });
  expect([rung, timers.size]).toEqual([70_000, 70_000]);
  expect(() =>
    timers.advance(20, () => {
      throw new Error("a mistake");
    })
  ).toThrow("a mistake");
  timers.advance(20, () => rung++);
  expect([rung, timers.size]).toEqual([139_999, 0]);
});
