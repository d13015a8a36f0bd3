import type { DataType, Expression, MapData, NamedSet, SetFlag } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import { CONCAT_MAX } from "../words/limits.ts";
import type { ValueType } from "../words/selectors.ts";
import { type DataReader, readElements, readRight } from "./expression.ts";
import { checkName } from "./names.ts";
import type { At, RawElement, Source } from "./raw.ts";
import { sorted } from "./sorted.ts";

export const SET_FLAGS: readonly SetFlag[] = ["constant", "dynamic", "interval", "timeout"];
/** A set as it was written. */
export interface RawSet extends Omit<NamedSet, "elem"> {
  readonly elements: readonly RawElement[];
  readonly at: At;
}

/** What must be known of a set to read elements for it. */
export type SetShape = Pick<NamedSet, "type" | "data" | "flags" | "autoMerge">;

export function readNamedSet(source: Source, raw: RawSet): NamedSet {
  const { elements, at: _, ...rest } = raw;
  const timed = raw.timeout !== undefined || raw.gcInterval !== undefined;
  const flags = sorted<SetFlag>(timed ? [...raw.flags, "timeout"] : raw.flags, SET_FLAGS);
  const shape = { type: raw.type, flags, autoMerge: raw.autoMerge, ...raw.data && { data: raw.data } };
  return {
    ...rest,
    ...shape,
    elem: readElementsFor(source, elements, shape),
  };
}

/** Elements of a set or map of that shape. */
export function readElementsFor(
  source: Source,
  elements: readonly RawElement[],
  shape: SetShape,
  keysOnly = false,
): NamedSet["elem"] {
  const types = shape.type.map(valueType);
  const reader = keysOnly ? undefined : dataReader(source, shape.data);
  const bare = keysOnly ? elements.map(({ data: _, ...element }) => element) : elements;
  const read = readElements(source, bare, types, shape.autoMerge ? "merge" : "refuse", reader);
  for (const { key, timeout, at } of bare) {
    if (timeout !== undefined && !shape.flags.includes("timeout")) {
      source.fail(at, 'Elements with a timeout need a set with "flags timeout"');
    }
    if (
      !shape.flags.includes("interval") &&
      (isInterval(key) || (key.kind === "concat" && key.items.some(isInterval)))
    ) {
      source.fail(key.at, 'Prefixes, ranges and * need a set with "flags interval"');
    }
  }
  return read;
}

function isInterval({ kind }: RawElement["key"]): boolean {
  return kind === "prefix" || kind === "range" || kind === "any";
}

function dataReader(source: Source, data: MapData | undefined): DataReader | undefined {
  if (data === undefined) return undefined;
  if ("verdict" in data) {
    return (value) => value.kind === "verdict" ? value.verdict : source.fail(value.at, "Expected a verdict");
  }
  if ("object" in data) {
    return (value) =>
      value.kind === "word"
        ? { object: checkName(source, value.text, value.at) }
        : source.fail(value.at, `Expected the name of a ${data.object}`);
  }
  const types = data.value.map(valueType);
  return (value): Expression =>
    value.kind === "verdict" ? source.fail(value.at, "Expected a value") : readRight(source, value, types);
}

function valueType(type: DataType): ValueType {
  return { type, bits: DATA_TYPES[type].bits };
}

/** Data types by name, as in `type ipv4_addr . inet_service`. */
export function readTypes(source: Source, names: readonly { text: string; at: At }[], at: At): DataType[] {
  if (names.length === 0 || names.length > CONCAT_MAX) {
    source.fail(at, `A type of ${names.length} parts, expected 1 to ${CONCAT_MAX}`);
  }
  return names.map(({ text, at }) => {
    if (!Object.hasOwn(DATA_TYPES, text)) {
      source.fail(at, `There is no type "${text}", or sets of it are not supported`);
    }
    if (
      text === "ether_addr" || text === "integer" || text === "boolean" || text === "string" ||
      text === "icmpx_code"
    ) {
      source.fail(at, `Sets of type ${text} are not supported`);
    }
    return text as DataType;
  });
}

/** The types of `typeof ip saddr . tcp dport`. */
export function typesOfExpression(source: Source, types: readonly ValueType[], at: At): DataType[] {
  return readTypes(source, types.map(({ type }) => ({ text: type, at })), at);
}
