import { MessageChannel } from "node:worker_threads";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Player } from "../../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import { Recorder } from "../../../checkpoint/replay/recorder.ts";
import { Slab } from "../../../base/slab.ts";
import type { Link, LinkSink } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import { joinShards, Shard } from "../../../net/shards/shard.ts";
import { Shards } from "../../../net/shards/shards.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";
import { segmentPacket } from "../../fuzz/segment_bytes.ts";
import { drawSeed } from "../../support/seed.ts";
import { until } from "../../support/sink.ts";

const COUNT = 3;

/** Hosts with one address on one wire, each a shard in this thread; every packet goes to any of them. */
class Crowd {
  readonly hosts: Host[] = [];
  readonly recorders: Recorder[] = [];
  readonly #channels = Array.from({ length: COUNT }, () => new MessageChannel());
  readonly #controls = Array.from({ length: COUNT }, () => new MessageChannel());

  constructor(wire: Link, prng: Prng) {
    const sinks: LinkSink[] = [];
    for (let index = 0; index < COUNT; index++) {
      const recorder = new Recorder();
      this.recorders.push(recorder);
      const link: Link = {
        medium: "ip",
        mtu: wire.mtu,
        counters: wire.counters,
        open: (sink) => void sinks.push(sink),
        send: (slab, start, end) => wire.send(slab, start, end),
        flush: () => wire.flush(),
        close: () => {},
      };
      const shard = new Shard({
        index,
        count: COUNT,
        data: undefined,
        control: this.#controls[index]!.port2,
        next: this.#channels[index]!.port1,
        previous: this.#channels[(index + COUNT - 1) % COUNT]!.port2,
      });
      const host = new Host({
        interfaces: [{ link }],
        addresses: [{ address: "10.0.0.1/24" }],
        entropy: new Prng(index + 1),
        shard,
        recorder,
      });
      host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
      this.hosts.push(host);
    }
    wire.open({
      receive: (slab, start, end) => prng.pick(sinks).receive(slab, start, end),
      flush: () => sinks.forEach((sink) => sink.flush()),
      closed: () => {},
    });
  }

  [Symbol.dispose](): void {
    for (const host of this.hosts) host.close();
    for (const { port1, port2 } of [...this.#channels, ...this.#controls]) {
      port1.close();
      port2.close();
    }
  }
}

test("whichever shard a packet comes to, its connection gets it; recordings of the shards replay", async () => {
  const seed = drawSeed("SHARDS_SEED", 2 ** 31);
  const [left, right] = pipe({ medium: "ip" });
  using crowd = new Crowd(left, new Prng(seed));
  using client = new Host({ interfaces: [{ link: right }], addresses: [{ address: "10.0.0.2/24" }] });
  const echo = async (index: number): Promise<void> => {
    using conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
    const said = new Uint8Array(3_000 + index);
    new Prng(index).fill(said);
    const heard = new Uint8Array(said.length);
    const writing = (async () => {
      for (let at = 0; at < said.length;) at += await conn.write(said.subarray(at));
    })();
    for (let at = 0; at < heard.length;) {
      const count = await conn.read(heard.subarray(at));
      if (count === null) throw new Error("The echo ends too soon");
      at += count;
    }
    await writing;
    expect(heard, `seed ${seed}`).toEqual(said);
  };
  await Promise.all(Array.from({ length: 20 }, (_, index) => echo(index)));
  const passed = crowd.hosts.map(({ stack }) => stack.drops.toJSON()["PassedOn"] ?? 0);
  expect(Math.min(...passed), `seed ${seed}`).toBeGreaterThan(0);
  crowd.hosts.forEach((host) => host.close());
  for (const recorder of crowd.recorders) {
    const player = new Player(new ReplayReader(recorder.bytes()));
    while (player.step());
    expect(player.difference, `seed ${seed}`).toBeUndefined();
  }
});

test("what none of them knows is answered once, by the last that is asked", async () => {
  const [left, right] = pipe({ medium: "ip" });
  using crowd = new Crowd(left, new Prng(1));
  const answers: number[] = [];
  right.open({
    receive: ({ bytes }, start) => void answers.push(bytes[start + 33]!),
    flush: () => {},
    closed: () => {},
  });
  const ack = segmentPacket({
    source: [10, 0, 0, 2],
    destination: [10, 0, 0, 1],
    sourcePort: 4_000,
    destinationPort: 7,
    sequence: 1,
    acknowledgment: 2,
    flags: TcpFlag.ACK,
    window: 1_000,
    urgentPointer: 0,
    options: [],
    data: new Uint8Array(0),
    ecn: 0,
  });
  right.send(new Slab(ack), 0, ack.length);
  await until(() => answers.length > 0, "somebody answers");
  await new Promise((resolve) => void setTimeout(resolve, 100)); // nobody else does
  expect(answers).toEqual([TcpFlag.RST]);
  const drops = crowd.hosts.map(({ stack }) => stack.drops.toJSON());
  expect(drops.filter((each) => each["PassedOn"] === 1).length).toBe(COUNT - 1);
});

test("hosts that share an address do not choose the same ports", async () => {
  const ports = await Promise.all([0, 1, 2].map(async (index) => {
    const [near, far] = pipe({ medium: "ip" });
    const shard = { index, count: 3, attach: () => {}, pass: () => false };
    using host = new Host({
      interfaces: [{ link: near }],
      addresses: [{ address: "10.0.0.1/24" }],
      entropy: new Prng(5),
      shard,
    });
    using peer = new Host({ interfaces: [{ link: far }], addresses: [{ address: "10.0.0.2/24" }] });
    peer.serve({ port: 7, data: () => {} });
    const taken: number[] = [];
    for (let count = 0; count < 5; count++) {
      const conn = await host.connect({ hostname: "10.0.0.2", port: 7 });
      taken.push(conn.localAddr.port);
    }
    taken.push(host.listenDatagram({ port: 0 }).addr.port);
    return taken;
  }));
  ports.forEach((taken, index) => taken.forEach((port) => expect(port % 3).toBe(index)));
});

test("what cannot be is refused by name", async () => {
  expect(() => joinShards()).toThrow("Cannot join shards: this thread was not started by Shards.start");
  const module = new URL("./no_such_module.ts", import.meta.url);
  await expect(Shards.start({ module, count: 0 })).rejects.toThrow("count is 0, need a whole number from 1");
  await expect(Shards.start({ module, count: 2 })).rejects.toThrow();
  const [link] = pipe();
  const shard = { index: 0, count: 2, attach: () => {}, pass: () => false };
  expect(() => new Host({ interfaces: [{ link }], shard })).toThrow("need links that carry bare IP packets");
});
