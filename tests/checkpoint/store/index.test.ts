import { decodeFirst, Tagged } from "cborg";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { hash64, HASH_BYTES, putHash } from "../../../checkpoint/image/hash.ts";
import { packColumn, unpackColumn } from "../../../checkpoint/store/column.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { readHeader } from "../../../checkpoint/store/segment.ts";
import { type Location, offsetOf, type Store, StoreError } from "../../../checkpoint/store/store.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { drawSeed } from "../../support/seed.ts";
import { schema } from "../image/cddl.ts";
import { record } from "./world.ts";

const SEGMENT_BYTES = 2_000;

/** What `recall` tells: words of those with a summary, the record's number of the others. */
function recalled(store: Store, give?: (id: number) => Int32Array): Map<Location, number[] | number> {
  const told = new Map<Location, number[] | number>();
  store.recall({
    summaries(count, locations, words) {
      for (let at = 0; at < count; at++) {
        expect(told.has(locations[at]!)).toBe(false);
        told.set(locations[at]!, words.map((column) => column[at]!));
      }
    },
    record({ location, bytes }) {
      expect(told.has(location)).toBe(false);
      const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      told.set(location, id);
      return give?.(id);
    },
  });
  return told;
}

const open = (disk: FaultyDisk, blockEntries = 8): Promise<FileStore> =>
  FileStore.open(disk, { segmentBytes: SEGMENT_BYTES, blockEntries, entropy: new Prng(1) });

const summaryOf = (id: number): Int32Array => Int32Array.of(id, -id * 1_000_003, 5);

/** A store of 100 records with summaries, every third removed; what lives, by location. */
async function filled(disk: FaultyDisk): Promise<Map<Location, number[]>> {
  const store = await open(disk);
  const lives = new Map<Location, number[]>();
  for (let id = 0; id < 100; id += 4) {
    const ids = [id, id + 1, id + 2, id + 3];
    const summaries = Int32Array.from(ids.flatMap((each) => [...summaryOf(each)]));
    const { locations } = store.append(ids.map(record), { summaries });
    ids.forEach((each, at) => lives.set(locations[at]!, [...summaryOf(each)]));
    store.remove([locations[id % 3]!]);
    lives.delete(locations[id % 3]!);
    await store.idle();
  }
  await store.close();
  return lives;
}

test("columns hold any int32, in as few bytes as their range needs", () => {
  const seed = drawSeed("STORE_SEED", 2 ** 32);
  const told = `STORE_SEED=${seed}`;
  const prng = new Prng(seed);
  for (let round = 0; round < 300; round++) {
    const count = prng.below(20);
    const range = prng.pick([1, 2, 256, 257, 65_536, 65_537, 2 ** 24, 2 ** 24 + 1, 2 ** 32]);
    const base = prng.uint32() | 0;
    const values = Int32Array.from({ length: 3 * count + 1 }, () => base + prng.below(range));
    const [least, above] = packColumn(values, 1, 3, count);
    const width = range === 1 ? 0 : Math.ceil(Math.log2(range) / 8);
    if (base + range <= 2 ** 31) expect(above.length, told).toBeLessThanOrEqual(width * count);
    const into = new Int32Array(count + 1);
    unpackColumn([least, above], count, into);
    expect([...into.subarray(0, count)], told).toEqual(
      Array.from({ length: count }, (_, at) => values[1 + 3 * at]),
    );
  }
  for (
    const bad of [7, [1], [0.5, new Uint8Array(4)], [2 ** 31, new Uint8Array(4)], [1, [1]], [
      1,
      new Uint8Array(3),
    ]]
  ) {
    expect(() => unpackColumn(bad, 4, new Int32Array(4))).toThrow(/column/);
  }
  expect(() => unpackColumn([0, new Uint8Array(1)], 0, new Int32Array(0))).toThrow(/column/);
});

test("what was appended with a summary is told by it when the store is opened again, and no segment is read for it", async () => {
  const disk = new FaultyDisk(1);
  const lives = await filled(disk);
  for (const name of disk.list()) if (name.endsWith(".seg")) disk.bytes(name).fill(0xff, 50); // whoever reads it is told
  const store = await open(disk);
  expect(recalled(store)).toEqual(lives);
  expect(store.stats.recordsLive).toBe(lives.size);
  expect(store.stats.damaged).toBe(1); // the last mark, written when all was durable, is behind the last index
});

