import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { feedCapture, hostsOf } from "../../../checkpoint/replay/capture.ts";
import { CapturedIp } from "../../../checkpoint/replay/captured_packet.ts";
import { EventCode } from "../../../checkpoint/replay/event.ts";
import { Player } from "../../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import { impair } from "../../../net/link/impaired.ts";
import type { Medium } from "../../../net/link/link.ts";
import { PcapngError, PcapngWriter, readPcapng, tap } from "../../../net/link/pcap.ts";
import { isPcap, isPcapng, readCapture, readPcap } from "../../../net/link/pcap_reader.ts";
import type { CapturedPacket } from "../../../net/link/pcapng_reader.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { streamsOf } from "./streams.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { torpor } from "../../cli/run.ts";

const SERVER = "10.0.0.1", CLIENT = "10.0.0.2", SERVER6 = "2001:db8::1", CLIENT6 = "2001:db8::2";

interface Captured {
  readonly file: Uint8Array<ArrayBuffer>;
  /** What the client wrote and the server answered. */
  readonly said: readonly Uint8Array[];
}

/** What tcpdump would see at the server: two connections that echo, over a link with loss, and a datagram each way. */
async function capture(seed: number, medium: Medium, loss: number): Promise<Captured> {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 2, medium });
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes));
  const tapped = tap(impair(left, { clock, seed, loss, direction: "in" }), writer, clock);
  const make = (link: typeof left, ipv4: string, ipv6: string, side: number): Host =>
    new Host({
      interfaces: [{ link }],
      addresses: [{ address: `${ipv4}/24` }, { address: `${ipv6}/64` }],
      clock,
      entropy: new Prng(seed * 2 + side),
    });
  const server = make(tapped, SERVER, SERVER6, 0);
  const client = make(right, CLIENT, CLIENT6, 1);
  const finish = async <T>(promise: Promise<T>): Promise<T> => {
    let over = false;
    promise.finally(() => over = true).catch(() => {});
    await clock.runUntil(() => over);
    return await promise;
  };
  const echo = async (): Promise<void> => {
    for await (const conn of server.listen({ port: 80, hostname: "::" })) {
      conn.readable.pipeTo(conn.writable).catch(() => {});
    }
  };
  void echo();
  const socket = server.listenDatagram({ port: 53 });
  const answer = async (): Promise<void> => {
    for await (const [bytes, from] of socket) await socket.send(bytes, from);
  };
  answer().catch(() => {});
  await clock.advance(3_000);
  const said = [SERVER, SERVER6].map((_, index) => {
    const bytes = new Uint8Array(30_000);
    new Prng(seed + index).fill(bytes);
    return bytes;
  });
  const talk = async (hostname: string, bytes: Uint8Array): Promise<void> => {
    const conn = await client.connect({ hostname, port: 80 });
    const write = async (): Promise<void> => {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at, at + 4_000));
      await conn.closeWrite();
    };
    const read = async (): Promise<void> => {
      while (await conn.read(new Uint8Array(9_000)) !== null);
    };
    await Promise.all([write(), read()]);
    conn.close();
  };
  await finish(Promise.all([talk(SERVER, said[0]!), talk(SERVER6, said[1]!)]));
  const datagrams = client.listenDatagram({ port: 4_000 });
  await datagrams.send(new Uint8Array(20), { transport: "udp", hostname: SERVER, port: 53 });
  await clock.advance(1_000);
  client.close();
  await clock.advance(100);
  server.close();
  writer.flush();
  return { file: joined(parts), said };
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

