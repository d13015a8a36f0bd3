import type {
  BaseChain,
  Chain,
  DataType,
  Expression,
  NamedSet,
  ObjectName,
  Rule,
  Ruleset,
  SetReference,
  Statement,
  Table,
  Verdict,
} from "./schema.ts";
import { typesOf } from "./words/selectors.ts";

/** Jumps inside one another (NFT_JUMP_STACK_SIZE): beyond them the kernel drops. */
export const JUMPS_MAX = 16;
/** Chains, rules and elements are many; tables are few. */
export const TABLES_MAX = 1_024;

/** Elements at most of sets that rules fill and that say no size, as nft has it. */
export const DYNAMIC_SIZE = 65_535;

/** Ends with an error about a chain or a rule. */
type Refuse = (part: object, message: string) => never;

const HOOKS: Record<BaseChain["type"], readonly BaseChain["hook"][]> = {
  filter: ["prerouting", "input", "forward", "output", "postrouting"],
  nat: ["prerouting", "input", "output", "postrouting"],
  route: ["output"],
};
const NAT_HOOKS = {
  snat: ["postrouting", "input"],
  masquerade: ["postrouting"],
  dnat: ["prerouting", "output"],
  redirect: ["prerouting", "output"],
} as const;

/**
 * Refuses what refers to nothing, or to something of another kind: chains, sets, maps, named counters. Sets that rules fill
 * are given the flag and the size that nft gives them.
 */
export function checkRuleset(ruleset: Ruleset, refuse: Refuse): Ruleset {
  if (ruleset.tables.length > TABLES_MAX) refuse({}, `More than ${TABLES_MAX} tables`);
  return { tables: ruleset.tables.map((table) => checkTable(table, refuse)) };
}

function checkTable(table: Table, refuse: Refuse): Table {
  for (const chain of table.chains) {
    const { base } = chain;
    if (base !== undefined && !HOOKS[base.type].includes(base.hook)) {
      refuse(chain, `A chain of type ${base.type} has no hook ${base.hook}`);
    }
    for (const rule of chain.rules) {
      for (const statement of rule.expr) checkStatement(table, chain, rule, statement, refuse);
    }
  }
  for (const set of table.sets) {
    for (const element of set.elem) {
      if (!("data" in element)) continue;
      checkVerdict(table, set, element.data, refuse);
      if (set.data === undefined || !("object" in set.data)) continue;
      const { object } = element.data as ObjectName;
      if (!table[`${set.data.object}s`].some(({ name }) => name === object)) {
        refuse(set, `There is no ${set.data.object} "${object}" in table ${table.name}`);
      }
    }
  }
  checkDepth(table, refuse);
  const filled = filledSets(table);
  if (filled.size === 0) return table;
  return {
    ...table,
    sets: table.sets.map((set): NamedSet => {
      if (!filled.has(set.name)) return set;
      const flags = set.flags.includes("dynamic") ? set.flags : [...set.flags, "dynamic" as const].sort();
      return { ...set, flags, size: set.size ?? DYNAMIC_SIZE };
    }),
  };
}

/** Names of the sets and maps of a table that its rules fill. */
export function filledSets(table: Table): ReadonlySet<string> {
  const filled = new Set<string>();
  for (const { rules } of table.chains) {
    for (const { expr } of rules) {
      for (const statement of expr) {
        const name = "set" in statement
          ? statement.set.set
          : "map" in statement
          ? statement.map.map
          : undefined;
        if (name !== undefined) filled.add(name.slice(1));
      }
    }
  }
  return filled;
}

