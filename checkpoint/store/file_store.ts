import { type Entropy, systemEntropy } from "../../base/random.ts";
import { type Disk, FolderDisk } from "./disk.ts";
import {
  EntryKind,
  MARK_BYTES_MAX,
  newEntry,
  putBytes,
  readEntry,
  removeBytes,
  REMOVED_MAX,
} from "./entry.ts";
import { writeMark, writePut, writeRemove } from "./entry.ts";
import { GroupCommit } from "./group_commit.ts";
import { checkRecords } from "./memory_store.ts";
import { type Damage, readFully, Window } from "./scan.ts";
import type { Segment } from "./segment.ts";
import { Segments, writeFully } from "./segments.ts";
import { type AppendOptions, type Commit, type LiveRecord, type Location, locationOf } from "./store.ts";
import { offsetOf, type Store, StoreError, type StoreStats } from "./store.ts";

/** Options of `FileStore.open`. */
export interface FileStoreOptions {
  /**
   * A segment is sealed before the append that would make it larger than this many bytes, 64 MiB by
   * default. One batch that is larger by itself gets a segment of its own.
   */
  readonly segmentBytes?: number;
  /** Dead bytes that cleaning leaves alone; by default one segment's. */
  readonly garbageBytes?: number;
  /** Told of every damaged stretch, and of what a crash left unfinished at the end. */
  readonly onDamage?: (damage: Damage) => void;
  /** Where segments' salts come from. */
  readonly entropy?: Entropy;
}

const SEGMENT_BYTES = 64 * 1024 * 1024;
/** Entries gather here before they are written; larger ones make it larger for a while. */
const STAGE_BYTES = 1024 * 1024;
/** Bytes that one step of cleaning moves: some hundred sleepers, and less than a millisecond. */
const CLEAN_BYTES = 64 * 1024;
/** Offsets are below 2^32, and a batch may lie behind a nearly full segment. */
const BATCH_BYTES_MAX = 2 ** 31;

/**
 * A store in a folder: append-only segment files, one writer.
 *
 * - When the disk refuses a write (full, error), what was written of it is cut off again, the call
 *   throws, and the store stays usable.
 * - When a *sync* fails, no one can say what is on disk, and asking again would lie: `failed` is set,
 *   pending `durable` promises reject, changes are refused; reading goes on. Open the store anew.
 * - Segments are deleted from the oldest on, when none of their records lives any more and the
 *   removals are durable. Never one from the middle: its removals may concern records of older ones.
 * - `clean` empties the oldest one, when dead records take more space than live ones do. Over time it
 *   writes at most a byte for each byte that is appended.
 *
 * @example
 * ```ts
 * import { FileStore } from "@torpor/torpor/checkpoint/store/file_store.ts";
 * import { mkdtempSync } from "node:fs";
 * await using store = await FileStore.open(mkdtempSync("/tmp/store-"));
 * const { locations, durable } = store.append([Uint8Array.of(1, 2, 3)]);
 * await durable;
 * console.log(store.read(locations[0]!)); // Uint8Array(3) [ 1, 2, 3 ]
 * ```
 */
export class FileStore implements Store {
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #segments: Segments;
  readonly #commit: GroupCommit;
  readonly #unlock: () => void;
  readonly #garbageBytes: number;
  readonly #entry = newEntry();
  #stage = new Uint8Array(STAGE_BYTES);
  #closed = false;

  private constructor(disk: Disk, options: FileStoreOptions, unlock: () => void) {
    this.#disk = disk;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#garbageBytes = options.garbageBytes ?? this.#segmentBytes;
    this.#segments = new Segments(disk, options.entropy ?? systemEntropy, options.onDamage ?? (() => {}));
    this.#commit = new GroupCommit(() => this.#syncActive());
    this.#unlock = unlock;
  }

  /**
   * Opens the store in `folder`, made when missing. Every record that `live()` then lists is durable.
   *
   * @throws {StoreError} When another process (or this one) has it open, or the disk refuses.
   */
  // deno-lint-ignore require-await -- so that later steps (an index on a remote disk) can wait
  static async open(folder: string | Disk, options: FileStoreOptions = {}): Promise<FileStore> {
    const disk = typeof folder === "string" ? new FolderDisk(folder) : folder;
    const unlock = disk.lock();
    try {
      const store = new FileStore(disk, options, unlock);
      store.#segments.load();
      return store;
    } catch (error) {
      unlock();
      if (error instanceof StoreError) throw error;
      throw new StoreError(`Cannot open store: ${String(error)}`, {}, { cause: error });
    }
  }

  get failed(): StoreError | undefined {
    return this.#segments.failed;
  }

  get stats(): Readonly<StoreStats> {
    return this.#segments.stats;
  }

