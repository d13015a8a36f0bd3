import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { mediumOf, PcapngError, PcapngWriter, readPcapng, tap } from "../../../net/link/pcap.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { NetworkNamespace } from "../../support/netns.ts";
import { RecordingSink, sendBytes, until } from "../../support/sink.ts";

/** A capture in memory. */
class Capture {
  readonly parts: Uint8Array[] = [];
  readonly writer: PcapngWriter = new PcapngWriter((bytes) => this.parts.push(bytes));

  get file(): Uint8Array<ArrayBuffer> {
    this.writer.flush();
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

/** An ICMP echo request in IPv4 in Ethernet, whole and with good checksums. */
const PING = Uint8Array.from(
  Buffer.from(
    "020000000002" + "020000000001" + "0800" + "4500002400010000400166d6" + "0a000001" + "0a000002" +
      "0800" + "ebec" + "00010002" + "0001020304050607",
    "hex",
  ),
);

test("readPcapng() reads what PcapngWriter wrote: times to the nanosecond, directions, comments, media", () => {
  const prng = new Prng(3);
  const capture = new Capture();
  const wire = capture.writer.addInterface("ethernet", "wire");
  const bare = capture.writer.addInterface("ip");
  const expected: unknown[] = [];
  for (let index = 0; index < 300; index++) {
    const bytes = new Uint8Array(prng.between(1, 2_000));
    prng.fill(bytes);
    const seconds = prng.below(0x8000_0000);
    const fraction = prng.below(4096) / 4096; // kept exactly by a float of this size
    const direction = prng.pick(["in", "out"] as const);
    const comment = prng.chance(0.3) ? "é".repeat(prng.below(50)) + "!" : undefined;
    const ethernet = prng.chance(0.5);
    const slab = new Slab(new Uint8Array([9, ...bytes, 9]));
    capture.writer.packet(
      ethernet ? wire : bare,
      direction,
      seconds * 1000 + fraction,
      slab,
      1,
      1 + bytes.length,
      comment,
    );
    expected.push({
      timestampNs: BigInt(seconds) * 1_000_000_000n + BigInt(Math.floor(fraction * 1e6)),
      bytes: Buffer.from(bytes).toString("hex"),
      originalLength: bytes.length,
      linkType: ethernet ? 1 : 101,
      interfaceIndex: ethernet ? 0 : 1,
      interfaceName: ethernet ? "wire" : undefined,
      direction,
      comment,
    });
  }
  const got = [...readPcapng(capture.file)].map(({ timeMs: _, ...rest }) => ({
    ...rest,
    bytes: Buffer.from(rest.bytes).toString("hex"),
  }));
  expect(got).toEqual(expected);
  expect([mediumOf(1), mediumOf(101), mediumOf(113)]).toEqual(["ethernet", "ip", undefined]);
});

test("PcapngWriter takes frames larger than its buffer, and checks what it is given", () => {
  const capture = new Capture();
  const slab = Slab.of(200_000);
  expect(() => capture.writer.packet(0, "in", 0, slab, 0, 1)).toThrow(RangeError);
  capture.writer.addInterface("ip");
  capture.writer.packet(0, "in", 0, slab, 0, 200_000, "x".repeat(65_535));
  expect(() => capture.writer.packet(0, "in", 0, slab, 0, 1, "x".repeat(65_536))).toThrow(RangeError);
  capture.writer.packet(0, "out", 0, slab, 0, 1);
  expect([...readPcapng(capture.file)].map(({ bytes }) => bytes.length)).toEqual([200_000, 1]);
});

/** The blocks of a capture, written by hand in one byte order. */
function handmade(little: boolean, resolution: number, ticks: bigint): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(28 + 28 + 20 + 36 + 20));
  let at = 0;
  const put = (...values: number[]): void =>
    values.forEach((value) => view.setUint32((at += 4) - 4, value, little));
  put(0x0a0d0d0a, 28, 0x1a2b3c4d);
  view.setUint16(at, 1, little);
  at += 4;
  put(0xffffffff, 0xffffffff, 28);
  put(1, 28);
  view.setUint16(at, 1, little);
  at += 4;
  put(0);
  view.setUint16(at, 9, little);
  view.setUint16(at + 2, 1, little);
  view.setUint8(at + 4, resolution);
  at += 8;
  put(28);
  put(0x0bad, 20, 1, 2, 20); // a block that nobody knows
  put(6, 36, 0, Number(ticks >> 32n), Number(ticks & 0xffffffffn), 3, 60);
  view.setUint8(at, 7);
  at += 4;
  put(36);
  put(3, 20, 2);
  view.setUint8(at, 8);
  at += 4;
  put(20);
  return new Uint8Array(view.buffer);
}

