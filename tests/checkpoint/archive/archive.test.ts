import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import { type ArchiveDamage, ArchiveError } from "../../../checkpoint/archive/archive_reader.ts";
import { writeArchiveFile } from "../../../checkpoint/archive/archive_file.ts";
import { writeArchive } from "../../../checkpoint/archive/archive_writer.ts";
import { unarchive } from "../../../checkpoint/archive/unarchive.ts";
import { measureImage } from "../../../checkpoint/image/measure.ts";
import { readSocketImage, writeSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { stretchesOf, writeStretch } from "../../../checkpoint/sockets/stretch.ts";
import { idOf } from "../../../checkpoint/sockets/stored.ts";
import { FileStore, MemoryStore, type Store } from "../../../checkpoint/store/mod.ts";
import { writePut } from "../../../checkpoint/store/entry.ts";
import { type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { drawSeed } from "../../support/seed.ts";
import { decodeTagged, schema } from "../image/cddl.ts";
import { frozenPeer, peerImage } from "../sockets/sleepers.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

const seed = drawSeed("ARCHIVE_SEED", 2 ** 31);
const folder = new TemporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));
const STATE_AT = frozenTcbFields.indexOf("state");

/** A connection in a state that CRIU, say, would refuse as well. */
function inState(state: number, index: number, prng: Prng): Uint8Array {
  const tcb = [...frozenPeer(index, prng)] as unknown[];
  tcb[STATE_AT] = state;
  return writeSocketImage(tcb as FrozenTcb, prng.pick([undefined, { state }]));
}

async function archived(store: Store, prng: Prng): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const { bytes } = await writeArchive(store, async (piece) => {
    pieces.push(piece.slice());
    await Promise.resolve();
  }, { nowMs: 1_700_000_000_000.5, entropy: prng });
  const whole = Buffer.concat(pieces);
  expect(whole.length).toBe(bytes);
  return new Uint8Array(whole);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const contents = (store: Store): string[] => Array.from(store.live(), ({ bytes }) => hex(bytes));

/** What comes out of an archive, and what is said of it. */
async function opened(
  bytes: Uint8Array,
): Promise<{ images: string[]; damage: ArchiveDamage[]; expected?: number }> {
  const store = new MemoryStore();
  const damage: ArchiveDamage[] = [];
  const { damaged, expected, connections } = await unarchive(bytes, store, {
    onDamage: (each) => void damage.push(each),
  });
  expect(damaged).toBe(damage.length);
  expect(connections).toBe(store.stats.recordsLive);
  return { images: contents(store), damage, ...(expected === undefined ? {} : { expected }) };
}

async function small(prng: Prng): Promise<{ bytes: Uint8Array; images: string[] }> {
  const store = new MemoryStore();
  store.append(Array.from({ length: 8 }, (_, index) => inState(3 + index % 7, index, prng)));
  return { bytes: await archived(store, prng), images: contents(store) };
}

test("what goes into an archive comes out, byte for byte, in every state, from a large store and a small one", async () => {
  for (const count of [0, 1, 300]) {
    const prng = new Prng(seed + count);
    await using store = await FileStore.open(folder.file(`from ${count}`), { segmentBytes: 20_000 });
    const images = Array.from({ length: count }, (_, index) => inState(3 + index % 7, index, prng));
    if (count === 300) images.push(writeSocketImage(frozenPeer(999, prng), new Uint8Array(3_000_000))); // over a piece
    const { locations } = store.append(images);
    if (count === 300) store.remove([locations[5]!]);
    const path = folder.file(`archive ${count}`);
    const { connections, bytes } = await writeArchiveFile(store, path);
    expect({ connections, bytes }).toEqual({
      connections: store.stats.recordsLive,
      bytes: readFileSync(path).length,
    });
    await using target = await FileStore.open(folder.file(`to ${count}`));
    expect(await unarchive(path, target), `seed ${seed}`).toEqual({
      connections,
      moved: 0,
      damaged: 0,
      expected: connections,
    });
    expect(contents(target)).toEqual(contents(store));
    await expect(writeArchiveFile(store, path)).rejects.toThrow("it is there already");
    if (count > 0) await expect(unarchive(path, target)).rejects.toThrow("are in the store already");
  }
});

test("its first image and its last match image.cddl", async () => {
  const { bytes, images } = await small(new Prng(seed));
  const first = measureImage(bytes)!;
  cddl.check("image", decodeTagged(bytes.slice(0, first)));
  const last = bytes.lastIndexOf(0xd9, bytes.lastIndexOf(0xd9) - 1); // d9 d9 f7
  const end = bytes.slice(last);
  expect(measureImage(end)).toBe(end.length);
  cddl.check("image", decodeTagged(end));
  expect(images.length).toBe(8);
});

test("a flip of any bit names itself, and costs one connection at most", async () => {
  const prng = new Prng(seed);
  const { bytes, images } = await small(prng);
  for (let at = 0; at < bytes.length; at++) {
    const bad = bytes.slice();
    bad[at]! ^= 1 << prng.below(8);
    const { images: left, damage } = await opened(bad);
    const label = `seed ${seed}, byte ${at} of ${bytes.length}`;
    expect(damage.length, label).toBe(1);
    expect(damage[0]!.offset, label).toBeLessThanOrEqual(at);
    expect(damage[0]!.offset + damage[0]!.bytes, label).toBeGreaterThan(at);
    expect(left.length, label).toBeGreaterThanOrEqual(images.length - 1);
    const kept = new Set(left);
    expect(left, label).toEqual(images.filter((image) => kept.has(image)));
  }
});

