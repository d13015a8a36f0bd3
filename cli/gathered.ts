import type { Terminal } from "./command.ts";

/** Text gathered before it is written: a call per line takes longer than making the line. */
const TEXT_MAX = 64 * 1024;

/** Many lines on their way out, in bounded memory. */
export class Gathered {
  readonly #terminal: Terminal;
  #text = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async add(text: string): Promise<void> {
    this.#text += text;
    if (this.#text.length < TEXT_MAX) return;
    this.end();
    await this.#terminal.drained?.();
  }

  /** Writes what is there. */
  end(): void {
    this.#terminal.out(this.#text);
    this.#text = "";
  }
}
