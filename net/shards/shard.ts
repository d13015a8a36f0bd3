import { workerData } from "node:worker_threads";
import type { Host } from "../socket/host.ts";
import type { HostShard } from "../socket/host_options.ts";
import {
  type PassedPacket,
  SHARD_KEY,
  type ShardAnswer,
  type ShardQuestion,
  type ShardStart,
  type ShardTotals,
} from "./shard_messages.ts";

/** Something that can be put to sleep before its end: a host with a store. */
interface MayShutDown {
  shutdown?(): Promise<void>;
}

/**
 * A worker's part of a set of shards, for the options of its host: it passes on what is about the others' connections,
 * tells whoever started it how it is, and ends when it is told to.
 */
export class Shard<Data = unknown> implements HostShard {
  /** Which one this is, from 0. */
  readonly index: number;
  /** How many there are. */
  readonly count: number;
  /** What `Shards.start` was given for all of them. */
  readonly data: Data;
  readonly #start: ShardStart;
  #host: Host | undefined;
  #passed = 0;
  /** Shards that the packet at hand may still go to. */
  #left: number;

  /** Use {@linkcode joinShards}. */
  constructor(start: ShardStart) {
    this.#start = start;
    this.index = start.index;
    this.count = start.count;
    this.data = start.data as Data;
    this.#left = start.count - 1;
    start.control.on("message", (question: ShardQuestion) => void this.#answer(question));
  }

  /** @internal */
  attach(host: Host): void {
    this.#host = host;
    this.#start.previous?.on("message", ({ interfaceIndex, packet, left }: PassedPacket) => {
      this.#left = left;
      host.receivePassed(interfaceIndex, packet, left === 0);
      this.#left = this.count - 1;
    });
  }

  /** @internal */
  pass(interfaceIndex: number, packet: Uint8Array<ArrayBuffer>): boolean {
    const { next } = this.#start;
    if (next === undefined) return false;
    this.#passed++;
    const passed: PassedPacket = { interfaceIndex, packet, left: this.#left - 1 };
    next.postMessage(passed, [packet.buffer]);
    return true;
  }

  /** Tells whoever started the shards that this one serves: call it when all is listened to. */
  ready(): void {
    this.#say({ say: "ready" });
  }

  async #answer(question: ShardQuestion): Promise<void> {
    if (question.ask === "totals") {
      return this.#say({ say: "totals", id: question.id, totals: this.#totals() });
    }
    const host = this.#host as (Host & MayShutDown) | undefined;
    if (host?.shutdown !== undefined) await host.shutdown();
    else host?.close();
    for (const port of [this.#start.previous, this.#start.next, this.#start.control]) port?.close();
  }

  #say(answer: ShardAnswer): void {
    this.#start.control.postMessage(answer);
  }

  #totals(): ShardTotals {
    const { connections: map, tcp, drops } = this.#host?.stack ?? {};
    const links: Record<string, number> = {};
    for (const counters of this.#host?.linkCounters ?? []) addInto(links, { ...counters });
    return {
      connections: { awake: map?.awake ?? 0, asleep: map?.asleep ?? 0, waking: map?.waking ?? 0 },
      links,
      drops: { ...drops?.toJSON() },
      tcp: { ...tcp?.counters },
      passed: this.#passed,
    };
  }
}

/** Adds each number of `more` to the one of its name. */
export function addInto(sums: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(more)) sums[name] = (sums[name] ?? 0) + value;
}

let joined: Shard | undefined;

/**
 * The shard that this worker is, when `Shards.start` has started it.
 * @throws {Error} In any other thread.
 * @example
 * ```ts ignore
 * const shard = joinShards<{ folder: string }>();
 * const host = new SleepyHost({
 *   interfaces: [{ link: await openTun({ name: "tor0", multiQueue: true }) }],
 *   addresses: [{ address: "10.7.0.1/24" }],
 *   store: await FileStore.open(`${shard.data.folder}/${shard.index}`),
 *   shard,
 * });
 * host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
 * shard.ready();
 * ```
 */
export function joinShards<Data = unknown>(): Shard<Data> {
  const start = (workerData as Record<string, ShardStart> | null)?.[SHARD_KEY];
  if (start === undefined) {
    throw new Error("Cannot join shards: this thread was not started by Shards.start");
  }
  joined ??= new Shard(start);
  return joined as Shard<Data>;
}
