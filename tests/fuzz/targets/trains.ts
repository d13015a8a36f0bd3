import { assert } from "../../../base/assert.ts";
import { Slab } from "../../../base/slab.ts";
import { SegmentMerger } from "../../../net/link/merger.ts";
import { readVnetHeader, VNET_HEADER_BYTES } from "../../../net/link/vnet_header.ts";
import { cutTrain } from "../../../net/wire/train.ts";
import { Dice } from "../dice.ts";
import { equalBytes } from "../equal.ts";
import { checkPacket } from "../packet_check.ts";
import { hex, mendPacket } from "../packets.ts";
import { ipPacket, segmentPacket } from "../segment_bytes.ts";
import type { Target } from "../target.ts";

const ENDS = [
  [[192, 0, 2, 1], [192, 0, 2, 2]],
  [[0x20, 1, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 1], [
    0x20,
    1,
    0x0d,
    0xb8,
    ...new Array<number>(11).fill(0),
    2,
  ]],
] as const;
const ACK = 0x10;
const PSH = 8;
/** The longest packet of IP. */
const PACKET_BYTES_MAX = 65_535;

/** Bytes that differ from their neighbours, so that none can stand in another's place. */
function data(length: number, from: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (from + at * 7) & 255);
}

/** An IP packet without what a train does not keep: the identification of IPv4, and with it the header's checksum. */
function anonymous(packet: Uint8Array): Uint8Array {
  const bytes = packet.slice();
  if (bytes[0]! >> 4 === 4 && bytes.length >= 20) bytes.fill(0, 4, 6), bytes.fill(0, 10, 12);
  return bytes;
}

/** A packet in a slab among other bytes. */
function inSlab(packet: Uint8Array, before: number): Slab {
  const slab = Slab.of(before + packet.length + 8);
  slab.bytes.fill(0xee);
  slab.bytes.set(packet, before);
  return slab;
}

/** Segments of two flows, full ones and others, right and wrong: what comes out, cut again, is what came in, in order. */
function merger(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const came: Uint8Array[] = [];
  const left: Uint8Array[] = [];
  const take = (slab: Slab, start: number, end: number): void =>
    void left.push(anonymous(slab.bytes.subarray(start, end)));
  const merged = new SegmentMerger({
    trains: true,
    receive(slab, start, end, segmentBytes = 0) {
      assert(end - start <= PACKET_BYTES_MAX, `A train of ${end - start} bytes`);
      if (segmentBytes === 0) return take(slab, start, end);
      cutTrain(slab, start, end, segmentBytes, take);
    },
    flush() {},
    closed() {},
  });
  const next = [0x7fff_fc00, -1];
  while (!dice.done && came.length < 120) {
    const flow = dice.below(2);
    const kind = dice.byte();
    if (kind >= 250) {
      merged.flush();
      assert(left.length === came.length, "After a batch nothing waits");
      continue;
    }
    const [source, destination] = ENDS[flow]!;
    const length = dice.pick([1_000, 1_000, 1_000, 512, 511, 700, 1, 0, 1_460]);
    const odd = (bit: number): boolean => (kind & 0xf0) === 0xf0 && (kind & bit) !== 0;
    const packet = segmentPacket({
      ...{ source, destination, sourcePort: 4_000, destinationPort: 80, ecn: odd(1) ? 3 : 0 },
      sequence: next[flow]! + (kind === 200 ? 1 : 0),
      acknowledgment: 7,
      flags: odd(2) ? dice.byte() : ACK | (kind % 16 === 15 ? PSH : 0),
      window: odd(4) ? dice.byte() : 500,
      urgentPointer: kind === 201 ? 1 : 0,
      options: kind === 202 ? [] : [1, 1, 8, 10, 0, 0, 0, odd(8) ? dice.byte() : 1, 0, 0, 0, 2],
      data: data(length, came.length),
    });
    next[flow] = (next[flow]! + length) | 0;
    for (let changes = kind === 203 ? 1 + dice.below(3) : 0; changes > 0; changes--) {
      packet[dice.byte() % packet.length] = dice.byte();
      if (dice.chance(128)) mendPacket(packet);
    }
    const cut = kind === 204 ? packet.subarray(0, dice.uint16() % (packet.length + 1)) : packet;
    came.push(anonymous(cut));
    const before = dice.below(4);
    merged.receive(inSlab(cut, before), before, before + cut.length);
  }
  merged.flush();
  assert(left.length === came.length, `${left.length} packets of ${came.length}`);
  left.forEach((packet, at) => equalBytes(packet, came[at]!, `packet ${at}`));
}

