import { assert } from "../../../base/assert.ts";
import { PatchError } from "../../../patching/patch_error.ts";
import { instrumentWasm } from "../../../patching/wasm/instrument.ts";
import { readWasm } from "../../../patching/wasm/module.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

/** What the engine takes is read, or refused as a kind that we do not know; instrumented, the engine takes it still. */
function module(input: Uint8Array<ArrayBuffer>): void {
  const { value } = orRefuses(PatchError, () => readWasm(input));
  if (value === undefined || !WebAssembly.validate(input)) return;
  const { value: instrumented } = orRefuses(PatchError, () => instrumentWasm(value));
  if (instrumented !== undefined) {
    assert(WebAssembly.validate(instrumented), "The engine takes what we made of it");
  }
}

/** With functions of two types, a table, memory, globals, elements, data, names. */
const SEED = Uint8Array.from([
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 9, 2, 96, 1, 127, 1, 127, 96, 0, 0], // types
  ...[3, 3, 2, 0, 1], // functions
  ...[4, 5, 1, 112, 1, 2, 2], // a table
  ...[5, 3, 1, 0, 1], // memory
  ...[6, 6, 1, 127, 1, 65, 0, 11], // a global
  ...[7, 5, 1, 1, 102, 0, 0], // an export
  ...[9, 8, 1, 0, 65, 0, 11, 2, 0, 1], // elements
  ...[10, 12, 2, 7, 0, 32, 0, 65, 1, 106, 11, 2, 0, 11], // bodies
  ...[11, 7, 1, 0, 65, 0, 11, 1, 7], // data
  ...[0, 11, 4, 110, 97, 109, 101, 1, 4, 1, 0, 1, 103], // names
]);

export const targets: readonly Target[] = [
  {
    name: "patch/wasm",
    about: "WebAssembly modules: refused, or read and made patchable, as the engine agrees",
    run: module,
    seeds: () => [SEED],
    allocationMax: (length) => (1 << 20) + 256 * length,
  },
];
