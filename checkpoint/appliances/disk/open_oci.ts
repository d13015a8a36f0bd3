import fs from "node:fs";
import { join } from "node:path";
import { refuse } from "../appliance_error.ts";
import type { LayerBlob, Service } from "../appliance.ts";
import type { Content } from "../node.ts";
import {
  type Descriptor,
  DOCUMENT_BYTES_MAX,
  type ImageConfig,
  readConfig,
  readDescriptor,
  readDescriptors,
  readDocument,
  readImageList,
} from "../oci/documents.ts";
import { namesOf, quoted } from "../path.ts";
import { Tree } from "../tree.ts";
import { type ReadAt, readFileAt, sha256Of } from "./contents.ts";
import { readTarInto } from "./open_tree.ts";
import type { WorkOptions } from "./progress.ts";
import type { Spool } from "./spool.ts";

/** Files by their path: those of a layout's folder, or of an archive of one. */
export interface ImageFiles {
  readonly name: string;
  /** `undefined` when it is not there. */
  find(
    path: string,
  ): { readonly size: number; readonly readAt: ReadAt; readonly sha256?: string } | undefined;
}

/** The files of a folder. Links are not followed. */
export function folderFiles(folder: string, spool: Spool): ImageFiles {
  return {
    name: folder,
    find(path) {
      const whole = join(folder, ...namesOf(path));
      const about = fs.lstatSync(whole, { throwIfNoEntry: false });
      if (about === undefined || !about.isFile()) return undefined;
      return { size: about.size, readAt: readFileAt(spool.open(whole), whole) };
    },
  };
}

/** The files of an archive that has been read. `docker save` has links in it where two images share a layer. */
export function archiveFiles(name: string, tree: Tree): ImageFiles {
  return {
    name,
    find(path) {
      let node = tree.get(path);
      if (node?.type === "symlink") {
        const names = path.split("/").slice(0, -1);
        for (const step of node.target!.split("/")) {
          if (step === "..") names.pop();
          else if (step !== ".") names.push(step);
        }
        node = tree.get(names.join("/"));
      }
      const content: Content | undefined = node?.content;
      return content &&
        { size: content.size, readAt: (at, into) => content.read(at, into), sha256: content.sha256 };
    },
  };
}

/** An image that has been read. */
export interface OpenImage {
  readonly tree: Tree;
  readonly layers: readonly string[];
  readonly blobs: readonly LayerBlob[];
  readonly services: readonly Service[];
  readonly platform: { readonly os: string; readonly architecture: string };
}

/** Which part of an image is wanted. */
export interface ImageChoice {
  /** The name of one among several. */
  readonly ref?: string;
  /** Only as many of its layers, from the lowest. */
  readonly layers?: number;
}

interface LayerFile {
  readonly path: string;
  readonly digest: string | undefined;
  readonly size: number | undefined;
}

/** An image of a layout (OCI image specification, image-layout.md), all of its digests checked. */
export async function openLayout(
  files: ImageFiles,
  name: string,
  choice: ImageChoice,
  spool: Spool,
  options: WorkOptions,
): Promise<OpenImage> {
  const manifest = blobDocument(files, chosen(files, choice.ref));
  const config = readDescriptor(manifest["config"], `configuration of ${files.name}`);
  const layers = readDescriptors(manifest["layers"], `manifest of ${files.name}`);
  const about = readConfig(blob(files, config), `configuration of ${files.name}`, name);
  const found = layers.map(({ digest, size }) => ({ path: blobPath(digest), digest, size }));
  return await layered(files, about, found, choice, spool, options);
}

/** An image of an archive as `docker save` writes it, old or new. */
export async function openDockerArchive(
  files: ImageFiles,
  name: string,
  choice: ImageChoice,
  spool: Spool,
  options: WorkOptions,
): Promise<OpenImage> {
  const images = readImageList(document(files, "manifest.json"), files.name);
  const tags = images.map(({ tags }) => tags);
  const at = choice.ref === undefined ? 0 : tags.findIndex((each) => each.includes(choice.ref!));
  if (images[at] === undefined || (choice.ref === undefined && images.length > 1)) {
    refuse("format", `Cannot choose an image of ${files.name}: it has ${tags.flat().map(quoted).join(", ")}`);
  }
  const { config, layers } = images[at];
  const about = readConfig(document(files, config), `configuration of ${files.name}`, name);
  const found = layers.map((path) => ({ path, digest: undefined, size: undefined }));
  return await layered(files, about, found, choice, spool, options);
}

