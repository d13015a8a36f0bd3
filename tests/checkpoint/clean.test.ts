import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import { type LiveRecord, type Location, StoreError } from "../../checkpoint/store/store.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";
import { answers, connect, say, serveCounter, text } from "./counter.ts";
import { SleepWorld } from "./sleep_world.ts";

const openStore = (disk: FaultyDisk): Promise<FileStore> =>
  FileStore.open(disk, { segmentBytes: 2_000, entropy: new Prng(1) });

test("connections that sleep for long move with the store while others come and go: it stays small, and they wake", async () => {
  const world = new SleepWorld();
  const disk = new FaultyDisk(1);
  let store = await openStore(disk);
  let process = world.start({ idleMs: 50, store });
  serveCounter(process, 7, "::");
  const sleepers = [await connect(world), await connect(world, "2001:db8::1"), await connect(world)];
  for (const conn of sleepers) expect(await say(world, conn, "q")).toBe("1:q;");
  await world.clock.advance(500);
  let most = 0;
  for (let round = 0; round < 60; round++) {
    const guest = await connect(world);
    expect(await say(world, guest, "q")).toBe("1:q;");
    await world.clock.advance(200);
    guest.close();
    await world.clock.advance(1_500);
    most = Math.max(most, store.stats.segments);
  }
  expect(process.errors).toEqual([]);
  expect(store.stats.bytesMoved).toBeGreaterThan(1_000);
  expect(most).toBeLessThan(6);
  expect(process.host.counts.asleep).toBe(3);
  process.kill();
  disk.restart();
  store = await openStore(disk);
  process = world.start({ idleMs: 50, store });
  serveCounter(process, 7, "::");
  expect(process.host.recovered).toEqual({ connections: 3, damaged: 0, unreachable: 0 });
  for (const conn of sleepers) expect(await say(world, conn, "q")).toBe("2:q;");
});

test("a segment that the disk does not let go is asked for again, when nothing else is to be written either", async () => {
  class Stubborn extends FaultyDisk {
    refusing = false;
    refused = 0;
    override remove(name: string): Promise<void> {
      if (!this.refusing) return super.remove(name);
      this.refused++;
      return Promise.reject(new Error("EIO"));
    }
  }
  const world = new SleepWorld();
  const disk = new Stubborn(1);
  const store = await openStore(disk);
  const process = world.start({ idleMs: 1e9, store });
  process.host.serve({ port: 7, durable: true, data: (connection, bytes) => void connection.write(bytes) });
  const conn = await connect(world);
  disk.refusing = true;
  for (let piece = 0; piece < 5; piece++) {
    await conn.write(new Uint8Array(1_000));
    await world.clock.advance(500);
  }
  await conn.closeWrite();
  await world.clock.advance(900);
  expect(disk.refused).toBeGreaterThan(0);
  expect([store.stats.recordsLive, store.stats.segments > 1]).toEqual([0, true]);
  await world.clock.advance(3_000);
  expect(process.errors[0]).toMatchObject({ message: expect.stringContaining("Cannot delete a segment") });
  disk.refusing = false;
  const { length } = process.errors;
  await world.clock.advance(3_000);
  expect(store.stats.segments).toBe(1);
  expect(process.errors.length).toBeLessThanOrEqual(length + 1);
});

test("a connection whose image moves while it is being saved, or while it waits to wake, is found where it lies", async () => {
  const world = new SleepWorld();
  const disk = new FaultyDisk(1);
  const store = await openStore(disk);
  const process = world.start({ idleMs: 1e9, store });
  serveCounter(process, 7, "::");
  const conn = await connect(world);
  expect(await say(world, conn, "q")).toBe("1:q;");
  await world.clock.advance(500); // no timer of it runs any more
  store.remove([...store.append([new Uint8Array(1_000)]).locations]);
  await store.idle(); // so full by now that the next segment has been made
  const waiting: (() => void)[] = [];
  disk.syncDelay = () => new Promise((resolve) => void waiting.push(resolve));
  const [id] = [...process.host.connections()];
  process.host.sleeper.suspend(id!);
  await world.clock.advance(1);
  expect(process.host.sleeper.stats.saving).toBe(1);
  const moves = moveAll(store);
  expect(moves).toBeGreaterThan(0);
  disk.syncDelay = () => Promise.resolve();
  for (const done of waiting) done();
  await world.clock.advance(10);
  expect(process.host.counts.asleep).toBe(1);
  // It waits to wake, since the disk refuses, and is moved meanwhile.
  const refusal = new StoreError("EIO", {}, { cause: new Error("EIO") });
  store.readKept = store.readBare = () => {
    throw refusal;
  };
  conn.write(text("q"));
  await world.clock.advance(20);
  expect(process.host.counts.waking).toBe(1);
  store.readKept = FileStore.prototype.readKept;
  store.readBare = FileStore.prototype.readBare;
  expect(moveAll(store)).toBeGreaterThan(0);
  const answer = answers(conn, 1);
  await world.clock.advance(2_000);
  expect(await answer).toBe("2:q;");
  expect(await say(world, conn, "q")).toBe("3:q;");
  expect(process.errors).toHaveLength(1);
});

/** Moves every live record once, by making enough garbage; how many moved. */
function moveAll(store: FileStore): number {
  let moved = 0;
  const { onMoved } = store;
  store.onMoved = (...move) => {
    moved++;
    return onMoved!(...move);
  };
  for (let count = 0; count < 60; count++) store.remove([store.append([new Uint8Array(100)]).locations[0]!]);
  while (store.clean());
  store.onMoved = onMoved;
  return moved;
}

/** A store in which records are not in the order in which they were written. */
class Moved extends MemoryStore {
  readonly origins = new Map<Location, Location>();
  override *live(): IterableIterator<LiveRecord> {
    for (const each of super.live()) yield { ...each, origin: this.origins.get(each.location)! };
  }
  override originOf(location: Location): Location {
    return this.origins.get(location)!;
  }
}

test("of two images of one connection the one that was written later counts, wherever they have been moved", async () => {
  for (const laterFirst of [false, true]) {
    const world = new SleepWorld();
    const process = world.start({ idleMs: 50 });
    serveCounter(process, 7, "::");
    const conn = await connect(world);
    const images: Uint8Array[] = [];
    for (const answer of ["1:q;", "2:q;"]) {
      expect(await say(world, conn, "q")).toBe(answer);
      await world.clock.advance(500);
      images.push(...world.disk.records.values());
    }
    expect(images).toHaveLength(2);
    process.kill();
    const store = new Moved();
    const { locations } = store.append(laterFirst ? images.reverse() : images);
    store.origins.set(locations[0]!, laterFirst ? 7 : 3);
    store.origins.set(locations[1]!, laterFirst ? 3 : 7);
    const next = world.start({ idleMs: 50, store });
    serveCounter(next);
    expect(store.stats.recordsLive).toBe(1);
    expect(await say(world, conn, "q"), `later first: ${laterFirst}`).toBe("3:q;");
  }
});
