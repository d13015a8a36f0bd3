import type { ChildProcess } from "node:child_process";
import type { NetworkNamespace } from "../support/netns.ts";
import { said } from "../support/said.ts";
import { sleep } from "./kernel_server.ts";

/** Of a packet, where headers are what is judged. */
const SNAPSHOT_BYTES = 120;
/** Of a packet that a link of 1,500 bytes carries: all of it, so that checksums can be judged. */
export const WHOLE_BYTES = 2_000;

/** What tcpdump says of itself when it is asked. */
const COUNTS = /(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped by kernel/;

/** How a capture is taken. */
export interface CaptureOptions {
  /** Of each packet. */
  readonly bytes?: number;
  /** What is kept, in tcpdump's words. */
  readonly only?: string;
  /** Protocols whose checksums tshark judges. Where a link fills them in itself it would find them all wrong. */
  readonly checked?: readonly ("ip" | "udp" | "tcp")[];
}

/** What passes an interface, for tshark to judge. */
export class Capture {
  readonly #netns: NetworkNamespace;
  readonly #file: string;
  readonly #tcpdump: ChildProcess;
  /** How often the kernel counts a packet that tcpdump counts once. */
  readonly #counted: number;
  readonly #checks: readonly string[];

  private constructor(
    netns: NetworkNamespace,
    file: string,
    tcpdump: ChildProcess,
    counted: number,
    checked: NonNullable<CaptureOptions["checked"]>,
  ) {
    this.#counted = counted;
    this.#netns = netns;
    this.#file = file;
    this.#tcpdump = tcpdump;
    this.#checks = checked.flatMap((protocol) => ["-o", `${protocol}.check_checksum:TRUE`]);
  }

  /** Begins to capture; resolves when every packet from now on will be there. */
  static async start(
    netns: NetworkNamespace,
    interfaceName: string,
    file: string,
    { bytes = SNAPSHOT_BYTES, only, checked = [] }: CaptureOptions = {},
  ): Promise<Capture> {
    // Immediate, or what does not fill a block of the kernel's is lost at the end.
    const args = [
      ...["-i", interfaceName, "-B", "65536", "-s", `${bytes}`, "--immediate-mode", "-U", "-w", file],
      ...(only === undefined ? [] : [only]),
    ];
    const tcpdump = netns.start("tcpdump", args, "pipe");
    await said(tcpdump.stderr!, /listening on/);
    return new Capture(netns, file, tcpdump, interfaceName === "lo" ? 2 : 1, checked); // out and in
  }

  /** Waits until a packet that `filter` shows has passed. */
  async until(filter: string): Promise<void> {
    for (let turn = 0; turn < 150; turn++) {
      // While tcpdump writes, the last packet may be there in part, which tshark fails for.
      if ((await this.lines(filter).catch(() => [])).length > 0) return;
      await sleep(100);
    }
    throw new Error(`Waited in vain for a packet: ${filter}`);
  }

  /** Ends when all that has passed the interface is in the file. */
  async stop(): Promise<void> {
    for (;;) {
      const counts = said(this.#tcpdump.stderr!, COUNTS);
      this.#tcpdump.kill("SIGUSR1");
      const [captured, received, dropped] = (await counts).slice(1).map(Number);
      if (this.#counted * captured! + dropped! >= received!) break;
      await sleep(20);
    }
    const gone = new Promise((resolve) => void this.#tcpdump.once("exit", resolve));
    this.#tcpdump.kill("SIGINT");
    await gone;
  }

  /**
   * The packets that `filter` shows, a line each, or the `fields` of each. HTTP is left out: putting its bodies together
   * takes minutes.
   */
  async lines(filter: string, ...fields: string[]): Promise<string[]> {
    const shown = fields.length === 0 ? [] : ["-T", "fields", ...fields.flatMap((field) => ["-e", field])];
    const text = await this.#netns.output(
      "tshark",
      ...["-r", this.#file, "--disable-protocol", "http", "-o", "tcp.desegment_tcp_streams:FALSE"],
      ...this.#checks,
      ...["-Y", filter, ...shown],
    );
    return text.split("\n").filter((line) => line !== "");
  }
}
