import { expect, test } from "vitest";
import { AssertionError } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { ByteRing, ringBytesLent } from "../../base/ring.ts";
import { Slab } from "../../base/slab.ts";
import { copyTail, Tail } from "../../base/tail.ts";
import { foldSum, sumTail, sumWords } from "../../net/wire/checksum.ts";

/** A copy in the packet memory. */
function lent(bytes: Uint8Array): Slab {
  const slab = Slab.forPackets(bytes.length);
  slab.bytes.set(bytes);
  return slab;
}

test("a ring does what a plain array does, over any mix of calls", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const ring = new ByteRing();
    let twin: number[] = []; // the queue, and behind it what was placed; holes are undefined
    let length = 0;
    for (let step = 0; step < 300; step++) {
      const source = new Uint8Array(prng.between(1, prng.pick([3, 60, 700, 3_000])));
      prng.fill(source);
      const from = prng.below(source.length);
      const to = prng.between(from, source.length);
      const action = prng.below(10);
      if (action < 4) {
        if (prng.chance(0.5)) ring.append(source, from, to);
        else ring.appendSlab(prng.pick([new Slab(source), lent(source)]), from, to);
        for (let at = from; at < to; at++) twin[length++] = source[at]!;
      } else if (action < 6) {
        const offset = length + prng.below(500);
        if (prng.chance(0.5)) ring.place(offset, source, from, to);
        else ring.placeSlab(offset, prng.pick([new Slab(source), lent(source)]), from, to);
        for (let at = from; at < to; at++) twin[offset + at - from] = source[at]!;
      } else if (action < 7) {
        let reach = 0;
        while (twin[length + reach] !== undefined) reach++;
        const count = prng.between(0, reach);
        ring.extend(count);
        length += count;
      } else {
        const count = prng.between(0, length);
        const keep = prng.chance(0.5);
        ring.drop(count, keep);
        length -= count;
        twin = length === 0 && !keep ? [] : twin.slice(count);
      }
      expect(ring.length, `seed ${seed} step ${step}`).toBe(length);
      expect([...ring.toBytes()], `seed ${seed} step ${step}`).toEqual(twin.slice(0, length));
      const offset = prng.below(length + 1);
      const count = prng.between(0, length - offset);
      const target = new Uint8Array(count + 5).fill(7);
      ring.copyTo(offset, count, target, 3);
      expect([...target]).toEqual([7, 7, 7, ...twin.slice(offset, offset + count), 7, 7]);
      for (
        const slab of [new Slab(new Uint8Array(count + 5).fill(7)), lent(new Uint8Array(count + 5).fill(7))]
      ) {
        ring.copyToSlab(offset, count, slab, 3);
        expect([...slab.bytes]).toEqual([...target]);
      }
      const tail = new Tail();
      if (count > 0 && ring.locate(offset, count, tail)) {
        const slab = lent(new Uint8Array(count + 5).fill(7));
        copyTail(tail, slab, 3);
        expect([...slab.bytes]).toEqual([...target]);
        expect(foldSum(sumTail(tail, 1)), "its checksum").toBe(foldSum(sumWords(slab, 3, 3 + count, 1)));
      }
      twin.forEach((byte, at) => {
        if (at >= length && ring.placed(at, 1)[0] !== byte) {
          throw new Error(`seed ${seed} step ${step} at ${at}`);
        }
      });
    }
    ring.clear();
  }
});

test("an empty ring holds no memory; all that was lent comes back", () => {
  const before = ringBytesLent();
  const rings = Array.from({ length: 20 }, () => new ByteRing());
  for (const [at, ring] of rings.entries()) {
    ring.append(new Uint8Array(100 << (at % 12)), 0, 100 << (at % 12));
  }
  expect(ringBytesLent()).toBe(before + rings.reduce((sum, ring) => sum + ring.capacity, 0));
  for (const ring of rings) ring.drop(ring.length);
  expect(rings.every((ring) => ring.capacity === 0)).toBe(true);
  expect(ringBytesLent()).toBe(before);
  rings[0]!.clear();
  expect(ringBytesLent()).toBe(before);
});

