import { setTimeout } from "node:timers/promises";
import { NetworkNamespace } from "../tests/support/netns.ts";
import {
  type Bench,
  type BenchOptions,
  type Cell,
  interleave,
  ratio,
  type Spread,
  spreadOf,
  type Table,
} from "./bench.ts";
import type { Took } from "./tun/client_worker.ts";
import { type Spent, Worker } from "./worker.ts";

const OURS = { name: "bench0", address: "10.80.0.1", kernel: "10.80.0.2" } as const;
const SHARD = { name: "bench2", address: "10.83.0.1", kernel: "10.83.0.2" } as const;
const LOOPS = {
  bare: { name: "bench3", address: "10.84.0.1", kernel: "10.84.0.2", offloads: false },
  bareTrains: { name: "bench4", address: "10.85.0.1", kernel: "10.85.0.2", offloads: true },
} as const;
const BARE = { name: "bench1", address: "10.81.0.1", kernel: "10.81.0.2" } as const;
const UNMERGED = { name: "bench5", address: "10.86.0.1", kernel: "10.86.0.2" } as const;
const VETH = { address: "10.82.0.1", kernel: "10.82.0.2" } as const;
const MTU = 1500;

/** Bulk, round trips and connections between our stack and the kernel over TUN, beside the kernel with itself over a veth pair. */
export const bench: Bench = {
  async *run(options) {
    await using world = new World();
    try {
      await world.make();
    } catch (error) {
      const why = (error as Error).message.split("\n")[0]!;
      yield { title: "bulk over TUN: not measured", columns: [""], rows: [[why]] };
      return;
    }
    yield await bulk(world, options);
    yield await reading(world, options);
    yield await small(world, options, "trips", "round trips of one byte, one connection");
    yield await small(world, options, "connects", "connections: opened, one byte there and back, reset");
    yield await idle(world, options);
  },
};

async function bulk(world: World, options: BenchOptions): Promise<Table> {
  const seconds = options.quick ? 1 : options.full ? 10 : 4;
  const rounds = options.quick ? { rounds: 1, warmUps: 0 } : { rounds: options.full ? 7 : 5, warmUps: 1 };
  const { veth, ours } = world;
  const { oursServer, shardServer, bareServer } = world;
  const results = await interleave({
    "Linux to Linux, veth": () => iperf3(veth, VETH.address, seconds),
    "Linux to us": () => iperf3(ours, OURS.address, seconds, oursServer),
    "we to Linux": () => iperf3(ours, OURS.address, seconds, oursServer, "-R"),
    "Linux to us, one shard": () => iperf3(ours, SHARD.address, seconds, shardServer),
    "we to Linux, one shard": () => iperf3(ours, SHARD.address, seconds, shardServer, "-R"),
    "Linux to us, no offloads": () => iperf3(ours, BARE.address, seconds, bareServer),
    "we to Linux, no offloads": () => iperf3(ours, BARE.address, seconds, bareServer, "-R"),
  }, rounds);
  const speeds = (figures: readonly Bulk[]): Spread => spreadOf(figures.map(({ speed }) => speed));
  const kernel = speeds(results["Linux to Linux, veth"]!);
  return {
    title: `one connection, iperf3, MTU ${MTU}`,
    columns: ["", "MB/s", "beside Linux to Linux", "our CPU s/GB"],
    rows: Object.entries(results).map(([name, figures]) => {
      const spread = speeds(figures);
      if (name.includes("veth")) return [name, spread, "", ""];
      const cpu = spreadOf(figures.map(({ cpuPerGb }) => cpuPerGb));
      return [name, spread, ratio(spread.median, kernel.median), cpu.median];
    }),
    notes: [
      `Median (least-most) of ${rounds.rounds} runs of ${seconds} s each, in turn; bytes that iperf3's receiver has had.`,
      "The kernel uses CUBIC on both sides, and a veth pair has the offloads of the kernel's own.",
      "Both ends, and iperf3, share the machine's cores. Our CPU is that of the process that has our end.",
    ],
  };
}

