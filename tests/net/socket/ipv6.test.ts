import { expect, test } from "vitest";
import { connectNode, StackSocket } from "../../../net/socket/stack_socket.ts";
import type { ConnListener } from "../../../net/socket/listener.ts";
import type { TcpConnection } from "../../../net/socket/conn.ts";
import { type Pair, patterned, readAll, realPair, refusal, settled, virtualPair, writeAll } from "./world.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";

const SERVER = "2001:db8::1";
const CLIENT = "2001:db8::2";

/** Hosts with both families. */
function dual(between = {}): Pair & { clock: VirtualClock } {
  return virtualPair(
    { addresses: [{ address: "10.0.0.1/24" }, { address: `${SERVER}/64` }] },
    { addresses: [{ address: "10.0.0.2/24" }, { address: `${CLIENT}/64` }] },
    between,
  );
}

test("a stream over IPv6, with its ends and its name as they are", async () => {
  const { server, client, clock } = dual();
  const listener = server.listen({ port: 80, hostname: SERVER });
  expect(listener.addr).toEqual({ transport: "tcp", hostname: SERVER, port: 80 });
  const [conn, accepted] = await settled(
    clock,
    Promise.all([client.connect({ hostname: "2001:DB8:0::1", port: 80 }), listener.accept()]),
  );
  expect(conn.remoteAddr).toEqual({ transport: "tcp", hostname: SERVER, port: 80 });
  expect(conn.localAddr).toMatchObject({ transport: "tcp", hostname: CLIENT });
  expect(accepted.remoteAddr).toEqual(conn.localAddr);
  const id = `[${SERVER}]:80-[${CLIENT}]:${conn.localAddr.port}`;
  expect((accepted as TcpConnection).id).toBe(id);
  expect([...server.connections()]).toEqual([id]);
  expect(server.recordOf(id)).toBeGreaterThanOrEqual(0);
  const bytes = patterned(100_000);
  const [got] = await settled(
    clock,
    Promise.all([readAll(accepted), writeAll(conn, bytes).then(() => conn.closeWrite())]),
  );
  expect(got).toEqual(bytes);
});

test("as Deno on Linux: a listener of :: takes both families, and shows IPv4 ends as IPv4-mapped", async () => {
  const { server, client, clock } = dual();
  const listener = server.listen({ port: 80, hostname: "::" });
  expect(listener.addr.hostname).toBe("::");
  expect(await refusal(() => server.listen({ port: 80 }))).toMatch(/^AddrInUse/);
  for (
    const [hostname, local, remote, ours] of [
      ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.2", "10.0.0.2"],
      ["::ffff:10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.2", "::ffff:10.0.0.2"],
      [SERVER, SERVER, CLIENT, CLIENT],
    ] as const
  ) {
    const [conn, accepted] = await settled(
      clock,
      Promise.all([client.connect({ hostname, port: 80 }), listener.accept()]),
    );
    expect([accepted.localAddr.hostname, accepted.remoteAddr.hostname]).toEqual([local, remote]);
    expect([conn.localAddr.hostname, conn.remoteAddr.hostname]).toEqual([ours, hostname]);
  }
  // The name of a connection is that of its packets, whatever its socket is called.
  expect([...server.connections()][0]).toMatch(/^10\.0\.0\.1:80-10\.0\.0\.2:\d+$/);
  listener.close();
  server.listen({ port: 80, hostname: "0.0.0.0" });
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 80 })))).toMatch(
    /^ConnectionRefused/,
  );
});

test("datagrams over IPv6, and both families through one socket; what does not fit is cut and joined", async () => {
  const { server, client, clock } = dual();
  const here = server.listenDatagram({ port: 53, hostname: "::", transport: "udp" });
  const six = client.listenDatagram({ hostname: CLIENT });
  const four = client.listenDatagram();
  const any = client.listenDatagram({ hostname: "::" });
  const heard = async (): Promise<[number, string]> => {
    const [bytes, from] = await settled(clock, here.receive());
    await here.send(Uint8Array.of(bytes.length & 255), from);
    return [bytes.length, from.hostname];
  };
  await six.send(patterned(1_452), { transport: "udp", hostname: SERVER, port: 53 });
  expect(await heard()).toEqual([1_452, CLIENT]);
  expect((await settled(clock, six.receive()))[1]).toMatchObject({ hostname: SERVER, port: 53 });
  await six.send(patterned(20_000), { transport: "udp", hostname: SERVER, port: 53 });
  expect(await heard()).toEqual([20_000, CLIENT]);
  await four.send(patterned(3), { transport: "udp", hostname: "10.0.0.1", port: 53 });
  expect(await heard()).toEqual([3, "::ffff:10.0.0.2"]);
  expect((await settled(clock, four.receive()))[1]).toMatchObject({ hostname: "10.0.0.1" });
  await any.send(patterned(4), { transport: "udp", hostname: "::ffff:10.0.0.1", port: 53 });
  expect(await heard()).toEqual([4, "::ffff:10.0.0.2"]);
  expect((await settled(clock, any.receive()))[1]).toMatchObject({ hostname: "::ffff:10.0.0.1" });
  const wrong = six.send(patterned(1), { transport: "udp", hostname: "10.0.0.1", port: 53 });
  expect(await refusal(wrong)).toMatch(/^NetworkUnreachable/);
});

