import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import { mqttPings } from "../../net/socket/asleep/mqtt_pings.ts";
import type { AsleepProtocol } from "../../net/socket/asleep/protocol.ts";
import { SleepWorld } from "./sleep_world.ts";

const PORT = 1883;
const PING = Uint8Array.of(0xc0, 0);
const CONNECT = Uint8Array.of(0x10, 2, 7, 7);

interface Served {
  readonly server: HandlerServer;
  /** All bytes that came to the application. */
  readonly got: number[];
  calls: number;
}

/** Serves MQTT, or what looks like it: `data` is answered by as many bytes of 0x90. */
function serve(world: SleepWorld, asleep: AsleepProtocol = mqttPings()): Served {
  const served: { -readonly [Key in keyof Served]: Served[Key] } = {
    server: undefined as never,
    got: [],
    calls: 0,
  };
  served.server = world.process.host.serve({
    port: PORT,
    asleep,
    open: () => void served.calls++,
    data(connection, bytes) {
      served.calls++;
      served.got.push(...bytes);
      connection.write(new Uint8Array(bytes.length).fill(0x90));
    },
    end: (connection) => (served.calls++, connection.end()),
    close: () => void served.calls++,
  });
  return served;
}

/** A world with one connection that has said CONNECT and sleeps; its application wants to be awake for a minute. */
async function asleep(protocol?: AsleepProtocol): Promise<
  { world: SleepWorld; conn: TcpConnection; served: Served; heard: () => Promise<number[]> }
> {
  const world = new SleepWorld({ delayMs: 5 });
  world.start({ idleMs: 60_000 });
  const served = serve(world, protocol);
  const opening = world.client.connect({ hostname: "10.0.0.1", port: PORT });
  await world.clock.advance(100);
  const conn = await opening;
  const heard: number[] = [];
  const buffer = new Uint8Array(1_000);
  const listen = async (): Promise<void> => {
    for (let count; (count = await conn.read(buffer)) !== null;) heard.push(...buffer.subarray(0, count));
  };
  listen().catch(() => void heard.push(-1));
  await conn.write(CONNECT);
  await world.clock.advance(62_000);
  expect(world.process.host.counts).toMatchObject({ awake: 0, asleep: 1 });
  expect(heard.splice(0)).toEqual([0x90, 0x90, 0x90, 0x90]);
  served.calls = 0;
  served.got.length = 0;
  return {
    world,
    conn,
    served,
    heard: async () => {
      await world.clock.advance(20);
      return heard.splice(0);
    },
  };
}

test("a ping is answered, the application hears nothing of it, and the connection sleeps as soon as it is quiet", async () => {
  const { world, conn, served, heard } = await asleep();
  const { host } = world.process;
  for (let round = 1; round <= 5; round++) {
    await conn.write(PING);
    expect(await heard()).toEqual([0xd0, 0]);
    await world.clock.advance(200);
    expect(host.counts).toMatchObject({ awake: 0, asleep: 1 });
    expect([served.calls, served.server.answers, host.sleeper.stats.restores]).toEqual([0, round, round]);
    await world.clock.advance(30_000);
  }
  await conn.write(PING);
  await world.clock.advance(11); // awake still, and another one comes
  await conn.write(PING);
  expect(await heard()).toEqual([0xd0, 0, 0xd0, 0]);
  await world.clock.advance(200);
  expect([served.calls, host.counts.asleep]).toEqual([0, 1]);
});

test("what is not answered whole comes to the application, all of it and in order, and the idle time counts again", async () => {
  for (
    const [name, parts] of [
      ["data", [[0x30, 1, 5]]],
      ["a ping and data in one segment", [[0xc0, 0, 0x30, 1, 5]]],
      ["data and a ping", [[0x30, 1, 5, 0xc0, 0]]],
      ["a ping in two segments", [[0xc0], [0]]],
      ["two pings and a half", [[0xc0, 0, 0xc0, 0, 0xc0], [0]]],
    ] as const
  ) {
    const { world, conn, served, heard } = await asleep();
    const { host } = world.process;
    for (const part of parts) {
      await conn.write(Uint8Array.from(part));
      await world.clock.advance(300);
    }
    const all = parts.flat();
    expect(served.got, name).toEqual(all);
    expect(await heard()).toEqual(all.map(() => 0x90));
    await world.clock.advance(50_000);
    expect(host.counts, name).toMatchObject({ awake: 1 });
    await conn.write(PING); // awake, it is the application's
    await world.clock.advance(100);
    expect(served.got).toEqual([...all, ...PING]);
    await heard();
    await world.clock.advance(62_000);
    expect(host.counts, name).toMatchObject({ awake: 0, asleep: 1 });
    await conn.write(PING); // and where the stream stands is known
    expect(await heard(), name).toEqual([0xd0, 0]);
  }
});

