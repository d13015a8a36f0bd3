import { formatIpv4, maskOf, parsePrefix } from "../wire/address.ts";
import { ConnState, Direction, Verdict } from "./packet.ts";
import { FirewallError, type FirewallRules, type Policy, type Rule } from "./rule.ts";

/** Rules in a set. Compiled memory grows faster than the rules do: see `CLASS_WORDS_MAX`. */
export const RULES_MAX = 16_384;
/** Members of one list in one rule: longer ones are for sets, which come with nftables. */
export const LIST_MAX = 1_024;
/** Prefixes, ports and types in a set, lists counted by their members: each may begin two classes. */
export const RANGES_MAX = 131_072;
/** Interfaces with names: the class table has 48 cells for each. */
export const INTERFACES_MAX = 64;
/** Characters in a comment, nftables' own limit. */
export const COMMENT_CHARACTERS_MAX = 128;

/** Protocols as rules tell them apart, as bits of a mask. */
export const ProtocolBit = { Tcp: 1, Udp: 2, Icmp: 4, Other: 8 } as const;

/** Unsigned numbers from `low` to `high`, both included. */
export interface Range {
  readonly low: number;
  readonly high: number;
}

/**
 * A rule after validation: numbers only. Masks hold one bit per value of `Direction`, `ConnState`
 * and `ProtocolBit`; `undefined` stands for a field that every packet satisfies.
 */
export interface CheckedRule {
  readonly rule: Rule;
  readonly directions: number;
  readonly states: number;
  readonly protocols: number;
  readonly interfaces: readonly number[] | undefined;
  readonly source: readonly Range[] | undefined;
  readonly destination: readonly Range[] | undefined;
  readonly sourcePort: readonly Range[] | undefined;
  readonly destinationPort: readonly Range[] | undefined;
  readonly icmpType: readonly Range[] | undefined;
  readonly verdict: Verdict;
  /** Equal for rules that do the same, whatever their comments. */
  readonly identity: string;
}

/** A rule set after validation; `policy` is indexed by `Direction`. */
export interface CheckedRules {
  readonly policy: readonly [Verdict, Verdict, Verdict];
  readonly rules: readonly CheckedRule[];
}

const PROTOCOLS = {
  tcp: ProtocolBit.Tcp,
  udp: ProtocolBit.Udp,
  icmp: ProtocolBit.Icmp,
  any: ProtocolBit.Tcp | ProtocolBit.Udp | ProtocolBit.Icmp | ProtocolBit.Other,
};
const DIRECTIONS = {
  input: 1 << Direction.Input,
  output: 1 << Direction.Output,
  forward: 1 << Direction.Forward,
};
const DIRECTIONS_ALL = 7;
const STATES = {
  new: 1 << ConnState.New,
  established: 1 << ConnState.Established,
  related: 1 << ConnState.Related,
  invalid: 1 << ConnState.Invalid,
};
const STATES_ALL = 15;
const ACTIONS = { accept: Verdict.Accept, drop: Verdict.Drop, reject: Verdict.Reject };
const POLICIES = { accept: Verdict.Accept, drop: Verdict.Drop };
const RANGE_FIELDS = ["source", "destination", "sourcePort", "destinationPort", "icmpType"] as const;
const FIELDS: ReadonlySet<string> = new Set(
  [
    "protocol",
    "direction",
    "source",
    "destination",
    "sourcePort",
    "destinationPort",
    "interface",
    "state",
    "icmpType",
    "action",
    "comment",
  ] satisfies (keyof Rule)[],
);

/**
 * Validates rules that may come from anywhere.
 *
 * @throws {FirewallError} At the first mistake, saying where it is and what was expected there.
 */
