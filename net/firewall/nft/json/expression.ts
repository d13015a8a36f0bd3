import type { CtKey, Expression, MetaKey, PayloadProtocol } from "../schema.ts";
import type { BinaryOp, Raw, RawElement, RawVerdict, Source } from "../read/raw.ts";
import { checkComment, checkName } from "../read/names.ts";
import {
  checkCt,
  checkExthdr,
  checkFib,
  checkMeta,
  checkPayload,
  checkTcpOption,
  rawPayload,
} from "../read/selector.ts";
import { show } from "../read/value.ts";
import { ELEMENTS_MAX } from "../words/limits.ts";
import { arrayOf, checkDepth, Fields, single } from "./fields.ts";
import { readStateful } from "./stateful.ts";
import { readVerdict, VERDICTS } from "./verdict.ts";

const BINARY: readonly string[] = ["&", "|", "^", "<<", ">>"] satisfies BinaryOp[];

/** An expression of JSON, before its words have types. */
export function readExpression(source: Source, value: unknown, at: string, depth = 0): Raw {
  checkDepth(source, depth, at);
  const inner = (part: unknown, path: string): Raw => readExpression(source, part, path, depth + 1);
  if (typeof value === "string") {
    if (value === "*") return { kind: "any", at };
    if (value.startsWith("@")) return { kind: "reference", name: checkName(source, value.slice(1), at), at };
    return { kind: "word", text: value, quoted: true, at };
  }
  if (typeof value === "number") {
    if (Number.isSafeInteger(value) && value >= 0) return { kind: "number", value, at };
    return source.fail(at, `Found ${show(value)}, expected a whole number`);
  }
  if (typeof value === "boolean") return { kind: "boolean", value, at };
  if (Array.isArray(value)) {
    if (value.length === 0 || value.length > 64) {
      source.fail(at, `A list of ${value.length}, expected 1 to 64 flags`);
    }
    return { kind: "list", items: value.map((part, index) => inner(part, `${at}[${index}]`)), at };
  }
  const [name, of, path] = single(source, value, at);
  const pair = (): [Raw, Raw] => {
    const list = arrayOf(source, of, path);
    if (list.length !== 2) source.fail(path, `${list.length} operands, expected 2`);
    return [inner(list[0], `${path}[0]`), inner(list[1], `${path}[1]`)];
  };
  if (BINARY.includes(name)) {
    // nft folds longer chains of one operator into one array.
    const list = arrayOf(source, of, path);
    if (list.length < 2 || list.length > 64) source.fail(path, `${list.length} operands, expected 2`);
    return list.slice(1).reduce<Raw>(
      (left, part, index) => ({
        kind: "binary",
        op: name as BinaryOp,
        left,
        right: inner(part, `${path}[${index + 1}]`),
        at,
      }),
      inner(list[0], `${path}[0]`),
    );
  }
  switch (name) {
    case "concat":
      return {
        kind: "concat",
        items: arrayOf(source, of, path).map((part, index) => inner(part, `${path}[${index}]`)),
        at,
      };
    case "set":
      return { kind: "set", items: readElementList(source, of, path, depth + 1), at };
    case "range": {
      const [low, high] = pair();
      return { kind: "range", low, high, at };
    }
    case "map": {
      const fields = new Fields(source, of, path);
      const key = inner(fields.take("key"), fields.at("key"));
      const data = inner(fields.take("data"), fields.at("data"));
      fields.end();
      return { kind: "map", key, data, at };
    }
    case "prefix": {
      const fields = new Fields(source, of, path);
      const address = inner(fields.take("addr"), fields.at("addr"));
      const length = fields.number("len", 128);
      fields.end();
      return { kind: "prefix", address, length, at };
    }
    case "jhash": {
      const fields = new Fields(source, of, path);
      const hashed = inner(fields.take("expr"), fields.at("expr"));
      const mod = fields.number("mod", 0xffff_ffff, 1);
      const offset = fields.optionalNumber("offset", 0xffff_ffff) ?? 0;
      const seed = fields.optionalNumber("seed", 0xffff_ffff);
      fields.end();
      return { kind: "jhash", of: hashed, mod, offset, ...seed === undefined ? {} : { seed }, at };
    }
    default:
      return { kind: "selector", expression: readSelectorField(source, name, of, path), at };
  }
}

function readSelectorField(source: Source, name: string, of: unknown, path: string): Expression {
  const known = ["payload", "exthdr", "tcp option", "meta", "rt", "ct", "numgen", "symhash", "fib"];
  if (!known.includes(name)) return source.fail(path, `Expressions of kind "${name}" are not supported`);
  const fields = new Fields(source, of, path);
  const expression = readFields(source, name, fields);
  fields.end();
  return expression;
}

