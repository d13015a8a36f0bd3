import type { KnownSets } from "../read/context.ts";
import {
  checkChainType,
  checkComment,
  checkFamily,
  checkHook,
  checkName,
  PRIORITY_MAX,
} from "../read/names.ts";
import type { RawElement, Source } from "../read/raw.ts";
import { readElementsFor, readNamedSet, readTypes, SET_FLAGS } from "../read/sets.ts";
import { readStatements } from "../read/statement.ts";
import { show } from "../read/value.ts";
import type { BaseChain, DataType, InTable, MapData, NamedSet, NftObject, NftTarget } from "../schema.ts";
import { readElementList, readStatefulList } from "./expression.ts";
import { arrayOf, Fields } from "./fields.ts";
import { readLimit } from "./stateful.ts";
import { readJsonStatement } from "./statement.ts";

/** An object as `list ruleset` prints it, or as `add` takes it. */
export function readObject(
  source: Source,
  kind: string,
  value: unknown,
  at: string,
  known: KnownSets,
): NftObject {
  const fields = new Fields(source, value, at);
  const object = readKind(source, kind, fields, known);
  fields.end();
  return object;
}

function readKind(source: Source, kind: string, fields: Fields, known: KnownSets): NftObject {
  const family = checkFamily(source, fields.string("family"), fields.at("family"));
  const handle = fields.optionalNumber("handle");
  const handled = handle === undefined ? {} : { handle };
  if (kind === "table") {
    const dormant = fields.words("flags", ["dormant"]).length > 0;
    return { table: { family, name: name(source, fields), ...handled, ...comment(source, fields), dormant } };
  }
  const place: InTable = { family, table: checkName(source, fields.string("table"), fields.at("table")) };
  switch (kind) {
    case "chain":
      return {
        chain: {
          ...place,
          name: name(source, fields),
          ...handled,
          ...comment(source, fields),
          ...base(source, fields),
        },
      };
    case "rule": {
      const chain = checkName(source, fields.string("chain"), fields.at("chain"));
      const index = fields.optionalNumber("index");
      const path = fields.at("expr");
      const raws = arrayOf(source, fields.take("expr"), path).map((one, at) =>
        readJsonStatement(source, one, `${path}[${at}]`)
      );
      return {
        rule: {
          ...place,
          chain,
          expr: readStatements(source, family, raws, path),
          ...handled,
          ...comment(source, fields),
          ...index === undefined ? {} : { index },
        },
      };
    }
    case "set":
    case "map": {
      const set = readSet(source, kind, fields);
      known.add(family, place.table, set.name, set);
      return { set: { ...place, ...set, ...handled } };
    }
    case "element": {
      const path = fields.at("elem");
      const set = name(source, fields);
      const elements = readElementList(source, fields.take("elem"), path);
      const shape = known.get(source, fields.at("name"), family, place.table, set);
      return { element: { ...place, name: set, elem: readElementsFor(source, elements, shape) } };
    }
    case "counter": {
      const packets = fields.optionalNumber("packets") ?? 0;
      const bytes = fields.optionalNumber("bytes") ?? 0;
      return {
        counter: {
          ...place,
          name: name(source, fields),
          ...handled,
          ...comment(source, fields),
          packets,
          bytes,
        },
      };
    }
    case "quota": {
      const bytes = fields.number("bytes");
      const used = fields.optionalNumber("used") ?? 0;
      const inv = fields.boolean("inv");
      return {
        quota: {
          ...place,
          name: name(source, fields),
          ...handled,
          ...comment(source, fields),
          bytes,
          used,
          inv,
        },
      };
    }
    case "limit":
      return {
        limit: {
          ...place,
          name: name(source, fields),
          ...handled,
          ...comment(source, fields),
          ...readLimit(source, fields),
        },
      };
    default:
      return source.fail(fields.path, `Objects of kind "${kind}" are not supported`);
  }
}

function name(source: Source, fields: Fields): string {
  return checkName(source, fields.string("name"), fields.at("name"));
}

function comment(source: Source, fields: Fields): { comment?: string } {
  const text = fields.optionalString("comment");
  return text === undefined ? {} : { comment: checkComment(source, text, fields.at("comment")) };
}

