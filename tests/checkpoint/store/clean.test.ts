import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import type { Location } from "../../../checkpoint/store/store.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { record } from "./world.ts";

const SEGMENT_BYTES = 2_000;

/** A store in which a few records live long and many die young. */
class Churn {
  readonly disk: FaultyDisk;
  readonly locations = new Map<number, Location>();
  store!: FileStore;
  appended = 0;

  constructor(disk: FaultyDisk = new FaultyDisk(1)) {
    this.disk = disk;
  }

  async open(): Promise<void> {
    this.store = await FileStore.open(this.disk, { segmentBytes: SEGMENT_BYTES, entropy: new Prng(1) });
    this.store.onMoved = (from, to, bytes) => {
      const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      expect(this.locations.get(id)).toBe(from);
      this.locations.set(id, to);
    };
  }

  async append(id: number): Promise<void> {
    this.locations.set(id, this.store.append([record(id)]).locations[0]!);
    this.appended += record(id).length;
    await this.store.idle(); // the next segment is made meanwhile
  }

  remove(id: number): void {
    this.store.remove([this.locations.get(id)!]);
    this.locations.delete(id);
  }

  check(): void {
    expect(this.store.stats.recordsLive).toBe(this.locations.size);
    for (const [id, location] of this.locations) expect(this.store.read(location)).toEqual(record(id));
  }
}

test("records that live for ever do not keep the space of those that have died: half of it at most, and a segment", async () => {
  const churn = new Churn();
  await churn.open();
  const prng = new Prng(5);
  for (let id = 0; id < 20; id++) await churn.append(id); // these stay
  let most = 0;
  for (let id = 20; id < 4_000; id++) {
    await churn.append(id);
    if (id >= 30) churn.remove(id - 10);
    while (prng.chance(0.5) && churn.store.clean(500));
    await churn.store.sync();
    const { bytesTotal, bytesLive } = churn.store.stats;
    most = Math.max(most, bytesTotal - 2 * bytesLive);
  }
  // The threshold, and what came while the last of it was being cleaned.
  expect(most).toBeLessThan(3 * SEGMENT_BYTES);
  churn.check();
  expect(churn.store.stats.bytesMoved).toBeGreaterThan(10_000);
  // A byte for each byte at most: entries have some 20 bytes beside the record.
  expect(churn.store.stats.bytesMoved).toBeLessThan(1.2 * churn.appended);
  await churn.store.close();
  await churn.open();
  expect(churn.store.stats.recordsLive).toBe(churn.locations.size);
  churn.check();
});

test("nothing moves where nobody keeps locations, and nothing while there is little to gain", async () => {
  const churn = new Churn();
  await churn.open();
  for (let id = 0; id < 200; id++) await churn.append(id);
  expect(churn.store.clean()).toBe(false);
  for (let id = 0; id < 80; id++) churn.remove(id); // less than half
  expect(churn.store.clean()).toBe(false);
  for (let id = 80; id < 190; id++) churn.remove(id);
  churn.store.onMoved = undefined;
  expect(churn.store.clean()).toBe(false);
  expect(churn.store.stats.bytesMoved).toBe(0);
});

test("a moved record tells where it was written first, however often it moves and after each restart", async () => {
  const churn = new Churn();
  await churn.open();
  await churn.append(0);
  const origin = churn.locations.get(0)!;
  const seen = new Set<Location>([origin]);
  for (let id = 1; id < 1_500; id++) {
    await churn.append(id);
    if (id > 1) churn.remove(id - 1);
    churn.store.clean();
    await churn.store.sync();
    seen.add(churn.locations.get(0)!);
    if (id % 400 === 0) {
      await churn.store.close();
      await churn.open();
    }
  }
  expect(seen.size).toBeGreaterThan(3);
  expect(churn.store.originOf(churn.locations.get(0)!)).toBe(origin);
  for (const { location, origin: told } of churn.store.live()) {
    if (location === churn.locations.get(0)) expect(told).toBe(origin);
  }
});

test("who owns a moved record hears of it, whatever the owner of another one throws", async () => {
  const churn = new Churn();
  await churn.open();
  for (let id = 0; id < 60; id++) await churn.append(id);
  for (let id = 3; id < 50; id++) churn.remove(id);
  await churn.store.sync();
  const told = churn.store.onMoved!;
  churn.store.onMoved = (from, ...rest) => {
    const summary = told(from, ...rest);
    if (from !== second) return summary;
    throw new Error("its owner does not know it");
  };
  const second = churn.locations.get(1)!;
  expect(() => churn.store.clean()).toThrow("its owner does not know it");
  expect(churn.store.stats.bytesMoved).toBeGreaterThan(0);
  churn.check();
});

