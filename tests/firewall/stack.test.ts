import { expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { pipe } from "../../net/link/pipe.ts";
import { Host } from "../../net/socket/host.ts";
import type { HostOptions } from "../../net/socket/host_options.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import {
  CLIENT,
  difference,
  patterned,
  readAll,
  refusal,
  SERVER,
  settled,
  virtualPair,
  writeAll,
} from "../net/socket/world.ts";

/** What the counter of a rule's comment has seen. */
function counted(host: Host, comment: string): { packets: number; bytes: number } {
  for (const table of host.rules()!.tables) {
    for (const { rules } of table.chains) {
      for (const rule of rules) {
        if (rule.comment !== comment) continue;
        for (const statement of rule.expr) if ("counter" in statement) return statement.counter;
      }
    }
  }
  throw new Error(`No rule is called ${comment}`);
}

test("drop is a timeout, a reset and an ICMP error are a refused connection, at input", async () => {
  const firewall = readTextRules(`table inet t {
    chain c {
      type filter hook input priority 0; policy accept;
      tcp dport 81 counter reject with tcp reset comment "reset"
      tcp dport 82 counter drop comment "drop"
      tcp dport 83 reject with icmpx port-unreachable
    }
  }`);
  const { server, client, clock } = virtualPair({ firewall });
  for (const port of [80, 81, 82, 83]) server.listen({ port });
  (await settled(clock, client.connect({ hostname: SERVER, port: 80 }))).close();
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 81 })))).toMatch(
    /^ConnectionRefused/,
  );
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 83 })))).toMatch(
    /^ConnectionRefused/,
  );
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 82 })))).toMatch(/^TimedOut/);
  expect(counted(server, "reset").packets).toBe(1);
  expect(counted(server, "drop").packets).toBeGreaterThan(3);
});

test("what may not go out is refused to the program that wants to send it", async () => {
  const firewall = readTextRules(`table inet t {
    chain c {
      type filter hook output priority 0; policy accept;
      tcp dport 81 reject with tcp reset
      tcp dport 82 reject
      tcp dport 83 drop
    }
  }`);
  const { server, client, clock } = virtualPair({}, { firewall });
  for (const port of [80, 81, 82, 83]) server.listen({ port });
  (await settled(clock, client.connect({ hostname: SERVER, port: 80 }))).close();
  const startMs = clock.nowMs();
  for (const port of [81, 82]) {
    expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port })))).toMatch(
      /^ConnectionRefused/,
    );
  }
  expect(clock.nowMs() - startMs).toBeLessThan(100);
  expect(await refusal(settled(clock, client.connect({ hostname: SERVER, port: 83 })))).toMatch(/^TimedOut/);
});

test("who is followed may answer: established comes in where nothing else may", async () => {
  const firewall = readTextRules(`table inet t {
    chain c {
      type filter hook input priority 0; policy drop;
      ct state established,related counter accept comment "answers"
      ct state new tcp dport 22 accept
    }
  }`);
  const { server, client, clock } = virtualPair({}, { firewall });
  const bytes = patterned(300_000);
  server.serve({ port: 80, data: (connection, data) => void connection.write(data) });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const reading = readAll(conn);
  await settled(clock, writeAll(conn, bytes));
  await settled(clock, conn.closeWrite());
  expect(difference(await settled(clock, reading), bytes)).toBe(-1);
  expect(counted(client, "answers").bytes).toBeGreaterThan(300_000);
  client.listen({ port: 22 });
  client.listen({ port: 23 });
  (await settled(clock, server.connect({ hostname: CLIENT, port: 22 }))).close();
  expect(await refusal(settled(clock, server.connect({ hostname: CLIENT, port: 23 })))).toMatch(/^TimedOut/);
});

