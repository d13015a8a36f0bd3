import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { HeldPackets, HeldShare } from "../../../net/wake/held.ts";
import { takeHeld } from "./take_held.ts";
import { SleepTimers } from "../../../net/wake/sleep_timers.ts";

test("held packets are copies, in order, with the place where they came in", () => {
  const held = new HeldPackets();
  const slab = Slab.of(10);
  for (let at = 1; at <= 3; at++) {
    slab.bytes.fill(at);
    expect(held.hold(7, at, slab, 2, 2 + at)).toBe(true);
  }
  slab.bytes.fill(0);
  expect(held.bytes).toBe(6);
  expect(takeHeld(held, 7)).toEqual([[1, [1]], [2, [2, 2]], [3, [3, 3, 3]]]);
  expect([held.bytes, takeHeld(held, 7), takeHeld(held, 8)]).toEqual([0, [], []]);
});

test("64 packets per connection and 64 MiB for all are held, not more", () => {
  const held = new HeldPackets();
  const small = Slab.of(1), large = Slab.of(1 << 20);
  for (let at = 0; at < 64; at++) expect(held.hold(1, 0, small, 0, 1)).toBe(true);
  expect(held.hold(1, 0, small, 0, 1)).toBe(false);
  expect(held.hold(2, 0, small, 0, 1)).toBe(true);
  takeHeld(held, 1);
  takeHeld(held, 2);
  for (let record = 0; record < 64; record++) expect(held.hold(record, 0, large, 0, 1 << 20)).toBe(true);
  expect(held.bytes).toBe(64 << 20);
  expect(held.hold(99, 0, small, 0, 1)).toBe(false);
  takeHeld(held, 5);
  expect(held.hold(99, 0, small, 0, 1)).toBe(true);
});

test("held packets of all lengths come back as they were, whoever takes in whatever order, and room is used again", () => {
  const prng = new Prng(5);
  const held = new HeldPackets(8, 1 << 20);
  const share = new HeldShare(3, 65_536);
  const known = new Map<number, { bytes: Uint8Array; interfaceIndex: number; sequence: number }[]>();
  let refused = 0;
  for (let step = 0; step < 6_000; step++) {
    const record = prng.below(200);
    if (prng.chance(0.4)) {
      const taken = takeHeld(held, record);
      const expected = (known.get(record) ?? []).map(({ bytes, interfaceIndex }) => [interfaceIndex, bytes]);
      expect(taken.join(" ") === expected.join(" "), `step ${step}`).toBe(true);
      known.delete(record);
      continue;
    }
    const slab = Slab.of(prng.pick([20, 40, 127, 128, 129, 1_500, 9_000]) + 7);
    prng.fill(slab.bytes);
    const length = slab.bytes.length - 7, sequence = prng.uint32() | 0;
    const own = record < 20;
    const before = known.get(record) ?? [];
    if (held.hold(record, step, slab, 7, 7 + length, sequence, own ? share : undefined)) {
      known.set(record, [...before, { bytes: slab.bytes.slice(7), interfaceIndex: step, sequence }]);
      expect(before.length).toBeLessThan(own ? 3 : 8);
      expect(held.has(record, sequence, length)).toBe(true);
      expect(held.has(record, sequence, length + 1)).toBe(false);
      expect(held.has(record + 1_000, sequence, length)).toBe(false);
    } else {
      refused++;
      const blocks = [...known.values()].flat().reduce(
        (sum, { bytes }) => sum + Math.ceil(bytes.length / 128),
        0,
      );
      const full = (blocks + Math.ceil(length / 128)) * 128 > 1 << 20;
      const ownFull = (share.blocks + Math.ceil(length / 128)) * 128 > 65_536;
      expect(before.length >= (own ? 3 : 8) || full || (own && ownFull), `step ${step}`).toBe(true);
    }
  }
  expect(refused).toBeGreaterThan(20);
  for (const record of known.keys()) takeHeld(held, record);
  expect([held.bytes, share.blocks]).toEqual([0, 0]);
});

test("deadlines of sleepers: moved, cleared, due once, and their numbers used again", () => {
  const timers = new SleepTimers(1_000);
  const due: number[] = [];
  timers.set(5_000_000, 1_100);
  timers.set(3, 1_050);
  timers.set(5_000_000, 1_200);
  timers.set(4, 1_060);
  timers.clear(4);
  timers.clear(4);
  timers.set(6, 1_070);
  expect(timers.size).toBe(3);
  timers.advance(1_150, (record) => void due.push(record));
  expect(due).toEqual([3, 6]);
  timers.set(3, 1_160);
  timers.advance(1_300, (record) => {
    due.push(record);
    if (record === 3) timers.set(3, 1_400); // it went back to sleep
  });
  expect(due).toEqual([3, 6, 3, 5_000_000]);
  expect(timers.size).toBe(1);
  expect(timers.nextDeadlineMs()).toBeLessThanOrEqual(1_400);
});
