/**
 * A router between two TUN interfaces (TAP where the name begins so), for the tests in this folder: run in a namespace
 * that has both.
 *
 *   router.ts NAME ADDRESS/PREFIX MTU NAME ADDRESS/PREFIX MTU
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { Host, openTun } from "../../mod.ts";

const given = process.argv.slice(2);
const sides = [given.slice(0, 3), given.slice(3, 6)];
const links = await Promise.all(
  sides.map(([name, , mtu]) =>
    openTun({ name: name!, mtu: Number(mtu), mode: name!.startsWith("tap") ? "tap" : "tun" })
  ),
);
const host = new Host({
  interfaces: links.map((link) => ({ link })),
  addresses: sides.map(([, address], index) => ({ address: address!, interface: index })),
  forwarding: true,
});
const lines = createInterface({ input: process.stdin });
lines.on(
  "line",
  () => console.log(JSON.stringify({ ...host.stack.forwarder.counters, drops: host.stack.drops })),
);
lines.on("close", () => process.exit(0));
console.log("ready");
