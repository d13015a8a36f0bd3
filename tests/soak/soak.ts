import { fileURLToPath } from "node:url";
import { Worker } from "../../examples/survive_kill/worker.ts";
import { Prng } from "../../base/random.ts";
import type { Impairments } from "../../net/link/impaired.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { type Growth, growthOf, leaksIn, type Sample } from "./leaks.ts";
import type { SoakOptions } from "./options.ts";
import { NETWORK } from "./stream.ts";

export interface SoakReport {
  readonly seed: number;
  readonly minutes: number;
  readonly kills: number;
  readonly naps: number;
  /** Connections that were asleep when the server was killed, and had to live on. */
  readonly asleepAtKills: number;
  readonly clients: Readonly<Record<string, number>>;
  readonly server: Readonly<Record<string, unknown>>;
  readonly growth: Growth;
  /** What was lost, wrong, or reset without a reason. */
  readonly failures: readonly string[];
  readonly leaks: readonly string[];
}

const IDLE_MS = 500;
/** A bad wire may need this long for the last ACK; then the connection sleeps for sure. */
const QUIET_MS = 5_000;
const CLIENTS = 2;
const TICK_MS = 1_000;
const STREAMS_APART = 10_000_000;
/** TIME-WAIT, orphans' FIN-WAIT-2 and what the clients' kernel still has to say. */
const DRAIN_MS_MAX = 40_000;

const WIRES: readonly Partial<Impairments>[] = [
  {},
  { delayMs: 2 },
  { loss: 0.01, delayMs: 5 },
  { reorder: 0.05, delayMs: 5, jitterMs: 3 },
  { duplicate: 0.03, delayMs: 1 },
  { corrupt: 0.005, loss: 0.005 },
  { loss: 0.03, delayMs: 10, reorder: 0.02, duplicate: 0.01 },
  { rateBytesPerS: 4_000_000, delayMs: 3 },
];

/** One soak from its first connection to its last. */
export class Soak {
  readonly #options: SoakOptions;
  readonly #prng: Prng;
  readonly #say: (line: string) => void;
  readonly #netns: NetworkNamespace;
  readonly #folder: string;
  readonly #failures: string[] = [];
  #server!: Worker;
  #clients: Worker[] = [];
  #samples: Sample[] = [];
  #handles: Record<string, number> = {};
  #kills = 0;
  #naps = 0;
  #asleepAtKills = 0;
  #starts = 0;

  private constructor(
    options: SoakOptions,
    netns: NetworkNamespace,
    folder: string,
    say: (line: string) => void,
  ) {
    this.#options = options;
    this.#netns = netns;
    this.#folder = folder;
    this.#say = say;
    this.#prng = new Prng(options.seed);
  }

