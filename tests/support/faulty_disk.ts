import { Prng } from "../../base/random.ts";
import type { Disk, DiskFile } from "../../checkpoint/store/disk.ts";
import { StoreError } from "../../checkpoint/store/store.ts";

/** The machine lost power, in the middle of an operation; every later one fails too, until `reboot`. */
export class PowerFailure extends Error {
  override name = "PowerFailure";
}

/** Sectors reach the disk whole or not at all, in any order. */
const SECTOR = 64;

type Change = { position: number; bytes: Uint8Array } | { length: number };

/** A file: what programs see, what the disk holds, and what lies between. */
class Inode {
  seen: Uint8Array = new Uint8Array(0);
  held: Uint8Array = new Uint8Array(0);
  between: Change[] = [];
  /** Bytes that its last sync made durable, and those that an earlier one had made so when that began. */
  synced = 0;
  twiceSynced = 0;
}

/**
 * A disk in memory that fails on command. Operations that change something are counted; number
 * `failAt` (from 1) fails: as `error` it throws and does nothing, or half of it; as `power` it stops
 * everything. After `power`, `reboot` decides by its seed what of the unsynced changes is there.
 */
export class FaultyDisk implements Disk {
  operations = 0;
  failAt: number;
  readonly mode: "error" | "power";
  /** Fails every operation from `failAt` on, not only that one. */
  readonly sticky: boolean;
  /** Writes may stop half-way, without an error. */
  readonly shortWrites: boolean;
  /**
   * How long a sync takes, and all that is done off the event loop; what is written meanwhile a sync does not cover.
   * A sync tells how long its file is.
   */
  syncDelay: (bytes?: number) => Promise<void> = () => Promise.resolve();
  off = false;
  /** Reads are counted by themselves; number `failReadAt` fails. */
  reads = 0;
  failReadAt = Infinity;
  /** What has failed so far: "write", "sync", ... */
  readonly failed: Set<string> = new Set();
  /** Bytes that are told to be free, of `total`; writes do not care. */
  free = Infinity;
  total = Infinity;
  #prng: Prng;
  #seen = new Map<string, Inode>();
  #held = new Map<string, Inode>();
  #renames: (() => void)[] = []; // changes of the folder that no sync has made durable
  #locked = false;

  constructor(
    seed: number,
    options: { failAt?: number; mode?: "error" | "power"; sticky?: boolean; shortWrites?: boolean } = {},
  ) {
    this.#prng = new Prng(seed);
    this.failAt = options.failAt ?? Infinity;
    this.mode = options.mode ?? "error";
    this.sticky = options.sticky ?? false;
    this.shortWrites = options.shortWrites ?? false;
  }

