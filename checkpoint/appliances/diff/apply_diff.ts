import { ApplianceError, refuse } from "../appliance_error.ts";
import { fingerprint } from "../fingerprint.ts";
import type { Node } from "../node.ts";
import { quoted } from "../path.ts";
import { Tree } from "../tree.ts";
import type { Zstd } from "../zstd.ts";
import { DiffContents } from "./diff_content.ts";
import type { DiffImage } from "./diff_image.ts";

/**
 * The tree that a differential makes of its base. What is read of its files comes out of both, and neither changes.
 *
 * @throws {ApplianceError} When `base` is another tree than the one it was made for, or the result is not what it says.
 */
export function applyDiff(base: Tree, diff: DiffImage, zstd: Zstd): Tree {
  const { base: needed, result } = diff.about;
  const found = fingerprint(base);
  if (found !== needed) {
    refuse("base", `Cannot apply differential: it is for the base ${short(needed)}, this is ${short(found)}`);
  }
  const tree = applyChanges(base, diff, new DiffContents(base, diff, zstd));
  const made = fingerprint(tree);
  if (made === result) return tree;
  return refuse("hash", `Cannot apply differential: it makes ${short(made)}, and says ${short(result)}`);
}

/** As `applyDiff`, without looking at fingerprints. */
export function applyChanges(base: Tree, diff: DiffImage, contents: DiffContents): Tree {
  const tree = copyOf(base);
  for (const change of diff.changes) {
    const { path } = change;
    switch (change.kind) {
      case "removed":
        if (!tree.remove(path)) refuse("base", `Cannot apply differential: ${quoted(path)} is not there`);
        break;
      case "file":
        tree.put(path, { type: "file", ...change.about, content: contents.content(change.content) });
        break;
      case "node":
        tree.put(path, change.node);
        break;
      case "meta":
        tree.put(path, { ...nodeAt(base, path), ...change.about });
        break;
      case "link": {
        const node = nodeAt(tree, change.target);
        if (node.type === "directory") {
          refuse(
            "base",
            `Cannot apply differential: ${quoted(path)} links to the folder ${quoted(change.target)}`,
          );
        }
        tree.put(path, node);
      }
    }
  }
  return tree;
}

function nodeAt(tree: Tree, path: string): Node {
  const node = tree.get(path);
  if (node !== undefined) return node;
  throw new ApplianceError("base", `Cannot apply differential: ${quoted(path)} is not there`);
}

/** The same names and inodes. */
export function copyOf(tree: Tree): Tree {
  const copy = new Tree();
  for (const { path, node } of tree.entries()) copy.put(path, node);
  return copy;
}

/** The beginning of a hash, as people compare them. */
export function short(hash: string): string {
  return hash.slice(0, 12);
}
