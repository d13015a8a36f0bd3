import { type Difference, differences } from "./node.ts";
import { comparePaths } from "./path.ts";
import type { Tree, TreeEntry } from "./tree.ts";

/** A name whose meaning differs between two trees. */
export interface TreeDifference {
  readonly path: string;
  readonly left?: TreeEntry;
  readonly right?: TreeEntry;
  /** How, where both have it; `links` when they are hard links of different names. */
  readonly how: readonly (Difference | "links")[];
}

/** A pair of entries of two trees with the same path, or one that only one of them has. */
export interface TreePair {
  readonly path: string;
  readonly left?: TreeEntry;
  readonly right?: TreeEntry;
}

/** Both trees in one walk. */
export function* pairs(left: Tree, right: Tree): Generator<TreePair, void, void> {
  const lefts = left.entries(), rights = right.entries();
  let a = lefts.next().value, b = rights.next().value;
  while (a || b) {
    const order = !a ? 1 : !b ? -1 : comparePaths(a.path, b.path);
    if (order < 0) yield { path: a!.path, left: a! };
    else if (order > 0) yield { path: b!.path, right: b! };
    else yield { path: a!.path, left: a!, right: b! };
    if (order <= 0) a = lefts.next().value;
    if (order >= 0) b = rights.next().value;
  }
}

/** Every name in which two trees differ, as mtree(8) would: types, contents, owners, modes, times, attributes, links. */
export function* compareTrees(left: Tree, right: Tree): Generator<TreeDifference, void, void> {
  for (const pair of pairs(left, right)) {
    if (pair.left === undefined || pair.right === undefined) yield { ...pair, how: [] };
    else {
      const how: (Difference | "links")[] = differences(pair.left.node, pair.right.node);
      if (pair.left.links !== pair.right.links) how.push("links");
      if (how.length > 0) yield { ...pair, how };
    }
  }
}
