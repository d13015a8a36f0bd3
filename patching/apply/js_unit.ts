import type { Patch, PatchFunction, PatchUnit } from "../image/patch.ts";
import { messageOf, PatchError } from "../patch_error.ts";
import { linkAdded, linkFunction, type LinkObject } from "./link.ts";
import type { Constructor, FunctionRecord } from "./module_record.ts";
import type { FunctionState, ModuleState } from "./module_state.ts";
import { type Hook, HOOKS, type UnitWork } from "./unit_work.ts";

/** What a patch does to a module of JavaScript. */
export class JsUnit implements UnitWork {
  readonly module: string;
  readonly #patch: Patch;
  readonly #unit: PatchUnit;
  readonly #state: ModuleState;
  readonly #cannot: string;
  #imports: Record<string, unknown> = {};
  #staged: Staged | undefined;
  #made: Made | undefined;

  /** @param cannot How its refusals begin. */
  constructor(patch: Patch, unit: PatchUnit, state: ModuleState, cannot: string) {
    this.module = unit.module;
    this.#patch = patch;
    this.#unit = unit;
    this.#state = state;
    this.#cannot = cannot;
  }

  async prepare(): Promise<void> {
    this.#imports = await importsOf(this.#unit, this.#state, this.#cannot);
  }

  compile(): void {
    this.#staged = stage(this.#patch, this.#unit, this.#state, this.#imports, this.#cannot);
  }

  running(): { id: string; count: number }[] {
    return this.#unit.functions.map(({ id }) => ({ id, count: this.#state.active(id) }));
  }

  initialize(): void {
    this.#made = initialize(this.#staged!, this.#cannot);
  }