test("readPcapng() reads both byte orders, any resolution, skips unknown blocks, takes several sections", () => {
  for (const little of [true, false]) {
    const cases = [[6, 1_700_000_000_123_456n, 1_700_000_000_123_456_000n], [9, 5n, 5n], [
      0x81,
      3n,
      1_500_000_000n,
    ]] as const;
    for (const [resolution, ticks, timestampNs] of cases) {
      const once = handmade(little, resolution, ticks);
      const file = new Uint8Array([...once, ...handmade(!little, resolution, ticks)]);
      const got = [...readPcapng(file)];
      expect(got.length).toBe(4);
      expect(got[0]).toMatchObject({ timestampNs, originalLength: 60, bytes: Uint8Array.of(7, 0, 0) });
      expect(got[1]).toMatchObject({ timestampNs: 0n, bytes: Uint8Array.of(8, 0) });
      expect(got[2]).toEqual(got[0]);
    }
  }
});

test("readPcapng() names the byte at which a damaged file stops making sense", () => {
  const file = handmade(true, 9, 5n);
  const read = (change: (view: DataView) => void, length = file.length): number => {
    const copy = file.slice(0, length);
    change(new DataView(copy.buffer));
    try {
      for (const _ of readPcapng(copy));
    } catch (error) {
      expect(error).toBeInstanceOf(PcapngError);
      expect((error as Error).message).toContain(`at byte ${(error as PcapngError).offset}: `);
      return (error as PcapngError).offset;
    }
    return -1;
  };
  expect(read(() => {})).toBe(-1);
  expect(read((view) => view.setUint32(0, 1, true))).toBe(0); // no section
  expect(read((view) => view.setUint32(8, 1, true))).toBe(8); // no byte order
  expect(read((view) => view.setUint16(12, 2, true))).toBe(0); // version 2
  expect(read((view) => view.setUint32(4, 8, true))).toBe(0); // length too small
  expect(read((view) => view.setUint32(28 + 24, 32, true))).toBe(28); // lengths differ
  expect(read((view) => view.setUint32(76 + 8, 1, true))).toBe(76); // no such interface
  expect(read((view) => view.setUint32(76 + 20, 5, true))).toBe(96); // more captured than the block holds
  expect(read((view) => view.setUint16(28 + 18, 9, true))).toBe(28 + 16); // option longer than its block
  const whole = new Set([0, 28, 56, 76, 112, file.length]);
  for (let length = 0; length < file.length; length++) {
    if (whole.has(length)) expect(read(() => {}, length)).toBe(-1);
    else {expect(read(() => {}, length), `cut to ${length}`).toBe(Math.max(...[...whole].filter((at) =>
        at <= length
      )));}
  }
});

