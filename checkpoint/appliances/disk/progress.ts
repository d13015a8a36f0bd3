/** What is under way, told now and then. */
export interface Progress {
  /** In words: `reading nginx.tar`. */
  readonly what: string;
  /** Bytes done, and of how many, where that is known. */
  readonly bytes: number;
  readonly total?: number;
}

/** Options of all that takes long. */
export interface WorkOptions {
  /** Ends it, with the signal's reason. Nothing is left under the final name. */
  readonly signal?: AbortSignal;
  /** Told how far it is, at most ten times a second. */
  readonly onProgress?: (progress: Progress) => void;
}

/** How often progress is told. */
const EVERY_MS = 100;
/** After so long the event loop has a turn: an interrupt is heard in it, and nothing else hears of one. */
const TURN_MS = 50;

/** Counts the bytes of one piece of work, and stops it when it shall stop. */
export class Meter {
  bytes = 0;
  readonly #what: string;
  readonly #options: WorkOptions;
  readonly #total: number | undefined;
  #toldAtMs = -Infinity;
  #turnAtMs = performance.now();

  constructor(what: string, options: WorkOptions, total?: number) {
    this.#what = what;
    this.#options = options;
    this.#total = total;
  }

  /**
   * @returns When the event loop has waited for long, a promise of a turn of it, to be awaited by whoever can.
   * @throws The signal's reason, when it is aborted.
   */
  add(bytes: number): Promise<void> | undefined {
    this.#options.signal?.throwIfAborted();
    this.bytes += bytes;
    const nowMs = performance.now();
    if (this.#options.onProgress !== undefined && nowMs - this.#toldAtMs >= EVERY_MS) {
      this.#toldAtMs = nowMs;
      const total = this.#total;
      this.#options.onProgress({
        what: this.#what,
        bytes: this.bytes,
        ...total === undefined ? {} : { total },
      });
    }
    return nowMs - this.#turnAtMs < TURN_MS ? undefined : this.#turn();
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#turnAtMs = performance.now();
    this.#options.signal?.throwIfAborted();
  }
}
