import { resolve } from "node:path";
import process from "node:process";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import type { Host } from "../../../net/socket/host.ts";
import { checkServices, type Launched, LaunchError, type LaunchEvent } from "../launched.ts";
import { SandboxService } from "./service.ts";

/** How long a service may take to end what it is at. */
const GRACE_MS_DEFAULT = 10_000;

/** Options of {@linkcode Sandbox}. */
export interface SandboxOptions {
  /** On whose stack they run; its connections sleep where it is a `SleepyHost`. */
  readonly host: Host;
  /** The final appliance: a folder. */
  readonly root: string;
  readonly services: readonly Service[];
  /** An address of the host for each service, in their order. */
  readonly addresses: readonly string[];
  /** How long a service may take to end what it is at. Default 10 s. */
  readonly graceMs?: number;
  onEvent?(event: LaunchEvent): void;
  /** Errors of services, in words. Default: standard error. */
  onOutput?(text: string): void;
}

/**
 * Services of several appliances that are modules of JavaScript or TypeScript, in this process, on one host: each with an
 * address of its own, so that all may have port 80. A module exports
 *
 * - `default`: a function, or an object with `fetch`, or with `data`, as `torpor serve` takes it; it is served on the TCP
 *   ports that its image exposes, else on 8000, or
 * - `main(Deno, { signal })`: a program, whose `Deno` has its network, environment, arguments and `exit`.
 *
 * They share a process: one that never returns stops all, and nothing keeps them from the machine's files. What one throws
 * ends that one. Programs that are not trusted so far belong into a container.
 *
 * @example
 * ```ts ignore
 * await using sandbox = new Sandbox({ host, root: "final", services, addresses: ["10.7.0.10", "10.7.0.11"] });
 * await sandbox.start();
 * await sandbox.done;
 * ```
 */
export class Sandbox implements Launched {
  readonly done: Promise<void>;
  readonly #services: readonly SandboxService[];
  readonly #graceMs: number;
  #end!: () => void;
  #stop: Promise<void> | undefined;

  /** @throws {LaunchError} When there is no service, or no address for one. */
  constructor(options: SandboxOptions) {
    const { host, services, addresses, graceMs = GRACE_MS_DEFAULT } = options;
    checkServices(services);
    if (addresses.length < services.length) {
      throw new LaunchError(`Cannot launch ${services.length} services on ${addresses.length} addresses`);
    }
    this.#graceMs = graceMs;
    this.done = new Promise((resolve) => void (this.#end = resolve));
    const commands = services.map(({ entrypoint, cmd }) => [...entrypoint, ...cmd].join("\0"));
    this.#services = services.map((service, index) =>
      new SandboxService(service, {
        host,
        root: resolve(options.root),
        address: addresses[index]!.split("/")[0]!,
        shared: commands.indexOf(commands[index]!) !== commands.lastIndexOf(commands[index]!),
        onEvent: (event) => {
          options.onEvent?.(event);
          if (this.#services.every(({ over }) => over) && this.#stop === undefined) this.#end();
        },
        onOutput: (text) => {
          if (options.onOutput === undefined) process.stderr.write(text);
          else options.onOutput(text);
        },
      })
    );
  }

  /** Starts all; resolves when each runs or has failed, of which `onEvent` is told. */
  async start(): Promise<void> {
    await Promise.all(this.#services.map((service) => service.start()));
  }

  /**
   * Ends the service that an error comes from which nobody caught (`uncaughtException`, `unhandledRejection`).
   * @returns False when it is of none: a bug of whoever runs them.
   */
  blame(error: unknown): boolean {
    const most = Math.max(...this.#services.map((service) => service.guilt(error)));
    if (most === 0) return false;
    for (const service of this.#services) if (service.guilt(error) === most) service.fail(error);
    return true;
  }

  stop(): Promise<void> {
    return this.#stop ??= (async () => {
      for (const service of [...this.#services].reverse()) await service.stop(this.#graceMs);
      this.#end();
    })();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
