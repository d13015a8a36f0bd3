import { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { SleepyHost, type SleepyHostOptions } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import { Field, RecordState } from "../../net/connections/connection_map.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { receiveWindowOf, sendWindowOf } from "../../net/wake/slot.ts";
import { finishIcmpChecksum } from "../../net/wire/icmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, writeIpv4 } from "../../net/wire/ipv4.ts";
import { WireEnd } from "../checkpoint/sleep_world.ts";
import { finishTcpChecksum, TcpFlag, TcpRecord, writeTcp } from "../../net/wire/tcp.ts";

/** What an attack off the path has done. */
export interface BlindReport {
  packets: number;
  /** Of them, those that named the addresses and ports of a sleeper. */
  hits: number;
  sleepers: number;
  restores: number;
  /** Sleepers that are gone, and resets that were sent to one's peer. */
  resets: number;
  /** ACKs that sleepers sent. */
  answers: number;
  /** What strangers got: resets, and SYN-ACKs. */
  others: number;
  /** Restores to expect of so many guesses, by the odds of RFC 5961 section 5. */
  expected: number;
}

export interface BlindOptions {
  readonly packets: number;
  readonly seed: number;
  readonly sleepers?: number;
  /** For a test of this test. */
  readonly host?: Partial<SleepyHostOptions>;
  readonly wakeOnAny?: boolean;
}

const PORT = 443;
/** Linux's ephemeral ports: where an attacker guesses. */
const PORTS = [32_768, 60_999] as const;
const SERVER = 0x0a000001;
/** Clients differ in their TCP: what the record of a sleeper knows of them differs. */
const CLIENTS: readonly (readonly [address: number, tcp: Partial<TcpConfig>])[] = [
  [0x0a000102, {}],
  [0x0a000103, { timestamps: false }],
  [0x0a000104, { timestamps: false, sack: false }],
  [0x0a000105, { receiveBufferBytes: 60_000, receiveWindowScale: 0 }],
];
/** Packets in a millisecond: a link of some 100 Mbit/s full of them. */
const PACKETS_PER_MS = 100;
/** Who guesses the ports, who knows them and guesses the numbers, and who knows about where these are. */
const SHARES = { ports: 0.9, numbers: 0.02 };

/** Sleepers, and somebody on no path who wants to wake or to end them. */
export async function blindAttack(options: BlindOptions): Promise<BlindReport> {
  const prng = new Prng(options.seed);
  const clock = new VirtualClock();
  const world = await sleepers(options, clock, prng);
  const { host, records } = world;
  const { stack } = host;
  const map = stack.connections;
  const report: BlindReport = {
    packets: options.packets,
    hits: 0,
    sleepers: records.length,
    restores: 0,
    resets: 0,
    answers: 0,
    others: 0,
    expected: 0,
  };
  world.onSent = (bytes) => {
    const tcp = (bytes[0]! & 15) * 4;
    if (bytes[9] !== PROTOCOL_TCP) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const known = map.find(
      view.getInt32(12),
      view.getInt32(16),
      view.getUint16(tcp),
      view.getUint16(tcp + 2),
    );
    const flags = bytes[tcp + 13]!;
    const sleeps = known >= 0 && map.state(known) === RecordState.asleep;
    if (!sleeps) report.others++;
    else if ((flags & TcpFlag.RST) !== 0) report.resets++;
    else report.answers++;
  };
  const forger = new Forger(prng);
  const before = host.sleeper.stats.restores;
  for (let packet = 0; packet < options.packets; packet++) {
    const record = prng.pick(records);
    const draw = prng.fraction();
    const guessesPorts = draw < SHARES.ports;
    const near = draw >= SHARES.ports + SHARES.numbers;
    const port = guessesPorts ? prng.between(...PORTS) : map.get(record, Field.ports) & 0xffff;
    const client = map.get(record, Field.remoteAddress);
    const length = near ? forger.near(map, record) : forger.anywhere(client, port);
    const hit = map.find(SERVER, client, PORT, port);
    if (hit >= 0 && map.state(hit) === RecordState.asleep) {
      report.hits++;
      if (!near) report.expected += oddsOf(map, hit);
    }
    stack.receive(0, forger.slab, 0, length, clock.nowMs());
    if (packet % PACKETS_PER_MS !== PACKETS_PER_MS - 1) continue;
    host.turn();
    await clock.advance(1);
  }
  host.turn();
  await clock.advance(1);
  report.restores = host.sleeper.stats.restores - before;
  report.resets += records.filter((record) => map.state(record) !== RecordState.asleep).length;
  host.close();
  return report;
}

/** How likely one blind segment with an ACK wakes: its number in the window, and its ACK in what RFC 5961 believes. */
function oddsOf(map: Parameters<typeof receiveWindowOf>[0], record: number): number {
  return receiveWindowOf(map, record) / 2 ** 32 * (sendWindowOf(map, record, 0xffff) / 2 ** 32);
}

/** A server whose connections all sleep, and nobody else. */
async function sleepers(options: BlindOptions, clock: VirtualClock, prng: Prng) {
  const world = {
    host: undefined as unknown as SleepyHost,
    records: [] as number[],
    onSent: (_bytes: Uint8Array): void => {},
  };
  const near = new WireEnd(clock, 0);
  const host = world.host = new SleepyHost({
    interfaces: [{ link: near }],
    addresses: [{ address: "10.0.0.1/16" }],
    store: new MemoryStore(),
    idleMs: 100,
    clock,
    entropy: new Prng(prng.uint32()),
    ...options.host,
  });
  host.serve({
    port: PORT,
    ...(options.wakeOnAny ? { wake: { on: "any" } } : {}),
    data: (connection, bytes) => void connection.write(bytes),
  });
  const count = options.sleepers ?? 2_000;
  for (const [address, tcp] of CLIENTS) {
    const far = new WireEnd(clock, 0);
    near.other = far;
    far.other = near;
    const client = new Host({
      interfaces: [{ link: far }],
      addresses: [{ address: `10.0.1.${address & 255}/16` }],
      tcp,
      clock,
      entropy: new Prng(prng.uint32()),
    });
    for (let at = 0; at < count / CLIENTS.length; at++) {
      const opening = client.connect({ hostname: "10.0.0.1", port: PORT });
      await clock.advance(1);
      const conn = await opening;
      await conn.write(Uint8Array.of(1, 2, 3));
      await clock.advance(1);
    }
    await clock.advance(5_000);
    far.sink = undefined; // from here on its machine is somewhere else, and never heard
  }
  near.onSend = (bytes) => {
    world.onSent(bytes);
    return false;
  };
  host.stack.connections.forEach((record) => void world.records.push(record));
  if (host.counts.asleep !== world.records.length) throw new Error("Not all of them sleep");
  return world;
}

/** Composes packets with numbers that somebody off the path may think of. */
class Forger {
  readonly slab: Slab = Slab.of(256);
  readonly #prng: Prng;
  readonly #segment = new TcpRecord();
  readonly #ip = new Ipv4Record();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** All numbers are guesses. @returns The packet's length. */
  anywhere(client: number, port: number): number {
    const prng = this.#prng;
    if (prng.chance(0.1)) return this.#icmp(client, port, prng.uint32());
    const flags = prng.pick([
      TcpFlag.RST,
      TcpFlag.RST | TcpFlag.ACK,
      TcpFlag.SYN,
      TcpFlag.SYN | TcpFlag.ACK,
      TcpFlag.ACK,
      TcpFlag.ACK | TcpFlag.PSH,
      TcpFlag.ACK | TcpFlag.FIN,
      TcpFlag.FIN,
    ]);
    const data = (flags & TcpFlag.PSH) !== 0 || prng.chance(0.2) ? prng.pick([1, 10, 100]) : 0;
    return this.#tcp(client, port, flags, prng.uint32(), prng.uint32(), data);
  }

  /** The ports are known, and about where the numbers are; the one that would be right is not. */
  near(map: Parameters<typeof receiveWindowOf>[0], record: number): number {
    const prng = this.#prng;
    const client = map.get(record, Field.remoteAddress);
    const port = map.get(record, Field.ports) & 0xffff;
    const next = map.get(record, Field.rcvNxt);
    const sent = map.get(record, Field.sndNxt);
    const window = receiveWindowOf(map, record);
    const inside = prng.between(1, window - 1);
    const behind = prng.between(2, 10_000);
    const never = sent + prng.between(1, 1_000_000); // acknowledges what was never sent
    switch (prng.below(7)) {
      case 0:
        return this.#tcp(client, port, TcpFlag.RST, next + inside, 0, 0);
      case 1:
        return this.#tcp(client, port, TcpFlag.RST | TcpFlag.ACK, next - behind, sent, 0);
      case 2:
        return this.#tcp(client, port, TcpFlag.SYN, next + prng.pick([0, inside]), 0, 0);
      case 3: // old data
        return this.#tcp(
          client,
          port,
          TcpFlag.ACK | TcpFlag.PSH,
          next - 200 - behind,
          sent,
          prng.between(1, 100),
        );
      case 4:
        return this.#tcp(client, port, TcpFlag.ACK | TcpFlag.PSH, next + prng.pick([0, inside]), never, 10);
      case 5:
        return this.#tcp(client, port, TcpFlag.ACK | TcpFlag.FIN, next + inside, never, 0);
      default:
        return this.#icmp(client, port, sent - prng.between(0, 2_000));
    }
  }

  #tcp(client: number, port: number, flags: number, sequence: number, ack: number, data: number): number {
    const prng = this.#prng;
    const segment = this.#segment;
    segment.clear();
    segment.sourcePort = port;
    segment.destinationPort = PORT;
    segment.sequence = sequence | 0;
    segment.acknowledgment = ack | 0;
    segment.flags = flags;
    segment.window = prng.below(65_536);
    segment.urgentPointer = 0;
    if (prng.chance(0.5)) {
      segment.hasTimestamp = true;
      segment.tsVal = prng.uint32() | 0;
      segment.tsEcr = prng.uint32() | 0;
    }
    const end = writeTcp(segment, this.slab, 20) + data;
    finishTcpChecksum(this.slab, 20, end, client, SERVER);
    return this.#ip4(client, PROTOCOL_TCP, end);
  }

  /** An error about a segment that the server seems to have sent. */
  #icmp(client: number, port: number, sequence: number): number {
    const prng = this.#prng;
    const { bytes, view } = this.slab;
    bytes[20] = prng.pick([3, 3, 3, 11, 12]);
    bytes[21] = bytes[20] === 3 ? prng.below(6) : 0;
    view.setUint32(24, prng.pick([0, 68, 500, 1_400]));
    const quoted = this.#ip;
    quoted.source = SERVER;
    quoted.destination = client;
    quoted.protocol = PROTOCOL_TCP;
    quoted.timeToLive = 60;
    quoted.dontFragment = true;
    writeIpv4(quoted, this.slab, 28, 20);
    view.setUint16(48, PORT);
    view.setUint16(50, port);
    view.setUint32(52, sequence >>> 0);
    finishIcmpChecksum(this.slab, 20, 56);
    return this.#ip4(client, PROTOCOL_ICMP, 56);
  }

  #ip4(source: number, protocol: number, end: number): number {
    const ip = this.#ip;
    ip.source = source;
    ip.destination = SERVER;
    ip.protocol = protocol;
    ip.timeToLive = 64;
    ip.dontFragment = true;
    writeIpv4(ip, this.slab, 0, end - 20);
    return end;
  }
}

/** The report in words. */
export function tellBlind(report: BlindReport): string {
  const { packets, hits, sleepers: count, restores, resets, answers, others, expected } = report;
  const number = (value: number): string => value.toLocaleString("en-US");
  return [
    `${number(packets)} blind packets to ${number(count)} sleepers, ${
      number(hits)
    } of them to the right ports:`,
    `${number(restores)} restores, ${number(resets)} resets, ${number(answers)} answers;`,
    `${number(others)} packets to strangers. To expect by luck: ${expected.toPrecision(2)} restores.`,
  ].join("\n");
}