  append(records: readonly Uint8Array[], options: AppendOptions = {}): Commit {
    this.#ready();
    const supersedes = options.supersedes ?? [];
    checkRecords(records, supersedes);
    let total = 0;
    for (let index = 0; index < records.length; index++) {
      total += putBytes(records[index]!.length, supersedes[index]);
    }
    if (total > BATCH_BYTES_MAX) throw new StoreError(`Cannot append ${total} bytes at once`);
    const locations = new Float64Array(records.length);
    this.#change(supersedes, total, (segment, put) => {
      for (let index = 0; index < records.length; index++) {
        const record = records[index]!;
        const superseded = supersedes[index];
        const write = (into: Uint8Array, at: number): number =>
          writePut(into, at, record, superseded, segment.salt);
        locations[index] = locationOf(segment.number, put(putBytes(record.length, superseded), write));
      }
    }, (segment) => {
      for (let index = 0; index < locations.length; index++) segment.add(offsetOf(locations[index]!), true);
    });
    const segment = this.#segments.active;
    for (let back = locations.length; back > 0; back--) this.#segments.revive(segment, segment.count - back);
    return { locations, durable: this.#commit.request() };
  }

  remove(locations: readonly Location[]): Commit {
    this.#ready();
    if (locations.length > REMOVED_MAX) {
      throw new StoreError(`Cannot remove ${locations.length} records at once, ${REMOVED_MAX} are the limit`);
    }
    if (locations.length > 0) {
      const length = removeBytes(locations);
      this.#change(locations, length, (segment, put) => {
        put(length, (into, at) => writeRemove(into, at, locations, segment.salt));
      }, (segment) => segment.add(segment.size, false));
    }
    return { locations: new Float64Array(0), durable: this.#commit.request() };
  }

  read(location: Location): Uint8Array {
    if (this.#closed) throw new StoreError("Cannot read the store: it is closed");
    const segment = this.#segments.live(location);
    if (!segment) throw new StoreError(`Cannot read location ${location}: no live record is there`);
    const start = offsetOf(location);
    const bytes = new Uint8Array(segment.end(segment.find(start)) - start);
    let length: number;
    try {
      length = readFully(this.#segments.file(segment), bytes, start);
    } catch (error) {
      const at = { file: segment.name, offset: start };
      throw new StoreError(`Cannot read byte ${start} of "${segment.name}": ${String(error)}`, at, {
        cause: error,
      });
    }
    const reason = readEntry(bytes, 0, length, segment.salt, this.#entry);
    if (reason !== undefined || this.#entry.kind !== EntryKind.Put) {
      throw this.#damaged(segment, start, bytes.length, reason ?? "is no record");
    }
    return bytes.subarray(this.#entry.recordStart, this.#entry.recordEnd);
  }

  *live(): IterableIterator<LiveRecord> {
    if (this.#closed) throw new StoreError("Cannot list the store: it is closed");
    const record: LiveRecord = { location: 0, bytes: this.#stage, origin: 0 };
    const entry = newEntry();
    const counts = this.#segments.all().map((segment) => [segment, segment.count] as const);
    for (const [segment, count] of counts) {
      if (segment.recordsLive === 0 || !this.#segments.has(segment)) continue;
      const file = this.#disk.open(segment.name, false); // its own: a step may take long, others may go meanwhile
      try {
        const window = new Window(file, segment.size);
        for (let index = 0; index < count; index++) {
          if (!segment.isLive(index)) continue;
          const start = segment.start(index);
          const length = segment.end(index) - start;
          const at = window.show(start, length);
          const reason = readEntry(
            window.bytes,
            at,
            Math.min(at + length, window.length),
            segment.salt,
            entry,
          );
          if (reason !== undefined || entry.kind !== EntryKind.Put) {
            this.#damaged(segment, start, length, reason ?? "is no record");
            continue;
          }
          record.location = locationOf(segment.number, start);
          record.bytes = window.bytes.subarray(entry.recordStart, entry.recordEnd);
          record.origin = entry.origin < 0 ? record.location : entry.origin;
          yield record;
        }
      } finally {
        file.close();
      }
    }
  }

  onMoved: Store["onMoved"];

  clean(bytesMax: number = CLEAN_BYTES): boolean {
    this.#ready();
    const oldest = this.onMoved && this.#segments.wasteful(this.#garbageBytes);
    if (oldest === undefined) return false;
    const moves: { from: Location; origin: Location; record: Uint8Array }[] = [];
    const damaged: Location[] = [];
    let bytes = 0;
    for (let index = oldest.nextLive(0); index >= 0 && bytes < bytesMax; index = oldest.nextLive(index + 1)) {
      const from = locationOf(oldest.number, oldest.start(index));
      bytes += oldest.end(index) - oldest.start(index);
      try {
        const record = this.read(from);
        moves.push({ from, origin: this.#entry.origin < 0 ? from : this.#entry.origin, record });
      } catch (error) {
        if ((error as StoreError).cause !== undefined) throw error; // the disk refuses: perhaps not the next time
        damaged.push(from); // reported by `read`; whoever wants it will be told that it is lost
      }
    }
    if (damaged.length > 0) this.remove(damaged);
    if (moves.length > 0) this.#move(moves);
    return true;
  }

  #move(moves: readonly { from: Location; origin: Location; record: Uint8Array }[]): void {
    const targets = new Float64Array(moves.length);
    let total = 0;
    for (const { record, from, origin } of moves) total += putBytes(record.length, from, origin);
    this.#change(moves.map(({ from }) => from), total, (segment, put) => {
      for (const [index, { record, from, origin }] of moves.entries()) {
        const write = (into: Uint8Array, at: number): number =>
          writePut(into, at, record, from, segment.salt, origin);
        targets[index] = locationOf(segment.number, put(putBytes(record.length, from, origin), write));
      }
    }, (segment) => {
      for (const target of targets) segment.add(offsetOf(target), true);
    });
    const segment = this.#segments.active;
    for (let back = moves.length; back > 0; back--) this.#segments.revive(segment, segment.count - back);
    this.#segments.stats.bytesMoved += total;
    this.#commit.request().catch(() => {}); // then the segment can go
    for (const [index, { from, record }] of moves.entries()) this.onMoved!(from, targets[index]!, record);
  }

  originOf(location: Location): Location {
    this.read(location);
    return this.#entry.origin < 0 ? location : this.#entry.origin;
  }

  sync(): Promise<void> {
    try {
      this.#ready();
      return this.#commit.request();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.failed) await this.#commit.request();
      await this.#commit.idle();
    } finally {
      this.#segments.close();
      this.#unlock();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ready(): void {
    if (this.#closed) throw new StoreError("Cannot change the store: it is closed");
    if (this.failed) throw this.failed;
  }

  /** One change: `removed` die, `length` bytes of entries are written, `added` puts them into the index. */
  #change(
    removed: readonly (Location | undefined)[],
    length: number,
    fill: (segment: Segment, put: Put) => void,
    added: (segment: Segment) => void,
  ): void {
    this.#segments.claim(removed);
    try {
      let segment = this.#segments.active;
      if (segment.count > 0 && segment.size + length > this.#segmentBytes) segment = this.#segments.roll();
      this.#write(segment, (put) => fill(segment, put));
      added(segment);
      this.#segments.grow(segment, length);
      for (const location of removed) if (location !== undefined) segment.addRemoved(location);
    } catch (error) {
      this.#segments.unclaim(removed, removed.length);
      throw error;
    }
  }

  /** Writes entries behind a segment's end, through the stage; on failure they are cut off again. */
  #write(segment: Segment, fill: (put: Put) => void): void {
    const file = this.#segments.file(segment);
    let staged = 0;
    let position = segment.size;
    const flush = (): void => {
      writeFully(file, this.#stage.subarray(0, staged), position);
      position += staged;
      staged = 0;
    };
    try {
      fill((lengthMax, write) => {
        if (staged + lengthMax > this.#stage.length) {
          flush();
          if (lengthMax > this.#stage.length) this.#stage = new Uint8Array(lengthMax);
        }
        const start = position + staged;
        staged = write(this.#stage, staged);
        return start;
      });
      flush();
    } catch (error) {
      try {
        file.truncate(segment.size);
      } catch (again) {
        throw this.#segments.fail(again);
      }
      throw new StoreError(
        `Cannot write "${segment.name}" at byte ${position}: ${String(error)}`,
        { file: segment.name, offset: position },
        { cause: error },
      );
    } finally {
      if (this.#stage.length > STAGE_BYTES) this.#stage = new Uint8Array(STAGE_BYTES);
    }
  }

  /** Makes all that was written durable: older segments were, when they were sealed. */
  async #syncActive(): Promise<void> {
    const segments = this.#segments;
    const segment = segments.active;
    const durable = segment.size;
    const dead = segments.deadThrough(); // by removals that this sync makes durable
    try {
      if (this.failed) throw this.failed;
      segments.syncing = segment;
      await segments.file(segment).sync();
      if (this.failed) throw this.failed;
    } catch (error) {
      throw segments.fail(error);
    } finally {
      segments.syncing = undefined;
    }
    segments.stats.syncs++;
    if (segment === segments.active) this.#mark(segment, durable);
    segments.deleteThrough(dead);
  }

  /** Notes in the segment how far it was durable: what is damaged before was no torn write. */
  #mark(segment: Segment, durable: number): void {
    try {
      let length = 0;
      this.#write(segment, (put) => {
        put(MARK_BYTES_MAX, (into, at) => {
          const end = writeMark(into, at, durable, segment.salt);
          length = end - at;
          return end;
        });
      });
      segment.add(segment.size, false);
      this.#segments.grow(segment, length);
    } catch {
      // a hint: on a full disk the store does without
    }
  }

  #damaged(segment: Segment, offset: number, bytes: number, reason: string): StoreError {
    const { name } = segment;
    this.#segments.report({ file: name, offset, bytes, reason: `entry at byte ${offset} ${reason}` });
    return new StoreError(`Cannot read record at byte ${offset} of "${name}": its entry ${reason}`, {
      file: name,
      offset,
    });
  }
}

/** Takes an entry of at most `lengthMax` bytes, which `write` writes at an index and ends; the file's byte it starts at. */
type Put = (lengthMax: number, write: (into: Uint8Array, at: number) => number) => number;
