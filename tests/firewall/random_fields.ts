import type { Prng } from "../../base/random.ts";
import { EXTENSIONS, HEADERS, TCP_OPTIONS } from "../../net/firewall/nft/fields.ts";
import type {
  CtKey,
  Expression,
  Family,
  Fib,
  Hook,
  Match,
  PayloadProtocol,
  SetElement,
} from "../../net/firewall/nft/schema.ts";
import { overlaps, plain, type Span, spanOf } from "./random_spans.ts";
import {
  drawAddress,
  drawNetwork,
  EXTENSION_VALUES,
  FIELD_VALUES,
  INTERFACES,
  MARKS,
  OPTION_VALUES,
  PORTS,
  RAW_SPANS,
} from "./random_values.ts";

/** What rules may ask about. */
export interface RandomFieldsOptions {
  /** What the tracker knows. */
  readonly tracked: boolean;
  readonly fib: boolean;
  /** No bits without a name. */
  readonly listable?: boolean;
}

/** What a rule knows of its packets so far: nft refuses rules that contradict themselves. */
export interface Known {
  family: Family;
  protocol: "tcp" | "udp" | "icmp" | "icmpv6" | "asked" | undefined;
  /** A single value of a header has been compared: another one would be merged with it. */
  compared: boolean;
  /** Where the rule stands; undefined in chains that many lead to. */
  readonly hook: Hook | undefined;
  /** Its transport protocol is not only meant to be asked for, but has been. */
  stated?: boolean;
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
  /** Only whether it is there, or bits of it, are asked for: sets of it mean nothing. */
  readonly single: boolean;
  /** Bits are asked for, not numbers. */
  readonly flags: boolean;
}

type FieldOptions = Partial<Pick<Field, "ranged" | "ordered" | "wide" | "single" | "flags">>;

function field(
  expression: Expression,
  draw: () => Expression,
  { ranged = false, ordered = false, wide = false, single = false, flags = false }: FieldOptions = {},
): Field {
  return { expression, draw, ranged, ordered, wide: wide || single || flags, single: single || flags, flags };
}

/** Before a packet meets chains of these, its way is known, or not. */
const WAYS: Readonly<Record<Hook, readonly ("iif" | "oif")[]>> = {
  prerouting: ["iif"],
  input: ["iif"],
  forward: ["iif", "oif"],
  output: ["oif"],
  postrouting: ["oif"],
};

/** Draws what of a packet rules ask about, and values for it. */
export class RandomFields {
  readonly #prng: Prng;
  readonly #options: RandomFieldsOptions;

  constructor(prng: Prng, options: RandomFieldsOptions) {
    this.#prng = prng;
    this.#options = options;
  }

  match(known: Known): Match | undefined {
    const prng = this.#prng;
    const found = this.draw(known);
    if (found === undefined) return undefined;
    const { expression: left, draw, ranged, ordered, single, flags } = found;
    if (flags) return { op: "in", left, right: draw() };
    const equal = prng.pick(["==", "==", "!="] as const);
    const shape = single ? 5 : prng.below(6);
    if (single && typeof draw() === "boolean") return { op: "==", left, right: draw() };
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
    const choices: ((known: Known) => Field | undefined)[] = [
      () => this.address(known, "saddr"),
      () => this.address(known, "saddr"),
      () => this.address(known, "daddr"),
      () => this.port(known, "dport"),
      () => this.port(known, "dport"),
      () => this.port(known, "sport"),
      () => this.#network(known),
      () => this.#transport(known),
      () => this.#icmp(known),
      () => this.#meta(known),
      () => this.#meta(known),
      () => this.#interface(known),
      () => this.#option(known),
      () => this.#extension(known),
    ];
    if (this.#options.listable !== true) choices.push(() => this.#raw());
    if (this.#options.tracked) choices.push(() => this.#ct(known));
    if (this.#options.fib) choices.push(() => this.#fib(known));
    return prng.pick(choices)(known);
  }

  address(known: Known, end: "saddr" | "daddr"): Field | undefined {
    const family = this.#familyOf(known);
    if (family === undefined) return undefined;
    return field({ payload: { protocol: family, field: end } }, this.#addresses(family), { ranged: true });
  }

  /** Addresses and networks. */
  #addresses(family: "ip" | "ip6"): () => Expression {
    const prng = this.#prng;
    return () => prng.chance(0.6) ? drawAddress(prng, family) : drawNetwork(prng, family);
  }

  /** The family that the rule is about from here on. */
  #familyOf(known: Known): "ip" | "ip6" | undefined {
    if (known.family !== "inet") return known.family;
    if (known.protocol === "icmp" || known.protocol === "icmpv6") return undefined;
    return known.family = this.#prng.pick(["ip", "ip", "ip6"] as const);
  }

  port(known: Known, end: "sport" | "dport"): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined && known.protocol !== "tcp" && known.protocol !== "udp") {
      return undefined;
    }
    const protocol: PayloadProtocol = known.protocol ??
      prng.pick(["tcp", "tcp", "tcp", "udp", "udp", this.#options.listable ? "tcp" : "th"] as const);
    known.protocol ??= protocol === "th" ? "asked" : protocol as "tcp" | "udp";
    return field({ payload: { protocol, field: end } }, () => prng.pick(PORTS), {
      ranged: true,
      ordered: true,
    });
  }

  #network(known: Known): Field | undefined {
    const family = this.#familyOf(known);
    if (family === undefined) return undefined;
    const names = Object.keys(FIELD_VALUES[family]).filter((name) =>
      known.protocol === undefined || (name !== "protocol" && name !== "nexthdr")
    );
    const name = this.#prng.pick(names);
    if (name === "protocol" || name === "nexthdr") known.protocol = "asked";
    return this.#header(family, name);
  }

  #transport(known: Known): Field | undefined {
    const prng = this.#prng;
    if (this.#options.listable) return undefined; // neighbours are listed as one, or the other way round
    if (known.protocol !== undefined && known.protocol !== "tcp" && known.protocol !== "udp") {
      return undefined;
    }
    known.protocol ??= prng.pick(["tcp", "tcp", "udp"] as const);
    return this.#header(known.protocol, prng.pick(Object.keys(FIELD_VALUES[known.protocol])));
  }

  #icmp(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined) return undefined;
    const six = known.family === "ip6" || (known.family === "inet" && prng.chance(0.4));
    known.protocol = six ? "icmpv6" : "icmp";
    if (known.family === "inet") known.family = six ? "ip6" : "ip";
    const names = this.#options.listable ? ["type", "code"] : Object.keys(FIELD_VALUES[known.protocol]);
    return this.#header(known.protocol, prng.pick(["type", ...names]));
  }

