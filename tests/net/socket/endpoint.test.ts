import process from "node:process";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { MemoryStore } from "../../../checkpoint/store/mod.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { CLIENT, difference, patterned, readAll, refusal, SERVER, settled } from "./world.ts";
import { virtualPair, writeAll } from "./world.ts";

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => void process.on("unhandledRejection", onUnhandled));
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 0));
  process.off("unhandledRejection", onUnhandled);
  expect(unhandled.splice(0)).toEqual([]);
});

const INTERRUPTED = "Interrupted: operation canceled";

interface Sleepy {
  readonly clock: VirtualClock;
  readonly server: SleepyHost;
  readonly client: Host;
  readonly here: TcpConn;
  readonly there: TcpConn;
  readonly id: string;
}

/** A connection whose server end sleeps after a second. */
async function sleepy(store: MemoryStore = new MemoryStore()): Promise<Sleepy> {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1, medium: "ip" });
  const server = new SleepyHost({
    interfaces: [{ link: left }],
    addresses: [{ address: `${SERVER}/24` }],
    entropy: new Prng(1),
    clock,
    store,
    idleMs: 1_000,
  });
  const client = new Host({
    interfaces: [{ link: right }],
    addresses: [{ address: `${CLIENT}/24` }],
    entropy: new Prng(2),
    clock,
  });
  onTestFinished(() => {
    server.close();
    client.close();
  });
  const accepted = server.listen({ port: 80 }).accept();
  const here = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const there = await settled(clock, accepted);
  const id = `${SERVER}:80-${CLIENT}:${here.localAddr.port}`;
  return { clock, server, client, here, there, id };
}

/** A store whose images are durable only when the test says so. */
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

test("a read that waits sleeps with its connection and wakes with it", async () => {
  const { clock, server, here, there } = await sleepy();
  const reading = there.read(new Uint8Array(64));
  await clock.advance(5_000);
  expect(server.counts.asleep).toBe(1);
  await here.write(patterned(5));
  expect(await settled(clock, reading)).toBe(5);
});

test("unread data that went to sleep is read without the peer's help", async () => {
  const { clock, server, here, there } = await sleepy();
  await here.write(patterned(5));
  await clock.advance(5_000);
  expect(server.counts.asleep).toBe(1);
  const buffer = new Uint8Array(64);
  expect(await settled(clock, there.read(buffer), 100)).toBe(5);
  expect(buffer.subarray(0, 5)).toEqual(patterned(5));
});

test("the peer's end that went to sleep is read without waking", async () => {
  const { clock, server, here, there } = await sleepy();
  await here.closeWrite();
  await clock.advance(5_000);
  expect(server.counts.asleep).toBe(1);
  expect(await settled(clock, there.read(new Uint8Array(8)), 100)).toBe(null);
  expect(server.counts.asleep).toBe(1);
  await writeAll(there, patterned(3)); // this wakes it
  there.close();
  expect(await settled(clock, readAll(here))).toEqual(patterned(3));
});

test("write, closeWrite, options and close wake a sleeper; one after another without waiting", async () => {
  const { clock, server, here, there } = await sleepy();
  await clock.advance(5_000);
  there.setNoDelay(true);
  there.setKeepAlive(true);
  const writing = there.write(patterned(4));
  const closing = there.closeWrite();
  await settled(clock, Promise.all([writing, closing]));
  expect(await settled(clock, readAll(here))).toEqual(patterned(4));
  expect(server.sleeper.stats.restores).toBe(1);
});

test("closing a sleeper ends it with FIN; what else is under way is interrupted", async () => {
  const { clock, server, here, there } = await sleepy();
  const reading = refusal(there.read(new Uint8Array(8)));
  await clock.advance(5_000);
  there.setNoDelay(true); // an errand that the close overtakes: nobody may be told of its failure
  const writing = refusal(there.write(patterned(1)));
  there.close();
  expect(await settled(clock, Promise.all([reading, writing]))).toEqual([INTERRUPTED, INTERRUPTED]);
  expect(await settled(clock, here.read(new Uint8Array(8)))).toBe(null);
  here.close();
  await clock.advance(100);
  expect(server.stack.connections.size).toBeLessThanOrEqual(1); // TIME-WAIT, nothing else
});