  lock(): () => void {
    if (this.#locked) throw new StoreError("Cannot open store: locked");
    this.#locked = true;
    return () => void (this.#locked = false);
  }

  list(): string[] {
    this.#check();
    return [...this.#seen.keys()];
  }

  open(name: string, create: boolean): DiskFile {
    this.#check();
    let inode = this.#seen.get(name);
    if (!create && !inode) throw new Error(`ENOENT: ${name}`);
    if (create) {
      if (inode) throw new Error(`EEXIST: ${name}`);
      this.#operation("create");
      const made = inode = new Inode();
      this.#seen.set(name, made);
      this.#renames.push(() => void this.#held.set(name, made));
    }
    return this.#file(inode!);
  }

  async create(name: string): Promise<DiskFile> {
    await this.syncDelay();
    return this.open(name, true);
  }

  async remove(name: string): Promise<void> {
    await this.syncDelay();
    this.removeNow(name);
  }

  removeNow(name: string): void {
    this.#check();
    if (!this.#seen.has(name)) throw new Error(`ENOENT: ${name}`);
    this.#operation("remove");
    this.#seen.delete(name);
    this.#renames.push(() => void this.#held.delete(name));
  }

  async syncFolder(): Promise<void> {
    const covered = new Set(this.#renames);
    await this.syncDelay();
    this.#operation("syncFolder");
    for (const change of covered) change();
    this.#renames = this.#renames.filter((change) => !covered.has(change));
  }

  async space(): Promise<{ free: number; total: number }> {
    const { free, total } = this;
    await this.syncDelay();
    return { free, total };
  }

  syncFolderNow(): void {
    this.#operation("syncFolder");
    for (const change of this.#renames) change();
    this.#renames = [];
  }

  /** Power is back: of what was not synced, any part, in any order, may have reached the disk. */
  reboot(seed: number, options: { failAt?: number } = {}): void {
    const prng = new Prng(seed);
    const likely = prng.pick([0, 0.5, 0.9, 1]);
    for (const change of this.#renames) if (prng.chance(likely)) change();
    this.#renames = [];
    this.#seen = new Map(this.#held);
    for (const inode of this.#seen.values()) {
      inode.held = settled(inode, prng, likely);
      inode.seen = inode.held.slice();
      inode.between = [];
    }
    this.#restart(options);
  }

  /** The process alone died: all that was written is there. */
  restart(options: { failAt?: number } = {}): void {
    this.#restart(options);
  }

  /** Flips one bit of a file, wherever it is kept. */
  flip(name: string, at: number, bit: number): void {
    const inode = this.#seen.get(name)!;
    inode.seen[at]! ^= 1 << bit;
    if (at < inode.held.length) inode.held[at]! ^= 1 << bit;
  }

  /**
   * Bytes of a file that a sync has made durable before another one began, of the same process: what that noted of the
   * first is on the disk. Syncs that are waited for do not count: nobody makes notes of those.
   */
  twiceSynced(name: string): number {
    return this.#seen.get(name)?.twiceSynced ?? 0;
  }

  /** A file's bytes as programs see them. */
  bytes(name: string): Uint8Array {
    return this.#seen.get(name)!.seen;
  }

  #restart(options: { failAt?: number }): void {
    for (const inode of this.#seen.values()) inode.synced = 0;
    this.off = false;
    this.#locked = false;
    this.operations = 0;
    this.failAt = options.failAt ?? Infinity;
  }

  #check(): void {
    if (this.off) throw new PowerFailure("no power");
  }

  /** Counts an operation; whether it fails. */
  #operation(kind: string, half: () => void = () => {}): void {
    this.#check();
    this.operations++;
    if (this.operations < this.failAt || (this.operations > this.failAt && !this.sticky)) return;
    this.failed.add(kind);
    half();
    if (this.mode === "power") {
      this.off = true;
      throw new PowerFailure(`power failed at operation ${this.operations}`);
    }
    throw new Error(`EIO: operation ${this.operations} failed`);
  }

  #file(inode: Inode): DiskFile {
    let closed = false;
    const check = (): void => {
      this.#check();
      if (closed) throw new Error("EBADF");
    };
    const sync = (): void => {
      check();
      // A failed sync leaves pages clean that never reached the disk: asking again finds nothing to do.
      this.#operation("sync", () => {
        inode.held = settled(inode, this.#prng, 0.5);
        inode.between = [];
      });
      inode.held = inode.seen.slice();
      inode.between = [];
    };
    return {
      size: () => (check(), inode.seen.length),
      read: (into, position) => {
        check();
        if (++this.reads === this.failReadAt) {
          this.failed.add("read");
          throw new Error(`EIO: read ${this.reads} failed`);
        }
        let some = inode.seen.subarray(position, position + into.length);
        if (this.shortWrites && some.length > 1) some = some.subarray(0, this.#prng.between(1, some.length));
        into.set(some);
        return some.length;
      },
      write: (bytes, position) => {
        check();
        const some = (share: number): number => {
          const part = bytes.slice(0, share);
          inode.seen = applied(inode.seen, { position, bytes: part });
          inode.between.push({ position, bytes: part });
          return share;
        };
        const { synced } = inode;
        inode.synced = 0; // should it be refused, it may have been the note
        this.#operation("write", () => void some(this.#prng.below(bytes.length + 1)));
        inode.synced = synced;
        return some(this.shortWrites ? this.#prng.between(1, bytes.length) : bytes.length);
      },
      truncate: (length) => {
        check();
        this.#operation("truncate");
        inode.seen = applied(inode.seen, { length });
        inode.between.push({ length });
      },
      sync: async () => {
        const covered = new Set(inode.between); // what comes while it runs is not
        const { synced, seen } = inode;
        await this.syncDelay(inode.seen.length);
        check();
        this.#operation("sync", () => {
          inode.held = settled(inode, this.#prng, 0.5);
          inode.between = [];
        });
        for (const change of inode.between) if (covered.has(change)) inode.held = applied(inode.held, change);
        inode.between = inode.between.filter((change) => !covered.has(change));
        inode.twiceSynced = synced;
        inode.synced = seen.length;
      },
      syncNow: sync,
      close: () => void (closed = true),
    };
  }
}

function applied(bytes: Uint8Array, change: Change): Uint8Array {
  if ("length" in change) {
    const cut = new Uint8Array(change.length);
    cut.set(bytes.subarray(0, change.length));
    return cut;
  }
  const end = change.position + change.bytes.length;
  const made = end > bytes.length ? new Uint8Array(end) : bytes;
  if (made !== bytes) made.set(bytes);
  made.set(change.bytes, change.position);
  return made;
}

/** What the disk holds when each sector of each pending change made it with chance `likely`. */
function settled(inode: Inode, prng: Prng, likely: number): Uint8Array {
  let bytes: Uint8Array = inode.held.slice();
  for (const change of inode.between) {
    if ("length" in change) {
      if (prng.chance(likely)) bytes = applied(bytes, change);
      continue;
    }
    for (let at = 0; at < change.bytes.length;) {
      const next = Math.min(change.bytes.length, at + SECTOR - ((change.position + at) % SECTOR));
      if (prng.chance(likely)) {
        bytes = applied(bytes, { position: change.position + at, bytes: change.bytes.subarray(at, next) });
      }
      at = next;
    }
  }
  return bytes;
}
