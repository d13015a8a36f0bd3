import type { Prng } from "../../base/random.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import type {
  BaseChain,
  Chain,
  Expression,
  Family,
  MapElement,
  Match,
  NamedSet,
  Rule,
  Ruleset,
  SetElement,
  StatefulStatement,
  Statement,
  Table,
  Verdict,
} from "../../net/firewall/nft/schema.ts";

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

/** Fields that are no whole bytes: nft 1.0.6 stumbles over them in concatenations. */
const PARTIAL: ReadonlySet<string> = new Set(["dscp", "ecn", "version", "hdrlength", "flowlabel"]);
const WELL_FILTERS: readonly BaseChain["prio"][] = [-300, -150, 0, 0, 10, 200];
const HANDSHAKE = 0x3f;

/** What a rule knows of its packets so far: nft refuses rules that contradict themselves. */
interface Known {
  family: Family;
  protocol: "tcp" | "udp" | "icmp" | "icmpv6" | "asked" | undefined;
  /** A single value of a header has been compared: another one would be merged with it. */
  compared: boolean;
}

/** Draws rule sets that nft takes: every expression and statement, in values that packets are likely to have. */
export class RandomRules {
  readonly #prng: Prng;
  readonly #options: RandomRulesOptions;
  #sets: NamedSet[] = [];
  #table: { counters: Table["counters"]; quotas: Table["quotas"]; limits: Table["limits"] } = {
    counters: [],
    quotas: [],
    limits: [],
  };

  constructor(prng: Prng, options: RandomRulesOptions) {
    this.#prng = prng;
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
      const match = this.#fieldMatch(known);
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
    const key = this.#field(known);
    if (key === undefined) return undefined;
    const elements = this.#elements([key.draw], key.ranged).map((element): MapElement => {
      return { ...element, data: this.#verdict(targets) };
    });
    return { vmap: { key: key.expression, data: { set: elements } } };
  }

  /** A statement with an effect, in the middle of a rule. */
  #effect(known: Known, base: BaseChain | undefined): Statement {
    const prng = this.#prng;
    const drawn = prng.below(11);
    if (this.#options.tracked && base?.prio === -300 && prng.chance(0.3)) { // what has been tracked has its zone
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
    const key = kind === 2 ? this.#field(known) : undefined;
    if (key !== undefined) {
      const elements = this.#elements([key.draw], key.ranged).map((element): MapElement => {
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
      const fields = [this.#field(known), this.#field(known)];
      if (fields.some((each) => each === undefined || each.wide)) return undefined;
      const left: Expression = { concat: fields.map((each) => each!.expression) };
      const draws = fields.map((each) => each!.draw);
      const ranged = fields.every((each) => each!.ranged);
      return {
        match: { op: prng.pick(["==", "!="] as const), left, right: { set: this.#elements(draws, ranged) } },
      };
    }
    if (kind === 5 && prng.chance(0.3)) {
      const numgen = { mode: "inc" as const, mod: prng.between(2, 4), offset: 0 };
      return { match: { op: "==", left: { numgen }, right: prng.below(numgen.mod) } };
    }
    const match = this.#fieldMatch(known);
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

  #fieldMatch(known: Known): Match | undefined {
    const prng = this.#prng;
    const field = this.#field(known);
    if (field === undefined) return undefined;
    const { expression: left, draw, ranged, ordered } = field;
    const equal = prng.pick(["==", "==", "!="] as const);
    const shape = prng.below(6);
    if (shape === 0) return { op: equal, left, right: { set: this.#elements([draw], ranged) } };
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

  /** A field that the rule may still ask about, with how values for it are drawn. */
  #field(known: Known): Field | undefined {
    const prng = this.#prng;
    const choices: (() => Field | undefined)[] = [
      () => this.#address(known, "saddr"),
      () => this.#address(known, "saddr"),
      () => this.#address(known, "daddr"),
      () => this.#port(known, "dport"),
      () => this.#port(known, "dport"),
      () => this.#port(known, "sport"),
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

  #address(known: Known, end: "saddr" | "daddr"): Field | undefined {
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

  #port(known: Known, end: "sport" | "dport"): Field | undefined {
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
    const elements = this.#elements(draws, interval);
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
        return this.#port(known, this.#prng.pick(["sport", "dport"] as const))?.expression;
      }
      const family = part === "ipv4_addr" ? "ip" : "ip6";
      if (known.family === "inet" && known.protocol !== "icmp" && known.protocol !== "icmpv6") {
        known.family = family;
      }
      if (known.family !== family) return undefined;
      return this.#address(known, this.#prng.pick(["saddr", "daddr"] as const))?.expression;
    });
    if (parts.includes(undefined)) {
      Object.assign(known, before);
      return undefined;
    }
    return parts.length === 1 ? parts[0]! : { concat: parts as Expression[] };
  }

  /** Elements that do not overlap. */
  #elements(draws: readonly (() => Expression)[], ranged: boolean): SetElement[] {
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

interface Field {
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

type Span = readonly [bigint, bigint];

/** A drawn value that is no prefix, unless those are welcome. */
function plain(draw: () => Expression, prefixes: boolean): Expression {
  for (;;) {
    const drawn = draw();
    if (prefixes || typeof drawn !== "object") return drawn;
  }
}

function spanOf(value: Expression): Span {
  if (typeof value === "number" || typeof value === "boolean") {
    return [BigInt(Number(value)), BigInt(Number(value))];
  }
  if (typeof value === "string") {
    const at = value.endsWith("*") ? undefined : addressValue(value);
    if (at !== undefined) return [at, at];
    const low = [...value.replace("*", "")].reduce((sum, char, index) => {
      return sum | (BigInt(char.charCodeAt(0)) << BigInt(8 * (15 - index)));
    }, 0n);
    return [low, value.endsWith("*") ? low | ((1n << BigInt(8 * (17 - value.length))) - 1n) : low];
  }
  if ("range" in value) return [spanOf(value.range[0])[0], spanOf(value.range[1])[1]];
  if ("prefix" in value) {
    const low = addressValue(`${value.prefix.addr}`)!;
    const bits = `${value.prefix.addr}`.includes(":") ? 128 : 32;
    return [low, low | ((1n << BigInt(bits - value.prefix.len)) - 1n)];
  }
  throw new Error(`No span of ${JSON.stringify(value)}`);
}

function overlaps(a: Span, b: Span): boolean {
  return a[0] <= b[1] && b[0] <= a[1];
}

function addressValue(text: string): bigint | undefined {
  if (text.includes(":")) {
    const words = parseIpv6(text);
    return words?.reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
  }
  const address = parseIpv4(text);
  return address === undefined ? undefined : BigInt(address >>> 0);
}
