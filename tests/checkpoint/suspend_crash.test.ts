import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";
import { answers, connect, only, say, serveCounter, text, untext } from "./counter.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

interface Talker {
  conn: TcpConn;
  id: string;
  /** Answers that arrived. */
  count: number;
  /** A question is on its way. */
  asking: boolean;
}

/** Three clients that talk now and then, until the process dies; then one more question each to its successor. */
async function live(
  dieAt: number,
  dieAfter: boolean,
): Promise<{ operations: number; continued: number; where: string }> {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 300 });
  serveCounter(process);
  const talkers: Talker[] = [];
  for (let index = 0; index < 3; index++) {
    const conn = await connect(world);
    const { hostname, port } = conn.localAddr;
    talkers.push({ conn, id: `10.0.0.1:7-${hostname}:${port}`, count: 0, asking: false });
  }
  let operations = 0;
  let asleep: string[] = [];
  let last = "";
  const die = (): void => {
    const { stack } = process.host;
    asleep = talkers.map(({ id }) => id).filter((id) => {
      const record = process.host.recordOf(id);
      return record >= 0 && stack.connections.state(record) === RecordState.asleep;
    });
    process.kill();
  };
  world.disk.before = (kind) => {
    if (process.dead || ++operations !== dieAt) return;
    last = kind;
    if (dieAfter) queueMicrotask(die);
    else die();
  };
  const ask = async (talker: Talker): Promise<void> => {
    talker.asking = true;
    await talker.conn.write(text("q"));
    const answer = await answers(talker.conn, 1);
    expect(answer, `death ${dieAfter ? "after" : "before"} operation ${dieAt}`).toBe(
      `${talker.count + 1}:q;`,
    );
    talker.count++;
    talker.asking = false;
  };
  for (let round = 0; round < 10 && !process.dead; round++) {
    for (const [index, talker] of talkers.entries()) {
      if ((round + index) % 2 === 0 && !talker.asking) ask(talker).catch(() => {});
    }
    await world.clock.advance(round % 3 === 2 ? 20 : 700);
  }
  if (!process.dead) return { operations, continued: 0, where: "" };
  const where = `death ${dieAfter ? "after" : "before"} operation ${dieAt} (${last})`;

  world.disk.before = () => {};
  serveCounter(world.start({ idleMs: 300 }));
  let continued = 0;
  for (const talker of talkers) {
    // A question that nobody has answered yet is asked again by TCP, or refused.
    const waiting = talker.asking;
    let result: string | undefined;
    (async () => {
      if (!waiting) await talker.conn.write(text("q"));
      return waiting ? "" : await answers(talker.conn, 1);
    })().then((answer) => void (result = answer), (error) => void (result = `error ${error}`));
    if (waiting) {
      await world.clock.runUntil(() => !talker.asking, 200_000);
      talker.conn.write(text("q")).catch(() => {});
      answers(talker.conn, 1).then(
        (answer) => void (result = answer),
        (error) => void (result = `error ${error}`),
      );
      result = undefined;
    }
    expect(await world.clock.runUntil(() => result !== undefined, 400_000), `${where}: silence`).toBe(true);
    if (asleep.includes(talker.id)) expect(result, `${where}: it slept`).toBe(`${talker.count + 1}:q;`);
    else if (!result!.startsWith("error")) expect(result, where).toBe(`${talker.count + 1}:q;`);
    if (!result!.startsWith("error")) continued++;
  }
  return { operations, continued, where };
}

test("a process that dies at any step leaves connections that go on, or resets, never silence or the past", async () => {
  const { operations } = await live(Infinity, false);
  expect(operations).toBeGreaterThan(30);
  let continued = 0;
  for (let dieAt = 1; dieAt <= operations; dieAt++) {
    for (const after of [false, true]) continued += (await live(dieAt, after)).continued;
  }
  console.log(`${(2 * operations).toLocaleString("en")} crash points`);
  expect(continued).toBeGreaterThan(operations);
});

