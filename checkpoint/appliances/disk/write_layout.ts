import fs from "node:fs";
import { join } from "node:path";
import type { Appliance, LayerBlob, Service } from "../appliance.ts";
import { refuse } from "../appliance_error.ts";
import { compareTrees } from "../compare.ts";
import { fingerprint } from "../fingerprint.ts";
import { WHITEOUT } from "../layer.ts";
import type { Node } from "../node.ts";
import { IMPLIED_DIRECTORY, NO_XATTRS } from "../node.ts";
import { configDocument, indexDocument, type LayerAbout, manifestDocument } from "../oci/write_documents.ts";
import { quoted } from "../path.ts";
import { TAR_END, tarHeader } from "../tar/tar_writer.ts";
import { Tree } from "../tree.ts";
import { Digest, sha256Of } from "./contents.ts";
import { Meter } from "./progress.ts";
import { printed, streamFile } from "./streams.ts";
import { tarEntry } from "./tar_stream.ts";
import { type Done, syncFolder, Unfinished } from "./unfinished.ts";
import { type Steps, type WriteOptions, writeSteps } from "./write_steps.ts";

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

/** What came of writing a layout. */
export interface WrittenLayout {
  readonly layers: number;
  /** Of the layers. */
  readonly bytes: number;
  /** Bytes that an earlier run had written, which was stopped. */
  readonly resumed: number;
}

const BLOB_PIECE_BYTES = 1024 * 1024;

/**
 * Writes an OCI image layout. Stopped at any instant it goes on where it was, and it is under its name only when it is
 * whole and durable; the same content gives the same bytes.
 * @throws {ApplianceError} When there is something of that name, or a name cannot be in a layer.
 */
export async function writeLayout(
  content: LayoutContent,
  path: string,
  options: WriteOptions = {},
): Promise<WrittenLayout> {
  const { base, tree, services, ref } = content;
  const work = new Unfinished(path, idOf(content));
  const planned = plannedLayers(base, tree);
  if (work.finished) {
    const { bytes, files } = work.done!;
    return { layers: files.length, bytes, resumed: bytes };
  }
  const folder = join(work.path, "blobs/sha256");
  const meter = new Meter(`writing ${path}`, options);
  const done = work.done === undefined ? undefined : await provenBlobs(folder, work.done, meter);
  if (done === undefined) fs.rmSync(work.path, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const layers: LayerAbout[] = [];
  let resumed = 0;
  for (const [index, { about, steps }] of planned.entries()) {
    const digest = done?.files[index];
    const files = layers.map((layer) => layer.digest);
    if (digest === undefined) {
      const current = index === done?.files.length ? done : undefined;
      resumed += current?.bytes ?? 0;
      const note = (steps: number, bytes: number): void => work.note({ steps, bytes, files });
      layers.push(await writeBlob(folder, steps, about, { ...options, meter, done: current, note }));
      work.note({ steps: 0, bytes: 0, files: [...files, layers.at(-1)!.digest] });
    } else {
      const bytes = fs.statSync(join(folder, digest)).size;
      layers.push(about ?? { digest, diffId: digest, bytes, compression: "none" });
      resumed += bytes;
    }
  }
  const put = (bytes: Uint8Array): { digest: string; bytes: number } => {
    const digest = sha256Of(bytes);
    fs.writeFileSync(join(folder, digest), bytes);
    return { digest, bytes: bytes.length };
  };
  const platform = base.platform ?? { os: "linux", architecture: "amd64" };
  const manifest = put(manifestDocument(put(configDocument(platform, layers, services)), layers));
  fs.writeFileSync(join(work.path, "index.json"), indexDocument(manifest, ref));
  fs.writeFileSync(join(work.path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  for await (const _ of printed("sync", ["--file-system", work.path]));
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  work.finish({ steps: 0, bytes, files: layers.map(({ digest }) => digest) });
  return { layers: layers.length, bytes, resumed };
}

/** All that decides which bytes are written. */
function idOf({ base, tree, services, ref }: LayoutContent): string {
  const blobs = base.blobs.map(({ digest }) => digest);
  const { platform = null } = base;
  const about = [blobs, fingerprint(base.tree), fingerprint(tree), platform, services, ref];
  return `oci ${sha256Of(new TextEncoder().encode(JSON.stringify(about)))}`;
}

/** A layer that is to be written. `about` is that of one that is as it was read. */
interface PlannedLayer {
  readonly about?: LayerBlob;
  readonly steps: Steps;
}

function plannedLayers(base: LayoutContent["base"], tree: Tree): PlannedLayer[] {
  const layers: PlannedLayer[] = base.blobs.map((about) => ({ about, steps: blobSteps(about) }));
  if (layers.length === 0 && base.tree.size > 1) layers.push({ steps: layerSteps(new Tree(), base.tree) });
  if (!compareTrees(base.tree, tree).next().done || layers.length === 0) {
    layers.push({ steps: layerSteps(base.tree, tree) });
  }
  return layers;
}

/** What the note says, when the files that it says are whole are that. */
async function provenBlobs(folder: string, done: Done, meter: Meter): Promise<Done | undefined> {
  for (const name of done.files) {
    const digest = new Digest();
    const path = join(folder, name);
    if (!fs.existsSync(path)) return undefined;
    for await (const piece of streamFile(path)) {
      digest.update(piece);
      await meter.add(0);
    }
    if (digest.end() !== name) return undefined;
  }
  return done;
}

async function writeBlob(
  folder: string,
  steps: Steps,
  about: LayerBlob | undefined,
  options: Omit<Parameters<typeof writeSteps>[2], "digest" | "mode">,
): Promise<LayerAbout> {
  const unfinished = join(folder, "unfinished");
  const hash = new Digest();
  const { bytes } = await writeSteps(unfinished, steps, { ...options, digest: hash, mode: 0o644 });
  const digest = hash.end();
  if (about !== undefined && about.digest !== digest) {
    fs.unlinkSync(unfinished); // what an earlier run has written of it may be what is wrong
    refuse("hash", `Cannot write layout: layer ${about.digest} has changed`);
  }
  fs.renameSync(unfinished, join(folder, digest));
  syncFolder(folder);
  return about ?? { digest, diffId: digest, bytes, compression: "none" };
}

function* blobSteps(blob: LayerBlob): Steps {
  for (let at = 0; at < blob.bytes; at += BLOB_PIECE_BYTES) {
    yield (function* () {
      const piece = new Uint8Array(Math.min(BLOB_PIECE_BYTES, blob.bytes - at));
      blob.read(at, piece);
      yield piece;
    })();
  }
}

const GONE: Node = { ...IMPLIED_DIRECTORY, type: "file", mode: 0, xattrs: NO_XATTRS };

/** What makes `upper` of `lower`, as a layer: whiteouts in front, then what is there, hard links with all their names. */
function* layerSteps(lower: Tree, upper: Tree): Steps {
  const changed = new Set<string>();
  const inodes = new Set<Node>();
  let gone: string | undefined;
  for (const { path, left, right } of compareTrees(lower, upper)) {
    if (right === undefined) {
      if (gone !== undefined && path.startsWith(gone)) continue;
      const slash = path.lastIndexOf("/") + 1;
      yield [tarHeader(`${path.slice(0, slash)}${WHITEOUT}${path.slice(slash)}`, GONE).bytes];
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
    if (changed.has(entry.path) || linked) yield tarEntry(entry);
  }
  yield [TAR_END];
}
