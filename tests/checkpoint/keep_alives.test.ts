import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Field } from "../../net/connections/connection_map.ts";
import { MillisecondClock } from "./millisecond_clock.ts";
import { SleepWorld, type WorldOptions } from "./sleep_world.ts";

interface Life {
  readonly trace: readonly string[];
  readonly restores: number;
  readonly probes: number;
}

/** One connection that is asked for signs of life for ten minutes, over a bad wire, and cut off at the end. */
async function live(seed: number, sleeps: boolean): Promise<Life> {
  const prng = new Prng(seed);
  const world = new SleepWorld({
    clock: new MillisecondClock(),
    seed,
    delayMs: prng.pick([5, 100]),
    tcp: { timestamps: prng.chance(0.7) },
    impair: { loss: prng.pick([0, 0.2]), duplicate: prng.pick([0, 0.2]), reorder: prng.pick([0, 0.2]) },
  });
  const keepAlive = [prng.pick([900, 7_000]), prng.pick([300, 2_000]), prng.between(2, 6)] as const;
  const says = prng.pick([0, 1, 5]);
  const process = world.start({ idleMs: sleeps ? 400 : 1e9 });
  process.host.serve({
    port: 7,
    open: (connection) => connection.setKeepAlive(true, ...keepAlive),
    data: (connection, bytes) => void connection.write(bytes),
  });
  const opening = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(30_000);
  const conn = await opening;
  for (let round = 0; round < 6; round++) {
    if (round < says) {
      await conn.write(Uint8Array.of(round)).catch(() => {}); // it may have been given up
      await world.clock.advance(prng.pick([1_000, 20_000])); // its echo, over a bad wire
    }
    await world.clock.advance(90_000);
  }
  world.client.close(); // cut off: its RST may be lost, and then nothing answers
  await world.clock.advance(60_000);
  const { host } = process;
  expect(host.stack.connections.size, `seed ${seed}: ${sleeps}`).toBe(0);
  return {
    trace: world.trace,
    restores: host.sleeper.stats.restores,
    probes: host.stack.tcp.counters.keepAlive,
  };
}

test(
  "with keep-alive over a bad wire the same packets flow with sleep as without, and probes wake nobody",
  async () => {
    let probes = 0, ends = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const awake = await live(seed, false), asleep = await live(seed, true);
      expect(asleep.trace, `seed ${seed}`).toEqual(awake.trace);
      expect(asleep.probes).toBe(awake.probes);
      expect(asleep.restores, `seed ${seed}: what was said, and the end`).toBeLessThanOrEqual(12);
      probes += asleep.probes;
      if (awake.probes > 0) ends++;
    }
    expect(probes).toBeGreaterThan(1_000); // the test is worth something only while they ask
    expect(ends).toBeGreaterThan(20);
  },
  60_000,
);

/** A world with `count` sleepers that ask every minute. */
async function sleepers(count: number, options: WorldOptions = {}): Promise<SleepWorld> {
  const world = new SleepWorld(options);
  world.tracing = false;
  const { host } = world.start();
  host.serve({
    port: 7,
    open: (connection) => connection.setKeepAlive(true, 60_000, 10_000, 3),
    data: () => {},
  });
  for (let at = 0; at < count; at += 500) {
    const some = Math.min(500, count - at);
    const opening = Promise.all(
      Array.from({ length: some }, () => world.client.connect({ hostname: "10.0.0.1", port: 7 })),
    );
    await world.clock.advance(100);
    await opening;
  }
  await world.clock.advance(5_000);
  expect(host.counts).toMatchObject({ awake: 0, asleep: count });
  return world;
}

test("thousands of sleepers ask and are answered, and none wakes", async () => {
  const world = await sleepers(3_000);
  const { host } = world.process;
  await world.clock.advance(600_000);
  expect(host.counts).toMatchObject({ awake: 0, asleep: 3_000 });
  expect(host.sleeper.stats.restores).toBe(0);
  expect(host.stack.tcp.counters.keepAlive).toBeGreaterThanOrEqual(27_000);
}, 60_000);

test(
  "when all are due at once, as after a restart, a turn asks some of them and the next ones go on",
  async () => {
    const world = await sleepers(3_000);
    world.process.kill();
    await world.clock.advance(120_000);
    const { host } = world.start();
    const { stack } = host;
    host.serve({ port: 7, data: () => {} });
    const sentBy: number[] = [];
    const poll = stack.poll.bind(stack);
    stack.poll = (...args) => {
      const before = stack.tcp.counters.keepAlive;
      const deadlineMs = poll(...args);
      if (stack.tcp.counters.keepAlive > before) sentBy.push(stack.tcp.counters.keepAlive - before);
      return deadlineMs;
    };
    await world.clock.advance(1_000);
    expect(sentBy).toEqual([1_024, 1_024, 952]);
    expect(host.sleeper.stats.restores).toBe(0);
    expect(host.counts.asleep).toBe(3_000);
  },
  60_000,
);

test("a crash forgets how often a peer was asked, and nothing else", async () => {
  const world = await sleepers(1);
  let { host } = world.process;
  world.tracing = true;
  const record = host.recordOf([...host.connections()][0]!);
  const sndNxt = host.stack.connections.get(record, Field.sndNxt) >>> 0;
  world.client.close(); // it is gone, and its RST is lost:
  world.process.kill();
  await world.clock.advance(100);
  host = world.start().host;
  host.serve({ port: 7, data: () => {} });
  await world.clock.advance(68_000); // two probes
  world.process.kill();
  const asked = world.trace.filter((line) => line.includes(" < ")).length;
  expect(asked).toBe(2);
  host = world.start().host;
  host.serve({ port: 7, data: () => {} });
  await world.clock.advance(1); // it asks at once, for it was due
  expect(world.trace.filter((line) => line.includes(" < ")).length).toBe(3);
  expect(host.counts.asleep).toBe(1);
  await world.clock.advance(29_000);
  expect(host.counts.asleep, "two more have to be missing").toBe(1);
  await world.clock.advance(2_000);
  expect(host.stack.connections.size).toBe(0);
  const ours = world.trace.filter((line) => line.includes(" < "));
  expect(ours.slice(0, 5).every((line) => line.includes(`ACK ${sndNxt - 1}+0`))).toBe(true);
  expect(ours.at(-1)).toContain("RST");
}, 60_000);