test("no packet leaves a woken connection before its image is revoked", async () => {
  const world = new SleepWorld();
  const process = world.start();
  serveCounter(process);
  const conn = await connect(world);
  for (let round = 0; round < 3; round++) {
    await world.clock.advance(3_000);
    expect(process.host.counts.asleep).toBe(1);
    world.disk.log.length = 0;
    await say(world, conn, "x");
    const kinds = world.disk.log.map(({ kind }) => kind);
    expect(kinds[0]).toBe("remove");
    expect(kinds).toContain("send");
  }
});

test("after a crash the peer of a connection that was awake gets a reset; of one that slept, an answer", async () => {
  const world = new SleepWorld();
  const first = world.start();
  serveCounter(first);
  const sleeper = await connect(world);
  await say(world, sleeper, "a");
  await world.clock.advance(3_000);
  const awake = await connect(world);
  await say(world, awake, "a");
  first.kill();
  const second = world.start();
  expect(second.host.recovered).toEqual({ connections: 1, damaged: 0, unreachable: 0 });
  serveCounter(second);
  await awake.write(text("b"));
  const reading = awake.read(new Uint8Array(10));
  reading.catch(() => {});
  await world.clock.advance(100);
  await expect(reading).rejects.toThrow("reset");
  expect(await say(world, sleeper, "b")).toBe("2:b;");
});

test("two images of one connection: the later one counts, the earlier one goes", async () => {
  const world = new SleepWorld();
  const first = world.start();
  serveCounter(first);
  const conn = await connect(world);
  await world.clock.advance(2_000);
  const old = [...world.disk.records.values()][0]!.slice();
  await say(world, conn, "a");
  await world.clock.advance(2_000);
  const [[location, image]] = [...world.disk.records];
  first.kill();
  world.disk.records.clear();
  world.disk.records.set(location! - 1, old); // as an earlier version's bug, or a disk that lied, may leave it
  world.disk.records.set(location!, image!);
  const second = world.start();
  expect(second.host.recovered).toEqual({ connections: 1, damaged: 0, unreachable: 0 });
  expect([...world.disk.records.keys()]).toEqual([location]);
  serveCounter(second);
  expect(await say(world, conn, "b")).toBe("2:b;");
});

test("damaged images are counted and left alone, the others live", async () => {
  const world = new SleepWorld();
  const first = world.start();
  serveCounter(first);
  const conns = [await connect(world), await connect(world)];
  await world.clock.advance(3_000);
  first.kill();
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![40]! ^= 4;
  world.disk.summaries.delete(location!); // so it is read when the process starts
  const second = world.start();
  expect(second.host.recovered).toEqual({ connections: 1, damaged: 1, unreachable: 0 });
  serveCounter(second);
  expect(await say(world, conns[1]!, "a")).toBe("1:a;");
});

test("a damaged image whose summary is sound is found when it is needed: its connection is lost then, and no other", async () => {
  const world = new SleepWorld();
  const first = world.start();
  serveCounter(first);
  const conns = [await connect(world), await connect(world)];
  await world.clock.advance(3_000);
  first.kill();
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![40]! ^= 4;
  const second = world.start();
  expect(second.host.recovered).toEqual({ connections: 2, damaged: 0, unreachable: 0 });
  serveCounter(second);
  const lost: string[] = [];
  second.host.sleeper.on("lost", ({ error }) => void lost.push(error.message));
  conns[0]!.write(text("a"));
  await world.clock.advance(3_000);
  expect(lost).toEqual([expect.stringContaining("Cannot open image")]);
  expect(await say(world, conns[1]!, "a")).toBe("1:a;");
});

