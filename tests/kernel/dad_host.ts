/**
 * A host on a TAP interface whose addresses are probed before they are used, for dad.test.ts.
 *
 *   dad_host.ts NAME ADDRESS/PREFIX...
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { Host, openTun } from "../../mod.ts";

const [name, ...given] = process.argv.slice(2);
const host = new Host({
  interfaces: [{
    link: await openTun({ name: name!, mode: "tap" }),
    ipv6: { dad: true, autoconfigure: false },
  }],
  addresses: given.map((address) => ({ address })),
  onDuplicateAddress: (_, address) => console.log(`duplicate ${address}`),
});
setTimeout(() => {
  console.log(`own ${host.stack.output.routes.ipv6.own.map(({ words }) => words[3]! >>> 0).join(" ")}`);
}, 3_000);
createInterface({ input: process.stdin }).on("close", () => process.exit(0));
