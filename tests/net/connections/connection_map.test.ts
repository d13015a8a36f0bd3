import { expect, test } from "vitest";
import { AssertionError } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";
import { ConnectionMap, Field, RecordState } from "../../../net/connections/connection_map.ts";

type Key = [localAddress: number, remoteAddress: number, localPort: number, remotePort: number];
type Hash = { words3(a: number, b: number, c: number): number };

const WORDS = Object.values(Field).filter((field) => field > Field.meta);

/** Few addresses and ports, so that keys differ in one part only; both ends of each range among them. */
function drawKey(prng: Prng, spread: number): Key {
  return [
    prng.pick([0x0a070001, -1, 0, 0x7fff_ffff, -0x8000_0000]),
    prng.below(spread),
    prng.pick([0, 80, 443, 65_535]),
    prng.pick([0, 1, 65_535, prng.below(65_536)]),
  ];
}

/** A map beside its slow twin: every operation is done on both, and what both know is compared. */
class Twins {
  readonly map: ConnectionMap;
  readonly #byName = new Map<string, { record: number; key: Key; words: number[]; state: RecordState }>();
  readonly #names: string[] = [];
  readonly #prng: Prng;
  readonly #where: string;

  constructor(prng: Prng, where: string, hash?: Hash) {
    this.#prng = prng;
    this.#where = where;
    this.map = new ConnectionMap({ seedHi: prng.uint32(), seedLo: prng.uint32(), ...(hash && { hash }) });
  }

  get size(): number {
    return this.#names.length;
  }

