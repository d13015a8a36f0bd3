import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { type Disk, type DiskFile, ENDLESS } from "../../../checkpoint/store/disk.ts";
import { type CborValue, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { packColumn } from "../../../checkpoint/store/column.ts";
import { putBytes, writeMark, writePut, writeRemove, writeSeam } from "../../../checkpoint/store/entry.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import type { Damage } from "../../../checkpoint/store/scan.ts";
import { segmentHeader, segmentName } from "../../../checkpoint/store/segment.ts";
import { indexHeader, indexName } from "../../../checkpoint/store/segment_index.ts";
import { locationOf, StoreError } from "../../../checkpoint/store/store.ts";
import { Dice } from "../dice.ts";
import { equalBytes } from "../equal.ts";
import type { Target } from "../target.ts";

/** A folder in memory that nothing happens to. */
class MemoryDisk implements Disk {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();

  lock(): () => void {
    return () => {};
  }
  list(): string[] {
    return [...this.files.keys()];
  }
  open(name: string, create: boolean): DiskFile {
    assert(create !== this.files.has(name), `"${name}" is ${create ? "there" : "not there"}`);
    if (create) this.files.set(name, new Uint8Array(0));
    const { files } = this;
    return {
      size: () => files.get(name)!.length,
      read: (into, position) => {
        const some = files.get(name)!.subarray(position, position + into.length);
        into.set(some);
        return some.length;
      },
      write: (bytes, position) => {
        const old = files.get(name)!;
        const made = new Uint8Array(Math.max(old.length, position + bytes.length));
        made.set(old);
        made.set(bytes, position);
        files.set(name, made);
        return bytes.length;
      },
      truncate: (length) => void files.set(name, files.get(name)!.slice(0, length)),
      sync: () => Promise.resolve(),
      syncNow: () => {},
      close: () => {},
    };
  }
  create(name: string): Promise<DiskFile> {
    return Promise.resolve(this.open(name, true));
  }
  // deno-lint-ignore require-await -- it rejects
  async remove(name: string): Promise<void> {
    this.removeNow(name);
  }
  removeNow(name: string): void {
    assert(this.files.delete(name), `"${name}" is there`);
  }
  syncFolder(): Promise<void> {
    return Promise.resolve();
  }
  syncFolderNow(): void {}
  space(): Promise<{ free: number; total: number }> {
    return Promise.resolve(ENDLESS);
  }
}

/** A segment's salt, so that entries with right hashes can be made. */
const SALT = 0x1122_3344_5566_7788n;

/** What is left of an image of a small body. */
function bare(body: Uint8Array): Uint8Array {
  return Uint8Array.of(7, 1, 0x40 | body.length, ...body);
}

/** One file: entries as a store writes them, and then what happens to disks. */
function segment(dice: Dice, number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4_096);
  const header = segmentHeader(number, SALT);
  bytes.set(header);
  let at = header.length;
  const starts = [0];
  for (let entries = dice.below(12); entries > 0 && at < 3_000; entries--) {
    starts.push(at);
    const location = (): number =>
      locationOf(
        dice.chance(128) ? number : dice.byte(),
        dice.chance(192) ? dice.pick(starts) : dice.uint16(),
      );
    switch (dice.below(6)) {
      case 5:
        at = writePut(bytes, at, bare(dice.take(dice.below(20))), location(), SALT, -1, true);
        break;
      case 4:
        at = writeSeam(bytes, at, Math.max(0, number - 1), dice.chance(128) ? 4_096 : dice.uint16(), SALT);
        break;
      case 0:
        at = writeRemove(bytes, at, Array.from({ length: dice.below(4) }, location), SALT);
        break;
      case 1:
        at = writeMark(bytes, at, dice.chance(128) ? at : dice.uint32(), SALT);
        break;
      case 2:
        at = writePut(bytes, at, dice.take(dice.below(24)), location(), SALT);
        break;
      default:
        at = writePut(bytes, at, dice.take(dice.below(24)), undefined, SALT);
    }
  }
  for (let faults = dice.below(4); faults > 0; faults--) {
    const place = dice.uint16() % (at + 1);
    switch (dice.below(4)) {
      case 0:
        bytes[place]! ^= 1 << dice.below(8);
        break;
      case 1:
        at = place; // torn
        break;
      case 2:
        bytes.fill(0, place, place + dice.byte());
        break;
      default:
        bytes.set(dice.take(dice.below(32)), place);
    }
  }
  return bytes.slice(0, at);
}