function readFields(source: Source, name: string, fields: Fields): Expression {
  switch (name) {
    case "payload": {
      if (fields.has("base")) {
        return rawPayload(
          source,
          fields.string("base"),
          fields.number("offset", 4096),
          fields.number("len", 128),
          fields.path,
        );
      }
      return checkPayload(
        source,
        fields.string("protocol") as PayloadProtocol,
        fields.string("field"),
        fields.path,
      );
    }
    case "exthdr":
      return checkExthdr(source, fields.string("name"), fields.optionalString("field"), fields.path);
    case "tcp option": {
      if (!fields.has("base")) {
        return checkTcpOption(source, fields.string("name"), fields.optionalString("field"), fields.path);
      }
      // How nft 1.0 asks for an option by its number.
      const kind = fields.number("base", 255);
      if (fields.number("offset") !== 0 || fields.number("len") !== 8) {
        source.fail(fields.path, "Only whether an option is there can be asked by its number");
      }
      return checkTcpOption(source, String(kind), undefined, fields.path);
    }
    case "meta":
      return checkMeta(source, fields.string("key") as MetaKey, fields.at("key"));
    case "rt":
      return fields.string("key") === "mtu"
        ? { rt: { key: "mtu" } }
        : source.fail(fields.at("key"), "Of routes only mtu is supported");
    case "ct": {
      const dir = fields.optionalWord("dir", ["original", "reply"]);
      return checkCt(source, fields.string("key") as CtKey, dir, fields.path);
    }
    case "numgen":
      return {
        numgen: {
          mode: fields.word("mode", ["inc", "random"]),
          mod: fields.number("mod", 0xffff_ffff, 1),
          offset: fields.optionalNumber("offset", 0xffff_ffff) ?? 0,
        },
      };
    case "symhash":
      return {
        symhash: {
          mod: fields.number("mod", 0xffff_ffff, 1),
          offset: fields.optionalNumber("offset", 0xffff_ffff) ?? 0,
        },
      };
    default: {
      const flags = fields.take("flags");
      const list = (Array.isArray(flags) ? flags : [flags]).map(String);
      return checkFib(source, fields.string("result"), list, fields.path);
    }
  }
}

/** The elements of a set; a single one may stand without its array. */
export function readElementList(source: Source, value: unknown, at: string, depth = 0): RawElement[] {
  if (!Array.isArray(value)) return [readElement(source, value, at, depth)];
  if (value.length > ELEMENTS_MAX) {
    source.fail(at, `${value.length} elements, expected at most ${ELEMENTS_MAX}`);
  }
  return value.map((element, index) => readElement(source, element, `${at}[${index}]`, depth));
}

function readElement(source: Source, value: unknown, at: string, depth: number): RawElement {
  checkDepth(source, depth, at);
  if (!Array.isArray(value)) return readSingle(source, value, at, depth);
  if (value.length !== 2) source.fail(at, `A list of ${value.length}, expected a key and what it leads to`);
  return {
    ...readSingle(source, value[0], `${at}[0]`, depth),
    data: readData(source, value[1], `${at}[1]`, depth),
    at,
  };
}

function readData(source: Source, value: unknown, at: string, depth: number): Raw | RawVerdict {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const names = Object.keys(value);
    if (names.length === 1 && VERDICTS.includes(names[0]!)) {
      return { kind: "verdict", verdict: readVerdict(source, value, at), at };
    }
    // A number among verdicts: nft writes some data as an element.
    if (names.length === 1 && names[0] === "elem") return readSingle(source, value, at, depth).key;
  }
  return readExpression(source, value, at, depth + 1);
}

/** An element with its timeout, comment and state, or a bare value. */
export function readSingle(source: Source, value: unknown, at: string, depth: number): RawElement {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, "elem")) {
    return { key: readExpression(source, value, at, depth + 1), stmt: [], at };
  }
  const [, of, path] = single(source, value, at);
  const fields = new Fields(source, of, path);
  const key = readExpression(source, fields.take("val"), fields.at("val"), depth + 1);
  const timeout = fields.optionalNumber("timeout", 0xffff_ffff);
  const expires = fields.optionalNumber("expires", 0xffff_ffff);
  const comment = fields.optionalString("comment");
  const stmt = ["counter", "quota", "limit", "ct count"].filter((name) => fields.has(name)).map((name) =>
    readStateful(source, name, fields.take(name), fields.at(name))
  );
  if (fields.has("stmt")) stmt.push(...readStatefulList(source, fields.take("stmt"), fields.at("stmt")));
  fields.end();
  return {
    key,
    ...timeout === undefined ? {} : { timeout },
    ...expires === undefined ? {} : { expires },
    ...comment === undefined ? {} : { comment: checkComment(source, comment, fields.at("comment")) },
    stmt,
    at,
  };
}

export function readStatefulList(source: Source, value: unknown, at: string): RawElement["stmt"][number][] {
  return arrayOf(source, value, at).slice(0, 8).map((one, index) => {
    const [name, of, path] = single(source, one, `${at}[${index}]`);
    return readStateful(source, name, of, path);
  });
}
