import { decode as cborgDecodeAll, decodeFirst, Tagged } from "cborg";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Hash64, hash64, hashText } from "../../../checkpoint/image/hash.ts";
import {
  FileStore,
  MemoryStore,
  RECORD_BYTES_MAX,
  type Store,
  StoreError,
} from "../../../checkpoint/store/mod.ts";
import { writePut, writeRemove } from "../../../checkpoint/store/entry.ts";
import type { Damage } from "../../../checkpoint/store/scan.ts";
import { locationOf } from "../../../checkpoint/store/store.ts";
import { readHeader } from "../../../checkpoint/store/segment.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { judge } from "../../support/judge.ts";
import { cbor2Needs, python } from "../cbor2.ts";
import { schema } from "../image/cddl.ts";
import { record } from "./world.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

/** A folder of its own, removed after `run`. */
async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "torpor-store-"));
  try {
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function contents(store: Store): number[][] {
  return Array.from(store.live(), ({ bytes }) => [...bytes]);
}

test("hash64 is xxHash64, whole and in parts", () => {
  // The reference implementation's vectors.
  expect(hashText(hash64(new Uint8Array(0)))).toBe("ef46db3751d8e999");
  expect(hashText(hash64(new TextEncoder().encode("abc")))).toBe("44bc2cf5ad770999");
  const long = new Uint8Array(700_000);
  new Prng(1).fill(long);
  const parts = new Hash64(5n).update(long.subarray(0, 3)).update(long.subarray(3));
  expect(parts.digest()).toBe(hash64(long, 5n));
});

test("FileStore and MemoryStore agree on every answer to random calls", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const prng = new Prng(seed);
    const disk = new FaultyDisk(seed, { shortWrites: true });
    let file = await FileStore.open(disk, { segmentBytes: 2000, entropy: prng });
    const twin = new MemoryStore();
    const pairs = new Map<number, [number, number]>(); // id -> location in each
    const dead: [number, number][] = [];
    let next = 0;
    for (let step = 0; step < 60; step++) {
      const ids = [...pairs.keys()];
      const some = (): number[] => ids.filter(() => prng.chance(0.1));
      if (prng.chance(0.5)) {
        const olds = some();
        const come = Array.from({ length: olds.length + prng.below(4) }, () => next++);
        const a = file.append(come.map(record), { supersedes: olds.map((id) => pairs.get(id)![0]) });
        const b = twin.append(come.map(record), { supersedes: olds.map((id) => pairs.get(id)![1]) });
        for (const id of olds) dead.push(pairs.get(id)!) && pairs.delete(id);
        for (const [index, id] of come.entries()) pairs.set(id, [a.locations[index]!, b.locations[index]!]);
      } else if (prng.chance(0.6)) {
        const olds = some();
        file.remove(olds.map((id) => pairs.get(id)![0]));
        twin.remove(olds.map((id) => pairs.get(id)![1]));
        for (const id of olds) dead.push(pairs.get(id)!) && pairs.delete(id);
      } else if (prng.chance(0.3)) {
        await file.close();
        file = await FileStore.open(disk, { segmentBytes: 2000, entropy: prng });
      } else if (dead.length > 0) {
        const [inFile, inTwin] = prng.pick(dead);
        expect(() => file.read(inFile), `seed ${seed}`).toThrow(StoreError);
        expect(() => twin.read(inTwin)).toThrow(StoreError);
        const before = file.stats.recordsLive;
        const mixed = [...pairs.values()].slice(0, 2);
        expect(() => file.remove([...mixed.map(([at]) => at), inFile])).toThrow(StoreError);
        expect(() => twin.remove([...mixed.map(([, at]) => at), inTwin])).toThrow(StoreError);
        expect(() => file.append(mixed.map(() => record(1)), { supersedes: mixed.map(() => mixed[0]![0]) }))
          .toThrow();
        expect(file.stats.recordsLive).toBe(before);
      }
      expect(contents(file), `seed ${seed} step ${step}`).toEqual(contents(twin));
      expect(file.stats.recordsLive).toBe(twin.stats.recordsLive);
      for (const [id, [a, b]] of pairs) {
        expect(file.read(a)).toEqual(record(id));
        expect(twin.read(b)).toEqual(record(id));
      }
    }
    await file.close();
  }
});