test("after a restart: handlers reach sleepers by id, attachments are there, accept() yields what wakes", async () => {
  const world = new SleepWorld();
  const first = world.start();
  first.host.serve({
    port: 7,
    open: (connection) =>
      void (connection.attachment = new Map<string, unknown>([["bytes", Uint8Array.of(1, 2)], ["n", 1]])),
    data() {},
  });
  const conns = [await connect(world), await connect(world), await connect(world)];
  await world.clock.advance(3_000);
  const ids = [...first.host.connections()];
  first.kill();

  const second = world.start();
  const server = second.host.serve({ port: 7, data: (connection) => void connection.write(text("data;")) });
  expect([...server.connections()].sort()).toEqual(ids.sort());
  expect(server.awake).toBe(0);
  const seen: unknown[] = [];
  const idOf = (conn: TcpConn): string => `10.0.0.1:7-10.0.0.2:${conn.localAddr.port}`;
  expect(server.send(idOf(conns[0]!), text("one;"))).toBe(true);
  expect(server.with(idOf(conns[1]!), (connection) => void seen.push(connection.attachment))).toBe(true);
  expect(server.closeConnection(idOf(conns[2]!))).toBe(true);
  await world.clock.advance(100);
  expect(await answers(conns[0]!, 1)).toBe("one;");
  expect(seen).toEqual([{ bytes: Uint8Array.of(1, 2), n: 1 }]);
  expect(await conns[2]!.read(new Uint8Array(1))).toBe(null);
  await world.clock.advance(5_000);
  second.kill();

  const third = world.start();
  const listener = third.host.listen({ port: 7 });
  await conns[0]!.write(text("hello"));
  await world.clock.advance(50);
  const accepted = await listener.accept();
  const buffer = new Uint8Array(10);
  expect(untext(buffer.subarray(0, (await accepted.read(buffer))!))).toBe("hello");
  await accepted.write(text("there;"));
  await world.clock.advance(50);
  expect(await answers(conns[0]!, 1)).toBe("there;");
});

test("a connection that wakes before anybody listens is found by whoever listens later", async () => {
  const world = new SleepWorld();
  const first = world.start();
  serveCounter(first);
  const conn = await connect(world);
  await say(world, conn, "a");
  await world.clock.advance(3_000);
  first.kill();
  const second = world.start();
  await conn.write(text("b"));
  await world.clock.advance(100);
  serveCounter(second);
  await world.clock.advance(100);
  expect(await answers(conn, 1)).toBe("2:b;");
});

test("Deno-style connections: reads and writes wait across sleep", async () => {
  const world = new SleepWorld();
  const process = world.start();
  const listener = process.host.listen({ port: 7 });
  const client = await connect(world);
  const conn = await listener.accept();
  const buffer = new Uint8Array(20);
  const reading = conn.read(buffer);
  await world.clock.advance(5_000);
  expect(process.host.counts.asleep).toBe(1);
  await client.write(text("ping"));
  await world.clock.advance(50);
  expect(untext(buffer.subarray(0, (await reading)!))).toBe("ping");
  await world.clock.advance(5_000);
  expect(process.host.counts.asleep).toBe(1);
  const writing = conn.write(text("pong;"));
  await world.clock.advance(50);
  expect(await writing).toBe(5);
  expect(await answers(client, 1)).toBe("pong;");
  await world.clock.advance(5_000);
  conn.close();
  await world.clock.advance(50);
  expect(await client.read(buffer)).toBe(null);
});

test("unread data goes to sleep and is read afterwards, also while it is being saved", async () => {
  for (const when of ["saving", "asleep"]) {
    const world = new SleepWorld();
    const process = world.start({ idleMs: 1e9 });
    const listener = process.host.listen({ port: 7 });
    const client = await connect(world);
    const conn = await listener.accept();
    await client.write(text("unread"));
    await world.clock.advance(100);
    let resolve = (): void => {};
    process.store.sync = () => new Promise((done) => void (resolve = done));
    process.host.sleeper.suspend(only(process));
    await world.clock.advance(10);
    process.store.sync = () => Promise.resolve();
    if (when === "asleep") {
      resolve();
      await world.clock.advance(10);
    }
    expect(process.host.counts.asleep).toBe(when === "asleep" ? 1 : 0);
    const buffer = new Uint8Array(20);
    const reading = conn.read(buffer);
    await world.clock.advance(10);
    resolve();
    expect(untext(buffer.subarray(0, (await reading)!)), when).toBe("unread");
  }
});

