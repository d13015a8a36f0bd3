import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import type { Host } from "../../../net/socket/host.ts";
import { denoNamespace } from "../../deno/namespace.ts";
import { serveHttp } from "../../http/http_server.ts";
import { serveNode } from "../../node/serve_node.ts";
import { servedAs } from "../../served.ts";
import { resolveInTree } from "../in_tree.ts";
import { LaunchError, type LaunchEvent } from "../launched.ts";
import { environmentOf } from "./environment.ts";
import { moduleOf } from "./module_of.ts";
import { networkAt, type Opened } from "./network_at.ts";

/** Deno's, where an image exposes nothing. */
const PORT_DEFAULT = 8_000;

/** Where a service runs, and who is told of it. */
export interface Surroundings {
  readonly host: Host;
  /** The tree's folder, absolute. */
  readonly root: string;
  readonly address: string;
  /** Whether another service starts the same module: then each has an instance of it. */
  readonly shared: boolean;
  onEvent(event: LaunchEvent): void;
  onOutput(text: string): void;
}

/** What `Deno.exit` of a service throws, so that nothing behind it runs. */
class Exit extends Error {
  override name = "Exit";
}

/** A module of an appliance on an address of the host. */
export class SandboxService {
  readonly service: Service;
  readonly #around: Surroundings;
  readonly #opened = new Set<Opened>();
  readonly #stopping = new AbortController();
  /** Its module on the disk; empty before that is known. */
  #file = "";
  #main: Promise<void> = Promise.resolve();
  #over = false;

  constructor(service: Service, around: Surroundings) {
    this.service = service;
    this.#around = around;
  }

  /** It has failed, exited or been stopped. */
  get over(): boolean {
    return this.#over;
  }

  /** Loads it and has it listen; resolves when it runs, or has failed, of which is told. */
  async start(): Promise<void> {
    const { address, onEvent } = this.#around;
    try {
      const { path, args } = moduleOf(this.service);
      const file = this.#file = resolveInTree(this.#around.root, path);
      const instance = this.#around.shared ? `?service=${encodeURIComponent(this.service.name)}` : "";
      const where = `${pathToFileURL(file).pathname.slice(1)}${instance}`;
      const exported = await import(`file:///${where}`) as Exported; // packagers leave what begins so alone
      if (this.#over) return; // stopped meanwhile
      const { signal } = this.#stopping;
      const network = networkAt(this.#around.host, { address, opened: this.#opened, signal });
      if (typeof exported.main === "function") {
        const Deno = {
          ...Object.getOwnPropertyDescriptors(await denoNamespace(network)),
          ...Object.getOwnPropertyDescriptors(
            environmentOf(this.service, this.#around.root, args, (code) => {
              this.#exited(code);
              throw new Exit("exit");
            }),
          ),
        };
        if (this.#over) return;
        const main = exported.main;
        this.#main = (async () => void await main(Object.defineProperties({}, Deno), { signal }))();
        this.#main.then(
          () => void (this.#opened.size === 0 && this.#exited(0)), // nothing is left that could call it
          (error) => this.fail(error),
        );
        await Promise.race([
          this.#main.catch(() => {}),
          new Promise((resolve) => void setTimeout(resolve, 0)),
        ]);
        if (this.#over) return;
      } else await this.#serve(network, exported.default);
      if (this.#over) return;
      onEvent({ service: this.service.name, state: "started", address, ports: this.service.ports });
    } catch (error) {
      this.fail(error);
    }
  }

  async #serve(network: Host, exported: unknown): Promise<void> {
    const served = await servedAs(exported);
    if (this.#over) return;
    if (served === undefined) {
      throw new LaunchError(
        'its module exports neither "main" nor a default with a method "fetch" (HTTP) or "data" (bytes), nor a server',
      );
    }
    const ports = tcpPorts(this.service.ports);
    for (const port of ports.length === 0 ? [PORT_DEFAULT] : ports) {
      if ("bytes" in served) network.serve({ ...served.bytes, port });
      else if ("node" in served) serveNode(network, served.node, { port });
      else serveHttp(network, { onError: (error) => this.#answerFor(error), ...served.http, port });
    }
  }

  /** A request that failed is no service that failed. */
  #answerFor(error: unknown): Response {
    this.#around.onOutput(`${this.service.name}: ${told(error)}\n`);
    return new Response("Internal Server Error\n", { status: 500 });
  }

  /** How surely `error`, which nobody caught, is its own by its stack: 2 where that names its module, 1 its folder. */
  guilt(error: unknown): 0 | 1 | 2 {
    if (this.#file === "" || !(error instanceof Error)) return 0;
    const named = (path: string): boolean =>
      [path, pathToFileURL(path).href].some((each) => error.stack?.includes(each));
    return named(this.#file) ? 2 : named(`${dirname(this.#file)}/`) ? 1 : 0;
  }

  /** Ends it for an error. */
  fail(error: unknown): void {
    if (this.#over || error instanceof Exit) return;
    this.#end();
    this.#around.onOutput(`${this.service.name}: ${told(error)}\n`);
    const why = error instanceof Error ? error.message : String(error);
    this.#around.onEvent({ service: this.service.name, state: "failed", why });
  }

  #exited(code: number): void {
    if (this.#over) return;
    this.#end();
    this.#around.onEvent({ service: this.service.name, state: "exited", code });
  }

  /** Asks it to end: its signal is aborted, nothing of it listens, and it has `graceMs` for what it is at. */
  async stop(graceMs: number): Promise<void> {
    if (this.#over) return;
    this.#end();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) => void (timer = setTimeout(() => resolve(true), graceMs)));
    const killed = await Promise.race([this.#main.then(() => false, () => false), late]);
    clearTimeout(timer);
    this.#around.onEvent({ service: this.service.name, state: "stopped", killed });
  }

  #end(): void {
    this.#over = true;
    this.#stopping.abort();
    for (const one of this.#opened) {
      try {
        one.close();
      } catch {
        // closed already, by itself
      }
    }
    this.#opened.clear();
  }
}

interface Exported {
  readonly default?: unknown;
  readonly main?: (Deno: unknown, about: { readonly signal: AbortSignal }) => unknown;
}

function tcpPorts(ports: readonly string[]): number[] {
  return ports.map((each) => each.split("/")).filter(([, kind = "tcp"]) => kind === "tcp").map(([port]) =>
    Number(port)
  );
}

function told(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
