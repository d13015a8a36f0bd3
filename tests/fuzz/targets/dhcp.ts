import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { DhcpClient, DhcpState } from "../../../net/dhcp/client.ts";
import { leaseOf } from "../../../net/dhcp/lease.ts";
import { DhcpOption, DhcpType, readDhcp, writeDhcp } from "../../../net/dhcp/message.ts";
import { parseIpv4, parsePrefix } from "../../../net/wire/address.ts";
import { Dice } from "../dice.ts";
import type { Target } from "../target.ts";

const NOW_MS = 1_700_000_000_000;
const HARDWARE = Uint8Array.of(2, 0, 0, 0, 0, 1);

function options(...given: [code: number, value: number[]][]): ReadonlyMap<number, Uint8Array> {
  return new Map(given.map(([code, value]) => [code, Uint8Array.from(value)]));
}

const OFFER = {
  type: DhcpType.Offer,
  transaction: 0x1234_5678,
  seconds: 0,
  broadcast: false,
  clientAddress: 0,
  yourAddress: parseIpv4("10.0.0.9")!,
  hardwareAddress: HARDWARE,
  options: options(
    [DhcpOption.ServerIdentifier, [10, 0, 0, 1]],
    [DhcpOption.LeaseTime, [0, 0, 14, 16]],
    [DhcpOption.SubnetMask, [255, 255, 255, 0]],
    [DhcpOption.Router, [10, 0, 0, 1]],
    [DhcpOption.DomainNameServer, [10, 0, 0, 1, 10, 0, 0, 2]],
    [DhcpOption.DomainName, [...new TextEncoder().encode("example.net")]],
    [DhcpOption.InterfaceMtu, [5, 0xdc]],
    [DhcpOption.RenewalTime, [0, 0, 7, 8]],
    [DhcpOption.RebindingTime, [0, 0, 12, 0]],
    [DhcpOption.ClasslessRoutes, [24, 10, 1, 2, 10, 0, 0, 3, 0, 10, 0, 0, 1]],
  ),
} as const;

