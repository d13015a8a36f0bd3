import type { Patch, WasmPatchFunction, WasmSymbol } from "../image/patch.ts";
import { sha256 } from "../image/sign.ts";
import { HOOKS } from "../apply/unit_work.ts";
import { PatchError } from "../patch_error.ts";
import { readWasm, type WasmModule } from "./module.ts";

/** Whether a side module's import through its global offset table is of something of its own. */
export function own(side: WasmModule, module: string, name: string): boolean {
  const kind = module === "GOT.mem" ? "global" : module === "GOT.func" ? "function" : undefined;
  return kind !== undefined && side.exports.get(name)?.kind === kind;
}

/** What a WebAssembly patch is called. */
export interface WasmPatchAbout {
  readonly name: string;
  readonly version?: string;
  readonly description?: string;
  /** Patches of the same module that are applied before it, in their order. */
  readonly on?: readonly Patch[];
}

/**
 * Builds a patch of a WebAssembly module out of a shared object: a side module as `wasm-ld -shared` writes it, whose
 * functions of names that the target has take their place. Types are compared on both sides, and every symbol that the
 * shared object leaves open must be one of the target.
 *
 * @throws {PatchError} Naming the function or symbol that does not fit.
 */
export async function buildWasmPatch(
  module: string,
  target: Uint8Array,
  shared: Uint8Array,
  about: WasmPatchAbout,
): Promise<Patch> {
  const [into, side] = [readWasm(target), readWasm(shared)];
  const refuse = (reason: "symbol" | "arity" | "source" | "function", name: string, why: string): never => {
    throw new PatchError(reason, `Cannot build the patch: "${name}" ${why}`, { function: name });
  };
  if (side.dylink === undefined) {
    refuse("source", module, "is to get a side module, this has no section dylink.0");
  }
  const known = new Map(into.functions.map(({ name, type, start, end }) => [
    name,
    { type, body: target.subarray(start, end) },
  ]));
  const variables = new Set([...into.exports].flatMap(([name, { kind, index }]) => {
    const global = kind === "global" ? into.globals[index - into.imported.global] : undefined;
    return global?.type === "i32" && global.value !== undefined ? [name] : [];
  }));
  let base = await sha256(target);
  for (const { wasm } of about.on ?? []) {
    const unit = wasm.find((each) => each.module === module);
    if (unit?.base !== base) {
      throw new PatchError("base", `Cannot build the patch: those before it do not fit "${module}"`);
    }
    base = unit.result;
    const before = readWasm(unit.code);
    for (const [name, { kind, index }] of before.exports) {
      if (kind === "global") variables.add(name);
      if (kind !== "function") continue;
      const { type, start, end } = before.functions[index - before.imported.function]!;
      known.set(name, { type, body: unit.code.subarray(start, end) });
    }
  }
  const functions: WasmPatchFunction[] = [];
  for (const { name, type } of side.functions) {
    if (side.exports.get(name)?.kind !== "function" || NOT_REPLACED.has(name)) continue;
    const old = into.functions.some((each) => each.name === name) ? known.get(name) : undefined;
    if (old === undefined) continue; // what a patch has added has no slot
    if (old.type !== type) refuse("arity", name, `is ${old.type} in the target, and ${type} in the patch`);
    functions.push({ name, type, oldHash: await sha256(old.body) });
  }
  if (functions.length === 0) refuse("function", module, "has no function that the shared object exports");
  const symbols: WasmSymbol[] = [];
  for (const { module: from, name, kind, type } of side.imports) {
    if (own(side, from, name)) continue;
    if (from === "GOT.mem") {
      if (!variables.has(name)) refuse("symbol", name, "is no variable that the target exports");
      symbols.push({ name, kind: "data", type: "" });
    } else if (from === "GOT.func" || kind === "function") {
      const found = known.get(name);
      if (found === undefined) refuse("symbol", name, "is no function of the target");
      else if (kind === "function" && found.type !== type) {
        refuse("symbol", name, `is ${found.type} in the target, the patch calls ${type}`);
      }
      symbols.push(kind === "function" ? { name, kind, type } : { name, kind: "pointer", type: "" });
    }
  }
  const codeHash = await sha256(shared);
  const result = await wasmResult(base, codeHash);
  const { name, version = "1", description = "" } = about;
  return {
    ...{ target: "wasm", name, version, description, safe: [], units: [] },
    wasm: [{ module, base, result, functions, symbols, codeHash, code: shared }],
  };
}

/** The version that a shared object makes of another. */
export async function wasmResult(base: string, codeHash: string): Promise<string> {
  const bytes = (base + codeHash).match(/../g)!.map((pair) => Number.parseInt(pair, 16));
  return await sha256(Uint8Array.from(bytes));
}

/** What each module has for itself. */
const NOT_REPLACED: ReadonlySet<string> = new Set([
  ...["__wasm_call_ctors", "__wasm_apply_data_relocs", "_initialize"],
  ...Object.values(HOOKS),
]);
