import { parseNamePattern } from "../../names/pattern.ts";
import type { NameMatch, Statement } from "../schema.ts";
import type { At, Source } from "./raw.ts";
import { show } from "./value.ts";

/** Names in one rule: beyond it sets of addresses that names fill are the better way. */
const NAMES_MAX = 4_096;
export const NAME_KEYS: readonly NameMatch["key"][] = ["tls sni", "http host", "name"];
const STATES: readonly string[] = ["pending", "missing"];

/** A match of a flow's name in its one spelling: names in order, each once. */
export function makeNameMatch(
  source: Source,
  { key, op, right }: {
    readonly key: NameMatch["key"];
    readonly op: NameMatch["op"];
    readonly right: readonly { readonly text: string; readonly at: At }[];
  },
  at: At,
): Statement {
  if (right.length === 0) source.fail(at, "Expected a name");
  if (right.length > NAMES_MAX) source.fail(at, `More than ${NAMES_MAX} names in a rule`);
  const names = right.map(({ text, at }): string => {
    if (key === "name") {
      return STATES.includes(text)
        ? text
        : source.fail(at, `Found ${show(text)}, expected pending or missing`);
    }
    return parseNamePattern(text) ??
      source.fail(at, `Found ${show(text)}, expected a name like example.com or *.example.com`);
  });
  if (key === "name" && (names.length > 1 || op !== "==")) {
    source.fail(at, 'Expected "name pending" or "name missing"');
  }
  return { names: { key, op, right: [...new Set(names)].sort() } };
}
