import { parseIpv6 } from "../../../wire/ipv6_address.ts";
import type { TextSource } from "./source.ts";

/** `word` is an unquoted name, number with a unit or address; `string` stood in quotes; `mark` is punctuation. */
export interface Token {
  readonly kind: "word" | "string" | "number" | "variable" | "mark" | "newline" | "end";
  readonly text: string;
  readonly at: number;
  /** The place behind it. */
  readonly end: number;
}

const BLANK = /(?:[ \t\r]|\\\r?\n|#[^\n]*)+/y;
const ADDRESS6 = /[\da-fA-F]{0,4}:[\da-fA-F:]*(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:.])/y;
const ADDRESS4 = /\d{1,3}(?:\.\d{1,3}){3}(?![\w.])/y;
const NUMBER = /0[xX][\da-fA-F]+(?!\w)|\d+(?!\w)/y;
const DIGITS = /\d\w*/y;
const WORD = /[A-Za-z_][\w/.\\-]*\*?/y;
const MARK = /==|!=|<=|>=|<<|>>|[{}()[\];,.:=<>&|^!\-/+@*]/y;

/** The tokens of a text, in nft's lexical conventions, up to an `end`. */
export function tokensOf(source: TextSource, text: string, base: number): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const put = (kind: Token["kind"], end: number, word = text.slice(at, end)): void => {
    tokens.push({ kind, text: word, at: base + at, end: base + end });
    at = end;
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  while (true) {
    at += match(BLANK)?.length ?? 0;
    if (at >= text.length) break;
    const char = text[at]!;
    if (char === "\n") {
      put("newline", at + 1);
      continue;
    }
    if (char === '"') {
      const end = text.indexOf('"', at + 1);
      const line = text.indexOf("\n", at);
      if (end < 0 || (line >= 0 && line < end)) source.fail(base + at, "A quoted string ends on its line");
      put("string", end + 1, text.slice(at + 1, end));
      continue;
    }
    if (char === "$") {
      at++;
      const name = match(WORD);
      at--;
      if (name === undefined) source.fail(base + at, "Expected the name of a variable behind $");
      put("variable", at + 1 + name.length, name);
      continue;
    }
    const six = match(ADDRESS6);
    if (six !== undefined && parseIpv6(six) !== undefined) {
      put("word", at + six.length);
      continue;
    }
    const four = match(ADDRESS4);
    if (four !== undefined) {
      put("word", at + four.length);
      continue;
    }
    const number = match(NUMBER);
    if (number !== undefined) {
      put("number", at + number.length);
      continue;
    }
    const word = match(DIGITS) ?? match(WORD);
    if (word !== undefined) {
      put("word", at + word.length);
      continue;
    }
    const mark = match(MARK);
    if (mark === undefined) source.fail(base + at, `Found ${JSON.stringify(char)}, which begins nothing`);
    put("mark", at + mark.length);
  }
  tokens.push({ kind: "end", text: "the end", at: base + text.length, end: base + text.length });
  return tokens;
}
