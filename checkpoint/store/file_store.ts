import { type Entropy, systemEntropy } from "../../base/random.ts";
import { getHash, HASH_BYTES } from "../image/hash.ts";
import { type Disk, type DiskFile, FolderDisk } from "./disk.ts";
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
import { checkRecords } from "./memory_store.ts";
import { openSegments } from "./open.ts";
import { type Damage, readFully, Window } from "./scan.ts";
import { Segment, segmentHeader, segmentName } from "./segment.ts";
import { indexName, writeIndex } from "./segment_index.ts";
import {
  type AppendOptions,
  type Commit,
  type LiveRecord,
  type Location,
  locationOf,
  offsetOf,
} from "./store.ts";
import { SEGMENT_MAX, segmentOf, type Store, StoreError, type StoreStats } from "./store.ts";

/** Options of `FileStore.open`. */
export interface FileStoreOptions {
  /**
   * A segment is sealed before the append that would make it larger than this many bytes, 64 MiB by
   * default. One batch that is larger by itself gets a segment of its own.
   */
  readonly segmentBytes?: number;
  /** Told of every damaged stretch, and of what a crash left unfinished at the end. */
  readonly onDamage?: (damage: Damage) => void;
  /** Where segments' salts come from. */
  readonly entropy?: Entropy;
}