/** Its live records; `live()` has one object for all of them. */
function liveOf(store: FileStore): Map<number, Uint8Array> {
  return new Map(Array.from(store.live(), ({ location, bytes }) => [location, bytes.slice()]));
}

/** Each live record is told of once, by its summary or itself; damaged ones may be told of by their summaries. */
function checkRecall(store: FileStore, live: ReadonlyMap<number, Uint8Array>): void {
  const told = new Set<number>();
  const tell = (location: number): void => {
    assert(!told.has(location), "A record is told of once");
    told.add(location);
  };
  store.recall({
    summaries: (count, locations, words) => {
      assert(words.length > 0 && words.every(({ length }) => length >= count), "A word for each");
      for (let at = 0; at < count; at++) tell(locations[at]!);
    },
    record: ({ location, bytes }) => {
      tell(location);
      return bytes.length > 2 ? Int32Array.of(bytes.length, bytes[0]!) : undefined;
    },
  });
  for (const location of live.keys()) assert(told.has(location), "All that lives is told of");
}

/** Opens a folder, uses it, and opens it again. */
async function folder(disk: MemoryDisk): Promise<void> {
  const damage: Damage[] = [];
  const open = (): Promise<FileStore> =>
    FileStore.open(disk, {
      segmentBytes: 600,
      entropy: new Prng(1),
      onDamage: (found) => damage.push(found),
    });
  let store: FileStore;
  try {
    store = await open();
  } catch (error) {
    if (error instanceof StoreError) return;
    throw error;
  }
  for (const { file, offset, bytes, reason } of damage) {
    assert(
      offset >= 0 && bytes >= 0 && reason.length > 0,
      `Damage of "${file}" at ${offset}: ${bytes} bytes, ${reason}`,
    );
  }
  const before = liveOf(store);
  assert(store.stats.recordsLive >= before.size, "What lives is counted");
  for (const [location, bytes] of before) equalBytes(store.read(location), bytes, "read as listed");
  checkRecall(store, before);
  const { locations } = store.append([Uint8Array.of(1, 2, 3), new Uint8Array(200)], {
    summaries: Int32Array.of(1, 2, 3, -4),
  });
  for (const location of locations) assert(!before.has(location), "A location is given once");
  const [gone] = before.keys();
  if (gone !== undefined) store.remove([gone]);
  await store.sync();
  await store.close();
  damage.length = 0;
  const again = await open();
  const after = liveOf(again);
  checkRecall(again, after);
  for (const [location, bytes] of before) {
    if (location === gone) assert(!after.has(location), "What was removed is gone");
    else equalBytes(after.get(location) ?? new Uint8Array(0), bytes, "there after another opening");
  }
  equalBytes(after.get(locations[0]!)!, Uint8Array.of(1, 2, 3), "the new record");
  assert(
    after.size === before.size + 2 - (gone === undefined ? 0 : 1),
    `${after.size} records after ${before.size}`,
  );
  await again.close();
}

/** Segments made of entries, then damaged. */
async function open(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const dice = new Dice(input);
  const disk = new MemoryDisk();
  for (let files = 1 + dice.below(3), number = 0; files > 0; files--) {
    number += 1 + (dice.chance(32) ? dice.below(3) : 0);
    disk.files.set(segmentName(number), segment(dice, number));
  }
  await folder(disk);
}

