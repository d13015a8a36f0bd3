import { assert } from "./assert.ts";
import { HANDED_ON } from "./handed_on.ts";

const SLOT_BITS = 5; // 32 slots: one level's occupancy is one int32
const SLOTS = 1 << SLOT_BITS;
const LEVELS = 9;
const LOW_BITS = 30; // a tick is (high, low): levels 0-5 are digits of `low`, 6-8 of `high`
const LOW_LEVELS = LOW_BITS / SLOT_BITS;
const LOW_RANGE = 2 ** LOW_BITS;

/** Every tick of the wheel's life has 45 bits: 1,115 years of milliseconds. */
const TICKS_MAX = 2 ** (SLOT_BITS * LEVELS) - 1;
/** Ids index arrays that double; 67 million timers already take 1 GiB. */
const ID_MAX = 2 ** 26 - 1;

// Lists are circular and doubly linked, through `next` and `previous`. The first nodes are the lists' heads, then
// come the timers, so the last timer of a slot leads back to its head and names the slot. 0 means "in no list".
const DUE = 1; // already due when scheduled: they fire in the next `advance`
const FIRING = 2; // being fired by the running `advance`
const WHEEL = 3;
const HEADS = WHEEL + LEVELS * SLOTS;

/**
 * Timers whose cost does not depend on how many there are: a hierarchical timing wheel (Varghese and
 * Lauck 1987, scheme 7) in typed arrays.
 *
 * A timer is a small dense whole number chosen by the caller (a slot, a record), and has one deadline.
 * Deadlines are milliseconds on the caller's clock and are rounded up to whole ones, so that no timer
 * fires early: `schedule(id, 10.2)` fires at `advance(11)`. `schedule`, `cancel` and `nextDeadlineMs` do
 * a fixed amount of work; each timer moves at most 9 times before it fires; `advance` skips
 * empty time, so a jump of a year costs as much as a millisecond. Nothing is allocated but when an id
 * beyond all earlier ones doubles the arrays.
 *
 * @example
 * ```ts
 * import { TimerWheel } from "@torpor/torpor/base/timer_wheel.ts";
 * import assert from "node:assert/strict";
 * const wheel = new TimerWheel(1_000), fired: number[] = [];
 * wheel.schedule(7, 1_250);
 * wheel.schedule(3, 1_040.5);
 * for (let now = 1_000; wheel.size > 0; now = wheel.nextDeadlineMs()) wheel.advance(now, (id) => fired.push(id));
 * assert.deepEqual(fired, [3, 7]);
 * ```
 */
export class TimerWheel {
  readonly #originMs: number; // tick 0
  #toldTick = 0;
  #toldMs: number = HANDED_ON; // of `#toldTick`
  #nowTick = 0; // timers at or before it are due
  #high = 0; // the wheel's position: every tick before (high, low) is over
  #low = 0;
  #size = 0;
  #advancing = false;
  #levels = 0; // bit L: level L is not empty
  readonly #occupied: Int32Array = new Int32Array(LEVELS); // bit S of [L]: slot S of level L is not empty
  #next: Int32Array = new Int32Array(HEADS);
  #previous: Int32Array = new Int32Array(HEADS);
  #deadlineMs: Float64Array = new Float64Array(0); // by id

  /** An empty wheel that stands at `nowMs`. */
  constructor(nowMs: number) {
    assert(Number.isFinite(nowMs), "Time is a finite number");
    this.#originMs = this.#toldMs = Math.floor(nowMs);
    for (let head = DUE; head < HEADS; head++) this.#next[head] = this.#previous[head] = head;
    this.#grow(16);
  }