test("a folder keeps records, seals segments, uses their indexes and deletes dead ones", () =>
  inFolder(async (folder) => {
    const options = { segmentBytes: 2000 };
    const old: number[] = [];
    {
      await using store = await FileStore.open(folder, options);
      for (let id = 0; id < 100; id++) {
        old.push(...store.append([record(id)]).locations);
        await store.idle(); // the next segment is made meanwhile
      }
      await store.sync();
      expect(store.stats.segments).toBeGreaterThan(2);
    }
    const sealed = readdirSync(folder).filter((name) => name.endsWith(".idx")).length;
    expect(sealed).toBeGreaterThan(1);
    // Damage that only a scan would see: with its index the segment need not be read.
    const first = join(folder, "00000001.seg");
    const bytes = readFileSync(first);
    const location = old[3]! % 2 ** 32;
    bytes[location + 8]! ^= 1;
    writeFileSync(first, bytes);
    {
      const damage: Damage[] = [];
      await using store = await FileStore.open(folder, {
        ...options,
        onDamage: (found) => damage.push(found),
      });
      expect(damage).toEqual([]);
      expect(store.stats.recordsLive).toBe(100);
      expect(() => store.read(old[3]!)).toThrow(
        new RegExp(`byte ${location} of "00000001.seg": its entry hashes to [0-9a-f]{16}, need [0-9a-f]{16}`),
      );
      expect(contents(store).length).toBe(99);
      expect(damage.length).toBe(2);
      for (const at of [0, 1, 2, 4]) expect(store.read(old[at]!)).toEqual(record(at));
    }
    for (const name of readdirSync(folder)) {
      if (name.endsWith(".idx")) writeFileSync(join(folder, name), "no index");
    }
    {
      const damage: Damage[] = [];
      await using store = await FileStore.open(folder, {
        ...options,
        onDamage: (found) => damage.push(found),
      });
      expect(damage.map(({ file, offset }) => [file, offset])).toEqual([["00000001.seg", location]]);
      expect(store.stats.recordsLive).toBe(99);
      expect(contents(store)).toEqual(
        old.map((_, id) => id).filter((id) => id !== 3).map((id) => [...record(id)]),
      );
      const before = store.stats.segments;
      await store.remove(old.slice(0, 60).filter((_, id) => id !== 3)).durable;
      await store.sync();
      await store.idle();
      expect(store.stats.segments).toBeLessThan(before);
    }
    await using store = await FileStore.open(folder, options);
    expect(contents(store)).toEqual(Array.from({ length: 40 }, (_, id) => [...record(60 + id)]));
  }));

test("any single flipped bit costs at most one record, and is reported where it is found", async () => {
  const disk = new FaultyDisk(1);
  const options = { segmentBytes: 1 << 20, entropy: new Prng(3) };
  const first = await FileStore.open(disk, options);
  const { locations } = first.append([...Array(6).keys()].map(record));
  await first.append([record(6)], { supersedes: [locations[0]!] }).durable;
  await first.remove([locations[1]!]).durable;
  await first.append([record(7)]).durable;
  await first.close();
  const name = disk.list()[0]!;
  const size = disk.bytes(name).length;
  const whole = disk.bytes(name).slice();
  for (let at = 0; at < size; at++) {
    disk.flip(name, at, at % 8);
    const damage: Damage[] = [];
    const store = await FileStore.open(disk, { ...options, onDamage: (found) => damage.push(found) });
    const ids = Array.from(store.live(), ({ bytes }) => bytes[3]!);
    // Losing a removal brings its record back; losing a record loses it: the others are as they were.
    const kept = [2, 3, 4, 5, 6, 7].filter((id) => ids.includes(id)).length;
    expect(kept, `byte ${at}: ${ids}`).toBeGreaterThanOrEqual(5);
    expect(ids.length, `byte ${at}: ${ids}`).toBeLessThanOrEqual(7);
    expect(damage.length, `byte ${at}`).toBeGreaterThan(0);
    expect(store.stats.damaged).toBe(damage.length);
    await store.close();
    for (const file of disk.list()) if (file !== name) disk.removeNow(file);
    const mend = disk.open(name, false); // back to what it was
    mend.truncate(0);
    mend.write(whole, 0);
  }
});