  put(undo: (() => void)[]): void {
    switchUnit(this.#staged!, this.#made!, undo);
  }

  hook(which: Hook): (() => unknown) | undefined {
    const name = HOOKS[which];
    const has = this.#unit.added?.names.some((each) => each.name === name);
    return has ? this.#state.added[name] as () => unknown : undefined;
  }
}

/** A unit whose code is compiled. */
interface Staged {
  readonly unit: PatchUnit;
  readonly state: ModuleState;
  readonly imports: Record<string, unknown>;
  readonly makeAdded: (link: LinkObject) => Record<string, unknown>;
  readonly functions: readonly {
    each: PatchFunction;
    make: (link: LinkObject) => unknown;
    home: object | null;
  }[];
}

async function importsOf(
  unit: PatchUnit,
  state: ModuleState,
  cannot: string,
): Promise<Record<string, unknown>> {
  const imports: Record<string, unknown> = {};
  for (const { name, from } of unit.added?.imports ?? []) {
    const at = from.lastIndexOf("#");
    const [specifier, imported] = [from.slice(0, at), from.slice(at + 1)];
    let module: Record<string, unknown>;
    try {
      module = await state.record.importFrom(specifier);
    } catch (cause) {
      const message = `${cannot}: "${specifier}" cannot be imported by "${unit.module}": ${messageOf(cause)}`;
      throw new PatchError("import", message, { cause });
    }
    if (imported !== "*" && !(imported in module)) {
      throw new PatchError("import", `${cannot}: "${specifier}" has no export "${imported}"`);
    }
    const get = imported === "*" ? () => module : () => module[imported];
    Object.defineProperty(imports, name, { get, enumerable: true, configurable: true });
  }
  return imports;
}

/** Compiles all of a unit. None of it runs. */
function stage(
  patch: Patch,
  unit: PatchUnit,
  state: ModuleState,
  imports: Record<string, unknown>,
  cannot: string,
): Staged {
  const title = `${patch.name}/${unit.module}`;
  const compile = (evaluate: (code: string) => unknown, code: string, id: string | undefined): unknown => {
    try {
      return evaluate(code);
    } catch (cause) {
      const what = id ?? `what it adds to "${unit.module}"`;
      const message = `${cannot}: ${what} cannot be compiled: ${messageOf(cause)}`;
      throw new PatchError("compile", message, { cause, function: id });
    }
  };
  const functions = unit.functions.map((each) => {
    const { evaluate, self, isStatic } = placeOf(each, state, cannot);
    const isFactory = ((state.functions.get(each.id)?.record[3] ?? 0) & 4) !== 0;
    const code = linkFunction(unit, each, state, isFactory, `${title}#${each.id}`);
    const make = compile(evaluate, code, each.id) as (link: LinkObject) => unknown;
    const on = self === undefined ? null : isStatic ? self : self.prototype;
    return { each, make, home: on === null ? null : Object.getPrototypeOf(on) as object | null };
  });
  const code = linkAdded(unit, state, title);
  const makeAdded = compile((text) => state.record.evaluate(text), code, undefined);
  return { unit, state, imports, makeAdded: makeAdded as Staged["makeAdded"], functions };
}

/** Where a function is compiled, and the class whose own method it is. */
function placeOf(
  each: PatchFunction,
  state: ModuleState,
  cannot: string,
): { evaluate: (code: string) => unknown; self: Constructor | undefined; isStatic: boolean } {
  const { record } = state;
  const found = state.functions.get(each.id)?.record;
  const member = state.memberOf(each.id);
  const index = found === undefined ? member?.index ?? -1 : found[6];
  if (index < 0) return { evaluate: (code) => record.evaluate(code), self: undefined, isStatic: false };
  const accessor = record.class(index);
  if (accessor === undefined) {
    const message = `${cannot}: ${each.id}: class ${record.classes[index]} is not defined yet`;
    throw new PatchError("function", message, { function: each.id });
  }
  const side = found === undefined ? (member!.isStatic ? 1 : 0) : found[7];
  return { evaluate: accessor[0], self: side < 0 ? undefined : accessor[1], isStatic: side === 1 };
}

interface Made {
  readonly added: Record<string, unknown>;
  readonly functions: readonly { each: PatchFunction; value: unknown; counter: { count: number } }[];
}

/** Evaluates what a unit declares, and makes its functions. Nothing of the module has changed yet. */
function initialize({ unit, state, imports, makeAdded, functions }: Staged, cannot: string): Made {
  // Names of earlier patches are behind those of this one. The accessors come when their code has run.
  const added = Object.create(state.added) as Record<string, unknown>;
  Object.defineProperties(added, Object.getOwnPropertyDescriptors(imports));
  const { meta } = state.record;
  const link = (home: object | null, counter: { count: number }): LinkObject => ({
    p: added,
    m: meta,
    i: (specifier) => state.record.importFrom(specifier),
    h: home,
    n: counter,
  });
  try {
    const accessors = makeAdded(link(null, { count: 0 }));
    Object.defineProperties(added, Object.getOwnPropertyDescriptors(accessors));
    return {
      added,
      functions: functions.map(({ each, make, home }) => {
        const counter = { count: 0 };
        return { each, value: make(link(home, counter)), counter };
      }),
    };
  } catch (cause) {
    const message = `${cannot}: what it adds to "${unit.module}" throws: ${messageOf(cause)}`;
    throw new PatchError("initializer", message, { cause });
  }
}

/** Puts a unit in place; `undo` gets what takes each part of it back. */
function switchUnit({ unit, state }: Staged, made: Made, undo: (() => void)[]): void {
  const { added: addedBefore, hash: hashBefore } = state;
  undo.push(() => {
    state.added = addedBefore;
    state.hash = hashBefore;
  });
  state.added = made.added;
  state.hash = unit.result;
  for (const { name, kind, arity } of unit.added?.names ?? []) {
    state.symbols.set(name, { kind, arity, from: "", byPatch: true });
    undo.push(() => state.symbols.delete(name));
  }
  for (const { name, from } of unit.added?.imports ?? []) {
    state.symbols.set(name, { kind: "import", arity: -1, from, byPatch: true });
    undo.push(() => state.symbols.delete(name));
  }
  for (const { each, value, counter } of made.functions) {
    const found = state.functions.get(each.id);
    if (found !== undefined) switchSlot(state, found, each, value, counter, undo);
    else switchMethod(state, each, value, counter, undo);
  }
}

function switchSlot(
  { record }: ModuleState,
  found: FunctionState,
  each: PatchFunction,
  value: unknown,
  counter: { count: number },
  undo: (() => void)[],
): void {
  const { slot, hash, counter: counterBefore } = found;
  const before = record.get(slot);
  undo.push(() => {
    record.set(slot, before);
    found.hash = hash;
    found.counter = counterBefore;
  });
  record.set(slot, value);
  found.hash = each.newHash;
  found.counter = counter;
}

/** A method that a class has not had, or has from a patch. */
function switchMethod(
  state: ModuleState,
  each: PatchFunction,
  value: unknown,
  counter: { count: number },
  undo: (() => void)[],
): void {
  const { index, isStatic, key } = state.memberOf(each.id)!;
  const self = state.record.class(index)![1];
  const on = isStatic ? self : self.prototype;
  const before = Object.getOwnPropertyDescriptor(on, key);
  const had = state.methods.get(each.id);
  undo.push(() => {
    if (before === undefined) Reflect.deleteProperty(on, key);
    else Object.defineProperty(on, key, before);
    if (had === undefined) state.methods.delete(each.id);
    else state.methods.set(each.id, had);
  });
  Object.defineProperty(on, key, { value, writable: true, enumerable: false, configurable: true });
  const flags = (each.isAsync ? 1 : 0) | (each.isGenerator ? 2 : 0);
  const record: FunctionRecord = [
    each.id,
    each.newHash,
    "method",
    flags,
    each.arity,
    each.arity,
    index,
    0,
    [],
  ];
  state.methods.set(each.id, { slot: -1, record, hash: each.newHash, counter });
}
