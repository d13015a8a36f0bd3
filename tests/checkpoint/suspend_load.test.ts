import { expect, test } from "vitest";
import { createHash } from "node:crypto";
import { Prng } from "../../base/random.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { answers, connect, say, serveCounter, text } from "./counter.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

const BYTES = 120_000;
const RUNS = 4;
const LIVES = 12;

/** Bytes that tell their place. */
function content(seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BYTES);
  new Prng(seed).fill(bytes);
  return bytes;
}

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function readAll(conn: TcpConn): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(5_000);
  for (let count = await conn.read(buffer); count !== null; count = await conn.read(buffer)) {
    hash.update(buffer.subarray(0, count));
  }
  return hash.digest("hex");
}

async function writeAll(conn: TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at, at + 7_000));
  await conn.closeWrite();
}

/** Suspends whatever there is at random moments, until told otherwise. */
function disturb(world: SleepWorld, process: Process, prng: Prng): () => void {
  let over = false;
  const step = (): void => {
    if (over) return;
    for (const id of process.host.connections()) process.host.sleeper.suspend(id);
    world.clock.at(world.clock.nowMs() + prng.pick([1, 3, 10, 30, 200]), step);
  };
  step();
  return () => void (over = true);
}

for (const kind of ["Deno-style connections", "handlers"]) {
  test(`${kind}: transfers both ways, suspended at random moments, over every bad link`, async () => {
    let suspends = 0;
    for (const loss of [0, 0.01, 0.05, 0.2]) {
      for (let run = 0; run < RUNS; run++) {
        const trouble = run % 2 === 0 ? {} : { reorder: 0.1, duplicate: 0.1 };
        const seed = Math.round(loss * 100) + run * 1000 + 1;
        const where = `${kind}, loss ${loss}, ${JSON.stringify(trouble)}, seed ${seed}`;
        const world = new SleepWorld({ seed, impair: { loss, ...trouble } });
        const process = world.start({ idleMs: 50 });
        const prng = new Prng(seed);
        process.store.sync = () => {
          const ms = prng.pick([0, 0, 1, 5]);
          return new Promise((done) => void world.clock.at(world.clock.nowMs() + ms, done));
        };
        const up = content(seed), down = content(seed + 1);
        const received = createHash("sha256");
        let receivedAll: Promise<string>;
        if (kind === "handlers") {
          receivedAll = new Promise((resolve) => {
            process.host.serve({
              port: 7,
              open: (connection) => {
                for (let at = 0; at < BYTES; at += 10_000) connection.write(down.subarray(at, at + 10_000));
              },
              data: (_, bytes) => void received.update(bytes),
              end: (connection) => {
                connection.end();
                resolve(received.digest("hex"));
              },
            });
          });
        } else {
          const listener = process.host.listen({ port: 7 });
          receivedAll = listener.accept().then(async (conn) => {
            const reading = readAll(conn);
            await writeAll(conn, down);
            return await reading;
          });
        }
        let conn: TcpConn | undefined;
        world.client.connect({ hostname: "10.0.0.1", port: 7 }).then((made) => void (conn = made));
        expect(await world.clock.runUntil(() => conn !== undefined, 300_000), where).toBe(true);
        const calm = disturb(world, process, prng);
        let result: string[] | undefined;
        Promise.all([receivedAll, readAll(conn!), writeAll(conn!, up)]).then(([a, b]) =>
          void (result = [a!, b!])
        );
        const over = await world.clock.runUntil(() => result !== undefined, 3_600_000);
        calm();
        expect(over, `${where}: ends`).toBe(true);
        expect(result, where).toEqual([digest(up), digest(down)]);
        suspends += process.host.sleeper.stats.suspends;
        expect(process.errors).toEqual([]);
        // Calm: whatever is left comes to an end, and nothing of it stays.
        await world.clock.advance(400_000);
        expect(process.host.stack.connections.size, where).toBe(0);
        expect(world.disk.records.size, where).toBe(0);
        expect(process.host.stack.sleepers.held.bytes).toBe(0);
      }
    }
    expect(suspends).toBeGreaterThan(50);
  });
}

