import { expect, test } from "vitest";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { MemoryStore } from "../../../checkpoint/store/mod.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { pipe } from "../../../net/link/pipe.ts";
import type { Connection } from "../../../net/socket/connection.ts";
import type { Handlers, HandlerServer } from "../../../net/socket/handlers.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { CLIENT, difference, patterned, readAll, refusal, SERVER, settled } from "./world.ts";
import { uncaught, virtualPair, writeAll } from "./world.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytesOf = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Handlers that write down what they are told. */
function recorder(more: Partial<Handlers> = {}): Handlers & { log: string[] } {
  const log: string[] = [];
  return {
    log,
    open: (connection) => (log.push(`open ${connection.id}`), more.open?.(connection)),
    data: (connection, bytes) => (log.push(`data ${text(bytes)}`), more.data?.(connection, bytes)),
    drain: (connection) => (log.push("drain"), more.drain?.(connection)),
    close: (connection, error) => (log.push(`close ${error?.name}`), more.close?.(connection, error)),
    ...(more.end === undefined ? {} : {
      end: (connection: Connection) => (log.push("end"), more.end?.(connection)),
    }),
  };
}

interface SleepyWorld {
  readonly clock: VirtualClock;
  readonly server: SleepyHost;
  readonly client: Host;
  readonly store: MemoryStore;
}

function sleepyWorld(idleMs = 1_000, store = new MemoryStore()): SleepyWorld {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1, medium: "ip" });
  const server = new SleepyHost({
    interfaces: [{ link: left }],
    addresses: [{ address: `${SERVER}/24` }],
    entropy: new Prng(1),
    clock,
    store,
    idleMs,
  });
  const client = new Host({
    interfaces: [{ link: right }],
    addresses: [{ address: `${CLIENT}/24` }],
    entropy: new Prng(2),
    clock,
  });
  return { clock, server, client, store };
}

async function readSome(clock: VirtualClock, conn: TcpConn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  const count = await settled(clock, conn.read(buffer));
  return text(buffer.subarray(0, count!));
}

test("open, data, the peer's end, and close once when both directions are over", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder({ data: (connection, bytes) => void connection.write(bytes) });
  const served = server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await conn.write(bytesOf("hello"));
  expect(await readSome(clock, conn)).toBe("hello");
  expect([...served.connections()]).toEqual([`${SERVER}:7-${CLIENT}:${conn.localAddr.port}`]);
  expect(served.awake).toBe(1);
  await conn.closeWrite();
  expect(await settled(clock, readAll(conn))).toHaveLength(0); // no `end` handler: closed from here too
  await clock.advance(10);
  expect(handlers.log).toEqual([
    `open ${[SERVER]}:7-${CLIENT}:${conn.localAddr.port}`,
    "data hello",
    "close undefined",
  ]);
  expect([served.awake, [...served.connections()]]).toEqual([0, []]);
});

test("with an end handler our direction stays open; closing first is told without waiting for TIME-WAIT", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder({
    end: (connection) => {
      connection.write(bytesOf("bye"));
      connection.close();
    },
  });
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await conn.closeWrite();
  expect(text(await settled(clock, readAll(conn)))).toBe("bye");
  await clock.advance(10);
  expect(handlers.log.slice(1)).toEqual(["end", "close undefined"]);

  const first = recorder({ open: (connection) => connection.close() });
  server.serve({ port: 8, ...first });
  const second = await settled(clock, client.connect({ hostname: SERVER, port: 8 }));
  await settled(clock, readAll(second));
  second.close();
  await clock.advance(10);
  expect(first.log.slice(1)).toEqual(["close undefined"]);
  await clock.advance(200_000);
  expect(first.log).toHaveLength(2); // and not again when TIME-WAIT ends
});

