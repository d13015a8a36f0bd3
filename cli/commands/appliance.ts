import type { Command } from "../command.ts";
import { group } from "../dispatch.ts";
import { applianceApply } from "./appliance/apply.ts";
import { applianceBase } from "./appliance/base.ts";
import { applianceDiff } from "./appliance/diff.ts";
import { applianceInspect } from "./appliance/inspect.ts";
import { applianceLaunch } from "./appliance/launch.ts";
import { applianceMerge } from "./appliance/merge.ts";

/** `torpor appliance`. */
export const appliance: Command = group(
  "appliance",
  "differentials of root file systems, and what becomes of them",
  "Finds the base of several appliances, writes what each is beside it as a small\nfile, makes one appliance of the base and such files, and starts what they\nstart.",
  [applianceBase, applianceDiff, applianceMerge, applianceApply, applianceInspect, applianceLaunch],
);
