import { expect, test } from "vitest";
import { DhcpOption, DhcpType, readDhcp, writeDhcp } from "../../../net/dhcp/message.ts";
import { Host } from "../../../net/socket/host.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { Prng } from "../../../base/random.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { patterned, refusal, SERVER, settled } from "./world.ts";

const ip = (text: string): number[] => text.split(".").map(Number);

/** A host that gives one address to whoever asks, and a host that has none. */
function world(medium: "ip" | "ethernet" = "ethernet") {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, medium, delayMs: 1 });
  const server = new Host({
    interfaces: [{ link: left, mac: "02:00:00:00:00:01", ipv6: false }],
    addresses: [{ address: `${SERVER}/24` }],
    clock,
    entropy: new Prng(1),
  });
  const client = new Host({
    interfaces: [{ link: right, name: "eth0", mac: "02:00:00:00:00:02", ipv6: false }],
    clock,
    entropy: new Prng(2),
  });
  const seen: string[] = [];
  let given = "10.0.0.50";
  void (async () => {
    for await (const [bytes, from] of server.listenDatagram({ port: 67 })) {
      const message = readDhcp(bytes, false)!;
      seen.push(`${message.type} ${from.hostname}`);
      if (message.type !== DhcpType.Discover && message.type !== DhcpType.Request) continue;
      const type = message.type === DhcpType.Discover ? DhcpType.Offer : DhcpType.Ack;
      const options = new Map<number, Uint8Array>([
        [DhcpOption.ServerIdentifier, Uint8Array.from(ip(SERVER))],
        [DhcpOption.LeaseTime, Uint8Array.of(0, 0, 1, 0)],
        [DhcpOption.SubnetMask, Uint8Array.from(ip("255.255.255.0"))],
        [DhcpOption.InterfaceMtu, Uint8Array.of(5, 0)],
      ]);
      const answer = writeDhcp({ ...message, type, yourAddress: parseIpv4(given)!, options }, true);
      if (message.clientAddress === 0) {
        server.stack.udp.broadcast(0, parseIpv4(SERVER)!, 67, 68, answer, clock.nowMs());
      } else server.stack.udp.send(parseIpv4(SERVER)!, 67, message.clientAddress, 68, answer, clock.nowMs());
      server.kick();
    }
  })();
  return { clock, server, client, seen, give: (address: string) => void (given = address) };
}

for (const medium of ["ip", "ethernet"] as const) {
  test(`a host without an address gets one, uses it, renews it and gives it back (${medium})`, async () => {
    const { clock, server, client, seen } = world(medium);
    const dhcp = await settled(clock, client.configureByDhcp({ interface: "eth0" }));
    expect(client.leases().map(({ address }) => address)).toEqual(["10.0.0.50"]);
    const there = client.listenDatagram();
    const here = server.listenDatagram({ port: 53 });
    await there.send(patterned(3), { transport: "udp", hostname: SERVER, port: 53 });
    expect((await settled(clock, here.receive()))[1].hostname).toBe("10.0.0.50");
    expect(there.payloadMax(SERVER)).toBe(0x500 - 28); // the server's MTU
    const { expiresAtMs } = dhcp.lease!;
    await clock.advance(130_000); // half of 256 s
    expect(dhcp.lease!.expiresAtMs!).toBeGreaterThan(expiresAtMs!);
    expect(seen).toEqual(["1 0.0.0.0", "3 0.0.0.0", "3 10.0.0.50"]);
    dhcp.release();
    await clock.advance(10);
    expect([seen.at(-1), client.leases(), client.stack.isOurs(parseIpv4("10.0.0.50")!)]).toEqual([
      "7 10.0.0.50",
      [],
      false,
    ]);
    expect(there.payloadMax(SERVER)).not.toBe(0x500 - 28);
    server.close();
    client.close();
  });
}

test("an address that the host has, nobody who answers, a wrong interface, a closed host: each says why", async () => {
  const { clock, server, client, give } = world();
  give(SERVER); // taken: the probe finds out
  const controller = new AbortController();
  const attempt = refusal(client.configureByDhcp({ signal: controller.signal }));
  await clock.advance(60_000);
  expect(client.leases()).toEqual([]);
  controller.abort(new Error("long enough"));
  expect(await attempt).toBe("Error: long enough");
  expect(await refusal(client.configureByDhcp({ interface: 7 }))).toMatch(
    /^TypeError: Cannot configure interface 7/,
  );
  const waiting = refusal(client.configureByDhcp());
  client.close();
  await clock.advance(10);
  expect(await waiting).toBe("Interrupted: operation canceled");
  expect(await refusal(client.configureByDhcp())).toMatch(/^BadResource: /);
  server.close();
  await clock.runUntil(() => clock.pending === 0, 86_400_000);
  expect(clock.pending).toBe(0);
});
