import { readSelector, typesOfKey } from "../read/expression.ts";
import { LOG_LEVELS, makeLog } from "../read/log.ts";
import { makeNameMatch } from "../read/name_match.ts";
import { checkName } from "../read/names.ts";
import {
  LOG_FLAGS,
  NAT_FLAGS,
  type NatKind,
  type Raw,
  type RawOp,
  type RawStatement,
  type RejectType,
} from "../read/raw.ts";
import type { LogFlag, NatFlag } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import type { Cursor } from "./cursor.ts";
import type { ExpressionParser } from "./expression.ts";
import { parseStateful } from "./stateful.ts";

const OPS: Readonly<Record<string, RawOp>> = {
  ...{ "==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!": "!" },
  ...{ eq: "==", ne: "!=", lt: "<", gt: ">", le: "<=", ge: ">=" },
};
const REFUSED = ["dup", "fwd", "tproxy", "synproxy", "xt", "flow", "secmark", "last", "osf", "offload"];

/** The statements of a rule up to its end, and its comment. */
export function parseStatements(parser: ExpressionParser): { statements: RawStatement[]; comment?: string } {
  const { cursor } = parser;
  const statements: RawStatement[] = [];
  while (!cursor.isEnd) {
    if (cursor.takeWord("comment") !== undefined) return { statements, comment: parser.comment() };
    statements.push(parseStatement(parser));
  }
  return { statements };
}

function parseStatement(parser: ExpressionParser): RawStatement {
  const { cursor } = parser;
  const { at } = cursor;
  const verdict = parser.verdict();
  if (verdict !== undefined) return { kind: "ready", statement: verdict, at };
  if (cursor.token.kind === "word") {
    switch (cursor.token.text) {
      case "counter":
      case "quota":
      case "limit":
        return parseState(parser, at);
      case "log":
        return parseLog(parser, at);
      case "reject":
        return parseReject(parser, at);
      case "snat":
      case "dnat":
      case "masquerade":
      case "redirect":
        return parseNat(parser, at);
      case "queue":
        return parseQueue(parser, at);
      case "notrack":
        cursor.next();
        return { kind: "ready", statement: { notrack: null }, at };
      case "add":
      case "update":
      case "delete":
        return parseUpdate(parser, at);
      case "set":
        // The older order of words: "set add ip saddr @name".
        return parseOldUpdate(parser, at);
      case "meter":
        return parseMeter(parser, at);
      case "tls":
      case "http":
      case "name":
        return parseNames(cursor, at);
      case "ct":
        if (cursor.peek().text === "count") return { kind: "ready", statement: parseStateful(cursor), at };
        if (/^(helper|timeout|expectation)$/.test(cursor.peek().text) && cursor.peek(2).text === "set") {
          cursor.source.fail(at, `"ct ${cursor.peek().text} set" is not supported`);
        }
        break;
    }
    if (cursor.isWord(...REFUSED)) {
      cursor.source.fail(at, `Statements of kind "${cursor.token.text}" are not supported`);
    }
  }
  return parseMatch(parser, at);
}

function parseMatch(parser: ExpressionParser, at: number): RawStatement {
  const left = parser.selector();
  parser.ofClasses = left.kind === "selector" && typeof left.expression === "object" &&
    "meta" in left.expression && left.expression.meta.key === "priority";
  const statement = parseComparison(parser, left, at);
  parser.ofClasses = false;
  return statement;
}

function parseComparison(parser: ExpressionParser, left: Raw, at: number): RawStatement {
  const { cursor } = parser;
  if (cursor.takeWord("vmap") !== undefined) return { kind: "vmap", key: left, data: parser.mapData(), at };
  if (cursor.takeWord("set") !== undefined) return { kind: "mangle", key: left, value: parser.value(), at };
  const { kind, text } = cursor.token;
  const op = (kind === "mark" || kind === "word") && Object.hasOwn(OPS, text) ? OPS[text] : undefined;
  if (op !== undefined) cursor.next();
  const right = parser.right();
  if (cursor.isMark("/") && (op === undefined || op === "==" || op === "!=")) {
    const from = cursor.next().at;
    // Of flags what is behind it is a mask, of anything else the bits of a prefix.
    const { type } = typesOfKey(cursor.source, readSelector(cursor.source, left), at)[0]!;
    if (DATA_TYPES[type].flags !== true) {
      const length = cursor.expectNumber("a length", 128);
      return {
        kind: "match",
        ...op === undefined ? {} : { op },
        left,
        right: { kind: "prefix", address: right, length, at: right.at },
        at,
      };
    }
    const masked: Raw = { kind: "binary", op: "&", left, right: parser.right(), at: from };
    return { kind: "match", op: op ?? "==", left: masked, right, at };
  }
  return { kind: "match", ...op === undefined ? {} : { op }, left, right, at };
}

