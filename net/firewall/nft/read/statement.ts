import { parseIpv4 } from "../../../wire/address.ts";
import { parseIpv6 } from "../../../wire/ipv6_address.ts";
import type { Expression, Family, MapElement, Match, Nat, SetUpdate, Statement } from "../schema.ts";
import { DATA_TYPES, symbolOf } from "../words/datatypes.ts";
import { STATEMENTS_MAX } from "../words/limits.ts";
import type { ValueType } from "../words/selectors.ts";
import { checkName } from "./names.ts";
import { sorted } from "./sorted.ts";
import { maskAddress, show } from "./value.ts";
import { readMap, readMapData, readRight, readSelector, typesOfKey } from "./expression.ts";
import { checkCtFamily, familyOf, impliedBy } from "./implied.ts";
import { type At, NAT_FLAGS, type Raw, type RawStatement, type Source } from "./raw.ts";

const PORT: ValueType = { type: "inet_service", bits: 16 };
const FAMILY_ADDRESS = {
  ip: { type: "ipv4_addr", bits: 32 },
  ip6: { type: "ipv6_addr", bits: 128 },
} as const satisfies Record<"ip" | "ip6", ValueType>;

/** The statements of a rule in a table of `family`, with what nft adds before those that need it. */
export function readStatements(
  source: Source,
  family: Family,
  raws: readonly RawStatement[],
  at: At,
): Statement[] {
  if (raws.length === 0) source.fail(at, "A rule without a statement");
  if (raws.length > STATEMENTS_MAX) {
    source.fail(raws[STATEMENTS_MAX]!.at, `More than ${STATEMENTS_MAX} statements in a rule`);
  }
  const statements: Statement[] = [];
  const places: At[] = [];
  for (const raw of raws) {
    const last = statements.at(-1);
    if (last !== undefined && endsRule(last)) source.fail(raw.at, "Nothing can stand behind a verdict");
    const statement = readStatement(source, family, raw, statements);
    checkCtFamily(source, family, statement, raw.at);
    const { first, before } = impliedBy(source, family, statements, statement, raw.at);
    statements.unshift(...first);
    statements.push(...before, statement);
    places.unshift(...first.map(() => raw.at));
    places.push(...before.map(() => raw.at), raw.at);
  }
  source.note?.(statements, places);
  return statements;
}

function endsRule(statement: Statement): boolean {
  return [
    "accept",
    "drop",
    "continue",
    "return",
    "jump",
    "goto",
    "reject",
    "snat",
    "dnat",
    "masquerade",
    "redirect",
  ]
    .some((word) => word in statement) || "queue" in statement;
}

function readStatement(
  source: Source,
  family: Family,
  raw: RawStatement,
  before: readonly Statement[],
): Statement {
  switch (raw.kind) {
    case "ready":
      return raw.statement;
    case "match":
      return { match: readMatch(source, raw) };
    case "mangle": {
      const key = readSelector(source, raw.key);
      checkMangled(source, key, raw.key.at);
      const types = typesOfKey(source, key, raw.key.at);
      const value = raw.value.kind === "map"
        ? readMap(source, raw.value, types)
        : readRight(source, raw.value, types);
      if (typeof value === "object" && ("set" in value || "range" in value || "prefix" in value)) {
        source.fail(raw.value.at, "Expected one value");
      }
      return { mangle: { key, value } };
    }
    case "vmap": {
      const key = readSelector(source, raw.key);
      const data = readMapData(
        source,
        raw.data,
        typesOfKey(source, key, raw.key.at),
        (value) => value.kind === "verdict" ? value.verdict : source.fail(value.at, "Expected a verdict"),
      );
      return { vmap: { key, data } };
    }
    case "use":
      return { use: { kind: raw.what, name: readObjectName(source, raw.name) } };
    case "reject":
      return readReject(source, family, raw, before);
    case "nat":
      return { [raw.what]: readNat(source, family, raw) } as unknown as Statement;
    case "queue": {
      const num = raw.num === undefined ? 0 : readRight(source, raw.num, [{ type: "integer", bits: 16 }]);
      if (typeof num !== "number" && !(typeof num === "object" && "range" in num)) {
        source.fail(raw.at, "A queue has a number or a range of them");
      }
      return { queue: { num, flags: sorted(raw.flags, ["bypass", "fanout"]) } };
    }
    case "update":
      return readUpdate(source, raw);
    case "meter": {
      const { name, element, size } = raw;
      if (element.stmt.length !== 1) source.fail(raw.at, "A meter has one limit, quota, counter or ct count");
      const key = readSelector(source, element.key);
      typesOfKey(source, key, element.key.at);
      return {
        meter: {
          name,
          key,
          ...element.timeout === undefined ? {} : { timeout: element.timeout },
          ...size === undefined ? {} : { size },
          stmt: element.stmt[0]!,
        },
      };
    }
  }
}

