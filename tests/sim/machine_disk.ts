import type { VirtualClock } from "../../base/clock.ts";
import type { Prng } from "../../base/random.ts";
import { type Disk, type DiskFile, ENDLESS } from "../../checkpoint/store/disk.ts";
import type { FaultyDisk } from "../support/faulty_disk.ts";

/** How likely the disk refuses, by kind of operation. */
export interface DiskFaults {
  writes: number;
  syncs: number;
  reads: number;
}

/** Thrown into a process that has just died: nothing that it does about it reaches anybody. */
export class Killed extends Error {
  override name = "Killed";
}

/**
 * One process's way to the machine's disk. What it does counts as its deeds, before or after each of which it
 * may die; when it is dead its deeds have no effect. The disk outlives it.
 */
export class ProcessDisk implements Disk {
  dead = false;
  /** No time passes: the world waits until the store is open. */
  opening = true;
  faults: DiskFaults = { writes: 0, syncs: 0, reads: 0 };
  /** When it refused to change anything the last time. */
  refusedAtMs = -Infinity;
  readonly #disk: FaultyDisk;
  readonly #prng: Prng;
  readonly #clock: VirtualClock;
  readonly #deed: (act: () => void) => void;
  readonly #syncMs: number;

  /** @param deed Does `act`, and kills the process before or after it when it is time. */
  constructor(
    disk: FaultyDisk,
    prng: Prng,
    clock: VirtualClock,
    syncMs: number,
    deed: (act: () => void) => void,
  ) {
    this.#disk = disk;
    this.#prng = prng;
    this.#clock = clock;
    this.#deed = deed;
    this.#syncMs = syncMs;
    disk.syncDelay = () => this.#delay();
  }

  lock(): () => void {
    this.#alive();
    return this.#disk.lock();
  }
  list(): string[] {
    this.#alive();
    return this.#disk.list();
  }
  async create(name: string): Promise<DiskFile> {
    await this.#delay();
    return this.open(name, true);
  }
  async remove(name: string): Promise<void> {
    await this.#delay();
    this.removeNow(name);
  }
  removeNow(name: string): void {
    this.#change(this.faults.writes, () => this.#disk.removeNow(name));
  }
  async syncFolder(): Promise<void> {
    await this.#delay();
    this.syncFolderNow();
  }
  space(): Promise<{ free: number; total: number }> {
    return Promise.resolve(ENDLESS);
  }
  syncFolderNow(): void {
    this.#change(this.faults.syncs, () => this.#disk.syncFolderNow());
  }

  open(name: string, create: boolean): DiskFile {
    let file!: DiskFile;
    if (create) this.#change(this.faults.writes, () => void (file = this.#disk.open(name, true)));
    else {
      this.#alive();
      file = this.#disk.open(name, false);
    }
    return {
      size: () => (this.#alive(), file.size()),
      read: (into, position) => {
        this.#alive();
        if (this.#prng.chance(this.faults.reads)) throw new Error("EIO: read failed");
        return file.read(into, position);
      },
      write: (bytes, position) => {
        let count = 0;
        this.#change(this.faults.writes, () => void (count = file.write(bytes, position)));
        return count;
      },
      truncate: (length) => this.#change(this.faults.writes, () => file.truncate(length)),
      sync: async () => {
        this.#alive();
        if (this.#prng.chance(this.faults.syncs)) this.#failNext();
        await file.sync();
        this.#alive();
        this.#deed(() => {});
      },
      syncNow: () => this.#change(this.faults.syncs, () => file.syncNow()),
      close: () => file.close(),
    };
  }

  #change(chance: number, act: () => void): void {
    this.#alive();
    if (this.#prng.chance(chance)) this.#failNext();
    this.#deed(act);
  }

  /** The disk's next operation fails, perhaps half-way. */
  #failNext(): void {
    this.#disk.failAt = this.#disk.operations + 1;
    this.refusedAtMs = this.#clock.nowMs();
  }

  #delay(): Promise<void> {
    if (this.opening || this.#syncMs === 0) return Promise.resolve();
    const ms = this.#prng.fraction() * this.#syncMs;
    return new Promise((resolve) => void this.#clock.at(this.#clock.nowMs() + ms, resolve));
  }

  #alive(): void {
    if (this.dead) throw new Killed("this process is dead");
  }
}
