import { checkUnit, moduleFor } from "../apply/check.ts";
import { ModuleState } from "../apply/module_state.ts";
import type { Patch } from "../image/patch.ts";
import { analyze } from "./analysis.ts";
import { describe } from "./instrument.ts";
import { parseSource } from "./source.ts";

/**
 * Checks a patch against sources, as applying it would against the program that runs them. Nothing of it runs.
 *
 * @param modules By the names that patches call them.
 * @throws {PatchError} Saying what does not fit, and which function it is about.
 */
export function checkPatch(patch: Patch, modules: Readonly<Record<string, string>>): void {
  const states = Object.entries(modules).map(([name, source]) => {
    const analysis = analyze(parseSource(name, source));
    return new ModuleState({
      format: 1,
      name,
      meta: { url: name },
      hash: analysis.hash,
      ...describe(analysis),
      classes: analysis.classes.map((each) => each.name),
      unpatchable: analysis.functions.flatMap(({ id, why }) => why === undefined ? [] : [[id, why] as const]),
      get: () => undefined,
      set: () => {},
      count: () => 0,
      class: () => undefined,
      importFrom: () => Promise.reject(new Error("Nothing runs")),
      evaluate: () => undefined,
    });
  });
  for (const unit of patch.units) checkUnit(patch, unit, moduleFor(patch, unit, states));
}
