import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";

/** Counters, so that flows rarely share one: Linux's least table. */
const COUNTERS = 2_048;
/** A pause is counted in these: Linux's tick at 250 Hz. Shorter ones move nothing, as there. */
const TICK_MS = 4;
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
  /** When each was last used, in ticks; -1 never. */
  readonly #used = new Float64Array(COUNTERS).fill(-1);
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
    const tick = Math.floor(nowMs / TICK_MS);
    const pause = tick - this.#used[at]!;
    if (pause > 0) {
      const random = this.#random.words3(at, this.#draws = (this.#draws + 1) | 0, 0);
      this.#counters[at]! += this.#used[at]! < 0 ? random : (random >>> 0) % Math.min(pause, STEP_MAX);
      this.#used[at] = tick;
    }
    return ++this.#counters[at]!;
  }
}
