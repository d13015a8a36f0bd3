import { boundsOf } from "./constants.ts";
import { TYPE_BITS } from "./fields.ts";
import { LinkError } from "./link_error.ts";
import { cellSpec, type LinkContext, type TableScope } from "./link_scope.ts";
import type { CellSpec, LinkedElement, LinkedSet, LinkedVerdict } from "./linked.ts";
import type { DataType, Expression, MapElement, NamedSet, SetElement, Verdict } from "./schema.ts";

/** Elements of one set: a list of all networks of a country has some ten thousand. */
export const ELEMENTS_MAX = 1_048_576;
/** Elements that rules may add to a set that says nothing of its size: nft's own default. */
export const SIZE_DEFAULT = 65_535;

/** A part of a key or of data: its type, and how wide it is. */
export interface Part {
  readonly type: DataType;
  readonly bits: number;
}

/** What a map has for its keys, before its elements are read. */
export type DataShape = "verdict" | "cell" | readonly Part[] | Ranged | undefined;

/** Each part is an interval. */
export interface Ranged {
  readonly ranges: readonly Part[];
}

function isRanged(shape: DataShape): shape is Ranged {
  return typeof shape === "object" && "ranges" in shape;
}

/** Sets and maps of one table, their elements as numbers. */
export class SetLinker {
  readonly #scope: TableScope;
  readonly #context: LinkContext;

  constructor(scope: TableScope, context: LinkContext) {
    this.#scope = scope;
    this.#context = context;
  }

  /** A set that rules name. */
  named(set: NamedSet): LinkedSet {
    const { family, table } = this.#scope;
    const place = `table ${family} ${table.name} ${set.data === undefined ? "set" : "map"} ${set.name}`;
    const changes = set.flags.includes("dynamic") || set.flags.includes("timeout");
    if (set.flags.includes("dynamic") && set.flags.includes("interval")) {
      throw new LinkError(place, undefined, "Rules do not add to a set of intervals");
    }
    const parts = set.type.map((type) => ({ type, bits: TYPE_BITS[type] }));
    return this.#link(place, undefined, parts, shapeOf(set), set.elem, {
      name: set.name,
      named: set,
      changes,
      timeout: set.timeout ?? 0,
      size: set.size ?? (changes ? SIZE_DEFAULT : ELEMENTS_MAX),
      cells: set.stmt.map(cellSpec),
      interval: set.flags.includes("interval"),
      merge: set.autoMerge,
    });
  }

  /** A set that stands in a rule, whose key has these parts. */
  anonymous(
    place: string,
    line: number | undefined,
    parts: readonly Part[],
    data: DataShape,
    elements: readonly (SetElement | MapElement)[],
  ): LinkedSet {
    return this.#link(place, line, parts, data, elements, {
      name: "",
      named: undefined,
      changes: false,
      timeout: 0,
      size: ELEMENTS_MAX,
      cells: [],
      interval: true,
      merge: data === undefined,
    });
  }

  /** The set that a `meter` fills. */
  meter(name: string, parts: readonly Part[], timeout: number, size: number): LinkedSet {
    return this.#link(`meter ${name}`, undefined, parts, undefined, [], {
      name,
      named: undefined,
      changes: true,
      timeout,
      size,
      cells: [],
      interval: false,
      merge: false,
    });
  }

  #link(
    place: string,
    line: number | undefined,
    parts: readonly Part[],
    shape: DataShape,
    elements: readonly (SetElement | MapElement)[],
    options: {
      readonly name: string;
      readonly named: NamedSet | undefined;
      readonly changes: boolean;
      readonly timeout: number;
      readonly size: number;
      readonly cells: readonly CellSpec[];
      readonly interval: boolean;
      readonly merge: boolean;
    },
  ): LinkedSet {
    if (elements.length > ELEMENTS_MAX || elements.length > options.size) {
      const most = Math.min(options.size, ELEMENTS_MAX);
      throw new LinkError(place, line, `${elements.length} elements, expected at most ${most}`);
    }
    const linked: LinkedElement[] = [];
    let rest: LinkedElement | undefined;
    elements.forEach((element, index) => {
      const at = `${place} element ${index + 1}`;
      if (element.val === "*") rest = this.#element(at, line, element, [], [], shape, options.cells);
      else linked.push(this.#keyed(at, line, parts, element, shape, options));
    });
    const set: LinkedSet = {
      id: this.#context.sets.length,
      family: this.#scope.family,
      table: this.#scope.table.name,
      name: options.name,
      named: options.named,
      parts: parts.map(({ bits }) => bits),
      data: shape === undefined || typeof shape === "string"
        ? shape
        : (isRanged(shape) ? [...shape.ranges, ...shape.ranges] : shape).map(({ bits }) => bits),
      ranged: isRanged(shape),
      changes: options.changes,
      timeout: options.timeout,
      size: options.size,
      cells: options.cells,
      elements: refuseOverlaps(place, line, linked, options.merge),
      rest,
    };
    this.#context.sets.push(set);
    return set;
  }

  #keyed(
    place: string,
    line: number | undefined,
    parts: readonly Part[],
    element: SetElement | MapElement,
    shape: DataShape,
    { interval, cells }: { readonly interval: boolean; readonly cells: readonly CellSpec[] },
  ): LinkedElement {
    const { val } = element;
    const values = typeof val === "object" && "concat" in val ? val.concat : [val];
    if (values.length !== parts.length) {
      throw new LinkError(place, line, `A key of ${values.length} parts, expected ${parts.length}`);
    }
    const low: bigint[] = [];
    const high: bigint[] = [];
    values.forEach((value, at) => {
      const { type, bits } = parts[at]!;
      const bounds = boundsOf(value, type, bits, this.#context.interfaces);
      if (typeof bounds === "string") throw new LinkError(place, line, bounds);
      if (!interval && bounds[0] !== bounds[1]) {
        throw new LinkError(place, line, "Found an interval, in a set without the flag interval");
      }
      low.push(bounds[0]);
      high.push(bounds[1]);
    });
    return this.#element(place, line, element, low, high, shape, cells);
  }

  #element(
    place: string,
    line: number | undefined,
    element: SetElement | MapElement,
    low: readonly bigint[],
    high: readonly bigint[],
    shape: DataShape,
    cells: readonly CellSpec[],
  ): LinkedElement {
    const timeout = element.timeout ?? 0;
    return {
      low,
      high,
      data: this.#data(place, line, "data" in element ? element.data : undefined, shape),
      timeout,
      expires: element.expires ?? timeout,
      cells: element.stmt?.map(cellSpec) ?? cells,
    };
  }

  #data(
    place: string,
    line: number | undefined,
    data: MapElement["data"] | undefined,
    shape: DataShape,
  ): LinkedElement["data"] {
    if (shape === undefined) {
      if (data === undefined) return undefined;
      throw new LinkError(place, line, "An element of a set has no value");
    }
    if (data === undefined) throw new LinkError(place, line, "An element of a map needs a value");
    if (shape === "verdict") return linkVerdict(data as Verdict, this.#scope, place, line);
    if (shape === "cell") return this.#object(place, line, data);
    const values = typeof data === "object" && "concat" in data ? data.concat : [data as Expression];
    const parts = isRanged(shape) ? shape.ranges : shape;
    if (values.length !== parts.length) {
      throw new LinkError(place, line, `A value of ${values.length} parts, expected ${parts.length}`);
    }
    const each = values.map((value, at) => {
      const bounds = boundsOf(value, parts[at]!.type, parts[at]!.bits, this.#context.interfaces);
      if (typeof bounds === "string") throw new LinkError(place, line, bounds);
      if (!isRanged(shape) && bounds[0] !== bounds[1]) {
        throw new LinkError(place, line, "A map leads to one value, not to a range");
      }
      return bounds;
    });
    return isRanged(shape)
      ? [0, 1].flatMap((end) => each.map((bounds) => bounds[end]!))
      : each.map(([low]) => low);
  }

  #object(place: string, line: number | undefined, data: MapElement["data"]): number {
    const name = typeof data === "object" && "object" in data ? data.object : "";
    const { counters, quotas, limits } = this.#scope;
    const cell = counters.get(name) ?? quotas.get(name) ?? limits.get(name);
    if (cell === undefined) throw new LinkError(place, line, `There is no counter, quota or limit "${name}"`);
    return cell;
  }
}

