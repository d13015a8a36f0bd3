import { CborError, type CborValue } from "./cbor.ts";
import { type Head, readHead } from "./cbor_head.ts";
import { BODY_BYTES_MAX, CHUNK_BYTES_MAX, type ChunkRange, CHUNKS_MAX, readFrame } from "./frame.ts";
import { getHash, Hash64, hash64, HASH_BYTES, hashText } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";
import type { Kind } from "./kinds.ts";
import { decodeBody, readImage } from "./read.ts";

/** Where the bytes of an image lie, if not in memory. */
export interface ImageSource {
  size(): number;
  /** Reads from `position`; returns how many bytes, fewer at the end. */
  read(into: Uint8Array, position: number): number;
}

/** To say which bit of an image is wrong it is read whole, up to this many bytes. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes that hold any two heads, and a hash between them. */
const HEADS_BYTES = 32;

/**
 * An image that is larger than memory: its body is read, and where its chunks lie. All but the data of chunks has been
 * verified, and each chunk is when it is asked for.
 */
export class ImageFile {
  readonly kind: Kind;
  readonly version: number;
  readonly body: CborValue;
  readonly #source: ImageSource;
  readonly #chunks: ChunkRange[] = [];

  /** @throws {ImageError} */
  constructor(source: ImageSource) {
    this.#source = source;
    try {
      const frame = this.#open();
      this.kind = frame.kind as Kind;
      this.version = frame.version;
      this.body = frame.body;
    } catch (error) {
      if (error instanceof ImageError && source.size() <= WHOLE_BYTES_MAX) {
        readImage(this.#bytes(0, source.size(), "image"), { lazyChunks: true }); // says it better
      }
      throw error;
    }
  }

  /** How many chunks there are. */
  get chunkCount(): number {
    return this.#chunks.length;
  }

  /**
   * The data of a chunk.
   * @throws {ImageError} When it is damaged.
   */
  chunk(index: number): Uint8Array<ArrayBuffer> {
    const { start, end, hashStart } = this.#chunks[index]!;
    const part: Part = `chunk ${index}`;
    const data = this.#bytes(start, end - start, part);
    const found = hash64(data), need = getHash(this.#bytes(hashStart, HASH_BYTES, part), 0);
    if (found === need) return data;
    throw new ImageError(
      part,
      start,
      `Cannot open image: ${part} at byte ${start} hashes to ${hashText(found)}, need ${hashText(need)}`,
    );
  }

  #open(): { kind: number; version: number; body: CborValue } {
    const size = this.#source.size();
    const trailer = new Hash64();
    const head: Head = { major: 0, argument: 0, next: 0 };
    // Up to the body the frame's own reader judges: it is given an image of no more than that.
    const start = this.#bytes(0, Math.min(64, size), "header");
    let at = frameStart(start, head);
    const bodyBytes = head.argument;
    if (bodyBytes > BODY_BYTES_MAX || at + bodyBytes > size) readFrame(start);
    const whole = this.#bytes(0, at + bodyBytes, "body");
    trailer.update(whole);
    const frame = readFrame(closed(whole));
    const body = decodeBody(whole, frame);
    at += bodyBytes;
    const count = this.#head(at, 4, CHUNKS_MAX, "chunks", head, trailer);
    at += head.next;
    for (let index = 0; index < count; index++) {
      const part: Part = `chunk ${index}`;
      const bytes = this.#bytes(at, Math.min(HEADS_BYTES, size - at), part);
      const pair = readOne(bytes, 0, at, 4, 2, part, head);
      const dataAt = head.next;
      const length = readOne(bytes, dataAt, at, 2, CHUNK_BYTES_MAX, part, head);
      if (pair !== 2) damaged(part, at);
      trailer.update(bytes.subarray(0, head.next));
      const from = at + head.next;
      const tail = this.#bytes(from + length, 1 + HASH_BYTES, part);
      if (tail[0] !== (0x40 | HASH_BYTES)) damaged(part, from + length);
      trailer.update(tail);
      this.#chunks.push({ start: from, end: from + length, hashStart: from + length + 1 });
      at = from + length + 1 + HASH_BYTES;
    }
    const tail = this.#bytes(at, 1 + HASH_BYTES, "trailer");
    if (tail[0] !== (0x40 | HASH_BYTES)) damaged("trailer", at);
    const found = trailer.update(tail.subarray(0, 1)).digest();
    const need = getHash(tail, 1);
    if (found !== need) {
      throw new ImageError(
        "image",
        0,
        `Cannot open image: it hashes to ${hashText(found)}, its trailer at byte ${at + 1} says ${
          hashText(need)
        }`,
      );
    }
    if (at + 1 + HASH_BYTES !== size) damaged("image", at + 1 + HASH_BYTES);
    return { kind: frame.kind, version: frame.version, body };
  }

  #head(at: number, major: number, most: number, part: Part, head: Head, trailer: Hash64): number {
    const bytes = this.#bytes(at, Math.min(9, this.#source.size() - at), part);
    const value = readOne(bytes, 0, at, major, most, part, head);
    trailer.update(bytes.subarray(0, head.next));
    return value;
  }

  #bytes(at: number, length: number, part: Part): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Math.max(0, length));
    for (let have = 0; have < bytes.length;) {
      const some = this.#source.read(bytes.subarray(have), at + have);
      if (some === 0) {
        throw new ImageError(
          part,
          at + have,
          `Cannot open image: it ends at byte ${at + have}, within ${part}`,
        );
      }
      have += some;
    }
    return bytes;
  }
}

/** Where the body starts; `head` is then that of its byte string. What is no image is told by the frame's own reader. */
function frameStart(start: Uint8Array, head: Head): number {
  let at = 4;
  try {
    for (const major of [0, 0, 0, 2]) {
      readHead(start, at, head);
      if (head.major !== major) break;
      at = head.next;
    }
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    head.major = 7;
  }
  if (head.major !== 2) {
    readFrame(start);
    damaged("header", at);
  }
  return at;
}

/** The beginning of an image up to its chunks, as an image without any, whose hash does not count. */
function closed(whole: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(whole.length + 2 + HASH_BYTES);
  bytes.set(whole);
  bytes[whole.length] = 0x80;
  bytes[whole.length + 1] = 0x40 | HASH_BYTES;
  return bytes;
}

function readOne(
  bytes: Uint8Array,
  from: number,
  at: number,
  major: number,
  most: number,
  part: Part,
  head: Head,
): number {
  try {
    readHead(bytes, from, head);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    damaged(part, at);
  }
  if (head.major !== major || head.argument > most) damaged(part, at);
  return head.argument;
}

function damaged(part: Part, at: number): never {
  throw new ImageError(part, at, `Cannot open image: ${part} at byte ${at} is damaged`);
}
