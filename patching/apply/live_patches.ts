import type { Patch, PatchFunction, PatchUnit } from "../image/patch.ts";
import { readPatch } from "../image/patch_image.ts";
import { verifyPatch } from "../image/sign.ts";
import { PatchError } from "../patch_error.ts";
import { checkUnit, moduleFor } from "./check.ts";
import { linkAdded, linkFunction, type LinkObject } from "./link.ts";
import { type Constructor, type FunctionRecord, loadedModules } from "./module_record.ts";
import { type FunctionState, ModuleState } from "./module_state.ts";

/** How a patch is applied. */
export interface ApplyOptions {
  /** Public keys in base64: by one of them it must be signed. Without keys everything is taken. */
  readonly trusted?: readonly string[];
  /** Says whether the program is well with the patch. False, or an error, rolls it back. */
  readonly health?: () => boolean | Promise<boolean>;
  /** How long to wait until no replaced function runs, in milliseconds; 1,000 when left out. */
  readonly patienceMs?: number;
  /** Is told each step before it is taken. What it throws ends the attempt as an error of that step would. */
  readonly onStep?: (step: ApplyStep, what: string) => void | Promise<void>;
  /** Writes down that it is applied; what it throws rolls back. */
  readonly record?: () => void | Promise<void>;
}

/** The steps of applying a patch, in their order. */
export const APPLY_STEPS: readonly ApplyStep[] = [
  "verify",
  "check",
  "import",
  "compile",
  "quiet",
  "initialize",
  "switch",
  "hook",
  "health",
  "record",
];
/** See `APPLY_STEPS`. */
export type ApplyStep =
  | "verify"
  | "check"
  | "import"
  | "compile"
  | "quiet"
  | "initialize"
  | "switch"
  | "hook"
  | "health"
  | "record";

/** A patch that is applied. */
export interface AppliedPatch {
  /** What was applied. */
  readonly patch: Patch;
  /** How long it took to check and compile it, and to switch, in milliseconds; waiting is not in it. */
  readonly tookMs: { readonly stage: number; readonly switch: number };
}

interface Applied extends AppliedPatch {
  readonly staged: readonly Staged[];
  readonly undo: readonly (() => void)[];
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

/** Names of functions that a patch may declare for itself. */
const HOOKS = { apply: "onPatchApply", check: "onPatchCheck", rollback: "onPatchRollback" } as const;
/** How long is waited for calls to end. */
const PATIENCE_MS = 1_000;

/**
 * The patches of this thread. There is one, `livePatches`.
 *
 * A patch may declare `onPatchApply()`, which is called once it is in place and may change state, `onPatchCheck()`, which
 * says whether all is well, and `onPatchRollback()`, which takes back what the first has done.
 */
export class LivePatches {
  readonly #states: Map<object, ModuleState> = new Map();
  readonly #applied: Applied[] = [];
  #busy = false;

  /** What is applied, oldest first. */
  get applied(): readonly AppliedPatch[] {
    return this.#applied.map(({ patch, tookMs }) => ({ patch, tookMs }));
  }

  /** The modules that can be patched, and the version of each that runs. */
  get modules(): readonly { readonly name: string; readonly url: string; readonly hash: string }[] {
    return this.#modules().map(({ record: { name, meta }, hash }) => ({ name, url: meta.url, hash }));
  }

  /**
   * Applies a patch: checks all of it, compiles all of it, waits until none of the functions that it replaces runs, and
   * switches them in one go. Whatever fails, nothing of it is applied.
   *
   * @throws {ImageError} When `patch` is an image that cannot be read.
   * @throws {PatchError} Saying what is in the way, and of which function.
   */
  apply(patch: Patch | Uint8Array, options: ApplyOptions = {}): Promise<AppliedPatch> {
    return this.#alone(() => this.#apply(patch instanceof Uint8Array ? readPatch(patch) : patch, options));
  }

