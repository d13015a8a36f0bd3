import { type CheckedRules, checkRules } from "./check.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { CompiledRules } from "./compile.ts";
import { explainRules, type Explanation } from "./explain.ts";
import { type Direction, type FirewallPacket, Verdict } from "./packet.ts";
import type { FirewallRules, Policy, Rule } from "./rule.ts";

/** Packets and bytes that something decided about. */
export interface RuleCounters {
  readonly packets: number;
  readonly bytes: number;
}

/** A rule set with what it has counted: plain data. */
export interface CountedRules {
  readonly policy: Readonly<Record<keyof Policy, RuleCounters & { readonly action: "accept" | "drop" }>>;
  readonly rules: readonly (RuleCounters & { readonly rule: Rule })[];
}

const DIRECTION_NAMES = ["input", "output", "forward"] as const; // by `Direction`
const DIRECTIONS = DIRECTION_NAMES.length;

/** Rules in the form for one family of packets, and what each of them is called in the whole set. */
interface Compiled {
  readonly rules: CompiledRules;
  /** Absent where they are the whole set. */
  readonly numbers?: Int32Array;
}

function compileAll(checked: CheckedRules, interfaceCount: number): Compiled {
  return { rules: new CompiledRules(checked, interfaceCount) };
}

/** The rules that an IPv6 packet can satisfy: those that ask about no IPv4 address and no type of ICMP. */
function compileIpv6(checked: CheckedRules, interfaceCount: number): Compiled {
  const numbers: number[] = [];
  const rules = checked.rules.filter((rule, number) => {
    const holds = rule.source === undefined && rule.destination === undefined && rule.icmpType === undefined;
    if (holds) numbers.push(number);
    return holds;
  });
  return {
    rules: new CompiledRules({ ...checked, rules }, interfaceCount),
    numbers: Int32Array.from(numbers),
  };
}

/**
 * Judges packets by an ordered list of rules.
 *
 * A rule about IPv4 addresses or ICMP types holds for no IPv6 packet, 0.0.0.0/0 included; all other rules hold
 * for both families, and ICMPv6 is ICMP to them.
 *
 * Rules are data; they are validated and compiled once, after which the cost of a decision hardly
 * depends on how many there are. Nothing is allocated per decision.
 *
 * @example
 * ```ts
 * import { Firewall, FirewallPacket, Verdict } from "@torpor/torpor/net/firewall/mod.ts";
 * import assert from "node:assert/strict";
 * const firewall = new Firewall({
 *   policy: { input: "drop" },
 *   rules: [{ protocol: "tcp", source: "10.0.0.0/8", destinationPort: [80, 443], action: "accept" }],
 * }, ["tun0"]);
 * const packet = new FirewallPacket();
 * packet.protocol = 6;
 * packet.source = 0x0a010203;
 * packet.destinationPort = 443;
 * assert.equal(firewall.decide(packet), Verdict.Accept);
 * packet.destinationPort = 22;
 * assert.equal(firewall.decide(packet), Verdict.Drop);
 * ```
 */
export class Firewall {
  /** The rule that took the last decision, -1 for the policy. */
  lastRule: number = -1;
  readonly #interfaceNames: readonly string[];
  #generation = 0;
  #checked: CheckedRules;
  #compiled: Compiled;
  #compiled6: Compiled;
  // Counters by rule, then those of the policy by direction.
  #packets: Float64Array;
  #bytes: Float64Array;

  /**
   * @param interfaceNames Names by `FirewallPacket.interfaceIndex`.
   * @throws {FirewallError} At the first mistake in `rules`.
   */
  constructor(rules: FirewallRules, interfaceNames: readonly string[] = []) {
    this.#interfaceNames = [...interfaceNames];
    this.#checked = checkRules(rules, this.#interfaceNames);
    this.#compiled = compileAll(this.#checked, this.#interfaceNames.length);
    this.#compiled6 = compileIpv6(this.#checked, this.#interfaceNames.length);
    this.#packets = new Float64Array(this.#checked.rules.length + DIRECTIONS);
    this.#bytes = new Float64Array(this.#checked.rules.length + DIRECTIONS);
  }

