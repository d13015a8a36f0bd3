import type { FileCoverage } from "./gaps.ts";

type Counted = Readonly<Record<string, FileCoverage>>;

/** What two runs have counted together. Of a file that was another in the second run, its counts alone are true. */
export function added(first: Counted, second: Counted): Record<string, FileCoverage> {
  const all: Record<string, FileCoverage> = { ...first };
  for (const [path, file] of Object.entries(second)) {
    const before = first[path];
    all[path] = before === undefined || !isSame(before, file) ? file : {
      ...file,
      s: mapped(file.s, (times, id) => times + before.s[id]!),
      b: mapped(file.b, (arms, id) => arms.map((times, arm) => times + before.b[id]![arm]!)),
    };
  }
  return all;
}

/** Whether both have their parts in the same places. */
function isSame(a: FileCoverage, b: FileCoverage): boolean {
  const places = ({ statementMap, branchMap }: FileCoverage): string =>
    JSON.stringify([statementMap, branchMap]);
  return places(a) === places(b);
}

function mapped<T>(of: Readonly<Record<string, T>>, change: (value: T, id: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(of).map(([id, value]) => [id, change(value, id)]));
}
