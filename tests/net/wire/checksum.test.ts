import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { checksumOf, foldSum, pseudoSum, sumWords } from "../../../net/wire/checksum.ts";
import { framed, fromHex, randomBytes, randomInt32 } from "./frames.ts";

/** RFC 1071 section 4.1, word by word with an end-around carry after each. */
function obviousSum(bytes: Uint8Array, sum = 0): number {
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

test("sumWords() agrees with an obvious sum at every alignment and length", () => {
  const prng = new Prng(1071);
  for (let shift = 0; shift < 8; shift++) {
    for (let length = 0; length <= 100; length++) {
      const bytes = randomBytes(prng, length);
      const { slab, start, end } = framed(bytes, 0xff, shift);
      const carried = prng.below(0x1_0000);
      expect(foldSum(sumWords(slab, start, end, carried)), `shift ${shift}, length ${length}`)
        .toBe(obviousSum(bytes, carried));
    }
  }
});

test("sumWords() agrees with an obvious sum on long random buffers", () => {
  const prng = new Prng(1141);
  for (let run = 0; run < 60; run++) {
    const bytes = randomBytes(prng, run === 0 ? 65535 : prng.below(9000));
    if (prng.chance(0.3)) bytes.fill(prng.pick([0, 0xff]));
    const { slab, start, end } = framed(bytes, 0x5a, prng.below(8));
    expect(foldSum(sumWords(slab, start, end, 0)), `run ${run} of seed ${prng.seed}`)
      .toBe(obviousSum(bytes));
  }
});

test("sumWords() agrees with an obvious sum in the packet memory, at every alignment and length", () => {
  const prng = new Prng(1624);
  const slab = Slab.forPackets(0x1_0000 + 8);
  expect(slab.address, "there is a packet memory").toBeGreaterThanOrEqual(0);
  for (let run = 0; run < 1_200; run++) {
    const start = prng.below(8);
    const length = run < 400 ? run : run === 400 ? 0xffff : run === 401 ? 0x1_0000 : prng.below(3_000);
    const bytes = slab.bytes.subarray(start, start + length);
    prng.fill(bytes);
    if (prng.chance(0.3) || run === 400) bytes.fill(prng.pick([0, 0xff]));
    const carried = prng.below(0x1_0000);
    expect(foldSum(sumWords(slab, start, start + length, carried)), `start ${start}, length ${length}`)
      .toBe(obviousSum(bytes, carried));
  }
  expect(() => sumWords(slab, 0x1_0000, 0x1_0000 + 80, 0)).toThrow(RangeError);
});

test("parts of even length add up to the whole, in any order", () => {
  const prng = new Prng(1624);
  for (let run = 0; run < 200; run++) {
    const { slab, start, end } = framed(randomBytes(prng, prng.between(2, 300)), 0, prng.below(4));
    const middle = start + 2 * prng.between(0, (end - start) >>> 1);
    const whole = foldSum(sumWords(slab, start, end, 7));
    expect(foldSum(sumWords(slab, middle, end, sumWords(slab, start, middle, 7)))).toBe(whole);
    expect(foldSum(sumWords(slab, start, middle, sumWords(slab, middle, end, 7)))).toBe(whole);
  }
});

test("foldSum() folds up to the largest safe sum", () => {
  expect(foldSum(0)).toBe(0);
  expect(foldSum(0xffff)).toBe(0xffff); // only nothing at all is zero
  expect(foldSum(0x1_0000)).toBe(1);
  expect(foldSum(0xffff_ffff)).toBe(0xffff);
  expect(foldSum(0x1_0000_0000)).toBe(1);
  const prng = new Prng(53);
  for (let run = 0; run < 2000; run++) {
    const sum = Math.floor(prng.fraction() * 2 ** prng.between(1, 53)) + prng.below(2);
    const remainder = sum % 0xffff;
    expect(foldSum(sum), `${sum}`).toBe(sum > 0 && remainder === 0 ? 0xffff : remainder);
  }
  expect(foldSum(Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER % 0xffff);
});

test("the worked example of RFC 1071 section 3", () => {
  const slab = new Slab(fromHex("0001f203f4f5f6f7"));
  expect(foldSum(sumWords(slab, 0, 8, 0))).toBe(0xddf2);
  expect(checksumOf(slab, 0, 8)).toBe(0x220d);
});

test("pseudoSum() is the sum of the pseudo-header's bytes", () => {
  const prng = new Prng(793);
  const slab = Slab.of(12);
  for (let run = 0; run < 500; run++) {
    const [source, destination] = [randomInt32(prng), randomInt32(prng)];
    const [protocol, length] = [prng.below(256), prng.below(0x1_0000)];
    slab.view.setInt32(0, source);
    slab.view.setInt32(4, destination);
    slab.view.setUint16(8, protocol);
    slab.view.setUint16(10, length);
    expect(foldSum(pseudoSum(source, destination, protocol, length))).toBe(obviousSum(slab.bytes));
  }
});
