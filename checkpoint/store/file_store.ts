import { type Entropy, systemEntropy } from "../../base/random.ts";
import { smallBytes } from "../../base/small_bytes.ts";
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
import { bareOf } from "./bare.ts";
import { frameBare, recordIn, writeMark, writePut, writeRemove } from "./entry.ts";
import { GroupCommit } from "./group_commit.ts";
import { checkRecords } from "./memory_store.ts";
import { Summaries } from "./recall.ts";
import { type Damage, readFully, Window } from "./scan.ts";
import type { Segment } from "./segment.ts";
import { SUMMARY_WORDS_MAX } from "./segment_index.ts";
import { Segments } from "./segments.ts";
import { Stage } from "./stage.ts";
import {
  type AppendOptions,
  type BareRecord,
  type BareRecords,
  type Commit,
  type Kept,
  type LiveRecord,
  type Location,
  locationOf,
  type Recall,
} from "./store.ts";
import { offsetOf, segmentOf, type Store, StoreError, type StoreStats } from "./store.ts";

/** Options of `FileStore.open`. */
export interface FileStoreOptions {
  /**
   * A segment is sealed before the append that would make it larger than this many bytes, 64 MiB by
   * default, if the disk has made the next one by then, which begins when it is half full. One batch that is larger
   * by itself gets a segment of its own.
   */
  readonly segmentBytes?: number;
  /** Dead bytes that cleaning leaves alone; by default one segment's. */
  readonly garbageBytes?: number;
  /**
   * The share of all bytes that cleaning keeps alive, 0.5 by default. Of records that die at random it writes 0.25
   * bytes again for each that is appended; at 0.8 it is 1.7, and the store is smaller by 3/8.
   */
  readonly liveShareMin?: number;
  /**
   * What stays free on the disk: bytes, or, below 1, a share of the file system; by default as much as two segments.
   * An append that would go below is refused; removing and cleaning, which give space back, go on. 0 for no floor.
   */
  readonly freeMin?: number;
  /**
   * Entries of one block of an index, 2,048 by default: what was appended behind the last block is read, and shown
   * whole by `recall`, when the store is opened again.
   */
  readonly blockEntries?: number;
  /** Told of every damaged stretch, and of what a crash left unfinished at the end. */
  readonly onDamage?: (damage: Damage) => void;
  /** Where segments' salts come from. */
  readonly entropy?: Entropy;
}

