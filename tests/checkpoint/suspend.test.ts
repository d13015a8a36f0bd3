import { expect, test } from "vitest";
import type { Connection } from "../../net/socket/connection.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { answers, connect, only, say, serveCounter, text } from "./counter.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

test("an idle connection goes to sleep without a word, and wakes for data without being missed", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const server = serveCounter(process);
  const conn = await connect(world);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(500);
  const before = world.trace.length;
  await world.clock.advance(600_000);
  expect(world.trace.length).toBe(before);
  expect(process.host.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
  expect(server.awake).toBe(0);
  expect(world.disk.records.size).toBe(1);
  expect(await say(world, conn, "b")).toBe("2:b;");
  expect(world.disk.records.size).toBe(0);
  const id = only(process);
  expect(process.events).toEqual([`suspended ${id}`, `restored ${id}`]);
  expect(process.errors).toEqual([]);
});

test("the peer's silence: with sleep the same packets flow as without", async () => {
  const run = async (idleMs: number): Promise<{ trace: string[]; suspends: number }> => {
    const world = new SleepWorld({ seed: 3 });
    const process = world.start({ idleMs });
    serveCounter(process);
    const conns: TcpConn[] = [];
    for (let index = 0; index < 4; index++) conns.push(await connect(world));
    for (let round = 0; round < 5; round++) {
      for (const [index, conn] of conns.entries()) {
        if ((round + index) % 3 === 0) {
          await say(world, conn, `${round} ${index} ${"x".repeat(100 * index * round)}`);
        }
      }
      await world.clock.advance([1_000, 10_000, 100_000][round % 3]!);
    }
    conns[0]!.close();
    await world.clock.advance(100_000);
    return { trace: world.trace, suspends: process.host.sleeper.stats.suspends };
  };
  const awake = await run(1e9), asleep = await run(700);
  expect(awake.suspends).toBe(0);
  expect(asleep.suspends).toBeGreaterThan(7);
  expect(asleep.trace).toEqual(awake.trace);
});

test("with keep-alive the same packets flow with sleep as without, and our own probes wake nobody", async () => {
  const run = async (idleMs: number): Promise<{ trace: string[]; restores: number }> => {
    const world = new SleepWorld({ seed: 5, delayMs: 100 });
    const process = world.start({ idleMs });
    process.host.serve({
      port: 7,
      open: (connection) => connection.setKeepAlive(true, 60_000, 1_000, 3),
      data: (connection, bytes) => void connection.write(bytes),
    });
    const opening = world.client.connect({ hostname: "10.0.0.1", port: 7 });
    await world.clock.advance(500);
    const conn = await opening;
    expect(await say(world, conn, "a;")).toBe("a;");
    await world.clock.advance(605_000);
    expect(await say(world, conn, "b;")).toBe("b;");
    return { trace: world.trace, restores: process.host.sleeper.stats.restores };
  };
  const awake = await run(1e9), asleep = await run(700);
  expect(asleep.trace).toEqual(awake.trace);
  expect(asleep.trace.length).toBeGreaterThan(20);
  expect(asleep.restores).toBe(1); // for what was said at the end
});

test("suspend() answers for what it can do, and twice is once", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const conn = await connect(world);
  const id = only(process);
  const { sleeper } = process.host;
  expect(sleeper.suspend("10.0.0.1:7-10.0.0.9:9")).toBe(false);
  expect(() => sleeper.suspend("nonsense")).toThrow(TypeError);
  expect(sleeper.suspend(id)).toBe(true);
  expect(sleeper.suspend(id)).toBe(true);
  await world.clock.advance(10);
  expect(process.events).toEqual([`suspended ${id}`]);
  expect(world.disk.records.size).toBe(1);
  expect(sleeper.suspend(id)).toBe(false);
  expect(await say(world, conn, "a")).toBe("1:a;");
  expect(world.disk.records.size).toBe(0);
  expect(process.errors).toEqual([]);
});

test("suspend() of a connection that has just got news comes after the news", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const conn = await connect(world);
  await world.clock.advance(500);
  const { stack, sleeper } = process.host;
  const receive = stack.receive.bind(stack);
  let suspended: boolean | undefined;
  stack.receive = (...packet) => {
    const drop = receive(...packet);
    suspended ??= sleeper.suspend(only(process));
    return drop;
  };
  const answer = answers(conn, 1);
  await conn.write(text("a"));
  await world.clock.advance(6);
  expect(suspended).toBe(true);
  expect(process.host.counts.asleep).toBe(1);
  await world.clock.advance(100);
  expect(await answer).toBe("1:a;");
});

