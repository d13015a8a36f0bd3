import { expect, test } from "vitest";
import { SystemClock, VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { impair, type ImpairOptions } from "../../../net/link/impaired.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { RecordingSink, sendBytes, until } from "../../support/sink.ts";

type Seen = { atMs: number; frame: number; bytes: Uint8Array };

/** Sends `count` numbered frames, one per ms, through an impaired pipe, and returns what arrives when. */
async function through(
  options: Omit<ImpairOptions, "clock">,
  count = 2_000,
  gapMs = 1,
): Promise<{ seen: Seen[]; struck: Record<string, number> }> {
  const clock = new VirtualClock(0);
  const [left, right] = pipe({ clock, queueMax: 10_000 });
  const bad = impair(left, { clock, direction: "out", ...options });
  const seen: Seen[] = [];
  right.open({
    receive: (slab, start, end) =>
      void seen.push({
        atMs: clock.nowMs(),
        frame: slab.view.getUint32(start),
        bytes: slab.bytes.slice(start, end),
      }),
    flush: () => {},
    closed: () => {},
  });
  const bytes = new Uint8Array(100);
  for (let frame = 0; frame < count; frame++) {
    new DataView(bytes.buffer).setUint32(0, frame);
    sendBytes(bad, bytes);
    bad.flush();
    await clock.advance(gapMs);
  }
  await clock.advance(100_000);
  expect(clock.pending).toBe(0);
  return { seen, struck: { ...bad.struck } };
}

test("impair() without faults changes nothing and adds no turn", async () => {
  const { seen, struck } = await through({ seed: 1 }, 100);
  expect(seen.map(({ frame, atMs }) => [frame, atMs])).toEqual(
    Array.from({ length: 100 }, (_, at) => [at, at]),
  );
  expect(struck).toEqual({ lost: 0, duplicated: 0, reordered: 0, corrupted: 0, overflow: 0 });
});

test("impair() gives the same output for the same seed, another for another", async () => {
  const faults = { loss: 0.1, duplicate: 0.1, reorder: 0.1, corrupt: 0.1, delayMs: 5, jitterMs: 10 };
  const first = await through({ seed: 42, ...faults }, 500);
  const again = await through({ seed: 42, ...faults }, 500);
  const other = await through({ seed: 43, ...faults }, 500);
  expect(again).toEqual(first);
  expect(other.seen).not.toEqual(first.seen);
});

test("impair() loses exactly what it counts, about as often as asked", async () => {
  const { seen, struck } = await through({ seed: 2, loss: 0.2 });
  expect(seen.length).toBe(2_000 - struck["lost"]!);
  expect(struck["lost"]).toBeGreaterThan(320); // 400 expected, standard deviation 18
  expect(struck["lost"]).toBeLessThan(480);
  expect((await through({ seed: 2, loss: 1 }, 50)).seen).toEqual([]);
});

test("impair() duplicates: every frame arrives once or twice", async () => {
  const { seen, struck } = await through({ seed: 3, duplicate: 0.2 });
  const times = new Map<number, number>();
  for (const { frame } of seen) times.set(frame, (times.get(frame) ?? 0) + 1);
  expect(times.size).toBe(2_000);
  expect([...times.values()].filter((count) => count === 2).length).toBe(struck["duplicated"]);
  expect(seen.length).toBe(2_000 + struck["duplicated"]!);
  expect(struck["duplicated"]).toBeGreaterThan(320);
});

test("impair() turns one bit of a corrupted frame and leaves the sender's bytes alone", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  const bad = impair(left, { clock, seed: 4, corrupt: 1, direction: "out" });
  const sink = new RecordingSink();
  right.open(sink);
  const sent = new Uint8Array(100).fill(0xaa);
  const positions = new Set<number>();
  for (let frame = 0; frame < 200; frame++) {
    sendBytes(bad, sent);
    await clock.advance(1);
    const got = sink.frames[frame]!;
    const turned = [...got].flatMap((byte, at) =>
      [...Array(8).keys()].filter((bit) => (byte ^ 0xaa) >> bit & 1).map((bit) => at * 8 + bit)
    );
    expect(turned.length).toBe(1);
    positions.add(turned[0]!);
  }
  expect(sent.every((byte) => byte === 0xaa)).toBe(true);
  expect(positions.size).toBeGreaterThan(150); // anywhere in the frame
  expect(bad.struck.corrupted).toBe(200);
});

test("impair() reorders: a frame falls behind one to three later ones, none is lost", async () => {
  const { seen, struck } = await through({ seed: 5, reorder: 0.05 });
  expect(seen.map(({ frame }) => frame).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 2_000 }, (_, at) => at),
  );
  let late = 0;
  let highest = -1;
  for (const { frame } of seen) {
    if (frame < highest) late++;
    highest = Math.max(highest, frame);
  }
  expect(late).toBe(struck["reordered"]);
  expect(late).toBeGreaterThan(50);
  for (const [at, { frame }] of seen.entries()) {
    const overtakers = seen.slice(0, at).filter((other) => other.frame > frame).length;
    expect(overtakers, `frame ${frame}`).toBeLessThanOrEqual(6); // 3, and others held meanwhile
  }
});

