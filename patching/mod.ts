/**
 * Changing what runs: patches as images, built from two versions of a module or from a patch source, applied to a running
 * program and rolled back. What builds them, and makes modules patchable, is in `build/`: it needs parsers that are
 * installed beside this.
 *
 * @module
 */
export { PatchError, type PatchReason } from "./patch_error.ts";
export type {
  AddedCode,
  AddedName,
  FunctionKind,
  Patch,
  PatchFunction,
  PatchSignature,
  PatchSymbol,
  PatchTarget,
  PatchUnit,
  RelocatableCode,
  Relocation,
  RelocationForm,
  SymbolKind,
  SymbolScope,
  WasmPatchFunction,
  WasmSymbol,
  WasmSymbolKind,
  WasmUnit,
} from "./image/patch.ts";
export { readPatch, writePatch } from "./image/patch_image.ts";
export { makePatchKeys, type PatchKeys, signPatch, verifyPatch } from "./image/sign.ts";
export { buildWasmPatch, type WasmPatchAbout } from "./wasm/side_module.ts";
export { instantiatePatchable } from "./wasm/wasm_state.ts";
export { explainPatch } from "./image/explain.ts";
export type { ApplyOptions, ApplyStep } from "./apply/apply_options.ts";
export { type AppliedPatch, LivePatches, livePatches } from "./apply/live_patches.ts";
export { PatchFolder, readPatchFile, type RestoredPatch } from "./apply/patch_folder.ts";
export { offerPatches, type PatchRow } from "./apply/patch_control.ts";
