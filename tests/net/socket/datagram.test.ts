import { expect, test } from "vitest";
import { UDP_QUEUE_BYTES_MAX } from "../../../net/udp/udp.ts";
import { CLIENT, difference, patterned, refusal, SERVER, settled, virtualPair } from "./world.ts";

test("datagrams go both ways, whole, in order, empty ones too", async () => {
  const { server, client, clock } = virtualPair();
  const here = server.listenDatagram({ port: 53, hostname: SERVER, transport: "udp" });
  const there = client.listenDatagram();
  expect(there.addr).toMatchObject({ transport: "udp", hostname: "0.0.0.0" });
  for (const length of [0, 1, 1_472]) expect(await there.send(patterned(length), here.addr)).toBe(length);
  for (const length of [0, 1, 1_472]) {
    const [bytes, from] = await settled(clock, here.receive());
    expect(bytes).toEqual(patterned(length));
    expect(from).toEqual({ transport: "udp", hostname: CLIENT, port: there.addr.port });
  }
  await here.send(patterned(7), { transport: "udp", hostname: CLIENT, port: there.addr.port });
  const [bytes, from] = await settled(clock, there.receive());
  expect([bytes, from]).toEqual([patterned(7), here.addr]);
});

test("several receivers are served in the order of their calls, also by what came meanwhile", async () => {
  const { server, client, clock } = virtualPair();
  const here = server.listenDatagram({ port: 53 });
  const there = client.listenDatagram();
  const receiving = [here.receive(), here.receive(), here.receive()];
  for (let seed = 0; seed < 3; seed++) {
    await there.send(patterned(4, seed), { transport: "udp", hostname: SERVER, port: 53 });
  }
  const received = await settled(clock, Promise.all(receiving));
  expect(received.map(([bytes]) => bytes[0])).toEqual([0, 1, 2]);
});

test("a datagram as long as one can be arrives whole, one byte more is refused", async () => {
  const { server, client, clock } = virtualPair();
  const here = server.listenDatagram({ port: 53 });
  const there = client.listenDatagram();
  const to = { transport: "udp", hostname: SERVER, port: 53 } as const;
  expect(await there.send(patterned(65_507), to)).toBe(65_507);
  expect(difference((await settled(clock, here.receive()))[0], patterned(65_507))).toBe(-1);
  expect(await refusal(there.send(new Uint8Array(65_508), to))).toBe(
    `RangeError: Cannot send 65508 bytes to ${SERVER}: a datagram holds at most 65507`,
  );
});

test("the queue of a socket that nobody reads is limited, and what fits is kept", async () => {
  const { server, client, clock } = virtualPair();
  const here = server.listenDatagram({ port: 53 });
  const there = client.listenDatagram();
  const cost = 1_000 + 128; // the datagram and what it costs to keep it
  const room = Math.floor(UDP_QUEUE_BYTES_MAX / cost);
  for (let count = 0; count < room + 5; count++) {
    await there.send(patterned(1_000, count), { transport: "udp", hostname: SERVER, port: 53 });
    await clock.advance(2);
  }
  expect(server.stack.drops.toJSON()).toMatchObject({ UdpQueueFull: 5 });
  for (let count = 0; count < room; count++) {
    const [bytes] = await settled(clock, here.receive());
    expect(bytes[0]).toBe(patterned(1, count)[0]);
  }
  const last = here.receive();
  await there.send(patterned(1, 99), { transport: "udp", hostname: SERVER, port: 53 }); // room again
  expect((await settled(clock, last))[0]).toEqual(patterned(1, 99));
});

test("port unreachable: an unconnected socket is not told, as on Linux, and goes on", async () => {
  const { server, client, clock } = virtualPair();
  const there = client.listenDatagram();
  await there.send(patterned(1), { transport: "udp", hostname: SERVER, port: 9 });
  let told = false;
  const receiving = there.receive();
  receiving.then(() => (told = true), () => (told = true));
  await clock.advance(1_000);
  expect(server.stack.drops.toJSON()).toMatchObject({ UdpNoSocket: 1 });
  expect(told).toBe(false); // the ICMP error came, and it is about nobody in particular
  const here = server.listenDatagram({ port: 9 });
  await here.send(patterned(3), { transport: "udp", hostname: CLIENT, port: there.addr.port });
  expect((await settled(clock, receiving))[0]).toEqual(patterned(3));
});

