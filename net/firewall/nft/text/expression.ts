import { checkComment, checkName } from "../read/names.ts";
import type { BinaryOp, Raw, RawElement, RawVerdict } from "../read/raw.ts";
import {
  checkCt,
  checkExthdr,
  checkFib,
  checkMeta,
  checkPayload,
  checkTcpOption,
  rawPayload,
} from "../read/selector.ts";
import type { CtKey, Expression, MetaKey, PayloadProtocol, Verdict } from "../schema.ts";
import { ELEMENTS_MAX } from "../words/limits.ts";
import { BARE_META_KEYS, EXTHDR_FIELDS, PAYLOAD_FIELDS } from "../words/selectors.ts";
import { readDuration } from "../words/times.ts";
import type { Cursor } from "./cursor.ts";
import { parseStateful, STATEFUL } from "./stateful.ts";
import type { Variables } from "./variables.ts";

const HEX4 = /^[\da-f]{1,4}$/i;
/** Operators by how tightly they bind, the loosest first. */
const OPERATORS: readonly (readonly [BinaryOp, readonly string[]])[][] = [
  [["|", ["|", "or"]]],
  [["^", ["^", "xor"]]],
  [["&", ["&", "and"]]],
  [["<<", ["<<", "lshift"]], [">>", [">>", "rshift"]]],
];
/** Words that begin a selector, and name headers that we do not read: they are refused by name. */
const REFUSED = [
  "ether",
  "vlan",
  "arp",
  "sctp",
  "dccp",
  "udplite",
  "ah",
  "esp",
  "comp",
  "socket",
  "osf",
  "ipsec",
  "mh",
  "rt0",
  "rt2",
  "rt4",
  "srh",
  "tunnel",
  "igmp",
  "gre",
  "vxlan",
  "geneve",
];
const SELECTORS: ReadonlySet<string> = new Set([
  ...Object.keys(PAYLOAD_FIELDS),
  ...Object.keys(EXTHDR_FIELDS),
  ...["meta", "ct", "fib", "numgen", "jhash", "symhash", "exthdr", ...REFUSED],
]);

/** Parses expressions: those of packets, and the values they are compared with. */
export class ExpressionParser {
  readonly cursor: Cursor;
  readonly variables: Variables;
  /** What is read is compared with a `meta priority`, or written to one: its literals are like `1:ffff`. */
  ofClasses = false;

  constructor(cursor: Cursor, variables: Variables) {
    this.cursor = cursor;
    this.variables = variables;
  }

  /** Whether something of the packet begins here. */
  get isSelector(): boolean {
    const { kind, text } = this.cursor.token;
    if (kind === "mark") {
      return text === "@" && /^(nh|th|ll)$/.test(this.cursor.peek().text) && this.cursor.peek(2).text === ",";
    }
    if (kind !== "word") return false;
    return SELECTORS.has(text) || BARE_META_KEYS.has(text);
  }

  /** `ip saddr . tcp dport`, `meta mark & 0xff`: something of the packet, or values among the operands. */
  selector(): Raw {
    return this.#concat(() => this.#binary(0, () => this.#selectorPrimary()));
  }

  /** What something is set to, or translated to: a selector, a map, or a literal. */
  value(): Raw {
    const { cursor } = this;
    const from = cursor.at;
    const key = this.isSelector || cursor.isMark("(") ? this.selector() : this.right();
    if (cursor.takeWord("map") === undefined) return key;
    return { kind: "map", key, data: this.mapData(), at: from };
  }

