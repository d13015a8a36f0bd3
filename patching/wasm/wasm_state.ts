import { sha256 } from "../image/sign.ts";
import { instrumentWasm, WASM_PREFIX } from "./instrument.ts";
import { readWasm, type WasmModule } from "./module.ts";

/** A function of a running WebAssembly module as it is now. */
export interface WasmFunctionState {
  readonly slot: number;
  readonly type: string;
  /** Of the body that runs. */
  hash: string;
}

/** A running WebAssembly module that can be patched. */
export interface WasmState {
  /** What the program calls it. */
  readonly name: string;
  /** The version that runs. */
  hash: string;
  readonly functions: Map<string, WasmFunctionState>;
  /** What can be called and pointed to, by name: the module's functions, and what patches have added. */
  readonly callable: Map<string, { readonly type: string; readonly value: CallableFunction }>;
  /** Addresses of variables, by name. */
  readonly data: Map<string, number>;
  readonly slots: WebAssembly.Table;
  readonly table: WebAssembly.Table;
  readonly memory: WebAssembly.Memory | undefined;
  readonly stackPointer: WebAssembly.Global | undefined;
}

const LOADED = Symbol.for("torpor.wasm");
const loaded = globalThis as unknown as Record<symbol, WasmState[] | undefined>;

/** The modules that `instantiatePatchable` has made in this thread. */
export function loadedWasm(): readonly WasmState[] {
  return loaded[LOADED] ?? [];
}

/**
 * Instantiates a WebAssembly module so that it can be patched: as `WebAssembly.instantiate`, but that each of its functions
 * is called through a slot. The instance stays known, and with it its memory, until the process ends.
 *
 * @param name What patches call it.
 * @throws {PatchError} `source`, when it cannot be read.
 * @example
 * ```ts ignore
 * import { instantiatePatchable } from "@torpor/torpor/patching/wasm/wasm_state.ts";
 * const { exports } = await instantiatePatchable("counter.wasm", await readFile("counter.wasm"), {});
 * ```
 */
export async function instantiatePatchable(
  name: string,
  bytes: Uint8Array,
  imports: WebAssembly.Imports = {},
): Promise<WebAssembly.Instance> {
  const module = readWasm(bytes);
  const { instance } = await WebAssembly.instantiate(instrumentWasm(module), imports);
  const state = await stateOf(name, module, instance.exports);
  (loaded[LOADED] ??= []).push(state);
  return instance;
}

async function stateOf(name: string, module: WasmModule, exports: WebAssembly.Exports): Promise<WasmState> {
  const { bytes, functions, globals } = module;
  const ours = (what: string): WebAssembly.ExportValue | undefined => exports[WASM_PREFIX + what];
  const hashes = await Promise.all(functions.map(({ start, end }) => sha256(bytes.subarray(start, end))));
  const data = new Map<string, number>();
  for (const [each, { kind, index }] of module.exports) {
    const global = kind === "global" ? globals[index - module.imported.global] : undefined;
    if (global?.type === "i32" && global.value !== undefined) data.set(each, global.value);
  }
  const pointer = globals.findIndex((each) => each.name === "__stack_pointer");
  return {
    name,
    hash: await sha256(bytes),
    functions: new Map(
      functions.map((each, slot) => [each.name, { slot, type: each.type, hash: hashes[slot]! }]),
    ),
    callable: new Map(functions.map((each, index) => [
      each.name,
      { type: each.type, value: ours(`f${index}`) as CallableFunction },
    ])),
    data,
    slots: ours("slots") as WebAssembly.Table,
    table: ours("table") as WebAssembly.Table | undefined ??
      new WebAssembly.Table({ element: "anyfunc", initial: 0 }),
    memory: ours("memory") as WebAssembly.Memory | undefined,
    stackPointer: pointer < 0 ? undefined : ours(`g${pointer}`) as WebAssembly.Global,
  };
}
