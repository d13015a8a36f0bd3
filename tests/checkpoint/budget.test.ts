import { expect, test } from "vitest";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { Drop } from "../../net/wire/drop.ts";
import type { WakePolicy } from "../../net/wake/policy.ts";
import type { SleepyHostOptions } from "../../checkpoint/host.ts";
import type { Analyzer } from "../../checkpoint/analyzer.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

const PORT = 7;

interface Herd {
  readonly world: SleepWorld;
  readonly process: Process;
  readonly server: HandlerServer;
  readonly conns: TcpConnection[];
  /** What came to the application, in order: the first byte of each. */
  readonly order: number[];
}

/** `count` sleepers whose server echoes. */
async function herd(
  count: number,
  wake: WakePolicy | undefined,
  options: Partial<SleepyHostOptions> = {},
): Promise<Herd> {
  const world = new SleepWorld({ delayMs: 5 });
  world.tracing = false;
  const process = world.start({ idleMs: 200, ...options });
  const order: number[] = [];
  const server = process.host.serve({
    port: PORT,
    ...(wake === undefined ? {} : { wake }),
    data(connection, bytes) {
      order.push(bytes[0]! * 256 + bytes[1]!);
      connection.write(bytes);
    },
  });
  const conns: TcpConnection[] = [];
  for (let at = 0; at < count; at += 500) {
    const opening = Promise.all(
      Array.from(
        { length: Math.min(500, count - at) },
        () => world.client.connect({ hostname: "10.0.0.1", port: PORT }),
      ),
    );
    await world.clock.advance(100);
    conns.push(...await opening);
  }
  await world.clock.advance(5_000);
  expect(process.host.counts).toMatchObject({ awake: 0, asleep: count });
  return { world, process, server, conns, order };
}

/** Each says its number, at once. */
async function sayAll(conns: readonly TcpConnection[]): Promise<void> {
  for (const [at, conn] of conns.entries()) await conn.write(Uint8Array.of(at >> 8, at & 255));
}

/** All echoes have come, and are what was said. */
async function heardAll({ conns }: Herd): Promise<void> {
  const buffer = new Uint8Array(10);
  for (const [at, conn] of conns.entries()) {
    expect(await conn.read(buffer), `connection ${at}`).toBe(2);
    expect(buffer[0]! * 256 + buffer[1]!).toBe(at);
  }
}

test("so many wakes in a second: the rest waits, is not acknowledged, and is served in order of arrival", async () => {
  const all = await herd(1_000, { perSecond: 200 });
  const { world, process: { host }, order } = all;
  const startMs = world.clock.nowMs();
  await sayAll(all.conns);
  const seen: number[] = [];
  while (order.length < 1_000) {
    await world.clock.advance(100);
    const sinceMs = world.clock.nowMs() - startMs;
    expect(order.length).toBeLessThanOrEqual(20 + sinceMs / 5 + 1);
    expect(host.sleeper.stats.restores).toBe(order.length);
    seen.push(order.length);
    expect(sinceMs).toBeLessThan(6_000);
  }
  expect(order).toEqual(Array.from({ length: 1_000 }, (_, at) => at));
  await world.clock.advance(1_000);
  await heardAll(all);
  expect(host.sleeper.stats).toMatchObject({ waiting: 0, waited: 980, restores: 1_000 });
  expect(host.stack.drops.get(Drop.HeldAlready)).toBeGreaterThan(500); // what peers sent again meanwhile
  expect(host.stack.sleepers.held.bytes).toBe(0);
});