function message(input: Uint8Array): void {
  const fromServer = input[0] !== 1;
  const read = readDhcp(input, fromServer);
  if (read === undefined) return;
  assert(read.type >= 1 && read.type <= 7, "A known type");
  const again = readDhcp(writeDhcp(read, fromServer), fromServer);
  assert(again !== undefined, "What we write can be read");
  const empty = [...read.options].filter(([, value]) => value.length === 0).length;
  assert(again.options.size === read.options.size, `Options come back, ${empty} empty ones, too`);
  for (const [code, value] of read.options) {
    const other = again.options.get(code);
    assert(other !== undefined && same(value, other), `Option ${code} comes back`);
  }
  for (
    const key of ["type", "transaction", "seconds", "broadcast", "clientAddress", "yourAddress"] as const
  ) {
    assert(read[key] === again[key], `${key} comes back`);
  }
  assert(same(read.hardwareAddress, again.hardwareAddress), "The hardware address comes back");
  const lease = leaseOf(read, NOW_MS);
  if (lease === undefined) return;
  for (const each of [lease.address, lease.server, ...lease.routers, ...lease.nameServers]) {
    assert(parseIpv4(each) !== undefined, `"${each}" is an address`);
  }
  assert(lease.prefixLength >= 1 && lease.prefixLength <= 32, "A prefix length");
  for (const { destination, gateway } of lease.routes) {
    assert(parsePrefix(destination) !== undefined, `"${destination}" is a network`);
    assert(gateway === undefined || parseIpv4(gateway) !== undefined, `"${gateway}" is an address`);
  }
  const { renewAtMs, rebindAtMs, expiresAtMs } = lease;
  assert(
    expiresAtMs === null || (NOW_MS < renewAtMs! && renewAtMs! <= rebindAtMs! && rebindAtMs! <= expiresAtMs),
    "T1 before T2 before the end",
  );
  assert(same2(JSON.parse(JSON.stringify(lease)), lease), "A lease is plain data");
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function same2(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A server out of its mind: the answers' fields, and when they come, are the input's to choose. */
function client(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  let sent: Uint8Array | undefined;
  let bound = false;
  const prng = new Prng(dice.byte());
  const client = new DhcpClient(
    { hardwareAddress: HARDWARE, hostName: "host", probes: dice.chance(128) },
    {
      send: (bytes) => {
        sent = bytes;
        assert(bytes.length <= 1_472, "A message fits one packet");
        assert(readDhcp(bytes, false) !== undefined, "What we send can be read");
      },
      probe: () => {},
      bound: (lease) => {
        bound = true;
        assert(parseIpv4(lease.address) !== undefined, "A lease has an address");
      },
      lost: () => {
        assert(bound, "Only what was bound is lost");
        bound = false;
      },
    },
    (limit) => prng.below(limit),
  );
  let nowMs = NOW_MS;
  client.start(nowMs);
  while (!dice.done) {
    switch (dice.below(6)) {
      case 0: {
        const deadlineMs = client.nextDeadlineMs();
        if (deadlineMs === Infinity) break;
        nowMs = Math.max(nowMs, deadlineMs);
        // A lease's times may have passed while its address was probed.
        for (let turns = 0; client.nextDeadlineMs() <= nowMs; turns++) {
          assert(turns < 4, "What was due is done");
          client.advance(nowMs);
        }
        break;
      }
      case 1:
        nowMs += dice.uint32();
        client.advance(nowMs);
        break;
      case 2:
        client.conflict(dice.chance(64) ? dice.uint32() | 0 : OFFER.yourAddress, nowMs);
        break;
      case 3:
        client.input(dice.take(dice.byte()), nowMs);
        break;
      default: {
        const asked = sent === undefined ? undefined : readDhcp(sent, false);
        const given = new Map(OFFER.options);
        for (let changes = dice.below(4); changes > 0; changes--) {
          const code = dice.pick([...OFFER.options.keys(), DhcpOption.Overload]);
          if (dice.chance(64)) given.delete(code);
          else given.set(code, dice.take(dice.below(12)));
        }
        client.input(
          writeDhcp({
            ...OFFER,
            type: dice.pick([DhcpType.Offer, DhcpType.Ack, DhcpType.Ack, DhcpType.Nak]),
            transaction: dice.chance(16) ? dice.uint32() | 0 : asked?.transaction ?? 0,
            yourAddress: dice.chance(32) ? dice.uint32() | 0 : OFFER.yourAddress,
            options: given,
          }, true),
          nowMs,
        );
      }
    }
    assert(
      (client.state >= DhcpState.Bound) === bound,
      `State ${client.state}, ${bound ? "bound" : "not bound"}`,
    );
  }
  client.release();
  assert(!bound, "Released");
}

export const targets: readonly Target[] = [
  {
    name: "dhcp/message",
    about: "DHCP messages and leases out of them: written as read, addresses are addresses, times in order",
    run: message,
    bytesMax: 800,
    seeds: () => {
      const offer = writeDhcp(OFFER, true);
      const ack = writeDhcp({ ...OFFER, type: DhcpType.Ack }, true);
      const overloaded = writeDhcp({
        ...OFFER,
        options: options([DhcpOption.Overload, [3]], [DhcpOption.ServerIdentifier, [10, 0, 0, 1]]),
      }, true);
      overloaded.set([51, 4, 0, 0, 1, 0, 255], 108);
      overloaded.set([1, 4, 255, 255, 0, 0, 255], 44);
      return [offer, ack, overloaded, writeDhcp({ ...OFFER, type: DhcpType.Discover })];
    },
  },
  {
    name: "dhcp/client",
    about:
      "the DHCP client against a server out of its mind: messages fit and can be read, bound before lost",
    run: client,
    seeds: () => [
      Uint8Array.of(1, 0, 4, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0),
      Uint8Array.of(1, 200, 4, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0, 2),
    ],
    allocationMax: (length) => 1 << 20 | length << 12,
  },
];
