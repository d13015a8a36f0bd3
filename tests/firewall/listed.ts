import type { Expression, Match, Rule, Ruleset, Statement } from "../../net/firewall/nft/schema.ts";

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 };

/**
 * A rule set as it can be told from what nft 1.0 lists as JSON: without handles and lines, without what its JSON leaves out
 * (comments of tables and chains, the flag dynamic, auto-merge), and without matches that the field behind them implies.
 */
export function asListed(ruleset: Ruleset): Ruleset {
  const listed = {
    tables: ruleset.tables.map(({ comment: _, ...table }) => ({
      ...table,
      chains: table.chains.map(({ comment: _, ...chain }) => ({
        ...chain,
        rules: chain.rules.map((rule) => ({ ...rule, expr: inHeaderOrder(withoutImplied(rule)) })),
      })),
      sets: table.sets.map((set) => ({
        ...set,
        flags: set.flags.filter((flag) => flag !== "dynamic"),
        autoMerge: false,
      })).sort(byName),
    })),
  };
  return JSON.parse(
    JSON.stringify(listed, (key, value) => ["handle", "line", "expires"].includes(key) ? undefined : value),
  );
}

function byName(one: { name: string }, other: { name: string }): number {
  return one.name < other.name ? -1 : 1;
}

/**
 * nft may read two fields of one header as one, even with other statements between, and lists them where it read them; and
 * `>=` with `<=` behind it is a range to it. In rules where that can happen the order says nothing here.
 */
function inHeaderOrder(expr: readonly Statement[]): Statement[] {
  const headers = expr.flatMap((statement) => "match" in statement ? protocolsOf(statement.match.left) : []);
  const merged = withRanges(expr);
  if (headers.length < 2) return merged;
  return merged.sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
}

function withRanges(expr: readonly Statement[]): Statement[] {
  const merged: Statement[] = [];
  for (const statement of expr) {
    const last = merged.at(-1);
    if (
      last !== undefined && "match" in last && "match" in statement && last.match.op === ">=" &&
      statement.match.op === "<=" && JSON.stringify(last.match.left) === JSON.stringify(statement.match.left)
    ) {
      const range = [last.match.right, statement.match.right] as [number, number];
      merged[merged.length - 1] = { match: { op: "==", left: last.match.left, right: { range } } };
    } else merged.push(statement);
  }
  return merged;
}

function withoutImplied({ expr }: Rule): Statement[] {
  return expr.filter((statement) => {
    if (!("match" in statement)) return true;
    const { op, left, right } = statement.match;
    if (op !== "==" || typeof right !== "number" || typeof left !== "object") return true;
    const asks = "meta" in left
      ? left.meta.key
      : "payload" in left && "field" in left.payload
      ? left.payload.field
      : "";
    // Whether nft's JSON shows the family that something else in the rule needs depends on what stands between.
    if (asks === "nfproto") return false;
    const others = expr.filter((other) => other !== statement);
    if (!["l4proto", "protocol", "nexthdr"].includes(asks)) return true;
    return !others.some((other) => protocols(other).some((name) => PROTOCOLS[name] === right));
  });
}

function protocols(statement: Statement): string[] {
  const key = "match" in statement
    ? (statement.match as Match).left
    : "vmap" in statement
    ? statement.vmap.key
    : "mangle" in statement
    ? statement.mangle.key
    : undefined;
  return key === undefined ? [] : protocolsOf(key);
}

function protocolsOf(expression: Expression): string[] {
  if (typeof expression !== "object") return [];
  if ("concat" in expression) return expression.concat.flatMap(protocolsOf);
  if ("payload" in expression && "protocol" in expression.payload) return [expression.payload.protocol];
  if ("tcp option" in expression) return ["tcp"];
  if ("&" in expression) return protocolsOf(expression["&"][0]);
  return [];
}
