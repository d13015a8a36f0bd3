import fs from "node:fs";
import { dirname, resolve } from "node:path";
import { encodeCbor } from "../../image/cbor.ts";
import type { ImageSource } from "../../image/image_file.ts";
import { Kind } from "../../image/kinds.ts";
import { imagePieces } from "../../image/write.ts";
import { refuse } from "../appliance_error.ts";
import type { Appliance } from "../appliance.ts";
import { applyDiff } from "../diff/apply_diff.ts";
import { type Change, encodeChange, encodePack, type Pack } from "../diff/change.ts";
import { type DiffAbout, DiffImage, encodeAbout } from "../diff/diff_image.ts";
import { type ChangeCounts, type ChangeSink, makeChanges, type MakeOptions } from "../diff/make_diff.ts";
import { fingerprint } from "../fingerprint.ts";
import { mergeTrees } from "../merge/merge_trees.ts";
import type { MergedTrees } from "../merge/merged.ts";
import type { Policy } from "../merge/policy.ts";
import { quoted } from "../path.ts";
import { joined } from "../tar/byte_stream.ts";
import { loadZstd, RAW_BYTES_MAX, type Zstd } from "../zstd.ts";
import { readFileAt } from "./contents.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { Spool, writeAll } from "./spool.ts";
import { mustBeFree, syncFolder } from "./unfinished.ts";

/** Items gathered before they become a chunk. */
const ITEMS_BYTES = 1024 * 1024;
/** Nothing else is compressed as hard, and nothing pays as much: paths repeat one another. */
const ITEMS_LEVEL = 19;

/** What a differential came to. */
export interface MadeDiff extends ChangeCounts {
  /** Of the file. */
  readonly bytes: number;
  readonly packs: number;
}

/** The changes and packs of a differential on their way into a file, in the memory of one chunk. */
export class DiffWriter implements ChangeSink, Disposable {
  readonly #zstd: Zstd;
  readonly #spool: Spool;
  readonly #file: number;
  readonly #changes: Uint8Array[] = [];
  readonly #packs: { readonly offset: number; readonly length: number }[] = [];
  #items: Uint8Array[] = [];
  #itemsBytes = 0;
  #end = 0;

  constructor(zstd: Zstd, spoolIn?: string) {
    this.#zstd = zstd;
    this.#spool = new Spool(spoolIn);
    this.#file = this.#spool.file();
  }

  get packs(): number {
    return this.#packs.length;
  }

  change(change: Change): void {
    for (const item of encodeChange(change)) this.#item(encodeCbor(item));
  }

