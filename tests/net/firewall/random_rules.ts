import type { Prng } from "../../../base/random.ts";
import {
  ConnState,
  Direction,
  type FirewallPacket,
  type FirewallRules,
  type OneOrMore,
  type Rule,
} from "../../../net/firewall/mod.ts";
import { formatIpv4, maskOf } from "../../../net/wire/address.ts";

export const INTERFACES = ["tun0", "eth0", "eth1"];

/** Few addresses and ports, many of them at an edge, so that random packets meet random rules. */
const ADDRESSES = [0, 1, 0x0a00_0000, 0x0a00_0001, 0x0a00_00ff, 0x0a00_0100, 0x0aff_ffff, 0x7fff_ffff, -1, -2]
  .concat([-0x8000_0000, -0x8000_0000 + 1, 0xc0a8_0101 | 0, 0xc0a8_01ff | 0]);
const LENGTHS = [0, 1, 7, 8, 9, 24, 30, 31, 32];
const PORTS = [0, 1, 22, 80, 443, 1023, 1024, 8080, 32_767, 32_768, 65_534, 65_535];
const PROTOCOLS = [6, 6, 17, 1, 58, 0, 47, 255];
const TYPES = [0, 3, 8, 255];

export function randomRules(prng: Prng, count: number): FirewallRules {
  const action = () => prng.pick(["accept", "drop"] as const);
  return {
    policy: { input: action(), output: action(), forward: action() },
    rules: Array.from({ length: count }, () => randomRule(prng)),
  };
}

function randomRule(prng: Prng): Rule {
  const rule: { -readonly [K in keyof Rule]: Rule[K] } = {
    action: prng.pick(["accept", "drop", "reject"] as const),
  };
  const oneOrMore = <T>(draw: () => T): OneOrMore<T> =>
    prng.chance(0.6) ? draw() : Array.from({ length: prng.between(1, 4) }, draw);
  const prefix = () => {
    const length = prng.pick(LENGTHS);
    return `${formatIpv4(prng.pick(ADDRESSES) & maskOf(length))}/${length}`;
  };
  const port = () => {
    const [low, high] = [prng.pick(PORTS), prng.pick(PORTS)].sort((a, b) => a - b);
    return prng.chance(0.5) ? low! : `${low}-${high}`;
  };
  if (prng.chance(0.5)) rule.source = oneOrMore(prefix);
  if (prng.chance(0.5)) rule.destination = oneOrMore(prefix);
  if (prng.chance(0.2)) rule.interface = oneOrMore(() => prng.pick(INTERFACES));
  if (prng.chance(0.3)) rule.direction = prng.pick(["input", "output", "forward"] as const);
  if (prng.chance(0.3)) {
    rule.state = oneOrMore(() => prng.pick(["new", "established", "related", "invalid"] as const));
  }
  const kind = prng.below(4);
  if (kind === 0) {
    rule.icmpType = oneOrMore(() => prng.pick(TYPES));
    if (prng.chance(0.5)) rule.protocol = prng.pick(["icmp", "any"] as const);
  } else if (kind === 1) {
    if (prng.chance(0.7)) rule.destinationPort = oneOrMore(port);
    if (prng.chance(0.4)) rule.sourcePort = oneOrMore(port);
    if (prng.chance(0.7)) rule.protocol = prng.pick(["tcp", "udp", "any"] as const);
  } else if (kind === 2) rule.protocol = prng.pick(["tcp", "udp", "icmp", "any"] as const);
  return rule;
}

/** Fills `packet`, also the fields that its protocol lacks: nobody may look at those. */
export function randomPacket(prng: Prng, packet: FirewallPacket): void {
  const address = () => {
    const near = prng.pick(ADDRESSES) + prng.pick([0, 0, 0, 1, -1]);
    return prng.chance(0.9) ? near | 0 : prng.uint32(); // unsigned is as good as signed
  };
  const port = () => prng.chance(0.9) ? prng.pick(PORTS) : prng.below(65_536);
  packet.direction = prng.pick(Object.values(Direction));
  packet.interfaceIndex = prng.between(-1, INTERFACES.length);
  packet.protocol = prng.pick(PROTOCOLS);
  const ipv6 = prng.chance(0.2);
  packet.source = ipv6 ? 0xf000_0000 | prng.below(3) : address();
  packet.destination = ipv6 ? 0xf000_0000 | prng.below(3) : address();
  packet.sourcePort = port();
  packet.destinationPort = port();
  packet.icmpType = prng.chance(0.8) ? prng.pick(TYPES) : prng.below(256);
  packet.state = prng.pick(Object.values(ConnState));
  packet.length = prng.between(20, 1500);
}
