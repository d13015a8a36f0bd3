import { expect, test } from "vitest";
import { answers, connect, only, say, serveCounter, text } from "./counter.ts";
import { SleepWorld } from "./sleep_world.ts";

const LONG = `${"x".repeat(5_000)};`;

for (const mtu of [1400, 1500, 9000]) {
  test(`what a connection writes after it slept in a process with MTU 1500 fits a link of ${mtu}`, async () => {
    const world = new SleepWorld();
    serveCounter(world.start());
    const conn = await connect(world);
    await say(world, conn, "a");
    await world.process.host.shutdown();
    const process = world.start({ idleMs: 1e9 }, mtu);
    const server = serveCounter(process);
    server.send(only(process), text(LONG));
    const got = answers(conn, 1);
    let arrived = false;
    got.then(() => void (arrived = true));
    await world.clock.advance(5_000);
    expect(arrived).toBe(true);
    expect(await got).toBe(LONG);
    const tcb = process.host.stack.awakeTcb(process.host.recordOf(only(process)));
    expect(tcb.sndMss).toBe(Math.min(mtu, 1500) - 52);
  });
}

test("connections of an address that the host has no more are counted and told, and live when it is back", async () => {
  const world = new SleepWorld();
  serveCounter(world.start());
  const conns = [await connect(world), await connect(world)];
  await say(world, conns[0]!, "a");
  await say(world, conns[1]!, "a");
  await world.clock.advance(500);
  await world.process.host.shutdown();
  const process = world.start({ addresses: [{ address: "10.0.0.9/24" }] });
  serveCounter(process);
  expect(process.host.recovered).toEqual({ connections: 0, damaged: 0, unreachable: 2 });
  await world.clock.advance(0);
  expect(process.errors.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^2 sleeping connections are of addresses .* \(10\.0\.0\.1:7-10\.0\.0\.2:/),
  ]);
  expect(world.disk.records.size).toBe(2);
  process.host.stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }] });
  expect(await say(world, conns[0]!, "b")).toBe("2:b;");
  expect(process.host.counts.asleep).toBe(1);
});