test("a reset is told with its error; abort and close end the data", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder();
  server.serve({ port: 7, ...handlers });
  await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  client.close();
  await clock.advance(10);
  expect(handlers.log.slice(1)).toEqual(["close ConnectionReset"]);

  for (const how of ["abort", "close"] as const) {
    const world = virtualPair();
    let [over, late] = [false, 0];
    const quits = recorder({
      data: (connection, bytes) => {
        if (over) late++;
        if (bytes.length < 65_536) return; // more of the same turn's bytes follow a full one
        over = true;
        connection[how]();
      },
    });
    world.server.serve({ port: 7, ...quits });
    const conn = await settled(world.clock, world.client.connect({ hostname: SERVER, port: 7 }));
    const writing = writeAll(conn, new Uint8Array(3_000_000)).catch(() => {});
    await world.clock.advance(5_000);
    await writing;
    expect([how, over, late]).toEqual([how, true, 0]);
    expect(quits.log.filter((line) => line.startsWith("close"))).toHaveLength(1);
  }
});

test("write limits: false asks for patience, drain ends it, 16 MiB is the end", async () => {
  const { server, client, clock } = virtualPair();
  let connection: Connection | undefined;
  const handlers = recorder({ open: (each) => void (connection = each) });
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(10);
  expect(connection!.write(patterned(1_000))).toBe(true);
  const limit = server.stack.tcp.config.sendBufferBytes;
  await clock.advance(100);
  expect([connection!.bufferedBytes, handlers.log.includes("drain")]).toEqual([0, false]);
  expect(connection!.write(new Uint8Array(limit - 1))).toBe(true);
  expect(connection!.write(new Uint8Array(1))).toBe(false);
  const most = 16 << 20;
  const rest = patterned(most - connection!.bufferedBytes);
  expect(() => connection!.write(new Uint8Array(rest.length + 1))).toThrow(RangeError);
  expect(connection!.write(rest)).toBe(false);
  expect(connection!.bufferedBytes).toBe(most);
  expect(() => connection!.write(new Uint8Array(1))).toThrow(RangeError);
  connection!.end();
  expect(await refusal(() => connection!.write(new Uint8Array(1)))).toMatch(/^BrokenPipe: /);
  const all = await settled(clock, readAll(conn));
  expect(all.length).toBe(1_000 + most);
  expect(difference(all.subarray(all.length - rest.length), rest)).toBe(-1);
  await clock.advance(10); // the last ACK is still on its way
  expect(handlers.log.filter((line) => line === "drain")).toHaveLength(1);
});

test("a handler that throws loses its connection only, and the error is not swallowed", async () => {
  const { server, client, clock } = virtualPair();
  const thrown = uncaught();
  const handlers = recorder({
    data: (connection, bytes) => {
      if (text(bytes) === "boom") throw new Error("a bug");
      connection.write(bytes);
    },
  });
  server.serve({ port: 7, ...handlers });
  const good = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  const bad = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await Promise.all([bad.write(bytesOf("boom")), good.write(bytesOf("fine"))]);
  expect(await readSome(clock, good)).toBe("fine");
  expect(await refusal(settled(clock, bad.read(new Uint8Array(1))))).toMatch(/^ConnectionReset: /);
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(thrown.map(String)).toEqual(["Error: a bug"]);
  expect(handlers.log.filter((line) => line.startsWith("close"))).toEqual(["close ConnectionAborted"]);
});

test("asleep: no object is left, the attachment comes back, send and close reach it by id", async () => {
  const { clock, server, client } = sleepyWorld();
  const handlers = recorder({
    open: (connection) => void (connection.attachment = { seen: 0 }),
    data: (connection) => {
      const attachment = connection.attachment as { seen: number };
      connection.attachment = { seen: attachment.seen + 1 };
      connection.write(bytesOf(`seen ${attachment.seen + 1}`));
    },
  });
  const served = server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await conn.write(bytesOf("a"));
  expect(await readSome(clock, conn)).toBe("seen 1");
  const asleep = async (): Promise<void> => {
    await clock.advance(3_000);
    expect([server.counts.asleep, served.awake, server.stack.tcp.awake]).toEqual([1, 0, 0]);
  };
  await asleep();
  const [id] = [...served.connections()];
  await conn.write(bytesOf("b"));
  expect(await readSome(clock, conn)).toBe("seen 2");
  await asleep();
  const shared = bytesOf("news");
  expect(served.send(id!, shared)).toBe(true);
  shared.fill(0); // the caller's buffer is its own again
  expect(await readSome(clock, conn)).toBe("news");
  await asleep();
  expect(served.with(id!, (connection) => connection.write(bytesOf(connection.id)))).toBe(true);
  expect(await readSome(clock, conn)).toBe(id);
  await asleep();
  expect(served.closeConnection(id!)).toBe(true);
  expect(await settled(clock, conn.read(new Uint8Array(1)))).toBe(null);
  conn.close();
  await clock.advance(100);
  expect(served.send(id!, shared)).toBe(false);
  expect(() => served.send("nonsense", shared)).toThrow(TypeError);
  expect(handlers.log.filter((line) => !line.startsWith("data"))).toEqual([`open ${id}`, "close undefined"]);
});

