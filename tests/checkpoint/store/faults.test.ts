import { afterAll, expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { record, StoreWorld } from "./world.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

const STEPS = 18;

/** Operations at which something was made to go wrong, of all tests here; what went wrong. */
let points = 0;
const failed = new Set<string>();

afterAll(() => {
  console.log(`${points.toLocaleString("en")} crash points`);
  expect([...failed].sort()).toEqual(["create", "remove", "sync", "syncFolder", "truncate", "write"]);
  expect(points).toBeGreaterThan(1_500);
});

/** One more, on this disk. */
function count(disk: FaultyDisk): void {
  points++;
  for (const kind of disk.failed) failed.add(kind);
}

/** Runs `STEPS` changes; false when the disk's fault was never reached. */
async function run(world: StoreWorld): Promise<boolean> {
  try {
    await world.open(world.durable);
    for (let step = 0; step < STEPS && !world.disk.off && !world.store!.failed; step++) await world.step();
    await world.store!.close();
  } catch (error) {
    if (!world.disk.off && world.disk.operations < world.disk.failAt) throw error;
    if (error instanceof Error && error.name === "AssertionError") throw error;
  }
  return world.disk.operations >= world.disk.failAt;
}

for (const sticky of [false, true]) {
  test(`FileStore keeps its contract when operation N fails (${sticky ? "from then on" : "once"})`, async () => {
    for (let seed = 1; seed <= 2; seed++) {
      let reached = true;
      for (let failAt = 1; reached; failAt++) {
        const disk = new FaultyDisk(seed, { failAt, sticky, shortWrites: seed === 2 });
        const world = new StoreWorld(disk, seed);
        reached = await run(world);
        count(disk);
        const told = `seed ${seed}, operation ${failAt}`;
        disk.restart(); // a new process: all that had returned is there
        await world.open(world.written).catch((error) => {
          throw new Error(`${told}: restart: ${error}`, { cause: error });
        });
        disk.reboot(failAt); // and then, with no further sync, a power failure: so it is still
        await world.open(world.written).catch((error) => {
          throw new Error(`${told}: reboot: ${error}`, { cause: error });
        });
      }
    }
  });
}

test("FileStore opens in an allowed state after a power failure at every operation", async () => {
  for (let seed = 1; seed <= 2; seed++) {
    let reached = true;
    for (let failAt = 1; reached; failAt++) {
      const disk = new FaultyDisk(seed, { failAt, mode: "power", shortWrites: seed === 2 });
      const world = new StoreWorld(disk, seed);
      reached = await run(world);
      count(disk);
      const told = `seed ${seed}, operation ${failAt}`;
      // Power fails again while the store opens, at each of its operations.
      for (let again = 1;; again++) {
        disk.reboot(1000 * failAt + again, { failAt: again });
        points++;
        try {
          await world.open(world.durable);
        } catch (error) {
          if (disk.off) continue;
          throw new Error(`${told}, again at ${again}: ${error}`, { cause: error });
        }
        break;
      }
      disk.failAt = Infinity;
      for (let step = 0; step < 6; step++) await world.step();
      await world.store!.sync();
      disk.reboot(failAt);
      await world.open(world.durable).catch((error) => {
        throw new Error(`${told}: second failure: ${error}`, { cause: error });
      });
    }
    expect(reached).toBe(false);
  }
});

test("FileStore keeps its contract over long lives with many power failures", async () => {
  let moves = 0;
  const recalled = { summaries: 0, records: 0 };
  for (let seed = 1; seed <= 60; seed++) {
    const disk = new FaultyDisk(seed, { mode: "power", shortWrites: seed % 2 === 0 });
    const world = new StoreWorld(disk, seed);
    for (let life = 0; life < 8; life++) {
      disk.failAt = disk.operations + world.prng.between(1, 60);
      await run(world).catch((error) => {
        throw new Error(`seed ${seed}, life ${life}: ${error}`, { cause: error });
      });
      count(disk);
      if (world.prng.chance(0.5)) disk.reboot(seed + life);
      else if (!disk.off) disk.restart();
      else disk.reboot(life);
    }
    moves += world.moves;
    recalled.summaries += world.recalled.summaries;
    recalled.records += world.recalled.records;
  }
  expect(moves).toBeGreaterThan(50); // cleaning is part of those lives
  expect(Math.min(recalled.summaries, recalled.records)).toBeGreaterThan(100);
});

test("of segments that reach the disk in any order and in parts, a prefix of the changes comes back", async () => {
  const cutOff = { newer: 0, prefixes: new Set<number>() };
  for (let seed = 1; seed <= 400; seed++) {
    const disk = new FaultyDisk(seed);
    const store = await FileStore.open(disk, { segmentBytes: 300, entropy: new Prng(seed) });
    let held = false;
    // The segments in use wait for their sync, all the time; new ones are made.
    disk.syncDelay = (bytes = 0) => held && bytes > 60 ? new Promise(() => {}) : Promise.resolve();
    const promised = seed % 4;
    for (let id = 0; id < 12; id++) {
      if (id === promised) {
        await store.sync();
        held = true;
      }
      store.append([record(id)]).durable.catch(() => {});
      for (let turn = 0; turn < 20; turn++) await undefined;
    }
    expect(store.stats.segments).toBeGreaterThan(2);
    disk.syncDelay = () => Promise.resolve();
    disk.reboot(seed);
    for (let opening = 0; opening < 2; opening++) { // and so it stays
      const again = await FileStore.open(disk, {
        onDamage: ({ reason }) => void (cutOff.newer += /follows a torn write/.test(reason) ? 1 : 0),
      });
      const ids = Array.from(
        again.live(),
        ({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0),
      );
      expect(ids, `seed ${seed}`).toEqual([...ids.keys()]);
      expect(ids.length).toBeGreaterThanOrEqual(promised);
      cutOff.prefixes.add(ids.length);
      disk.reboot(seed + opening);
    }
  }
  expect(cutOff.newer).toBeGreaterThan(100);
  expect(cutOff.prefixes.size).toBeGreaterThan(6);
});
