import { Prng } from "../base/random.ts";
import { Slab } from "../base/slab.ts";
import { type CheckedRule, checkRules } from "../net/firewall/check.ts";
import { CompiledRules } from "../net/firewall/compile.ts";
import { Firewall, FirewallPacket, type Rule } from "../net/firewall/mod.ts";
import type { Ruleset } from "../net/firewall/nft/schema.ts";
import { readTextRules } from "../net/firewall/nft/text/read.ts";
import { Stack } from "../net/stack.ts";
import { formatIpv4 } from "../net/wire/address.ts";
import { checksumOf } from "../net/wire/checksum.ts";
import {
  type Bench,
  type BenchOptions,
  type Cell,
  interleave,
  ratio,
  roundsFor,
  spreadOf,
  type Table,
  timeCalls,
} from "./bench.ts";

const SIZES = [0, 10, 100, 1_000, 10_000];
const SIZES_QUICK = [0, 100];
const PACKETS = 4_096; // enough that a branch predictor cannot learn them
/** Decisions in one call of a case. */
const DECISIONS = 256;

/** Rule sets by shape. In each, half of the packets are aimed at a rule and half at none. */
const SHAPES: Record<string, (prng: Prng) => Rule> = {
  // One source network may reach one port of one server.
  services: (prng) => ({
    protocol: "tcp",
    source: `${formatIpv4(prng.below(0xe000_0000) & ~255)}/24`,
    destination: formatIpv4(0x0a000000 + prng.below(256)),
    destinationPort: 8_000 + prng.below(16),
    action: prng.pick(["accept", "drop"] as const),
  }),
  // Single hosts are shut out.
  "block list": (prng) => ({ source: formatIpv4(prng.below(0xe000_0000)), action: "drop" }),
  // Anyone may reach some ports of some servers: every class holds rules all over the list.
  crossing: (prng) => ({
    destination: formatIpv4(0x0a000000 + prng.below(256)),
    destinationPort: 8_000 + prng.below(256),
    action: "accept",
  }),
};

function packetsFor(rules: readonly CheckedRule[], prng: Prng): FirewallPacket[] {
  return Array.from({ length: PACKETS }, (_, index) => {
    const packet = new FirewallPacket();
    packet.protocol = 6;
    packet.source = prng.below(0xe000_0000) | 0; // above are groups, and handles of IPv6 addresses
    packet.destination = 0x0a000000 + prng.below(256);
    packet.sourcePort = 1_024 + prng.below(60_000);
    packet.destinationPort = 8_000 + prng.below(256);
    packet.length = 1_500;
    const aim = index % 2 === 0 && rules.length > 0 ? prng.pick(rules) : undefined;
    if (aim?.source) packet.source = aim.source[0]!.low | 0;
    if (aim?.destination) packet.destination = aim.destination[0]!.low | 0;
    if (aim?.destinationPort) packet.destinationPort = aim.destinationPort[0]!.low;
    return packet;
  });
}

/** What a firewall does without compiling: one comparison of numbers after another, in order. */
function walk(rules: readonly CheckedRule[], packet: FirewallPacket): number {
  const protocol = packet.protocol === 6 ? 1 : packet.protocol === 17 ? 2 : packet.protocol === 1 ? 4 : 8;
  const source = packet.source >>> 0;
  const destination = packet.destination >>> 0;
  for (let at = 0; at < rules.length; at++) {
    const rule = rules[at]!;
    if (!(rule.protocols & protocol) || !(rule.directions & (1 << packet.direction))) continue;
    if (!(rule.states & (1 << packet.state))) continue;
    if (rule.source && !(rule.source[0]!.low <= source && source <= rule.source[0]!.high)) continue;
    const range = rule.destination?.[0];
    if (range && !(range.low <= destination && destination <= range.high)) continue;
    const port = rule.destinationPort?.[0];
    if (port && !(port.low <= packet.destinationPort && packet.destinationPort <= port.high)) continue;
    return at;
  }
  return -1;
}

/** Decides on the next packets, `DECISIONS` of them. */
function decider(
  judge: (packet: FirewallPacket) => number,
  packets: readonly FirewallPacket[],
): () => void {
  let at = 0;
  let sum = 0;
  return () => {
    for (let count = 0; count < DECISIONS; count++) sum += judge(packets[at++ % PACKETS]!);
    if (Number.isNaN(sum)) throw new Error("A verdict is not a number");
  };
}

/** The same shapes in nftables' words, for datagrams. */
const NFT_SHAPES: Record<string, (prng: Prng) => string> = {
  services: (prng) => {
    const from = formatIpv4(prng.below(0xe000_0000) & ~255);
    const to = formatIpv4(0x0a000000 + prng.below(256));
    const port = 8_000 + prng.below(16);
    return `ip saddr ${from}/24 ip daddr ${to} udp dport ${port} ${prng.pick(["accept", "drop"])}`;
  },
  "block list": (prng) => `ip saddr ${formatIpv4(prng.below(0xe000_0000))} drop`,
  counters: (prng) =>
    `udp dport ${8_000 + prng.below(256)} ip daddr ${formatIpv4(0x0a000000 + prng.below(256))} counter`,
  "after connections": (prng) =>
    `ip saddr ${formatIpv4(prng.below(0xe000_0000) & ~255)}/24 udp dport ${8_000 + prng.below(256)} accept`,
};
/** What stands before them, also where there are none of them. */
const NFT_FIRST: Record<string, string> = {
  "after connections": "ct state established,related accept",
};
const NFT_SIZES = [0, 10, 100, 10_000];
/** Flows that datagrams belong to: few, a quarter of the places for them, and four times as many as there are places. */
const FLOWS = [256, 4_096, 65_536];
const FLOWS_QUICK = [64];

