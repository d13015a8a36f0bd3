import { afterEach, expect, test, vi } from "vitest";
import { SystemClock, VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";

afterEach(() => void vi.restoreAllMocks());

test("SystemClock tells epoch time that never steps back", () => {
  const clock = new SystemClock();
  expect(Math.abs(clock.nowMs() - Date.now())).toBeLessThan(60_000); // the wall clock may have been set since start
  let lastMs = clock.nowMs();
  for (let call = 0; call < 10_000; call++) {
    const nowMs = clock.nowMs();
    if (nowMs < lastMs) expect.fail(`${lastMs}, then ${nowMs}`);
    lastMs = nowMs;
  }
});

test("SystemClock.at() runs its callback after the call, never before its deadline, and not when cancelled", async () => {
  const clock = new SystemClock();
  const early: number[] = [];
  const waits = Array.from({ length: 20 }, (_, at) =>
    new Promise<void>((resolve) => {
      const deadlineMs = clock.nowMs() + at / 3;
      let returned = false;
      clock.at(deadlineMs, () => {
        if (!returned || clock.nowMs() < deadlineMs) early.push(deadlineMs - clock.nowMs());
        resolve();
      });
      returned = true;
    }));
  const alarm = clock.at(clock.nowMs() + 1, () => early.push(NaN));
  alarm.cancel();
  alarm.cancel();
  await Promise.all(waits);
  await new Promise<void>((resolve) => void clock.at(clock.nowMs() + 2, resolve));
  expect(early).toEqual([]);
});

/** setTimeout that only notes what it is asked for, and time that stands where it is put. */
function fakeTimers(): {
  clock: SystemClock;
  move: (ms: number) => void;
  delays: number[];
  ring: () => void;
} {
  const start = performance.now();
  let passedMs = 0;
  const delays: number[] = [];
  const callbacks: (() => void)[] = [];
  vi.spyOn(performance, "now").mockImplementation(() => start + passedMs);
  vi.spyOn(globalThis, "setTimeout").mockImplementation(
    ((callback: () => void, delayMs: number) => {
      callbacks.push(callback);
      return delays.push(delayMs);
    }) as unknown as typeof setTimeout,
  );
  return {
    clock: new SystemClock(),
    move: (ms) => void (passedMs += ms),
    delays,
    ring: () => callbacks.pop()!(),
  };
}

test("SystemClock.at() sleeps again when setTimeout wakes it early", () => {
  const { clock, move, delays, ring } = fakeTimers();
  let rung = 0;
  clock.at(clock.nowMs() + 10, () => rung++);
  move(9.5);
  ring();
  expect(rung).toBe(0);
  expect(delays).toEqual([10, 1]);
  move(1);
  ring();
  expect(rung).toBe(1);
});

test("SystemClock.at() sleeps in steps through delays that setTimeout would cut to 1 ms", () => {
  const stepMs = 2 ** 31 - 1;
  for (const [delayMs, steps] of [[stepMs, 1], [stepMs + 1, 2], [3 * stepMs, 3]] as const) {
    const { clock, move, delays, ring } = fakeTimers();
    let rung = 0;
    clock.at(clock.nowMs() + delayMs, () => rung++);
    for (let step = 0; rung === 0; step++) {
      expect(delays.length).toBe(step + 1);
      expect(delays[step]).toBeLessThanOrEqual(stepMs);
      move(delays[step]!);
      ring();
    }
    // one more is allowed: at 10^12 ms a double's last digit is worth 0.0001 ms
    expect(delays.length - steps).toBeGreaterThanOrEqual(0);
    expect(delays.length - steps).toBeLessThanOrEqual(1);
    vi.restoreAllMocks();
  }
});

test("VirtualClock runs events by deadline, then by scheduling; it agrees with a sorted list", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const clock = new VirtualClock(1_000);
    const got: string[] = [];
    const events = Array.from({ length: prng.below(100) }, (_, order) => {
      const deadlineMs = 990 + prng.below(40) + prng.pick([0, 0.5]);
      const alarm = clock.at(deadlineMs, () => got.push(`${order} at ${clock.nowMs()}`));
      return { order, deadlineMs: Math.max(1_000, deadlineMs), alarm, cancelled: prng.chance(0.2) };
    });
    for (const event of events) if (event.cancelled) event.alarm.cancel();
    const kept = events.filter((event) => !event.cancelled);
    expect(clock.pending, `seed ${seed}`).toBe(kept.length);
    await clock.advance(15);
    const expected = kept.filter((event) => event.deadlineMs <= 1_015)
      .sort((a, b) => a.deadlineMs - b.deadlineMs || a.order - b.order)
      .map((event) => `${event.order} at ${event.deadlineMs}`);
    expect(got, `seed ${seed}`).toEqual(expected);
    expect(clock.nowMs()).toBe(1_015);
    expect(clock.pending, `seed ${seed}`).toBe(kept.length - expected.length);
  }
});

test("VirtualClock never runs a callback inside at(), also for a deadline that has passed", () => {
  const clock = new VirtualClock();
  const ran: string[] = [];
  const startMs = clock.nowMs();
  clock.at(startMs - 5, () => {
    ran.push("late");
    clock.at(0, () => ran.push("later"));
    ran.push("returned");
  });
  expect(ran).toEqual([]);
  expect(clock.step()).toBe(true);
  expect(ran).toEqual(["late", "returned"]);
  expect(clock.step()).toBe(true);
  expect(clock.nowMs()).toBe(startMs);
  expect(clock.step()).toBe(false);
});

test("step(untilMs) includes its limit and leaves what comes after", () => {
  const clock = new VirtualClock(0);
  clock.at(10, () => {});
  expect(clock.step(9.9)).toBe(false);
  expect(clock.nowMs()).toBe(0);
  expect(clock.step(10)).toBe(true);
  expect(clock.nowMs()).toBe(10);
});

test("An event at Infinity never comes", async () => {
  const clock = new VirtualClock(0);
  clock.at(Infinity, () => expect.fail("Infinity came"));
  clock.at(5, () => {});
  expect(clock.step()).toBe(true);
  expect(clock.step()).toBe(false);
  await clock.advance(1e9);
  expect(clock.nowMs()).toBe(5 + 1e9);
});

test("advance() lets promises settle between events, before time moves on", async () => {
  const clock = new VirtualClock(0);
  const seen: number[] = [];
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.at(clock.nowMs() + ms, resolve));
  const worker = (async () => {
    for (let lap = 0; lap < 3; lap++) {
      await sleep(10);
      seen.push(clock.nowMs());
    }
  })();
  await clock.advance(25);
  expect(seen).toEqual([10, 20]);
  await clock.advance(5);
  await worker;
  expect(seen).toEqual([10, 20, 30]);
});

test("Time does not step back when advances overlap", async () => {
  const clock = new VirtualClock(0);
  let inner: Promise<void> | undefined;
  clock.at(1, () => void (inner = clock.advance(100)));
  await clock.advance(10);
  await inner;
  expect(clock.nowMs()).toBe(101);
});

test("runUntil() stops at the event that makes it true, or at its limit", async () => {
  const clock = new VirtualClock(0);
  let count = 0;
  const tick = (): void => {
    count++;
    clock.at(clock.nowMs() + 10, tick);
  };
  clock.at(10, tick);
  expect(await clock.runUntil(() => count === 3)).toBe(true);
  expect(clock.nowMs()).toBe(30);
  expect(await clock.runUntil(() => count === 100, 50)).toBe(false);
  expect(count).toBe(8);
  expect(await clock.runUntil(() => true)).toBe(true);
});