/** Beside a loop that reads, answers by hand and does nothing else: what is left of it with a stack in it. */
async function reading(world: World, options: BenchOptions): Promise<Table> {
  const ms = options.quick ? 200 : options.full ? 10_000 : 2_000;
  const rounds = options.quick ? { rounds: 1, warmUps: 0 } : { rounds: 5, warmUps: 1 };
  const measure = (server: Worker, address: string) => async (): Promise<Bulk> => {
    const before = await server.ask<Spent>();
    const startMs = performance.now();
    await world.oursClient.ask(`bulk ${address} ${ms}`);
    const after = await server.ask<Spent>();
    const bytes = after.bytes - before.bytes;
    const speed = bytes / (performance.now() - startMs) / 1000;
    return { speed, cpuPerGb: (after.cpuMs - before.cpuMs) * 1e6 / bytes };
  };
  const results = await interleave({
    "bare loop, no offloads": measure(world.bareLoop, LOOPS.bare.address),
    "a host, no offloads": measure(world.bareServer, BARE.address),
    "a host, no offloads, nothing merged": measure(world.unmergedServer, UNMERGED.address),
    "bare loop": measure(world.trainsLoop, LOOPS.bareTrains.address),
    "a host": measure(world.oursServer, OURS.address),
  }, rounds);
  const median = (name: string, of: keyof Bulk): number =>
    spreadOf(results[name]!.map((each) => each[of])).median;
  return {
    title: "reading what a node:net client on the kernel writes, one connection",
    columns: ["", "MB/s", "beside the bare loop", "its CPU s/GB"],
    rows: Object.entries(results).map(([name, figures]) => [
      name,
      spreadOf(figures.map(({ speed }) => speed)),
      name.startsWith("bare") ? "" : ratio(median(name, "speed"), median(loopOf(name), "speed")),
      median(name, "cpuPerGb"),
    ]),
    notes: [
      "Nothing merged: a host that passes packets on for others, which takes each segment as it came.",
      "The bare loop reads through the same link, sums no checksum, copies no data and acknowledges once a batch.",
    ],
  };
}

/** The bare loop that a host is compared with. */
function loopOf(name: string): string {
  return name.replace("a host", "bare loop").replace(", nothing merged", "");
}

/** What our ends take while nothing happens. */
async function idle(world: World, options: BenchOptions): Promise<Table> {
  const ms = options.quick ? 500 : 5_000;
  const servers = { "with offloads": world.oursServer, "no offloads": world.bareServer };
  const rows: Cell[][] = [];
  for (const [name, server] of Object.entries(servers)) {
    const before = await server.ask<Spent>();
    await setTimeout(ms);
    const after = await server.ask<Spent>();
    rows.push([name, (after.cpuMs - before.cpuMs) / ms * 1_000]);
  }
  return { title: "a host on which nothing happens", columns: ["", "CPU ms a second"], rows };
}

async function small(world: World, options: BenchOptions, what: string, title: string): Promise<Table> {
  const ms = options.quick ? 100 : options.full ? 4_000 : 1_000;
  const rounds = options.quick ? { rounds: 1, warmUps: 0 } : { rounds: 5, warmUps: 1 };
  const results = await interleave({
    "Linux to Linux, veth": () => world.vethClient.ask<Took>(`${what} ${VETH.address} ${ms}`),
    "Linux to us": () => world.oursClient.ask<Took>(`${what} ${OURS.address} ${ms}`),
    "Linux to us, one shard": () => world.oursClient.ask<Took>(`${what} ${SHARD.address} ${ms}`),
    "Linux to us, no offloads": () => world.oursClient.ask<Took>(`${what} ${BARE.address} ${ms}`),
  }, rounds);
  const perSecond = (took: readonly Took[]): Spread =>
    spreadOf(took.map(({ us }) => us.length / us.reduce((sum, each) => sum + each, 0) * 1e6));
  const kernel = perSecond(results["Linux to Linux, veth"]!);
  return {
    title,
    columns: ["", "per second", "beside Linux to Linux", "p50, us", "p99", "p99.9"],
    rows: Object.entries(results).map(([name, took]) => {
      const us = took.flatMap((each) => each.us).sort((a, b) => a - b);
      const quantile = (q: number): number => us[Math.floor(us.length * q)]!;
      const spread = perSecond(took);
      return [
        name,
        spread,
        name.includes("veth") ? "" : ratio(spread.median, kernel.median),
        ...[quantile(0.5), quantile(0.99), quantile(0.999)],
      ];
    }),
    notes: ["The client is node:net everywhere; where both ends are Linux's the server is node:net, too."],
  };
}

