import { expect, test } from "vitest";
import { AssertionError } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { TimerWheel } from "../../base/timer_wheel.ts";

function deadlineIn(wheel: TimerWheel, id: number): number {
  return wheel.has(id) ? wheel.deadlines[id]! : Infinity;
}

/** The slow twin: the same rules on a sorted list. */
class TimerList {
  #nowTick: number;
  #order = 0;
  #timers: { id: number; deadlineMs: number; tick: number; order: number }[] = [];

  constructor(nowMs: number) {
    this.#nowTick = Math.floor(nowMs);
  }

  get size(): number {
    return this.#timers.length;
  }

  schedule(id: number, deadlineMs: number): void {
    this.cancel(id);
    const tick = Math.max(Math.ceil(deadlineMs), this.#nowTick);
    this.#timers.push({ id, deadlineMs, tick, order: this.#order++ });
  }

  cancel(id: number): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
  }

  deadlineOf(id: number): number {
    return this.#timers.find((timer) => timer.id === id)?.deadlineMs ?? Infinity;
  }

  nextDeadlineMs(): number {
    return Math.min(Infinity, ...this.#timers.map((timer) => timer.tick));
  }

  advance(nowMs: number, expired: (id: number) => void): void {
    this.#nowTick = Math.max(this.#nowTick, Math.floor(nowMs));
    const ofThisCall = this.#order; // what callbacks schedule waits for the next call
    for (;;) {
      const due = this.#timers.filter((timer) => timer.tick <= this.#nowTick && timer.order < ofThisCall);
      due.sort((a, b) => a.tick - b.tick || a.order - b.order);
      if (due.length === 0) return;
      this.cancel(due[0]!.id);
      expired(due[0]!.id);
    }
  }
}

/** Delays of every level, most of them near its edges. */
function drawDelayMs(prng: Prng): number {
  const delayMs = 2 ** prng.below(42) + prng.between(-2, 2);
  switch (prng.below(6)) {
    case 0:
      return prng.between(-3, 3) + prng.fraction();
    case 1:
      return prng.between(0, 100);
    case 2:
      return prng.fraction() * delayMs;
    case 3:
      return delayMs + prng.fraction();
    default:
      return delayMs;
  }
}

test("The wheel agrees with a sorted list under random schedules, cancels, jumps and callbacks that do the same", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const prng = new Prng(seed);
    let nowMs = prng.chance(0.5) ? prng.fraction() * 1e5 : 1_700_000_000_000 + prng.fraction() * 1e9;
    const originMs = Math.floor(nowMs);
    const wheel = new TimerWheel(nowMs);
    const list = new TimerList(nowMs);
    const ids = prng.pick([1, 3, 25]);
    let actions: Prng = prng;
    // What a callback does depends only on the seed and on the number of callbacks so far, so both twins do it
    const play = (timers: TimerWheel | TimerList, seedOfCall: number): number[] => {
      const fired: number[] = [];
      timers.advance(nowMs, (id) => {
        fired.push(id);
        actions = new Prng(seedOfCall + fired.length);
        for (let count = actions.below(3); count > 0; count--) {
          if (actions.chance(0.3)) timers.cancel(actions.below(ids));
          else timers.schedule(actions.chance(0.3) ? id : actions.below(ids), nowMs + drawDelayMs(actions));
        }
      });
      return fired;
    };
    for (let step = 0; step < 120; step++) {
      const where = `seed ${seed}, step ${step}`;
      for (let count = prng.below(4); count > 0; count--) {
        const id = prng.below(ids);
        const deadlineMs = nowMs + drawDelayMs(prng);
        if (prng.chance(0.2)) {
          wheel.cancel(id);
          list.cancel(id);
        } else {
          wheel.schedule(id, deadlineMs);
          list.schedule(id, deadlineMs);
        }
      }
      const nextMs = wheel.nextDeadlineMs();
      const trueMs = list.nextDeadlineMs();
      const blockEndMs = originMs + (Math.floor((nowMs - originMs) / 32) + 1) * 32;
      const isRight = trueMs < blockEndMs || trueMs === Infinity
        ? nextMs === trueMs
        : nextMs <= trueMs && nextMs > nowMs;
      if (!isRight) expect.fail(`${where}: next is ${trueMs}, got ${nextMs} at ${nowMs}`);
      const jump = prng.below(4);
      if (jump === 0 && nextMs < Infinity) nowMs = Math.max(nowMs, nextMs);
      else if (jump === 1 && list.size > 0) {
        nowMs = Math.max(nowMs, list.nextDeadlineMs() + prng.between(-1, 1));
      } else if (jump === 2) nowMs += prng.fraction() * 2 ** prng.below(38);
      else nowMs += prng.fraction() * 3;
      const seedOfCall = prng.uint32();
      expect(play(wheel, seedOfCall), where).toEqual(play(list, seedOfCall));
      expect(wheel.size, where).toBe(list.size);
      for (let id = 0; id < ids; id++) {
        const deadlineMs = list.deadlineOf(id);
        if (deadlineIn(wheel, id) !== deadlineMs || wheel.has(id) !== (deadlineMs < Infinity)) {
          expect.fail(`${where}: timer ${id} is due at ${deadlineMs}, got ${deadlineIn(wheel, id)}`);
        }
      }
    }
  }
});

