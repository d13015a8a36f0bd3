import type { Prng } from "../../base/random.ts";
import type {
  BaseChain,
  Chain,
  Expression,
  Family,
  MapElement,
  Rule,
  Ruleset,
  Statement,
  Table,
  Verdict,
} from "../../net/firewall/nft/schema.ts";
import { type Known, RandomFields } from "./random_fields.ts";
import { RandomNat } from "./random_nat.ts";
import { RandomSets } from "./random_sets.ts";
import { RandomStatements } from "./random_statements.ts";

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
  /** Without what nft 1.0.6 lists by other words than it was given, or not as JSON: bits without a name, what maps learn. */
  readonly listable?: boolean;
}

const WELL_FILTERS: readonly BaseChain["prio"][] = [-300, -150, 0, 0, 10, 200];
const HANDSHAKE = 0x3f;

/** Draws rule sets that nft takes: every expression and statement, in values that packets are likely to have. */
export class RandomRules {
  readonly #prng: Prng;
  readonly #fields: RandomFields;
  readonly #sets: RandomSets;
  readonly #statements: RandomStatements;
  readonly #nat: RandomNat;
  readonly #options: RandomRulesOptions;

  constructor(prng: Prng, options: RandomRulesOptions) {
    this.#prng = prng;
    this.#fields = new RandomFields(prng, options);
    this.#sets = new RandomSets(prng, this.#fields, options);
    this.#statements = new RandomStatements(prng, this.#fields, this.#sets, options);
    this.#nat = new RandomNat(prng);
    this.#options = options;
  }

