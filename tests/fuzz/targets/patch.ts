import { assert } from "../../../base/assert.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { linkAdded, linkFunction } from "../../../patching/apply/link.ts";
import type { ModuleRecord } from "../../../patching/apply/module_record.ts";
import { ModuleState } from "../../../patching/apply/module_state.ts";
import { explainPatch } from "../../../patching/image/explain.ts";
import type { Patch } from "../../../patching/image/patch.ts";
import { readPatch, writePatch } from "../../../patching/image/patch_image.ts";
import { sampleWasmPatch } from "../../patching/sample.ts";
import { equalBytes } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";
import { mendImage } from "./image.ts";

const MODULE: ModuleRecord = {
  format: 1,
  name: "m.js",
  meta: { url: "file:///m.js" },
  hash: "",
  functions: [],
  classes: [],
  symbols: [["n", "let", -1, ""]],
  unpatchable: [],
  get: () => undefined,
  set: () => {},
  count: () => 0,
  class: () => undefined,
  importFrom: () => Promise.resolve({}),
  evaluate: () => undefined,
};

/** What an image says is refused, or is written as it was, told, and linked: text alone, nothing of it runs. */
function image(input: Uint8Array<ArrayBuffer>): void {
  const { value: patch } = orRefuses(ImageError, () => readPatch(input));
  if (patch === undefined) return;
  equalBytes(writePatch(patch), input, "written again");
  assert(explainPatch(input).startsWith("patch "), "It is told");
  for (const unit of patch.units) {
    const state = new ModuleState(MODULE);
    for (const { name, kind } of unit.symbols) {
      state.symbols.set(name, { kind, arity: -1, from: "", byPatch: name.length % 2 === 0 });
    }
    for (const each of unit.functions) {
      assert(
        linkFunction(unit, each, state, true, "t").length > each.code.length,
        "Nothing of the code is lost",
      );
    }
    linkAdded(unit, state, "t");
  }
}

function seeds(): Uint8Array<ArrayBuffer>[] {
  const hash = "ab".repeat(32);
  const patch: Patch = {
    target: "js",
    name: "p",
    version: "1",
    description: "",
    safe: ["f"],
    wasm: [],
    units: [{
      module: "m.js",
      base: hash,
      result: hash,
      symbols: [
        { name: "n", scope: "module", kind: "let", arity: -1, from: "" },
        { name: "k", scope: "added", kind: "const", arity: -1, from: "" },
      ],
      functions: [{
        id: "f",
        isNew: false,
        kind: "arrow",
        isAsync: true,
        isGenerator: false,
        arity: 0,
        oldHash: hash,
        newHash: hash,
        code: "async () => n + k()",
        relocations: [
          { offset: 11, length: 0, symbol: 0, form: "enterExpression" },
          { offset: 12, length: 1, symbol: 0, form: "name" },
          { offset: 16, length: 1, symbol: 1, form: "call" },
          { offset: 19, length: 0, symbol: 0, form: "leaveExpression" },
        ],
      }],
      added: {
        code: "const k = 1;",
        relocations: [],
        names: [{ name: "k", kind: "const", arity: -1 }],
        imports: [],
      },
    }],
  };
  const signature = { publicKey: new Uint8Array(32), signature: new Uint8Array(64) };
  return [writePatch(patch), writePatch({ ...patch, signature }), writePatch(sampleWasmPatch())];
}

export const targets: readonly Target[] = [
  {
    name: "patch/image",
    about: "images of patches, hashes mended: refused, or written as they were, told, and linked",
    run: image,
    seeds,
    mend: mendImage,
  },
];