test("nextDeadlineMs() is never late, exact within 32 ms, and early at most 8 times per timer", () => {
  const prng = new Prng(7);
  for (let round = 0; round < 1_000; round++) {
    const startMs = 1_700_000_000_000 + prng.below(2 ** 40);
    const wheel = new TimerWheel(startMs);
    const deadlineMs = startMs + 1 + prng.below(2 ** prng.between(1, 44));
    wheel.schedule(0, deadlineMs);
    let early = 0;
    let nowMs = startMs;
    for (;;) {
      const nextMs = wheel.nextDeadlineMs();
      expect(nextMs).toBeGreaterThan(nowMs);
      expect(nextMs).toBeLessThanOrEqual(deadlineMs);
      wheel.advance(nowMs = nextMs, () => {});
      if (wheel.size === 0) break;
      early++;
    }
    expect(nowMs).toBe(deadlineMs);
    expect(early).toBeLessThanOrEqual(8);
  }
});

test("A timer never fires early: fractions of a deadline round up, fractions of now do not count", () => {
  const wheel = new TimerWheel(1_000.9);
  const fired: number[] = [];
  wheel.schedule(0, 1_010.2);
  wheel.advance(1_010.9, (id) => fired.push(id));
  expect(fired).toEqual([]);
  expect(deadlineIn(wheel, 0)).toBe(1_010.2);
  expect(wheel.nextDeadlineMs()).toBe(1_011);
  wheel.advance(1_011, (id) => fired.push(id));
  expect(fired).toEqual([0]);
  expect(deadlineIn(wheel, 0)).toBe(Infinity);
  expect(wheel.nextDeadlineMs()).toBe(Infinity);
});

test("A deadline that has passed is due at once, also when time has not moved since", () => {
  const wheel = new TimerWheel(500);
  const fired: number[] = [];
  wheel.schedule(1, 500);
  wheel.schedule(0, -1e12);
  expect(wheel.nextDeadlineMs()).toBe(500);
  wheel.advance(500, (id) => fired.push(id));
  expect(fired).toEqual([1, 0]);
});

test("A timer that reschedules itself for now fires once in each advance", () => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  const again = (id: number): void => {
    fired++;
    wheel.schedule(id, 0);
  };
  wheel.schedule(0, 10);
  for (let call = 1; call <= 3; call++) {
    wheel.advance(1_000, again);
    expect(fired).toBe(call);
    expect(wheel.nextDeadlineMs()).toBe(1_000);
  }
});

test("A callback cancels a timer of the same tick and moves another one", () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  for (let id = 0; id < 4; id++) wheel.schedule(id, 5);
  wheel.advance(5, (id) => {
    fired.push(id);
    expect(wheel.has(id)).toBe(false);
    if (id === 0) {
      wheel.cancel(1);
      wheel.schedule(2, 6);
    }
  });
  expect(fired).toEqual([0, 3]);
  wheel.advance(6, (id) => fired.push(id));
  expect(fired).toEqual([0, 3, 2]);
  expect(wheel.size).toBe(0);
});