  /** What a match compares with: literals, lists, sets. Words that name headers are protocols here. */
  right(): Raw {
    const { cursor } = this;
    const from = cursor.at;
    const first = this.#rightConcat();
    if (!cursor.isMark(",")) return first;
    const items = [first];
    while (cursor.takeMark(",")) {
      cursor.skipNewlines();
      items.push(this.#rightConcat());
      if (items.length > 64) cursor.source.fail(from, "More than 64 flags");
    }
    return { kind: "list", items, at: from };
  }

  /** `@name`, `$name` or `{ key : value, ... }`. */
  mapData(): Raw {
    const { cursor } = this;
    if (cursor.isMark("@") || cursor.isMark("{")) return this.right();
    if (cursor.token.kind === "variable") return this.#literal();
    return cursor.expected('a map: "@name" or "{"');
  }

  /** `{ element, ... }`. */
  set(): Extract<Raw, { kind: "set" }> {
    return this.#elements(() => this.#element(() => this.#rightConcat()));
  }

  /** `{ ip saddr timeout 10s limit rate 5/second : meta mark }`, what a rule adds to a set. */
  updated(): RawElement {
    // A rule may add what no packet has: "add @knocked { ip saddr . 234 }".
    const part = (): Raw =>
      this.isSelector ? this.#binary(0, () => this.#selectorPrimary()) : this.#literal();
    const key = (): Raw => {
      return this.isSelector || this.cursor.peek().text === "." ? this.#concat(part) : this.selector();
    };
    const set = this.#elements(() => this.#element(key));
    const [element, more] = set.items;
    if (element === undefined || more !== undefined) {
      return this.cursor.source.fail(set.at, "Expected one element");
    }
    return element;
  }

  /** A duration like `1h30m`, in seconds. */
  duration(): number {
    const { cursor } = this;
    const { kind, text, at } = cursor.token;
    const seconds = kind === "number" || kind === "word" || kind === "string"
      ? readDuration(text)
      : undefined;
    if (seconds === undefined) return cursor.expected('a time like "1h30m" or "30s"');
    cursor.next();
    if (seconds > 0xffff_ffff) cursor.source.fail(at, "More than 136 years");
    return seconds;
  }

  comment(): string {
    const { text, at } = this.cursor.expectName("a comment");
    return checkComment(this.cursor.source, text, at);
  }

  /** A name that a variable may stand for. */
  name(what: string): { text: string; at: number } {
    const { cursor } = this;
    const { at } = cursor;
    if (cursor.token.kind === "variable") {
      const raw = this.#literal();
      return raw.kind === "word" ? { text: raw.text, at } : cursor.source.fail(at, `Expected ${what}`);
    }
    const { text } = cursor.expectName(what);
    return { text, at };
  }

  verdict(): Verdict | undefined {
    const { cursor } = this;
    const simple = cursor.takeWord("accept", "drop", "continue", "return");
    if (simple !== undefined) return { [simple]: null } as unknown as Verdict;
    const jump = cursor.takeWord("jump", "goto");
    if (jump === undefined) return undefined;
    const { text, at } = this.name("the name of a chain");
    const target = checkName(cursor.source, text, at);
    return jump === "jump" ? { jump: { target } } : { goto: { target } };
  }

  #concat(part: () => Raw): Raw {
    const { cursor } = this;
    const from = cursor.at;
    const items = [part()];
    while (cursor.takeMark(".")) {
      cursor.skipNewlines();
      items.push(part());
    }
    return items.length === 1 ? items[0]! : { kind: "concat", items, at: from };
  }

