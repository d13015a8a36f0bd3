/**
 * The firewall: rules are data, `Firewall` is their compiled form, and the stack knows only
 * `decide` and the packet record. Another language for rules is another producer of the same data.
 *
 * @module
 */
export { type CountedRules, Firewall, type RuleCounters } from "./firewall.ts";
export { ConnState, Direction, FirewallPacket, Verdict } from "./packet.ts";
export {
  FirewallError,
  type FirewallRules,
  type OneOrMore,
  type Policy,
  type Rule,
  type RuleAction,
  type RuleDirection,
  type RuleField,
  type RuleProtocol,
  type RuleState,
} from "./rule.ts";
export type { ExplainedRule, Explanation } from "./explain.ts";
export {
  type FirewallEvent,
  type FirewallEventPacket,
  formatEvent as formatFirewallEvent,
} from "./nft/events.ts";
export { type JsonRules, printJsonRules } from "./nft/json/print.ts";
export { readJsonRules } from "./nft/json/read.ts";
export type { Ruleset } from "./nft/schema.ts";
export { printTextRules } from "./nft/text/print.ts";
export { FirewallSyntaxError, type IncludedFile, readTextRules, type TextOptions } from "./nft/text/read.ts";
