import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { Prng } from "../../../base/random.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { NetworkNamespace } from "../../support/netns.ts";
import { drawSeed } from "../../support/seed.ts";
import { HOSTS4, HOSTS6, NETWORKS, RULES } from "../../net/firewall/conntrack/nat_rules.ts";
import { hex } from "./hex.ts";
import { type Sided, TestRouter } from "../../net/firewall/conntrack/test_router.ts";
import { TrafficWorld } from "../../net/firewall/conntrack/traffic_world.ts";

/** The rules that write what tracking says into DSCP. */
const MARKS = ["invalid", "new", "established", "related", "untracked"].flatMap((state, index) =>
  ["original", "reply"].flatMap((direction, reply) => {
    if (state === "invalid" || state === "untracked") {
      return reply ? [] : ["ip", "ip6"].map((family) => `ct state ${state} ${family} dscp set ${index + 1}`);
    }
    return ["ip", "ip6"].map((family) =>
      `ct state ${state} ct direction ${direction} ${family} dscp set ${(index + 1) | (reply << 3)}`
    );
  })
).join("\n    ");

/** The port, or the identifier, that a router has given to a packet which had another one; -1 for none. */
function drawnPort(said: Uint8Array, made: Uint8Array): number {
  const header = said[0]! >>> 4 === 6 ? 40 : 20;
  const protocol = said[header === 40 ? 6 : 9]!;
  const places = protocol === 6 || protocol === 17 ? [0, 2] : protocol === 1 || protocol === 58 ? [4] : [];
  const word = (bytes: Uint8Array, at: number): number =>
    (bytes[header + at]! << 8) | bytes[header + at + 1]!;
  const changed = places.filter((at) => word(said, at) !== word(made, at));
  const at = changed.find((place) => place !== 2) ?? changed[0];
  return at === undefined ? -1 : word(made, at);
}

/** A kernel that routes between two TUN devices which a program of ours holds. */
class KernelRouter implements Disposable {
  readonly netns = new NetworkNamespace();
  readonly folder = new TemporaryFolder();
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  private constructor() {
    this.#child = this.netns.start("python3", [
      fileURLToPath(new URL("judge.py", import.meta.url)),
      "ta",
      "tb",
    ]);
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  static async make(): Promise<KernelRouter> {
    const router = new KernelRouter();
    await router.#lines.next();
    const { netns } = router;
    netns.run(
      "sh",
      "-c",
      [
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        "for i in all ta tb; do echo 0 > /proc/sys/net/ipv4/conf/$i/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done",
        ...["ta", "tb"].flatMap((name, side) => [
          `echo 0 > /proc/sys/net/ipv6/conf/${name}/accept_dad`,
          `ip addr add ${NETWORKS[side]![0]}/16 dev ${name}`,
          `ip addr add ${NETWORKS[side]![1]}/32 dev ${name} nodad`,
          `ip link set ${name} up`,
        ]),
      ].join("\n"),
    );
    return router;
  }

  load(text: string): void {
    const file = this.folder.file("rules.nft");
    writeFileSync(
      file,
      `flush ruleset
table inet test {
  chain tell { type filter hook forward priority 0; policy accept;
    ${MARKS}
  }
  chain ours { type filter hook input priority 0; policy drop; }
  ${text}
}\n`,
    );
    this.netns.run("nft", "-f", file);
  }

  async pass({ side, bytes }: Sided): Promise<Sided[]> {
    this.#child.stdin!.write(`${side} ${hex(bytes)}\n`);
    const line: string = (await this.#lines.next()).value;
    return line.split(",").filter((each) => each !== "").map((each) => ({
      side: Number(each[0]),
      bytes: Uint8Array.from(Buffer.from(each.slice(2), "hex")),
    }));
  }

  /** What `conntrack` lists. */
  flows(family: number): string[] {
    const listed = this.netns.run("conntrack", "-L", "-f", family === 0 ? "ipv4" : "ipv6");
    this.netns.run("conntrack", "-F");
    return listed.split("\n").filter((line) => line !== "" && !line.includes("ff02::"));
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
    this.folder[Symbol.dispose]();
  }
}

/** Datagrams both ways for longer than this are a stream: whether it has passed is not ours to say, but the clock's. */
const UDP_STREAM_MS = 2_000;

/** The same flows in the same states, their deadlines as near as the time that passed between two clocks' looks. */
function compareFlows(
  ours: readonly string[],
  theirs: readonly string[],
  elapsedMs: number,
  what: string,
): void {
  const read = (line: string): [string, number] => {
    const words = line.split(/ +/).filter((word) => word !== "" && !word.startsWith("use="));
    const seconds = Number(words[2]);
    const blurred = words[0] === "udp" && elapsedMs > UDP_STREAM_MS - 500;
    const text = words.toSpliced(2, 1).filter((word) => !blurred || word !== "[ASSURED]").join(" ");
    return [text, blurred ? 0 : seconds];
  };
  const known = new Map(theirs.map(read));
  expect(ours.map((line) => read(line)[0]).sort(), what).toEqual([...known.keys()].sort());
  for (const [text, seconds] of ours.map(read)) {
    expect(Math.abs(seconds - known.get(text)!), `${what}: ${text}`).toBeLessThanOrEqual(
      2 + elapsedMs / 1000,
    );
  }
}

const STEPS = 600;

for (const rules of RULES) {
  judge(`tracking and NAT of ${rules.name}: what the kernel makes of each packet, to the byte`, [
    "root",
    "tun",
    "nft",
    "python3",
  ], async () => {
    using kernel = await KernelRouter.make();
    kernel.load(rules.text);
    const seed = drawSeed("CONNTRACK_SEED", 2 ** 31);
    for (const [family, hosts] of [HOSTS4, HOSTS6].entries()) {
      const prng = new Prng(seed + family);
      const router = new TestRouter(seed, Date.now(), NETWORKS, rules.ask);
      const targets = [0, 1].map((side) => [
        ...hosts.filter((host) => host.side !== side),
        ...hosts.filter((host) => host.side === side).slice(0, rules.text.includes("10.1.0.2-") ? 2 : 0),
        { side, address: NETWORKS[side]![family]! },
      ]);
      const world = new TrafficWorld(prng, router, hosts, targets);
      const startMs = Date.now();
      for (let step = 0; step < STEPS; step++) {
        const said = world.say();
        const theirs = await kernel.pass(said);
        // Where a port is drawn, it is the one that the kernel has drawn: whether that was free is ours to say.
        router.nowMs = Date.now();
        router.portDrawn = theirs.length === 1 ? drawnPort(said.bytes, theirs[0]!.bytes) : -1;
        const made = router.input(said);
        world.heard(made);
        const ours = made === undefined ? [] : [made];
        const show = (list: readonly Sided[]): string =>
          list.map(({ side, bytes }) => `${side} ${hex(bytes)}`).join("\n");
        expect(show(ours), `seed ${seed} family ${family} step ${step}: said ${show([said])}`).toBe(
          show(theirs),
        );
      }
      compareFlows(
        [...listFlows(router.conntrack, Date.now())],
        kernel.flows(family),
        Date.now() - startMs,
        `seed ${seed}`,
      );
    }
  });
}
