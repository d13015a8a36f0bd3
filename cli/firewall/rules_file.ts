import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import type { LinkedRules } from "../../net/firewall/nft/linked.ts";
import type { Expression, Ruleset } from "../../net/firewall/nft/schema.ts";
import { type IncludedFile, readTextRules } from "../../net/firewall/nft/text/read.ts";
import type { FirewallRules } from "../../net/firewall/rule.ts";
import { InputError } from "../command.ts";
import { globOf } from "./glob.ts";

/** Rules out of a file: JSON when it begins like that, else the text of `nft -f`, with the files that it includes. */
export function loadRules(path: string, defines: Readonly<Record<string, string>> = {}): Ruleset {
  const text = readFileSync(path, "utf8");
  if (isJson(text)) return readJsonRules(parseJson(path, text));
  const include = (pattern: string): IncludedFile[] => includedFiles(dirname(path), pattern);
  return readTextRules(text, { file: path, include, defines });
}

/** What a host takes as its `firewall`: rules of nftables in either language, or ours, which have `rules` in them. */
export function readFirewall(path: string): Ruleset | FirewallRules {
  const text = readFileSync(path, "utf8");
  const document = isJson(text) ? parseJson(path, text) : undefined;
  const ours = typeof document === "object" && document !== null && "rules" in document;
  return ours ? document as FirewallRules : loadRules(path); // the host checks it
}

function isJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`"${path}" is no JSON: ${(error as Error).message}`);
  }
}

/** Files by a path relative to the including one's folder; wildcards stand in their last part, as with nft. */
function includedFiles(folder: string, pattern: string): IncludedFile[] {
  const path = resolve(folder, pattern);
  if (!/[*?[]/.test(path)) return [{ name: path, text: readFileSync(path, "utf8") }];
  const inside = dirname(path);
  if (/[*?[]/.test(inside)) {
    throw new InputError(`include "${pattern}": wildcards stand in the last part of a path only`);
  }
  const name = globOf(basename(path));
  let names: string[];
  try {
    names = readdirSync(inside);
  } catch {
    return [];
  }
  return names.filter((one) => !one.startsWith(".") && name.test(one)).sort()
    .map((one) => ({ name: join(inside, one), text: readFileSync(join(inside, one), "utf8") }));
}

/** Rules ready to be evaluated where interfaces have those names; those that rules ask for by index are added. */
export function linkFor(rules: Ruleset, interfaces: readonly string[]): LinkedRules {
  const names = new Set(["lo", ...interfaces]);
  const note = (value: Expression): void => {
    if (typeof value === "string" && !value.startsWith("@")) names.add(value);
    else if (typeof value === "object" && "set" in value) { for (const { val } of value.set) note(val); }
  };
  for (const { chains } of rules.tables) {
    for (const statement of chains.flatMap((chain) => chain.rules.flatMap(({ expr }) => expr))) {
      if (!("match" in statement)) continue;
      const { left, right } = statement.match;
      if (
        typeof left === "object" && "meta" in left && (left.meta.key === "iif" || left.meta.key === "oif")
      ) note(right);
    }
  }
  return linkRules(rules, [...names]);
}