  insert(key: Key): void {
    const name = key.join();
    if (this.#byName.has(name)) {
      expect(() => this.map.insert(...key), this.#where).toThrow(AssertionError);
      return;
    }
    const record = this.map.insert(...key);
    this.#same(record >= 0);
    this.#same(WORDS.every((field) => this.map.get(record, field) === 0)); // nothing left of the one before
    this.#same(this.map.get(record, Field.meta) === RecordState.awake);
    const words = WORDS.map(() => this.#prng.uint32() | 0);
    WORDS.forEach((field, at) => this.map.set(record, field, words[at]!));
    const state = this.#prng.pick([RecordState.awake, RecordState.asleep, RecordState.waking]);
    this.map.setState(record, state);
    this.#byName.set(name, { record, key, words, state });
    this.#names.push(name);
  }

  removeOne(): void {
    if (this.size === 0) return;
    const at = this.#prng.below(this.size);
    const name = this.#names[at]!;
    const { record, key } = this.#byName.get(name)!;
    this.map.remove(record);
    this.#same(this.map.find(...key) === -1 && this.map.state(record) === RecordState.free);
    this.#byName.delete(name);
    this.#names[at] = this.#names.at(-1)!;
    this.#names.pop();
  }

  probe(key: Key): void {
    this.#same(this.map.find(...key) === (this.#byName.get(key.join())?.record ?? -1));
  }

  check(): void {
    const counts = [0, 0, 0, 0];
    for (const { record, key, words, state } of this.#byName.values()) {
      this.#same(
        this.map.find(key[0], key[1], key[2], key[3]) === record && this.map.state(record) === state,
      );
      for (let at = 0; at < WORDS.length; at++) this.#same(this.map.get(record, WORDS[at]!) === words[at]);
      counts[state]!++;
    }
    expect([0, this.map.awake, this.map.asleep, this.map.waking], this.#where).toEqual(counts);
    expect(this.map.size, this.#where).toBe(this.size);
    const visited: number[] = [];
    this.map.forEach((record) => visited.push(record));
    const records = [...this.#byName.values()].map(({ record }) => record).sort((a, b) => a - b);
    expect(visited, this.#where).toEqual(records);
  }

  /** `expect` costs a microsecond and more; this runs a million times. */
  #same(condition: boolean): void {
    if (!condition) expect.fail(`The twins differ: ${this.#where}, size ${this.size}`);
  }
}

/** Bad luck of every kind: what an index with linear probing must live through. */
const HASHES: Record<string, { hash?: Hash; sizeMax: number }> = {
  "seeded xxHash64": { sizeMax: 7_000 },
  "one hash for all": { hash: { words3: () => 12_345 }, sizeMax: 1_000 },
  "one home at the end of the index, many hashes": {
    hash: { words3: (_, b) => (b << 20) | 0xf_ffff },
    sizeMax: 1_000,
  },
  "eight homes around the end of the index": { hash: { words3: (_, b) => (b & 7) - 4 }, sizeMax: 1_800 },
  "neighbouring homes, one run": { hash: { words3: (a, b, c) => (a ^ b ^ c) & 1_023 }, sizeMax: 1_800 },
};

for (const [name, { hash, sizeMax }] of Object.entries(HASHES)) {
  test(`The map agrees with a Map through growth and shrinkage: ${name}`, () => {
    for (let seed = 1; seed <= 2; seed++) {
      const prng = new Prng(seed);
      const twins = new Twins(prng, `seed ${seed}`, hash);
      // Up to the top, halfway down, up again, down to nothing; in each phase the other operations go on
      for (const goal of [sizeMax, sizeMax >> 1, sizeMax, 0]) {
        for (let step = 0; twins.size !== goal; step++) {
          const grow = prng.chance(0.15) ? prng.chance(0.5) : twins.size < goal;
          if (grow) twins.insert(drawKey(prng, 4_096));
          else twins.removeOne();
          twins.probe(drawKey(prng, 4_096));
          if (step % Math.ceil(sizeMax / 4) === 0) twins.check();
        }
        twins.check();
      }
    }
  });
}

test("While the index grows, everything is found, and any removal and any return leave the rest alone", () => {
  const growsAt = 1_024 * 0.75;
  for (const hash of [undefined, { words3: (_: number, b: number): number => (b & 15) - 8 }]) {
    for (let seed = 1; seed <= 3; seed++) {
      const prng = new Prng(seed);
      const twins = new Twins(prng, `seed ${seed}`, hash);
      const empty = twins.map.byteLength;
      while (twins.size < growsAt) twins.insert(drawKey(prng, 4_096));
      const before = twins.map.byteLength;
      expect(before - empty).toBe(65_536 * 44); // the first chunk of records, and the index as it was
      let moving = 0;
      do {
        twins.insert(drawKey(prng, 4_096)); // the first of these begins the growth
      } while (twins.map.byteLength === before);
      for (; twins.map.byteLength === before + 2 * 1_024 * 4; moving++) {
        if (prng.chance(seed / 4)) twins.removeOne();
        else twins.insert(drawKey(prng, 4_096));
        twins.check();
      }
      expect(moving).toBeGreaterThan(100); // it does take many steps: no pause
      expect(moving).toBeLessThan(growsAt); // and is over before the next growth
      expect(twins.map.byteLength).toBe(before + 1_024 * 4);
    }
  }
});

test("All can be removed in the middle of growth, and the map be filled again", () => {
  const prng = new Prng(31);
  const twins = new Twins(prng, "emptied while growing");
  const fill = (size: number): void => {
    while (twins.size < size) twins.insert(drawKey(prng, 4_096));
  };
  fill(825);
  while (twins.size > 0) twins.removeOne();
  expect(twins.map.byteLength).toBe(65_536 * 44 + 2_048 * 4 + 16); // removals alone finish the growth
  twins.check();
  fill(3_400);
  twins.check();
});

test("Records keep their number and their words over many chunks", () => {
  const map = new ConnectionMap({ seedHi: 1, seedLo: 2 });
  const count = 2 * 65_536 + 3;
  for (let at = 0; at < count; at++) {
    const record = map.insert(at, ~at, at & 0xffff, 443);
    map.set(record, Field.tsOffset, at * 3);
    if (record !== at) expect.fail(`Record ${record} for connection ${at}: records are dense`);
  }
  for (let at = 0; at < count; at++) {
    const record = map.find(at, ~at, at & 0xffff, 443);
    if (record !== at || map.get(record, Field.tsOffset) !== at * 3) expect.fail(`Connection ${at} lost`);
  }
  expect(map.byteLength).toBe(3 * 65_536 * 44 + 262_144 * 4 + 16); // 131,075 / 0.75 need 2^18 entries
});

test("What is expected is found, and nothing else is found in its place, however wrong the expectation", () => {
  const prng = new Prng(4);
  const map = new ConnectionMap({ seedHi: 1, seedLo: 2 });
  const keys = Array.from({ length: 200 }, (_, at): Key => [0x0a070001, prng.below(1_000), 80, at]);
  const records = keys.map((key) => map.insert(...key));
  map.remove(records[7]!);
  for (let run = 0; run < 2_000; run++) {
    const expected = prng.pick([prng.below(200), 7]), asked = prng.chance(0.5) ? expected : prng.below(200);
    map.expect(records[expected]!);
    expect(map.find(...keys[asked]!)).toBe(asked === 7 ? -1 : records[asked]!);
  }
  map.expect(-1);
  map.expect(1_000_000); // no record at all
  expect(map.find(...keys[0]!)).toBe(records[0]!);
});

test("A full map refuses, and takes one again after a removal", () => {
  for (const recordsMax of [1, 2, 1_000]) {
    const map = new ConnectionMap({ seedHi: 0, seedLo: 0, recordsMax });
    for (let at = 0; at < recordsMax; at++) expect(map.insert(1, 2, 80, at)).toBe(at);
    expect(map.insert(1, 2, 80, 65_535)).toBe(-1);
    expect(map.find(1, 2, 80, 65_535)).toBe(-1);
    expect(map.size).toBe(recordsMax);
    map.remove(recordsMax - 1);
    expect(map.insert(1, 2, 80, 65_535)).toBe(recordsMax - 1);
    expect(map.insert(1, 2, 80, 65_534)).toBe(-1);
  }
  for (const recordsMax of [0, 2 ** 26 + 1, NaN, 1.5]) {
    expect(() => new ConnectionMap({ seedHi: 0, seedLo: 0, recordsMax })).toThrow(AssertionError);
  }
  expect(new ConnectionMap({ seedHi: 0, seedLo: 0, recordsMax: 2 ** 26 }).recordsMax).toBe(2 ** 26);
});

test("A small map is small", () => {
  const map = new ConnectionMap({ seedHi: 0, seedLo: 0, recordsMax: 10 });
  map.insert(1, 2, 3, 4);
  expect(map.byteLength).toBe(1_024 * 4 + 10 * 44 + 16);
});

test("Each of the four parts of a key counts, signed or not", () => {
  const map = new ConnectionMap({ seedHi: 3, seedLo: 4, hash: { words3: () => 0 } });
  const keys: Key[] = [[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3], [1, 2, 3, 65_535], [1, 2, 65_535, 4], [
    1,
    0,
    3,
    4,
  ]];
  const records = keys.map((key) => map.insert(...key));
  expect(new Set(records).size).toBe(keys.length);
  keys.forEach((key, at) => expect(map.find(...key)).toBe(records[at]));
  const high = map.insert(0xffff_fffe, 0x8000_0000, 65_535, 65_534);
  expect(map.find(-2, -0x8000_0000, 65_535, 65_534)).toBe(high);
  expect(map.find(0xffff_fffe, 0x8000_0000, 65_535, 65_534)).toBe(high);
  expect(map.get(high, Field.localAddress)).toBe(-2);
  expect(map.get(high, Field.ports)).toBe(-2);
});

test("set() keeps words as int32, and `meta` carries the state in its low bits", () => {
  const map = new ConnectionMap({ seedHi: 0, seedLo: 0 });
  const record = map.insert(1, 2, 3, 4);
  for (const field of WORDS) {
    map.set(record, field, 0xffff_ffff);
    expect(map.get(record, field)).toBe(-1);
  }
  map.set(record, Field.meta, 0xffff_fff0 | RecordState.asleep);
  expect([map.awake, map.asleep, map.waking, map.size]).toEqual([0, 1, 0, 1]);
  map.setState(record, RecordState.waking);
  expect(map.get(record, Field.meta)).toBe(-16 | RecordState.waking);
  expect([map.awake, map.asleep, map.waking, map.size]).toEqual([0, 0, 1, 1]);
  expect(map.find(1, 2, 3, 4)).toBe(record);
  map.remove(record);
  expect([map.awake, map.asleep, map.waking, map.size]).toEqual([0, 0, 0, 0]);
});

test("forEach() allows the removal of the visited record and of others", () => {
  const map = new ConnectionMap({ seedHi: 0, seedLo: 0 });
  for (let at = 0; at < 2_000; at++) map.insert(1, 2, 80, at);
  const visited: number[] = [];
  map.forEach((record) => {
    visited.push(record);
    map.remove(record);
    if (record % 10 === 0) map.remove(record + 1);
  });
  expect(visited).toEqual(Array.from({ length: 2_000 }, (_, at) => at).filter((at) => at % 10 !== 1));
  expect(map.size).toBe(0);
});

test("What the map cannot mean is a bug", () => {
  const map = new ConnectionMap({ seedHi: 0, seedLo: 0 });
  const record = map.insert(1, 2, 3, 4);
  const bugs: Record<string, () => void> = {
    "inserted twice": () => map.insert(1, 2, 3, 4),
    "port too large": () => map.insert(1, 2, 65_536, 4),
    "port negative": () => map.insert(1, 2, 3, -1),
    "key changed": () => map.set(record, Field.ports, 5),
    "freed by setState": () => map.setState(record, RecordState.free),
    "freed by set": () => map.set(record, Field.meta, 16),
    "remove: never used": () => map.remove(record + 1),
    "remove: negative": () => map.remove(-1),
    "setState: never used": () => map.setState(7, RecordState.awake),
  };
  for (const [name, bug] of Object.entries(bugs)) expect(bug, name).toThrow(AssertionError);
  map.remove(record);
  expect(() => map.remove(record)).toThrow(AssertionError);
  expect(() => map.setState(record, RecordState.awake)).toThrow(AssertionError);
  expect(map.state(-1)).toBe(RecordState.free);
  expect(map.state(1e9)).toBe(RecordState.free);
});

test("An IPv6 peer is known by both halves of its address's digest, and its address is not kept", () => {
  const addresses = new AddressTable({ entropy: new Prng(5), transientsMax: 16 });
  const ours = addresses.parse("2001:db8::1")!;
  addresses.retain(ours);
  const held = addresses.retained;
  const map = new ConnectionMap({ seedHi: 1, seedLo: 2, addresses });
  const peerOf = (at: number): number => addresses.parse(`2001:db8:${at.toString(16)}::2`)!;
  const records = Array.from({ length: 3_000 }, (_, at) => map.insert(ours, peerOf(at), 443, 7));
  expect(addresses.retained).toBe(held); // so every one of those handles but the last few means another now
  records.forEach((record, at) => expect(map.find(ours, peerOf(at), 443, 7)).toBe(record));
  expect(map.find(ours, peerOf(3_000), 443, 7)).toBe(-1);
  records.forEach((record) => map.remove(record));
  addresses.release(ours);
  expect(addresses.retained).toBe(held - 1); // nobody is counted twice

  const halves = { retain() {}, release() {}, digest: () => 9, digestHigh: (handle: number) => handle & 1 };
  const crowded = new ConnectionMap({ seedHi: 1, seedLo: 2, addresses: halves });
  const [even, odd] = [0xf000_0010 | 0, 0xf000_0011 | 0];
  const record = crowded.insert(even, even, 443, 7);
  expect([crowded.find(even, odd, 443, 7), crowded.find(even, even, 443, 7)]).toEqual([-1, record]);
});

test("enterMany() enters what find() and get() know, once, skips, and stops when the map is full", () => {
  const prng = new Prng(11);
  const recordsMax = 3_000;
  for (const addresses of [undefined, new AddressTable({ entropy: prng })]) {
    const map = new ConnectionMap({ seedHi: 1, seedLo: 2, recordsMax, ...(addresses && { addresses }) });
    map.reserve(4_000);
    const local = addresses?.parse("2001:db8::1") ?? 0x0a07_0001;
    const known = map.insert(local, addresses?.parse("2001:db8::2") ?? 2, 80, 5);
    const digest = new Int32Array(2);
    const twin = new Map<string, number[]>();
    let refused = 0;
    for (let batch = 0; batch < 20; batch++) {
      const count = 1 + prng.below(512);
      const columns = Array.from({ length: 11 }, () => new Int32Array(512));
      const [highs, hashes, entered] = [new Int32Array(512), new Int32Array(512), new Int32Array(512)];
      const skip = new Uint8Array(512);
      const peers: number[] = [];
      for (let at = 0; at < count; at++) {
        const peer = peers[at] = 2 + prng.below(2_500);
        digest.set([peer, 0]);
        addresses?.digestWords(0x2001_0db8, 0, 0, peer, digest);
        columns.forEach((column) => column[at] = prng.uint32());
        columns[Field.localAddress]![at] = local;
        columns[Field.remoteAddress]![at] = digest[0]!;
        highs[at] = digest[1]!;
        columns[Field.ports]![at] = (80 << 16) | 5 + prng.below(2);
        columns[Field.meta]![at] = 4 | RecordState.asleep;
        skip[at] = prng.chance(0.1) ? 1 : 0;
        hashes[at] = map.hash(local, digest[0]!, columns[Field.ports]![at]!);
      }
      map.prefetch(hashes, count);
      map.enterMany(count, hashes, columns, highs, skip, entered);
      for (let at = 0; at < count; at++) {
        const port = columns[Field.ports]![at]! & 0xffff, name = `${peers[at]} ${port}`;
        const isNew = skip[at] === 0 && !twin.has(name) && !(peers[at] === 2 && port === 5);
        if (!isNew || entered[at]! < 0) {
          expect(entered[at]).toBe(-1);
          if (isNew) expect([++refused > 0, map.size]).toEqual([true, recordsMax]);
          continue;
        }
        twin.set(name, columns.map((column) => column[at]!));
        const remote = addresses?.parse(`2001:db8::${peers[at]!.toString(16)}`) ?? peers[at]!;
        expect(map.find(local, remote, 80, port)).toBe(entered[at]);
        expect(columns.map((_, field) => map.get(entered[at]!, field as Field))).toEqual(twin.get(name));
      }
    }
    expect([map.asleep, map.awake, map.state(known)]).toEqual([twin.size, 1, RecordState.awake]);
    if (addresses === undefined) expect(twin.size).toBeGreaterThan(2_000);
  }
});