function base(source: Source, fields: Fields): { base?: BaseChain } {
  if (!fields.has("type") && !fields.has("hook")) return {};
  const type = checkChainType(source, fields.string("type"), fields.at("type"));
  const hook = checkHook(source, fields.string("hook"), fields.at("hook"));
  const prio = fields.number("prio", PRIORITY_MAX, -PRIORITY_MAX);
  return {
    base: { type, hook, prio, policy: fields.optionalWord("policy", ["accept", "drop"]) ?? "accept" },
  };
}

function readSet(source: Source, kind: "set" | "map", fields: Fields): NamedSet {
  const types = typesOf(source, fields.take("type"), fields.at("type"));
  const data = kind === "map" ? dataOf(source, fields.take("map"), fields.at("map")) : undefined;
  const elements = fields.has("elem") ? readElementList(source, fields.take("elem"), fields.at("elem")) : [];
  // JSON has no word for it: the elements say it.
  const interval = data !== undefined && "value" in data && elements.some(leadsToInterval);
  const timeout = fields.optionalNumber("timeout", 0xffff_ffff);
  const gcInterval = fields.optionalNumber("gc-interval", 0xffff_ffff);
  const size = fields.optionalNumber("size", 0xffff_ffff);
  const policy = fields.optionalWord("policy", ["performance", "memory"]);
  const stmt = fields.has("stmt") ? readStatefulList(source, fields.take("stmt"), fields.at("stmt")) : [];
  return readNamedSet(source, {
    name: name(source, fields),
    ...comment(source, fields),
    type: types,
    ...data === undefined ? {} : { data: interval ? { ...data, interval } : data },
    flags: fields.words("flags", SET_FLAGS),
    ...timeout === undefined ? {} : { timeout },
    ...gcInterval === undefined ? {} : { gcInterval },
    ...size === undefined ? {} : { size },
    ...policy === undefined || policy === "performance" ? {} : { policy },
    autoMerge: fields.boolean("auto-merge"),
    stmt,
    elements,
    at: fields.path,
  });
}

function leadsToInterval({ data }: RawElement): boolean {
  if (data === undefined || data.kind === "verdict") return false;
  const parts = data.kind === "concat" ? data.items : [data];
  return parts.some(({ kind }) => kind === "prefix" || kind === "range");
}

function typesOf(source: Source, value: unknown, at: string): DataType[] {
  const words = typeof value === "string" ? value.split(" . ") : Array.isArray(value) ? value : undefined;
  if (words === undefined) return source.fail(at, `Found ${show(value)}, expected the name of a type`);
  return readTypes(source, words.map((word) => ({ text: String(word), at })), at);
}

function dataOf(source: Source, value: unknown, at: string): MapData {
  if (value === "verdict") return { verdict: null };
  if (value === "counter" || value === "quota" || value === "limit") return { object: value };
  return { value: typesOf(source, value, at) };
}

/** What `delete`, `destroy` and `flush` name. */
export function readTarget(
  source: Source,
  kind: string,
  value: unknown,
  at: string,
  known: KnownSets,
): NftTarget {
  if (kind === "ruleset" && value === null) return { ruleset: {} };
  const fields = new Fields(source, value, at);
  const target = readTargetFields(source, kind, fields, known);
  // A whole object may be given, as it was listed.
  return target;
}

function readTargetFields(source: Source, kind: string, fields: Fields, known: KnownSets): NftTarget {
  if (kind === "ruleset") {
    const of = fields.optionalString("family");
    return { ruleset: of === undefined ? {} : { family: checkFamily(source, of, fields.at("family")) } };
  }
  const family = checkFamily(source, fields.string("family"), fields.at("family"));
  if (kind === "table") return { table: { family, name: name(source, fields) } };
  const place: InTable = { family, table: checkName(source, fields.string("table"), fields.at("table")) };
  if (kind === "rule") {
    return { rule: { ...place, chain: fields.string("chain"), handle: fields.number("handle") } };
  }
  const named = { ...place, name: name(source, fields) };
  switch (kind) {
    case "chain":
      return { chain: named };
    case "set":
    case "map":
      return { set: named };
    case "counter":
      return { counter: named };
    case "quota":
      return { quota: named };
    case "limit":
      return { limit: named };
    case "element": {
      const elements = readElementList(source, fields.take("elem"), fields.at("elem"));
      const shape = known.get(source, fields.at("name"), family, place.table, named.name);
      return { element: { ...named, elem: readElementsFor(source, elements, shape, true) } };
    }
    default:
      return source.fail(fields.path, `Objects of kind "${kind}" are not supported`);
  }
}
