import { expect } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Kind, readImage, writeImage } from "../../../checkpoint/image/mod.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { type Location, StoreError } from "../../../checkpoint/store/store.ts";
import type { FaultyDisk } from "../../support/faulty_disk.ts";

/** One indivisible change: a record comes, records go, or both. */
type Change = { come?: number; go: number[] };

/** Small, so that a short run seals and deletes segments. */
const SEGMENT_BYTES = 900;

/**
 * A store on a faulty disk, the list of all changes that were asked of it, and how many of them had
 * to be durable. After anything that went wrong the store must be in the state after `changes[0, k)`
 * with `k` no less than what was promised.
 */
export class StoreWorld {
  readonly prng: Prng;
  readonly disk: FaultyDisk;
  changes: Change[] = [];
  /** How many changes had returned: these survive the death of the process. */
  written = 0;
  /** How many changes were promised to survive a power failure. */
  durable = 0;
  store: FileStore | undefined;
  /** Steps of cleaning that had something to do. */
  moves = 0;
  /** Segments that were given up, since an older one had lost its end. */
  cutOff = 0;
  /** Records that came back by their summaries, and by themselves. */
  recalled = { summaries: 0, records: 0 };
  #locations = new Map<number, Location>();
  #next = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(disk: FaultyDisk, seed: number) {
    this.disk = disk;
    this.prng = new Prng(seed);
    const turns = this.prng.pick([0, 10, 60, 200]);
    disk.syncDelay = async () => {
      for (let turn = this.prng.below(turns + 1); turn > 0; turn--) await undefined;
    };
  }

  /** Opens the store and adopts the state it is in, which must be an allowed one. */
  async open(least: number): Promise<void> {
    const store = await FileStore.open(this.disk, {
      segmentBytes: SEGMENT_BYTES,
      garbageBytes: 300,
      blockEntries: this.prng.pick([2, 5, 1_000]),
      entropy: this.prng,
      onDamage: ({ reason }) => void (this.cutOff += /follows a torn write/.test(reason) ? 1 : 0),
    });
    this.store = store;
    store.onMoved = (from, to, bytes, summary) => {
      const id = idOf(bytes);
      expect(bytes).toEqual(stored(id));
      expect(this.#locations.get(id)).toBe(from);
      if (summary !== undefined) expect(summary).toEqual(summaryOf(id));
      this.#locations.set(id, to);
      return this.prng.chance(0.5) ? summaryOf(id) : undefined;
    };
    this.#locations.clear();
    const live: { id: number; origin: Location }[] = [];
    for (const { location, bytes, origin } of store.live()) {
      const id = idOf(bytes);
      expect(bytes).toEqual(stored(id));
      live.push({ id, origin });
      this.#locations.set(id, location);
      expect(store.originOf(location)).toBe(origin);
    }
    const recalled = new Map<number, Location>();
    store.recall({
      summaries: (count, locations, words) => {
        this.recalled.summaries += count;
        for (let at = 0; at < count; at++) {
          const id = words[0]![at]!;
          expect(words.map((column) => column[at])).toEqual([...summaryOf(id)]);
          recalled.set(id, locations[at]!);
        }
      },
      record: ({ location, bytes }) => {
        this.recalled.records++;
        recalled.set(idOf(bytes), location);
        return this.prng.chance(0.8) ? summaryOf(idOf(bytes)) : undefined;
      },
    });
    expect(recalled).toEqual(this.#locations);
    // Wherever they have been moved: oldest first.
    const ids = live.sort((a, b) => a.origin - b.origin).map(({ id }) => id);
    const match = this.#prefix(ids, least);
    expect(match, `live: ${ids}; ${this.changes.length} changes, ${least} promised`).toBeGreaterThanOrEqual(
      least,
    );
    expect(store.stats.recordsLive).toBe(ids.length);
    for (const [id, location] of this.#locations) expect(store.read(location)).toEqual(stored(id));
    this.changes.length = match; // the rest never happened
    this.written = this.durable = match;
    this.#last = Promise.resolve();
  }

  /** One random change, or a wait until all is durable; what a full disk refuses has not happened. */
  async step(): Promise<void> {
    const store = this.store!;
    const { prng } = this;
    const live = [...this.#locations.keys()];
    const kind = prng.below(10);
    try {
      if (kind < 4 || live.length === 0) {
        const ids = Array.from({ length: prng.between(1, 4) }, () => this.#next++);
        const olds = ids.map(() => prng.chance(0.3) ? take(live, prng) : undefined);
        const commit = this.#ask(
          ids.map((id, index) => ({ come: id, go: olds[index] === undefined ? [] : [olds[index]!] })),
          () =>
            store.append(ids.map(stored), {
              ...(prng.chance(0.8)
                ? { summaries: Int32Array.from(ids.flatMap((id) => [...summaryOf(id)])) }
                : {}),
              supersedes: olds.map((old) => old === undefined ? undefined : this.#locations.get(old)),
            }),
        );
        for (const [index, id] of ids.entries()) this.#locations.set(id, commit.locations[index]!);
        for (const old of olds) if (old !== undefined) this.#locations.delete(old);
      } else if (kind < 6) {
        const ids = Array.from({ length: prng.between(1, 3) }, () => take(live, prng)).filter((id) =>
          id !== undefined
        );
        this.#ask([{ go: ids }], () => store.remove(ids.map((id) => this.#locations.get(id)!)));
        for (const id of ids) this.#locations.delete(id);
      } else if (kind < 8) {
        this.moves += store.clean(prng.pick([1, 200, 10_000])) ? 1 : 0; // not a change: whatever happens to it
      } else {
        await this.#last;
      }
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
    if (prng.chance(0.3)) { for (let turn = 0; turn < 5; turn++) await undefined; }
    if (prng.chance(0.1)) await store.idle();
  }

  #ask<T extends { durable: Promise<void> }>(changes: Change[], act: () => T): T {
    const before = this.changes.length;
    this.changes.push(...changes);
    let commit: T;
    try {
      commit = act();
    } catch (error) {
      // Refused by a disk that lives: it did not happen. Otherwise some of it may have.
      if (!this.disk.off && !this.store!.failed) this.changes.length = before;
      throw error;
    }
    const count = this.written = this.changes.length;
    this.#last = commit.durable.then(() => void (this.durable = Math.max(this.durable, count)));
    this.#last.catch(() => {});
    return commit;
  }

  /** The largest number of changes after which exactly `ids` live, in this order; -1 for none. */
  #prefix(ids: number[], least: number): number {
    const live = new Set<number>();
    let match = least === 0 && ids.length === 0 ? 0 : -1;
    for (const [index, change] of this.changes.entries()) {
      if (change.come !== undefined) live.add(change.come);
      for (const id of change.go) live.delete(id);
      if (index + 1 >= least && live.size === ids.length && [...live].every((id, at) => id === ids[at])) {
        match = index + 1;
      }
    }
    return match;
  }
}

/** A record's content follows from its number. */
export function record(id: number): Uint8Array {
  const bytes = new Uint8Array(4 + (id * 37) % 120).fill(id);
  new DataView(bytes.buffer).setUint32(0, id);
  return bytes;
}

/** The record of this number in a world: some are images, which a store keeps in less. */
function stored(id: number): Uint8Array {
  return id % 3 === 1 ? writeImage({ kind: Kind.Object, body: [id, record(id)] }) : record(id);
}

/** So does its summary; one word never changes. */
function summaryOf(id: number): Int32Array {
  return Int32Array.of(id, 7, Math.imul(id, 0x9e3779b1), id * 300);
}

function idOf(bytes: Uint8Array): number {
  const first = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return first >>> 8 === 0xd9d9f7 ? (readImage(bytes).body as number[])[0]! : first;
}

function take(from: number[], prng: Prng): number | undefined {
  return from.length > 0 ? from.splice(prng.below(from.length), 1)[0] : undefined;
}
