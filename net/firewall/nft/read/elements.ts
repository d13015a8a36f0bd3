import { formatIpv4, parseIpv4 } from "../../../wire/address.ts";
import { formatIpv6, type Ipv6Words, parseIpv6 } from "../../../wire/ipv6_address.ts";
import type { Expression, Immediate, MapElement, SetElement } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import type { ValueType } from "../words/selectors.ts";
import type { At, Source } from "./raw.ts";

type Element = SetElement | MapElement;
/** A point of a type's line: addresses of IPv6 need more than a number holds. */
type Point = number | bigint | string;

interface Placed {
  readonly element: Element;
  /** One per part of the key. */
  readonly low: readonly Point[];
  readonly high: readonly Point[];
  readonly at: At;
}

/** What becomes of elements that overlap: an error, one (`merge`), or in anonymous sets one when there are intervals at all. */
export type Overlaps = "refuse" | "merge" | "anonymous";

/**
 * Elements in rising order. Overlapping intervals become one or are refused, as nft does; so are equal elements.
 * Intervals of addresses that are prefixes are written as prefixes.
 */
export function orderElements(
  source: Source,
  elements: readonly { readonly element: Element; readonly at: At }[],
  types: readonly ValueType[],
  overlaps: Overlaps,
): Element[] {
  const any = elements.filter(({ element }) => element.val === "*");
  if (any.length > 1) source.fail(any[1]!.at, "A set has one * at most");
  const placed = elements.filter(({ element }) => element.val !== "*").map(({ element, at }): Placed => {
    const parts = partsOf(element.val);
    return {
      element,
      low: parts.map((part, index) => lowOf(part, types[index]!)),
      high: parts.map((part, index) => highOf(part, types[index]!)),
      at,
    };
  });
  placed.sort((a, b) => compare(a.low, b.low) || compare(b.high, a.high));
  const intervals = placed.some(({ low, high }) => compare(low, high) !== 0);
  const merges = types.length === 1 && (overlaps === "merge" || (overlaps === "anonymous" && intervals)) &&
    placed.every(({ element }) => !("data" in element) && Object.keys(element).length === 1);
  const out: Placed[] = [];
  for (const next of placed) {
    const last = out.at(-1);
    if (last === undefined) {
      out.push(next);
    } else if (compare(next.low, last.low) === 0 && compare(next.high, last.high) === 0) {
      if (dataOf(next.element) !== dataOf(last.element)) {
        source.fail(next.at, "The same key stands here twice, with another value");
      }
    } else if (merges && types.length === 1 && touches(last.high[0]!, next.low[0]!)) {
      if (compare(next.high, last.high) > 0) {
        const val = rangeOf(last.low[0]!, next.high[0]!, types[0]!);
        out[out.length - 1] = { ...last, element: { val }, high: next.high };
      }
    } else if (types.length === 1 && compare(next.low, last.high) <= 0) {
      // Names of interfaces: "eth*" and "eth0" may stand in one map, the kernel takes either.
      if (DATA_TYPES[types[0]!.type].base !== "text") {
        source.fail(next.at, "Conflicting intervals: this one overlaps with another of the set");
      }
      out.push(next);
    } else out.push(next);
  }
  return [...out.map(({ element }) => element), ...any.map(({ element }) => element)];
}

/** An interval of a set, as nft writes it: a value, a prefix where it is one of addresses, else a range. */
export function tidyKey(val: Expression, types: readonly ValueType[]): Expression {
  if (val === "*") return val;
  if (typeof val === "object" && "concat" in val) {
    return { concat: val.concat.map((part, index) => tidyKey(part, [types[index]!])) };
  }
  if (typeof val !== "object" || !("range" in val)) return val;
  return rangeOf(lowOf(val, types[0]!), highOf(val, types[0]!), types[0]!);
}

function dataOf(element: Element): string {
  return "data" in element ? JSON.stringify(element.data) : "";
}

function partsOf(val: Expression): readonly Expression[] {
  return typeof val === "object" && "concat" in val ? val.concat : [val];
}

function compare(one: readonly Point[], other: readonly Point[]): number {
  for (let at = 0; at < one.length; at++) {
    if (one[at]! < other[at]!) return -1;
    if (one[at]! > other[at]!) return 1;
  }
  return 0;
}

function touches(high: Point, low: Point): boolean {
  if (typeof high === "string" || typeof low === "string") return low <= high;
  return low <= (typeof high === "bigint" ? high + 1n : high + 1);
}

/** Whether `low` is no higher than `high`. */
export function isRising(low: Immediate, high: Immediate, type: ValueType): boolean {
  return pointOf(low, type) <= pointOf(high, type);
}

/** A value as a point on its type's line. */
export function pointOf(value: Immediate, { type }: ValueType): Point {
  const { base } = DATA_TYPES[type];
  if (base === "ipv4") return parseIpv4(value as string)! >>> 0;
  if (base === "ipv6") return bigOf(parseIpv6(value as string)!);
  if (typeof value === "boolean") return value ? 1 : 0;
  // Indices of interfaces are names or numbers; they only need some order.
  return typeof value === "number" && base === "text" ? `\0${String(value).padStart(16, "0")}` : value;
}

function lowOf(part: Expression, type: ValueType): Point {
  if (typeof part !== "object") {
    return typeof part === "string" && isWild(part, type) ? part.slice(0, -1) : pointOf(part, type);
  }
  if ("prefix" in part) return pointOf(part.prefix.addr, type);
  return pointOf((part as { range: [Immediate, Immediate] }).range[0], type);
}

function highOf(part: Expression, type: ValueType): Point {
  if (typeof part !== "object") {
    return typeof part === "string" && isWild(part, type)
      ? `${part.slice(0, -1)}\uffff`
      : pointOf(part, type);
  }
  if ("range" in part) return pointOf(part.range[1], type);
  const { addr, len } = (part as { prefix: { addr: string; len: number } }).prefix;
  const low = pointOf(addr, type);
  return typeof low === "bigint"
    ? low + (1n << BigInt(type.bits - len)) - 1n
    : (low as number) + 2 ** (type.bits - len) - 1;
}

function isWild(part: string, type: ValueType): boolean {
  return type.type === "ifname" && part.endsWith("*");
}

function bigOf(words: Ipv6Words): bigint {
  return words.reduce((big, word) => (big << 32n) | BigInt(word >>> 0), 0n);
}

function valueOf(point: Point, { type }: ValueType): Immediate {
  const { base } = DATA_TYPES[type];
  if (base === "ipv4") return formatIpv4(Number(point));
  if (base === "ipv6") {
    const word = (at: bigint): number => Number((point as bigint >> at) & 0xffff_ffffn) | 0;
    return formatIpv6(word(96n), word(64n), word(32n), word(0n));
  }
  return point as number;
}

function rangeOf(low: Point, high: Point, type: ValueType): Expression {
  if (low === high) return valueOf(low, type);
  const range = { range: [valueOf(low, type), valueOf(high, type)] as const };
  if (type.type !== "ipv4_addr" && type.type !== "ipv6_addr") return range;
  const size = BigInt(high) - BigInt(low) + 1n;
  if ((size & (size - 1n)) !== 0n || BigInt(low) % size !== 0n) return range;
  return { prefix: { addr: valueOf(low, type) as string, len: type.bits - (size.toString(2).length - 1) } };
}
