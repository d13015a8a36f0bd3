import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** One test, as its source names it. */
export interface Title {
  /** From the repository's root, with slashes. */
  file: string;
  text: string;
}

/** The first argument of a call, when it is a string and another argument follows. */
const CALL = /\(\s*(["'`])((?:\\.|(?!\1)[^\\])*)\1\s*,/g;
/** What must stand before that call: `test`, `judge`, `test.skipIf(x)`, `test.each(y)`. */
const CALLEE = /(?:^|[^\w.])(?:test|it|judge)(?:\.\w+(?:\((?:[^()]|\([^()]*\))*\))?)*$/;

/** Titles of the tests in a TypeScript source. */
export function titlesOfSource(source: string): string[] {
  const found: string[] = [];
  for (const match of source.matchAll(CALL)) {
    const before = source.slice(Math.max(0, match.index - 4_000), match.index);
    if (CALLEE.test(before)) found.push(match[2]!.replace(/\\(["'`\\])/g, "$1"));
  }
  return found;
}

/** A packetdrill script's title is the comment that it begins with. */
export function titleOfScript(source: string): string {
  const lines: string[] = [];
  for (const line of source.split("\n")) {
    if (!line.startsWith("//")) break;
    lines.push(line.slice(2).trim());
  }
  return lines.join(" ").trim();
}

/** Titles of all tests in the folder `tests`, in the order of their files. */
export function allTitles(): Title[] {
  const names = readdirSync(join(root, "tests"), { recursive: true, encoding: "utf8" })
    .map((name) => `tests/${name.replaceAll("\\", "/")}`).sort();
  return names.flatMap((file) => {
    const read = (): string => readFileSync(join(root, file), "utf8");
    if (file.endsWith(".test.ts")) return titlesOfSource(read()).map((text) => ({ file, text }));
    if (file.endsWith(".pkt")) return [{ file, text: titleOfScript(read()) }];
    return [];
  });
}

/** The requirements of RFC 9293 that a title names. */
export function requirementsNamed(text: string): string[] {
  return [...text.matchAll(/\b(?:MUST|SHLD|MAY|REC)-\d+/g)].map(([id]) => id);
}

/** The RFCs that a title names: "RFC 5681", "RFC 3042, 5681, 6582", "RFC 8985 section 6.2". */
export function rfcsNamed(text: string): number[] {
  return [...text.matchAll(/\bRFCs? (\d{3,4}(?:(?:, | and |\/)\d{3,4}\b)*)/g)]
    .flatMap(([, numbers]) => numbers!.match(/\d+/g)!.map(Number));
}
