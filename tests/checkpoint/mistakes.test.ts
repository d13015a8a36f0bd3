import { afterEach, expect, test, vi } from "vitest";
import { connect, only, say, serveCounter, text } from "./counter.ts";
import { SleepWorld } from "./sleep_world.ts";

afterEach(() => void vi.restoreAllMocks());

test("an attachment that CBOR cannot hold is told, tried again ever more seldom, and sleeps once it is mended", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const server = serveCounter(process);
  const conn = await connect(world);
  server.with(only(process), (connection) => void (connection.attachment = { broken: () => {} }));
  await world.clock.advance(1_500);
  expect(process.errors).toHaveLength(1);
  await world.clock.advance(600_000);
  expect(process.errors.length).toBeGreaterThan(5);
  expect(process.errors.length).toBeLessThan(25);
  expect(process.host.counts.awake).toBe(1);
  server.with(only(process), (connection) => void (connection.attachment = { count: 5 }));
  await world.clock.advance(61_000);
  expect(process.host.counts.asleep).toBe(1);
  expect(await say(world, conn, "a")).toBe("6:a;");
});

test("errors that nobody listens for are on the console, each message once", async () => {
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  const world = new SleepWorld();
  const process = world.start();
  process.host.sleeper.removeAllListeners();
  serveCounter(process);
  await connect(world);
  process.store.fails.append = 3;
  await world.clock.advance(5_000);
  expect(said.mock.calls.map(([error]) => String(error))).toEqual(["StoreError: ENOSPC"]);
  expect(process.host.counts.asleep).toBe(1);
});

test("a connection that is lost is an error when nobody listens for that, and only then", async () => {
  for (const listening of [true, false]) {
    const world = new SleepWorld();
    const process = world.start();
    if (!listening) process.host.sleeper.removeAllListeners("lost");
    serveCounter(process);
    const conn = await connect(world);
    await world.clock.advance(2_000);
    world.disk.records.values().next().value![30]! ^= 1;
    const id = only(process);
    await conn.write(text("a"));
    await world.clock.advance(100);
    const told = [expect.stringContaining(`Connection ${id} is lost: `)];
    expect(process.errors.map(({ message }) => message)).toEqual(listening ? [] : told);
  }
});

test("no more than a hundred messages are remembered for the console", async () => {
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  const world = new SleepWorld();
  let asked = 0;
  const process = world.start({
    analyzer: {
      stayAwakeMs: () => {
        throw new Error(`mistake ${asked++}`);
      },
    },
  });
  process.host.sleeper.removeAllListeners();
  serveCounter(process);
  await connect(world);
  await world.clock.advance(2_000_000);
  expect(asked).toBeGreaterThan(150);
  expect(said).toHaveBeenCalledTimes(101);
});

test("an analyzer that throws is told, stops no turn, and is asked again", async () => {
  const world = new SleepWorld();
  let throws = 2;
  const process = world.start({
    analyzer: {
      stayAwakeMs: () => {
        if (throws-- > 0) throw new Error("the application's own");
        return 0;
      },
    },
  });
  serveCounter(process);
  const conn = await connect(world);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(15_000);
  expect(process.errors.map(({ message }) => message)).toEqual([
    "the application's own",
    "the application's own",
  ]);
  await world.clock.advance(10_000);
  expect(process.host.counts.asleep).toBe(1);
});

test("an analyzer may say never as a very large number", async () => {
  const world = new SleepWorld();
  const process = world.start({ analyzer: { stayAwakeMs: () => Number.MAX_SAFE_INTEGER } });
  serveCounter(process);
  const conn = await connect(world);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(1e9);
  expect(process.host.counts.awake).toBe(1);
  expect(process.errors).toEqual([]);
});
