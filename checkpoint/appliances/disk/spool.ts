import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder for what is too large for memory, deleted when it is closed. */
export class Spool implements Disposable {
  readonly path: string;
  readonly #files: number[] = [];
  #made = 0;

  /** @param parent Where it is made; the system's temporary folder by default. */
  constructor(parent: string = tmpdir()) {
    this.path = fs.mkdtempSync(join(parent, "torpor-appliance-"));
  }

  /** A new, empty file that is open for reading and writing. */
  file(): number {
    const file = fs.openSync(join(this.path, String(this.#made++)), "wx+", 0o600);
    this.#files.push(file);
    return file;
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
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}

/** Writes all of `bytes` at `position`, or behind what was written last. */
export function writeAll(file: number, bytes: Uint8Array, position: number | null = null): void {
  for (let at = 0; at < bytes.length;) {
    at += fs.writeSync(file, bytes, at, bytes.length - at, position === null ? null : position + at);
  }
}
