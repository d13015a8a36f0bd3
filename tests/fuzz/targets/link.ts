import { assert } from "../../../base/assert.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { Slab } from "../../../base/slab.ts";
import { impair } from "../../../net/link/impaired.ts";
import { LengthReader } from "../../../net/link/length_framing.ts";
import { type Link, linkCounters, type LinkSink } from "../../../net/link/link.ts";
import { LinkError } from "../../../net/link/link_error.ts";
import { readCapture } from "../../../net/link/pcap_reader.ts";
import { type CapturedPacket, PcapngError, readPcapng } from "../../../net/link/pcapng_reader.ts";
import { PcapngWriter } from "../../../net/link/pcapng_writer.ts";
import { Dice } from "../dice.ts";
import { frames, hex } from "../packets.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

function capture(input: Uint8Array<ArrayBuffer>): void {
  const packets: CapturedPacket[] = [];
  const { error } = orRefuses(PcapngError, () => {
    for (const packet of readCapture(input)) packets.push(packet);
  });
  if (error !== undefined) {
    assert(error.offset >= 0 && error.offset <= input.length, "The mistake lies in the file");
    assert(!/NaN|undefined/.test(error.message), error.message);
  }
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes));
  const wire = writer.addInterface("ethernet", "wire");
  for (const { bytes, timeMs, direction, comment } of packets) {
    assert(
      bytes.buffer === input.buffer && bytes.byteOffset + bytes.length <= input.length,
      "A view into the file",
    );
    assert(Number.isFinite(timeMs), `A time of ${timeMs}`);
    const slab = new Slab(bytes);
    if (timeMs >= 0 && timeMs < 2 ** 53 / 1e6) {
      writer.packet(wire, direction ?? "in", timeMs, slab, 0, bytes.length, comment);
    }
  }
  writer.flush();
  const file = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (file.set(part, at), at + part.length), 0);
  let at = 0;
  for (const again of readPcapng(file)) {
    while (packets[at]!.timeMs < 0 || packets[at]!.timeMs >= 2 ** 53 / 1e6) at++;
    const { bytes, comment, timeMs } = packets[at++]!;
    assert(
      again.bytes.length === bytes.length && again.bytes.every((byte, i) => byte === bytes[i]),
      "Its bytes come back",
    );
    assert(Math.abs(again.timeMs - timeMs) < 0.001, `${timeMs} comes back as ${again.timeMs}`);
    assert(again.comment === comment || !comment, "The comment comes back");
  }
}

function captured(): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes));
  const wire = writer.addInterface("ethernet", "wire");
  for (const frame of frames.slice(0, 3)) {
    writer.packet(wire, "in", 1_700_000_000_000, new Slab(frame), 0, frame.length, "why");
  }
  writer.flush();
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** The longest frame of the stream under test. */
const FRAME_MAX = 40;

