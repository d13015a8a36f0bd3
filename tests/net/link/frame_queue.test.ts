import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { FrameQueue } from "../../../net/link/frame_queue.ts";

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`FrameQueue agrees with an array of copies, seed ${seed}`, () => {
    const prng = new Prng(seed);
    const framesMax = prng.pick([1, 3, 64, 65, 200]);
    const lengthMax = prng.pick([10, 1_500, 30_000]);
    const queue = new FrameQueue(framesMax);
    const twin: { bytes: Uint8Array; dueMs: number }[] = [];
    const from = Slab.of(65_536);
    let pushing = true;
    for (let step = 0; step < 3_000; step++) {
      if (prng.chance(0.02)) pushing = !pushing;
      if (prng.chance(0.002)) {
        queue.clear();
        twin.length = 0;
      }
      if (prng.chance(pushing ? 0.7 : 0.3)) {
        const start = prng.below(100);
        const end = start + prng.between(1, lengthMax);
        for (let at = start; at < end; at += prng.between(1, 97)) from.bytes[at] = prng.uint32();
        const accepted = queue.push(from, start, end, step);
        expect(accepted).toBe(twin.length < framesMax);
        if (accepted) twin.push({ bytes: from.bytes.slice(start, end), dueMs: step });
      } else if (twin.length > 0) {
        const { bytes, dueMs } = twin.shift()!;
        const got = queue.slab.bytes.subarray(queue.headStart, queue.headEnd);
        expect(Buffer.compare(got, bytes), `step ${step}`).toBe(0);
        expect(queue.headDueMs).toBe(dueMs);
        queue.shift();
      }
      expect(queue.count).toBe(twin.length);
    }
  });
}

test("FrameQueue leaves the first frame alone while more arrive, even when its slab grows", () => {
  const queue = new FrameQueue(100);
  queue.push(new Slab(new Uint8Array(1000).fill(1)), 0, 1000);
  const { slab, headStart, headEnd } = queue;
  for (let frame = 0; frame < 99; frame++) queue.push(new Slab(new Uint8Array(30_000).fill(2)), 0, 30_000);
  expect(queue.slab).not.toBe(slab);
  expect(slab.bytes.subarray(headStart, headEnd).every((byte) => byte === 1)).toBe(true);
  expect(queue.push(slab, 0, 1)).toBe(false);
});

test("FrameQueue holds no more memory after a thousand batches than after one", () => {
  const queue = new FrameQueue(64);
  const frame = Slab.of(1500);
  let slab: Slab | undefined;
  for (let batch = 0; batch < 1_000; batch++) {
    for (let index = 0; index < 64; index++) queue.push(frame, 0, 1500);
    slab ??= queue.slab;
    expect(queue.slab).toBe(slab);
    for (let index = 0; index < 64; index++) queue.shift();
  }
});
