import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import { constants, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import { openTun, type TunLink } from "../../../net/link/tun.ts";
import { checkServices, type Launched, LaunchError, type LaunchEvent } from "../launched.ts";
import { checkRoot } from "./check_root.ts";
import { initScript } from "./init.ts";
import { programOf } from "./program.ts";
import { findProgram, findTools } from "./tools.ts";

/** How long a program may take to end before it is killed: what container runtimes give it. */
const GRACE_MS_DEFAULT = 10_000;
/** What of an init's complaints is kept. */
const COMPLAINT_BYTES_MAX = 4_096;

/** Options of `openContainer`. */
export interface ContainerOptions {
  /** The final appliance: a folder, which is only read. */
  readonly root: string;
  readonly services: readonly Service[];
  /** The container's address. The stack's route to it is the caller's: `link` leads there. */
  readonly address: string;
  /** Default "appliance". */
  readonly hostname?: string;
  /** Default 1,500. */
  readonly mtu?: number;
  /**
   * Where what the programs write is kept, for the next launch; default: a temporary folder that is deleted with the
   * container. No colons, commas or backslashes: overlayfs takes them for its own.
   */
  readonly state?: string;
  /** How long a program may take to end before it is killed. Default 10 s. */
  readonly graceMs?: number;
  onEvent?(event: LaunchEvent): void;
  /** What the programs print, as it comes. Default: standard error. */
  onOutput?(bytes: Uint8Array): void;
}

/**
 * Makes a container of Linux' namespaces (mount, process, UTS, IPC, network) in which nothing runs yet but its init. Needs
 * root, util-linux, iproute2, coreutils, overlayfs and /dev/net/tun; no container runtime.
 *
 * Programs are kept from the machine's files, processes and network, and from most of what root may do. There is no user
 * namespace, no seccomp and no limit on memory or time: it is for programs that you trust.
 *
 * @throws {LaunchError} When a service cannot be started so, or the machine refuses; nothing is left behind then.
 * @throws {LinkError} When there can be no TUN interface.
 * @example
 * ```ts ignore
 * const container = await openContainer({ root: "final", services, address: "10.8.0.2" });
 * using host = new Host({
 *   interfaces: [{ link: container.link }],
 *   addresses: [{ address: "10.8.0.1/24" }],
 * });
 * await container.start();
 * const conn = await host.connect({ hostname: "10.8.0.2", port: 80 });
 * ```
 */
export async function openContainer(options: ContainerOptions): Promise<Container> {
  const { services, address, hostname = "appliance", mtu = 1_500 } = options;
  checkServices(services);
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new LaunchError("Cannot make a container: it needs Linux, and root");
  }
  const root = resolve(options.root);
  const programs = services.map((service) => programOf(root, service));
  checkRoot(root);
  const tools = findTools(["setpriv", "umount", "env"]);
  for (const name of ["unshare", "nsenter", "mount", "pivot_root", "ip"]) findProgram(name);
  const kept = options.state === undefined ? undefined : resolve(options.state);
  const state = kept ?? fs.mkdtempSync(join(tmpdir(), "torpor-launch-"));
  const discard = (): void => {
    if (kept === undefined) fs.rmSync(state, { recursive: true, force: true });
  };
  let link: TunLink | undefined;
  try {
    if (/[:,\\\s]/.test(state)) {
      throw new LaunchError(
        `Cannot keep what is written in "${state}": a path without spaces, ":", "," and "\\"`,
      );
    }
    for (const name of ["lower", "upper", "work", "root"]) {
      fs.mkdirSync(join(state, name), { recursive: true });
    }
    link = await openTun({ name: "torpor%d", mtu });
    const script = initScript({
      ...{ root, state, hostname, address, mtu, tools, programs },
      interfaceName: link.name,
    });
    fs.writeFileSync(join(state, "init.sh"), script, { mode: 0o600 });
    const container = new Container(options, link, state, discard);
    await container.enter();
    return container;
  } catch (error) {
    link?.close();
    discard();
    throw error;
  }
}

/** A container: see {@linkcode openContainer}. */
export class Container implements Launched {
  /** The stack's end of its network. It carries bare IP packets, and belongs to the host that it is given to. */
  readonly link: TunLink;
  readonly done: Promise<void>;
  readonly #options: ContainerOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  /** By the number of the service. */
  readonly #running = new Map<number, number>();
  readonly #left: Set<number>;
  readonly #waiting = new Map<number, () => void>();
  readonly #stopping = new Set<number>();
  readonly #killed = new Set<number>();
  #line: ((line: string) => void) | undefined;
  #complaint = "";
  #pid = 0;
  #started = false;
  #stop: Promise<void> | undefined;