  pack(pack: Pack, compressed: Uint8Array): void {
    this.#item(encodeCbor(encodePack(pack)));
    writeAll(this.#file, compressed, this.#end);
    this.#packs.push({ offset: this.#end, length: compressed.length });
    this.#end += compressed.length;
  }

  /**
   * Writes the image. It is under its name only when it is whole and durable.
   * @returns Its bytes.
   * @throws {ApplianceError} When there is something of that name.
   */
  async end(
    path: string,
    about: Omit<DiffAbout, "changes" | "packs">,
    options: WorkOptions,
  ): Promise<number> {
    this.#close();
    mustBeFree(path);
    const changes = this.#changes.length, packs = this.#packs.length;
    const body = encodeAbout({ ...about, changes, packs });
    const unfinished = `${path}.partial`;
    const file = fs.openSync(unfinished, "w", 0o600);
    const meter = new Meter(`writing ${path}`, options, this.#end);
    try {
      for await (const piece of imagePieces({ kind: Kind.Diff, body }, changes + packs, this.#chunks())) {
        writeAll(file, piece);
        await meter.add(piece.length);
      }
      fs.fsyncSync(file);
    } catch (error) {
      fs.unlinkSync(unfinished);
      throw error;
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(unfinished, path);
    syncFolder(dirname(resolve(path)));
    return meter.bytes;
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }

  #item(bytes: Uint8Array): void {
    if (this.#itemsBytes + bytes.length > ITEMS_BYTES) this.#close();
    if (bytes.length > RAW_BYTES_MAX) {
      refuse("limit", `Cannot write differential: one change has ${bytes.length} bytes`);
    }
    this.#items.push(bytes);
    this.#itemsBytes += bytes.length;
  }

  #close(): void {
    if (this.#items.length === 0) return;
    const raw = joined(this.#items, this.#itemsBytes);
    this.#changes.push(this.#zstd.compress(raw, new Uint8Array(0), ITEMS_LEVEL));
    this.#items = [];
    this.#itemsBytes = 0;
  }

  *#chunks(): Generator<Uint8Array, void, void> {
    yield* this.#changes;
    const readAt = readFileAt(this.#file, "packs");
    for (const { offset, length } of this.#packs) {
      const chunk = new Uint8Array(length);
      readAt(offset, chunk);
      yield chunk;
    }
  }
}

/**
 * Writes the differential of an appliance to a base into a file.
 * @throws {ApplianceError} When there is something of that name.
 */
export async function writeDiff(
  base: Appliance,
  appliance: Appliance,
  path: string,
  options: WorkOptions & MakeOptions & { readonly spoolIn?: string } = {},
): Promise<MadeDiff> {
  mustBeFree(path);
  const zstd = await loadZstd();
  using writer = new DiffWriter(zstd, options.spoolIn);
  const meter = new Meter(`comparing ${appliance.name} with ${base.name}`, options);
  const counts = await makeChanges(base.tree, appliance.tree, zstd, writer, {
    ...options,
    onBytes: (bytes) => meter.add(bytes),
  });
  const result = fingerprint(appliance.tree);
  const about = {
    base: fingerprint(base.tree),
    result,
    appliances: [{ name: appliance.name, result }],
    services: appliance.services,
  };
  const bytes = await writer.end(path, about, options);
  return { ...counts, bytes, packs: writer.packs };
}

/**
 * Writes several differentials to one base, merged into one, where nothing is in conflict.
 * @returns What came of it: with conflicts, nothing is written.
 * @throws {ApplianceError} When one is for another base, or there is something of that name.
 */
export async function writeMerged(
  base: Appliance,
  diffs: readonly DiffImage[],
  path: string,
  policy: Policy,
  options: WorkOptions & MakeOptions & { readonly spoolIn?: string } = {},
): Promise<Pick<MergedTrees, "conflicts" | "resolved"> & { readonly made?: MadeDiff }> {
  mustBeFree(path);
  const zstd = await loadZstd();
  const sides = diffs.map((diff) => {
    const { appliances, services } = diff.about;
    return {
      name: appliances.map(({ name }) => name).join("+"),
      tree: applyDiff(base.tree, diff, zstd),
      services,
    };
  });
  const twice = sides.find(({ name }, at) => sides.findIndex((other) => other.name === name) !== at);
  if (twice !== undefined) refuse("format", `Cannot merge: two differentials are of ${quoted(twice.name)}`);
  const { tree, services, conflicts, resolved } = mergeTrees(base.tree, sides, policy);
  if (conflicts.length > 0) return { conflicts, resolved };
  using writer = new DiffWriter(zstd, options.spoolIn);
  const meter = new Meter(`comparing ${sides.map(({ name }) => name).join(", ")} with ${base.name}`, options);
  const counts = await makeChanges(base.tree, tree, zstd, writer, {
    ...options,
    onBytes: (bytes) => meter.add(bytes),
  });
  const about = {
    base: fingerprint(base.tree),
    result: fingerprint(tree),
    appliances: diffs.flatMap(({ about }) => about.appliances),
    services,
  };
  const bytes = await writer.end(path, about, options);
  return { conflicts, resolved, made: { ...counts, bytes, packs: writer.packs } };
}

/** A differential in a file, to be closed. */
export interface OpenDiff extends Disposable {
  readonly path: string;
  readonly diff: DiffImage;
}

/** Opens the differential in a file. @throws {ImageError} */
export async function openDiff(path: string): Promise<OpenDiff> {
  const zstd = await loadZstd();
  const file = fs.openSync(path, "r");
  const source: ImageSource = {
    size: () => fs.fstatSync(file).size,
    read: (into, position) => fs.readSync(file, into, 0, into.length, position),
  };
  try {
    return { path, diff: new DiffImage(source, zstd), [Symbol.dispose]: () => fs.closeSync(file) };
  } catch (error) {
    fs.closeSync(file);
    throw error;
  }
}
