import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import type { FirewallRules } from "../../../net/firewall/rule.ts";
import type { Medium } from "../../../net/link/link.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { obviousChecksum } from "../tcp/checker.ts";
import { RouterWorld } from "./router.ts";

const NEAR = "10.1.0.2"; // behind interface 0
const FAR = "10.2.0.2"; // behind interface 1

/** A router between 10.1.0.0/24 and 10.2.0.0/24, 1,500 and 1,000 bytes wide. */
class Router extends RouterWorld {
  constructor(options?: { forwarding?: boolean; medium?: Medium }) {
    super(
      {
        addresses: [{ address: "10.1.0.1/24", interface: 0 }, { address: "10.2.0.1/24", interface: 1 }],
        routes: [{ destination: "10.9.0.0/16", interface: 1, gateway: "10.2.0.9" }],
      },
      1_000,
      options,
    );
  }

  /** The one ICMP message that has gone to the near side. */
  error(): { type: number; code: number; rest: number; source: string; quote: number[] } {
    const packet = this.takeNear();
    expect(obviousChecksum(packet.subarray(0, 20))).toBe(0);
    expect(obviousChecksum(packet.subarray(20))).toBe(0);
    expect([...packet.subarray(16, 20)]).toEqual([10, 1, 0, 2]);
    const rest = (packet[26]! << 8) | packet[27]!;
    const source = packet.subarray(12, 16).join(".");
    return { type: packet[20]!, code: packet[21]!, rest, source, quote: [...packet.subarray(28)] };
  }
}

interface PacketOptions {
  source?: string;
  destination?: string;
  timeToLive?: number;
  protocol?: number;
  fragment?: number; // flags and offset as in the header
  options?: number[];
  data?: ArrayLike<number>;
  tos?: number;
}

function packet(fields: PacketOptions = {}): Uint8Array<ArrayBuffer> {
  const { source = NEAR, destination = FAR, timeToLive = 64, protocol = 17, fragment = 0, options = [] } =
    fields;
  const data = fields.data ?? [0x11, 0x11, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
  const headerLength = 20 + options.length;
  const bytes = new Uint8Array(headerLength + data.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x40 | (headerLength / 4), fields.tos ?? 0]);
  view.setUint16(2, bytes.length);
  view.setUint16(4, 0x1234);
  view.setUint16(6, fragment);
  bytes.set([timeToLive, protocol], 8);
  view.setInt32(12, parseIpv4(source)!);
  view.setInt32(16, parseIpv4(destination)!);
  bytes.set(options, 20);
  view.setUint16(10, obviousChecksum(bytes.subarray(0, headerLength)));
  bytes.set(data, headerLength);
  return bytes;
}

test("a packet for somebody else leaves by its route with one hop less to live, else as it came (RFC 1812, RFC 1624)", () => {
  const router = new Router();
  const prng = new Prng(9);
  for (let count = 0; count < 500; count++) { // every checksum: equation 3 of RFC 1624 has no corner
    const timeToLive = prng.between(2, 255);
    const options = prng.chance(0.2) ? [7, 7, 4, 0, 0, 0, 0, 0] : [];
    const fields = {
      options,
      tos: prng.below(256),
      protocol: prng.between(0, 255),
      fragment: prng.below(0x10000),
    };
    const came = packet({ ...fields, timeToLive, data: Array.from({ length: 16 }, () => prng.below(256)) });
    expect(router.receive(came)).toBe(Drop.None);
    const [near, far] = router.take();
    expect(near!.length).toBe(0);
    const expected = came.slice();
    expected[8]!--;
    expected.set([0, 0], 10);
    new DataView(expected.buffer).setUint16(10, obviousChecksum(expected.subarray(0, 20 + options.length)));
    expect(far).toEqual([expected]);
  }
  expect(router.stack.forwarder.counters.packets).toBe(500);
});

test("a host passes nothing on", () => {
  const router = new Router({ forwarding: false });
  expect(router.receive(packet())).toBe(Drop.Ipv4NotOurs);
  expect(router.take()).toEqual([[], []]);
});

