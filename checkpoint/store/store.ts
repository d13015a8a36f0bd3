/**
 * Where a record lives: `segment * 2^32 + offset`, a safe integer. Whoever appended keeps it (the
 * connection map does, in its slot); the store keeps no object per record.
 */
export type Location = number;

/** Segments are numbered below 2^21, so that every location is a safe integer. */
export const SEGMENT_MAX = 2 ** 21 - 1;

/** The largest record, in bytes: a read holds it in memory at once. Larger things are cut in pieces. */
export const RECORD_BYTES_MAX = 16 * 1024 * 1024;

/** The location of byte `offset` of segment `segment`. */
export function locationOf(segment: number, offset: number): Location {
  return segment * 0x1_0000_0000 + offset;
}

/** The number of the segment that holds `location`. */
export function segmentOf(location: Location): number {
  return Math.floor(location / 0x1_0000_0000);
}

/** The byte of its segment at which the entry of `location` starts. */
export function offsetOf(location: Location): number {
  return location - 0x1_0000_0000 * segmentOf(location); // a remainder of doubles is a call
}

/** What a change of the store gives back, at once. */
export interface Commit {
  /** One location per appended record, in their order; empty for a removal. */
  readonly locations: Float64Array<ArrayBuffer>;
  /**
   * Resolves when the change survives a power failure, rejects with a `StoreError` when that can no
   * longer be promised. It may be ignored: a rejection that nobody reads ends no program.
   */
  readonly durable: Promise<void>;
}

/** Options of `Store.append`. */
export interface AppendOptions {
  /**
   * `supersedes[i]` is the live record that `records[i]` replaces, or `undefined`. Each pair is one
   * entry: after a crash exactly one of the two is live.
   */
  readonly supersedes?: readonly (Location | undefined)[];
  /**
   * What the appender wants to know of each record when the store is opened again, without reading it: the same
   * number of words for each, 32 at most, one record's behind the other's. The store knows nothing of their meaning,
   * and may lose them: `recall` then shows the record.
   */
  readonly summaries?: Int32Array;
  /** The records are images as `writeImage` has just made them: their hashes need no look. */
  readonly hashed?: boolean;
}

/** What is told during `Store.recall`; all of it is valid until the call returns. */
export interface Recall {
  /**
   * Live records with their summaries: the word `word` of record `index` is `words[word][index]`, and it lies at
   * `locations[index]`. Arrays may be longer than `count`.
   */
  summaries(count: number, locations: Float64Array, words: readonly Int32Array[]): void;
  /** A live record whose summary is not known. @returns Its summary, if there should be one the next time. */
  record(record: LiveRecord): Int32Array | undefined;
}

/** A live record during `Store.live`; the object and its bytes are valid until the next step only. */
export interface LiveRecord {
  /** Where it lies. */
  location: Location;
  /** The record; valid until the next one. */
  bytes: Uint8Array;
  /** Where it was first written: of two records the one with the larger origin is the later. */
  origin: Location;
  /** What it was appended with, when that is known. */
  summary?: Int32Array | undefined;
}

/** A record as a store keeps it. */
export interface Kept {
  /** They belong to the caller. */
  readonly bytes: Uint8Array;
  /** Of an image without chunks only kind, version and body are there, one item behind the other (bare.ts). */
  readonly isBare: boolean;
}

/** A bare record (bare.ts), `[start, end)` of bytes that are the store's. */
export interface BareRecord {
  /** What it lies in. */
  readonly bytes: Uint8Array;
  /** Where it begins. */
  readonly start: number;
  /** Where it ends. */
  readonly end: number;
}

/** Records as `Kept` has bare ones, one behind the other, with room around each for what a store puts there. */
export interface BareRecords {
  /** All of them; a store writes into the room around them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How many. */
  readonly count: number;
  /** Bytes of all, with their room. */
  readonly length: number;
  /** Where the room of a record begins. */
  entryStart(index: number): number;
  /** Where a record ends. */
  recordEnd(index: number): number;
}

/** Counts of a store. */
export interface StoreStats {
  /** Records in force. */
  recordsLive: number;
  /** Bytes of live records, with the store's own framing. */
  bytesLive: number;
  /** Bytes of all files. */
  bytesTotal: number;
  /** Files. */
  segments: number;
  /** Bytes of live records that cleaning has written once more. */
  bytesMoved: number;
  /** Commits to disk. */
  syncs: number;
  /** Damaged places found by opening, reading or listing, */
  damaged: number;
  /** and how many of them are what a crash leaves: nothing in them had been promised. */
  torn: number;
}