test("what lay behind a torn entry stays gone, even when new entries end where it started", async () => {
  const disk = new FaultyDisk(1, { mode: "power" });
  const first = await FileStore.open(disk);
  await first.append([record(1)]).durable;
  const { locations } = first.append([record(2), record(3)]);
  disk.failAt = disk.operations + 1;
  await expect(first.sync()).rejects.toThrow(StoreError);
  disk.restart();
  disk.flip(disk.list()[0]!, locations[0]! % 2 ** 32 + 8, 0);
  const damage: Damage[] = [];
  const second = await FileStore.open(disk, { onDamage: (found) => damage.push(found) });
  expect(damage.length).toBe(1);
  expect(damage[0]!.offset).toBe(locations[0]! % 2 ** 32);
  expect(damage[0]!.reason).toMatch(/torn write/);
  expect(contents(second)).toEqual([[...record(1)]]);
  const again = second.append([record(2)]);
  expect(again.locations[0]).toBe(locations[0]);
  disk.restart(); // before the sync, which would put its mark over the rest
  const third = await FileStore.open(disk);
  expect(contents(third)).toEqual([[...record(1)], [...record(2)]]);
  await third.close();
});

test("no record comes back when power fails while segments and the removals in them are deleted", async () => {
  let failures = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const disk = new FaultyDisk(seed, { mode: "power" });
    const store = await FileStore.open(disk, { segmentBytes: 320 });
    const first = store.append([record(1), record(2)]).locations;
    await store.idle(); // the next segment is made meanwhile
    const second = store.append([record(3), record(4)]).locations;
    await store.idle();
    store.remove([...first]); // these go in segment 2, and
    store.append([record(5)]); // the removal of what is there in segment 3
    store.remove([...second]);
    expect(store.stats.segments, "the test needs three segments").toBe(3);
    disk.failAt = disk.operations + 1 + seed % 20;
    const synced = await store.sync().then(() => true, () => false);
    await store.close().catch(() => {});
    if (!synced || !disk.off) continue; // too early, or too late
    failures++;
    disk.reboot(seed);
    const again = await FileStore.open(disk);
    expect(contents(again), `seed ${seed}`).toEqual([[...record(5)]]);
    await again.close();
  }
  expect(failures).toBeGreaterThan(40);
});

test("a record cannot plant entries for the search after damage to find, as it cannot know the salt", async () => {
  for (const knowsSalt of [false, true]) {
    const disk = new FaultyDisk(1);
    const store = await FileStore.open(disk, { entropy: new Prng(5) });
    const name = disk.list()[0]!;
    const { salts } = readHeader(disk.bytes(name), 1);
    const planted = new Uint8Array(400);
    writePut(planted, 100, record(66), undefined, knowsSalt ? salts[0]! : 0n);
    const { locations } = store.append([planted, record(1)]);
    await store.sync();
    await store.close();
    disk.removeNow("00000001.idx"); // it knows where entries start
    disk.flip(name, locations[0]! % 2 ** 32 + 1, 0); // the length: where the entry ends is lost
    const again = await FileStore.open(disk);
    expect(contents(again)).toEqual((knowsSalt ? [66, 1] : [1]).map((id) => [...record(id)]));
    await again.close();
  }
});