test("a ping answered, then data before it sleeps again: the application gets the data only", async () => {
  const { world, conn, served, heard } = await asleep();
  await conn.write(PING);
  await world.clock.advance(12);
  await conn.write(Uint8Array.of(0x30, 0));
  expect((await heard()).slice(0, 4)).toEqual([0xd0, 0, 0x90, 0x90]);
  expect([served.got, served.server.answers]).toEqual([[0x30, 0], 1]);
  await world.clock.advance(30_000);
  expect(world.process.host.counts.awake).toBe(1);
});

test("a connection asleep in the middle of a message answers nothing that only looks like a ping", async () => {
  const { world, conn, served, heard } = await asleep();
  await conn.write(Uint8Array.of(0x30, 6, 1, 2));
  await world.clock.advance(62_000);
  expect(world.process.host.counts.asleep).toBe(1);
  world.process.kill();
  await world.clock.advance(10);
  world.start({ idleMs: 60_000 });
  const next = serve(world); // in a later process, too
  await heard();
  await conn.write(PING);
  expect(await heard()).toEqual([0x90, 0x90]);
  await world.clock.advance(62_000);
  await conn.write(PING);
  expect(await heard()).toEqual([0x90, 0x90]);
  await world.clock.advance(62_000);
  await conn.write(PING); // here the message is over
  expect(await heard()).toEqual([0xd0, 0]);
  expect([served.got, next.got, next.server.answers]).toEqual([[0x30, 6, 1, 2], [...PING, ...PING], 1]);
});

test("the application's own call, an end and a reset are for the application", async () => {
  const { world, conn, served, heard } = await asleep();
  const { host } = world.process;
  const [id] = [...host.connections()];
  await conn.write(PING);
  await world.clock.advance(7);
  served.server.with(id!, (connection) => void connection.write(Uint8Array.of(1)));
  expect((await heard()).sort()).toEqual([0, 1, 0xd0]);
  await world.clock.advance(30_000);
  expect(host.counts.awake).toBe(1); // it has been asked for
  await world.clock.advance(32_000);
  await Promise.all([conn.write(PING), conn.closeWrite()]); // in one segment
  await world.clock.advance(1_000);
  expect([served.got, served.calls]).toEqual([[...PING], 3]);

  const reset = await asleep();
  reset.conn.endpoint.abort();
  await reset.world.clock.advance(100);
  expect(reset.served.calls).toBe(1);
});

test("a connection from before there was a protocol, or with another one, is left alone", async () => {
  for (const id of [undefined, 300]) {
    const { world, conn, heard } = await asleep(
      id === undefined ? { ...mqttPings(), id: 301 } : { ...mqttPings(), id },
    );
    world.process.kill();
    await world.clock.advance(10);
    world.start({ idleMs: 60_000 });
    const next = serve(world);
    await conn.write(PING);
    expect(await heard()).toEqual([0x90, 0x90]);
    expect(next.got).toEqual([...PING]);
  }
});

test("a protocol that throws costs nobody his connection, and its application gets what came", async () => {
  const broken: AsleepProtocol = {
    id: 400,
    start: [0],
    read(state, bytes) {
      if (bytes[0] === 0xc0) throw new Error("no pings today");
      return { state, answer: undefined };
    },
  };
  const { world, conn, served, heard } = await asleep(broken);
  const mistakes: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => void mistakes.push(error.message));
  try {
    await conn.write(PING);
    expect(await heard()).toEqual([0x90, 0x90]);
    await new Promise((resolve) => setTimeout(resolve, 1));
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener as () => void);
  }
  expect([mistakes, served.got]).toEqual([["no pings today"], [...PING]]);
  await world.clock.advance(1_000);
});

test("killed at every step of an answer, the peer gets its pong once, or the connection ends as any that was awake", async () => {
  let points = 0, answered = 0, reset = 0;
  for (let deed = 0;; deed++) {
    const { world, conn, served, heard } = await asleep();
    let left = deed;
    let killed = false;
    world.disk.before = () => {
      if (left-- > 0 || killed) return;
      killed = true;
      world.process.kill();
    };
    await conn.write(PING);
    await world.clock.advance(150);
    world.disk.before = () => {};
    const before = await heard();
    if (!killed) {
      expect(before).toEqual([0xd0, 0]);
      break;
    }
    points++;
    world.start({ idleMs: 60_000 });
    const next = serve(world);
    await world.clock.advance(5_000);
    const first = [...before, ...await heard()];
    if (first.length === 2) { // it slept, or the pong had left: what does the next ping bring?
      expect(first, `deed ${deed}`).toEqual([0xd0, 0]);
      await conn.write(PING).catch(() => {});
      await world.clock.advance(5_000);
      first.push(...await heard());
    }
    if (first.includes(-1)) {
      reset++;
      expect([[-1], [0xd0, 0, -1]]).toContainEqual(first);
    } else {
      answered++;
      expect(first, `deed ${deed}`).toEqual([0xd0, 0, 0xd0, 0]);
    }
    expect([served.got, next.got]).toEqual([[], []]);
  }
  // Before its image is revoked it sleeps; then it is awake, until it has another one.
  expect({ points, answered, reset }).toEqual({ points: 3, answered: 1, reset: 2 });
});

