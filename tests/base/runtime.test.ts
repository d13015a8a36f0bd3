import process from "node:process";
import { expect, test } from "vitest";
import { runtime } from "../../base/runtime.ts";

test("runtime names the runtime that runs this test", () => {
  const versions = process.versions as Record<string, string | undefined>;
  const expected = versions["bun"] ? "bun" : versions["deno"] ? "deno" : "node";
  expect(runtime).toBe(expected);
});