/** The input is the one segment, from its first byte. */
async function raw(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const disk = new MemoryDisk();
  disk.files.set(segmentName(1), input);
  await folder(disk);
}

/** One segment, and an index of it whose block is the input: all hashes are right. */
async function index(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const disk = new MemoryDisk();
  disk.files.set(segmentName(1), SEGMENT);
  const header = indexHeader(1, SALT);
  const bytes = new Uint8Array(header.length + putBytes(input.length, undefined));
  bytes.set(header);
  writePut(bytes, header.length, input, undefined, SALT);
  disk.files.set(indexName(1), bytes);
  await folder(disk);
}

/** Records, a removal and a mark. */
const SEGMENT = plain((bytes, at) => {
  let next = at;
  for (let record = 0; record < 6; record++) {
    next = writePut(bytes, next, new Uint8Array(3 + record).fill(record), undefined, SALT);
  }
  next = writeRemove(bytes, next, [locationOf(1, at)], SALT);
  return writeMark(bytes, next, next, SALT);
});

function block(count: number, summarised: boolean): Uint8Array<ArrayBuffer> {
  const from = segmentHeader(1, SALT).length;
  const lengths = Int32Array.from({ length: count }, (_, at) => at < 6 ? putBytes(3 + at, undefined) : 14);
  const column = packColumn(Int32Array.from({ length: 6 }, (_, at) => at * 300), 0, 1, Math.min(count, 6));
  return encodeCbor(
    [
      from,
      count,
      packColumn(lengths, 0, 1, count),
      Uint8Array.of((1 << Math.min(count, 6)) - 1),
      1,
      [1, new Uint8Array(0)],
      [from, new Uint8Array(0)],
      summarised ? Uint8Array.of((1 << Math.min(count, 6)) - 1) : new Uint8Array(0),
      summarised ? [column, column] : [],
    ] as CborValue,
  );
}

function plain(entries: (bytes: Uint8Array, at: number) => number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(1_000);
  const header = segmentHeader(1, SALT);
  bytes.set(header);
  return bytes.slice(0, entries(bytes, header.length));
}

export const targets: readonly Target[] = [
  {
    name: "store/open",
    about:
      "folders of segments, torn and damaged: opened or refused; what lives can be read, and lives on after changes",
    run: open,
    seeds: () => [
      Uint8Array.of(
        0,
        0,
        5,
        3,
        5,
        1,
        2,
        3,
        4,
        5,
        3,
        2,
        1,
        2,
        1,
        255,
        0,
        1,
        255,
        255,
        1,
        2,
        3,
        9,
        9,
        9,
        255,
        255,
        2,
      ),
      Uint8Array.of(
        1,
        0,
        3,
        3,
        1,
        7,
        3,
        0,
        1,
        255,
        1,
        0,
        5,
        0,
        0,
        3,
        3,
        1,
        7,
        3,
        0,
        0,
        2,
        255,
        255,
        0,
        1,
        0,
        0,
      ),
    ],
    allocationMax: (length) => (1 << 25) + 4_096 * length,
  },
  {
    name: "store/segment",
    about: "one segment from its first byte: as store/open",
    run: raw,
    seeds: () => [
      plain((bytes, at) => writePut(bytes, at, Uint8Array.of(7, 7), undefined, SALT)),
      plain((bytes, at) => writePut(bytes, at, bare(Uint8Array.of(1)), undefined, SALT, -1, true)),
      plain((bytes, at) => {
        const next = writePut(bytes, at, Uint8Array.of(7, 7), undefined, SALT);
        const last = writeRemove(bytes, next, [locationOf(1, at)], SALT);
        return writeMark(bytes, last, last, SALT);
      }),
    ],
    allocationMax: (length) => (1 << 25) + 4_096 * length,
  },
  {
    name: "store/index",
    about: "a sound segment beside an index that says anything: as store/open",
    run: index,
    seeds: () => [block(4, true), block(6, false), block(7, true)],
    allocationMax: (length) => (1 << 25) + 4_096 * length,
  },
];