  /** Grows with every `replace`: a verdict remembered under another number has to be asked for again. */
  get generation(): number {
    return this.#generation;
  }

  /** The verdict on `packet`: that of the first rule that matches, else the policy's. Counts it. */
  decide(packet: FirewallPacket): Verdict {
    const { rules, numbers } = isIpv6Handle(packet.source) ? this.#compiled6 : this.#compiled;
    const found = rules.find(packet);
    const rule = found < 0 || numbers === undefined ? found : numbers[found]!;
    this.lastRule = rule;
    this.charge(rule, packet.direction, packet.length);
    return (found < 0 ? rules.policy[packet.direction] : rules.verdicts[found]) as Verdict;
  }

  /** Counts a packet for `rule` without asking again: for verdicts remembered in this generation. */
  charge(rule: number, direction: Direction, length: number): void {
    const at = rule < 0 ? this.#checked.rules.length + direction : rule;
    this.#packets[at]!++;
    this.#bytes[at]! += length;
  }

  /**
   * Takes other rules, all at once. Rules that do the same as an old one, comments aside, go on
   * with its counters, and so does the policy of a direction that keeps its action.
   *
   * @throws {FirewallError} At the first mistake in `rules`; the old ones stay in force.
   */
  replace(rules: FirewallRules): void {
    const checked = checkRules(rules, this.#interfaceNames);
    const compiled = compileAll(checked, this.#interfaceNames.length);
    const compiled6 = compileIpv6(checked, this.#interfaceNames.length);
    const packets = new Float64Array(checked.rules.length + DIRECTIONS);
    const bytes = new Float64Array(checked.rules.length + DIRECTIONS);
    this.#carry(checked, packets, bytes);
    this.#checked = checked;
    this.#compiled = compiled;
    this.#compiled6 = compiled6;
    this.#packets = packets;
    this.#bytes = bytes;
    this.#generation++;
    this.lastRule = -1;
  }

  /** The rules in force and what each has decided. */
  rules(): CountedRules {
    const { policy, rules } = this.#checked;
    const counters = (at: number): RuleCounters => ({ packets: this.#packets[at]!, bytes: this.#bytes[at]! });
    const of = (direction: Direction) => ({
      action: policy[direction] === Verdict.Accept ? "accept" as const : "drop" as const,
      ...counters(rules.length + direction),
    });
    return {
      policy: { input: of(0), output: of(1), forward: of(2) },
      rules: rules.map(({ rule }, index) => ({ rule: structuredClone(rule), ...counters(index) })),
    };
  }

  /** Why `packet` would get its verdict, rule by rule. Counts nothing, and takes time with the rules. */
  explain(packet: FirewallPacket): Explanation {
    return explainRules(this.#checked, this.#interfaceNames, packet);
  }

  /** Fills the counters of `next` from the rules in force: the first of several equal rules pairs with the first. */
  #carry(next: CheckedRules, packets: Float64Array, bytes: Float64Array): void {
    const old = this.#checked;
    const byIdentity = new Map<string, number[]>();
    for (let rule = old.rules.length - 1; rule >= 0; rule--) {
      const { identity } = old.rules[rule]!;
      const same = byIdentity.get(identity);
      if (same) same.push(rule);
      else byIdentity.set(identity, [rule]);
    }
    const carry = (from: number, to: number): void => {
      packets[to] = this.#packets[from]!;
      bytes[to] = this.#bytes[from]!;
    };
    next.rules.forEach(({ identity }, rule) => {
      const from = byIdentity.get(identity)?.pop();
      if (from !== undefined) carry(from, rule);
    });
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      if (old.policy[direction as Direction] !== next.policy[direction as Direction]) continue;
      carry(old.rules.length + direction, next.rules.length + direction);
    }
  }
}