test("an object that was kept while its connection fell asleep says so when something is attached to it: nothing is lost", async () => {
  const { clock, server, client } = sleepyWorld();
  let kept: Connection | undefined;
  const served = server.serve({ port: 7, open: (connection) => void (kept = connection), data() {} });
  await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(100);
  kept!.attachment = { seen: 1 };
  await clock.advance(3_000);
  expect(server.counts.asleep).toBe(1);
  expect(() => void (kept!.attachment = { seen: 2 })).toThrow(/sleeps and this object is stale/);
  const [id] = [...served.connections()];
  served.with(id!, (connection) => void (connection.attachment = { seen: 2 }));
  await clock.advance(3_000);
  let found: unknown;
  served.with(id!, (connection) => void (found = connection.attachment));
  await clock.advance(10);
  expect(found).toEqual({ seen: 2 });
});

test("an object that was kept says what it knew when another connection has its sleeper's TCB, and does nothing to that", async () => {
  const { clock, server, client } = sleepyWorld();
  const opened: Connection[] = [];
  server.serve({ port: 7, open: (connection) => void opened.push(connection), data() {} });
  await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(100);
  const [first] = [...server.stack.tcp.tcbs()];
  opened[0]!.attachment = { seen: 1 };
  const { id, localAddr, remoteAddr } = opened[0]!;
  await clock.advance(3_000);
  expect(server.counts.asleep).toBe(1);
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(100);
  expect([...server.stack.tcp.tcbs()][0] === first).toBe(true); // the very same
  const [kept, other] = opened as [Connection, Connection];
  expect([kept.id, kept.localAddr, kept.remoteAddr]).toEqual([id, localAddr, remoteAddr]);
  expect([kept.attachment, other.attachment]).toEqual([{ seen: 1 }, undefined]);
  expect(other.id).not.toBe(id);
  expect(() => kept.write(bytesOf("x"))).toThrow(/sleeps and this object is stale/);
  expect(() => kept.options()).toThrow(/sleeps and this object is stale/);
  expect(() => kept.info()).toThrow(/sleeps and this object is stale/);
  kept.setNoDelay();
  kept.end();
  kept.abort();
  expect([other.options().noDelay, kept.bufferedBytes]).toEqual([false, 0]);
  other.write(bytesOf("news"));
  expect(await readSome(clock, conn)).toBe("news");
});

test("what is sent to a sleeper is limited too", async () => {
  const { clock, server, client } = sleepyWorld();
  const served = server.serve({ port: 7, ...recorder() });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(3_000);
  const [id] = [...served.connections()];
  expect(served.send(id!, patterned(16 << 20))).toBe(true);
  expect(() => served.send(id!, new Uint8Array(1))).toThrow(RangeError);
  expect(served.closeConnection(id!)).toBe(true);
  expect(difference(await settled(clock, readAll(conn)), patterned(16 << 20))).toBe(-1);
});

