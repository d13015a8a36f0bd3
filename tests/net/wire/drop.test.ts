import { expect, test } from "vitest";
import { Drop, DropCounters, dropNames } from "../../../net/wire/drop.ts";

test("reasons are numbered without gaps, and each number has its name", () => {
  expect(Object.values(Drop)).toEqual(dropNames.map((_, number) => number));
  for (const [name, reason] of Object.entries(Drop)) expect(dropNames[reason]).toBe(name);
});

test("DropCounters counts every reason apart and None not at all", () => {
  const drops = new DropCounters();
  expect(drops.total).toBe(0);
  expect(drops.toJSON()).toEqual({});
  for (const reason of Object.values(Drop)) {
    for (let times = 0; times < reason; times++) drops.count(reason);
  }
  drops.count(Drop.None);
  for (const reason of Object.values(Drop)) expect(drops.get(reason)).toBe(reason);
  const last = dropNames.length - 1;
  expect(drops.total).toBe(last * (last + 1) / 2);
  expect(drops.toJSON()).toEqual(Object.fromEntries(Object.entries(Drop).slice(1)));
});
