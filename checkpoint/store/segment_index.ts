import { decodeCbor, encodeCbor } from "../image/cbor.ts";
import { getHash, hash64, HASH_BYTES, putHash } from "../image/hash.ts";
import type { Disk } from "./disk.ts";
import { readFully } from "./scan.ts";
import { Segment } from "./segment.ts";

/** The file beside a sealed segment that saves reading it: `00000007.idx`. */
export function indexName(number: number): string {
  return `${String(number).padStart(8, "0")}.idx`;
}

/** Names that `writeIndex` uses while it works; left-overs are removed when a store is opened. */
export const UNFINISHED = /\.tmp$/;

/**
 * Writes the index of a sealed segment: two CBOR items, `[1, number, size, salt, offsets, puts,
 * removed]` and the xxHash64 of it. It is a cache: without it the segment is scanned.
 */
export function writeIndex(disk: Disk, segment: Segment): void {
  const salt = new Uint8Array(HASH_BYTES);
  putHash(salt, 0, segment.salt);
  const content = encodeCbor([
    1,
    segment.number,
    segment.size,
    salt,
    bytesOf(segment.offsets),
    segment.puts.slice(),
    bytesOf(segment.removed),
  ]);
  const bytes = new Uint8Array(content.length + 1 + HASH_BYTES);
  bytes.set(content);
  bytes[content.length] = 0x40 | HASH_BYTES;
  putHash(bytes, content.length + 1, hash64(content));
  const name = indexName(segment.number);
  const file = disk.open(`${name}.tmp`, true);
  try {
    let at = 0;
    while (at < bytes.length) {
      const wrote = file.write(bytes.subarray(at), at);
      if (wrote === 0) throw new Error(`Cannot write "${name}"`);
      at += wrote;
    }
    file.syncNow();
  } finally {
    file.close();
  }
  disk.rename(`${name}.tmp`, name);
  disk.syncFolder();
}

/**
 * The segment as its index has it, every record still dead; `undefined` when there is no index, or it
 * is damaged, or of another state of the segment's file.
 */
export function readIndex(disk: Disk, number: number, size: number, salt: bigint): Segment | undefined {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    const file = disk.open(indexName(number), false);
    try {
      bytes = new Uint8Array(file.size());
      if (readFully(file, bytes, 0) < bytes.length) return undefined;
    } finally {
      file.close();
    }
    const content = bytes.subarray(0, -1 - HASH_BYTES);
    if (hash64(content) !== getHash(bytes, content.length + 1)) return undefined;
    const [version, isNumber, isSize, isSalt, offsets, puts, removed] = decodeCbor(content) as [
      number,
      number,
      number,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    if (version !== 1 || isNumber !== number || isSize !== size || getHash(isSalt, 0) !== salt) {
      return undefined;
    }
    const segment = new Segment(number, salt, size);
    const starts = new DataView(offsets.buffer, offsets.byteOffset, offsets.length);
    for (let index = 0; 4 * index < offsets.length; index++) {
      segment.add(starts.getUint32(4 * index, true), (puts[index >> 3]! & (1 << (index & 7))) !== 0);
    }
    const targets = new DataView(removed.buffer, removed.byteOffset, removed.length);
    for (let at = 0; at < removed.length; at += 8) segment.addRemoved(targets.getFloat64(at, true));
    return segment;
  } catch {
    return undefined; // whatever is wrong with a cache, the segment itself decides
  }
}

/** Little-endian, as every machine is that runs one of the three runtimes. */
function bytesOf(numbers: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
