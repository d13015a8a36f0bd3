import type { Entropy } from "../../base/random.ts";
import { getHash, HASH_BYTES } from "../image/hash.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { SEAM_BYTES_MAX, writeSeam } from "./entry.ts";
import { openSegments } from "./open.ts";
import type { Damage } from "./scan.ts";
import { Segment, segmentHeader } from "./segment.ts";
import { createIndex, indexName, writeFully } from "./segment_index.ts";
import { type Location, offsetOf, SEGMENT_MAX, segmentOf, StoreError, type StoreStats } from "./store.ts";

/** Files of sealed segments that are open at one time. */
const FILES_MAX = 128;
/** Offsets are below 2^32; room for a seam and a mark. */
const SIZE_MAX = 2 ** 32 - 256;

/** See `FileStoreOptions`. */
interface SegmentsOptions {
  readonly segmentBytes: number;
  readonly blockEntries: number;
  readonly freeMin: number;
  readonly liveShareMin: number;
  readonly entropy: Entropy;
  readonly onDamage: (damage: Damage) => void;
}

/** The segments of one folder: which records live, which file takes the next entry, which may go. */
export class Segments {
  readonly stats: StoreStats = {
    recordsLive: 0,
    bytesLive: 0,
    bytesTotal: 0,
    segments: 0,
    bytesMoved: 0,
    syncs: 0,
    damaged: 0,
    torn: 0,
  };
  /** Set when no one can say any more what is on disk. */
  failed: StoreError | undefined;
  /** The segment that is appended to. */
  active!: Segment;
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #blockEntries: number;
  readonly #liveShareMin: number;
  readonly #entropy: Entropy;
  readonly #onDamage: (damage: Damage) => void;
  #byNumber = new Map<number, Segment>(); // in rising order
  #open: Segment[] = [];
  #lastNumber = 0;
  /** The segment whose file a sync is running on: it stays open. */
  #syncing: Segment | undefined;
  /** Segments that are full and not yet durable, oldest first. */
  #sealed: Segment[] = [];
  /** How far the active segment is durable. */
  #durable = 0;
  /** The next segment, when it is made; it holds nothing. */
  #spare: Segment | undefined;
  #making: Promise<void> | undefined;
  /** Why the next segment could not be made, and after how many syncs. */
  #refusal: unknown;
  #refusedAt = -1;
  /** Bytes that the disk has left, and the floor of them, in bytes and as it was asked for. */
  #free = Infinity;
  #floor = 0;
  #written = 0;
  #measuredAt = 0;
  readonly #floorWanted: number;
  #measuring: Promise<void> | undefined;
  #background: Promise<void> = Promise.resolve();
  /** Why the oldest dead segments are still there, when the disk did not let them go. */
  #undeleted: { through: number; cause: unknown } | undefined;

  constructor(disk: Disk, options: SegmentsOptions) {
    const { segmentBytes, blockEntries, freeMin, liveShareMin, entropy, onDamage } = options;
    this.#floorWanted = freeMin;
    this.#liveShareMin = liveShareMin;
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.#blockEntries = blockEntries;
    this.#entropy = entropy;
    this.#onDamage = onDamage;
  }

