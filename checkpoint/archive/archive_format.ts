/**
 * An archive: connections as one file, a CBOR sequence. First an image of kind `archive` that says when it was made
 * and by which salt its entries are hashed; then for each connection what a store would hold, `[image, hash]`; last
 * such an image again, which also counts and hashes all of that. image.cddl has it.
 *
 * What is damaged costs itself only: reading goes on at the next entry whose salted hash is right, and nobody who sent
 * us data can have planted one. The salt is in both images, so that one may be damaged.
 * @module
 */
import type { CborValue } from "../image/cbor.ts";
import { getHash, HASH_BYTES, putHash } from "../image/hash.ts";
import { Kind, registerKind } from "../image/kinds.ts";
import { readImage } from "../image/read.ts";
import { writeImage } from "../image/write.ts";

const FIELDS = ["archivedAtMs", "salt", "connections", "bytes", "content"];
registerKind(Kind.Archive, 1, FIELDS);

/** Bytes that hold any of the two images. */
export const ARCHIVE_IMAGE_BYTES_MAX = 128;

/** What the image at the beginning of an archive says, or the one at its end. */
export interface ArchiveImage {
  readonly archivedAtMs: number;
  /** Seed of the hashes of entries. */
  readonly salt: bigint;
  /** Of the image at the end. */
  readonly total?: { readonly connections: number; readonly bytes: number; readonly content: bigint };
}

/** The image that begins an archive; with `total`, the one that ends it. */
export function writeArchiveImage({ archivedAtMs, salt, total }: ArchiveImage): Uint8Array<ArrayBuffer> {
  const body: CborValue[] = [archivedAtMs, hashBytes(salt)];
  if (total !== undefined) body.push(total.connections, total.bytes, hashBytes(total.content));
  return writeImage({ kind: Kind.Archive, body });
}

/** What such an image says; `undefined` when it is none, or damaged. */
export function readArchiveImage(bytes: Uint8Array): ArchiveImage | undefined {
  let body: unknown;
  try {
    const image = readImage(bytes);
    if (image.kind !== Kind.Archive) return undefined;
    body = image.body;
  } catch {
    return undefined; // verifyImage says why
  }
  if (!Array.isArray(body) || (body.length !== 2 && body.length !== FIELDS.length)) return undefined;
  const [archivedAtMs, salt, connections, size, content] = body;
  if (typeof archivedAtMs !== "number" || !isHash(salt)) return undefined;
  const start = { archivedAtMs, salt: getHash(salt, 0) };
  if (body.length === 2) return start;
  if (typeof connections !== "number" || typeof size !== "number" || !isHash(content)) return undefined;
  return { ...start, total: { connections, bytes: size, content: getHash(content, 0) } };
}

function hashBytes(hash: bigint): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES);
  putHash(bytes, 0, hash);
  return bytes;
}

function isHash(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === HASH_BYTES;
}
