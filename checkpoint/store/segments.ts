import type { Entropy } from "../../base/random.ts";
import { getHash, HASH_BYTES } from "../image/hash.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { openSegments } from "./open.ts";
import type { Damage } from "./scan.ts";
import { Segment, segmentHeader } from "./segment.ts";
import { indexName, writeIndex } from "./segment_index.ts";
import { type Location, offsetOf, SEGMENT_MAX, segmentOf, StoreError, type StoreStats } from "./store.ts";

/** Files of sealed segments that are open at one time. */
const FILES_MAX = 128;

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
  };
  /** Set when no one can say any more what is on disk. */
  failed: StoreError | undefined;
  /** The segment that is appended to. */
  active!: Segment;
  /** The segment whose file a sync is running on: it stays open. */
  syncing: Segment | undefined;
  readonly #disk: Disk;
  readonly #entropy: Entropy;
  readonly #onDamage: (damage: Damage) => void;
  #byNumber = new Map<number, Segment>(); // in rising order
  #open: Segment[] = [];
  #lastNumber = 0;

  constructor(disk: Disk, entropy: Entropy, onDamage: (damage: Damage) => void) {
    this.#disk = disk;
    this.#entropy = entropy;
    this.#onDamage = onDamage;
  }

  /** Reads the folder; makes the first segment of an empty one. */
  load(): void {
    const { segments, active, lastNumber } = openSegments(this.#disk, (damage) => this.report(damage));
    this.#lastNumber = lastNumber;
    for (const segment of segments) {
      this.#byNumber.set(segment.number, segment);
      if (segment.file) this.#open.push(segment);
      this.stats.recordsLive += segment.recordsLive;
      this.stats.bytesLive += segment.bytesLive;
      this.stats.bytesTotal += segment.size;
      this.stats.segments++;
    }
    this.active = active ?? this.#create();
    this.deleteThrough(this.deadThrough());
  }

  /** Counts damage and tells of it. */
  report(damage: Damage): void {
    this.stats.damaged++;
    this.#onDamage(damage);
  }

  all(): Segment[] {
    return [...this.#byNumber.values()];
  }

  has(segment: Segment): boolean {
    return this.#byNumber.get(segment.number) === segment;
  }

  /** The segment of a location at which a live record starts. */
  live(location: Location): Segment | undefined {
    const segment = this.#byNumber.get(segmentOf(location));
    const index = segment?.find(offsetOf(location)) ?? -1;
    return segment && index >= 0 && segment.isLive(index) ? segment : undefined;
  }

  /** Kills the records that a change is about to remove, so that none is named twice; throws if one is. */
  claim(locations: readonly (Location | undefined)[]): void {
    for (const [count, location] of locations.entries()) {
      if (location === undefined) continue;
      const segment = this.live(location);
      if (!segment) {
        this.unclaim(locations, count);
        throw new StoreError(`Cannot remove location ${location}: no live record is there`);
      }
      const index = segment.find(offsetOf(location));
      segment.kill(index);
      this.stats.recordsLive--;
      this.stats.bytesLive -= segment.end(index) - segment.start(index);
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
    this.stats.bytesLive += segment.end(index) - segment.start(index);
  }

  grow(segment: Segment, bytes: number): void {
    segment.size += bytes;
    this.stats.bytesTotal += bytes;
  }

  /** Seals the active segment and makes the next. */
  roll(): Segment {
    const full = this.active;
    // Nothing of the next segment may survive a crash that this one does not.
    try {
      this.file(full).syncNow();
    } catch (error) {
      throw this.fail(error);
    }
    this.active = this.#create();
    try {
      writeIndex(this.#disk, full);
    } catch {
      // a cache: without it the next opening scans the segment
    }
    full.slim();
    return this.active;
  }

  /** A new segment, its header durable. */
  #create(): Segment {
    const number = this.#lastNumber + 1;
    if (number > SEGMENT_MAX) throw new StoreError(`Cannot append: segment ${SEGMENT_MAX} was the last`);
    const salt = new Uint8Array(HASH_BYTES);
    this.#entropy.fill(salt);
    const header = segmentHeader(number, getHash(salt, 0));
    const segment = new Segment(number, getHash(salt, 0), header.length);
    const { name } = segment;
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(name, true);
      writeFully(file, header, 0);
      file.syncNow();
      this.#disk.syncFolder();
    } catch (error) {
      try {
        file?.close();
        if (file) this.#disk.remove(name);
      } catch (again) {
        throw this.fail(again);
      }
      throw new StoreError(`Cannot make "${name}": ${String(error)}`, { file: name }, { cause: error });
    }
    this.#lastNumber = number;
    segment.file = file;
    this.#open.push(segment);
    this.#byNumber.set(number, segment);
    this.stats.segments++;
    this.stats.bytesTotal += header.length;
    return segment;
  }

  /**
   * The oldest segment that holds live records, when dead ones take more space than `garbageBytes` and than live
   * ones do. Segments before it go by themselves and do not count; the active one is nobody's to clean.
   */
  wasteful(garbageBytes: number): Segment | undefined {
    let garbage = this.stats.bytesTotal - this.stats.bytesLive;
    for (const segment of this.#byNumber.values()) {
      if (segment === this.active) return undefined;
      if (segment.recordsLive > 0) {
        return garbage > Math.max(this.stats.bytesLive, garbageBytes) ? segment : undefined;
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
  deleteThrough(number: number): void {
    for (const segment of this.#byNumber.values()) {
      if (segment.number > number) return;
      try {
        if (!segment.unlinked) this.#disk.remove(segment.name);
        segment.unlinked = true;
        this.#disk.syncFolder(); // before a newer one goes, whose removals keep this one's records dead
      } catch {
        return; // the next sync tries again, or the next opening
      }
      this.#byNumber.delete(segment.number);
      this.#open = this.#open.filter((open) => open !== segment);
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

  /** A segment's open file. */
  file(segment: Segment): DiskFile {
    if (segment.file) return segment.file;
    while (this.#open.length >= FILES_MAX) {
      const at = this.#open.findIndex((open) => open !== this.active && open !== this.syncing);
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

  close(): void {
    for (const segment of this.#open) segment.file?.close();
  }
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