  /** Reads the folder; makes the first segment of an empty one. */
  async load(): Promise<void> {
    const { segments, active, lastNumber } = openSegments(this.#disk, (damage) => this.report(damage));
    this.#lastNumber = lastNumber;
    for (const segment of segments) {
      this.#byNumber.set(segment.number, segment);
      this.stats.recordsLive += segment.recordsLive;
      this.stats.bytesLive += segment.bytesLive;
      this.stats.bytesTotal += segment.size;
      this.stats.segments++;
    }
    if (active) {
      this.active = active;
      this.#durable = active.size;
    } else this.#adopt(this.active = await this.#make());
    await this.#deleteThrough(this.deadThrough());
    await this.#measure();
  }

  /** Counts damage and tells of it. */
  report(damage: Damage): void {
    this.stats.damaged++;
    if (damage.torn) this.stats.torn++;
    this.#onDamage(damage);
  }

  all(): Segment[] {
    return [...this.#byNumber.values()];
  }

  has(segment: Segment): boolean {
    return this.#byNumber.get(segment.number) === segment;
  }

  /** The segment that `location` is in, whatever is there. */
  holding(location: Location): Segment | undefined {
    return this.#byNumber.get(segmentOf(location));
  }

  /** The segment of a location at which a live record starts. */
  live(location: Location): Segment | undefined {
    const segment = this.#byNumber.get(segmentOf(location));
    const index = segment?.find(offsetOf(location)) ?? -1;
    return segment && index >= 0 && segment.isLive(index) ? segment : undefined;
  }

  /** Kills the records that a change is about to remove, so that none is named twice; throws if one is. */
  claim(locations: readonly (Location | undefined)[]): void {
    for (let count = 0; count < locations.length; count++) {
      const location = locations[count];
      if (location === undefined) continue;
      const segment = this.#byNumber.get(segmentOf(location));
      const index = segment?.find(offsetOf(location)) ?? -1;
      if (segment === undefined || index < 0 || !segment.isLive(index)) {
        this.unclaim(locations, count);
        throw new StoreError(`Cannot remove location ${location}: no live record is there`);
      }
      segment.kill(index);
      this.stats.recordsLive--;
      this.stats.bytesLive -= segment.bytes(index);
    }
  }

  /** Takes back a claim of the first `count` locations. */
  unclaim(locations: readonly (Location | undefined)[], count: number): void {
    for (const location of locations.slice(0, count)) {
      if (location === undefined) continue;
      const segment = this.#byNumber.get(segmentOf(location))!;
      this.revive(segment, segment.find(offsetOf(location)));
    }
  }

  revive(segment: Segment, index: number): void {
    segment.revive(index);
    this.stats.recordsLive++;
    this.stats.bytesLive += segment.bytes(index);
  }

  grow(segment: Segment, bytes: number): void {
    segment.size += bytes;
    this.#free -= bytes;
    this.#written += bytes;
    this.stats.bytesTotal += bytes;
  }

  /**
   * The segment that takes `length` bytes more: the active one, or the next when that would be too large.
   * @param fromReserve What is to be written gives space back, soon: for it the floor does not hold.
   */
  room(length: number, fromReserve: boolean): Segment {
    if (!fromReserve && this.#free - length < this.#floor) {
      void this.#measure(); // for the next attempt
      const { free, floor } = { free: Math.floor(this.#free), floor: Math.ceil(this.#floor) };
      throw new StoreError(
        `Cannot append ${length} bytes: the disk has ${free} left, of which ${floor} stay free`,
      );
    }
    const full = this.active;
    if (full.size + length > this.#segmentBytes && full.size > full.emptySize && this.#spare) {
      this.#roll(this.#spare);
    }
    const { active } = this;
    if (active.size + length > SIZE_MAX) {
      const cause = this.#refusal;
      const why = cause === undefined ? "the disk has not made the next segment yet" : String(cause);
      throw new StoreError(
        `Cannot append to "${active.name}": it is full, and ${why}`,
        { file: active.name },
        {
          cause,
        },
      );
    }
    if (active.size + length > this.#segmentBytes / 2) this.#prepare();
    return active;
  }

  /** Seals the active segment, whatever room it has. */
  async seal(): Promise<void> {
    if (this.active.size === this.active.emptySize) return;
    this.#prepare();
    await this.#making;
    if (this.active.size === this.active.emptySize) return;
    const cause = this.#refusal;
    if (!this.#spare) throw new StoreError(`Cannot begin a segment: ${String(cause)}`, {}, { cause });
    this.#roll(this.#spare);
  }

  /** Seals the active segment; `next` says where that ended, since it may reach the disk before it does. */
  #roll(next: Segment): void {
    const { active } = this;
    const seam = new Uint8Array(SEAM_BYTES_MAX);
    const length = writeSeam(seam, 0, active.number, active.size, next.salt);
    try {
      writeFully(next.file!, seam.subarray(0, length), next.size);
    } catch (error) {
      try {
        next.file!.truncate(next.size);
      } catch (again) {
        throw this.fail(again);
      }
      throw new StoreError(`Cannot write "${next.name}" at byte ${next.size}: ${String(error)}`, {
        file: next.name,
        offset: next.size,
      }, { cause: error });
    }
    next.add(next.size, false);
    this.#spare = undefined;
    this.#adopt(next);
    this.grow(next, length);
    next.emptySize = next.size;
    this.#sealed.push(active);
    this.active = next;
    this.#durable = 0;
  }

  #adopt(segment: Segment): void {
    this.#open.push(segment);
    this.#byNumber.set(segment.number, segment);
    this.stats.segments++;
    this.stats.bytesTotal += segment.size;
  }

  /** Asks the disk how much room it has. */
  #measure(): Promise<void> {
    if (this.#floorWanted === 0) return Promise.resolve();
    const before = this.#measuredAt = this.#written;
    return this.#measuring ??= this.#disk.space().then(({ free, total }) => {
      this.#free = free - (this.#written - before); // some of which may be counted twice
      this.#floor = this.#floorWanted < 1 ? this.#floorWanted * total : this.#floorWanted;
    }).finally(() => this.#measuring = undefined);
  }

  /** Has the next segment made, so that it is there when the active one is full. */
  #prepare(): void {
    if (this.#spare || this.#making || this.#refusedAt === this.stats.syncs || this.failed) return;
    this.#making = this.#make().then((segment) => {
      this.#spare = segment;
      this.#refusal = undefined;
    }, (error) => {
      this.#refusal = error;
      this.#refusedAt = this.stats.syncs; // after the next sync it may be another disk
    }).finally(() => this.#making = undefined);
  }

  /** A new segment, its header durable. */
  async #make(): Promise<Segment> {
    const number = ++this.#lastNumber; // never again, whatever is left of it
    if (number > SEGMENT_MAX) throw new StoreError(`Cannot append: segment ${SEGMENT_MAX} was the last`);
    const salt = new Uint8Array(HASH_BYTES);
    this.#entropy.fill(salt);
    const header = segmentHeader(number, getHash(salt, 0));
    const segment = new Segment(number, getHash(salt, 0), header.length);
    const { name } = segment;
    try {
      segment.file = await this.#disk.create(name);
      writeFully(segment.file, header, 0);
      await segment.file.sync();
      segment.index = await createIndex(this.#disk, segment);
      await this.#disk.syncFolder();
      return segment;
    } catch (error) {
      await this.#unmake(segment);
      throw new StoreError(`Cannot make "${name}": ${String(error)}`, { file: name }, { cause: error });
    }
  }

  /** Takes back a segment that nothing was written to; what stays of it is empty, and removed by the next opening. */
  async #unmake(segment: Segment): Promise<void> {
    segment.index.close();
    segment.file?.close();
    for (const name of [indexName(segment.number), segment.name]) {
      await this.#disk.remove(name).catch(() => {});
    }
  }

  /**
   * Makes all durable that was written before the call, from the oldest on: what is durable is a prefix at any time.
   * Then writes indexes of it, and deletes what is dead by it.
   * @param done Called at once when the active segment is known to be durable before byte `durable`.
   */
  async sync(done: (active: Segment, durable: number) => void): Promise<void> {
    const { active } = this;
    const sealed = this.#sealed.length;
    const durable = active.size;
    if (this.#written - this.#measuredAt >= this.#floor / 16) void this.#measure();
    const dead = this.deadThrough(); // by removals that this makes durable
    for (const segment of [...this.#sealed, active]) {
      try {
        if (this.failed) throw this.failed;
        this.#syncing = segment;
        await this.file(segment).sync();
        if (this.failed) throw this.failed;
      } catch (error) {
        throw this.fail(error);
      } finally {
        this.#syncing = undefined;
      }
    }
    this.stats.syncs++;
    for (const segment of this.#sealed.splice(0, sealed)) this.#finish(segment);
    if (active === this.active) {
      this.#durable = durable;
      done(active, durable);
    }
    active.index.write(this.#disk, active, durable, this.#blockEntries, false);
    if (dead > 0) this.#background = this.#background.then(() => this.#deleteThrough(dead));
  }

  /** All of a sealed segment is durable: its index gets what it lacks, and memory what nobody asks for any more. */
  #finish(segment: Segment): void {
    segment.index.write(this.#disk, segment, segment.size, this.#blockEntries, true);
    segment.slim();
  }

  /** Summaries were told that the index of this segment lacks, all of which was durable when it was opened. */
  recalled(segment: Segment): void {
    if (segment !== this.active) this.#finish(segment);
  }

  /**
   * The oldest segment that holds live records, when dead ones take more space than `garbageBytes` and than beside
   * that share of live ones. Segments before it go by themselves and do not count; the active one is nobody's to clean.
   */
  wasteful(garbageBytes: number): Segment | undefined {
    let garbage = this.stats.bytesTotal - this.stats.bytesLive;
    for (const segment of this.#byNumber.values()) {
      if (segment === this.active) return undefined;
      if (segment.recordsLive > 0) {
        const most = this.stats.bytesLive * (1 / this.#liveShareMin - 1);
        return garbage > Math.max(most, garbageBytes) ? segment : undefined;
      }
      garbage -= segment.size;
    }
    return undefined;
  }

  /** The newest of the oldest segments that hold no live record and are written no more; 0 for none. */
  deadThrough(): number {
    let through = 0;
    for (const segment of this.#byNumber.values()) {
      if (segment.recordsLive > 0 || segment === this.active) break;
      through = segment.number;
    }
    return through;
  }

  /** Deletes the oldest segments up to `number`, all of them dead, their removals durable. */
  async #deleteThrough(number: number): Promise<void> {
    for (const segment of this.#byNumber.values()) {
      if (segment.number > number) return;
      try {
        if (!segment.unlinked) await this.#disk.remove(segment.name);
        segment.unlinked = true;
        await this.#disk.syncFolder(); // before a newer one goes, whose removals keep this one's records dead
      } catch (cause) {
        this.#undeleted = { through: number, cause }; // the next sync tries again, or `deleteAgain`, or the next opening
        return;
      }
      this.#byNumber.delete(segment.number);
      this.#open = this.#open.filter((open) => open !== segment);
      segment.index.close();
      segment.file?.close();
      this.stats.segments--;
      this.stats.bytesTotal -= segment.size;
      await this.#disk.remove(indexName(segment.number)).catch(() => {}); // none, or the next opening removes it
    }
  }

  /**
   * Tries once more to delete what could not be deleted, when there is such.
   * @throws {StoreError} What the disk refused the last time.
   */
  deleteAgain(): void {
    if (this.#undeleted === undefined) return;
    const { through, cause } = this.#undeleted;
    this.#undeleted = undefined;
    this.#background = this.#background.then(() => this.#deleteThrough(through));
    throw new StoreError(`Cannot delete a segment of which nothing lives: ${String(cause)}`, {}, { cause });
  }

  /** A segment's open file. */
  file(segment: Segment): DiskFile {
    if (segment.file) return segment.file;
    while (this.#open.length >= FILES_MAX) {
      const at = this.#open.findIndex((open) => {
        return open !== this.active && open !== this.#syncing && !this.#sealed.includes(open);
      });
      if (at < 0) break;
      const [idle] = this.#open.splice(at, 1);
      idle!.file!.close();
      idle!.file = undefined;
    }
    segment.file = this.#disk.open(segment.name, false);
    this.#open.push(segment);
    return segment.file;
  }

  /** Remembers that changes can no longer be made durable; the error that says so. */
  fail(error: unknown): StoreError {
    this.failed ??= error instanceof StoreError ? error : new StoreError(
      `Cannot go on: the disk failed to make changes durable, open the store anew: ${String(error)}`,
      { file: this.active?.name },
      { cause: error },
    );
    return this.failed;
  }

  /** Resolves when nothing is made or deleted in the background any more. */
  async idle(): Promise<void> {
    await this.#making;
    await this.#background;
    await this.#measuring;
  }

  /** Lets go of the files, when the store is idle. */
  async close(): Promise<void> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (!this.failed) {
      this.active.index.write(this.#disk, this.active, this.#durable, this.#blockEntries, true);
    }
    for (const segment of this.#byNumber.values()) segment.index.close();
    for (const segment of this.#open) segment.file?.close();
    if (spare) await this.#unmake(spare);
  }
}
