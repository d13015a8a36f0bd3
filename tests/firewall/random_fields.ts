import type { Prng } from "../../base/random.ts";
import type { Expression, Family, Match, SetElement } from "../../net/firewall/nft/schema.ts";
import { overlaps, plain, type Span, spanOf } from "./random_spans.ts";

/** Interfaces that rules name, beside one that is not there. */
export const INTERFACES = ["tun0", "eth1", "lo"];

/** Few values, so that drawn packets meet drawn rules. */
export const IPV4 = ["10.1.0.1", "10.1.0.2", "10.1.0.77", "10.1.3.4", "10.2.0.1", "10.2.200.9", "192.0.2.1"];
export const IPV6 = [
  "fd01::1",
  "fd01::2",
  "fd01::77",
  "fd01:0:0:3::4",
  "fd02::1",
  "fd02::200:9",
  "2001:db8::1",
];
export const PORTS = [22, 53, 80, 81, 443, 1_000, 1_023, 1_024, 8_080, 65_535];
export const LENGTHS = [0, 1, 40, 100, 400, 1_000];
export const TTLS = [1, 2, 64, 255];
export const MARKS = [0, 1, 2, 0x10, 0xff];

/** Fields that are no whole bytes: nft 1.0.6 stumbles over them in concatenations. */
const PARTIAL: ReadonlySet<string> = new Set(["dscp", "ecn", "version", "hdrlength", "flowlabel"]);

/** What a rule knows of its packets so far: nft refuses rules that contradict themselves. */
export interface Known {
  family: Family;
  protocol: "tcp" | "udp" | "icmp" | "icmpv6" | "asked" | undefined;
  /** A single value of a header has been compared: another one would be merged with it. */
  compared: boolean;
}

