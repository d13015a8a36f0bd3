import { CT_KNOWN, EXTENSIONS, HEADERS, META_KNOWN, TCP_OPTIONS } from "../../net/firewall/nft/fields.ts";
import type {
  DataType,
  Expression,
  Match,
  MetaKey,
  NamedSet,
  Nat,
  PayloadProtocol,
  Reject,
  Ruleset,
  StatefulStatement,
  Statement,
} from "../../net/firewall/nft/schema.ts";
import { CT_KEYS } from "../../net/firewall/nft/words/selectors.ts";

/** The kinds of a union of objects that have one field each: a kind that is new is missing below until it is named. */
type Kinds<T> = T extends object ? keyof T & string : never;

const STATEMENTS: Record<Exclude<Kinds<Statement>, "match" | "mangle">, true> = {
  ...{ accept: true, drop: true, continue: true, return: true, jump: true, goto: true },
  ...{ counter: true, quota: true, limit: true, "ct count": true, use: true },
  ...{ reject: true, log: true, vmap: true, set: true, map: true, meter: true, queue: true, notrack: true },
  ...{ snat: true, dnat: true, masquerade: true, redirect: true, names: true },
};
const EXPRESSIONS: Record<
  Exclude<Kinds<Expression>, "payload" | "exthdr" | "tcp option" | "meta" | "ct" | "fib" | "rt" | "numgen">,
  true
> = {
  ...{ concat: true, set: true, map: true, prefix: true, range: true, jhash: true, symhash: true },
  ...{ "|": true, "^": true, "&": true, "<<": true, ">>": true },
};
const OPERATORS: Record<Match["op"], true> = {
  ...{ "==": true, "!=": true, "<": true, ">": true, "<=": true, ">=": true, in: true },
};
const REJECTIONS: Record<Reject["type"], true> = { "tcp reset": true, icmp: true, icmpv6: true, icmpx: true };
const STATEFUL: Record<Kinds<StatefulStatement>, true> = {
  ...{ counter: true, quota: true, limit: true, "ct count": true },
};
const NAT_FLAGS: Record<Nat["flags"][number], true> = {
  ...{ random: true, "fully-random": true, persistent: true, netmap: true },
};

