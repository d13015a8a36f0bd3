import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";

/** Random numbers that outsiders do not guess and that a stack's entropy determines: delays, choices. */
export class Draws {
  readonly #hash: SipHash;
  #count = 0;

  constructor(entropy: Entropy) {
    const key = new Uint8Array(16);
    entropy.fill(key);
    this.#hash = new SipHash(new Int32Array(key.buffer));
  }

  /** 32 random bits, unsigned. */
  uint32(): number {
    this.#count = (this.#count + 1) | 0;
    return this.#hash.words3(this.#count, 0, 0) >>> 0;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return this.uint32() % limit;
  }
}
