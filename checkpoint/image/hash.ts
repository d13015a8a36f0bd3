import xxhash from "xxhash-wasm";

const { h64Raw, create64 } = await xxhash();

/** Bytes of an xxHash64 digest, big-endian as its specification writes it. */
export const HASH_BYTES = 8;

/** Hashing copies into WASM memory, which never shrinks: longer input goes through in pieces. */
const PIECE_BYTES = 256 * 1024;

const scratch = new DataView(new ArrayBuffer(HASH_BYTES));

/** xxHash64 of bytes that come in parts. Finds damage; it is no proof of origin. */
export class Hash64 {
  #state: ReturnType<typeof create64>;

  constructor(seed?: bigint) {
    this.#state = create64(seed);
  }

  update(bytes: Uint8Array): this {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      this.#state.update(bytes.subarray(at, at + PIECE_BYTES));
    }
    return this;
  }

  digest(): bigint {
    return this.#state.digest();
  }
}

/** xxHash64 of `bytes`. */
export function hash64(bytes: Uint8Array, seed?: bigint): bigint {
  return bytes.length <= PIECE_BYTES ? h64Raw(bytes, seed) : new Hash64(seed).update(bytes).digest();
}

/** Writes a digest at `at`. */
export function putHash(into: Uint8Array, at: number, hash: bigint): void {
  scratch.setBigUint64(0, hash);
  for (let byte = 0; byte < HASH_BYTES; byte++) into[at + byte] = scratch.getUint8(byte);
}

/** Reads a digest at `at`. */
export function getHash(bytes: Uint8Array, at: number): bigint {
  for (let byte = 0; byte < HASH_BYTES; byte++) scratch.setUint8(byte, bytes[at + byte]!);
  return scratch.getBigUint64(0);
}

/** A digest as messages print it: 16 hexadecimal digits. */
export function hashText(hash: bigint): string {
  return hash.toString(16).padStart(16, "0");
}
