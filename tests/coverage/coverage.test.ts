import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { added } from "./added.ts";
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
  expect(reasonFor(told, "net/thing.ts", { ...gaps[0]!, name: "constructor" })).toBe(undefined);
  const page = coveragePage(new Map([["net/thing.ts", FILE]]), new Map([["net/thing.ts", gaps]]), told, "it");
  expect(page).toContain("| all | 33.3 % of 3 | 50.0 % of 2 |");
  expect(page).toContain(
    "### net/\n\n- as it is (1 branch, 1 statement): [thing.ts](../net/thing.ts) `#hidden`\n" +
      "- by its kind (1 statement): [thing.ts](../net/thing.ts) the module",
  );
});

test("gaps of one reason stand together, and only those of the stack and of what survives are listed", () => {
  const gaps = gapsOf(FILE, SOURCE);
  const told: Reasons = { lines: [], files: { "net/thing.ts": { "*": "as it is" } } };
  const files = new Map([["net/thing.ts", FILE], ["serve/thing.ts", FILE]]);
  const page = coveragePage(files, new Map([["net/thing.ts", gaps], ["serve/thing.ts", gaps]]), told, "it");
  expect(page).toContain(
    "- as it is (1 branch, 2 statements): [thing.ts](../net/thing.ts) `#hidden`, the module",
  );
  expect(page).not.toContain("](../serve/thing.ts)");
  expect(page).toContain("| serve/ | 33.3 % of 3 | 50.0 % of 2 |");
});

test("what a second run has counted is added; of a file that has changed meanwhile its counts alone are true", () => {
  const again: FileCoverage = { ...FILE, s: { 0: 2, 1: 0, 2: 0 }, b: { 0: [1, 1] } };
  expect(added({ a: FILE, b: FILE }, { a: again, c: again })).toEqual({
    a: { ...FILE, s: { 0: 2, 1: 5, 2: 0 }, b: { 0: [1, 6] } },
    b: FILE,
    c: again,
  });
  const moved: FileCoverage = { ...again, statementMap: { ...FILE.statementMap, 2: at(8, 0) } };
  expect(added({ a: FILE }, { a: moved })).toEqual({ a: moved });
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