async function layered(
  files: ImageFiles,
  about: ImageConfig,
  all: readonly LayerFile[],
  choice: ImageChoice,
  spool: Spool,
  options: WorkOptions,
): Promise<OpenImage> {
  if (about.diffIds.length !== all.length) {
    refuse(
      "format",
      `Cannot read ${files.name}: ${all.length} layers, and ${about.diffIds.length} in its configuration`,
    );
  }
  const count = choice.layers ?? all.length;
  if (count > all.length) {
    refuse("format", `Cannot take ${count} layers of ${files.name}: it has ${all.length}`);
  }
  const tree = new Tree();
  const blobs: LayerBlob[] = [];
  for (const [index, layer] of all.slice(0, count).entries()) {
    const file = files.find(layer.path) ??
      refuse("format", `Cannot read ${files.name}: layer ${index}, ${quoted(layer.path)}, is missing`);
    const place = { what: `layer ${index} of ${files.name}`, bytes: file.size, readAt: file.readAt };
    const source = pieces(file.size, file.readAt);
    const { digest, diffId, bytes, compression } = await readTarInto(
      tree,
      source,
      place,
      true,
      spool,
      options,
    );
    mustBe(place.what, layer.digest, `sha256:${digest}`);
    mustBe(`${place.what}, uncompressed`, about.diffIds[index], `sha256:${diffId}`);
    blobs.push({ digest, diffId, bytes, compression, read: file.readAt });
  }
  const { os, architecture } = about;
  // A part of an image is what its base was: what is started belongs to the whole.
  const services = count < all.length ? [] : about.services;
  return { tree, layers: about.diffIds.slice(0, count), blobs, services, platform: { os, architecture } };
}

function mustBe(what: string, told: string | undefined, found: string): void {
  if (told === undefined || told === found) return;
  refuse("hash", `Cannot read ${what}: it hashes to ${found}, ${told} is told`);
}

/** The manifest that is meant, through indexes of indexes. */
function chosen(files: ImageFiles, ref: string | undefined): Descriptor {
  let listed = readDescriptors(
    readDocument(document(files, "index.json"), files.name)["manifests"],
    files.name,
  );
  if (ref !== undefined) listed = listed.filter(({ name }) => name === ref);
  for (let depth = 0; depth < 4; depth++) {
    // What Docker attests of an image is listed beside it, of a platform of its own.
    const images = listed.filter(({ platform }) => platform !== "unknown/unknown");
    const ours = images.length > 1 ? images.filter(({ platform }) => platform === OUR_PLATFORM) : images;
    if (ours.length !== 1) {
      const names = images.map(({ name, platform, digest }) => quoted(name ?? platform ?? digest));
      refuse("format", `Cannot choose an image of ${files.name}: it has ${names.join(", ") || "none"}`);
    }
    if (!/index|manifest\.list/.test(ours[0]!.mediaType)) return ours[0]!;
    listed = readDescriptors(blobDocument(files, ours[0]!)["manifests"], files.name);
  }
  return refuse("limit", `Cannot read ${files.name}: its indexes lead to indexes`);
}

/** Of an image for several, the one that nearly all have. */
const OUR_PLATFORM = "linux/amd64";

function blobPath(digest: string): string {
  return `blobs/sha256/${digest.slice("sha256:".length)}`;
}

function blobDocument(files: ImageFiles, descriptor: Descriptor): Record<string, unknown> {
  return readDocument(blob(files, descriptor), `${descriptor.digest} of ${files.name}`);
}

function blob(files: ImageFiles, { digest }: Descriptor): Uint8Array {
  const bytes = document(files, blobPath(digest));
  mustBe(`${digest} of ${files.name}`, digest, `sha256:${sha256Of(bytes)}`);
  return bytes;
}

function document(files: ImageFiles, path: string): Uint8Array {
  const file = files.find(path) ?? refuse("format", `Cannot read ${files.name}: ${quoted(path)} is missing`);
  if (file.size > DOCUMENT_BYTES_MAX) {
    refuse("limit", `Cannot read ${files.name}: ${quoted(path)} has ${file.size} bytes`);
  }
  const bytes = new Uint8Array(file.size);
  file.readAt(0, bytes);
  return bytes;
}

async function* pieces(size: number, readAt: ReadAt): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < size; at += 1024 * 1024) {
    const piece = new Uint8Array(Math.min(1024 * 1024, size - at));
    readAt(at, piece);
    yield piece;
  }
}
