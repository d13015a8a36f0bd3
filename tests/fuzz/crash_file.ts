import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A crash as it is attached to a report: what, with which input, found how. */
export interface CrashFile {
  readonly target: string;
  readonly input: Uint8Array<ArrayBuffer>;
  readonly error: string;
  readonly key: string;
  readonly seed: number;
  readonly commit: string;
  readonly runtime: string;
}

/** Writes it under a name that says the target; the same input gives the same name. @returns The path. */
export function writeCrash(folder: string, crash: CrashFile): string {
  mkdirSync(folder, { recursive: true });
  const hash = createHash("sha256").update(crash.input).digest("hex").slice(0, 12);
  const path = join(folder, `${crash.target.replaceAll("/", "-")}-${hash}.json`);
  const text = { ...crash, input: Buffer.from(crash.input).toString("base64") };
  writeFileSync(path, JSON.stringify(text, null, 2) + "\n");
  return path;
}

/** @throws {Error} When the file is none of `writeCrash`. */
export function readCrash(path: string): CrashFile {
  const read = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  const { target, input } = read;
  if (typeof target !== "string" || typeof input !== "string") {
    throw new Error(`Cannot read "${path}": it is no crash of the fuzzer`);
  }
  return { ...read, input: new Uint8Array(Buffer.from(input, "base64")) } as unknown as CrashFile;
}
