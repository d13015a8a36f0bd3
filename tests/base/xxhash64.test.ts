import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import { Prng } from "../../base/random.ts";
import { TupleHash } from "../../base/xxhash64.ts";

const { h64Raw } = await xxhash();

/** Random words with the ones that make carries and sign mistakes: all zeros, all ones, a single high bit. */
function drawWord(prng: Prng): number {
  return prng.chance(0.3)
    ? prng.pick([0, 1, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
    : prng.uint32();
}

function hex(high: number, low: number): string {
  return (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");
}

function expected(words: Uint32Array<ArrayBuffer>, seedHi: number, seedLo: number): string {
  const seed = (BigInt(seedHi >>> 0) << 32n) | BigInt(seedLo >>> 0);
  return h64Raw(new Uint8Array(words.buffer), seed).toString(16).padStart(16, "0");
}

test("words3() agrees with xxhash-wasm on 10,000 random inputs and seeds", () => {
  const prng = new Prng(3);
  for (let round = 0; round < 10_000; round++) {
    const words = Uint32Array.of(drawWord(prng), drawWord(prng), drawWord(prng));
    const seedHi = drawWord(prng), seedLo = drawWord(prng);
    const hash = new TupleHash(seedHi, seedLo);
    const low = hash.words3(words[0]!, words[1]!, words[2]!);
    const got = hex(hash.hi, low);
    if (got !== expected(words, seedHi, seedLo) || low !== hash.lo || low !== (low | 0)) {
      expect.fail(`words ${words}, seed ${hex(seedHi, seedLo)}: got ${got}`);
    }
  }
});

test("words() agrees with xxhash-wasm at every length up to three stripes, also on a hash used before", () => {
  const prng = new Prng(4);
  for (let round = 0; round < 60; round++) {
    const seedHi = drawWord(prng), seedLo = drawWord(prng);
    const hash = new TupleHash(seedHi | 0, seedLo | 0);
    for (let count = 0; count <= 24; count++) {
      const words = Uint32Array.from({ length: count }, () => drawWord(prng));
      const longer = Int32Array.from([...words, 5, 6, 7]); // what lies behind `count` is not read
      const low = hash.words(prng.chance(0.5) ? words : longer, count);
      expect(hex(hash.hi, low), `round ${round}, count ${count}`).toBe(expected(words, seedHi, seedLo));
    }
  }
});

test("Sums carry from 2^32 on, not from 2^32 - 1", () => {
  const prime5 = 0x1656_67c5; // the low half of what is added to the seed, before the length
  for (const length of [0, 12]) {
    for (const sum of [0xffff_ffff, 0x1_0000_0000]) {
      const seedLo = sum - prime5 - length;
      const hash = new TupleHash(0, seedLo);
      hash.words3(1, 2, 3);
      expect(hex(hash.hi, hash.lo)).toBe(expected(Uint32Array.of(1, 2, 3), 0, seedLo));
      hash.words(Uint32Array.of(1, 2, 3), 3);
      expect(hex(hash.hi, hash.lo)).toBe(expected(Uint32Array.of(1, 2, 3), 0, seedLo));
    }
  }
});

test("Signed and unsigned words are the same words", () => {
  const hash = new TupleHash(0xffff_ffff, 0x8000_0000);
  const twin = new TupleHash(-1, -0x8000_0000);
  expect(hash.words3(0xffff_ffff, 0x8000_0000, 0)).toBe(twin.words3(-1, -0x8000_0000, 0));
  expect(hash.hi).toBe(twin.hi);
});

test("The published value of the empty input", () => {
  const hash = new TupleHash(0, 0);
  hash.words(new Uint32Array(0), 0);
  expect(hex(hash.hi, hash.lo)).toBe("ef46db3751d8e999");
});

test("Keys chosen to collide under one seed are spread by another", () => {
  const known = new TupleHash(0, 1), secret = new TupleHash(0, 2), highOnly = new TupleHash(1, 1);
  const chosen: number[] = [];
  for (let port = 0; chosen.length < 1_000; port++) {
    if ((known.words3(0x0a070001, 0x0a090004, port) & 1_023) === 0) chosen.push(port);
  }
  for (const hash of [secret, highOnly]) {
    const homes = new Set(chosen.map((port) => hash.words3(0x0a070001, 0x0a090004, port) & 1_023));
    expect(homes.size).toBeGreaterThan(550); // 1,000 balls in 1,024 bins fill 638
  }
});
