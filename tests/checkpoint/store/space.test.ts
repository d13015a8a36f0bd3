import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { FileStore, type FileStoreOptions } from "../../../checkpoint/store/file_store.ts";
import { StoreError } from "../../../checkpoint/store/store.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";

const RECORD = new Uint8Array(100);
/** With the store's framing. */
const ENTRY_BYTES = 112;

function open(disk: FaultyDisk, options: FileStoreOptions): Promise<FileStore> {
  return FileStore.open(disk, { segmentBytes: 2_000, entropy: new Prng(1), ...options });
}

test("an append that would leave less free than the floor is refused, one that leaves as much is not", async () => {
  for (const [freeMin, total] of [[10_000, Infinity], [0.05, 200_000]] as const) {
    const disk = new FaultyDisk(1);
    disk.total = total;
    disk.free = 10_000 + ENTRY_BYTES;
    const store = await open(disk, { freeMin });
    const { locations } = store.append([RECORD]); // what was written since is counted, without asking
    expect(() => store.append([RECORD])).toThrow(
      new StoreError("Cannot append 112 bytes: the disk has 10000 left, of which 10000 stay free"),
    );
    expect(store.failed).toBeUndefined();
    expect(store.stats.recordsLive).toBe(1);
    expect(store.read(locations[0]!)).toEqual(RECORD);
    await store.idle();
    disk.free = 10_000 + ENTRY_BYTES + 20; // somebody made room, for a mark as well
    expect(() => store.append([RECORD])).toThrow(StoreError); // nobody has asked since; this refusal does
    await store.idle();
    expect(() => store.append([RECORD])).not.toThrow();
    await store.close();
  }
});

test("below the floor removing and cleaning go on, and give the space back", async () => {
  const disk = new FaultyDisk(1);
  const store = await open(disk, { freeMin: 1_000 });
  const moved = new Map<number, number>();
  store.onMoved = (from, to) => void moved.set(from, to);
  const kept: number[] = [];
  const others: number[] = [];
  for (let count = 0; count < 60; count++) {
    (count % 10 === 0 ? kept : others).push(...store.append([RECORD]).locations);
    await store.idle();
  }
  disk.free = 0;
  kept.push(...store.append([RECORD]).locations); // it is asked again when some has been written
  await store.sync();
  await store.idle();
  expect(() => store.append([RECORD])).toThrow(/stay free/);
  const { bytesTotal } = store.stats;
  await store.remove(others).durable;
  while (store.clean()) await store.sync();
  await store.idle();
  expect(moved.size).toBeGreaterThan(0);
  expect(store.stats.bytesTotal).toBeLessThan(bytesTotal / 2);
  for (const location of kept) expect(store.read(moved.get(location) ?? location)).toEqual(RECORD);
  expect(() => store.append([RECORD])).toThrow(/stay free/);
  await store.idle();
  disk.free = 10_000;
  expect(() => store.append([RECORD])).toThrow(/stay free/);
  await store.idle();
  store.append([RECORD]);
  await store.close();
});

test("as much as two segments stays free by default, and nothing when nothing is asked for", async () => {
  const disk = new FaultyDisk(1);
  disk.free = 4_000 + ENTRY_BYTES - 1;
  const store = await open(disk, {});
  expect(() => store.append([RECORD])).toThrow(/4000 stay free/);
  await store.close();
  disk.free = 0;
  const careless = await open(disk, { freeMin: 0 });
  careless.append([RECORD]);
  await careless.close();
});
