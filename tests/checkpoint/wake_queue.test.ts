import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { EVERYBODY, WakeQueue } from "../../checkpoint/wake_queue.ts";

/** As many are awake as are said to be. */
function counts(by: Record<number, number> = {}, all = 0) {
  return { of: (listener: number) => by[listener] ?? 0, all };
}

function take(queue: WakeQueue, max: number, nowMs: number, awake = counts()): number[] {
  const into: number[] = [];
  queue.take(max, awake, into, nowMs);
  return into;
}

test("without a budget all are served in order of arrival, as many as a turn has time for", () => {
  const queue = new WakeQueue({}, 0);
  expect(queue.nextMs).toBe(Infinity);
  for (let record = 0; record < 5_000; record++) queue.add(record, 1, undefined, 0);
  const order: number[] = [];
  while (queue.size > 0) {
    expect(queue.nextMs).toBe(-Infinity);
    const some = take(queue, 256, 0);
    expect(some.length).toBeLessThanOrEqual(256);
    order.push(...some);
    if (queue.size > 0) expect(queue.isLate(order.length)).toBe(false); // out of time is no budget
  }
  expect(order).toEqual(Array.from({ length: 5_000 }, (_, at) => at));
  expect([queue.nextMs, queue.waited]).toEqual([Infinity, 0]);
});

test("listeners are served in turn, however many one of them brings", () => {
  const queue = new WakeQueue({}, 0);
  for (let record = 0; record < 1_000; record++) queue.add(record, 1, undefined, 0);
  queue.add(5_000, 2, undefined, 0);
  queue.add(6_000, 3, undefined, 0);
  queue.add(6_001, 3, undefined, 0);
  expect(take(queue, 7, 0)).toEqual([0, 5_000, 6_000, 1, 6_001, 2, 3]);
});

test("so many in a second: a tenth of that at once, then one after the other, and it says when", () => {
  const startMs = 1_700_000_000_000.25; // where a double has no room for small fractions
  for (const [perSecond, burst] of [[1_000, 100], [10, 1], [2.5, 1], [300, 30], [700, 70]] as const) {
    const queue = new WakeQueue({}, startMs);
    for (let record = 0; record < 300; record++) queue.add(record, 1, { perSecond }, startMs);
    let nowMs = startMs;
    expect(take(queue, 256, nowMs)).toHaveLength(burst);
    expect(queue.isLate(burst)).toBe(true);
    expect(queue.waited).toBe(300 - burst);
    let served = burst;
    while (served < 300) {
      expect(queue.nextMs).toBeGreaterThan(nowMs);
      nowMs = queue.nextMs;
      served += take(queue, 256, nowMs).length;
      expect(served).toBeLessThanOrEqual(burst + (nowMs - startMs) * perSecond / 1_000 + 1e-6);
    }
    expect(nowMs - startMs, `${perSecond}`).toBeLessThanOrEqual((300 - burst) * 1_000 / perSecond + 2);
    expect(queue.waited).toBe(300 - burst);
    expect(queue.isLate(299)).toBe(false);
  }
});

test("so many awake at once: of one listener, which holds up no other, and of all", () => {
  const queue = new WakeQueue({ awakeMax: 10 }, 0);
  for (let record = 0; record < 20; record++) queue.add(record, 1, { awakeMax: 3 }, 0);
  for (let record = 100; record < 120; record++) queue.add(record, 2, undefined, 0);
  expect(take(queue, 256, 0, counts({ 1: 1 }, 1))).toEqual([0, 100, 1, 101, 102, 103, 104, 105, 106]);
  expect([...queue.full].sort()).toEqual([EVERYBODY, 1].sort());
  expect([queue.nextMs, queue.size, queue.isLate(2), queue.isLate(107)]).toEqual([Infinity, 31, true, true]);
  expect(take(queue, 256, 0, counts({ 1: 3, 2: 7 }, 10))).toEqual([]);
  expect(take(queue, 256, 0, counts({ 1: 3, 2: 5 }, 8))).toEqual([107, 108]);
  expect(take(queue, 256, 0, counts({ 1: 0, 2: 0 }, 9))).toHaveLength(1);
});

test("none starves: whatever comes and goes, a wait is no longer than the line in front of it", () => {
  const prng = new Prng(7);
  const queue = new WakeQueue({ perSecond: 5_000, awakeMax: 50 }, 0);
  const lines = new Map<number, number[]>();
  const awake: [listener: number, untilMs: number][] = [];
  let record = 0, served = 0;
  for (let nowMs = 0; nowMs < 4_000; nowMs++) {
    const by: Record<number, number> = {};
    for (let at = awake.length - 1; at >= 0; at--) if (awake[at]![1] <= nowMs) awake.splice(at, 1);
    for (const [listener] of awake) by[listener] = (by[listener] ?? 0) + 1;
    if (nowMs < 2_000) {
      for (let count = prng.below(6); count > 0; count--) {
        const listener = prng.pick([1, 1, 1, 1, 2, 3]);
        queue.add(record, listener, listener === 3 ? { perSecond: 100, awakeMax: 2 } : undefined, nowMs);
        if (!lines.has(listener)) lines.set(listener, []);
        lines.get(listener)!.push(record++);
      }
    }
    for (const each of take(queue, 20, nowMs, counts(by, awake.length))) {
      const listener = [...lines].find(([, line]) => line[0] === each)?.[0];
      expect(listener, `${each} before those that came earlier`).toBeDefined();
      lines.get(listener!)!.shift();
      awake.push([listener!, nowMs + prng.between(1, 10)]);
      served++;
    }
    expect(awake.length).toBeLessThanOrEqual(50);
  }
  expect(served).toBeGreaterThan(3_000);
  expect(lines.get(1)).toEqual([]);
  expect(lines.get(2)).toEqual([]);
});
