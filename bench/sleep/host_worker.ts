/**
 * A process whose connections sleep in a folder: `host_worker.ts FOLDER PEERS COUNT...` grows to each count
 * in turn and tells what it measured there. See ../sleep.ts.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/mod.ts";
import { memoryNow, tell } from "../worker.ts";
import { type PeerKind, ReflexPeers, SERVER } from "./reflex_peers.ts";

/** What is told at each count. */
export interface Asleep {
  readonly connections: number;
  /** Bytes over the empty process, all of it. */
  readonly rssBytes: number;
  /** Objects and array buffers over the empty process. */
  readonly usedBytes: number;
  readonly mapBytes: number;
  /** The table of IPv6 addresses. */
  readonly addressBytes: number;
  /** Bytes of all files, as long as they are and as the disk holds them. */
  readonly fileBytes: number;
  readonly diskBytes: number;
  readonly opensPerSecond: number;
  readonly suspendsPerSecond: number;
  readonly restoresPerSecond: number;
  /** Microseconds of processor time, of all threads and of the peers', for one of those. */
  readonly suspendCpuUs: number;
  readonly restoreCpuUs: number;
  /** Microseconds from a packet in to its answer out, one connection at a time. */
  readonly asleepUs: { p50: number; p99: number };
  readonly awakeUs: { p50: number; p99: number };
  /** Microseconds until one connection, suspended alone, is durable and gone. */
  readonly suspendUs: { p50: number; p99: number };
}

/** Connections awake at a time while the population grows: what they needed awake is kept for the next ones. */
const BLOCK = 1_000;
const SPOKEN_TO_MAX = 5_000;
/** Connections suspended one after the other, each with a sync of its own. */
const SUSPENDED_ALONE_MAX = 500;
const ATTEMPTS_MAX = 10;
/** How often as many are restored in batches: the first times V8 still compiles, and a garbage collection is one in some. */
const ROUNDS = 12;

const [folder, kind, ...counts] = process.argv.slice(2) as [string, PeerKind, ...string[]];
const most = Math.max(...counts.map(Number));
const peers = new ReflexPeers(most, kind);
const host = new SleepyHost({
  interfaces: [{ link: peers }],
  addresses: [{ address: SERVER.network }, { address: SERVER.network6 }],
  store: await FileStore.open(folder),
  idleMs: 1e9, // they sleep when this file says so
});
host.serve({
  port: SERVER.port,
  hostname: kind === "ipv4" ? "0.0.0.0" : "::",
  tcpBacklog: BLOCK,
  data: (connection, bytes) => void connection.write(bytes),
});
host.sleeper.on("error", (error) => {
  throw error;
});
const empty = await memoryNow();

let connections = 0;
const prng = new Prng(1);
for (const count of counts) {
  let openMs = 0;
  let suspendMs = 0;
  let suspendCpuUs = 0;
  const before = connections;
  while (connections < Number(count)) {
    const to = Math.min(connections + BLOCK, Number(count));
    openMs += timed(() => peers.connect(connections, to));
    const cpuUs = cpuUsNow();
    suspendMs += await suspendAll();
    suspendCpuUs += cpuUsNow() - cpuUs;
    connections = to;
  }
  assert(host.counts.asleep === connections, "All of them sleep");
  const { rss, used } = await memoryNow();
  const files = readdirSync(folder).map((name) => statSync(join(folder, name)));
  const sum = (of: (file: typeof files[number]) => number): number =>
    files.reduce((all, file) => all + of(file), 0);
  const memory = {
    connections,
    rssBytes: rss - empty.rss,
    usedBytes: used - empty.used,
    mapBytes: host.stack.connections.byteLength,
    addressBytes: host.stack.addresses.byteLength,
    fileBytes: sum(({ size }) => size),
    diskBytes: sum(({ blocks }) => blocks * 512),
    opensPerSecond: (connections - before) / openMs * 1000,
    suspendsPerSecond: (connections - before) / suspendMs * 1000,
    suspendCpuUs: suspendCpuUs / (connections - before),
  };
  // One connection after the other, then in batches as large as the sleeper's.
  const some = choose(Math.min(SPOKEN_TO_MAX, connections >>> 1));
  const asleepUs = some.map(answerUs);
  const awakeUs = some.map(answerUs);
  assert(host.counts.awake === some.length, "Those are awake that were spoken to");
  const suspendUs: number[] = [];
  for (const tcb of [...host.stack.tcp.tcbs()].slice(0, SUSPENDED_ALONE_MAX)) {
    suspendUs.push(await suspendUsOf(host.stack.idOf(tcb.record)));
  }
  await suspendAll();
  let restoreMs = 0;
  let restoreCpuUs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const others = choose(some.length);
    const cpuUs = cpuUsNow();
    restoreMs += timed(() => {
      for (let at = 0; at < others.length; at += 256) {
        for (const index of others.slice(at, at + 256)) peers.say(index);
        peers.deliver();
      }
    });
    restoreCpuUs += cpuUsNow() - cpuUs;
    peers.acknowledge();
    assert(host.counts.awake === others.length, "Those are awake that were spoken to");
    await suspendAll();
  }
  tell(
    {
      ...memory,
      restoreCpuUs: restoreCpuUs / (ROUNDS * some.length),
      restoresPerSecond: ROUNDS * some.length / restoreMs * 1000,
      asleepUs: quantiles(asleepUs),
      awakeUs: quantiles(awakeUs),
      suspendUs: quantiles(suspendUs),
    } satisfies Asleep,
  );
}
process.exit(0); // without closing: what a shutdown costs is not measured

/** All that are awake go to sleep; returns the milliseconds until that is durable. */
async function suspendAll(): Promise<number> {
  const startMs = performance.now();
  // Once is not always enough: a timer that rings meanwhile calls a sleep off.
  for (let attempt = 0; host.counts.awake > 0; attempt++) {
    assert(attempt < ATTEMPTS_MAX, "Nobody stays awake");
    await host.sleeper.suspendAll();
  }
  return performance.now() - startMs;
}

/** Microseconds until the image of one connection is durable and its objects are gone. */
async function suspendUsOf(id: string): Promise<number> {
  const gone = new Promise((resolve) => void host.sleeper.once("suspended", resolve));
  const startMs = performance.now();
  host.sleeper.suspend(id);
  await gone;
  return (performance.now() - startMs) * 1000;
}

/** Different connections, in no order. */
function choose(count: number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(prng.below(connections));
  return [...chosen];
}

/** Microseconds until a connection's echo is there. */
function answerUs(index: number): number {
  const before = peers.echoes;
  const us = timed(() => {
    peers.say(index);
    peers.deliver();
  }) * 1000;
  assert(peers.echoes === before + 1, "The echo comes in the same turn");
  peers.acknowledge();
  return us;
}

function cpuUsNow(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function timed(act: () => void): number {
  const startMs = performance.now();
  act();
  return performance.now() - startMs;
}

function quantiles(figures: number[]): { p50: number; p99: number } {
  const sorted = [...figures].sort((a, b) => a - b);
  return { p50: sorted[Math.floor(sorted.length * 0.5)]!, p99: sorted[Math.floor(sorted.length * 0.99)]! };
}
