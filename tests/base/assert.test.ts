import { expect, test } from "vitest";
import { assert, AssertionError } from "../../base/assert.ts";

test("assert() lets true things pass and throws a named error with the message for the rest", () => {
  for (const value of [true, 1, "x", {}, [], -1]) assert(value);
  for (const value of [false, 0, "", null, undefined, NaN]) {
    expect(() => assert(value, "Why")).toThrow(AssertionError);
    expect(() => assert(value, "Why")).toThrow("Why");
  }
  expect(() => assert(false)).toThrow("Invariant broken");
  const error = new AssertionError("x");
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe("AssertionError");
});

test("assert() narrows types", () => {
  const value = [1, undefined][0];
  assert(value !== undefined);
  const narrowed: number = value;
  expect(narrowed).toBe(1);
});
