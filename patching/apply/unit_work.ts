/** Functions that a patch may declare for itself, by when they are called. */
export const HOOKS = { apply: "onPatchApply", check: "onPatchCheck", rollback: "onPatchRollback" } as const;
/** When a hook is called. */
export type Hook = keyof typeof HOOKS;

/** What a patch does to one module, step by step. What a step refuses, it throws as a `PatchError`. */
export interface UnitWork {
  readonly module: string;
  /** Gets from elsewhere what the code needs. */
  prepare(): Promise<void>;
  /** Compiles all of the code. None of it runs. */
  compile(): void | Promise<void>;
  /** Calls under way of each function that is replaced. */
  running(): readonly { readonly id: string; readonly count: number }[];
  /** Evaluates what is added. Nothing of the module changes. */
  initialize(undo: (() => void)[]): void;
  /** Puts everything in place; `undo` gets what takes each part of it back. */
  put(undo: (() => void)[]): void;
  /** The patch's own function for a moment. */
  hook(which: Hook): (() => unknown) | undefined;
}
