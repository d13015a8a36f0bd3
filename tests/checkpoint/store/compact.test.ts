import { expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import { compactStore } from "../../../checkpoint/store/compact.ts";
import { FileStore } from "../../../checkpoint/store/mod.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { record } from "./world.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

/** A disk with a store that has as much dead as alive in it, and what lives. */
async function filled(seed: number): Promise<{ disk: FaultyDisk; live: string[] }> {
  const disk = new FaultyDisk(seed);
  const prng = new Prng(seed);
  await using store = await FileStore.open(disk, { segmentBytes: 700, entropy: prng });
  for (let batch = 0; batch < 12; batch++) {
    const records = [0, 1, 2].map((index) => record(3 * batch + index));
    const { locations } = store.append(records);
    store.remove([...locations].filter(() => prng.chance(0.5)));
    await store.sync();
  }
  return { disk, live: contents(store) };
}

function contents(store: FileStore): string[] {
  return Array.from(store.live(), ({ bytes }) => [...bytes].join()).sort();
}

for (const mode of ["power", "error"] as const) {
  test(`compactStore loses and doubles nothing when operation N fails (${mode}), and goes on when run again`, async () => {
    let points = 0;
    for (const seed of [1, 2, 3]) {
      for (let failAt = 1;; failAt++) {
        const { disk, live } = await filled(seed);
        const failing = new Prng(failAt);
        disk.failAt = disk.operations + failAt;
        Object.assign(disk, { mode });
        const failed = await compactStore(disk, { batchBytes: 200, always: true, entropy: failing }).then(
          () => undefined,
          (error) => error,
        );
        const reached = disk.operations >= disk.failAt;
        const label = `seed ${seed}, operation ${failAt}: ${failed}`;
        if (!reached) expect(failed, label).toBeUndefined();
        if (mode === "power") disk.reboot(failAt);
        else disk.restart();
        disk.failAt = Infinity;
        {
          await using store = await FileStore.open(disk);
          expect(contents(store), label).toEqual(live);
        }
        const { records, bytesBefore, bytesAfter } = await compactStore(disk, {
          batchBytes: 200,
          always: true,
        });
        expect(records, label).toBe(live.length);
        if (!reached) expect(bytesAfter).toBeLessThanOrEqual(bytesBefore + 50);
        await using store = await FileStore.open(disk);
        expect(contents(store), label).toEqual(live);
        points++;
        if (!reached) break;
      }
    }
    expect(points).toBeGreaterThan(60);
  });
}

test("compactStore of a store in which nothing lives leaves next to nothing", async () => {
  const disk = new FaultyDisk(1);
  {
    await using store = await FileStore.open(disk);
    const { locations } = store.append([new Uint8Array(5_000)]);
    store.remove([...locations]);
  }
  const { records, bytesAfter } = await compactStore(disk);
  expect(records).toBe(0);
  expect(bytesAfter).toBeLessThan(200);
});

test("compactStore leaves a store alone in which there is nothing to win", async () => {
  const disk = new FaultyDisk(1);
  {
    await using store = await FileStore.open(disk);
    store.append(Array.from({ length: 100 }, (_, index) => record(index)));
  }
  const operations = disk.operations;
  const { records, bytesBefore, bytesAfter } = await compactStore(disk);
  expect({ records, won: bytesBefore - bytesAfter }).toEqual({ records: 100, won: 0 });
  expect(disk.operations - operations).toBeLessThan(10); // opened and closed
});
