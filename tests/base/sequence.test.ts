import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { seqLess, seqLessEqual } from "../../base/sequence.ts";

/** The same number, written as signed or as unsigned. */
const forms = (x: number): number[] => [x | 0, x >>> 0];

test("The order agrees with where the numbers came from, for every way of writing them", () => {
  const prng = new Prng(11);
  for (let round = 0; round < 5_000; round++) {
    const first = prng.pick([prng.uint32(), 0xffff_fff0 + prng.below(32), 0x7fff_fff0 + prng.below(32)]);
    const step = prng.pick([0, 1, 2, prng.below(65_536), prng.below(2 ** 31), 2 ** 31 - 1]);
    for (const a of forms(first)) {
      for (const b of forms(first + step)) {
        const agree = seqLess(a, b) === (step > 0) && !seqLess(b, a) &&
          seqLessEqual(a, b) && seqLessEqual(b, a) === (step === 0);
        if (!agree) expect.fail(`${a} and ${b}, ${step} steps on`);
      }
    }
  }
});

test("Beyond 2^31 - 1 steps the order turns round", () => {
  for (const a of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    expect(seqLess(a, a + 2 ** 31 + 1)).toBe(false);
    expect(seqLess(a + 2 ** 31 + 1, a)).toBe(true);
  }
});

test("Across the wrap-around", () => {
  expect(seqLess(0xffff_ffff, 0)).toBe(true);
  expect(seqLess(0x7fff_ffff, -0x8000_0000)).toBe(true);
});
