import type { Prng } from "../../base/random.ts";
import type { Expression, MapElement, Nat, Statement } from "../../net/firewall/nft/schema.ts";
import type { Known } from "./random_fields.ts";
import { IPV4, IPV6, PORTS } from "./random_values.ts";

/** Ports that nothing else has, to draw from. */
export const DRAWN_PORTS = [20_000, 20_009] as const;

/** Draws what chains of type nat make of a packet: where it goes, and from where it comes. */
export class RandomNat {
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  statement(known: Known, hook: "prerouting" | "postrouting" | "output"): Statement | undefined {
    const prng = this.#prng;
    const of = known.family === "inet"
      ? known.protocol === "icmp"
        ? "ip"
        : known.protocol === "icmpv6"
        ? "ip6"
        : prng.pick(["ip", "ip6"] as const)
      : known.family;
    const hasPorts = known.protocol === "tcp" || known.protocol === "udp";
    const port = hasPorts && prng.chance(0.4) ? { port: this.#port(known) } : {};
    const flags: Nat["flags"] = prng.chance(0.2) ? ["persistent"] : [];
    if (hook === "postrouting") {
      const ports = hasPorts && prng.chance(0.3) ? { port: { range: DRAWN_PORTS } } : {};
      const random = prng.chance(0.15) ? [prng.pick(["random", "fully-random"] as const)] : flags;
      if (prng.chance(0.3)) return { masquerade: { ...ports, flags: random } };
      if (prng.chance(0.2)) return { snat: this.#mapped(of, "saddr", random) };
      const addresses = of === "ip" ? ["10.3.0.1", "10.3.0.9"] as const : ["fd03::1", "fd03::9"] as const;
      return { snat: { addr: this.#address(of, addresses, "saddr"), family: of, ...ports, flags: random } };
    }
    // What we send may not come back to ourselves: it would be another packet then.
    if (hook === "prerouting" && prng.chance(0.3)) return { redirect: { ...port, flags: [] } };
    const routed = of === "ip" ? ["10.2.0.1", "10.2.200.9"] as const : ["fd02::1", "fd02::200:9"] as const;
    const own = of === "ip" ? "10.1.0.1" : "fd01::1";
    if (hasPorts && prng.chance(0.2)) {
      const data = { concat: [prng.pick(routed), prng.pick(PORTS)] };
      const key: Expression = { payload: { protocol: known.protocol as "tcp" | "udp", field: "dport" } };
      const set = PORTS.slice(0, 7).map((val): MapElement => ({ val, data }));
      return { dnat: { addr: { map: { key, data: { set } } }, family: of, flags: [] } };
    }
    if (hook === "prerouting" && prng.chance(0.1)) return { dnat: this.#mapped(of, "daddr", []) };
    const addr = hook === "prerouting" && prng.chance(0.3) ? own : this.#address(of, routed, "daddr");
    return { dnat: { addr, family: of, ...port, flags } };
  }

  /** A network by a network, each address at its place, or, of a source, one of a range. */
  #mapped(of: "ip" | "ip6", end: "saddr" | "daddr", flags: Nat["flags"]): Nat {
    const prefix = (addr: string): Expression => ({ prefix: { addr, len: of === "ip" ? 24 : 112 } });
    const [from, to] = end === "saddr" ? ["1", "3"] : ["1", "2"];
    const network = (part: string | undefined): Expression =>
      prefix(of === "ip" ? `10.${part}.0.0` : `fd0${part}::`);
    const netmap = end === "daddr" || this.#prng.chance(0.5);
    const range: Expression = { range: of === "ip" ? ["10.3.0.1", "10.3.0.9"] : ["fd03::1", "fd03::9"] };
    const data = netmap ? network(to) : range;
    const key: Expression = { payload: { protocol: of, field: end } };
    const addr: Expression = { map: { key, data: { set: [{ val: network(from), data }] } } };
    return { addr, family: of, flags: netmap ? ["netmap"] : flags };
  }

  /** One of two, both, or what a map has for the packet's address. */
  #address(of: "ip" | "ip6", [low, high]: readonly [string, string], end: "saddr" | "daddr"): Expression {
    const prng = this.#prng;
    const kind = prng.below(6);
    if (kind === 0 && end === "saddr") return { range: [low, high] };
    if (kind === 1) {
      const set = (of === "ip" ? IPV4 : IPV6).map((val): MapElement => ({
        val,
        data: prng.pick([low, high]),
      }));
      return { map: { key: { payload: { protocol: of, field: end } }, data: { set } } };
    }
    if (kind === 2) {
      const numgen = { mode: "inc" as const, mod: 2, offset: 0 };
      return { map: { key: { numgen }, data: { set: [{ val: 0, data: low }, { val: 1, data: high }] } } };
    }
    return prng.pick([low, high]);
  }

  #port({ protocol }: Known): Expression {
    const prng = this.#prng;
    if (prng.chance(0.7)) return prng.pick(PORTS);
    const key: Expression = { payload: { protocol: protocol as "tcp" | "udp", field: "dport" } };
    const set = PORTS.slice(0, 7).map((val): MapElement => ({ val, data: prng.pick(PORTS) }));
    return { map: { key, data: { set } } };
  }
}