function shapeOf({ data }: NamedSet): DataShape {
  if (data === undefined) return undefined;
  if ("verdict" in data) return "verdict";
  if ("object" in data) return "cell";
  const parts = data.value.map((type) => ({ type, bits: TYPE_BITS[type] }));
  return data.interval ? { ranges: parts } : parts;
}

/** A verdict, with the chain it leads to. */
export function linkVerdict(
  verdict: Verdict,
  scope: TableScope,
  place: string,
  line: number | undefined,
): LinkedVerdict {
  const to = "jump" in verdict ? verdict.jump : "goto" in verdict ? verdict.goto : undefined;
  if (to !== undefined) {
    const found = scope.chains.get(to.target);
    if (found === undefined) throw new LinkError(place, line, `There is no chain "${to.target}"`);
    return { kind: "jump" in verdict ? "jump" : "goto", chain: found.id };
  }
  for (const kind of ["accept", "drop", "continue", "return"] as const) if (kind in verdict) return { kind };
  throw new LinkError(place, line, `Found ${JSON.stringify(verdict)}, expected a verdict`);
}

/** As nft: the same element twice is one; others that share a key conflict, unless the set merges them. */
function refuseOverlaps(
  place: string,
  line: number | undefined,
  elements: readonly LinkedElement[],
  merge: boolean,
): LinkedElement[] {
  const sorted = [...elements].sort((a, b) =>
    compare(a.low[0]!, b.low[0]!) || compare(b.high[0]!, a.high[0]!)
  );
  const kept: LinkedElement[] = [];
  let open: LinkedElement[] = []; // those whose first part may still meet what follows
  for (const element of sorted) {
    open = open.filter(({ high }) => high[0]! >= element.low[0]!);
    const met = open.filter((other) => overlaps(other, element));
    const same = met.find((other) => equal(other, element));
    if (same !== undefined) continue;
    if (met.length > 0 && !(merge && element.low.length === 1)) {
      throw new LinkError(place, line, "Intervals overlap: conflicting intervals specified");
    }
    const into = met[0];
    if (into === undefined) {
      open.push(element);
      kept.push(element);
    } else if (into.high[0]! < element.high[0]!) {
      const longer = { ...into, high: element.high };
      open = [longer];
      kept[kept.indexOf(into)] = longer;
    }
  }
  return kept;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function overlaps(a: LinkedElement, b: LinkedElement): boolean {
  return a.low.every((low, at) => low <= b.high[at]! && b.low[at]! <= a.high[at]!);
}

function equal(a: LinkedElement, b: LinkedElement): boolean {
  return a.low.every((low, at) => low === b.low[at]! && a.high[at]! === b.high[at]!) &&
    JSON.stringify(a.data, textOfBigint) === JSON.stringify(b.data, textOfBigint);
}

function textOfBigint(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}
