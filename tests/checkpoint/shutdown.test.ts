import { expect, test } from "vitest";
import { connect, say, serveCounter } from "./counter.ts";
import { SleepWorld } from "./sleep_world.ts";

/** A server with one open connection that takes 20 ms to save; the shutdown begins `ms` after a second SYN left. */
async function shutdownDuringOpening(
  ms: number,
): Promise<{ world: SleepWorld; resets: () => string[]; second: ReturnType<typeof connect> }> {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const first = await connect(world);
  expect(await say(world, first, "a")).toBe("1:a;");
  process.store.sync = () => new Promise((done) => void world.clock.at(world.clock.nowMs() + 20, done));
  const second = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(ms);
  let over = false;
  process.host.shutdown().then(() => void (over = true));
  expect(await world.clock.runUntil(() => over, 1_000)).toBe(true);
  await world.clock.advance(10);
  const resets = (): string[] => world.trace.filter((line) => / [A-Z]*RST/.test(line));
  return { world, resets, second };
}

// One way takes 5 ms: the SYN arrives at 5, the SYN-ACK at 10, its ACK at 15.
for (
  const [ms, what] of [
    [1, "a SYN that arrives during a shutdown is left for the next process"],
    [6, "a connection whose handshake ends during a shutdown is saved"],
    [16, "a connection whose handshake is just over is saved"],
  ] as const
) {
  test(what, async () => {
    const { world, resets, second } = await shutdownDuringOpening(ms);
    expect(resets()).toEqual([]);
    expect(world.disk.records.size).toBe(ms === 1 ? 1 : 2);
    const process = world.start();
    process.host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
    let opened = false;
    second.then(() => void (opened = true));
    await world.clock.advance(5_000);
    expect(opened).toBe(true);
    expect(await say(world, await second, "hello;")).toBe("hello;");
    expect(resets()).toEqual([]);
  });
}

test("a handshake that does not end during a shutdown is dropped without a reset", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  world.client.connect({ hostname: "10.0.0.1", port: 7 }).catch(() => {});
  await world.clock.advance(6);
  await process.host.shutdown();
  await world.clock.advance(10);
  expect(process.host.closed).toBe(true);
  expect(world.trace.filter((line) => line.includes("RST"))).toEqual([]);
  expect(world.trace.some((line) => line.includes("SYN"))).toBe(true);
});

test("shutdown() ends though one connection cannot be written down", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  const server = serveCounter(process);
  await connect(world);
  await connect(world);
  const [broken] = [...process.host.connections()];
  server.with(broken!, (connection) => void (connection.attachment = { broken: () => {} }));
  let over = false;
  process.host.shutdown().then(() => void (over = true));
  expect(await world.clock.runUntil(() => over, 1_000)).toBe(true);
  expect(world.disk.records.size).toBe(1);
  expect(process.errors).toHaveLength(1);
});