function parseState(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  if (cursor.peek().text !== "name") return { kind: "ready", statement: parseStateful(cursor), at };
  const what = cursor.next().text as "counter" | "quota" | "limit";
  cursor.next();
  if (parser.isSelector) {
    const key = parser.selector();
    cursor.expectWord("map");
    return { kind: "use", what, name: { kind: "map", key, data: parser.mapData(), at }, at };
  }
  const { text, at: from } = parser.name(`the name of a ${what}`);
  return {
    kind: "use",
    what,
    name: { kind: "word", text: checkName(cursor.source, text, from), quoted: true, at: from },
    at,
  };
}

function parseLog(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  cursor.next();
  const log: Parameters<typeof makeLog>[1] & { flags: LogFlag[] } = {
    ...{
      prefix: undefined,
      group: undefined,
      snaplen: undefined,
      queueThreshold: undefined,
      level: undefined,
    },
    flags: [],
  };
  const fields: { -readonly [Key in keyof typeof log]: (typeof log)[Key] } = log;
  while (true) {
    switch (cursor.takeWord("prefix", "group", "snaplen", "queue-threshold", "level", "flags")) {
      case "prefix":
        fields.prefix = parser.name("a prefix").text;
        break;
      case "group":
        fields.group = cursor.expectNumber("a group", 0xffff);
        break;
      case "snaplen":
        fields.snaplen = cursor.expectNumber("a length", 0xffff_ffff);
        break;
      case "queue-threshold":
        fields.queueThreshold = cursor.expectNumber("a number of packets", 0xffff);
        break;
      case "level": {
        const word = cursor.expectWord(...LOG_LEVELS, "warning", "error", "panic");
        const aliases: Record<string, string> = { warning: "warn", error: "err", panic: "emerg" };
        fields.level = LOG_LEVELS.find((level) => level === (aliases[word] ?? word));
        break;
      }
      case "flags":
        fields.flags.push(...parseLogFlags(cursor));
        break;
      default:
        return { kind: "ready", statement: { log: makeLog(cursor.source, log, at) }, at };
    }
  }
}

function parseLogFlags(cursor: Cursor): LogFlag[] {
  const word = cursor.expectWord("tcp", "ip", "skuid", "ether", "all");
  const flags: LogFlag[] = [];
  if (word === "tcp") {
    do {
      flags.push(cursor.expectWord("sequence", "options") === "sequence" ? "tcp sequence" : "tcp options");
    } while (cursor.takeMark(","));
  } else if (word === "ip") {
    cursor.expectWord("options");
    flags.push("ip options");
  } else flags.push(LOG_FLAGS.find((flag) => flag === word)!);
  return flags;
}

function parseReject(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  cursor.next();
  if (cursor.takeWord("with") === undefined) return { kind: "reject", at };
  const type = cursor.expectWord("tcp", "icmp", "icmpv6", "icmpx");
  if (type === "tcp") {
    cursor.expectWord("reset");
    return { kind: "reject", type: "tcp reset", at };
  }
  cursor.takeWord("type");
  return { kind: "reject", type: type as RejectType, code: parser.right(), at };
}

function parseNat(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  const what = cursor.next().text as NatKind;
  const own = what === "snat" || what === "dnat";
  // "snat ip to", but also "snat ip saddr map": "to" may be left out.
  const named = own && ["to", "prefix", "interval", "addr"].includes(cursor.peek().text);
  const family = named ? cursor.takeWord("ip", "ip6") as "ip" | "ip6" | undefined : undefined;
  let joined = false;
  const flags: NatFlag[] = [];
  if (own && cursor.takeWord("prefix") !== undefined) flags.push("netmap");
  else if (own && cursor.takeWord("interval") !== undefined) joined = false; // the map says so as well
  else if (own && cursor.takeWord("addr") !== undefined) {
    cursor.expectMark(".");
    cursor.expectWord("port");
    joined = true;
  }
  let addr: Raw | undefined;
  let port: Raw | undefined;
  if (own || joined || cursor.isWord("to") || cursor.isMark(":")) {
    cursor.takeWord("to");
    if (own && !cursor.isMark(":")) addr = parseAddress(parser);
    if (cursor.takeMark(":")) port = parser.value();
    else if (!own) cursor.expected('":" and a port');
  }
  while (cursor.isWord(...NAT_FLAGS)) {
    flags.push(cursor.next().text as NatFlag);
    if (!cursor.takeMark(",")) break;
  }
  return {
    kind: "nat",
    what,
    ...family === undefined ? {} : { family },
    ...addr === undefined ? {} : { addr },
    ...port === undefined ? {} : { port },
    flags,
    at,
  };
}

