import { expect, test } from "vitest";
import { Player } from "../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { Recorder } from "../../checkpoint/replay/recorder.ts";
import { StoreError } from "../../checkpoint/store/store.ts";
import { pipe } from "../../net/link/pipe.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { answers, connect, say, text, untext } from "./counter.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

/** Counts the messages of each connection in its attachment and says the count. */
function serveDurably({ host }: Process): void {
  host.serve({
    port: 7,
    durable: true,
    open: (connection) => void (connection.attachment = 0),
    data(connection, bytes) {
      const count = connection.attachment as number + 1;
      connection.attachment = count;
      connection.write(text(`${count}:${untext(bytes)};`));
    },
  });
}

test("durable connections need a store, and go without Fast Open", async () => {
  const [link] = pipe({ medium: "ip" });
  using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
  expect(() => host.serve({ port: 7, durable: true, data: () => {} })).toThrow("this host has no store");
  expect(() => host.listen({ port: 7, durable: true })).toThrow(TypeError);
  await expect(async () => await host.connect({ hostname: "10.0.0.2", port: 7, durable: true })).rejects
    .toThrow("Cannot connect durably: this host has no store");
  const { host: sleepy } = new SleepWorld().start();
  expect(() => sleepy.listen({ port: 7, durable: true, fastOpen: 5 })).toThrow("in no log");
});

test("what the store refuses is neither acknowledged nor answered, and goes on when it takes it", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveDurably(process);
  const conn = await connect(world);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(500);
  process.store.fails.append = 3;
  world.trace.length = 0;
  await conn.write(text("b"));
  const answer = answers(conn, 1);
  await world.clock.advance(2_500);
  expect(world.trace.filter((line) => line.includes(" < "))).toEqual([]);
  expect(process.errors.length).toBe(3);
  await world.clock.advance(2_000);
  expect(await answer).toBe("2:b;");
});

test("while a sync takes its time nothing of it leaves; when it fails, nothing ever; the next process goes on", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveDurably(process);
  const conn = await connect(world);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(500);
  let fail: (error: Error) => void = () => {};
  process.store.sync = () => new Promise((_, reject) => void (fail = reject));
  world.trace.length = 0;
  await conn.write(text("b"));
  const answer = answers(conn, 1);
  await world.clock.advance(5_000);
  process.store.failed = new StoreError("the disk is gone");
  fail(process.store.failed);
  await world.clock.advance(5_000);
  expect(world.trace.filter((line) => line.includes(" < "))).toEqual([]);
  process.kill();
  serveDurably(world.start());
  await world.clock.advance(60_000);
  expect(await answer).toBe("2:b;"); // whether the first one's entry is there or not
});

test("who is awake when the host is closed is over; who goes on in the next process after a shutdown is not", async () => {
  for (const orderly of [false, true]) {
    const world = new SleepWorld();
    const { host } = world.start({ idleMs: 1e9 });
    serveDurably(world.process);
    const conn = await connect(world);
    expect(await say(world, conn, "a")).toBe("1:a;");
    expect(world.disk.records.size).toBe(1);
    expect(host.sleeper.logged).toBe(1);
    await conn.write(text("b")); // on its way
    if (orderly) await host.shutdown();
    else host.close();
    expect(world.disk.records.size).toBe(orderly ? 1 : 0);
    serveDurably(world.start());
    const answer = answers(conn, 1).catch((error) => error.name);
    await world.clock.advance(60_000);
    expect(await answer).toBe(orderly ? "2:b;" : "ConnectionReset");
  }
});

/** Accepts and reads once; what it does then is the test's affair. */
async function readOnce({ host }: Process): Promise<{ conn: TcpConnection; got: string }> {
  const conn = await host.listen({ port: 7, durable: true }).accept();
  const buffer = new Uint8Array(100);
  const count = await conn.read(buffer);
  return { conn, got: untext(buffer.subarray(0, count ?? 0)) };
}