test("When a callback throws, the other timers stay due and the wheel goes on", () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  for (let id = 0; id < 3; id++) wheel.schedule(id, 5);
  wheel.schedule(3, 70);
  wheel.schedule(4, 200);
  expect(() =>
    wheel.advance(100, (id) => {
      fired.push(id);
      wheel.schedule(5, 90); // has passed: next call
      throw new Error("callback");
    })
  ).toThrow("callback");
  expect(wheel.nextDeadlineMs()).toBe(100);
  wheel.advance(100, (id) => fired.push(id));
  expect(fired).toEqual([0, 1, 2, 5, 3]);
  wheel.advance(200, (id) => fired.push(id));
  expect(fired).toEqual([0, 1, 2, 5, 3, 4]);
});

test("What a call has no time for stays due, and comes in order in the next ones", () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  for (let id = 0; id < 10; id++) wheel.schedule(id, [5, 5, 5, 40, 40, 70, 2_000, 2_000, 3_000, 9_000][id]!);
  for (const [calls, most] of [[1, 2], [2, 4], [3, 7], [4, 8]] as const) {
    wheel.advance(2_500, (id) => fired.push(id), [2, 2, 3, 1][calls - 1]);
    expect([fired.length, wheel.size]).toEqual([most, 10 - most]);
    if (most < 8) expect(wheel.nextDeadlineMs()).toBeLessThanOrEqual(2_500);
  }
  wheel.schedule(10, 2_600);
  wheel.advance(2_550, (id) => fired.push(id));
  wheel.advance(10_000, (id) => fired.push(id));
  expect(fired).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 9]);
  expect(wheel.nextDeadlineMs()).toBe(Infinity);
});

test("Jumps over years and deadlines at the end of the range cost nothing and are kept", () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  const endMs = 2 ** 45 - 1;
  wheel.schedule(0, endMs);
  wheel.schedule(1, endMs - 1);
  expect(() => wheel.schedule(2, endMs + 1)).toThrow(AssertionError);
  wheel.advance(endMs - 1, (id) => fired.push(id));
  wheel.advance(endMs, (id) => fired.push(id));
  expect(fired).toEqual([1, 0]);
  expect(() => wheel.advance(endMs + 1, () => {})).toThrow(AssertionError);
});

test("Time that steps back counts as no time", () => {
  const wheel = new TimerWheel(1_000);
  const fired: number[] = [];
  wheel.schedule(0, 1_100);
  wheel.advance(1_050, (id) => fired.push(id));
  wheel.advance(900, (id) => fired.push(id));
  wheel.schedule(1, 1_040);
  expect(wheel.nextDeadlineMs()).toBe(1_050);
  wheel.advance(900, (id) => fired.push(id));
  wheel.advance(1_100, (id) => fired.push(id));
  expect(fired).toEqual([1, 0]);
});

test("Ids may come in any order; cancel and has accept what never was one", () => {
  const wheel = new TimerWheel(0);
  for (const id of [99_999, -1, 0.5]) {
    expect(wheel.has(id)).toBe(false);
    wheel.cancel(id);
  }
  wheel.schedule(3, 30);
  wheel.schedule(70_000, 20);
  wheel.schedule(15, 10);
  const fired: number[] = [];
  wheel.advance(40, (id) => fired.push(id));
  expect(fired).toEqual([15, 70_000, 3]);
});

test("What is not an id or a time is a bug", () => {
  const wheel = new TimerWheel(0);
  for (const id of [-1, 0.5, NaN, 2 ** 26]) {
    expect(() => wheel.schedule(id, 1), `${id}`).toThrow(AssertionError);
  }
  for (const time of [NaN, Infinity]) {
    expect(() => wheel.schedule(0, time), `${time}`).toThrow(AssertionError);
    expect(() => wheel.advance(time, () => {}), `${time}`).toThrow(AssertionError);
    expect(() => new TimerWheel(time), `${time}`).toThrow(AssertionError);
  }
  wheel.schedule(0, 1);
  expect(() => wheel.advance(1, () => wheel.advance(2, () => {}))).toThrow(AssertionError);
  expect(wheel.size).toBe(0);
});
