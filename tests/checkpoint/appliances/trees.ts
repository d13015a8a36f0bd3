import { createHash } from "node:crypto";
import type { Prng } from "../../../base/random.ts";
import { type Content, type Extent, NO_XATTRS, type Node } from "../../../checkpoint/appliances/node.ts";
import { paddingOf, TAR_END, tarHeader } from "../../../checkpoint/appliances/tar/tar_writer.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";

/** A content that is in memory. */
export function contentOf(bytes: Uint8Array, extents?: readonly Extent[]): Content {
  return {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
    ...extents === undefined ? {} : { extents },
  };
}

export function bytesIn(content: Content): Uint8Array {
  const bytes = new Uint8Array(content.size);
  content.read(0, bytes);
  return bytes;
}

export const ABOUT = {
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSeconds: 1_700_000_000,
  mtimeNanoseconds: 0,
  xattrs: NO_XATTRS,
} as const;

export function fileOf(text: string | Uint8Array, about: Partial<Node> = {}): Node {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return { ...ABOUT, type: "file", content: contentOf(bytes), ...about };
}

export function folder(about: Partial<Node> = {}): Node {
  return { ...ABOUT, type: "directory", mode: 0o755, ...about };
}

export function randomBytes(prng: Prng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  prng.fill(bytes);
  return bytes;
}

function randomAbout(prng: Prng): Omit<Node, "type"> {
  return {
    mode: prng.below(0o10000),
    uid: prng.below(3) === 0 ? prng.below(2 ** 31) : prng.below(1_000),
    gid: prng.below(1_000),
    mtimeSeconds: prng.below(4) === 0 ? prng.below(2 ** 33) - 2 ** 32 : 1_700_000_000,
    mtimeNanoseconds: prng.below(2) === 0 ? 0 : prng.below(1_000_000_000),
    xattrs: prng.below(4) === 0
      ? new Map([["user.note", randomBytes(prng, prng.below(40))], ["security.x", randomBytes(prng, 3)]])
      : NO_XATTRS,
  };
}

const LONG = "a-name-that-is-so-long-that-no-old-tar-has-room-for-it-".repeat(4);
const NAMES = ["a", "b", "c", "d.conf", "é", "漢字", "🙂", LONG, " space", "new\nline"];

export function randomNode(prng: Prng): Node {
  const about = randomAbout(prng);
  switch (prng.below(9)) {
    case 0:
      return { type: "symlink", ...about, mode: 0o777, target: ["../x", "/etc", LONG][prng.below(3)]! };
    case 1:
      return { type: "character", ...about, major: prng.below(256), minor: prng.below(256) };
    case 2:
      return { type: "fifo", ...about };
    case 3: {
      const bytes = new Uint8Array(200_000);
      const start = 4096 * prng.below(20);
      bytes.set(randomBytes(prng, 8192), start);
      return { type: "file", ...about, content: contentOf(bytes, [{ start, length: 8192 }]) };
    }
    default: {
      const length = [0, 1, 511, 512, 513, 70_000][prng.below(6)]!;
      return { type: "file", ...about, content: contentOf(randomBytes(prng, length)) };
    }
  }
}

/** A tree with everything in it that a tree may have. */
export function randomTree(prng: Prng, names: number): Tree {
  const tree = new Tree();
  const folders = [""];
  const files: string[] = [];
  const path = (): string => {
    const parent = folders[prng.below(folders.length)]!;
    const name = NAMES[prng.below(NAMES.length)]!;
    return parent === "" ? name : `${parent}/${name}`;
  };
  if (prng.below(2) === 0) tree.put("", { type: "directory", ...randomAbout(prng) });
  for (let count = 0; count < names; count++) {
    const at = path();
    if (tree.get(at) !== undefined || at.length > 500) continue;
    const linked = files[prng.below(files.length + 3)];
    if (prng.below(4) === 0) {
      tree.put(at, { type: "directory", ...randomAbout(prng) });
      folders.push(at);
    } else if (linked !== undefined) tree.put(at, tree.get(linked)!);
    else {
      tree.put(at, randomNode(prng));
      files.push(at);
    }
  }
  return tree;
}

/** A tree as a tar. */
export function tarOf(tree: Tree): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  for (const { path, node, links } of tree.entries()) {
    const { bytes, dataBytes } = tarHeader(path, node, links);
    pieces.push(bytes);
    if (dataBytes === 0) continue;
    const content = bytesIn(node.content!);
    for (const { start, length } of node.content!.extents ?? [{ start: 0, length: content.length }]) {
      pieces.push(content.subarray(start, start + length));
    }
    pieces.push(new Uint8Array(paddingOf(dataBytes)));
  }
  pieces.push(TAR_END);
  return new Uint8Array(Buffer.concat(pieces));
}
