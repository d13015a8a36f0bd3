import { Buffer } from "node:buffer";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

function fileOf(target: string): string {
  return fileURLToPath(new URL(`./corpus/${target}.txt`, import.meta.url));
}

/** The kept corpus of a target: one input per line, in base64. */
export function readKept(target: string): Uint8Array<ArrayBuffer>[] {
  const path = fileOf(target);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  return lines.map((line) => new Uint8Array(Buffer.from(line, "base64")));
}

export function writeKept(target: string, inputs: readonly Uint8Array[]): void {
  const path = fileOf(target);
  mkdirSync(dirname(path), { recursive: true });
  const lines = inputs.map((bytes) => Buffer.from(bytes).toString("base64"));
  writeFileSync(path, lines.join("\n") + "\n");
}
