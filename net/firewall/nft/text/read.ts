import { FirewallError } from "../../rule.ts";
import { applyCommands, NO_RULES } from "../apply.ts";
import { KnownSets } from "../read/context.ts";
import { checkFamily } from "../read/names.ts";
import { readElementsFor, readNamedSet } from "../read/sets.ts";
import { readStatements } from "../read/statement.ts";
import type { BaseChain, Command, Family, InTable, NftObject, NftTarget, Ruleset } from "../schema.ts";
import { COMMANDS_MAX, DEPTH_MAX, DOCUMENT_CHARACTERS_MAX } from "../words/limits.ts";
import { parseBase, parseName, parsePolicy, parseSet } from "./blocks.ts";
import { Cursor } from "./cursor.ts";
import { ExpressionParser } from "./expression.ts";
import { tokensOf } from "./lexer.ts";
import { FirewallSyntaxError, TextSource } from "./source.ts";
import { parseStatements } from "./statement.ts";
import { parseCounter, parseLimit, parseQuota } from "./stateful.ts";
import { Variables } from "./variables.ts";

export { FirewallSyntaxError };

/** Another file that a text includes. */
export interface IncludedFile {
  /** For messages. */
  readonly name: string;
  /** What stands in it. */
  readonly text: string;
}

/** What a text of rules is read with. */
export interface TextOptions {
  /** What the file changes. Default: no rules. */
  readonly before?: Ruleset;
  /** Its name in messages. Default: `rules`. */
  readonly file?: string;
  /** The files that an `include "pattern"` means, in order. Without it, includes are refused. */
  readonly include?: (pattern: string) => readonly IncludedFile[];
  /** Values of variables, as `nft -D name=value` gives them. */
  readonly defines?: Readonly<Record<string, string>>;
}

/**
 * Rules out of a text as `nft -f` takes it. Its commands take effect on `before` together or not at all.
 *
 * @throws {FirewallSyntaxError} At the first thing that is wrong or not supported, with its line and column.
 * @example
 * ```ts
 * import { readTextRules } from "@torpor/torpor/net/firewall/nft/text/read.ts";
 * const { tables } = readTextRules(`table inet filter {
 *   chain input {
 *     type filter hook input priority filter; policy drop;
 *     ct state established,related accept
 *     tcp dport { 22, 443 } accept
 *   }
 * }`);
 * console.log(tables[0]!.chains[0]!.rules.length); // 2
 * ```
 */
export function readTextRules(text: string, options: TextOptions = {}): Ruleset {
  const file = options.file ?? "rules";
  const { commands, offsets, source } = parse(text, options);
  return applyCommands(options.before ?? NO_RULES, commands, (at, message) => {
    const offset = offsets.get(at);
    if (offset !== undefined) source.fail(offset, message);
    throw new FirewallError(file, message);
  });
}

/** The commands of a text, blocks taken apart: `table` blocks are tables, chains, sets and rules that are added. */
export function readTextCommands(text: string, options: TextOptions = {}): Command[] {
  return parse(text, options).commands;
}

function parse(text: string, options: TextOptions): FileParser {
  const source = new TextSource();
  const parser = new FileParser(source, options);
  for (const [name, value] of Object.entries(options.defines ?? {})) {
    parser.file(`-D ${name}`, `define ${name} = ${value}`);
  }
  parser.file(options.file ?? "rules", text);
  return parser;
}

const FAMILIES = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];
const REFUSED_OBJECTS = ["flowtable", "secmark", "synproxy", "ct", "tunnel"];

class FileParser {
  readonly source: TextSource;
  readonly commands: Command[] = [];
  /** Places of commands by their names. */
  readonly offsets: Map<string, number> = new Map();
  readonly #options: TextOptions;
  readonly #variables: Variables;
  readonly #known: KnownSets;
  #depth = 0;
  // Of the file that is read; includes replace it for a while.
  #parser!: ExpressionParser;

  constructor(source: TextSource, options: TextOptions) {
    this.source = source;
    this.#options = options;
    this.#variables = new Variables(source);
    this.#known = new KnownSets(options.before ?? NO_RULES);
  }

