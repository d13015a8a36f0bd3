/**
 * A host on a TUN interface that resolves what lines of standard input ask: `TYPE NAME`, or `GET NAME PORT` for
 * what a server there says first. Prints each answer as JSON.
 *
 *   dns_client.ts INTERFACE ADDRESS/PREFIX NAME_SERVER
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { type DnsType, Host, openTun } from "../../mod.ts";

const [name, address, server] = process.argv.slice(2);
const host = new Host({
  interfaces: [{ link: await openTun({ name: name! }) }],
  addresses: [{ address: address! }],
  dns: { nameServers: [server!], timeoutMs: 3_000 },
});
const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const [verb, hostname, port] = line.split(" ");
  try {
    if (verb !== "GET") {
      console.log(JSON.stringify(await host.resolveDns(hostname!, verb as DnsType)));
      return;
    }
    const conn = await host.connect({ hostname: hostname!, port: Number(port) });
    const bytes = new Uint8Array(1_000);
    const count = await conn.read(bytes);
    console.log(JSON.stringify(new TextDecoder().decode(bytes.subarray(0, count ?? 0))));
    conn.close();
  } catch (error) {
    console.log(JSON.stringify(`${(error as Error).name}: ${(error as Error).message}`));
  }
});
lines.on("close", () => process.exit(0));
console.log("ready");