test("so many awake at once: who is quiet makes room, long before it is idle", async () => {
  for (const whose of ["listener", "host"] as const) {
    const wake = { awakeMax: 50 };
    const all = await herd(2_000, whose === "listener" ? wake : undefined, {
      idleMs: whose === "listener" ? 200 : 4_000,
      ...(whose === "host" ? { wake } : {}),
    });
    const { world, process: { host }, order } = all;
    await sayAll(all.conns);
    for (let ms = 0; order.length < 2_000; ms += 5) {
      await world.clock.advance(5);
      expect(host.stack.tcp.awake).toBeLessThanOrEqual(50);
      expect(ms, `${order.length} of them`).toBeLessThan(20_000);
    }
    expect(order).toEqual(Array.from({ length: 2_000 }, (_, at) => at));
    await world.clock.advance(1_000);
    await heardAll(all);
    await world.clock.advance(10_000);
    expect(host.counts).toMatchObject({ awake: 0, asleep: 2_000 });
    expect(host.sleeper.stats.waiting).toBe(0);
    const restores = host.sleeper.stats.restores;
    const polls = host.stack.poll;
    let turns = 0;
    host.stack.poll = (...args) => {
      turns++;
      return polls.apply(host.stack, args);
    };
    await world.clock.advance(60_000);
    expect([host.sleeper.stats.restores, turns < 20]).toEqual([restores, true]); // at rest
  }
}, 60_000);

test("who is quiet has its time, as the policy says, and whom the analyzer keeps awake for ever stays awake", async () => {
  for (const [quietMs, forever] of [[0, false], [300, false], [0, true]] as const) {
    let keep = false;
    const analyzer: Analyzer = {
      stayAwakeMs: (tcb, nowMs) => keep ? Infinity : Math.max(0, tcb.lastActivityMs + 1_000 - nowMs),
    };
    const all = await herd(3, { awakeMax: 1, quietMs }, { analyzer });
    const { world, conns, order, process: { host } } = all;
    keep = forever;
    await sayAll(conns);
    await world.clock.advance(250);
    expect(order.length, `${quietMs} ${forever}`).toBe(quietMs === 0 && !forever ? 3 : 1);
    await world.clock.advance(60_000);
    expect(order.length, `${quietMs} ${forever}`).toBe(forever ? 1 : 3);
    expect(host.counts.awake).toBe(forever ? 1 : 0);
  }
});

test("connections that are over and linger in TIME-WAIT take nobody's place", async () => {
  const all = await herd(12, { awakeMax: 3 });
  const { world, conns, server, order, process: { host } } = all;
  const ids = [...server.connections()];
  const closed = conns.filter((conn) =>
    ids.slice(0, 8).some((id) => id.endsWith(`.2:${conn.localAddr.port}`))
  );
  expect(closed).toHaveLength(8);
  for (const id of ids.slice(0, 8)) server.closeConnection(id);
  await world.clock.advance(3_000);
  for (const conn of closed) conn.close();
  await world.clock.advance(1_000);
  const left = conns.filter((conn) => !closed.includes(conn));
  await sayAll(left);
  await world.clock.advance(2_000);
  expect(order).toHaveLength(4);
  expect(host.stack.connections.size).toBe(12); // the eight are still remembered
  await world.clock.advance(70_000);
  expect(host.stack.connections.size).toBe(4);
});

test("one that never gets quiet has its slice, and none waits for ever", async () => {
  const all = await herd(3, { awakeMax: 1 });
  const { world, conns, process: { host }, order } = all;
  // The first one is asked for an endless answer that its peer does not take: never quiet.
  await conns[0]!.write(Uint8Array.of(0, 0));
  await world.clock.advance(100);
  const id = [...all.server.connections()].find((each) => each.endsWith(String(conns[0]!.localAddr.port)))!;
  all.server.send(id, new Uint8Array(1 << 20));
  await world.clock.advance(1_000);
  expect(host.counts).toMatchObject({ awake: 1, asleep: 2 });
  await conns[1]!.write(Uint8Array.of(0, 1));
  await conns[2]!.write(Uint8Array.of(0, 2));
  await world.clock.advance(60_000);
  expect(order).toEqual([0, 1, 2]);
  let got = 0;
  const buffer = new Uint8Array(100_000);
  const reading = (async () => {
    while (got < 2 + (1 << 20)) got += (await conns[0]!.read(buffer))!;
  })();
  await world.clock.advance(60_000);
  await reading;
  expect(got).toBe(2 + (1 << 20));
});

