import { assert } from "../../../base/assert.ts";
import { Slab } from "../../../base/slab.ts";
import type { CborValue } from "../../../checkpoint/image/cbor.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import {
  type FrozenSocket,
  readKeptSocket,
  readSocketImage,
  writeSocketImage,
} from "../../../checkpoint/sockets/socket_image.ts";
import { bareOf, recordOf } from "../../../checkpoint/store/bare.ts";
import { writeStretch } from "../../../checkpoint/sockets/stretch.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import {
  FROZEN_TCB_ALWAYS,
  type FrozenTcb,
  frozenTcbDefaults,
  frozenTcbFields,
} from "../../../net/tcp/frozen_tcb.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { canWrite, tcpAbort, tcpClose, tcpShutdown } from "../../../net/tcp/user.ts";
import { quietTwin } from "../../checkpoint/sockets/quiet_twin.ts";
import { Dice } from "../dice.ts";
import { equalValues } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import { segmentPacket } from "../segment_bytes.ts";
import { START_MS, Subject } from "../subject.ts";
import type { Target } from "../target.ts";

const OPTIONS = { tcp: {}, mtu: 1_500, seed: 1, naps: 0 };
const SOURCE = [10, 0, 0, 2];
const DESTINATION = [10, 0, 0, 1];

interface Segment {
  sequence: number;
  acknowledgment: number;
  flags?: number;
  window?: number;
  options?: number[];
  length?: number;
}

function segment(
  { sequence, acknowledgment, flags = 16, window = 1_000, options = [], length = 0 }: Segment,
) {
  return segmentPacket({
    source: SOURCE,
    destination: DESTINATION,
    sourcePort: 4_000,
    destinationPort: 80,
    sequence,
    acknowledgment,
    flags,
    window,
    options,
    urgentPointer: 0,
    data: new Uint8Array(length),
    ecn: 0,
  });
}

/** Connections of many kinds, as images hold them. */
function frozen(): FrozenTcb[] {
  const found: FrozenTcb[] = [];
  const subject = new Subject(OPTIONS);
  subject.stack.tcp.listeners.add(0, 80, 4);
  const keep = (): void => {
    const tcb = subject.tcb(80, 4_000);
    if (tcb !== undefined) found.push(freezeTcb(tcb, subject.nowMs, subject.stack.addresses));
  };
  const turn = (of: Segment): void => {
    subject.receive(segment(of));
    subject.poll();
    keep();
  };
  turn({ sequence: 99, acknowledgment: 0, flags: 2, options: [2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1, 1, 1] });
  const tcb = subject.tcb(80, 4_000)!;
  turn({ sequence: 100, acknowledgment: tcb.sndMax });
  subject.write(tcb, 10_000);
  subject.poll();
  keep();
  const una = tcb.sndUna;
  turn({ sequence: 200, acknowledgment: una, length: 100 });
  const block = (
    at: number,
  ): number[] => [una + at >>> 24, (una + at) >> 16 & 255, (una + at) >> 8 & 255, (una + at) & 255];
  turn({ sequence: 100, acknowledgment: una, options: [1, 1, 5, 10, ...block(5_840), ...block(8_760)] });
  subject.pass(300);
  keep();
  turn({ sequence: 100, acknowledgment: tcb.sndMax, flags: 17 });
  tcpShutdown(subject.stack.tcp, tcb);
  subject.poll();
  keep();
  turn({ sequence: 100, acknowledgment: tcb.sndMax, length: 100 });
  return found;
}

const BASES = frozen();

/** A value that a field of an image may have for all that CBOR knows. */
function value(dice: Dice, depth = 0): CborValue {
  switch (dice.below(depth < 2 ? 9 : 6)) {
    case 0:
      return dice.pick([0, 1, -1, 2, 3, 4, 9, 10, 255, 1_000, 65_535, 65_536]);
    case 1:
      return dice.uint32();
    case 2:
      return -dice.uint32();
    case 3:
      return dice.pick([
        2 ** 31,
        2 ** 31 - 1,
        -(2 ** 31),
        2 ** 32,
        2 ** 40,
        Number.MAX_SAFE_INTEGER,
        1.5,
        1e300,
        -1e300,
      ]);
    case 4:
      return dice.pick([null, true, "x", 2n ** 60n]);
    case 5:
      return dice.take(dice.below(40));
    default:
      return Array.from({ length: dice.below(40) }, () => value(dice, depth + 1));
  }
}