function readObjectName(source: Source, raw: Raw): string | ReturnType<typeof readMap> {
  if (raw.kind === "word") return checkName(source, raw.text, raw.at);
  if (raw.kind !== "map") return source.fail(raw.at, "Expected a name, or a map that leads to names");
  const key = readSelector(source, raw.key);
  const data = readMapData(
    source,
    raw.data,
    typesOfKey(source, key, raw.key.at),
    (value): MapElement["data"] =>
      value.kind === "word"
        ? { object: checkName(source, value.text, value.at) }
        : source.fail(value.at, "Expected the name of an object"),
  );
  return { map: { key, data } };
}

function checkMangled(source: Source, key: Expression, at: At): void {
  if (typeof key === "object") {
    if ("payload" in key && !("base" in key.payload)) return;
    if ("tcp option" in key && key["tcp option"].field !== undefined) return;
    if ("meta" in key && ["mark", "priority", "nftrace", "pkttype"].includes(key.meta.key)) return;
    if ("ct" in key && ["mark", "zone"].includes(key.ct.key) && key.ct.dir === undefined) return;
  }
  source.fail(at, "This cannot be set");
}

function readMatch(source: Source, raw: Extract<RawStatement, { kind: "match" }>): Match {
  const left = readSelector(source, raw.left);
  const types = typesOfKey(source, left, raw.left.at);
  const type = types[0]!;
  const right = raw.right.kind === "set" && raw.right.items.some(({ data }) => data !== undefined)
    ? source.fail(raw.right.at, "This is a map: verdicts need vmap, values need map")
    : readRight(source, raw.right, types);
  if (types.length > 1 && !isSetLike(right) && !(typeof right === "object" && "concat" in right)) {
    source.fail(raw.right.at, `Expected ${types.length} values joined by dots`);
  }
  const flags = types.length === 1 && DATA_TYPES[type.type].flags === true;
  const isMask = typeof left === "object" && "&" in left;
  const asked = only(right, types);
  const op = raw.op ?? (flags && typeof asked === "number" && !isMask ? "in" : "==");
  if (op === "!") {
    if (!flags || typeof right !== "number") source.fail(raw.at, "Only flags can be asked for with !");
    return { op: "==", left: { "&": [left, right] }, right: 0 };
  }
  if (op === "in" && !(flags && typeof asked === "number")) {
    // JSON: "in" with a set is what others call equality.
    if (isSetLike(right)) return { op: "==", left, right: asked };
    source.fail(raw.at, `Only flags can be asked for one by one, and ${type.type} has none`);
  }
  if (op !== "==" && op !== "!=" && op !== "in" && typeof right !== "number" && !isAddress(right, type)) {
    source.fail(raw.at, `Only numbers and addresses are greater or less, and this is ${show(right)}`);
  }
  return tidy({ op, left, right: asked }, type);
}

function isAddress(right: Expression, type: ValueType): boolean {
  const { base } = DATA_TYPES[type.type];
  return (base === "ipv4" || base === "ipv6") && typeof right === "string" && !right.startsWith("@");
}

function isSetLike(right: Expression): boolean {
  return (typeof right === "object" && "set" in right) ||
    (typeof right === "string" && right.startsWith("@"));
}

/** An anonymous set of one is that one, as nft has it. */
function only(right: Expression, types: readonly ValueType[]): Expression {
  if (types.length > 1 || typeof right !== "object" || !("set" in right) || right.set.length !== 1) {
    return right;
  }
  const [element] = right.set;
  return Object.keys(element!).length === 1 && element!.val !== "*" ? element!.val : right;
}

/** The one spelling of a match that has several. */
function tidy(match: Match, type: ValueType): Match {
  const { op, left, right } = match;
  if (typeof left === "object" && "fib" in left && left.fib.result !== "type" && right === 0) {
    if (op === "==") return { op, left, right: false };
    if (op === "!=") return { op: "==", left, right: true };
  }
  if (typeof left !== "object" || !("&" in left) || (op !== "==" && op !== "!=")) return match;
  const [of, mask] = left["&"];
  if (op === "!=" && right === 0 && DATA_TYPES[type.type].flags === true && typeof mask === "number") {
    return { op: "in", left: of, right: mask };
  }
  if (isAddress(mask, type) && isAddress(right, type)) {
    for (let length = 0; length <= type.bits; length++) {
      const ones = type.bits === 32 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
      if (maskAddress(ones, length, type.bits) !== mask) continue;
      const addr = maskAddress(right as string, length, type.bits)!;
      if (addr !== right) return match;
      return { op, left: of, right: length === type.bits ? addr : { prefix: { addr, len: length } } };
    }
  }
  return match;
}

