import fs from "node:fs";
import { join } from "node:path";
import { Overlay } from "../layer.ts";
import type { Content } from "../node.ts";
import { namesOf } from "../path.ts";
import { readTar, type TarMember } from "../tar/tar_reader.ts";
import { Tree } from "../tree.ts";
import { Digest, FolderContent, hashMember, type ReadAt, readFileAt, storedContent } from "./contents.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { type Spool, writeAll } from "./spool.ts";
import { decompressed, printed, streamFile } from "./streams.ts";

/**
 * The tree in a folder. GNU tar reads it: it knows extended attributes, holes and nanoseconds, which no runtime tells
 * of (decision 46). Other file systems that are mounted below are left out, and so are sockets.
 * @throws {ApplianceError} When tar is missing, or the folder changes meanwhile.
 */
export async function readFolder(path: string, options: WorkOptions = {}): Promise<Tree> {
  const args = [
    ...["--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sort=name"],
    ...["--xattrs", "--xattrs-include=*", "--sparse", "--numeric-owner", "--one-file-system"],
    ...["--directory", path, "."],
  ];
  const meter = new Meter(`reading ${path}`, options);
  const tree = new Tree();
  await fill(
    tree,
    metered(printed("tar", args), meter),
    false,
    (member, sha256) =>
      new FolderContent(join(path, ...namesOf(member.path)), member.size, sha256, member.extents),
  );
  return tree;
}

/** A tar that has been read, where its bytes lie, and what they hash to. */
export interface ReadLayer {
  /** SHA-256 of the file, and of the tar in it. */
  readonly digest: string;
  readonly diffId: string;
  /** Bytes of the file. */
  readonly bytes: number;
  readonly compression: "none" | "gzip" | "zstd";
}

/**
 * Puts what a tar holds into `tree`: as it is where it lies in a file uncompressed, else by way of the spool.
 *
 * @param source Its bytes; `place` is where they lie.
 * @param isLayer Whether names may be whiteouts.
 */
export async function readTarInto(
  tree: Tree,
  source: AsyncIterable<Uint8Array>,
  place: { readonly what: string; readonly bytes?: number; readonly readAt?: ReadAt },
  isLayer: boolean,
  spool: Spool,
  options: WorkOptions = {},
): Promise<ReadLayer> {
  const meter = new Meter(`reading ${place.what}`, options, place.bytes);
  const outside = new Digest(), inside = new Digest();
  let file: number | undefined;
  const readAt: ReadAt = (position, into) =>
    file === undefined ? place.readAt!(position, into) : readFileAt(file, place.what)(position, into);
  let compression: ReadLayer["compression"] | undefined;
  const counted = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for await (const piece of source) {
      compression ??= compressionOf(piece);
      await meter.add(piece.length);
      outside.update(piece);
      yield piece;
    }
  };
  const spooled = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for await (const piece of decompressed(counted(), place.what)) {
      if (compression !== "none" || place.readAt === undefined) writeAll(file ??= spool.file(), piece);
      inside.update(piece);
      yield piece;
    }
  };
  await fill(tree, spooled(), isLayer, (member, sha256) => storedContent(member, sha256, readAt));
  return {
    digest: outside.end(),
    diffId: inside.end(),
    bytes: outside.bytes,
    compression: compression ?? "none",
  };
}

function compressionOf(piece: Uint8Array): ReadLayer["compression"] {
  if (piece[0] === 0x1f && piece[1] === 0x8b) return "gzip";
  return piece[0] === 0x28 && piece[1] === 0xb5 ? "zstd" : "none";
}

/** As `readTarInto`, of a file. */
export async function readTarFile(path: string, spool: Spool, options: WorkOptions = {}): Promise<Tree> {
  const tree = new Tree();
  const file = spool.open(path);
  const place = { what: path, bytes: fs.fstatSync(file).size, readAt: readFileAt(file, path) };
  await readTarInto(tree, streamFile(path), place, false, spool, options);
  return tree;
}

async function fill(
  tree: Tree,
  source: AsyncIterable<Uint8Array>,
  isLayer: boolean,
  contentOf: (member: TarMember, sha256: string) => Content,
): Promise<void> {
  const overlay = new Overlay(tree, isLayer);
  for await (const member of readTar(source)) {
    overlay.add(member, member.kind === "file" ? contentOf(member, await hashMember(member)) : undefined);
  }
  overlay.end();
}

async function* metered(
  source: AsyncIterable<Uint8Array>,
  meter: Meter,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const piece of source) {
    await meter.add(piece.length);
    yield piece;
  }
}
