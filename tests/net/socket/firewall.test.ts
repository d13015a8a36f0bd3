import { expect, test } from "vitest";
import type { TcpConn } from "../../../net/socket/types.ts";
import { CLIENT, difference, patterned, readAll, refusal, SERVER, settled } from "./world.ts";
import { virtualPair, writeAll } from "./world.ts";

test("reject is a refused connection, drop is a timeout, accept is a connection", async () => {
  const firewall = {
    rules: [
      { protocol: "tcp", destinationPort: 81, action: "reject" },
      { protocol: "tcp", destinationPort: 82, direction: "input", action: "drop" },
    ],
  } as const;
  const { server, client, clock } = virtualPair({ firewall });
  for (const port of [80, 81, 82]) server.listen({ port });
  (await settled(clock, client.connect({ hostname: SERVER, port: 80 }))).close();
  const startMs = clock.nowMs();
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 81 })))).toMatch(
    /^ConnectionRefused: /,
  );
  expect(clock.nowMs() - startMs).toBeLessThan(100);
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 82 })))).toMatch(
    /^TimedOut: /,
  );
  expect(clock.nowMs() - startMs).toBeGreaterThan(60_000); // virtual time: it has tried for minutes
  await clock.advance(100_000);
  expect(client.stack.tcp.awake).toBe(0);
});

test("a datagram that is rejected does not arrive, and neither does one that is dropped", async () => {
  const firewall = { rules: [{ protocol: "udp", destinationPort: [53, 54], action: "reject" }] } as const;
  const { server, client, clock } = virtualPair({ firewall });
  const here = server.listenDatagram({ port: 53 });
  const there = client.listenDatagram();
  let arrived = 0;
  const receiving = (async () => {
    for await (const _ of here) arrived++;
  })();
  await there.send(patterned(1), { transport: "udp", hostname: SERVER, port: 53 });
  await clock.advance(1_000);
  expect([arrived, server.stack.drops.toJSON()["FirewallReject"]]).toEqual([0, 1]);
  server.stack.firewall!.replace({ rules: [] });
  await there.send(patterned(1), { transport: "udp", hostname: SERVER, port: 53 });
  await clock.advance(1_000);
  expect(arrived).toBe(1);
  here.close();
  await receiving;
});

test("rules replaced while traffic flows hold from the next packet on", async () => {
  const open = { rules: [{ protocol: "tcp", source: CLIENT, action: "accept" }] } as const;
  const shut = { rules: [{ protocol: "tcp", source: CLIENT, direction: "input", action: "drop" }] } as const;
  const { server, client, clock } = virtualPair({ firewall: open });
  const listener = server.listen({ port: 80 });
  const accepted = listener.accept();
  const here = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const there: TcpConn = await settled(clock, accepted);
  const bytes = patterned(6_000_000);
  let read: Uint8Array | undefined;
  const reading = readAll(there).then((all) => (read = all));
  const writing = writeAll(here, bytes).then(() => here.closeWrite());
  await clock.advance(10);
  const firewall = server.stack.firewall!;
  firewall.replace(shut);
  const before = server.stack.drops.toJSON()["Firewall"] ?? 0;
  await clock.advance(5_000);
  expect(read?.length).toBe(undefined); // it has stopped
  expect(server.stack.drops.toJSON()["Firewall"]).toBeGreaterThan(before);
  firewall.replace(open);
  await settled(clock, Promise.all([reading, writing]));
  expect(difference(read!, bytes)).toBe(-1); // and goes on where it was
});
