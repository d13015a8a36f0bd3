import { existsSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { unarchive } from "../../../checkpoint/archive/unarchive.ts";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { FileStore, MemoryStore } from "../../../checkpoint/store/mod.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { ReconnectingLink } from "../../../net/link/reconnecting.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { answers, connect, only, say, serveCounter, text } from "../counter.ts";
import { SleepWorld } from "../sleep_world.ts";
import { nat } from "./nat.ts";

const folder = new TemporaryFolder();
afterAll(() => folder[Symbol.dispose]());

test(
  "a host goes on after a checkpoint; another one, elsewhere and under another address, goes on from it",
  async () => {
    const cable = new ReconnectingLink({ medium: "ip" });
    using client = new Host({
      interfaces: [{ link: nat(cable, "10.0.0.1", "10.0.0.9") }],
      addresses: [{ address: "10.0.0.2/24" }],
    });
    let moved = false;
    const start = async (store: string, address: string): Promise<SleepyHost> => {
      const [link, far] = pipe({ medium: "ip" });
      cable.attach(moved ? far : nat(far, "10.0.0.9", "10.0.0.1")); // there is no NAT before the move: both undo each other
      const host = new SleepyHost({
        interfaces: [{ link }],
        addresses: [{ address: `${address}/24` }],
        store: await FileStore.open(folder.file(store)),
        idleMs: 60_000,
      });
      host.serve({
        port: 7,
        open: (connection) => void (connection.attachment = 0),
        data: (connection, bytes) => {
          const count = (connection.attachment as number) + 1;
          connection.attachment = count;
          connection.write(text(`${count}:${new TextDecoder().decode(bytes)};`));
        },
      });
      return host;
    };
    const all = async (round: number, conns: readonly TcpConn[]): Promise<void> => {
      const said = await Promise.all(conns.map(async (conn, index) => {
        await conn.write(text(`${index}`));
        return await answers(conn, 1);
      }));
      expect(said).toEqual(conns.map((_, index) => `${round}:${index};`));
    };
    const here = await start("here", "10.0.0.1");
    const conns = await Promise.all(
      Array.from({ length: 10 }, () => client.connect({ hostname: "10.0.0.1", port: 7 })),
    );
    await all(1, conns);
    const first = await here.checkpoint(folder.file("first"));
    expect(first).toMatchObject({ connections: 10, awake: 0 });
    await all(2, conns); // it goes on
    await expect(here.checkpoint(folder.file("first"))).rejects.toThrow("it is there already");
    await all(3, conns);
    await here.checkpoint(folder.file("second"));
    moved = true;
    {
      await using store = await FileStore.open(folder.file("there"));
      const out = await unarchive(folder.file("second"), store, { move: { "10.0.0.1": "10.0.0.9" } });
      expect(out).toEqual({ connections: 10, moved: 10, damaged: 0, expected: 10 });
    }
    const there = await start("there", "10.0.0.9"); // the cable is plugged in there now
    here.close();
    expect(there.recovered).toEqual({ connections: 10, damaged: 0, unreachable: 0 });
    await all(4, conns);
    there.close();
  },
  60_000,
);

test("while a checkpoint is written nobody wakes, and nobody is accepted or refused; then all go on", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const conn = await connect(world);
  await say(world, conn, "a");
  const pieces: Uint8Array[] = [];
  let finish: (() => void) | undefined;
  let over = false;
  const writing = process.host.checkpoint((piece) => {
    pieces.push(piece.slice());
    return new Promise((resolve) => finish = resolve);
  }).finally(() => over = true);
  while (finish === undefined) await world.clock.advance(1);
  await expect(process.host.checkpoint(() => {})).rejects.toThrow("they are held");
  await conn.write(text("b"));
  const second = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(500);
  expect(process.host.counts).toMatchObject({ awake: 0 });
  expect(process.events.filter((event) => event.startsWith("restored"))).toEqual([]);
  expect(world.disk.records.size).toBe(1);
  while (!over) {
    finish!();
    await world.clock.advance(1);
  }
  const { connections, bytes, awake } = await writing;
  expect({ connections, bytes, awake }).toEqual({
    connections: 1,
    bytes: pieces.reduce((sum, { length }) => sum + length, 0),
    awake: 0,
  });
  const answer = answers(conn, 1);
  let opened = false;
  second.then(() => void (opened = true));
  await world.clock.advance(10_000);
  expect([await answer, opened]).toEqual(["2:b;", true]);
  expect(await say(world, await second, "c")).toBe("1:c;");
  expect(world.trace.filter((line) => line.includes("RST"))).toEqual([]);
  const store = new MemoryStore();
  await unarchive(new Uint8Array(Buffer.concat(pieces)), store);
  expect(store.stats.recordsLive).toBe(1);
});

test("a checkpoint that fails leaves nothing behind, and the host as it was", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  const server = serveCounter(process);
  const conn = await connect(world);
  await say(world, conn, "a");
  await expect(process.host.checkpoint(() => Promise.reject(new Error("full")))).rejects.toThrow("full");
  expect(await say(world, conn, "b")).toBe("2:b;");
  expect(existsSync(folder.file("never"))).toBe(false);
  // One whose attachment cannot be written stays awake, and is told.
  server.with(only(process), (connection) => void (connection.attachment = { broken: () => {} }));
  const told = process.host.checkpoint(() => {});
  await world.clock.advance(100);
  expect(await told).toMatchObject({ connections: 0, awake: 1 });
});

test("a shutdown in the middle of a checkpoint is final", async () => {
  const world = new SleepWorld();
  const process = world.start({ idleMs: 1e9 });
  serveCounter(process);
  const conn = await connect(world);
  await say(world, conn, "a");
  let finish: (() => void) | undefined;
  let over = false;
  process.host.checkpoint(() => new Promise((resolve) => finish = resolve)).finally(() => over = true);
  while (finish === undefined) await world.clock.advance(1);
  await process.host.shutdown();
  while (!over) {
    finish!();
    await world.clock.advance(1);
  }
  expect(process.host.closed).toBe(true);
  expect(process.host.stack.accepting).toBe(false);
  serveCounter(world.start());
  expect(await say(world, conn, "b")).toBe("2:b;");
  expect(world.trace.filter((line) => line.includes("RST"))).toEqual([]);
});
