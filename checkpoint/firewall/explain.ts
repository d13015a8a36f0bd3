import { systemEntropy } from "../../base/random.ts";
import { Conntrack } from "../../net/firewall/conntrack/conntrack.ts";
import { listFlows } from "../../net/firewall/conntrack/print.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { AddressTable } from "../../net/ip/address_table.ts";
import { ImageError } from "../image/image_error.ts";
import { readFirewallImage, restoreFlows } from "./firewall_image.ts";

/**
 * What a firewall's image says: its rules as `nft list ruleset` prints them, its flows as `conntrack -L` lists them. Of
 * one that cannot be restored, why.
 */
export function explainFirewall(image: Uint8Array): string {
  try {
    const content = readFirewallImage(image);
    const addresses = new AddressTable({ entropy: systemEntropy });
    const nowMs = content.frozenAtMs;
    const flowsMax = Math.max(1, content.flows.length);
    const conntrack = new Conntrack({ addresses, entropy: systemEntropy, nowMs, flowsMax });
    restoreFlows(content, conntrack, nowMs);
    return [printTextRules(content.rules).trimEnd(), ...listFlows(conntrack, nowMs)]
      .filter((part) => part !== "").join("\n") + "\n";
  } catch (error) {
    if (error instanceof ImageError) return `${error.message}\n`;
    throw error;
  }
}
