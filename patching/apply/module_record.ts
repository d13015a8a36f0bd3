import type { FunctionKind, SymbolKind } from "../image/patch.ts";

/**
 * A function as an instrumented module tells of it: name, SHA-256, kind; 1 async, 2 generator, 4 its slot holds what makes
 * it, 8 it uses `arguments`; `length`, parameters; the number of the class it is in, or -1; 0 a method, 1 a static one of
 * that class, -1 neither; variables around it that it reaches.
 */
export type FunctionRecord = readonly [
  id: string,
  hash: string,
  kind: FunctionKind,
  flags: number,
  arity: number,
  parameters: number,
  inClass: number,
  side: number,
  captures: readonly string[],
];

/** What an instrumented module leaves in `globalThis[Symbol.for("torpor.modules")]`. */
export interface ModuleRecord {
  readonly format: number;
  /** What the instrumenter was told. */
  readonly name: string;
  readonly meta: { readonly url: string };
  readonly hash: string;
  readonly functions: readonly FunctionRecord[];
  readonly classes: readonly string[];
  readonly symbols: readonly (readonly [name: string, kind: SymbolKind, arity: number, from: string])[];
  readonly unpatchable: readonly (readonly [id: string, why: string])[];
  /** What a slot holds. */
  get(slot: number): unknown;
  set(slot: number, value: unknown): void;
  /** Calls that are under way. */
  count(slot: number): number;
  /** A class's accessor to its scope, and the class; `undefined` while it is not defined. */
  class(index: number): readonly [evaluate: (code: string) => unknown, self: Constructor] | undefined;
  importFrom(specifier: string): Promise<Record<string, unknown>>;
  /** Runs code in the module's scope. */
  evaluate(code: string): unknown;
}

/** A class. */
export type Constructor = { readonly prototype: object };

const MODULES = Symbol.for("torpor.modules");

/** The instrumented modules that are loaded in this thread, in the order in which they were. */
export function loadedModules(): readonly ModuleRecord[] {
  return (globalThis as unknown as Record<symbol, ModuleRecord[] | undefined>)[MODULES] ?? [];
}
