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

/** Counts the bytes of one piece of work, and stops it when it shall stop. */
export class Meter {
  bytes = 0;
  readonly #what: string;
  readonly #options: WorkOptions;
  readonly #total: number | undefined;
  #toldAtMs = -Infinity;

  constructor(what: string, options: WorkOptions, total?: number) {
    this.#what = what;
    this.#options = options;
    this.#total = total;
  }

  /** @throws The signal's reason, when it is aborted. */
  add(bytes: number): void {
    this.#options.signal?.throwIfAborted();
    this.bytes += bytes;
    if (this.#options.onProgress === undefined) return;
    const nowMs = performance.now();
    if (nowMs - this.#toldAtMs < EVERY_MS) return;
    this.#toldAtMs = nowMs;
    const total = this.#total;
    this.#options.onProgress({
      what: this.#what,
      bytes: this.bytes,
      ...total === undefined ? {} : { total },
    });
  }
}
