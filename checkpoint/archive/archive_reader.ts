import { measureImage } from "../image/measure.ts";
import { Hash64 } from "../image/hash.ts";
import { ImageError } from "../image/image_error.ts";
import { EntryKind, newEntry, recordIn } from "../store/entry.ts";
import type { DiskFile } from "../store/disk.ts";
import { isBeside } from "../sockets/stretch.ts";
import { entryAt, readFully, Window } from "../store/scan.ts";
import {
  ARCHIVE_IMAGE_BYTES_MAX,
  type ArchiveImage,
  readArchiveImage,
  writeArchiveImage,
} from "./archive_format.ts";

/** What an archive is read from. */
export type ArchiveSource = Pick<DiskFile, "size" | "read">;

/** A file that is no archive at all. */
export class ArchiveError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "ArchiveError";
}

/** A stretch of an archive that holds nothing sound. */
export interface ArchiveDamage {
  /** The byte of the archive at which it begins. */
  readonly offset: number;
  /** How long it is. */
  readonly bytes: number;
  /** In words. */
  readonly reason: string;
}

/** One connection of an archive, or a stretch of one: its image, valid until the next step, and where that begins. */
export interface ArchivedImage {
  readonly offset: number;
  readonly image: Uint8Array;
}

/** Hashing to find the next sound entry stops at this many times the archive's size. */
const SEARCH_FACTOR = 16;

/** Reads an archive from its beginning to its end, whatever is damaged in between. */
export class ArchiveReader {
  /** What it says of itself. */
  readonly about: ArchiveImage;
  /** What was found to be damaged so far. */
  readonly damage: ArchiveDamage[] = [];
  /** The byte behind the image at the beginning, and that of the image at the end. */
  readonly start: number;
  readonly end: number;
  readonly #source: ArchiveSource;
  readonly #size: number;

  /** @throws {ArchiveError} When neither its beginning nor its end is one of an archive. */
  constructor(source: ArchiveSource) {
    this.#source = source;
    this.#size = source.size();
    const head = new Uint8Array(Math.min(ARCHIVE_IMAGE_BYTES_MAX, this.#size));
    readFully(source, head, 0);
    const first = imageAt(head, 0);
    const tail = new Uint8Array(Math.min(ARCHIVE_IMAGE_BYTES_MAX, this.#size));
    const tailFrom = this.#size - tail.length;
    readFully(source, tail, tailFrom);
    let last: { image: ArchiveImage; length: number } | undefined;
    for (let at = tail.length - 1; at >= 0 && last === undefined; at--) {
      const found = imageAt(tail, at);
      if (found?.image.total !== undefined && at + found.length === tail.length) last = found;
    }
    const known = last?.image ?? first?.image;
    if (known === undefined) {
      throw new ArchiveError("it is no archive: neither its beginning nor its end is one of it");
    }
    this.about = known;
    const { archivedAtMs, salt } = known;
    this.start = first?.length ?? Math.min(this.#size, writeArchiveImage({ archivedAtMs, salt }).length);
    this.end = last === undefined ? this.#size : this.#size - last.length;
    if (first === undefined) this.#damaged(0, this.start, "the image at its beginning is damaged");
  }

  /** Every image that is whole, in the order of the file; `damage` grows on the way. Can be asked for once. */
  *images(): Generator<ArchivedImage, void, void> {
    const window = new Window(this.#source, this.#size);
    const entry = newEntry();
    const { salt, total } = this.about;
    const content = new Hash64();
    let hashed = 0;
    let count = 0;
    let budget = SEARCH_FACTOR * this.#size;
    /** The file's content is hashed as it goes by. */
    const hashUpTo = (end: number): void => {
      while (hashed < end) {
        const at = window.show(hashed, Math.min(end - hashed, 1024 * 1024));
        const length = Math.min(end - hashed, window.length - at);
        if (length <= 0) return;
        content.update(window.bytes.subarray(at, at + length));
        hashed += length;
      }
    };
    const sound = (at: number): boolean => entryAt(window, at, this.end, salt, entry) === undefined;
    for (let at = this.start; at < this.end;) {
      hashUpTo(at);
      const reason = entryAt(window, at, this.end, salt, entry);
      if (reason === undefined && entry.kind === EntryKind.Put) {
        const end = entry.end;
        const image = recordIn(window.bytes, entry);
        if (!isBeside(image)) count++;
        yield { offset: window.base + entry.recordStart, image };
        at = end;
        continue;
      }
      const bad = at;
      const implied = entry.end;
      if (implied > bad && implied < this.end && sound(implied)) at = implied;
      else {
        for (at = bad + 1; at < this.end && budget > 0 && !sound(at); at++) {
          budget -= 1 + Math.max(0, Math.min(entry.end, this.end) - at);
        }
        if (budget <= 0) at = this.end;
      }
      this.#damaged(bad, at - bad, `entry at byte ${bad} ${reason ?? "is no connection"}`);
    }
    hashUpTo(this.end);
    if (total === undefined) {
      const torn = this.damage.at(-1);
      const offset = torn !== undefined && torn.offset + torn.bytes === this.end ? torn.offset : this.end;
      if (offset < this.end) this.damage.pop();
      const what = "its end is missing or damaged: there may have been more connections";
      return this.#damaged(offset, this.end - offset, what);
    }
    if (this.damage.length === 0 && (count !== total.connections || content.digest() !== total.content)) {
      this.#damaged(
        0,
        this.end,
        `it holds ${count} connections, and says ${total.connections}, of another content`,
      );
    }
  }

  #damaged(offset: number, bytes: number, reason: string): void {
    this.damage.push({ offset, bytes, reason });
  }
}

/** An archive that is in memory. */
export function archiveSource(bytes: Uint8Array): ArchiveSource {
  return {
    size: () => bytes.length,
    read: (into, position) => {
      const some = bytes.subarray(position, position + into.length);
      into.set(some);
      return some.length;
    },
  };
}

function imageAt(bytes: Uint8Array, at: number): { image: ArchiveImage; length: number } | undefined {
  try {
    const length = measureImage(bytes.subarray(at));
    const image = length === undefined ? undefined : readArchiveImage(bytes.subarray(at, at + length));
    return image && { image, length: length! };
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}
