import type { Prng } from "../../base/random.ts";
import type {
  BaseChain,
  Chain,
  Expression,
  Family,
  MapElement,
  NamedSet,
  Rule,
  Ruleset,
  StatefulStatement,
  Statement,
  Table,
  Verdict,
} from "../../net/firewall/nft/schema.ts";
import { IPV4, IPV6, type Known, MARKS, PORTS, RandomFields, TTLS } from "./random_fields.ts";

/** What rules may have in them: for the kernel less than for the walk. */
export interface RandomRulesOptions {
  readonly hooks: readonly BaseChain["hook"][];
  /** Statements and expressions that ask the tracker. */
  readonly tracked: boolean;
  /** Limits and timeouts, whose judge is a clock; "slow": those that do not move in a test's time. */
  readonly timed: boolean | "slow";
  /** Chains of type nat. */
  readonly nat?: boolean;
  readonly fib: boolean;
  readonly queue: boolean;
  /** Times of day, and dates around this one, in seconds since 1970. */
  readonly clockSeconds?: number;
  /**
   * Without what nft 1.0.6 compiles wrongly: it makes one comparison of two that stand next to each other in a header,
   * also when both are `!=`, and when a counter stands between them.
   */
  readonly unmerged?: boolean;
}

const WELL_FILTERS: readonly BaseChain["prio"][] = [-300, -150, 0, 0, 10, 200];
const HANDSHAKE = 0x3f;

/** Whether a chain's packets have not been tracked yet. */
function isEarly(base: BaseChain | undefined): boolean {
  return base?.prio === -300 && (base.hook === "prerouting" || base.hook === "output");
}

