import fs from "node:fs";
import { join } from "node:path";
import { type Disk, type DiskFile, ENDLESS } from "./disk.ts";
import { segmentNumber } from "./segment.ts";
import { StoreError } from "./store.ts";

/** How often the folder is listed again because a file went away between listing and opening it. */
const LISTS_MAX = 100;

/**
 * A store's folder as it is at one moment, which is never written to: whatever a store does to this disk goes
 * nowhere. So everything that reads stores works on a folder that must not change, and on one that a living
 * process has open.
 *
 * All segments are opened when it is made, and end where they ended then. Only the newest of a living store grows
 * and only the oldest go away, so what is seen is the store after some prefix of its changes. Holds a file
 * descriptor for each segment.
 *
 * @throws {StoreError} When there is no such folder, or it cannot be read.
 */
export class SnapshotDisk implements Disk {
  readonly folder: string;
  readonly #sizes = new Map<string, number>(); // of all files
  readonly #open = new Map<string, number>(); // descriptors of segments
  readonly #made = new Map<string, number>(); // sizes of files that are not there

  constructor(folder: string) {
    this.folder = folder;
    for (let lists = 0; !this.#look(); lists++) {
      this.close();
      if (lists === LISTS_MAX) {
        throw new StoreError(`Cannot read store "${folder}": its files keep going away`);
      }
    }
  }

  /** Opens all segments, the oldest first; false when one has gone away. */
  #look(): boolean {
    let names: string[];
    try {
      names = fs.readdirSync(this.folder).sort();
    } catch (error) {
      throw new StoreError(`Cannot read store "${this.folder}": ${String(error)}`, {}, { cause: error });
    }
    for (const name of names) {
      try {
        if (segmentNumber(name) > 0) {
          const descriptor = fs.openSync(join(this.folder, name), "r");
          this.#open.set(name, descriptor);
          this.#sizes.set(name, fs.fstatSync(descriptor).size);
        } else {
          const stat = fs.lstatSync(join(this.folder, name));
          if (stat.isFile()) this.#sizes.set(name, stat.size);
        }
      } catch (error) {
        if ((error as { code?: string }).code === "ENOENT") return false;
        throw new StoreError(`Cannot read "${name}": ${String(error)}`, { file: name }, { cause: error });
      }
    }
    return true;
  }

  /** Nothing is claimed, since nothing is changed. */
  lock(): () => void {
    return () => {};
  }

  list(): string[] {
    return [...this.#sizes.keys()];
  }

  open(name: string, create: boolean): DiskFile {
    if (create) this.#made.set(name, 0);
    const made = this.#made.get(name);
    if (made !== undefined) return new FormerFile(() => 0, made, () => {});
    const segment = this.#open.get(name);
    const descriptor = segment ?? fs.openSync(join(this.folder, name), "r");
    const read = (into: Uint8Array, position: number): number => {
      return fs.readSync(descriptor, into, 0, into.length, position);
    };
    return new FormerFile(read, this.#sizes.get(name) ?? fs.fstatSync(descriptor).size, () => {
      if (segment === undefined) fs.closeSync(descriptor);
    });
  }

  create(name: string): Promise<DiskFile> {
    return Promise.resolve(this.open(name, true));
  }

  remove(): Promise<void> {
    return Promise.resolve();
  }

  removeNow(): void {}

  syncFolder(): Promise<void> {
    return Promise.resolve();
  }

  syncFolderNow(): void {}

  space(): Promise<{ free: number; total: number }> {
    return Promise.resolve(ENDLESS);
  }

  /** Lets go of the files. Idempotent. */
  close(): void {
    for (const descriptor of this.#open.values()) fs.closeSync(descriptor);
    this.#open.clear();
    this.#sizes.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A file as it was: what is written to it is forgotten, and only its length remembers. */
class FormerFile implements DiskFile {
  readonly #read: (into: Uint8Array, position: number) => number;
  readonly #close: () => void;
  #size: number;

  constructor(read: (into: Uint8Array, position: number) => number, size: number, close: () => void) {
    this.#read = read;
    this.#size = size;
    this.#close = close;
  }

  size(): number {
    return this.#size;
  }

  read(into: Uint8Array, position: number): number {
    const left = Math.max(0, this.#size - position);
    return left === 0 ? 0 : this.#read(into.length <= left ? into : into.subarray(0, left), position);
  }

  write(bytes: Uint8Array, position: number): number {
    this.#size = Math.max(this.#size, position + bytes.length);
    return bytes.length;
  }

  truncate(length: number): void {
    this.#size = length;
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  syncNow(): void {}

  close(): void {
    this.#close();
  }
}
