import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import type { LinkOutput } from "../../../net/ip/interface.ts";
import { Stack } from "../../../net/stack.ts";
import { dropNames } from "../../../net/wire/drop.ts";
import { finishIcmpv6Checksum, Icmpv6Type } from "../../../net/wire/icmpv6.ts";
import { finishTcpChecksum, TcpFlag, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";
import { finishUdpChecksum, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { sumIpv6Address, writeIpv6 } from "../../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { tcpConnect, tcpSend } from "../../../net/tcp/user.ts";
import { TcpState } from "../../../net/tcp/tcb.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import { fromHex } from "../wire/frames.ts";

const LOCAL = "2001:db8::1";
const REMOTE = "2001:db8::2";
const START_MS = 1_700_000_000_000;

/** One stack on a wire of bare IP packets; the test is everybody else. */
class World {
  readonly stack: Stack;
  nowMs = START_MS;
  readonly packets: Uint8Array<ArrayBuffer>[] = [];
  readonly link: LinkOutput & { mtu: number };

  constructor(options: { mtu?: number; connectionsMax?: number; addressesMax?: number } = {}) {
    this.stack = new Stack({ nowMs: this.nowMs, entropy: new Prng(6), ...options });
    const send = (slab: Slab, start: number, end: number): boolean => {
      this.packets.push(slab.bytes.slice(start, end));
      return true;
    };
    this.link = { medium: "ip", mtu: options.mtu ?? 1500, send, flush: () => {} };
    this.stack.addInterface({ name: "net0", link: this.link });
    this.stack.setRoutes({
      addresses: [{ address: `${LOCAL}/64`, gateway: "fe80::fe" }, { address: "10.0.0.1/24" }],
      subnets: ["2001:db8:8::/48"],
    });
  }

  /** What left, as tcpdump prints it. */
  sent(): string[] {
    return this.packets.splice(0).map((bytes) => formatPacket(new Slab(bytes), 0, bytes.length, "ip"));
  }

  receive(packet: Uint8Array<ArrayBuffer>): string {
    const reason = this.stack.receive(0, new Slab(packet), 0, packet.length, this.nowMs);
    this.stack.poll(this.nowMs);
    return dropNames[reason]!;
  }

  in(protocol: number, data: Uint8Array, { from = REMOTE, to = LOCAL, hopLimit = 64 } = {}): string {
    return this.receive(packetOf(protocol, data, from, to, hopLimit));
  }

  handle(text: string): number {
    return this.stack.addresses.parse(text)!;
  }
}

/** An IPv6 packet around `data`, whose transport checksum is made right. */
function packetOf(
  protocol: number,
  data: Uint8Array,
  from = REMOTE,
  to = LOCAL,
  hopLimit = 64,
): Uint8Array<ArrayBuffer> {
  const slab = Slab.of(40 + data.length);
  writeIpv6(slab, 0, data.length, protocol, 0, 0, hopLimit);
  parseIpv6(from)!.forEach((word, at) => slab.view.setInt32(8 + 4 * at, word));
  parseIpv6(to)!.forEach((word, at) => slab.view.setInt32(24 + 4 * at, word));
  slab.bytes.set(data, 40);
  const sums = [sumIpv6Address(slab, 8), sumIpv6Address(slab, 24)] as const;
  if (protocol === 58) finishIcmpv6Checksum(slab, 40, slab.bytes.length, ...sums);
  if (protocol === 17 && data.length >= 8) finishUdpChecksum(slab, 40, slab.bytes.length, ...sums);
  if (protocol === 6) finishTcpChecksum(slab, 40, slab.bytes.length, ...sums);
  return slab.bytes;
}

function udp(destinationPort: number, data: Uint8Array): Uint8Array {
  const slab = Slab.of(8 + data.length);
  writeUdp(Object.assign(new UdpRecord(), { sourcePort: 5353, destinationPort }), slab, 0, data.length);
  slab.bytes.set(data, 8);
  return slab.bytes;
}

function tcp(fields: Partial<TcpRecord>, data = 0): Uint8Array {
  const slab = Slab.of(100 + data);
  const record = Object.assign(new TcpRecord(), {
    sourcePort: 4000,
    destinationPort: 80,
    window: 65_535,
    ...fields,
  });
  const end = writeTcp(record, slab, 0);
  return slab.bytes.slice(0, end + data);
}

const message = (
  type: number,
  code: number,
  rest: number,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array => {
  const slab = Slab.of(8 + data.length);
  slab.view.setUint16(0, (type << 8) | code);
  slab.view.setInt32(4, rest);
  slab.bytes.set(data, 8);
  return slab.bytes;
};

test("RFC 4443 section 4.2: echo is answered, one to a group from an address of ours; never to nobody or a group", () => {
  const world = new World();
  const echo = message(Icmpv6Type.Echo, 0, 0x1234_0001, Uint8Array.of(1, 2, 3));
  expect(world.in(58, echo)).toBe("None");
  expect(world.in(58, echo, { to: "ff02::1" })).toBe("None");
  expect(world.in(58, echo, { to: "2001:db8:8::77" })).toBe("None"); // of a subnet that is ours
  const answer = (from: string): string =>
    `IP6 ${from} > 2001:db8::2: ICMP6, echo reply, id 4660, seq 1, length 11`;
  expect(world.sent()).toEqual([answer(LOCAL), answer(LOCAL), answer("2001:db8:8::77")]);
  expect(world.in(58, echo, { from: "::", to: "ff02::1" })).toBe("IcmpType");
  expect(world.in(58, echo, { to: "2001:db8::3" })).toBe("Ipv6NotOurs");
  expect(world.sent()).toEqual([]);
});

test("sources that nobody honest has are refused: groups, loopback, mapped addresses, ourselves, nobody, stray link-local ones", () => {
  const world = new World();
  for (const from of ["ff02::2", "::1", "::ffff:10.0.0.2", LOCAL, "2001:db8:8::1", "fe80:1::2"]) {
    expect(world.in(17, udp(9, new Uint8Array(1)), { from }), from).toBe("Ipv6Source");
  }
  expect(world.in(17, udp(9, new Uint8Array(1)), { from: "::" })).toBe("Ipv6Source");
  for (const to of ["::1", "::ffff:10.0.0.1", "::"]) {
    expect(world.in(17, udp(9, new Uint8Array(1)), { to }), to).toBe("Ipv6NotOurs");
  }
  expect(world.sent()).toEqual([]);
});

test("RFC 4443 section 3: closed ports, unknown protocols and options are told, with a quotation, at a limited rate; groups' are not", () => {
  const world = new World();
  world.in(17, udp(9, Uint8Array.of(1, 2, 3)));
  world.in(99, new Uint8Array(8));
  world.in(60, fromHex("06009e0400000000"));
  world.in(43, fromHex("0600000100000000"));
  const from = "IP6 2001:db8::1 > 2001:db8::2: ICMP6, ";
  expect(world.sent()).toEqual([
    `${from}destination unreachable, unreachable port, 2001:db8::1 port 9, length 59`,
    `${from}parameter problem, code 1 - octet 6, length 56`,
    `${from}parameter problem, code 2 - octet 42, length 56`,
    `${from}parameter problem, code 0 - octet 42, length 56`,
  ]);
  world.in(17, udp(9, new Uint8Array(1)), { to: "ff02::1" });
  world.in(99, new Uint8Array(8), { to: "ff02::1" });
  world.in(58, message(Icmpv6Type.Unreachable, 4, 0, packetOf(17, udp(9, new Uint8Array(1)), LOCAL)));
  expect(world.sent()).toEqual([]);
  world.in(60, fromHex("06009e0400000000"), { to: "ff02::1" }); // this alone is told to who asks a group
  expect(world.sent().length).toBe(1);
  for (let flood = 0; flood < 200; flood++) world.in(17, udp(9, new Uint8Array(1)));
  expect(world.sent().length).toBe(1); // the sixth
});

test("RFC 8200 section 8.1: a datagram without checksum is dropped", () => {
  const world = new World();
  world.stack.udp.bind(world.handle("::"), 7);
  const packet = packetOf(17, udp(7, Uint8Array.of(1)));
  packet.fill(0, 46, 48);
  expect(world.receive(packet)).toBe("UdpChecksum");
  expect(world.in(17, udp(7, Uint8Array.of(1)))).toBe("None");
});

test("datagrams longer than the path leave in fragments, and fragments are put together", () => {
  const world = new World();
  const { stack } = world;
  const socket = stack.udp.bind(world.handle("::"), 7)!;
  const bytes = Uint8Array.from({ length: 4_000 }, (_, at) => at & 255);
  expect(stack.udp.send(world.handle(LOCAL), 7, world.handle(REMOTE), 9, bytes, world.nowMs)).toBe(true);
  const pieces = world.packets.splice(0);
  expect(pieces.map((piece) => formatPacket(new Slab(piece), 0, piece.length, "ip").replace(/id \d+/, "id")))
    .toEqual([
      "IP6 2001:db8::1 > 2001:db8::2: frag id, offset 0+, next-header 17, length 1448",
      "IP6 2001:db8::1 > 2001:db8::2: frag id, offset 1448+, next-header 17, length 1448",
      "IP6 2001:db8::1 > 2001:db8::2: frag id, offset 2896, next-header 17, length 1112",
    ]);
  // The other way round they are ours: addresses and ports changed, which no sum notices.
  const back = pieces.map((piece) => {
    const turned = piece.slice();
    turned.set(piece.subarray(24, 40), 8);
    turned.set(piece.subarray(8, 24), 24);
    return turned;
  });
  back[0]!.set([0, 9, 0, 7], 48);
  for (const piece of [back[2]!, back[0]!, back[1]!]) world.receive(piece);
  expect(socket.shift()?.bytes).toEqual(bytes);
});

test("RFC 8201: a packet too big makes segments smaller, but nobody talks a path below 1,280", () => {
  const world = new World();
  const { stack } = world;
  stack.tcp.listeners.add(world.handle("::"), 80, 8);
  world.in(6, tcp({ flags: TcpFlag.SYN, sequence: 999, mss: 1440 }));
  expect(world.sent()[0]).toMatch(/Flags \[S\.\].*mss 1440/);
  const [tcb] = [...stack.tcp.tcbs()];
  world.in(6, tcp({ flags: TcpFlag.ACK, sequence: 1000, acknowledgment: (tcb!.iss + 1) | 0 }));
  expect([tcb!.state, tcb!.sndMss]).toEqual([TcpState.established, 1440]);
  tcpSend(stack.tcp, tcb!, new Uint8Array(5_000), 0, 5_000);
  stack.poll(world.nowMs);
  const [first] = world.packets.splice(0);
  expect(first!.length).toBe(1500);
  const tooBig = (mtu: number): void =>
    void world.in(58, message(Icmpv6Type.PacketTooBig, 0, mtu, first!.subarray(0, 100)), {
      from: "2001:db8::99",
    });
  tooBig(1400);
  expect(tcb!.sndMss).toBe(1340);
  expect(stack.output.mtuTowards(world.handle(REMOTE))).toBe(1400);
  tooBig(600);
  expect(tcb!.sndMss).toBe(1220);
  expect(stack.output.mtuTowards(world.handle(REMOTE))).toBe(1280);
  expect(stack.output.mtuTowards(world.handle("2001:db8::3"))).toBe(1500);
});

test("a device whose MTU is changed carries longer packets of both families from then on", () => {
  const world = new World();
  const mtus = (): number[] =>
    [REMOTE, "10.0.0.2"].map((text) => world.stack.output.mtuTowards(world.handle(text)));
  expect(mtus()).toEqual([1500, 1500]);
  world.link.mtu = 9000;
  expect(mtus()).toEqual([9000, 9000]);
});

test("a peer that names no MSS gets segments of 1,220 bytes", () => {
  const world = new World();
  world.stack.tcp.listeners.add(world.handle("::"), 80, 8);
  world.in(6, tcp({ flags: TcpFlag.SYN, sequence: 999 }));
  expect([...world.stack.tcp.tcbs()][0]!.sndMss).toBe(1220);
});

test("a listener of :: hears both families, one of 0.0.0.0 IPv4 alone, and one port has one of them", () => {
  const world = new World();
  const { listeners } = world.stack.tcp;
  const [any6, local6] = [world.handle("::"), world.handle(LOCAL)];
  const four = 0x0a00_0001;
  const both = listeners.add(any6, 80, 8)!;
  expect([listeners.find(four, 80), listeners.find(local6, 80)]).toEqual([both, both]);
  expect(listeners.add(0, 80, 8)).toBeUndefined();
  const own = listeners.add(local6, 80, 8)!;
  expect(listeners.find(local6, 80)).toBe(own);
  listeners.remove(both);
  listeners.remove(own);
  const ipv4 = listeners.add(0, 80, 8)!;
  expect([listeners.find(four, 80), listeners.find(local6, 80)]).toEqual([ipv4, undefined]);
  expect(listeners.add(any6, 80, 8)).toBeUndefined();
});

test("an IPv4 packet cannot name a handle: class E addresses are nobody's, as ends, in quotations and in text", () => {
  const world = new World();
  const { stack } = world;
  stack.tcp.listeners.add(world.handle("::"), 80, 8);
  const handle = world.handle(LOCAL);
  expect(handle >>> 24).toBe(0xf0);
  const packet = new Uint8Array(56);
  const view = new DataView(packet.buffer);
  const with4 = (source: number, destination: number, protocol = 17): string => {
    packet.set([0x45, 0, 0, 56, 0, 0, 0, 0, 64, protocol, 0, 0]);
    view.setInt32(12, source);
    view.setInt32(16, destination);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
    view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    return world.receive(packet.slice());
  };
  expect(with4(handle, 0x0a00_0001)).toBe("Ipv4Source");
  expect(with4(world.handle(REMOTE), handle)).toBe("Ipv4Source");
  expect(with4(0x0a00_0002, handle)).toBe("Ipv4NotOurs");
  expect(with4(0xf5ff_ffff, 0x0a00_0001)).toBe("Ipv4Source");
  expect(stack.addresses.parse("240.0.0.1")).toBeUndefined();
  // "Your connection is refused", about an IPv6 one.
  const tcb = tcpConnect(stack.tcp, handle, 1234, world.handle(REMOTE), 80, world.nowMs)!;
  world.sent();
  packet.set([3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0], 20);
  view.setInt32(40, handle);
  view.setInt32(44, world.handle(REMOTE));
  view.setUint16(48, 1234);
  view.setUint16(50, 80);
  view.setInt32(52, tcb.iss);
  let sum = 0;
  for (let at = 20; at < 56; at += 2) sum += view.getUint16(at);
  view.setUint16(22, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  expect(with4(0x0a00_0002, 0x0a00_0001, 1)).toBe("IcmpType");
  expect(tcb.state).toBe(TcpState.synSent);
  expect(world.sent()).toEqual([]);
});

test("without room for another address, packets of new ones are dropped and counted; known ones go on", () => {
  const world = new World({ connectionsMax: 1 });
  const { addresses } = world.stack;
  const echo = message(Icmpv6Type.Echo, 0, 1);
  expect(world.in(58, echo)).toBe("None");
  addresses.retain(world.handle(REMOTE));
  let held = 0;
  for (let at = 1;; at++) {
    const address = addresses.intern(0x2001_0db9, 0, 0, at, 0);
    if (address === 0) break;
    addresses.retain(address);
    held++;
  }
  expect(held).toBeGreaterThan(65_000);
  expect(world.in(58, echo, { from: "2001:db8::abcd" })).toBe("AddressTableFull");
  expect(world.stack.drops.toJSON()).toMatchObject({ AddressTableFull: 1 });
  expect(world.in(58, echo)).toBe("None");
});

test("RFC 6437: a flow has one label, another flow another, none of them zero", () => {
  const world = new World();
  const { stack } = world;
  const label = (port: number): number => {
    stack.udp.send(
      world.handle(LOCAL),
      port,
      world.handle(REMOTE),
      9,
      Uint8Array.of(port & 255),
      world.nowMs,
    );
    const [packet] = world.packets.splice(0);
    return new DataView(packet!.buffer).getUint32(0) & 0xf_ffff;
  };
  const labels = Array.from({ length: 200 }, (_, at) => label(1000 + at));
  expect(Array.from({ length: 200 }, (_, at) => label(1000 + at))).toEqual(labels);
  expect(new Set(labels).size).toBeGreaterThan(195);
  expect(labels).not.toContain(0);
});

test("a segment for a closed port gets a reset; rules about ports hold for it, rules about IPv4 addresses do not", () => {
  const world = new World();
  const syn = tcp({ flags: TcpFlag.SYN, sequence: 999, destinationPort: 81 });
  expect(world.in(6, syn)).toBe("TcpNoListener");
  expect(world.sent()[0]).toMatch(/^IP6 2001:db8::1\.81 > 2001:db8::2\.4000: Flags \[R\.\]/);
  world.stack.firewall = new Firewall({ rules: [{ source: "0.0.0.0/0", action: "drop" }] }, ["net0"]);
  expect(world.in(6, syn)).toBe("TcpNoListener");
  world.stack.firewall = new Firewall({ rules: [{ destinationPort: 81, action: "drop" }] }, ["net0"]);
  expect(world.in(6, syn)).toBe("Firewall");
});

test("a gateway may be a link-local address, and RFC 6724 chooses whom to speak as", () => {
  const world = new World();
  const { output, addresses } = world.stack;
  world.stack.setRoutes({
    addresses: [
      { address: "fe80::1/64" },
      { address: "fd00:7::1/64" },
      { address: "2001:db8::1/64", gateway: "fe80::fe" },
      { address: "2001:db8:5::1/64" },
    ],
  });
  const from = (to: string): string => addresses.format(output.sourceTowards(addresses.parse(to)!)!);
  expect(from("2001:db8::9")).toBe("2001:db8::1");
  expect(from("2001:db8:5::9")).toBe("2001:db8:5::1");
  expect(from("2001:db8:5:8::9")).toBe("2001:db8:5::1");
  expect(from("fd00:8::9")).toBe("fd00:7::1");
  expect(from("2a00::9")).not.toBe("fd00:7::1");
  expect(from("fe80::9")).toBe("fe80::1%net0");
  expect(from("ff02::9")).toBe("fe80::1%net0");
  expect(from("fd00:7::1")).toBe("fd00:7::1");
  const route = { interfaceIndex: 0, nextHop: 0, source: 0 };
  expect(output.routes.route(addresses.parse("2a00::9")!, route)).toBe(true);
  expect(addresses.format(route.nextHop)).toBe("fe80::fe%net0");
});

test("mistakes in IPv6 configuration are named where they are", () => {
  const world = new World();
  const refused = (config: object): string => {
    try {
      world.stack.setRoutes(config);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  expect(refused({ addresses: [{ address: "2001:db8::x/64" }] })).toContain("addresses[0].address");
  expect(refused({ addresses: [{ address: "10.0.0.1/24" }, { address: "ff02::1" }] })).toContain(
    "addresses[1].address",
  );
  expect(refused({ addresses: [{ address: "::1/128" }] })).toContain("no host's address");
  expect(refused({ addresses: [{ address: "2001:db8::1" }, { address: "2001:db8:0::1/64" }] })).toContain(
    "again",
  );
  expect(refused({ routes: [{ destination: "2001:db8::1/64" }] })).toContain("bits beyond its length");
  expect(refused({ subnets: ["10.0.0.0/8", "2001:db8::/33", "2001:db8::/33"] })).toContain("subnets[2]");
  expect(refused({ addresses: [{ address: "2001:db8::1/64", gateway: "2001:db9::1" }] })).toContain(
    "no neighbour",
  );
  expect(refused({ addresses: [{ address: "2001:db8::1/64", gateway: "10.0.0.9" }] })).toContain(
    "addresses[0].gateway",
  );
  expect(refused({ addresses: [{ address: "2001:db8::1/64", gateway: "2001:db8::1" }] })).toContain(
    "our own",
  );
  expect(refused({ routes: [{ destination: "fe80::/64" }] })).toContain("every interface");
  expect(refused({ routes: [{ destination: "::/0", interface: 3 }] })).toContain("No interface 3");
  // The routes from before are still in force.
  expect(world.stack.isOurs(world.handle(LOCAL))).toBe(true);
});

test("random IPv6 routes agree with a search for the longest prefix", () => {
  const prng = new Prng(128);
  const world = new World();
  const { addresses, output } = world.stack;
  const near = (): readonly [number, number, number, number] => {
    const bit = (): number => prng.chance(0.5) ? 0 : prng.chance(0.5) ? -1 : 1 << prng.below(32);
    return [0x2001_0db8, bit(), bit(), bit()];
  };
  for (let run = 0; run < 60; run++) {
    const prefixes = new Map<string, { words: readonly number[]; length: number; gateway: string }>();
    for (let count = prng.between(0, 30); count > 0; count--) {
      const length = prng.pick([0, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128]);
      const words = near().map((each, at) => {
        const bits = length - 32 * at;
        return bits <= 0 ? 0 : bits >= 32 ? each : each & (-1 << (32 - bits));
      });
      const key = `${addresses.format(addresses.ofWords(words as never))}/${length}`;
      prefixes.set(key, { words, length, gateway: `fe80::${prefixes.size + 1}` });
    }
    world.stack.setRoutes({
      routes: [...prefixes].map(([destination, { gateway }]) => ({ destination, gateway })),
    });
    for (let look = 0; look < 60; look++) {
      const words = near();
      const matching = [...prefixes.values()].filter(({ words: of, length }) =>
        words.every((each, at) => {
          const bits = length - 32 * at;
          return bits <= 0 || (bits >= 32 ? each === of[at] : ((each ^ of[at]!) & (-1 << (32 - bits))) === 0);
        })
      ).sort((a, b) => b.length - a.length);
      const route = { interfaceIndex: 0, nextHop: 0, source: 0 };
      const found = output.routes.route(addresses.ofWords(words), route);
      expect(found, `seed ${prng.seed}`).toBe(matching.length > 0);
      if (found) expect(addresses.format(route.nextHop)).toBe(`${matching[0]!.gateway}%net0`);
    }
  }
});
