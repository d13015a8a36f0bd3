/**
 * An HTTP server behind a bad wire, for the tests in this folder: on a stack of ours, or on the kernel
 * that this process runs on, with the same faults between it and its client.
 *
 *   lossy_server.ts CLIENT_TUN stack|SERVER_TUN ADDRESS/PREFIX SEED IMPAIRMENTS_AS_JSON
 */
import { createServer } from "node:http";
import process from "node:process";
import { Host, impair, nodeServer, openTun, SystemClock } from "../../mod.ts";
import type { Impairments } from "../../net/link/impaired.ts";
import type { Link } from "../../net/link/link.ts";
import { pattern } from "./pattern.ts";

const [clientTun, other, address, seed, impairments] = process.argv.slice(2);
const bad = impair(await openTun({ name: clientTun! }), {
  clock: new SystemClock(),
  seed: Number(seed),
  direction: "out", // what the client says arrives: so whatever is sent again for nothing is the server's fault
  ...JSON.parse(impairments!) as Partial<Impairments>,
});
const server = createServer((request, response) => {
  const length = Number(request.url!.slice("/bytes/".length));
  for (const piece of pattern(length)) response.write(piece.slice());
  response.end();
});
if (other === "stack") {
  const host = new Host({ interfaces: [{ link: bad }], addresses: [{ address: address! }] });
  nodeServer(host.listen({ port: 80 }), server);
} else {
  const good = await openTun({ name: other! });
  join(bad, good);
  join(good, bad);
  server.listen(80, address!.split("/")[0]);
}
process.stdin.on("close", () => process.exit(0)).resume();
console.log("ready");

function join(from: Link, to: Link): void {
  from.open({
    receive: (slab, start, end) => void to.send(slab, start, end),
    flush: () => to.flush(),
    closed: () => {},
  });
}
