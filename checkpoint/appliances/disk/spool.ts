import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Room for what is too large for memory, given back when it is closed, or when the process ends in whatever way. */
export class Spool implements Disposable {
  readonly #parent: string;
  readonly #files: number[] = [];

  /** @param parent Where it is; the system's temporary folder by default. */
  constructor(parent: string = tmpdir()) {
    this.#parent = parent;
  }

  /** A new, empty file that is open for reading and writing. It has no name: nobody would delete it after a kill. */
  file(): number {
    const folder = fs.mkdtempSync(join(this.#parent, "torpor-appliance-"));
    try {
      const file = fs.openSync(join(folder, "spool"), "wx+", 0o600);
      this.#files.push(file);
      return file;
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }

  /** A file that is closed together with this. */
  open(path: string): number {
    const file = fs.openSync(path, "r");
    this.#files.push(file);
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) fs.closeSync(file);
    this.#files.length = 0;
  }
}

/** Writes all of `bytes` at `position`, or behind what was written last. */
export function writeAll(file: number, bytes: Uint8Array, position: number | null = null): void {
  for (let at = 0; at < bytes.length;) {
    at += fs.writeSync(file, bytes, at, bytes.length - at, position === null ? null : position + at);
  }
}