test("a call while the image is being written calls the sleep off", async () => {
  for (const how of ["write", "read", "close", "option"] as const) {
    const store = new SlowStore();
    const { clock, server, here, there } = await sleepy(store);
    if (how === "read") await here.write(patterned(2));
    await clock.advance(5_000);
    expect([how, server.sleeper.stats.saving]).toEqual([how, 1]);
    if (how === "write") await settled(clock, there.write(patterned(2)));
    if (how === "read") expect(await settled(clock, there.read(new Uint8Array(8)))).toBe(2);
    if (how === "close") there.close();
    if (how === "option") there.setKeepAlive(true);
    await clock.advance(10);
    store.release();
    await clock.advance(10);
    expect([how, server.counts.asleep, server.sleeper.stats.suspends]).toEqual([how, 0, 0]);
    if (how === "write") expect(await settled(clock, here.read(new Uint8Array(8)))).toBe(2);
    if (how === "close") expect(await settled(clock, here.read(new Uint8Array(8)))).toBe(null);
  }
});

test("a reader of a connection whose image is lost is told", async () => {
  const store = new MemoryStore();
  const { clock, here, there } = await sleepy(store);
  const reading = refusal(there.read(new Uint8Array(8)));
  await clock.advance(5_000);
  store.read = () => {
    throw new Error("damaged");
  };
  await here.write(patterned(3));
  expect(await settled(clock, reading)).toMatch(/^ConnectionReset: /);
  expect(await refusal(settled(clock, there.write(patterned(1))))).toMatch(/^ConnectionReset: /);
});

test("drained waits for the last acknowledgment, through a sleep, and says so when it never comes", async () => {
  const { server, client, clock } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const endpoint = await settled(clock, client.open({ hostname: SERVER, port: 80 }));
  const there = await settled(clock, accepted);
  await endpoint.drained(); // nothing was written
  await endpoint.writeAll(patterned(100_000));
  let drained = false;
  const draining = endpoint.drained().then(() => (drained = true));
  await clock.advance(1);
  expect(drained).toBe(false);
  await settled(clock, draining);
  await settled(clock, there.read(new Uint8Array(200_000)));
  await endpoint.writeAll(patterned(10));
  const lost = refusal(endpoint.drained());
  server.close();
  expect(await settled(clock, lost)).toMatch(/^ConnectionReset: /);
});

test("forced to sleep with data in flight, a write and a drain go on after it", async () => {
  const { clock, server, here, there, id } = await sleepy();
  const bytes = patterned(3_000_000);
  const writing = writeAll(there, bytes).then(() => there.closeWrite());
  const reading = readAll(here);
  for (let nap = 0; nap < 5; nap++) {
    await clock.advance(3);
    server.sleeper.suspend(id);
  }
  await settled(clock, writing);
  expect(difference(await settled(clock, reading), bytes)).toBe(-1);
  expect(server.sleeper.stats.suspends).toBeGreaterThan(0);
});

test("connect: an abort on the way leaves nothing behind, one too late changes nothing", async () => {
  const { server, client, clock } = virtualPair();
  server.listen({ port: 80 });
  const controller = new AbortController();
  const reason = new Error("changed my mind");
  const connecting = refusal(client.connect({ hostname: SERVER, port: 80, signal: controller.signal }));
  controller.abort(reason);
  expect(await settled(clock, connecting)).toBe("Error: changed my mind");
  expect(client.stack.tcp.awake).toBe(0);
  await clock.advance(1_000);
  expect([client.stack.connections.size, server.stack.connections.size]).toEqual([0, 0]);

  const late = new AbortController();
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80, signal: late.signal }));
  late.abort();
  expect(await conn.write(patterned(1))).toBe(1);
});

test("connect: nobody answers, no route, no port", async () => {
  const { client, clock } = virtualPair();
  const nobody = client.connect({ hostname: "10.0.0.9", port: 80 });
  expect(await refusal(settled(clock, nobody))).toMatch(/^(TimedOut|HostUnreachable): /);
  const connect = (hostname: string, port: number): Promise<string> =>
    refusal(settled(clock, client.connect({ hostname, port })));
  expect(await connect("192.0.2.1", 80)).toMatch(/^NetworkUnreachable: /);
  expect(await connect(SERVER, 0)).toMatch(/^RangeError: Invalid port \(out of range\): 0/);
  expect(await connect("a.name", 80)).toMatch(/^NotFound: .*"a.name": no name server is known/);
  expect(await connect("a name", 80)).toMatch(/^TypeError: "a name"/);
  expect(client.stack.tcp.awake).toBe(0);
});

