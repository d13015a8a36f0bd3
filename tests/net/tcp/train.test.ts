import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { copyTail } from "../../../base/tail.ts";
import type { Link, LinkSink } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpInfo } from "../../../net/tcp/info.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { cutTrain, WHOLE_SEGMENT } from "../../../net/wire/train.ts";

const TRAIN_BYTES_MAX = 65_535;

/** A link that notes what it sends as frames of a wire; with trains it takes them, and cuts them as a card does. */
class Wire implements Link {
  readonly medium = "ip";
  readonly mtu: number;
  readonly trainBytesMax: number;
  readonly sent: string[] = [];
  trains = 0;
  /** Those that came in two pieces. */
  gathered = 0;
  readonly sendGathered?: NonNullable<Link["sendGathered"]>;
  /** Of each so many frames one is lost. */
  readonly #lossEvery: number;
  readonly #inner: Link;

  constructor(inner: Link, trainBytesMax: number, lossEvery: number, gathers: boolean) {
    this.#inner = inner;
    this.mtu = inner.mtu;
    this.trainBytesMax = trainBytesMax;
    this.#lossEvery = lossEvery;
    if (!gathers) return;
    this.sendGathered = (slab, start, end, segmentBytes, tail) => {
      expect(slab.address).toBeGreaterThanOrEqual(0);
      const whole = Slab.of(end - start);
      whole.bytes.set(slab.bytes.subarray(start, end - tail.bytes));
      copyTail(tail, whole, end - start - tail.bytes);
      this.gathered++;
      return this.send(whole, 0, end - start, segmentBytes);
    };
  }

  get counters(): Link["counters"] {
    return this.#inner.counters;
  }

  open(sink: LinkSink): void {
    this.#inner.open(sink);
  }

  send(slab: Slab, start: number, end: number, segmentBytes = 0): boolean {
    const { bytes, view } = slab;
    if (bytes[start]! >>> 4 === 6) expect(view.getUint16(start + 4)).toBe(end - start - 40);
    else expect(view.getUint16(start + 2)).toBe(end - start);
    const pass = (frame: Slab, from: number, to: number): void => {
      expect(to - from).toBeLessThanOrEqual(this.mtu);
      this.sent.push(described(frame, from, to));
      if (this.sent.length % this.#lossEvery !== 0) this.#inner.send(frame, from, to);
    };
    if (segmentBytes === 0) pass(slab, start, end);
    else {
      if (segmentBytes < WHOLE_SEGMENT) this.trains++;
      cutTrain(slab, start, end, segmentBytes, pass);
    }
    return true;
  }

  flush(): void {
    this.#inner.flush();
  }

  close(): void {
    this.#inner.close();
  }
}

/** A frame in hex, without the identification of an IPv4 datagram, which a cutter counts up, and its checksum. */
function described(slab: Slab, from: number, to: number): string {
  const bytes = slab.bytes.slice(from, to);
  if (bytes[0]! >>> 4 === 4) bytes.fill(0, 4, 6), bytes.fill(0, 10, 12);
  return Buffer.from(bytes).toString("hex");
}

interface Run {
  readonly seed: number;
  readonly ipv6: boolean;
  readonly lossEvery: number;
  readonly tcp: Partial<TcpConfig>;
  /** Of the client's receive buffer; it reads in small pieces then. */
  readonly windowBytes?: number;
}

/** Everything that a server sends that is asked for some lengths of data, and whether it came in trains. */
async function served(
  { seed, ipv6, lossEvery, tcp, windowBytes }: Run,
  trainBytesMax: number,
  gathers = false,
) {
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 3, medium: "ip" });
  const wire = new Wire(left, trainBytesMax, lossEvery, gathers);
  const network = ipv6 ? "fd00::" : "10.0.0.";
  const make = (link: Link, host: number): Host =>
    new Host({
      interfaces: [{ link }],
      addresses: [{ address: `${network}${host}/${ipv6 ? 64 : 24}` }],
      clock,
      entropy: new Prng(seed + host),
      tcp: host === 2 && windowBytes !== undefined
        ? { ...tcp, receiveBufferBytes: windowBytes, receiveBufferMax: windowBytes }
        : tcp,
    });
  using server = make(wire, 1);
  using client = make(right, 2);
  const prng = new Prng(seed);
  server.serve({
    port: 7,
    hostname: ipv6 ? "::" : "0.0.0.0",
    open(connection) {
      for (let write = 0; write < 12; write++) {
        const bytes = new Uint8Array(prng.pick([1, 700, 1_460, 5_000, 40_000, 150_000]));
        prng.fill(bytes);
        connection.write(bytes);
      }
      connection.end();
    },
    data: () => {},
  });
  const connecting = client.connect({ hostname: `${network}1`, port: 7 });
  let done = false;
  let received = 0;
  void connecting.then(async (conn) => {
    const buffer = new Uint8Array(windowBytes === undefined ? 70_000 : 1_777);
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      received += count;
      if (windowBytes !== undefined) {
        await new Promise((resolve) => void clock.at(clock.nowMs() + 1, () => resolve(0)));
      }
    }
    done = true;
    conn.close();
  });
  expect(await clock.runUntil(() => done), `seed ${seed}: all of it arrives`).toBe(true);
  return { sent: wire.sent, trains: wire.trains, gathered: wire.gathered, received };
}