test("port unreachable: a connected socket's next receive or send rejects, once, as on Linux", async () => {
  const { server, client, clock } = virtualPair();
  const there = await client.connectDatagram({ hostname: SERVER, port: 9 });
  expect(there.remoteAddr).toEqual({ transport: "udp", hostname: SERVER, port: 9 });
  expect(there.addr.hostname).toBe(CLIENT);
  const refused = `ConnectionRefused: A datagram to ${SERVER}:9 was not delivered: connection refused`;
  const waiting = refusal(there.receive());
  await there.send(patterned(1));
  expect(await settled(clock, waiting)).toBe(refused); // who waits is told at once
  await there.send(patterned(1));
  await clock.advance(10);
  expect(await refusal(there.receive())).toBe(refused); // and who comes later
  await there.send(patterned(1));
  await clock.advance(10);
  expect(await refusal(there.send(patterned(1)))).toBe(refused);
  const here = server.listenDatagram({ port: 9 });
  await there.send(patterned(5));
  const [bytes, from] = await settled(clock, here.receive());
  expect([bytes, from]).toEqual([patterned(5), there.addr]);
  const other = server.listenDatagram({ port: 10 });
  await other.send(patterned(1), there.addr); // not our peer
  await here.send(patterned(2), there.addr);
  expect((await settled(clock, there.receive()))[0]).toEqual(patterned(2));
});

test("onError hears of every ICMP error with its address, and receive goes on", async () => {
  const { server, client, clock } = virtualPair();
  const told: string[] = [];
  const there = client.listenDatagram({
    onError: ({ name }, { hostname, port }) => void told.push(`${name} ${hostname}:${port}`),
  });
  const receiving = there.receive();
  for (const port of [9, 10]) {
    await there.send(patterned(1), { transport: "udp", hostname: SERVER, port });
  }
  await clock.advance(10);
  expect(told).toEqual([`ConnectionRefused ${SERVER}:9`, `ConnectionRefused ${SERVER}:10`]);
  await server.listenDatagram({ port: 9 }).send(patterned(3), {
    transport: "udp",
    hostname: CLIENT,
    port: there.addr.port,
  });
  expect((await settled(clock, receiving))[0]).toEqual(patterned(3));
});

test("dontFragment: a datagram as long as the path allows, and one byte more", async () => {
  const { server, client, clock } = virtualPair();
  const here = server.listenDatagram({ port: 53 });
  const there = await client.connectDatagram({ hostname: SERVER, port: 53, dontFragment: true });
  expect(there.payloadMax(SERVER)).toBe(1_472);
  expect(await there.send(patterned(1_472))).toBe(1_472);
  expect((await settled(clock, here.receive()))[0]).toEqual(patterned(1_472));
  expect(await refusal(there.send(new Uint8Array(1_473)))).toBe(
    `RangeError: Cannot send 1473 bytes to ${SERVER}: a datagram there holds 1472`,
  );
  expect(client.listenDatagram().payloadMax(CLIENT)).toBe(65_507);
});

