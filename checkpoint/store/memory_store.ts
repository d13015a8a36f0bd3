import { GroupCommit } from "./group_commit.ts";
import type { AppendOptions, Commit, LiveRecord, Location } from "./store.ts";
import { type Recall, RECORD_BYTES_MAX, type Store, StoreError, type StoreStats } from "./store.ts";

/** Options of `MemoryStore`. */
export interface MemoryStoreOptions {
  /** Stands for the disk's sync: `durable` waits for what this returns. Resolves at once by default. */
  sync?: () => Promise<void>;
}

/**
 * A store in memory: for tests, for stacks that need no persistence, and as the slow obvious twin
 * that `FileStore` must agree with.
 *
 * @example
 * ```ts
 * import { MemoryStore } from "@torpor/torpor/checkpoint/store/memory_store.ts";
 * await using store = new MemoryStore();
 * const { locations } = store.append([Uint8Array.of(1, 2, 3)]);
 * console.log(store.read(locations[0]!)); // Uint8Array(3) [ 1, 2, 3 ]
 * ```
 */
export class MemoryStore implements Store {
  /** Why it takes nothing any more, when that is so. */
  readonly failed: StoreError | undefined = undefined;
  /** What is in it, and what it has done. */
  readonly stats: StoreStats = {
    recordsLive: 0,
    bytesLive: 0,
    bytesTotal: 0,
    segments: 1,
    bytesMoved: 0,
    syncs: 0,
    damaged: 0,
    torn: 0,
  };
  #records = new Map<Location, Uint8Array>(); // in order of appending, which is that of locations
  #next: Location = 0;
  #closed = false;
  readonly #commit: GroupCommit;

  /** An empty store. */
  constructor(options: MemoryStoreOptions = {}) {
    this.#commit = new GroupCommit(async () => {
      await options.sync?.();
      this.stats.syncs++;
    });
  }

  /** As {@linkcode Store.append}. */
  append(records: readonly Uint8Array[], options: AppendOptions = {}): Commit {
    this.#open("append");
    const supersedes = options.supersedes ?? [];
    checkRecords(records, supersedes);
    this.#checkLive(supersedes);
    const locations = new Float64Array(records.length);
    for (const [index, record] of records.entries()) {
      const location = this.#next++;
      locations[index] = location;
      this.#records.set(location, record.slice());
      this.stats.recordsLive++;
      this.stats.bytesLive += record.length;
      const replaced = supersedes[index];
      if (replaced !== undefined) this.#drop(replaced);
    }
    return { locations, durable: this.#commit.request() };
  }

  /** As {@linkcode Store.remove}. */
  remove(locations: readonly Location[]): Commit {
    this.#open("remove from");
    this.#checkLive(locations);
    for (const location of locations) this.#drop(location);
    return { locations: new Float64Array(0), durable: this.#commit.request() };
  }

  /** None is kept: what lies in memory is not damaged. */
  summaryOf(_location: Location): Int32Array | undefined {
    return undefined;
  }

  /** As {@linkcode Store.read}. */
  read(location: Location): Uint8Array {
    this.#open("read");
    const record = this.#records.get(location);
    if (!record) throw new StoreError(`Cannot read location ${location}: no live record is there`);
    return record.slice();
  }

  /** As {@linkcode Store.live}. */
  *live(): IterableIterator<LiveRecord> {
    this.#open("list");
    const last = this.#next;
    for (const [location, bytes] of this.#records) {
      if (location >= last) return;
      yield { location, bytes, origin: location };
    }
  }

  /** Keeps no summaries: each record is shown. */
  recall(take: Recall): void {
    for (const record of this.live()) take.record(record);
  }

  /** Nothing ever moves in memory. */
  onMoved: Store["onMoved"];

  /** As {@linkcode Store.clean}. */
  clean(): boolean {
    return false;
  }

  /** As {@linkcode Store.originOf}. */
  originOf(location: Location): Location {
    this.read(location);
    return location;
  }

  /** As {@linkcode Store.sync}. */
  sync(): Promise<void> {
    return this.#commit.request();
  }

  /** As {@linkcode Store.close}. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#commit.request();
    this.#closed = true;
  }

  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #drop(location: Location): void {
    this.stats.recordsLive--;
    this.stats.bytesLive -= this.#records.get(location)!.length;
    this.#records.delete(location);
  }

  #checkLive(locations: readonly (Location | undefined)[]): void {
    const seen = new Set<Location>();
    for (const location of locations) {
      if (location === undefined) continue;
      if (!this.#records.has(location) || seen.has(location)) {
        throw new StoreError(`Cannot remove location ${location}: no live record is there`);
      }
      seen.add(location);
    }
  }

  #open(attempt: string): void {
    if (this.#closed) throw new StoreError(`Cannot ${attempt} the store: it is closed`);
  }
}

/** Refuses a batch that no store can take. */
export function checkRecords(
  records: readonly Uint8Array[],
  supersedes: readonly (Location | undefined)[],
): void {
  if (supersedes.length > records.length) {
    throw new StoreError(`Cannot supersede ${supersedes.length} records by ${records.length}`);
  }
  for (const record of records) {
    if (record.length > RECORD_BYTES_MAX) {
      throw new StoreError(
        `Cannot append ${record.length} bytes: a record holds ${RECORD_BYTES_MAX} at most`,
      );
    }
  }
}
