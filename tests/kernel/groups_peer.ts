/**
 * A host on a TUN interface, or with an IPv6 address on a TAP interface, that does what lines of standard input say: `join GROUP`, `leave GROUP`,
 * `send GROUP PORT TEXT`. It prints every datagram that it gets on port 5000.
 *
 *   groups_peer.ts INTERFACE ADDRESS/PREFIX...
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { Host, openTun } from "../../mod.ts";
import type { MulticastV6Membership } from "../../net/socket/types.ts";

const [name, ...addresses] = process.argv.slice(2);
const ipv6 = addresses.some((address) => address.includes(":"));
const host = new Host({
  interfaces: [{ link: await openTun({ name: name!, mode: ipv6 ? "tap" : "tun" }) }],
  addresses: addresses.map((address) => ({ address })),
});
const socket = host.listenDatagram({ port: 5000, hostname: ipv6 ? "::" : "0.0.0.0" });
const memberships = new Map<string, MulticastV6Membership>();
void (async () => {
  for await (const [bytes, from] of socket) {
    console.log(`${from.hostname} ${new TextDecoder().decode(bytes)}`);
  }
})();
const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const [verb, group, port, text] = line.split(" ");
  if (verb === "join") {
    const joined = group!.includes(":")
      ? await socket.joinMulticastV6(group!, 0)
      : await socket.joinMulticastV4(group!, "0.0.0.0");
    memberships.set(group!, joined);
  } else if (verb === "leave") await memberships.get(group!)!.leave();
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
