import type { Command } from "../command.ts";
import { group } from "../dispatch.ts";
import { patchApply } from "./patch/apply.ts";
import { patchBuild } from "./patch/build.ts";
import { patchCheck } from "./patch/check.ts";
import { patchInstrument } from "./patch/instrument.ts";
import { patchKeys } from "./patch/keys.ts";
import { patchLs } from "./patch/ls.ts";
import { patchRollback } from "./patch/rollback.ts";
import { patchSign } from "./patch/sign.ts";

/** `torpor patch`. */
export const patch: Command = group(
  "patch",
  "changes code that runs: builds patches, applies them, rolls back",
  "Live patches: code of running programs, replaced function by function.\ntorpor explain FILE prints a patch in words.",
  [patchBuild, patchCheck, patchSign, patchKeys, patchInstrument, patchApply, patchRollback, patchLs],
);
