import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { conformancePage } from "./page.ts";
import { REQUIREMENTS } from "./requirements.ts";
import { allTitles, requirementsNamed, rfcsNamed, root, titleOfScript, titlesOfSource } from "./titles.ts";

const titles = allTitles();
const named = new Map<string, string[]>();
for (const { file, text } of titles) {
  for (const id of requirementsNamed(text)) named.set(id, [...named.get(id) ?? [], `${file}: ${text}`]);
}

test("all 119 requirements are listed once", () => {
  const ids = REQUIREMENTS.map(({ id }) => id);
  expect(new Set(ids).size).toBe(119);
  expect(ids.length).toBe(119);
  const count = (prefix: string): number => ids.filter((id) => id.startsWith(prefix)).length;
  expect([count("MUST-"), count("SHLD-"), count("MAY-"), count("REC-")]).toEqual([69, 31, 18, 1]);
});

test("every requirement is shown by a test, or has a reason", () => {
  const bare = REQUIREMENTS.filter(({ id, without }) => without === undefined && !named.has(id));
  expect(bare.map(({ id, text }) => `${id}: ${text}`)).toEqual([]);
});

test("nothing is shown that counts as left out", () => {
  const both = REQUIREMENTS.filter(({ id, without }) => without !== undefined && named.has(id));
  expect(both.map(({ id }) => `${id}: ${named.get(id)}`)).toEqual([]);
});

test("only source routes are missing of what MUST be there", () => {
  const missing = REQUIREMENTS.filter(({ id, without }) => id.startsWith("MUST-") && without !== undefined);
  expect(missing.map(({ id }) => id)).toEqual(["MUST-51", "MUST-52", "MUST-53"]);
});

test("tests name no requirement that is not there", () => {
  const known = new Set(REQUIREMENTS.map(({ id }) => id));
  expect([...named].filter(([id]) => !known.has(id))).toEqual([]);
});

test("docs/conformance.md is what `npm run conformance` prints", () => {
  const page = readFileSync(join(root, "docs/conformance.md"), "utf8");
  expect(page === conformancePage(titles), "Stale: run `npm run conformance`").toBe(true);
});

test("titles are found in every form of call, and nothing else is", () => {
  const source = `
    test("plain", () => {});
    test.skipIf(a(b))(\`with a condition\`, async () => {});
    test.each([
      ["x", 1],
    ])(
      "for \\"each\\"",
      () => {},
    );
    judge("a judge's", NEEDS, () => {});
    expect.soft("no", 1);
    s.turn("no", 2);
    latest("no", 3);
  `;
  expect(titlesOfSource(source)).toEqual(["plain", "with a condition", 'for "each"', "a judge's"]);
  expect(titleOfScript("// One line,\n// and another.\n\n// no\n0 socket()")).toBe("One line, and another.");
});

test("ids and numbers are read out of titles", () => {
  expect(requirementsNamed("a (MUST-1, SHLD-31), REC-1; MAY-18")).toEqual([
    "MUST-1",
    "SHLD-31",
    "REC-1",
    "MAY-18",
  ]);
  expect(rfcsNamed("RFC 3042, 5681 and 6582; RFC 9293 section 3.8.6, RFC 6937/9937")).toEqual(
    [3042, 5681, 6582, 9293, 6937, 9937],
  );
});
