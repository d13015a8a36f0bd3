import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { createInterface, type Interface } from "node:readline";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const SERVER = fileURLToPath(new URL("./server.ts", import.meta.url));
export const KERNEL_ADDRESS = "10.77.0.2";
export const STACK_ADDRESS = "10.77.0.1";
export const KERNEL_ADDRESS6 = "fd77::2";
export const STACK_ADDRESS6 = "fd77::1";
export const INTERFACE = "tor0";

/** `bare`: without offloads. */
export type Mode = "tun" | "bare" | "tap";

/** What the server prints about itself. */
export interface Counts {
  awake: number;
  asleep: number;
  waking: number;
  /** TCB objects on the heap, where the runtime can count them. */
  tcbs?: number;
  drops: Record<string, number>;
  suspends: number;
  restores: number;
  /** IPv6 addresses of the stack. */
  own: string[];
}

/**
 * A namespace whose kernel has a TUN interface that stays when its user dies, and in it a server of
 * ours that can be killed and started again on the same store.
 */
export class KernelServer implements Disposable {
  readonly netns: NetworkNamespace = new NetworkNamespace();
  readonly #runtime: "node" | "deno";
  readonly #folder: string;
  readonly #idleMs: number;
  #child: ChildProcess | undefined;
  #lines: Interface | undefined;
  #waiting: ((line: string) => void)[] = [];

  readonly #mode: Mode;

  /** On TAP the kernel has IPv6 alone, with all its chatter; on TUN both families without any. */
  constructor(runtime: "node" | "deno", folder: string, idleMs: number, mode: Mode = "tun") {
    this.#mode = mode;
    this.#runtime = runtime;
    this.#folder = folder;
    this.#idleMs = idleMs;
    this.netns.run("ip", "tuntap", "add", "dev", INTERFACE, "mode", mode === "tap" ? "tap" : "tun");
    if (mode !== "tap") {
      this.netns.configure(INTERFACE, `${KERNEL_ADDRESS}/24`);
      this.netns.run("ip", "link", "set", INTERFACE, "addrgenmode", "none");
      this.netns.run("sh", "-c", `echo 0 > /proc/sys/net/ipv6/conf/${INTERFACE}/disable_ipv6`);
      this.netns.run("ip", "addr", "add", `${KERNEL_ADDRESS6}/64`, "dev", INTERFACE, "nodad");
    } else {
      this.netns.run("ip", "link", "set", INTERFACE, "address", "02:00:00:00:77:02", "up");
      this.netns.run("ip", "addr", "add", `${KERNEL_ADDRESS6}/64`, "dev", INTERFACE, "nodad");
    }
    // A longer queue than a window: what the kernel's TUN queue drops would look like loss.
    this.netns.run("ip", "link", "set", INTERFACE, "txqueuelen", "2000");
  }

  /** @param recording A file that everything is recorded into, for `torpor replay`. */
  async start(recording?: string): Promise<Counts> {
    const [program, ...args] = RUN_ON[this.#runtime];
    const addresses = this.#mode !== "tap" ? `${STACK_ADDRESS}/24,${STACK_ADDRESS6}/64` : "";
    const server = [SERVER, INTERFACE, addresses, this.#folder, `${this.#idleMs}`, this.#mode];
    if (recording !== undefined) server.push(recording);
    this.#child = this.netns.start(program!, [...args, ...server]);
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#lines.on("line", (line) => this.#waiting.shift()?.(line));
    return JSON.parse(await this.#line());
  }

  async counts(): Promise<Counts> {
    this.#child!.stdin!.write("counts\n");
    return JSON.parse(await this.#line());
  }

  /** A frame arrives at the stack, as if from its link. */
  inject(hex: string): void {
    this.#child!.stdin!.write(`frame ${hex}\n`);
  }

  /** Polls until `done` holds of the counts. */
  async until(done: (counts: Counts) => boolean, what: string): Promise<Counts> {
    for (let turn = 0; turn < 300; turn++) {
      const counts = await this.counts();
      if (done(counts)) return counts;
      await sleep(100);
    }
    throw new Error(`Waited in vain until ${what}: ${JSON.stringify(await this.counts())}`);
  }

  /** SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child!;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    this.#lines!.close();
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("The server has not answered for 30 s")), 30_000);
      this.#waiting.push((line) => {
        clearTimeout(late);
        resolve(line);
      });
    });
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
