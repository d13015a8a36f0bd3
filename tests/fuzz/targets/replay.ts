import { assert } from "../../../base/assert.ts";
import { type CborValue, decodeCbor } from "../../../checkpoint/image/cbor.ts";
import { scanCbor } from "../../../checkpoint/image/cbor_scan.ts";
import { feedCapture, hostsOf } from "../../../checkpoint/replay/capture.ts";
import { ReplayError } from "../../../checkpoint/replay/event.ts";
import { Player } from "../../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import { SegmentWriter } from "../../../checkpoint/replay/segments.ts";
import { readImage } from "../../../checkpoint/image/read.ts";
import { measureImage } from "../../../checkpoint/image/measure.ts";
import type { CapturedPacket } from "../../../net/link/pcapng_reader.ts";
import { RouteError } from "../../../net/ip/route_config.ts";
import { Dice } from "../dice.ts";
import { frames, mendPacket } from "../packets.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const START_MS = 1_700_000_000_000;

function captured(bytes: Uint8Array<ArrayBuffer>, timeMs: number): CapturedPacket {
  return {
    timestampNs: BigInt(Math.round(timeMs)) * 1_000_000n,
    timeMs,
    bytes,
    originalLength: bytes.length,
    linkType: 1,
    interfaceIndex: 0,
    interfaceName: undefined,
    direction: undefined,
    comment: undefined,
  };
}

/** Frames of a real conversation, changed, left out, repeated, at any times. */
function packetsOf(dice: Dice): CapturedPacket[] {
  const packets: CapturedPacket[] = [];
  let timeMs = START_MS;
  while (!dice.done && packets.length < 40) {
    const frame = dice.pick(frames).slice();
    for (let changes = dice.below(4); changes > 0; changes--) frame[dice.byte() % frame.length] = dice.byte();
    const cut = dice.chance(16) ? dice.byte() % (frame.length + 1) : frame.length;
    if (!dice.chance(32)) mendPacket(frame.subarray(14, cut));
    timeMs += dice.pick([0, 1, 10, 1_000, 100_000]);
    packets.push(captured(frame.slice(0, cut), timeMs));
  }
  return packets;
}

/** What is fed to a stack is recorded, and replays to the last byte. */
function capture(input: Uint8Array<ArrayBuffer>): void {
  const packets = packetsOf(new Dice(input));
  const hosts = hostsOf(packets);
  // Whose place it takes must be a host.
  const { value: fed } = orRefuses(RouteError, () => feedCapture(packets, { host: hosts.slice(0, 1) }));
  if (fed === undefined) return;
  assert(fed.fed + fed.followed + fed.skipped + fed.cut <= packets.length, "Every packet is counted once");
  const player = new Player(new ReplayReader(fed.recorder.bytes()));
  while (player.step());
  assert(player.difference === undefined, `The replay is the same: ${player.difference?.message}`);
  assert(player.framesOut === fed.sent, "And sends as much");
}

/** The events of a recording. */
function eventsOf(recording: Uint8Array): CborValue[] {
  const events: CborValue[] = [];
  for (let at = 0; at < recording.length;) {
    const size = measureImage(recording.subarray(at))!;
    for (const chunk of readImage(recording.subarray(at, at + size)).chunks) {
      for (let start = 0; start < chunk.length;) {
        const { end } = scanCbor(chunk, start);
        events.push(decodeCbor(chunk.subarray(start, end)));
        start = end;
      }
    }
    at += size;
  }
  return events;
}

function conversation(): CborValue[] {
  const packets = frames.map((frame, at) => captured(frame, START_MS + 10 * at));
  return eventsOf(feedCapture(packets, { host: ["192.0.2.2"] }).recorder.bytes());
}
const BASE = conversation();

/** Another value of CBOR in place of `value`, or of something in it. */
function changed(value: CborValue, dice: Dice): CborValue {
  if (Array.isArray(value) && value.length > 0 && dice.chance(192)) {
    const list = [...value] as CborValue[];
    const at = dice.below(Math.min(256, list.length));
    list[at] = changed(list[at]!, dice);
    return list;
  }
  if (value instanceof Map && value.size > 0 && dice.chance(192)) {
    const key = [...value.keys()][dice.below(Math.min(256, value.size))]!;
    return new Map([...value, [key, changed(value.get(key)!, dice)]]);
  }
  if (typeof value === "number" && dice.chance(128)) return value + dice.pick([1, -1, 1_000, 65_536]);
  return dice.pick<CborValue>([
    0,
    1,
    -1,
    2 ** 32,
    1.5,
    null,
    true,
    "",
    "x",
    [],
    new Map(),
    new Uint8Array(3),
    [1, 2],
  ]);
}

/** A recording with some events changed, left out, doubled or in another order: refused, or played as far as it goes. */
function play(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const events = BASE.slice();
  for (let changes = 1 + dice.below(4); changes > 0; changes--) {
    const at = dice.uint16() % events.length;
    switch (dice.below(5)) {
      case 0:
        events.splice(at, 1 + dice.below(3));
        break;
      case 1:
        events.splice(at, 0, events[dice.uint16() % events.length]!);
        break;
      case 2:
        events.length = at + 1;
        break;
      default:
        events[at] = changed(events[at]!, dice);
    }
    if (events.length === 0) return;
  }
  const parts: Uint8Array[] = [];
  const writer = new SegmentWriter((bytes) => void parts.push(bytes), {});
  for (const event of events) writer.add(event);
  writer.flush();
  const recording = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (recording.set(part, at), at + part.length), 0);
  try {
    const player = new Player(new ReplayReader(recording));
    while (player.step());
  } catch (error) {
    if (!(error instanceof ReplayError)) throw error;
    assert(error.offset >= 0 && error.offset <= recording.length, "The mistake lies in the recording");
  }
}

export const targets: readonly Target[] = [
  {
    name: "replay/capture",
    about:
      "captures of any packets, fed to a stack: nothing throws, and what was recorded meanwhile replays the same",
    run: capture,
    seeds: () => [Uint8Array.from({ length: 60 }, (_, at) => at % 4 === 0 ? 4 + at / 4 : 0)],
    allocationMax: (length) => (1 << 26) + (1 << 19) * length,
    workMax: (length) => 20_000_000 + 400_000 * length,
  },
  {
    name: "replay/play",
    about: "recordings with nonsense in them: refused at a byte, or played up to a difference",
    run: play,
    bytesMax: 64,
    seeds: () => [Uint8Array.of(0, 0, 9, 4, 255, 1, 200, 3), Uint8Array.of(1, 0, 30, 0, 0, 0, 60, 1, 0, 20)],
    allocationMax: () => 1 << 28,
    workMax: () => 200_000_000,
  },
];