test("a connection that is still shaking hands is not suspended", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const opening = process.host.connect({ hostname: "10.0.0.2", port: 9 });
  expect(process.host.sleeper.suspend(only(process))).toBe(false);
  expect(await process.host.sleeper.suspendAll()).toBe(0);
  await world.clock.advance(100);
  await expect(opening).rejects.toThrow();
});

/** A server whose only connection is being saved: `settle` ends that. */
async function saving(): Promise<
  {
    world: SleepWorld;
    process: Process;
    server: HandlerServer;
    conn: TcpConn;
    id: string;
    settle: () => Promise<void>;
  }
> {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  const server = serveCounter(process);
  const conn = await connect(world);
  await world.clock.advance(500);
  let resolve = (): void => {};
  process.store.sync = () => new Promise((done) => void (resolve = done));
  const id = only(process);
  process.host.sleeper.suspend(id);
  await world.clock.advance(10);
  expect(process.host.sleeper.stats.saving).toBe(1);
  process.store.sync = () => Promise.resolve();
  const settle = async (): Promise<void> => {
    resolve();
    await world.clock.advance(1);
  };
  return { world, process, server, conn, id, settle };
}

test("during saving: a packet calls the sleep off, and the image is gone", async () => {
  const { world, process, conn, settle } = await saving();
  expect(await say(world, conn, "a")).toBe("1:a;");
  expect(world.disk.records.size).toBe(0);
  await settle();
  expect(process.host.counts).toEqual({ awake: 1, asleep: 0, waking: 0 });
  expect(process.events).toEqual([]);
  expect(await say(world, conn, "b")).toBe("2:b;");
});

test("during saving: a write by id arrives", async () => {
  const { world, server, conn, id, settle } = await saving();
  const got = answers(conn, 1);
  expect(server.send(id, text("news;"))).toBe(true);
  await world.clock.advance(100);
  expect(await got).toBe("news;");
  await settle();
  expect(await say(world, conn, "a")).toBe("1:a;");
});

test("during saving: closing by id closes", async () => {
  const { world, server, conn, id, settle } = await saving();
  const got = conn.read(new Uint8Array(10));
  expect(server.closeConnection(id)).toBe(true);
  await world.clock.advance(100);
  expect(await got).toBe(null);
  await settle();
  expect(world.disk.records.size).toBe(0);
});

test("during saving: aborting and options take effect", async () => {
  const { world, process, server, conn, id, settle } = await saving();
  server.with(id, (connection) => connection.setNoDelay());
  server.with(id, (connection) => connection.setKeepAlive(true, 5_000, 1_000, 3));
  await world.clock.advance(100);
  await settle();
  expect(process.host.counts.awake).toBe(1);
  const before = world.trace.length;
  await world.clock.advance(5_000);
  expect(world.trace.length - before).toBe(2); // probe and answer
  const reading = conn.read(new Uint8Array(10));
  reading.catch(() => {});
  server.with(id, (connection) => connection.abort());
  await world.clock.advance(100);
  await expect(reading).rejects.toThrow("reset");
  expect(process.host.stack.connections.size).toBe(0);
});

test("during saving: a changed attachment is not lost, replaced or changed in place", async () => {
  for (const change of ["replace", "in place"]) {
    const world = new SleepWorld();
    const process = world.start({ idleMs: 1e9 });
    let held: Connection | undefined;
    process.host.serve({
      port: 7,
      open: (connection) => {
        held = connection;
        connection.attachment = { name: "old" };
      },
      data: (connection) =>
        void connection.write(text(`${(connection.attachment as { name: string }).name};`)),
    });
    const conn = await connect(world);
    await world.clock.advance(500);
    let resolve = (): void => {};
    process.store.sync = () => new Promise((done) => void (resolve = done));
    process.host.sleeper.suspend(only(process));
    await world.clock.advance(10);
    process.store.sync = () => Promise.resolve();
    if (change === "replace") held!.attachment = { name: "new" };
    else (held!.attachment as { name: string }).name = "new";
    resolve();
    await world.clock.advance(10);
    process.host.sleeper.suspend(only(process));
    await world.clock.advance(10);
    expect(process.host.counts.asleep).toBe(1);
    expect(await say(world, conn, "a"), change).toBe("new;");
  }
});