/**
 * Keeps records until they are removed.
 *
 * Contract: after a crash at any instant the store opens as the state after *some prefix* of the
 * calls to `append` and `remove` (of a batch, some prefix of its records), and that prefix contains
 * every call whose `durable` had resolved. When only the process dies (`kill -9`), it contains every
 * call that had returned.
 */
export interface Store extends AsyncDisposable {
  /**
   * Appends records; they are written (they survive `kill -9`) when this returns.
   *
   * @throws {StoreError} When the disk refuses: nothing was appended and the store stays usable,
   * unless `failed` is set. Also for a record over `RECORD_BYTES_MAX` or a `supersedes` that is not live.
   */
  append(records: readonly Uint8Array[], options?: AppendOptions): Commit;
  /**
   * As `append`, of bare records: what they are written in is the batch itself, which may be used again.
   *
   * @throws {StoreError} As `append`.
   */
  appendBare?(batch: BareRecords, summaries?: Int32Array): Commit;
  /**
   * Removes records, all or none.
   *
   * @throws {StoreError} As `append`; also when a location holds no live record, or is named twice.
   */
  remove(locations: readonly Location[]): Commit;
  /**
   * A live record's bytes, read synchronously and verified. They belong to the caller.
   *
   * @throws {StoreError} When no live record is there, or it is damaged: file, byte and hashes are named.
   */
  read(location: Location): Uint8Array;
  /**
   * As `read`, as the record is kept: of an image what has to be made up and hashed again may be left out.
   *
   * @throws {StoreError} As `read`.
   */
  readKept?(location: Location): Kept;
  /**
   * As `readKept`, of a bare record that is as short as most are; `undefined` for every other, and for what is damaged:
   * `readKept` says what it is. Valid until the next call.
   *
   * @throws {StoreError} When the disk refuses, or no live record is there.
   */
  readBare?(location: Location): BareRecord | undefined;
  /**
   * Every live record, in the order of locations, in bounded memory. Damaged ones are reported and left out. Nothing
   * may be cleaned meanwhile.
   */
  live(): IterableIterator<LiveRecord>;
  /**
   * As `live`, where possible by summaries alone: millions of records in a second. What is damaged in a record is
   * then found when it is read.
   *
   * @throws {StoreError} When the disk refuses.
   */
  recall(take: Recall): void;
  /**
   * Told that a live record lies elsewhere from now on; `bytes` are valid until it returns. Whoever keeps locations
   * sets it before anything else, and may not change the store inside of it. `summary` is the record's, when that is
   * known; else it may be returned.
   */
  onMoved: OnMoved | undefined;
  /**
   * Gives space back where dead records take more of it than live ones: moves at most `bytesMax` bytes of live
   * records out of the oldest segment, each told by `onMoved`, so that the segment can go once that is durable.
   * Where nobody has set `onMoved`, nothing moves. A segment that a disk did not let go is deleted once more.
   *
   * @returns Whether there is more to do.
   * @throws {StoreError} As `append`: then nothing has moved; and why there is a segment yet that could not be deleted.
   */
  clean(bytesMax?: number): boolean;
  /**
   * Where a live record was first written.
   *
   * @throws {StoreError} As `read`.
   */
  originOf(location: Location): Location;
  /**
   * What a live record was appended with, where that is known beside it: of a damaged one, all that there is. Slow.
   *
   * @throws {StoreError} When the disk refuses.
   */
  summaryOf(location: Location): Int32Array | undefined;
  /** Why this store refuses changes until it is opened anew; `undefined` while all is well. */
  readonly failed: StoreError | undefined;
  /** What is in it, and what it has done. */
  readonly stats: Readonly<StoreStats>;
  /** Resolves when all that was written so far is durable. */
  sync(): Promise<void>;
  /** Makes all durable and lets go of the files. Idempotent. */
  close(): Promise<void>;
}

/** See `Store.onMoved`. */
export type OnMoved = (
  from: Location,
  to: Location,
  bytes: Uint8Array,
  summary: Int32Array | undefined,
) => Int32Array | undefined | void;

/** The disk, or the caller, broke the store's contract. `file` and `offset` say where, when known. */
export class StoreError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "StoreError";
  /** The file that it is about, if it is about one. */
  readonly file: string | undefined;
  /** The byte of that file. */
  readonly offset: number | undefined;
  /** `message` says what was attempted and what was in the way. */
  constructor(message: string, at: { file?: string; offset?: number } = {}, options?: ErrorOptions) {
    super(message, options);
    this.file = at.file;
    this.offset = at.offset;
  }
}