test("what a sleeper with a full buffer cannot take ends it, and only it", async () => {
  const { clock, server, client } = sleepyWorld();
  const handlers = recorder();
  const served = server.serve({ port: 7, ...handlers });
  await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(10);
  const [id] = [...served.connections()];
  served.send(id!, new Uint8Array(16 << 20)); // the peer reads nothing
  await clock.advance(100);
  server.sleeper.suspend(id!);
  for (let turn = 0; turn < 10 && server.counts.asleep === 0; turn++) await clock.advance(1);
  expect(server.counts.asleep).toBe(1);
  expect(served.send(id!, new Uint8Array(8 << 20))).toBe(true); // how full it is, its image knows
  await clock.advance(100);
  expect(handlers.log.slice(1)).toEqual(["close ConnectionAborted"]);
});

test("a connection whose image is lost is closed with an error, and its errands reach nobody else", async () => {
  const { clock, server, client, store } = sleepyWorld();
  const handlers = recorder();
  const served = server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(3_000);
  const [id] = [...served.connections()];
  store.read = () => {
    throw new Error("damaged");
  };
  let calls = 0;
  expect(served.with(id!, () => void calls++)).toBe(true);
  await clock.advance(100);
  const next = await settled(clock, client.connect({ hostname: SERVER, port: 7 })); // takes the free record
  await next.write(bytesOf("x"));
  await clock.advance(100);
  expect([calls, handlers.log.filter((line) => line.startsWith("close"))]).toEqual([
    0,
    ["close ConnectionReset"],
  ]);
  expect(served.send(id!, bytesOf("y"))).toBe(false);
  await conn.write(bytesOf("z"));
  expect(await refusal(settled(clock, conn.read(new Uint8Array(1))))).toMatch(/^ConnectionReset: /);
});