function checkStatement(table: Table, chain: Chain, rule: Rule, statement: Statement, refuse: Refuse): void {
  checkVerdict(table, rule, statement, refuse);
  for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
    if (!(kind in statement) || chain.base === undefined) continue;
    const hooks: readonly string[] = NAT_HOOKS[kind];
    if (chain.base.type !== "nat" || !hooks.includes(chain.base.hook)) {
      refuse(rule, `${kind} stands in chains of type nat with hook ${hooks.join(" or ")}`);
    }
  }
  const find = (name: SetReference, of: Expression, wants: "set" | "map"): NamedSet => {
    const set = table.sets.find((one) => one.name === name.slice(1));
    if (set === undefined) {
      return refuse(rule, `There is no ${wants} "${name.slice(1)}" in table ${table.name}`);
    }
    if ((set.data === undefined) !== (wants === "set")) refuse(rule, `"${set.name}" is not a ${wants}`);
    const types = typesOf(of);
    if (types !== undefined && !fits(types.map(({ type }) => type), set.type)) {
      refuse(
        rule,
        `"${set.name}" has keys of type ${set.type.join(" . ")}, not ${
          types.map(({ type }) => type).join(" . ")
        }`,
      );
    }
    return set;
  };
  const walk = (expression: Expression): void => {
    if (typeof expression !== "object") return;
    if ("map" in expression) {
      const { key, data } = expression.map;
      if (typeof data === "string") find(data, key, "map");
      walk(key);
    }
  };
  if ("match" in statement) {
    const { left, right } = statement.match;
    if (typeof right === "string" && right.startsWith("@")) find(right as SetReference, left, "set");
    walk(left);
  } else if ("vmap" in statement) {
    const { key, data } = statement.vmap;
    if (typeof data === "string") {
      const set = find(data, key, "map");
      if (!("verdict" in set.data!)) refuse(rule, `"${set.name}" leads to no verdicts`);
    } else {for (const element of data.set) {
        if ("data" in element) checkVerdict(table, rule, element.data, refuse);
      }}
  } else if ("set" in statement) find(statement.set.set, statement.set.elem, "set");
  else if ("map" in statement) find(statement.map.map, statement.map.elem, "map");
  else if ("mangle" in statement) walk(statement.mangle.value);
  else if ("use" in statement) {
    const { kind, name } = statement.use;
    if (typeof name === "string") {
      if (!table[`${kind}s`].some((object) => object.name === name)) {
        refuse(rule, `There is no ${kind} "${name}" in table ${table.name}`);
      }
    } else walk(name);
  } else {
    for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
      if (!(kind in statement)) continue;
      const { addr, port } =
        (statement as unknown as Record<typeof kind, { addr?: Expression; port?: Expression }>)[kind];
      if (addr !== undefined) walk(addr);
      if (port !== undefined) walk(port);
    }
  }
}

function fits(given: readonly DataType[], wanted: readonly DataType[]): boolean {
  return given.length === wanted.length &&
    given.every((type, at) => type === wanted[at] || type === "integer" || wanted[at] === "integer");
}

function targetOf(verdict: object): string | undefined {
  const jump = verdict as Partial<Record<"jump" | "goto", { target: string }>>;
  return (jump.jump ?? jump.goto)?.target;
}

function checkVerdict(table: Table, part: object, verdict: unknown, refuse: Refuse): void {
  if (typeof verdict !== "object" || verdict === null) return;
  const target = targetOf(verdict);
  if (target === undefined) return;
  const chain = table.chains.find(({ name }) => name === target);
  if (chain === undefined) refuse(part, `There is no chain "${target}" in table ${table.name}`);
  if (chain.base !== undefined) refuse(part, `"${target}" is a base chain: nothing jumps there`);
}

/** No chain may lead back to itself, and none deeper than the kernel goes. */
function checkDepth(table: Table, refuse: Refuse): void {
  const depths = new Map<string, number>();
  const depthOf = (chain: Chain, above: readonly string[]): number => {
    if (above.includes(chain.name)) refuse(chain, `Chain "${chain.name}" leads back to itself`);
    if (above.length > JUMPS_MAX) refuse(chain, `More than ${JUMPS_MAX} jumps inside one another`);
    const known = depths.get(chain.name);
    if (known !== undefined) return known;
    let depth = 0;
    for (const target of targetsOf(table, chain)) {
      const next = table.chains.find(({ name }) => name === target);
      if (next !== undefined) depth = Math.max(depth, 1 + depthOf(next, [...above, chain.name]));
    }
    if (depth > JUMPS_MAX) refuse(chain, `More than ${JUMPS_MAX} jumps inside one another`);
    depths.set(chain.name, depth);
    return depth;
  };
  for (const chain of table.chains) depthOf(chain, []);
}

function targetsOf(table: Table, chain: Chain): Set<string> {
  const targets = new Set<string>();
  const note = (verdict: unknown): void => {
    const target = typeof verdict === "object" && verdict !== null ? targetOf(verdict as Verdict) : undefined;
    if (target !== undefined) targets.add(target);
  };
  for (const { expr } of chain.rules) {
    for (const statement of expr) {
      note(statement);
      if (!("vmap" in statement)) continue;
      const { data } = statement.vmap;
      const elements = typeof data === "string"
        ? table.sets.find(({ name }) => name === data.slice(1))?.elem ?? []
        : data.set;
      for (const element of elements) if ("data" in element) note(element.data);
    }
  }
  return targets;
}
