import { hash64 } from "../../image/hash.ts";
import type { Content } from "../node.ts";
import { CHUNK_MAX, chunkEnd } from "./chunker.ts";
import type { OnBytes } from "./on_bytes.ts";

/** Where a chunk lies in a base. */
export interface FoundChunk {
  readonly path: string;
  readonly offset: number;
}

/** Content is chunked in runs of this many bytes in memory. */
const WINDOW_BYTES = 1024 * 1024;

/** Every chunk of a base's contents by its hash: 24 bytes each, which is 1.5 MB for each GB of files. */
export class ChunkIndex {
  readonly #paths: string[] = [];
  #hashes = new BigUint64Array(1024);
  #offsets = new Float64Array(1024);
  #files = new Uint32Array(1024);
  #lengths = new Uint32Array(1024);
  #table = new Int32Array(4096).fill(-1);
  #count = 0;

  /** Takes all chunks of a file. Of equal ones, the first stays. @param told Hears of its bytes. */
  async add(path: string, content: Content, told: OnBytes): Promise<void> {
    const file = this.#paths.push(path) - 1;
    for (const { offset, bytes } of chunksOf(content)) {
      const pause = told(bytes.length);
      if (pause !== undefined) await pause;
      const hash = hash64(bytes);
      let at = this.#slot(hash);
      while (this.#table[at] !== -1 && this.#hashes[this.#table[at]!] !== hash) {
        at = (at + 1) & (this.#table.length - 1);
      }
      if (this.#table[at] !== -1) continue;
      if (this.#count === this.#hashes.length) this.#grow();
      this.#hashes[this.#count] = hash;
      this.#offsets[this.#count] = offset;
      this.#files[this.#count] = file;
      this.#lengths[this.#count] = bytes.length;
      for (at = this.#slot(hash); this.#table[at] !== -1;) at = (at + 1) & (this.#table.length - 1);
      this.#table[at] = this.#count++;
    }
  }

  /** Where a chunk of the same hash and length is; whoever asks compares the bytes. */
  find(bytes: Uint8Array): FoundChunk | undefined {
    const hash = hash64(bytes);
    for (let at = this.#slot(hash); this.#table[at] !== -1; at = (at + 1) & (this.#table.length - 1)) {
      const chunk = this.#table[at]!;
      if (this.#hashes[chunk] !== hash) continue;
      if (this.#lengths[chunk] !== bytes.length) return undefined;
      return { path: this.#paths[this.#files[chunk]!]!, offset: this.#offsets[chunk]! };
    }
    return undefined;
  }

  #slot(hash: bigint): number {
    return Number(hash & 0x7fff_ffffn) & (this.#table.length - 1);
  }

  #grow(): void {
    const wider = <T extends BigUint64Array | Float64Array | Uint32Array>(old: T, next: T): T => {
      next.set(old as never);
      return next;
    };
    const count = 2 * this.#count;
    this.#hashes = wider(this.#hashes, new BigUint64Array(count));
    this.#offsets = wider(this.#offsets, new Float64Array(count));
    this.#files = wider(this.#files, new Uint32Array(count));
    this.#lengths = wider(this.#lengths, new Uint32Array(count));
    this.#table = new Int32Array(4 * count).fill(-1);
    for (let chunk = 0; chunk < this.#count; chunk++) {
      let at = this.#slot(this.#hashes[chunk]!);
      while (this.#table[at] !== -1) at = (at + 1) & (this.#table.length - 1);
      this.#table[at] = chunk;
    }
  }
}

/** The chunks of a file's data, holes left out; `bytes` is valid until the next. */
export function* chunksOf(content: Content): Generator<{ offset: number; bytes: Uint8Array }, void, void> {
  const window = new Uint8Array(Math.min(WINDOW_BYTES, content.size));
  for (const { start, length } of content.extents ?? [{ start: 0, length: content.size }]) {
    const end = start + length;
    let from = start; // what is in the window, [from, from + have)
    let have = 0;
    for (let at = start; at < end;) {
      if (at - from + CHUNK_MAX > have && from + have < end) {
        window.copyWithin(0, at - from, have);
        have -= at - from;
        from = at;
        const more = Math.min(window.length - have, end - from - have);
        content.read(from + have, window.subarray(have, have + more));
        have += more;
      }
      const next = chunkEnd(window, at - from, have);
      yield { offset: at, bytes: window.subarray(at - from, next) };
      at = from + next;
    }
  }
}
