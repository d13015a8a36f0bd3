import type { TcpSecrets } from "./secrets.ts";

/** Limits the challenge ACKs of all connections together (RFC 5961 section 7). */
export class ChallengeLimit {
  readonly #secrets: TcpSecrets;
  #second = -1;
  #left = 0;

  constructor(secrets: TcpSecrets) {
    this.#secrets = secrets;
  }

  /**
   * Whether one more may leave. How many there are in a second is drawn anew, between half the limit and one and a
   * half: whoever counts them learns nothing of what other connections used (CVE-2016-5696).
   */
  take(perSecondMax: number, nowMs: number): boolean {
    if (perSecondMax === Infinity) return true;
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      const half = (perSecondMax + 1) >>> 1;
      this.#left = half + (perSecondMax > 0 ? this.#secrets.below(perSecondMax, second) : 0);
    }
    if (this.#left <= 0) return false;
    this.#left--;
    return true;
  }
}
