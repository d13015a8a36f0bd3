import fs from "node:fs";
import { dirname, resolve } from "node:path";
import { refuse } from "../appliance_error.ts";
import { quoted } from "../path.ts";

/** How far work has come. All of it is durable. */
export interface Done {
  /** Steps that are done, and bytes. */
  readonly steps: number;
  readonly bytes: number;
  /** Of work that makes several files: the names of those that are whole; steps and bytes are of the one after them. */
  readonly files: readonly string[];
}

/**
 * Something that grows beside its final name, as `NAME.partial`, and a note of how far it is, `NAME.partial.json`: whoever
 * begins the same work anew goes on from there. Killed at any instant, there is either what the note says, or all of it
 * under the final name.
 */
export class Unfinished {
  /** Where it grows. */
  readonly path: string;
  /** What an earlier run has done; `undefined` when nothing is, or something else was under way. */
  readonly done: Done | undefined;
  /** Whether an earlier run was killed when all was done and named, but for its note. */
  readonly finished: boolean;
  readonly #final: string;
  readonly #note: string;
  readonly #id: string;

  /**
   * @param id What the work is: one of another id is begun anew.
   * @throws {ApplianceError} When there is something else under the final name.
   */
  constructor(path: string, id: string) {
    this.#final = path.replace(/(?<=.)\/+$/, "");
    this.path = `${this.#final}.partial`;
    this.#note = `${this.path}.json`;
    this.#id = id;
    const done = this.#read();
    const begun = fs.existsSync(this.path);
    this.finished = done !== undefined && !begun && fs.existsSync(this.#final);
    if (!this.finished) mustBeFree(this.#final);
    this.done = begun || this.finished ? done : undefined;
    // What is begun anew must not find the note of what was there before.
    if (this.finished || this.done === undefined) this.#forget();
  }

  /** Notes what is durable. */
  note(done: Done): void {
    const next = `${this.#note}.next`;
    const file = fs.openSync(next, "w", 0o600);
    try {
      fs.writeSync(file, JSON.stringify({ id: this.#id, ...done }));
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(next, this.#note);
  }

  /** Gives it its name. @param done All of it. */
  finish(done: Done): void {
    this.note(done);
    fs.renameSync(this.path, this.#final);
    syncFolder(dirname(resolve(this.#final)));
    this.#forget();
  }

  #forget(): void {
    let gone = false;
    for (const path of [this.#note, `${this.#note}.next`]) {
      if (!fs.existsSync(path)) continue;
      fs.unlinkSync(path);
      gone = true;
    }
    if (gone) syncFolder(dirname(resolve(this.#final)));
  }

  #read(): Done | undefined {
    let found: { id?: unknown; steps?: unknown; bytes?: unknown; files?: unknown };
    try {
      found = JSON.parse(fs.readFileSync(this.#note, "utf8"));
    } catch {
      return undefined; // none, or one that was cut off
    }
    const { id, steps, bytes, files } = found;
    if (id !== this.#id || !isCount(steps) || !isCount(bytes) || !Array.isArray(files)) return undefined;
    return files.every((name) => typeof name === "string") ? { steps, bytes, files } : undefined;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number >= 0;
}

/** Makes what was renamed in a folder durable. */
export function syncFolder(folder: string): void {
  const file = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

/** @throws {ApplianceError} When something is there. */
export function mustBeFree(path: string): void {
  if (fs.lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  refuse("system", `Cannot write ${quoted(path)}: it is there already`);
}