  /**
   * Takes the last patch back: the functions before it run again, and what it has declared is gone. State that its code has
   * changed stays as it is, but for what its `onPatchRollback()` puts right.
   *
   * @param name Of the patch, which must be the last; the last when left out.
   * @throws {PatchError} `order` when it is not the last, `active` when its functions do not end, `hook`, `record`.
   */
  rollback(name?: string, options: Pick<ApplyOptions, "patienceMs" | "record"> = {}): Promise<Patch> {
    return this.#alone(async () => {
      const last = this.#applied.at(-1);
      const cannot = `Cannot roll back${name === undefined ? "" : ` patch "${name}"`}`;
      if (last === undefined) throw new PatchError("order", `${cannot}: no patch is applied`);
      if (name !== undefined && last.patch.name !== name) {
        const there = this.#applied.some(({ patch }) => patch.name === name);
        const why = there ? `"${last.patch.name}" was applied after it` : "it is not applied";
        throw new PatchError("order", `${cannot}: ${why}`);
      }
      await this.#quiet(last.patch, last.staged, options.patienceMs, cannot);
      for (const { unit, state } of last.staged) callHook(last.patch, unit, state, "rollback", cannot);
      undoAll(last.undo);
      this.#applied.pop();
      try {
        await options.record?.();
      } catch (cause) {
        const why = `it is done, and cannot be written down: ${messageOf(cause)}`;
        throw new PatchError("record", `${cannot}: ${why}`, { cause });
      }
      return last.patch;
    });
  }

  async #alone<T>(act: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new PatchError("busy", "Cannot apply or roll back: another patch is under way");
    this.#busy = true;
    try {
      return await act();
    } finally {
      this.#busy = false;
    }
  }

  #modules(): ModuleState[] {
    return loadedModules().filter(({ format }) => format === 1).map((record) => {
      let state = this.#states.get(record);
      if (state === undefined) this.#states.set(record, state = new ModuleState(record));
      return state;
    });
  }

  async #apply(patch: Patch, options: ApplyOptions): Promise<AppliedPatch> {
    const cannot = `Cannot apply patch "${patch.name}"`;
    const step = async (name: ApplyStep, what = patch.name): Promise<void> =>
      await options.onStep?.(name, what);
    if (this.#applied.some((each) => each.patch.name === patch.name)) {
      throw new PatchError("applied", `${cannot}: a patch of that name is applied`);
    }
    await step("verify");
    await verifyPatch(patch, options.trusted ?? []);
    await step("check");
    const before = performance.now();
    const states = this.#modules();
    const targets = patch.units.map((unit) => ({ unit, state: moduleFor(patch, unit, states) }));
    for (const { unit, state } of targets) checkUnit(patch, unit, state);
    let stageMs = performance.now() - before;
    const staged: Staged[] = [];
    for (const { unit, state } of targets) {
      await step("import", unit.module);
      const imports = await importsOf(unit, state, cannot);
      await step("compile", unit.module);
      const start = performance.now();
      staged.push(stage(patch, unit, state, imports, cannot));
      stageMs += performance.now() - start;
    }
    await step("quiet");
    await this.#quiet(patch, staged, options.patienceMs, cannot);
    // From here to the switch nothing is awaited: no call can begin in between.
    const undo: (() => void)[] = [];
    const hooked: Staged[] = [];
    const start = performance.now();
    const sync = (name: ApplyStep, what: string): void => void options.onStep?.(name, what);
    try {
      const made = staged.map((each) => {
        sync("initialize", each.unit.module);
        return initialize(each, cannot);
      });
      staged.forEach((each, index) => {
        sync("switch", each.unit.module);
        switchUnit(each, made[index]!, undo);
      });
      for (const each of staged) {
        sync("hook", each.unit.module);
        callHook(patch, each.unit, each.state, "apply", cannot);
        hooked.push(each);
      }
    } catch (error) {
      takeBack(patch, hooked, undo, cannot);
      throw error;
    }
    const applied: Applied = {
      patch,
      staged,
      undo,
      tookMs: { stage: stageMs, switch: performance.now() - start },
    };
    this.#applied.push(applied);
    try {
      await step("health");
      await this.#health(patch, staged, options, cannot);
      await step("record");
      await this.#record(options, cannot);
    } catch (error) {
      takeBack(patch, staged, undo, cannot);
      this.#applied.pop();
      throw error;
    }
    return { patch, tookMs: applied.tookMs };
  }

  async #health(
    patch: Patch,
    staged: readonly Staged[],
    { health }: ApplyOptions,
    cannot: string,
  ): Promise<void> {
    const checks = staged.map(({ unit, state }) => hookOf(unit, state, "check")).filter((each) =>
      each !== undefined
    );
    if (health !== undefined) checks.push(health);
    for (const check of checks) {
      let well: unknown;
      try {
        well = await check();
      } catch (cause) {
        const message = `${cannot}: its health check failed, it is rolled back: ${messageOf(cause)}`;
        throw new PatchError("health", message, { cause });
      }
      if (well === false) {
        throw new PatchError(
          "health",
          `${cannot}: "${patch.name}" is not well by its health check, it is rolled back`,
        );
      }
    }
  }

  async #record({ record }: ApplyOptions, cannot: string): Promise<void> {
    try {
      await record?.();
    } catch (cause) {
      const message = `${cannot}: it cannot be written down, it is rolled back: ${messageOf(cause)}`;
      throw new PatchError("record", message, { cause });
    }
  }

  /** Resolves in a turn of its own, in which none of the functions runs: only async functions and generators can. */
  async #quiet(
    patch: Patch,
    staged: readonly Staged[],
    patienceMs = PATIENCE_MS,
    cannot: string,
  ): Promise<void> {
    const until = performance.now() + patienceMs;
    for (let delayMs = 0;; delayMs = Math.min(10, delayMs + 1)) {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      const running = staged.flatMap(({ unit, state }) =>
        unit.functions
          .map(({ id }) => ({ id, count: state.active(id) }))
          .filter(({ id, count }) => count > 0 && !patch.safe.includes(id))
      )[0];
      if (running === undefined) return;
      if (performance.now() >= until) {
        const { id, count } = running;
        const calls = count === 1 ? "a call of it is" : `${count} calls of it are`;
        const why = `${calls} under way after ${patienceMs} ms, and it is not declared safe`;
        throw new PatchError("active", `${cannot}: ${id}: ${why}`, { function: id });
      }
    }
  }
}