test("a ring that was large once does not borrow so much for a few bytes for ever", () => {
  const ring = new ByteRing();
  ring.append(new Uint8Array(1 << 20), 0, 1 << 20);
  ring.drop(1 << 20);
  for (let refill = 0; refill < 20; refill++) {
    ring.append(Uint8Array.of(1), 0, 1);
    ring.drop(1);
  }
  ring.append(Uint8Array.of(1), 0, 1);
  expect(ring.capacity).toBe(1024);
  ring.clear();
});

test("more than is there cannot be read, removed or taken in", () => {
  const ring = new ByteRing();
  ring.append(Uint8Array.of(1, 2, 3), 0, 3);
  expect(() => ring.copyTo(1, 3, new Uint8Array(9), 0)).toThrow(AssertionError);
  expect(() => ring.drop(4)).toThrow(AssertionError);
  expect(() => ring.extend(ring.capacity)).toThrow(AssertionError);
  ring.drop(3);
  expect(() => ring.extend(1)).toThrow(AssertionError);
});

test("what is left of a large transfer does not hold on to its memory", () => {
  const ring = new ByteRing();
  const bytes = Uint8Array.from({ length: 1 << 20 }, (_, at) => at * 7 + (at >>> 8));
  ring.append(bytes, 0, bytes.length);
  const large = ring.capacity;
  ring.drop(bytes.length - large / 16 - 1);
  expect(ring.capacity).toBe(large);
  ring.drop(1, true); // something may be placed beyond the end
  expect(ring.capacity).toBe(large);
  ring.drop(1);
  expect(ring.capacity).toBe(256 << 10);
  expect(ring.toBytes()).toEqual(bytes.subarray(-(large / 16) + 1));
  ring.drop(ring.length - 1);
  expect(ring.capacity).toBe(256 << 10); // small enough
  expect(ring.toBytes()).toEqual(bytes.subarray(-1));
});

test("a ring that runs almost empty again and again is not made smaller each time", () => {
  const ring = new ByteRing();
  const bytes = new Uint8Array(1 << 20);
  let moves = 0, capacity = 0;
  for (let round = 0; round < 1_000; round++) {
    ring.append(bytes, 0, 900_000);
    ring.drop(900_000 - (round === 0 ? 0 : 1));
    if (round === 0) ring.append(bytes, 0, 1);
    if (ring.capacity !== capacity) moves++;
    capacity = ring.capacity;
  }
  expect(moves).toBeLessThan(20);
  ring.clear();
});

test("what is left of a very large transfer may be more than a small buffer holds", () => {
  const ring = new ByteRing();
  const bytes = Uint8Array.from({ length: 16 << 20 }, (_, at) => at * 7 + (at >>> 8));
  ring.append(bytes, 0, bytes.length);
  ring.drop(bytes.length - 600_000);
  expect(ring.capacity).toBe(1 << 20);
  expect(Buffer.compare(ring.toBytes(), bytes.subarray(-600_000))).toBe(0);
  ring.clear();
});

test("A meter counts what a ring borrows; where memory is short a ring takes no more than it needs", () => {
  const ring = new ByteRing();
  const meter = { tight: false, bytes: 0, borrowed: (bytes: number): void => void (meter.bytes += bytes) };
  ring.meter = meter;
  const bytes = new Uint8Array(600_000);
  ring.append(bytes, 0, bytes.length);
  expect(meter.bytes).toBe(1 << 20);
  ring.drop(590_000); // almost empty: it gives back most of it
  expect([meter.bytes, ring.capacity]).toEqual([256 << 10, 256 << 10]);
  ring.drop(10_000);
  expect(meter.bytes).toBe(0);
  ring.append(bytes, 0, 1);
  expect(meter.bytes).toBe(256 << 10); // what it had lately
  ring.clear();
  meter.tight = true;
  ring.append(bytes, 0, 1);
  expect(meter.bytes).toBe(1024);
  ring.clear();
  expect(meter.bytes).toBe(0);
});

test("capacityWithin() says to what a ring may grow", () => {
  const ring = new ByteRing();
  expect([-5, 0, 1023, 1024, 5000, 2 ** 40].map((left) => ring.capacityWithin(left))).toEqual(
    [0, 0, 0, 1024, 4096, Infinity],
  );
  ring.append(new Uint8Array(3000), 0, 3000);
  expect([-5000, 0, 4095, 4096, 1 << 20].map((left) => ring.capacityWithin(left))).toEqual(
    [4096, 4096, 4096, 8192, 1 << 20],
  );
});