/** What a TUN device puts in front, and the packet behind it: refused, or frames that a wire may have. */
function vnet(input: Uint8Array<ArrayBuffer>): void {
  const slab = inSlab(input, 0);
  const segmentBytes = readVnetHeader(slab, 0);
  assert(segmentBytes >= -1 && segmentBytes <= 0xffff, `Segments of ${segmentBytes} bytes`);
  const packet = input.subarray(VNET_HEADER_BYTES);
  if (segmentBytes <= 0 || packet.length === 0) return;
  mendPacket(packet, false);
  slab.bytes.set(input);
  const frames: Uint8Array[] = [];
  cutTrain(
    slab,
    VNET_HEADER_BYTES,
    input.length,
    segmentBytes,
    (frame, start, end) => void frames.push(frame.bytes.slice(start, end)),
  );
  const six = packet[0]! >> 4 === 6;
  const headers = six ? 40 : 20;
  const length = six ? 40 + packet[4]! * 256 + packet[5]! : packet[2]! * 256 + packet[3]!;
  const protocol = packet[six ? 6 : 9];
  const offset = packet[headers + 12]! >> 4;
  const sane = (six || packet[0] === 0x45) && length === packet.length && (protocol === 17 || offset >= 5) &&
    (protocol === 6 || protocol === 17) && packet.length >= headers + (protocol === 6 ? 4 * offset : 8);
  if (!sane || !isHost(packet, six)) return; // nobody's kernel sends that: no crash, whatever comes out
  const ahead = headers + (protocol === 6 ? 4 * offset : 8);
  const whole = packet.subarray(ahead);
  assert(
    frames.length === Math.max(1, Math.ceil(whole.length / segmentBytes)),
    `${frames.length} frames of ${whole.length} bytes`,
  );
  const joined: number[] = [];
  for (const frame of frames) {
    if (protocol === 6 || frames.length > 1) checkPacket(frame, PACKET_BYTES_MAX);
    joined.push(...frame.subarray(ahead));
  }
  equalBytes(Uint8Array.from(joined), whole, "the data of all frames");
}

function isHost(packet: Uint8Array, six: boolean): boolean {
  if (six) return packet[8] !== 0xff;
  const fragment = (packet[6]! & 0x3f) !== 0 || packet[7] !== 0;
  return packet[12]! < 224 && packet[8]! > 0 && !fragment;
}

const SEGMENT = {
  ...{ sourcePort: 4_000, destinationPort: 80, sequence: 1, acknowledgment: 7, window: 500 },
  ...{ urgentPointer: 0, options: [], ecn: 0 },
};

function* vnetSeeds(): Generator<Uint8Array> {
  for (const [family, [source, destination]] of ENDS.entries()) {
    const tcp = segmentPacket({ ...SEGMENT, source, destination, flags: 0x99, data: data(50, 1) });
    yield Uint8Array.of(1, family === 0 ? 1 : 4, 0, 0, 20, 0, 0, 0, 16, 0, 0, 0, ...tcp);
    yield Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, ...tcp);
    const datagram = new Uint8Array([...hex("0fa0 0035 0026 0000"), ...data(30, 2)]);
    const udp = ipPacket(source, destination, 17, datagram);
    yield Uint8Array.of(1, 5, 0, 0, 10, 0, 0, 0, 6, 0, 0, 0, ...udp);
  }
}

export const targets: readonly Target[] = [
  {
    name: "link/merger",
    about: "segments of several flows, merged: cut again they are what came, in its order",
    run: merger,
    bytesMax: 400,
    seeds: () => [
      Uint8Array.from([0, 1, 2, 3, 4, 5].flatMap(() => [0, 0, 0, 0])),
      Uint8Array.from([0, 1, 0, 1].flatMap((flow) => [flow, 15, 0, 1, flow, 0, 3, 0])),
      Uint8Array.from([0, 0, 0, 0, 1, 0, 0, 0, 0, 251, 0, 203, 0, 0, 1, 9, 9, 255, 0, 204, 0, 0, 40, 2]),
      Uint8Array.from(
        [0xf1, 0xf2, 0xf4, 0xf8, 200, 201, 202].flatMap((kind) => [0, 0, 0, 0, 0, kind, 0, 3, 0]),
      ),
    ],
    allocationMax: (length) => (1 << 20) + 8_192 * length,
  },
  {
    name: "link/vnet",
    about:
      "what a TUN device puts in front of a packet, and trains behind it: refused, or legal frames with all its data",
    run: vnet,
    seeds: vnetSeeds,
    allocationMax: (length) => (1 << 20) + 4_096 * length,
  },
];