test("shutdown() loses nothing: not what arrives in its midst, not what has news, not after a refusal", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const world = new SleepWorld({ seed });
    let process = world.start({ idleMs: prng.pick([100, 1e9]) });
    serveCounter(process);
    const conns: TcpConn[] = [];
    for (let index = 0; index < 5; index++) conns.push(await connect(world));
    const counts = conns.map(() => 0);
    for (let round = 0; round < 3; round++) {
      const asked = conns.map(() => prng.chance(0.5));
      const all = conns.map(async (conn, index) => {
        if (!asked[index]) return;
        await conn.write(text("q"));
        expect(await answers(conn, 1), `seed ${seed}`).toBe(`${++counts[index]!}:q;`);
      });
      if (prng.chance(0.3)) { // the store has refused something, and is left alone for a while
        process.store.fails.append = 1;
        await world.clock.advance(300);
        process.store.fails.append = 0;
      }
      await world.clock.advance(prng.below(20)); // questions are on the way, or being answered
      const delayMs = prng.pick([0, 1, 8, 30]);
      process.store.sync = () =>
        new Promise((done) => void world.clock.at(world.clock.nowMs() + delayMs, done));
      let over = false;
      process.host.shutdown().then(() => void (over = true));
      expect(await world.clock.runUntil(() => over, 10_000), `seed ${seed}: shutdown ends`).toBe(true);
      expect(world.disk.records.size, `seed ${seed}`).toBe(5);
      await world.clock.advance(prng.pick([0, 50, 1_000]));
      process = world.start({ idleMs: prng.pick([100, 1e9]) });
      expect(process.host.recovered.connections).toBe(5);
      serveCounter(process);
      let done = false;
      const settled = Promise.all(all).then(() => void (done = true));
      await world.clock.runUntil(() => done, 100_000);
      expect(done, `seed ${seed}, round ${round}: every question is answered`).toBe(true);
      await settled;
    }
  }
});

test("on a FileStore whose process dies, and whose disk fills up", async () => {
  const disk = new FaultyDisk(5);
  const world = new SleepWorld();
  let store = await FileStore.open(disk, { entropy: new Prng(1), segmentBytes: 4096 });
  let process: Process = world.start({ store });
  serveCounter(process);
  const conns: TcpConn[] = [];
  for (let index = 0; index < 8; index++) conns.push(await connect(world));
  for (let life = 1; life <= 6; life++) {
    for (const conn of conns) expect(await say(world, conn, "x"), `life ${life}`).toBe(`${life}:x;`);
    disk.failAt = disk.operations + 1; // one refusal
    await world.clock.advance(20_000);
    expect(process.host.counts, `life ${life}: ${process.errors}`).toEqual({
      awake: 0,
      asleep: 8,
      waking: 0,
    });
    process.kill();
    disk.restart();
    store = await FileStore.open(disk, { entropy: new Prng(life + 1), segmentBytes: 4096 });
    process = world.start({ store });
    expect(process.host.recovered).toEqual({ connections: 8, damaged: 0, unreachable: 0 });
    serveCounter(process);
  }
});

test("a connection that ended before its new owner looked at it still has its attachment, as it has its unread bytes", async () => {
  const world = new SleepWorld();
  const first = world.start({ idleMs: 100 });
  const before = first.host.listen({ port: 7 });
  const opening = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(50);
  const conn = await opening;
  (await before.accept()).attachment = { who: "Ada" };
  await world.clock.advance(1_000);
  expect(first.host.counts.asleep).toBe(1);
  first.kill();
  const second = world.start({ idleMs: 100 });
  const listener = second.host.listen({ port: 7 });
  await conn.write(text("last words"));
  conn.endpoint.abort(); // both arrive before anybody accepts
  await world.clock.advance(50);
  const late = await listener.accept();
  expect(late.attachment).toEqual({ who: "Ada" });
  const buffer = new Uint8Array(100);
  expect(untext(buffer.subarray(0, (await late.read(buffer))!))).toBe("last words");
  await expect(late.read(buffer)).rejects.toThrow(/reset/);
});
