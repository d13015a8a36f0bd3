import { expect, test } from "vitest";
import { AssertionError } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { TurnList } from "../../../net/ip/turn_list.ts";

test("numbers leave in the order in which they came, but those that were taken out (seed 8)", () => {
  const prng = new Prng(8);
  const list = new TurnList(300);
  const twin: { number: number; place: number }[] = [];
  for (let step = 0; step < 20_000; step++) {
    const what = prng.below(step % 2_000 < 1_000 ? 4 : 8);
    if (what < 3 && twin.length < 300) {
      twin.push({ number: step, place: list.add(step) });
    } else if (what === 3 && twin.length > 0) {
      const [out] = twin.splice(prng.below(twin.length), 1);
      list.remove(out!.place);
    } else if (twin.length > 0) {
      if (list.takeFirst() !== twin.shift()!.number) expect.fail(`step ${step}`);
    }
    if (list.size !== twin.length) expect.fail(`${list.size} instead of ${twin.length} in step ${step}`);
  }
  expect(new Set(twin.map(({ place }) => place)).size).toBe(twin.length);
  expect(list.byteLength).toBe(3 * 4 * 512); // 301 places, doubled from 64
});

test("a full list takes no more, and an empty one gives nothing", () => {
  const list = new TurnList(2);
  expect(() => list.takeFirst()).toThrow(AssertionError);
  list.add(7);
  list.add(8);
  expect(() => list.add(9)).toThrow(AssertionError);
  expect(list.takeFirst()).toBe(7);
  list.add(9);
  expect([list.takeFirst(), list.takeFirst(), list.size]).toEqual([8, 9, 0]);
});