/** `1.2.3.4`, `[2001:db8::1]`, a range of those, or a map. */
function parseAddress(parser: ExpressionParser): Raw {
  const { cursor } = parser;
  if (!cursor.isMark("[")) return parser.value();
  const from = cursor.next().at;
  const low = parser.right();
  cursor.expectMark("]");
  if (!cursor.takeMark("-")) return low;
  cursor.expectMark("[");
  const high = parser.right();
  cursor.expectMark("]");
  return { kind: "range", low, high, at: from };
}

function parseQueue(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  cursor.next();
  const flags: ("bypass" | "fanout")[] = [];
  let num: Raw | undefined;
  const parseFlags = (): void => {
    while (cursor.isWord("bypass", "fanout")) {
      flags.push(cursor.next().text as "bypass" | "fanout");
      if (!cursor.takeMark(",")) break;
    }
  };
  if (cursor.takeWord("flags") !== undefined) parseFlags();
  if (cursor.takeWord("num", "to") !== undefined) num = parser.right();
  parseFlags();
  return { kind: "queue", ...num === undefined ? {} : { num }, flags, at };
}

function parseUpdate(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  const op = cursor.next().text as "add" | "update" | "delete";
  cursor.expectMark("@");
  const { text, at: from } = cursor.expectName("the name of a set");
  return { kind: "update", op, name: checkName(cursor.source, text, from), element: parser.updated(), at };
}

/** `tls sni { "example.com", *.example.org }`, `name pending`: what nft does not have. */
function parseNames(cursor: Cursor, at: number): RawStatement {
  const { source } = cursor;
  const word = cursor.next().text;
  if (word === "name") {
    const { text, at: from } = cursor.expectName("pending or missing");
    const right = [{ text, at: from }];
    return { kind: "ready", statement: makeNameMatch(source, { key: "name", op: "==", right }, at), at };
  }
  const key = word === "tls" ? "tls sni" : "http host";
  cursor.expectWord(key.slice(word.length + 1));
  const op = cursor.takeMark("!=") || cursor.takeWord("ne") !== undefined ? "!=" : "==";
  if (op === "==" && !cursor.takeMark("==")) cursor.takeWord("eq");
  const right: { text: string; at: number }[] = [];
  const inBraces = cursor.takeMark("{");
  do {
    if (inBraces) cursor.skipNewlines();
    if (inBraces && cursor.isMark("}")) break;
    right.push(parseDomain(cursor));
    if (inBraces) cursor.skipNewlines();
  } while (inBraces && cursor.takeMark(","));
  if (inBraces) cursor.expectMark("}");
  return { kind: "ready", statement: makeNameMatch(source, { key, op, right }, at), at };
}

/** A name, which may begin with `*.` and need not be quoted. */
function parseDomain(cursor: Cursor): { text: string; at: number } {
  const { at } = cursor;
  if (cursor.isMark("@")) cursor.source.fail(at, "Names stand in the rule itself: no set holds them");
  if (!cursor.takeMark("*")) {
    const { kind, text } = cursor.token;
    // What has no dot is more likely the next statement of somebody who forgot the name.
    if (kind === "word" && !text.includes(".")) cursor.expected("a name like example.com, or one in quotes");
    return { text: cursor.expectName("a name like example.com").text, at };
  }
  cursor.expectMark(".");
  return { text: `*.${cursor.expectName("a name like example.com").text}`, at };
}

function parseOldUpdate(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  cursor.next();
  const op = cursor.expectWord("add", "update", "delete") as "add" | "update" | "delete";
  const key = parser.selector();
  const timeout = cursor.takeWord("timeout") === undefined ? {} : { timeout: parser.duration() };
  cursor.expectMark("@");
  const { text, at: from } = cursor.expectName("the name of a set");
  return {
    kind: "update",
    op,
    name: checkName(cursor.source, text, from),
    element: { key, ...timeout, stmt: [], at },
    at,
  };
}

function parseMeter(parser: ExpressionParser, at: number): RawStatement {
  const { cursor } = parser;
  cursor.next();
  const { text, at: from } = cursor.expectName("the name of a meter");
  const size = cursor.takeWord("size") === undefined
    ? {}
    : { size: cursor.expectNumber("a size", 0xffff_ffff) };
  return {
    kind: "meter",
    name: checkName(cursor.source, text, from),
    element: parser.updated(),
    ...size,
    at,
  };
}