function nftRules(size: number, shape: string): Ruleset {
  const prng = new Prng(size);
  const draw = NFT_SHAPES[shape]!;
  const rules = [NFT_FIRST[shape] ?? "", ...Array.from({ length: size }, () => draw(prng))];
  return readTextRules(
    `table inet t {\nchain c {\ntype filter hook input priority 0; policy accept;\n${
      rules.join("\n")
    }\n}\n}\n`,
  );
}

function datagrams(count: number): Slab[] {
  const prng = new Prng(7);
  return Array.from({ length: count }, () => {
    const slab = Slab.of(128);
    const { bytes, view } = slab;
    bytes[0] = 0x45;
    view.setUint16(2, bytes.length);
    bytes[8] = 64;
    bytes[9] = 17;
    view.setInt32(12, 0x0b00_0000 + prng.below(0x6000_0000));
    view.setInt32(16, 0x0a00_0001);
    view.setUint16(10, checksumOf(slab, 0, 20));
    view.setUint16(20, 1_024 + prng.below(60_000));
    view.setUint16(22, 8_000 + prng.below(256));
    view.setUint16(24, bytes.length - 20);
    view.setUint16(26, 1); // wrong: the datagram goes no further than behind the rules
    return slab;
  });
}

/** A stack with rules, or without. */
function stackWith(rules: Ruleset | undefined): { stack: Stack; compileMs: number } {
  const stack = new Stack({ nowMs: 1, entropy: new Prng(1) });
  stack.addInterface({ name: "net0", link: { medium: "ip", mtu: 1_500, send: () => true, flush: () => {} } });
  stack.setRoutes({ addresses: [{ address: "10.0.0.1/8" }] });
  const start = performance.now();
  stack.setRules(rules);
  return { stack, compileMs: performance.now() - start };
}

/** What a datagram costs a stack with nftables rules. */
async function* nftables(options: BenchOptions): AsyncIterable<Table> {
  const sizes = options.quick ? SIZES_QUICK : NFT_SIZES;
  for (const shape of Object.keys(NFT_SHAPES)) {
    for (const flows of options.quick ? FLOWS_QUICK : FLOWS) {
      const packets = datagrams(flows);
      const worlds = [undefined, ...sizes].map((size) => ({
        name: size === undefined ? "no rules at all" : `${size} rules`,
        ...stackWith(size === undefined ? undefined : nftRules(size, shape)),
      }));
      const cases = Object.fromEntries(worlds.map(({ name, stack }) => {
        let at = 0;
        const take = (): void => {
          for (let count = 0; count < DECISIONS; count++) {
            const slab = packets[at++ % flows]!;
            stack.receive(0, slab, 0, slab.bytes.length, 1);
          }
        };
        return [name, () => timeCalls(take, options) / DECISIONS];
      }));
      const results = await interleave(cases, roundsFor(options));
      const none = spreadOf(results["0 rules"]!).median;
      yield {
        title: `nftables, ${shape}: a datagram of one of ${flows} flows`,
        columns: ["", "received, ns", "beside 0 rules", "compile, ms", "memory, KB"],
        rows: worlds.map(({ name, stack, compileMs }) => {
          const spread = spreadOf(results[name]!);
          const bytes = stack.hooks.rules?.bytes ?? 0;
          return [name, spread, ratio(spread.median, none), compileMs, bytes / 1024];
        }),
      };
    }
  }
}

/** Nanoseconds per decision, compiled and as a list walk. The two agree on every packet. */
export const bench: Bench = {
  async *run(options) {
    for (const [shape, draw] of Object.entries(SHAPES)) {
      const rows: Cell[][] = [];
      for (const size of options.quick ? SIZES_QUICK : SIZES) {
        const prng = new Prng(size);
        const rules = Array.from({ length: size }, () => draw(prng));
        const checked = checkRules({ rules }, []);
        const start = performance.now();
        const { bytes } = new CompiledRules(checked, 0);
        const compileMs = performance.now() - start;
        const firewall = new Firewall({ rules });
        const packets = packetsFor(checked.rules, prng);
        for (const packet of packets) {
          firewall.decide(packet);
          if (firewall.lastRule !== walk(checked.rules, packet)) {
            throw new Error(`Disagreement: ${shape} ${size}`);
          }
        }
        const walked = decider((packet) => walk(checked.rules, packet), packets);
        const compiled = decider((packet) => firewall.decide(packet), packets);
        const results = await interleave({
          walk: () => timeCalls(walked, options) / DECISIONS,
          compiled: () => timeCalls(compiled, options) / DECISIONS,
        }, roundsFor(options));
        const slow = spreadOf(results["walk"]!);
        const fast = spreadOf(results["compiled"]!);
        rows.push([`${size} rules`, slow, fast, ratio(fast.median, slow.median), compileMs, bytes / 1024]);
      }
      yield {
        title: shape,
        columns: ["", "list walk, ns", "compiled, ns", "ratio", "compile, ms", "memory, KB"],
        rows,
      };
    }
    yield* nftables(options);
  },
};
