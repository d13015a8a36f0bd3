import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readArgs } from "./args.ts";
import { leastOf, type Ledger, ledgerText, pageWith, type Ran, readLedger, withRun } from "./ledger.ts";
import { everyTarget } from "./targets.ts";

const RAN: Ran = {
  seconds: 60,
  executions: 1_000,
  edges: 7,
  features: 9,
  crashed: false,
  commit: "aaaaaaa",
  day: "2026-11-30",
};

test("time and executions of runs add up, a crash begins them anew, and who has had least is next", () => {
  let ledger: Ledger = {};
  ledger = withRun(ledger, "b/two", RAN);
  ledger = withRun(ledger, "b/two", { ...RAN, seconds: 3_600.04, edges: 5, commit: "bbbbbbb" });
  ledger = withRun(ledger, "a/one", RAN);
  expect(Object.keys(ledger)).toEqual(["a/one", "b/two"]);
  expect(ledger["b/two"]).toEqual({
    seconds: 3_660,
    executions: 2_000,
    edges: 7,
    features: 9,
    from: "aaaaaaa",
    to: "bbbbbbb",
    day: "2026-11-30",
  });
  expect(leastOf(ledger, ["a/one", "b/two"], new Set())).toBe("a/one");
  expect(leastOf(ledger, ["a/one", "b/two", "c/new"], new Set())).toBe("c/new");
  expect(leastOf(ledger, ["a/one", "b/two", "c/new"], new Set(["c/new", "a/one"]))).toBe("b/two");
  expect(leastOf(ledger, ["a/one"], new Set(["a/one"]))).toBe(undefined);
  expect(ledgerText(ledger, ["a/one", "b/two"])).toBe(
    `1 of 2 targets have had their hour without a crash; the least is 1 min.

| target |       time | executions | edges | features | commits            | last       |
| ------ | ---------: | ---------: | ----: | -------: | ------------------ | ---------- |
| a/one  |      1 min |      1,000 |     7 |        9 | aaaaaaa            | 2026-11-30 |
| b/two  | 1 h 01 min |      2,000 |     7 |        9 | aaaaaaa to bbbbbbb | 2026-11-30 |
| all    | 1 h 02 min |      3,000 |       |          |                    |            |`,
  );
  const crashed = withRun(ledger, "b/two", { ...RAN, crashed: true, commit: "ccccccc" });
  expect(crashed["b/two"]).toMatchObject({ seconds: 0, executions: 0, from: "ccccccc" });
});

test("the page's table is the ledger's, of targets that are there", () => {
  const names = everyTarget.map(({ target }) => target.name);
  const ledger = readLedger();
  expect(Object.keys(ledger).filter((name) => !names.includes(name))).toEqual([]);
  const page = readFileSync(new URL("../../docs/fuzzing.md", import.meta.url), "utf8");
  expect(pageWith(page, ledgerText(ledger, names))).toBe(page);
  expect(() => pageWith("nothing", "")).toThrow("docs/fuzzing.md has no");
});

test("--minutes is for all of it, on all cores, a minute at a time", () => {
  expect(readArgs(["--minutes", "90", "--keep"], 1)).toMatchObject({ minutes: 90, seconds: 60, keep: true });
  expect(readArgs(["--minutes", "90", "--seconds", "5", "--jobs", "3"], 1)).toMatchObject({
    seconds: 5,
    jobs: 3,
  });
  expect(readArgs([], 1)).toMatchObject({ minutes: undefined, seconds: 10, jobs: 1 });
  expect(() => readArgs(["--minutes", "1", "--runs", "5"], 1)).toThrow("both --minutes and --runs");
});
