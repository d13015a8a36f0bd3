import { InputError } from "../command.ts";

/** What builds patches needs parsers that are installed beside Torpor. */
export type PatchTools =
  & typeof import("../../patching/build/derive.ts")
  & typeof import("../../patching/build/from_source.ts")
  & typeof import("../../patching/build/instrument.ts")
  & typeof import("../../patching/build/check.ts");

/** The builder. @throws {InputError} Naming what has to be installed. */
export async function patchTools(): Promise<PatchTools> {
  try {
    return {
      ...await import("../../patching/build/derive.ts"),
      ...await import("../../patching/build/from_source.ts"),
      ...await import("../../patching/build/instrument.ts"),
      ...await import("../../patching/build/check.ts"),
    };
  } catch (cause) {
    const { code, message } = cause as { code?: string; message?: string };
    if (code !== "ERR_MODULE_NOT_FOUND") throw cause;
    const need = "npm install acorn eslint-scope magic-string @swc/wasm-typescript";
    throw new InputError(`building patches needs parsers: ${need} (${message})`, { cause });
  }
}
