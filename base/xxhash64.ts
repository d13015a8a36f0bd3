// The primes of xxHash64 as halves; the low half once more in 16-bit parts, for `timesHigh`.
const P1H = 0x9e3779b1, P1L = 0x85ebca87, P1L1 = 0x85eb, P1L0 = 0xca87;
const P2H = 0xc2b2ae3d, P2L = 0x27d4eb4f, P2L1 = 0x27d4, P2L0 = 0xeb4f;
const P3H = 0x165667b1, P3L = 0x9e3779f9, P3L1 = 0x9e37, P3L0 = 0x79f9;
const P4H = 0x85ebca77, P4L = 0xc2b2ae63;
const P5H = 0x27d4eb2f, P5L = 0x165667c5;

// 64-bit registers of the general function: the hash, four lanes, a temporary. Low half first.
const HASH = 0, LANES = 1, TEMPORARY = 5;
const LANE_ROTATIONS = [1, 7, 12, 18] as const;

/**
 * Seeded xxHash64 of a few 32-bit words, without BigInt and without allocating: a 64-bit number is two
 * int32 halves. Words are hashed as little-endian bytes, so the result is that of any other xxHash64 over
 * the same `Uint32Array`.
 *
 * It finds, it does not identify: whoever knows the seed can make collisions.
 *
 * @example
 * ```ts
 * import { TupleHash } from "@torpor/torpor/base/xxhash64.ts";
 * import assert from "node:assert/strict";
 * const hash = new TupleHash(0, 0);
 * assert.equal(hash.words3(1, 2, 3), hash.words(Uint32Array.of(1, 2, 3), 3));
 * ```
 */
export class TupleHash {
  readonly #seedHi: number;
  readonly #seedLo: number;
  readonly #start3Hi: number;
  readonly #start3Lo: number;
  readonly #registers: Int32Array = new Int32Array(12); // a number field might be boxed

