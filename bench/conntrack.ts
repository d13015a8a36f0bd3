import process from "node:process";
import { assert } from "../base/assert.ts";
import { Prng } from "../base/random.ts";
import { Slab } from "../base/slab.ts";
import { Conntrack } from "../net/firewall/conntrack/mod.ts";
import type { NatRules } from "../net/firewall/conntrack/tracker.ts";
import { NatKind } from "../net/firewall/nat/mod.ts";
import { NftPacket } from "../net/firewall/nft/packet.ts";
import { CtState, Hook } from "../net/firewall/conntrack/state.ts";
import { AddressTable } from "../net/ip/address_table.ts";
import { checksumOf, foldSum, sumWords } from "../net/wire/checksum.ts";
import type { Bench, BenchOptions, Cell, Table } from "./bench.ts";

const SIZES = [1_000, 100_000, 1_000_000];
const SIZES_QUICK = [1_000];
/** Packets of a round. */
const PACKETS = 400_000;
const PACKETS_QUICK = 2_000;
const ROUNDS = 3;
const SOURCE = 0x0a00_0000;
const SERVER = 0xc000_0201 | 0;
const ROUTER = 0xcb00_7100 | 0;

interface Figures {
  bytes: number;
  begin: number;
  find: number;
  translate: number;
}

/** A datagram or a segment as it comes from a client, number by number. */
class Packets {
  readonly slab = Slab.of(40);
  readonly packet = new NftPacket();

  constructor() {
    const { view } = this.slab;
    view.setUint32(0, 0x4500_0028);
    view.setUint32(8, 0x4006_0000);
    view.setInt32(16, SERVER);
    view.setUint32(32, 0x5010_2000);
  }

  /** Each client has 1,000 ports. */
  moveTo(number: number, flags: number, nowMs: number): NftPacket {
    const { slab, packet } = this;
    const { view } = slab;
    view.setInt32(12, SOURCE + Math.floor(number / 1_000));
    view.setUint16(20, 2_000 + number % 1_000);
    view.setUint16(22, 80);
    view.setInt32(24, 1_000);
    view.setInt32(16, SERVER);
    view.setUint8(33, flags);
    view.setUint16(10, 0);
    view.setUint16(10, checksumOf(slab, 0, 20));
    view.setUint16(36, 0);
    view.setUint16(36, ~foldSum(sumWords(slab, 20, 40, sumWords(slab, 12, 20, 6 + 20))) & 0xffff);
    packet.moveTo(slab, 0, 40, nowMs);
    packet.iif = 0;
    packet.oif = 1;
    packet.hook = Hook.prerouting;
    return packet;
  }
}

const MASQUERADE: NatRules = {
  ask(packet, into) {
    if (packet.hook === Hook.postrouting) into.kind = NatKind.masquerade;
    return true;
  },
};

function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return 1_000 * (user + system);
}

function measure(flows: number, packets: number): Figures {
  const entropy = new Prng(1);
  const addresses = new AddressTable({ entropy });
  const packetsOf = new Packets();
  const make = (): Conntrack =>
    new Conntrack({
      addresses,
      entropy,
      nowMs: 0,
      flowsMax: flows,
      natAddresses: { masquerade: () => ROUTER + (packetsOf.slab.bytes[15]! & 127), redirect: () => ROUTER },
    });
  const pass = (conntrack: Conntrack, packet: NftPacket, nat: boolean): void => {
    assert(conntrack.track(packet) && packet.track.state !== CtState.invalid, "It is followed");
    if (nat) assert(conntrack.translate(packet, MASQUERADE), "There is a port for each");
    packet.hook = Hook.postrouting;
    if (nat) assert(conntrack.translate(packet, MASQUERADE), "There is a port for each");
    assert(conntrack.confirm(packet), "Nobody else has it");
  };
  /** What the packets themselves cost is taken off. */
  const alone = (count: number): number => {
    const start = cpuNs();
    for (let number = 0; number < count; number++) packetsOf.moveTo(number, 2, 0);
    return cpuNs() - start;
  };
  alone(packets);
  const tracked = make();
  let start = cpuNs();
  for (let number = 0; number < flows; number++) pass(tracked, packetsOf.moveTo(number, 2, 0), false);
  const begin = (cpuNs() - start - alone(flows)) / flows;
  assert(tracked.size === flows, "All of them are in the table");
  const spread = new Int32Array(packets);
  const prng = new Prng(2);
  for (let at = 0; at < packets; at++) spread[at] = prng.below(flows);
  const run = (conntrack: Conntrack, nat: boolean): number => {
    start = cpuNs();
    for (let at = 0; at < packets; at++) pass(conntrack, packetsOf.moveTo(spread[at]!, 2, 0), nat);
    return (cpuNs() - start - alone(packets)) / packets;
  };
  let find = Infinity, translate = Infinity;
  for (let round = 0; round < ROUNDS; round++) find = Math.min(find, run(tracked, false));
  const bytes = tracked.byteLength / flows;
  const translated = make();
  const some = Math.min(flows, 100_000); // one address has 64,512 ports towards one server
  for (let number = 0; number < some; number++) pass(translated, packetsOf.moveTo(number, 2, 0), true);
  for (let at = 0; at < packets; at++) spread[at]! %= some;
  for (let round = 0; round < ROUNDS; round++) translate = Math.min(translate, run(translated, true));
  return { bytes, begin, find, translate };
}

export const bench: Bench = {
  async *run({ quick }: BenchOptions): AsyncIterable<Table> {
    const rows: Cell[][] = [];
    measure(1_000, PACKETS_QUICK); // warm
    for (const size of quick ? SIZES_QUICK : SIZES) {
      const { bytes, begin, find, translate } = measure(size, quick ? PACKETS_QUICK : PACKETS);
      rows.push([size.toLocaleString("en-US"), bytes, begin, find, translate]);
    }
    yield await Promise.resolve({
      title: "connection tracking, nanoseconds of the processor per packet",
      columns: ["flows", "bytes each", "begin", "find", "find and translate"],
      rows,
      notes: [
        "Begin: the first packet of a flow, from prerouting to the table, growth included. Find: a packet of a flow that",
        "is drawn among all, its TCP checksum and window looked at; the best of three rounds. Translate: the same behind a",
        "masquerade, of 100,000 flows at most. What writing the packets costs is taken off. Bytes: records and index",
        "of the table, held by IPv4 flows without translation; a translated one has 5 to 10 more in the index of sources.",
      ],
    });
  },
};
