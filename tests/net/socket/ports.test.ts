import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";

test("each of many connections to one address finds its port at once (RFC 6056 algorithm 3)", async () => {
  const clock = new VirtualClock();
  const [a, b] = pipe({ clock, medium: "ip", queueMax: 10_000 });
  using server = new Host({ interfaces: [{ link: a }], addresses: [{ address: "10.0.0.1/24" }], clock });
  using client = new Host({
    interfaces: [{ link: b }],
    addresses: [{ address: "10.0.0.2/24" }],
    clock,
    entropy: new Prng(1),
  });
  server.listen({ port: 80, tcpBacklog: 2000 });
  let looks = 0;
  const map = client.stack.connections;
  const find = map.find.bind(map);
  map.find = (...tuple) => (looks++, find(...tuple));
  const ports = new Set<number>();
  const opened: Promise<void>[] = [];
  for (let count = 0; count < 1000; count++) {
    opened.push(
      client.connect({ hostname: "10.0.0.1", port: 80 }).then((conn) => void ports.add(conn.localAddr.port)),
    );
  }
  expect(looks).toBeLessThan(1_100);
  await clock.advance(1000);
  await Promise.all(opened);
  expect(ports.size).toBe(1000);
});

test("a connection to everybody is refused, and says why (MUST-46)", async () => {
  const [link] = pipe({ medium: "ip" });
  using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.2/24" }] });
  for (const hostname of ["10.0.0.255", "255.255.255.255", "224.0.0.1"]) {
    await expect(host.connect({ hostname, port: 80 })).rejects.toThrow("not a host's address");
  }
});

/** The ports that a host gives to those who do not ask for one, and the host. */
function anyPorts(kind: "listen" | "listenDatagram", count: number, seed: number): [number[], Host] {
  const [link] = pipe({ medium: "ip" });
  const addresses = [{ address: "10.0.0.2/24" }];
  const host = new Host({ interfaces: [{ link }], addresses, entropy: new Prng(seed) });
  const ports: number[] = [];
  for (let each = 0; each < count; each++) {
    ports.push((kind === "listen" ? host.listen({ port: 0 }) : host.listenDatagram({ port: 0 })).addr.port);
  }
  return [ports, host];
}

test("the port of a socket that asks for any cannot be told from those before it (RFC 6056)", () => {
  for (const kind of ["listen", "listenDatagram"] as const) {
    const [ports, one] = anyPorts(kind, 64, 1);
    const [others, two] = anyPorts(kind, 64, 2);
    one.close();
    two.close();
    const neighbours = ports.filter((port, index) => Math.abs(port - (ports[index - 1] ?? 0)) < 16);
    expect([kind, neighbours.length < 4]).toEqual([kind, true]); // one of 64 pairs would do by chance
    expect(ports.filter((port) => others.includes(port)).length).toBeLessThan(4);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(49_152);
    expect(Math.max(...ports) - Math.min(...ports)).toBeGreaterThan(8_192);
  }
});

test("every dynamic port is found, the last one too, and then none", () => {
  const [ports, host] = anyPorts("listenDatagram", 16_384, 3);
  expect(new Set(ports).size).toBe(16_384);
  expect([Math.min(...ports), Math.max(...ports)]).toEqual([49_152, 65_535]);
  expect(() => host.listenDatagram({ port: 0 })).toThrow("address already in use");
  host.close();
});
