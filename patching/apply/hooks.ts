import type { Patch } from "../image/patch.ts";
import { messageOf, PatchError } from "../patch_error.ts";
import { HOOKS, type UnitWork } from "./unit_work.ts";

/** Calls a hook of the patch, when it has one. @throws {PatchError} `hook` when it throws. */
export function callHook(patch: Patch, work: UnitWork, which: "apply" | "rollback", cannot: string): void {
  try {
    work.hook(which)?.();
  } catch (cause) {
    const message = `${cannot}: ${HOOKS[which]}() of "${patch.name}" throws: ${messageOf(cause)}`;
    throw new PatchError("hook", message, { cause });
  }
}

/** Takes back what an attempt has done, whatever its hooks say: the error that ended it is what is told. */
export function takeBack(
  patch: Patch,
  hooked: readonly UnitWork[],
  undo: readonly (() => void)[],
  cannot: string,
): void {
  for (const work of hooked) {
    try {
      callHook(patch, work, "rollback", cannot);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
    }
  }
  undoAll(undo);
}

/** Undoes what was done, the last first. */
export function undoAll(undo: readonly (() => void)[]): void {
  for (const each of [...undo].reverse()) each();
}
