import { type Hook, HOOKS, type UnitWork } from "../apply/unit_work.ts";
import type { Patch, WasmUnit } from "../image/patch.ts";
import { sha256 } from "../image/sign.ts";
import { messageOf, PatchError, type PatchReason } from "../patch_error.ts";
import { readWasm, type WasmModule } from "./module.ts";
import { own, wasmResult } from "./side_module.ts";
import type { WasmState } from "./wasm_state.ts";

/** Bytes of a page of memory. */
const PAGE_BYTES = 65_536;

/**
 * The work that a patch of WebAssembly is, checked against the modules that run.
 * @throws {PatchError} Naming the first function or symbol that does not fit.
 */
export async function wasmUnits(
  patch: Patch,
  states: readonly WasmState[],
  cannot: string,
): Promise<UnitWork[]> {
  return await Promise.all(patch.wasm.map(async (unit) => {
    if (await wasmResult(unit.base, unit.codeHash) !== unit.result) {
      throw new PatchError("base", `${cannot}: its result is not what its base and its code make`);
    }
    const state = stateFor(unit, states, cannot);
    const side = readWasm(unit.code);
    const hashes = new Map<string, string>();
    for (const { name, start, end } of side.functions) {
      hashes.set(name, await sha256(unit.code.subarray(start, end)));
    }
    checkWasm(unit, side, state, cannot);
    return new WasmWork(unit, side, state, hashes, cannot);
  }));
}

function stateFor(unit: WasmUnit, states: readonly WasmState[], cannot: string): WasmState {
  const called = states.filter(({ name }) => name === unit.module || name.endsWith(`/${unit.module}`));
  const fitting = called.filter(({ hash }) => hash === unit.base);
  if (fitting.length === 1) return fitting[0]!;
  const refuse = (reason: PatchReason, why: string): never => {
    throw new PatchError(reason, `${cannot}: ${why}`);
  };
  if (called.length === 0) refuse("module", `no module "${unit.module}" runs that can be patched`);
  if (fitting.length > 1) refuse("module", `module "${unit.module}" runs ${fitting.length} times`);
  const { hash } = called[0]!;
  if (hash === unit.result) {
    refuse("applied", `module "${unit.module}" is the version that it would make`);
  }
  const versions = `version ${hash.slice(0, 12)}, it is for ${unit.base.slice(0, 12)}`;
  return refuse("base", `module "${unit.module}" runs ${versions}`);
}

/** Both sides of every symbol: names, types, and what the shared object says of itself. */
function checkWasm(unit: WasmUnit, side: WasmModule, state: WasmState, cannot: string): void {
  const refuse = (reason: PatchReason, name: string, why: string): never => {
    throw new PatchError(reason, `${cannot}: "${name}" ${why} in "${unit.module}"`, { function: name });
  };
  if (side.dylink === undefined) {
    throw new PatchError("source", `${cannot}: its code is no side module: it has no section dylink.0`);
  }
  for (const { name, type, oldHash } of unit.functions) {
    const target = state.functions.get(name);
    if (target === undefined) refuse("function", name, "is not there");
    else if (target.type !== type) refuse("arity", name, `is ${target.type}, the patch's is ${type}`);
    else if (target.hash !== oldHash) refuse("function", name, "is there in another version");
    const exported = side.exports.get(name);
    const its = exported?.kind === "function"
      ? side.functions[exported.index - side.imported.function]?.type
      : undefined;
    if (its !== type) refuse("arity", name, `is ${type}, the shared object has ${its ?? "none"}`);
  }
  const told = new Set(unit.symbols.map(({ kind, name }) => `${kind} ${name}`));
  for (const { name, kind, type } of unit.symbols) {
    if (kind === "data") {
      if (!state.data.has(name)) refuse("symbol", name, "is no variable that is exported");
      continue;
    }
    const found = state.callable.get(name);
    if (found === undefined) refuse("symbol", name, "is no function");
    else if (kind === "function" && found.type !== type) {
      refuse("symbol", name, `is ${found.type}, the patch calls ${type}`);
    }
  }
  for (const { module, name, kind, type } of side.imports) {
    if (own(side, module, name) || module === "env" && GIVEN[name] === kind) continue;
    const wanted = module === "GOT.mem" ? "data" : module === "GOT.func" ? "pointer" : "function";
    const isBound =
      (module === "env" ? kind === "function" : module.startsWith("GOT.") && type === "mut i32") &&
      told.has(`${wanted} ${name}`);
    if (!isBound) refuse("symbol", name, `is imported from ${module}, and bound to nothing`);
    const symbol = unit.symbols.find((each) => each.kind === wanted && each.name === name);
    if (kind === "function" && symbol?.type !== type) {
      refuse("symbol", name, `is called as ${type}, and said to be ${symbol?.type}`);
    }
  }
}

