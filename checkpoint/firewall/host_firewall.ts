import type { Stack } from "../../net/stack.ts";
import { agedRules, readFirewallImage, writeFirewallImage } from "./firewall_image.ts";

/** The image of a stack's firewall: nftables' rules, and the flows that are followed for them. */
export function saveFirewall(stack: Stack, nowMs: number): Uint8Array<ArrayBuffer> {
  const { rules, conntrack } = stack.hooks;
  return writeFirewallImage(rules?.list(nowMs) ?? { tables: [] }, conntrack, nowMs);
}

/**
 * Lets a stack go on with another's firewall: its flows, and with `rules` its rules and sets, if it had any.
 *
 * @returns How many flows there are again.
 * @throws {ImageError} When the bytes are damaged, or are no firewall's, or say what cannot be. Nothing has changed then.
 */
export function restoreFirewall(stack: Stack, image: Uint8Array, rules: boolean, nowMs: number): number {
  const content = readFirewallImage(image);
  const passedMs = nowMs - content.frozenAtMs;
  if (rules && content.rules.tables.length > 0) stack.setRules(agedRules(content.rules, passedMs));
  return content.flows.length === 0 ? 0 : stack.restoreFlows(content.flows, passedMs);
}