for (const [medium, loss] of [["ethernet", 0], ["ip", 0], ["ethernet", 0.05], ["ip", 0.05]] as const) {
  test(`a capture of ${medium} with loss ${loss} is fed to a stack: it answers as the host did, and replays`, async () => {
    const seed = 3;
    const { file, said } = await capture(seed, medium, loss);
    const fed = feedCapture(readPcapng(file), { host: [SERVER, SERVER6] });
    expect([fed.connections, fed.unbegun, fed.cut]).toEqual([2, 0, 0]);
    expect(fed.fed).toBeGreaterThan(30);
    // The peers' acknowledgments were translated: all that the host wrote is sent, and not given up.
    const streams = streamsOf(fed, 80);
    expect(streams.get(CLIENT)).toEqual(said[0]);
    expect(streams.get(CLIENT6)).toEqual(said[1]);
    const player = new Player(new ReplayReader(fed.recorder.bytes()));
    while (player.step());
    expect(player.difference?.message).toBe(undefined);
    expect(player.framesOut).toBe(fed.sent);
    expect(player.framesIn).toBe(fed.fed);
    const { tcp, connections, drops } = player.stack!;
    expect(tcp.timeWaits + connections.size, JSON.stringify(drops)).toBeLessThanOrEqual(2); // all have been closed
  });
}

test("the stack in the client's place connects, writes and closes where the client did", async () => {
  const { file, said } = await capture(5, "ethernet", 0);
  const fed = feedCapture(readPcapng(file), { host: [CLIENT, CLIENT6] });
  expect([fed.connections, fed.unbegun]).toEqual([2, 0]);
  let payload = 0;
  for (const { value: [code, , frame] } of new ReplayReader(fed.recorder.bytes()).events()) {
    if (code !== EventCode.Sent) continue;
    payload +=
      CapturedIp.of({ bytes: (frame as Uint8Array).slice(), linkType: 101 } as CapturedPacket)?.tcp?.data
        .length ?? 0;
  }
  expect(payload).toBeGreaterThanOrEqual(said[0]!.length + said[1]!.length);
});

test("a capture that begins in the middle, is cut, or is of others, is counted as such", async () => {
  const { file } = await capture(7, "ip", 0);
  const packets = [...readPcapng(file)];
  const late = feedCapture(packets.slice(30), { host: [SERVER] });
  expect([late.connections, late.unbegun > 0, late.skipped > 0]).toEqual([0, true, true]);
  const snapped = packets.map((packet): CapturedPacket => ({ ...packet, bytes: packet.bytes.slice(0, 64) }));
  expect(feedCapture(snapped, { host: [SERVER] }).cut).toBeGreaterThan(5);
  const noise = packets.map((packet): CapturedPacket => ({ ...packet, bytes: packet.bytes.slice(0, 9) }));
  expect(feedCapture(noise, { host: [SERVER] })).toMatchObject({
    fed: 0,
    followed: 0,
    skipped: packets.length,
  });
  expect(feedCapture([], { host: [SERVER] })).toMatchObject({ fed: 0, sent: 0 });
  expect(() => feedCapture([], { host: ["example.com"] })).toThrow(TypeError);
});

test("captures with random bytes in them feed no more than a drop counter", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed);
    const { file } = { file: await once() };
    const packets = [...readPcapng(file)].map((packet): CapturedPacket => {
      const bytes = packet.bytes.slice();
      for (let flips = prng.below(4); flips > 0; flips--) bytes[prng.below(bytes.length)] = prng.uint32();
      return { ...packet, bytes: prng.chance(0.1) ? bytes.subarray(0, prng.below(bytes.length)) : bytes };
    });
    const fed = feedCapture(packets, { host: [SERVER, SERVER6] });
    const player = new Player(new ReplayReader(fed.recorder.bytes()));
    while (player.step());
    expect(player.difference?.message, `seed ${seed}`).toBe(undefined);
  }
});

let kept: Promise<Captured> | undefined;
async function once(): Promise<Uint8Array<ArrayBuffer>> {
  kept ??= capture(9, "ip", 0.02);
  return (await kept).file;
}

test("the hosts of a capture are proposed: those that SYNs go to, the busiest first", async () => {
  expect(hostsOf(readPcapng(await once()))).toEqual([SERVER, SERVER6]);
});

