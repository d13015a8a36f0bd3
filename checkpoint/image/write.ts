import { smallBytes } from "../../base/small_bytes.ts";
import { type CborValue, encodeShared } from "./cbor.ts";
import { headBytes, writeHead } from "./cbor_head.ts";
import { BODY_BYTES_MAX, CHUNK_BYTES_MAX, CHUNKS_MAX, FORMAT_VERSION, MAGIC } from "./frame.ts";
import { Hash64, hash64, HASH_BYTES, putHash } from "./hash.ts";
import { type Kind, kindInfo } from "./kinds.ts";

/** What goes into an image. */
export interface ImageContent {
  /** What it is of. */
  readonly kind: Kind;
  /** The version of the kind's body; today's when left out. */
  readonly version?: number;
  /** Its fields. */
  readonly body: CborValue;
  /** Bulk content, 4 MiB at most each. */
  readonly chunks?: readonly Uint8Array[];
}

/**
 * An image of `content`: the same content gives the same bytes, always.
 *
 * @throws {TypeError} When the body holds something that images may not.
 * @throws {RangeError} When a part is over its limit.
 * @example
 * ```ts
 * import { writeImage } from "@torpor/torpor/checkpoint/image/write.ts";
 * import { readImage } from "@torpor/torpor/checkpoint/image/read.ts";
 * import { Kind } from "@torpor/torpor/checkpoint/image/kinds.ts";
 * const bytes = writeImage({ kind: Kind.Socket, body: [1, "two"] });
 * console.log(readImage(bytes).body); // [ 1, "two" ]
 * ```
 */
export function writeImage(content: ImageContent): Uint8Array<ArrayBuffer> {
  return writeEncoded(content, encodeShared(content.body), content.chunks ?? []);
}

/**
 * As `writeImage`, for a body that is encoded already, in the one form that `encodeCbor` gives.
 *
 * @throws {RangeError} When it is over its limit.
 */
export function writeEncoded(
  content: Omit<ImageContent, "body" | "chunks">,
  body: Uint8Array,
  chunks: readonly Uint8Array[] = [],
): Uint8Array<ArrayBuffer> {
  const version = checkedVersion(content, body.length, chunks.length);
  let length = startBytes(version, body.length, chunks.length) + 1 + HASH_BYTES;
  for (const chunk of chunks) length += 1 + headBytes(chunk.length) + chunk.length + 1 + HASH_BYTES;
  const bytes = smallBytes(length);
  let at = writeStart(bytes, content.kind, version, body, chunks.length);
  if (chunks.length === 0) {
    bytes[at++] = 0x40 | HASH_BYTES;
    putHash(bytes, at, hash64(bytes.subarray(0, at)));
    return bytes;
  }
  const trailer = new Hash64();
  let covered = 0;
  for (const chunk of chunks) {
    checkChunk(chunk);
    bytes[at] = 0x82;
    at = writeHead(bytes, at + 1, 0x40, chunk.length);
    trailer.update(bytes.subarray(covered, at));
    bytes.set(chunk, at);
    covered = at += chunk.length;
    bytes[at++] = 0x40 | HASH_BYTES;
    putHash(bytes, at, hash64(chunk));
    at += HASH_BYTES;
  }
  bytes[at++] = 0x40 | HASH_BYTES;
  putHash(bytes, at, trailer.update(bytes.subarray(covered, at)).digest());
  return bytes;
}

/**
 * The same bytes as `writeImage` gives, piece by piece, in the memory of one chunk: for images that
 * are larger than memory. CBOR's deterministic form says first how many chunks follow.
 *
 * @throws {RangeError} When `chunks` yields another number than `chunkCount`, or one over the limit.
 */
export async function* imagePieces(
  content: Omit<ImageContent, "chunks">,
  chunkCount: number,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array<ArrayBufferLike>, void, void> {
  const body = encodeShared(content.body);
  const version = checkedVersion(content, body.length, chunkCount);
  const start = new Uint8Array(startBytes(version, body.length, chunkCount));
  writeStart(start, content.kind, version, body, chunkCount);
  const trailer = new Hash64().update(start);
  yield start;
  let count = 0;
  for await (const chunk of chunks) {
    checkChunk(chunk);
    if (++count > chunkCount) throw new RangeError(`Cannot write image: more than ${chunkCount} chunks came`);
    const head = new Uint8Array(1 + headBytes(chunk.length));
    head[0] = 0x82;
    writeHead(head, 1, 0x40, chunk.length);
    const tail = hashItem(hash64(chunk));
    trailer.update(head).update(tail);
    yield head;
    yield chunk;
    yield tail;
  }
  if (count !== chunkCount) throw new RangeError(`Cannot write image: ${count} of ${chunkCount} chunks came`);
  trailer.update(Uint8Array.of(0x40 | HASH_BYTES));
  yield hashItem(trailer.digest());
}

function hashItem(hash: bigint): Uint8Array {
  const bytes = new Uint8Array(1 + HASH_BYTES);
  bytes[0] = 0x40 | HASH_BYTES;
  putHash(bytes, 1, hash);
  return bytes;
}

function startBytes(version: number, bodyBytes: number, chunkCount: number): number {
  return MAGIC.length + 2 + headBytes(version) + headBytes(bodyBytes) + bodyBytes + headBytes(chunkCount);
}

/** Everything up to the first chunk, or to the trailer. */
function writeStart(
  into: Uint8Array,
  kind: Kind,
  version: number,
  body: Uint8Array,
  chunkCount: number,
): number {
  into.set(MAGIC);
  into[MAGIC.length] = FORMAT_VERSION;
  let at = writeHead(into, MAGIC.length + 1, 0, kind);
  at = writeHead(into, at, 0, version);
  at = writeHead(into, at, 0x40, body.length);
  into.set(body, at);
  return writeHead(into, at + body.length, 0x80, chunkCount);
}

function checkedVersion(content: Omit<ImageContent, "body">, bodyBytes: number, chunkCount: number): number {
  const info = kindInfo(content.kind);
  if (!info) throw new RangeError(`Cannot write image: kind ${content.kind} is not known`);
  const version = content.version ?? info.version;
  if (!(Number.isInteger(version) && version >= 1 && version <= info.version)) {
    throw new RangeError(`Cannot write image: version ${version} of ${info.name} is not known`);
  }
  if (bodyBytes > BODY_BYTES_MAX) throw new RangeError(`Cannot write image: a body of ${bodyBytes} bytes`);
  if (!(Number.isInteger(chunkCount) && chunkCount >= 0 && chunkCount <= CHUNKS_MAX)) {
    throw new RangeError(`Cannot write image: ${chunkCount} chunks`);
  }
  return version;
}

function checkChunk(chunk: Uint8Array): void {
  if (chunk.length <= CHUNK_BYTES_MAX) return;
  throw new RangeError(
    `Cannot write image: a chunk of ${chunk.length} bytes, ${CHUNK_BYTES_MAX} are the limit`,
  );
}
