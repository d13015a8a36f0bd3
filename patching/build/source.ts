import { createHash } from "node:crypto";
import { transformSync } from "@swc/wasm-typescript";
import { parse, type Program, type Token } from "acorn";
import { PatchError } from "../patch_error.ts";

/** A module's text as JavaScript, and what it parses to. Lines are those of the source. */
export interface Source {
  /** What people call the module. */
  readonly name: string;
  readonly text: string;
  readonly program: Program;
  readonly tokens: readonly Token[];
}

/** Sources whose types are taken out. */
const TYPED = /\.[cm]?ts$/;

/**
 * Parses a module. Types of TypeScript become spaces, so that lines stay; what is more than types (`enum`, `namespace`,
 * parameter properties) is refused, as Node refuses it.
 *
 * @throws {PatchError} `source`, with the line.
 */
export function parseSource(name: string, source: string): Source {
  const text = TYPED.test(name) ? withoutTypes(name, source) : source;
  const tokens: Token[] = [];
  try {
    const program = parse(text, {
      ecmaVersion: "latest",
      sourceType: "module",
      ranges: true,
      allowHashBang: true,
      onToken: tokens,
    });
    return { name, text, program, tokens };
  } catch (cause) {
    throw new PatchError("source", `Cannot parse "${name}": ${messageOf(cause)}`, { cause });
  }
}

function withoutTypes(name: string, source: string): string {
  try {
    return transformSync(source, { mode: "strip-only", module: true }).code;
  } catch (cause) {
    const { message, startLine } = cause as { message?: string; startLine?: number };
    const why = startLine === undefined ? messageOf(cause) : `${message} (line ${startLine})`;
    throw new PatchError("source", `Cannot parse "${name}": ${why}`, { cause });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String((cause as { message?: unknown })?.message ?? cause);
}

/** The line of an offset, from 1. */
export function lineOf({ text }: Source, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** The place of the first token that starts at `offset` or behind it. */
export function tokenAt({ tokens }: Source, offset: number): number {
  let low = 0;
  let high = tokens.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (tokens[middle]!.start < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A stretch of a source that stands for something else in its words. */
export interface Blank {
  readonly start: number;
  readonly end: number;
  readonly word: string;
}

/**
 * The tokens of `[start, end)`, a line each, so that layout and comments do not count.
 * @param blanks By their start, none within another: each is one word.
 */
export function words(source: Source, start: number, end: number, blanks: readonly Blank[] = []): string {
  const { text, tokens } = source;
  const found: string[] = [];
  let blank = 0;
  for (let index = tokenAt(source, start); index < tokens.length && tokens[index]!.start < end; index++) {
    const token = tokens[index]!;
    while (blank < blanks.length && blanks[blank]!.end <= token.start) blank++;
    const within = blanks[blank];
    if (within === undefined || token.start < within.start) {
      found.push(text.slice(token.start, token.end));
    } else if (found.at(-1) !== within.word) found.push(within.word);
  }
  return found.join("\n");
}

/** SHA-256 of a text, in hexadecimal. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
