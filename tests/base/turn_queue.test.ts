import { expect, test } from "vitest";
import { TurnQueue } from "../../base/turn_queue.ts";

test("items come out once each, in order, with those that were added meanwhile", () => {
  const queue = new TurnQueue<number>();
  for (let turn = 0; turn < 3; turn++) {
    const seen: number[] = [];
    for (const item of [3, 1, 2]) queue.push(item);
    queue.drain((item) => {
      seen.push(item);
      if (item === 3) queue.push(9);
    });
    expect(seen).toEqual([3, 1, 2, 9]);
    expect(queue.length).toBe(0);
  }
});

test("what is left behind a throw comes out the next time", () => {
  const queue = new TurnQueue<number>();
  for (const item of [1, 2, 3]) queue.push(item);
  const seen: number[] = [];
  expect(() =>
    queue.drain((item) => {
      if (item === 2) throw new Error("two");
      seen.push(item);
    })
  ).toThrow("two");
  expect(queue.length).toBe(1);
  queue.push(4);
  queue.drain((item) => void seen.push(item));
  expect(seen).toEqual([1, 3, 4]);
});