/** Draws what of a packet rules ask about, and values for it. */
export class RandomFields {
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  match(known: Known): Match | undefined {
    const prng = this.#prng;
    const field = this.draw(known);
    if (field === undefined) return undefined;
    const { expression: left, draw, ranged, ordered } = field;
    const equal = prng.pick(["==", "==", "!="] as const);
    const shape = prng.below(6);
    if (shape === 0) return { op: equal, left, right: { set: this.elements([draw], ranged) } };
    if (shape === 1 && ordered) {
      return { op: prng.pick(["<", ">", "<=", ">="] as const), left, right: this.#inner(draw) };
    }
    if (shape === 2 && ranged) return { op: equal, left, right: this.#range(draw) };
    return { op: equal, left, right: draw() };
  }

  /** Not the lowest: nft refuses comparisons that can never, or must always, hold. */
  #inner(draw: () => Expression): Expression {
    for (let tries = 0; tries < 10; tries++) {
      const drawn = draw();
      if (typeof drawn === "number" && drawn > 0 && drawn < 255) return drawn;
    }
    return 17;
  }

  /** A field that the rule may still ask about, with how values for it are drawn. */
  draw(known: Known): Field | undefined {
    const prng = this.#prng;
    const choices: (() => Field | undefined)[] = [
      () => this.address(known, "saddr"),
      () => this.address(known, "saddr"),
      () => this.address(known, "daddr"),
      () => this.port(known, "dport"),
      () => this.port(known, "dport"),
      () => this.port(known, "sport"),
      () => this.#header(known),
      () => this.#icmp(known),
      () =>
        field({ meta: { key: "length" } }, () => 60 + prng.pick(LENGTHS), { ranged: true, ordered: true }),
      () => {
        if (known.protocol !== undefined) return undefined;
        known.protocol = "asked";
        return field({ meta: { key: "l4proto" } }, () => prng.pick([1, 6, 17, 58, 47]));
      },
      () => {
        if (known.family !== "inet") return undefined;
        const six = prng.chance(0.5);
        known.family = six ? "ip6" : "ip";
        return field({ meta: { key: "nfproto" } }, () => six ? 10 : 2);
      },
      () =>
        field({ meta: { key: "iifname" } }, () => prng.pick([...INTERFACES, "tun*", "none0"]), {
          wide: true,
        }),
      () => field({ meta: { key: "mark" } }, () => prng.pick(MARKS), { ranged: true, ordered: true }),
      () => field({ meta: { key: "oifname" } }, () => prng.pick([...INTERFACES, "none0"]), { wide: true }),
      () => this.#option(known),
    ];
    const drawn = prng.pick(choices)();
    // Anonymous sets take no wildcards beside names.
    return drawn;
  }

  address(known: Known, end: "saddr" | "daddr"): Field | undefined {
    const prng = this.#prng;
    if (known.family === "inet") {
      if (known.protocol === "icmp" || known.protocol === "icmpv6") return undefined;
      known.family = prng.pick(["ip", "ip", "ip6"] as const);
    }
    const { family } = known;
    const addresses = family === "ip" ? IPV4 : IPV6;
    return field({ payload: { protocol: family, field: end } }, () => {
      const address = prng.pick(addresses);
      if (prng.chance(0.6)) return address;
      const [network, len] = family === "ip"
        ? prng.pick([["10.1.0.0", 16], ["10.0.0.0", 8], ["10.1.0.0", 24], ["192.0.2.0", 24]] as const)
        : prng.pick([["fd01::", 16], ["fd01::", 64], ["2001:db8::", 32]] as const);
      return { prefix: { addr: network, len } };
    }, { ranged: true, prefixes: true, bits: family === "ip" ? 32 : 128 });
  }

  port(known: Known, end: "sport" | "dport"): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined && known.protocol !== "tcp" && known.protocol !== "udp") {
      return undefined;
    }
    known.protocol ??= prng.pick(["tcp", "tcp", "udp"] as const);
    const { protocol } = known;
    return field({ payload: { protocol, field: end } }, () => prng.pick(PORTS), {
      ranged: true,
      ordered: true,
      bits: 16,
    });
  }

  #header(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.family === "inet" && (known.protocol === "icmp" || known.protocol === "icmpv6")) {
      return undefined;
    }
    if (known.family === "inet") known.family = prng.pick(["ip", "ip6"] as const);
    if (known.family === "ip") {
      const which = prng.pick(["ttl", "dscp", "ecn", "id", "length", "version", "hdrlength"] as const);
      const draw = {
        ttl: () => prng.pick(TTLS),
        dscp: () => prng.pick([0, 8, 10, 46]),
        ecn: () => prng.below(4),
        id: () => prng.pick([0, 7]),
        length: () => 60 + prng.pick(LENGTHS),
        version: () => 4,
        hdrlength: () => prng.pick([5, 6]),
      }[which];
      return field({ payload: { protocol: "ip", field: which } }, draw, { wide: PARTIAL.has(which) });
    }
    const which = prng.pick(
      known.protocol === undefined
        ? ["hoplimit", "dscp", "ecn", "flowlabel", "length", "nexthdr"] as const
        : ["hoplimit", "dscp", "ecn", "flowlabel", "length"] as const,
    );
    if (which === "nexthdr") known.protocol = "asked";
    const draw = {
      hoplimit: () => prng.pick(TTLS),
      dscp: () => prng.pick([0, 8, 10, 46]),
      ecn: () => prng.below(4),
      flowlabel: () => prng.pick([0, 5, 0xf_ffff]),
      length: () => 20 + prng.pick(LENGTHS),
      nexthdr: () => prng.pick([6, 17, 58, 44]),
    }[which];
    return field({ payload: { protocol: "ip6", field: which } }, draw, { wide: PARTIAL.has(which) });
  }

  #icmp(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined) return undefined;
    const six = known.family === "ip6" || (known.family === "inet" && prng.chance(0.4));
    known.protocol = six ? "icmpv6" : "icmp";
    if (known.family === "inet") known.family = six ? "ip6" : "ip";
    const types = six ? [1, 2, 3, 128, 129] : [0, 3, 8, 11];
    return field({ payload: { protocol: known.protocol, field: "type" } }, () => prng.pick(types));
  }

  #option(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined && known.protocol !== "tcp") return undefined;
    if (prng.chance(0.5)) {
      const name = prng.pick(["maxseg", "window", "timestamp", "sack-perm"]);
      return field({ "tcp option": { name } }, () => prng.chance(0.5), { single: true });
    }
    return field({ "tcp option": { name: "maxseg", field: "size" } }, () => prng.pick([1_400, 1_460]), {
      ordered: true,
    });
  }

  /** Elements that do not overlap. */
  elements(draws: readonly (() => Expression)[], ranged: boolean): SetElement[] {
    const prng = this.#prng;
    const elements: SetElement[] = [];
    const taken: Span[][] = [];
    for (let tries = prng.between(1, 6); tries > 0; tries--) {
      const parts = draws.map((
        draw,
      ) => (ranged && prng.chance(0.3) ? this.#range(draw) : plain(draw, ranged)));
      const spans = parts.map(spanOf);
      const clashes = taken.some((other) => other.every((span, at) => overlaps(span, spans[at]!)));
      if (clashes) continue;
      taken.push(spans);
      elements.push({ val: parts.length === 1 ? parts[0]! : { concat: parts } });
    }
    return elements;
  }

  #range(draw: () => Expression): Expression {
    const [low, high] = [plain(draw, false), plain(draw, false)].sort((a, b) => {
      const [x, y] = [spanOf(a), spanOf(b)];
      return x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : 0;
    }) as [string | number, string | number];
    return low === high ? low : { range: [low, high] };
  }
}

/** A field, and how values for it are drawn. */
export interface Field {
  readonly expression: Expression;
  readonly draw: () => Expression;
  /** Ranges of it may be asked for. */
  readonly ranged: boolean;
  /** It is a number that is compared. */
  readonly ordered: boolean;
  /** It does not go into concatenations here. */
  readonly wide: boolean;
}

function field(
  expression: Expression,
  draw: () => Expression,
  options: {
    ranged?: boolean;
    ordered?: boolean;
    wide?: boolean;
    single?: boolean;
    prefixes?: boolean;
    bits?: number;
  } = {},
): Field {
  return {
    expression,
    draw,
    ranged: options.ranged ?? false,
    ordered: options.ordered ?? false,
    wide: options.wide ?? options.single ?? false,
  };
}
