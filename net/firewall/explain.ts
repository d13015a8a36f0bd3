import { formatIpv4, isIpv6Handle } from "../wire/address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import { type CheckedRule, type CheckedRules, ProtocolBit, type Range } from "./check.ts";
import { ConnState, Direction, type FirewallPacket, type Verdict } from "./packet.ts";
import type { RuleField } from "./rule.ts";

/** What became of one rule. */
export interface ExplainedRule {
  /** Position in the rule set. */
  readonly rule: number;
  readonly comment: string;
  readonly matched: boolean;
  /** The first field that the packet did not satisfy. */
  readonly field?: RuleField;
  /** What the rule has there. */
  readonly expected?: unknown;
  /** What the packet has there. */
  readonly found?: string;
}

/** How a verdict came about. */
export interface Explanation {
  readonly verdict: Verdict;
  /** The rule that decided, -1 for the policy. */
  readonly rule: number;
  /** Every rule that was looked at, in order; the last one matched unless the policy decided. */
  readonly steps: readonly ExplainedRule[];
}

/**
 * Judges a packet by reading the rules one after another: the slow twin of `Firewall.decide`, for
 * people and for tests. Counts nothing.
 */
export function explainRules(
  checked: CheckedRules,
  interfaceNames: readonly string[],
  packet: FirewallPacket,
): Explanation {
  const steps: ExplainedRule[] = [];
  for (const [index, rule] of checked.rules.entries()) {
    const comment = rule.rule.comment ?? "";
    const failed = firstFailure(rule, interfaceNames, packet);
    if (failed === undefined) {
      steps.push({ rule: index, comment, matched: true });
      return { verdict: rule.verdict, rule: index, steps };
    }
    const [field, found] = failed;
    steps.push({ rule: index, comment, matched: false, field, expected: rule.rule[field], found });
  }
  return { verdict: checked.policy[packet.direction], rule: -1, steps };
}

function firstFailure(
  rule: CheckedRule,
  interfaceNames: readonly string[],
  packet: FirewallPacket,
): [RuleField, string] | undefined {
  const { protocol } = packet;
  if (!(rule.directions & (1 << packet.direction))) return ["direction", nameOf(Direction, packet.direction)];
  if (rule.interfaces && !rule.interfaces.includes(packet.interfaceIndex)) {
    return ["interface", interfaceNames[packet.interfaceIndex] ?? `number ${packet.interfaceIndex}`];
  }
  if (!(rule.states & (1 << packet.state))) return ["state", nameOf(ConnState, packet.state)];
  if (!(rule.protocols & protocolBit(protocol))) {
    return [whoseProtocol(rule), `protocol ${protocolName(protocol)}`];
  }
  if (isIpv6Handle(packet.source)) {
    if (rule.source !== undefined) return ["source", "an IPv6 address"];
    if (rule.destination !== undefined) return ["destination", "an IPv6 address"];
    if (rule.icmpType !== undefined) return ["icmpType", `${packet.icmpType} of ICMPv6`];
  }
  if (!holds(rule.source, packet.source >>> 0)) return ["source", formatIpv4(packet.source)];
  if (!holds(rule.destination, packet.destination >>> 0)) {
    return ["destination", formatIpv4(packet.destination)];
  }
  // Past the protocol, a rule that asks for ports has a packet with ports before it.
  if (!holds(rule.sourcePort, packet.sourcePort)) return ["sourcePort", `${packet.sourcePort}`];
  if (!holds(rule.destinationPort, packet.destinationPort)) {
    return ["destinationPort", `${packet.destinationPort}`];
  }
  if (!holds(rule.icmpType, packet.icmpType)) return ["icmpType", `${packet.icmpType}`];
  return undefined;
}

function holds(ranges: readonly Range[] | undefined, value: number): boolean {
  return ranges === undefined || ranges.some(({ low, high }) => low <= value && value <= high);
}

/** The field that ruled the protocol out: a port or a type, when the rule names no protocol. */
function whoseProtocol({ rule }: CheckedRule): RuleField {
  if (rule.protocol !== undefined && rule.protocol !== "any") return "protocol";
  if (rule.icmpType !== undefined) return "icmpType";
  return rule.sourcePort !== undefined ? "sourcePort" : "destinationPort";
}

function protocolBit(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return ProtocolBit.Tcp;
  if (protocol === PROTOCOL_UDP) return ProtocolBit.Udp;
  const icmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  return icmp ? ProtocolBit.Icmp : ProtocolBit.Other;
}

function protocolName(protocol: number): string {
  if (protocol === PROTOCOL_TCP) return "tcp";
  if (protocol === PROTOCOL_UDP) return "udp";
  if (protocol === PROTOCOL_ICMPV6) return "icmpv6";
  return protocol === PROTOCOL_ICMP ? "icmp" : `${protocol}`;
}

function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  const name = Object.keys(values).find((key) => values[key] === value);
  return name?.toLowerCase() ?? `${value}`;
}
