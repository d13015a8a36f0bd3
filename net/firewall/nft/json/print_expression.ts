import type {
  AnonymousSet,
  Expression,
  Immediate,
  Limit,
  MapElement,
  ObjectName,
  SetElement,
  StatefulStatement,
} from "../schema.ts";
import { inUnits } from "../read/units.ts";
import { typeOf, typesOf, type ValueType } from "../words/selectors.ts";
import { wordsOf } from "../words/value_text.ts";

const NUMBER: ValueType = { type: "integer", bits: 64 };
const VERDICTS = ["accept", "drop", "continue", "return", "jump", "goto"];

/** A literal: words where nft has some. Flags that are one value are joined by `|`, those asked one by one are a list. */
export function printLiteral(value: Immediate, { type }: ValueType, listed = false): unknown {
  const words = wordsOf(value, type);
  if (typeof words !== "object") return words;
  if (words.length === 1) return words[0];
  return listed ? words : { "|": words };
}

/** An expression; literals in it are of type `types`. */
export function printExpression(
  expression: Expression,
  types: readonly ValueType[] = [NUMBER],
  listed = false,
): unknown {
  if (typeof expression !== "object") {
    return typeof expression === "string" && (expression.startsWith("@") || expression === "*")
      ? expression
      : printLiteral(expression, types[0]!, listed);
  }
  if ("concat" in expression) {
    return { concat: expression.concat.map((part, at) => printExpression(part, [types[at] ?? NUMBER])) };
  }
  if ("set" in expression) return printAnonymous(expression, types);
  if ("range" in expression) return { range: expression.range.map((end) => printLiteral(end, types[0]!)) };
  if ("map" in expression) return printMapJson(expression, types);
  if ("tcp option" in expression && /^\d/.test(expression["tcp option"].name)) {
    return { "tcp option": { base: Number(expression["tcp option"].name), offset: 0, len: 8 } };
  }
  if ("jhash" in expression) {
    const { expr, mod, offset, seed } = expression.jhash;
    return { jhash: { mod, ...seed === undefined ? {} : { seed }, offset, expr: printExpression(expr) } };
  }
  for (const op of ["&", "|", "^", "<<", ">>"] as const) {
    if (!(op in expression)) continue;
    const [left, right] = (expression as Record<typeof op, [Expression, Expression]>)[op];
    const type = op === "<<" || op === ">>" ? NUMBER : typeOf(left) ?? types[0]!;
    return { [op]: [printExpression(left, types), printExpression(right, [type], op === "&")] };
  }
  return expression; // selectors are in the schema what they are in JSON
}

export function printMapJson(
  { map }: Extract<Expression, { map: unknown }>,
  data: readonly ValueType[],
): unknown {
  const keys = typesOf(map.key) ?? [NUMBER];
  return {
    map: {
      key: printExpression(map.key),
      data: typeof map.data === "string" ? map.data : printAnonymous(map.data, keys, data),
    },
  };
}

/** An anonymous set or map. */
export function printAnonymous(
  { set }: AnonymousSet,
  types: readonly ValueType[],
  data: readonly ValueType[] = [NUMBER],
): unknown {
  return {
    set: set.map((element) => {
      const key = printElementKey(element, types);
      return "data" in element ? [key, printVerdictOrData(element.data, data)] : key;
    }),
  };
}

/** The key of an element, with what else it says. */
export function printElementKey(element: SetElement | MapElement, types: readonly ValueType[]): unknown {
  const { val, timeout, expires, comment, stmt } = element;
  const key = printExpression(val, types);
  if (timeout === undefined && expires === undefined && comment === undefined && stmt === undefined) {
    return key;
  }
  return {
    elem: {
      val: key,
      ...timeout === undefined ? {} : { timeout },
      ...expires === undefined ? {} : { expires },
      ...comment === undefined ? {} : { comment },
      ...Object.assign({}, ...(stmt ?? []).map(printStatefulJson)),
    },
  };
}

export function printVerdictOrData(data: MapElement["data"], types: readonly ValueType[]): unknown {
  if (typeof data === "object") {
    if ("object" in data) return (data as ObjectName).object;
    if (VERDICTS.some((word) => word in data)) return data;
  }
  return printExpression(data as Expression, types);
}

export function printStatefulJson(statement: StatefulStatement): Record<string, unknown> {
  if ("quota" in statement) {
    const { bytes, used, inv } = statement.quota;
    const [val, val_unit] = inUnits(bytes);
    const [usedValue, used_unit] = inUnits(used);
    return {
      quota: { val, val_unit, ...used === 0 ? {} : { used: usedValue, used_unit }, ...inv ? { inv } : {} },
    };
  }
  if ("limit" in statement) return { limit: limitFields(statement.limit, "rate_unit") };
  if ("ct count" in statement) {
    const { val, inv } = statement["ct count"];
    return { "ct count": { val, ...inv ? { inv } : {} } };
  }
  return { counter: statement.counter };
}

/** The fields of a limit; bytes are in the largest unit that divides them. */
export function limitFields({ rate, per, burst, unit, inv }: Limit, name: "unit" | "rate_unit"): object {
  const over = inv ? { inv } : {};
  if (unit === "packets") return { rate, burst, per, ...over };
  const [value, rateUnit] = inUnits(rate);
  const [size, burst_unit] = inUnits(burst);
  return {
    rate: value,
    burst: size,
    per,
    ...over,
    [name === "unit" ? "rate_unit" : name]: rateUnit,
    burst_unit,
  };
}