const RUNS: readonly (Run & { readonly trains: boolean })[] = [
  { seed: 1, ipv6: false, lossEvery: Infinity, tcp: {}, trains: true },
  { seed: 2, ipv6: true, lossEvery: Infinity, tcp: {}, trains: true },
  { seed: 3, ipv6: false, lossEvery: 50, tcp: {}, trains: true },
  { seed: 4, ipv6: true, lossEvery: 23, tcp: { timestamps: false }, trains: true },
  { seed: 5, ipv6: false, lossEvery: 31, tcp: { sack: false, ecn: 1 }, trains: true },
  { seed: 7, ipv6: false, lossEvery: Infinity, tcp: {}, windowBytes: 20_001, trains: true },
  { seed: 8, ipv6: true, lossEvery: 40, tcp: {}, windowBytes: 9_999, trains: true },
  { seed: 6, ipv6: false, lossEvery: Infinity, tcp: { ecn: 3 }, trains: false }, // Accurate ECN counts in each
];

for (const run of RUNS) {
  test(`what a link cuts out of trains is what a stack sends without: seed ${run.seed}`, async () => {
    const plain = await served(run, 0);
    for (const gathers of [false, true]) {
      const cut = await served(run, TRAIN_BYTES_MAX, gathers);
      expect(cut.received).toBe(plain.received);
      expect(cut.sent.length).toBe(plain.sent.length);
      cut.sent.forEach((frame, at) => expect(frame, `frame ${at}`).toBe(plain.sent[at]));
      if (run.trains) expect(cut.trains).toBeGreaterThan(10);
      else expect(cut.trains).toBe(0);
      if (gathers) expect(cut.gathered).toBeGreaterThan(10);
      else expect(cut.gathered).toBe(0);
    }
    expect(plain.trains).toBe(0);
  });
}

test("a pipe with offloads carries trains to who takes them, and cuts them for others", async () => {
  for (const taken of [true, false]) {
    const clock = new VirtualClock();
    const [left, right] = pipe({ clock, medium: "ip", offloads: true });
    const trains: number[] = [];
    // In front of the client: what a recorder does, which takes frames only, or nothing but to look.
    const watched: Link = {
      medium: "ip",
      mtu: right.mtu,
      counters: right.counters,
      send: (slab, start, end) => right.send(slab, start, end),
      flush: () => right.flush(),
      close: () => right.close(),
      open: (sink) =>
        right.open({
          receive: (slab, start, end, segmentBytes = 0) => {
            if (segmentBytes > 0) trains.push(end - start);
            else expect(end - start).toBeLessThanOrEqual(right.mtu);
            sink.receive(slab, start, end, segmentBytes);
          },
          flush: () => sink.flush(),
          closed: (error) => sink.closed(error),
          trains: taken && sink.trains === true,
        }),
    };
    using server = new Host({ interfaces: [{ link: left }], addresses: [{ address: "10.0.0.1/24" }], clock });
    using client = new Host({
      interfaces: [{ link: watched }],
      addresses: [{ address: "10.0.0.2/24" }],
      clock,
    });
    const sent = new Uint8Array(400_000);
    new Prng(9).fill(sent);
    server.serve({
      port: 7,
      open: (connection) => (connection.write(sent), connection.end()),
      data: () => {},
    });
    const received: number[] = [];
    let info: TcpInfo | undefined;
    void client.connect({ hostname: "10.0.0.1", port: 7 }).then(async (conn) => {
      const buffer = new Uint8Array(70_000);
      for (let count = await conn.read(buffer); count !== null; count = await conn.read(buffer)) {
        received.push(...buffer.subarray(0, count));
        info = await conn.info();
      }
      conn.close();
    });
    expect(await clock.runUntil(() => received.length === sent.length && info !== undefined)).toBe(true);
    expect(Uint8Array.from(received)).toEqual(sent);
    expect(trains.some((bytes) => bytes > 2 * right.mtu)).toBe(taken);
    // As if each segment had come by itself.
    expect(info!.dataSegsIn).toBeGreaterThan(270);
    expect(info!.rcvMss).toBeLessThanOrEqual(1_460);
    expect(client.stack.drops).toEqual(server.stack.drops);
  }
});

test("what ends within its headers is no train: it passes as it came", () => {
  const tcp = Slab.of(64);
  tcp.bytes.set([0x45, 0, 0, 64, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
  tcp.bytes[32] = 0xf0; // a header of 60 bytes
  const udp = Slab.of(28);
  udp.bytes.set([0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
  const six = Slab.of(60);
  six.bytes.set([0x60, 0, 0, 0, 0, 20, 6, 64]);
  for (const [slab, headers] of [[tcp, 80], [udp, 28], [six, 60]] as const) {
    for (let end = 1; end < Math.min(headers, slab.bytes.length + 1); end++) {
      const exactly = new Slab(slab.bytes.slice(0, end));
      const before = Buffer.from(exactly.bytes).toString("hex");
      let frames = 0;
      cutTrain(exactly, 0, end, 10, (frame, from, to) => {
        frames++;
        expect(Buffer.from(frame.bytes.subarray(from, to)).toString("hex"), `${end}`).toBe(before);
      });
      expect(frames).toBe(1);
    }
  }
});
