import { type Color, paint, printable } from "../color.ts";
import type { Terminal } from "../command.ts";
import type { Happening, HappeningKind } from "./happening.ts";

const COLORS: Partial<Record<HappeningKind, Color>> = {
  in: "cyan",
  out: "green",
  verdict: "red",
  threw: "red",
  state: "yellow",
  note: "bold",
  call: "dim",
  result: "dim",
  told: "dim",
};
const STEP_WIDTH = 7;
const TIME_WIDTH = 12;

/** Prints the packet walk: what came in, what became of it, what went out. */
export class Printer {
  readonly #terminal: Terminal;
  readonly #all: boolean;
  #startMs: number | undefined;
  #step = -1;
  /** Lines printed. */
  lines = 0;

  constructor(terminal: Terminal, all: boolean) {
    this.#terminal = terminal;
    this.#all = all;
  }

  hear(happening: Happening): void {
    this.#startMs ??= happening.timeMs;
    if (happening.routine && !this.#all) return;
    this.lines++;
    const { step, timeMs, depth, kind } = happening;
    // The step and its time once, in front of the first of its lines.
    const place = step === this.#step
      ? " ".repeat(STEP_WIDTH + TIME_WIDTH + 1)
      : `#${step}`.padEnd(STEP_WIDTH) + ` ${seconds(timeMs - this.#startMs).padStart(TIME_WIDTH)}`;
    this.#step = step;
    const indent = "  ".repeat(kind === "in" || kind === "out" ? 0 : depth + 1);
    const line = `${place} ${indent}${wordsOf(happening)}`;
    this.#terminal.out(`${paint(this.#terminal, COLORS[kind] ?? "dim", printable(line))}\n`);
  }
}

/** A happening in words, without its place. */
export function wordsOf({ kind, text, interfaceName }: Happening): string {
  if (kind === "in" || kind === "out") return `${kind.padEnd(3)} ${interfaceName} ${text}`;
  return kind === "note" ? `note: ${text}` : text;
}

/** Milliseconds as seconds from the beginning: `+1.234567`. */
export function seconds(ms: number): string {
  return `+${(ms / 1000).toFixed(6)}`;
}

/** A happening as a line of JSON. */
export function jsonOf(happening: Happening): string {
  const { frame, routine: _routine, ...rest } = happening;
  return JSON.stringify(frame === undefined ? rest : { ...rest, frame: hex(frame) });
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
