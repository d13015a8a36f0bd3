/** A source of unpredictable or, in tests, reproducible bytes. */
export interface Entropy {
  /** Overwrites all of `bytes`. */
  fill(bytes: Uint8Array<ArrayBuffer>): void;
}

/** getRandomValues refuses more at once (Web Cryptography API: QuotaExceededError). */
const ENTROPY_BYTES_MAX = 65_536;

/** The operating system's entropy. */
export const systemEntropy: Entropy = {
  fill: (bytes) => {
    for (let at = 0; at < bytes.length; at += ENTROPY_BYTES_MAX) {
      crypto.getRandomValues(bytes.subarray(at, at + ENTROPY_BYTES_MAX));
    }
  },
};

/**
 * A small fast seeded generator (sfc32 by Chris Doty-Humphrey) for tests, simulation and impaired
 * links. Never for secrets.
 *
 * @example
 * ```ts
 * import { Prng } from "@torpor/torpor/base/random.ts";
 * const a = new Prng(7), b = new Prng(7);
 * console.log(a.uint32() === b.uint32()); // true
 * ```
 */
export class Prng implements Entropy {
  /** What it was made of, for whoever wants the same again. */
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** Generators of one seed give the same. */
  constructor(seed: number) {
    this.seed = seed;
    this.#a = seed | 0;
    this.#b = (seed / 0x1_0000_0000) | 0;
    this.#c = 0x9e3779b9 | 0;
    for (let round = 0; round < 12; round++) this.uint32();
  }

  /** A whole number in [0, 2^32). */
  uint32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t >>> 0;
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** A whole number in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True so often: 0 never, 1 always. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Overwrites all of `bytes`. */
  fill(bytes: Uint8Array<ArrayBuffer>): void {
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.uint32();
  }
}