/** What every side module gets. */
const GIVEN: Readonly<Record<string, string>> = {
  memory: "memory",
  __indirect_function_table: "table",
  __memory_base: "global",
  __table_base: "global",
  __stack_pointer: "global",
};

class WasmWork implements UnitWork {
  readonly module: string;
  readonly #unit: WasmUnit;
  readonly #side: WasmModule;
  readonly #state: WasmState;
  readonly #hashes: ReadonlyMap<string, string>;
  readonly #cannot: string;
  #compiled: WebAssembly.Module | undefined;
  #exports: WebAssembly.Exports = {};
  #memoryBase = 0;

  constructor(
    unit: WasmUnit,
    side: WasmModule,
    state: WasmState,
    hashes: ReadonlyMap<string, string>,
    cannot: string,
  ) {
    this.module = unit.module;
    this.#unit = unit;
    this.#side = side;
    this.#state = state;
    this.#hashes = hashes;
    this.#cannot = cannot;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  async compile(): Promise<void> {
    try {
      this.#compiled = await WebAssembly.compile(new Uint8Array(this.#unit.code));
    } catch (cause) {
      const message = `${this.#cannot}: the code for "${this.module}" cannot be compiled: ${
        messageOf(cause)
      }`;
      throw new PatchError("compile", message, { cause });
    }
  }

  /** WebAssembly runs to its end: between two turns none of it is under way. */
  running(): { id: string; count: number }[] {
    return [];
  }

  initialize(undo: (() => void)[]): void {
    try {
      this.#instantiate(undo);
    } catch (cause) {
      if (cause instanceof PatchError) throw cause;
      const message = `${this.#cannot}: the shared object for "${this.module}" cannot be linked: ${
        messageOf(cause)
      }`;
      throw new PatchError("initializer", message, { cause });
    }
  }

