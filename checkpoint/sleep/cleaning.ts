import type { Walk } from "./walk.ts";

/** How long after something has woken the store is looked at for space to give back, */
const CLEAN_MS = 1_000;
/** and the pause between steps of that, each of them less than a millisecond. */
const CLEAN_PAUSE_MS = 10;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;

/** Gives the space of images that are gone back, a little in a turn. */
export class Cleaning {
  readonly #walk: Walk;
  #atMs = Infinity; // once something has been removed

  constructor(walk: Walk) {
    this.#walk = walk;
  }

  /** Something has been removed. */
  soon(nowMs: number): void {
    this.#atMs = Math.min(this.#atMs, nowMs + CLEAN_MS);
  }

  /** The end of a turn: a little, and again soon while there is more. */
  turn(nowMs: number): void {
    if (nowMs < this.#atMs || this.#walk.closing) return;
    try {
      this.#atMs = this.#walk.store.clean() ? nowMs + CLEAN_PAUSE_MS : Infinity;
    } catch (error) {
      this.#atMs = nowMs + RETRY_MS;
      this.#walk.teller.report(error);
    }
  }

  nextDeadlineMs(): number {
    return this.#walk.closing ? Infinity : this.#atMs;
  }
}
