import fs from "node:fs";
import type { ImageSource } from "../../image/image_file.ts";
import { refuse } from "../appliance_error.ts";
import type { Appliance } from "../appliance.ts";
import { applyDiff } from "../diff/apply_diff.ts";
import { DiffImage } from "../diff/diff_image.ts";
import { LEVEL_DEFAULT, makeChanges } from "../diff/make_diff.ts";
import { fingerprint } from "../fingerprint.ts";
import { mergeTrees } from "../merge/merge_trees.ts";
import type { MergedTrees } from "../merge/merged.ts";
import type { Policy } from "../merge/policy.ts";
import { quoted } from "../path.ts";
import { loadZstd } from "../zstd.ts";
import { DiffWriter, type MadeDiff } from "./diff_writer.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { mustBeFree } from "./unfinished.ts";

/** Options of whoever makes a differential. */
export interface DiffOptions extends WorkOptions {
  /** How hard zstd tries, 1 to 19. */
  readonly level?: number;
}

/**
 * Writes the differential of an appliance to a base into a file.
 * @throws {ApplianceError} When there is something of that name.
 */
export async function writeDiff(
  base: Appliance,
  appliance: Appliance,
  path: string,
  options: DiffOptions = {},
): Promise<MadeDiff> {
  using writer = new DiffWriter(path, await loadZstd(), options.level ?? LEVEL_DEFAULT);
  const meter = new Meter(`comparing ${appliance.name} with ${base.name}`, options);
  const counts = await makeChanges(base.tree, appliance.tree, writer, (bytes) => meter.add(bytes));
  const result = fingerprint(appliance.tree);
  const about = {
    base: fingerprint(base.tree),
    result,
    appliances: [{ name: appliance.name, result }],
    services: appliance.services,
  };
  return { ...counts, ...await writer.end(about, options) };
}

/**
 * Writes several differentials to one base, merged into one, where nothing is in conflict.
 * @returns What came of it: with conflicts, nothing is written.
 * @throws {ApplianceError} When one is for another base, or there is something of that name.
 */
export async function writeMerged(
  base: Appliance,
  diffs: readonly DiffImage[],
  path: string,
  policy: Policy,
  options: DiffOptions = {},
): Promise<Pick<MergedTrees, "conflicts" | "resolved"> & { readonly made?: MadeDiff }> {
  mustBeFree(path);
  const zstd = await loadZstd();
  const sides = diffs.map((diff) => {
    const { appliances, services } = diff.about;
    return {
      name: appliances.map(({ name }) => name).join("+"),
      tree: applyDiff(base.tree, diff, zstd),
      services,
    };
  });
  const twice = sides.find(({ name }, at) => sides.findIndex((other) => other.name === name) !== at);
  if (twice !== undefined) refuse("format", `Cannot merge: two differentials are of ${quoted(twice.name)}`);
  const { tree, services, conflicts, resolved } = mergeTrees(base.tree, sides, policy);
  if (conflicts.length > 0) return { conflicts, resolved };
  using writer = new DiffWriter(path, zstd, options.level ?? LEVEL_DEFAULT);
  const meter = new Meter(`comparing ${sides.map(({ name }) => name).join(", ")} with ${base.name}`, options);
  const counts = await makeChanges(base.tree, tree, writer, (bytes) => meter.add(bytes));
  const about = {
    base: fingerprint(base.tree),
    result: fingerprint(tree),
    appliances: diffs.flatMap(({ about }) => about.appliances),
    services,
  };
  return { conflicts, resolved, made: { ...counts, ...await writer.end(about, options) } };
}

/** A differential in a file, to be closed. */
export interface OpenDiff extends Disposable {
  readonly path: string;
  readonly diff: DiffImage;
}

/** Opens the differential in a file. @throws {ImageError} */
export async function openDiff(path: string): Promise<OpenDiff> {
  const zstd = await loadZstd();
  const file = fs.openSync(path, "r");
  const source: ImageSource = {
    size: () => fs.fstatSync(file).size,
    read: (into, position) => fs.readSync(file, into, 0, into.length, position),
  };
  try {
    return { path, diff: new DiffImage(source, zstd), [Symbol.dispose]: () => fs.closeSync(file) };
  } catch (error) {
    fs.closeSync(file);
    throw error;
  }
}
