import { setTimeout } from "node:timers/promises";
import { NetworkNamespace } from "../../tests/support/netns.ts";
import { Worker } from "../worker.ts";
import { type Case, LEFT_ADDRESS, LEFT_TUN, RIGHT_ADDRESS, RIGHT_TUN } from "./case.ts";

/** Linux's defaults; what a kernel remembers of one case must not help the next. */
const SYSCTLS = [
  ["tcp_no_metrics_save", "1"],
  ["tcp_rmem", "4096 131072 6291456"],
  ["tcp_wmem", "4096 16384 4194304"],
] as const;

const SUBNET = "10.78.0.0/24";

/** Two kernels in namespaces of their own, and the relay between them. */
export class World implements AsyncDisposable {
  readonly #left = new NetworkNamespace();
  readonly #right = new NetworkNamespace();
  readonly #workers: Worker[] = [];
  #relay!: Worker;
  #leftKernel!: Worker;
  #rightKernel!: Worker;

  /** @throws When this machine has no namespaces or no TUN for us. */
  static async make(): Promise<World> {
    const world = new World();
    try {
      await world.#start();
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  async #start(): Promise<void> {
    const start = async (file: string, netns: string): Promise<Worker> => {
      const worker = new Worker(file, [], [], netns);
      this.#workers.push(worker);
      await worker.answer();
      return worker;
    };
    this.#relay = await start("loss/relay_worker.ts", this.#left.name);
    // The relay's descriptor stays with the interface when that moves.
    this.#left.run("ip", "link", "set", RIGHT_TUN, "netns", this.#right.name);
    for (
      const [netns, tun, address] of [
        [this.#left, LEFT_TUN, LEFT_ADDRESS],
        [this.#right, RIGHT_TUN, RIGHT_ADDRESS],
      ] as const
    ) {
      for (const [name, value] of SYSCTLS) {
        netns.run("sh", "-c", `echo ${value} > /proc/sys/net/ipv4/${name}`);
      }
      netns.configure(tun, `${address}/24`);
      // A namespace may not choose among all of the machine's congestion controls, but a route may.
      netns.run("ip", "route", "replace", SUBNET, "dev", tun, "src", address, "congctl", "cubic");
      // What the kernel's own queue drops would look like loss.
      netns.run("ip", "link", "set", tun, "txqueuelen", "10000");
    }
    this.#leftKernel = await start("loss/kernel_worker.ts", this.#left.name);
    this.#rightKernel = await start("loss/kernel_worker.ts", this.#right.name);
  }

  /** Bytes per second that arrive at the receiver's application. */
  async run(of: Case): Promise<number> {
    let bytes: number;
    if (of.subject === "Linux to Linux") {
      await this.#relay.ask(JSON.stringify(of));
      this.#rightKernel.tell(`receive ${of.ms}`);
      this.#leftKernel.tell(`send ${RIGHT_ADDRESS}`);
      ({ bytes } = await this.#rightKernel.answer<{ bytes: number }>());
    } else if (of.subject === "ours to Linux") {
      this.#rightKernel.tell(`receive ${of.ms}`);
      await this.#relay.ask(JSON.stringify(of));
      ({ bytes } = await this.#rightKernel.answer<{ bytes: number }>());
      await this.#relay.answer();
    } else {
      await this.#relay.ask(JSON.stringify(of));
      ({ bytes } = await this.#relay.answer<{ bytes: number }>());
    }
    await setTimeout(2 * of.rttMs + 50); // until the RST has arrived, which ends the sender
    return (bytes * 1000) / of.ms;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) await worker[Symbol.asyncDispose]();
    this.#left[Symbol.dispose]();
    this.#right[Symbol.dispose]();
  }
}