test("readPcapng() throws nothing but PcapngError on damaged files", () => {
  const good = handmade(true, 9, 5n);
  for (let seed = 1; seed <= 2_000; seed++) {
    const prng = new Prng(seed);
    const file = good.slice();
    for (let times = prng.between(1, 4); times > 0; times--) file[prng.below(file.length)] = prng.uint32();
    try {
      for (const _ of readPcapng(file));
    } catch (error) {
      if (!(error instanceof PcapngError)) throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test("tap() records both directions in order and changes nothing", async () => {
  const clock = new VirtualClock(1_700_000_000_000);
  const capture = new Capture();
  const [left, right] = pipe({ clock, delayMs: 2, queueMax: 2 });
  const tapped = tap(left, capture.writer, clock, "left");
  const atLeft = new RecordingSink();
  const atRight = new RecordingSink();
  tapped.open(atLeft);
  right.open(atRight);
  expect([sendBytes(tapped, [1]), sendBytes(tapped, [2]), sendBytes(tapped, [3])]).toEqual([
    true,
    true,
    false,
  ]);
  await clock.advance(1);
  sendBytes(right, [4, 4]);
  await clock.advance(5);
  tapped.close();
  await clock.advance(5);
  expect([atLeft.hex, atRight.hex, atLeft.ends]).toEqual([["0404"], ["01", "02"], [undefined]]);
  expect(tapped.counters).toMatchObject({ framesOut: 2, framesIn: 1, dropsOut: 1 });
  const file = new Uint8Array(Buffer.concat(capture.parts)); // without a flush of ours
  expect([...readPcapng(file)].map(({ direction, bytes, timeMs }) => [direction, [...bytes], timeMs]))
    .toEqual([
      ["out", [1], 1_700_000_000_000],
      ["out", [2], 1_700_000_000_000],
      ["in", [4, 4], 1_700_000_000_003],
    ]);
});

judge("tshark reads what PcapngWriter wrote", ["tshark"], () => {
  using folder = new TemporaryFolder();
  const capture = new Capture();
  const wire = capture.writer.addInterface("ethernet", "wire");
  const bare = capture.writer.addInterface("ip", "bare");
  const slab = new Slab(PING);
  capture.writer.packet(wire, "in", 1_700_000_000_123.5, slab, 0, PING.length, "the first");
  capture.writer.packet(bare, "out", 1_700_000_000_124.25, slab, 14, PING.length);
  const path = folder.file("capture.pcapng");
  writeFileSync(path, capture.file);
  const fields = [
    "frame.time_epoch",
    "frame.interface_name",
    "frame.comment",
    "frame.packet_flags_direction",
    "frame.protocols",
    "ip.dst",
    "_ws.malformed",
  ];
  const output = execFileSync(
    "tshark",
    ["-r", path, "-T", "fields", "-E", "separator=|", ...fields.flatMap((field) => ["-e", field])],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  const lines = output.trimEnd().split("\n").map((line) => line.split("|"));
  expect(lines.map((line) => line.slice(1))).toEqual([
    ["wire", "the first", "1", "eth:ethertype:ip:icmp:data", "10.0.0.2", ""],
    ["bare", "", "2", "raw:ip:icmp:data", "10.0.0.2", ""],
  ].map((line) => line.map((field) => expect.stringMatching(looseField(field)))));
  expect(lines.map(([time]) => time)).toEqual([
    expect.stringMatching(/^1700000000\.123500000$|2023-11-14T22:13:20\.123500000/),
    expect.stringMatching(/^1700000000\.124250000$|2023-11-14T22:13:20\.124250000/),
  ]);
});

/** tshark's versions print flags as "1" or "0x00000001". */
function looseField(field: string): RegExp {
  return /^\d$/.test(field) ? new RegExp(`^(0x0*)?${field}$`) : new RegExp(`^${field}$`);
}

judge("readPcapng() reads what dumpcap wrote", ["root", "ip", "dumpcap", "ping"], async () => {
  using folder = new TemporaryFolder();
  using netns = new NetworkNamespace();
  const path = folder.file("dumpcap.pcapng");
  // dumpcap gives up root's rights to write in other users' folders: let it write where it may.
  const child = netns.start("sh", ["-c", `exec dumpcap -q -i lo -c 4 -w - > "$0" 2> "$0.log"`, path]);
  const exited = once(child, "exit");
  await until(
    () => readFileSync(`${path}.log`, { encoding: "utf8", flag: "a+" }).includes("File: "),
    "dumpcap",
  );
  netns.run("ping", "-c", "2", "-i", "0.05", "-p", "c0ffee", "127.0.0.1");
  await exited;
  const packets = [...readPcapng(new Uint8Array(readFileSync(path)))];
  expect(packets.length).toBe(4);
  for (const packet of packets) {
    expect(mediumOf(packet.linkType)).toBe("ethernet");
    expect(packet.interfaceName).toBe("lo");
    expect(packet.originalLength).toBe(98);
    expect(Math.abs(packet.timeMs - Date.now())).toBeLessThan(600_000);
    expect(Buffer.from(packet.bytes).toString("hex")).toContain("c0ffeec0ffee");
  }
  expect(packets.map(({ bytes }) => bytes[34])).toEqual([8, 0, 8, 0]); // requests and replies
});
