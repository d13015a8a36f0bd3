/**
 * A host on a TUN interface that does what lines of standard input say: `join GROUP`, `leave GROUP`,
 * `send GROUP PORT TEXT`. It prints every datagram that it gets on port 5000.
 *
 *   groups_peer.ts INTERFACE ADDRESS/PREFIX
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { Host, openTun } from "../../mod.ts";
import type { MulticastV4Membership } from "../../net/socket/types.ts";

const [name, address] = process.argv.slice(2);
const host = new Host({
  interfaces: [{ link: await openTun({ name: name! }) }],
  addresses: [{ address: address! }],
});
const socket = host.listenDatagram({ port: 5000 });
const memberships = new Map<string, MulticastV4Membership>();
void (async () => {
  for await (const [bytes, from] of socket) {
    console.log(`${from.hostname} ${new TextDecoder().decode(bytes)}`);
  }
})();
const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const [verb, group, port, text] = line.split(" ");
  if (verb === "join") memberships.set(group!, await socket.joinMulticastV4(group!, "0.0.0.0"));
  else if (verb === "leave") await memberships.get(group!)!.leave();
  else {
    await socket.send(new TextEncoder().encode(text), {
      transport: "udp",
      hostname: group!,
      port: Number(port),
    });
  }
  console.log("done");
});
lines.on("close", () => process.exit(0));
console.log("ready");
