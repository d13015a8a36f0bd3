import type { Appliance } from "./appliance.ts";
import { differences, type Node } from "./node.ts";
import { Tree } from "./tree.ts";

/** Of two appliances, so much of the smaller one's content must be in both, or they have no base in common. */
export const SHARE_MIN = 0.1;

/** What several appliances have in common, and how it was found. */
export interface FoundBase {
  /** `layers`: they begin with the same ones. `appliance`: one of them is in all others. `common`: what all have. */
  readonly by: "layers" | "appliance" | "common";
  /** The tree; for layers it is that of the first appliance's lowest ones, which whoever asked opens. */
  readonly tree?: Tree;
  /** How many layers, of `layers`. */
  readonly layers?: number;
  /** Which appliance, of `appliance`. */
  readonly index?: number;
  /** Why, in sentences. */
  readonly explanation: readonly string[];
}

/** What two trees have in common, in bytes of files and in names. */
export interface Likeness {
  /** Bytes of the first tree's files that the second has at the same path. */
  readonly sharedBytes: number;
  readonly bytes: number;
  readonly sharedNames: number;
  readonly names: number;
}

/** How much of `tree` is in `other` as well, at the same paths with the same content. */
export function likeness(tree: Tree, other: Tree): Likeness {
  let sharedBytes = 0, bytes = 0, sharedNames = 0, names = 0;
  for (const { path, node, links } of tree.entries()) {
    names++;
    const size = links === undefined ? node.content?.size ?? 0 : 0;
    bytes += size;
    const there = other.get(path);
    if (there === undefined || !isSame(node, there)) continue;
    sharedNames++;
    sharedBytes += size;
  }
  return { sharedBytes, bytes, sharedNames, names };
}

/** The same but for when it was written. */
function isSame(left: Node, right: Node): boolean {
  return differences(left, right).every((how) => how === "mtime");
}

/**
 * The base that several appliances were made from: the layers that all begin with, else the appliance that is in all
 * others for the most part, else all that they have in common.
 *
 * @returns `undefined` when there is nothing that deserves the name, or only one appliance.
 */
export function detectBase(appliances: readonly Appliance[]): FoundBase | undefined {
  if (appliances.length < 2) return undefined;
  return byLayers(appliances) ?? byAppliance(appliances) ?? byContent(appliances);
}

function byLayers(appliances: readonly Appliance[]): FoundBase | undefined {
  const [first, ...others] = appliances;
  let shared = 0;
  while (
    shared < first!.layers.length && others.every(({ layers }) => layers[shared] === first!.layers[shared])
  ) shared++;
  if (shared === 0) return undefined;
  return {
    by: "layers",
    layers: shared,
    explanation: [
      `All ${appliances.length} begin with the same ${shared === 1 ? "layer" : `${shared} layers`}: ${
        first!.layers.slice(0, shared).map((digest) => digest.slice(0, 19)).join(", ")
      }.`,
      ...appliances.map(({ name, layers }) => `${name} has ${layers.length}.`),
    ],
  };
}

function byAppliance(appliances: readonly Appliance[]): FoundBase | undefined {
  const found: { index: number; least: number; explanation: string[] }[] = [];
  for (const [index, { name, tree }] of appliances.entries()) {
    let least = Infinity;
    const explanation = appliances.flatMap((other, at) => {
      if (at === index) return [];
      const { sharedBytes, bytes, sharedNames, names } = likeness(tree, other.tree);
      // The one whose names are all in the others: packages bring files, and take hardly any away.
      least = Math.min(least, sharedBytes / Math.max(1, bytes), sharedNames / names);
      return [
        `${percent(sharedBytes, bytes)} of the bytes and ${
          percent(sharedNames, names)
        } of the names of ${name} are in ${other.name}.`,
      ];
    });
    found.push({ index, least, explanation });
  }
  const best = found.reduce((one, other) => other.least > one.least ? other : one);
  if (best.least < CONTAINED_MIN) return undefined;
  const { name, tree } = appliances[best.index]!;
  return {
    by: "appliance",
    index: best.index,
    tree,
    explanation: [`${name} is the base.`, ...best.explanation],
  };
}

/** A base is in what was made from it but for what has been changed: logs, caches, databases of packages. */
const CONTAINED_MIN = 0.9;

function byContent(appliances: readonly Appliance[]): FoundBase | undefined {
  const [first, ...others] = appliances;
  const common = new Tree();
  let bytes = 0;
  for (const { path, node, links } of first!.tree.entries()) {
    if (!others.every(({ tree }) => isSameThere(tree, path, node))) continue;
    if (path !== "" && common.get(path.slice(0, Math.max(0, path.lastIndexOf("/"))))?.type !== "directory") {
      continue;
    }
    common.put(path, node);
    if (links === undefined) bytes += node.content?.size ?? 0;
  }
  const explanation = [
    `${common.size} names and ${bytes} bytes of files are the same in all ${appliances.length}, and are the base.`,
  ];
  let least = Infinity;
  for (const { name, tree } of appliances) {
    const { bytes: all } = likeness(tree, common);
    least = Math.min(least, all);
    explanation.push(`That is ${percent(bytes, all)} of the bytes of ${name}.`);
  }
  if (common.size < 2 || bytes < SHARE_MIN * least) return undefined;
  return { by: "common", tree: common, explanation };
}

function isSameThere(tree: Tree, path: string, node: Node): boolean {
  const there = tree.get(path);
  return there !== undefined && isSame(node, there);
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "0%" : `${Math.round(1_000 * part / whole) / 10}%`;
}