export function checkRules(input: FirewallRules, interfaceNames: readonly string[]): CheckedRules {
  if (interfaceNames.length > INTERFACES_MAX) {
    throw new FirewallError(
      "interfaces",
      `${interfaceNames.length} names, expected at most ${INTERFACES_MAX}`,
    );
  }
  if (!isObject(input)) throw new FirewallError("rules", `Found ${show(input)}, expected an object`);
  refuseUnknown(input, "", new Set(["policy", "rules"]));
  if (!Array.isArray(input.rules)) {
    throw new FirewallError("rules", `Found ${show(input.rules)}, expected a list of rules`);
  }
  if (input.rules.length > RULES_MAX) {
    throw new FirewallError("rules", `${input.rules.length} rules, expected at most ${RULES_MAX}`);
  }
  let ranges = 0;
  const rules = Array.from(input.rules, (rule: Rule, index) => {
    const checked = checkRule(rule, index, interfaceNames);
    for (const field of RANGE_FIELDS) ranges += checked[field]?.length ?? 0;
    if (ranges <= RANGES_MAX) return checked;
    throw new FirewallError(`rules[${index}]`, `The rules up to here hold more than ${RANGES_MAX} ranges`);
  });
  return { policy: checkPolicy(input.policy ?? {}), rules };
}

function checkPolicy(policy: Policy): [Verdict, Verdict, Verdict] {
  if (!isObject(policy)) throw new FirewallError("policy", `Found ${show(policy)}, expected an object`);
  refuseUnknown(policy, "policy.", new Set(Object.keys(DIRECTIONS)));
  const of = (direction: keyof Policy): Verdict =>
    choose(policy[direction] ?? "accept", POLICIES, `policy.${direction}`, "");
  return [of("input"), of("output"), of("forward")];
}

function checkRule(rule: Rule, index: number, interfaceNames: readonly string[]): CheckedRule {
  const path = `rules[${index}]`;
  if (!isObject(rule)) throw new FirewallError(path, `Found ${show(rule)}, expected an object`);
  const comment = rule.comment;
  if (comment !== undefined && (typeof comment !== "string" || comment.length > COMMENT_CHARACTERS_MAX)) {
    throw new FirewallError(
      `${path}.comment`,
      `Found ${show(comment)}, expected a string of at most ${COMMENT_CHARACTERS_MAX} characters`,
    );
  }
  const named = comment === undefined ? "" : ` in the rule "${comment}"`;
  refuseUnknown(rule, `${path}.`, FIELDS, named);

  const each = <T>(field: keyof Rule, read: (item: unknown, path: string) => T): T[] | undefined =>
    list(rule[field], `${path}.${field}`, named, read);
  const prefix = (item: unknown, at: string): Range => readPrefix(item, at, named);
  const port = (item: unknown, at: string): Range => readPort(item, at, named);
  const sourcePort = each("sourcePort", port);
  const destinationPort = each("destinationPort", port);
  const icmpType = each("icmpType", (item, at) => readIcmpType(item, at, named));

  let protocols: number = choose(rule.protocol ?? "any", PROTOCOLS, `${path}.protocol`, named);
  const needs = (field: keyof Rule, value: unknown, wanted: number, whose: string): void => {
    if (value === undefined) return;
    protocols &= wanted;
    if (protocols !== 0) return;
    const others = `${show(rule.protocol)} packets have none${named}, expected protocol ${whose}`;
    throw new FirewallError(`${path}.${field}`, others);
  };
  needs("sourcePort", sourcePort, ProtocolBit.Tcp | ProtocolBit.Udp, '"tcp", "udp" or "any"');
  needs("destinationPort", destinationPort, ProtocolBit.Tcp | ProtocolBit.Udp, '"tcp", "udp" or "any"');
  if (icmpType !== undefined && (sourcePort ?? destinationPort) !== undefined) {
    throw new FirewallError(`${path}.icmpType`, `No packet has both a port and an ICMP type${named}`);
  }
  needs("icmpType", icmpType, ProtocolBit.Icmp, '"icmp" or "any"');

  const states = each("state", (item, at) => choose(item, STATES, at, named));
  const checked = {
    directions: rule.direction === undefined
      ? DIRECTIONS_ALL
      : choose(rule.direction, DIRECTIONS, `${path}.direction`, named),
    states: states?.reduce((mask, state) => mask | state, 0) ?? STATES_ALL,
    protocols,
    interfaces: each("interface", (item, at) => {
      const found = interfaceNames.indexOf(item as string);
      if (found >= 0) return found;
      const names = interfaceNames.length === 0 ? "there are none" : `there are ${interfaceNames.join(", ")}`;
      throw new FirewallError(at, `No interface ${show(item)}${named}, ${names}`);
    })?.sort((a, b) => a - b),
    source: merge(each("source", prefix)),
    destination: merge(each("destination", prefix)),
    sourcePort: merge(sourcePort),
    destinationPort: merge(destinationPort),
    icmpType: merge(icmpType),
    verdict: choose(rule.action, ACTIONS, `${path}.action`, named),
  };
  // A copy: what the caller does to its own rule afterwards is not our rule.
  return { rule: structuredClone(rule), ...checked, identity: JSON.stringify(checked) };
}