test("a host talks to itself", async () => {
  const { server, clock } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const here = await settled(clock, server.connect({ hostname: SERVER, port: 80 }));
  const there = await settled(clock, accepted);
  const writing = writeAll(here, patterned(200_000)).then(() => here.close());
  expect(difference(await settled(clock, readAll(there)), patterned(200_000))).toBe(-1);
  await writing;
});

test("a full backlog turns connections away, one accepted makes room for one; one more than asked for fits, as on Linux", async () => {
  const { server, client, clock } = virtualPair({}, { tcp: { synRetransmitsMax: 1, synLinearTimeouts: 0 } });
  const listener = server.listen({ port: 80, tcpBacklog: 2 });
  const connect = (): Promise<TcpConn> => settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  for (let count = 0; count < 3; count++) await connect();
  await clock.advance(10);
  await expect(connect()).rejects.toThrow("Cannot connect");
  await listener.accept();
  await connect();
});

test("a listener that closes takes its unaccepted connections with it, those in the handshake too", async () => {
  const { server, client, clock } = virtualPair();
  const listener = server.listen({ port: 80 });
  const ready = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  await clock.advance(10);
  const connecting = client.connect({ hostname: SERVER, port: 80 });
  await clock.advance(1); // its SYN is there, its ACK is not
  listener.close();
  const half = await settled(clock, connecting);
  await clock.advance(10);
  for (const conn of [ready, half]) {
    expect(await refusal(settled(clock, conn.read(new Uint8Array(1))))).toMatch(/^ConnectionReset: /);
  }
  expect([server.stack.connections.size, server.stack.tcp.awake]).toEqual([0, 0]);
});

test("host.close() ends everything that waits, and everything that comes later", async () => {
  const { server, client, clock } = virtualPair();
  const listener = server.listen({ port: 80 });
  const accepted = listener.accept();
  const here = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const there = await settled(clock, accepted);
  const waiting = [
    refusal(here.read(new Uint8Array(1))),
    refusal(writeAll(here, new Uint8Array(8 << 20))),
    refusal(client.connect({ hostname: "10.0.0.9", port: 80 })),
  ];
  const theirs = client.listen({ port: 81 });
  const accepting = refusal(theirs.accept());
  const others = client.listen({ port: 82 });
  const iterating = (async () => {
    for await (const _ of others) expect.unreachable();
  })();
  await clock.advance(50); // until the write waits for room
  client.close();
  expect(await Promise.all(waiting)).toEqual([INTERRUPTED, INTERRUPTED, INTERRUPTED]);
  expect(await accepting).toBe("BadResource: Listener has been closed");
  await iterating;
  const closed = "BadResource: Host has been closed";
  expect(await refusal(client.connect({ hostname: SERVER, port: 80 }))).toBe(closed);
  expect(await refusal(() => client.listen())).toBe(closed);
  expect(await refusal(here.read(new Uint8Array(1)))).toBe("BadResource: Bad resource ID");
  here[Symbol.dispose]();
  theirs[Symbol.dispose]();
  await clock.advance(10);
  // The other side was told; what it had received before is its own, as on Linux.
  expect(await there.read(new Uint8Array(16 << 20))).toBeGreaterThan(0);
  expect(await refusal(there.read(new Uint8Array(1)))).toMatch(/^ConnectionReset: /);
  server.close();
  await clock.advance(10);
  expect(clock.pending).toBe(0);
});

test("host.close() lets sleepers sleep: their peers hear nothing, their readers are told", async () => {
  const { clock, server, client, there } = await sleepy();
  const reading = refusal(there.read(new Uint8Array(1)));
  await clock.advance(5_000);
  const framesIn = client.stack.output.interfaces[0]!.link as unknown as { counters: { framesIn: number } };
  const before = framesIn.counters.framesIn;
  server.close();
  expect(await reading).toBe(INTERRUPTED);
  await clock.advance(5_000);
  expect(framesIn.counters.framesIn).toBe(before);
  expect(server.counts.asleep).toBe(1);
});

test("polled before its deadline with nothing asked for, a host sends nothing", async () => {
  const { server, client, clock } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const here = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  await settled(clock, accepted);
  await here.write(patterned(10));
  await clock.advance(500);
  const link = client.stack.output.interfaces[0]!.link as unknown as { counters: { framesOut: number } };
  const before = link.counters.framesOut;
  for (let turn = 0; turn < 50; turn++) client.turn();
  expect(link.counters.framesOut).toBe(before);
});
