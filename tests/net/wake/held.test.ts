import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { HeldPackets } from "../../../net/wake/held.ts";
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
  const taken = held.take(7).map(({ slab: { bytes }, interfaceIndex }) => [interfaceIndex, [...bytes]]);
  expect(taken).toEqual([[1, [1]], [2, [2, 2]], [3, [3, 3, 3]]]);
  expect([held.bytes, held.take(7), held.take(8)]).toEqual([0, [], []]);
});

test("64 packets per connection and 64 MiB for all are held, not more", () => {
  const held = new HeldPackets();
  const small = Slab.of(1), large = Slab.of(1 << 20);
  for (let at = 0; at < 64; at++) expect(held.hold(1, 0, small, 0, 1)).toBe(true);
  expect(held.hold(1, 0, small, 0, 1)).toBe(false);
  expect(held.hold(2, 0, small, 0, 1)).toBe(true);
  held.take(1);
  held.take(2);
  for (let record = 0; record < 64; record++) expect(held.hold(record, 0, large, 0, 1 << 20)).toBe(true);
  expect(held.bytes).toBe(64 << 20);
  expect(held.hold(99, 0, small, 0, 1)).toBe(false);
  held.take(5);
  expect(held.hold(99, 0, small, 0, 1)).toBe(true);
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
