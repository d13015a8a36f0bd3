import { refuse } from "../appliance_error.ts";
import { quoted } from "../path.ts";

/** The most entries of one file. */
const ENTRIES_MAX = 1_000_000;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text of a file that is merged. @throws {ApplianceError} When it is not UTF-8. */
export function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return refuse("format", "Cannot merge: it is not UTF-8");
  }
}

/** Entries by their key, in their order. @throws {ApplianceError} When one is there twice. */
export function keyed(entries: Iterable<string>, keyOf: (entry: string) => string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of entries) {
    const key = keyOf(entry);
    if (found.has(key) && found.get(key) !== entry) {
      refuse("format", `Cannot merge: ${quoted(key)} is there twice`);
    }
    found.set(key, entry);
    if (found.size > ENTRIES_MAX) refuse("limit", `Cannot merge: more than ${ENTRIES_MAX} entries`);
  }
  return found;
}

/** What one side made of the entry that is in question; `undefined` when it took it away. */
export interface EntrySide {
  readonly name: string;
  readonly entry: string | undefined;
}

/**
 * Merges entries key by key: what one side alone changed is as it made it, what several made the same is so, and for
 * all else `reconcile` is asked, which gives an entry, or a conflict in words. The base's order stays; what is new comes
 * behind it, side by side.
 */
export function mergeKeyed(
  base: ReadonlyMap<string, string>,
  sides: readonly { readonly name: string; readonly entries: ReadonlyMap<string, string> }[],
  reconcile: (
    key: string,
    base: string | undefined,
    sides: readonly EntrySide[],
  ) => { entry: string } | { why: string },
): { readonly entries: Map<string, string>; readonly conflicts: string[] } {
  const keys = new Set([...base.keys(), ...sides.flatMap(({ entries }) => [...entries.keys()])]);
  const entries = new Map<string, string>();
  const conflicts: string[] = [];
  for (const key of keys) {
    const before = base.get(key);
    const changed = sides.flatMap(({ name, entries }) => {
      const entry = entries.get(key);
      return entry === before ? [] : [{ name, entry }];
    });
    const [first] = changed;
    let entry = before;
    if (first !== undefined) {
      if (changed.every((each) => each.entry === first.entry)) entry = first.entry;
      else {
        const made = reconcile(key, before, changed);
        if ("entry" in made) entry = made.entry;
        else conflicts.push(made.why);
      }
    }
    if (entry !== undefined) entries.set(key, entry);
  }
  return { entries, conflicts };
}

/** The names of sides, for a conflict. */
export function bothOf(sides: readonly { readonly name: string }[]): string {
  return sides.map(({ name }) => name).join(" and ");
}
