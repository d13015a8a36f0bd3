import type { Patch } from "../image/patch.ts";
import { readPatch } from "../image/patch_image.ts";
import { verifyPatch } from "../image/sign.ts";
import { messageOf, PatchError } from "../patch_error.ts";
import { wasmUnits } from "../wasm/wasm_unit.ts";
import { loadedWasm } from "../wasm/wasm_state.ts";
import type { ApplyOptions, ApplyStep } from "./apply_options.ts";
import { checkUnit, moduleFor } from "./check.ts";
import { mustBeRecorded, mustBeWell } from "./confirm.ts";
import { callHook, takeBack, undoAll } from "./hooks.ts";
import { JsUnit } from "./js_unit.ts";
import { loadedModules } from "./module_record.ts";
import { ModuleState } from "./module_state.ts";
import { whenQuiet } from "./quiet.ts";
import { switchTo } from "./switch.ts";
import type { UnitWork } from "./unit_work.ts";

/** A patch that is applied. */
export interface AppliedPatch {
  /** What was applied. */
  readonly patch: Patch;
  /** How long it took to check and compile it, and to switch, in milliseconds; waiting is not in it. */
  readonly tookMs: { readonly stage: number; readonly switch: number };
}

interface Applied extends AppliedPatch {
  readonly works: readonly UnitWork[];
  readonly undo: readonly (() => void)[];
}

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
    return [
      ...this.#modules().map(({ record: { name, meta }, hash }) => ({ name, url: meta.url, hash })),
      ...loadedWasm().map(({ name, hash }) => ({ name, url: "", hash })),
    ];
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
      await whenQuiet(last.patch, last.works, options.patienceMs, cannot, () => {
        for (const work of last.works) callHook(last.patch, work, "rollback", cannot);
        undoAll(last.undo);
        this.#applied.pop();
      });
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
    const works = await this.#works(patch, cannot);
    let stageMs = performance.now() - before;
    for (const work of works) {
      await step("import", work.module);
      await work.prepare();
      await step("compile", work.module);
      const start = performance.now();
      await work.compile();
      stageMs += performance.now() - start;
    }
    await step("quiet");
    const applied = await whenQuiet(patch, works, options.patienceMs, cannot, (): Applied => {
      const { undo, tookMs } = switchTo(patch, works, options, cannot);
      const applied = { patch, works, undo, tookMs: { stage: stageMs, switch: tookMs } };
      this.#applied.push(applied);
      return applied;
    });
    try {
      await step("health");
      await mustBeWell(patch, works, options, cannot);
      await step("record");
      await mustBeRecorded(options, cannot);
    } catch (error) {
      takeBack(patch, works, applied.undo, cannot);
      this.#applied.pop();
      throw error;
    }
    return { patch, tookMs: applied.tookMs };
  }

  /** The work that a patch is, checked against the modules that are loaded. */
  async #works(patch: Patch, cannot: string): Promise<UnitWork[]> {
    if (patch.target === "wasm") return await wasmUnits(patch, loadedWasm(), cannot);
    const states = this.#modules();
    const targets = patch.units.map((unit) => ({ unit, state: moduleFor(patch, unit, states) }));
    for (const { unit, state } of targets) checkUnit(patch, unit, state);
    return targets.map(({ unit, state }) => new JsUnit(patch, unit, state, cannot));
  }
}

/** The patches of this thread. */
export const livePatches: LivePatches = new LivePatches();
