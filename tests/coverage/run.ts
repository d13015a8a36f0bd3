/**
 * `npm run coverage`: the tests that run code of ours in their own process, counted by V8, into coverage/coverage-final.json;
 * then docs/coverage.md. With names of test files only those run, and what they run is added to what was counted before.
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { added } from "./added.ts";
import type { FileCoverage } from "./gaps.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = `${root}coverage`;
const counted = `${folder}/coverage-final.json`;
const read = (path: string): Record<string, FileCoverage> =>
  existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) as Record<string, FileCoverage> : {};

const names = process.argv.slice(2);
const before = names.length === 0 ? {} : read(counted);
rmSync(`${folder}/run`, { recursive: true, force: true });
const vitest = [
  `${root}node_modules/vitest/vitest.mjs`,
  "run",
  "--config",
  "tests/coverage/vitest.config.ts",
];
const { status } = spawnSync(process.execPath, [...vitest, "--coverage", ...names], {
  cwd: root,
  stdio: "inherit",
});
mkdirSync(folder, { recursive: true });
writeFileSync(counted, JSON.stringify(added(before, read(`${folder}/run/coverage-final.json`))));
await import("./main.ts");
if (status !== 0) {
  console.log("Some of the tests have failed: what they would have run is missing");
  process.exitCode = 1;
}