test("during saving: a deadline is kept", async () => {
  const { world, server, conn, id, settle } = await saving();
  server.with(id, (connection) => connection.setKeepAlive(true, 2_000, 1_000, 3));
  await world.clock.advance(10);
  await settle();
  const { process } = world;
  process.store.sync = () => new Promise(() => {}); // this disk never answers again
  process.host.sleeper.suspend(id);
  const before = world.trace.length;
  await world.clock.advance(2_100);
  expect(world.trace.length - before).toBe(2);
  expect(await say(world, conn, "a")).toBe("1:a;");
});

test("during saving, while the image cannot be revoked: everything waits, and then happens", async () => {
  const { world, process, server, conn, id, settle } = await saving();
  process.store.fails.remove = 2;
  await conn.write(text("a"));
  await world.clock.advance(100);
  expect(process.host.counts.waking).toBe(1);
  server.send(id, text("by id;"));
  server.with(id, (connection) => void (connection.attachment = { count: 40 }));
  await settle();
  expect(process.host.counts.waking).toBe(1); // a durable image does not put to sleep what is wanted awake
  const got = answers(conn, 2);
  await world.clock.advance(3_000);
  expect(await got).toMatch(/^(by id;1:a;|by id;41:a;|1:a;by id;)$/);
  expect(process.host.counts.awake).toBe(1);
  expect(world.disk.records.size).toBe(0);
});

for (const what of ["saving", "waking"]) {
  test(`during ${what}: an endpoint's write, options and close wait, in their order`, async () => {
    const world = new SleepWorld();
    const process = world.start({ idleMs: 1e9 });
    const listener = process.host.listen({ port: 7 });
    const client = await connect(world);
    const conn = await listener.accept();
    await world.clock.advance(500);
    let resolve = (): void => {};
    process.store.sync = () => new Promise((done) => void (resolve = done));
    process.host.sleeper.suspend(only(process));
    await world.clock.advance(10);
    process.store.sync = () => Promise.resolve();
    if (what === "waking") {
      resolve();
      await world.clock.advance(10);
      expect(process.host.counts.asleep).toBe(1);
    }
    process.store.fails.remove = 2;
    await client.write(text("in"));
    await world.clock.advance(100);
    expect(process.host.counts.waking).toBe(1);
    conn.setNoDelay();
    conn.setKeepAlive();
    const writing = conn.write(text("out;"));
    const reading = conn.read(new Uint8Array(10));
    await world.clock.advance(100);
    resolve();
    await world.clock.advance(3_000);
    expect(await writing).toBe(4);
    expect(await reading).toBe(2);
    expect(await answers(client, 1)).toBe("out;");
    const tcb = process.host.stack.awakeTcb(process.host.recordOf(only(process)));
    expect([tcb.noDelay, tcb.keepAlive]).toEqual([true, true]);
    process.host.sleeper.suspend(only(process));
    await world.clock.advance(10);
    process.store.fails.remove = 1;
    conn.close();
    await world.clock.advance(3_000);
    expect(await client.read(new Uint8Array(1))).toBe(null);
  });
}

test("during waking: packets wait in order, and wishes of the application too", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const server = serveCounter(process);
  const conn = await connect(world);
  const id = only(process);
  await world.clock.advance(2_000);
  process.store.fails.remove = 1;
  await conn.write(text("a"));
  await world.clock.advance(50);
  await conn.write(text("b"));
  server.send(id, text("first;"));
  await world.clock.advance(50);
  await conn.write(text("c"));
  await world.clock.advance(100);
  expect(process.host.counts.waking).toBe(1);
  const got = answers(conn, 2);
  await world.clock.advance(2_000);
  expect(await got).toBe("first;1:abc;");
  server.closeConnection(id);
  await world.clock.advance(100);
  expect(await conn.read(new Uint8Array(1))).toBe(null);
});