test("while they wait, keep-alive probes of their peers are answered, and the application's writes wait as well", async () => {
  const all = await herd(40, { perSecond: 1 });
  const { world, conns, process: { host }, order, server } = all;
  for (const conn of conns) conn.setKeepAlive(true);
  await sayAll(conns);
  await world.clock.advance(1_000);
  const ids = [...server.connections()];
  server.send(ids.at(-1)!, new TextEncoder().encode("!"));
  const last = conns.find((conn) => ids.at(-1)!.endsWith(String(conn.localAddr.port)))!;
  const at = conns.indexOf(last);
  await world.clock.advance(45_000);
  expect(order.length).toBe(40);
  const buffer = new Uint8Array(10);
  expect(await last.read(buffer)).toBe(3);
  expect([...buffer.subarray(0, 3)].sort()).toEqual([33, at >> 8, at & 255].sort());
  expect(host.stack.drops.get(Drop.HeldFull)).toBe(0);
});

test("what may wait is limited: peers that find no room send again, and nothing is lost", async () => {
  const all = await herd(1_500, { perSecond: 500, heldBytesMax: 65_536 });
  const { world, process: { host }, order } = all;
  await sayAll(all.conns);
  await world.clock.advance(1);
  expect(host.stack.sleepers.held.bytes).toBeLessThanOrEqual(65_536);
  let most = 0;
  for (let ms = 0; order.length < 1_500; ms += 50) {
    await world.clock.advance(50);
    most = Math.max(most, host.stack.sleepers.held.bytes);
    expect(ms).toBeLessThan(120_000);
  }
  expect(most).toBeGreaterThan(10_000);
  expect(most).toBeLessThanOrEqual(65_536);
  expect(new Set(order).size).toBe(1_500);
  expect(host.stack.drops.get(Drop.HeldFull)).toBeGreaterThan(500);
  await world.clock.advance(1_000);
  await heardAll(all);
});

test("a connection that waits longer than its peer's patience is ended by the peer alone, and none is left", async () => {
  const all = await herd(3, { perSecond: 0.001 });
  const { world, conns, process: { host } } = all;
  await sayAll(conns);
  await world.clock.advance(100);
  expect(host.sleeper.stats.waiting).toBe(2);
  conns[1]!.endpoint.abort(); // its RST is held, too
  await world.clock.advance(2_100_000);
  expect(host.counts).toMatchObject({ awake: 0, asleep: 1, waking: 0 });
  expect(host.stack.sleepers.held.bytes).toBe(0);
});

test("processes that die while connections wait lose none of them", async () => {
  const all = await herd(600, { perSecond: 300 });
  const { world } = all;
  await sayAll(all.conns);
  await world.clock.advance(700); // a third of them has been served
  const served = new Set(all.order);
  expect(served.size).toBeGreaterThan(150);
  await world.process.host.sleeper.suspendAll();
  world.process.kill();
  const { host } = world.start({ idleMs: 200 });
  host.serve({
    port: PORT,
    wake: { perSecond: 300 },
    data(connection, bytes) {
      served.add(bytes[0]! * 256 + bytes[1]!);
      connection.write(bytes);
    },
  });
  await world.clock.advance(30_000);
  expect(served.size).toBe(600);
  await heardAll(all);
});

test("which traffic wakes: any, news, or news that rules let in", async () => {
  const wakes = async (on: WakePolicy["on"]): Promise<number[]> => {
    const all = await herd(1, on === undefined ? {} : { on });
    const { world, conns, process: { host } } = all;
    const record = host.recordOf([...host.connections()][0]!);
    const restores = (): number => host.sleeper.stats.restores;
    conns[0]!.setKeepAlive(true);
    const tcb = [...world.client.stack.tcp.tcbs()][0]!;
    tcb.keepAliveAtMs = world.clock.nowMs() + 10; // a probe
    world.client.stack.tcp.arm(tcb);
    world.client.kick();
    await world.clock.advance(50);
    const byProbe = restores();
    await world.clock.advance(5_000);
    await conns[0]!.write(Uint8Array.of(0, 0));
    await world.clock.advance(5_000);
    const byData = restores() - byProbe;
    expect(host.stack.connections.state(record)).toBe(2);
    return [byProbe, byData, all.order.length];
  };
  expect(await wakes(undefined)).toEqual([0, 1, 1]);
  expect(await wakes("data")).toEqual([0, 1, 1]);
  expect(await wakes("any")).toEqual([1, 1, 1]);
  const from = (source: string): WakePolicy["on"] => ({
    policy: { input: "drop" },
    rules: [{ source, action: "accept" }],
  });
  expect(await wakes(from("10.0.0.0/24"))).toEqual([0, 1, 1]);
  expect(await wakes(from("10.0.1.0/24"))).toEqual([0, 0, 0]);
});

