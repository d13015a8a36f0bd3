import type { Merged, Side } from "./drivers.ts";
import { bothOf, type EntrySide, keyed, mergeKeyed, textOf } from "./keyed.ts";

type Reconcile = Parameters<typeof mergeKeyed>[2];

/** passwd(5), shadow(5). */
export function mergeUsers(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  const refuses: Reconcile = (key, _, changed) => ({ why: `user ${key}: ${differently(changed)}` });
  return mergedLines(base, sides, 1, firstField, refuses, numbersTwice("user"));
}

/** group(5), gshadow(5): who was added to a group by any side is in it, and who was taken out by any is not. */
export function mergeGroups(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  return mergedLines(base, sides, 1, firstField, reconcileGroup, numbersTwice("group"));
}

/** Lines that are there or not. */
export function mergeLines(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  return mergedLines(base, sides, 1, (line) => line, never);
}

/** The same of three lines each. */
export function mergeTriples(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  const refuses: Reconcile = (key, _, changed) => ({ why: `${key}: ${differently(changed)}` });
  return mergedLines(base, sides, 3, (lines) => lines.slice(0, lines.indexOf("\n")), refuses);
}

/** Where an entry is its own key, two sides cannot differ about it but by its being there. */
const never: Reconcile = (key) => ({ why: key });

function mergedLines(
  base: Uint8Array | undefined,
  sides: readonly Side[],
  each: number,
  keyOf: (entry: string) => string,
  reconcile: Reconcile,
  check: (base: ReadonlyMap<string, string>, merged: ReadonlyMap<string, string>) => string[] = () => [],
): Merged {
  const before = keyed(entriesIn(base, each), keyOf);
  const { entries, conflicts } = mergeKeyed(
    before,
    sides.map(({ name, bytes }) => ({ name, entries: keyed(entriesIn(bytes, each), keyOf) })),
    reconcile,
  );
  conflicts.push(...check(before, entries));
  if (conflicts.length > 0) return { conflicts };
  return { bytes: new TextEncoder().encode([...entries.values()].map((entry) => `${entry}\n`).join("")) };
}

function* entriesIn(bytes: Uint8Array | undefined, each: number): Generator<string, void, void> {
  if (bytes === undefined || bytes.length === 0) return;
  const lines = textOf(bytes).replace(/\n$/, "").split("\n");
  for (let at = 0; at < lines.length; at += each) yield lines.slice(at, at + each).join("\n");
}

function firstField(line: string): string {
  return line.slice(0, line.indexOf(":") >>> 0);
}

function differently(changed: readonly EntrySide[]): string {
  return `${bothOf(changed)} have it differently`;
}

/** Members are the last field, between commas. */
const reconcileGroup: Reconcile = (key, base, changed) => {
  const parts = (line: string): [string, string[]] => {
    const colon = line.lastIndexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).split(",").filter((name) => name !== "")];
  };
  const conflict = { why: `group ${key}: ${differently(changed)}` };
  const [head, ...members] = base === undefined ? [undefined] : [parts(base)[0], ...parts(base)[1]];
  const kept = new Set(members);
  for (const { entry } of changed) {
    if (entry === undefined) return conflict;
    const [other, names] = parts(entry);
    if (other !== (head ?? parts(changed[0]!.entry!)[0])) return conflict;
    for (const name of names) kept.add(name);
    for (const name of members) if (!names.includes(name)) kept.delete(name);
  }
  return { entry: `${head ?? parts(changed[0]!.entry!)[0]}:${[...kept].join(",")}` };
};

/** Numbers of passwd and group that two names have who did not have them before. Fields of the others are no numbers. */
function numbersTwice(
  what: string,
): (base: ReadonlyMap<string, string>, merged: ReadonlyMap<string, string>) => string[] {
  return (base, merged) => {
    const names = new Map<string, string>();
    const conflicts: string[] = [];
    for (const [name, line] of merged) {
      const fields = line.split(":");
      // passwd has seven fields and group four; shadow has nine; gshadow's third are administrators.
      const isTable = fields.length === 7 || (fields.length === 4 && /^\d+$/.test(fields[2]!));
      if (!isTable) continue;
      const other = names.get(fields[2]!);
      if (other === undefined) names.set(fields[2]!, name);
      else if (base.get(name) !== line || base.get(other) !== merged.get(other)) {
        conflicts.push(`${what}s ${other} and ${name} have the same number ${fields[2]}`);
      }
    }
    return conflicts;
  };
}
