import type { Node } from "./node.ts";
import type { Tree } from "./tree.ts";

const TYPES: Readonly<Record<Node["type"], string>> = {
  file: "file",
  directory: "dir",
  symlink: "link",
  character: "char",
  block: "block",
  fifo: "fifo",
};

/** A tree as a specification of mtree(8), which holds a folder against it: `mtree -f SPEC -p FOLDER`. */
export function* mtreeLines(tree: Tree): Generator<string, void, void> {
  yield "#mtree";
  for (const { path, node } of tree.entries()) {
    const words = [
      escaped(path === "" ? "." : `./${path}`),
      `type=${TYPES[node.type]}`,
      `uid=${node.uid}`,
      `gid=${node.gid}`,
      `time=${node.mtimeSeconds}.${String(node.mtimeNanoseconds).padStart(9, "0")}`,
    ];
    if (node.type !== "symlink") words.push(`mode=0${node.mode.toString(8)}`);
    if (node.content !== undefined) words.push(`size=${node.content.size}`, `sha256=${node.content.sha256}`);
    if (node.target !== undefined) words.push(`link=${escaped(node.target)}`);
    if (node.major !== undefined) words.push(`device=linux,${node.major},${node.minor}`);
    yield words.join(" ");
  }
}

/** As vis(3) writes what is no plain character. */
function escaped(text: string): string {
  let words = "";
  for (const byte of new TextEncoder().encode(text)) {
    const plain = byte > 32 && byte < 127 && byte !== 35 && byte !== 42 && byte !== 63 && byte !== 91 &&
      byte !== 92 && byte !== 61;
    words += plain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, "0")}`;
  }
  return words;
}