function readReject(
  source: Source,
  family: Family,
  raw: Extract<RawStatement, { kind: "reject" }>,
  before: readonly Statement[],
): Statement {
  const known = family === "inet" ? familyOf(before) : family;
  const own = known === "ip" ? "icmp" : known === "ip6" ? "icmpv6" : "icmpx";
  const type = raw.type ?? own;
  if (type === "tcp reset") return { reject: { type } };
  if (type !== own && family !== "inet") {
    // icmpx is translated; the other family's is a mistake.
    if (type !== "icmpx") source.fail(raw.at, `A table of family ${family} rejects with ${own}`);
  }
  const codes = { icmp: "icmp_code", icmpv6: "icmpv6_code", icmpx: "icmpx_code" } as const;
  const codeType = codes[type];
  const expr = raw.code === undefined
    ? DATA_TYPES[codeType].symbols!["port-unreachable"]!
    : readRight(source, raw.code, [{ type: codeType, bits: 8 }]);
  if (typeof expr !== "number" || symbolOf(codeType, expr) === undefined) {
    return source.fail(raw.code?.at ?? raw.at, "Expected the code of an ICMP error");
  }
  if (codeType === "icmp_code" && expr === 4) {
    source.fail(raw.code!.at, "frag-needed is for packets that are too long, not for rules");
  }
  return { reject: { type, expr } };
}

function readNat(source: Source, family: Family, raw: Extract<RawStatement, { kind: "nat" }>): Nat {
  const flags = sorted(raw.flags, NAT_FLAGS);
  const port = raw.port === undefined ? {} : { port: readTarget(source, raw.port, [PORT]) };
  if (raw.addr === undefined) {
    if (raw.what === "snat" || raw.what === "dnat") source.fail(raw.at, `${raw.what} needs an address`);
    return { ...port, flags };
  }
  const own = family === "inet" ? raw.family ?? familyOfAddress(raw.addr) : family;
  if (own === undefined) {
    return source.fail(
      raw.at,
      `In a table of family inet ${raw.what} says of which: "${raw.what} ip to ..."`,
    );
  }
  if (raw.family !== undefined && raw.family !== own) {
    source.fail(raw.at, `A table of family ${family} has no addresses of ${raw.family}`);
  }
  const type: ValueType = FAMILY_ADDRESS[own];
  return { addr: readTarget(source, raw.addr, [type], [type, PORT]), family: own, ...port, flags };
}

/** The family of an address that is written out. */
function familyOfAddress(raw: Raw): "ip" | "ip6" | undefined {
  if (raw.kind === "range") return familyOfAddress(raw.low);
  if (raw.kind === "prefix") return familyOfAddress(raw.address);
  return raw.kind === "word" ? raw.text.includes(":") ? "ip6" : "ip" : undefined;
}

/** An address, or a map that gives one; where a map's values are concatenations they have types `both`. */
function readTarget(
  source: Source,
  raw: Raw,
  types: readonly ValueType[],
  both: readonly ValueType[] = types,
): Expression {
  if (raw.kind === "map") {
    const first = raw.data.kind === "set" ? raw.data.items[0]?.data : undefined;
    return readMap(source, raw, first?.kind === "concat" ? both : types);
  }
  if (raw.kind === "set" || raw.kind === "reference") {
    return source.fail(raw.at, "Expected one address or port, a range of them or a map");
  }
  return raw.kind === "concat" ? readRight(source, raw, both) : readRight(source, raw, types);
}

/** Something of the packet, and constants beside it, whose types the set says when rules are linked. */
function readUpdated(source: Source, raw: Raw): Expression {
  if (raw.kind === "concat" && raw.items.some(({ kind }) => kind === "number" || kind === "word")) {
    return { concat: raw.items.map((item) => readUpdatedPart(source, item)) };
  }
  const key = readSelector(source, raw);
  typesOfKey(source, key, raw.at);
  return key;
}

function readUpdatedPart(source: Source, raw: Raw): Expression {
  if (raw.kind === "number") return raw.value;
  if (raw.kind !== "word") return readUpdated(source, raw);
  const { text } = raw;
  if (parseIpv4(text) !== undefined || parseIpv6(text) !== undefined) return text;
  return source.fail(raw.at, `Found "${text}", expected a number, an address, or something of the packet`);
}

function readUpdate(source: Source, raw: Extract<RawStatement, { kind: "update" }>): Statement {
  const { op, name, element } = raw;
  const elem = readUpdated(source, element.key);
  const { timeout, comment, stmt, data } = element;
  const rest: Omit<SetUpdate, "set"> = {
    op,
    elem,
    ...timeout === undefined ? {} : { timeout },
    ...comment === undefined ? {} : { comment },
    stmt,
  };
  if (data === undefined) return { set: { ...rest, set: `@${name}` } };
  const value = data.kind === "verdict"
    ? data.verdict
    : data.kind === "selector" || data.kind === "binary" || data.kind === "map" || data.kind === "jhash"
    ? readSelector(source, data)
    : readRight(source, data, [{ type: "mark", bits: 32 }]);
  return { map: { ...rest, map: `@${name}`, data: value } };
}
