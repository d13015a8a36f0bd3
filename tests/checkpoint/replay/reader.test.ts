import { readFileSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { ImageError, Kind, writeImage } from "../../../checkpoint/image/mod.ts";
import { measureImage } from "../../../checkpoint/image/measure.ts";
import { EventCode, ReplayError, type ReplayEvent } from "../../../checkpoint/replay/event.ts";
import { Player } from "../../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import { Recorder } from "../../../checkpoint/replay/recorder.ts";
import { openRecording, recordTo } from "../../../checkpoint/replay/replay_file.ts";
import { SEGMENT_BYTES, SegmentWriter } from "../../../checkpoint/replay/segments.ts";
import { Host } from "../../../net/socket/host.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { schema } from "../image/cddl.ts";
import { REPLAY_EVENTS, samples } from "../image/samples.ts";
import { RecordedWorld } from "./recorded_world.ts";

const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));

function eventsOf(bytes: Uint8Array): ReplayEvent[] {
  return [...new ReplayReader(bytes).events()];
}

/** Three segments of a few events each. */
function small(): { bytes: Uint8Array<ArrayBuffer>; ends: number[] } {
  const recorder = new Recorder({ about: { seed: 1 } });
  const ends: number[] = [];
  for (let segment = 0; segment < 3; segment++) {
    for (let event = 0; event < 4; event++) recorder.note(`${segment} ${event}`);
    recorder.flush();
    ends.push(recorder.bytes().length);
  }
  return { bytes: recorder.bytes(), ends };
}

test("a recording gives its events back, with the bytes where they stand", () => {
  const { bytes } = small();
  const events = eventsOf(bytes);
  expect(events.map(({ value }) => value[1])).toEqual(
    [0, 1, 2].flatMap((segment) => [0, 1, 2, 3].map((event) => `${segment} ${event}`)),
  );
  for (const { value, offset } of events) {
    const text = new TextDecoder().decode(bytes.subarray(offset, offset + 6));
    expect(text.slice(3)).toBe(value[1]); // behind three heads
  }
  expect(new ReplayReader(bytes).about.get("seed")).toBe(1);
});

test("every event of every kind matches image.cddl", async () => {
  const { recordings } = await new RecordedWorld({ seed: 4, record: true, bytes: 5_000 }).run();
  const kinds = new Set<unknown>();
  for (const bytes of recordings.values()) {
    for (const { value } of eventsOf(bytes)) {
      kinds.add(value[0]);
      cddl.check("replay-event", value);
    }
  }
  for (const event of REPLAY_EVENTS) cddl.check("replay-event", event);
  expect(kinds.size).toBeGreaterThanOrEqual(7);
  expect(() => cddl.check("replay-event", [4, 0, "no bytes", true])).toThrow();
});

test("a recording that is cut anywhere is readable up to its last whole segment, and says where it was cut", () => {
  const { bytes, ends } = small();
  const first = measureImage(bytes)!;
  for (let length = 0; length < bytes.length; length++) {
    const cut = bytes.subarray(0, length);
    if (length < first) {
      expect(() => new ReplayReader(cut), `${length}`).toThrow(ReplayError);
      continue;
    }
    const reader = new ReplayReader(cut);
    const count = [...reader.events()].length;
    const whole = ends.filter((end) => end <= length).length;
    expect(count, `${length}`).toBe(4 * whole);
    const at = whole === 0 ? first : ends[whole - 1]!;
    expect(reader.cutAt, `${length}`).toBe(at === length ? undefined : at);
  }
});

test("every flipped bit is an error, or a cut, that names a byte of its segment or of where its lengths lead", () => {
  const { bytes, ends } = small();
  const starts = [0, measureImage(bytes)!, ...ends];
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const bad = bytes.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    const segment = starts.findLastIndex((start) => start <= bit >> 3);
    let offset: number | undefined;
    try {
      const reader = new ReplayReader(bad);
      for (const _ of reader.events());
      offset = reader.cutAt;
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error;
      offset = error.offset;
      expect(error.message).toContain(`Cannot read recording at byte ${offset}: `);
    }
    expect(offset, `bit ${bit}`).toBeGreaterThanOrEqual(starts[segment]!);
    expect(offset, `bit ${bit}`).toBeLessThanOrEqual(bytes.length);
  }
});

test("segments that are left out, mixed or of another kind are refused", () => {
  const { bytes, ends } = small();
  const first = measureImage(bytes)!;
  const part = (from: number, to: number): Uint8Array => bytes.subarray(from, to);
  const made = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((each) => [...each]));
  const left = made(part(0, first), part(ends[0]!, ends[2]!));
  expect(() => eventsOf(left)).toThrow(`byte ${first}: segment 2 of some recording`);
  const other = new Recorder();
  other.note("x");
  const mixed = made(part(0, first), other.bytes().subarray(measureImage(other.bytes())!));
  expect(() => eventsOf(mixed)).toThrow(`byte ${first}: segment 1 of some recording`);
  const guest = writeImage({ kind: Kind.Guest, body: 1 });
  expect(() => eventsOf(made(bytes, guest))).toThrow(`byte ${bytes.length}: it is an image of kind guest`);
  expect(() => new ReplayReader(new TextEncoder().encode("no image"))).toThrow("byte 0");
  expect(() => new ReplayReader(new Uint8Array(0))).toThrow("byte 0");
});