  #header(protocol: PayloadProtocol, name: string): Field {
    const { bit, bits } = HEADERS[protocol].fields[name]!;
    const values = FIELD_VALUES[protocol][name]!;
    const partial = (bit & 7) !== 0 || (bits & 7) !== 0; // nft 1.0.6 stumbles over them in concatenations
    return field({ payload: { protocol, field: name } }, () => this.#prng.pick(values), {
      wide: partial || this.#options.listable === true || (protocol === "tcp" && name === "flags"),
      ordered: values.length > 2 && !partial && bits > 8,
      ranged: values.length > 2 && bits > 8 && !partial,
    });
  }

  #option(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.protocol !== undefined && known.protocol !== "tcp") return undefined;
    if (prng.chance(0.4)) {
      const name = prng.pick(Object.keys(TCP_OPTIONS).filter((each) => !/^sack\d/.test(each)));
      return field({ "tcp option": { name } }, () => prng.chance(0.5), { single: true });
    }
    const name = prng.pick(["maxseg", "maxseg", ...Object.keys(OPTION_VALUES)]);
    const values = OPTION_VALUES[name]!;
    const which = name === "maxseg" && prng.chance(0.5) ? "size" : prng.pick(Object.keys(values));
    return field({ "tcp option": { name, field: which } }, () => prng.pick(values[which]!), {
      wide: true,
      ordered: which === "size",
    });
  }

  #extension(known: Known): Field | undefined {
    const prng = this.#prng;
    if (known.family === "ip" || known.protocol === "icmp") return undefined;
    if (known.family === "inet" && known.protocol === "icmpv6") return undefined;
    known.family = "ip6";
    const name = prng.pick(Object.keys(EXTENSIONS));
    if (prng.chance(0.4) || this.#options.listable) {
      return field({ exthdr: { name } }, () => prng.chance(0.5), { single: true });
    }
    const which = prng.pick(Object.keys(EXTENSION_VALUES[name]!));
    return field({ exthdr: { name, field: which } }, () => prng.pick(EXTENSION_VALUES[name]![which]!), {
      wide: true,
    });
  }

  #raw(): Field {
    const prng = this.#prng;
    const base = prng.pick(["nh", "th"] as const);
    const [offset, len] = prng.pick<readonly [number, number]>(RAW_SPANS[base]);
    return field({ payload: { base, offset, len } }, () => prng.pick([0, 0x45, 0x60, 1, 2, 53, 80]), {
      wide: true,
      single: true,
    });
  }

  #meta(known: Known): Field | undefined {
    const prng = this.#prng;
    const lengths = FIELD_VALUES.ip["length"]!;
    switch (prng.below(7)) {
      case 0:
        return field({ meta: { key: "length" } }, () => prng.pick(lengths), { ranged: true, ordered: true });
      case 1:
        if (known.protocol !== undefined) return undefined;
        known.protocol = "asked";
        return field({ meta: { key: "l4proto" } }, () => prng.pick([1, 6, 17, 58, 47]));
      case 2: {
        if (known.family !== "inet" || known.protocol === "icmp" || known.protocol === "icmpv6") {
          return undefined;
        }
        const six = prng.chance(0.5);
        known.family = six ? "ip6" : "ip";
        return this.#options.listable || prng.chance(0.5)
          ? field({ meta: { key: "nfproto" } }, () => six ? 10 : 2, { wide: true })
          : field({ meta: { key: "protocol" } }, () => six ? 0x86dd : 0x0800, { wide: true });
      }
      case 3:
        return field({ meta: { key: "priority" } }, () => prng.pick([1, 2, 0x1_0002]), { wide: true });
      case 4:
        return field({ meta: { key: "pkttype" } }, () => prng.pick([0, 1, 2]), { wide: true });
      case 5:
        return field({ meta: { key: "random" } }, () => 0x1234_5678, { wide: true, single: true });
      default:
        return field({ meta: { key: "mark" } }, () => prng.pick(MARKS), { ranged: true, ordered: true });
    }
  }

  #interface(known: Known): Field {
    const prng = this.#prng;
    const incoming = known.hook === "postrouting" || known.hook === "output"
      ? prng.chance(0.2)
      : prng.chance(0.7);
    if (prng.chance(0.3)) {
      return field({ meta: { key: incoming ? "iif" : "oif" } }, () => prng.pick(INTERFACES), { wide: true });
    }
    const names = incoming ? [...INTERFACES, "tun*", "none0"] : [...INTERFACES, "none0"];
    return field({ meta: { key: incoming ? "iifname" : "oifname" } }, () => prng.pick(names), { wide: true });
  }

  #ct(known: Known): Field | undefined {
    const prng = this.#prng;
    const dir = prng.pick(["original", "reply"] as const);
    const key = prng.pick<CtKey>([
      ...["mark", "direction", "status", "expiration", "l3proto", "protocol", "zone"] as const,
      ...["bytes", "packets", "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"] as const,
      ...["proto-src", "proto-dst", "state"] as const,
    ]);
    switch (key) {
      case "state":
        return field({ ct: { key } }, () => prng.pick([1, 2, 8, 10, 6, 14, 64, 65]), { flags: true });
      case "status":
        return field({ ct: { key } }, () => prng.pick([2, 4, 8, 16, 32, 48]), { flags: true });
      case "mark":
        return field({ ct: { key } }, () => prng.pick(MARKS), { ranged: true, ordered: true });
      case "direction":
        return field({ ct: { key } }, () => prng.below(2), { wide: true });
      case "zone":
        return field({ ct: { key } }, () => prng.below(3), { wide: true });
      case "expiration": // far from what any flow has left after a test
        return field({ ct: { key } }, () => prng.pick([5, 90, 1_000]), { wide: true, ordered: true });
      case "l3proto": // nft takes it for the packet's
        if (known.family !== "inet" || known.protocol !== undefined || this.#options.listable) {
          return undefined;
        }
        known.family = prng.pick(["ip", "ip6"] as const);
        return field({ ct: { key } }, () => known.family === "ip" ? 2 : 10, { wide: true });
      case "protocol":
        if (known.protocol !== undefined) return undefined;
        known.protocol = "asked";
        return field({ ct: { key } }, () => prng.pick([1, 6, 17, 58, 47]), { wide: true });
      case "bytes":
        return field({ ct: { key, ...prng.chance(0.5) ? { dir } : {} } }, () => prng.pick([0, 60, 200]), {
          wide: true,
          ordered: true,
        });
      case "packets":
        return field({ ct: { key, ...prng.chance(0.5) ? { dir } : {} } }, () => prng.pick([0, 1, 2, 3]), {
          wide: true,
          ordered: true,
        });
      case "proto-src":
      case "proto-dst": {
        if (this.#options.listable) return undefined;
        if (known.stated !== true || (known.protocol !== "tcp" && known.protocol !== "udp")) return undefined;
        return field({ ct: { key, dir } }, () => prng.pick(PORTS), {
          ranged: true,
          ordered: true,
          wide: true,
        });
      }
      default: {
        const family = key.startsWith("ip6") ? "ip6" as const : "ip" as const;
        if (known.family !== family) return undefined;
        return field({ ct: { key, dir } }, () => drawAddress(prng, family), { ranged: true, wide: true });
      }
    }
  }

  #fib(known: Known): Field | undefined {
    const prng = this.#prng;
    const end = prng.pick(["saddr", "daddr"] as const);
    const way = known.hook === undefined || prng.chance(0.5) ? [] : [prng.pick(WAYS[known.hook])];
    const mark = prng.chance(0.2) ? ["mark" as const] : [];
    const flags: Fib["flags"] = [end, ...mark, ...way];
    const result = prng.pick(["type", "type", "oif", "oifname"] as const);
    if (result === "type") {
      return field({ fib: { result, flags } }, () => prng.pick([1, 2, 3, 7]), { wide: true });
    }
    // Where the kernel looks for a way.
    const looks = known.hook === "prerouting" ||
      (way[0] === "iif" && (known.hook === "input" || known.hook === "forward"));
    if (!looks) return undefined;
    if (result === "oif" && prng.chance(0.5)) {
      return field({ fib: { result, flags } }, () => prng.chance(0.5), { single: true });
    }
    return field({ fib: { result, flags } }, () => prng.pick(INTERFACES), { wide: true, single: true });
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