test("rules replaced while traffic flows hold from the next packet on, and go on counting", async () => {
  const open = readTextRules(`table ip t {
    chain c { type filter hook input priority 0; policy accept; tcp dport 80 counter comment "all"; }
  }`);
  const shut = readTextRules(`table ip t {
    chain c { type filter hook input priority 0; policy drop; }
  }`);
  const { server, client, clock } = virtualPair({ firewall: open });
  const listener = server.listen({ port: 80 });
  const accepted = listener.accept();
  const here = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const there: TcpConn = await settled(clock, accepted);
  const bytes = patterned(3_000_000);
  let read: Uint8Array | undefined;
  const reading = readAll(there).then((all) => (read = all));
  const writing = writeAll(here, bytes).then(() => here.closeWrite());
  await clock.advance(10);
  const before = server.rules()!;
  const { packets } = counted(server, "all");
  expect(packets).toBeGreaterThan(10);
  server.setRules(shut);
  await clock.advance(5_000);
  expect(read).toBe(undefined);
  expect(server.stack.drops.toJSON()["Firewall"]).toBeGreaterThan(0);
  expect(() => server.setRules(readTextRules(`table ip t { chain c { jump nowhere; }; }`))).toThrow();
  server.setRules(before);
  expect(counted(server, "all").packets).toBe(packets);
  await settled(clock, Promise.all([reading, writing]));
  expect(difference(read!, bytes)).toBe(-1);
  expect(counted(server, "all").packets).toBeGreaterThan(packets);
});

/** A client and a server, and a router with rules between them. */
function routed(
  firewall: HostOptions["firewall"],
): { client: Host; router: Host; server: Host; clock: VirtualClock } {
  const clock = new VirtualClock();
  const [a, b] = pipe({ clock, delayMs: 1 });
  const [c, d] = pipe({ clock, delayMs: 1 });
  const client = new Host({
    clock,
    entropy: new Prng(1),
    interfaces: [{ link: a }],
    addresses: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }, {
      address: "fd01::2/64",
      gateway: "fd01::1",
    }],
  });
  const router = new Host({
    clock,
    entropy: new Prng(2),
    interfaces: [{ link: b, name: "lan" }, { link: c, name: "wan" }],
    addresses: [
      { address: "10.1.0.1/24", interface: 0 },
      { address: "fd01::1/64", interface: 0 },
      { address: "10.2.0.1/24", interface: 1 },
      { address: "fd02::1/64", interface: 1 },
    ],
    forwarding: true,
    ...(firewall === undefined ? {} : { firewall }),
  });
  // It knows no way to the client: what it hears must come from the router.
  const server = new Host({
    clock,
    entropy: new Prng(3),
    interfaces: [{ link: d }],
    addresses: [{ address: "10.2.0.2/24" }, { address: "fd02::2/64" }],
  });
  onTestFinished(() => [client, router, server].forEach((host) => host.close()));
  return { client, router, server, clock };
}

for (
  const [family, hostname, own] of [["ip", "10.2.0.2", "10.2.0.1"], ["ip6", "fd02::2", "fd02::1"]] as const
) {
  test(`a router masquerades ${family} clients, and lets nobody in but answers`, async () => {
    const { client, router, server, clock } = routed(readTextRules(`table inet t {
      chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "lan" oifname "wan" counter accept comment "out"
      }
      chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
    }`));
    const bytes = patterned(200_000);
    const peers: string[] = [];
    server.serve({
      hostname: family === "ip" ? "0.0.0.0" : "::",
      port: 80,
      open: (connection) => void peers.push(connection.remoteAddr.hostname),
      data: (connection, data) => void connection.write(data),
    });
    const conn = await settled(clock, client.connect({ hostname, port: 80 }));
    const reading = readAll(conn);
    await settled(clock, writeAll(conn, bytes));
    await settled(clock, conn.closeWrite());
    expect(difference(await settled(clock, reading), bytes)).toBe(-1);
    expect(peers).toEqual([own]);
    expect(counted(router, "out").packets).toBe(1); // all that follows is established
  });

  test(`a router gives a port of its own to a server behind it, over ${family}`, async () => {
    const { client, server, clock } = routed(readTextRules(`table ${family} t {
      chain in {
        type nat hook prerouting priority dstnat;
        iifname "lan" tcp dport 8080 dnat to ${family === "ip" ? hostname : `[${hostname}]`}:80
      }
      chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
    }`));
    const any = family === "ip" ? "0.0.0.0" : "::";
    server.serve({ hostname: any, port: 80, data: (connection, data) => void connection.write(data) });
    const conn = await settled(
      clock,
      client.connect({ hostname: family === "ip" ? "10.1.0.1" : "fd01::1", port: 8080 }),
    );
    await settled(clock, writeAll(conn, patterned(1_000)));
    await settled(clock, conn.closeWrite());
    expect(difference(await settled(clock, readAll(conn)), patterned(1_000))).toBe(-1);
  });
}

