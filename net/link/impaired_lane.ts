import { assert } from "../../base/assert.ts";
import type { Alarm, Clock } from "../../base/clock.ts";
import type { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import type { Impairments } from "./impaired.ts";

/** How often each impairment struck. */
export interface ImpairmentCounters {
  /** Frames lost. */
  lost: number;
  /** Frames that came twice. */
  duplicated: number;
  /** Frames that others have overtaken. */
  reordered: number;
  /** Frames with a flipped bit. */
  corrupted: number;
  /** Frames that found the queue full. */
  overflow: number;
}

/** A frame is held back behind at most this many: enough to pass TCP's threshold of three duplicate ACKs. */
const HELD_BEHIND_MAX = 3;

/** When fewer frames follow, a held one goes on after this long: well below any retransmission timeout. */
const HELD_MS_MAX = 20;

/** What a lane works with; `receive` and `flush` take what comes out. */
export interface LaneParts {
  clock: Clock;
  prng: Prng;
  impairments: Impairments;
  struck: ImpairmentCounters;
  queueMax: number;
  frameBytesMax: number;
  receive: (slab: Slab, start: number, end: number) => void;
  flush: () => void;
}

/** One frame under way. `order` keeps frames that are due together in the order they came. */
type Waiting = { slab: Slab; length: number; dueMs: number; order: number; behind: number };

/** One direction of an impaired link. Frames that nothing delays pass through within `take`. */
export class ImpairedLane {
  readonly frameBytesMax: number;
  readonly #parts: LaneParts;
  readonly #free: Waiting[] = [];
  /** Under way, in order of (dueMs, order). */
  readonly #waiting: Waiting[] = [];
  /** Held back until enough others have passed; `dueMs` is when they go on regardless. */
  readonly #held: Waiting[] = [];
  readonly #scratch: Slab;
  readonly #onAlarm: () => void;
  #order = 0;
  /** When the line has sent what it was given. */
  #lineFreeMs = 0;
  #alarm: Alarm | undefined;
  #alarmMs = Infinity;
  #dirty = false;
  #stopped = false;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.frameBytesMax = parts.frameBytesMax;
    this.#scratch = Slab.of(parts.frameBytesMax);
    this.#onAlarm = () => this.#wake();
  }

  take(slab: Slab, start: number, end: number): void {
    const { prng, impairments: now, struck } = this.#parts;
    // Always the same eight draws, so that one setting does not move the others' faults.
    const lost = prng.chance(now.loss);
    const duplicated = prng.chance(now.duplicate);
    const reordered = prng.chance(now.reorder);
    const behind = prng.between(1, HELD_BEHIND_MAX);
    const corrupted = prng.chance(now.corrupt);
    const bit = prng.below((end - start) * 8);
    const jitterMs = prng.fraction() * now.jitterMs;
    const jitterTwinMs = prng.fraction() * now.jitterMs;
    if (this.#stopped) return;
    if (lost) {
      struck.lost++;
      return;
    }
    if (this.#waiting.length + this.#held.length >= this.#parts.queueMax) {
      struck.overflow++; // before it takes up time on the line
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    const leftMs = this.#leave(nowMs, end - start) + now.delayMs;
    if (duplicated) {
      struck.duplicated++;
      this.#pass(slab, start, end, nowMs, leftMs + jitterTwinMs);
    }
    if (corrupted) {
      struck.corrupted++;
      const { bytes } = this.#scratch;
      bytes.set(slab.bytes.subarray(start, end));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      slab = this.#scratch;
      end -= start;
      start = 0;
    }
    if (reordered) {
      struck.reordered++;
      const frame = this.#keep(slab, start, end, leftMs + jitterMs + HELD_MS_MAX);
      if (frame !== undefined) {
        frame.behind = behind;
        this.#held.push(frame);
        this.#arm();
      }
      return; // it is not itself one that others are held behind
    }
    const dueMs = leftMs + jitterMs;
    this.#pass(slab, start, end, nowMs, dueMs);
    this.#letGo(nowMs, dueMs);
  }

  /** The batch is over: passes it on when something came out since the last time. */
  flush(): void {
    if (!this.#dirty || this.#stopped) return;
    this.#dirty = false;
    this.#parts.flush();
  }

  /** Forgets what is under way; nothing comes out any more. */
  stop(): void {
    this.#stopped = true;
    this.#alarm?.cancel();
    this.#alarm = undefined;
    this.#waiting.length = this.#held.length = this.#free.length = 0;
  }

  /** When a frame of this length has left the line, which carries one frame after another. */
  #leave(nowMs: number, length: number): number {
    const { rateBytesPerS } = this.#parts.impairments;
    if (rateBytesPerS === Infinity) return nowMs;
    this.#lineFreeMs = Math.max(this.#lineFreeMs, nowMs) + (length * 1000) / rateBytesPerS;
    return this.#lineFreeMs;
  }

  /** Hands a frame over when it is due and none waits before it; else keeps it until it is. */
  #pass(slab: Slab, start: number, end: number, nowMs: number, dueMs: number): void {
    if (dueMs <= nowMs && !(this.#waiting.length > 0 && this.#waiting[0]!.dueMs <= nowMs)) {
      this.#dirty = true;
      this.#parts.receive(slab, start, end);
      return;
    }
    const frame = this.#keep(slab, start, end, dueMs);
    if (frame === undefined) return;
    insert(this.#waiting, frame);
    this.#arm();
  }

  /** One more frame has passed, due at `dueMs`: those held back behind it follow. */
  #letGo(nowMs: number, dueMs: number): void {
    for (let at = 0; at < this.#held.length; at++) {
      const frame = this.#held[at]!;
      if (--frame.behind > 0) continue;
      this.#held.splice(at--, 1);
      frame.dueMs = dueMs;
      frame.order = this.#order++;
      if (dueMs <= nowMs && this.#waiting.length === 0) this.#hand(frame);
      else insert(this.#waiting, frame);
    }
    this.#arm();
  }

  #keep(slab: Slab, start: number, end: number, dueMs: number): Waiting | undefined {
    if (this.#waiting.length + this.#held.length >= this.#parts.queueMax) {
      this.#parts.struck.overflow++;
      return undefined;
    }
    const frame = this.#free.pop() ??
      { slab: Slab.of(this.#parts.frameBytesMax), length: 0, dueMs: 0, order: 0, behind: 0 };
    assert(end - start <= frame.slab.bytes.length, "A frame fits its link");
    frame.slab.bytes.set(slab.bytes.subarray(start, end));
    frame.length = end - start;
    frame.dueMs = dueMs;
    frame.order = this.#order++;
    return frame;
  }

  #hand(frame: Waiting): void {
    this.#dirty = true;
    this.#parts.receive(frame.slab, 0, frame.length);
    if (!this.#stopped) this.#free.push(frame);
  }

  #wake(): void {
    this.#alarm = undefined;
    this.#alarmMs = Infinity;
    const nowMs = this.#parts.clock.nowMs();
    for (let at = 0; at < this.#held.length; at++) {
      if (this.#held[at]!.dueMs > nowMs) continue;
      insert(this.#waiting, this.#held[at]!);
      this.#held.splice(at--, 1);
    }
    while (this.#waiting.length > 0 && this.#waiting[0]!.dueMs <= nowMs) this.#hand(this.#waiting.shift()!);
    this.flush();
    this.#arm();
  }

  /** One alarm is pending at a time, at the earliest deadline. */
  #arm(): void {
    if (this.#stopped) return;
    let deadlineMs = this.#waiting.length > 0 ? this.#waiting[0]!.dueMs : Infinity;
    for (const frame of this.#held) deadlineMs = Math.min(deadlineMs, frame.dueMs);
    if (deadlineMs >= this.#alarmMs) return;
    this.#alarm?.cancel();
    this.#alarmMs = deadlineMs;
    this.#alarm = this.#parts.clock.at(deadlineMs, this.#onAlarm);
  }
}

/** Inserts in order of (dueMs, order), from the back: frames come nearly sorted. */
function insert(frames: Waiting[], frame: Waiting): void {
  let at = frames.length;
  while (at > 0 && later(frames[at - 1]!, frame)) at--;
  frames.splice(at, 0, frame);
}

function later(a: Waiting, b: Waiting): boolean {
  return a.dueMs > b.dueMs || (a.dueMs === b.dueMs && a.order > b.order);
}
