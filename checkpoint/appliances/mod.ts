/** Root file systems: read, compared with their base, merged, written. @module */
export type { Appliance, LayerBlob, Service } from "./appliance.ts";
export { ApplianceError, type ApplianceReason } from "./appliance_error.ts";
export { compareTrees, type TreeDifference } from "./compare.ts";
export { detectBase, type FoundBase } from "./detect_base.ts";
export { applyDiff } from "./diff/apply_diff.ts";
export { DiffImage } from "./diff/diff_image.ts";
export { type MadeDiff, type OpenDiff, openDiff, writeDiff, writeMerged } from "./disk/diff_file.ts";
export { openAppliance, type OpenOptions } from "./disk/open_appliance.ts";
export type { Progress, WorkOptions } from "./disk/progress.ts";
export { type LayoutContent, writeLayout, type WrittenLayout } from "./disk/write_layout.ts";
export type { WriteOptions } from "./disk/write_steps.ts";
export { writeFolder, writeTarFile, type WrittenTree } from "./disk/write_tree.ts";
export { fingerprint } from "./fingerprint.ts";
export type { Conflict, Resolution } from "./merge/merged.ts";
export { DEFAULT_POLICY, type Policy, readPolicy } from "./merge/policy.ts";
export { mtreeLines } from "./mtree.ts";
export { Tree, type TreeEntry } from "./tree.ts";
export { loadZstd } from "./zstd.ts";