  /** Timers that wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Sets the timer `id` to fire at `deadlineMs`, instead of when it was to fire before.
   *
   * A deadline that has passed is due now: it fires in the next `advance`, after those
   * that were due earlier. Inside a callback that is the *next* call of `advance`, never the running one, so
   * that a timer which always schedules itself cannot hold the caller for ever.
   */
  schedule(id: number, deadlineMs: number): void {
    assert(id >>> 0 === id && id <= ID_MAX, "A timer's id is a small whole number");
    const tick = Math.ceil(deadlineMs) - this.#originMs;
    assert(tick <= TICKS_MAX, "A deadline lies less than 1,115 years ahead"); // false for NaN, too
    if (id >= this.#deadlineMs.length) this.#grow(id + 1);
    if (this.#next[HEADS + id] === 0) this.#size++;
    else this.#unlink(HEADS + id);
    this.#deadlineMs[id] = deadlineMs;
    if (tick <= this.#nowTick) this.#append(DUE, HEADS + id);
    else this.#file(HEADS + id, tick);
  }

  /** Forgets the timer `id`, if it waits. */
  cancel(id: number): void {
    if (!this.has(id)) return;
    this.#unlink(HEADS + id);
    this.#size--;
  }

  /** Whether the timer `id` waits. */
  has(id: number): boolean {
    return id >= 0 && id < this.#deadlineMs.length && this.#next[HEADS + id]! > 0;
  }

  /** By id, exactly as they were scheduled: of those that wait. To be read at once, for growing makes another array. */
  get deadlines(): Readonly<Float64Array> {
    return this.#deadlineMs;
  }

  /**
   * When to call `advance` next: whole milliseconds, or Infinity when nothing waits.
   *
   * Never later than the next timer (its deadline rounded up; time that has passed counts as now). It
   * is exact for timers in the same block of 32 ms as now; for those farther away it may be early, at most 8 times
   * for each: then `advance` brings them closer, fires nothing, and the answer has grown.
   */
  nextDeadlineMs(): number {
    if (this.#next[FIRING] !== FIRING || this.#next[DUE] !== DUE) return this.#tell(this.#nowTick);
    if (this.#levels === 0) return Infinity;
    const level = lowestBit(this.#levels);
    return this.#tell(this.#startOf(level, lowestBit(this.#occupied[level]!)));
  }

  /** Most turns have the deadline of the one before, and no need of a number of their own. */
  #tell(tick: number): number {
    if (tick !== this.#toldTick) {
      this.#toldTick = tick;
      this.#toldMs = this.#originMs + tick;
    }
    return this.#toldMs;
  }

  /**
   * Moves time to `nowMs` and calls `expired` for each timer that is due, in order of deadline (rounded up
   * to whole milliseconds), then of scheduling. The timer no longer waits when its callback runs.
   *
   * Callbacks may schedule and cancel any timer. When one throws, the rest stay due. Earlier time than before
   * counts as no time at all.
   * @param countMax Timers to fire at most: the rest stay due, so that a call takes no longer than its caller has.
   */
  advance(nowMs: number, expired: (id: number) => void, countMax: number = Infinity): void {
    assert(!this.#advancing, "A timer's callback does not advance the wheel");
    const nowTick = Math.floor(nowMs) - this.#originMs;
    assert(nowTick <= TICKS_MAX, "Time lies less than 1,115 years ahead"); // false for NaN, too
    if (nowTick > this.#nowTick) this.#nowTick = nowTick;
    else if (this.#isThrough()) return; // the same tick again
    this.#advancing = true;
    try {
      this.#splice(DUE, FIRING);
      let left = this.#fire(expired, countMax);
      while (this.#levels !== 0 && left > 0) {
        const level = lowestBit(this.#levels);
        const slot = lowestBit(this.#occupied[level]!);
        const start = this.#startOf(level, slot);
        if (start > this.#nowTick) break;
        this.#moveTo(start);
        this.#empty(level, slot, start);
        left = this.#fire(expired, left);
      }
      if (left > 0) this.#moveTo(this.#nowTick);
    } finally {
      this.#advancing = false;
    }
  }

  /** Whether all that was due has fired: a call that was cut short, by its limit or a callback, leaves some. */
  #isThrough(): boolean {
    return this.#next[DUE] === DUE && this.#next[FIRING] === FIRING &&
      this.#high * LOW_RANGE + this.#low === this.#nowTick;
  }

  /** @returns How many more may fire. */
  #fire(expired: (id: number) => void, countMax: number): number {
    let left = countMax;
    for (let node = this.#next[FIRING]!; node !== FIRING && left > 0; node = this.#next[FIRING]!) {
      this.#unlink(node);
      this.#size--;
      left--;
      expired(node - HEADS);
    }
    return left;
  }

  /** Deals the timers of a slot that begins at the wheel's position to lower levels, or to be fired. */
  #empty(level: number, slot: number, start: number): void {
    const head = WHEEL + level * SLOTS + slot;
    if (level === 0) {
      this.#splice(head, FIRING);
    } else {
      for (let node = this.#next[head]!; node !== head; node = this.#next[head]!) {
        this.#unlink(node);
        const tick = Math.ceil(this.#deadlineMs[node - HEADS]!) - this.#originMs;
        if (tick === start) this.#append(FIRING, node);
        else this.#file(node, tick);
      }
    }
    this.#vacate(level, slot);
  }

  /**
   * Puts a timer into the wheel. Its level is the highest 5-bit digit in which `tick` differs from the
   * position. So all timers of a level agree with the position above that digit, lie ahead of it in slot order,
   * and come before those of every higher level: the lowest bit of the lowest level is next.
   */
  #file(node: number, tick: number): void {
    const high = Math.floor(tick / LOW_RANGE);
    const low = tick - high * LOW_RANGE;
    let level: number, slot: number;
    if (high === this.#high) {
      level = highestDigit(low ^ this.#low);
      slot = (low >>> (level * SLOT_BITS)) & (SLOTS - 1);
    } else {
      const digit = highestDigit(high ^ this.#high);
      level = LOW_LEVELS + digit;
      slot = (high >>> (digit * SLOT_BITS)) & (SLOTS - 1);
    }
    this.#append(WHEEL + level * SLOTS + slot, node);
    this.#occupied[level]! |= 1 << slot;
    this.#levels |= 1 << level;
  }

  /** The first tick of a slot that lies ahead. */
  #startOf(level: number, slot: number): number {
    if (level < LOW_LEVELS) {
      const shift = level * SLOT_BITS;
      const above = (this.#low >>> (shift + SLOT_BITS)) << (shift + SLOT_BITS);
      return this.#high * LOW_RANGE + (above | (slot << shift));
    }
    const shift = (level - LOW_LEVELS) * SLOT_BITS;
    const above = (this.#high >>> (shift + SLOT_BITS)) << (shift + SLOT_BITS);
    return (above | (slot << shift)) * LOW_RANGE;
  }

  #moveTo(tick: number): void {
    this.#high = Math.floor(tick / LOW_RANGE);
    this.#low = tick - this.#high * LOW_RANGE;
  }

  #append(head: number, node: number): void {
    const last = this.#previous[head]!;
    this.#next[last] = node;
    this.#previous[node] = last;
    this.#next[node] = head;
    this.#previous[head] = node;
  }

  #unlink(node: number): void {
    const next = this.#next[node]!;
    const previous = this.#previous[node]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[node] = 0;
    if (next === previous && next >= WHEEL && next < HEADS) {
      this.#vacate((next - WHEEL) >>> SLOT_BITS, (next - WHEEL) & (SLOTS - 1));
    }
  }

  #vacate(level: number, slot: number): void {
    const left = this.#occupied[level]! & ~(1 << slot);
    this.#occupied[level] = left;
    if (left === 0) this.#levels &= ~(1 << level);
  }

  /** Moves a whole list to the end of another. */
  #splice(from: number, to: number): void {
    const first = this.#next[from]!;
    if (first === from) return;
    const last = this.#previous[from]!;
    const before = this.#previous[to]!;
    this.#next[before] = first;
    this.#previous[first] = before;
    this.#next[last] = to;
    this.#previous[to] = last;
    this.#next[from] = this.#previous[from] = from;
  }

  #grow(ids: number): void {
    const capacity = Math.max(ids, 2 * this.#deadlineMs.length);
    const next = new Int32Array(HEADS + capacity);
    next.set(this.#next);
    const previous = new Int32Array(HEADS + capacity);
    previous.set(this.#previous);
    const deadlineMs = new Float64Array(capacity);
    deadlineMs.set(this.#deadlineMs);
    this.#next = next;
    this.#previous = previous;
    this.#deadlineMs = deadlineMs;
  }
}

/** The number of the lowest bit that is set. */
function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** The number of the highest 5-bit digit that is not zero, for 0 < bits < 2^30. */
function highestDigit(bits: number): number {
  return ((31 - Math.clz32(bits)) * 13) >> 6; // n * 13 >> 6 is n / 5 for n < 30
}
