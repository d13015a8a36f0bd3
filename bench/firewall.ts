/**
 * Nanoseconds per firewall decision, compiled and as a list walk, from no rule to 10,000:
 * `npx tsx bench/firewall.ts`. The two must agree on every packet.
 */
import process from "node:process";
import { Prng } from "../base/random.ts";
import { type CheckedRule, checkRules } from "../net/firewall/check.ts";
import { CompiledRules } from "../net/firewall/compile.ts";
import { Firewall, FirewallPacket, type Rule } from "../net/firewall/mod.ts";
import { formatIpv4 } from "../net/wire/address.ts";

const SIZES = [0, 10, 100, 1_000, 10_000];
const PACKETS = 4_096; // enough that a branch predictor cannot learn them
const ROUNDS = 7;
const ROUND_MS = 30;

/** Rule sets by shape. In each, half of the packets are aimed at a rule and half at none. */
const SHAPES: Record<string, (prng: Prng) => Rule> = {
  // One source network may reach one port of one server.
  services: (prng) => ({
    protocol: "tcp",
    source: `${formatIpv4(prng.uint32() & ~255)}/24`,
    destination: formatIpv4(0x0a000000 + prng.below(256)),
    destinationPort: 8_000 + prng.below(16),
    action: prng.pick(["accept", "drop"] as const),
  }),
  // Single hosts are shut out.
  "block list": (prng) => ({ source: formatIpv4(prng.uint32()), action: "drop" }),
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
    packet.source = prng.uint32() | 0;
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

/** Nanoseconds per packet over about `ROUND_MS`. */
function time(judge: (packet: FirewallPacket) => number, packets: readonly FirewallPacket[]): number {
  const start = performance.now();
  let judged = 0;
  let sum = 0;
  do {
    for (let at = 0; at < 256; at++) sum += judge(packets[(judged + at) % PACKETS]!);
    judged += 256;
  } while (performance.now() - start < ROUND_MS);
  if (Number.isNaN(sum)) throw new Error("A verdict is not a number");
  return (performance.now() - start) * 1e6 / judged;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

console.log(
  `firewall decisions, ${process.platform} ${process.arch}, ${process.release.name} ${process.version}`,
);
console.log("shape        rules  compiled ns   list walk ns  compile ms   memory KB");
for (const [shape, draw] of Object.entries(SHAPES)) {
  const cases = SIZES.map((size) => {
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
    return { size, firewall, checked, packets, compileMs, bytes, fast: [] as number[], slow: [] as number[] };
  });
  for (let round = 0; round < ROUNDS; round++) {
    for (const { firewall, checked, packets, fast, slow } of cases) {
      fast.push(time((packet) => firewall.decide(packet), packets));
      slow.push(time((packet) => walk(checked.rules, packet), packets));
    }
  }
  for (const { size, compileMs, bytes, fast, slow } of cases) {
    const cells = [
      `${size}`.padStart(7),
      median(fast).toFixed(1).padStart(12),
      median(slow).toFixed(1).padStart(14),
    ];
    cells.push(compileMs.toFixed(1).padStart(11), (bytes / 1024).toFixed(0).padStart(11));
    console.log(shape.padEnd(11) + cells.join(" "));
  }
}
