import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import type { FirewallRules } from "../../../net/firewall/rule.ts";
import type { Medium } from "../../../net/link/link.ts";
import { dropNames } from "../../../net/wire/drop.ts";
import { finishIcmpv6Checksum } from "../../../net/wire/icmpv6.ts";
import { sumIpv6Address, writeIpv6 } from "../../../net/wire/ipv6.ts";
import { formatIpv6, parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { RouterWorld } from "./router.ts";

const NEAR = "2001:db8:1::2"; // behind interface 0
const FAR = "2001:db8:2::2"; // behind interface 1
const US = "2001:db8:1::1";
const MAC = [2, 0, 0, 0, 0, 1];

/** A router between two networks, 1,500 and 1,400 bytes wide. */
class Router extends RouterWorld {
  constructor(options?: { forwarding?: boolean; medium?: Medium }) {
    super(
      {
        addresses: [{ address: `${US}/64`, interface: 0 }, { address: "2001:db8:2::1/64", interface: 1 }],
        routes: [{ destination: "2001:db8:9::/48", interface: 1, gateway: "2001:db8:2::9" }],
      },
      1_400,
      options,
    );
  }

  /** As `receive`, in words. */
  in(packet: Uint8Array<ArrayBuffer>, interfaceIndex = 0): string {
    return dropNames[this.receive(packet, interfaceIndex)]!;
  }

  /** The one ICMPv6 message that has gone to the near side, its checksum right. */
  error(to = NEAR): { type: number; code: number; rest: number; source: string; quote: number[] } {
    const bytes = this.takeNear();
    const slab = new Slab(bytes.slice());
    finishIcmpv6Checksum(slab, 40, bytes.length, sumIpv6Address(slab, 8), sumIpv6Address(slab, 24));
    expect(bytes).toEqual(slab.bytes);
    const text = (at: number): string =>
      formatIpv6(
        slab.view.getInt32(at),
        slab.view.getInt32(at + 4),
        slab.view.getInt32(at + 8),
        slab.view.getInt32(at + 12),
      );
    expect(text(24)).toBe(to);
    return {
      type: bytes[40]!,
      code: bytes[41]!,
      rest: slab.view.getUint32(44),
      source: text(8),
      quote: [...bytes.subarray(48)],
    };
  }
}

interface PacketFields {
  source?: string;
  destination?: string;
  hopLimit?: number;
  protocol?: number;
  data?: readonly number[];
}

const DATAGRAM = [0x11, 0x11, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];

function packet(fields: PacketFields = {}): Uint8Array<ArrayBuffer> {
  const { source = NEAR, destination = FAR, hopLimit = 64, protocol = 17, data = DATAGRAM } = fields;
  const slab = Slab.of(40 + data.length);
  writeIpv6(slab, 0, data.length, protocol, 0x12, 0x3_4567, hopLimit);
  parseIpv6(source)!.forEach((word, at) => slab.view.setInt32(8 + 4 * at, word));
  parseIpv6(destination)!.forEach((word, at) => slab.view.setInt32(24 + 4 * at, word));
  slab.bytes.set(data, 40);
  return slab.bytes;
}

/** As it must have left: one hop less, and nothing else. */
function passed(came: Uint8Array): Uint8Array {
  const expected = came.slice();
  expected[7]!--;
  return expected;
}

const filled = (length: number): number[] => Array.from({ length }, (_, at) => at & 255);

test("a packet for somebody else leaves by its route with one hop less, else as it came, whatever its headers say (RFC 8200 section 4)", () => {
  const router = new Router();
  const cases: [what: string, fields: PacketFields][] = [
    ["a datagram", {}],
    ["by a gateway", { destination: "2001:db8:9::7" }],
    ["a protocol of tomorrow", { protocol: 253 }],
    ["the last hop but one", { hopLimit: 2 }],
    ["destination options that only its destination may judge", {
      protocol: 60,
      data: [17, 0, 0xff, 4, 0, 0, 0, 0],
    }],
    ["an option for every hop that we do not know", { protocol: 0, data: [17, 0, 0xff, 4, 0, 0, 0, 0] }],
    ["extension headers that end nowhere", { protocol: 60, data: [17, 9, 0, 0, 0, 0, 0, 0] }],
    ["a routing header of type 4 with places to visit", { protocol: 43, data: [17, 0, 4, 1, 0, 0, 0, 0] }],
    ["a fragment", { protocol: 44, data: [17, 0, 0, 1, 0, 0, 0, 9, ...filled(64)] }],
    ["as long as the next link carries", { data: filled(1_360) }],
  ];
  for (const [what, fields] of cases) {
    const came = packet(fields);
    expect([what, router.in(came.slice())]).toEqual([what, "None"]);
    expect([what, router.take()]).toEqual([what, [[], [passed(came)]]]);
  }
  expect(router.stack.forwarder.counters.packets).toBe(cases.length);
});

test("a host passes nothing on", () => {
  const router = new Router({ forwarding: false });
  expect(router.in(packet())).toBe("Ipv6NotOurs");
  expect(router.take()).toEqual([[], []]);
});

test("the last hop: Time Exceeded, code 0, from the router's address, once and for no error (RFC 4443 section 3.3)", () => {
  const router = new Router();
  for (const hopLimit of [0, 1]) {
    const came = packet({ hopLimit });
    expect(router.in(came)).toBe("Ipv6HopLimit");
    expect(router.error()).toEqual({ type: 3, code: 0, rest: 0, source: US, quote: [...came] });
  }
  // For us it has arrived, however few hops it had left.
  router.stack.udp.bind(0, 53);
  expect(router.in(packet({ hopLimit: 1, destination: "2001:db8:2::1" }))).not.toBe("Ipv6HopLimit");
  router.take();
  router.in(packet({ hopLimit: 1, protocol: 58, data: [1, 3, 0, 0, 0, 0, 0, 0] }));
  expect(router.take()).toEqual([[], []]);
});

test("what no router may pass on, it does not (RFC 4291 sections 2.5 and 2.7, RFC 5095)", () => {
  const router = new Router();
  const cases: [why: string, fields: PacketFields, reason: string][] = [
    ["to link-local", { destination: "fe80::9" }, "Ipv6NotOurs"],
    ["to a group", { destination: "ff0e::1:2:3" }, "Ipv6NotOurs"],
    ["to a group of this link", { destination: "ff02::9" }, "Ipv6NotOurs"],
    ["to loopback", { destination: "::1" }, "Ipv6NotOurs"],
    ["to nobody", { destination: "::" }, "Ipv6NotOurs"],
    ["from nobody", { source: "::" }, "Ipv6Source"],
    ["from loopback", { source: "::1" }, "Ipv6Source"],
    ["from a group", { source: "ff02::1" }, "Ipv6Source"],
    ["from us", { source: "2001:db8:2::1" }, "Ipv6Source"],
    ["by a way of its own", { protocol: 43, data: [17, 2, 0, 1, 0, 0, 0, 0, ...filled(16)] }, "Ipv6Routing"],
    ["as a mapped IPv4 address", { source: "::ffff:10.0.0.1" }, "Ipv6Source"],
  ];
  for (const [why, fields, reason] of cases) {
    expect([why, router.in(packet(fields))]).toEqual([why, reason]);
    expect([why, ...router.take()]).toEqual([why, [], []]);
  }
  // From link-local to the world: the sender hears that it may not leave its link (RFC 4443 section 3.1).
  expect(router.in(packet({ source: "fe80::2" }))).toBe("Ipv6Source");
  expect(router.error("fe80::2")).toMatchObject({ type: 1, code: 2 });
});

test("no route: Destination Unreachable, code 0", () => {
  const router = new Router();
  expect(router.in(packet({ destination: "2001:db8:ffff::1" }))).toBe("NoRoute");
  expect(router.error()).toMatchObject({ type: 1, code: 0, source: US });
});

test("too long for the next link: Packet Too Big says how wide it is, fragment or not, and nothing is cut (RFC 8200 section 4.5)", () => {
  const router = new Router();
  const came = packet({ data: filled(1_361) });
  expect(router.in(came)).toBe("PacketTooBig");
  const { quote, ...said } = router.error();
  expect(said).toEqual({ type: 2, code: 0, rest: 1_400, source: US });
  expect(quote).toEqual([...came.subarray(0, 1_280 - 48)]);
  expect(router.in(packet({ protocol: 44, data: [17, 0, 0, 1, 0, 0, 0, 9, ...filled(1_400)] }))).toBe(
    "PacketTooBig",
  );
  expect(router.error()).toMatchObject({ type: 2, rest: 1_400 });
});

test("a packet passes the firewall once, as forward; what cannot be read is invalid", () => {
  const router = new Router();
  const rules = (rules: FirewallRules["rules"]): void => {
    const policy = { forward: "drop", input: "drop", output: "drop" } as const;
    router.stack.firewall = new Firewall({ policy, rules }, ["net0", "net1"]);
  };
  rules([{
    direction: "forward",
    protocol: "udp",
    destinationPort: 53,
    interface: "net0",
    action: "accept",
  }]);
  expect(router.in(packet())).toBe("None");
  const behindOptions = [17, 0, 1, 4, 0, 0, 0, 0, ...DATAGRAM];
  expect(router.in(packet({ protocol: 60, data: behindOptions }))).toBe("None");
  expect(router.in(packet({ source: FAR, destination: NEAR }), 1)).toBe("Firewall");
  expect(router.take().map(({ length }) => length)).toEqual([0, 2]);
  rules([
    { direction: "forward", state: "invalid", action: "drop" },
    { direction: "forward", protocol: "tcp", state: "new", action: "reject" },
    { direction: "forward", action: "accept" },
    { direction: "output", action: "accept" },
  ]);
  expect(router.in(packet({ protocol: 60, data: [17, 9, 0, 0, 0, 0, 0, 0] }))).toBe("Firewall");
  expect(router.take()).toEqual([[], []]);
  const syn = [1, 1, 0, 80, ...new Array(8).fill(0), 0x50, 2, 0, 0, 0, 0, 0, 0];
  expect(router.in(packet({ protocol: 6, data: syn }))).toBe("FirewallReject");
  expect(router.error()).toMatchObject({ type: 1, code: 1 });
});

test("rules see whole packets: fragments are put together, and leave as long as they came", () => {
  const router = new Router();
  router.stack.firewall = new Firewall({
    policy: { forward: "drop", output: "accept" },
    rules: [{ direction: "forward", protocol: "udp", destinationPort: 53, action: "accept" }],
  }, ["net0", "net1"]);
  const data = [0x11, 0x11, 0, 53, 0x05, 0xdc, 0, 0, ...filled(1_492)];
  const options = [44, 0, 1, 4, 0, 0, 0, 0]; // for every hop, before the fragment header
  const fragments = (pieces: readonly (readonly [from: number, to: number])[]): Uint8Array<ArrayBuffer>[] =>
    pieces.map(([from, to]) => {
      const more = to < data.length ? 1 : 0;
      const header = [17, 0, from >> 8, (from & 0xf8) | more, 0, 0, 0x77, 0x99];
      return packet({ protocol: 0, data: [...options, ...header, ...data.slice(from, to)] });
    });
  for (const port of [53, 54]) {
    data[3] = port;
    const came = fragments([[0, 640], [640, 1_280], [1_280, 1_500]]);
    for (const each of came.toReversed()) router.in(each.slice());
    expect(router.take()).toEqual([[], port === 54 ? [] : came.map(passed)]);
  }
  // One of them was longer than the next link carries: who sent it hears so, and nothing leaves.
  data[3] = 53;
  for (const each of fragments([[0, 1_408], [1_408, 1_500]])) router.in(each);
  expect(router.error()).toMatchObject({ type: 2, rest: 1_400 });
});

test("a neighbour that does not answer: Address Unreachable, after the questions (RFC 4443 section 3.1)", () => {
  const router = new Router({ medium: "ethernet" });
  const came = packet();
  expect(router.in(came.slice())).toBe("None");
  for (let second = 0; second < 3; second++) {
    router.stack.poll(router.nowMs);
    const asked = router.take()[1]!.map((bytes) =>
      formatPacket(new Slab(bytes), 0, bytes.length, "ethernet")
    );
    expect(asked.filter((line) => !line.includes("> ff02::16"))).toEqual([ // MLD has its own tests
      `IP6 2001:db8:2::1 > ff02::1:ff00:2: ICMP6, neighbor solicitation, who has ${FAR}, length 32`,
    ]);
    router.nowMs += 1_000;
  }
  router.stack.poll(router.nowMs);
  expect(router.error()).toMatchObject({ type: 1, code: 3, source: US, quote: [...passed(came)] });
  // Our own packets are not complained about to ourselves.
  const [local, remote] = ["2001:db8:2::1", FAR].map((text) => router.stack.addresses.parse(text)!);
  router.stack.udp.send(local!, 7, remote!, 7, Uint8Array.of(1), router.nowMs);
  for (let second = 0; second < 5; second++) router.stack.poll(router.nowMs += 1_000);
  expect(router.take()[0]).toEqual([]);
});

test("a frame for everyone is not passed on, and one of ours is", () => {
  const router = new Router({ medium: "ethernet" });
  const frame = (to: number[]): Uint8Array<ArrayBuffer> =>
    Uint8Array.from([...to, ...MAC, 0x86, 0xdd, ...packet({ source: FAR, destination: NEAR })]);
  expect(router.in(frame([0x33, 0x33, 0, 0, 0, 1]), 1)).toBe("Ipv6NotOurs");
  expect(router.in(frame(MAC), 1)).toBe("None");
  expect(router.take()[0]).toEqual([passed(packet({ source: FAR, destination: NEAR }))]);
});