const SEGMENT_BYTES = 64 * 1024 * 1024;
/** Entries gather here before they are written; larger ones make it larger for a while. */
const STAGE_BYTES = 1024 * 1024;
/** Files of sealed segments that are open at one time. */
const FILES_MAX = 128;
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
  readonly stats: StoreStats = {
    recordsLive: 0,
    bytesLive: 0,
    bytesTotal: 0,
    segments: 0,
    syncs: 0,
    damaged: 0,
  };
  failed: StoreError | undefined;
  #disk: Disk;
  #segmentBytes: number;
  #onDamage: (damage: Damage) => void;
  #entropy: Entropy;
  #segments = new Map<number, Segment>(); // by number, in rising order
  #active!: Segment;
  #lastNumber = 0;
  #openFiles: Segment[] = [];
  #stage = new Uint8Array(STAGE_BYTES);
  #entry = newEntry();
  #waiting: Group | undefined;
  #pumping: Promise<void> | undefined;
  #syncing: Segment | undefined;
  #unlock: () => void;
  #closed = false;

  private constructor(disk: Disk, options: FileStoreOptions, unlock: () => void) {
    this.#disk = disk;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#onDamage = options.onDamage ?? (() => {});
    this.#entropy = options.entropy ?? systemEntropy;
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
      store.#load();
      return store;
    } catch (error) {
      unlock();
      if (error instanceof StoreError) throw error;
      throw new StoreError(`Cannot open store: ${String(error)}`, {}, { cause: error });
    }
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
    this.#claim(supersedes);
    const locations = new Float64Array(records.length);
    try {
      const segment = this.#room(total);
      const { salt, number } = segment;
      this.#write(segment, (put) => {
        let at = segment.size;
        for (let index = 0; index < records.length; index++) {
          const record = records[index]!;
          const superseded = supersedes[index];
          locations[index] = locationOf(number, at);
          at = put(
            putBytes(record.length, superseded),
            (into, start) => writePut(into, start, record, superseded, salt),
          );
        }
      });
      for (let index = 0; index < locations.length; index++) segment.add(offsetOf(locations[index]!), true);
      this.#grow(segment, total);
      for (let back = locations.length; back > 0; back--) this.#revive(segment, segment.count - back);
      for (const location of supersedes) if (location !== undefined) segment.addRemoved(location);
    } catch (error) {
      this.#unclaim(supersedes, supersedes.length);
      throw error;
    }
    return { locations, durable: this.#commit() };
  }

  remove(locations: readonly Location[]): Commit {
    this.#ready();
    if (locations.length > REMOVED_MAX) {
      throw new StoreError(`Cannot remove ${locations.length} records at once, ${REMOVED_MAX} are the limit`);
    }
    this.#claim(locations);
    if (locations.length > 0) {
      try {
        const length = removeBytes(locations);
        const segment = this.#room(length);
        this.#write(segment, (put) => {
          put(length, (into, start) => writeRemove(into, start, locations, segment.salt));
        });
        segment.add(segment.size, false);
        this.#grow(segment, length);
        for (const location of locations) segment.addRemoved(location);
      } catch (error) {
        this.#unclaim(locations, locations.length);
        throw error;
      }
    }
    return { locations: new Float64Array(0), durable: this.#commit() };
  }

  read(location: Location): Uint8Array {
    if (this.#closed) throw new StoreError("Cannot read the store: it is closed");
    const segment = this.#segments.get(segmentOf(location));
    const index = segment?.find(offsetOf(location)) ?? -1;
    if (!segment || index < 0 || !segment.isLive(index)) {
      throw new StoreError(`Cannot read location ${location}: no live record is there`);
    }
    const start = segment.start(index);
    const bytes = new Uint8Array(segment.end(index) - start);
    const length = this.#attempt("read", () => readFully(this.#file(segment), bytes, start));
    const reason = readEntry(bytes, 0, length, segment.salt, this.#entry);
    if (reason !== undefined || this.#entry.kind !== EntryKind.Put) {
      throw this.#damaged(segment, start, bytes.length, reason ?? "is no record");
    }
    return bytes.subarray(this.#entry.recordStart, this.#entry.recordEnd);
  }

  *live(): IterableIterator<LiveRecord> {
    if (this.#closed) throw new StoreError("Cannot list the store: it is closed");
    const record: LiveRecord = { location: 0, bytes: this.#stage };
    const entry = newEntry();
    const ends = [...this.#segments.values()].map((segment) => [segment, segment.count] as const);
    for (const [segment, count] of ends) {
      if (segment.recordsLive === 0 || !this.#segments.has(segment.number)) continue;
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
          yield record;
        }
      } finally {
        file.close();
      }
    }
  }

  sync(): Promise<void> {
    try {
      this.#ready();
      return this.#commit();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.failed) await this.#commit();
      await this.#pumping;
    } finally {
      for (const segment of this.#openFiles) segment.file?.close();
      this.#unlock();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #load(): void {
    const { segments, active, lastNumber } = openSegments(this.#disk, (damage) => {
      this.stats.damaged++;
      this.#onDamage(damage);
    });
    this.#lastNumber = lastNumber;
    for (const segment of segments) {
      this.#segments.set(segment.number, segment);
      if (segment.file) this.#openFiles.push(segment);
      this.stats.recordsLive += segment.recordsLive;
      this.stats.bytesLive += segment.bytesLive;
      this.stats.bytesTotal += segment.size;
      this.stats.segments++;
    }
    this.#active = active ?? this.#create();
    this.#deleteThrough(this.#deadThrough());
  }

  #ready(): void {
    if (this.#closed) throw new StoreError("Cannot change the store: it is closed");
    if (this.failed) throw this.failed;
  }

  /** Kills the records that a change is about to remove, so that none is named twice; throws if one is. */
  #claim(locations: readonly (Location | undefined)[]): void {
    for (const [count, location] of locations.entries()) {
      if (location === undefined) continue;
      const segment = this.#segments.get(segmentOf(location));
      const index = segment?.find(offsetOf(location)) ?? -1;
      if (!segment || index < 0 || !segment.isLive(index)) {
        this.#unclaim(locations, count);
        throw new StoreError(`Cannot remove location ${location}: no live record is there`);
      }
      this.stats.recordsLive--;
      this.stats.bytesLive -= segment.end(index) - segment.start(index);
      segment.kill(index);
    }
  }

  #unclaim(locations: readonly (Location | undefined)[], count: number): void {
    for (const location of locations.slice(0, count)) {
      if (location === undefined) continue;
      const segment = this.#segments.get(segmentOf(location))!;
      this.#revive(segment, segment.find(offsetOf(location)));
    }
  }

  #revive(segment: Segment, index: number): void {
    segment.revive(index);
    this.stats.recordsLive++;
    this.stats.bytesLive += segment.end(index) - segment.start(index);
  }

  #grow(segment: Segment, bytes: number): void {
    segment.size += bytes;
    this.stats.bytesTotal += bytes;
  }

  /** The segment that takes the next `bytes`. */
  #room(bytes: number): Segment {
    const full = this.#active;
    if (full.count === 0 || full.size + bytes <= this.#segmentBytes) return full;
    // Nothing of the next segment may survive a crash that this one does not.
    try {
      this.#file(full).syncNow();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#active = this.#create();
    try {
      writeIndex(this.#disk, full);
    } catch {
      // a cache: without it the next opening scans the segment
    }
    full.slim();
    return this.#active;
  }

  /** A new segment, its header durable. */
  #create(): Segment {
    const number = this.#lastNumber + 1;
    if (number > SEGMENT_MAX) throw new StoreError(`Cannot append: segment ${SEGMENT_MAX} was the last`);
    const salt = new Uint8Array(HASH_BYTES);
    this.#entropy.fill(salt);
    const header = segmentHeader(number, getHash(salt, 0));
    const segment = new Segment(number, getHash(salt, 0), header.length);
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(segment.name, true);
      writeFully(file, header, 0);
      file.syncNow();
      this.#disk.syncFolder();
    } catch (error) {
      try {
        file?.close();
        if (file) this.#disk.remove(segment.name);
      } catch (again) {
        throw this.#fail(again);
      }
      throw new StoreError(`Cannot make "${segment.name}": ${String(error)}`, { file: segment.name }, {
        cause: error,
      });
    }
    this.#lastNumber = number;
    segment.file = file;
    this.#openFiles.push(segment);
    this.#segments.set(number, segment);
    this.stats.segments++;
    this.stats.bytesTotal += header.length;
    return segment;
  }

  /** Writes entries behind a segment's end, through the stage; on failure they are cut off again. */
  #write(segment: Segment, fill: (put: Put) => void): void {
    const file = this.#file(segment);
    let staged = 0;
    let position = segment.size;
    const flush = (): void => {
      writeFully(file, this.#stage.subarray(0, staged), position);
      position += staged;
      staged = 0;
    };
    try {
      fill((length, write) => {
        if (staged + length > this.#stage.length) {
          flush();
          if (length > this.#stage.length) this.#stage = new Uint8Array(length);
        }
        staged = write(this.#stage, staged);
        return position + staged;
      });
      flush();
    } catch (error) {
      try {
        file.truncate(segment.size);
      } catch (again) {
        throw this.#fail(again);
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

  /** A promise for the sync that starts after now: one runs at a time, later changes share the next. */
  #commit(): Promise<void> {
    if (!this.#waiting) {
      this.#waiting = newGroup();
      this.#pumping ??= Promise.resolve().then(() => this.#pump());
    }
    return this.#waiting.promise;
  }

  async #pump(): Promise<void> {
    while (this.#waiting) {
      const group = this.#waiting;
      this.#waiting = undefined;
      const segment = this.#active;
      const durable = segment.size;
      const dead = this.#deadThrough();
      try {
        if (this.failed) throw this.failed;
        this.#syncing = segment;
        await this.#file(segment).sync();
        if (this.failed) throw this.failed;
      } catch (error) {
        group.reject(this.#fail(error));
        continue;
      } finally {
        this.#syncing = undefined;
      }
      this.stats.syncs++;
      group.resolve();
      this.#mark(segment, durable);
      this.#deleteThrough(dead);
    }
    this.#pumping = undefined;
  }

  /** Notes in the segment how far it was durable: what is damaged before was no torn write. */
  #mark(segment: Segment, durable: number): void {
    if (segment !== this.#active) return;
    try {
      let length = 0;
      this.#write(segment, (put) => {
        put(MARK_BYTES_MAX, (into, start) => {
          const end = writeMark(into, start, durable, segment.salt);
          length = end - start;
          return end;
        });
      });
      segment.add(segment.size, false);
      this.#grow(segment, length);
    } catch {
      // a hint: on a full disk the store does without
    }
  }

  /** The newest of the oldest segments that hold no live record and are written no more; 0 for none. */
  #deadThrough(): number {
    let through = 0;
    for (const segment of this.#segments.values()) {
      if (segment.recordsLive > 0 || segment === this.#active) break;
      through = segment.number;
    }
    return through;
  }

  #deleteThrough(number: number): void {
    for (const segment of this.#segments.values()) {
      if (segment.number > number) return;
      try {
        this.#disk.remove(segment.name);
        this.#disk.syncFolder(); // before a newer one goes, whose removals keep this one's records dead
      } catch {
        return; // the next opening tries again
      }
      this.#segments.delete(segment.number);
      this.#openFiles = this.#openFiles.filter((open) => open !== segment);
      segment.file?.close();
      this.stats.segments--;
      this.stats.bytesTotal -= segment.size;
      try {
        this.#disk.remove(indexName(segment.number));
      } catch {
        // there was none, or the next opening removes it
      }
    }
  }

  #file(segment: Segment): DiskFile {
    if (segment.file) return segment.file;
    while (this.#openFiles.length >= FILES_MAX) {
      const at = this.#openFiles.findIndex((open) => open !== this.#active && open !== this.#syncing);
      const [idle] = this.#openFiles.splice(at, 1);
      idle!.file!.close();
      idle!.file = undefined;
    }
    segment.file = this.#disk.open(segment.name, false);
    this.#openFiles.push(segment);
    return segment.file;
  }

  #attempt<T>(what: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw new StoreError(`Cannot ${what} the store: ${String(error)}`, {}, { cause: error });
    }
  }

  #damaged(segment: Segment, offset: number, bytes: number, reason: string): StoreError {
    this.stats.damaged++;
    this.#onDamage({
      file: segmentName(segment.number),
      offset,
      bytes,
      reason: `entry at byte ${offset} ${reason}`,
    });
    return new StoreError(`Cannot read record at byte ${offset} of "${segment.name}": its entry ${reason}`, {
      file: segment.name,
      offset,
    });
  }

  #fail(error: unknown): StoreError {
    this.failed ??= error instanceof StoreError ? error : new StoreError(
      `Cannot go on: the disk failed to make changes durable, open the store anew: ${String(error)}`,
      { file: this.#active?.name },
      { cause: error },
    );
    return this.failed;
  }
}

type Put = (length: number, write: (into: Uint8Array, start: number) => number) => number;

interface Group {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

function newGroup(): Group {
  const group: Partial<Group> = {};
  group.promise = new Promise((resolve, reject) => Object.assign(group, { resolve, reject }));
  group.promise.catch(() => {}); // whoever cares has its own handler
  return group as Group;
}

/** Writes all of `bytes`, however many calls that takes. */
export function writeFully(file: DiskFile, bytes: Uint8Array, position: number): void {
  let at = 0;
  while (at < bytes.length) {
    const wrote = file.write(at === 0 ? bytes : bytes.subarray(at), position + at);
    if (wrote === 0) throw new Error("the disk takes no more bytes");
    at += wrote;
  }
}