test("what a router rejects is told to who sent it, by the router's own address or in the server's name", async () => {
  const { client, server, clock } = routed(readTextRules(`table inet t {
    chain c {
      type filter hook forward priority 0;
      tcp dport 81 reject with icmpx admin-prohibited
      tcp dport 82 reject with tcp reset
    }
  }`));
  server.listen({ port: 81 });
  const startMs = clock.nowMs();
  for (const hostname of ["10.2.0.2", "fd02::2"]) {
    const reset = await refusal(settled(clock, client.connect({ hostname, port: 82 })));
    expect(reset).toMatch(/^ConnectionRefused/);
  }
  expect(clock.nowMs() - startMs).toBeLessThan(100);
});

test("a sleeper whose wake policy is the rules' queue is woken by what they queue, and by nothing else", async () => {
  const firewall = readTextRules(`table inet t {
    set trusted { type inet_service; elements = { 5001 } }
    chain c { type filter hook input priority 0; tcp sport @trusted queue; }
  }`);
  const { MemoryStore, SleepyHost } = await import("../../mod.ts");
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1 });
  using server = new SleepyHost({
    clock,
    entropy: new Prng(1),
    interfaces: [{ link: left }],
    addresses: [{ address: `${SERVER}/24` }],
    store: new MemoryStore(),
    idleMs: 1_000,
    firewall,
  });
  using client = new Host({
    clock,
    entropy: new Prng(2),
    interfaces: [{ link: right }],
    addresses: [{ address: `${CLIENT}/24` }],
  });
  let heard = 0;
  server.serve({ port: 80, wake: { on: "queue" }, data: (_, bytes) => void (heard += bytes.length) });
  const dial = (localPort: number) =>
    settled(clock, client.connect({ hostname: SERVER, port: 80, localPort } as never));
  const conns = [await dial(5_001), await dial(5_002)];
  await clock.advance(20_000);
  expect(server.stack.tcp.awake).toBe(0);
  const ports = conns.map(({ localAddr }) => (localAddr as { port: number }).port);
  for (const [at, conn] of conns.entries()) {
    await settled(clock, writeAll(conn, patterned(10)));
    await clock.advance(3_000);
    if (ports[at] === 5_001) expect(heard).toBe(10);
  }
  expect(heard).toBe(ports.includes(5_001) ? 10 : 0);
});

test("what rules ask of a connection is what tracking knows; what is not tracked has none", async () => {
  const firewall = readTextRules(`table inet t {
    chain raw {
      type filter hook prerouting priority -300;
      tcp dport 81 notrack
    }
    chain c {
      type filter hook input priority 0; policy accept;
      ct original ip saddr ${CLIENT} ct original ip daddr ${SERVER} ct original proto-dst 80 counter comment "ends"
      ct reply ip saddr ${SERVER} ct reply ip daddr ${CLIENT} ct reply proto-src 80 counter comment "answer"
      ct protocol tcp ct l3proto ipv4 ct status seen-reply ct expiration > 1m counter comment "known"
      ct packets > 2 ct original packets > 1 ct reply bytes > 30 counter comment "much"
      ct state untracked counter comment "untracked"
      ct original proto-dst 81 counter comment "never"
    }
  }`);
  const { server, client, clock } = virtualPair({ firewall });
  for (const port of [80, 81]) {
    server.listen({ port });
    const conn = await settled(clock, client.connect({ hostname: SERVER, port }));
    await settled(clock, writeAll(conn, patterned(3_000)));
    conn.close();
  }
  for (const comment of ["ends", "answer", "known", "much", "untracked"]) {
    expect(counted(server, comment).packets, comment).toBeGreaterThan(0);
  }
  expect(counted(server, "never").packets).toBe(0);
});