/** A store whose promises are kept when the test says so. */
class SlowStore extends MemoryStore {
  readonly #held: (() => void)[] = [];
  override append(images: Uint8Array[]): ReturnType<MemoryStore["append"]> {
    const commit = super.append(images);
    const durable = new Promise<void>((resolve) => void this.#held.push(resolve)).then(() => commit.durable);
    return { ...commit, durable };
  }
  release(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

test("send, with and close reach a connection whose image is being written", async () => {
  for (const how of ["send", "with", "stale"] as const) {
    const clock = new VirtualClock();
    const [left, right] = pipe({ clock, delayMs: 1, medium: "ip" });
    const store = new SlowStore();
    const shared = { clock, entropy: new Prng(3) };
    const server = new SleepyHost({
      interfaces: [{ link: left }],
      addresses: [{ address: `${SERVER}/24` }],
      store,
      idleMs: 1_000,
      ...shared,
    });
    const client = new Host({
      interfaces: [{ link: right }],
      addresses: [{ address: `${CLIENT}/24` }],
      ...shared,
    });
    let kept: Connection | undefined;
    const served = server.serve({ port: 7, ...recorder({ open: (each) => void (kept = each) }) });
    const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
    await clock.advance(3_000);
    expect(server.sleeper.stats).toEqual({
      suspends: 0,
      restores: 0,
      lost: 0,
      saving: 1,
      waiting: 0,
      waited: 0,
      wakes: { packet: 0, timer: 0, application: 0 },
    });
    const [id] = [...served.connections()];
    if (how === "send") served.send(id!, bytesOf("now"));
    else if (how === "with") served.with(id!, (connection) => connection.write(bytesOf("now")));
    else kept!.write(bytesOf("now"));
    expect(await readSome(clock, conn)).toBe("now");
    store.release();
    await clock.advance(10);
    expect([how, server.counts.awake]).toEqual([how, 1]); // that image counts no more
  }
});

test("in TIME-WAIT a stale object is harmless while it is being saved, and close is told once", async () => {
  const store = new SlowStore();
  const { clock, server, client } = sleepyWorld(1_000, store);
  let kept: Connection | undefined;
  const handlers = recorder({ open: (each) => void (kept = each).end() });
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await settled(clock, readAll(conn));
  await conn.closeWrite();
  await clock.advance(10);
  expect(handlers.log.slice(1)).toEqual(["close undefined"]);
  const saving = server.sleeper.suspendAll();
  await clock.advance(1);
  expect(server.sleeper.stats.saving).toBe(1);
  expect(await refusal(() => kept!.write(bytesOf("x")))).toMatch(/^BrokenPipe: /);
  for (const act of ["end", "close", "abort", "setNoDelay", "setKeepAlive"] as const) kept![act]();
  expect(kept!.bufferedBytes).toBe(0);
  store.release();
  await saving;
  expect(server.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
  expect(await refusal(() => kept!.write(bytesOf("x")))).toMatch(/^BrokenPipe: /);
  kept!.abort();
  server.wake(server.recordOf(kept!.id));
  await clock.advance(10);
  expect(server.counts.awake).toBe(1);
  await clock.advance(300_000);
  expect(server.counts).toEqual({ awake: 0, asleep: 0, waking: 0 });
  expect(handlers.log.slice(1)).toEqual(["close undefined"]);
});

test("a write while the image is being written keeps the contract: false, drain, 16 MiB, and its place", async () => {
  for (const extra of [-2, 0]) {
    const store = new SlowStore();
    const { clock, server, client } = sleepyWorld(1_000, store);
    let kept: Connection | undefined;
    const handlers = recorder({
      open: (each) => void (kept = each),
      data: (each) => void each.write(Uint8Array.of(9)),
    });
    server.serve({ port: 7, ...handlers });
    const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
    await clock.advance(3_000);
    expect(server.sleeper.stats.saving).toBe(1);
    const first = patterned(server.stack.tcp.config.sendBufferBytes + extra);
    expect(kept!.write(first)).toBe(extra < 0); // the byte of the answer does not fill it either
    expect(kept!.bufferedBytes).toBe(first.length);
    expect(() => kept!.write(new Uint8Array((16 << 20) - first.length + 1))).toThrow(RangeError);
    await conn.write(bytesOf("go")); // what a handler answers to it comes behind what was written before
    const all = new Uint8Array(first.length + 1);
    for (let at = 0; at < all.length;) at += (await settled(clock, conn.read(all.subarray(at))))!;
    expect([difference(all.subarray(0, first.length), first), all.at(-1)]).toEqual([-1, 9]);
    await clock.advance(100);
    expect(kept!.bufferedBytes).toBe(0);
    expect(handlers.log.filter((line) => line === "drain")).toHaveLength(extra < 0 ? 0 : 1);
  }
});

test("a write that waits for the store keeps its place, and its drain when acknowledgements come first", async () => {
  const store = new SlowStore();
  const { clock, server, client } = sleepyWorld(1_000, store);
  let kept: Connection | undefined;
  const handlers = recorder({
    open: (each) => void (kept = each),
    data: (each) => void each.write(Uint8Array.of(9)),
  });
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(10);
  const limit = server.stack.tcp.config.sendBufferBytes;
  const all = patterned(limit + 1);
  all[limit] = 9;
  expect(kept!.write(all.subarray(0, 1_000))).toBe(true);
  server.turn(); // it is on its way
  server.sleeper.suspend(kept!.id);
  server.turn();
  expect(server.sleeper.stats.saving).toBe(1);
  const remove = store.remove;
  store.remove = () => {
    throw new Error("busy"); // the sleep cannot be called off yet
  };
  expect(kept!.write(all.subarray(1_000, limit))).toBe(false);
  await conn.write(bytesOf("go")); // with the acknowledgement of the first thousand
  await clock.advance(10);
  store.remove = remove;
  const got = new Uint8Array(all.length);
  for (let at = 0; at < got.length;) at += (await settled(clock, conn.read(got.subarray(at))))!;
  expect(difference(got, all)).toBe(-1);
  await clock.advance(100);
  expect(handlers.log.slice(1)).toEqual(["data go", "drain"]);
});

test("an errand for a connection that was reset in its sleep does not reach the next one", async () => {
  const store = new SlowStore();
  const { clock, server, client } = sleepyWorld(1_000, store);
  const served = server.serve({ port: 7, ...recorder() });
  const doomed = await settled(clock, client.open({ hostname: SERVER, port: 7 }));
  await clock.advance(3_000);
  const [id] = [...served.connections()];
  const remove = store.remove;
  store.remove = () => {
    throw new Error("busy"); // the sleep cannot be called off yet
  };
  doomed.abort();
  await clock.advance(10);
  let calls = 0;
  expect(served.with(id!, () => void calls++)).toBe(true);
  await clock.advance(10);
  store.remove = remove;
  await clock.advance(3_000);
  expect([...served.connections()]).toEqual([]);
  const next = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(3_000);
  store.release();
  await clock.advance(10);
  expect(server.counts.asleep).toBe(1);
  await next.write(bytesOf("x"));
  await clock.advance(100);
  expect([server.sleeper.stats.restores, calls]).toEqual([1, 0]);
});

test("a closed server takes nothing new and keeps those it has, the sleeping ones too", async () => {
  const { clock, server, client } = sleepyWorld();
  const handlers = recorder({ data: (connection, bytes) => void connection.write(bytes) });
  const served = server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(3_000);
  served.close();
  served.close();
  await expect(settled(clock, client.connect({ hostname: SERVER, port: 7 }))).rejects.toThrow("refused");
  await conn.write(bytesOf("still?"));
  expect(await readSome(clock, conn)).toBe("still?");
});

test("connections left by an earlier process are served, also when they wake before anybody listens", async () => {
  for (const early of [false, true]) {
    const { clock, server, client, store } = sleepyWorld();
    const data = (connection: Connection, bytes: Uint8Array): void => void connection.write(bytes);
    server.serve({ port: 7, data });
    const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
    await clock.advance(3_000);
    expect(server.counts.asleep).toBe(1);
    const images = [...store.live()].map(({ bytes }) => bytes.slice());
    server.close();
    // The same machine, started again: the other end of the wire is the same client.
    const [left, right] = pipe({ clock, delayMs: 1, medium: "ip" });
    const again = new MemoryStore();
    await again.append(images).durable;
    const second = new SleepyHost({
      interfaces: [{ link: left }],
      addresses: [{ address: `${SERVER}/24` }],
      entropy: new Prng(5),
      clock,
      store: again,
    });
    const relay = client.stack.output.interfaces[0]!;
    (relay as { link: unknown }).link = right;
    right.open({
      receive: (slab, start, end) => void client.stack.receive(0, slab, start, end, clock.nowMs()),
      flush: () => client.turn(),
      closed: () => {},
    });
    const served: { server?: HandlerServer } = {};
    if (!early) served.server = second.serve({ port: 7, data });
    await conn.write(bytesOf("hello"));
    await clock.advance(5_000);
    if (early) {
      expect(second.counts.awake).toBe(1); // nobody owns it yet
      served.server = second.serve({ port: 7, data });
    }
    expect([early, await readSome(clock, conn)]).toEqual([early, "hello"]);
    expect(served.server!.awake).toBe(1);
  }
});

test("a server that closes in its first handler resets whoever arrived in the same turn", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder({ open: () => served.close() });
  const served = server.serve({ port: 7, ...handlers });
  const [first, second] = await settled(
    clock,
    Promise.all([1, 2].map(() => client.connect({ hostname: SERVER, port: 7 }))),
  );
  await clock.advance(10);
  expect(handlers.log).toHaveLength(1);
  expect(await refusal(settled(clock, second!.read(new Uint8Array(1))))).toMatch(/^ConnectionReset: /);
  expect(await first!.write(bytesOf("x"))).toBe(1);
  expect(server.stack.connections.size).toBe(1);
});

test("host.close() tells the handlers once, and nothing more can be served", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder();
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(10);
  server.close();
  server.close();
  expect(handlers.log.slice(1)).toEqual(["close ConnectionAborted"]);
  expect(await refusal(() => server.serve({ port: 8, ...handlers }))).toBe(
    "BadResource: Host has been closed",
  );
  expect(await refusal(settled(clock, conn.read(new Uint8Array(1))))).toMatch(/^ConnectionReset: /);
  expect(handlers.log).toHaveLength(2);
});

test("a handler may close the host it runs in", async () => {
  const { server, client, clock } = virtualPair();
  const handlers = recorder({ data: () => server.close() });
  server.serve({ port: 7, ...handlers });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await conn.write(bytesOf("quit"));
  const resolving = refusal(server.connect({ hostname: "10.0.0.9", port: 1 })); // a deadline of its own
  await clock.advance(10);
  expect(handlers.log.slice(1)).toEqual(["data quit", "close ConnectionAborted"]);
  expect(await resolving).toBe("Interrupted: operation canceled");
  client.close();
  await clock.advance(10);
  expect(clock.pending).toBe(0); // no alarm was set behind it
});

test("where memory is short a write asks for patience early; where there is none it is refused, but for a little", async () => {
  const { server, client, clock } = virtualPair({ tcp: { memoryMaxBytes: 1 << 20 } });
  let connection: Connection | undefined;
  server.serve({ port: 7, open: (opened) => void (connection = opened), data: () => {} });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await clock.advance(10);
  const { memory } = server.stack.tcp;
  expect(connection!.write(new Uint8Array(100))).toBe(true);
  memory.borrowed(800 << 10); // others'
  expect(connection!.write(new Uint8Array(20_000))).toBe(false);
  memory.borrowed(200 << 10);
  expect(connection!.write(new Uint8Array(10_000))).toBe(false); // it has borrowed as much already
  expect(() => connection!.write(new Uint8Array(10_000))).toThrow("the memory of all connections is used up");
  connection!.end();
  expect((await settled(clock, readAll(conn))).length).toBe(30_100);
});

test("pause leaves bytes in TCP's queue until its window is shut, also asleep; resume brings all of them, then the end", async () => {
  const { clock, server, client } = sleepyWorld();
  const got: Uint8Array[] = [];
  let held: Connection | undefined;
  let ended = 0;
  const served = server.serve({
    port: 7,
    data(connection, bytes) {
      got.push(bytes.slice());
      held = connection;
      connection.pause();
    },
    end: (connection) => (ended++, connection.end()),
  });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  const bytes = patterned(10_000_000);
  let written = false;
  const writing = writeAll(conn, bytes).then(() => conn.closeWrite()).then(() => void (written = true));
  await clock.advance(60_000);
  expect(got.length, "Nothing came after the first piece").toBe(1);
  expect([written, ended]).toEqual([false, 0]);
  held!.resume();
  await clock.advance(1_000);
  expect(got.length, "One more piece").toBe(2);
  const [id] = [...served.connections()];
  for (let round = 0; ended === 0 && round < 100_000; round++) {
    served.with(id!, (connection) => connection.resume());
    await clock.advance(1);
  }
  await clock.advance(10);
  await writing;
  expect(ended).toBe(1);
  const all = new Uint8Array(bytes.length);
  let at = 0;
  for (const piece of got) {
    all.set(piece, at);
    at += piece.length;
  }
  expect([at, difference(all, bytes)]).toEqual([bytes.length, -1]);
  conn.close();
  await clock.advance(1_000);
  expect([...served.connections()]).toEqual([]);
  server.close();
  client.close();
});

test("a paused connection sleeps with what waits for it, and goes on where it stopped", async () => {
  const { clock, server, client } = sleepyWorld();
  const got: string[] = [];
  const served = server.serve({
    port: 7,
    data(connection, bytes) {
      got.push(text(bytes));
      connection.pause();
    },
  });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 7 }));
  await writeAll(conn, bytesOf("one"));
  await clock.advance(100);
  await writeAll(conn, bytesOf("two"));
  await clock.advance(5_000);
  expect([got, server.counts.asleep]).toEqual([["one"], 1]);
  const [id] = [...served.connections()];
  served.with(id!, () => {}); // awake, and still paused
  await clock.advance(10);
  expect([got, server.counts.awake]).toEqual([["one"], 1]);
  served.with(id!, (connection) => connection.resume());
  await clock.advance(10);
  expect(got).toEqual(["one", "two"]);
  server.close();
  client.close();
});
