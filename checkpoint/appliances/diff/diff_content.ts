import { refuse } from "../appliance_error.ts";
import { type Content, contentOver } from "../node.ts";
import { quoted } from "../path.ts";
import type { Tree } from "../tree.ts";
import type { Zstd } from "../zstd.ts";
import type { PiecedContent } from "./change.ts";
import type { DiffImage } from "./diff_image.ts";

/** Packs that stay unpacked: files are written in the order in which they were packed. */
const PACKS_KEPT = 4;

/** The contents of a differential's files over a base: pieces of both. */
export class DiffContents {
  readonly #base: Tree;
  readonly #diff: DiffImage;
  readonly #zstd: Zstd;
  readonly #unpacked = new Map<number, Uint8Array>();

  constructor(base: Tree, diff: DiffImage, zstd: Zstd) {
    this.#base = base;
    this.#diff = diff;
    this.#zstd = zstd;
  }

  /** @throws {ApplianceError} When a piece lies in no file of the base. */
  content({ size, sha256, extents, pieces }: PiecedContent): Content {
    const starts = new Float64Array(pieces.length);
    let end = 0;
    pieces.forEach((piece, index) => {
      starts[index] = end;
      end += piece.length;
      if (typeof piece.from === "string") this.#baseFile(piece.from, piece.offset + piece.length);
    });
    /** Reads data, holes left out. */
    const readData = (position: number, into: Uint8Array): void => {
      let low = 0;
      for (let high = pieces.length; high - low > 1;) {
        const middle = (low + high) >> 1;
        if (starts[middle]! <= position) low = middle;
        else high = middle;
      }
      for (let at = 0; at < into.length; low++) {
        const { from, offset, length } = pieces[low]!;
        const skip = position + at - starts[low]!;
        const some = into.subarray(at, at + Math.min(length - skip, into.length - at));
        this.#read(from, offset + skip, some);
        at += some.length;
      }
    };
    return contentOver(size, sha256, extents, readData);
  }

  #read(from: string | number, offset: number, into: Uint8Array): void {
    if (typeof from === "string") this.#baseFile(from, offset + into.length).read(offset, into);
    else into.set(this.#unpack(from).subarray(offset, offset + into.length));
  }

  #unpack(index: number): Uint8Array {
    const kept = this.#unpacked.get(index);
    if (kept !== undefined) return kept;
    const { rawBytes, dictionary } = this.#diff.packs[index]!;
    const bytes = this.#zstd.decompress(this.#diff.pack(index), this.#dictionary(dictionary), rawBytes);
    if (this.#unpacked.size === PACKS_KEPT) this.#unpacked.delete(this.#unpacked.keys().next().value!);
    this.#unpacked.set(index, bytes);
    return bytes;
  }

  #dictionary(ranges: DiffImage["packs"][number]["dictionary"]): Uint8Array {
    const bytes = new Uint8Array(ranges.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { path, offset, length } of ranges) {
      this.#baseFile(path, offset + length).read(offset, bytes.subarray(at, at + length));
      at += length;
    }
    return bytes;
  }

  #baseFile(path: string, bytes: number): Content {
    const content = this.#base.get(path)?.content;
    if (content !== undefined && bytes <= content.size) return content;
    return refuse(
      "base",
      `Cannot apply differential: ${quoted(path)} of the base ${
        content === undefined ? "is no file" : `has ${content.size} bytes, ${bytes} are needed`
      }`,
    );
  }
}
