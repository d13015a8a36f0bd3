import { expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import type { Slab } from "../../../base/slab.ts";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { MemoryStore } from "../../../checkpoint/store/memory_store.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import type { Link, LinkSink } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { settled } from "../../net/socket/world.ts";

const RULES = `table inet t {
  set seen {
    type ipv4_addr
    flags dynamic,timeout
    timeout 1h
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established accept
    ct state new tcp dport 7 add @seen { ip saddr } counter accept comment "opened"
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established accept
    ct state new iifname "lan" oifname "wan" accept
  }
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}`;

/** One end of a pipe whose other owner dies, and is followed by another. */
class Plug implements Link {
  readonly medium: Link["medium"];
  readonly counters: Link["counters"];
  readonly #link: Link;
  #sink: LinkSink | undefined;

  constructor(link: Link) {
    this.#link = link;
    this.medium = link.medium;
    this.counters = link.counters;
    link.open({
      receive: (slab, start, end, segmentBytes) => this.#sink?.receive(slab, start, end, segmentBytes),
      flush: () => this.#sink?.flush(),
      closed: (error) => this.#sink?.closed(error),
    });
  }
  get mtu(): number {
    return this.#link.mtu;
  }
  open(sink: LinkSink): void {
    this.#sink = sink;
  }
  send(slab: Slab, start: number, end: number): boolean {
    return this.#link.send(slab, start, end);
  }
  flush(): void {
    this.#link.flush();
  }
  close(): void {
    this.#sink = undefined; // the wire stays
  }
}

async function says(clock: VirtualClock, conn: TcpConn, text: string): Promise<string> {
  const bytes = new Uint8Array(100);
  await settled(clock, conn.write(new TextEncoder().encode(text)));
  const length = await settled(clock, conn.read(bytes));
  return new TextDecoder().decode(bytes.subarray(0, length ?? 0));
}

test("after a restart a masqueraded flow goes on, and a connection that rules let in, both after they slept", async () => {
  const clock = new VirtualClock();
  const [a, b] = pipe({ clock, delayMs: 1 });
  const [c, d] = pipe({ clock, delayMs: 1 });
  const client = new Host({
    clock,
    entropy: new Prng(1),
    interfaces: [{ link: a }],
    addresses: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }],
  });
  const server = new Host({
    clock,
    entropy: new Prng(3),
    interfaces: [{ link: d }],
    addresses: [{ address: "10.2.0.2/24" }],
  });
  const links = [new Plug(b), new Plug(c)];
  const store = new MemoryStore();
  const start = (seed: number, image?: Uint8Array): SleepyHost => {
    const router = new SleepyHost({
      clock,
      entropy: new Prng(seed),
      interfaces: [{ link: links[0]!, name: "lan" }, { link: links[1]!, name: "wan" }],
      addresses: [{ address: "10.1.0.1/24", interface: 0 }, { address: "10.2.0.1/24", interface: 1 }],
      forwarding: true,
      store,
      idleMs: 5_000,
      ...(image === undefined ? { firewall: readTextRules(RULES) } : { firewallImage: image }),
    });
    router.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
    return router;
  };
  let router = start(2);
  onTestFinished(() => [client, server, router].forEach((host) => host.close()));
  const peers: string[] = [];
  server.serve({
    port: 80,
    open: (connection) => void peers.push(connection.remoteAddr.hostname),
    data: (connection, bytes) => void connection.write(bytes),
  });
  const through = await settled(clock, client.connect({ hostname: "10.2.0.2", port: 80 }));
  const local = await settled(clock, client.connect({ hostname: "10.1.0.1", port: 7 }));
  expect(await says(clock, through, "one")).toBe("one");
  expect(await says(clock, local, "two")).toBe("two");
  await clock.advance(20_000);
  expect(router.counts.asleep).toBe(1);
  const image = router.firewallImage();
  const flows = [...listFlows(router.stack.hooks.conntrack!, clock.nowMs())];
  expect(flows).toHaveLength(2);
  router.close(); // killed: nobody is told
  await clock.advance(60_000);

  router = start(4, image);
  expect(router.counts.asleep).toBe(1);
  expect(await says(clock, through, "three")).toBe("three");
  expect(await says(clock, local, "four")).toBe("four");
  expect(peers).toEqual(["10.2.0.1"]);
  const after = [...listFlows(router.stack.hooks.conntrack!, clock.nowMs())];
  const untimed = (line: string): string => line.replace(/ \d+ ESTABLISHED/, "");
  expect(after.map(untimed).sort()).toEqual(flows.map(untimed).sort());
  // The set has learnt one client, a minute ago and more; the counter goes on.
  const [set] = router.rules()!.tables[0]!.sets;
  expect(set!.elem).toHaveLength(1);
  expect(set!.elem[0]!.expires).toBeLessThanOrEqual(3_600 - 80);
  expect(JSON.stringify(router.rules())).toContain(`"packets":1`);
  // Without the image nobody knows whose the answers are: what passes through is lost.
  router.close();
  router = start(5);
  let answer: string | undefined;
  says(clock, through, "five").then((text) => void (answer = text), () => {});
  await clock.advance(2_000);
  expect(answer).toBeUndefined();
});

