import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";

/** Counters, so that flows rarely share one: Linux's least table. */
const COUNTERS = 2_048;
/** How far a pause may move a counter, at most. */
const STEP_MAX = 1_024;

/**
 * Identifications for datagrams that may be fragmented. They must not repeat while an older datagram of the
 * same two hosts may be on its way (RFC 6864 section 4.3), and must not tell outsiders how much we send
 * to others (RFC 7739 section 5): a counter per hash of the flow, moved on by a random step after a pause,
 * as Linux does it.
 */
export class Identifications {
  readonly #place: SipHash;
  readonly #random: SipHash;
  readonly #counters = new Int32Array(COUNTERS);
  readonly #usedMs = new Float64Array(COUNTERS);
  #draws = 0;

  constructor(entropy: Entropy) {
    const key = (): SipHash => {
      const bytes = new Uint8Array(16);
      entropy.fill(bytes);
      return new SipHash(new Int32Array(bytes.buffer));
    };
    this.#place = key();
    this.#random = key();
  }

  /** The next one for this flow, 32 bits; IPv4 takes the lower half. */
  next(source: number, destination: number, protocol: number, nowMs: number): number {
    const at = (this.#place.words3(source, destination, protocol) >>> 0) % COUNTERS;
    const pause = nowMs - this.#usedMs[at]!;
    if (pause > 0) { // the first pause began in 1970: a random start
      const random = this.#random.words3(at, this.#draws = (this.#draws + 1) | 0, 0);
      this.#counters[at]! += this.#usedMs[at] === 0 ? random : (random >>> 0) % Math.min(pause, STEP_MAX);
      this.#usedMs[at] = nowMs;
    }
    return ++this.#counters[at]!;
  }
}
