import type { Terminal } from "./command.ts";

/** How often a line is written over. */
const EVERY_MS = 100;

/** A line of standard error that says how far something is, while a person looks on. */
export class Progress {
  readonly #terminal: Terminal;
  #shownAtMs = -Infinity;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(text: string): void {
    if (!this.#terminal.live) return;
    const nowMs = performance.now();
    if (nowMs - this.#shownAtMs < EVERY_MS) return;
    this.#shownAtMs = nowMs;
    this.#terminal.err(`\r${text}\x1b[K`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shownAtMs > -Infinity) this.#terminal.err("\r\x1b[K");
  }
}