/** What the framing means, byte by byte. */
function obviousFrames(stream: Uint8Array): { frames: Uint8Array[]; broken: boolean; inside: boolean } {
  const found: Uint8Array[] = [];
  let at = 0;
  while (at + 4 <= stream.length) {
    const length = new DataView(stream.buffer, stream.byteOffset + at).getUint32(0);
    if (length > FRAME_MAX) return { frames: found, broken: true, inside: false };
    if (at + 4 + length > stream.length) break;
    if (length > 0) found.push(stream.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return { frames: found, broken: false, inside: at < stream.length };
}

/** The first bytes say how the rest is cut. */
function framing(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const cuts = Array.from({ length: 4 }, () => dice.below(32));
  const stream = dice.rest();
  const want = obviousFrames(stream);
  const got: Uint8Array[] = [];
  const reader = new LengthReader(FRAME_MAX, (slab, start, end) => {
    got.push(slab.bytes.slice(start, end));
    return true;
  });
  const { error } = orRefuses(LinkError, () => {
    for (let at = 0, turn = 0; at < stream.length; turn++) {
      const chunk = stream.slice(at, at + (cuts[turn % 4]! || 64));
      const slab = Slab.of(80); // longer than what is in it
      slab.bytes.fill(0xee);
      slab.bytes.set(chunk);
      assert(reader.read(slab, chunk.length), "Nobody stops it");
      at += chunk.length;
    }
  });
  assert((error !== undefined) === want.broken, "Broken for both or none");
  assert(want.broken || reader.insideFrame === want.inside, "Inside a frame for both or none");
  assert(got.length === want.frames.length, `${got.length} frames of ${want.frames.length}`);
  got.forEach((frame, at) => {
    assert(
      frame.length === want.frames[at]!.length && frame.every((byte, i) => byte === want.frames[at]![i]),
      `Frame ${at}`,
    );
  });
}

/** A link that keeps what it is given. */
class Collector implements Link {
  readonly medium = "ip";
  readonly mtu = 100;
  readonly counters = linkCounters();
  readonly frames: Uint8Array[] = [];
  sink: LinkSink | undefined;
  open(sink: LinkSink): void {
    this.sink = sink;
  }
  send(slab: Slab, start: number, end: number): boolean {
    this.frames.push(slab.bytes.slice(start, end));
    return true;
  }
  flush(): void {}
  close(): void {}
}

/** Any settings, any frames in any order of sending, receiving and waiting. */
function impaired(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const clock = new VirtualClock(0);
  const share = (): number => dice.byte() / 255;
  const inner = new Collector();
  const link = impair(inner, {
    clock,
    seed: dice.byte(),
    queueMax: 1 + dice.byte(),
    loss: share(),
    duplicate: share(),
    reorder: share(),
    corrupt: share(),
    delayMs: dice.byte(),
    jitterMs: dice.byte(),
    rateBytesPerS: dice.pick([Infinity, 1, 1_000, 1_000_000]),
  });
  const got: Uint8Array[] = [];
  link.open({
    receive: (slab, start, end) => void got.push(slab.bytes.slice(start, end)),
    flush() {},
    closed() {},
  });
  let sent = 0;
  let received = 0;
  let bytes = 0;
  while (!dice.done) {
    const length = dice.below(101);
    const slab = Slab.of(length);
    slab.bytes.fill(dice.byte());
    bytes += length;
    switch (dice.below(3)) {
      case 0:
        link.send(slab, 0, length);
        sent++;
        break;
      case 1:
        inner.sink!.receive(slab, 0, length);
        inner.sink!.flush();
        received++;
        break;
      default: {
        const untilMs = clock.nowMs() + dice.uint16();
        while (clock.step(untilMs));
      }
    }
  }
  link.flush();
  while (clock.step(clock.nowMs() + 1e12));
  assert(clock.pending === 0, "Nothing is scheduled for ever");
  const { lost, duplicated, overflow } = link.struck;
  const whole = sent + received - lost + duplicated - overflow;
  assert(
    got.length + inner.frames.length === whole,
    `${got.length + inner.frames.length} frames of ${whole}`,
  );
  assert(bytes >= 0 && got.length <= 2 * received && inner.frames.length <= 2 * sent, "At most twice");
}

export const targets: readonly Target[] = [
  {
    name: "link/pcapng",
    about: "pcapng captures: a typed error or packets inside the file, which come back when written",
    run: capture,
    bytesMax: 1_024,
    seeds: () => [
      captured(),
      hex(
        "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffff ffffffff 0000001c 00000001 00000014 0001 0000 00000000 00000014 00000003 00000014 00000004 45000000 00000014",
      ),
    ],
    allocationMax: (length) => (1 << 20) + 64 * length,
  },
  {
    name: "link/pcap",
    about: "classic captures of either byte order: as link/pcapng",
    run: capture,
    seeds: () => [
      hex(
        "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000 00f15365 01000000 04000000 04000000 45000000",
      ),
      hex("a1b23c4d 0002 0004 00000000 00000000 00040000 00000065 6553f100 3b9ac9ff 00000002 00000040 4500"),
    ],
    allocationMax: (length) => (1 << 20) + 64 * length,
  },
  {
    name: "link/framing",
    about: "length-framed streams (QEMU) in any pieces, against a reader byte by byte",
    run: framing,
    seeds:
      () => [hex("03000000 00000002 4142 00000000 00000001 43"), hex("00000000 00000005 0102030405 0000")],
  },
  {
    name: "link/impaired",
    about: "faults of any kind on any traffic: every frame is delivered, lost, or counted twice",
    run: impaired,
    seeds: () => [
      hex("01 ff 20 20 20 20 05 05 02 14aa00 14ab01 14ac02ffff"),
      hex("01 02 00 ff 00 00 ff ff 01 64aa00 64aa00 64aa00"),
    ],
    allocationMax: (length) => (1 << 22) + 4096 * length,
  },
];
