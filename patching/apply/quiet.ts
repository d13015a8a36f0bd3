import type { Patch } from "../image/patch.ts";
import { PatchError } from "../patch_error.ts";
import type { UnitWork } from "./unit_work.ts";

/** How long is waited for calls to end. */
const PATIENCE_MS = 1_000;

/**
 * Calls `act` in a turn of its own, in which none of the functions runs: only async functions and generators can. Nothing
 * comes between that it was seen so and `act`, not even what else waits for a promise.
 *
 * @throws {PatchError} `active` when one of them does not end in time.
 */
export async function whenQuiet<T>(
  patch: Patch,
  works: readonly UnitWork[],
  patienceMs = PATIENCE_MS,
  cannot: string,
  act: () => T,
): Promise<T> {
  const until = performance.now() + patienceMs;
  for (let delayMs = 0;; delayMs = Math.min(10, delayMs + 1)) {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const running = works.flatMap((work) =>
      work.running().filter(({ id, count }) =>
        count > 0 && !patch.safe.includes(id)
      )
    )[0];
    if (running === undefined) return act();
    if (performance.now() >= until) {
      const { id, count } = running;
      const calls = count === 1 ? "a call of it is" : `${count} calls of it are`;
      const why = `${calls} under way after ${patienceMs} ms, and it is not declared safe`;
      throw new PatchError("active", `${cannot}: ${id}: ${why}`, { function: id });
    }
  }
}
