import { join } from "node:path";
import { runtime } from "../../base/runtime.ts";
import { offerPatches } from "../../patching/apply/patch_control.ts";
import { PatchFolder } from "../../patching/apply/patch_folder.ts";
import { InputError } from "../command.ts";

/** Makes what is loaded from now on patchable. @throws {InputError} When that needs something that is not there. */
export async function loadPatchable(): Promise<void> {
  try {
    if (runtime === "bun") await import("../../patching/load/bun.ts");
    else if (runtime === "deno") await import("../../patching/load/deno.ts");
    else await import("../../patching/load/node.ts");
  } catch (cause) {
    const need = "npm install acorn eslint-scope magic-string @swc/wasm-typescript";
    throw new InputError(`--patchable needs parsers: ${need} (${(cause as Error).message})`, { cause });
  }
}

/**
 * Applies again what was applied before, and takes patches from now on.
 * @param trusted Public keys; when there are none, every patch is taken.
 */
export async function takePatches(
  store: string,
  trusted: readonly string[],
  say: (text: string) => void,
): Promise<void> {
  const patches = await PatchFolder.open(join(store, "patches"), { trusted });
  offerPatches(patches);
  for (const { name, became } of patches.restored) say(`patch "${name}" is ${became}`);
}
