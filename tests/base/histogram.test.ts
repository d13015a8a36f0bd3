import { expect, test } from "vitest";
import { Histogram } from "../../base/histogram.ts";

test("a value counts in the first bucket whose bound it does not exceed, and above all bounds", () => {
  const took = new Histogram([1, 2, 4]);
  for (const value of [0, 1, 1.5, 2, 4.1, 100]) took.record(value);
  expect(took.cumulative()).toEqual([2, 4, 4, 6]);
  expect({ count: took.count, sum: took.sum }).toEqual({ count: 6, sum: 108.6 });
});

test("a quantile is the bound that so many do not exceed", () => {
  const took = new Histogram([1, 2, 4]);
  expect(took.quantile(0.5)).toBe(0);
  for (const value of [0.5, 0.5, 1.5, 3]) took.record(value);
  expect([0.25, 0.5, 0.75, 0.76, 1].map((share) => took.quantile(share))).toEqual([1, 1, 2, 4, 4]);
  took.record(5);
  expect(took.quantile(1)).toBe(Infinity);
});