const SEGMENT_BYTES = 64 * 1024 * 1024;
const BLOCK_ENTRIES = 2_048;
/** Bytes that one step of cleaning moves: some hundred sleepers, and less than a millisecond. */
const CLEAN_BYTES = 64 * 1024;
/** Offsets are below 2^32, and a batch may lie behind a nearly full segment. */
const BATCH_BYTES_MAX = 2 ** 31;
/** An idle connection's entry, with room for an attachment. */
const SHORT_BYTES = 512;
const NONE = new Uint8Array(0);
const NOWHERE: readonly Location[] = [];

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
  readonly #segments: Segments;
  readonly #commit: GroupCommit;
  readonly #unlock: () => void;
  readonly #garbageBytes: number;
  readonly #entry = newEntry();
  #found = -1;
  /** Where short entries are read, and views of it by their length: idle connections' are of few lengths. */
  readonly #shortest = new Uint8Array(SHORT_BYTES);
  readonly #short: (Uint8Array | undefined)[] = new Array<undefined>(SHORT_BYTES + 1).fill(undefined);
  readonly #bare: { bytes: Uint8Array; start: number; end: number } = { bytes: NONE, start: 0, end: 0 };
  /** Of the segment that is being cleaned. */
  #summaries: Summaries | undefined;
  #summariesOf: Segment | undefined;
  readonly #stage = new Stage();
  #closed = false;

  private constructor(disk: Disk, options: FileStoreOptions, unlock: () => void) {
    this.#disk = disk;
    const { segmentBytes = SEGMENT_BYTES, blockEntries = BLOCK_ENTRIES, entropy = systemEntropy } = options;
    const { onDamage = () => {}, liveShareMin = 0.5, freeMin = 2 * segmentBytes } = options;
    this.#garbageBytes = options.garbageBytes ?? segmentBytes;
    this.#segments = new Segments(disk, {
      segmentBytes,
      blockEntries,
      freeMin,
      liveShareMin,
      entropy,
      onDamage,
    });
    this.#commit = new GroupCommit(() => this.#sync());
    this.#unlock = unlock;
  }

  /**
   * Opens the store in `folder`, made when missing. Every record that `live()` then lists is durable.
   *
   * @throws {StoreError} When another process (or this one) has it open, or the disk refuses.
   */
  static async open(folder: string | Disk, options: FileStoreOptions = {}): Promise<FileStore> {
    const disk = typeof folder === "string" ? new FolderDisk(folder) : folder;
    const unlock = disk.lock();
    try {
      const store = new FileStore(disk, options, unlock);
      await store.#segments.load();
      return store;
    } catch (error) {
      unlock();
      if (error instanceof StoreError) throw error;
      throw new StoreError(`Cannot open store: ${String(error)}`, {}, { cause: error });
    }
  }

  /** Why it takes nothing any more, when that is so. */
  get failed(): StoreError | undefined {
    return this.#segments.failed;
  }

  /** What is in it, and what it has done. */
  get stats(): Readonly<StoreStats> {
    return this.#segments.stats;
  }

  /** As {@linkcode Store.append}. */
  append(records: readonly Uint8Array[], options: AppendOptions = {}): Commit {
    this.#ready();
    const { supersedes = [], summaries, hashed = false } = options;
    checkRecords(records, supersedes);
    const words = wordsOf(summaries, records.length);
    let total = 0;
    const contents: Content[] = [];
    for (let index = 0; index < records.length; index++) {
      const content = contentOf(records[index]!, supersedes[index], -1, hashed);
      contents.push(content);
      total += content.entryBytes;
    }
    if (total > BATCH_BYTES_MAX) throw new StoreError(`Cannot append ${total} bytes at once`);
    const locations = new Float64Array(records.length);
    this.#change(
      supersedes,
      total,
      (segment) => this.#putAll(segment, contents, supersedes, undefined, locations),
      (segment) => {
        for (let index = 0; index < locations.length; index++) segment.add(offsetOf(locations[index]!), true);
      },
      1,
      false,
    );
    return this.#appended(locations, summaries, words);
  }

  /** As {@linkcode Store.appendBare}. */
  appendBare(batch: BareRecords, summaries?: Int32Array): Commit {
    this.#ready();
    const { count, length } = batch;
    const words = wordsOf(summaries, count);
    if (length > BATCH_BYTES_MAX) throw new StoreError(`Cannot append ${length} bytes at once`);
    const locations = new Float64Array(count);
    this.#change(
      NOWHERE,
      length,
      ({ number, size, salt }) => {
        for (let index = 0; index < count; index++) {
          const at = batch.entryStart(index);
          frameBare(batch.bytes, at, batch.recordEnd(index), salt);
          locations[index] = locationOf(number, size + at);
        }
        this.#stage.through(batch.bytes.subarray(0, length));
      },
      (segment) => {
        for (let index = 0; index < count; index++) segment.add(segment.size + batch.entryStart(index), true);
      },
      0,
      false,
    );
    return this.#appended(locations, summaries, words);
  }

  /** The records that were written last live from now on. */
  #appended(locations: Float64Array<ArrayBuffer>, summaries: Int32Array | undefined, words: number): Commit {
    const segment = this.#segments.active;
    const first = segment.count - locations.length;
    for (let at = 0; at < locations.length; at++) {
      this.#segments.revive(segment, first + at);
      if (words > 0) segment.index.note(first + at, summaries!, words * at, words);
    }
    return { locations, durable: this.#commit.request() };
  }

  /** As {@linkcode Store.remove}. */
  remove(locations: readonly Location[]): Commit {
    this.#ready();
    if (locations.length > REMOVED_MAX) {
      throw new StoreError(`Cannot remove ${locations.length} records at once, ${REMOVED_MAX} are the limit`);
    }
    if (locations.length > 0) {
      const length = removeBytes(locations);
      this.#change(
        locations,
        length,
        ({ salt }) => {
          const at = this.#stage.room(length);
          this.#stage.take(writeRemove(this.#stage.bytes, at, locations, salt));
        },
        (segment) => segment.add(segment.size, false),
        0,
        true,
      );
    }
    return { locations: new Float64Array(0), durable: this.#commit.request() };
  }

  /** As {@linkcode Store.read}. */
  read(location: Location): Uint8Array {
    return recordIn(this.#read(location), this.#entry);
  }

  /** As {@linkcode Store.readKept}. */
  readKept(location: Location): Kept {
    const bytes = this.#read(location);
    const { recordStart, recordEnd, isBare } = this.#entry;
    return { bytes: bytes.subarray(recordStart, recordEnd), isBare };
  }

  /** As {@linkcode Store.readBare}. */
  readBare(location: Location): BareRecord | undefined {
    const segment = this.#holding(location);
    const start = offsetOf(location);
    const length = segment.bytes(this.#found);
    if (length > SHORT_BYTES) return undefined;
    const bytes = this.#short[length] ??= this.#shortest.subarray(0, length);
    const got = this.#readInto(segment, bytes, start);
    const reason = readEntry(bytes, 0, got, segment.salt, this.#entry);
    const { kind, isBare, recordStart, recordEnd } = this.#entry;
    if (reason !== undefined || kind !== EntryKind.Put || !isBare) return undefined;
    const bare = this.#bare;
    bare.bytes = bytes;
    bare.start = recordStart;
    bare.end = recordEnd;
    return bare;
  }

  /** The segment of a live record; `#found` is which entry it is. */
  #holding(location: Location): Segment {
    if (this.#closed) throw new StoreError("Cannot read the store: it is closed");
    const segment = this.#segments.holding(location);
    const index = segment?.find(offsetOf(location)) ?? -1;
    if (segment === undefined || index < 0 || !segment.isLive(index)) {
      const place = `${segmentOf(location)}:${offsetOf(location)}`;
      throw new StoreError(`Cannot read location ${place}: no live record is there`);
    }
    this.#found = index;
    return segment;
  }

  /** The bytes of a live record's entry, which `#entry` describes. */
  #read(location: Location): Uint8Array {
    const segment = this.#holding(location);
    const start = offsetOf(location);
    const bytes = smallBytes(segment.bytes(this.#found));
    const length = this.#readInto(segment, bytes, start);
    const reason = readEntry(bytes, 0, length, segment.salt, this.#entry);
    if (reason !== undefined || this.#entry.kind !== EntryKind.Put) {
      throw this.#damaged(segment, start, bytes.length, reason ?? "is no record");
    }
    return bytes;
  }

  #readInto(segment: Segment, bytes: Uint8Array, start: number): number {
    try {
      return readFully(this.#segments.file(segment), bytes, start);
    } catch (error) {
      const at = { file: segment.name, offset: start };
      throw new StoreError(`Cannot read byte ${start} of "${segment.name}": ${String(error)}`, at, {
        cause: error,
      });
    }
  }

  /** As {@linkcode Store.summaryOf}. */
  summaryOf(location: Location): Int32Array | undefined {
    if (this.#closed) throw new StoreError("Cannot read the store: it is closed");
    const segment = this.#segments.live(location);
    if (segment === undefined) return undefined;
    const entry = segment.find(offsetOf(location));
    return segment.index.noted(entry) ?? new Summaries(this.#disk, segment).of(entry);
  }

  /** As {@linkcode Store.live}. */
  *live(): IterableIterator<LiveRecord> {
    if (this.#closed) throw new StoreError("Cannot list the store: it is closed");
    const counts = this.#segments.all().map((segment) => [segment, segment.count] as const);
    for (const [segment, count] of counts) {
      if (this.#segments.has(segment)) yield* this.#liveIn(segment, count, NONE);
    }
  }

  /** As {@linkcode Store.recall}. */
  recall(take: Recall): void {
    if (this.#closed) throw new StoreError("Cannot list the store: it is closed");
    for (const segment of this.#segments.all()) {
      if (segment.recordsLive === 0) continue;
      const { count } = segment;
      const told = new Summaries(this.#disk, segment).tell(take);
      for (const record of this.#liveIn(segment, count, told)) {
        const summary = take.record(record);
        if (summary !== undefined) {
          segment.index.note(segment.find(offsetOf(record.location)), summary, 0, summary.length);
        }
      }
      this.#segments.recalled(segment);
    }
  }

  /** Live records of the first `count` entries of a segment, but those that have a bit in `without`. */
  *#liveIn(segment: Segment, count: number, without: Uint8Array): IterableIterator<LiveRecord> {
    const isNext = (index: number): boolean =>
      segment.isLive(index) && ((without[index >> 3] ?? 0) & (1 << (index & 7))) === 0;
    let index = 0;
    while (index < count && !isNext(index)) index++;
    if (index === count) return;
    const record: LiveRecord = { location: 0, bytes: NONE, origin: 0, summary: undefined };
    const entry = newEntry();
    const summaries = without === NONE ? new Summaries(this.#disk, segment) : undefined;
    const file = this.#disk.open(segment.name, false); // its own: a step may take long, others may go meanwhile
    try {
      const window = new Window(file, segment.size);
      for (; index < count; index++) {
        if (!isNext(index)) continue;
        const start = segment.start(index);
        const length = segment.bytes(index);
        const at = window.show(start, length);
        const limit = Math.min(at + length, window.length);
        const reason = readEntry(window.bytes, at, limit, segment.salt, entry);
        if (reason !== undefined || entry.kind !== EntryKind.Put) {
          this.#damaged(segment, start, length, reason ?? "is no record");
          continue;
        }
        record.location = locationOf(segment.number, start);
        record.bytes = recordIn(window.bytes, entry);
        record.origin = entry.origin < 0 ? record.location : entry.origin;
        record.summary = summaries?.of(index);
        yield record;
      }
    } finally {
      file.close();
    }
  }

  /** As {@linkcode Store.onMoved}. */
  onMoved: Store["onMoved"];

  /** As {@linkcode Store.clean}. */
  clean(bytesMax: number = CLEAN_BYTES): boolean {
    this.#ready();
    const oldest = this.onMoved && this.#segments.wasteful(this.#garbageBytes);
    if (oldest === undefined) {
      this.#segments.deleteAgain();
      return false;
    }
    if (this.#summariesOf !== oldest) {
      this.#summaries = new Summaries(this.#disk, oldest);
      this.#summariesOf = oldest;
    }
    const moves: Move[] = [];
    const damaged: Location[] = [];
    let bytes = 0;
    for (let index = oldest.nextLive(0); index >= 0 && bytes < bytesMax; index = oldest.nextLive(index + 1)) {
      const from = locationOf(oldest.number, oldest.start(index));
      bytes += oldest.bytes(index);
      try {
        const record = this.read(from);
        const origin = this.#entry.origin < 0 ? from : this.#entry.origin;
        moves.push({ from, origin, record, summary: this.#summaries!.of(index) });
      } catch (error) {
        if ((error as StoreError).cause !== undefined) throw error; // the disk refuses: perhaps not the next time
        damaged.push(from); // reported by `read`; whoever wants it will be told that it is lost
      }
    }
    if (damaged.length > 0) this.remove(damaged);
    if (moves.length > 0) this.#move(moves);
    return true;
  }

  #move(moves: readonly Move[]): void {
    const targets = new Float64Array(moves.length);
    let total = 0;
    const contents = moves.map(({ record, from, origin }) => contentOf(record, from, origin, false));
    for (const { entryBytes } of contents) total += entryBytes;
    const froms = moves.map(({ from }) => from);
    const origins = moves.map(({ origin }) => origin);
    this.#change(
      froms,
      total,
      (segment) => this.#putAll(segment, contents, froms, origins, targets),
      (segment) => {
        for (const target of targets) segment.add(offsetOf(target), true);
      },
      1,
      true,
    );
    const segment = this.#segments.active;
    for (let back = moves.length; back > 0; back--) this.#segments.revive(segment, segment.count - back);
    this.#segments.stats.bytesMoved += total;
    this.#commit.request().catch(() => {}); // then the segment can go
    const first = segment.count - moves.length;
    const errors: unknown[] = [];
    for (const [index, { from, record, summary: known }] of moves.entries()) {
      try {
        const told = this.onMoved!(from, targets[index]!, record, known);
        const summary = known ?? told ?? undefined;
        if (summary !== undefined) segment.index.note(first + index, summary, 0, summary.length);
      } catch (error) { // of one record: whoever the others belong to must hear where they are
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** As {@linkcode Store.originOf}. */
  originOf(location: Location): Location {
    this.read(location);
    return this.#entry.origin < 0 ? location : this.#entry.origin;
  }

  /** As {@linkcode Store.sync}. */
  sync(): Promise<void> {
    try {
      this.#ready();
      return this.#commit.request();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Begins a new segment: what is appended from now on lies behind everything else, and older segments go as soon as
   * nothing in them lives.
   *
   * @throws {StoreError} When the disk refuses.
   */
  async seal(): Promise<void> {
    this.#ready();
    await this.#segments.seal();
  }

  /** Resolves when the disk has nothing to do for this store: no sync, nothing to make in advance or to delete. */
  async idle(): Promise<void> {
    await this.#commit.idle();
    await this.#segments.idle();
  }

  /** As {@linkcode Store.close}. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.failed) await this.#commit.request();
      await this.#commit.idle();
    } finally {
      await this.#segments.idle();
      await this.#segments.close();
      this.#unlock();
    }
  }

  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ready(): void {
    if (this.#closed) throw new StoreError("Cannot change the store: it is closed");
    if (this.failed) throw this.failed;
  }

  /**
   * One change: `removed` die, `length` bytes of entries are written. `added` puts them into the index, and says
   * which entry kills `removed[0]`; if they are of one entry each, the next kills `removed[1]`.
   */
  #change(
    removed: readonly (Location | undefined)[],
    length: number,
    fill: (segment: Segment) => void,
    added: (segment: Segment) => void,
    each: 0 | 1,
    fromReserve: boolean,
  ): void {
    this.#segments.claim(removed);
    try {
      const segment = this.#segments.room(length, fromReserve);
      this.#write(segment, fill);
      const first = segment.count;
      added(segment);
      this.#segments.grow(segment, length);
      for (let at = 0; at < removed.length; at++) {
        const location = removed[at];
        if (location !== undefined) segment.addRemoved(location, first + each * at);
      }
    } catch (error) {
      this.#segments.unclaim(removed, removed.length);
      throw error;
    }
  }

  /** Writes entries behind a segment's end, through the stage; on failure they are cut off again. */
  #write(segment: Segment, fill: (segment: Segment) => void): void {
    const file = this.#segments.file(segment);
    const stage = this.#stage;
    stage.begin(file, segment.size);
    try {
      fill(segment);
      stage.flush();
    } catch (error) {
      try {
        file.truncate(segment.size);
      } catch (again) {
        throw this.#segments.fail(again);
      }
      const position = stage.written;
      throw new StoreError(
        `Cannot write "${segment.name}" at byte ${position}: ${String(error)}`,
        { file: segment.name, offset: position },
        { cause: error },
      );
    } finally {
      stage.end();
    }
  }

  /** Stages the entries of records, and says where they will lie. */
  #putAll(
    { number, salt }: Segment,
    contents: readonly Content[],
    supersedes: readonly (Location | undefined)[],
    origins: readonly Location[] | undefined,
    locations: Float64Array,
  ): void {
    const stage = this.#stage;
    for (let index = 0; index < contents.length; index++) {
      const { bytes, isBare, entryBytes } = contents[index]!;
      const at = stage.room(entryBytes);
      locations[index] = locationOf(number, stage.position);
      stage.take(writePut(stage.bytes, at, bytes, supersedes[index], salt, origins?.[index], isBare));
    }
  }

  #sync(): Promise<void> {
    return this.#segments.sync((active, durable) => this.#mark(active, durable));
  }

  /** Notes in the segment how far it was durable: what is damaged before was no torn write. */
  #mark(segment: Segment, durable: number): void {
    try {
      let length = 0;
      this.#write(segment, ({ salt }) => {
        const at = this.#stage.room(MARK_BYTES_MAX);
        const end = writeMark(this.#stage.bytes, at, durable, salt);
        length = end - at;
        this.#stage.take(end);
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

/** Words of each of `count` summaries. */
function wordsOf(summaries: Int32Array | undefined, count: number): number {
  const words = summaries === undefined ? 0 : summaries.length / count;
  if (count === 0 || (Number.isInteger(words) && words <= SUMMARY_WORDS_MAX)) return words;
  throw new StoreError(`Cannot append: summaries of ${words} words, need 0 to ${SUMMARY_WORDS_MAX}`);
}

/** A live record on its way out of the oldest segment. */
interface Move {
  readonly from: Location;
  readonly origin: Location;
  readonly record: Uint8Array;
  readonly summary: Int32Array | undefined;
}

/** What the entry of a record holds. */
interface Content {
  readonly bytes: Uint8Array;
  readonly isBare: boolean;
  readonly entryBytes: number;
}

function contentOf(
  record: Uint8Array,
  superseded: Location | undefined,
  origin: Location,
  hashed: boolean,
): Content {
  const bare = bareOf(record, hashed);
  const bytes = bare ?? record;
  const isBare = bare !== undefined;
  return { bytes, isBare, entryBytes: putBytes(bytes.length, superseded, origin, isBare) };
}