/** The patches of this thread. */
export const livePatches: LivePatches = new LivePatches();

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

function hookOf(
  { added }: PatchUnit,
  state: ModuleState,
  which: keyof typeof HOOKS,
): (() => unknown) | undefined {
  const name = HOOKS[which];
  return added?.names.some((each) => each.name === name) ? state.added[name] as () => unknown : undefined;
}

function callHook(
  patch: Patch,
  unit: PatchUnit,
  state: ModuleState,
  which: "apply" | "rollback",
  cannot: string,
): void {
  try {
    hookOf(unit, state, which)?.();
  } catch (cause) {
    const message = `${cannot}: ${HOOKS[which]}() of "${patch.name}" throws: ${messageOf(cause)}`;
    throw new PatchError("hook", message, { cause });
  }
}

/** Takes back what an attempt has done, whatever its hooks say: the error that ended it is what is told. */
function takeBack(
  patch: Patch,
  hooked: readonly Staged[],
  undo: readonly (() => void)[],
  cannot: string,
): void {
  for (const { unit, state } of hooked) {
    try {
      callHook(patch, unit, state, "rollback", cannot);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
    }
  }
  undoAll(undo);
}

function undoAll(undo: readonly (() => void)[]): void {
  for (const each of [...undo].reverse()) each();
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
