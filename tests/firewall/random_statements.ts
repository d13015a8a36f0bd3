import type { Prng } from "../../base/random.ts";
import type {
  BaseChain,
  Expression,
  MapElement,
  SetUpdate,
  StatefulStatement,
  Statement,
} from "../../net/firewall/nft/schema.ts";
import type { Known, RandomFields } from "./random_fields.ts";
import type { RandomSets } from "./random_sets.ts";
import { MARKS, TTLS } from "./random_values.ts";

/** What statements may do. */
export interface RandomStatementsOptions {
  readonly tracked: boolean;
  readonly timed: boolean | "slow";
  /** Maps learn nothing. */
  readonly listable?: boolean;
}

const COUNTED: Statement = { counter: { packets: 0, bytes: 0 } };

/** What nft 1.0.6 takes behind `set`. */
function isStated(expression: Expression): boolean {
  return typeof expression === "object" && !("fib" in expression) && !("exthdr" in expression);
}

/** Whether a chain's packets have not been tracked yet. */
function isEarly(base: BaseChain | undefined): boolean {
  return base?.prio === -300 && (base.hook === "prerouting" || base.hook === "output");
}

/** Draws statements with an effect, in the middle of a rule. */
export class RandomStatements {
  readonly #prng: Prng;
  readonly #fields: RandomFields;
  readonly #sets: RandomSets;
  readonly #options: RandomStatementsOptions;
  #meters = 0;

  constructor(prng: Prng, fields: RandomFields, sets: RandomSets, options: RandomStatementsOptions) {
    this.#prng = prng;
    this.#fields = fields;
    this.#sets = sets;
    this.#options = options;
  }

