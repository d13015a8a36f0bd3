import { readFileSync } from "node:fs";
import type { PatchKeys } from "../../patching/image/sign.ts";
import { InputError } from "../command.ts";

/** Keys as `torpor patch keys` writes them. @throws {InputError} */
export function readKeys(path: string): PatchKeys {
  return keysIn(path, readFileSync(path, "utf8"));
}

/** The keys in the text of the file `path`. @throws {InputError} */
export function keysIn(path: string, text: string): PatchKeys {
  let read: Partial<PatchKeys> | null;
  try {
    read = JSON.parse(text) as Partial<PatchKeys> | null;
  } catch (cause) {
    throw new InputError(`"${path}" holds no keys: it is no JSON`, { cause });
  }
  const { privateKey, publicKey } = read ?? {};
  if (typeof privateKey === "string" && typeof publicKey === "string") return { privateKey, publicKey };
  throw new InputError(`"${path}" holds no keys: expected privateKey and publicKey`);
}
