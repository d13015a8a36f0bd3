import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { RecordingSink, sendBytes, until } from "../../support/sink.ts";

test("pipe() delivers in a later turn, in order, and flushes once per batch", async () => {
  const [left, right] = pipe();
  const sink = new RecordingSink();
  right.open(sink);
  for (const byte of [1, 2, 3]) expect(sendBytes(left, [byte, byte])).toBe(true);
  expect(sink.frames).toEqual([]);
  await Promise.resolve(); // a microtask is not a turn: chains of promises must not starve timers
  expect(sink.frames).toEqual([]);
  await until(() => sink.frames.length === 3, "three frames");
  expect(sink.hex).toEqual(["0101", "0202", "0303"]);
  expect(sink.flushes).toEqual([3]);
  expect(left.counters).toMatchObject({ framesOut: 3, bytesOut: 6, dropsOut: 0 });
  expect(right.counters).toMatchObject({ framesIn: 3, bytesIn: 6, dropsIn: 0 });
});

test("pipe() answers inside receive() arrive as the far end's next batch", async () => {
  const clock = new VirtualClock(0);
  const [left, right] = pipe({ clock, delayMs: 5 });
  const atLeft = new RecordingSink();
  const atRight = new RecordingSink();
  atRight.onFrame = (bytes) => void sendBytes(right, [...bytes, 9]);
  left.open(atLeft);
  right.open(atRight);
  sendBytes(left, [1]);
  sendBytes(left, [2]);
  expect(clock.pending).toBe(1); // one alarm for the batch
  await clock.advance(4.5);
  expect(atRight.frames.length).toBe(0);
  await clock.advance(0.5);
  expect(atRight.hex).toEqual(["01", "02"]);
  await clock.advance(4.5);
  expect(atLeft.frames.length).toBe(0);
  await clock.advance(0.5);
  expect(atLeft.hex).toEqual(["0109", "0209"]);
  expect(clock.pending).toBe(0);
});

test("pipe() keeps each frame's own delay", async () => {
  const clock = new VirtualClock(0);
  const [left, right] = pipe({ clock, delayMs: 10 });
  const sink = new RecordingSink();
  const arrivedAtMs: number[] = [];
  sink.onFrame = () => void arrivedAtMs.push(clock.nowMs());
  right.open(sink);
  for (const atMs of [0, 3, 3, 7]) clock.at(atMs, () => void sendBytes(left, [atMs]));
  await clock.advance(100);
  expect(arrivedAtMs).toEqual([10, 13, 13, 17]);
  expect(sink.flushes).toEqual([1, 3, 4]);
});

test("pipe() with delayMs and no clock uses the system's", async () => {
  const [left, right] = pipe({ delayMs: 5 });
  const sink = new RecordingSink();
  right.open(sink);
  const startMs = performance.now();
  sendBytes(left, [7]);
  await until(() => sink.frames.length === 1, "the frame");
  expect(performance.now() - startMs).toBeGreaterThan(4.9);
});

test("pipe() drops and counts what its queue cannot hold", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, queueMax: 4 });
  const sink = new RecordingSink();
  right.open(sink);
  const accepted = [1, 2, 3, 4, 5, 6].map((byte) => sendBytes(left, [byte]));
  expect(accepted).toEqual([true, true, true, true, false, false]);
  expect(left.counters).toMatchObject({ framesOut: 4, dropsOut: 2 });
  await clock.advance(0);
  expect(sink.hex).toEqual(["01", "02", "03", "04"]);
  expect(sendBytes(left, [7])).toBe(true); // the queue has room again
});

test("pipe() takes the longest frame of its medium and drops one byte more", () => {
  for (const [medium, longest] of [["ethernet", 1500 + 18], ["ip", 1500]] as const) {
    const [left] = pipe({ medium });
    expect(sendBytes(left, new Uint8Array(longest)), medium).toBe(true);
    expect(sendBytes(left, new Uint8Array(longest + 1)), medium).toBe(false);
    expect(left.counters.dropsOut).toBe(1);
  }
});

test("pipe() takes MTUs from 68 to 65,535", () => {
  for (const mtu of [68, 65_535]) expect(pipe({ mtu })[0].mtu).toBe(mtu);
  for (const mtu of [67, 65_536, 1500.5, NaN]) expect(() => pipe({ mtu })).toThrow(RangeError);
});

test("pipe() holds frames for an end that is not open yet", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  sendBytes(left, [1]);
  await clock.advance(1000);
  const sink = new RecordingSink();
  right.open(sink);
  expect(sink.frames).toEqual([]);
  await clock.advance(0);
  expect(sink.hex).toEqual(["01"]);
});

test("pipe() delivers what was sent before close() and tells both ends once", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 3 });
  const atLeft = new RecordingSink();
  const atRight = new RecordingSink();
  left.open(atLeft);
  right.open(atRight);
  sendBytes(left, [1]);
  sendBytes(right, [2]);
  left.close();
  left.close();
  expect(atLeft.ends).toEqual([]); // never inside the call
  expect(sendBytes(left, [3])).toBe(false);
  expect(sendBytes(right, [3])).toBe(false);
  await clock.advance(10);
  expect(atRight.hex).toEqual(["01"]);
  expect(atLeft.frames).toEqual([]); // close() stops delivery
  expect([atLeft.ends, atRight.ends]).toEqual([[undefined], [undefined]]);
  right.close();
  await clock.advance(10);
  expect([atLeft.ends, atRight.ends]).toEqual([[undefined], [undefined]]);
});

test("pipe() delivers nothing more when its sink closes it inside receive()", async () => {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock });
  const sink = new RecordingSink();
  sink.onFrame = () => right.close();
  right.open(sink);
  for (const byte of [1, 2, 3]) sendBytes(left, [byte]);
  await clock.advance(10);
  expect(sink.hex).toEqual(["01"]);
  expect(sink.flushes).toEqual([]);
  expect(sink.ends).toEqual([undefined]);
});

test("pipe() carries random frames of all lengths, both ways at once, byte-exact", async () => {
  const prng = new Prng(11);
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1, mtu: 9000 });
  const sinks = [new RecordingSink(), new RecordingSink()];
  left.open(sinks[0]!);
  right.open(sinks[1]!);
  const sent: string[][] = [[], []];
  for (let step = 0; step < 500; step++) {
    const bytes = new Uint8Array(prng.between(1, 9018));
    prng.fill(bytes);
    const way = prng.below(2);
    sendBytes(way === 0 ? right : left, bytes);
    sent[way]!.push(Buffer.from(bytes).toString("hex"));
    if (prng.chance(0.2)) await clock.advance(prng.fraction() * 3);
  }
  await clock.advance(10);
  expect([sinks[0]!.hex, sinks[1]!.hex]).toEqual(sent);
});
