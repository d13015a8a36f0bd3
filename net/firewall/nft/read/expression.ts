import type {
  AnonymousSet,
  Expression,
  Immediate,
  MapElement,
  MapExpression,
  SetElement,
  SetReference,
} from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import { CONCAT_MAX, ELEMENTS_MAX } from "../words/limits.ts";
import { typeOf, typesOf, type ValueType } from "../words/selectors.ts";
import { isRising, orderElements, type Overlaps, tidyKey } from "./elements.ts";
import type { At, BinaryOp, Raw, RawElement, Source } from "./raw.ts";
import { maskAddress, readValue } from "./value.ts";

/** What map elements lead to. */
export type DataReader = (data: NonNullable<RawElement["data"]>) => MapElement["data"];

/** Something of the packet, or a computation on it: what may stand on the left of a match. */
export function readSelector(source: Source, raw: Raw): Expression {
  switch (raw.kind) {
    case "selector":
      return raw.expression;
    case "concat":
      return { concat: parts(source, raw.items, raw.at).map((part) => readSelector(source, part)) };
    case "jhash": {
      const { mod, offset, seed } = raw;
      const expr = readSelector(source, raw.of);
      return { jhash: { expr, mod, offset, ...seed === undefined ? {} : { seed } } };
    }
    case "binary": {
      const left = readSelector(source, raw.left);
      return fold(raw.op, left, operand(source, raw.right, raw.op, typeOf(left)));
    }
    case "map":
      return readMap(source, raw);
    default:
      return source.fail(raw.at, 'Expected something that packets have, as in "ip saddr"');
  }
}

/** The type of what stands on the left, or an error that it has none. */
export function typesOfKey(source: Source, key: Expression, at: At): ValueType[] {
  return typesOf(key) ?? source.fail(at, "This cannot be compared with anything");
}

/** The right side of an operation: `tcp flags & (fin | syn)`, `ip saddr & 255.255.0.0`, `<< 8`. */
function operand(source: Source, raw: Raw, op: BinaryOp, type: ValueType | undefined): Expression {
  if (op === "<<" || op === ">>") return readValue(source, raw, { type: "integer", bits: 6 });
  return readRight(source, raw, [type ?? { type: "integer", bits: 32 }]);
}

/** What something is compared with or set to: values of the type of the left side, or something of the packet. */
export function readRight(source: Source, raw: Raw, types: readonly ValueType[]): Expression {
  const type = types[0]!;
  switch (raw.kind) {
    case "reference":
      return `@${raw.name}`;
    case "set":
      return readSet(source, raw, types, "anonymous");
    case "concat": {
      if (raw.items.length !== types.length) {
        source.fail(raw.at, `${raw.items.length} parts, expected ${types.length}`);
      }
      return { concat: raw.items.map((part, index) => readRight(source, part, [types[index]!])) };
    }
    case "list":
      return raw.items.reduce((bits, item) => or(bits, flag(source, item, type)), 0);
    case "prefix": {
      const address = readValue(source, raw.address, type);
      if (typeof address === "number" && DATA_TYPES[type.type].base === "number") {
        // nft lists intervals of numbers so, where they happen to be prefixes.
        if (raw.length > type.bits) source.fail(raw.at, `A prefix has 0 to ${type.bits} bits`);
        const size = 2 ** (type.bits - raw.length);
        const low = address - address % size;
        return size === 1 ? low : { range: [low, low + size - 1] };
      }
      const masked = typeof address === "string" && (type.type === "ipv4_addr" || type.type === "ipv6_addr")
        ? maskAddress(address, raw.length, type.bits)
        : source.fail(raw.at, "Only addresses and numbers have prefixes");
      if (masked === undefined) source.fail(raw.at, `A prefix has 0 to ${type.bits} bits`);
      return raw.length === type.bits ? masked : { prefix: { addr: masked, len: raw.length } };
    }
    case "range":
      return readRange(source, raw, type);
    case "binary": {
      const left = readRight(source, raw.left, types);
      return fold(raw.op, left, operand(source, raw.right, raw.op, type));
    }
    case "any":
      return source.fail(raw.at, "A * stands for all other keys of a set or map, and only there");
    case "word":
    case "number":
    case "boolean":
      return readValue(source, raw, type);
    default: {
      const expression = readSelector(source, raw);
      const given = typeOf(expression);
      if (
        given !== undefined &&
        (given.type !== type.type && given.type !== "integer" && type.type !== "integer")
      ) {
        source.fail(raw.at, `This is of type ${given.type}, expected ${type.type}`);
      }
      return expression;
    }
  }
}

function readRange(
  source: Source,
  raw: Extract<Raw, { kind: "range" }>,
  type: ValueType,
): Expression {
  const low = readValue(source, raw.low, type);
  const high = readValue(source, raw.high, type);
  if (DATA_TYPES[type.type].base === "text") source.fail(raw.at, "Names have no ranges");
  if (!isRising(low, high, type)) source.fail(raw.at, "The range ends before it begins");
  return { range: [low, high] };
}

function flag(source: Source, raw: Raw, type: ValueType): number {
  if (DATA_TYPES[type.type].flags === undefined) {
    source.fail(
      raw.at,
      `Several values need braces: only flags may be listed without, and ${type.type} has none`,
    );
  }
  return readRight(source, raw, [type]) as number;
}

/** Bits of numbers up to 53 bits: JavaScript's own operators know 32. */
function or(one: number, other: number): number {
  return Number(BigInt(one) | BigInt(other));
}