test("measureImage() finds the end of every image, and no end in any part of one", () => {
  for (const [name, content] of Object.entries(samples())) {
    const image = writeImage(content);
    const followed = new Uint8Array(image.length + 9);
    followed.set(image);
    expect(measureImage(followed), name).toBe(image.length);
    const step = Math.max(1, Math.floor(image.length / 500));
    for (let length = 0; length < image.length; length += step) {
      expect(measureImage(image.subarray(0, length)), `${name} ${length}`).toBe(undefined);
    }
  }
  expect(() => measureImage(Uint8Array.of(1))).toThrow(ImageError);
});

test("events larger than a chunk and than a segment come back whole", () => {
  const parts: Uint8Array[] = [];
  const writer = new SegmentWriter((bytes) => parts.push(bytes), {});
  const large = new Uint8Array(9 << 20);
  new Prng(3).fill(large.subarray(0, 1_000));
  writer.add([EventCode.Drew, large]);
  writer.add([EventCode.Note, "behind it"]);
  writer.flush();
  expect(large.length).toBeGreaterThan(SEGMENT_BYTES);
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  const [first, second] = eventsOf(whole);
  expect((first!.value[1] as Uint8Array).length).toBe(large.length);
  expect((first!.value[1] as Uint8Array).subarray(0, 1_000)).toEqual(large.subarray(0, 1_000));
  expect(second!.value[1]).toBe("behind it");
  expect(whole[second!.offset + 3]).toBe("b".charCodeAt(0));
});

function world(recorder: Recorder): { host: Host; clock: VirtualClock } {
  const clock = new VirtualClock();
  const [link] = pipe({ clock });
  const addresses = [{ address: "10.0.0.1/24" }];
  return {
    clock,
    host: new Host({ interfaces: [{ link }], addresses, clock, entropy: new Prng(1), recorder }),
  };
}

test("recording stops at its limit, says so, and the host goes on", async () => {
  for (const limit of [3_000, 4_000, 100_000]) {
    const recorder = new Recorder({ bytesMax: limit });
    const { host, clock } = world(recorder);
    for (let index = 0; index < 300; index++) host.listenDatagram({ port: 1_000 + index });
    await clock.advance(10);
    host.close();
    const bytes = recorder.bytes();
    const reader = new ReplayReader(bytes);
    const player = new Player(reader);
    while (player.step());
    expect(player.difference).toBe(undefined);
    expect([limit, reader.endedBecause]).toEqual([limit, limit < 10_000 ? "limit" : "closed"]);
    expect(bytes.length).toBeLessThan(limit + 1_000);
  }
});

test("a disk that refuses ends the recording, not the host; what was written is readable", async () => {
  const errors: Error[] = [];
  const parts: Uint8Array[] = [];
  const recorder = new Recorder({
    write(bytes) {
      if (parts.length === 3) throw new Error("ENOSPC");
      parts.push(bytes);
    },
    onError: (error) => void errors.push(error),
  });
  const { host, clock } = world(recorder);
  for (let second = 0; second < 10; second++) {
    host.listenDatagram({ port: 1_000 + second });
    await clock.advance(1_500);
  }
  host.close();
  expect(errors.map(({ message }) => message)).toEqual(["Recording has stopped: ENOSPC"]);
  const player = new Player(new ReplayReader(Uint8Array.from(parts.flatMap((part) => [...part]))));
  while (player.step());
  expect(player.difference).toBe(undefined);
  expect(player.steps).toBeGreaterThan(3);
});

test("a file holds the recording, for its owner's eyes alone; a host's end closes it", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("run.replay");
  let closed = 0;
  const recorder = recordTo(path, { about: { why: "a test" }, closed: () => void closed++ });
  const { host, clock } = world(recorder);
  host.listenDatagram({ port: 53 });
  await clock.advance(2_000);
  host.close();
  host.close();
  recorder.close();
  expect(closed).toBe(1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const { reader, close } = openRecording(path);
  expect(reader.about.get("why")).toBe("a test");
  expect(reader.about.has("runtime")).toBe(true);
  const player = new Player(reader);
  while (player.step());
  close();
  expect(player.difference).toBe(undefined);
  expect(reader.endedBecause).toBe("closed");
  recordTo(path).close(); // the next process, before anybody has looked
  expect(openRecording(`${path}.old`).reader.about.get("why")).toBe("a test");
  expect(openRecording(path).reader.about.has("why")).toBe(false);
  expect(() => openRecording(folder.file("none"))).toThrow(/ENOENT|NotFound/);
});
