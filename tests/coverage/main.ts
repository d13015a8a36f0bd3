/** docs/coverage.md out of what run.ts has counted, and what of net/ and checkpoint/ has no reason. @module */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { environment } from "../../bench/environment.ts";
import { type FileCoverage, type Gap, gapsOf } from "./gaps.ts";
import { coveragePage, isListed, reasonFor, type Reasons } from "./page.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (name: string): string => readFileSync(`${root}/${name}`, "utf8");

const reasons = JSON.parse(read("tests/coverage/reasons.json")) as Reasons;
const covered = JSON.parse(read("coverage/coverage-final.json")) as Record<string, FileCoverage>;
const files = new Map<string, FileCoverage>();
for (const file of Object.values(covered)) files.set(relative(root, file.path).replaceAll("\\", "/"), file);
const paths = [...files.keys()].sort();
const gaps = new Map<string, readonly Gap[]>(
  paths.map((path) => [path, gapsOf(files.get(path)!, read(path))]),
);

let unexplained = 0;
for (const [path, found] of gaps) {
  if (!isListed(path)) continue;
  for (const gap of found) {
    if (reasonFor(reasons, path, gap) !== undefined) continue;
    unexplained++;
    console.log(`${path} ${gap.name}: no reason\n    ${gap.code.join("\n    ")}`);
  }
}
let stale = 0;
for (const [path, names] of Object.entries(reasons.files)) {
  for (const name of Object.keys(names)) {
    const needed = name === "*"
      ? (gaps.get(path)?.length ?? 0) > 0
      : gaps.get(path)?.some((gap) => gap.name === name);
    if (needed) continue;
    stale++;
    console.log(`${path} ${name}: a reason without a gap`);
  }
}
console.log(`${unexplained} gaps without a reason, ${stale} reasons without a gap`);
writeFileSync(
  `${root}/docs/coverage.md`,
  coveragePage(
    new Map(paths.map((path) => [path, files.get(path)!])),
    gaps,
    reasons,
    `Node ${process.versions.node} at commit ${environment().commit.split(" ")[0]}`,
  ),
);
process.exitCode = unexplained === 0 ? 0 : 1; // a reason too many may be chance: some tests draw what they do
