import fs from "node:fs";
import { join } from "node:path";
import { lockFolder } from "./lock.ts";

/** One open file. Calls are synchronous: on cached data they take a tenth of asynchronous ones. */
export interface DiskFile {
  size(): number;
  /** Reads from `position`; returns how many bytes, fewer at the end of the file or when cut short. */
  read(into: Uint8Array, position: number): number;
  /** Writes at `position`; returns how many bytes, possibly fewer than given. */
  write(bytes: Uint8Array, position: number): number;
  truncate(length: number): void;
  /** Resolves when all that was written before the call is durable (fdatasync). */
  sync(): Promise<void>;
  /** As `sync`, before it returns. */
  syncNow(): void;
  close(): void;
}

/**
 * The few file operations a store needs in its one folder: the seam at which tests inject faults. What may wait for
 * the disk comes in two kinds: for while packets are served, and, with `Now`, for opening.
 */
export interface Disk {
  /** Claims the folder for this process, or throws a `StoreError`. Returns how to let go of it. */
  lock(): () => void;
  list(): string[];
  /** Opens a file; `create` makes it and throws when it is there already. */
  open(name: string, create: boolean): DiskFile;
  /** Makes a file; rejects when it is there already. */
  create(name: string): Promise<DiskFile>;
  remove(name: string): Promise<void>;
  removeNow(name: string): void;
  /** Makes creations and removals in the folder durable. */
  syncFolder(): Promise<void>;
  syncFolderNow(): void;
  /** Bytes of the file system that we may still fill, and all of them; where nobody can tell, there is no end to them. */
  space(): Promise<{ free: number; total: number }>;
}

/** For a disk that does not fill. */
export const ENDLESS = { free: Infinity, total: Infinity } as const;

/** A folder of the file system; made when missing. */
export class FolderDisk implements Disk {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    fs.mkdirSync(folder, { recursive: true });
  }

  lock(): () => void {
    return lockFolder(this.folder);
  }

  list(): string[] {
    return fs.readdirSync(this.folder);
  }

  open(name: string, create: boolean): DiskFile {
    return new FolderFile(fs.openSync(join(this.folder, name), create ? "wx+" : "r+"));
  }

  async create(name: string): Promise<DiskFile> {
    return new FolderFile(await openFile(join(this.folder, name), "wx+"));
  }

  remove(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.unlink(join(this.folder, name), (error) => error ? reject(error) : resolve());
    });
  }

  removeNow(name: string): void {
    fs.unlinkSync(join(this.folder, name));
  }

  async syncFolder(): Promise<void> {
    const descriptor = await openFile(this.folder, "r");
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(descriptor, (error) => error ? reject(error) : resolve());
      });
    } finally {
      fs.closeSync(descriptor);
    }
  }

  space(): Promise<{ free: number; total: number }> {
    return new Promise((resolve) => {
      fs.statfs(this.folder, (error, found) => {
        if (error) return resolve(ENDLESS);
        resolve({ free: found.bavail * found.bsize, total: found.blocks * found.bsize });
      });
    });
  }

  syncFolderNow(): void {
    const descriptor = fs.openSync(this.folder, "r");
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }
}

function openFile(path: string, flags: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, (error, descriptor) => error ? reject(error) : resolve(descriptor));
  });
}

class FolderFile implements DiskFile {
  #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  size(): number {
    return fs.fstatSync(this.#descriptor).size;
  }

  read(into: Uint8Array, position: number): number {
    return fs.readSync(this.#descriptor, into, 0, into.length, position);
  }

  write(bytes: Uint8Array, position: number): number {
    return fs.writeSync(this.#descriptor, bytes, 0, bytes.length, position);
  }

  truncate(length: number): void {
    fs.ftruncateSync(this.#descriptor, length);
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (error) => error ? reject(error) : resolve());
    });
  }

  syncNow(): void {
    fs.fdatasyncSync(this.#descriptor);
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }
}