test("a damaged record is left behind by cleaning, named, and costs only itself", async () => {
  const churn = new Churn();
  const damage: number[] = [];
  churn.store = await FileStore.open(churn.disk, {
    segmentBytes: SEGMENT_BYTES,
    entropy: new Prng(1),
    onDamage: ({ offset }) => void damage.push(offset),
  });
  churn.store.onMoved = (from, to, bytes) => {
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    if (churn.locations.get(id) === from) churn.locations.set(id, to);
  };
  for (let id = 0; id < 10; id++) await churn.append(id);
  const bad = churn.locations.get(4)!;
  churn.disk.flip("00000001.seg", bad % 2 ** 32 + 12, 3);
  for (let id = 10; id < 300; id++) {
    await churn.append(id);
    churn.remove(id);
  }
  while (churn.store.clean()) await churn.store.sync();
  await churn.store.sync();
  expect(damage).toEqual([bad % 2 ** 32]);
  expect(() => churn.store.read(bad)).toThrow(/no live record/);
  churn.locations.delete(4);
  churn.check();
});

test("a disk that refuses to be read or written moves nothing: the records are where they were", async () => {
  const churn = new Churn();
  await churn.open();
  for (let id = 0; id < 10; id++) await churn.append(id);
  for (let id = 10; id < 300; id++) {
    await churn.append(id);
    churn.remove(id);
  }
  await churn.store.sync();
  const before = new Map(churn.locations);
  churn.disk.failAt = churn.disk.operations + 1;
  expect(() => churn.store.clean(1)).toThrow(/Cannot write .* EIO/); // the active segment has room for one
  expect(churn.locations).toEqual(before);
  churn.check();
  expect(churn.store.clean(1)).toBe(true);
  expect(churn.locations).not.toEqual(before);
  churn.check();
});

test("whatever a disk refuses once while segments are deleted, the next sync has them deleted", async () => {
  const deletions = async (failAt: number): Promise<{ operations: number; segments: number }> => {
    const churn = new Churn();
    await churn.open();
    for (let id = 0; id < 200; id++) await churn.append(id);
    await churn.store.sync();
    for (let id = 0; id < 200; id++) churn.remove(id);
    void churn.append(200); // lives
    const before = churn.disk.operations;
    churn.disk.failAt = before + failAt;
    await churn.store.sync().catch(() => {});
    await churn.store.idle();
    const { operations } = churn.disk;
    churn.disk.failAt = Infinity;
    await churn.store.idle();
    if (!churn.store.failed) await churn.store.sync();
    await churn.store.idle();
    const { segments } = churn.store.stats;
    await churn.store.close();
    return { operations: operations - before, segments: churn.store.failed ? 1 : segments };
  };
  const { operations } = await deletions(Infinity);
  expect(operations).toBeGreaterThan(10);
  for (let failAt = 1; failAt <= operations; failAt++) {
    expect((await deletions(failAt)).segments, `operation ${failAt} of ${operations}`).toBeLessThanOrEqual(2);
  }
});

test("a segment stays until what has moved out of it is durable: a sync that began before does not count", async () => {
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 100; turn++) await undefined;
  };
  for (let seed = 1; seed <= 8; seed++) {
    const churn = new Churn(new FaultyDisk(seed));
    await churn.open();
    for (let id = 0; id < 60; id++) await churn.append(id);
    for (let id = 1; id < 59; id++) churn.remove(id);
    await churn.store.sync();
    await churn.store.idle();
    const syncs: (() => void)[] = [];
    churn.disk.syncDelay = (bytes) =>
      bytes === undefined ? Promise.resolve() : new Promise((resolve) => void syncs.push(resolve));
    churn.store.sync().catch(() => {});
    await settle();
    expect(syncs.length).toBe(1);
    const before = churn.locations.get(0);
    while (churn.store.clean(500));
    expect(churn.locations.get(0)).not.toBe(before);
    syncs[0]!();
    await settle();
    expect(syncs.length).toBeGreaterThan(1); // the next one is under way when the power fails
    churn.disk.syncDelay = () => Promise.resolve();
    churn.disk.off = true;
    churn.disk.reboot(seed);
    const store = await FileStore.open(churn.disk, { segmentBytes: SEGMENT_BYTES, entropy: new Prng(1) });
    const ids: number[] = [];
    for (const { bytes } of store.live()) {
      ids.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0));
    }
    expect(ids.sort(), `seed ${seed}`).toEqual([0, 59]);
    await store.close();
  }
});
