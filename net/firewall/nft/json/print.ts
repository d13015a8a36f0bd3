import { limitFields, printElementKey, printStatefulJson, printVerdictOrData } from "./print_expression.ts";
import { printJsonStatement } from "./print_statement.ts";
import { filledSets } from "../check.ts";
import type { Chain, InTable, NamedSet, Ruleset, Table } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";

/** A document of libnftables-json(5). */
export interface JsonRules {
  /** Objects in the order in which they can be loaded. */
  readonly nftables: readonly Readonly<Record<string, unknown>>[];
}

/**
 * Rules as `nft -j list ruleset` prints them, behind a `metainfo` of ours.
 *
 * @example
 * ```ts
 * import { printJsonRules } from "@torpor/torpor/net/firewall/nft/json/print.ts";
 * import { readTextRules } from "@torpor/torpor/net/firewall/nft/text/read.ts";
 * const { nftables } = printJsonRules(readTextRules("table inet t { chain c { tcp dport 22 accept; }; }"));
 * console.log(nftables.length); // 4: metainfo, table, chain, rule
 * ```
 */
export function printJsonRules(ruleset: Ruleset): JsonRules {
  const metainfo = { version: "torpor", release_name: "torpor", json_schema_version: 1 };
  return { nftables: [{ metainfo }, ...ruleset.tables.flatMap(printTable)] };
}

function printTable(table: Table): Record<string, unknown>[] {
  const { family, name } = table;
  const place: InTable = { family, table: name };
  const filled = filledSets(table);
  const flags = table.dormant ? { flags: "dormant" } : {};
  return [
    { table: { family, name, ...handleOf(table), ...commentOf(table), ...flags } },
    ...table.counters.map(({ packets, bytes, ...of }) => ({
      counter: { ...named(place, of), packets, bytes },
    })),
    ...table.quotas.map(({ bytes, used, inv, ...of }) => ({
      quota: { ...named(place, of), bytes, used, inv },
    })),
    ...table.limits.map((limit) => ({ limit: { ...named(place, limit), ...limitFields(limit, "unit") } })),
    // Chains before sets: verdicts of maps name them.
    ...table.chains.map((chain) => printChain(place, chain)),
    ...table.sets.map((set) => printSet(place, set, filled)),
    ...table.chains.flatMap((chain) =>
      chain.rules.map((rule) => ({
        rule: {
          ...place,
          chain: chain.name,
          ...handleOf(rule),
          ...commentOf(rule),
          expr: rule.expr.map(printJsonStatement),
        },
      }))
    ),
  ];
}

function handleOf({ handle }: { handle?: number }): { handle?: number } {
  return handle === undefined ? {} : { handle };
}

function commentOf({ comment }: { comment?: string }): { comment?: string } {
  return comment === undefined ? {} : { comment };
}

function named(
  { family, table }: InTable,
  object: { name: string; handle?: number; comment?: string },
): object {
  return { family, name: object.name, table, ...handleOf(object), ...commentOf(object) };
}

function printChain(place: InTable, chain: Chain): Record<string, unknown> {
  return { chain: { ...place, name: chain.name, ...handleOf(chain), ...commentOf(chain), ...chain.base } };
}

function printSet(place: InTable, set: NamedSet, filled: ReadonlySet<string>): Record<string, unknown> {
  const types = set.type.map((type) => ({ type, bits: DATA_TYPES[type].bits }));
  const { data } = set;
  const values = data !== undefined && "value" in data
    ? data.value.map((type) => ({ type, bits: DATA_TYPES[type].bits }))
    : [];
  const map = data === undefined
    ? {}
    : { map: "verdict" in data ? "verdict" : "object" in data ? data.object : data.value.join(" . ") };
  // nft 1.0 neither prints the flag nor takes it; that a rule fills the set says it.
  const flags = set.flags.filter((flag) => flag !== "dynamic" || !filled.has(set.name));
  const fields = {
    ...named(place, set),
    type: set.type.length === 1 ? set.type[0] : set.type,
    ...map,
    ...set.policy === undefined ? {} : { policy: set.policy },
    ...set.size === undefined ? {} : { size: set.size },
    ...flags.length === 0 ? {} : { flags },
    ...set.timeout === undefined ? {} : { timeout: set.timeout },
    ...set.gcInterval === undefined ? {} : { "gc-interval": set.gcInterval },
    ...set.autoMerge ? { "auto-merge": true } : {},
    ...set.stmt.length === 0 ? {} : { stmt: set.stmt.map(printStatefulJson) },
    ...set.elem.length === 0 ? {} : {
      elem: set.elem.map((element) => {
        const key = printElementKey(element, types);
        return "data" in element ? [key, printVerdictOrData(element.data, values)] : key;
      }),
    },
  };
  return data === undefined ? { set: fields } : { map: fields };
}