test("what cannot be bound or reached is refused by name", async () => {
  const { client, clock } = dual();
  expect(await refusal(() => client.listen({ hostname: "2001:db8::77" }))).toMatch(/^AddrNotAvailable/);
  expect(await refusal(() => client.listen({ hostname: "2001:db8::x" }))).toMatch(/^TypeError/);
  expect(await refusal(async () => await client.connect({ hostname: "::1", port: 1 }))).toMatch(
    /^NetworkUnreachable: Cannot connect to \[::1\]:1: loopback is the machine's/,
  );
  for (const hostname of ["ff02::1", "::", "2001:db9::1"]) {
    expect(await refusal(async () => await client.connect({ hostname, port: 1 })), hostname).toMatch(
      /^NetworkUnreachable/,
    );
  }
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 1 })))).toMatch(
    /^ConnectionRefused/,
  );
});

test("a host reaches itself over IPv6", async () => {
  const { server, clock } = dual();
  const listener = server.listen({ port: 80, hostname: "::" });
  const [conn, accepted] = await settled(
    clock,
    Promise.all([server.connect({ hostname: SERVER, port: 80 }), listener.accept()]),
  );
  expect([conn.localAddr.hostname, accepted.remoteAddr.hostname]).toEqual([SERVER, SERVER]);
});

test("on an Ethernet two hosts without configuration talk by their link-local addresses, by interface", async () => {
  const { server, client, clock } = virtualPair({ addresses: [] }, { addresses: [] }, { medium: "ethernet" });
  await clock.advance(5_000);
  const own = server.stack.output.routes.ipv6.own.map(({ address }) =>
    server.stack.addresses.format(address)
  );
  expect(own).toEqual([expect.stringMatching(/^fe80::[0-9a-f:]+%net0$/)]);
  const listener = server.listen({ port: 80, hostname: "::" });
  const [conn, accepted] = await settled(
    clock,
    Promise.all([client.connect({ hostname: own[0]!, port: 80 }), listener.accept()]),
  );
  expect(conn.remoteAddr.hostname).toBe(own[0]);
  expect(accepted.remoteAddr.hostname).toMatch(/^fe80::.*%net0$/);
  expect([...client.connections()][0]).toContain(`]:${conn.localAddr.port}-[${own[0]}]:80`);
});

test("node:net's view: families by name", async () => {
  const { server, client } = realPair(
    { addresses: [{ address: "10.0.0.1/24" }, { address: `${SERVER}/64` }] },
    { addresses: [{ address: "10.0.0.2/24" }, { address: `${CLIENT}/64` }] },
  );
  const listener = server.listen({ port: 80, hostname: "::" }) as ConnListener;
  const socket = connectNode(client, { port: 80, host: SERVER });
  const accepted = new StackSocket(server, await listener.acceptEndpoint());
  await new Promise((resolve) => socket.once("connect", resolve));
  expect([socket.remoteFamily, socket.remoteAddress, socket.localFamily]).toEqual(["IPv6", SERVER, "IPv6"]);
  expect(accepted.address()).toEqual({ address: SERVER, family: "IPv6", port: 80 });
  socket.destroy();
  accepted.destroy();
});

test("an address that somebody else on the Ethernet has is not used where the interface or the address wants to know (RFC 4862)", async () => {
  const cases = [
    { dad: false, address: {}, duplicate: false },
    { dad: true, address: {}, duplicate: true },
    { dad: true, address: { dad: false }, duplicate: false },
    { dad: false, address: { dad: true }, duplicate: true },
  ];
  for (const { dad, address, duplicate } of cases) {
    const clock = new VirtualClock();
    const [left, right] = pipe({ clock, medium: "ethernet", delayMs: 1 });
    const common = { clock, entropy: new Prng(7) };
    using first = new Host({
      interfaces: [{ link: left }],
      addresses: [{ address: `${SERVER}/64` }],
      ...common,
    });
    const told: string[] = [];
    using second = new Host({
      interfaces: [{ link: right, name: "lan", ipv6: { dad } }],
      addresses: [{ address: `${SERVER}/64`, ...address }, { address: "10.0.0.2/24" }],
      onDuplicateAddress: (name, text) => void told.push(`${name} ${text}`),
      ...common,
    });
    expect(first.closed).toBe(false);
    await clock.advance(3_000);
    expect(told).toEqual(duplicate ? [`lan ${SERVER}`] : []);
    if (duplicate) {
      expect(() => second.listen({ port: 80, hostname: SERVER })).toThrow("not an address of this host");
    } else second.listen({ port: 80, hostname: SERVER });
  }
  const [link] = pipe({ medium: "ethernet" });
  expect(() => new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.2/24", dad: true }] }))
    .toThrow(
      "addresses[0].dad",
    );
});
