import type { Content } from "../node.ts";
import type { Tree } from "../tree.ts";
import type { Piece } from "./change.ts";
import { ChunkIndex, chunksOf } from "./chunk_index.ts";
import { CHUNK_MIN } from "./chunker.ts";
import { joinedPieces, type Likeness, type Packer, runsOf } from "./packer.ts";

/** From this many bytes on a file is looked for in the base by its chunks; below, its old version is its dictionary. */
const LARGE_BYTES = 64 * 1024;
/** New bytes of a large file are compressed against so much of the base on each side of where they were. */
const AROUND_BYTES = 128 * 1024;
/** The longest run that is looked at as new bytes at once. */
const RUN_BYTES_MAX = 1024 * 1024;

/** Finds contents in a base: whole, in chunks, or as something to be compressed against. */
export class ContentDiffer {
  readonly #base: Tree;
  readonly #packer: Packer;
  readonly #told: (bytes: number) => void;
  readonly #whole = new Map<string, string>();
  readonly #stems = new Map<string, string[]>();
  #chunks: ChunkIndex | undefined;

  /** @param told Hears of bytes that were looked at. */
  constructor(base: Tree, packer: Packer, told: (bytes: number) => void) {
    this.#base = base;
    this.#packer = packer;
    this.#told = told;
    for (const { path, node, links } of base.entries()) {
      if (node.content === undefined || links !== undefined || node.content.size === 0) continue;
      if (!this.#whole.has(node.content.sha256)) this.#whole.set(node.content.sha256, path);
      const stem = stemOf(path);
      const same = this.#stems.get(stem);
      if (same === undefined) this.#stems.set(stem, [path]);
      else same.push(path);
    }
  }

  /** The pieces that `content`, which is to be at `path`, is made of. */
  pieces(path: string, content: Content): Piece[] {
    const own = this.#base.get(path)?.content;
    const whole = own?.sha256 === content.sha256 ? path : this.#whole.get(content.sha256);
    if (whole !== undefined) {
      return runsOf(content).map(({ start, length }) => ({ from: whole, offset: start, length }));
    }
    const like = own === undefined ? this.#alike(path, content.size) : { path, content: own };
    const dataBytes = runsOf(content).reduce((sum, { length }) => sum + length, 0);
    this.#told(dataBytes);
    return joinedPieces(dataBytes < LARGE_BYTES ? this.#small(content, like) : this.#large(content, like));
  }

  #small(content: Content, like: { path: string; content: Content } | undefined): Piece[] {
    return runsOf(content).flatMap(({ start, length }) => {
      const bytes = new Uint8Array(length);
      content.read(start, bytes);
      return this.#packer.add(bytes, like && around(like, start, length));
    });
  }

  #large(content: Content, like: { path: string; content: Content } | undefined): Piece[] {
    const pieces: Piece[] = [];
    let fresh = new Uint8Array(0);
    let freshStart = 0;
    // Where in the old version we are: behind the last piece that was found there.
    let shift = 0;
    const pack = (): void => {
      if (fresh.length === 0) return;
      pieces.push(...this.#packer.add(fresh, like && around(like, freshStart + shift, fresh.length)));
      fresh = new Uint8Array(0);
    };
    for (const { offset, bytes } of chunksOf(content)) {
      const found = this.#find(bytes);
      if (found === undefined) {
        if (fresh.length > 0 && (freshStart + fresh.length !== offset || fresh.length >= RUN_BYTES_MAX)) {
          pack();
        }
        if (fresh.length === 0) freshStart = offset;
        const longer = new Uint8Array(fresh.length + bytes.length);
        longer.set(fresh);
        longer.set(bytes, fresh.length);
        fresh = longer;
        continue;
      }
      pack();
      if (found.path === like?.path) shift = found.offset - offset;
      pieces.push({ from: found.path, offset: found.offset, length: bytes.length });
    }
    pack();
    return pieces;
  }

  #find(bytes: Uint8Array): { path: string; offset: number } | undefined {
    this.#chunks ??= this.#indexed();
    const found = this.#chunks.find(bytes);
    if (found === undefined) return undefined;
    const there = new Uint8Array(bytes.length);
    this.#base.get(found.path)!.content!.read(found.offset, there);
    for (let at = 0; at < bytes.length; at++) if (there[at] !== bytes[at]) return undefined;
    return found;
  }

  #indexed(): ChunkIndex {
    const index = new ChunkIndex();
    for (const path of this.#whole.values()) {
      const content = this.#base.get(path)!.content!;
      if (content.size < CHUNK_MIN) continue; // found whole, or not at all
      index.add(path, content);
      this.#told(content.size);
    }
    return index;
  }

  /** A file of the base that is called the same but for digits, as the next version of a library is. */
  #alike(path: string, size: number): { path: string; content: Content } | undefined {
    let best: { path: string; content: Content } | undefined;
    for (const each of this.#stems.get(stemOf(path)) ?? []) {
      const content = this.#base.get(each)!.content!;
      if (best === undefined || Math.abs(content.size - size) < Math.abs(best.content.size - size)) {
        best = { path: each, content };
      }
    }
    return best;
  }
}

/** Folders and names without digits. */
function stemOf(path: string): string {
  return path.replace(/\d+/g, "#");
}

function around(
  { path, content }: { path: string; content: Content },
  start: number,
  length: number,
): Likeness {
  const from = Math.max(0, Math.min(start - AROUND_BYTES, content.size));
  const to = Math.max(from, Math.min(content.size, start + length + AROUND_BYTES));
  return { path, offset: from, length: to - from, read: (offset, into) => content.read(offset, into) };
}
