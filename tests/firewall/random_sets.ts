import type { Prng } from "../../base/random.ts";
import type {
  DataType,
  Expression,
  Family,
  MapElement,
  NamedSet,
  SetElement,
  StatefulStatement,
  Verdict,
} from "../../net/firewall/nft/schema.ts";
import type { Known, RandomFields } from "./random_fields.ts";
import { drawAddress, drawNetwork, INTERFACES, MARKS, PORTS } from "./random_values.ts";

/** What elements of sets may have in them. */
export interface RandomSetsOptions {
  /** Timeouts; "slow": those that do not move in a test's time. */
  readonly timed: boolean | "slow";
}

interface KeyPart {
  readonly type: DataType;
  readonly draw: () => Expression;
}

/** Draws the named sets and maps of a table, and what rules look up in them. */
export class RandomSets {
  readonly #prng: Prng;
  readonly #fields: RandomFields;
  readonly #options: RandomSetsOptions;
  /** Of the table at hand. */
  sets: NamedSet[] = [];

  constructor(prng: Prng, fields: RandomFields, options: RandomSetsOptions) {
    this.#prng = prng;
    this.#fields = fields;
    this.#options = options;
  }

  /** Another table: `count` sets, and maps that lead to such verdicts. */
  make(family: Family, count: number, verdict: () => Verdict): void {
    this.sets = Array.from({ length: count }, (_, at) => this.#set(family, `s${at}`, verdict));
  }

  /** One of the sets and maps that `fits`, or undefined. */
  pick(fits: (set: NamedSet) => boolean): NamedSet | undefined {
    const fitting = this.sets.filter(fits);
    return fitting.length > 0 ? this.#prng.pick(fitting) : undefined;
  }

  /** What a rule looks up in a named set, as its type demands, if it may. */
  keyOf({ type }: NamedSet, known: Known): Expression | undefined {
    const before = { ...known };
    const parts = type.map((part) => this.#keyPart(part, known));
    if (parts.includes(undefined)) {
      Object.assign(known, before);
      return undefined;
    }
    return parts.length === 1 ? parts[0]! : { concat: parts as Expression[] };
  }

  #keyPart(part: DataType, known: Known): Expression | undefined {
    const prng = this.#prng;
    switch (part) {
      case "inet_service":
        return this.#fields.port(known, prng.pick(["sport", "dport"] as const))?.expression;
      case "mark":
        return { meta: { key: "mark" } };
      case "ifname":
        return { meta: { key: prng.pick(["iifname", "oifname"] as const) } };
      case "inet_proto":
        if (known.protocol !== undefined) return undefined;
        known.protocol = "asked";
        return { meta: { key: "l4proto" } };
      default: {
        const family = part === "ipv4_addr" ? "ip" : "ip6";
        if (known.family === "inet" && known.protocol !== "icmp" && known.protocol !== "icmpv6") {
          known.family = family;
        }
        if (known.family !== family) return undefined;
        return this.#fields.address(known, prng.pick(["saddr", "daddr"] as const))?.expression;
      }
    }
  }

  #set(family: Family, name: string, verdict: () => Verdict): NamedSet {
    const prng = this.#prng;
    const parts = this.#key(family);
    const type = parts.map((part) => part.type);
    const draws = parts.map((part) => part.draw);
    const bare = { name, type, autoMerge: false, stmt: [] as StatefulStatement[] };
    const kind = prng.below(8);
    if (kind < 2) return { ...bare, ...this.#filled(), elem: [] };
    // What is wide and leads to something takes more registers than nft 1.0.6 has.
    if (kind === 2 && type.length === 1) {
      return { ...bare, ...this.#filled(), stmt: [], data: { value: ["mark"] }, elem: [] };
    }
    // Names and protocols have no order.
    const interval = !type.includes("ifname") && !type.includes("inet_proto") && prng.chance(0.5);
    const flags: NamedSet["flags"] = interval ? ["interval"] : [];
    const elements = this.#fields.elements(draws, interval);
    const lead = (data: () => MapElement["data"]): MapElement[] => {
      const made = elements.map((element): MapElement => ({ ...element, data: data() }));
      if (interval && type.length === 1 && prng.chance(0.3)) made.push({ val: "*", data: data() });
      return made;
    };
    if (kind === 3) return { ...bare, flags, data: { verdict: null }, elem: lead(verdict) };
    if (kind === 4) return { ...bare, flags, data: { value: ["mark"] }, elem: lead(() => prng.pick(MARKS)) };
    if (kind === 5) {
      const object = prng.pick(["counter", "quota"] as const);
      const named = object === "counter" ? "c0" : "q0";
      return { ...bare, flags, data: { object }, elem: lead(() => ({ object: named })) };
    }
    if (interval && prng.chance(0.2)) { // elements that overlap are one
      const extra: SetElement[] = parts.length > 1 ? [] : [{ val: draws[0]!() }];
      return { ...bare, flags, autoMerge: true, elem: [...elements, ...extra] };
    }
    if (this.#options.timed && !interval && prng.chance(0.3)) {
      const elem = elements.map((element) => ({ ...element, timeout: 3_600, expires: 3_600 }));
      return { ...bare, flags: ["timeout"], elem };
    }
    return { ...bare, flags, elem: elements };
  }

  #key(family: Family): KeyPart[] {
    const prng = this.#prng;
    const of = family === "inet" ? prng.pick(["ip", "ip6"] as const) : family;
    const address: KeyPart = {
      type: of === "ip" ? "ipv4_addr" : "ipv6_addr",
      draw: () => prng.chance(0.6) ? drawAddress(prng, of) : drawNetwork(prng, of),
    };
    const port: KeyPart = { type: "inet_service", draw: () => prng.pick(PORTS) };
    const mark: KeyPart = { type: "mark", draw: () => prng.pick(MARKS) };
    const name: KeyPart = { type: "ifname", draw: () => prng.pick(INTERFACES) };
    const protocol: KeyPart = { type: "inet_proto", draw: () => prng.pick([6, 17]) };
    return prng.pick([
      [address],
      [address],
      [port],
      [mark],
      [name],
      [address, port],
      [port, address],
      [address, mark],
      [address, protocol],
      [address, address],
    ]);
  }

  /** What rules fill: perhaps for a time, and with what each element keeps. */
  #filled(): Pick<NamedSet, "flags" | "timeout" | "size" | "stmt"> {
    const prng = this.#prng;
    const timed = this.#options.timed && prng.chance(0.5);
    const stmt = prng.pick<StatefulStatement[]>([
      [],
      [],
      [{ counter: { packets: 0, bytes: 0 } }],
      [{ quota: { bytes: 500, used: 0, inv: true } }],
    ]);
    return {
      flags: timed ? ["dynamic", "timeout"] : ["dynamic"],
      ...(timed ? { timeout: this.#options.timed === "slow" ? 3_600 : prng.pick([2, 600]) } : {}),
      size: prng.pick([3, 100]),
      stmt,
    };
  }
}
