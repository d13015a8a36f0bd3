import type { Command } from "../command.ts";
import { group } from "../dispatch.ts";
import { firewallBroker } from "./firewall/broker.ts";
import { firewallCheck } from "./firewall/check.ts";
import { firewallExplain } from "./firewall/explain.ts";
import { firewallPrint } from "./firewall/print.ts";
import { firewallSimulate } from "./firewall/simulate.ts";

/** `torpor firewall`. */
export const firewall: Command = group(
  "firewall",
  "checks, prints, explains and tries rules of nftables",
  "Rules in nftables' own words: files as nft -f takes them, or nft -j prints.",
  [firewallCheck, firewallPrint, firewallExplain, firewallSimulate, firewallBroker],
);
