import { encodeCbor } from "../image/cbor.ts";
import { Digest } from "./disk/contents.ts";
import { NODE_TYPES } from "./node.ts";
import type { Tree } from "./tree.ts";

/**
 * SHA-256 of all that a tree is but where its holes are: names in order, what `stat` tells, attributes, contents by
 * their SHA-256. Two trees with the same are the same to mtree(8).
 * @returns 64 hexadecimal digits.
 */
export function fingerprint(tree: Tree): string {
  const digest = new Digest();
  for (const { path, node, links } of tree.entries()) {
    const { type, mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs, target, major, minor, content } =
      node;
    digest.update(encodeCbor([
      path,
      links ?? null,
      NODE_TYPES.indexOf(type),
      [mode, uid, gid, mtimeSeconds, mtimeNanoseconds, new Map(xattrs)],
      ...[target ?? null, major ?? null, minor ?? null, content?.size ?? null, content?.sha256 ?? null],
    ]));
  }
  return digest.end();
}