/** A connection's image with a few fields changed, read, adopted, woken and used. */
function image(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const tcb = [...dice.pick(BASES)] as FrozenTcb & CborValue[];
  while (tcb.length < FROZEN_TCB_ALWAYS + frozenTcbDefaults.length) {
    tcb.push(frozenTcbDefaults[tcb.length - FROZEN_TCB_ALWAYS] as CborValue);
  }
  for (let changes = dice.below(6); changes > 0; changes--) {
    const place = dice.byte() % tcb.length;
    const old: unknown = tcb[place];
    if (Array.isArray(old) && old.length > 0 && dice.chance(128)) {
      const list = [...old] as CborValue[];
      list[dice.byte() % list.length] = value(dice);
      (tcb as CborValue[])[place] = list;
    } else if (typeof old === "number" && dice.chance(128)) {
      (tcb as CborValue[])[place] = old + dice.pick([1, -1, 1_000, -1_000, 1_460, 65_536]);
    } else {
      (tcb as CborValue[])[place] = value(dice);
    }
  }
  const bytes = writeSocketImage(tcb, undefined);
  const bare = bareOf(bytes, true)!;
  const { value: read } = orRefuses(ImageError, () => readSocketImage(bytes));
  equalReads(bare, read);
  if (read === undefined) return;
  use(read.tcb, dice);
  const damaged = bare.slice();
  for (let changes = dice.below(4); changes > 0; changes--) {
    damaged[dice.uint16() % damaged.length] = dice.byte();
  }
  equalReads(damaged, orRefuses(ImageError, () => readSocketImage(recordOf(damaged))).value);
}

/** What a log keeps of an image is read as the whole image is. */
function equalReads(bare: Uint8Array, whole: FrozenSocket | undefined): void {
  const { value: kept } = orRefuses(ImageError, () => readKeptSocket({ bytes: bare, isBare: true }));
  equalValues(kept?.tcb, whole?.tcb, "what a log has kept, and the image");
  quietTwin(bare, START_MS, new Tcb(0));
}

/** A durable connection's image and stretches of its queues, some of them mistaken: refused, or put together right. */
function stretches(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const tcb = [...BASES[0]!] as FrozenTcb & CborValue[];
  const [unreadStart, sndUna] = [dice.uint16(), tcb[frozenTcbFields.indexOf("sndUna")] as number];
  const images = new Map<number, Uint8Array>();
  let mistaken = false;
  const queue = (start: number): { numbers: number[]; whole: number[] } => {
    const numbers: number[] = [];
    const whole: number[] = [];
    const skip = dice.below(3); // acknowledged
    for (let at = start - skip; numbers.length < dice.below(5);) {
      const bytes = Uint8Array.from(dice.take(4 + dice.below(9)));
      const number = numbers.length + 1 + dice.below(2) * 100;
      const shift = dice.chance(16) ? 1 : 0;
      mistaken ||= shift > 0;
      images.set(number, writeStretch({ number, start: at + shift, bytes }));
      numbers.push(dice.chance(8) ? 77 : number);
      whole.push(...bytes.subarray(numbers.length === 1 ? skip : 0));
      at += bytes.length;
    }
    return { numbers, whole };
  };
  const sent = queue(sndUna);
  const tail = [1, 2, 3];
  tcb[frozenTcbFields.indexOf("sendQueue")] = Uint8Array.from(tail);
  const bytes = writeSocketImage(tcb, undefined, { sent: sent.numbers, unread: [], unreadStart });
  const { value: read, error } = orRefuses(ImageError, () => {
    return readSocketImage(bytes, (number) => images.get(number) ?? Uint8Array.of());
  });
  if (read === undefined) {
    assert(/stretch|magic|image|ends/i.test(error!.message), error!.message);
    return;
  }
  const got = [...read.tcb[frozenTcbFields.indexOf("sendQueue")] as Uint8Array];
  mistaken ||= sent.numbers.includes(77) || new Set(sent.numbers).size < sent.numbers.length;
  if (!mistaken) equalValues(got, [...sent.whole, ...tail], "the queue, put together");
}

