import { assert } from "../../base/assert.ts";
import { Slab } from "../../base/slab.ts";
import { Drop, dropNames } from "../../net/wire/drop.ts";

/** Reads the packet in `[start, end)` into a record. */
export type Read<T> = (slab: Slab, start: number, end: number, into: T) => Drop;

/** Where a packet lies: how many bytes in front of it and behind it, and what they are. */
const PLACES = [
  { before: 40, after: 40, poison: 0 },
  { before: 41, after: 43, poison: 0xff },
  { before: 0, after: 0, poison: 0 }, // reading beyond either end throws, or sees undefined
] as const;

/** Records' numbers that are places in the slab. */
const OFFSET = /(Start|End|At)$/;
/** Of those, what counts from the packet's start already. */
const RELATIVE = new Set(["problemAt"]);

/**
 * Reads one packet at different places of different buffers. All must say the same: nothing outside the
 * packet may matter. Offsets must lie inside it, and a refusal must leave the record alone when `untouched`.
 *
 * @returns What the last one said, and its record; the packet starts at 0 there.
 */
export function readPlaced<T extends object>(
  bytes: Uint8Array,
  read: Read<T>,
  fresh: () => T,
  untouched = true,
): { drop: Drop; record: T; slab: Slab } {
  let first: { drop: Drop; record: T; start: number } | undefined;
  for (const { before, after, poison } of PLACES) {
    const slab = Slab.of(before + bytes.length + after);
    slab.bytes.fill(poison);
    slab.bytes.set(bytes, before);
    const record = fresh();
    const drop = read(slab, before, before + bytes.length, record);
    assert(Number.isInteger(drop) && dropNames[drop] !== undefined, `The answer ${drop} is no drop reason`);
    if (drop !== Drop.None && untouched) same(record, 0, fresh(), 0, "a refused packet changed");
    if (drop === Drop.None) inside(record, before, before + bytes.length);
    first ??= { drop, record, start: before };
    assert(drop === first.drop, `Read as ${dropNames[drop]} here, as ${dropNames[first.drop]} there`);
    if (drop === Drop.None) same(record, before, first.record, first.start, "surroundings changed");
    if (before === 0) return { drop, record, slab };
  }
  throw new Error("The last place is at 0");
}

/** Asserts that two records say the same, offsets apart. */
export function same<T extends object>(a: T, aStart: number, b: T, bStart: number, what: string): void {
  for (const key of Object.keys(a) as (keyof T & string)[]) {
    const one: unknown = a[key];
    const other: unknown = b[key];
    if (ArrayBuffer.isView(one) || Array.isArray(one)) {
      sameItems(one as ArrayLike<unknown>, aStart, other as ArrayLike<unknown>, bStart, key);
    } else if (typeof one === "object" && one !== null) {
      same(one, aStart, other as object, bStart, `${what} ${key}.`);
    } else if (typeof one === "number" && OFFSET.test(key) && !RELATIVE.has(key)) {
      // 0 is one that was not filled in
      assert(one - aStart === (other as number) - bStart || (one === 0 && other === 0), `${what} ${key}`);
    } else {
      assert(Object.is(one, other), `${what} ${key}: ${String(one)}, ${String(other)}`);
    }
  }
}

function sameItems(
  a: ArrayLike<unknown>,
  aStart: number,
  b: ArrayLike<unknown>,
  bStart: number,
  key: string,
): void {
  for (let at = 0; at < a.length; at++) {
    const one = a[at];
    const other = b[at];
    if (typeof one === "object" && one !== null) same(one, aStart, other as object, bStart, `${key}[${at}]`);
    else if (one !== other) { // an offset, then
      assert(key === "servers" && (one as number) - aStart === (other as number) - bStart, `${key}[${at}]`);
    }
  }
}

/** Asserts that where the record points to lies inside `[start, end)`. */
function inside(record: object, start: number, end: number): void {
  const fields = record as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (typeof value === "number" && OFFSET.test(key) && !RELATIVE.has(key) && value !== 0) {
      assert(value >= start && (value <= end || key === "sourcesStart"), `${key} lies outside the packet`);
    }
  }
  const { dataStart, dataEnd } = fields as { dataStart?: number; dataEnd?: number };
  if (dataStart !== undefined) assert(dataStart <= dataEnd!, "The data ends before it starts");
}
