import type { Extent } from "../node.ts";
import { DICTIONARY_BYTES_MAX, RAW_BYTES_MAX } from "../zstd.ts";
import type { Pack, Piece } from "./change.ts";

/** A run of the base that new bytes are likely to resemble. */
export interface Likeness {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  read(offset: number, into: Uint8Array): void;
}

/** Takes packs that are complete: the bytes, valid until it returns, and what they are to be compressed against. */
export type PackSink = (pack: Pack, raw: Uint8Array, dictionary: Uint8Array) => void;

/** Gathers new bytes into packs, and what they resemble into the packs' dictionaries. */
export class Packer {
  readonly #sink: PackSink;
  #raw = new Uint8Array(256 * 1024);
  #rawBytes = 0;
  #dictionary: Likeness[] = [];
  /** How far into a file of the base the dictionary goes. */
  readonly #covered = new Map<string, number>();
  #dictionaryBytes = 0;
  #packs = 0;

  constructor(sink: PackSink) {
    this.#sink = sink;
  }

  /** Takes bytes of a file. @returns The pieces that they are now. */
  add(bytes: Uint8Array, likeness: Likeness | undefined): Piece[] {
    const pieces: Piece[] = [];
    for (let at = 0; at < bytes.length;) {
      if (this.#rawBytes === RAW_BYTES_MAX) this.flush();
      this.#resemble(likeness);
      const length = Math.min(bytes.length - at, RAW_BYTES_MAX - this.#rawBytes);
      this.#room(this.#rawBytes + length);
      this.#raw.set(bytes.subarray(at, at + length), this.#rawBytes);
      pieces.push({ from: this.#packs, offset: this.#rawBytes, length });
      this.#rawBytes += length;
      at += length;
    }
    return pieces;
  }

  /** Closes the pack that is open. */
  flush(): void {
    if (this.#rawBytes === 0) return;
    const ranges = this.#dictionary;
    const dictionary = new Uint8Array(this.#dictionaryBytes);
    let at = 0;
    for (const { offset, length, read } of ranges) {
      read(offset, dictionary.subarray(at, at + length));
      at += length;
    }
    this.#sink(
      {
        rawBytes: this.#rawBytes,
        dictionary: ranges.map(({ path, offset, length }) => ({ path, offset, length })),
      },
      this.#raw.subarray(0, this.#rawBytes),
      dictionary,
    );
    this.#packs++;
    this.#rawBytes = 0;
    this.#dictionary = [];
    this.#covered.clear();
    this.#dictionaryBytes = 0;
  }

  #resemble(likeness: Likeness | undefined): void {
    if (likeness === undefined) return;
    const { path } = likeness;
    const end = likeness.offset + likeness.length;
    let offset = Math.max(likeness.offset, this.#covered.get(path) ?? 0);
    if (offset >= end) return;
    if (this.#dictionaryBytes + end - offset > DICTIONARY_BYTES_MAX) {
      if (this.#rawBytes === 0 || likeness.length > DICTIONARY_BYTES_MAX) return;
      this.flush();
      offset = likeness.offset;
    }
    this.#dictionary.push({ ...likeness, offset, length: end - offset });
    this.#dictionaryBytes += end - offset;
    this.#covered.set(path, end);
  }

  #room(bytes: number): void {
    if (bytes <= this.#raw.length) return;
    const wider = new Uint8Array(Math.min(RAW_BYTES_MAX, Math.max(bytes, 2 * this.#raw.length)));
    wider.set(this.#raw.subarray(0, this.#rawBytes));
    this.#raw = wider;
  }
}

/** `pieces` with neighbours that follow one another made one. */
export function joinedPieces(pieces: readonly Piece[]): Piece[] {
  const joined: Piece[] = [];
  for (const piece of pieces) append(joined, piece);
  return joined;
}

/** Puts a piece behind others, and into the last where it goes on with that. */
export function append(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (last !== undefined && last.from === piece.from && last.offset + last.length === piece.offset) {
    pieces[pieces.length - 1] = { ...last, length: last.length + piece.length };
  } else pieces.push(piece);
}

/** The runs of data of a file. */
export function runsOf({ size, extents }: { size: number; extents?: readonly Extent[] }): readonly Extent[] {
  return extents ?? (size === 0 ? [] : [{ start: 0, length: size }]);
}