  #instantiate(undo: (() => void)[]): void {
    const { memorySize, memoryAlign, tableSize } = this.#side.dylink!;
    const { memory, stackPointer, table } = this.#state;
    this.#memoryBase = memorySize === 0 ? 0 : this.#allocate(memorySize, 2 ** memoryAlign, undo);
    const tableBase = tableSize === 0 ? table.length : this.#places(tableSize, undo);
    const constant = (value: number): WebAssembly.Global => new WebAssembly.Global({ value: "i32" }, value);
    const env: WebAssembly.ModuleImports = {
      __indirect_function_table: table,
      __memory_base: constant(this.#memoryBase),
      __table_base: constant(tableBase),
      ...(memory === undefined ? {} : { memory }),
      ...(stackPointer === undefined ? {} : { __stack_pointer: stackPointer }),
    };
    const imports: Record<string, WebAssembly.ModuleImports> = { env, "GOT.mem": {}, "GOT.func": {} };
    /** Functions of its own that it points to: their places are known before they are. */
    const later: [place: number, name: string][] = [];
    for (const { module, name, kind } of this.#side.imports) {
      if (module === "env") {
        if (kind === "function") env[name] = this.#state.callable.get(name)!.value as WebAssembly.ImportValue;
        continue;
      }
      const isOwn = own(this.#side, module, name);
      let value: number;
      if (module === "GOT.mem") {
        value = isOwn ? this.#memoryBase + this.#offsetOf(name) : this.#state.data.get(name)!;
      } else if (isOwn) later.push([value = this.#places(1, undo), name]);
      else value = this.#placeOf(this.#state.callable.get(name)!.value, undo);
      imports[module]![name] = new WebAssembly.Global({ value: "i32", mutable: true }, value);
    }
    this.#exports = new WebAssembly.Instance(this.#compiled!, imports).exports;
    for (const [place, name] of later) table.set(place, this.#exports[name] as CallableFunction);
    for (const name of ["__wasm_apply_data_relocs", "__wasm_call_ctors", "_initialize"]) {
      (this.#exports[name] as (() => void) | undefined)?.();
    }
  }

  /** Memory for its variables: from the target's own allocator when it exports one, else pages at the end. */
  #allocate(bytes: number, align: number, undo: (() => void)[]): number {
    const { memory, callable } = this.#state;
    const room = bytes + align - 1;
    const [malloc, free] = ["malloc", "free"].map((name) => callable.get(name)?.value);
    let start: number;
    if (malloc !== undefined && free !== undefined) {
      start = (malloc as unknown as (bytes: number) => number)(room) >>> 0;
      if (start === 0) {
        throw new PatchError("initializer", `${this.#cannot}: its allocator has no ${room} bytes`);
      }
      undo.push(() => void (free as unknown as (at: number) => void)(start));
    } else if (memory !== undefined) start = memory.grow(Math.ceil(room / PAGE_BYTES)) * PAGE_BYTES;
    else throw new PatchError("symbol", `${this.#cannot}: "${this.module}" has no memory`);
    const at = Math.ceil(start / align) * align;
    new Uint8Array(memory!.buffer, at, bytes).fill(0);
    return at;
  }

  /** New places of the target's table. They stay, empty, when the patch goes: a table does not shrink. */
  #places(count: number, undo: (() => void)[]): number {
    const { table } = this.#state;
    const start = table.grow(count);
    undo.push(() => {
      for (let place = start; place < start + count; place++) table.set(place, null);
    });
    return start;
  }

  /** Where a function of the target stands in its table, so that pointers to it are equal. */
  #placeOf(value: CallableFunction, undo: (() => void)[]): number {
    const { table } = this.#state;
    for (let place = 0; place < table.length; place++) if (table.get(place) === value) return place;
    const place = this.#places(1, undo);
    table.set(place, value);
    return place;
  }

  #offsetOf(name: string): number {
    const { index } = this.#side.exports.get(name)!;
    return this.#side.globals[index - this.#side.imported.global]?.value ?? 0;
  }

  put(undo: (() => void)[]): void {
    const { hash, slots, functions, callable, data } = this.#state;
    undo.push(() => void (this.#state.hash = hash));
    this.#state.hash = this.#unit.result;
    for (const { name } of this.#unit.functions) {
      const found = functions.get(name)!;
      const [before, hashBefore] = [slots.get(found.slot) as CallableFunction, found.hash];
      undo.push(() => {
        slots.set(found.slot, before);
        found.hash = hashBefore;
      });
      slots.set(found.slot, this.#exports[name] as CallableFunction);
      found.hash = this.#hashes.get(name)!;
    }
    // What it has beyond that can be called by what is applied on top of it.
    for (const [name, { kind, index }] of this.#side.exports) {
      if (kind === "function" && !callable.has(name)) {
        const type = this.#side.functions[index - this.#side.imported.function]!.type;
        callable.set(name, { type, value: this.#exports[name] as CallableFunction });
        undo.push(() => void callable.delete(name));
      } else if (kind === "global" && !data.has(name)) {
        data.set(name, this.#memoryBase + this.#offsetOf(name));
        undo.push(() => void data.delete(name));
      }
    }
  }

  /** A hook returns a C `int`, of which 0 is false, or nothing. */
  hook(which: Hook): (() => unknown) | undefined {
    const hook = this.#exports[HOOKS[which]] as (() => unknown) | undefined;
    return hook === undefined ? undefined : () => hook() !== 0;
  }
}