/** Everything that a rule set may be made of, a word each: fields, keys, operators, statements, and what sets may be. */
export function grammar(): Set<string> {
  const words = new Set<string>();
  const add = (...each: readonly string[]): void => each.forEach((word) => words.add(word));
  for (const [protocol, { fields }] of Object.entries(HEADERS)) {
    add(...Object.keys(fields).map((field) => `${protocol} ${field}`));
  }
  for (const [name, { fields }] of Object.entries(TCP_OPTIONS)) {
    const block = /^sack\d/.test(name); // further blocks of one option
    const own = Object.keys(fields).filter((field) => !block || field === "left" || field === "right");
    add(...own.map((field) => `tcp option ${name} ${field}`));
    if (!block) add(`tcp option ${name} exists`);
  }
  for (const [name, { fields }] of Object.entries(EXTENSIONS)) {
    add(`exthdr ${name} exists`, ...Object.keys(fields).map((field) => `${name} ${field}`));
  }
  add("@nh", "@th", "rt mtu", "numgen inc", "numgen random", "exists", "missing");
  add(...[...META_KNOWN].map((key) => `meta ${key}`));
  for (const key of CT_KNOWN) {
    const { direction } = CT_KEYS[key];
    if (direction !== true) add(`ct ${key}`);
    if (direction !== false && key !== "l3proto" && key !== "protocol" && key !== "zone") {
      add(`ct original ${key}`, `ct reply ${key}`);
    }
  }
  for (const end of ["saddr", "daddr"]) {
    add(`fib ${end} type`, `fib ${end} . iif type`, `fib ${end} . oif type`, `fib ${end} . mark type`);
    add(`fib ${end} oif`, `fib ${end} . iif oif`, `fib ${end} oifname`, `fib ${end} . iif oifname`);
  }
  add(...Object.keys(EXPRESSIONS), ...Object.keys(OPERATORS), ...Object.keys(STATEMENTS));
  add(...Object.keys(REJECTIONS).map((type) => `reject ${type}`));
  add(...["packets", "bytes"].flatMap((unit) => [`limit ${unit}`, `limit over ${unit}`]), "quota over");
  add(...["second", "minute", "hour", "day", "week"].map((per) => `limit per ${per}`));
  add("counter of name", "quota of name", "limit of name", "counter of map", "quota of map", "limit of map");
  add("set meta mark", "set meta priority", "set meta nftrace", "set ct mark", "set ct zone");
  add("set tcp option maxseg size");
  for (const field of ["ttl", "dscp", "ecn", "id"]) add(`set ip ${field}`);
  for (const field of ["hoplimit", "dscp", "ecn", "flowlabel"]) add(`set ip6 ${field}`);
  add("vmap of name", "map of name", "any", "element timeout");
  for (const op of ["add", "update", "delete"]) add(`${op} set`, `${op} map`);
  add(...Object.keys(STATEFUL).map((kind) => `element ${kind}`));
  add(...Object.keys(NAT_FLAGS).map((flag) => `nat ${flag}`));
  add("nat range", "nat map", "nat addr . port", "nat port", "nat port range", "nat port map");
  for (const hook of ["prerouting", "input", "forward", "output", "postrouting"]) add(`filter ${hook}`);
  for (const hook of ["prerouting", "input", "output", "postrouting"]) add(`nat ${hook}`);
  add("route output", "policy accept", "policy drop", "dormant", "table ip", "table ip6", "table inet");
  for (const kind of ["set", "interval", "timeout", "dynamic", "auto-merge", "size"]) add(`named ${kind}`);
  add(
    "named map",
    "named map of verdicts",
    "named map of counter",
    "named map of quota",
    "named map of limit",
  );
  for (const type of TYPES) add(`type ${type}`);
  return words;
}

/** Types of keys of named sets that fields are of which can be known. */
const TYPES: readonly DataType[] = [
  ...["ipv4_addr", "ipv6_addr", "inet_proto", "inet_service", "mark", "ifname"] as const,
];

/** The words of `grammar` that a rule set has. */
export function wordsIn(ruleset: Ruleset): Set<string> {
  const words = new Set<string>();
  for (const { family, dormant, chains, sets } of ruleset.tables) {
    words.add(`table ${family}`);
    if (dormant) words.add("dormant");
    sets.forEach((set) => visitSet(set, words));
    for (const { base, rules } of chains) {
      if (base !== undefined) words.add(`${base.type} ${base.hook}`).add(`policy ${base.policy}`);
      for (const { expr } of rules) for (const statement of expr) visitStatement(statement, words);
    }
  }
  return words;
}

function visitSet(set: NamedSet, words: Set<string>): void {
  words.add(set.data === undefined ? "named set" : "named map");
  for (const flag of set.flags) words.add(`named ${flag}`);
  if (set.autoMerge) words.add("named auto-merge");
  if (set.size !== undefined) words.add("named size");
  for (const type of set.type) words.add(`type ${type}`);
  if (set.data !== undefined && "verdict" in set.data) words.add("named map of verdicts");
  if (set.data !== undefined && "object" in set.data) words.add(`named map of ${set.data.object}`);
  visitStates(set.stmt, words);
  for (const element of set.elem) {
    if (element.val === "*") words.add("any");
    if (element.timeout !== undefined) words.add("element timeout");
    visitExpression(element.val, words);
  }
}

function visitStates(states: readonly StatefulStatement[], words: Set<string>): void {
  for (const state of states) words.add(`element ${Object.keys(state)[0]}`);
}

