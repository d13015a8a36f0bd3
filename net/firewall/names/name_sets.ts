import type { Command, NamedSet, Ruleset, SetElement } from "../nft/schema.ts";
import { FirewallError } from "../rule.ts";
import { parseIpv4 } from "../../wire/address.ts";
import { formatIpv6, parseIpv6 } from "../../wire/ipv6_address.ts";
import { matchesName, parseNamePattern } from "./pattern.ts";

/** The first word of a set's comment that says which names fill it: one that nobody writes by chance. */
const WORD = "dns-names:";
/** An address that was answered stays at least so long: programs connect a while after they have asked. */
export const NAME_SECONDS_MIN = 60;
/** And at most so long, whatever the answer says: the name may be sold. */
export const NAME_SECONDS_MAX = 86_400;

/** An address that a name has, and for how long. */
export interface NameAnswer {
  /** As text, of either family. */
  readonly address: string;
  readonly ttlSeconds: number;
  /** What is left of the time that it stays, where it was answered a while ago. */
  readonly leftSeconds?: number;
}

/**
 * The names that fill a set: `comment "dns-names: api.example.com *.example.org"`, in a set of addresses with `flags timeout`. To
 * nft it is a comment, so the same file loads there, where dnsmasq's `nftset` fills such sets.
 *
 * @returns Patterns, or undefined for a set that no name fills.
 * @throws {FirewallError} When the comment begins like that and says no names, or the set cannot take them.
 */
export function namesOf(set: NamedSet): readonly string[] | undefined {
  const [word, ...names] = (set.comment ?? "").trim().split(/\s+/);
  if (word !== WORD) return undefined;
  const place = `set ${set.name}`;
  if (names.length === 0) throw new FirewallError(place, 'Expected names behind "dns-names:" in its comment');
  const patterns = names.map((name) => {
    const pattern = parseNamePattern(name);
    if (pattern !== undefined) return pattern;
    throw new FirewallError(
      place,
      `Found ${JSON.stringify(name)}, expected a name like example.com or *.example.com`,
    );
  });
  const addresses = set.type.length === 1 && (set.type[0] === "ipv4_addr" || set.type[0] === "ipv6_addr");
  if (!addresses || set.data !== undefined) {
    throw new FirewallError(place, "Names fill sets of ipv4_addr or ipv6_addr");
  }
  if (!set.flags.includes("timeout")) {
    throw new FirewallError(place, 'Names fill sets with "flags timeout": answers end');
  }
  return patterns;
}

/**
 * What a DNS answer adds to the sets that its name fills, as commands that add elements with the answer's time to live. None
 * for a name that fills no set.
 *
 * @param names The name that was asked for and those that it is an alias of: each may be the one that a rule means.
 * @throws {FirewallError} When a set's comment cannot be understood.
 * @example
 * ```ts
 * import { nameElements } from "@torpor/torpor/net/firewall/names/name_sets.ts";
 * import { readTextRules } from "@torpor/torpor/net/firewall/nft/text/read.ts";
 * const rules = readTextRules(`table inet egress {
 *   set api { type ipv4_addr; flags timeout; comment "dns-names: api.example.com"; }
 * }`);
 * const [command] = nameElements(rules, ["api.example.com"], [{ address: "192.0.2.7", ttlSeconds: 300 }]);
 * console.log(command!.op); // add
 * ```
 */
export function nameElements(
  rules: Ruleset,
  names: readonly string[],
  answers: readonly NameAnswer[],
): Extract<Command, { object: unknown }>[] {
  const commands: Extract<Command, { object: unknown }>[] = [];
  for (const { family, name: table, sets } of rules.tables) {
    for (const set of sets) {
      const patterns = namesOf(set);
      if (patterns === undefined || !names.some((name) => patterns.some((one) => matchesName(one, name)))) {
        continue;
      }
      const elem = answers.flatMap((answer): SetElement[] => {
        const val = addressFor(answer.address, set.type[0] === "ipv6_addr");
        const timeout = nameSeconds(answer.ttlSeconds);
        const { leftSeconds } = answer;
        const left = leftSeconds === undefined
          ? {}
          : { expires: Math.max(1, Math.min(leftSeconds, timeout)) };
        return val === undefined ? [] : [{ val, timeout, ...left }];
      });
      if (elem.length === 0) continue;
      commands.push({
        op: "add",
        object: { element: { family, table, name: set.name, elem } },
        at: `set ${set.name}`,
      });
    }
  }
  return commands;
}

/** How long an answer with that time to live counts, seconds. */
export function nameSeconds(ttlSeconds: number): number {
  return Math.min(Math.max(ttlSeconds, NAME_SECONDS_MIN), NAME_SECONDS_MAX);
}

/** An address as the elements of a set have it, or undefined when it is of the other family. */
export function addressFor(text: string, six: boolean): string | undefined {
  if (!six) return parseIpv4(text) === undefined ? undefined : text;
  const words = parseIpv6(text);
  return words === undefined ? undefined : formatIpv6(...words);
}
