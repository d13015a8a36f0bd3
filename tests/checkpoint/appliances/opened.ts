import { readFileSync } from "node:fs";
import { Prng } from "../../../base/random.ts";
import type { Appliance, Service } from "../../../checkpoint/appliances/appliance.ts";
import { writeDiff } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { ABOUT, fileOf, folder, randomBytes, randomNode } from "./trees.ts";

/** A tree that is in memory as an appliance. */
export function opened(tree: Tree, name = "it", services: readonly Service[] = []): Appliance {
  return { name, form: "tar", tree, layers: [], blobs: [], services, [Symbol.dispose]: () => {} };
}

/** The differential of two trees, as bytes. */
export async function diffOf(
  base: Tree,
  target: Tree,
  services: readonly Service[] = [],
  name = "it",
): Promise<Uint8Array<ArrayBuffer>> {
  using at = new TemporaryFolder();
  await writeDiff(opened(base), opened(target, name, services), at.file("a.diff"));
  return new Uint8Array(readFileSync(at.file("a.diff")));
}

/** Bytes in memory as an image's source. */
export function sourceOf(bytes: Uint8Array): {
  size(): number;
  read(into: Uint8Array, position: number): number;
} {
  return {
    size: () => bytes.length,
    read(into, position) {
      const some = bytes.subarray(position, position + into.length);
      into.set(some);
      return some.length;
    },
  };
}

/** `tree` with something done to many of its names: what a differential must tell of. */
export function changed(tree: Tree, prng: Prng): Tree {
  const next = new Tree();
  const entries = [...tree.entries()];
  for (const { path, node } of entries) if (path === "" || prng.below(8) > 0) putOr(next, path, node);
  for (const { path, node } of entries) {
    if (path === "" || next.get(path) === undefined) continue;
    switch (prng.below(9)) {
      case 0:
        next.put(path, randomNode(prng));
        break;
      case 1:
        next.put(path, { ...node, mode: node.type === "symlink" ? 0o777 : node.mode ^ 0o111 });
        break;
      case 2:
        next.put(path, { ...node }); // a hard link no more
        break;
      case 3:
        next.put(path, folder({ uid: 7 }));
        next.put(`${path}/inside`, fileOf("new"));
        break;
      case 4: {
        const other = entries[prng.below(entries.length)]!;
        const linked = next.get(other.path);
        if (linked !== undefined && linked.type !== "directory") next.put(path, linked);
      }
    }
  }
  return next;
}

function putOr(tree: Tree, path: string, node: Parameters<Tree["put"]>[1]): void {
  const parent = path.split("/").slice(0, -1).join("/");
  if (tree.get(parent)?.type === "directory") tree.put(path, node);
}

/** The pair of trees of which a golden image is: with a large file that has changed, a moved one, and all types. */
export function goldenPair(): { base: Tree; target: Tree } {
  const large = randomBytes(new Prng(11), 300_000);
  const edited = new Uint8Array([...large.subarray(0, 100_000), 1, 2, 3, ...large.subarray(100_500)]);
  const base = new Tree(), target = new Tree();
  for (const tree of [base, target]) tree.put("", folder({ mtimeSeconds: 1 }));
  base.put("etc/gone/deep", fileOf("gone"));
  base.put("etc/passwd", fileOf("root:x:0:0::/root:/bin/sh\n"));
  base.put("lib/large.so.1", fileOf(large));
  base.put("lib/same", fileOf("same"));
  target.put("etc/passwd", fileOf("root:x:0:0::/root:/bin/sh\nredis:x:101:101::/:/bin/false\n"));
  target.put("lib/large.so.1", fileOf(edited, { mode: 0o755 }));
  target.put("lib/moved", fileOf(large));
  target.put(
    "lib/same",
    fileOf("same", { mtimeNanoseconds: 5, xattrs: new Map([["user.a", Uint8Array.of(1)]]) }),
  );
  target.put("dev/null", { ...ABOUT, type: "character", major: 1, minor: 3 });
  target.put("dev/pipe", { ...ABOUT, type: "fifo" });
  target.put("lib/soft", { ...ABOUT, type: "symlink", mode: 0o777, target: "large.so.1" });
  target.put("lib/hard", target.get("etc/passwd")!);
  return { base, target };
}