  /** Halves of the 64-bit seed, signed or unsigned. */
  constructor(seedHi: number, seedLo: number) {
    this.#seedHi = seedHi | 0;
    this.#seedLo = seedLo | 0;
    const low = (this.#seedLo >>> 0) + P5L + 12;
    this.#start3Lo = low | 0;
    this.#start3Hi = (this.#seedHi + P5H + carryOf(low)) | 0;
  }

  /** The low 32 bits of the last hash, as int32. */
  get lo(): number {
    return this.#registers[2 * HASH]!;
  }

  /** The high 32 bits of the last hash, as int32. */
  get hi(): number {
    return this.#registers[2 * HASH + 1]!;
  }

  /**
   * Hashes three words, the key of an IPv4 connection. This is `words` with everything in local variables:
   * it runs for each packet.
   *
   * @returns The low 32 bits, as int32.
   */
  words3(a: number, b: number, c: number): number {
    // k = rotate(ba * P2, 31) * P1
    let l = Math.imul(a, P2L);
    let h = (timesHigh(a, P2L1, P2L0) + Math.imul(a, P2H) + Math.imul(b, P2L)) | 0;
    let t = (h << 31) | (l >>> 1);
    l = (l << 31) | (h >>> 1);
    h = (timesHigh(l, P1L1, P1L0) + Math.imul(l, P1H) + Math.imul(t, P1L)) | 0;
    l = Math.imul(l, P1L);
    // hash = rotate(start ^ k, 27) * P1 + P4
    l ^= this.#start3Lo;
    h ^= this.#start3Hi;
    t = (h << 27) | (l >>> 5);
    l = (l << 27) | (h >>> 5);
    h = (timesHigh(l, P1L1, P1L0) + Math.imul(l, P1H) + Math.imul(t, P1L) + P4H) | 0;
    let sum = (Math.imul(l, P1L) >>> 0) + P4L;
    h = (h + carryOf(sum)) | 0;
    l = sum | 0;
    // hash = rotate(hash ^ c * P1, 23) * P2 + P3
    h ^= (timesHigh(c, P1L1, P1L0) + Math.imul(c, P1H)) | 0;
    l ^= Math.imul(c, P1L);
    t = (h << 23) | (l >>> 9);
    l = (l << 23) | (h >>> 9);
    h = (timesHigh(l, P2L1, P2L0) + Math.imul(l, P2H) + Math.imul(t, P2L) + P3H) | 0;
    sum = (Math.imul(l, P2L) >>> 0) + P3L;
    h = (h + carryOf(sum)) | 0;
    l = sum | 0;
    return avalanche(this.#registers, h, l);
  }

  /**
   * Hashes the first `count` words, by the steps of the specification on 64-bit registers.
   *
   * @returns The low 32 bits, as int32.
   */
  words(words: Uint32Array | Int32Array, count: number): number {
    const r = this.#registers;
    let at = 0;
    if (count < 8) {
      load(r, HASH, this.#seedHi, this.#seedLo);
      add(r, HASH, P5H, P5L);
    } else {
      for (let lane = LANES; lane < LANES + 4; lane++) load(r, lane, this.#seedHi, this.#seedLo);
      add(r, LANES, P1H, P1L);
      add(r, LANES, P2H, P2L);
      add(r, LANES + 1, P2H, P2L);
      add(r, LANES + 3, ~P1H, -P1L); // minus P1
      for (; at + 8 <= count; at += 8) {
        for (let lane = 0; lane < 4; lane++) {
          round(r, LANES + lane, words[at + 2 * lane + 1]!, words[at + 2 * lane]!);
        }
      }
      load(r, HASH, 0, 0);
      for (let lane = 0; lane < 4; lane++) {
        load(r, TEMPORARY, r[2 * (LANES + lane) + 1]!, r[2 * (LANES + lane)]!);
        rotate(r, TEMPORARY, LANE_ROTATIONS[lane]!);
        add(r, HASH, r[2 * TEMPORARY + 1]!, r[2 * TEMPORARY]!);
      }
      for (let lane = LANES; lane < LANES + 4; lane++) {
        mix(r, r[2 * lane + 1]!, r[2 * lane]!);
        multiply(r, HASH, P1H, P1L);
        add(r, HASH, P4H, P4L);
      }
    }
    add(r, HASH, 0, 4 * count);
    for (; at + 2 <= count; at += 2) {
      mix(r, words[at + 1]!, words[at]!);
      rotate(r, HASH, 27);
      multiply(r, HASH, P1H, P1L);
      add(r, HASH, P4H, P4L);
    }
    if (at < count) {
      load(r, TEMPORARY, 0, words[at]!);
      multiply(r, TEMPORARY, P1H, P1L);
      r[2 * HASH]! ^= r[2 * TEMPORARY]!;
      r[2 * HASH + 1]! ^= r[2 * TEMPORARY + 1]!;
      rotate(r, HASH, 23);
      multiply(r, HASH, P2H, P2L);
      add(r, HASH, P3H, P3L);
    }
    return avalanche(r, r[2 * HASH + 1]!, r[2 * HASH]!);
  }
}

/** `hash ^= round(0, lane)` */
function mix(r: Int32Array, high: number, low: number): void {
  load(r, TEMPORARY, 0, 0);
  round(r, TEMPORARY, high, low);
  r[2 * HASH]! ^= r[2 * TEMPORARY]!;
  r[2 * HASH + 1]! ^= r[2 * TEMPORARY + 1]!;
}

/** `register = rotate(register + lane * P2, 31) * P1` */
function round(r: Int32Array, at: number, high: number, low: number): void {
  const productHigh = timesHigh(low, P2L1, P2L0) + Math.imul(low, P2H) + Math.imul(high, P2L);
  add(r, at, productHigh, Math.imul(low, P2L));
  rotate(r, at, 31);
  multiply(r, at, P1H, P1L);
}

function load(r: Int32Array, at: number, high: number, low: number): void {
  r[2 * at] = low;
  r[2 * at + 1] = high;
}

function add(r: Int32Array, at: number, high: number, low: number): void {
  const sum = (r[2 * at]! >>> 0) + (low >>> 0);
  r[2 * at] = sum;
  r[2 * at + 1]! += high + carryOf(sum);
}

function multiply(r: Int32Array, at: number, high: number, low: number): void {
  const a = r[2 * at]!;
  r[2 * at] = Math.imul(a, low);
  r[2 * at + 1] = timesHigh(a, low >>> 16, low & 0xffff) + Math.imul(a, high) +
    Math.imul(r[2 * at + 1]!, low);
}

/** Rotates left by 1 to 31 bits. */
function rotate(r: Int32Array, at: number, bits: number): void {
  const low = r[2 * at]!, high = r[2 * at + 1]!;
  r[2 * at] = (low << bits) | (high >>> (32 - bits));
  r[2 * at + 1] = (high << bits) | (low >>> (32 - bits));
}

/** The carry of a sum of 32-bit numbers, below 2^33. */
function carryOf(sum: number): number {
  return sum > 0xffff_ffff ? 1 : 0;
}

/** The high 32 bits of the 64-bit product of `a` and the constant `b1 * 65536 + b0`. */
function timesHigh(a: number, b1: number, b0: number): number {
  const a0 = a & 0xffff, a1 = a >>> 16;
  const middle = Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16) | 0;
  const other = Math.imul(a0, b1) + (middle & 0xffff) | 0;
  return (Math.imul(a1, b1) + (middle >>> 16) + (other >>> 16)) | 0;
}

/** The last steps; leaves the hash in its register. */
function avalanche(r: Int32Array, high: number, low: number): number {
  low ^= high >>> 1; // hash ^= hash >>> 33
  let h = (timesHigh(low, P2L1, P2L0) + Math.imul(low, P2H) + Math.imul(high, P2L)) | 0;
  let l = Math.imul(low, P2L);
  l ^= (h << 3) | (l >>> 29); // hash ^= hash >>> 29
  h ^= h >>> 29;
  h = (timesHigh(l, P3L1, P3L0) + Math.imul(l, P3H) + Math.imul(h, P3L)) | 0;
  l = Math.imul(l, P3L) ^ h; // hash ^= hash >>> 32
  load(r, HASH, h, l);
  return l;
}