  #binary(level: number, primary: () => Raw): Raw {
    const operators = OPERATORS[level];
    if (operators === undefined) return primary();
    const { cursor } = this;
    const from = cursor.at;
    let left = this.#binary(level + 1, primary);
    // A long chain of operators nests to the left: it is bounded as what nests in parentheses is.
    for (let links = 0;; links++) {
      const { kind, text } = cursor.token;
      const operator = kind === "mark" || kind === "word"
        ? operators.find(([, words]) => words.includes(text))
        : undefined;
      if (operator === undefined) return left;
      if (links === 32) cursor.source.fail(cursor.at, "More than 32 operators in a row");
      cursor.next();
      cursor.skipNewlines();
      left = {
        kind: "binary",
        op: operator[0],
        left,
        right: this.#binary(level + 1, () => this.#operand()),
        at: from,
      };
    }
  }

  #operand(): Raw {
    return this.isSelector ? this.#selectorPrimary() : this.#rightPrimary();
  }

  #rightConcat(): Raw {
    return this.#concat(() => this.#binary(0, () => this.#rightPrimary()));
  }

  #rightPrimary(): Raw {
    const { cursor } = this;
    const from = cursor.at;
    if (cursor.isMark("(")) {
      return cursor.deeper(() => {
        cursor.next();
        const inner = this.right();
        cursor.expectMark(")");
        return inner;
      });
    }
    if (cursor.isMark("{")) return cursor.deeper(() => this.set());
    if (cursor.takeMark("*")) return { kind: "any", at: from };
    if (cursor.takeMark("@")) {
      const { text, at } = cursor.expectName("the name of a set");
      return { kind: "reference", name: checkName(cursor.source, text, at), at: from };
    }
    const low = this.#literal();
    if (cursor.isMark("/") && low.kind === "word" && cursor.peek().kind === "number") {
      cursor.next();
      return { kind: "prefix", address: low, length: cursor.expectNumber("a length", 128), at: from };
    }
    if (!cursor.takeMark("-")) return low;
    return { kind: "range", low, high: this.#literal(), at: from };
  }

  /** `1:ffff`, two numbers to the base of sixteen with nothing between. */
  #classid(): Raw | undefined {
    const { cursor } = this;
    const { text, at, end } = cursor.token;
    const behind = cursor.peek(2);
    const adjoins = cursor.peek().text === ":" && cursor.peek().at === end && behind.at === end + 1;
    if (!adjoins || !HEX4.test(text) || !HEX4.test(behind.text)) return undefined;
    for (let token = 0; token < 3; token++) cursor.next();
    return { kind: "word", text: `${text}:${behind.text}`, quoted: false, at };
  }

  #literal(): Raw {
    const { cursor } = this;
    const { kind, text, at, end } = cursor.token;
    if (this.ofClasses) {
      const classid = this.#classid();
      if (classid !== undefined) return classid;
    }
    switch (kind) {
      case "variable":
        cursor.next();
        return this.variables.get(text, at);
      case "string":
        cursor.next();
        return { kind: "word", text, quoted: true, at };
      case "number": {
        cursor.next();
        // "10:00" and "1:10" are one literal when nothing stands between.
        if (
          cursor.isMark(":") && cursor.at === end && cursor.peek().kind === "number" &&
          cursor.peek().at === end + 1
        ) {
          cursor.next();
          const minutes = cursor.next();
          let clock = `${text}:${minutes.text}`;
          if (cursor.isMark(":") && cursor.at === minutes.end && cursor.peek().at === minutes.end + 1) {
            cursor.next();
            clock += `:${cursor.next().text}`;
          }
          return { kind: "word", text: clock, quoted: false, at };
        }
        const value = Number(text);
        return Number.isSafeInteger(value)
          ? { kind: "number", value, at }
          : cursor.source.fail(at, `${text} is more than any field holds`);
      }
      case "word":
        cursor.next();
        return { kind: "word", text, quoted: false, at };
      default:
        return cursor.expected("a value");
    }
  }

  #elements(parse: () => RawElement): Extract<Raw, { kind: "set" }> {
    const { cursor } = this;
    const from = cursor.expectMark("{").at;
    const items: RawElement[] = [];
    cursor.skipNewlines();
    while (!cursor.isMark("}")) {
      if (items.length === ELEMENTS_MAX) cursor.source.fail(cursor.at, `More than ${ELEMENTS_MAX} elements`);
      items.push(parse());
      cursor.skipNewlines();
      if (!cursor.takeMark(",")) break;
      cursor.skipNewlines();
    }
    cursor.expectMark("}");
    return { kind: "set", items, at: from };
  }

  #element(parseKey: () => Raw): RawElement {
    const { cursor } = this;
    const from = cursor.at;
    const key = parseKey();
    const element: { -readonly [Key in keyof RawElement]?: RawElement[Key] } = {};
    const stmt: RawElement["stmt"][number][] = [];
    for (cursor.skipNewlines();; cursor.skipNewlines()) {
      if (cursor.takeWord("timeout") !== undefined) element.timeout = this.duration();
      else if (cursor.takeWord("expires") !== undefined) element.expires = this.duration();
      else if (cursor.takeWord("comment") !== undefined) element.comment = this.comment();
      else if (cursor.isWord(...STATEFUL) && stmt.length < 8) stmt.push(parseStateful(cursor));
      else break;
    }
    if (cursor.takeMark(":")) {
      cursor.skipNewlines();
      element.data = this.#data();
    }
    return { ...element, key, stmt, at: from };
  }

  #data(): Raw | RawVerdict {
    const { cursor } = this;
    const from = cursor.at;
    const verdict = this.verdict();
    if (verdict !== undefined) return { kind: "verdict", verdict, at: from };
    // A protocol's name is a value, unless one of its fields follows.
    const field = cursor.peek().kind === "word" && this.isSelector;
    return field ? this.selector() : this.#rightConcat();
  }

  #selectorPrimary(): Raw {
    const { cursor } = this;
    const from = cursor.at;
    if (cursor.isMark("(")) {
      return cursor.deeper(() => {
        cursor.next();
        const inner = this.selector();
        cursor.expectMark(")");
        return inner;
      });
    }
    if (!this.isSelector) return cursor.expected('a statement, or something of packets like "ip saddr"');
    if (cursor.isWord("jhash")) return this.#jhash();
    return { kind: "selector", expression: this.#field(), at: from };
  }

  #jhash(): Raw {
    const { cursor } = this;
    const at = cursor.next().at;
    const of = cursor.deeper(() => this.selector());
    cursor.expectWord("mod");
    const mod = this.#modulus();
    const seed = cursor.takeWord("seed") === undefined
      ? undefined
      : cursor.expectNumber("a seed", 0xffff_ffff);
    const offset = cursor.takeWord("offset") === undefined
      ? 0
      : cursor.expectNumber("an offset", 0xffff_ffff);
    return { kind: "jhash", of, mod, offset, ...seed === undefined ? {} : { seed }, at };
  }

  #modulus(): number {
    const { cursor } = this;
    const { at } = cursor;
    const mod = cursor.expectNumber("a number", 0xffff_ffff);
    return mod > 0 ? mod : cursor.source.fail(at, "Nothing is left modulo 0");
  }

  #field(): Expression {
    const { cursor } = this;
    const { source } = cursor;
    const { text: word, at } = cursor.next();
    if (word === "@") {
      const base = cursor.next().text;
      cursor.expectMark(",");
      const offset = cursor.expectNumber("an offset in bits", 4096);
      cursor.expectMark(",");
      return rawPayload(source, base, offset, cursor.expectNumber("a length in bits", 128), at);
    }
    if (BARE_META_KEYS.has(word)) return { meta: { key: word as MetaKey } };
    if (REFUSED.includes(word)) return source.fail(at, `"${word}" is not supported`);
    const key = (what: string): string =>
      cursor.token.kind === "word" ? cursor.next().text : cursor.expected(what);
    switch (word) {
      case "meta":
        return checkMeta(source, key("a key of meta") as MetaKey, at);
      case "ct": {
        const dir = cursor.takeWord("original", "reply") as "original" | "reply" | undefined;
        const family = dir === undefined ? undefined : cursor.takeWord("ip", "ip6");
        const name = key("a key of ct");
        return checkCt(source, (family === undefined ? name : `${family} ${name}`) as CtKey, dir, at);
      }
      case "fib": {
        const flags = [key("saddr or daddr")];
        while (cursor.takeMark(".")) flags.push(key("a flag of fib"));
        return checkFib(source, key("oif, oifname or type"), flags, at);
      }
      case "numgen": {
        const mode = cursor.expectWord("inc", "random") as "inc" | "random";
        cursor.expectWord("mod");
        const mod = this.#modulus();
        const offset = cursor.takeWord("offset") === undefined
          ? 0
          : cursor.expectNumber("an offset", 0xffff_ffff);
        return { numgen: { mode, mod, offset } };
      }
      case "symhash": {
        cursor.expectWord("mod");
        const mod = this.#modulus();
        const offset = cursor.takeWord("offset") === undefined
          ? 0
          : cursor.expectNumber("an offset", 0xffff_ffff);
        return { symhash: { mod, offset } };
      }
      case "exthdr": {
        const name = key("an extension header");
        return checkExthdr(source, name, undefined, at);
      }
      case "rt":
        if (cursor.takeWord("mtu") !== undefined) return { rt: { key: "mtu" } };
        break;
      case "tcp":
        if (cursor.takeWord("option") !== undefined) return this.#tcpOption(at);
        break;
    }
    const fieldAt = cursor.at;
    const field = key(`a field of ${word}`);
    return Object.hasOwn(PAYLOAD_FIELDS, word)
      ? checkPayload(source, word as PayloadProtocol, field, fieldAt)
      : checkExthdr(source, word, field, at);
  }

  #tcpOption(at: number): Expression {
    const { cursor } = this;
    const name = cursor.token.kind === "number" || cursor.token.kind === "word"
      ? cursor.next().text
      : cursor.expected("a TCP option");
    const bare = cursor.isWord("exists", "missing", "vmap", "map") || cursor.token.kind === "mark";
    return checkTcpOption(cursor.source, name, bare ? undefined : cursor.expectName("a field").text, at);
  }
}
