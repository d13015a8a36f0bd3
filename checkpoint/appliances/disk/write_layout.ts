import fs from "node:fs";
import { join } from "node:path";
import { refuse } from "../appliance_error.ts";
import type { Appliance, Service } from "../appliance.ts";
import { compareTrees } from "../compare.ts";
import { WHITEOUT } from "../layer.ts";
import type { Node } from "../node.ts";
import { IMPLIED_DIRECTORY, NO_XATTRS } from "../node.ts";
import { configDocument, indexDocument, type LayerAbout, manifestDocument } from "../oci/write_documents.ts";
import { quoted } from "../path.ts";
import { TAR_END, tarHeader } from "../tar/tar_writer.ts";
import { Tree } from "../tree.ts";
import { Digest, sha256Of } from "./contents.ts";
import { mustBeFree } from "./diff_file.ts";
import { Journal } from "./journal.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { writeAll } from "./spool.ts";
import { printed } from "./streams.ts";
import { tarEntry } from "./tar_stream.ts";
import { finish } from "./write_tree.ts";

/** What goes into a layout. */
export interface LayoutContent {
  /** Its layers come first: as they were read, where it is an image; else as one. */
  readonly base: Pick<Appliance, "tree" | "blobs" | "platform">;
  /** What the image shall be: all that differs from the base is the last layer. */
  readonly tree: Tree;
  readonly services: readonly Service[];
  /** The name of the image in the layout. */
  readonly ref: string;
}

const BLOB_PIECE_BYTES = 1024 * 1024;

/**
 * Writes an OCI image layout. It is under its name only when it is whole and durable; the same content gives the same
 * bytes.
 * @throws {ApplianceError} When there is something of that name, or a name cannot be in a layer.
 */
export async function writeLayout(
  { base, tree, services, ref }: LayoutContent,
  path: string,
  options: WorkOptions = {},
): Promise<{ layers: number; bytes: number }> {
  mustBeFree(path);
  const unfinished = `${path.replace(/\/+$/, "")}.partial`;
  fs.rmSync(unfinished, { recursive: true, force: true });
  const blobs = join(unfinished, "blobs/sha256");
  fs.mkdirSync(blobs, { recursive: true });
  const meter = new Meter(`writing ${path}`, options);
  const layers: LayerAbout[] = [];
  for (const blob of base.blobs) {
    const { digest } = writeBlob(blobs, meter, function* () {
      for (let at = 0; at < blob.bytes; at += BLOB_PIECE_BYTES) {
        const piece = new Uint8Array(Math.min(BLOB_PIECE_BYTES, blob.bytes - at));
        blob.read(at, piece);
        yield piece;
      }
    });
    if (digest !== blob.digest) refuse("hash", `Cannot write layout: layer ${blob.digest} has changed`);
    layers.push(blob);
  }
  const layer = (lower: Tree, upper: Tree): void => {
    const { digest, bytes } = writeBlob(blobs, meter, () => layerTar(lower, upper));
    layers.push({ digest, diffId: digest, bytes, compression: "none" });
  };
  if (base.blobs.length === 0 && base.tree.size > 1) layer(new Tree(), base.tree);
  if (!compareTrees(base.tree, tree).next().done || layers.length === 0) layer(base.tree, tree);
  const put = (bytes: Uint8Array): { digest: string; bytes: number } => {
    const digest = sha256Of(bytes);
    fs.writeFileSync(join(blobs, digest), bytes);
    return { digest, bytes: bytes.length };
  };
  const platform = base.platform ?? { os: "linux", architecture: "amd64" };
  const manifest = put(manifestDocument(put(configDocument(platform, layers, services)), layers));
  fs.writeFileSync(join(unfinished, "index.json"), indexDocument(manifest, ref));
  fs.writeFileSync(join(unfinished, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  for await (const _ of printed("sync", ["--file-system", unfinished]));
  finish(unfinished, path, new Journal(`${unfinished}.json`, ""));
  return { layers: layers.length, bytes: meter.bytes };
}

function writeBlob(
  folder: string,
  meter: Meter,
  pieces: () => Iterable<Uint8Array>,
): { digest: string; bytes: number } {
  const unfinished = join(folder, "unfinished");
  const digest = new Digest();
  const file = fs.openSync(unfinished, "w", 0o644);
  try {
    for (const piece of pieces()) {
      digest.update(piece);
      writeAll(file, piece);
      meter.add(piece.length);
    }
  } finally {
    fs.closeSync(file);
  }
  const hash = digest.end();
  fs.renameSync(unfinished, join(folder, hash));
  return { digest: hash, bytes: digest.bytes };
}

const GONE: Node = { ...IMPLIED_DIRECTORY, type: "file", mode: 0, xattrs: NO_XATTRS };

/** What makes `upper` of `lower`, as a layer: whiteouts in front, then what is there, hard links with all their names. */
export function* layerTar(lower: Tree, upper: Tree): Generator<Uint8Array, void, void> {
  const changed = new Set<string>();
  const inodes = new Set<Node>();
  let gone: string | undefined;
  for (const { path, left, right } of compareTrees(lower, upper)) {
    if (right === undefined) {
      if (gone !== undefined && path.startsWith(gone)) continue;
      const slash = path.lastIndexOf("/") + 1;
      yield tarHeader(`${path.slice(0, slash)}${WHITEOUT}${path.slice(slash)}`, GONE).bytes;
      gone = `${path}/`;
      continue;
    }
    if (left?.node.type === "directory" && right.node.type !== "directory") gone = `${path}/`;
    if (path.slice(path.lastIndexOf("/") + 1).startsWith(WHITEOUT)) {
      refuse("path", `Cannot write layer: ${quoted(path)} would be read as a whiteout`);
    }
    changed.add(path);
    inodes.add(right.node);
  }
  for (const entry of upper.entries()) {
    const linked = entry.node.type !== "directory" && inodes.has(entry.node);
    if (changed.has(entry.path) || linked) yield* tarEntry(entry);
  }
  yield TAR_END;
}