function visitStatement(statement: Statement, words: Set<string>): void {
  if ("match" in statement) {
    const { op, left, right } = statement.match;
    words.add(op);
    if (typeof right === "boolean") words.add(right ? "exists" : "missing");
    [left, right].forEach((each) => visitExpression(each, words));
    return;
  }
  if ("mangle" in statement) {
    const { key, value } = statement.mangle;
    const written = new Set<string>();
    visitExpression(key, written);
    for (const word of written) words.add(`set ${word}`);
    return visitExpression(value, words);
  }
  words.add(Object.keys(statement)[0]!);
  if ("limit" in statement) {
    const { inv, unit, per } = statement.limit;
    words.add(`limit ${inv ? "over " : ""}${unit}`).add(`limit per ${per}`);
  }
  if ("quota" in statement && statement.quota.inv) words.add("quota over");
  if ("reject" in statement) words.add(`reject ${statement.reject.type}`);
  if ("use" in statement) {
    const { kind, name } = statement.use;
    words.add(`${kind} of ${typeof name === "string" ? "name" : "map"}`);
  }
  if ("vmap" in statement) {
    const { key, data } = statement.vmap;
    if (typeof data === "string") words.add("vmap of name");
    visitExpression(key, words);
  }
  const update = "set" in statement ? statement.set : "map" in statement ? statement.map : undefined;
  if (update !== undefined) {
    words.add(`${update.op} ${"set" in statement ? "set" : "map"}`);
    if (update.timeout !== undefined) words.add("element timeout");
    visitExpression(update.elem, words);
    visitStates(update.stmt, words);
  }
  for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
    if (kind in statement) visitNat((statement as Record<typeof kind, Nat>)[kind], words);
  }
}

function visitNat({ addr, port, flags }: Nat, words: Set<string>): void {
  for (const flag of flags) words.add(`nat ${flag}`);
  if (typeof addr === "object" && "range" in addr) words.add("nat range");
  if (typeof addr === "object" && "map" in addr) {
    const { data } = addr.map;
    const both = typeof data === "object" &&
      data.set.some((each) => "data" in each && typeof each.data === "object" && "concat" in each.data);
    words.add(both ? "nat addr . port" : "nat map");
  }
  if (port !== undefined) words.add("nat port");
  if (typeof port === "object" && "range" in port) words.add("nat port range");
  if (typeof port === "object" && "map" in port) words.add("nat port map");
}

function visitExpression(expression: Expression, words: Set<string>): void {
  if (typeof expression !== "object") return;
  if ("payload" in expression) {
    const { payload } = expression;
    words.add(
      "base" in payload
        ? `@${payload.base}`
        : `${payload.protocol satisfies PayloadProtocol} ${payload.field}`,
    );
  } else if ("exthdr" in expression || "tcp option" in expression) {
    const kind = "exthdr" in expression ? "exthdr" : "tcp option";
    const { name, field } = (expression as Record<string, { name: string; field?: string }>)[kind]!;
    words.add(
      field === undefined
        ? `${kind} ${name} exists`
        : kind === "exthdr"
        ? `${name} ${field}`
        : `${kind} ${name} ${field}`,
    );
  } else if ("meta" in expression) words.add(`meta ${expression.meta.key satisfies MetaKey}`);
  else if ("ct" in expression) {
    const { key, dir } = expression.ct;
    words.add(dir === undefined ? `ct ${key}` : `ct ${dir} ${key}`);
  } else if ("fib" in expression) {
    words.add(`fib ${expression.fib.flags.join(" . ")} ${expression.fib.result}`);
  } else if ("rt" in expression) words.add("rt mtu");
  else if ("numgen" in expression) words.add(`numgen ${expression.numgen.mode}`);
  else {
    const [[kind, inner]] = Object.entries(expression) as [[string, unknown]];
    words.add(kind);
    if ("map" in expression) {
      const { key, data } = expression.map;
      if (typeof data === "string") words.add("map of name");
      visitExpression(key, words);
    } else if ("set" in expression) expression.set.forEach(({ val }) => visitExpression(val, words));
    else if (Array.isArray(inner)) inner.forEach((each) => visitExpression(each as Expression, words));
  }
}
