import { expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import { pipe } from "../../net/link/pipe.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { settled } from "../net/socket/world.ts";

const SERVER = "10.0.0.1";
const CLIENT = "10.0.0.2";

class World {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore();
  readonly accepted: string[] = [];
  server!: Host;
  client!: SleepyHost;
  readonly #tcp: Partial<TcpConfig>;

  constructor(tcp: Partial<TcpConfig>) {
    this.#tcp = tcp;
    this.start();
    onTestFinished(() => this.close());
  }

  /** Two processes, the client's with what is in the store. */
  start(): void {
    const { clock, store } = this;
    const [a, b] = pipe({ clock, medium: "ip", delayMs: 1 });
    const common = { clock, entropy: new Prng(1) };
    this.server = new Host({
      interfaces: [{ link: a }],
      addresses: [{ address: `${SERVER}/24` }],
      ...common,
    });
    this.client = new SleepyHost({
      interfaces: [{ link: b }],
      addresses: [{ address: `${CLIENT}/24` }],
      tcp: this.#tcp,
      idleMs: 3_600_000,
      store,
      ...common,
    });
    this.server.serve({
      port: 80,
      open: ({ id }) => void this.accepted.push(id),
      data: (connection, bytes) => void connection.write(bytes),
    });
  }

  close(): void {
    this.client.close();
    this.server.close();
  }

  /** Opens a connection, hears an echo and closes it, so that its port waits; all others are taken afterwards. */
  async leaveOnePort(): Promise<number> {
    const conn = await settled(this.clock, this.client.connect({ hostname: SERVER, port: 80 }));
    const { port } = conn.localAddr;
    await settled(this.clock, conn.write(new Uint8Array(3)));
    await settled(this.clock, conn.read(new Uint8Array(3)));
    conn.close();
    await this.clock.advance(100);
    this.takeAllPortsBut(port);
    return port;
  }

  takeAllPortsBut(port: number): void {
    const { listeners } = this.client.stack.tcp;
    for (let other = 49_152; other < 65_536; other++) {
      if (other !== port) listeners.add(parseIpv4(CLIENT)!, other, 1);
    }
  }

  /** As `leaveOnePort`, and the connection sleeps, as when a process ends in peace. */
  async leaveOneAsleep(): Promise<number> {
    const port = await this.leaveOnePort();
    for (const id of this.client.connections()) expect(this.client.sleeper.suspend(id)).toBe(true);
    await this.clock.advance(50);
    expect(this.client.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
    return port;
  }

  connect(signal?: AbortSignal): Promise<number> {
    const conn = this.client.connect({ hostname: SERVER, port: 80, ...(signal ? { signal } : {}) });
    return conn.then(({ localAddr }) => localAddr.port);
  }
}

const REFUSED = `Cannot connect to ${SERVER}:80: no free port or no room for a connection`;

test("an active open takes the ports of a sleeping TIME-WAIT as of an awake one (RFC 6191)", async () => {
  for (const asleep of [true, false]) {
    const world = new World({ timeWaitReuse: 1 });
    const port = asleep ? await world.leaveOneAsleep() : await world.leaveOnePort();
    await expect(world.connect()).rejects.toThrow(REFUSED); // the same second: too early, asleep or not
    expect(world.client.counts.asleep).toBe(asleep ? 1 : 0);
    await world.clock.advance(2_000);
    expect(await settled(world.clock, world.connect())).toBe(port);
    await world.clock.advance(10);
    expect(world.accepted).toHaveLength(2);
    expect(world.client.stack.tcp.counters.twRecycled).toBe(1);
    expect(world.client.stack.tcp.timeWaits).toBe(0);
    expect([...world.client.connections(port)]).toHaveLength(1);
    expect(world.store.stats.recordsLive).toBe(0); // the old image is revoked
  }
});

test("a sleeping TIME-WAIT is left alone where an awake one would be", async () => {
  for (const tcp of [{}, { timeWaitReuse: 0 }, { timeWaitReuse: 1, timestamps: false }] as const) {
    const world = new World(tcp);
    await world.leaveOneAsleep();
    await world.clock.advance(5_000);
    await expect(world.connect()).rejects.toThrow(REFUSED);
    expect(world.client.counts).toEqual({ awake: 0, asleep: 1, waking: 0 });
    await world.clock.advance(60_000); // it ends by itself
    expect(await settled(world.clock, world.connect())).toBeGreaterThan(0);
  }
});

test("two that connect at once do not take the same ports, and who gives up or closes the host hears of it", async () => {
  const world = new World({ timeWaitReuse: 1 });
  await world.leaveOneAsleep();
  await world.clock.advance(5_000);
  const both = await settled(world.clock, Promise.allSettled([world.connect(), world.connect()]));
  expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);

  const other = new World({ timeWaitReuse: 1 });
  await other.leaveOneAsleep();
  await other.clock.advance(5_000);
  const stop = new AbortController();
  const givenUp = other.connect(stop.signal);
  const closed = other.connect();
  stop.abort(new Error("enough"));
  await expect(givenUp).rejects.toThrow("enough");
  other.client.close();
  await expect(closed).rejects.toThrow("operation canceled");
});

test("a TIME-WAIT whose image is being written when somebody connects stays awake for that", async () => {
  const world = new World({ timeWaitReuse: 1 });
  const port = await world.leaveOnePort();
  await world.clock.advance(5_000);
  const [id] = [...world.client.connections()];
  world.client.sleeper.suspend(id!);
  world.client.turn();
  expect([...world.client.stack.tcp.tcbs()].map(({ saving }) => saving)).toEqual([true]);
  expect(await settled(world.clock, world.connect())).toBe(port);
});

test("a TIME-WAIT of the process before gives its ports to the next process", async () => {
  const world = new World({ timeWaitReuse: 1 });
  const port = await world.leaveOneAsleep();
  world.close();
  world.start();
  world.takeAllPortsBut(port);
  expect(world.client.counts.asleep).toBe(1);
  await world.clock.advance(5_000);
  expect(await settled(world.clock, world.connect())).toBe(port);
});