test("many connections live, sleep, wake, end and begin on recycled records", async () => {
  for (let seed = 1; seed <= LIVES; seed++) {
    const prng = new Prng(seed);
    const world = new SleepWorld({ seed });
    let process = world.start({ idleMs: 40 });
    serveCounter(process);
    process.store.sync = () => {
      const ms = prng.pick([0, 0, 3, 40]);
      return new Promise((done) => void world.clock.at(world.clock.nowMs() + ms, done));
    };
    const talkers: { conn: TcpConn; count: number; busy: boolean; lost: boolean }[] = [];
    const problems: string[] = [];
    const ask = async (talker: (typeof talkers)[0]): Promise<void> => {
      talker.busy = true;
      try {
        await talker.conn.write(text("q"));
        const answer = await answers(talker.conn, 1);
        if (answer !== `${++talker.count}:q;`) problems.push(`${answer} for ${talker.count}`);
      } catch (error) {
        if (!talker.lost) problems.push(String(error));
      }
      talker.busy = false;
    };
    for (let step = 0; step < 150; step++) {
      const kind = prng.below(10);
      const talker = talkers.length > 0 ? prng.pick(talkers) : undefined;
      if (kind === 0 || talker === undefined) {
        talkers.push({ conn: await connect(world), count: 0, busy: false, lost: false });
      } else if (kind <= 4 && !talker.busy) {
        ask(talker);
      } else if (kind === 5 && !talker.busy && talkers.length > 2) {
        talker.conn.close();
        talkers.splice(talkers.indexOf(talker), 1);
      } else if (kind === 6) {
        for (const id of process.host.connections()) if (prng.chance(0.5)) process.host.sleeper.suspend(id);
      } else if (kind === 7 && prng.chance(0.3)) {
        const op = prng.pick(["append", "remove", "read"] as const);
        process.store.fails[op] = 1;
      }
      await world.clock.advance(prng.pick([0, 1, 6, 11, 30, 100]));
    }
    await world.clock.advance(30_000);
    expect(talkers.filter(({ busy }) => busy), `seed ${seed}: unanswered`).toEqual([]);
    expect(problems, `seed ${seed}`).toEqual([]);
    const { host } = process;
    await world.clock.advance(60_000);
    expect(host.counts, `seed ${seed}`).toEqual({ awake: 0, asleep: talkers.length, waking: 0 });
    expect(world.disk.records.size, `seed ${seed}`).toBe(talkers.length);
    process.kill();
    process = world.start({ idleMs: 40 });
    serveCounter(process);
    for (const talker of talkers) {
      expect(await say(world, talker.conn, "q"), `seed ${seed}`).toBe(`${talker.count + 1}:q;`);
    }
  }
});

test("ten thousand connections sleep, and wake again", async () => {
  const COUNT = 10_000;
  const world = new SleepWorld();
  world.tracing = false;
  const store = new MemoryStore();
  const process = world.start({ idleMs: 60_000, store });
  const conns: TcpConn[] = [];
  const servers: HandlerServer[] = [];
  for (let port = 7; conns.length < COUNT; port++) {
    servers.push(serveCounter(process, port));
    const opening = Array.from({ length: 500 }, () => world.client.connect({ hostname: "10.0.0.1", port }));
    await world.clock.advance(20);
    conns.push(...await Promise.all(opening));
  }
  expect(process.host.counts.awake).toBe(COUNT);
  const { analyzer } = process.host.sleeper;
  const stayAwakeMs = analyzer.stayAwakeMs.bind(analyzer);
  let asked = 0;
  analyzer.stayAwakeMs = (tcb, nowMs) => (asked++, stayAwakeMs(tcb, nowMs));
  await world.clock.advance(70_000);
  expect(process.host.counts).toEqual({ awake: 0, asleep: COUNT, waking: 0 });
  expect(asked).toBeLessThan(3 * COUNT); // however small the batches are in which they go
  expect([process.host.stack.tcp.awake, process.host.sleeper.stats.saving]).toEqual([0, 0]);
  expect(servers.map(({ awake }) => awake)).toEqual(servers.map(() => 0));
  expect(store.stats.recordsLive).toBe(COUNT);
  expect(store.stats.bytesLive / COUNT).toBeLessThan(150);
  await Promise.all(conns.map((conn) => conn.write(text("q"))));
  await world.clock.advance(500);
  expect(process.host.counts).toEqual({ awake: COUNT, asleep: 0, waking: 0 });
  expect(store.stats.recordsLive).toBe(0);
  for (const conn of [conns[0]!, conns[COUNT / 2]!, conns[COUNT - 1]!]) {
    expect(await answers(conn, 1)).toBe("1:q;");
  }
});
