import { refuse } from "../appliance_error.ts";
import type { Node } from "../node.ts";
import { quoted } from "../path.ts";
import { paddingOf, tarHeader } from "../tar/tar_writer.ts";
import type { TreeEntry } from "../tree.ts";
import { Digest } from "./contents.ts";

const PIECE_BYTES = 1024 * 1024;

/**
 * An entry of a tree as bytes of a tar. The content is hashed on its way.
 * @throws {ApplianceError} When it is not what its SHA-256 says.
 */
export function* tarEntry({ path, node, links }: TreeEntry): Generator<Uint8Array, void, void> {
  const { bytes, dataBytes } = tarHeader(path, node, links);
  yield bytes;
  if (links !== undefined || node.content === undefined) return;
  const { size, sha256, extents } = node.content;
  const digest = new Digest();
  let hashed = 0;
  /** Reads up to `end`, and yields what it reads where it is data. */
  const readTo = function* (end: number, data: boolean): Generator<Uint8Array, void, void> {
    while (hashed < end) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, end - hashed));
      if (data) node.content!.read(hashed, piece);
      digest.update(piece);
      hashed += piece.length;
      if (data) yield piece;
    }
  };
  for (const { start, length } of extents ?? [{ start: 0, length: size }]) {
    yield* readTo(start, false);
    yield* readTo(start + length, true);
  }
  yield* readTo(size, false);
  const found = digest.end();
  if (found !== sha256) {
    refuse("hash", `Cannot write ${quoted(path)}: it hashes to ${found}, ${sha256} is what it should be`);
  }
  yield new Uint8Array(paddingOf(dataBytes));
}

/** A folder as it is while it is being filled: whoever fills it may write there. */
export function openFolder(node: Node): Node {
  return node.type === "directory" ? { ...node, mode: node.mode | 0o700 } : node;
}
