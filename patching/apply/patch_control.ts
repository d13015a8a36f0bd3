import { ControlError } from "../../checkpoint/control/control_error.ts";
import { extendControl } from "../../checkpoint/control/request.ts";
import { ImageError } from "../../checkpoint/image/image_error.ts";
import { PatchError } from "../patch_error.ts";
import type { AppliedPatch, LivePatches } from "./live_patches.ts";
import { type PatchFolder, readPatchFile } from "./patch_folder.ts";

/** A patch, in a line of `torpor patch ls`. */
export interface PatchRow {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly modules: readonly string[];
  readonly functions: readonly string[];
  readonly signed: boolean;
}

/**
 * Lets the control sockets of this thread apply patches and roll them back: `{"do":"patch","apply":FILE}`,
 * `{"do":"patch","rollback":NAME}` (or `true`, the last), `{"do":"patch"}`, which lists. Whoever can open such a socket can
 * then run code in this program, if it is signed by somebody trusted: so give `trusted` to what is offered.
 */
export function offerPatches(patches: PatchFolder | LivePatches): void {
  extendControl("patch", async ({ do: _, ...request }) => {
    try {
      return await answer(patches, request);
    } catch (error) {
      if (!(error instanceof PatchError || error instanceof ImageError)) throw error;
      throw new ControlError("refused", error.message, { cause: error });
    }
  });
}

async function answer(
  patches: PatchFolder | LivePatches,
  { apply, rollback, ...more }: Record<string, unknown>,
): Promise<object> {
  for (const name of Object.keys(more)) throw new ControlError("refused", `"patch" has no "${name}"`);
  if (typeof apply === "string") {
    const { patch, tookMs } = await patches.apply(await readPatchFile(apply));
    return { applied: patch.name, tookMs };
  }
  if (rollback === true || typeof rollback === "string") {
    return { rolledBack: (await patches.rollback(rollback === true ? undefined : rollback)).name };
  }
  if (apply !== undefined || rollback !== undefined) {
    throw new ControlError("refused", `"patch" is not understood`);
  }
  return { patches: patches.applied.map(rowOf), modules: patches.modules };
}

function rowOf({ patch: { name, version, description, units, wasm, signature } }: AppliedPatch): PatchRow {
  return {
    name,
    version,
    description,
    modules: [...units, ...wasm].map(({ module }) => module),
    functions: [
      ...units.flatMap(({ functions }) => functions.map(({ id }) => id)),
      ...wasm.flatMap(({ functions }) => functions.map((each) => each.name)),
    ],
    signed: signature !== undefined,
  };
}