/** A classic capture of the packets of another. */
function classic(
  packets: readonly CapturedPacket[],
  little: boolean,
  nanoseconds: boolean,
): Uint8Array<ArrayBuffer> {
  const slab = Slab.of(24 + packets.reduce((sum, { bytes }) => sum + 16 + bytes.length, 0));
  const { view } = slab;
  view.setUint32(0, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, little);
  view.setUint16(4, 2, little);
  view.setUint16(6, 4, little);
  view.setUint32(16, 262_144, little);
  view.setUint32(20, packets[0]!.linkType, little);
  let at = 24;
  for (const { timestampNs, bytes } of packets) {
    view.setUint32(at, Number(timestampNs / 1_000_000_000n), little);
    view.setUint32(at + 4, Number(timestampNs % 1_000_000_000n) / (nanoseconds ? 1 : 1_000), little);
    view.setUint32(at + 8, bytes.length, little);
    view.setUint32(at + 12, bytes.length, little);
    slab.bytes.set(bytes, at + 16);
    at += 16 + bytes.length;
  }
  return slab.bytes.slice();
}

test("readPcap() reads either byte order, micro- and nanoseconds, and names the byte of a mistake", async () => {
  const packets = [...readPcapng(await once())];
  for (const little of [true, false]) {
    for (const nanoseconds of [true, false]) {
      const file = classic(packets, little, nanoseconds);
      expect([isPcap(file), isPcapng(file)]).toEqual([true, false]);
      const read = [...readCapture(file)];
      expect(read.length).toBe(packets.length);
      read.forEach((packet, at) => {
        expect(packet.bytes).toEqual(packets[at]!.bytes);
        expect(Math.abs(packet.timeMs - packets[at]!.timeMs)).toBeLessThan(nanoseconds ? 1e-3 : 2e-3);
        expect(packet.linkType).toBe(packets[at]!.linkType);
      });
    }
  }
  const file = classic(packets, true, false);
  expect(() => [...readPcap(file.slice(0, 30))]).toThrow("at byte 24: 6 bytes are left");
  expect(() => [...readPcap(file.slice(0, 50))]).toThrow("at byte 24: its packet has");
  expect(() => [...readPcap(file.slice(0, 20))]).toThrow(PcapngError);
  new DataView(file.buffer).setUint32(32, 1 << 20, true);
  expect(() => [...readPcap(file)]).toThrow("at byte 32: its packet has 1048576 bytes");
});

test("torpor replay feeds captures of both formats, keeps what happened as a recording, and asks for the host", async () => {
  using folder = new TemporaryFolder();
  const packets = [...readPcapng(await once())];
  const modern = folder.file("a.pcapng"), old = folder.file("a.pcap"), kept = folder.file("a.replay");
  writeFileSync(modern, await once());
  writeFileSync(old, classic(packets, false, false));
  const asked = await torpor(["replay", old]);
  expect([asked.code, asked.err]).toEqual([
    2,
    expect.stringContaining(`--as-host? try ${SERVER}, or ${SERVER6}`),
  ]);
  for (const file of [modern, old]) {
    const fed = await torpor(["replay", file, "--as-host", SERVER, "--print", "--record", kept]);
    expect(fed.code).toBe(0);
    expect(fed.err).toMatch(
      /\d+ packets fed, \d+ of the host followed, \d+ sent by our stack, 1 connections/,
    );
    expect(fed.out).toMatch(/out capture IP 10\.0\.0\.1\.80 > 10\.0\.0\.2\.\d+: Flags \[S\.\]/);
    expect((await torpor(["replay", kept])).out).toMatch(/^same: /);
    const synOf = (frame: Uint8Array): string => formatPacket(new Slab(frame.slice()), 0, frame.length, "ip");
    expect(synOf(packets[0]!.bytes)).not.toBe("");
  }
  expect(await torpor(["replay", old, "--as-host", "example.com"])).toMatchObject({
    code: 2,
    err: expect.stringContaining(`"example.com" is no address`),
  });
});