test("the summary of a single record is found, in the file or on its way there, whatever happened to the record", async () => {
  const disk = new FaultyDisk(1);
  let store = await open(disk);
  const locations: Location[] = [];
  for (let id = 0; id < 60; id++) {
    const summaries = id % 7 === 0 ? {} : { summaries: summaryOf(id) };
    const { locations: [location], durable } = store.append([record(id)], summaries);
    locations.push(location!);
    if (id % 3 === 0) await durable;
    if (id % 10 === 0) await store.idle();
  }
  const told = (): (Int32Array | undefined)[] => locations.map((location) => store.summaryOf(location));
  const all = locations.map((_, id) => id % 7 === 0 ? undefined : summaryOf(id));
  expect(told()).toEqual(all);
  await store.close();
  for (const name of disk.list()) if (name.endsWith(".seg")) disk.bytes(name).fill(0xff, 50);
  store = await open(disk);
  expect(told()).toEqual(all);
  store.remove([locations[1]!]);
  expect(store.summaryOf(locations[1]!)).toBeUndefined();
  await store.close();
  expect(() => store.summaryOf(locations[2]!)).toThrow("closed");
});

test("a process that is killed leaves little that is not in an index", async () => {
  const disk = new FaultyDisk(1);
  const store = await open(disk);
  for (let id = 0; id < 60; id++) {
    await store.append([record(id)], { summaries: summaryOf(id) }).durable;
    await store.idle();
  }
  disk.restart();
  const again = await open(disk);
  const told = [...recalled(again, summaryOf).values()];
  expect(told).toHaveLength(60);
  expect(told.filter((each) => typeof each === "number").length).toBeLessThanOrEqual(8);
  await again.close(); // which has learnt them
  const third = await open(disk);
  expect([...recalled(third).values()]).toEqual(Array.from({ length: 60 }, (_, id) => [...summaryOf(id)]));
});

test("an index that is missing, cut short or has a flipped bit costs nothing but reading: nothing is told twice, or wrong", async () => {
  const seed = drawSeed("STORE_SEED", 2 ** 32);
  const told = `STORE_SEED=${seed}`;
  const prng = new Prng(seed);
  const whole = new FaultyDisk(1);
  const lives = await filled(whole);
  for (let round = 0; round < 150; round++) {
    const disk = new FaultyDisk(1);
    for (const name of whole.list()) {
      const file = disk.open(name, true);
      file.write(whole.bytes(name).slice(), 0);
      const { length } = whole.bytes(name);
      if (!name.endsWith(".idx")) continue;
      const kind = prng.below(4);
      if (kind === 0) disk.removeNow(name);
      else if (kind === 1) file.truncate(prng.below(length));
      else if (kind === 2) disk.flip(name, prng.below(length), prng.below(8));
    }
    const store = await open(disk);
    expect(store.stats.recordsLive, told).toBe(lives.size);
    const found = recalled(store, summaryOf);
    for (const [location, words] of lives) {
      expect([words, words[0]], told).toContainEqual(found.get(location));
    }
    expect(found.size).toBe(lives.size);
    for (const location of lives.keys()) store.read(location);
    await store.close();
    const healed = await open(disk);
    expect(recalled(healed), told).toEqual(lives);
    await healed.close();
  }
});

