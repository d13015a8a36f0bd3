import type { TcpConfig } from "../tcp/config.ts";
import type { Tcb } from "../tcp/tcb.ts";
import { keepAliveProbesMax } from "../tcp/timers.ts";

/** A sleeper whose peer is asked for signs of life. */
interface Asked {
  readonly idleMs: number;
  readonly intervalMs: number;
  /** Probes without an answer after which the connection is given up. */
  readonly probesMax: number;
  /** Probes since the last sign of life. */
  probes: number;
  /** When the next probe is due, or the end. */
  atMs: number;
}

/**
 * Sleepers with keep-alive: how often their peers were asked, and when they will be asked next. Each sign of life puts
 * that off, as it does for who is awake, and neither it nor a probe wakes anybody. Other sleepers cost nothing here. A
 * crash forgets it: the next process asks a little early, and counts from nothing.
 */
export class SleepingKeepAlives {
  readonly #sleepers = new Map<number, Asked>(); // by record

  get size(): number {
    return this.#sleepers.size;
  }

  /** `tcb` goes to sleep in `record`. */
  add(record: number, tcb: Tcb, config: Readonly<TcpConfig>): void {
    if (!tcb.keepAlive) return void this.#sleepers.delete(record);
    this.#sleepers.set(record, {
      idleMs: tcb.keepAliveIdleMs,
      intervalMs: tcb.keepAliveIntervalMs,
      probesMax: keepAliveProbesMax(tcb, config),
      probes: tcb.keepAlives,
      atMs: tcb.keepAliveAtMs,
    });
  }

  /** The peer has shown life. @returns When the next probe is due. */
  heard(record: number, nowMs: number): number {
    const sleeper = this.#sleepers.get(record);
    if (sleeper === undefined) return Infinity;
    sleeper.probes = 0;
    return sleeper.atMs = nowMs + sleeper.idleMs;
  }

  /**
   * A deadline of the sleeper has come: counts the probe that is sent now.
   * @returns When the next one is due; `Infinity` when it is not for a probe: the TCB must see to it.
   */
  probe(record: number, nowMs: number): number {
    const sleeper = this.#sleepers.get(record);
    if (sleeper === undefined || sleeper.atMs > nowMs || sleeper.probes >= sleeper.probesMax) return Infinity;
    sleeper.probes++;
    return sleeper.atMs = nowMs + sleeper.intervalMs;
  }

  /** Tells the thawed TCB how it stands, and forgets it. */
  take(record: number, tcb: Tcb): void {
    const sleeper = this.#sleepers.get(record);
    if (sleeper === undefined) return;
    this.#sleepers.delete(record);
    tcb.keepAlives = sleeper.probes;
    tcb.keepAliveAtMs = sleeper.atMs;
  }
}
