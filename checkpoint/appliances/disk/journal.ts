import fs from "node:fs";

/** How far a piece of work has come, in a file beside it: whoever finds it goes on from there. */
export class Journal {
  readonly #path: string;
  readonly #id: string;

  /** @param id What the work is: one of another id is begun anew. */
  constructor(path: string, id: string) {
    this.#path = path;
    this.#id = id;
  }

  /** Entries that are done, and bytes. `undefined` when nothing is, or something else was under way. */
  read(): { entries: number; bytes: number } | undefined {
    let found: { id?: unknown; entries?: unknown; bytes?: unknown };
    try {
      found = JSON.parse(fs.readFileSync(this.#path, "utf8"));
    } catch {
      return undefined; // none, or one that was cut off
    }
    const { id, entries, bytes } = found;
    if (id !== this.#id || !Number.isSafeInteger(entries) || !Number.isSafeInteger(bytes)) return undefined;
    return { entries: entries as number, bytes: bytes as number };
  }

  /** Notes what is durable. */
  write(entries: number, bytes: number): void {
    const next = `${this.#path}.next`;
    const file = fs.openSync(next, "w", 0o600);
    try {
      fs.writeSync(file, JSON.stringify({ id: this.#id, entries, bytes }));
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(next, this.#path);
  }

  remove(): void {
    fs.rmSync(this.#path, { force: true });
  }
}
