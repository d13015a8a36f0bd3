import { checkChainType, checkHook, checkName, PRIORITY_MAX, priorityOf } from "../read/names.ts";
import type { RawElement } from "../read/raw.ts";
import { type RawSet, readTypes, SET_FLAGS, typesOfExpression } from "../read/sets.ts";
import { readSelector, typesOfKey } from "../read/expression.ts";
import type { BaseChain, DataType, MapData, SetFlag, StatefulStatement } from "../schema.ts";
import type { ExpressionParser } from "./expression.ts";
import { parseStateful, STATEFUL } from "./stateful.ts";

/** `type filter hook input priority filter`, with the policy where it follows. */
export function parseBase(parser: ExpressionParser): BaseChain {
  const { cursor } = parser;
  const { source } = cursor;
  cursor.expectWord("type");
  const { text: typeText, at: typeAt } = cursor.expectName("filter, nat or route");
  const type = checkChainType(source, typeText, typeAt);
  cursor.expectWord("hook");
  const { text: hookText, at: hookAt } = cursor.expectName("a hook");
  const hook = checkHook(source, hookText, hookAt);
  if (cursor.isWord("device", "devices")) source.fail(cursor.at, "Chains of a device are not supported");
  cursor.expectWord("priority");
  const prio = parsePriority(parser);
  cursor.expectEnd();
  return { type, hook, prio, policy: "accept" };
}

function parsePriority(parser: ExpressionParser): number {
  const { cursor } = parser;
  const { at } = cursor;
  let sign = cursor.takeMark("-") ? -1 : 1;
  if (cursor.token.kind === "number") return sign * cursor.expectNumber("a priority", PRIORITY_MAX);
  if (sign < 0) cursor.expected("a number");
  let base: number | undefined;
  if (cursor.token.kind === "variable") {
    const { text, at: from } = cursor.next();
    const raw = parser.variables.get(text, from);
    base = raw.kind === "number" ? raw.value : raw.kind === "word" ? priorityOf(raw.text) : undefined;
  } else base = priorityOf(cursor.expectName("a priority").text);
  if (base === undefined) {
    return cursor.source.fail(at, "Expected a number, or raw, mangle, dstnat, filter, security or srcnat");
  }
  if (!cursor.isMark("+") && !cursor.isMark("-")) return base;
  sign = cursor.next().text === "-" ? -1 : 1;
  return base + sign * cursor.expectNumber("a number", PRIORITY_MAX / 2);
}

export function parsePolicy(parser: ExpressionParser): "accept" | "drop" {
  const { text, at } = parser.name("accept or drop");
  if (text !== "accept" && text !== "drop") {
    parser.cursor.source.fail(at, `Found "${text}", expected accept or drop`);
  }
  parser.cursor.expectEnd();
  return text;
}

/** The block of a set or map. */
export function parseSet(parser: ExpressionParser, kind: "set" | "map", name: string, at: number): RawSet {
  const { cursor } = parser;
  const { source } = cursor;
  const set: { -readonly [Key in keyof RawSet]?: RawSet[Key] } = {};
  const stmt: StatefulStatement[] = [];
  let elements: readonly RawElement[] = [];
  cursor.expectMark("{");
  for (cursor.skipEnds(); !cursor.takeMark("}"); cursor.skipEnds()) {
    const from = cursor.at;
    if (cursor.isWord(...STATEFUL) && stmt.length < 8) {
      stmt.push(parseStateful(cursor));
      cursor.expectEnd();
      continue;
    }
    const property = cursor.expectWord(
      ...[
        "type",
        "typeof",
        "flags",
        "timeout",
        "gc-interval",
        "size",
        "policy",
        "auto-merge",
        "comment",
        "elements",
      ],
    );
    switch (property) {
      case "type":
      case "typeof": {
        const types = property === "type" ? () => parseTypes(parser) : () => parseTypeof(parser);
        set.type = types();
        if (cursor.takeMark(":")) {
          if (kind === "set") source.fail(from, "A set has no type behind a colon: maps have");
          set.data = parseData(parser, types);
        } else if (kind === "map") cursor.expected('":" and the type of what keys lead to');
        break;
      }
      case "flags": {
        const flags: SetFlag[] = [];
        do flags.push(cursor.expectWord(...SET_FLAGS) as SetFlag); while (cursor.takeMark(","));
        set.flags = flags;
        break;
      }
      case "timeout":
        set.timeout = parser.duration();
        break;
      case "gc-interval":
        set.gcInterval = parser.duration();
        break;
      case "size":
        set.size = cursor.expectNumber("a number of elements", 0xffff_ffff);
        break;
      case "policy":
        if (cursor.expectWord("performance", "memory") === "memory") set.policy = "memory";
        break;
      case "auto-merge":
        set.autoMerge = true;
        break;
      case "comment":
        set.comment = parser.comment();
        break;
      case "elements": {
        cursor.expectMark("=");
        const raw = parser.right();
        elements = raw.kind === "set" ? raw.items : source.fail(raw.at, "Expected { element, ... }");
      }
    }
    cursor.expectEnd();
  }
  if (set.type === undefined) return source.fail(at, `A ${kind} needs a type`);
  const { type, ...rest } = set;
  return { flags: [], autoMerge: false, ...rest, name, type, stmt, elements, at };
}

function parseTypes(parser: ExpressionParser): DataType[] {
  const { cursor } = parser;
  const from = cursor.at;
  const names = [cursor.expectName("the name of a type")];
  while (cursor.takeMark(".")) names.push(cursor.expectName("the name of a type"));
  return readTypes(cursor.source, names, from);
}

function parseTypeof(parser: ExpressionParser): DataType[] {
  const { cursor } = parser;
  const raw = parser.selector();
  const key = readSelector(cursor.source, raw);
  return typesOfExpression(cursor.source, typesOfKey(cursor.source, key, raw.at), raw.at);
}

function parseData(parser: ExpressionParser, types: () => DataType[]): MapData {
  const { cursor } = parser;
  if (cursor.takeWord("interval") !== undefined) return { value: types(), interval: true };
  if (cursor.takeWord("verdict") !== undefined) return { verdict: null };
  const object = cursor.takeWord("counter", "quota", "limit") as "counter" | "quota" | "limit" | undefined;
  return object === undefined ? { value: types() } : { object };
}

/** A name of something, as commands and blocks give it. */
export function parseName(parser: ExpressionParser, what: string): string {
  const { text, at } = parser.name(`the name of a ${what}`);
  return checkName(parser.cursor.source, text, at);
}