  ruleset(): Ruleset {
    const count = this.#prng.chance(0.3) ? 2 : 1;
    return { tables: Array.from({ length: count }, (_, at) => this.#table(`t${at}`)) };
  }

  #table(name: string): Table {
    const prng = this.#prng;
    const family = prng.pick(["inet", "inet", "ip", "ip6"] as const);
    const objects: Pick<Table, "counters" | "quotas" | "limits"> = {
      counters: [{ name: "c0", packets: 0, bytes: 0 }],
      quotas: [{ name: "q0", bytes: prng.pick([100, 2_000]), used: 0, inv: prng.chance(0.5) }],
      limits: this.#options.timed ? [{ name: "l0", ...this.#statements.limit() }] : [],
    };
    const plain = prng.between(0, 3);
    const bases = prng.between(1, 3);
    const targets = Array.from({ length: plain }, (_, at) => `p${at}`);
    const last = targets.slice(-1); // from there nobody leads on
    this.#sets.make(family, prng.between(0, 5), () => this.#verdict(last));
    const chains: Chain[] = [];
    for (let at = 0; at < bases; at++) {
      const hook = prng.pick(this.#options.hooks);
      const base: BaseChain = {
        type: hook === "output" && prng.chance(0.2) ? "route" : "filter",
        hook,
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
    // nft 1.0.6 breaks off when it lists a table that is dormant as JSON.
    const dormant = this.#options.unmerged !== true && prng.chance(0.03);
    return { family, name, dormant, chains, sets: this.#sets.sets, ...objects };
  }

  #natChain(family: Family, hook: "prerouting" | "postrouting" | "output"): Chain {
    const prng = this.#prng;
    const prio = hook === "postrouting" ? 100 : -100;
    const rules = Array.from({ length: prng.between(1, 3) }, (): Rule => {
      const known: Known = { family, protocol: undefined, compared: false, hook };
      const match = this.#fields.match(known);
      const expr: Statement[] = match === undefined ? [] : [{ match }];
      if (prng.chance(0.5)) expr.push({ counter: { packets: 0, bytes: 0 } });
      const translation = this.#nat.statement(known, hook);
      return { expr: translation === undefined ? [...expr, { accept: null }] : [...expr, translation] };
    });
    // The kernel follows a family's connections when a rule asks for that family's: this one asks for both.
    const asks: Rule = {
      expr: [{ match: { op: "in", left: { ct: { key: "state" } }, right: 64 } }, { accept: null }],
    };
    rules.unshift(asks);
    return { name: `n${hook}`, base: { type: "nat", hook, prio, policy: "accept" }, rules };
  }

  #rules(family: Family, base: BaseChain | undefined, targets: readonly string[]): Rule[] {
    const prng = this.#prng;
    const count = prng.chance(0.1) ? prng.between(20, 70) : prng.between(0, 8);
    return Array.from({ length: count }, () => this.#rule(family, base, targets));
  }

  #rule(family: Family, base: BaseChain | undefined, targets: readonly string[]): Rule {
    const prng = this.#prng;
    const known: Known = { family, protocol: undefined, compared: false, hook: base?.hook };
    const expr: Statement[] = [];
    for (let at = prng.between(0, 3); at > 0; at--) {
      const { protocol } = known;
      const match = this.#match(known);
      if (match !== undefined) expr.push(match);
      known.stated ||= match !== undefined && protocol === undefined && known.protocol !== undefined;
      if (prng.chance(0.3)) expr.push(this.#statements.draw(known, base));
    }
    if (prng.chance(0.6)) expr.push({ counter: { packets: 0, bytes: 0 } });
    const end = this.#end(known, base?.hook, targets);
    if (end !== undefined) expr.push(end);
    if (expr.length === 0) expr.push({ counter: { packets: 0, bytes: 0 } });
    return { expr };
  }

  #end(known: Known, hook: BaseChain["hook"] | undefined, targets: readonly string[]): Statement | undefined {
    const prng = this.#prng;
    switch (prng.below(10)) {
      case 0:
      case 1:
        return { accept: null };
      case 2:
        return { drop: null };
      case 3:
        return targets.length > 0 ? { jump: { target: prng.pick(targets) } } : { continue: null };
      case 4:
        return targets.length > 0 ? { goto: { target: prng.pick(targets) } } : undefined;
      case 5:
        return { return: null };
      case 6:
        return this.#vmap(known, targets);
      case 7: {
        if (hook === undefined || hook === "postrouting") return undefined;
        // The kernel's answers to itself would be counted.
        return hook === "output" && this.#options.timed === "slow" ? undefined : this.#reject(known);
      }
      case 8: // nobody listens there: what may pass by does
        return this.#options.queue && prng.chance(0.5) ? { queue: { num: 0, flags: ["bypass"] } } : undefined;
      default:
        return undefined;
    }
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
    const named = targets.length > 0 && prng.chance(0.5)
      ? this.#sets.pick(({ data }) => data !== undefined && "verdict" in data)
      : undefined;
    if (named !== undefined) {
      const key = this.#sets.keyOf(named, known);
      return key === undefined ? undefined : { vmap: { key, data: `@${named.name}` } };
    }
    const fields = [this.#fields.draw(known)];
    if (prng.chance(0.3)) fields.push(this.#fields.draw(known));
    if (fields.some((each) => each === undefined || each.single || (each.wide && fields.length > 1))) {
      return undefined;
    }
    const ranged = fields.every((each) => each!.ranged);
    const elements = this.#fields.elements(fields.map((each) => each!.draw), ranged).map(
      (element): MapElement => ({ ...element, data: this.#verdict(targets) }),
    );
    const keys = fields.map((each) => each!.expression);
    return { vmap: { key: keys.length === 1 ? keys[0]! : { concat: keys }, data: { set: elements } } };
  }

  #match(known: Known): Statement | undefined {
    const prng = this.#prng;
    const kind = prng.below(12);
    if (this.#options.clockSeconds !== undefined && prng.chance(0.1)) return this.#timeMatch();
    if (kind === 0 && this.#options.tracked) {
      const right = prng.pick([1, 2, 8, 10, 6, 14, 64, 65]);
      return { match: { op: "in", left: { ct: { key: "state" } }, right } };
    }
    if (kind === 2) {
      const set = this.#sets.pick(({ data }) => data === undefined);
      const left = set === undefined ? undefined : this.#sets.keyOf(set, known);
      if (set !== undefined && left !== undefined) {
        return { match: { op: prng.pick(["==", "==", "!="] as const), left, right: `@${set.name}` } };
      }
    }
    if (kind === 3) return this.#maskMatch(known);
    if (kind === 4) return this.#concatMatch(known);
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

  #concatMatch(known: Known): Statement | undefined {
    const prng = this.#prng;
    const fields = [this.#fields.draw(known), this.#fields.draw(known)];
    if (fields.some((each) => each === undefined || each.wide)) return undefined;
    const left: Expression = { concat: fields.map((each) => each!.expression) };
    const draws = fields.map((each) => each!.draw);
    const ranged = fields.every((each) => each!.ranged);
    const right = { set: this.#fields.elements(draws, ranged) };
    return { match: { op: prng.pick(["==", "!="] as const), left, right } };
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

  #maskMatch(known: Known): Statement | undefined {
    const prng = this.#prng;
    const merged = this.#options.unmerged === true && known.compared; // with what stands beside it
    if (!merged && (known.protocol === undefined || known.protocol === "tcp")) {
      known.protocol = "tcp";
      known.compared = true;
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
}
