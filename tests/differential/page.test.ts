import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { deviations } from "./deviations.ts";
import { drawPlan, SCENARIOS } from "./draw.ts";
import { readOptions } from "./options.ts";
import { differentialPage, PAGE_PATH, RECORD_PATH } from "./page.ts";
import { countSegments } from "./plan.ts";
import type { FuzzReport } from "./report.ts";

test("docs/differential.md is what `npm run fuzz:kernel -- --page` prints", () => {
  const record = JSON.parse(readFileSync(RECORD_PATH, "utf8")) as FuzzReport;
  expect(readFileSync(PAGE_PATH, "utf8")).toBe(differentialPage(record));
  expect(record.unexplained).toBe(0);
});

test("every deviation has a name of its own, a section and a reason", () => {
  expect(new Set(deviations.map(({ name }) => name)).size).toBe(deviations.length);
  for (const { name, section, reason } of deviations) {
    expect(section, name).toMatch(/RFC \d+/);
    expect(reason.length, name).toBeGreaterThan(40);
  }
});

test("a story is drawn from seed and number alone, and every scenario has some", () => {
  const scenarios = new Set<string>();
  for (let index = 0; index < 500; index++) {
    const plan = drawPlan(7, index);
    scenarios.add(plan.scenario);
    expect(plan).toEqual(drawPlan(7, index));
    expect(plan.steps.at(-1)).toEqual({ do: "wait" });
    expect(countSegments(plan)).toBeLessThan(30);
  }
  expect([...scenarios].sort()).toEqual([...SCENARIOS].sort());
});

test("wrong options are told", () => {
  expect(readOptions(["--help"])).toBe("help");
  expect(readOptions(["--seed", "x"])).toHaveProperty("wrong");
  expect(readOptions(["--scenario", "nowhere"])).toHaveProperty("wrong");
  expect(readOptions(["--segmants"])).toHaveProperty("wrong");
  expect(readOptions(["--seed", "3", "--segments", "9", "--scenario", "listen", "--plan", "4", "--asleep"]))
    .toMatchObject({ seed: 3, segments: 9, scenarios: ["listen"], plans: [4], asleep: true });
});
