import type { ChildProcess } from "node:child_process";
import type { NetworkNamespace } from "../support/netns.ts";
import { sleep } from "./kernel_server.ts";

/** Headers are what is judged. */
const SNAPSHOT_BYTES = 120;

/** What passes an interface, for tshark to judge. */
export class Capture {
  readonly #netns: NetworkNamespace;
  readonly #file: string;
  readonly #tcpdump: ChildProcess;

  private constructor(netns: NetworkNamespace, file: string, tcpdump: ChildProcess) {
    this.#netns = netns;
    this.#file = file;
    this.#tcpdump = tcpdump;
  }

  static async start(netns: NetworkNamespace, interfaceName: string, file: string): Promise<Capture> {
    // Immediate, or what does not fill a block of the kernel's is lost at the end.
    const args = [
      ...["-i", interfaceName, "-B", "65536", "-s", `${SNAPSHOT_BYTES}`],
      ...["--immediate-mode", "-U", "-w", file],
    ];
    const tcpdump = netns.start("tcpdump", args);
    await sleep(1_000);
    return new Capture(netns, file, tcpdump);
  }

  async stop(): Promise<void> {
    await sleep(500);
    const gone = new Promise((resolve) => void this.#tcpdump.once("exit", resolve));
    this.#tcpdump.kill("SIGINT");
    await gone;
  }

  /** The packets that `filter` shows, a line each. HTTP is left out: putting its bodies together takes minutes. */
  lines(filter: string): string[] {
    return this.#netns.run(
      "tshark",
      ...["-r", this.#file, "--disable-protocol", "http", "-o", "tcp.desegment_tcp_streams:FALSE"],
      ...["-Y", filter],
    ).split("\n").filter((line) => line !== "");
  }
}
