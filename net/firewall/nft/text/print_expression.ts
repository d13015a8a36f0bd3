import type {
  AnonymousSet,
  Expression,
  Immediate,
  MapElement,
  ObjectName,
  SetElement,
  SetReference,
  StatefulStatement,
  Verdict,
} from "../schema.ts";
import { inUnits } from "../read/units.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import { PAYLOAD_ALIASES, typeOf, typesOf, type ValueType } from "../words/selectors.ts";
import { formatDuration } from "../words/times.ts";
import { wordsOf } from "../words/value_text.ts";

const NUMBER: ValueType = { type: "integer", bits: 64 };
/** Meta keys that nft prints alone. */
const BARE: readonly string[] = ["iif", "iifname", "oif", "oifname", "iifgroup", "oifgroup"];
const QUOTED: readonly string[] = ["ifname", "iface_index", "string", "day", "hour", "date"];

/** Fields under the names that nft reads, where it prints others. */
const READABLE: ReadonlyMap<string, string> = new Map(
  Object.entries(PAYLOAD_ALIASES).map(([word, field]) => [`${word.split(" ")[0]} ${field}`, word]),
);

/** Flags stand behind one another: `syn,ack` where they are asked one by one, `syn | ack` where they are one value. */
export type Joint = "," | " | ";

/** A literal as nft writes it. */
export function printValue(value: Immediate, { type }: ValueType, joint: Joint = " | "): string {
  if (typeof value === "boolean") return value ? "exists" : "missing";
  const words = wordsOf(value, type);
  if (typeof words === "object") return QUOTED.includes(type) ? `"${words[0]}"` : words.join(joint);
  if (typeof words === "string") return QUOTED.includes(type) ? `"${words}"` : words;
  const { print } = DATA_TYPES[type];
  if (print === "hex8") return `0x${(words as number).toString(16).padStart(8, "0")}`;
  if (print === "hex2") return `0x${(words as number).toString(16).padStart(2, "0")}`;
  return String(words);
}

/** An expression; literals in it are of type `types`. */
export function printExpression(
  expression: Expression,
  types: readonly ValueType[] = [NUMBER],
  joint?: Joint,
): string {
  if (typeof expression !== "object") {
    if (expression === "*") return "*";
    return typeof expression === "string" && expression.startsWith("@")
      ? expression
      : printValue(expression, types[0]!, joint);
  }
  if ("concat" in expression) {
    return expression.concat.map((part, at) => printExpression(part, [types[at] ?? NUMBER])).join(" . ");
  }
  if ("set" in expression) return printSet(expression, types);
  if ("range" in expression) {
    const [low, high] = expression.range;
    return `${printValue(low, types[0]!)}-${printValue(high, types[0]!)}`;
  }
  if ("prefix" in expression) return `${expression.prefix.addr}/${expression.prefix.len}`;
  if ("map" in expression) return printMap(expression.map, types);
  if ("payload" in expression) {
    const { payload } = expression;
    if ("base" in payload) return `@${payload.base},${payload.offset},${payload.len}`;
    const word = `${payload.protocol} ${payload.field}`;
    return READABLE.get(word) ?? word;
  }
  if ("meta" in expression) {
    const { key } = expression.meta;
    return BARE.includes(key) ? key : `meta ${key}`;
  }
  if ("ct" in expression) {
    const { key, dir } = expression.ct;
    return dir === undefined ? `ct ${key}` : `ct ${dir} ${key}`;
  }
  if ("exthdr" in expression) {
    const { name, field } = expression.exthdr;
    return field === undefined ? `exthdr ${name}` : `${name} ${field}`;
  }
  if ("tcp option" in expression) {
    const { name, field } = expression["tcp option"];
    return field === undefined ? `tcp option ${name}` : `tcp option ${name} ${field}`;
  }
  if ("fib" in expression) return `fib ${expression.fib.flags.join(" . ")} ${expression.fib.result}`;
  if ("rt" in expression) return `rt ${expression.rt.key}`;
  if ("numgen" in expression) {
    const { mode, mod, offset } = expression.numgen;
    return `numgen ${mode} mod ${mod}${offset === 0 ? "" : ` offset ${offset}`}`;
  }
  if ("symhash" in expression) {
    const { mod, offset } = expression.symhash;
    return `symhash mod ${mod}${offset === 0 ? "" : ` offset ${offset}`}`;
  }
  if ("jhash" in expression) {
    const { expr, mod, offset, seed } = expression.jhash;
    const seeded = seed === undefined ? "" : ` seed 0x${seed.toString(16)}`;
    return `jhash ${printExpression(expr)} mod ${mod}${seeded}${offset === 0 ? "" : ` offset ${offset}`}`;
  }
  return printBinary(expression, types);
}

