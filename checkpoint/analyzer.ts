import type { Tcb } from "../net/tcp/tcb.ts";

/** Decides from a connection's behaviour whether it should sleep. */
export interface Analyzer {
  /**
   * How long, in milliseconds, `tcb` should stay awake from now on: 0 to sleep as soon as it can,
   * more to be asked again after that time, `Infinity` never to be asked again while it is awake.
   */
  stayAwakeMs(tcb: Tcb, nowMs: number): number;
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
  readonly idleMs: number;

  constructor(options: { idleMs?: number } = {}) {
    this.idleMs = options.idleMs ?? 60_000;
    if (!(this.idleMs >= 0)) throw new RangeError(`An idle time of ${this.idleMs} ms makes no sense`);
  }

  stayAwakeMs(tcb: Tcb, nowMs: number): number {
    return Math.max(0, tcb.lastActivityMs + this.idleMs - nowMs);
  }
}
