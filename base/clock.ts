/** A scheduled callback that has not run yet. */
export interface Alarm {
  /** Calls it off. Idempotent. */
  cancel(): void;
  /** It keeps the process alive, as it does by default. Absent where no process depends on it. */
  ref?(): void;
  /** It does not. */
  unref?(): void;
}

/**
 * The only source of time above the core. Milliseconds since the Unix epoch, with fractions, never
 * stepping backward while the process lives.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, with fractions. */
  nowMs(): number;
  /** Runs `callback` once, at `deadlineMs` or as soon after it as possible, never inside this call. */
  at(deadlineMs: number, callback: () => void): Alarm;
}

/** The longest delay that setTimeout keeps: 2^31 - 1 ms. Longer ones are slept in steps. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;

/** The machine's clock: epoch milliseconds at start-up, advanced by the monotonic clock. */
export class SystemClock implements Clock {
  readonly #originMs = performance.timeOrigin; // a getter, which makes a number each time

  /** Milliseconds since the Unix epoch, with fractions. */
  nowMs(): number {
    return this.#originMs + performance.now();
  }

  /** As {@linkcode Clock.at}. */
  at(deadlineMs: number, callback: () => void): Alarm {
    let timer: ReturnType<typeof setTimeout>;
    let alive = true;
    const arm = (): void => {
      const delayMs = Math.max(0, Math.ceil(deadlineMs - this.nowMs()));
      timer = setTimeout(ring, Math.min(delayMs, TIMEOUT_MS_MAX));
      if (!alive) keepAlive(timer, false);
    };
    const become = (value: boolean): void => {
      alive = value;
      keepAlive(timer, value);
    };
    const ring = (): void => {
      if (this.nowMs() < deadlineMs) arm(); // a step of a long sleep, or setTimeout's habit of coming 1 ms early
      else callback();
    };
    arm();
    return { cancel: () => clearTimeout(timer), ref: () => become(true), unref: () => become(false) };
  }
}

const { Deno } = globalThis as unknown as {
  Deno?: { refTimer?(id: number): void; unrefTimer?(id: number): void };
};

/** Whether a timer keeps the process alive. In a page nothing does. */
export function keepAlive(timer: unknown, alive: boolean): void {
  if (typeof timer === "number") {
    if (alive) Deno?.refTimer?.(timer);
    else Deno?.unrefTimer?.(timer);
    return;
  }
  const { ref, unref } = timer as { ref?(): void; unref?(): void };
  (alive ? ref : unref)?.call(timer);
}

type Event = { deadlineMs: number; order: number; callback: (() => void) | undefined };

/**
 * Time that moves only when told to, for tests and simulation: events run in order of deadline,
 * then of scheduling.
 *
 * @example
 * ```ts
 * import { VirtualClock } from "@torpor/torpor/base/clock.ts";
 * const clock = new VirtualClock(0);
 * clock.at(5, () => console.log(clock.nowMs())); // 5
 * await clock.advance(10);
 * ```
 */
export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  #heap: Event[] = []; // binary heap by (deadlineMs, order)

  /** Time begins at `startMs`, milliseconds since the Unix epoch. */
  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  /** Milliseconds since the Unix epoch, with fractions. */
  nowMs(): number {
    return this.#nowMs;
  }

  /** Events not yet run or cancelled. */
  get pending(): number {
    return this.#heap.reduce((count, event) => count + (event.callback ? 1 : 0), 0);
  }

  /** As {@linkcode Clock.at}. */
  at(deadlineMs: number, callback: () => void): Alarm {
    const event: Event = { deadlineMs: Math.max(deadlineMs, this.#nowMs), order: this.#order++, callback };
    push(this.#heap, event);
    return { cancel: () => void (event.callback = undefined) };
  }

  /** Runs the next event, moving time to it; false when there is none at or before `untilMs`. */
  step(untilMs = Infinity): boolean {
    while (this.#heap.length > 0 && this.#heap[0]!.deadlineMs <= untilMs) {
      if (this.#heap[0]!.deadlineMs === Infinity) return false; // never comes
      const event = pop(this.#heap);
      if (!event.callback) continue;
      this.#nowMs = Math.max(this.#nowMs, event.deadlineMs);
      event.callback();
      return true;
    }
    return false;
  }

  /** Moves time forward by `ms`, running events on the way and letting promises settle between them. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    while (this.step(untilMs)) await settle();
    this.#nowMs = Math.max(this.#nowMs, untilMs); // an event may have waited for an advance of its own
  }

  /**
   * Runs events until `done()` or until `limitMs` of virtual time have passed.
   * @returns Whether `done()` came true.
   */
  async runUntil(done: () => boolean, limitMs = 3_600_000): Promise<boolean> {
    const untilMs = this.#nowMs + limitMs;
    await settle();
    while (!done() && this.step(untilMs)) await settle();
    return done();
  }
}

/** Lets promise callbacks run: a few turns of the microtask queue, enough for chains of awaits. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 16; turn++) await undefined;
}

function before(a: Event, b: Event): boolean {
  return a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(event, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event {
  const top = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return top;
}
