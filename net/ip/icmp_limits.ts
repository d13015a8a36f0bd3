import { Limiter } from "./limiter.ts";

/** Errors per second to everybody together, and how many may come at once (Linux: 1,000 and 50). */
export const ICMP_ERRORS_PER_SECOND = 1_000;
export const ICMP_ERRORS_BURST = 50;
/** The same to one destination: Linux's icmp_ratelimit of a second, of which six can be saved up. */
export const ICMP_ERRORS_PER_SECOND_EACH = 1;
export const ICMP_ERRORS_BURST_EACH = 6;
/** Destinations that are remembered. Who is forgotten has its burst anew, within the limit of all. */
export const ICMP_DESTINATIONS_MAX = 4_096;

/** How many ICMP errors may be sent: to everybody and to each (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f). */
export class IcmpLimits {
  readonly #all = new Limiter(ICMP_ERRORS_PER_SECOND, ICMP_ERRORS_BURST);
  readonly #each = new Map<number, Limiter>(); // the latest made last

  /**
   * Takes a permission for an error to a destination if there is one.
   * @param key What tells the destination from others.
   * @param eachLimited False for what path MTU discovery needs: only the limit of all holds then.
   */
  allow(key: number, eachLimited: boolean, nowMs: number): boolean {
    if (eachLimited && !this.#of(key, nowMs).allow(nowMs)) return false;
    return this.#all.allow(nowMs);
  }

  #of(key: number, nowMs: number): Limiter {
    let limiter = this.#each.get(key);
    if (limiter === undefined) {
      if (this.#each.size >= ICMP_DESTINATIONS_MAX) {
        for (const oldest of this.#each.keys()) {
          this.#each.delete(oldest);
          break;
        }
      }
      limiter = new Limiter(ICMP_ERRORS_PER_SECOND_EACH, ICMP_ERRORS_BURST_EACH);
      limiter.state.updatedMs = nowMs;
      this.#each.set(key, limiter);
    }
    return limiter;
  }
}