function readPrefix(item: unknown, path: string, named: string): Range {
  const prefix = typeof item === "string" ? parsePrefix(item) : undefined;
  if (prefix === undefined) {
    throw new FirewallError(path, `Found ${show(item)}${named}, expected a prefix like "10.0.0.0/8"`);
  }
  const mask = maskOf(prefix.prefixLength);
  const low = prefix.address & mask;
  if (low !== prefix.address) {
    const meant = `"${formatIpv4(low)}/${prefix.prefixLength}" or "${formatIpv4(prefix.address)}"`;
    throw new FirewallError(path, `${show(item)} has bits beyond its length${named}, expected ${meant}`);
  }
  return { low: low >>> 0, high: (low | ~mask) >>> 0 };
}

function readPort(item: unknown, path: string, named: string): Range {
  const parts = typeof item === "string" ? /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item) : undefined;
  const low = parts ? Number(parts[1]) : item;
  const high = parts?.[2] === undefined ? low : Number(parts[2]);
  if (isWhole(low, 65_535) && isWhole(high, 65_535) && low <= high) return { low, high };
  throw new FirewallError(
    path,
    `Found ${show(item)}${named}, expected a port from 0 to 65535 or a range like "1024-65535"`,
  );
}

function readIcmpType(item: unknown, path: string, named: string): Range {
  if (isWhole(item, 255)) return { low: item, high: item };
  throw new FirewallError(path, `Found ${show(item)}${named}, expected an ICMP type from 0 to 255`);
}

function list<T>(
  value: unknown,
  path: string,
  named: string,
  read: (item: unknown, path: string) => T,
): T[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return [read(value, path)];
  if (value.length === 0 || value.length > LIST_MAX) {
    throw new FirewallError(path, `A list of ${value.length}${named}, expected 1 to ${LIST_MAX} members`);
  }
  return value.map((item, index) => read(item, `${path}[${index}]`));
}

/** The same numbers as disjoint ranges in rising order, none touching the next. */
function merge(ranges: readonly Range[] | undefined): Range[] | undefined {
  if (ranges === undefined) return undefined;
  const merged: { low: number; high: number }[] = [];
  for (const range of [...ranges].sort((a, b) => a.low - b.low)) {
    const last = merged.at(-1);
    if (last !== undefined && range.low <= last.high + 1) last.high = Math.max(last.high, range.high);
    else merged.push({ low: range.low, high: range.high });
  }
  return merged;
}

function choose<T extends number>(
  value: unknown,
  among: Readonly<Record<string, T>>,
  path: string,
  named: string,
): T {
  if (typeof value === "string" && Object.hasOwn(among, value)) return among[value]!;
  const names = Object.keys(among).map((name) => `"${name}"`).join(", ");
  throw new FirewallError(path, `Found ${show(value)}${named}, expected one of ${names}`);
}

function refuseUnknown(value: object, path: string, known: ReadonlySet<string>, named = ""): void {
  for (const key of Object.keys(value)) {
    if (known.has(key)) continue;
    throw new FirewallError(
      path + (key === "" ? '""' : key),
      `Unknown field${named}, expected one of ${[...known].join(", ")}`,
    );
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