test("suspendAll() while peers talk: nobody is lost, and those who are quiet sleep", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const conns = [await connect(world), await connect(world), await connect(world)];
  for (let round = 1; round <= 5; round++) {
    process.store.sync = () => new Promise((done) => void world.clock.at(world.clock.nowMs() + 12, done));
    const talking = conns[0]!.write(text("q")).then(() => answers(conns[0]!, 1));
    let count: number | undefined;
    process.host.sleeper.suspendAll().then((all) => void (count = all));
    await world.clock.runUntil(() => count !== undefined, 10_000);
    expect(count).toBe(round === 1 ? 2 : 0); // later all of them sleep when it starts
    await world.clock.advance(1_000);
    expect(await talking).toBe(`${round}:q;`);
    expect(process.host.counts).toEqual({ awake: 1, asleep: 2, waking: 0 });
    process.host.sleeper.suspendAll();
    await world.clock.advance(100);
    expect(process.host.counts.asleep).toBe(3);
  }
});

test("a store that is full: connections stay awake, it is said once a second, and tried again", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  const conn = await connect(world);
  process.store.fails.append = 3;
  await world.clock.advance(2_500);
  expect(process.errors.map(({ message }) => message)).toEqual(["ENOSPC", "ENOSPC"]);
  expect(process.host.counts.awake).toBe(1);
  await world.clock.advance(2_500);
  expect(process.errors).toHaveLength(3);
  expect(process.host.counts.asleep).toBe(1);
  expect(await say(world, conn, "a")).toBe("1:a;");
});

test("a forced suspend outlives a store that is full", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  await connect(world);
  process.store.fails.append = 2;
  process.host.sleeper.suspend(only(process));
  await world.clock.advance(5_000);
  expect(process.host.counts.asleep).toBe(1);
});

test("a store that cannot revoke: nobody acts, packets wait, and it is tried again", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  const conn = await connect(world);
  await world.clock.advance(2_000);
  process.store.fails.remove = 2;
  await conn.write(text("a"));
  const sent = world.disk.log.filter(({ kind }) => kind === "send").length;
  await world.clock.advance(1_500);
  expect(process.host.counts.waking).toBe(1);
  expect(world.disk.log.filter(({ kind }) => kind === "send").length).toBe(sent);
  await world.clock.advance(1_000);
  expect(process.errors).toHaveLength(2);
  expect(await answers(conn, 1)).toBe("1:a;");
});

test("a disk that refuses to read is asked again; a damaged image ends its connection with a reset", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const closed: (Error | undefined)[] = [];
  process.host.serve({
    port: 7,
    data: (connection) => void connection.write(text("x;")),
    close: (_, error) => void closed.push(error),
  });
  const conn = await connect(world);
  await world.clock.advance(2_000);
  process.store.fails.read = 3;
  expect(await say(world, conn, "a")).toBe("x;");
  expect(process.errors).toHaveLength(3);
  await world.clock.advance(2_000);
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![30]! ^= 1;
  const id = only(process);
  await conn.write(text("b"));
  await world.clock.advance(100);
  expect(process.events.at(-1)).toBe(`lost ${id}`);
  await expect(conn.read(new Uint8Array(1))).rejects.toThrow("reset");
  expect(world.disk.records.size).toBe(0);
  expect(closed.map(String)).toEqual([expect.stringContaining("reset")]);
  expect(process.host.stack.connections.size).toBe(0);
});

test("a write to a connection whose image is lost reaches nobody else, though its record is used again", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const server = serveCounter(process);
  await connect(world);
  await world.clock.advance(2_000);
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![30]! ^= 1;
  const id = only(process);
  const record = process.host.recordOf(id);
  server.send(id, text("secret;"));
  await world.clock.advance(100);
  const other = await connect(world);
  expect(process.host.recordOf(only(process))).toBe(record);
  expect(await say(world, other, "a")).toBe("1:a;");
});

test("an endpoint whose image is lost is told, and its record's next connection is not its own", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const listener = process.host.listen({ port: 7 });
  const accepting = listener.accept();
  await connect(world);
  const conn = await accepting;
  const reading = conn.read(new Uint8Array(10));
  reading.catch(() => {});
  await world.clock.advance(2_000);
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![30]! ^= 1;
  const writing = conn.write(text("x"));
  writing.catch(() => {});
  await world.clock.advance(100);
  await expect(reading).rejects.toThrow("reset");
  await expect(writing).rejects.toThrow();
});

test("a disk that will not promise: they stay awake, and sleep when it does", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  const conn = await connect(world);
  let refusals = 0;
  process.store.sync = () => refusals++ < 2 ? Promise.reject(new Error("EIO")) : Promise.resolve();
  await world.clock.advance(1_200);
  expect(process.errors.map(({ message }) => message)).toContain("EIO");
  expect(process.host.counts).toEqual({ awake: 1, asleep: 0, waking: 0 });
  expect(world.disk.records.size).toBe(0);
  expect(await say(world, conn, "a")).toBe("1:a;");
  await world.clock.advance(10_000);
  expect(process.host.counts.asleep).toBe(1);
  expect(await say(world, conn, "b")).toBe("2:b;");
});

