import process from "node:process";

const BAR_CELLS = 30;
const LABEL_COLUMNS = 48;
const REDRAW_MS = 100;

/** Tells how far the work is: a bar that is drawn over on a terminal, a line per step elsewhere. */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #bar: boolean;
  readonly #colour: boolean;
  #label = "";
  #startMs = 0;
  #redrawAtMs = 0;
  #drawn = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#bar = Boolean(stream.isTTY);
    this.#colour = this.#bar && !process.env["NO_COLOR"];
  }

  begin(label: string): void {
    this.#label = label;
    this.#startMs = performance.now();
    this.#redrawAtMs = 0;
    this.at(0, 0);
  }

  /** How far the step is; `total` 0 when nobody knows. */
  at(done: number, total: number): void {
    const nowMs = performance.now();
    if (!this.#bar || nowMs < this.#redrawAtMs) return;
    this.#redrawAtMs = nowMs + REDRAW_MS;
    const share = total === 0 ? 0 : Math.min(1, done / total);
    const cells = Math.round(share * BAR_CELLS);
    const bar = this.#paint(36, "█".repeat(cells)) + this.#paint(90, "░".repeat(BAR_CELLS - cells));
    const count = total === 0 ? "" : ` ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;
    this.#drawn = true;
    this.#stream.write(`\r\x1b[2K  ${this.#label.padEnd(LABEL_COLUMNS)} ${bar}${count}`);
  }

  /** Ends the step; `result` says what came of it. */
  end(result = ""): void {
    const seconds = `${((performance.now() - this.#startMs) / 1_000).toFixed(2)} s`;
    const line = `${this.#paint(32, "✓")} ${this.#label.padEnd(LABEL_COLUMNS)} ${
      seconds.padStart(8)
    }  ${result}`;
    this.abandon();
    this.#stream.write(`${line.trimEnd()}\n`);
  }

  /** Clears a bar that will not be finished. */
  abandon(): void {
    if (this.#drawn) this.#stream.write("\r\x1b[2K");
    this.#drawn = false;
  }

  line(text = ""): void {
    this.#stream.write(`${text}\n`);
  }

  bold(text: string): string {
    return this.#paint(1, text);
  }

  #paint(code: number, text: string): string {
    return this.#colour && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** "4.1 MB". */
export function bytesText(bytes: number): string {
  if (Math.abs(bytes) < 10_000) return `${Math.round(bytes).toLocaleString("en")} B`;
  if (Math.abs(bytes) < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  if (Math.abs(bytes) < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** "0.42 ms", "1.20 s". */
export function timeText(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(ms < 10 ? 2 : 0)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

/** Columns with a head; the first is text and stands left, the others are numbers and stand right. */
export function tableText(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => {
    const cells = row.map((cell, at) => at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!));
    return `  ${cells.join("   ")}`;
  });
}
