import type { NamedSet, Ruleset, Table } from "../../net/firewall/nft/schema.ts";

/**
 * Rules as they are given, with what others of the same names have counted and learnt: a table that is the same but for that
 * counts on; into other tables go the elements that rules, names or time have put into sets of the same kind.
 */
export function carriedOver(given: Ruleset, kept: Ruleset): Ruleset {
  return {
    tables: given.tables.map((table): Table => {
      const old = kept.tables.find(({ family, name }) => family === table.family && name === table.name);
      if (old === undefined) return table;
      const sets = table.sets.map((set) => filled(set, old.sets));
      return shapeOf(old) === shapeOf(table) ? { ...old, sets } : { ...table, sets };
    }),
  };
}

/** What is the same of two tables of which one has been in use. */
function shapeOf({ counters, sets, ...table }: Table): string {
  const shape = {
    ...table,
    counters: counters.map(({ name }) => name),
    sets: sets.map((set) => isFilled(set) ? { ...set, elem: [] } : set),
  };
  return JSON.stringify(shape, (key, value) => {
    if (key === "counter") return "";
    return ["handle", "line", "used", "expires"].includes(key) ? undefined : value;
  });
}

function isFilled({ flags, stmt }: NamedSet): boolean {
  return flags.includes("dynamic") || flags.includes("timeout") || stmt.length > 0;
}

/** Elements that a file says count on where they are; those that it does not say stay where the set may hold such. */
function filled(set: NamedSet, old: readonly NamedSet[]): NamedSet {
  const before = old.find(({ name }) => name === set.name);
  if (before === undefined || !isFilled(set) || kindOf(before) !== kindOf(set)) return set;
  const learnt = new Map(before.elem.map((element) => [JSON.stringify(element.val), element]));
  const elem = set.elem.map((element) => {
    const key = JSON.stringify(element.val);
    const known = learnt.get(key);
    learnt.delete(key);
    return known ?? element;
  });
  if (!set.flags.includes("dynamic") && !set.flags.includes("timeout")) return { ...set, elem };
  return {
    ...set,
    elem: [...elem, ...learnt.values()].slice(0, Math.max(elem.length, set.size ?? Infinity)),
  };
}

function kindOf({ type, data, stmt, flags }: NamedSet): string {
  return JSON.stringify([type, data, stmt.map((each) => Object.keys(each)), flags]);
}