test("the last hop: Time Exceeded, code 0, from the router's address (RFC 1812 section 5.3.1)", () => {
  const router = new Router();
  for (const timeToLive of [0, 1]) {
    const came = packet({ timeToLive });
    expect(router.receive(came)).toBe(Drop.Ipv4TimeToLive);
    expect(router.error()).toEqual({ type: 11, code: 0, rest: 0, source: "10.1.0.1", quote: [...came] });
  }
  expect(router.receive(packet({ timeToLive: 2 }))).toBe(Drop.None);
  expect(router.take()[1]!.length).toBe(1);
  // For us it has arrived, however few hops it had left.
  router.stack.udp.bind(0, 53);
  expect(router.receive(packet({ timeToLive: 1, destination: "10.2.0.1" }))).toBe(Drop.None);
  // No error about an error, nor about any fragment but the first (RFC 1122 section 3.2.2).
  router.receive(packet({ timeToLive: 1, protocol: 1, data: [3, 3, 0, 0, 0, 0, 0, 0] }));
  router.receive(packet({ timeToLive: 1, fragment: 1 }));
  expect(router.take()).toEqual([[], []]);
});

test("what no router may pass on, it does not (RFC 1812 sections 4.2.2.11, 5.3.4, 5.3.7; RFC 3927)", () => {
  const router = new Router();
  const cases: [why: string, fields: PacketOptions, reason: Drop][] = [
    ["from link-local", { source: "169.254.1.1" }, Drop.Ipv4NotOurs],
    ["to link-local", { destination: "169.254.1.1" }, Drop.Ipv4NotOurs],
    ["to a group", { destination: "239.1.2.3" }, Drop.Ipv4NotOurs],
    ["to everyone", { destination: "255.255.255.255" }, Drop.UdpNoSocket],
    ["to everyone in the next network", { destination: "10.2.0.255" }, Drop.UdpNoSocket],
    ["to nobody", { destination: "0.0.0.1" }, Drop.Ipv4NotOurs],
    ["to loopback", { destination: "127.0.0.1" }, Drop.Ipv4NotOurs],
    ["from loopback", { source: "127.0.0.1" }, Drop.Ipv4Source],
    ["from a group", { source: "224.0.0.1" }, Drop.Ipv4Source],
    ["from us", { source: "10.2.0.1" }, Drop.Ipv4Source],
    ["from class E", { source: "240.0.0.1" }, Drop.Ipv4Source],
    ["by a way of its own", { options: [131, 7, 4, 10, 2, 0, 3, 0] }, Drop.Ipv4Source],
    ["by a strict way", { options: [1, 137, 7, 4, 10, 2, 0, 3] }, Drop.Ipv4Source],
    ["with options that cannot be read", { options: [7, 0, 0, 0] }, Drop.Ipv4Source],
  ];
  for (const [why, fields, reason] of cases) {
    expect([why, router.receive(packet(fields))]).toEqual([why, reason]);
    expect([why, ...router.take()]).toEqual([why, [], []]);
  }
});

test("no route: Destination Unreachable, code 0", () => {
  const router = new Router();
  expect(router.receive(packet({ destination: "192.0.2.1" }))).toBe(Drop.NoRoute);
  expect(router.error()).toMatchObject({ type: 3, code: 0, source: "10.1.0.1" });
});

test("too long for the next link: DF says Fragmentation Needed and how wide it is; without DF it is cut (RFC 1191)", () => {
  const router = new Router();
  const data = Array.from({ length: 1_200 }, (_, at) => at & 255);
  expect(router.receive(packet({ data, fragment: 0x4000 }))).toBe(Drop.PacketTooBig);
  expect(router.error()).toMatchObject({ type: 3, code: 4, rest: 1_000 });
  expect(router.receive(packet({ data: data.slice(0, 980), fragment: 0x4000 }))).toBe(Drop.None); // just fits
  expect(router.take()[1]!.map(({ length }) => length)).toEqual([1_000]);
  // A fragment of a longer datagram: the pieces stay in their places, and there is more after the last.
  expect(router.receive(packet({ data, fragment: 0x2000 | 185 }))).toBe(Drop.None);
  const pieces = router.take()[1]!;
  expect(pieces.map((piece) => (piece[6]! << 8) | piece[7]!)).toEqual([0x2000 | 185, 0x2000 | (185 + 122)]);
  expect(pieces.flatMap((piece) => [...piece.subarray(20)])).toEqual(data);
  for (const piece of pieces) {
    expect([piece[8], (piece[4]! << 8) | piece[5]!, obviousChecksum(piece.subarray(0, 20))]).toEqual([
      63,
      0x1234,
      0,
    ]);
  }
  expect(router.stack.forwarder.counters).toMatchObject({ packets: 2, fragmented: 1 });
});