test("a removal of what does not exist yet does not remove what comes there later", async () => {
  const disk = new FaultyDisk(1);
  await (await FileStore.open(disk, { entropy: new Prng(5) })).close();
  const [name] = disk.list();
  const { salts } = readHeader(disk.bytes(name!), 1);
  const entry = new Uint8Array(40);
  const start = disk.bytes(name!).length;
  const next = start + writeRemove(entry, 0, [locationOf(1, start + 20)], salts[0]!);
  const file = disk.open(name!, false);
  file.write(entry.subarray(0, next - start), start);
  file.syncNow();
  const store = await FileStore.open(disk);
  const { locations, durable } = store.append([record(1)]);
  await durable;
  expect(locations[0]).toBe(locationOf(1, start + 20)); // what was removed in advance
  await store.close();
  const again = await FileStore.open(disk);
  expect(contents(again)).toEqual([[...record(1)]]);
  await again.close();
});

test("one store per folder, and a lock left by a dead process does not count", () =>
  inFolder(async (folder) => {
    const store = await FileStore.open(folder);
    await expect(FileStore.open(folder)).rejects.toThrow(/this process has it open/);
    const own = readdirSync(folder).find((name) => name.startsWith("lock."))!;
    await store.close();
    expect(readdirSync(folder).some((name) => name.startsWith("lock."))).toBe(false);
    const [, pid, start, boot] = own.split(".");
    // Our own process id with another start time: a number that was given out again. And another boot.
    writeFileSync(join(folder, `lock.${pid}.${Number(start) + 1}.${boot}`), "");
    writeFileSync(join(folder, `lock.1.1.000000000000`), "");
    await (await FileStore.open(folder)).close();
    // Process 1 lives.
    const one = readFileSync("/proc/1/stat", "utf8");
    const started = one.slice(one.lastIndexOf(")") + 2).split(" ")[19];
    writeFileSync(join(folder, `lock.1.${started}.${boot}`), "");
    await expect(FileStore.open(folder)).rejects.toThrow(/process 1 has it open/);
  }));

test("appends during a sync share the next one", async () => {
  const disk = new FaultyDisk(1);
  const store = await FileStore.open(disk);
  const commits = Array.from({ length: 50 }, (_, id) => store.append([record(id)]).durable);
  await Promise.all(commits);
  expect(store.stats.syncs).toBe(1);
  const first = store.append([record(1)]).durable;
  await undefined;
  await undefined; // the sync has started
  const later = [store.append([record(2)]).durable, store.append([record(3)]).durable];
  await Promise.all([first, ...later]);
  expect(store.stats.syncs).toBe(3);
  await store.close();
});

test("a failed sync rejects what waits for it, and the store refuses changes until it is opened anew", async () => {
  const disk = new FaultyDisk(1);
  const store = await FileStore.open(disk);
  const { locations, durable } = store.append([record(1)]);
  disk.failAt = disk.operations + 1;
  await expect(durable).rejects.toThrow(StoreError);
  expect(store.failed).toBeInstanceOf(StoreError);
  expect(() => store.append([record(2)])).toThrow(/open the store anew/);
  expect(() => store.remove([locations[0]!])).toThrow(StoreError);
  await expect(store.sync()).rejects.toThrow(StoreError);
  expect(store.read(locations[0]!)).toEqual(record(1));
  await store.close();
  const again = await FileStore.open(disk);
  expect(contents(again)).toEqual([[...record(1)]]);
});

test("a full disk refuses an append, keeps the rest, and takes appends again when there is room", async () => {
  const disk = new FaultyDisk(1);
  const store = await FileStore.open(disk);
  await store.append([record(1)]).durable;
  disk.failAt = disk.operations + 1;
  expect(() => store.append([record(2), record(3)])).toThrow(/Cannot write "00000001.seg"/);
  expect(store.failed).toBeUndefined();
  await store.append([record(4)]).durable;
  expect(contents(store)).toEqual([[...record(1)], [...record(4)]]);
  await store.close();
});

