import { expect, test } from "vitest";
import { readSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { TRANSIENTS_MAX } from "../../net/ip/address_table.ts";
import type { Connection } from "../../net/socket/connection.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { connect, only, say, serveCounter } from "./counter.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

const SERVER = "2001:db8::1";

/** Addresses held beyond what is configured, `::`, and the groups of all nodes, all routers and all that hear MLD. */
function held(process: Process): number {
  const { addresses, output } = process.host.stack;
  return addresses.retained - 4 - new Set(output.routes.ipv6.own.map(({ address }) => address)).size;
}

test("an IPv6 connection sleeps without a word, wakes for data, and goes on in another process", async () => {
  const world = new SleepWorld();
  let process = world.start();
  serveCounter(process, 7, "::");
  expect(held(process)).toBe(0);
  const conn = await connect(world, SERVER);
  expect(await say(world, conn, "a")).toBe("1:a;");
  const id = only(process);
  const { port } = conn.localAddr;
  expect(id).toBe(`[2001:db8::1]:7-[2001:db8::2]:${port}`);
  expect((conn as TcpConn & { id: string }).id).toBe(`[2001:db8::2]:${port}-[2001:db8::1]:7`);
  await world.clock.advance(500);
  const before = world.trace.length;
  await world.clock.advance(600_000);
  expect(world.trace.length).toBe(before);
  expect(process.host.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
  expect(held(process)).toBe(0); // the peer's is in the image; ours is held already
  const [image] = [...world.disk.records.values()];
  const [, local, remote] = readSocketImage(image!).tcb;
  expect([local, remote].map((each) => (each as Uint8Array).at(-1))).toEqual([1, 2]);
  expect(await say(world, conn, "b")).toBe("2:b;");
  expect(process.events).toEqual([`suspended ${id}`, `restored ${id}`]);

  await world.clock.advance(60_000);
  process.kill();
  process = world.start();
  expect(process.host.recovered).toEqual({ connections: 1, damaged: 0, unreachable: 0 });
  expect(only(process)).toBe(id);
  serveCounter(process, 7, "::");
  expect(await say(world, conn, "c")).toBe("3:c;");
  conn.close();
  await world.clock.advance(600_000);
  expect(process.host.stack.connections.size).toBe(0);
  expect(held(process)).toBe(0);
  expect(process.errors).toEqual([]);
});

test("an object that was kept while its IPv6 connection fell asleep tells both ends, whoever has their handles by now", async () => {
  const world = new SleepWorld();
  const { host } = world.start();
  let kept: Connection | undefined;
  host.serve({ port: 7, hostname: "::", open: (connection) => void (kept = connection), data() {} });
  const { localAddr: { port } } = await connect(world, SERVER);
  await world.clock.advance(2_000);
  expect(host.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
  for (let last = 0; last < 2 * TRANSIENTS_MAX; last++) {
    host.stack.addresses.intern(0x2001_0db8, 7, 7, last, 0);
  }
  expect(kept!.remoteAddr).toEqual({ transport: "tcp", hostname: "2001:db8::2", port });
  expect(kept!.localAddr).toEqual({ transport: "tcp", hostname: SERVER, port: 7 });
  expect(kept!.id).toBe(`[2001:db8::1]:7-[2001:db8::2]:${port}`);
});

test("the peer's silence over IPv6: with sleep the same packets flow as without, and a sleeper answers for itself", async () => {
  const run = async (idleMs: number): Promise<{ trace: string[]; restores: number }> => {
    const world = new SleepWorld({ seed: 3 });
    const process = world.start({ idleMs });
    serveCounter(process, 7, SERVER);
    const conns: TcpConn[] = [];
    for (let index = 0; index < 3; index++) conns.push(await connect(world, SERVER));
    conns[0]!.setKeepAlive(true); // the client's probes are answered asleep
    for (let round = 0; round < 4; round++) {
      for (const [index, conn] of conns.entries()) {
        if ((round + index) % 3 === 0) {
          await say(world, conn, `${round} ${index} ${"x".repeat(100 * index * round)}`);
        }
      }
      await world.clock.advance([1_000, 10_000, 8_000_000][round % 3]!);
    }
    conns[1]!.close();
    await world.clock.advance(100_000);
    return { trace: world.trace, restores: process.host.sleeper.stats.restores };
  };
  const awake = await run(1e9), asleep = await run(700);
  expect(awake.restores).toBe(0);
  expect(asleep.restores).toBeGreaterThan(3);
  expect(asleep.trace).toEqual(awake.trace);
});

test("forced to sleep with data in flight, an IPv6 connection loses nothing", async () => {
  const world = new SleepWorld({ seed: 11, impair: { loss: 0.05, reorder: 0.05 } });
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process, 7, "::");
  const conn = await connect(world, SERVER);
  const id = only(process);
  for (let round = 1; round <= 40; round++) {
    process.host.sleeper.suspend(id);
    expect(await say(world, conn, "x".repeat(300))).toBe(`${round}:${"x".repeat(300)};`);
  }
  expect(process.host.sleeper.stats.suspends).toBeGreaterThan(10);
});

test("an IPv6 sleeper whose image is damaged is lost under its own name, told to whoever asked something of it", async () => {
  for (const restarted of [false, true]) {
    const world = new SleepWorld();
    let process = world.start();
    const closed: (readonly [id: string, lost: boolean])[] = [];
    const serve = (): HandlerServer =>
      process.host.serve({
        port: 7,
        hostname: "::",
        data: () => {},
        close: ({ id }, error) => void closed.push([id, error !== undefined]),
      });
    let server = serve();
    await connect(world, SERVER);
    const id = only(process);
    await world.clock.advance(60_000);
    if (restarted) {
      process.kill();
      process = world.start();
      server = serve();
    }
    world.disk.records.values().next().value![60]! ^= 1;
    expect(only(process)).toBe(id);
    expect(server.send(id, Uint8Array.of(1))).toBe(true); // its peer is silent
    await world.clock.advance(1_000);
    expect(process.events.at(-1)).toBe(`lost ${id}`);
    expect(closed).toEqual([[id, true]]);
    expect([...process.host.connections()]).toEqual([]);
    expect(held(process)).toBe(0);
  }
});
