import { compareTrees } from "../compare.ts";
import type { Node } from "../node.ts";
import type { Tree } from "../tree.ts";
import type { About, Change } from "./change.ts";
import { ContentDiffer } from "./content_differ.ts";
import type { OnBytes } from "./on_bytes.ts";
import { Packer, type PackSink } from "./packer.ts";

/** Takes changes in their order, and packs as they are complete. */
export interface ChangeSink {
  change(change: Change): void;
  pack: PackSink;
}

/** How many names a differential touches, by what it does to them. */
export interface ChangeCounts {
  added: number;
  changed: number;
  /** Those of which only what `stat` tells is another. */
  metadata: number;
  removed: number;
}

/** How hard zstd tries by default: 19 makes it a tenth smaller and takes four times as long (`bench -- appliance`). */
export const LEVEL_DEFAULT = 9;

/**
 * Everything that makes `target` of `base`, in the order of paths. The same trees give the same changes and packs, on
 * every machine.
 */
export async function makeChanges(
  base: Tree,
  target: Tree,
  sink: ChangeSink,
  onBytes: OnBytes = () => undefined,
): Promise<ChangeCounts> {
  const packer = new Packer((pack, raw, dictionary) => sink.pack(pack, raw, dictionary));
  const differ = new ContentDiffer(base, packer, onBytes);
  const counts: ChangeCounts = { added: 0, changed: 0, metadata: 0, removed: 0 };
  let gone: string | undefined; // a folder of the base that is none any more
  for (const { path, left, right, how } of compareTrees(base, target)) {
    const pause = onBytes(0);
    if (pause !== undefined) await pause;
    if (right === undefined) {
      if (gone !== undefined && path.startsWith(gone)) continue;
      counts.removed++;
      sink.change({ kind: "removed", path });
      if (left!.node.type === "directory") gone = `${path}/`;
      continue;
    }
    const { node, links } = right;
    if (left === undefined) counts.added++;
    else if (
      how.some((each) => each === "type" || each === "content" || each === "target" || each === "device")
    ) {
      counts.changed++;
    } else counts.metadata++;
    if (left?.node.type === "directory" && node.type !== "directory") gone = `${path}/`;
    if (links !== undefined) sink.change({ kind: "link", path, target: links });
    else if (node.type !== "file") sink.change({ kind: "node", path, node: withoutContent(node) });
    else if (left?.node.content?.sha256 === node.content!.sha256) {
      sink.change({ kind: "meta", path, about: aboutOf(node) });
    } else {
      const { size, sha256, extents } = node.content!;
      const pieces = await differ.pieces(path, node.content!);
      const content = { size, sha256, ...extents === undefined ? {} : { extents }, pieces };
      sink.change({ kind: "file", path, about: aboutOf(node), content });
    }
  }
  packer.flush();
  return counts;
}

/** What `stat` tells of a node. */
export function aboutOf({ mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs }: Node): About {
  return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
}

function withoutContent({ content: _, ...node }: Node): Node {
  return node;
}