  get #cursor(): Cursor {
    return this.#parser.cursor;
  }

  file(name: string, text: string, includedAt?: number): void {
    const base = this.source.add(name, text);
    const at = includedAt ?? base;
    if (this.source.characters > DOCUMENT_CHARACTERS_MAX) {
      this.source.fail(at, `More than ${DOCUMENT_CHARACTERS_MAX} characters`);
    }
    if (++this.#depth > DEPTH_MAX) {
      this.source.fail(at, `More than ${DEPTH_MAX} files that include one another`);
    }
    const outer = this.#parser;
    this.#parser = new ExpressionParser(
      new Cursor(this.source, tokensOf(this.source, text, base)),
      this.#variables,
    );
    const cursor = this.#cursor;
    for (cursor.skipEnds(); cursor.token.kind !== "end"; cursor.skipEnds()) this.#line();
    this.#parser = outer;
    this.#depth--;
  }

  #line(): void {
    const cursor = this.#cursor;
    const { at } = cursor;
    if (this.#common()) return;
    const verb = cursor.takeWord(
      "add",
      "create",
      "insert",
      "replace",
      "delete",
      "destroy",
      "flush",
      "rename",
    );
    switch (verb) {
      case undefined: {
        if (
          cursor.isWord(
            "table",
            "chain",
            "rule",
            "set",
            "map",
            "element",
            "counter",
            "quota",
            "limit",
            ...REFUSED_OBJECTS,
          )
        ) {
          return this.#add("add", at);
        }
        if (cursor.isWord("list", "reset", "monitor", "export", "describe", "import", "get")) {
          this.source.fail(
            at,
            `"${cursor.token.text}" asks for something; a rule file says what the rules are`,
          );
        }
        return cursor.expected('a command like "table", "add" or "flush"');
      }
      case "add":
      case "create":
      case "insert":
      case "replace":
        return this.#add(verb, at);
      case "delete":
      case "destroy":
      case "flush":
        return this.#remove(verb, at);
      default: {
        cursor.expectWord("chain");
        const place = this.#place();
        const name = parseName(this.#parser, "chain");
        const newname = parseName(this.#parser, "chain");
        this.#push({ op: "rename", chain: { ...place, name, newname }, at: this.#name(at) });
        cursor.expectEnd();
      }
    }
  }

  /** What may stand anywhere: definitions and includes. */
  #common(): boolean {
    const cursor = this.#cursor;
    const { at } = cursor;
    const word = cursor.takeWord("define", "redefine", "undefine", "include");
    if (word === undefined) return false;
    if (word === "include") {
      if (cursor.token.kind !== "string") cursor.expected("a quoted path");
      const pattern = cursor.next().text;
      const { include } = this.#options;
      if (include === undefined) this.source.fail(at, "Includes are not allowed here");
      const files = include(pattern);
      if (files.length === 0 && !/[*?[]/.test(pattern)) this.source.fail(at, `There is no file "${pattern}"`);
      cursor.expectEnd();
      for (const { name, text } of files) this.file(name, text, at);
      return true;
    }
    const name = cursor.expectName("the name of a variable").text;
    if (word === "undefine") this.#variables.undefine(name, at);
    else {
      cursor.expectMark("=");
      this.#variables.define(name, this.#parser.right(), at, word === "redefine");
    }
    cursor.expectEnd();
    return true;
  }

  #add(op: "add" | "create" | "insert" | "replace", at: number): void {
    const cursor = this.#cursor;
    if ((op === "insert" || op === "replace") && !cursor.isWord("rule")) cursor.expected('"rule"');
    if (cursor.isWord(...REFUSED_OBJECTS)) {
      this.source.fail(cursor.at, `"${cursor.token.text}" is not supported`);
    }
    const kind = this.#take("table", "chain", "rule", "set", "map", "element", "counter", "quota", "limit") ??
      cursor.expected("a table, chain, rule, set, map, element, counter, quota or limit");
    if (kind === "table") return this.#table(op, at);
    const place = this.#place();
    if (kind === "rule") return this.#rule(op, place, at);
    const name = parseName(this.#parser, kind);
    switch (kind) {
      case "chain":
        return this.#chain(op, place, name, at);
      case "set":
      case "map":
        return this.#set(op, kind, place, name, at);
      case "element": {
        const shape = this.#known.get(this.source, at, place.family, place.table, name);
        const raw = this.#parser.right();
        if (raw.kind !== "set") this.source.fail(raw.at, "Expected { element, ... }");
        this.#put(
          op,
          { element: { ...place, name, elem: readElementsFor(this.source, raw.items, shape) } },
          at,
        );
        break;
      }
      default:
        this.#object(op, kind, place, name, at);
    }
    cursor.expectEnd();
  }

  #table(op: "add" | "create" | "insert" | "replace", at: number): void {
    const cursor = this.#cursor;
    const family = this.#family();
    const name = parseName(this.#parser, "table");
    const index = this.commands.length;
    let dormant = false;
    let comment: string | undefined;
    this.#put(op, { table: { family, name, dormant } }, at);
    const place: InTable = { family, table: name };
    if (cursor.takeMark("{")) {
      this.#variables.push();
      for (cursor.skipEnds(); !cursor.takeMark("}"); cursor.skipEnds()) {
        const from = cursor.at;
        if (this.#common()) continue;
        if (cursor.takeWord("flags") !== undefined) {
          if (cursor.takeWord("dormant") === undefined) {
            cursor.expected("dormant: other flags of tables are not supported");
          }
          dormant = true;
          cursor.expectEnd();
        } else if (cursor.takeWord("comment") !== undefined) {
          comment = this.#parser.comment();
          cursor.expectEnd();
        } else if (cursor.isWord(...REFUSED_OBJECTS)) {
          this.source.fail(from, `"${cursor.token.text}" is not supported`);
        } else {
          const kind = this.#take("chain", "set", "map", "counter", "quota", "limit") ??
            cursor.expected('"chain", "set", "map", "counter", "quota", "limit" or "}"');
          const object = parseName(this.#parser, kind);
          if (kind === "chain") this.#chain("add", place, object, from);
          else if (kind === "set" || kind === "map") this.#set("add", kind, place, object, from);
          else {
            this.#object("add", kind, place, object, from);
            cursor.expectEnd();
          }
        }
      }
      this.#variables.pop();
    } else cursor.expectEnd();
    const table = { family, name, ...comment === undefined ? {} : { comment }, dormant };
    this.commands[index] = { ...this.commands[index]!, object: { table } } as Command;
  }

  #chain(op: "add" | "create" | "insert" | "replace", place: InTable, name: string, at: number): void {
    const cursor = this.#cursor;
    const index = this.commands.length;
    let base: BaseChain | undefined;
    let policy: BaseChain["policy"] | undefined;
    let comment: string | undefined;
    this.#put(op, { chain: { ...place, name } }, at);
    if (cursor.takeMark("{")) {
      this.#variables.push();
      for (cursor.skipEnds(); !cursor.takeMark("}"); cursor.skipEnds()) {
        const from = cursor.at;
        if (this.#common()) continue;
        if (cursor.isWord("type") && cursor.peek(2).text === "hook") {
          if (base !== undefined) this.source.fail(from, "A chain has one type");
          base = parseBase(this.#parser);
        } else if (cursor.takeWord("policy") !== undefined) {
          const word = parsePolicy(this.#parser);
          if (base === undefined) policy = word;
          else base = { ...base, policy: word };
        } else if (cursor.isWord("comment")) {
          cursor.next();
          comment = this.#parser.comment();
          cursor.expectEnd();
        } else if (cursor.isWord("flags", "device", "devices")) {
          this.source.fail(from, "Flags and devices of chains are not supported");
        } else this.#statements("add", place, name, from);
      }
      this.#variables.pop();
    } else cursor.expectEnd();
    const chain = {
      ...place,
      name,
      ...comment === undefined ? {} : { comment },
      ...base === undefined ? policy === undefined ? {} : { policy } : { base },
    };
    this.commands[index] = { ...this.commands[index]!, object: { chain } } as Command;
  }

  #rule(op: "add" | "create" | "insert" | "replace", place: InTable, at: number): void {
    const cursor = this.#cursor;
    const chain = parseName(this.#parser, "chain");
    const by = cursor.takeWord("handle", "position", "index");
    const number = by === undefined ? undefined : cursor.expectNumber("a number", Number.MAX_SAFE_INTEGER);
    if (op === "replace" && by !== "handle") cursor.expected('"handle" and a number: what is replaced');
    const where = number === undefined ? {} : by === "index" ? { index: number } : { handle: number };
    this.#statements(op, place, chain, at, where);
  }

  #statements(
    op: "add" | "create" | "insert" | "replace",
    { family, table }: InTable,
    chain: string,
    at: number,
    where: { index?: number; handle?: number } = {},
  ): void {
    const from = this.#cursor.at;
    const { statements, comment } = parseStatements(this.#parser);
    const expr = readStatements(this.source, family, statements, from);
    const line = this.source.lineOf(at);
    const rule = { expr, ...comment === undefined ? {} : { comment }, ...where, line };
    this.#put(op, { rule: { family, table, chain, ...rule } }, at);
    this.#cursor.expectEnd();
  }

  #set(
    op: "add" | "create" | "insert" | "replace",
    kind: "set" | "map",
    place: InTable,
    name: string,
    at: number,
  ): void {
    const raw = parseSet(this.#parser, kind, name, at);
    const set = readNamedSet(this.source, raw);
    this.#known.add(place.family, place.table, name, set);
    this.#put(op, { set: { ...place, ...set } }, at);
  }

  #object(
    op: "add" | "create" | "insert" | "replace",
    kind: "counter" | "quota" | "limit",
    place: InTable,
    name: string,
    at: number,
  ): void {
    const cursor = this.#cursor;
    const braces = cursor.takeMark("{");
    let comment: string | undefined;
    let state: object | undefined;
    const end = (): boolean => braces ? cursor.isMark("}") : cursor.isEnd;
    if (braces) cursor.skipEnds();
    while (!end()) {
      if (cursor.takeWord("comment") !== undefined) comment = this.#parser.comment();
      else if (state !== undefined) cursor.expected(braces ? '"}"' : "the end of the line");
      else {
        const from = cursor.at;
        state = kind === "counter"
          ? parseCounter(cursor)
          : kind === "quota"
          ? parseQuota(cursor)
          : parseLimit(cursor);
        if (cursor.at === from) cursor.expected('"packets" or "comment"');
      }
      if (braces) cursor.skipEnds();
    }
    if (braces) cursor.expectMark("}");
    if (state === undefined && kind !== "counter") this.source.fail(at, `A ${kind} says how much`);
    const object = {
      ...place,
      name,
      ...comment === undefined ? {} : { comment },
      ...state ?? { packets: 0, bytes: 0 },
    };
    this.#put(op, { [kind]: object } as unknown as NftObject, at);
  }

  #remove(op: "delete" | "destroy" | "flush", at: number): void {
    const cursor = this.#cursor;
    const kinds = op === "flush"
      ? ["ruleset", "table", "chain", "set", "map"]
      : ["table", "chain", "rule", "set", "map", "element", "counter", "quota", "limit"];
    const kind = cursor.expectWord(...kinds);
    this.#push({ op, target: this.#target(kind, at), at: this.#name(at) });
    cursor.expectEnd();
  }

  #target(kind: string, at: number): NftTarget {
    const cursor = this.#cursor;
    if (kind === "ruleset") {
      return { ruleset: cursor.token.kind === "word" ? { family: this.#takeFamily() } : {} };
    }
    if (kind === "table") {
      return { table: { family: this.#family(), name: parseName(this.#parser, "table") } };
    }
    const place = this.#place();
    const name = parseName(this.#parser, kind === "rule" ? "chain" : kind);
    switch (kind) {
      case "rule":
        cursor.expectWord("handle");
        return {
          rule: { ...place, chain: name, handle: cursor.expectNumber("a handle", Number.MAX_SAFE_INTEGER) },
        };
      case "element": {
        const shape = this.#known.get(this.source, at, place.family, place.table, name);
        const raw = this.#parser.right();
        if (raw.kind !== "set") this.source.fail(raw.at, "Expected { element, ... }");
        return { element: { ...place, name, elem: readElementsFor(this.source, raw.items, shape, true) } };
      }
      case "map":
        return { set: { ...place, name } };
      default:
        return { [kind]: { ...place, name } } as unknown as NftTarget;
    }
  }

  /** A family where one is written and a name follows; nft's default is ip. */
  #family(): Family {
    const { token } = this.#cursor;
    const { kind } = this.#cursor.peek();
    const named = kind === "word" || kind === "string" || kind === "variable";
    return named && this.#cursor.isWord(...FAMILIES)
      ? this.#takeFamily()
      : token.kind === "end"
      ? this.#cursor.expected("a name")
      : "ip";
  }

  #take<T extends string>(...words: readonly T[]): T | undefined {
    return this.#cursor.takeWord(...words) as T | undefined;
  }

  #takeFamily(): Family {
    const { text, at } = this.#cursor.next();
    return checkFamily(this.source, text, at);
  }

  #place(): InTable {
    const family = this.#family();
    return { family, table: parseName(this.#parser, "table") };
  }

  #put(op: "add" | "create" | "insert" | "replace", object: NftObject, at: number): void {
    this.#push({ op, object, at: this.#name(at) });
  }

  #name(at: number): string {
    const name = this.source.describe(at);
    this.offsets.set(name, at);
    return name;
  }

  #push(command: Command): void {
    if (this.commands.length === COMMANDS_MAX) {
      this.source.fail(this.#cursor.at, `More than ${COMMANDS_MAX} commands`);
    }
    this.commands.push(command);
  }
}
