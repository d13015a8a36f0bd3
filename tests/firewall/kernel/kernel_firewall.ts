import { createInterface } from "node:readline";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ChildProcess } from "node:child_process";
import { execFileSync } from "node:child_process";
import { NetworkNamespace } from "../../support/netns.ts";

const INJECT = fileURLToPath(new URL("./inject.py", import.meta.url));

/** Addresses of the namespace itself, and networks that it forwards to `eth1`. It has no way back to anybody. */
export const OWN = ["10.1.0.1", "fd01::1"] as const;
export const ROUTED = ["10.2.0.0/16", "fd02::/16"] as const;

const SETTINGS = [
  "net.ipv4.ip_forward=1",
  "net.ipv6.conf.all.forwarding=1",
  ...["all", "default", "tun0", "eth1"].flatMap((name) => [
    `net.ipv4.conf.${name}.rp_filter=0`,
    `net.ipv6.conf.${name}.accept_ra=0`,
    `net.ipv6.conf.${name}.addr_gen_mode=1`,
    `net.ipv6.conf.${name}.accept_dad=0`,
    `net.ipv6.conf.${name}.mldv1_unsolicited_report_interval=1`,
    `net.ipv6.conf.${name}.mldv2_unsolicited_report_interval=1`,
  ]),
];

/**
 * The kernel's firewall in a namespace of its own, with packets that come in by `tun0` and, when they are
 * forwarded, leave by `eth1`. It answers nobody, because it knows no way to them: what its chains count are our packets alone.
 */
export class KernelFirewall implements Disposable {
  readonly netns: NetworkNamespace = new NetworkNamespace();
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor() {
    const commands = [
      `for each in ${
        SETTINGS.join(" ")
      }; do path=/proc/sys/$(echo "\${each%%=*}" | tr . /); echo "\${each#*=}" > $path; done`,
      "ip link set tun0 multicast off up && ip link set eth1 multicast off up",
      `ip addr add ${OWN[0]}/32 dev tun0 && ip -6 addr add ${OWN[1]}/128 dev tun0 nodad`,
      `ip route add ${ROUTED[0]} dev eth1 && ip -6 route add ${ROUTED[1]} dev eth1`,
      "sleep 0.3", // what MLD has to say is said
    ];
    this.#process = this.netns.start("python3", [INJECT, ...commands]);
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  static async start(): Promise<KernelFirewall> {
    const kernel = new KernelFirewall();
    const { value } = await kernel.#lines.next();
    if (value !== "ready") throw new Error("The namespace did not come up");
    return kernel;
  }

  /** Loads a document for `nft -j -f -` in the place of all rules. @returns What nft said against it, or undefined. */
  load(document: unknown): string | undefined {
    return this.#nft(["-j", "-f", "-"], JSON.stringify(document));
  }

  /** The same with text. */
  loadText(text: string): string | undefined {
    return this.#nft(["-f", "-"], text);
  }

  #nft(args: readonly string[], input: string): string | undefined {
    this.netns.run("nft", "flush", "ruleset");
    try {
      // nft opens /dev/stdin for JSON, which must then be a pipe, and Node's are sockets.
      const shell = ["sh", "-c", `cat | nft ${args.join(" ")}`];
      execFileSync("ip", ["netns", "exec", this.netns.name, ...shell], {
        input,
        stdio: ["pipe", "pipe", "pipe"],
        encoding: "utf8",
      });
      return undefined;
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
  }

  /**
   * Sends packets one after another, those that `sent` says by the namespace itself; returns when the kernel has judged them
   * all.
   * @returns What has left by `eth1`.
   */
  async inject(
    packets: readonly Uint8Array[],
    sent: (index: number) => boolean = () => false,
  ): Promise<Uint8Array[]> {
    const stdin = this.#process.stdin!;
    for (const [index, packet] of packets.entries()) {
      const taken = stdin.write(`${sent(index) ? "o" : "p"} ${Buffer.from(packet).toString("hex")}\n`);
      if (!taken) await once(stdin, "drain");
    }
    stdin.write("s\n");
    const { value } = await this.#lines.next();
    return (value as string).split(" ").slice(1).map((hex) => new Uint8Array(Buffer.from(hex, "hex")));
  }

  /** No connection is followed any more, and what has left late is forgotten; takes effect before the next `inject`. */
  forget(): void {
    this.#process.stdin!.write("f\n");
  }

  /** Milliseconds that the kernel has worked for who sends the packets: what it does with one is done in sending it. */
  systemMs(): number {
    const fields = readFileSync(`/proc/${this.#process.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return Number(fields[12]) * 10; // its clock has 100 ticks a second
  }

  /** What `nft -j list ruleset` prints. */
  list(): unknown {
    return JSON.parse(this.netns.run("nft", "-j", "list", "ruleset"));
  }

  [Symbol.dispose](): void {
    this.#process.kill();
    this.netns[Symbol.dispose]();
  }
}
