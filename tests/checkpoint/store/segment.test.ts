import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Segment } from "../../../checkpoint/store/segment.ts";
import { drawSeed } from "../../support/seed.ts";

const SEED = drawSeed("SEGMENT_SEED", 2 ** 31);

/** A segment of drawn entries; with one of `longest` bytes, if that is not 0. */
function drawn(prng: Prng, count: number, longest: number): { segment: Segment; starts: number[] } {
  const first = prng.pick([77, 100, 70_000]);
  const most = prng.pick([2, 200, 5_000, 65_535]);
  const starts: number[] = [];
  const segment = new Segment(7, 1n, first);
  const long = prng.below(Math.max(1, count));
  let at = first;
  for (let index = 0; index < count; index++) {
    segment.add(at, prng.chance(0.8));
    starts.push(at);
    at += index === long && longest > 0 ? longest : prng.between(1, most);
  }
  segment.size = at;
  for (let index = 0; index < count; index++) if (segment.isPut(index)) segment.revive(index);
  return { segment, starts };
}

test("a segment that is slim knows of every entry what it knew before", () => {
  for (let run = 0; run < 300; run++) {
    const prng = new Prng(SEED + run);
    const count = prng.pick([0, 1, 2, 15, 16, 17, 31, 32, 33, prng.below(400)]);
    const { segment, starts } = drawn(prng, count, prng.pick([0, 0, 65_535, 65_536, 1_000_000]));
    const told = `seed ${SEED + run}`;
    const known = (): unknown => ({
      starts: starts.map((_, index) => segment.start(index)),
      ends: starts.map((_, index) => segment.end(index)),
      bytes: starts.map((_, index) => segment.bytes(index)),
      found: starts.flatMap((
        start,
      ) => [segment.find(start - 1), segment.find(start), segment.find(start + 1)]),
      beyond: [0, segment.size - 1, segment.size, segment.size + 1, 2 ** 32].map((at) => segment.find(at)),
      lives: [segment.recordsLive, segment.bytesLive, segment.nextLive(0)],
    });
    const before = known();
    expect((before as { starts: number[] }).starts, told).toEqual(starts);
    segment.slim();
    expect(known(), told).toEqual(before);
    segment.slim();
    for (let index = 0; index < count; index++) if (segment.isLive(index)) segment.kill(index);
    expect([segment.recordsLive, segment.bytesLive], told).toEqual([0, 0]);
  }
});
