import { expect, test } from "vitest";
import { BitSet } from "../../base/bit_set.ts";
import { Prng } from "../../base/random.ts";

test("A bit set holds what a Set holds", () => {
  const prng = new Prng(1);
  const bits = new BitSet(), set = new Set<number>();
  for (let step = 0; step < 5_000; step++) {
    const member = prng.chance(0.5) ? prng.below(100) : prng.below(100_000);
    if (prng.chance(0.6)) {
      bits.add(member);
      set.add(member);
    } else {
      bits.delete(member);
      set.delete(member);
    }
    const other = prng.below(200);
    expect([bits.has(member), bits.has(other)]).toEqual([set.has(member), set.has(other)]);
  }
  for (let member = 0; member < 110_000; member += 7) {
    if (bits.has(member) !== set.has(member)) expect(member).toBe(-1);
  }
});