  draw(known: Known, base: BaseChain | undefined): Statement {
    const prng = this.#prng;
    const { tracked, timed } = this.#options;
    if (tracked && isEarly(base) && prng.chance(0.4)) { // what has been tracked has its zone
      return prng.chance(0.3)
        ? { notrack: null }
        : { mangle: { key: { ct: { key: "zone" } }, value: prng.below(3) } };
    }
    switch (prng.below(16)) {
      case 0:
        return { quota: { bytes: prng.pick([50, 500, 3_000]), used: 0, inv: prng.chance(0.5) } };
      case 1:
        return timed ? { limit: this.limit() } : COUNTED;
      case 2:
        return { use: { kind: "counter", name: "c0" } };
      case 3:
        return { use: { kind: "quota", name: "q0" } };
      case 4:
        return { mangle: { key: { meta: { key: "mark" } }, value: this.#mark(known) } };
      case 5:
        if (!tracked) return { mangle: { key: { meta: { key: "priority" } }, value: prng.below(3) } };
        return { mangle: { key: { ct: { key: "mark" } }, value: this.#mark(known) } };
      case 6:
      case 7:
        return this.#update(known) ?? COUNTED;
      case 8:
        return { log: { prefix: "drawn ", flags: [] } };
      case 9:
      case 10:
        return this.#write(known, base?.hook) ?? COUNTED;
      case 11:
      case 12:
      case 13:
        return this.#write(known, base?.hook) ?? COUNTED;
      case 14:
        return this.#object(known) ?? COUNTED;
      default:
        if (timed && prng.chance(0.7)) return { use: { kind: "limit", name: "l0" } };
        return { mangle: { key: { meta: { key: "nftrace" } }, value: prng.below(2) } };
    }
  }

  limit(): {
    rate: number;
    per: "second" | "minute" | "hour" | "day" | "week";
    burst: number;
    unit: "packets" | "bytes";
    inv: boolean;
  } {
    const prng = this.#prng;
    const bytes = prng.chance(0.3);
    if (this.#options.timed === "slow") {
      const rate = bytes ? 100 : prng.between(1, 4);
      const burst = bytes ? prng.pick([300, 2_000]) : prng.between(1, 9);
      const per = bytes ? "day" : prng.pick(["day", "week"] as const);
      return { rate, per, burst, unit: bytes ? "bytes" : "packets", inv: prng.chance(0.5) };
    }
    return {
      rate: bytes ? prng.pick([100, 1_000]) : prng.between(1, 20),
      per: prng.pick(["second", "minute", "hour"]),
      burst: bytes ? prng.pick([0, 2_000]) : prng.between(1, 5),
      unit: bytes ? "bytes" : "packets",
      inv: prng.chance(0.5),
    };
  }

  /** The counter or quota that a map has for the packet. */
  #object(known: Known): Statement | undefined {
    const map = this.#sets.pick(({ data }) => data !== undefined && "object" in data);
    const key = map === undefined ? undefined : this.#sets.keyOf(map, known);
    if (map === undefined || key === undefined) return undefined;
    const { object } = map.data as { object: "counter" | "quota" };
    return { use: { kind: object, name: { map: { key, data: `@${map.name}` } } } };
  }

  /** A set, or a map, learns, or forgets. */
  #update(known: Known): Statement | undefined {
    const prng = this.#prng;
    if (prng.chance(0.15)) return this.#meter(known);
    const set = this.#sets.pick(({ flags, data }) =>
      flags.includes("dynamic") && (data === undefined || this.#options.listable !== true)
    );
    const elem = set === undefined ? undefined : this.#sets.keyOf(set, known);
    if (set === undefined || elem === undefined) return undefined;
    const timed = set.flags.includes("timeout");
    const op = prng.pick(timed ? ["add", "update", "delete"] as const : ["add", "add", "delete"] as const);
    const own = op !== "delete" && timed && prng.chance(0.5) ? { timeout: prng.pick([1_000, 5_000]) } : {};
    const bare: Omit<SetUpdate, "set"> = { op, elem, ...own, stmt: [] };
    if (set.data !== undefined) {
      return { map: { ...bare, map: `@${set.name}`, data: prng.pick(MARKS) } };
    }
    const stmt = op === "delete" || set.stmt.length > 0 || prng.chance(0.6) ? [] : [this.#state()];
    return { set: { ...bare, set: `@${set.name}`, stmt } };
  }

  /** What an element keeps that a rule adds. */
  #state(): StatefulStatement {
    const prng = this.#prng;
    const kind = prng.below(3);
    if (kind === 0 && this.#options.timed) return { limit: this.limit() };
    if (kind === 1) return { quota: { bytes: 500, used: 0, inv: prng.chance(0.5) } };
    return { counter: { packets: 0, bytes: 0 } };
  }

  #meter(known: Known): Statement | undefined {
    const key = this.#fields.address(known, "saddr");
    if (key === undefined || !this.#options.timed) return undefined;
    return {
      meter: { name: `m${this.#meters++}`, key: key.expression, size: 100, stmt: { limit: this.limit() } },
    };
  }

  /** Something is written to the packet. */
  #write(known: Known, hook: BaseChain["hook"] | undefined): Statement | undefined {
    const prng = this.#prng;
    if (prng.chance(0.4)) {
      const hasWay = hook === "forward" || hook === "output" || hook === "postrouting";
      const value = hasWay && prng.chance(0.4)
        ? { rt: { key: "mtu" as const } }
        : prng.pick([536, 1_300, 1_440]);
      return { mangle: { key: { "tcp option": { name: "maxseg", field: "size" } }, value } };
    }
    if (known.family === "inet") {
      if (known.protocol === "icmp" || known.protocol === "icmpv6") return undefined;
      known.family = prng.pick(["ip", "ip6"] as const);
    }
    const { family } = known;
    const ttl = prng.pick(TTLS);
    const dscp = prng.pick([0, 8, 46]);
    const [name, value] = prng.pick<readonly [string, number]>(
      family === "ip"
        ? [
          ["ttl", ttl],
          ["dscp", dscp],
          ["ecn", prng.below(4)],
          // Pieces are known by it: see `PIECES_ID` of the differential.
          this.#options.tracked ? ["dscp", dscp] : ["id", prng.pick([7, 9])],
        ]
        : [["hoplimit", ttl], ["dscp", dscp], ["ecn", prng.below(4)], ["flowlabel", prng.pick([0, 7])]],
    );
    return { mangle: { key: { payload: { protocol: family, field: name } }, value } };
  }

  #mark(known: Known): Expression {
    const prng = this.#prng;
    const mark: Expression = { meta: { key: "mark" } };
    switch (prng.below(9)) {
      case 0:
        return { "|": [{ "&": [mark, 0xf0] }, prng.pick([1, 2, 0x100])] };
      case 1:
        return { numgen: { mode: "inc", mod: prng.between(2, 4), offset: prng.pick([0, 1]) } };
      case 2:
        return { numgen: { mode: "random", mod: 1, offset: prng.pick([0, 1, 2]) } };
      case 3:
        return { "^": [mark, prng.pick([1, 0x10])] };
      case 4:
        return prng.chance(0.5) ? { "<<": [mark, prng.between(1, 8)] } : { ">>": [mark, prng.between(1, 8)] };
      case 5: {
        const map = this.#sets.pick(({ data }) => data !== undefined && "value" in data);
        const key = map === undefined ? undefined : this.#sets.keyOf(map, known);
        if (map === undefined || key === undefined) return prng.pick(MARKS);
        return { map: { key, data: `@${map.name}` } };
      }
      case 6:
        return this.#options.tracked ? { ct: { key: "mark" } } : mark;
      case 7: {
        const key = this.#fields.draw(known);
        if (key === undefined || key.single || !isStated(key.expression)) return prng.pick(MARKS);
        const elements = this.#fields.elements([key.draw], key.ranged).map((element): MapElement => {
          return { ...element, data: prng.pick(MARKS) };
        });
        return { map: { key: key.expression, data: { set: elements } } };
      }
      default:
        return prng.pick(MARKS);
    }
  }
}
