import type { Tcb } from "../tcp/tcb.ts";
import type { Tcp } from "../tcp/tcp.ts";

/** Sleepers that may be challenged within `challengeAckMs`; above it nobody is. A few megabytes under attack. */
const RECENT_MAX = 65_536;

/**
 * Sleepers that sent a challenge ACK lately, asleep or before, and when: each may send one in `challengeAckMs`, as if
 * it were awake (RFC 5961 section 7). What lies back longer means nothing and is forgotten, so that this costs the
 * many that sleep in peace no byte.
 */
export class SleepingChallenges {
  readonly #atMs = new Map<number, number>(); // by record, in the order of their adding
  #nowMs = -Infinity; // the latest time that anybody told

  get size(): number {
    return this.#atMs.size;
  }

  /** `tcb` goes to sleep in `record`, which may have been another connection's. */
  add(record: number, tcb: Tcb, withinMs: number): void {
    if (this.#atMs.size > 0) this.#atMs.delete(record);
    if (tcb.challengeAtMs === -Infinity) return;
    this.#nowMs = Math.max(this.#nowMs, tcb.challengeAtMs);
    this.#forget(withinMs);
    const recent = this.#nowMs - tcb.challengeAtMs < withinMs;
    if (recent && this.#atMs.size < RECENT_MAX) this.#atMs.set(record, tcb.challengeAtMs);
  }

  /** Whether a challenge ACK of the sleeper may leave now; counts it, or what was refused. */
  take(tcp: Tcp, record: number, nowMs: number): boolean {
    const { challengeAckMs, challengeAcksPerSecondMax } = tcp.config;
    this.#nowMs = nowMs;
    this.#forget(challengeAckMs);
    const lastMs = this.#atMs.get(record) ?? -Infinity;
    const recent = nowMs - lastMs < challengeAckMs || this.#atMs.size >= RECENT_MAX;
    if (!recent) {
      this.#atMs.delete(record); // or it would keep its old place in the order
      this.#atMs.set(record, nowMs);
    }
    const may = !recent && tcp.challenges.take(challengeAcksPerSecondMax, nowMs);
    if (may) tcp.counters.challengeAck++;
    else tcp.counters.ackSkippedChallenge++;
    return may;
  }

  /** Tells the thawed TCB when its last one left, and forgets it. */
  wake(record: number, tcb: Tcb): void {
    const atMs = this.#atMs.size > 0 ? this.#atMs.get(record) : undefined;
    if (atMs === undefined) return;
    this.#atMs.delete(record);
    tcb.challengeAtMs = atMs;
  }

  #forget(withinMs: number): void {
    for (const [record, atMs] of this.#atMs) {
      const agoMs = this.#nowMs - atMs;
      const ahead = agoMs < 0 && this.#atMs.size >= RECENT_MAX; // the clock was set back: they would hold up the rest
      if (agoMs < withinMs && !ahead) return;
      this.#atMs.delete(record);
    }
  }
}