function printBinary(expression: Expression, types: readonly ValueType[]): string {
  for (const op of ["&", "|", "^", "<<", ">>"] as const) {
    if (!(op in (expression as object))) continue;
    const [left, right] = (expression as Record<typeof op, [Expression, Expression]>)[op];
    const type = typeOf(left) ?? types[0]!;
    const shift = op === "<<" || op === ">>";
    const operand = printExpression(right, [shift ? NUMBER : type]);
    const inner = printExpression(left, [type]);
    const nested = typeof left === "object" && ["&", "|", "^", "<<", ">>"].some((one) => one in left);
    return `${nested ? `(${inner})` : inner} ${op} ${/[ ,]/.test(operand) ? `(${operand})` : operand}`;
  }
  return "";
}

/** `ip saddr map { 10.0.0.1 : 5 }`; values of an anonymous map are of types `data`. */
export function printMap(
  map: { key: Expression; data: SetReference | AnonymousSet },
  data: readonly ValueType[],
): string {
  const keys = typesOf(map.key) ?? [NUMBER];
  const elements = typeof map.data === "string" ? map.data : printSet(map.data, keys, data);
  return `${printExpression(map.key)} map ${elements}`;
}

export function printSet(
  { set }: AnonymousSet,
  types: readonly ValueType[],
  data: readonly ValueType[] = [NUMBER],
): string {
  return set.length === 0
    ? "{ }"
    : `{ ${set.map((element) => printElement(element, types, data)).join(", ")} }`;
}

/** An element of a set or map whose keys and data are of those types. */
export function printElement(
  element: SetElement | MapElement,
  types: readonly ValueType[],
  data: readonly ValueType[],
): string {
  const { val, timeout, expires, comment, stmt } = element;
  const words = [
    printExpression(val, types),
    ...(stmt ?? []).map(printStateful),
    ...timeout === undefined ? [] : [`timeout ${formatDuration(timeout)}`],
    ...expires === undefined ? [] : [`expires ${formatDuration(expires)}`],
    ...comment === undefined ? [] : [`comment "${comment}"`],
    ...("data" in element ? [`: ${printData(element.data, data)}`] : []),
  ];
  return words.join(" ");
}

export function printData(data: MapElement["data"], types: readonly ValueType[]): string {
  if (typeof data === "object") {
    if ("object" in data) return `"${(data as ObjectName).object}"`;
    const verdict = printVerdict(data as Verdict);
    if (verdict !== undefined) return verdict;
  }
  return printExpression(data as Expression, types);
}

export function printVerdict(verdict: object): string | undefined {
  for (const word of ["accept", "drop", "continue", "return"]) if (word in verdict) return word;
  for (const word of ["jump", "goto"] as const) {
    if (word in verdict) {
      return `${word} ${(verdict as Record<typeof word, { target: string }>)[word].target}`;
    }
  }
  return undefined;
}

export function printStateful(statement: StatefulStatement): string {
  if ("counter" in statement) {
    return `counter packets ${statement.counter.packets} bytes ${statement.counter.bytes}`;
  }
  if ("quota" in statement) return `quota ${printQuota(statement.quota)}`;
  if ("limit" in statement) return `limit ${printLimit(statement.limit)}`;
  const { val, inv } = statement["ct count"];
  return `ct count ${inv ? "over " : ""}${val}`;
}

export function printQuota({ bytes, used, inv }: { bytes: number; used: number; inv: boolean }): string {
  return `${inv ? "over " : ""}${printBytes(bytes)}${used === 0 ? "" : ` used ${printBytes(used)}`}`;
}

export function printLimit(
  { rate, per, burst, unit, inv }: { rate: number; per: string; burst: number; unit: string; inv: boolean },
): string {
  const over = inv ? "over " : "";
  if (unit === "packets") return `rate ${over}${rate}/${per} burst ${burst} packets`;
  return `rate ${over}${printBytes(rate)}/${per}${burst === 0 ? "" : ` burst ${printBytes(burst)}`}`;
}

function printBytes(bytes: number): string {
  const [value, unit] = inUnits(bytes);
  return `${value} ${unit}`;
}
