import { BitSet } from "../base/bit_set.ts";
import type { WakeBudget } from "../net/wake/policy.ts";

/** A bucket holds as much as comes in so long: wakes are spread, and a pause buys no storm. */
const BURST_MS = 100;

/** Wakes per second, as a bucket of tokens. */
class Rate {
  #perMs = Infinity;
  #most = Infinity;
  #tokens = Infinity;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  get limited(): boolean {
    return this.#perMs < Infinity;
  }

  set(perSecond: number = Infinity): void {
    const perMs = perSecond / 1_000;
    if (perMs === this.#perMs) return;
    this.#perMs = perMs;
    this.#most = Math.max(1, perMs * BURST_MS);
    this.#tokens = this.#most;
  }

  has(nowMs: number): boolean {
    if (this.#perMs === Infinity) return true;
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#most, this.#tokens + passedMs * this.#perMs);
    return this.#tokens >= 1;
  }

  take(): void {
    this.#tokens--;
  }

  /** When there is a token again: later than now, in whole milliseconds, however little is missing. */
  get nextMs(): number {
    if (this.#tokens >= 1) return -Infinity;
    return Math.floor(this.#atMs) + Math.max(1, Math.ceil((1 - this.#tokens) / this.#perMs));
  }
}

/** The wakes of one listener, in order of arrival. */
class Line {
  readonly rate: Rate;
  awakeMax = Infinity;
  readonly records: number[] = [];
  head = 0;
  /** Those up to here have seen a turn that did not serve them. */
  passed = 0;

  constructor(nowMs: number) {
    this.rate = new Rate(nowMs);
  }

  get length(): number {
    return this.records.length - this.head;
  }

  shift(): number {
    const record = this.records[this.head++]!;
    if (this.head >= 1_024 && this.head * 2 >= this.records.length) {
      this.records.splice(0, this.head);
      this.passed = Math.max(0, this.passed - this.head);
      this.head = 0;
    }
    return record;
  }
}

/** How many connections are awake: of a listener (-1: of nobody), and all together. */
export interface AwakeCounts {
  of(listener: number): number;
  readonly all: number;
}

/**
 * Connections that want to wake, a line for each listener: served in order of arrival, one of each line in turn, as
 * far as the budgets reach.
 */
export class WakeQueue {
  readonly #lines = new Map<number, Line>(); // by listener; those that nobody waits in, for their rates
  #order: number[] = []; // of the lines that somebody waits in: whose turn is next
  readonly #all: Rate;
  readonly #awakeMax: number;
  readonly #late = new BitSet(); // records that a turn has not served
  #size = 0;
  #nextMs = Infinity;
  #waited = 0;
  /** Listeners whose next wake waits for somebody to go to sleep; -2: all do. */
  readonly full: Set<number> = new Set();

  /** @param budget Of all wakes together. */
  constructor(budget: WakeBudget, nowMs: number) {
    this.#all = new Rate(nowMs);
    this.#all.set(budget.perSecond);
    this.#awakeMax = budget.awakeMax ?? Infinity;
  }

  /** Connections that wait. */
  get size(): number {
    return this.#size;
  }

  /** How many had to wait for longer than a turn, since the start. */
  get waited(): number {
    return this.#waited;
  }

  /** When somebody may be served; `-Infinity` for now, `Infinity` when nobody waits, or for somebody to go to sleep. */
  get nextMs(): number {
    return this.#size === 0 ? Infinity : this.#nextMs;
  }

  /** Whether a connection has waited for longer than a turn, and waits still. */
  isLate(record: number): boolean {
    return this.#late.has(record);
  }

  /** `record` wants to wake, by the budget of its listener as it is now. */
  add(record: number, listener: number, budget: WakeBudget | undefined, nowMs: number): void {
    let line = this.#lines.get(listener);
    if (line === undefined) this.#lines.set(listener, line = new Line(nowMs));
    line.rate.set(budget?.perSecond);
    line.awakeMax = budget?.awakeMax ?? Infinity;
    if (line.length === 0) this.#order.push(listener);
    line.records.push(record);
    this.#size++;
    this.#nextMs = -Infinity;
  }

  /** Takes out those that wake now, `countMax` at most, and appends them to `into`. */
  take(countMax: number, awake: AwakeCounts, into: number[], nowMs: number): void {
    this.full.clear();
    this.#nextMs = Infinity;
    let left = countMax;
    const taken = new Map<number, number>();
    let waiting = this.#order;
    this.#order = [];
    const blocked: number[] = [];
    for (let all = awake.all; waiting.length > 0;) {
      if (left <= 0) {
        this.#nextMs = -Infinity;
        break;
      }
      if (all >= this.#awakeMax) {
        this.full.add(EVERYBODY);
        break;
      }
      if (!this.#all.has(nowMs)) {
        this.#nextMs = Math.min(this.#nextMs, this.#all.nextMs);
        break;
      }
      const listener = waiting.shift()!;
      const line = this.#lines.get(listener)!;
      const own = taken.get(listener) ?? 0;
      if (awake.of(listener) + own >= line.awakeMax) {
        this.full.add(listener);
        blocked.push(listener);
        continue;
      }
      if (!line.rate.has(nowMs)) {
        this.#nextMs = Math.min(this.#nextMs, line.rate.nextMs);
        blocked.push(listener);
        continue;
      }
      const record = line.shift();
      line.rate.take();
      this.#all.take();
      taken.set(listener, own + 1);
      into.push(record);
      this.#late.delete(record);
      this.#size--;
      left--;
      all++;
      if (line.length > 0) waiting.push(listener);
      else if (!line.rate.limited) this.#lines.delete(listener); // there is nothing to remember
    }
    waiting = [...waiting, ...blocked];
    this.#order = waiting;
    // Out of time is no budget: they are served at once in the next turn.
    if (this.#nextMs > -Infinity) { for (const listener of waiting) this.#pass(this.#lines.get(listener)!); }
  }

  #pass(line: Line): void {
    for (let at = Math.max(line.passed, line.head); at < line.records.length; at++) {
      this.#late.add(line.records[at]!);
      this.#waited++;
    }
    line.passed = line.records.length;
  }
}

/** In `WakeQueue.full`: no line is served before somebody goes to sleep. */
export const EVERYBODY = -2;