  /** @throws {Error} When a process ends that should not. */
  static async run(options: SoakOptions, say: (line: string) => void): Promise<SoakReport> {
    using folder = new TemporaryFolder();
    using netns = new NetworkNamespace();
    const soak = new Soak(options, netns, folder.file("store"), say);
    try {
      return await soak.#run();
    } finally {
      await Promise.all([soak.#server, ...soak.#clients].map((worker) => worker?.kill()));
    }
  }

  async #run(): Promise<SoakReport> {
    const { minutes, connections, seed } = this.#options;
    const { interfaceName, client, prefix } = NETWORK;
    this.#netns.run("ip", "tuntap", "add", "dev", interfaceName, "mode", "tun");
    this.#netns.configure(interfaceName, `${client}/${prefix}`);
    this.#netns.run("ip", "link", "set", interfaceName, "txqueuelen", "5000");
    await this.#startServer();
    this.#handles = (await this.#server.ask("stats"))["handles"] as Record<string, number>;
    for (let at = 0; at < CLIENTS; at++) {
      const share = Math.ceil(connections / CLIENTS);
      this.#clients.push(this.#worker(`client ${at}`, "client.ts", [
        ...["--connections", `${share}`, "--seed", `${seed + at}`, "--quiet", `${QUIET_MS}`],
        ...["--first", `${1 + at * STREAMS_APART}`],
      ]));
    }
    await Promise.all(this.#clients.map((worker) => worker.ask("start")));
    const startedMs = performance.now(), lengthMs = minutes * 60_000;
    const killEveryMs = Math.max(15_000, lengthMs / 20);
    const next = { kill: killEveryMs, wire: 0, nap: 10_000, sample: 0, word: 10_000 };
    for (let nowMs = 0; nowMs < lengthMs; nowMs = performance.now() - startedMs) {
      if (nowMs >= next.kill && nowMs < lengthMs / 2) {
        await this.#kill();
        next.kill = nowMs + killEveryMs;
      }
      if (nowMs >= next.wire) {
        await this.#server.ask("wire", this.#prng.pick(WIRES));
        next.wire = nowMs + this.#prng.between(5_000, 20_000);
      }
      if (nowMs >= next.nap) {
        this.#naps++;
        await this.#server.ask("nap");
        next.nap = nowMs + this.#prng.between(5_000, 25_000);
      }
      if (nowMs >= next.sample) {
        await this.#sample(nowMs);
        next.sample = nowMs + Math.max(5_000, lengthMs / 120);
      }
      if (nowMs >= next.word) {
        await this.#word(nowMs, lengthMs);
        next.word = nowMs + 10_000;
      }
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    return await this.#finish(lengthMs);
  }

  #worker(name: string, file: string, args: string[]): Worker {
    const path = fileURLToPath(new URL(file, import.meta.url));
    return new Worker(name, path, args, ["ip", "netns", "exec", this.#netns.name]);
  }

  async #startServer(): Promise<void> {
    const seed = `${this.#options.seed + 1_000 * ++this.#starts}`;
    const args = ["--folder", this.#folder, "--seed", seed, "--idle", `${IDLE_MS}`];
    this.#server = this.#worker("server", "server.ts", args);
    const { recovered, readyMs } = await this.#server.ask("ready");
    this.#say(`server ${this.#starts}: ready in ${Math.round(readyMs as number)} ms, ${recovered} asleep`);
    this.#samples = [];
  }

  /** kill -9, some darkness, and another process. */
  async #kill(): Promise<void> {
    const asleep = await Promise.all(this.#clients.map((worker) => worker.ask("beforeKill")));
    const wrong = (await this.#server.ask("stats"))["wrong"] as string[];
    this.#failures.push(...wrong);
    await this.#server.kill();
    this.#kills++;
    this.#asleepAtKills += asleep.reduce((sum, each) => sum + (each["asleep"] as number), 0);
    await Promise.all(this.#clients.map((worker) => worker.ask("afterKill")));
    await new Promise((resolve) => setTimeout(resolve, this.#prng.between(0, 3_000)));
    await this.#startServer();
  }

  async #sample(atMs: number): Promise<void> {
    const { liveBytes, poolBytes, rssBytes } = await this.#server.ask("stats") as Record<string, number>;
    // What is kept for the next connections fills slowly, and has a limit.
    this.#samples.push({ atMs, liveBytes: liveBytes! - poolBytes!, rssBytes: rssBytes! });
  }

  async #word(nowMs: number, lengthMs: number): Promise<void> {
    const clients = await this.#progress("progress");
    const { liveBytes, awake, asleep } = this.#samples.length > 0
      ? { ...this.#samples.at(-1)!, ...await this.#server.ask("stats") } as Record<string, number>
      : { liveBytes: 0, awake: 0, asleep: 0 };
    this.#say(
      `${Math.round(nowMs / 1000)}/${Math.round(lengthMs / 1000)} s: ${awake} awake, ${asleep} asleep, ` +
        `${clients["exchanges"]} exchanges, ${
          Math.round(clients["bytes"]! / 1e6)
        } MB, ${this.#kills} kills, ` +
        `${(liveBytes! / 1e6).toFixed(1)} MB live, ${this.#failures.length} failures`,
    );
  }

  async #progress(request: "progress" | "finish"): Promise<Record<string, number>> {
    const total: Record<string, number> = {};
    for (const each of await Promise.all(this.#clients.map((worker) => worker.ask(request)))) {
      const { failures, ...counts } = each as { failures: string[] } & Record<string, number>;
      for (const failure of failures) {
        if (this.#failures.includes(failure)) continue;
        this.#failures.push(failure);
        this.#say(`FAILED ${failure}`);
      }
      for (const [name, count] of Object.entries(counts)) {
        total[name] = (total[name] ?? 0) + (count as number);
      }
    }
    return total;
  }

  async #finish(lengthMs: number): Promise<SoakReport> {
    await this.#server.ask("wire", {});
    const growth = growthOf(this.#samples);
    this.#say("closing everything");
    const clients = await this.#progress("finish");
    await this.#server.ask("reap");
    let left = await this.#server.ask("stats");
    for (
      const untilMs = performance.now() + DRAIN_MS_MAX;
      left["records"] !== 0 && performance.now() < untilMs;
    ) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      left = await this.#server.ask("stats");
    }
    this.#failures.push(...left["wrong"] as string[]);
    return {
      seed: this.#options.seed,
      minutes: lengthMs / 60_000,
      kills: this.#kills,
      naps: this.#naps,
      asleepAtKills: this.#asleepAtKills,
      clients,
      server: left,
      growth,
      failures: this.#failures,
      leaks: leaksIn(left, growth, this.#kernelSockets(), this.#handles),
    };
  }

  /** Sockets of the clients' kernel that are neither listening nor in TIME-WAIT. */
  #kernelSockets(): number {
    const table = this.#netns.run("cat", "/proc/net/tcp");
    return table.split("\n").slice(1).filter((line) => /^ *\d+:/.test(line)).filter((line) =>
      !/^ *\d+: \S+ \S+ (06|0A) /.test(line)
    ).length;
  }
}