test("whom rules do not let in is not acknowledged, may be woken by the application, and its reset counts", async () => {
  const all = await herd(2, { on: { policy: { input: "drop" }, rules: [] } });
  const { world, conns, process: { host }, server, order } = all;
  await sayAll(conns);
  await world.clock.advance(3_000);
  expect([host.sleeper.stats.restores, order]).toEqual([0, []]);
  expect(host.stack.drops.get(Drop.AsleepNotLet)).toBeGreaterThan(3);
  expect(host.stack.sleepers.held.bytes).toBe(0);
  const id = [...server.connections()].find((each) => each.endsWith(String(conns[0]!.localAddr.port)))!;
  server.with(id, () => {});
  await world.clock.advance(10_000); // awake for a while, it hears what its peer sends again
  if (order.length === 0) {
    server.send(id, Uint8Array.of(9));
    await world.clock.advance(100_000);
  }
  conns[1]!.endpoint.abort();
  await world.clock.advance(1_000);
  expect(host.counts).toMatchObject({ asleep: 1 });
});

test("a policy that makes no sense is refused, and says what and where; nobody listens then", () => {
  const world = new SleepWorld();
  const { host } = world.start();
  const refused = (wake: unknown, message: RegExp): void =>
    expect(() => host.serve({ port: PORT, wake: wake as WakePolicy, data: () => {} })).toThrow(message);
  refused({ perSecond: 0 }, /^Cannot use wake.perSecond 0: it must be a number above 0$/);
  refused({ perSecond: NaN }, /wake.perSecond NaN/);
  refused({ awakeMax: 0 }, /wake.awakeMax 0: it must be a count/);
  refused({ awakeMax: 1.5 }, /wake.awakeMax 1.5/);
  refused({ quietMs: -1 }, /wake.quietMs -1: it must be a number of milliseconds from 0 on/);
  refused({ quietMs: Infinity }, /wake.quietMs Infinity/);
  refused({ heldPacketsMax: 0 }, /wake.heldPacketsMax 0: it must be from 1 to 65536/);
  refused({ heldPacketsMax: 65_537 }, /wake.heldPacketsMax 65537/);
  refused({ heldBytesMax: 65_535 }, /wake.heldBytesMax 65535/);
  refused({ on: "all" }, /Cannot use wake.on "all": it must be "any", "data", "queue" or rules/);
  refused({ on: null }, /Cannot use wake.on null/);
  refused({ on: { rules: [{ source: "10.0.0", action: "accept" }] } }, /wake.on: .*rules\[0\].source/);
  refused({ on: { rules: [{ action: "reject" }] } }, /wake.on: "reject" makes no sense here/);
  expect(() => world.start({ wake: { perSecond: -1 } })).toThrow("Cannot use wake.perSecond -1");
  expect(() => world.start({ tcp: { heldBytesMax: 1 } })).toThrow("Cannot hold packets with heldBytesMax 1");
  const max = {
    perSecond: 0.1,
    awakeMax: 1,
    quietMs: 0,
    heldPacketsMax: 65_536,
    heldBytesMax: 65_536,
  } as const;
  host.serve({ port: PORT, wake: max, data: () => {} }).close();
  host.serve({ port: PORT, wake: { perSecond: Infinity, awakeMax: Infinity }, data: () => {} }).close();
});
