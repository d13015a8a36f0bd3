import type { Patch } from "../image/patch.ts";
import type { ApplyOptions, ApplyStep } from "./apply_options.ts";
import { callHook, takeBack } from "./hooks.ts";
import type { UnitWork } from "./unit_work.ts";

/**
 * Puts everything of a patch in its place, and calls its hooks, in one go: nothing is awaited. What fails is undone.
 * @returns How to undo it, and how long it took, in milliseconds.
 */
export function switchTo(
  patch: Patch,
  works: readonly UnitWork[],
  { onStep }: ApplyOptions,
  cannot: string,
): { readonly undo: readonly (() => void)[]; readonly tookMs: number } {
  const undo: (() => void)[] = [];
  const hooked: UnitWork[] = [];
  const start = performance.now();
  const step = (name: ApplyStep, what: string): void => void onStep?.(name, what);
  try {
    for (const work of works) {
      step("initialize", work.module);
      work.initialize(undo);
    }
    for (const work of works) {
      step("switch", work.module);
      work.put(undo);
    }
    for (const work of works) {
      step("hook", work.module);
      callHook(patch, work, "apply", cannot);
      hooked.push(work);
    }
  } catch (error) {
    takeBack(patch, hooked, undo, cannot);
    throw error;
  }
  return { undo, tookMs: performance.now() - start };
}
