import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vitest/config";
import all from "../../vitest.config.ts";

/**
 * Tests whose subject runs in programs of their own, where this process counts nothing, or is no code of the areas that are
 * measured: they take most of the time, and add no line.
 */
const ELSEWHERE = [
  ...["packaging", "examples", "bench", "conformance", "coverage", "soak"].map((folder) =>
    `tests/${folder}/**`
  ),
  "tests/{docs,imports}.test.ts",
  // Of the kernel's, those of rules and of traffic in this process stay.
  "tests/kernel/!(ct_count|docs|firewall|names|rules_of_tools|time_of_day|trace).test.ts",
];

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const { projects = [], coverage = {}, ...rest } = all.test!;
/** Counting makes all of it slower: on a busy machine some tests are near their limit then. */
const SLOWER = { test: { root: ROOT, exclude: ELSEWHERE, testTimeout: 300_000, hookTimeout: 300_000 } };

export default defineConfig({
  test: {
    ...rest,
    root: ROOT,
    projects: projects.map((project) => mergeConfig(project as object, SLOWER)),
    coverage: { ...coverage, reporter: ["json"], reportsDirectory: "coverage/run" } as typeof coverage,
  },
});
