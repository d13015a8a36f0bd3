import { availableParallelism } from "node:os";
import { MessageChannel, type MessagePort, Worker, type WorkerOptions } from "node:worker_threads";
import { runtime } from "../../base/runtime.ts";
import { addInto } from "./shard.ts";
import {
  SHARD_KEY,
  type ShardAnswer,
  type ShardQuestion,
  type ShardStart,
  type ShardTotals,
} from "./shard_messages.ts";

/** How shards are started. */
export interface ShardsOptions {
  /** The module that each shard runs in a thread of its own: it calls `joinShards`. */
  module: URL;
  /** How many; by default one for each core. */
  count?: number;
  /** For each of them, copied: its `data`. */
  data?: unknown;
  /** A shard has ended by an error; the others go on. Without this callback the error is printed. */
  onError?(error: Error, index: number): void;
}

/** A shard from the outside. */
interface Running {
  readonly worker: Worker;
  readonly control: MessagePort;
  readonly ended: Promise<void>;
}

/** Questions that wait for their answer, by number. */
type Asked = Map<number, (totals: ShardTotals) => void>;

/**
 * Hosts that share their addresses, each in a thread of its own with its own stack, connections and store: one for each
 * core, and no lock between them. Each has a queue of a TUN interface (`multiQueue`), to which the kernel gives flows by a
 * hash. A packet of a connection that another shard has, as after a restart with another `count`, goes round the ring until
 * somebody knows it.
 *
 * @example
 * ```ts ignore
 * const shards = await Shards.start({ module: new URL("./server.ts", import.meta.url), data: { folder: "./connections" } });
 * console.log((await shards.totals()).connections); // { awake: 12, asleep: 90123, waking: 0 }
 * await shards.close(); // hosts with a store put their connections to sleep
 * ```
 */
export class Shards implements AsyncDisposable {
  readonly #running: readonly Running[];
  readonly #dead = new Set<Running>();
  readonly #asked: Asked;
  #questions = 0;
  #closing = false;

  private constructor(running: readonly Running[], asked: Asked) {
    this.#running = running;
    this.#asked = asked;
    for (const each of running) {
      void each.ended.then(() => {
        this.#dead.add(each);
        each.control.close();
      });
    }
  }

  /**
   * Starts them; resolves when each has said that it is `ready`.
   * @throws {Error} When one of them ends before that, with its own error. Then all have ended.
   */
  static async start(options: ShardsOptions): Promise<Shards> {
    const count = options.count ?? availableParallelism();
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`Cannot start shards: count is ${count}, need a whole number from 1`);
    }
    // Shard i speaks to shard i + 1 over ring[i].
    const ring = count > 1 ? Array.from({ length: count }, () => new MessageChannel()) : [];
    const whenReady: Promise<void>[] = [];
    const asked: Asked = new Map();
    const running = Array.from({ length: count }, (_, index): Running => {
      const { port1: control, port2 } = new MessageChannel();
      const next = ring[index]?.port1, previous = ring[(index + count - 1) % count]?.port2;
      const start: ShardStart = { index, count, data: options.data, control: port2, next, previous };
      const worker = threadOf(options.module, {
        workerData: { [SHARD_KEY]: start },
        transferList: [port2, next, previous].filter((port) => port !== undefined),
      });
      let isReady = false;
      whenReady.push(
        new Promise((resolve, reject) => {
          control.on("message", (answer: ShardAnswer) => {
            if (answer.say === "totals") {
              asked.get(answer.id)?.(answer.totals);
              asked.delete(answer.id);
            } else {
              isReady = true;
              resolve();
            }
          });
          worker.once("error", (error) => {
            if (!isReady) return reject(error);
            if (options.onError === undefined) console.error(`Shard ${index} has ended:`, error);
            else options.onError(error as Error, index);
          });
          worker.once("exit", () => reject(new Error(`Shard ${index} has ended before it was ready`)));
        }),
      );
      const ended = new Promise<void>((resolve) => void worker.once("exit", () => resolve()));
      return { worker, control, ended };
    });
    try {
      await Promise.all(whenReady);
    } catch (error) {
      for (const promise of whenReady) promise.catch(() => {});
      await Promise.all(running.map(({ worker }) => worker.terminate()));
      for (const { control } of running) control.close();
      throw error;
    }
    return new Shards(running, asked);
  }

  /** How many were started. */
  get count(): number {
    return this.#running.length;
  }

  /** Connections and counters of each that runs. */
  async each(): Promise<ShardTotals[]> {
    const asked = this.#running.filter((each) => !this.#dead.has(each)).map((each) => this.#ask(each));
    return (await Promise.all(asked)).filter((totals) => totals !== undefined);
  }

  /** The sums of all. */
  async totals(): Promise<ShardTotals> {
    const connections = { awake: 0, asleep: 0, waking: 0 };
    const links: Record<string, number> = {},
      drops: Record<string, number> = {},
      tcp: Record<string, number> = {};
    let passed = 0;
    for (const each of await this.each()) {
      addInto(connections, each.connections);
      addInto(links, each.links);
      addInto(drops, each.drops);
      addInto(tcp, each.tcp);
      passed += each.passed;
    }
    return { connections, links, drops, tcp, passed };
  }

  /** Ends them: a host with a store shuts down, others close. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      for (const { control } of this.#running) control.postMessage({ ask: "close" } satisfies ShardQuestion);
    }
    await Promise.all(this.#running.map(({ ended }) => ended));
  }

  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** `undefined` when it ends before it has answered. */
  #ask(of: Running): Promise<ShardTotals | undefined> {
    const id = this.#questions++;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      of.control.postMessage({ ask: "totals", id } satisfies ShardQuestion);
      void of.ended.then(() => this.#asked.delete(id) && resolve(undefined));
    });
  }
}

/** A thread that runs `module`. On Node, TypeScript needs tsx, which does not reach into threads by itself. */
function threadOf(module: URL, options: WorkerOptions): Worker {
  if (runtime !== "node" || !/\.[cm]?ts$/.test(module.pathname)) return new Worker(module, options);
  const tsx = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const code = `import(${tsx}).then(({ register }) => (register(), import(${JSON.stringify(module.href)})))`;
  return new Worker(code, { ...options, eval: true });
}
