/**
 * A host on a TAP interface that DHCP configures: prints its lease, then does what lines of standard input
 * say: `renew` (as if half the time were over), `release`, `end`.
 *
 *   dhcp_client.ts INTERFACE [LEASE]
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { Host, openTun } from "../../mod.ts";

const [name, kept] = process.argv.slice(2);
const link = await openTun({ name: name!, mode: "tap" });
const host = new Host({ interfaces: [{ link, mac: "02:00:00:00:00:07" }] });
const dhcp = await host.configureByDhcp({
  hostName: "torpor-test",
  signal: AbortSignal.timeout(20_000),
  ...(kept === undefined ? {} : { lease: JSON.parse(kept) }),
  onLease: (lease) => console.log(JSON.stringify({ lease })),
  onLost: (lost) => console.log(JSON.stringify({ lost })),
});
void (async () => {
  for await (const conn of host.listen({ port: 7 })) void conn.readable.pipeTo(conn.writable);
})();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (line === "release") dhcp.release();
  else host.close();
});
lines.on("close", () => process.exit(0));
