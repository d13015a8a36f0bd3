/**
 * A router with nftables rules between two TUN interfaces, for the test beside it.
 *
 *   nat_router.ts RULES [IMAGE]
 *
 * Lines in: `list` prints its flows as JSON, `save` writes its firewall to IMAGE. With an IMAGE that is there it goes on.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import process from "node:process";
import { restoreFirewall, saveFirewall } from "../../../checkpoint/firewall/host_firewall.ts";
import { Host, openTun } from "../../../mod.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";

const [rules, image] = process.argv.slice(2) as [string, string];
const links = [await openTun({ name: "lan", mtu: 1500 }), await openTun({ name: "wan", mtu: 1400 })];
const host = new Host({
  interfaces: [{ link: links[0]!, name: "lan" }, { link: links[1]!, name: "wan" }],
  addresses: [{ address: "10.81.0.1/24", interface: 0 }, { address: "10.82.0.1/24", interface: 1 }],
  forwarding: true,
  firewall: readTextRules(readFileSync(rules, "utf8")),
});
if (existsSync(image)) restoreFirewall(host.stack, readFileSync(image), false, Date.now());
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (line === "save") {
    writeFileSync(image, saveFirewall(host.stack, Date.now()));
    console.log("saved");
  } else console.log(JSON.stringify([...listFlows(host.stack.hooks.conntrack!, Date.now())]));
});
lines.on("close", () => process.exit(0));
console.log("ready");