test("a listener to our events that throws takes no connection with it", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  const conns = [await connect(world), await connect(world), await connect(world)];
  const thrown: unknown[] = [];
  const queue = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (callback) =>
    // stands for a program that lives on after an uncaught error
    queue(() => {
      try {
        callback();
      } catch (error) {
        thrown.push(error);
      }
    });
  process.host.sleeper.on("restored", () => {
    throw new Error("the application's own");
  });
  await world.clock.advance(3_000);
  expect(process.host.counts.asleep).toBe(3);
  await Promise.all(conns.map((conn) => conn.write(text("a"))));
  await world.clock.advance(100);
  globalThis.queueMicrotask = queue;
  expect(thrown).toHaveLength(3);
  expect(process.host.counts).toEqual({ awake: 3, asleep: 0, waking: 0 });
  for (const conn of conns) expect(await answers(conn, 1)).toBe("1:a;");
});

test("a write by id to a connection that can send no more is as lost as on the way, and ends no program", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  const server = serveCounter(process);
  const conn = await connect(world);
  const id = only(process);
  server.with(id, (connection) => connection.end());
  await world.clock.advance(100);
  expect(process.host.sleeper.suspend(id)).toBe(true); // FIN-WAIT-2
  await world.clock.advance(100);
  expect(process.host.counts.asleep).toBe(1);
  expect(server.send(id, text("late;"))).toBe(true);
  await world.clock.advance(100);
  expect(await conn.read(new Uint8Array(9))).toBe(null);
});

test("a connection with more unsent than a record holds stays awake, and keeps nobody else awake", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  const server = serveCounter(process);
  await connect(world);
  await connect(world);
  const [large] = [...process.host.connections()];
  for (let part = 0; part < 16; part++) server.send(large!, new Uint8Array(1 << 20));
  const attachment = new Uint8Array(2 << 20);
  server.with(large!, (connection) => void (connection.attachment = attachment));
  expect(await process.host.sleeper.suspendAll()).toBe(1);
  expect(process.errors.map(({ message }) => message)).toEqual([expect.stringContaining("the limit")]);
});

test("connections that cannot sleep are not asked all the time", async () => {
  const world = new SleepWorld();
  let asked = 0;
  const process = world.start({
    analyzer: {
      stayAwakeMs: (tcb, nowMs) => {
        asked++;
        return Math.max(0, tcb.lastActivityMs + 1_000 - nowMs);
      },
    },
  });
  const listener = process.host.listen({ port: 7 });
  await connect(world);
  await (await listener.accept()).closeWrite(); // the client never closes: FIN-WAIT-2 here
  await world.clock.advance(1_000_000);
  expect(process.host.counts).toEqual({ awake: 1, asleep: 0, waking: 0 });
  expect(asked).toBeLessThan(300);
});

test("a firewall that asks where a packet came in lets the one that wakes pass", async () => {
  const world = new SleepWorld();
  const process = world.start({
    firewall: { policy: { input: "drop" }, rules: [{ interface: "net0", action: "accept" }] },
  });
  serveCounter(process);
  const conn = await connect(world);
  await world.clock.advance(2_000);
  await conn.write(text("a"));
  await world.clock.advance(15); // no time for a second try
  expect(await answers(conn, 1)).toBe("1:a;");
});

test("shutdown() saves an attachment that changed while it was being saved", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  let held: Connection | undefined;
  process.host.serve({
    port: 7,
    open: (connection) => void (held = connection),
    data() {},
  });
  const conn = await connect(world);
  await world.clock.advance(500);
  process.store.sync = () => new Promise((done) => void world.clock.at(world.clock.nowMs() + 10, done));
  let over = false;
  process.host.shutdown().then(() => void (over = true));
  await world.clock.advance(5);
  held!.attachment = { count: 7 };
  expect(await world.clock.runUntil(() => over, 1_000)).toBe(true);
  expect(world.disk.records.size).toBe(1);
  serveCounter(world.start());
  expect(await say(world, conn, "a")).toBe("8:a;");
});