/** The packets that a stream begins with, whole, and what is left. */
function packetsOf(stream: readonly number[]): { packets: number[][]; rest: number[] } {
  const packets: number[][] = [];
  let at = 0;
  while (stream.length >= at + 2 && stream.length >= at + 2 + stream[at + 1]!) {
    packets.push(stream.slice(at, at + 2 + stream[at + 1]!));
    at += 2 + stream[at + 1]!;
  }
  return { packets, rest: stream.slice(at) };
}

test(
  "over bad wires, cut anywhere, asleep and awake: each message has its answer, in order, and the application what it must have",
  async () => {
    let answers = 0, seen = 0;
    for (let seed = 1; seed <= 25; seed++) {
      const prng = new Prng(seed);
      const world = new SleepWorld({
        seed,
        delayMs: prng.pick([1, 30]),
        impair: { loss: prng.pick([0, 0.05]), duplicate: prng.pick([0, 0.1]), reorder: prng.pick([0, 0.2]) },
      });
      world.tracing = false;
      world.start({ idleMs: prng.pick([20, 300]), ...(prng.chance(0.3) ? { wake: { perSecond: 4 } } : {}) });
      const got: number[][] = []; // packets that came to the application
      const server = world.process.host.serve({
        port: PORT,
        asleep: mqttPings(),
        open: (connection) => void (connection.attachment = []),
        data(connection, bytes) {
          const { packets, rest } = packetsOf([...connection.attachment as number[], ...bytes]);
          connection.attachment = rest;
          for (const packet of packets) {
            got.push(packet);
            connection.write(Uint8Array.of(packet[0] === 0xc0 ? 0xd0 : 0x40, 0));
          }
        },
      });
      const opening = world.client.connect({ hostname: "10.0.0.1", port: PORT });
      await world.clock.advance(10_000);
      const conn = await opening;
      const heard: number[] = [];
      const buffer = new Uint8Array(1_000);
      const listen = async (): Promise<void> => {
        for (let count; (count = await conn.read(buffer)) !== null;) heard.push(...buffer.subarray(0, count));
      };
      listen().catch(() => {});
      const said: number[][] = [[0x10, 2, 7, 7]];
      for (let count = prng.between(5, 40); count > 0; count--) {
        // A payload that looks like pings, so that a place lost is noticed.
        const body = Array.from({ length: prng.pick([0, 1, 2, 7, 40]) }, (_, at) => at % 2 === 0 ? 0xc0 : 0);
        said.push(prng.chance(0.6) ? [0xc0, 0] : [0x30, body.length, ...body]);
      }
      const stream = said.flat();
      for (let at = 0; at < stream.length;) {
        const ends = said.reduce((sums, { length }) => [...sums, sums.at(-1)! + length], [0]);
        const next = ends.find((end) => end > at)!;
        const to = prng.chance(0.8) ? next : Math.min(stream.length, at + prng.between(1, 9));
        await conn.write(Uint8Array.from(stream.slice(at, to)));
        at = to;
        await world.clock.advance(prng.pick([0, 1, 50, 400, 3_000]));
        if (prng.chance(0.2)) {
          for (const id of server.connections()) world.process.host.sleeper.suspend(id);
        }
      }
      await world.clock.advance(60_000);
      const expected = said.flatMap(([type]) => type === 0xc0 ? [0xd0, 0] : [0x40, 0]);
      expect(heard, `seed ${seed}`).toEqual(expected);
      const others = (packets: number[][]): number[][] => packets.filter(([type]) => type !== 0xc0);
      expect(others(got), `seed ${seed}`).toEqual(others(said));
      const pings = said.length - others(said).length, toThem = got.length - others(got).length;
      // One answer may be to several pings that came together.
      expect(server.answers, `seed ${seed}`).toBeLessThanOrEqual(pings - toThem);
      answers += server.answers;
      seen += toThem;
      expect(world.process.host.counts).toMatchObject({ awake: 0, asleep: 1 });
    }
    expect(answers).toBeGreaterThan(60);
    expect(seen).toBeGreaterThan(20);
  },
  60_000,
);
