import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Kind, writeImage } from "../../../checkpoint/image/mod.ts";
import { bareOf, recordOf } from "../../../checkpoint/store/bare.ts";
import { writePut } from "../../../checkpoint/store/entry.ts";
import { FileStore } from "../../../checkpoint/store/mod.ts";
import { locationOf } from "../../../checkpoint/store/store.ts";
import { segmentHeader, segmentName } from "../../../checkpoint/store/segment.ts";
import { FaultyDisk } from "../../support/faulty_disk.ts";
import { drawSeed } from "../../support/seed.ts";

const SEED = drawSeed("BARE_SEED", 1_000_000);

/** Compared a thousand times faster than an array of bytes. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function drawBody(prng: Prng): Uint8Array {
  const body = new Uint8Array(prng.pick([0, 1, 23, 24, 150, 255, 256, 70_000]));
  prng.fill(body);
  return body;
}

test(`what a store is given is what it gives back, whether it is an image or looks like one (seed ${SEED})`, async () => {
  const prng = new Prng(SEED);
  const seen = { bare: 0, whole: 0 };
  const disk = new FaultyDisk(SEED, {});
  let store = await FileStore.open(disk, { entropy: prng });
  const records: Uint8Array[] = [];
  for (let run = 0; run < 300; run++) {
    const body = drawBody(prng);
    const kind = prng.pick([Kind.Socket, Kind.Object, Kind.Evidence]);
    let record: Uint8Array = writeImage({
      kind,
      body,
      ...(prng.chance(0.2) && { chunks: [drawBody(prng)] }),
    });
    if (prng.chance(0.4)) {
      record = record.slice();
      const places = [prng.below(Math.min(12, record.length)), record.length - 1 - prng.below(12)];
      record[prng.pick(places)]! ^= 1 << prng.below(8);
    }
    if (prng.chance(0.2)) record = record.slice(0, prng.below(record.length + 1));
    if (record.length === 0) continue;
    const bare = bareOf(record);
    if (bare === undefined) seen.whole++;
    else {
      seen.bare++;
      expect(record.length - bare.length).toBe(15);
      expect(textOf(recordOf(bare)) === textOf(record)).toBe(true);
    }
    records.push(record);
  }
  expect(Math.min(seen.bare, seen.whole)).toBeGreaterThan(50);
  const { locations, durable } = store.append(records);
  await durable;
  const expected = records.map(textOf);
  const given = (): string[] => Array.from(locations, (location) => textOf(store.read(location)));
  expect(given()).toEqual(expected);
  await store.close();
  store = await FileStore.open(disk, { entropy: prng, onDamage: ({ reason }) => expect.fail(reason) });
  expect(given()).toEqual(expected);
  expect(Array.from(store.live(), ({ bytes }) => textOf(bytes))).toEqual(expected);
  await store.close();
});

test("a segment of the format before is read, and what comes goes into another", async () => {
  const salt = 77n;
  const bytes = new Uint8Array(400);
  const header = segmentHeader(1, salt, 1);
  bytes.set(header);
  const old = writeImage({ kind: Kind.Object, body: ["old"] });
  const end = writePut(bytes, header.length, old, undefined, salt);
  const disk = new FaultyDisk(1, {});
  const file = await disk.create(segmentName(1));
  file.write(bytes.subarray(0, end), 0);
  await file.sync();
  await disk.syncFolder();
  const store = await FileStore.open(disk, { onDamage: ({ reason }) => expect.fail(reason) });
  expect(store.read(locationOf(1, header.length))).toEqual(old);
  const fresh = writeImage({ kind: Kind.Object, body: ["new"] });
  const { locations, durable } = store.append([fresh]);
  await durable;
  expect(locations[0]!).toBeGreaterThanOrEqual(locationOf(2, 0));
  expect(disk.bytes(segmentName(1))).toEqual(bytes.subarray(0, end));
  expect(store.read(locations[0]!)).toEqual(fresh);
  await store.close();
});
