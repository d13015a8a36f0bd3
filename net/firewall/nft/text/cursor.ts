import { DEPTH_MAX } from "../words/limits.ts";
import type { Token } from "./lexer.ts";
import type { TextSource } from "./source.ts";

/** A place among tokens, and the questions that parsers ask there. */
export class Cursor {
  readonly source: TextSource;
  readonly #tokens: readonly Token[];
  #index = 0;
  #depth = 0;

  constructor(source: TextSource, tokens: readonly Token[]) {
    this.source = source;
    this.#tokens = tokens;
  }

  get token(): Token {
    return this.#tokens[this.#index]!;
  }

  get at(): number {
    return this.token.at;
  }

  /** The token `ahead` of this one. */
  peek(ahead = 1): Token {
    return this.#tokens[Math.min(this.#index + ahead, this.#tokens.length - 1)]!;
  }

  next(): Token {
    const token = this.token;
    if (token.kind !== "end") this.#index++;
    return token;
  }

  isMark(mark: string): boolean {
    return this.token.kind === "mark" && this.token.text === mark;
  }

  isWord(...words: readonly string[]): boolean {
    return this.token.kind === "word" && words.includes(this.token.text);
  }

  takeMark(mark: string): boolean {
    const is = this.isMark(mark);
    if (is) this.next();
    return is;
  }

  takeWord(...words: readonly string[]): string | undefined {
    return this.isWord(...words) ? this.next().text : undefined;
  }

  expectMark(mark: string): Token {
    return this.isMark(mark) ? this.next() : this.expected(`"${mark}"`);
  }

  expectWord(...words: readonly string[]): string {
    return this.takeWord(...words) ?? this.expected(words.map((word) => `"${word}"`).join(" or "));
  }

  /** A name, quoted or not. */
  expectName(what: string): Token {
    const { kind } = this.token;
    return kind === "word" || kind === "string" ? this.next() : this.expected(what);
  }

  expectNumber(what: string, max: number): number {
    if (this.token.kind !== "number") this.expected(what);
    const { text, at } = this.next();
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value > max) {
      this.source.fail(at, `${text} is out of range: expected 0 to ${max}`);
    }
    return value;
  }

  skipNewlines(): void {
    while (this.token.kind === "newline") this.next();
  }

  /** Whether a statement or a property ends here. */
  get isEnd(): boolean {
    const { kind } = this.token;
    return kind === "newline" || kind === "end" || this.isMark(";") || this.isMark("}");
  }

  /** Ends of statements: several in a row are one. */
  skipEnds(): void {
    while (this.token.kind === "newline" || this.isMark(";")) this.next();
  }

  expectEnd(): void {
    if (!this.isEnd) this.expected("the end of the line or a semicolon");
    this.takeMark(";");
  }

  expected(what: string): never {
    const { kind, text, at } = this.token;
    const found = kind === "newline"
      ? "the end of the line"
      : kind === "end"
      ? "the end of the file"
      : `"${text}"`;
    return this.source.fail(at, `Found ${found}, expected ${what}`);
  }

  /** Runs a parser one level deeper. */
  deeper<T>(parse: () => T): T {
    if (++this.#depth > DEPTH_MAX) {
      this.source.fail(this.at, `More than ${DEPTH_MAX} levels inside one another`);
    }
    const made = parse();
    this.#depth--;
    return made;
  }
}