test("a packet passes the firewall once, as forward, by the interface that it came in by", () => {
  const router = new Router();
  const rules = (rules: FirewallRules["rules"]): void => {
    router.stack.firewall = new Firewall({
      policy: { forward: "drop", input: "drop", output: "drop" },
      rules,
    }, [
      "net0",
      "net1",
    ]);
  };
  rules([{
    direction: "forward",
    protocol: "udp",
    destinationPort: 53,
    interface: "net0",
    action: "accept",
  }]);
  expect(router.receive(packet())).toBe(Drop.None);
  expect(router.receive(packet({ source: FAR, destination: NEAR }), 1)).toBe(Drop.Firewall);
  expect(router.take().map(({ length }) => length)).toEqual([0, 1]);
  rules([
    { direction: "forward", protocol: "tcp", state: "new", action: "reject" },
    { direction: "forward", protocol: "tcp", state: "established", action: "accept" },
    { direction: "output", protocol: "icmp", action: "accept" },
  ]);
  const segment = (
    flags: number,
  ): number[] => [1, 1, 0, 80, ...new Array(8).fill(0), 0x50, flags, ...[0, 0, 0, 0, 0, 0]];
  expect(router.receive(packet({ protocol: 6, data: segment(0x02) }))).toBe(Drop.FirewallReject);
  expect(router.error()).toMatchObject({ type: 3, code: 13 });
  expect(router.receive(packet({ protocol: 6, data: segment(0x10) }))).toBe(Drop.None);
  expect(router.receive(packet({ protocol: 6, data: [1, 1, 0, 80] }))).toBe(Drop.Firewall); // invalid
});

test("rules see whole packets: fragments are put together, and cut again for the next link", () => {
  const router = new Router();
  router.stack.firewall = new Firewall({
    policy: { forward: "drop" },
    rules: [{ direction: "forward", protocol: "udp", destinationPort: 53, action: "accept" }],
  }, ["net0", "net1"]);
  const data = [0x11, 0x11, 0, 53, 0x05, 0xdc, 0, 0, ...Array.from({ length: 1_492 }, (_, at) => at & 255)];
  for (const port of [53, 54]) {
    data[3] = port;
    router.receive(packet({ data: data.slice(1_200), fragment: 150 }));
    router.receive(packet({ data: data.slice(0, 1_200), fragment: 0x2000 }));
    const pieces = router.take()[1]!;
    if (port === 54) expect(pieces).toEqual([]);
    else expect(pieces.flatMap((piece) => [...piece.subarray(20)])).toEqual(data);
  }
  // Nobody is told that the rest has not come: we are not who waits for it.
  router.receive(packet({ data: data.slice(0, 1_200), fragment: 0x2000 }));
  router.nowMs += 30_000;
  router.stack.poll(router.nowMs);
  expect([router.stack.reassembly.size, ...router.take()]).toEqual([0, [], []]);
});

test("a neighbour that does not answer: Host Unreachable, after the questions and then at once (RFC 1812 section 5.2.7.1)", () => {
  const router = new Router({ medium: "ethernet" });
  const came = packet();
  expect(router.receive(came)).toBe(Drop.None);
  for (let second = 0; second < 3; second++) {
    router.stack.poll(router.nowMs);
    expect(router.take().map(({ length }) => length)).toEqual([0, 1]); // who has?
    router.nowMs += 1_000;
  }
  router.stack.poll(router.nowMs);
  came[8]!--;
  expect(router.error()).toMatchObject({ type: 3, code: 1, source: "10.1.0.1" });
  router.receive(packet());
  router.stack.poll(router.nowMs);
  expect(router.error()).toMatchObject({ type: 3, code: 1 });
  // Our own packets are not complained about to ourselves.
  router.stack.udp.send(parseIpv4("10.2.0.1")!, 7, parseIpv4(FAR)!, 7, Uint8Array.of(1), router.nowMs);
  router.stack.poll(router.nowMs);
  expect(router.take()).toEqual([[], []]);
});
