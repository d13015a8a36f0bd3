import { expect, test } from "vitest";
import { growthOf, leaksIn } from "./leaks.ts";
import { readOptions } from "./options.ts";
import { answersOf, fill, head, mismatch, readHead } from "./stream.ts";

const MINUTE = 60_000;
const NOTHING = {
  awake: 0,
  asleep: 0,
  waking: 0,
  tcbs: 0,
  records: 0,
  timeWaits: 0,
  heldBytes: 0,
  queueBytes: 0,
  imagesLive: 0,
  handles: { PipeWrap: 3 },
};

/** A life of ten minutes, warm after the first two. */
function samples(bytesPerMinute: number): { atMs: number; liveBytes: number; rssBytes: number }[] {
  return Array.from({ length: 60 }, (_, at) => {
    const minutes = at / 6;
    const noise = (at % 7) * 100_000;
    const liveBytes = Math.min(minutes, 2) * 10e6 + minutes * bytesPerMinute + noise;
    return { atMs: minutes * MINUTE, liveBytes, rssBytes: 2 * liveBytes };
  });
}

test("what is warm and stays is no growth; a leak of a megabyte a minute is", () => {
  const calm = growthOf(samples(0)), leak = growthOf(samples(1e6));
  expect(calm.minutes).toBeGreaterThan(6);
  expect(Math.abs(calm.liveBytes)).toBeLessThan(1e6);
  expect(leak.liveBytes).toBeGreaterThan(6e6);
  expect(leaksIn(NOTHING, calm, 0, { PipeWrap: 3 })).toEqual([]);
  expect(leaksIn(NOTHING, leak, 0, { PipeWrap: 3 })).toHaveLength(1);
});

test("whatever is left is told by its name", () => {
  const calm = growthOf(samples(0));
  for (const name of Object.keys(NOTHING).filter((name) => name !== "handles")) {
    expect(leaksIn({ ...NOTHING, [name]: 2 }, calm, 0, { PipeWrap: 3 })).toEqual([`${name}: 2`]);
  }
  expect(leaksIn(NOTHING, calm, 1, { PipeWrap: 3 })).toHaveLength(1);
  expect(leaksIn({ ...NOTHING, handles: { PipeWrap: 9 } }, calm, 0, { PipeWrap: 3 })).toHaveLength(1);
});

test("every byte of a stream is told from its neighbours, and from another stream's", () => {
  const bytes = fill(5, 1_000, 300);
  expect(mismatch(5, 1_000, bytes)).toBe(-1);
  expect(mismatch(5, 1_001, bytes)).toBe(0);
  expect(mismatch(answersOf(5), 1_000, bytes)).toBe(0);
  expect(mismatch(6, 1_000, bytes)).toBe(0);
  bytes[200]! ^= 1;
  expect(mismatch(5, 1_000, bytes)).toBe(200);
  expect(readHead(head(1, 2, 3))).toEqual({ upload: 1, reply: 2, stream: 3 });
});

test("wrong options are told", () => {
  expect(readOptions(["--help"])).toBe("help");
  expect(readOptions(["--minutes", "0"])).toHaveProperty("wrong");
  expect(readOptions(["--connections", "1"])).toHaveProperty("wrong");
  expect(readOptions(["--houres", "1"])).toHaveProperty("wrong");
  expect(readOptions(["--hours", "2", "--connections", "30", "--seed", "4"]))
    .toEqual({ minutes: 120, connections: 30, seed: 4, json: false });
});