test("an index of version 1 is still read, and replaced when the summaries are known", async () => {
  const disk = new FaultyDisk(1);
  const lives = await filled(disk);
  const sealed = disk.list().filter((name) => name.endsWith(".idx")).sort().slice(0, -1);
  expect(sealed.length).toBeGreaterThan(1);
  for (const name of sealed) {
    const number = Number(name.slice(0, 8));
    const bytes = disk.bytes(name.replace("idx", "seg"));
    const [salt] = readHeader(bytes, number).salts;
    disk.removeNow(name);
    // As it was written: what is in the segment, read by another's eyes.
    const starts: number[] = [];
    const removed: number[] = [];
    const puts: boolean[] = [];
    let rest: Uint8Array = bytes;
    while (rest.length > 0) {
      const [item, remainder] = decodeFirst(rest, { useMaps: true, tags: Tagged.preserve(55799) }) as [
        unknown,
        Uint8Array,
      ];
      const start = bytes.length - rest.length;
      rest = remainder;
      if (!Array.isArray(item)) continue; // the header
      starts.push(start);
      puts.push(item[0] instanceof Uint8Array);
      if (Array.isArray(item[0])) removed.push(...item[0] as number[]);
    }
    const bits = new Uint8Array((starts.length + 7) >> 3);
    puts.forEach((isPut, at) => bits[at >> 3]! |= isPut ? 1 << (at & 7) : 0);
    const saltBytes = new Uint8Array(HASH_BYTES);
    putHash(saltBytes, 0, salt!);
    const asBytes = (numbers: Uint32Array | Float64Array): Uint8Array => new Uint8Array(numbers.buffer);
    const content = encodeCbor([
      1,
      number,
      bytes.length,
      saltBytes,
      asBytes(Uint32Array.from(starts)),
      bits,
      asBytes(Float64Array.from(removed)),
    ]);
    const index = new Uint8Array(content.length + 9);
    index.set(content);
    index[content.length] = 0x48;
    putHash(index, content.length + 1, hash64(content));
    disk.open(name, true).write(index, 0);
    // Who reads the segment instead is told of damage.
    disk.flip(
      name.replace("idx", "seg"),
      offsetOf([...lives.keys()].find((at) => Math.floor(at / 2 ** 32) === number)!) + 9,
      0,
    );
  }
  const store = await open(disk);
  expect(store.stats.damaged).toBe(0);
  expect(store.stats.recordsLive).toBe(lives.size);
  const found = recalled(store, summaryOf);
  expect(found.size).toBe(lives.size - sealed.length); // those are damaged
  expect([...found.values()].filter((each) => typeof each === "number").length).toBeGreaterThan(20);
  await store.close();
  const again = await open(disk);
  const healed = [...recalled(again, summaryOf).values()];
  expect(healed.filter((each) => typeof each === "number")).toEqual([]);
  expect(healed.length).toBe(lives.size - sealed.length);
});

test("records with summaries and without lie beside each other", async () => {
  const disk = new FaultyDisk(1);
  const store = await open(disk);
  const { locations } = store.append([record(0), record(1)], { summaries: Int32Array.of(5, 6, 7, 8) });
  const bare = store.append([record(2)]).locations;
  const other = store.append([record(3)], { summaries: Int32Array.of(9) }).locations; // of another length: as good as none
  await store.close();
  const again = await open(disk);
  expect(recalled(again)).toEqual(
    new Map<Location, number[] | number>([
      [locations[0]!, [5, 6]],
      [locations[1]!, [7, 8]],
      [bare[0]!, 2],
      [other[0]!, 3],
    ]),
  );
  expect(() => again.append([record(1), record(2)], { summaries: new Int32Array(3) })).toThrow(StoreError);
  expect(() => again.append([record(1)], { summaries: new Int32Array(33) })).toThrow(/32/);
  again.append([record(1)], { summaries: new Int32Array(32) });
  await again.close();
});

test("an index is a CBOR sequence that matches store.cddl, as cborg reads it", async () => {
  const disk = new FaultyDisk(1);
  await filled(disk);
  const rules = schema(
    readFileSync(new URL("../../../checkpoint/store/store.cddl", import.meta.url), "utf8"),
  );
  let rest = disk.bytes("00000001.idx");
  let count = 0;
  while (rest.length > 0) {
    const [item, remainder] = decodeFirst(rest, { useMaps: true, tags: Tagged.preserve(55799) });
    if (count++ === 0) rules.check("index-header", item);
    else {
      const [block] = item as [Uint8Array];
      rules.check("block", decodeFirst(block, { useMaps: true })[0]);
    }
    rest = remainder;
  }
  expect(count).toBeGreaterThan(2);
});

test("what a segment removed stays removed when its file is cut short, and its index is not believed of what comes later", async () => {
  const whole = new FaultyDisk(1);
  const lives = await filled(whole);
  for (const name of whole.list().filter((each) => each.endsWith(".seg"))) {
    const { length } = whole.bytes(name);
    for (let size = 0; size < length; size += 61) {
      const told = `${name} cut to ${size} of ${length} bytes`;
      const disk = new FaultyDisk(1);
      for (const each of whole.list()) disk.open(each, true).write(whole.bytes(each).slice(), 0);
      disk.open(name, false).truncate(size);
      let found: Location[] = [];
      for (let opening = 0; opening < 3; opening++) {
        const store = await open(disk);
        const now = Array.from(store.live(), ({ location }) => location);
        if (opening === 0) {
          for (const location of now) expect(lives.has(location), told).toBe(true);
          expect(now.length, told).toBeGreaterThan(0);
        } else expect(now, told).toEqual(found);
        const { locations, durable } = store.append(
          Array.from({ length: 20 }, (_, id) => record(1_000 + id)),
        );
        await durable;
        found = [...now, ...locations];
        await store.close();
      }
    }
  }
});