test("bytes that were read come again after a crash, until their reader has gone on", async () => {
  for (
    const goOn of [
      undefined,
      (conn: TcpConnection) => void conn.write(text("!")),
      (conn: TcpConnection) => void (conn.attachment = 1),
      (conn: TcpConnection) => void conn.read(new Uint8Array(1)).catch(() => {}),
    ]
  ) {
    const world = new SleepWorld();
    const first = world.start();
    let reading = readOnce(first);
    const conn = await connect(world);
    await conn.write(text("one"));
    await world.clock.advance(100);
    const { conn: served, got } = await reading;
    expect(got).toBe("one");
    goOn?.(served);
    await world.clock.advance(100);
    first.kill();
    reading = readOnce(world.start());
    await world.clock.advance(1_000);
    await conn.write(text("two"));
    await world.clock.advance(10_000);
    expect((await reading).got, String(goOn)).toBe(goOn === undefined ? "one" : "two");
  }
});

test("a connection that was dialled durably goes on in the next process, with who listens on its port", async () => {
  const world = new SleepWorld();
  const first = world.start();
  const accepting = world.client.listen({ port: 9 }).accept();
  const dialling = first.host.connect({ hostname: "10.0.0.2", port: 9, durable: true });
  await world.clock.advance(100);
  const dialled = await dialling;
  const peer: TcpConn = await accepting;
  dialled.attachment = "the one";
  await dialled.write(text("hello"));
  await world.clock.advance(100);
  first.kill();
  const got: string[] = [];
  world.start().host.serve({
    port: dialled.localAddr.port,
    durable: true,
    data: (connection, bytes) => void got.push(`${connection.attachment}: ${untext(bytes)}`),
  });
  await peer.write(text("and you"));
  await world.clock.advance(5_000);
  expect(got).toEqual(["the one: and you"]);
  const buffer = new Uint8Array(9);
  expect(untext(buffer.subarray(0, await peer.read(buffer) ?? 0))).toBe("hello");
});

/** What leaves the server in a conversation, without its times. */
async function packets(durable: boolean, recorder?: Recorder): Promise<string[]> {
  const world = new SleepWorld();
  const { host } = world.start({ idleMs: 1e9, ...(recorder === undefined ? {} : { recorder }) });
  host.serve({
    port: 7,
    durable,
    data: (connection, bytes) => void connection.write(bytes.map((byte) => byte ^ 1)),
  });
  const opening = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(50);
  const conn = await opening;
  let heard = 0;
  const reading = (async () => {
    const buffer = new Uint8Array(7_000);
    for (let count; (count = await conn.read(buffer)) !== null;) heard += count;
  })();
  for (const length of [1, 700, 5_000, 40_000, 3]) {
    await conn.write(new Uint8Array(length));
    await world.clock.advance(400);
  }
  await conn.closeWrite();
  await world.clock.advance(1_000);
  await reading;
  expect(heard).toBe(45_704);
  conn.close();
  await world.clock.advance(1_000);
  host.close();
  return world.trace.map((line) => line.replace(/^\d+ /, "").replace(/ ts \d+$/, ""));
}

test("with a store that takes no time a durable connection's packets are those of an ordinary one", async () => {
  const ordinary = await packets(false);
  expect(ordinary.length).toBeGreaterThan(40);
  expect(await packets(true)).toEqual(ordinary);
});

/** How long the rest of a stream takes when its reader, who was away, reads on: nobody may have to ask for the window. */
async function catchUpMs(durable: boolean): Promise<number> {
  const world = new SleepWorld({ tcp: { receiveBufferBytes: 8_000, receiveBufferMax: 8_000 } });
  const { host } = world.start({ idleMs: 1e9 });
  const accepting = host.listen({ port: 7, durable }).accept();
  const conn = await connect(world);
  const served = await accepting;
  const writing = conn.write(new Uint8Array(30_000));
  await world.clock.advance(3_000);
  expect(await writing).toBe(30_000);
  const startMs = world.clock.nowMs();
  let got = 0;
  (async () => {
    const buffer = new Uint8Array(10_000);
    while (got < 30_000) got += await served.read(buffer) ?? 0;
  })().catch(() => {});
  await world.clock.runUntil(() => got === 30_000, 100_000);
  expect(got).toBe(30_000);
  return world.clock.nowMs() - startMs;
}

test("a window that opens again is announced when it is in the log", async () => {
  expect(await catchUpMs(true)).toBeLessThanOrEqual(await catchUpMs(false));
});

test("a durable host's recording replays", async () => {
  const recorder = new Recorder();
  await packets(true, recorder);
  const player = new Player(new ReplayReader(recorder.bytes()));
  while (player.step());
  expect(player.difference?.message).toBe(undefined);
  expect(player.framesOut).toBeGreaterThan(10);
});