test("records have a limit, on both sides; a closed store refuses", async () => {
  for (const store of [await FileStore.open(new FaultyDisk(1)), new MemoryStore()]) {
    const most = new Uint8Array(RECORD_BYTES_MAX).fill(7);
    const { locations } = store.append([most, new Uint8Array(0), record(1)]);
    expect(store.read(locations[0]!).length).toBe(RECORD_BYTES_MAX);
    expect(store.read(locations[1]!).length).toBe(0);
    expect(() => store.append([new Uint8Array(RECORD_BYTES_MAX + 1)])).toThrow(StoreError);
    expect(() => store.append([], { supersedes: [locations[2]] })).toThrow(StoreError);
    expect(() => store.remove([locations[2]!, locations[2]!])).toThrow(StoreError);
    expect(() => store.remove([-1])).toThrow(StoreError);
    expect(() => store.read(NaN)).toThrow(StoreError);
    expect(store.stats.recordsLive).toBe(3);
    await store.close();
    await store.close();
    expect(() => store.append([record(1)])).toThrow(/closed/);
    expect(() => store.read(locations[2]!)).toThrow(/closed/);
  }
});

test("a suspended connection costs at most 16 bytes beyond its image", async () => {
  const store = await FileStore.open(new FaultyDisk(1));
  const before = store.stats.bytesTotal;
  store.append(Array.from({ length: 100 }, () => new Uint8Array(180)));
  expect((store.stats.bytesTotal - before) / 100 - 180).toBeLessThanOrEqual(16);
  await store.close();
});

test("MemoryStore's durable waits for the sync it is given", async () => {
  const held: (() => void)[] = [];
  const store = new MemoryStore({ sync: () => new Promise((resolve) => held.push(resolve)) });
  let done = 0;
  void store.append([record(1)]).durable.then(() => done++);
  await new Promise((resolve) => setTimeout(resolve, 0));
  void store.append([record(2)]).durable.then(() => done++);
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect([held.length, done]).toEqual([1, 0]);
  held[0]!();
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect([held.length, done]).toEqual([2, 1]);
  held[1]!();
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(done).toBe(2);
});

test("segments are CBOR sequences that match store.cddl, as cborg reads them", () =>
  inFolder(async (folder) => {
    const bytes = await sampleSegment(folder);
    const rules = schema(
      readFileSync(new URL("../../../checkpoint/store/store.cddl", import.meta.url), "utf8"),
    );
    let rest: Uint8Array = bytes;
    let count = 0;
    while (rest.length > 0) {
      const [item, remainder] = decodeFirst(rest, { useMaps: true, tags: Tagged.preserve(55799) });
      rules.check(count++ === 0 ? "header" : "entry", item);
      rest = remainder;
    }
    expect(count).toBeGreaterThan(5);
    expect(() => rules.check("entry", cborgDecodeAll(Uint8Array.of(0x80)))).toThrow();
  }));

judge("python3-cbor2 reads a segment as a sequence", cbor2Needs(), () =>
  inFolder(async (folder) => {
    const out = python(
      `
import sys, io, cbor2
stream = io.BytesIO(sys.stdin.buffer.read())
decoder = cbor2.CBORDecoder(stream)
end = len(stream.getbuffer())
while stream.tell() < end:
    item = decoder.decode()
    item = item.value if isinstance(item, cbor2.CBORTag) else item
    print(len(item), type(item[0]).__name__)
`,
      await sampleSegment(folder),
    );
    expect(out.trim().split("\n").slice(0, 5)).toEqual(["6 str", "2 bytes", "2 bytes", "3 bytes", "2 list"]);
  }));

async function sampleSegment(folder: string): Promise<Uint8Array> {
  const store = await FileStore.open(folder);
  const { locations } = store.append([record(1), record(2)]);
  store.append([record(3)], { supersedes: [locations[0]!] });
  store.remove([locations[1]!]);
  await store.sync();
  await store.append([record(4)]).durable;
  await store.close();
  return new Uint8Array(readFileSync(join(folder, "00000001.seg")));
}
