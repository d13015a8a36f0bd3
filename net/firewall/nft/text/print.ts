import { priorityText } from "../read/names.ts";
import type { Chain, NamedSet, Ruleset, Table } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import { formatDuration } from "../words/times.ts";
import { printElement, printLimit, printQuota, printStateful } from "./print_expression.ts";
import { printRule } from "./print_statement.ts";

/**
 * Rules as `nft list ruleset` writes them: a text that `nft -f` and `readTextRules` take.
 *
 * @example
 * ```ts
 * import { printTextRules } from "@torpor/torpor/net/firewall/nft/text/print.ts";
 * import { readTextRules } from "@torpor/torpor/net/firewall/nft/text/read.ts";
 * console.log(printTextRules(readTextRules("table ip t { chain c { tcp dport ssh accept; }; }")));
 * // table ip t {
 * // 	chain c {
 * // 		tcp dport 22 accept
 * // 	}
 * // }
 * ```
 */
export function printTextRules(ruleset: Ruleset): string {
  return ruleset.tables.map(printTable).join("");
}

function printTable(table: Table): string {
  const lines = [`table ${table.family} ${table.name} {`];
  if (table.comment !== undefined) lines.push(`\tcomment "${table.comment}"`);
  if (table.dormant) lines.push("\tflags dormant");
  const blocks: string[][] = [
    ...table.counters.map((counter) => {
      const { packets, bytes } = counter;
      return block("counter", counter, [`packets ${packets} bytes ${bytes}`]);
    }),
    ...table.quotas.map((quota) => block("quota", quota, [printQuota(quota)])),
    ...table.limits.map((limit) => block("limit", limit, [printLimit(limit)])),
    ...table.sets.map((set) => block(set.data === undefined ? "set" : "map", set, setLines(set))),
    ...table.chains.map((chain) => block("chain", chain, chainLines(chain, table))),
  ];
  for (const [index, lines_] of blocks.entries()) {
    if (index > 0) lines.push("");
    lines.push(...lines_.map((line) => `\t${line}`));
  }
  return `${lines.join("\n")}\n}\n`;
}

function block(
  kind: string,
  { name, comment }: { name: string; comment?: string },
  lines: readonly string[],
): string[] {
  const said = comment === undefined ? lines : [`comment "${comment}"`, ...lines];
  return [`${kind} ${name} {`, ...said.map((line) => `\t${line}`), "}"];
}

function chainLines({ base, rules }: Chain, { family }: Table): string[] {
  const lines = rules.map((rule) => printRule(rule, family));
  if (base === undefined) return lines;
  const { type, hook, prio, policy } = base;
  return [`type ${type} hook ${hook} priority ${priorityText(prio, hook)}; policy ${policy};`, ...lines];
}

function setLines(set: NamedSet): string[] {
  const types = set.type.map((type) => ({ type, bits: DATA_TYPES[type].bits }));
  const { data } = set;
  const values = data !== undefined && "value" in data ? data.value : [];
  const leadsTo = data === undefined
    ? ""
    : ` : ${
      "verdict" in data
        ? "verdict"
        : "object" in data
        ? data.object
        : `${data.interval ? "interval " : ""}${values.join(" . ")}`
    }`;
  const lines = [`type ${set.type.join(" . ")}${leadsTo}`];
  if (set.size !== undefined) lines.push(`size ${set.size}`);
  if (set.policy !== undefined) lines.push(`policy ${set.policy}`);
  if (set.flags.length > 0) lines.push(`flags ${set.flags.join(",")}`);
  if (set.autoMerge) lines.push("auto-merge");
  for (const statement of set.stmt) lines.push(printStateful(statement));
  if (set.timeout !== undefined) lines.push(`timeout ${formatDuration(set.timeout)}`);
  if (set.gcInterval !== undefined) lines.push(`gc-interval ${formatDuration(set.gcInterval)}`);
  if (set.elem.length > 0) {
    const dataTypes = values.map((type) => ({ type, bits: DATA_TYPES[type].bits }));
    const elements = set.elem.map((element) => printElement(element, types, dataTypes));
    lines.push(`elements = { ${elements.join(",\n\t\t\t     ")} }`);
  }
  return lines;
}