/** What is in a store is adopted, and wakes when its peer speaks. */
function use(read: FrozenTcb, dice: Dice): void {
  const subject = new Subject({ ...OPTIONS, foreign: true });
  const { stack } = subject;
  let woken = false;
  stack.sleepers.owner = {
    watch() {},
    waits: () => false,
    moved() {},
    deadlineMoved() {},
    turn() {},
    nextDeadlineMs: () => Infinity,
    wake: (record, nowMs) => {
      woken = true;
      stack.sleepers.resume(record, read, undefined, nowMs);
    },
  };
  subject.nowMs = START_MS + 1_000;
  const { value: adopted } = orRefuses(RangeError, () => stack.sleepers.adopt(read, 7, subject.nowMs));
  if (adopted === undefined) {
    assert(stack.connections.size === 0, "What cannot be adopted leaves nothing behind");
    return;
  }
  assert(!Number.isNaN(adopted.deadlineMs), "A deadline is a time");
  const [, , , , , , , sndUna, , , , , , , , , rcvNxt] = read;
  const receive = (packet: Uint8Array<ArrayBuffer>): void =>
    void stack.receive(0, new Slab(packet), 0, packet.length, subject.nowMs);
  receive(segment({ sequence: rcvNxt - 1, acknowledgment: sndUna }));
  if (!woken) stack.sleepers.wake(adopted.record, subject.nowMs);
  stack.poll(subject.nowMs);
  const turns = 2 + dice.below(6);
  for (let turn = 0; turn < turns; turn++) {
    const tcb = [...stack.tcp.tcbs()][0];
    if (tcb === undefined) break;
    switch (dice.below(6)) {
      case 0:
        for (
          let steps = 0, deadlineMs = stack.poll(subject.nowMs);
          deadlineMs < Infinity && steps < 30;
          steps++
        ) {
          subject.nowMs = Math.max(subject.nowMs, Math.ceil(deadlineMs));
          deadlineMs = stack.poll(subject.nowMs);
        }
        break;
      case 1:
        receive(segment({ sequence: tcb.rcvNxt, acknowledgment: tcb.sndMax, length: 100 }));
        break;
      case 2:
        receive(
          segment({
            sequence: tcb.rcvNxt,
            acknowledgment: tcb.sndUna + dice.uint16(),
            options: [1, 1, 5, 10, ...dice.take(8)].slice(0, 12),
            window: dice.uint16(),
          }),
        );
        break;
      case 3:
        if (canWrite(tcb)) subject.stack.tcp.queueOutput(tcb);
        break;
      case 4:
        tcpClose(stack.tcp, tcb, subject.nowMs);
        break;
      default:
        receive(segment({ sequence: tcb.rcvNxt, acknowledgment: tcb.sndMax, flags: 17 }));
    }
    stack.poll(subject.nowMs);
  }
  for (const tcb of [...stack.tcp.tcbs()]) tcpAbort(stack.tcp, tcb, subject.nowMs);
  stack.poll(subject.nowMs);
  assert(stack.connections.size === 0, "No connection is left");
}

export const targets: readonly Target[] = [
  {
    name: "image/socket",
    about:
      "images of connections with nonsense in their fields: refused, or a connection that wakes, works and ends",
    run: image,
    bytesMax: 200,
    seeds: () => BASES.map((_, base) => Uint8Array.of(base, 1, 7, 255, 0, 3, 1, 2, 0, 5)),
    allocationMax: (length) => (1 << 25) + (1 << 18) * length,
    workMax: (length) => 10_000_000 + 100_000 * length,
  },
  {
    name: "image/stretches",
    about:
      "images of durable connections whose queues lie in stretches: refused, or put together byte for byte",
    run: stretches,
    bytesMax: 200,
    seeds: () => [
      Uint8Array.of(0, 7, 1, 255, 255, 4, 1, 2, 3, 4, 0, 0),
      Uint8Array.from({ length: 90 }, (_, at) => at * 29),
    ],
    allocationMax: (length) => (1 << 20) + (1 << 14) * length,
  },
];