test("impair() lets a held frame go after 20 ms when nothing follows", async () => {
  const clock = new VirtualClock(0);
  const [left, right] = pipe({ clock });
  const bad = impair(left, { clock, seed: 6, reorder: 1, direction: "out" });
  const sink = new RecordingSink();
  right.open(sink);
  sendBytes(bad, [1]);
  await clock.advance(19.5);
  expect(sink.frames.length).toBe(0);
  await clock.advance(0.5);
  expect(sink.frames.length).toBe(1);
});

test("impair() delays, and jitter stays inside its range", async () => {
  const steady = await through({ seed: 7, delayMs: 30 }, 50);
  expect(steady.seen.every(({ atMs, frame }) => atMs === frame + 30)).toBe(true);
  const { seen } = await through({ seed: 7, delayMs: 30, jitterMs: 10 }, 500);
  const late = seen.map(({ atMs, frame }) => atMs - frame - 30);
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...late)).toBeLessThanOrEqual(10);
  expect(Math.max(...late) - Math.min(...late)).toBeGreaterThan(8);
  expect(seen.some(({ frame }, at) => at > 0 && frame < seen[at - 1]!.frame)).toBe(true);
});

test("impair() sends at the rate asked for and drops what its queue cannot hold", async () => {
  const { seen } = await through({ seed: 8, rateBytesPerS: 10_000, queueMax: 100 }, 50, 0); // 100 B each: 10 ms
  expect(seen.map(({ atMs }) => Math.round(atMs))).toEqual(
    Array.from({ length: 50 }, (_, at) => (at + 1) * 10),
  );
  const full = await through({ seed: 8, rateBytesPerS: 10_000, queueMax: 10 }, 11, 0);
  expect(full.seen.length).toBe(10);
  expect(full.struck["overflow"]).toBe(1);
  const fits = await through({ seed: 8, rateBytesPerS: 10_000, queueMax: 11 }, 11, 0);
  expect(fits.seen.length).toBe(11);
});

test("impair() obeys settings changed while it runs", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  const bad = impair(left, { clock, seed: 9, loss: 1, direction: "out" });
  const sink = new RecordingSink();
  right.open(sink);
  sendBytes(bad, [1]);
  bad.impairments.loss = 0;
  sendBytes(bad, [2]);
  await clock.advance(1);
  expect(sink.hex).toEqual(["02"]);
});

test("impair() strikes the same frames whatever the other settings are", async () => {
  const alone = await through({ seed: 10, loss: 0.1 }, 500);
  const delayed = await through({ seed: 10, loss: 0.1, delayMs: 3, corrupt: 0.5 }, 500);
  const lost = (seen: Seen[]): number => 500 - seen.length;
  expect(delayed.struck["lost"]).toBe(alone.struck["lost"]);
  expect(lost(delayed.seen)).toBe(lost(alone.seen));
});

test("impair() minds its direction, and the two directions are independent", async () => {
  for (const direction of ["in", "out", "both"] as const) {
    const clock = new VirtualClock();
    const [left, right] = pipe({ clock });
    const bad = impair(left, { clock, seed: 11, loss: 1, direction });
    const atLeft = new RecordingSink();
    const atRight = new RecordingSink();
    bad.open(atLeft);
    right.open(atRight);
    sendBytes(bad, [1]);
    sendBytes(right, [2]);
    await clock.advance(10);
    expect(atRight.frames.length, `${direction} out`).toBe(direction === "in" ? 1 : 0);
    expect(atLeft.frames.length, `${direction} in`).toBe(direction === "out" ? 1 : 0);
  }
});

test("impair() gives back nothing after close(), and tells its sink", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  const bad = impair(left, { clock, seed: 12, delayMs: 10 });
  const atLeft = new RecordingSink();
  const atRight = new RecordingSink();
  bad.open(atLeft);
  right.open(atRight);
  sendBytes(bad, [1]);
  sendBytes(right, [2]);
  await clock.advance(5);
  bad.close();
  expect(sendBytes(bad, [3])).toBe(false);
  await clock.advance(100);
  expect([atLeft.frames, atRight.frames]).toEqual([[], []]);
  expect([atLeft.ends, atRight.ends]).toEqual([[undefined], [undefined]]);
  expect(clock.pending).toBe(0);
});

test("impair() works on the system's clock", async () => {
  const clock = new SystemClock();
  const [left, right] = pipe();
  const bad = impair(left, { clock, seed: 13, delayMs: 5, jitterMs: 5, direction: "both" });
  const sink = new RecordingSink();
  right.open(sink);
  for (let frame = 0; frame < 20; frame++) sendBytes(bad, [frame]);
  await until(() => sink.frames.length === 20, "all frames");
  expect(sink.frames.map((frame) => frame[0]!).sort((a, b) => a - b)).toEqual([...Array(20).keys()]);
});

test("impair() flushes its sink once per batch that came out", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  const prng = new Prng(1);
  const bad = impair(right, { clock, seed: 14, loss: 0.5, direction: "in" });
  const sink = new RecordingSink();
  bad.open(sink);
  for (let batch = 0; batch < 50; batch++) {
    for (let frame = prng.below(4); frame >= 0; frame--) sendBytes(left, [frame]);
    await clock.advance(1);
  }
  expect(new Set(sink.flushes).size).toBe(sink.flushes.length);
  expect(sink.flushes.at(-1)).toBe(sink.frames.length);
});
