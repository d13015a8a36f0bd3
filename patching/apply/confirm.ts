import type { Patch } from "../image/patch.ts";
import { messageOf, PatchError } from "../patch_error.ts";
import type { ApplyOptions } from "./apply_options.ts";
import type { UnitWork } from "./unit_work.ts";

/**
 * Asks the patch's own check, and the program's, whether all is well.
 * @throws {PatchError} `health` when one says no, or fails.
 */
export async function mustBeWell(
  patch: Patch,
  works: readonly UnitWork[],
  { health }: ApplyOptions,
  cannot: string,
): Promise<void> {
  const checks = works.map((work) => work.hook("check")).filter((each) => each !== undefined);
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

/** Lets it be written down. @throws {PatchError} `record`. */
export async function mustBeRecorded({ record }: ApplyOptions, cannot: string): Promise<void> {
  try {
    await record?.();
  } catch (cause) {
    const message = `${cannot}: it cannot be written down, it is rolled back: ${messageOf(cause)}`;
    throw new PatchError("record", message, { cause });
  }
}
