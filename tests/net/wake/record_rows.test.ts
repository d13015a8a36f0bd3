import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { RecordRows } from "../../../net/wake/record_rows.ts";

const SEED = 5;

test(`rows agree with a Map through growth and shrinkage, and are dense (seed ${SEED})`, () => {
  const prng = new Prng(SEED);
  const rows = new RecordRows();
  const twin = new Map<number, number>();
  let most = 0;
  const record = (): number => prng.pick([prng.below(2 ** 26), prng.below(6_000), prng.below(64) << 20]);
  for (const goal of [12_000, 3_000, 12_000, 0]) {
    for (let step = 0; twin.size !== goal; step++) {
      const drawn = record();
      if (prng.chance(0.2) ? prng.chance(0.5) : twin.size < goal) {
        const row = rows.add(drawn);
        if ((twin.get(drawn) ?? row) !== row || row >= Math.max(most, twin.size + 1)) expect.fail(`${drawn}`);
        twin.set(drawn, row);
        most = Math.max(most, twin.size);
      } else {
        const some = prng.chance(0.3) ? drawn : [...twin.keys()][0]!;
        if (rows.remove(some) !== (twin.get(some) ?? -1)) expect.fail(`${some}`);
        twin.delete(some);
      }
      if (step % 1_500 === 0) {
        for (const [each, row] of twin) {
          if (rows.rowOf(each) !== row || rows.recordOf(row) !== each) expect.fail(`${each} at ${row}`);
        }
        expect(new Set(twin.values()).size).toBe(twin.size);
      }
    }
    expect(rows.size).toBe(goal);
  }
  expect(rows.byteLength).toBeLessThan(9 * most + 4 * 4_096);
});
