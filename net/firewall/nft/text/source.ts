import { FirewallError } from "../../rule.ts";
import { notePlaces, type PlacedSource, type StatementPlace } from "../read/places.ts";
import type { At, Source } from "../read/raw.ts";

/** A mistake in a text. `line` and `column` count from 1; the message shows the line and marks the place. */
export class FirewallSyntaxError extends FirewallError {
  /** What tells it from other errors where `instanceof` does not. */
  override name = "FirewallSyntaxError";
  /** The name of the file, an included one where the mistake stands there. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;

  /** The message says what is wrong, and shows the line with the place marked. */
  constructor(file: string, line: number, column: number, message: string) {
    super(`${file}:${line}:${column}`, message);
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

interface File {
  readonly name: string;
  readonly text: string;
  /** Of its first character, in a space that all files of a document share. */
  readonly base: number;
  /** Offsets at which lines begin. */
  readonly lines: readonly number[];
}

/** Characters of a line that a message shows. */
const SHOWN = 100;

/** The files of a document: a place in any of them is one number. */
export class TextSource implements Source, PlacedSource {
  readonly #files: File[] = [];

  /** The place of the first character of another file. */
  add(name: string, text: string): number {
    const last = this.#files.at(-1);
    const base = last === undefined ? 0 : last.base + last.text.length + 1;
    const lines = [0];
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines.push(at + 1);
    this.#files.push({ name, text, base, lines });
    return base;
  }

  get characters(): number {
    return this.#files.reduce((sum, { text }) => sum + text.length, 0);
  }

  lineOf(at: number): number {
    return this.#place(at).line;
  }

  /** `line:column`, with the name of a file that was included. */
  describe(at: number): string {
    const { file, line, column } = this.#place(at);
    return file === this.#files[0] ? `${line}:${column}` : `${file.name}:${line}:${column}`;
  }

  note(statements: readonly object[], at: readonly At[]): void {
    notePlaces(statements, this, at as readonly number[]);
  }

  placeOf(at: number): StatementPlace {
    const { file, line, column } = this.#place(at);
    return { file: file.name, line, column };
  }

  fail(at: At, message: string): never {
    const { file, line, column } = this.#place(at as number);
    const start = file.lines[line - 1]!;
    const end = line < file.lines.length ? file.lines[line]! - 1 : file.text.length;
    const from = Math.max(start, Math.min(start + column - 1 - SHOWN / 2, end - SHOWN));
    const shown = file.text.slice(from, Math.min(end, from + SHOWN)).replaceAll("\t", " ");
    const mark = `${" ".repeat(start + column - 1 - from)}^`;
    throw new FirewallSyntaxError(file.name, line, column, `${message}\n${shown}\n${mark}`);
  }

  #place(at: number): { file: File; line: number; column: number } {
    const file = this.#files.findLast(({ base }) => base <= at)!;
    const offset = at - file.base;
    let low = 0;
    let high = file.lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (file.lines[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { file, line: low + 1, column: offset - file.lines[low]! + 1 };
  }
}
