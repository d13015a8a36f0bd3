import { Host } from "../net/socket/host.ts";
import type { HostOptions } from "../net/socket/host_options.ts";
import { type Analyzer, IdleAnalyzer } from "./analyzer.ts";
import type { Store } from "./store/store.ts";
import type { Recovered } from "./recover.ts";
import { Sleeper } from "./suspend.ts";

/** A host whose idle connections sleep. */
export interface SleepyHostOptions extends HostOptions {
  /** Where sleeping connections live. The host closes it when it is closed by `shutdown`. */
  store: Store;
  /** Milliseconds without data after which a connection sleeps. Default 60,000. */
  idleMs?: number;
  /** Another way to decide; `idleMs` is then ignored. */
  analyzer?: Analyzer;
}

/**
 * A {@linkcode Host} whose idle connections sleep in a store. Connections that an earlier process left
 * there are open from the first moment: listen, and they come back when they are spoken to.
 *
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * const [link, _theirs] = pipe({ medium: "ip" });
 * const host = new SleepyHost({
 *   interfaces: [{ link }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(),
 *   idleMs: 30_000,
 * });
 * host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
 * await host.shutdown();
 * ```
 */
export class SleepyHost extends Host {
  readonly sleeper: Sleeper;
  /** What the store held when it was opened. */
  readonly recovered: Recovered;
  readonly #store: Store;

  constructor(options: SleepyHostOptions) {
    super(options);
    this.#store = options.store;
    const analyzer = options.analyzer ??
      new IdleAnalyzer(options.idleMs === undefined ? {} : { idleMs: options.idleMs });
    this.sleeper = new Sleeper(this, options.store, { analyzer });
    this.recovered = this.sleeper.recover();
  }

  /** Connections now, by what holds them. */
  get counts(): { awake: number; asleep: number; waking: number } {
    const { awake, asleep, waking } = this.stack.connections;
    return { awake, asleep, waking };
  }

  /**
   * Puts every connection to sleep, then closes links and store: a later process goes on with all of them.
   * New connections are not accepted from now on, nor refused: their peers ask again, and reach that process.
   */
  async shutdown(): Promise<void> {
    await this.sleeper.shutdown();
    this.close();
    await this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}
