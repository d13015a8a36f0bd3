import { assert } from "./assert.ts";

/**
 * SipHash-2-4 (Aumasson and Bernstein 2012) of 32-bit words under a 128-bit secret key, without BigInt and
 * without allocating. The words are hashed as little-endian bytes.
 *
 * Who does not know the key cannot tell its results from random ones, nor find two inputs that collide: it
 * gives initial sequence numbers (RFC 6528) and chooses ports (RFC 6056).
 *
 * @example
 * ```ts
 * import { SipHash } from "@torpor/torpor/base/siphash.ts";
 * import assert from "node:assert/strict";
 * const hash = new SipHash(Uint32Array.of(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c));
 * assert.equal(hash.words(Uint32Array.of(0x03020100), 1) >>> 0, 0x277187b7);
 * assert.equal(hash.hi >>> 0, 0xcf2794e0);
 * ```
 */
export class SipHash {
  readonly #key: Int32Array;
  readonly #v: Int32Array = new Int32Array(8); // v0 to v3, low half first
  readonly #three: Int32Array = new Int32Array(3);

  /** `key` is four secret words; a key of 16 bytes is read as little-endian words. */
  constructor(key: Uint32Array | Int32Array) {
    assert(key.length === 4, "A SipHash key is four words");
    this.#key = Int32Array.from(key);
  }

  /** The low 32 bits of the last hash, as int32. */
  get lo(): number {
    return this.#v[0]!;
  }

  /** The high 32 bits of the last hash, as int32. */
  get hi(): number {
    return this.#v[1]!;
  }

  /**
   * Hashes three words, such as a connection's addresses and ports.
   *
   * @returns The low 32 bits, as int32.
   */
  words3(a: number, b: number, c: number): number {
    this.#three[0] = a;
    this.#three[1] = b;
    this.#three[2] = c;
    return this.words(this.#three, 3);
  }

  /**
   * Hashes the first `count` words.
   *
   * @returns The low 32 bits, as int32.
   */
  words(words: Uint32Array | Int32Array, count: number): number {
    const v = this.#v, key = this.#key;
    v[0] = key[0]! ^ 0x70736575; // "somepseudorandomlygeneratedbytes"
    v[1] = key[1]! ^ 0x736f6d65;
    v[2] = key[2]! ^ 0x6e646f6d;
    v[3] = key[3]! ^ 0x646f7261;
    v[4] = key[0]! ^ 0x6e657261;
    v[5] = key[1]! ^ 0x6c796765;
    v[6] = key[2]! ^ 0x79746573;
    v[7] = key[3]! ^ 0x74656462;
    let at = 0;
    for (; at + 2 <= count; at += 2) compress(v, words[at]!, words[at + 1]!);
    compress(v, at < count ? words[at]! : 0, (4 * count) << 24); // the length's low byte comes last
    v[4]! ^= 0xff;
    rounds(v, 4);
    v[0]! ^= v[2]! ^ v[4]! ^ v[6]!;
    v[1]! ^= v[3]! ^ v[5]! ^ v[7]!;
    return v[0]!;
  }
}

function compress(v: Int32Array, low: number, high: number): void {
  v[6]! ^= low;
  v[7]! ^= high;
  rounds(v, 2);
  v[0]! ^= low;
  v[1]! ^= high;
}

function rounds(v: Int32Array, count: number): void {
  let l0 = v[0]!, h0 = v[1]!, l1 = v[2]!, h1 = v[3]!, l2 = v[4]!, h2 = v[5]!, l3 = v[6]!, h3 = v[7]!;
  for (let round = 0; round < count; round++) {
    // v0 += v1; v1 = rotate(v1, 13) ^ v0; v0 = rotate(v0, 32)
    let sum = (l0 >>> 0) + (l1 >>> 0);
    let high = (h0 + h1 + carryOf(sum)) | 0, low = sum | 0;
    let t = (h1 << 13) | (l1 >>> 19);
    l1 = ((l1 << 13) | (h1 >>> 19)) ^ low;
    h1 = t ^ high;
    l0 = high;
    h0 = low;
    // v2 += v3; v3 = rotate(v3, 16) ^ v2
    sum = (l2 >>> 0) + (l3 >>> 0);
    h2 = (h2 + h3 + carryOf(sum)) | 0;
    l2 = sum | 0;
    t = (h3 << 16) | (l3 >>> 16);
    l3 = ((l3 << 16) | (h3 >>> 16)) ^ l2;
    h3 = t ^ h2;
    // v0 += v3; v3 = rotate(v3, 21) ^ v0
    sum = (l0 >>> 0) + (l3 >>> 0);
    h0 = (h0 + h3 + carryOf(sum)) | 0;
    l0 = sum | 0;
    t = (h3 << 21) | (l3 >>> 11);
    l3 = ((l3 << 21) | (h3 >>> 11)) ^ l0;
    h3 = t ^ h0;
    // v2 += v1; v1 = rotate(v1, 17) ^ v2; v2 = rotate(v2, 32)
    sum = (l2 >>> 0) + (l1 >>> 0);
    high = (h2 + h1 + carryOf(sum)) | 0;
    low = sum | 0;
    t = (h1 << 17) | (l1 >>> 15);
    l1 = ((l1 << 17) | (h1 >>> 15)) ^ low;
    h1 = t ^ high;
    l2 = high;
    h2 = low;
  }
  v[0] = l0;
  v[1] = h0;
  v[2] = l1;
  v[3] = h1;
  v[4] = l2;
  v[5] = h2;
  v[6] = l3;
  v[7] = h3;
}

/** The carry of a sum of two 32-bit numbers. */
function carryOf(sum: number): number {
  return sum > 0xffff_ffff ? 1 : 0;
}
