import { expect, test } from "vitest";
import { Prng, systemEntropy } from "../../base/random.ts";

/** sfc32 once more, in BigInt. */
function* sfc32(seed: number): Generator<number> {
  const mask = 0xffff_ffffn;
  let a = BigInt(seed) & mask, b = BigInt(seed) >> 32n, c = 0x9e3779b9n, counter = 1n;
  for (let round = 0;; round++) {
    const sum = (a + b + counter++) & mask;
    a = b ^ (b >> 9n);
    b = (c + (c << 3n)) & mask;
    c = (((c << 21n) | (c >> 11n)) + sum) & mask;
    if (round >= 12) yield Number(sum);
  }
}

test("uint32() is sfc32, seeded with up to 53 bits", () => {
  for (const seed of [0, 1, 7, 0x8000_0000, 0xffff_ffff, 2 ** 32, 2 ** 53 - 1]) {
    const prng = new Prng(seed);
    const twin = sfc32(seed);
    expect(prng.seed).toBe(seed);
    for (let draw = 0; draw < 200; draw++) expect(prng.uint32(), `seed ${seed}`).toBe(twin.next().value);
  }
});

test("Neighbouring seeds give unlike numbers", () => {
  const first = new Set<number>();
  for (let seed = 0; seed < 1_000; seed++) first.add(new Prng(seed).uint32());
  for (let seed = 1; seed <= 1_000; seed++) first.add(new Prng(seed * 2 ** 32).uint32());
  expect(first.size).toBeGreaterThan(1_995);
});

test("Draws stay in their ranges, reach both ends and are even", () => {
  const prng = new Prng(21);
  const draws = 60_000;
  const counts = new Array<number>(6).fill(0);
  for (let draw = 0; draw < draws; draw++) {
    counts[prng.between(-2, 3) + 2]!++;
    const fraction = prng.fraction();
    if (!(fraction >= 0 && fraction < 1)) expect.fail(`${fraction}`);
  }
  expect(counts.length).toBe(6); // nothing outside of [-2, 3]
  // Chi-square with 5 degrees of freedom: above 20.5 once in a thousand seeds, and this seed is fixed
  const expected = draws / 6;
  expect(counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(20.5);
  expect(prng.below(1)).toBe(0);
  expect(prng.between(5, 5)).toBe(5);
  for (let draw = 0; draw < 1_000; draw++) expect(prng.below(2 ** 32)).toBeLessThan(2 ** 32);
});

test("chance() and pick()", () => {
  const prng = new Prng(22);
  let hits = 0;
  for (let draw = 0; draw < 10_000; draw++) {
    if (prng.chance(0) || !prng.chance(1)) expect.fail("Certainty failed");
    if (prng.chance(0.25)) hits++;
  }
  expect(Math.abs(hits - 2_500)).toBeLessThan(150);
  expect(new Set(Array.from({ length: 100 }, () => prng.pick("abc".split(""))))).toEqual(new Set("abc"));
});

test("fill() is reproducible", () => {
  const a = new Uint8Array(100), b = new Uint8Array(100);
  new Prng(9).fill(a);
  new Prng(9).fill(b);
  expect(a).toEqual(b);
  expect(new Set(a).size).toBeGreaterThan(50);
});

test("systemEntropy fills buffers of any size, on both sides of what getRandomValues takes at once", () => {
  for (const length of [0, 1, 65_535, 65_536, 65_537, 200_000]) {
    const bytes = new Uint8Array(length);
    systemEntropy.fill(bytes);
    // 64 zero bytes in a row at an end come once in 2^512
    if (length > 64) expect(bytes.subarray(-64).some((byte) => byte !== 0), `${length}`).toBe(true);
    if (length > 64) expect(bytes.subarray(0, 64).some((byte) => byte !== 0), `${length}`).toBe(true);
  }
  const part = new Uint8Array(16);
  systemEntropy.fill(part.subarray(4, 4));
  expect(part).toEqual(new Uint8Array(16));
});
