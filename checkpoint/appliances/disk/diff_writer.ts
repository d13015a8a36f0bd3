import fs from "node:fs";
import { dirname, resolve } from "node:path";
import { encodeCbor } from "../../image/cbor.ts";
import { Kind } from "../../image/kinds.ts";
import { imagePieces } from "../../image/write.ts";
import { refuse } from "../appliance_error.ts";
import { type Change, encodeChange, encodePack, type Pack } from "../diff/change.ts";
import { type DiffAbout, encodeAbout } from "../diff/diff_image.ts";
import type { ChangeCounts, ChangeSink } from "../diff/make_diff.ts";
import { joined } from "../tar/byte_stream.ts";
import { RAW_BYTES_MAX, type Zstd } from "../zstd.ts";
import { type KeptPack, KeptPacks } from "./kept_packs.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { writeAll } from "./spool.ts";
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
  /** Packs that an earlier run had made, which was stopped. */
  readonly resumed: number;
}

/**
 * The changes and packs of a differential on their way into a file, in the memory of one chunk. Packs lie beside it meanwhile,
 * as `FILE.partial.packs`: whoever is stopped and begins anew makes none of them again.
 */
export class DiffWriter implements ChangeSink, Disposable {
  readonly #path: string;
  readonly #zstd: Zstd;
  readonly #level: number;
  readonly #kept: KeptPacks;
  readonly #changes: Uint8Array[] = [];
  readonly #packs: KeptPack[] = [];
  #items: Uint8Array[] = [];
  #itemsBytes = 0;

  /**
   * @param path Of the differential.
   * @param level How hard zstd tries, 1 to 19.
   * @throws {ApplianceError} When there is something of that name.
   */
  constructor(path: string, zstd: Zstd, level: number) {
    mustBeFree(path);
    this.#path = path;
    this.#zstd = zstd;
    this.#level = level;
    this.#kept = new KeptPacks(`${path}.partial.packs`, zstd);
  }

  change(change: Change): void {
    for (const item of encodeChange(change)) this.#item(encodeCbor(item));
  }

  pack(pack: Pack, raw: Uint8Array, dictionary: Uint8Array): void {
    this.#item(encodeCbor(encodePack(pack)));
    this.#packs.push(this.#kept.compressed(raw, dictionary, this.#level));
  }

  /**
   * Writes the image. It is under its name only when it is whole and durable.
   * @throws {ApplianceError} When there is something of that name by now.
   */
  async end(
    about: Omit<DiffAbout, "changes" | "packs">,
    options: WorkOptions,
  ): Promise<Pick<MadeDiff, "bytes" | "packs" | "resumed">> {
    this.#close();
    const path = this.#path;
    mustBeFree(path);
    const changes = this.#changes.length, packs = this.#packs.length;
    const body = encodeAbout({ ...about, changes, packs });
    const unfinished = `${path}.partial`;
    const file = fs.openSync(unfinished, "w", 0o600);
    const total = this.#packs.reduce((sum, { length }) => sum + length, 0);
    const meter = new Meter(`writing ${path}`, options, total);
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
    this.#kept.remove();
    return { bytes: meter.bytes, packs, resumed: this.#kept.resumed };
  }

  [Symbol.dispose](): void {
    this.#kept[Symbol.dispose]();
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
    for (const pack of this.#packs) yield this.#kept.read(pack);
  }
}