test("groups: members hear, others do not; loopback and time to live are the sender's (RFC 1112)", async () => {
  const { server, client, clock } = virtualPair({}, {}, { medium: "ip" });
  const group = { transport: "udp", hostname: "239.1.2.3", port: 5353 } as const;
  const here = server.listenDatagram({ port: 5353, reuseAddress: true });
  const sender = client.listenDatagram({ port: 5353, loopback: true });
  let timeToLive = 0;
  const receive = server.stack.receive.bind(server.stack);
  server.stack.receive = (index, slab, start, end, nowMs) => {
    if (slab.bytes[start + 9] === 17) timeToLive = slab.bytes[start + 8]!;
    return receive(index, slab, start, end, nowMs);
  };
  await sender.send(patterned(1), group);
  await clock.advance(10);
  expect([timeToLive, server.stack.drops.toJSON()]).toEqual([1, { Ipv4NotOurs: 1 }]);
  const membership = await here.joinMulticastV4("239.1.2.3", SERVER);
  expect(await refusal(here.joinMulticastV4("239.1.2.3", "0.0.0.0"))).toMatch(/^AddrInUse: /);
  const own = await sender.joinMulticastV4("239.1.2.3", "net0");
  await own.setTTL(5);
  await sender.send(patterned(2), group);
  expect((await settled(clock, here.receive()))[0]).toEqual(patterned(2));
  expect((await settled(clock, sender.receive()))[0]).toEqual(patterned(2)); // it is a member, and wants loopback
  expect(timeToLive).toBe(5);
  await own.setLoopback(false);
  await sender.send(patterned(3), group);
  expect((await settled(clock, here.receive()))[0]).toEqual(patterned(3));
  await membership.leave();
  expect(await refusal(membership.leave())).toMatch(/^AddrNotAvailable: /);
  await here.joinMulticastV4("239.1.2.3", SERVER);
  here.close(); // leaves
  expect(server.stack.igmp.isMember(0, 0xef01_0203 | 0)).toBe(false);
  await own.leave();
  for (let at = 0; at < 20; at++) await sender.joinMulticastV4(`239.1.1.${at}`, CLIENT);
  expect(await refusal(sender.joinMulticastV4("239.1.2.3", CLIENT))).toMatch(/^RangeError: .*20 groups/);
  await sender.send(new Uint8Array(5_000), group); // in fragments
});

test("what cannot be bound or sent says why", async () => {
  const { server, client } = virtualPair();
  const here = server.listenDatagram({ port: 53 });
  expect(await refusal(() => server.listenDatagram({ port: 53 }))).toMatch(/^AddrInUse: /);
  expect(await refusal(() => server.listenDatagram({ hostname: CLIENT }))).toMatch(/^AddrNotAvailable: /);
  expect(await refusal(() => server.listenDatagram({ port: 65_536 }))).toMatch(
    /^RangeError: Invalid port \(out of range\): 65536/,
  );
  const to = (hostname: string, port = 53) => ({ transport: "udp", hostname, port }) as const;
  expect(await refusal(here.send(patterned(1), to("a name")))).toMatch(/^TypeError: "a name"/);
  expect(await refusal(here.send(patterned(1), to(CLIENT, 0)))).toMatch(/^TypeError: Port 0/);
  expect(await refusal(here.send(patterned(1), to("192.0.2.1")))).toMatch(/^NetworkUnreachable: /);
  expect(await refusal(server.connectDatagram({ hostname: "192.0.2.1", port: 1 }))).toMatch(
    /^NetworkUnreachable: /,
  );
  expect(await refusal(server.connectDatagram({ hostname: CLIENT, port: 0 }))).toMatch(
    /^RangeError: Invalid port \(out of range\): 0/,
  );
  expect(await refusal(here.joinMulticastV4("10.0.0.7", SERVER))).toMatch(/^TypeError: "10.0.0.7"/);
  expect(await refusal(here.joinMulticastV4("224.0.0.251", CLIENT))).toMatch(/^AddrNotAvailable: /);
  expect(await refusal(here.joinMulticastV4("224.0.0.251", "eth9"))).toMatch(/^TypeError: "eth9"/);
  expect(await refusal(here.joinMulticastV6("ff02::fb", 1))).toMatch(/^AddrNotAvailable: /);
  expect(await refusal(here.joinMulticastV6("fe80::1", 0))).toMatch(/^TypeError: "fe80::1"/);
  here.close();
  server.listenDatagram({ port: 53 }).close();
  const waiting = refusal(client.listenDatagram().receive());
  client.close();
  expect(await waiting).toBe("Interrupted: operation canceled");
  expect(await refusal(() => client.listenDatagram())).toBe("BadResource: Host has been closed");
});
