import type { AddressHolder } from "../ip/address_table.ts";
import type { TcpConfig } from "../tcp/config.ts";
import type { Tcb } from "../tcp/tcb.ts";
import { keepAliveProbesMax } from "../tcp/timers.ts";
import { RecordRows } from "./record_rows.ts";

/** What is known of a sleeper whose peer is asked for signs of life: columns of a row. */
const Asked = {
  idleMs: 0,
  intervalMs: 1,
  /** Probes without an answer after which the connection is given up. */
  probesMax: 2,
  /** Probes since the last sign of life. */
  probes: 3,
  /** When the next probe is due, or the end. */
  atMs: 4,
  /** Who is asked: an IPv6 address, which is kept, is nowhere else. */
  remote: 5,
} as const;
const COLUMNS = 6;
const CHUNK_BITS = 12;
const CHUNK_ROWS = 1 << CHUNK_BITS;

/**
 * Sleepers with keep-alive: how often their peers were asked, and when they will be asked next. Each sign of life puts
 * that off, as it does for who is awake, and neither it nor a probe wakes anybody. 57 bytes for each, and its
 * address if that is an IPv6 address; other sleepers cost nothing here. A crash forgets it: the next process asks a little early, and counts from nothing.
 */
export class SleepingKeepAlives {
  readonly #rows = new RecordRows();
  readonly #chunks: Float64Array[] = [];
  readonly #holder: AddressHolder;

  constructor(holder: AddressHolder) {
    this.#holder = holder;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** `tcb` goes to sleep in `record`. */
  add(record: number, tcb: Tcb, config: Readonly<TcpConfig>): void {
    this.#remove(record);
    if (!tcb.keepAlive) return;
    const row = this.#rows.add(record);
    this.#chunks[row >>> CHUNK_BITS] ??= new Float64Array(CHUNK_ROWS * COLUMNS);
    this.#set(row, Asked.idleMs, tcb.keepAliveIdleMs);
    this.#set(row, Asked.intervalMs, tcb.keepAliveIntervalMs);
    this.#set(row, Asked.probesMax, keepAliveProbesMax(tcb, config));
    this.#set(row, Asked.probes, tcb.keepAlives);
    this.#set(row, Asked.atMs, tcb.keepAliveAtMs);
    this.#set(row, Asked.remote, tcb.remoteAddress);
    this.#holder.retain(tcb.remoteAddress);
  }

  /** Who is asked for signs of life; `undefined` when nobody is. */
  remoteOf(record: number): number | undefined {
    const row = this.#rows.rowOf(record);
    return row < 0 ? undefined : this.#get(row, Asked.remote);
  }

  /** The peer has shown life. @returns When the next probe is due. */
  heard(record: number, nowMs: number): number {
    const row = this.#rows.rowOf(record);
    if (row < 0) return Infinity;
    this.#set(row, Asked.probes, 0);
    return this.#set(row, Asked.atMs, nowMs + this.#get(row, Asked.idleMs));
  }

  /**
   * A deadline of the sleeper has come: counts the probe that is sent now.
   * @returns When the next one is due; `Infinity` when it is not for a probe: the TCB must see to it.
   */
  probe(record: number, nowMs: number): number {
    const row = this.#rows.rowOf(record);
    if (row < 0 || this.#get(row, Asked.atMs) > nowMs) return Infinity;
    const probes = this.#get(row, Asked.probes);
    if (probes >= this.#get(row, Asked.probesMax)) return Infinity;
    this.#set(row, Asked.probes, probes + 1);
    return this.#set(row, Asked.atMs, nowMs + this.#get(row, Asked.intervalMs));
  }

  /** Tells the thawed TCB how it stands, and forgets it. */
  take(record: number, tcb: Tcb): void {
    const row = this.#remove(record);
    if (row < 0) return;
    tcb.keepAlives = this.#get(row, Asked.probes);
    tcb.keepAliveAtMs = this.#get(row, Asked.atMs);
  }

  #remove(record: number): number {
    const row = this.#rows.remove(record);
    if (row >= 0) this.#holder.release(this.#get(row, Asked.remote));
    return row;
  }

  #get(row: number, column: number): number {
    return this.#chunks[row >>> CHUNK_BITS]![(row & (CHUNK_ROWS - 1)) * COLUMNS + column]!;
  }

  #set(row: number, column: number, value: number): number {
    return this.#chunks[row >>> CHUNK_BITS]![(row & (CHUNK_ROWS - 1)) * COLUMNS + column] = value;
  }
}
