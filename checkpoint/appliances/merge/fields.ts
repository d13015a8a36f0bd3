import { type Difference, differences, type Node } from "../node.ts";

/** All in which two nodes of one type may differ. */
export const FIELDS: readonly Difference[] = [
  "content",
  "target",
  "device",
  "mode",
  "owner",
  "mtime",
  "xattrs",
];

/** Whether two nodes differ in it. */
export function differs(field: Difference, left: Node, right: Node): boolean {
  return differences(left, right).includes(field);
}

/** `node` with one field of `from`. */
export function taken(field: Difference, node: Node, from: Node): Node {
  switch (field) {
    case "content":
      return from.content === undefined ? node : { ...node, content: from.content };
    case "target":
      return from.target === undefined ? node : { ...node, target: from.target };
    case "device":
      return from.major === undefined ? node : { ...node, major: from.major, minor: from.minor! };
    case "mode":
      return { ...node, mode: from.mode };
    case "owner":
      return { ...node, uid: from.uid, gid: from.gid };
    case "mtime":
      return { ...node, mtimeSeconds: from.mtimeSeconds, mtimeNanoseconds: from.mtimeNanoseconds };
    case "xattrs":
      return { ...node, xattrs: from.xattrs };
    default:
      return node;
  }
}

/** The one that was written last. */
export function latest(nodes: readonly Node[]): Node {
  return nodes.reduce((one, other) => {
    const order = one.mtimeSeconds - other.mtimeSeconds || one.mtimeNanoseconds - other.mtimeNanoseconds;
    return order >= 0 ? one : other;
  });
}