test("the store keeps the firewall: a process that dies without a word is followed by one that goes on with it", async () => {
  const clock = new VirtualClock();
  const store = new MemoryStore();
  const wires = [pipe({ clock, delayMs: 1 }), pipe({ clock, delayMs: 1 })];
  const hosts = ["10.1.0", "10.2.0"].map((net, side) =>
    new Host({
      clock,
      entropy: new Prng(side),
      interfaces: [{ link: wires[side]![1] }],
      addresses: [{ address: `${net}.2/24`, ...side === 0 ? { gateway: `${net}.1` } : {} }],
    })
  );
  const plugs = wires.map(([near]) => new Plug(near));
  const start = (seed: number, rules?: string): SleepyHost =>
    new SleepyHost({
      clock,
      entropy: new Prng(seed),
      interfaces: plugs.map((link, side) => ({ link, name: side === 0 ? "lan" : "wan" })),
      addresses: [{ address: "10.1.0.1/24", interface: 0 }, { address: "10.2.0.1/24", interface: 1 }],
      forwarding: true,
      store,
      idleMs: 5_000,
      ...rules === undefined ? {} : { firewall: readTextRules(rules) },
    });
  const serve = (host: SleepyHost): void =>
    void host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  /** Nothing is put to sleep, nothing is written, nobody is told. */
  const kill = async (host: SleepyHost): Promise<void> => {
    plugs.forEach((plug) => plug.close());
    host.sleeper.firewall.turn = host.sleeper.firewall.save = () => {};
    host.close();
    await clock.advance(100);
  };
  let router = start(2, RULES);
  serve(router);
  onTestFinished(() => [...hosts, router].forEach((host) => host.close()));
  hosts[1]!.serve({ port: 80, data: (connection, bytes) => void connection.write(bytes) });
  const through = await settled(clock, hosts[0]!.connect({ hostname: "10.2.0.2", port: 80 }));
  const local = await settled(clock, hosts[0]!.connect({ hostname: "10.1.0.1", port: 7 }));
  expect(await says(clock, through, "one")).toBe("one");
  expect(await says(clock, local, "two")).toBe("two");
  await clock.advance(20_000);
  const flows = (): string[] =>
    [...listFlows(router.stack.hooks.conntrack!, clock.nowMs())].map((line) => line.replace(/ \d{2,} /, " "))
      .sort();
  const before = flows();
  const records = store.stats.recordsLive;
  expect(records).toBe(3); // a connection, rules, flows

  await kill(router);
  router = start(3);
  serve(router);
  await clock.advance(50);
  expect(flows()).toEqual(before);
  const table = (): NonNullable<ReturnType<SleepyHost["rules"]>>["tables"][number] =>
    router.rules()!.tables[0]!;
  expect(table().sets[0]!.elem).toMatchObject([{ val: "10.1.0.2", timeout: 3_600 }]);
  expect(table().chains[0]!.rules.at(-1)!.expr).toContainEqual({ counter: { packets: 1, bytes: 60 } });
  expect(await says(clock, through, "three")).toBe("three");
  expect(await says(clock, local, "four")).toBe("four");

  // Rules that are given go before those that were kept; what both have counts on.
  await clock.advance(20_000);
  await kill(router);
  router = start(4, RULES.replace("tcp dport 7 add", "tcp dport { 7, 8 } add"));
  serve(router);
  expect(table().sets[0]!.elem).toMatchObject([{ val: "10.1.0.2" }]);
  expect(table().chains[0]!.rules.at(-1)!.expr).toContainEqual({ counter: { packets: 0, bytes: 0 } });
  expect(await says(clock, through, "five")).toBe("five");
  expect(await says(clock, local, "six")).toBe("six");

  // An archive has it as well.
  const pieces: Uint8Array[] = [];
  const { connections } = await settled(clock, router.checkpoint((piece) => void pieces.push(piece.slice())));
  expect(connections).toBe(1);
  const { unarchive } = await import("../../../checkpoint/archive/unarchive.ts");
  const copy = new MemoryStore();
  expect(await unarchive(new Uint8Array(Buffer.concat(pieces)), copy)).toMatchObject({
    connections: 1,
    expected: 1,
    damaged: 0,
  });
  expect(copy.stats.recordsLive).toBe(3);

  // What is gone for good is gone from the store.
  router.setRules(undefined);
  await clock.advance(3_000);
  await kill(router);
  router = start(5);
  expect(router.rules()).toBe(undefined);
});

test("a firewall that changes all the time is written at a bounded rate, and one that rests not at all", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1 });
  const store = new MemoryStore();
  let appended = 0;
  const append = store.append.bind(store);
  store.append = (records, options) => {
    appended += records.reduce((sum, record) => sum + record.length, 0);
    return append(records, options);
  };
  using host = new SleepyHost({
    clock,
    entropy: new Prng(1),
    interfaces: [{ link: left }],
    addresses: [{ address: "10.7.0.1/24" }],
    store,
    firewall: readTextRules(
      `table ip t { chain c { type filter hook input priority 0; ct state new counter; }; }`,
    ),
  });
  using client = new Host({
    clock,
    entropy: new Prng(2),
    interfaces: [{ link: right }],
    addresses: [{ address: "10.7.0.2/24" }],
  });
  for (let second = 0; second < 20; second++) {
    for (let each = 0; each < 100; each++) {
      const socket = client.listenDatagram({ port: 0 } as never);
      void socket.send(new Uint8Array(1), { transport: "udp", hostname: "10.7.0.1", port: 9 });
      await clock.advance(10);
      socket.close();
    }
  }
  const { size } = host.stack.hooks.conntrack!;
  expect(size).toBeGreaterThan(1_500);
  // Parts of a thousand flows, each once a second at most: about 100 bytes a flow.
  expect(appended).toBeGreaterThan(size * 50);
  expect(appended).toBeLessThan(20 * 250_000);
  await clock.advance(5_000);
  const before = appended;
  await clock.advance(600_000);
  expect(appended).toBe(before);
});
