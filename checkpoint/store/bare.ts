/**
 * Images without what every image has: of a log's hundreds of millions the 15 bytes count, and an entry has a hash of its
 * own. What was appended is what is read, byte for byte.
 * @module
 */
import { smallBytes } from "../../base/small_bytes.ts";
import { CborError, type Head, readHead } from "../image/cbor_head.ts";
import { getHash, hash64, HASH_BYTES, putHash } from "../image/hash.ts";

/** How an image begins: `55799([1, ...` of six. */
const BEFORE = [0xd9, 0xd9, 0xf7, 0x86, 0x01];
/** And ends, when it has no chunks: `[]`, and the head of its trailer. */
const BEHIND = [0x80, 0x40 | HASH_BYTES];
/** So many bytes an image has more than what is kept of it. */
export const IMAGE_BYTES_MORE: number = BEFORE.length + BEHIND.length + HASH_BYTES;
const HEAD: Head = { major: 0, argument: 0, next: 0 };

/**
 * Kind, version and body of an image without chunks, one item behind the other; `undefined` of any other record.
 *
 * @param hashed The record is as `writeImage` has made it: its trailer is right, if it is an image at all.
 */
export function bareOf(record: Uint8Array, hashed = false): Uint8Array | undefined {
  const end = record.length - BEHIND.length - HASH_BYTES;
  if (end <= BEFORE.length) return undefined;
  for (let at = 0; at < BEFORE.length; at++) if (record[at] !== BEFORE[at]) return undefined;
  if (record[end] !== BEHIND[0] || record[end + 1] !== BEHIND[1]) return undefined;
  const bare = record.subarray(BEFORE.length, end);
  try {
    if (bareEnd(bare, 0, bare.length) !== bare.length) return undefined;
  } catch (error) {
    if (error instanceof CborError) return undefined;
    throw error;
  }
  if (hashed) return bare;
  const trailer = end + BEHIND.length;
  return hash64(record.subarray(0, trailer)) === getHash(record, trailer) ? bare : undefined;
}

/** The record that `bare` is of. */
export function recordOf(bare: Uint8Array): Uint8Array<ArrayBuffer> {
  const record = smallBytes(BEFORE.length + bare.length + BEHIND.length + HASH_BYTES);
  record.set(BEFORE);
  record.set(bare, BEFORE.length);
  const end = BEFORE.length + bare.length;
  record.set(BEHIND, end);
  const trailer = end + BEHIND.length;
  putHash(record, trailer, hash64(record.subarray(0, trailer)));
  return record;
}

/**
 * Where the three items that begin at `at` end, perhaps beyond `limit`; -1 when they are not kind, version and body.
 *
 * @throws {CborError} When a head is none, or is cut off by `limit`.
 */
export function bareEnd(bytes: Uint8Array, at: number, limit: number): number {
  let next = at;
  for (let item = 0; item < 3; item++) {
    if (next >= limit) throw new CborError(next, "An item is cut short");
    readHead(bytes, next, HEAD, limit);
    if (HEAD.major !== (item < 2 ? 0 : 2)) return -1;
    next = HEAD.next;
  }
  return next + HEAD.argument;
}
