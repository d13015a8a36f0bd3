/**
 * A router with nftables rules between two TUN interfaces, for the test beside it.
 *
 *   nat_router.ts RULES STORE
 *
 * Lines in: `list` prints its flows as JSON, `kept?` says so when all that has changed is in the store. It goes on with what
 * is there.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import process from "node:process";
import { FileStore, openTun, SleepyHost } from "../../../mod.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";

const [rules, store] = process.argv.slice(2) as [string, string];
const links = [await openTun({ name: "lan", mtu: 1500 }), await openTun({ name: "wan", mtu: 1400 })];
const host = new SleepyHost({
  interfaces: [{ link: links[0]!, name: "lan" }, { link: links[1]!, name: "wan" }],
  addresses: [{ address: "10.81.0.1/24", interface: 0 }, { address: "10.82.0.1/24", interface: 1 }],
  forwarding: true,
  store: await FileStore.open(store),
  firewall: readTextRules(readFileSync(rules, "utf8")),
});
// Port 7777 tells each peer who it is.
host.serve({
  port: 7777,
  open: (connection) => {
    const { hostname, port } = connection.remoteAddr;
    connection.write(new TextEncoder().encode(`${hostname}:${port}\n`));
  },
  data: () => {},
});
const datagrams = host.listenDatagram({ port: 7777 });
void (async () => {
  for await (const [, peer] of datagrams) {
    await datagrams.send(new TextEncoder().encode(`${peer.hostname}:${peer.port}`), peer);
  }
})();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (line === "kept?") {
    const isKept = setInterval(() => {
      if (host.sleeper.firewall.nextDeadlineMs() < Infinity) return;
      clearInterval(isKept);
      console.log("kept");
    }, 10);
  } else console.log(JSON.stringify([...listFlows(host.stack.hooks.conntrack!, Date.now())]));
});
lines.on("close", () => process.exit(0));
console.log("ready");
