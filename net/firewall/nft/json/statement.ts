import { LOG_LEVELS, makeLog } from "../read/log.ts";
import { makeNameMatch, NAME_KEYS } from "../read/name_match.ts";
import { checkName } from "../read/names.ts";
import {
  LOG_FLAGS,
  NAT_FLAGS,
  type NatKind,
  type RawOp,
  type RawStatement,
  type RejectType,
  type Source,
} from "../read/raw.ts";
import { show } from "../read/value.ts";
import type { Log, Statement } from "../schema.ts";
import { readExpression, readSingle, readStatefulList } from "./expression.ts";
import { Fields, single } from "./fields.ts";
import { readStateful } from "./stateful.ts";
import { readVerdict, VERDICTS } from "./verdict.ts";

const OPS: readonly RawOp[] = ["==", "!=", "<", ">", "<=", ">=", "in", "!"];
const REJECTS: readonly RejectType[] = ["tcp reset", "icmp", "icmpv6", "icmpx"];

/** A statement of a rule, before its expressions have types. */
export function readJsonStatement(source: Source, value: unknown, at: string): RawStatement {
  if (typeof value === "string") {
    return source.fail(at, `Found the text ${show(value)}: this nft could not write the statement as JSON`);
  }
  const [name, of, path] = single(source, value, at);
  const ready = (statement: Statement): RawStatement => ({ kind: "ready", statement, at });
  if (VERDICTS.includes(name)) return ready(readVerdict(source, value, at));
  switch (name) {
    case "counter":
    case "quota":
    case "limit":
      if (of === null || (typeof of === "object" && !("map" in of))) {
        return ready(readStateful(source, name, of, path));
      }
      return { kind: "use", what: name, name: readExpression(source, of, path), at };
    case "ct count":
      return ready(readStateful(source, name, of, path));
    case "notrack":
      return ready({ notrack: null });
    case "log":
      return ready({ log: readLog(source, of, path) });
    case "reject":
      return { ...readReject(source, of, path), at };
    case "snat":
    case "dnat":
    case "masquerade":
    case "redirect":
      return { ...readNat(source, name, of, path), at };
    case "queue":
      return { ...readQueue(source, of, path), at };
    case "set":
    case "map":
      return { ...readUpdate(source, name, of, path), at };
    case "match": {
      const fields = new Fields(source, of, path);
      const op = fields.word("op", OPS);
      const left = readExpression(source, fields.take("left"), fields.at("left"));
      const right = readExpression(source, fields.take("right"), fields.at("right"));
      fields.end();
      return { kind: "match", op, left, right, at };
    }
    case "mangle": {
      const fields = new Fields(source, of, path);
      const key = readExpression(source, fields.take("key"), fields.at("key"));
      const to = readExpression(source, fields.take("value"), fields.at("value"));
      fields.end();
      return { kind: "mangle", key, value: to, at };
    }
    case "vmap": {
      const fields = new Fields(source, of, path);
      const key = readExpression(source, fields.take("key"), fields.at("key"));
      const data = readExpression(source, fields.take("data"), fields.at("data"));
      fields.end();
      return { kind: "vmap", key, data, at };
    }
    case "meter": {
      const fields = new Fields(source, of, path);
      const meter = checkName(source, fields.string("name"), fields.at("name"));
      const element = readSingle(source, fields.take("key"), fields.at("key"), 0);
      const stmt = readStatefulList(source, [fields.take("stmt")], fields.at("stmt"));
      const size = fields.optionalNumber("size", 0xffff_ffff);
      fields.end();
      return {
        kind: "meter",
        name: meter,
        element: { ...element, stmt },
        ...size === undefined ? {} : { size },
        at,
      };
    }
    case "names": {
      const fields = new Fields(source, of, path);
      const key = fields.word("key", NAME_KEYS);
      const op = fields.word("op", ["==", "!="]);
      const from = fields.at("right");
      const names = fields.take("right");
      const right = (Array.isArray(names) ? names : [names]).map((text) =>
        typeof text === "string"
          ? { text, at: from }
          : source.fail(from, `Found ${show(text)}, expected a name or an array of them`)
      );
      fields.end();
      return ready(makeNameMatch(source, { key, op, right }, at));
    }
    default:
      return source.fail(path, `Statements of kind "${name}" are not supported`);
  }
}

