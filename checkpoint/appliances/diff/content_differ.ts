import type { Content } from "../node.ts";
import type { Tree } from "../tree.ts";
import type { Piece } from "./change.ts";
import { ChunkIndex, chunksOf, type FoundChunk } from "./chunk_index.ts";
import { CHUNK_MAX, CHUNK_MIN } from "./chunker.ts";
import type { OnBytes } from "./on_bytes.ts";
import { append, joinedPieces, type Likeness, type Packer, runsOf } from "./packer.ts";

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
  readonly #told: OnBytes;
  readonly #whole = new Map<string, string>();
  /** Paths by what they are but for digits; mostly it is one, and a list for each would be half of the memory. */
  readonly #stems = new Map<string, string | string[]>();
  readonly #there = new Uint8Array(CHUNK_MAX);
  #chunks: ChunkIndex | undefined;

  /** @param told Hears of bytes that were looked at. */
  constructor(base: Tree, packer: Packer, told: OnBytes) {
    this.#base = base;
    this.#packer = packer;
    this.#told = told;
    for (const { path, node, links } of base.entries()) {
      if (node.content === undefined || links !== undefined || node.content.size === 0) continue;
      if (!this.#whole.has(node.content.sha256)) this.#whole.set(node.content.sha256, path);
      const stem = stemOf(path);
      const same = this.#stems.get(stem);
      if (same === undefined) this.#stems.set(stem, path);
      else if (typeof same === "string") this.#stems.set(stem, [same, path]);
      else same.push(path);
    }
  }

  /** The pieces that `content`, which is to be at `path`, is made of. */
  async pieces(path: string, content: Content): Promise<Piece[]> {
    const own = this.#base.get(path)?.content;
    const whole = own?.sha256 === content.sha256 ? path : this.#whole.get(content.sha256);
    if (whole !== undefined) {
      return runsOf(content).map(({ start, length }) => ({ from: whole, offset: start, length }));
    }
    const like = own === undefined ? this.#alike(path, content.size) : { path, content: own };
    const dataBytes = runsOf(content).reduce((sum, { length }) => sum + length, 0);
    if (dataBytes >= LARGE_BYTES) return await this.#large(content, like);
    await this.#told(dataBytes);
    return joinedPieces(this.#small(content, like));
  }

  #small(content: Content, like: { path: string; content: Content } | undefined): Piece[] {
    return runsOf(content).flatMap(({ start, length }) => {
      const bytes = new Uint8Array(length);
      content.read(start, bytes);
      return this.#packer.add(bytes, like && around(like, start, length));
    });
  }

  async #large(content: Content, like: { path: string; content: Content } | undefined): Promise<Piece[]> {
    const chunks = this.#chunks ??= await this.#indexed();
    const pieces: Piece[] = [];
    const fresh = new Uint8Array(Math.min(RUN_BYTES_MAX + CHUNK_MAX, content.size));
    let freshStart = 0, freshBytes = 0;
    // Where in the old version we are: behind the last piece that was found there.
    let shift = 0;
    const pack = (): void => {
      if (freshBytes === 0) return;
      const likeness = like && around(like, freshStart + shift, freshBytes);
      for (const piece of this.#packer.add(fresh.subarray(0, freshBytes), likeness)) append(pieces, piece);
      freshBytes = 0;
    };
    for (const { offset, bytes } of chunksOf(content)) {
      const pause = this.#told(bytes.length);
      if (pause !== undefined) await pause;
      const found = this.#find(chunks, bytes);
      if (found === undefined) {
        if (freshBytes > 0 && (freshStart + freshBytes !== offset || freshBytes >= RUN_BYTES_MAX)) pack();
        if (freshBytes === 0) freshStart = offset;
        fresh.set(bytes, freshBytes);
        freshBytes += bytes.length;
        continue;
      }
      pack();
      if (found.path === like?.path) shift = found.offset - offset;
      append(pieces, { from: found.path, offset: found.offset, length: bytes.length });
    }
    pack();
    return pieces;
  }

  #find(chunks: ChunkIndex, bytes: Uint8Array): FoundChunk | undefined {
    const found = chunks.find(bytes);
    if (found === undefined) return undefined;
    const there = this.#there.subarray(0, bytes.length);
    this.#base.get(found.path)!.content!.read(found.offset, there);
    for (let at = 0; at < bytes.length; at++) if (there[at] !== bytes[at]) return undefined;
    return found;
  }

  async #indexed(): Promise<ChunkIndex> {
    const index = new ChunkIndex();
    for (const path of this.#whole.values()) {
      const content = this.#base.get(path)!.content!;
      if (content.size < CHUNK_MIN) continue; // found whole, or not at all
      await index.add(path, content, this.#told);
    }
    return index;
  }

  /** A file of the base that is called the same but for digits, as the next version of a library is. */
  #alike(path: string, size: number): { path: string; content: Content } | undefined {
    let best: { path: string; content: Content } | undefined;
    for (const each of [this.#stems.get(stemOf(path)) ?? []].flat()) {
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
