/**
 * The frame of an image: one CBOR item, tag 55799 (self-described CBOR) around
 *
 *     [format version, kind, kind version, body, chunks, trailer]
 *
 * `body` is a byte string that holds one CBOR item, so that a damaged body cannot shift what follows
 * it and a reader knows its size at once. `chunks` holds `[data, xxHash64 of data]` pairs of bulk
 * content. `trailer` is the xxHash64 of every byte before its own eight, chunk data left out (their
 * hashes are in): every byte is hashed once, and bulk can be verified chunk by chunk, later.
 * @module
 */
import { CborError, type Head, readHead } from "./cbor_head.ts";
import { Hash64, hash64, HASH_BYTES } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";
import { kindInfo, kindName } from "./kinds.ts";

/** The format this code writes, and the only one there is so far. */
export const FORMAT_VERSION = 1;

/** Tag 55799 and the head of an array of six. */
export const MAGIC: readonly number[] = [0xd9, 0xd9, 0xf7, 0x86];

/** The largest body, in bytes: it is read and decoded as a whole. Bulk belongs in chunks. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** The largest chunk, in bytes: verifying one holds it in memory. */
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024;
/** The most chunks of one image: 4 TiB in all, beyond any guest or layer. */
export const CHUNKS_MAX = 2 ** 20;

/** Where the parts of an image lie, in bytes from its start. */
export interface Frame {
  readonly kind: number;
  readonly version: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** The first byte of the chunk array's head. */
  readonly chunksStart: number;
  readonly chunks: readonly ChunkRange[];
  /** The eight bytes of the trailer's hash. */
  readonly trailerStart: number;
}

/** Where a chunk lies: its data, then (after one byte of head) its hash. */
export interface ChunkRange {
  readonly start: number;
  readonly end: number;
  readonly hashStart: number;
}

const NONE: readonly ChunkRange[] = [];
const head: Head = { major: 0, argument: 0, next: 0 };

/**
 * Finds the parts of an image, judging its structure but no hash.
 * @throws {ImageError}
 */
export function readFrame(bytes: Uint8Array): Frame {
  for (const [at, byte] of MAGIC.entries()) {
    if (bytes[at] === byte) continue;
    const what = at >= bytes.length ? "it ends there" : "this is no image";
    throw new ImageError("header", at, `Cannot open image: header at byte ${at}: ${what}`);
  }
  const format = field(bytes, 4, 0, "header", "a format version");
  if (format !== FORMAT_VERSION) {
    refuse("header", 4, `format version ${format} is not known, ${FORMAT_VERSION} is`);
  }
  const kind = field(bytes, head.next, 0, "header", "a kind");
  const info = kindInfo(kind);
  if (!info) refuse("header", 5, `kind ${kind} is not known`);
  const versionAt = head.next;
  const version = field(bytes, versionAt, 0, "header", "a version of the kind");
  if (version < 1 || version > info.version) {
    refuse(
      "header",
      versionAt,
      `version ${version} of ${kindName(kind)} is not known, 1 to ${info.version} are`,
    );
  }
  const bodyHead = head.next;
  const bodyBytes = field(bytes, bodyHead, 2, "header", "the body's length");
  const bodyStart = head.next;
  const bodyEnd = bodyStart + bodyBytes;
  if (bodyBytes > BODY_BYTES_MAX) {
    refuse("header", bodyHead, `a body of ${bodyBytes} bytes is over the limit`);
  }
  if (bodyEnd > bytes.length) {
    refuse("body", bytes.length, `it ends before the body's last byte ${bodyEnd - 1}`);
  }
  const count = field(bytes, bodyEnd, 4, "chunks", "the list of chunks");
  if (count > CHUNKS_MAX) refuse("chunks", bodyEnd, `${count} chunks are over the limit`);
  let at = head.next;
  const chunks: ChunkRange[] | undefined = count > 0 ? [] : undefined;
  for (let index = 0; index < count; index++) {
    const range = chunkRange(bytes, at, index);
    chunks!.push(range);
    at = range.hashStart + HASH_BYTES;
  }
  hashField(bytes, at, "trailer");
  const trailerStart = at + 1;
  if (bytes.length > trailerStart + HASH_BYTES) {
    refuse("image", trailerStart + HASH_BYTES, "it goes on after the trailer");
  }
  return { kind, version, bodyStart, bodyEnd, chunksStart: bodyEnd, chunks: chunks ?? NONE, trailerStart };
}

/** The range of chunk `index`, whose pair starts at `at`. */
function chunkRange(bytes: Uint8Array, at: number, index: number): ChunkRange {
  const part: Part = `chunk ${index}`;
  const two = field(bytes, at, 4, part, "a pair of data and hash");
  if (two !== 2) refuse(part, at, `${two} items instead of data and hash`);
  const dataHead = head.next;
  const length = field(bytes, dataHead, 2, part, "its data");
  const start = head.next;
  const end = start + length;
  if (length > CHUNK_BYTES_MAX) refuse(part, dataHead, `a chunk of ${length} bytes is over the limit`);
  if (end > bytes.length) refuse(part, bytes.length, `it ends before the chunk's last byte ${end - 1}`);
  hashField(bytes, end, part);
  return { start, end, hashStart: end + 1 };
}

function hashField(bytes: Uint8Array, at: number, part: Part): void {
  const length = field(bytes, at, 2, part, "a hash");
  if (length !== HASH_BYTES) refuse(part, at, `a hash of ${length} bytes instead of ${HASH_BYTES}`);
  if (at + 1 + HASH_BYTES > bytes.length) refuse(part, bytes.length, "it ends within a hash");
}

/** Reads a head that must be of type `major`; `head.next` is the byte after it. */
function field(bytes: Uint8Array, at: number, major: number, part: Part, what: string): number {
  try {
    readHead(bytes, at, head);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    throw new ImageError(part, error.offset, `Cannot open image: ${part} at byte ${at}: ${what} is missing`, {
      cause: error,
    });
  }
  if (head.major !== major) refuse(part, at, `${what} is missing`);
  return head.argument;
}

function refuse(part: Part, at: number, why: string): never {
  throw new ImageError(part, at, `Cannot open image: ${part} at byte ${at}: ${why}`);
}

/** The hash that the trailer must hold: everything before it but chunk data. */
export function trailerHash(bytes: Uint8Array, frame: Frame): bigint {
  if (frame.chunks.length === 0) return hash64(bytes.subarray(0, frame.trailerStart));
  const hash = new Hash64();
  let from = 0;
  for (const chunk of frame.chunks) {
    hash.update(bytes.subarray(from, chunk.start));
    from = chunk.end;
  }
  return hash.update(bytes.subarray(from, frame.trailerStart)).digest();
}
