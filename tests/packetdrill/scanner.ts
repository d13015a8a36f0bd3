import { ScriptSyntaxError } from "./script.ts";

/** Walks over a text by sticky patterns; blanks are skipped before each. */
export class Scanner {
  readonly text: string;
  readonly #firstLine: number;
  at = 0;

  constructor(text: string, firstLine = 1) {
    this.text = text;
    this.#firstLine = firstLine;
  }

  /** Line of the position reached, or of `at`. */
  line(at: number = this.at): number {
    let line = this.#firstLine;
    for (
      let index = this.text.indexOf("\n");
      index >= 0 && index < at;
      index = this.text.indexOf("\n", index + 1)
    ) {
      line++;
    }
    return line;
  }

  skip(): void {
    const blank = /\s*/y;
    blank.lastIndex = this.at;
    blank.test(this.text);
    this.at = blank.lastIndex;
  }

  get done(): boolean {
    this.skip();
    return this.at >= this.text.length;
  }

  /** The match of `pattern` here, taken; `pattern` is anchored. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    this.skip();
    const sticky = new RegExp(pattern.source, "y");
    sticky.lastIndex = this.at;
    const found = sticky.exec(this.text);
    if (found === null) return undefined;
    this.at = sticky.lastIndex;
    return found;
  }

  /** Whether `pattern` matches here. Nothing is taken. */
  sees(pattern: RegExp): boolean {
    this.skip();
    const sticky = new RegExp(pattern.source, "y");
    sticky.lastIndex = this.at;
    return sticky.test(this.text);
  }

  /** As `take`, for what must be here. */
  need(pattern: RegExp, what: string): RegExpExecArray {
    return this.take(pattern) ?? this.fail(`expected ${what}`);
  }

  fail(message: string): never {
    this.skip();
    const rest = this.text.slice(this.at, this.at + 30).split("\n")[0]!;
    throw new ScriptSyntaxError(this.line(), `${message} at "${rest}"`);
  }
}
