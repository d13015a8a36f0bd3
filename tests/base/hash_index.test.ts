import { expect, test } from "vitest";
import { AssertionError } from "../../base/assert.ts";
import { HashIndex } from "../../base/hash_index.ts";
import { Prng } from "../../base/random.ts";

const SEED = 3;

/** Numbers with drawn hashes, each of them its own key, so that every candidate can be told from another. */
class Numbers {
  readonly index: HashIndex;
  readonly hashes: number[] = [];
  readonly free: number[] = [];
  readonly live: number[] = [];
  readonly #draw: () => number;

  constructor(numbersMax: number, draw: () => number) {
    this.#draw = draw;
    this.index = new HashIndex(numbersMax, {
      has: (number) => !Number.isNaN(this.hashes[number]),
      hashOf: (number) => {
        const hash = this.hashes[number]!;
        if (Number.isNaN(hash)) expect.fail(`asked for the hash of ${number}, which is gone`);
        return hash;
      },
    });
  }

  add(): void {
    const number = this.free.pop() ?? this.hashes.length;
    const hash = this.hashes[number] = this.#draw();
    this.index.add(number, hash);
    this.live.push(number);
  }

  removeAt(at: number): void {
    const number = this.live[at]!;
    this.live[at] = this.live.at(-1)!;
    this.live.pop();
    this.index.remove(number, this.hashes[number]!);
    this.hashes[number] = NaN;
    this.free.push(number);
  }

  finds(number: number): boolean {
    for (let at = this.index.first(this.hashes[number]!); at >= 0; at = this.index.next()) {
      if (at === number) return true;
    }
    return false;
  }
}

test(`after any number of removals and additions the index is as if nothing had ever been removed (seed ${SEED})`, () => {
  const prng = new Prng(SEED);
  const numbers = new Numbers(2 ** 24, () => prng.uint32() | 0);
  const most = 16_384 * 0.75; // the highest load
  while (numbers.index.size < most) numbers.add();
  const before = numbers.index.displaced / most;
  for (let step = 0; step < 30 * most; step++) {
    numbers.removeAt(prng.below(most));
    numbers.add();
  }
  expect(before).toBeLessThan(0.1);
  expect(numbers.index.displaced / most).toBeLessThan(before + 0.03); // a sixth of them without pulling back
  for (const number of numbers.live) if (!numbers.finds(number)) expect.fail(`${number} is lost`);
});

test(`numbers of every width are found through growth, with hashes that crowd (seed ${SEED})`, () => {
  const prng = new Prng(SEED);
  const draws = [() => prng.uint32() | 0, () => prng.below(40) * 0x0101_0101 | 0, () => -prng.below(3)];
  for (const numbersMax of [3_000, 4_096, 2 ** 16, 2 ** 26]) {
    for (const draw of draws) {
      const numbers = new Numbers(numbersMax, draw);
      for (const goal of [2_900, 700, 2_000, 0]) {
        while (numbers.live.length !== goal) {
          if (
            prng.chance(0.2) ? prng.chance(0.5) && numbers.live.length < 2_990 : numbers.live.length < goal
          ) {
            numbers.add();
          } else if (numbers.live.length > 0) {
            numbers.removeAt(prng.below(numbers.live.length));
          }
        }
        for (const number of numbers.live) if (!numbers.finds(number)) expect.fail(`${number} of ${goal}`);
        expect(numbers.index.size).toBe(goal);
      }
    }
  }
});

test("what is not in the index cannot be removed, and a number has its limit", () => {
  const index = new HashIndex(2, { has: () => true, hashOf: () => 7 });
  index.add(0, 7);
  expect([index.first(7), index.next()]).toEqual([0, -1]);
  expect(index.first(7 | 1 << 30)).toBe(-1);
  expect(() => index.remove(1, 7)).toThrow(AssertionError);
  expect(() => index.add(2, 7)).toThrow(AssertionError);
  for (const most of [0, 2 ** 26 + 1, NaN]) {
    expect(() => new HashIndex(most, { has: () => true, hashOf: () => 7 })).toThrow(AssertionError);
  }
});

test("reserve() makes room for all that will come, so that nothing grows, and does nothing to an index in use", () => {
  const hashes = Array.from({ length: 5_000 }, (_, number) => Math.imul(number, 0x9e3779b1));
  const keys = { has: () => true, hashOf: (number: number) => hashes[number]! };
  const index = new HashIndex(10_000, keys);
  index.reserve(5_000);
  const { byteLength } = index;
  hashes.forEach((hash, number) => index.add(number, hash));
  index.touch(Int32Array.from(hashes), 5_000);
  index.reserve(10_000);
  expect(index.byteLength).toBe(byteLength);
  expect(byteLength).toBeGreaterThanOrEqual(5_000 * 4);
  for (const [number, hash] of hashes.entries()) {
    let at = index.first(hash);
    while (at >= 0 && at !== number) at = index.next();
    expect(at).toBe(number);
  }
});
