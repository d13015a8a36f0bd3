import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type FileCoverage, gapsOf } from "./gaps.ts";
import { coveragePage, reasonFor, type Reasons } from "./page.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const reasons = JSON.parse(readFileSync(`${root}/tests/coverage/reasons.json`, "utf8")) as Reasons;

const SOURCE = `export class Thing {
  #hidden(a: number): number {
    if (a > 1) return 2;
    return [a].map((each) => each + 1)[0]!;
  }
}
const top = 1;
`;

function at(
  line: number,
  column: number,
  endLine = line,
  endColumn: number | null = 40,
): FileCoverage["statementMap"][string] {
  return { start: { line, column }, end: { line: endLine, column: endColumn } };
}

const FILE: FileCoverage = {
  path: "thing.ts",
  statementMap: { 0: at(3, 15), 1: at(4, 4), 2: at(7, 0) },
  s: { 0: 0, 1: 5, 2: 0 },
  fnMap: {
    0: { name: "(anonymous_0)", decl: at(2, 2), loc: at(2, 30, 5, 3) },
    1: { name: "(anonymous_1)", decl: at(4, 19), loc: at(4, 29) },
  },
  branchMap: { 0: { loc: at(3, 4), locations: [at(3, 15), at(3, 4)] } },
  b: { 0: [0, 5] },
};

test("what no test has run is found by function, private ones by their names, and explained", () => {
  const gaps = gapsOf(FILE, SOURCE);
  expect(gaps).toEqual([
    { name: "#hidden", branches: 1, statements: 1, code: ["if (a > 1) return 2;"] },
    { name: "module", branches: 0, statements: 1, code: ["const top = 1;"] },
  ]);
  const told: Reasons = {
    lines: [{ pattern: "^const top", reason: "by its kind" }],
    files: { "net/thing.ts": { "#hidden": "as it is" } },
  };
  expect(gaps.map((gap) => reasonFor(told, "net/thing.ts", gap))).toEqual(["as it is", "by its kind"]);
  expect(reasonFor({ ...told, files: { "net/thing.ts": { "*": "all" } } }, "net/thing.ts", gaps[0]!)).toBe(
    "all",
  );
  expect(reasonFor(told, "net/other.ts", gaps[0]!)).toBe(undefined);
  const page = coveragePage(new Map([["net/thing.ts", FILE]]), new Map([["net/thing.ts", gaps]]), told);
  expect(page).toContain("| all | 33.3 % of 3 | 50.0 % of 2 |");
  expect(page).toContain(
    "- `#hidden` (1 branch, 1 statement): as it is\n- `module` (1 statement): by its kind",
  );
});

test("reasons are of files and functions that are there", () => {
  for (const { pattern } of reasons.lines) new RegExp(pattern);
  for (const [path, names] of Object.entries(reasons.files)) {
    expect(existsSync(`${root}/${path}`), path).toBe(true);
    const source = readFileSync(`${root}/${path}`, "utf8");
    for (const [name, reason] of Object.entries(names)) {
      if (!["*", "module", "constructor"].includes(name)) expect(source, `${path} ${name}`).toContain(name);
      expect(reason.length, `${path} ${name}`).toBeGreaterThan(10);
    }
  }
});
