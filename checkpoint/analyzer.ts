/** What an analyzer may look at of a connection: its TCB, of which this is stable. */
export interface Watched {
  /** Our port. */
  readonly localPort: number;
  /** The peer's port. */
  readonly remotePort: number;
  /** When data last moved, in either direction: epoch milliseconds. */
  readonly lastActivityMs: number;
  /** Bytes that have arrived in order. */
  readonly bytesIn: number;
  /** Bytes that the peer has acknowledged. */
  readonly bytesOut: number;
  /** What the application keeps with it. */
  readonly attachment: unknown;
}

/** Decides from a connection's behaviour whether it should sleep. */
export interface Analyzer {
  /**
   * How long, in milliseconds, `tcb` should stay awake from now on: 0 to sleep as soon as it can,
   * more to be asked again after that time, `Infinity` never to be asked again while it is awake.
   */
  stayAwakeMs(tcb: Watched, nowMs: number): number;
}

/**
 * Sleeps connections on which no data has moved for a while. Keep-alives and bare ACKs are not data.
 *
 * @example
 * ```ts
 * import { IdleAnalyzer } from "@torpor/torpor/checkpoint/analyzer.ts";
 * const analyzer = new IdleAnalyzer({ idleMs: 30_000 });
 * ```
 */
export class IdleAnalyzer implements Analyzer {
  /** Milliseconds without data. */
  readonly idleMs: number;

  /** `idleMs` is 60,000 by default. */
  constructor(options: { idleMs?: number } = {}) {
    this.idleMs = options.idleMs ?? 60_000;
    if (!(this.idleMs >= 0)) throw new RangeError(`An idle time of ${this.idleMs} ms makes no sense`);
  }

  /** As {@linkcode Analyzer}: what is left of `idleMs`. */
  stayAwakeMs(tcb: Watched, nowMs: number): number {
    return Math.max(0, tcb.lastActivityMs + this.idleMs - nowMs);
  }
}