function fold(op: BinaryOp, left: Expression, right: Expression): Expression {
  if (typeof left === "number" && typeof right === "number") {
    const [one, other] = [BigInt(left), BigInt(right)];
    const all = BigInt.asUintN(
      53,
      op === "|"
        ? one | other
        : op === "&"
        ? one & other
        : op === "^"
        ? one ^ other
        : op === "<<"
        ? one << other
        : one >> other,
    );
    return Number(all);
  }
  // nft writes (x & 0xff) | 0x100 as (x & 0x1ff) | 0x100, which is the same.
  if (
    op === "|" && typeof right === "number" && typeof left === "object" && "&" in left &&
    typeof left["&"][1] === "number"
  ) {
    return { "|": [{ "&": [left["&"][0], or(left["&"][1], right)] }, right] };
  }
  return { [op]: [left, right] } as unknown as Expression;
}

/** A map and the value that a key leads to; data of anonymous maps is of types `data`. */
export function readMap(
  source: Source,
  raw: Extract<Raw, { kind: "map" }>,
  data?: readonly ValueType[],
): MapExpression {
  const key = readSelector(source, raw.key);
  if (raw.data.kind === "reference") return { map: { key, data: `@${raw.data.name}` } };
  if (raw.data.kind !== "set") source.fail(raw.data.at, "Expected a map: @name or { key : value, ... }");
  if (data === undefined) source.fail(raw.data.at, "Nothing says of which type the values of this map are");
  const readData: DataReader = (value) =>
    value.kind === "verdict"
      ? source.fail(value.at, "Verdicts stand in a vmap")
      : readRight(source, value, data);
  return {
    map: { key, data: readSet(source, raw.data, typesOfKey(source, key, raw.key.at), "refuse", readData) },
  };
}

/** The map of a `vmap`, or another map whose data `readData` reads. */
export function readMapData(
  source: Source,
  raw: Raw,
  types: readonly ValueType[],
  readData: DataReader,
): SetReference | AnonymousSet {
  if (raw.kind === "reference") return `@${raw.name}`;
  if (raw.kind !== "set") return source.fail(raw.at, "Expected a map: @name or { key : value, ... }");
  return readSet(source, raw, types, "refuse", readData);
}

function readSet(
  source: Source,
  raw: Extract<Raw, { kind: "set" }>,
  types: readonly ValueType[],
  overlaps: Overlaps,
  readData?: DataReader,
): AnonymousSet {
  const timed = raw.items.find(({ timeout }) => timeout !== undefined);
  if (timed !== undefined) source.fail(timed.at, "Elements with timeouts stand in sets with names");
  const set = readElements(source, raw.items, types, overlaps, readData);
  if (set.length === 0) source.fail(raw.at, "A set without elements, expected one at least");
  return { set };
}

/** Elements in their order. Sets among them, as variables bring them, are their elements. */
export function readElements(
  source: Source,
  items: readonly RawElement[],
  types: readonly ValueType[],
  overlaps: Overlaps,
  readData?: DataReader,
): (SetElement | MapElement)[] {
  const flat: RawElement[] = [];
  const flatten = (some: readonly RawElement[]): void => {
    for (const item of some) {
      if (item.key.kind === "set" && item.data === undefined) flatten(item.key.items);
      else if (flat.length < ELEMENTS_MAX) flat.push(item);
      else source.fail(item.at, `More than ${ELEMENTS_MAX} elements`);
    }
  };
  flatten(items);
  const read = flat.map((item) => ({ element: readElement(source, item, types, readData), at: item.at }));
  return orderElements(source, read, types, overlaps);
}

function readElement(
  source: Source,
  item: RawElement,
  types: readonly ValueType[],
  readData?: DataReader,
): SetElement | MapElement {
  const val = readKey(source, item.key, types);
  const { timeout, expires, comment, stmt, data } = item;
  const element: SetElement = {
    val,
    ...timeout === undefined ? {} : { timeout },
    ...expires === undefined ? {} : { expires },
    ...comment === undefined ? {} : { comment },
    ...stmt.length === 0 ? {} : { stmt },
  };
  if (readData === undefined) {
    if (data !== undefined) {
      source.fail(data.at, "Elements of sets lead to nothing: only maps have values behind a colon");
    }
    return element;
  }
  if (data === undefined) return source.fail(item.at, "Expected key : value, as this is a map");
  return { ...element, data: readData(data) };
}

/** The key of an element: a literal, with intervals. */
export function readKey(source: Source, raw: Raw, types: readonly ValueType[]): Expression {
  if (raw.kind === "any") return "*";
  if (raw.kind === "reference" || raw.kind === "set" || raw.kind === "map" || raw.kind === "selector") {
    source.fail(raw.at, "An element is a value, a prefix or a range");
  }
  if (raw.kind !== "concat" && types.length > 1) {
    source.fail(raw.at, `One part, expected ${types.length}: the key is a concatenation`);
  }
  const key = readRight(source, raw, types);
  for (const part of typeof key === "object" && "concat" in key ? key.concat : [key]) {
    if (typeof part === "object" && !("range" in part) && !("prefix" in part)) {
      source.fail(raw.at, "An element is a value, a prefix or a range");
    }
  }
  return tidyKey(key, types);
}

function parts(source: Source, items: readonly Raw[], at: At): readonly Raw[] {
  if (items.length >= 2 && items.length <= CONCAT_MAX) return items;
  return source.fail(at, `A concatenation of ${items.length}, expected 2 to ${CONCAT_MAX}`);
}

/** A literal of a type, not an expression. */
export function isImmediate(expression: Expression): expression is Immediate {
  return typeof expression !== "object" && !(typeof expression === "string" && expression.startsWith("@"));
}
