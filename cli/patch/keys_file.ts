import { readFileSync } from "node:fs";
import type { PatchKeys } from "../../patching/image/sign.ts";
import { InputError } from "../command.ts";

/** Keys as `torpor patch keys` writes them. @throws {InputError} */
export function readKeys(path: string): PatchKeys {
  let read: Partial<PatchKeys>;
  try {
    read = JSON.parse(readFileSync(path, "utf8")) as Partial<PatchKeys>;
  } catch (cause) {
    if (cause instanceof SyntaxError) {
      throw new InputError(`"${path}" holds no keys: it is no JSON`, { cause });
    }
    throw cause;
  }
  const { privateKey, publicKey } = read;
  if (typeof privateKey === "string" && typeof publicKey === "string") return { privateKey, publicKey };
  throw new InputError(`"${path}" holds no keys: expected privateKey and publicKey`);
}