  /** @internal */
  constructor(options: ContainerOptions, link: TunLink, state: string, discard: () => void) {
    this.#options = options;
    this.link = link;
    this.#left = new Set(options.services.keys());
    const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"];
    this.#child = spawn(
      findProgram("unshare"),
      [...namespaces, "--fork", "--kill-child", "/bin/sh", join(state, "init.sh")],
      {
        stdio: ["pipe", "pipe", "pipe", "pipe"],
        // What is not found on an empty PATH of ours may be in sbin.
        env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: "C" },
        detached: true, // a terminal's ^C is ours to pass on
      },
    );
    const { stdin, stdout, stderr } = this.#child;
    stdin!.on("error", () => {}); // it has ended already
    stdout!.on("data", (bytes: Uint8Array) => this.#print(bytes));
    stderr!.on("data", (bytes: Uint8Array) => {
      if (this.#started) return this.#print(bytes);
      this.#complaint = (this.#complaint + new TextDecoder().decode(bytes)).slice(-COMPLAINT_BYTES_MAX);
    });
    createInterface({ input: this.#child.stdio[3] as Readable }).on("line", (line) => this.#hear(line));
    this.#exited = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#complaint += error.message;
        resolve();
      });
      this.#child.once("close", () => resolve());
    });
    this.done = this.#exited.then(() => {
      for (const index of [...this.#left]) this.#ended(index, 128 + constants.signals.SIGKILL);
      discard();
    });
  }

  /**
   * Puts the interface in, and waits until the tree is the root.
   * @internal
   */
  async enter(): Promise<void> {
    try {
      this.#pid = Number((await this.#said(/^pid (\d+)$/))[1]);
      execFileSync(findProgram("ip"), ["link", "set", this.link.name, "netns", `${this.#pid}`], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      const ready = this.#said(/^ready$/);
      this.#go();
      await ready;
    } catch (error) {
      this.#child.stdin!.end();
      this.#child.kill("SIGKILL"); // and --kill-child the init
      await this.done;
      throw error;
    }
  }

  /** Starts the programs; resolves when each runs, or has ended already. */
  async start(): Promise<void> {
    this.#started = true;
    const all = [...this.#left].map((index) =>
      new Promise<void>((resolve) => void this.#waiting.set(index, resolve))
    );
    this.#go();
    await Promise.race([Promise.all(all), this.done]);
    this.#waiting.clear();
  }

  stop(): Promise<void> {
    return this.#stop ??= this.#stopAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.link.close();
  }

  async #stopAll(): Promise<void> {
    for (const [index, pid] of [...this.#running].sort(([left], [right]) => right - left)) {
      if (!this.#left.has(index)) continue;
      this.#stopping.add(index);
      const gone = new Promise<void>((resolve) => void this.#waiting.set(index, resolve));
      await this.#signal("TERM", pid);
      const timer = setTimeout(() => {
        this.#killed.add(index);
        void this.#signal("KILL", pid);
      }, this.#options.graceMs ?? GRACE_MS_DEFAULT);
      await Promise.race([gone, this.done]);
      clearTimeout(timer);
    }
    this.#child.stdin!.end(); // whoever is left: the init kills all when nobody speaks to it
    if (!this.#started) this.#child.kill("SIGKILL");
    await this.done;
  }

  /** The number is one of inside, which a process in there understands; the machine's own shell is that process. */
  #signal(signal: string, pid: number): Promise<void> {
    const args = ["--target", `${this.#pid}`, "--pid", "/bin/sh", "-c", `kill -${signal} ${pid}`];
    return new Promise((resolve) => void execFile(findProgram("nsenter"), args, () => resolve()));
  }

  #go(): void {
    (this.#child.stdin as Writable).write("go\n");
  }

  /** @throws {LaunchError} When the init ends instead. */
  async #said(pattern: RegExp): Promise<RegExpExecArray> {
    const heard = new Promise<RegExpExecArray>((resolve) => {
      this.#line = (line) => {
        const match = pattern.exec(line);
        if (match !== null) resolve(match);
      };
    });
    const over = this.#exited.then(() => {
      throw new LaunchError(`Cannot make a container: ${this.#complaint.trim() || "its init ended"}`);
    });
    return await Promise.race([heard, over]);
  }

  #hear(line: string): void {
    this.#line?.(line);
    const [, what, first, second] = /^(started|exited) (\d+) (\d+)$/.exec(line) ?? [];
    if (what === undefined) return;
    const index = Number(first);
    if (what === "exited") return this.#ended(index, Number(second));
    this.#running.set(index, Number(second));
    const { name, ports } = this.#options.services[index]!;
    const [address] = this.#options.address.split("/");
    this.#options.onEvent?.({
      ...{ service: name, state: "started", address: address!, ports, pid: Number(second) },
    });
    this.#woken(index);
  }

  #ended(index: number, code: number): void {
    if (!this.#left.delete(index)) return;
    const { name: service } = this.#options.services[index]!;
    this.#woken(index);
    if (this.#stopping.has(index)) {
      return this.#options.onEvent?.({ service, state: "stopped", killed: this.#killed.has(index) });
    }
    if (!this.#started) return; // the container could not be made, and that is told
    const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
    this.#options.onEvent?.({ service, state: "exited", code, ...signal === undefined ? {} : { signal } });
  }

  #woken(index: number): void {
    this.#waiting.get(index)?.();
    this.#waiting.delete(index);
  }

  #print(bytes: Uint8Array): void {
    if (this.#options.onOutput === undefined) process.stderr.write(bytes);
    else this.#options.onOutput(bytes);
  }
}