/** Draws rule sets that nft takes: every expression and statement, in values that packets are likely to have. */
export class RandomRules {
  readonly #prng: Prng;
  readonly #fields: RandomFields;
  readonly #options: RandomRulesOptions;
  #sets: NamedSet[] = [];
  #table: { counters: Table["counters"]; quotas: Table["quotas"]; limits: Table["limits"] } = {
    counters: [],
    quotas: [],
    limits: [],
  };

  constructor(prng: Prng, options: RandomRulesOptions) {
    this.#prng = prng;
    this.#fields = new RandomFields(prng);
    this.#options = options;
  }

  ruleset(): Ruleset {
    const count = this.#prng.chance(0.3) ? 2 : 1;
    return { tables: Array.from({ length: count }, (_, at) => this.#tableOf(`t${at}`)) };
  }

  #tableOf(name: string): Table {
    const prng = this.#prng;
    const family = prng.pick(["inet", "inet", "ip", "ip6"] as const);
    this.#table = {
      counters: [{ name: "c0", packets: 0, bytes: 0 }],
      quotas: [{ name: "q0", bytes: prng.pick([100, 2_000]), used: 0, inv: prng.chance(0.5) }],
      limits: this.#options.timed ? [{ name: "l0", ...this.#limit() }] : [],
    };
    const plain = prng.between(0, 3);
    const bases = prng.between(1, 3);
    const targets = Array.from({ length: plain }, (_, at) => `p${at}`);
    this.#sets = [];
    for (let at = prng.between(0, 5); at > 0; at--) {
      this.#sets.push(this.#set(family, `s${at}`, targets.slice(-1)));
    }
    const chains: Chain[] = [];
    for (let at = 0; at < bases; at++) {
      const base: BaseChain = {
        type: "filter",
        hook: prng.pick(this.#options.hooks),
        prio: prng.pick(WELL_FILTERS),
        policy: prng.chance(0.7) ? "accept" : "drop",
      };
      chains.push({ name: `b${at}`, base, rules: this.#rules(family, base, targets) });
    }
    if (this.#options.nat && prng.chance(0.8)) {
      for (const hook of ["prerouting", "postrouting", "output"] as const) {
        if (prng.chance(0.7)) chains.push(this.#natChain(family, hook));
      }
    }
    // Chains jump only to later ones: no loops. What all hooks may reach asks for no hook.
    targets.forEach((chain, at) => {
      chains.push({ name: chain, rules: this.#rules(family, undefined, targets.slice(at + 1)) });
    });
    return { family, name, dormant: false, chains, sets: this.#sets, ...this.#table };
  }

  #natChain(family: Family, hook: "prerouting" | "postrouting" | "output"): Chain {
    const prng = this.#prng;
    const prio = hook === "postrouting" ? 100 : -100;
    const rules = Array.from({ length: prng.between(1, 3) }, (): Rule => {
      const known: Known = { family, protocol: undefined, compared: false };
      const match = this.#fields.match(known);
      const expr: Statement[] = match === undefined ? [] : [{ match }];
      if (prng.chance(0.5)) expr.push({ counter: { packets: 0, bytes: 0 } });
      const translation = this.#translation(known, hook);
      return { expr: translation === undefined ? [...expr, { accept: null }] : [...expr, translation] };
    });
    // The kernel follows a family's connections when a rule asks for that family's: this one asks for both.
    const asks: Rule = {
      expr: [{ match: { op: "in", left: { ct: { key: "state" } }, right: 64 } }, { accept: null }],
    };
    rules.unshift(asks);
    return { name: `n${hook}`, base: { type: "nat", hook, prio, policy: "accept" }, rules };
  }

  #translation(known: Known, hook: "prerouting" | "postrouting" | "output"): Statement | undefined {
    const prng = this.#prng;
    const of = known.family === "inet"
      ? known.protocol === "icmp"
        ? "ip"
        : known.protocol === "icmpv6"
        ? "ip6"
        : prng.pick(["ip", "ip6"] as const)
      : known.family;
    const hasPorts = known.protocol === "tcp" || known.protocol === "udp";
    const port = hasPorts && prng.chance(0.4) ? { port: prng.pick(PORTS) } : {};
    const flags = prng.chance(0.2) ? ["persistent" as const] : [];
    if (hook === "postrouting") {
      if (prng.chance(0.3)) return { masquerade: { flags: [] } };
      const addresses = of === "ip" ? ["10.3.0.1", "10.3.0.9"] as const : ["fd03::1", "fd03::9"] as const;
      const addr = prng.chance(0.3) ? { range: addresses } : prng.pick(addresses);
      return { snat: { addr, family: of, flags } };
    }
    // What we send may not come back to ourselves: it would be another packet then.
    if (hook === "prerouting" && prng.chance(0.3)) return { redirect: { ...port, flags: [] } };
    const routed = of === "ip" ? ["10.2.0.1", "10.2.200.9"] : ["fd02::1", "fd02::200:9"];
    const own = of === "ip" ? "10.1.0.1" : "fd01::1";
    const addr = hook === "prerouting" && prng.chance(0.3) ? own : prng.pick(routed);
    return { dnat: { addr, family: of, ...port, flags } };
  }

  #rules(family: Family, base: BaseChain | undefined, targets: readonly string[]): Rule[] {
    const prng = this.#prng;
    const count = prng.chance(0.1) ? prng.between(20, 70) : prng.between(0, 8);
    return Array.from({ length: count }, () => this.#rule(family, base, targets));
  }

  #rule(family: Family, base: BaseChain | undefined, targets: readonly string[]): Rule {
    const prng = this.#prng;
    const known: Known = { family, protocol: undefined, compared: false };
    const expr: Statement[] = [];
    for (let at = prng.between(0, 3); at > 0; at--) {
      const match = this.#match(known);
      if (match !== undefined) expr.push(match);
      if (prng.chance(0.3)) expr.push(this.#effect(known, base));
    }
    if (prng.chance(0.6)) expr.push({ counter: { packets: 0, bytes: 0 } });
    const end = this.#end(known, base?.hook, targets);
    if (end !== undefined) expr.push(end);
    if (expr.length === 0) expr.push({ counter: { packets: 0, bytes: 0 } });
    return { expr };
  }

  #end(known: Known, hook: BaseChain["hook"] | undefined, targets: readonly string[]): Statement | undefined {
    const prng = this.#prng;
    const kind = prng.below(10);
    if (kind < 2) return { accept: null };
    if (kind === 2) return { drop: null };
    if (kind === 3 && targets.length > 0) return { jump: { target: prng.pick(targets) } };
    if (kind === 4 && targets.length > 0) return { goto: { target: prng.pick(targets) } };
    if (kind === 5) return { return: null };
    if (kind === 6) return this.#vmap(known, targets);
    if (
      kind === 7 && hook !== undefined && hook !== "postrouting" && hook !== "prerouting" &&
      !(hook === "output" && this.#options.timed === "slow") // the kernel's answers to itself would be counted
    ) {
      return this.#reject(known);
    }
    if (kind === 8 && this.#options.queue) return { queue: { num: 0, flags: [] } };
    return undefined;
  }

  #reject(known: Known): Statement {
    const prng = this.#prng;
    if (known.protocol === "tcp" && prng.chance(0.5)) return { reject: { type: "tcp reset" } };
    if (known.family === "ip") return { reject: { type: "icmp", expr: prng.pick([0, 1, 3, 13]) } };
    if (known.family === "ip6") return { reject: { type: "icmpv6", expr: prng.pick([0, 1, 3, 4]) } };
    return { reject: { type: "icmpx", expr: prng.below(4) } };
  }

  #verdict(targets: readonly string[]): Verdict {
    const prng = this.#prng;
    if (targets.length > 0 && prng.chance(0.4)) {
      return prng.chance(0.7)
        ? { jump: { target: prng.pick(targets) } }
        : { goto: { target: prng.pick(targets) } };
    }
    return prng.pick<Verdict>([{ accept: null }, { drop: null }, { return: null }, { continue: null }]);
  }

  #vmap(known: Known, targets: readonly string[]): Statement | undefined {
    const prng = this.#prng;
    const named = this.#sets.filter(({ data }) => data !== undefined && "verdict" in data);
    // They lead to the last chain, from which nobody leads on.
    const set = named.length > 0 && targets.length > 0 && prng.chance(0.5) ? prng.pick(named) : undefined;
    if (set !== undefined) {
      const key = this.#keyOf(set, known);
      return key === undefined ? undefined : { vmap: { key, data: `@${set.name}` } };
    }
    const key = this.#fields.draw(known);
    if (key === undefined) return undefined;
    const elements = this.#fields.elements([key.draw], key.ranged).map((element): MapElement => {
      return { ...element, data: this.#verdict(targets) };
    });
    return { vmap: { key: key.expression, data: { set: elements } } };
  }

  /** A statement with an effect, in the middle of a rule. */
  #effect(known: Known, base: BaseChain | undefined): Statement {
    const prng = this.#prng;
    const drawn = prng.below(11);
    if (this.#options.tracked && isEarly(base) && prng.chance(0.3)) { // what has been tracked has its zone
      return { mangle: { key: { ct: { key: "zone" } }, value: prng.below(3) } };
    }
    if (drawn > 8) return this.#write(known, base?.hook) ?? { counter: { packets: 0, bytes: 0 } };
    if (drawn === 8 && this.#options.timed === "slow") return { use: { kind: "limit", name: "l0" } };
    if (drawn === 0) return { quota: { bytes: prng.pick([50, 500, 3_000]), used: 0, inv: prng.chance(0.5) } };
    if (drawn === 1 && this.#options.timed) return { limit: this.#limit() };
    if (drawn === 2) return { use: { kind: "counter", name: "c0" } };
    if (drawn === 3) return { use: { kind: "quota", name: "q0" } };
    if (drawn === 4) return { mangle: { key: { meta: { key: "mark" } }, value: this.#markValue(known) } };
    if (drawn === 5 && this.#options.tracked) {
      return { mangle: { key: { ct: { key: "mark" } }, value: this.#markValue(known) } };
    }
    if (drawn === 6) {
      const filled = this.#sets.filter(({ flags, data }) => flags.includes("dynamic") && data === undefined);
      const set = filled.length > 0 ? prng.pick(filled) : undefined;
      const elem = set === undefined ? undefined : this.#keyOf(set, known);
      if (set !== undefined && elem !== undefined) {
        const timed = set.flags.includes("timeout") && prng.chance(0.5);
        return {
          set: {
            op: prng.pick(set.flags.includes("timeout") ? ["add", "update"] as const : ["add"] as const),
            set: `@${set.name}`,
            elem,
            ...(timed ? { timeout: prng.pick([1_000, 5_000]) } : {}),
            stmt: [],
          },
        };
      }
    }
    if (drawn === 7) return { log: { prefix: "drawn ", flags: [] } };
    return { counter: { packets: 0, bytes: 0 } };
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
    const [name, value] = prng.pick<readonly [string, number]>(
      family === "ip"
        ? [["ttl", prng.pick(TTLS)], ["dscp", prng.pick([0, 8, 46])], ["ecn", prng.below(4)]]
        : [["hoplimit", prng.pick(TTLS)], ["dscp", prng.pick([0, 8, 46])], ["flowlabel", prng.pick([0, 7])]],
    );
    return { mangle: { key: { payload: { protocol: family, field: name } }, value } };
  }

  #markValue(known: Known): Expression {
    const prng = this.#prng;
    const kind = prng.below(4);
    const mark: Expression = { meta: { key: "mark" } };
    if (kind === 0) return { "|": [{ "&": [mark, 0xf0] }, prng.pick([1, 2, 0x100])] };
    if (kind === 1) return { numgen: { mode: "inc", mod: prng.between(2, 4), offset: prng.pick([0, 1]) } };
    const key = kind === 2 ? this.#fields.draw(known) : undefined;
    if (key !== undefined) {
      const elements = this.#fields.elements([key.draw], key.ranged).map((element): MapElement => {
        return { ...element, data: prng.pick(MARKS) };
      });
      return { map: { key: key.expression, data: { set: elements } } };
    }
    return prng.pick(MARKS);
  }

  #limit(): {
    rate: number;
    per: "second" | "minute" | "day";
    burst: number;
    unit: "packets" | "bytes";
    inv: boolean;
  } {
    const prng = this.#prng;
    const bytes = prng.chance(0.3);
    if (this.#options.timed === "slow") {
      const rate = bytes ? 100 : prng.between(1, 4);
      const burst = bytes ? prng.pick([300, 2_000]) : prng.between(1, 9);
      return { rate, per: "day", burst, unit: bytes ? "bytes" : "packets", inv: prng.chance(0.5) };
    }
    return {
      rate: bytes ? prng.pick([100, 1_000]) : prng.between(1, 20),
      per: prng.pick(["second", "minute"]),
      burst: bytes ? prng.pick([0, 2_000]) : prng.between(1, 5),
      unit: bytes ? "bytes" : "packets",
      inv: prng.chance(0.5),
    };
  }

  #match(known: Known): Statement | undefined {
    const prng = this.#prng;
    const kind = prng.below(12);
    if (this.#options.clockSeconds !== undefined && prng.chance(0.1)) return this.#timeMatch();
    if (kind === 0 && this.#options.tracked) return this.#ctMatch();
    if (kind === 1 && this.#options.fib) return this.#fibMatch();
    if (kind === 2) {
      const sets = this.#sets.filter(({ data }) => data === undefined);
      const set = sets.length > 0 ? prng.pick(sets) : undefined;
      const left = set === undefined ? undefined : this.#keyOf(set, known);
      if (set !== undefined && left !== undefined) {
        return { match: { op: prng.pick(["==", "==", "!="] as const), left, right: `@${set.name}` } };
      }
    }
    if (kind === 3) return this.#maskMatch(known);
    if (kind === 4) {
      const fields = [this.#fields.draw(known), this.#fields.draw(known)];
      if (fields.some((each) => each === undefined || each.wide)) return undefined;
      const left: Expression = { concat: fields.map((each) => each!.expression) };
      const draws = fields.map((each) => each!.draw);
      const ranged = fields.every((each) => each!.ranged);
      return {
        match: {
          op: prng.pick(["==", "!="] as const),
          left,
          right: { set: this.#fields.elements(draws, ranged) },
        },
      };
    }
    if (kind === 5 && prng.chance(0.3)) {
      const numgen = { mode: "inc" as const, mod: prng.between(2, 4), offset: 0 };
      return { match: { op: "==", left: { numgen }, right: prng.below(numgen.mod) } };
    }
    const match = this.#fields.match(known);
    if (match === undefined || !this.#options.unmerged || !("payload" in (match.left as object))) {
      return match === undefined ? undefined : { match };
    }
    // One value, or a set of one.
    const { right } = match;
    const single = typeof right !== "object" || ("set" in right && right.set.length < 2);
    if (single && known.compared) return undefined;
    known.compared ||= single;
    return { match };
  }

  #ctMatch(): Statement {
    const prng = this.#prng;
    const state = prng.below(5);
    if (state === 4) return { match: { op: "==", left: { ct: { key: "zone" } }, right: prng.below(2) } };
    if (state === 0) {
      return { match: { op: "==", left: { ct: { key: "mark" } }, right: prng.pick(MARKS) } };
    }
    if (state === 1) return { match: { op: "==", left: { ct: { key: "direction" } }, right: prng.below(2) } };
    return {
      match: { op: "in", left: { ct: { key: "state" } }, right: prng.pick([1, 2, 8, 10, 6, 14, 64, 65]) },
    };
  }

  #timeMatch(): Statement {
    const prng = this.#prng;
    const now = this.#options.clockSeconds!;
    const key = prng.pick(["time", "hour", "day"] as const);
    const draw = (): number =>
      key === "day" ? prng.below(7) : (key === "time" ? now : now % 86_400) + prng.below(120) - 20;
    const left: Expression = { meta: { key } };
    if (key === "day") return { match: { op: prng.pick(["==", "!="] as const), left, right: draw() } };
    if (prng.chance(0.5)) {
      return { match: { op: prng.pick(["<", ">", "<=", ">="] as const), left, right: draw() } };
    }
    const [low, high] = [draw(), draw()].sort((a, b) => a - b) as [number, number];
    return { match: { op: prng.pick(["==", "!="] as const), left, right: { range: [low, high] } } };
  }

  #fibMatch(): Statement {
    const prng = this.#prng;
    const flags = [prng.pick(["saddr", "daddr"] as const)];
    return { match: { op: "==", left: { fib: { result: "type", flags } }, right: prng.pick([1, 2, 3, 7]) } };
  }

  #maskMatch(known: Known): Statement | undefined {
    const prng = this.#prng;
    if (known.protocol === undefined || known.protocol === "tcp") {
      known.protocol = "tcp";
      const flags: Expression = { payload: { protocol: "tcp", field: "flags" } };
      if (prng.chance(0.5)) return { match: { op: "in", left: flags, right: prng.pick([2, 0x12, 4, 1]) } };
      const mask = prng.pick([0x12, 0x17, HANDSHAKE]);
      return {
        match: {
          op: prng.pick(["==", "!="] as const),
          left: { "&": [flags, mask] },
          right: prng.pick([2, 0x12, 0x10]),
        },
      };
    }
    return {
      match: { op: "==", left: { "&": [{ meta: { key: "mark" } }, 0xf] }, right: prng.pick([0, 1, 2]) },
    };
  }

  #set(family: Family, name: string, targets: readonly string[]): NamedSet {
    const prng = this.#prng;
    const of = family === "inet" ? prng.pick(["ip", "ip6"] as const) : family;
    const address = of === "ip" ? "ipv4_addr" as const : "ipv6_addr" as const;
    const addressDraw = (): Expression => prng.pick(of === "ip" ? IPV4 : IPV6);
    const portDraw = (): Expression => prng.pick(PORTS);
    const [type, draws] = prng.pick<[NamedSet["type"], (() => Expression)[]]>([
      [[address], [addressDraw]],
      [["inet_service"], [portDraw]],
      [[address, "inet_service"], [addressDraw, portDraw]],
    ]);
    const kind = prng.below(4);
    const bare = { name, type, autoMerge: false, stmt: [] as StatefulStatement[] };
    if (kind === 0) {
      const timed = this.#options.timed && prng.chance(0.5);
      return {
        ...bare,
        flags: timed ? ["dynamic", "timeout"] : ["dynamic"],
        ...(timed ? { timeout: this.#options.timed === "slow" ? 3_600 : prng.pick([2, 600]) } : {}),
        size: prng.pick([3, 100]),
        stmt: prng.chance(0.3) ? [{ counter: { packets: 0, bytes: 0 } }] : [],
        elem: [],
      };
    }
    const interval = prng.chance(0.5);
    const elements = this.#fields.elements(draws, interval);
    const flags: NamedSet["flags"] = interval ? ["interval"] : [];
    if (kind === 1) {
      const elem = elements.map((element): MapElement => ({ ...element, data: this.#verdict(targets) }));
      return { ...bare, flags, data: { verdict: null }, elem };
    }
    return { ...bare, flags, elem: elements };
  }

  /** What a rule looks up in a named set, as its type demands, if it may. */
  #keyOf({ type }: NamedSet, known: Known): Expression | undefined {
    const before = { ...known };
    const parts = type.map((part): Expression | undefined => {
      if (part === "inet_service") {
        return this.#fields.port(known, this.#prng.pick(["sport", "dport"] as const))?.expression;
      }
      const family = part === "ipv4_addr" ? "ip" : "ip6";
      if (known.family === "inet" && known.protocol !== "icmp" && known.protocol !== "icmpv6") {
        known.family = family;
      }
      if (known.family !== family) return undefined;
      return this.#fields.address(known, this.#prng.pick(["saddr", "daddr"] as const))?.expression;
    });
    if (parts.includes(undefined)) {
      Object.assign(known, before);
      return undefined;
    }
    return parts.length === 1 ? parts[0]! : { concat: parts as Expression[] };
  }
}