test("cut short at any byte: what was whole before is there, and it is said that more may be missing", async () => {
  const { bytes, images } = await small(new Prng(seed));
  const head = measureImage(bytes)!;
  for (let end = 0; end < bytes.length; end++) {
    const label = `seed ${seed}, ${end} of ${bytes.length} bytes`;
    if (end < head) {
      await expect(opened(bytes.slice(0, end)), label).rejects.toThrow(ArchiveError);
      continue;
    }
    const { images: left, damage, expected } = await opened(bytes.slice(0, end));
    expect(left, label).toEqual(images.slice(0, left.length));
    expect(damage.length, label).toBe(1);
    expect(damage[0]!.reason, label).toContain("its end is missing");
    expect(expected, label).toBeUndefined();
  }
});

test("what a peer has sent cannot be taken for a connection after damage", async () => {
  const prng = new Prng(seed);
  const planted = new Uint8Array(400);
  const length = writePut(planted, 0, peerImage(1, prng), undefined, 0n); // all but the salt is known to everybody
  const tcb = [...frozenPeer(2, prng)] as unknown[];
  tcb[frozenTcbFields.indexOf("receiveQueue")] = planted.subarray(0, length);
  const store = new MemoryStore();
  store.append([writeSocketImage(tcb as FrozenTcb, undefined), peerImage(3, prng)]);
  const bytes = await archived(store, prng);
  bytes[measureImage(bytes)! + 1]! ^= 0x10; // the head of the entry that holds it
  const { images } = await opened(bytes);
  expect(images).toEqual(contents(store).slice(1));
});

test("move: only the local address of those that had it changes", async () => {
  const prng = new Prng(seed);
  const store = new MemoryStore();
  store.append(Array.from({ length: 60 }, (_, index) => peerImage(index, prng)));
  const bytes = await archived(store, prng);
  const target = new MemoryStore();
  const { connections, moved } = await unarchive(bytes, target, {
    move: { "10.7.0.1": "10.8.0.1", "2001:db8::1": "2001:db8:1::1" },
  });
  expect([connections, moved]).toEqual([60, 60]);
  const [before, after] = [store, target].map((each) =>
    Array.from(each.live(), ({ bytes }) => readSocketImage(bytes))
  );
  const at = frozenTcbFields.indexOf("localAddress");
  for (const [index, { tcb, attachment }] of before!.entries()) {
    const there = after![index]!;
    expect(idOf(there)).toBe(
      idOf({ tcb, attachment }).replace("10.7.0.1:", "10.8.0.1:").replace("[2001:db8::1]", "[2001:db8:1::1]"),
    );
    expect(there.attachment).toEqual(attachment);
    expect(there.tcb.toSpliced(at, 1)).toEqual([...tcb].toSpliced(at, 1));
  }
  for (
    const [move, message] of [
      [{ "10.7.0.1": "2001:db8::1" }, "different families"],
      [{ here: "10.7.0.1" }, '"here" is no address'],
    ] as const
  ) {
    await expect(unarchive(bytes, new MemoryStore(), { move })).rejects.toThrow(message);
  }
});

test("a durable connection's stretches go with it, and are no connections", async () => {
  const prng = new Prng(seed);
  const tcb = [...frozenPeer(4, prng)] as unknown[];
  const at = (name: string): number => frozenTcbFields.indexOf(name);
  const written = new Uint8Array(9_000).fill(3);
  tcb[at("sendQueue")] = written;
  const start = tcb[at("sndUna")] as number;
  const store = new MemoryStore();
  store.append([
    writeSocketImage(tcb as FrozenTcb, "attached", { sent: [7], unread: [], unreadStart: 0 }),
    writeStretch({ number: 7, start, bytes: written }),
    peerImage(5, prng),
  ]);
  const whole = readSocketImage([...store.live()][0]!.bytes, stretchesOf(store));
  const bytes = await archived(store, prng);
  const target = new MemoryStore();
  const local = whole.tcb[at("localAddress")];
  const out = await unarchive(bytes, target, {
    move: { "10.7.0.1": "10.8.0.1", "2001:db8::1": "2001:db8::9" },
  });
  expect(out).toEqual({ connections: 2, moved: 2, damaged: 0, expected: 2 });
  const [image] = [...target.live()].map(({ bytes }) => bytes);
  const there = readSocketImage(image!, stretchesOf(target));
  expect(there.tcb[at("localAddress")]).not.toEqual(local);
  expect({ ...there, tcb: there.tcb.toSpliced(1, 1) }).toEqual({ ...whole, tcb: whole.tcb.toSpliced(1, 1) });
});

test("an archive whose sink or disk refuses is not there", async () => {
  const store = new MemoryStore();
  store.append([peerImage(1, new Prng(seed))]);
  await expect(writeArchive(store, () => Promise.reject(new Error("no more room")))).rejects.toThrow(
    "no more room",
  );
  writeFileSync(folder.file("file"), "");
  await expect(writeArchiveFile(store, folder.file("file/below"))).rejects.toThrow(/ENOTDIR|EEXIST/);
  await expect(unarchive(folder.file("file"), new MemoryStore())).rejects.toThrow(ArchiveError);
});
