import { assert } from "../../base/assert.ts";

/** What a limiter is at one moment: plain data. */
export interface LimiterState {
  /** Permissions left, with fractions. */
  tokens: number;
  updatedMs: number;
}

/**
 * A token bucket: at most `burst` at once and `perSecond` in the long run. For answers that an
 * attacker could ask for without end: ICMP errors (RFC 1812 section 4.3.2.8), challenge ACKs
 * (RFC 5961 section 7).
 *
 * @example
 * ```ts
 * import { Limiter } from "@torpor/torpor/net/ip/limiter.ts";
 * const limiter = new Limiter(1, 2); // one per second, two at once
 * console.log([0, 0, 0, 1000].map((nowMs) => limiter.allow(nowMs))); // [ true, true, false, true ]
 * ```
 */
export class Limiter {
  readonly perSecond: number;
  readonly burst: number;
  readonly state: LimiterState;

  /** Starts full. */
  constructor(perSecond: number, burst: number) {
    assert(perSecond > 0 && burst >= 1, "A limiter that never allows anything");
    this.perSecond = perSecond;
    this.burst = burst;
    this.state = { tokens: burst, updatedMs: 0 };
  }

  /** Takes a permission if there is one. */
  allow(nowMs: number): boolean {
    const { state } = this;
    const gained = (nowMs - state.updatedMs) * this.perSecond / 1000;
    if (gained > 0) { // a clock that stands still, or a state from another machine's future, gains nothing
      state.tokens = Math.min(this.burst, state.tokens + gained);
      state.updatedMs = nowMs;
    }
    if (state.tokens < 1) return false;
    state.tokens--;
    return true;
  }
}
