import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Host } from "../../../net/socket/host.ts";
import type { LinkSink } from "../../../net/link/link.ts";
import { SegmentMerger } from "../../../net/link/merger.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import { finishTcpChecksum, TcpFlag } from "../../../net/wire/tcp.ts";
import { cutTrain } from "../../../net/wire/train.ts";
import { drawSeed } from "../../support/seed.ts";

const { ACK, PSH, FIN, ECE } = TcpFlag;

interface Segment {
  readonly flow: number;
  readonly sequence: number;
  readonly length: number;
  readonly flags?: number;
  readonly window?: number;
  readonly timestamp?: number;
  readonly identification?: number;
  readonly ecn?: number;
  readonly corrupt?: boolean;
}

/** A packet as it is on a wire: IPv4 for even flows, IPv6 for odd ones. */
function packet(segment: Segment): Uint8Array<ArrayBuffer> {
  const { flow, sequence, length, flags = ACK, window = 100, timestamp = 7, identification = 0, ecn = 0 } =
    segment;
  const ipv6 = flow % 2 === 1;
  const ip = ipv6 ? 40 : 20;
  const slab = Slab.of(ip + 32 + length);
  const { view, bytes } = slab;
  if (ipv6) {
    view.setUint32(0, 0x6000_0000 | (ecn << 20));
    view.setUint16(4, 32 + length);
    view.setUint16(6, (6 << 8) | 64);
    bytes.set([0x20, 1, 0xd, 0xb8, ...new Array(10).fill(0), flow, 2], 8);
    bytes.set([0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 1], 24);
  } else {
    view.setUint16(0, 0x4500 | ecn);
    view.setUint16(2, bytes.length);
    view.setUint16(4, identification);
    view.setUint16(6, 0x4000);
    view.setUint16(8, (64 << 8) | 6);
    bytes.set([10, 0, flow, 2, 10, 0, 0, 1], 12);
    view.setUint16(10, checksumOf(slab, 0, 20));
  }
  view.setUint16(ip, 1000 + flow);
  view.setUint16(ip + 2, 80);
  view.setInt32(ip + 4, sequence);
  view.setInt32(ip + 8, 5_000);
  view.setUint16(ip + 12, 0x8000 | flags);
  view.setUint16(ip + 14, window);
  bytes.set([1, 1, 8, 10], ip + 20);
  view.setUint32(ip + 24, timestamp);
  for (let at = 0; at < length; at++) bytes[ip + 32 + at] = (sequence + at) * 31;
  let addresses = 0;
  for (let at = ipv6 ? 8 : 12; at < ip; at += 2) addresses += view.getUint16(at);
  finishTcpChecksum(slab, ip, bytes.length, addresses, 0);
  if (segment.corrupt) bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

/** What comes out of a merger: each delivery as the frames that it stands for. */
function merged(batches: readonly (readonly Uint8Array[])[]): { frames: string[][]; lengths: number[] } {
  const frames: string[][] = [];
  const lengths: number[] = [];
  const text = (slab: Slab, start: number, end: number): string => hex(slab.bytes.subarray(start, end));
  const sink: LinkSink = {
    receive(slab, start, end, segmentBytes = 0) {
      lengths.push(end - start);
      const some: string[] = [];
      frames.push(some);
      if (segmentBytes === 0) some.push(text(slab, start, end));
      else {cutTrain(slab, start, end, segmentBytes, (frame, from, to) =>
          void some.push(text(frame, from, to)));}
    },
    flush: () => void frames.push(["flush"]),
    closed() {},
  };
  const merger = new SegmentMerger(sink);
  const slab = Slab.of(70_000);
  for (const batch of batches) {
    for (const bytes of batch) {
      slab.bytes.set(bytes, 9);
      merger.receive(slab, 9, 9 + bytes.length);
      slab.bytes.fill(0xee); // it belonged to the merger only until it returned
    }
    merger.flush();
  }
  return { frames, lengths };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Full segments of one flow, one behind the other. */
function run(count: number, more: Partial<Segment> = {}): Segment[] {
  return Array.from(
    { length: count },
    (_, at) => ({ flow: 0, sequence: 1_000 * at, length: 1_000, identification: at, ...more }),
  );
}

const deliveries = (...segments: Segment[]): number[] =>
  merged([segments.map(packet)]).frames.filter(([first]) => first !== "flush").map(({ length }) => length);

test("full segments that follow one another are one packet from the second on, in both families", () => {
  expect(deliveries(...run(5))).toEqual([1, 4]);
  expect(deliveries(...run(5, { flow: 1 }))).toEqual([1, 4]);
  expect(deliveries(...run(1))).toEqual([1]);
  expect(deliveries(...run(200)).reduce((all, count) => all + count)).toBe(200);
  expect(Math.max(...merged([run(200).map(packet)]).lengths)).toBeLessThanOrEqual(0xffff);
});

test("a short segment and PSH end a train, and are in it", () => {
  const tail = { flow: 0, sequence: 4_000, length: 300, identification: 4 };
  const next = { flow: 0, sequence: 4_300, length: 1_000, identification: 5 };
  expect(deliveries(...run(4), tail, next)).toEqual([1, 4, 1]);
  const [a, b, c, d] = run(4) as [Segment, Segment, Segment, Segment];
  expect(deliveries(a, b, { ...c, flags: ACK | PSH }, d)).toEqual([1, 2, 1]);
  expect(deliveries({ ...a, length: 100 }, { ...b, sequence: 100, length: 100 })).toEqual([1, 1]); // not worth it
});

test("what differs in anything else is not merged", () => {
  const [a, b, c] = run(3) as [Segment, Segment, Segment];
  expect(deliveries(a, b, c)).toEqual([1, 2]);
  for (
    const other of [
      { flow: 2 },
      { window: 101 },
      { timestamp: 8 },
      { ecn: 1 },
      { flags: ACK | FIN },
      { flags: ACK | ECE },
      { corrupt: true },
      { sequence: 2_001 },
      { sequence: 0 },
      { length: 1_001 },
      { length: 0 },
    ]
  ) {
    expect(deliveries(a, b, { ...c, ...other }), JSON.stringify(other)).toEqual([1, 1, 1]);
    expect(deliveries({ ...a, ...other }, b, { ...c, sequence: 9_000 }).length, JSON.stringify(other)).toBe(
      3,
    );
  }
});

test("whatever comes, what a merger gives stands for the same frames, in their order, and nothing outlives its batch", () => {
  const seed = drawSeed("MERGER_SEED", 2 ** 32);
  for (let round = 0; round < 60; round++) {
    const prng = new Prng(seed + round);
    const next = [0, 0, 0, 0].map(() => prng.uint32() | 0);
    const identifications = [0, 0, 0, 0];
    const batches: Uint8Array[][] = [];
    for (let batch = prng.between(1, 4); batch > 0; batch--) {
      const frames: Uint8Array[] = [];
      let flow = 0;
      for (let count = prng.below(60); count > 0; count--) {
        if (prng.chance(0.1)) flow = prng.below(4);
        const odd = prng.chance(0.1);
        const length = odd ? prng.below(1_500) : 1_448;
        const skipped = odd && prng.chance(0.2) ? prng.between(-2_000, 2_000) : 0;
        const sequence = (next[flow]! + skipped) | 0;
        const special = odd ? prng.pick([ACK, ACK, ACK | PSH, ACK | FIN, ACK | ECE]) : ACK;
        frames.push(packet({
          flow,
          sequence,
          length,
          flags: special,
          window: odd && prng.chance(0.2) ? 101 : 100,
          timestamp: odd && prng.chance(0.2) ? 8 : 7,
          identification: identifications[flow]!++ & 0xffff,
          corrupt: odd && prng.chance(0.2),
        }));
        if (skipped === 0) next[flow] = (sequence + length) | 0;
      }
      if (prng.chance(0.2)) frames.push(new Uint8Array(prng.below(80)).fill(prng.pick([0x45, 0x60, 0])));
      batches.push(frames);
    }
    const expected = batches.flatMap((batch) => [...batch.map(hex), "flush"]);
    expect(merged(batches).frames.flat(), `MERGER_SEED=${seed}, round ${round}`).toEqual(expected);
  }
});

test("bulk over a link without offloads reaches the stack as trains, and is the same stream", async () => {
  const [a, b] = pipe({ medium: "ip" });
  using server = new Host({ interfaces: [{ link: a }], addresses: [{ address: "10.0.0.1/24" }] });
  using client = new Host({ interfaces: [{ link: b }], addresses: [{ address: "10.0.0.2/24" }] });
  let packets = 0;
  const { receive } = server.stack;
  server.stack.receive = function (...args): ReturnType<typeof receive> {
    packets++;
    return receive.apply(this, args);
  };
  const listener = server.listen({ port: 7 });
  const total = 3_000_000;
  const sent = Uint8Array.from({ length: total }, (_, at) => at * 7 + (at >>> 8));
  const sending = (async () => {
    const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
    for (let at = 0; at < total;) at += await conn.write(sent.subarray(at));
    await conn.closeWrite();
    return conn;
  })();
  const conn = await listener.accept();
  const got = new Uint8Array(total);
  let at = 0;
  for (let count; (count = await conn.read(got.subarray(at))) !== null && at < total;) at += count;
  expect(at).toBe(total);
  expect(Buffer.compare(got, sent)).toBe(0);
  expect(packets).toBeLessThan(a.counters.framesIn / 2);
  (await sending).close();
  conn.close();
});