function readLog(source: Source, value: unknown, at: string): Log {
  if (value === null) return { flags: [] };
  const fields = new Fields(source, value, at);
  const prefix = fields.optionalString("prefix");
  const group = fields.optionalNumber("group", 0xffff);
  const snaplen = fields.optionalNumber("snaplen", 0xffff_ffff);
  const queueThreshold = fields.optionalNumber("queue-threshold", 0xffff);
  const level = fields.optionalWord("level", LOG_LEVELS);
  const flags = fields.words("flags", LOG_FLAGS);
  fields.end();
  return makeLog(source, { prefix, group, snaplen, queueThreshold, level, flags }, at);
}

type Node<Kind extends RawStatement["kind"]> = Omit<Extract<RawStatement, { kind: Kind }>, "at">;

function readReject(source: Source, value: unknown, at: string): Node<"reject"> {
  if (value === null) return { kind: "reject" };
  const fields = new Fields(source, value, at);
  const type = fields.optionalWord("type", REJECTS);
  const code = fields.has("expr")
    ? readExpression(source, fields.take("expr"), fields.at("expr"))
    : undefined;
  fields.end();
  if (type === undefined && code !== undefined) source.fail(at, "Missing type, of which expr is a code");
  return { kind: "reject", ...type === undefined ? {} : { type }, ...code === undefined ? {} : { code } };
}

function readNat(source: Source, what: NatKind, value: unknown, at: string): Node<"nat"> {
  if (value === null) return { kind: "nat", what, flags: [] };
  const fields = new Fields(source, value, at);
  const own = what === "snat" || what === "dnat";
  const family = own ? fields.optionalWord("family", ["ip", "ip6"]) : undefined;
  const addr = own && fields.has("addr")
    ? readExpression(source, fields.take("addr"), fields.at("addr"))
    : undefined;
  const port = fields.has("port")
    ? readExpression(source, fields.take("port"), fields.at("port"))
    : undefined;
  const flags = fields.words("flags", NAT_FLAGS);
  // What nft derives from the map it stands beside; a prefix is the flag netmap too.
  fields.words("type_flags", ["prefix", "interval", "concat"]);
  fields.end();
  return {
    kind: "nat",
    what,
    ...family === undefined ? {} : { family },
    ...addr === undefined ? {} : { addr },
    ...port === undefined ? {} : { port },
    flags,
  };
}

function readQueue(source: Source, value: unknown, at: string): Node<"queue"> {
  if (value === null) return { kind: "queue", flags: [] };
  const fields = new Fields(source, value, at);
  const num = fields.has("num") ? readExpression(source, fields.take("num"), fields.at("num")) : undefined;
  const flags = fields.words("flags", ["bypass", "fanout"]);
  fields.end();
  return { kind: "queue", ...num === undefined ? {} : { num }, flags };
}

function readUpdate(source: Source, kind: "set" | "map", value: unknown, at: string): Node<"update"> {
  const fields = new Fields(source, value, at);
  const op = fields.word("op", ["add", "update", "delete"]);
  const reference = fields.string(kind);
  if (!reference.startsWith("@")) source.fail(fields.at(kind), `Found ${show(reference)}, expected @name`);
  const name = checkName(source, reference.slice(1), fields.at(kind));
  const element = readSingle(source, fields.take("elem"), fields.at("elem"), 0);
  const stmt = fields.has("stmt") ? readStatefulList(source, fields.take("stmt"), fields.at("stmt")) : [];
  let data;
  if (kind === "map") {
    const to = fields.take("data");
    const isVerdict = typeof to === "object" && to !== null && VERDICTS.some((verdict) => verdict in to);
    data = isVerdict
      ? {
        kind: "verdict" as const,
        verdict: readVerdict(source, to, fields.at("data")),
        at: fields.at("data"),
      }
      : readExpression(source, to, fields.at("data"));
  }
  fields.end();
  return {
    kind: "update",
    op,
    name,
    element: { ...element, stmt: [...element.stmt, ...stmt], ...data === undefined ? {} : { data } },
  };
}