/** Megabytes per second that arrive, and seconds of the processor that our end takes for a gigabyte. */
interface Bulk {
  readonly speed: number;
  readonly cpuPerGb: number;
}

async function iperf3(
  netns: NetworkNamespace,
  address: string,
  seconds: number,
  server?: Worker,
  ...more: string[]
): Promise<Bulk> {
  const before = await server?.ask<Spent>();
  const child = netns.start("iperf3", ["-c", address, "-t", `${seconds}`, "-C", "cubic", "-J", ...more]);
  let text = "";
  child.stdout!.on("data", (piece) => void (text += piece));
  await new Promise((resolve) => void child.once("close", resolve));
  const report = JSON.parse(text);
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  const { bytes, seconds: elapsed } = report.end.sum_received;
  const cpuMs = before === undefined ? NaN : (await server!.ask<Spent>()).cpuMs - before.cpuMs;
  return { speed: bytes / elapsed / 1e6, cpuPerGb: cpuMs * 1e6 / bytes };
}

/** A namespace with six TUN interfaces of ours, and two with a veth pair between them. */
class World implements AsyncDisposable {
  #namespaces: NetworkNamespace[] = [];
  readonly #workers: Worker[] = [];
  ours!: NetworkNamespace;
  veth!: NetworkNamespace;
  oursServer!: Worker;
  shardServer!: Worker;
  bareServer!: Worker;
  unmergedServer!: Worker;
  bareLoop!: Worker;
  trainsLoop!: Worker;
  oursClient!: Worker;
  vethClient!: Worker;

  async make(): Promise<void> {
    const add = (): NetworkNamespace => {
      const netns = new NetworkNamespace();
      this.#namespaces.push(netns);
      return netns;
    };
    this.ours = add();
    for (const { name, address, kernel } of [OURS, SHARD, BARE, UNMERGED]) {
      const queues = name === SHARD.name ? ["multi_queue"] : [];
      this.ours.run("ip", "tuntap", "add", "dev", name, "mode", "tun", ...queues);
      this.ours.configure(name, `${kernel}/24`, MTU);
      this.ours.run("ip", "link", "set", name, "txqueuelen", "2000");
      const offloads = name === OURS.name || name === SHARD.name;
      const more = name === SHARD.name ? ["1"] : name === UNMERGED.name ? ["forwarding"] : [];
      const args = [name, `${address}/24`, `${offloads}`, ...more];
      const server = await this.#start("server_worker.ts", this.ours, args);
      if (name === OURS.name) this.oursServer = server;
      if (name === SHARD.name) this.shardServer = server;
      if (name === BARE.name) this.bareServer = server;
      if (name === UNMERGED.name) this.unmergedServer = server;
    }
    const [bareLoop, trainsLoop] = [LOOPS.bare, LOOPS.bareTrains].map(
      ({ name, address, kernel, offloads }) => {
        this.ours.run("ip", "tuntap", "add", "dev", name, "mode", "tun");
        this.ours.configure(name, `${kernel}/24`, MTU);
        this.ours.run("ip", "link", "set", name, "txqueuelen", "2000");
        return this.#start("bare_worker.ts", this.ours, [name, `${address}/24`, `${offloads}`]);
      },
    );
    this.bareLoop = await bareLoop!;
    this.trainsLoop = await trainsLoop!;
    this.veth = add();
    const far = add();
    this.veth.run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", far.name);
    this.veth.configure("near", `${VETH.kernel}/24`, MTU);
    far.configure("far", `${VETH.address}/24`, MTU);
    far.start("iperf3", ["-s"]).stdout!.resume();
    await setTimeout(500); // until it listens
    await this.#start("echo_worker.ts", far);
    this.oursClient = await this.#start("client_worker.ts", this.ours);
    this.vethClient = await this.#start("client_worker.ts", this.veth);
  }

  async #start(file: string, netns: NetworkNamespace, args: readonly string[] = []): Promise<Worker> {
    const worker = new Worker(`tun/${file}`, args, [], netns.name);
    this.#workers.push(worker);
    await worker.answer();
    return worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) await worker[Symbol.asyncDispose]();
    for (const netns of this.#namespaces) netns[Symbol.dispose]();
  }
}
