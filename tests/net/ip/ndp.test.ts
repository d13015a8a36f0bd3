import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { AUTO_ADDRESSES_MAX, DEFAULT_ROUTERS_MAX, LINK_PREFIXES_MAX } from "../../../net/ip/autoconf.ts";
import type { Ipv6Options } from "../../../net/ip/ndp.ts";
import type { RouteConfig } from "../../../net/ip/route_config.ts";
import { Stack } from "../../../net/stack.ts";
import { type Drop, dropNames } from "../../../net/wire/drop.ts";
import { finishIcmpv6Checksum } from "../../../net/wire/icmpv6.ts";
import { sumIpv6Address, writeIpv6 } from "../../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { fromHex } from "../wire/frames.ts";

const START_MS = 1_700_000_000_000;
const SECRET = fromHex("000102030405060708090a0b0c0d0e0f");
const ROUTER = "fe80::1";
const ROUTER_MAC = "020000000001";

function hexOf(address: string): string {
  return parseIpv6(address)!.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

/** A router advertisement's options. */
const prefixOption = (prefix: string, valid: number, preferred: number, flags = "c0", length = 64): string =>
  `0304${length.toString(16).padStart(2, "0")}${flags}${word(valid)}${word(preferred)}00000000${
    hexOf(prefix)
  }`;
const word = (value: number): string => value.toString(16).padStart(8, "0");
const half = (value: number): string => value.toString(16).padStart(4, "0");
const advertisement = (lifetimeS: number, options = "", hopLimit = "40"): string =>
  `86000000${hopLimit}00${half(lifetimeS)}0000000000000000${options}`;

/** A stack on an Ethernet; the test is everybody else. */
class Station {
  readonly stack: Stack;
  nowMs = START_MS;
  deadlineMs = Infinity;
  /** Frames that left, as tcpdump prints them, and where each went. */
  #sent: string[] = [];
  readonly frames: Uint8Array[] = [];

  constructor(
    config: RouteConfig = {},
    ipv6: Ipv6Options | false = { secret: SECRET },
    seed = 1,
    forwarding = false,
  ) {
    this.stack = new Stack({ nowMs: this.nowMs, entropy: new Prng(seed), forwarding });
    const send = (slab: Slab, start: number, end: number): boolean => {
      this.#sent.push(formatPacket(slab, start, end, "ethernet"));
      this.frames.push(slab.bytes.slice(start, end));
      return true;
    };
    const link = { medium: "ethernet", mtu: 1500, send, flush: () => {} } as const;
    this.stack.addInterface({ name: "net0", link, mac: { hi: 0x0200, lo: 0x99 } });
    this.stack.setRoutes(config);
    if (ipv6 !== false) this.stack.autoconfigure(0, ipv6, this.nowMs);
    this.poll();
  }

  /** An ICMPv6 message arrives. */
  message(
    hex: string,
    { from = ROUTER, to = "ff02::1", hopLimit = 255, mac = "333300000001" } = {},
  ): string {
    const body = fromHex(hex);
    const slab = Slab.of(54 + body.length);
    slab.bytes.set(fromHex(`${mac}${ROUTER_MAC}86dd`));
    writeIpv6(slab, 14, body.length, 58, 0, 0, hopLimit);
    slab.bytes.set(fromHex(hexOf(from) + hexOf(to)), 22);
    slab.bytes.set(body, 54);
    finishIcmpv6Checksum(slab, 54, slab.bytes.length, sumIpv6Address(slab, 22), sumIpv6Address(slab, 38));
    return this.frame(slab);
  }

  frame(slab: Slab): string {
    const reason: Drop = this.stack.receive(0, slab, 0, slab.bytes.length, this.nowMs);
    this.poll();
    return dropNames[reason]!;
  }

  poll(): void {
    this.deadlineMs = this.stack.poll(this.nowMs);
  }

  /** Time passes; the stack is polled when it wants to be. */
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    this.poll();
    while (this.deadlineMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.deadlineMs);
      this.poll();
    }
    this.nowMs = untilMs;
    this.poll();
    return this;
  }

  /** What left since the last time, but for reports of groups, which mld.test.ts looks at. */
  sent(): string[] {
    return this.#sent.splice(0).filter((line) => !line.includes("> ff02::16: ICMP6"));
  }

  /** Own addresses as text, deprecated ones marked. */
  own(): string[] {
    const { routes } = this.stack.output;
    return routes.ipv6.own.map(({ address, deprecated }) => {
      return `${this.stack.addresses.format(address)}${deprecated ? " deprecated" : ""}`;
    });
  }

  /** Where a packet to `to` would go, and from where it would come. */
  route(to: string): string {
    const { output, addresses } = this.stack;
    const found = { interfaceIndex: 0, nextHop: 0, source: 0 };
    const destination = addresses.parse(to)!;
    if (!output.routes.route(destination, found)) return "nowhere";
    const source = output.sourceTowards(destination)!;
    return `${addresses.format(found.nextHop)} from ${source === 0 ? "nobody" : addresses.format(source)}`;
  }
}

/** A station whose link-local address is its own, and what that is. */
function settled(config: RouteConfig = {}): { station: Station; linkLocal: string } {
  const station = new Station(config);
  station.wait(20_000);
  station.sent();
  return { station, linkLocal: station.own().find((text) => text.startsWith("fe80"))!.split("%")[0]! };
}

test("RFC 4862 section 5.4: the link-local address is probed once, then it is ours; then routers are asked, three times", () => {
  const station = new Station();
  station.wait(1_000);
  const [probe] = station.sent();
  const target = /^IP6 :: > ff02::1:ff\S+: ICMP6, neighbor solicitation, who has (fe80::\S+), length 24$/
    .exec(probe!);
  expect(target, probe).not.toBeNull();
  expect(station.own()).toEqual([]); // tentative
  expect(station.frames[0]!.subarray(0, 2)).toEqual(Uint8Array.of(0x33, 0x33));
  expect(station.frames[0]![21]).toBe(255);
  station.wait(1_000);
  expect(station.own()).toEqual([`${target![1]}%net0`]);
  station.wait(60_000);
  const asked = `IP6 ${target![1]} > ff02::2: ICMP6, router solicitation, length 16`;
  expect(station.sent()).toEqual([asked, asked, asked]);
  expect(station.deadlineMs).toBe(Infinity);
});

test("RFC 7217: the same secret on the same station gives the same address; another prefix, station or secret another", () => {
  const addressOf = (secret: Uint8Array, seed = 1): string => {
    const station = new Station({}, { secret }, seed);
    station.wait(5_000);
    station.message(advertisement(1800, prefixOption("2001:db8:7::", 3600, 1800)));
    station.wait(5_000);
    return station.own().join(" ");
  };
  const first = addressOf(SECRET);
  expect(first).toMatch(/^fe80::\S+%net0 2001:db8:7:\S+$/);
  expect(addressOf(SECRET, 2)).toBe(first);
  expect(addressOf(SECRET.toReversed())).not.toBe(first);
  const [one, other] = first.split(" ").map((text) => parseIpv6(text.split("%")[0]!)!.slice(2));
  expect(one).not.toEqual(other);
});

test("RFC 4862 section 5.4.3, 5.4.4: somebody else probes or has our tentative address: another is tried, three times", () => {
  for (const how of ["solicitation", "advertisement"] as const) {
    const station = new Station();
    const tried: string[] = [];
    for (let round = 0; round < 3; round++) {
      station.wait(round === 0 ? 1_000 : 500);
      const target = /who has (\S+),/.exec(station.sent().at(-1)!)![1]!;
      tried.push(target);
      const group = `ff02::1:ff${target.slice(-7)}`;
      if (how === "solicitation") {
        expect(station.message(`8700000000000000${hexOf(target)}`, { from: "::", to: group })).toBe("None");
      } else station.message(`8800000020000000${hexOf(target)}0201020000000007`, { from: target });
    }
    expect(new Set(tried).size).toBe(3);
    station.wait(60_000);
    expect(station.own()).toEqual([]);
    expect(station.stack.ndp.autoconfOf(0)!.counters.duplicates).toBe(3);
    expect(station.sent().filter((line) => line.includes("neighbor"))).toEqual([]);
  }
  // Who only looks for the address does not have it.
  const station = new Station();
  station.wait(1_000);
  const target = /who has (\S+),/.exec(station.sent()[0]!)![1]!;
  station.message(`8700000000000000${hexOf(target)}0101020000000007`, { to: "ff02::1:ff00:1" });
  expect(station.sent()).toEqual([]);
  station.wait(1_000);
  expect(station.own()).toEqual([`${target}%net0`]);
});

test("RFC 4861 section 7.2.4: a solicitation is answered; one from nobody, for all to hear", () => {
  const { station } = settled({ addresses: [{ address: "2001:db8::9/64" }] });
  const target = hexOf("2001:db8::9");
  const group = "ff02::1:ff00:9";
  expect(station.message(`8700000000000000${target}0101020000000001`, { to: group })).toBe("None");
  expect(station.sent()).toEqual([
    "IP6 2001:db8::9 > fe80::1: ICMP6, neighbor advertisement, tgt is 2001:db8::9, length 32",
  ]);
  const reply = station.frames.at(-1)!;
  expect([...reply.subarray(0, 6)]).toEqual([2, 0, 0, 0, 0, 1]);
  expect(reply[58]).toBe(0x60); // solicited, override
  expect([...reply.subarray(78, 86)]).toEqual([2, 1, 2, 0, 0, 0, 0, 0x99]);
  station.message(`8700000000000000${target}`, { from: "::", to: group });
  expect(station.sent()).toEqual([
    "IP6 2001:db8::9 > ff02::1: ICMP6, neighbor advertisement, tgt is 2001:db8::9, length 32",
  ]);
  expect(station.frames.at(-1)![58]).toBe(0x20);
  // Not ours, or against the rules: no word.
  station.message(`8700000000000000${hexOf("2001:db8::8")}0101020000000001`, { to: group });
  const wrong: [string, object, string][] = [
    [`8700000000000000${target}0101020000000001`, { to: group, hopLimit: 254 }, "NdpMalformed"],
    [`8700000000000000${target}0101020000000001`, { to: group, from: "::" }, "NdpMalformed"],
    [`8700000000000000${target}`, { to: "ff02::1", from: "::" }, "NdpMalformed"],
    [`8700000000000000${hexOf("ff02::9")}`, { to: group }, "NdpMalformed"],
    [`8701000000000000${target}`, { to: group }, "NdpMalformed"],
    [`8700000000000000${target}0100020000000001`, { to: group }, "NdpMalformed"],
    [`8800000060000000${hexOf("fe80::1")}0201020000000001`, {}, "NdpMalformed"],
  ];
  for (const [hex, how, reason] of wrong) expect(station.message(hex, how), hex).toBe(reason);
  expect(station.sent()).toEqual([]);
});

test("RFC 4861 section 7.2: an address is asked for, packets wait, an answer lets them go; a stale one is asked only when nobody above vouches", () => {
  const { station } = settled({ addresses: [{ address: "2001:db8::9/64" }] });
  const { stack } = station;
  const [local, remote] = ["2001:db8::9", "2001:db8::5"].map((text) => stack.addresses.parse(text)!);
  const send = (): boolean => stack.udp.send(local!, 7, remote!, 9, Uint8Array.of(1, 2, 3), station.nowMs);
  expect(send()).toBe(true);
  const asked =
    "IP6 2001:db8::9 > ff02::1:ff00:5: ICMP6, neighbor solicitation, who has 2001:db8::5, length 32";
  const datagram = "IP6 2001:db8::9.7 > 2001:db8::5.9: UDP, length 3";
  expect(station.sent()).toEqual([asked]);
  const answer = `8800000060000000${hexOf("2001:db8::5")}0201020000000055`;
  station.message(answer, { from: "2001:db8::5", to: "2001:db8::9", mac: "020000000099" });
  expect(station.sent()).toEqual([datagram]);
  expect([...station.frames.at(-1)!.subarray(0, 6)]).toEqual([2, 0, 0, 0, 0, 0x55]);
  // Thirty seconds later it is stale: used at once, asked about five seconds after, alone.
  station.wait(31_000);
  send();
  expect(station.sent()).toEqual([datagram]);
  station.wait(5_000);
  expect(station.sent()).toEqual([
    "IP6 2001:db8::9 > 2001:db8::5: ICMP6, neighbor solicitation, who has 2001:db8::5, length 32",
  ]);
  station.message(answer, { from: "2001:db8::5", to: "2001:db8::9", mac: "020000000099" });
  station.wait(31_000);
  send();
  stack.output.interfaces[0]!.neighbors6!.confirm(remote!, station.nowMs); // what is above has proof
  station.wait(10_000);
  expect(station.sent()).toEqual([datagram]);
  // It does not answer any more: three questions to it alone, then it is unreachable.
  station.wait(31_000);
  send();
  station.wait(60_000);
  expect(station.sent().length).toBe(4);
  expect(stack.output.interfaces[0]!.neighbors6!.size).toBe(0);
});

test("RFC 4861 section 7.2.5: who may take a known station's place, and who only casts doubt", () => {
  const { station } = settled({ addresses: [{ address: "2001:db8::9/64" }] });
  const { stack } = station;
  const remote = stack.addresses.parse("2001:db8::5")!;
  const neighbors = stack.output.interfaces[0]!.neighbors6!;
  const advertise = (flags: string, station6: string): void => {
    station.message(`88000000${flags}000000${hexOf("2001:db8::5")}0201${station6}`, { from: "2001:db8::5" });
  };
  const known = (): number => neighbors.stationOf(remote) ? neighbors.lo : -1;
  advertise("20", "020000000055"); // nobody asked: no entry
  expect(known()).toBe(-1);
  neighbors.lookup(remote, station.nowMs);
  advertise("20", "020000000055");
  expect(known()).toBe(0x55);
  advertise("00", "020000000066"); // without the right to override
  expect(known()).toBe(0x55);
  advertise("20", "020000000066");
  expect(known()).toBe(0x66);
  advertise("20", "330000000001"); // a group is no station
  expect(known()).toBe(0x66);
});

test("RFC 4862 section 5.5.3: an advertised prefix gives an address, a network and a way out; each ends with its lifetime", () => {
  const { station, linkLocal } = settled();
  expect(station.route("2001:db8:7::5")).toBe("nowhere");
  station.message(advertisement(1800, `0101${ROUTER_MAC}` + prefixOption("2001:db8:7::", 3600, 600)));
  station.wait(3_000);
  const [probe] = station.sent();
  expect(probe).toMatch(/^IP6 :: > ff02::1:ff\S+ ICMP6, neighbor solicitation, who has 2001:db8:7:/);
  const [, address] = station.own();
  expect(address).toMatch(/^2001:db8:7:0:/);
  expect(station.route("2001:db8:7::5")).toBe(`2001:db8:7::5 from ${address}`);
  expect(station.route("2001:db8:8::5")).toBe(`fe80::1%net0 from ${address}`);
  expect(station.route("fe80::5")).toBe(`fe80::5%net0 from ${linkLocal}%net0`);
  station.wait(600_000);
  expect(station.own()[1]).toBe(`${address} deprecated`);
  station.wait(1_200_000);
  expect(station.route("2001:db8:8::5")).toBe("nowhere");
  station.wait(1_800_000);
  expect(station.own().length).toBe(1);
  expect(station.route("2001:db8:7::5")).toBe("nowhere");
  expect(station.deadlineMs).toBe(Infinity);
  const neighbors = station.stack.output.interfaces[0]!.neighbors6!.size; // the router
  expect(station.stack.addresses.retained - neighbors).toBe(6); // ::, three groups, the link-local address and its group
});

test("RFC 4862 section 5.5.3 (e): an address's life may be made longer, but nobody cuts it below two hours", () => {
  const { station } = settled();
  const tell = (validS: number, preferredS: number): void =>
    void station.message(advertisement(1800, prefixOption("2001:db8:7::", validS, preferredS, "40")));
  const leftS = (): number => {
    const { stack } = station;
    const before = station.nowMs;
    while (station.own().length > 1) {
      station.nowMs += 60_000;
      stack.poll(station.nowMs);
    }
    return (station.nowMs - before) / 1000;
  };
  tell(10_000, 10_000);
  station.wait(3_000);
  tell(1, 1); // more than two hours are left: two hours it is
  expect(leftS()).toBe(7_200);
  tell(600, 600);
  station.wait(3_000);
  tell(1, 1); // less than two hours are left: nobody may touch it
  const left = leftS();
  expect(left).toBeGreaterThan(540);
  expect(left).toBeLessThanOrEqual(600);
  tell(100, 200); // preferred for longer than valid
  station.wait(3_000);
  expect(station.own().length).toBe(1);
});

test("RFC 4861 section 6.1.2: only a neighbour's advertisement counts, from a link-local address", () => {
  const { station } = settled();
  const hex = advertisement(1800, prefixOption("2001:db8:7::", 3600, 600));
  expect(station.message(hex, { hopLimit: 254 })).toBe("NdpMalformed");
  expect(station.message(hex, { from: "2001:db8::1" })).toBe("NdpMalformed");
  expect(station.message(`${hex}0100`)).toBe("NdpMalformed");
  expect(station.message(hex.slice(0, 28))).toBe("NdpMalformed");
  station.wait(3_000);
  expect(station.own().length).toBe(1);
});

test("RFC 4861 section 6.3.4: hop limit, MTU and timers of a link are the router's to say, within reason", () => {
  const { station } = settled();
  const { stack } = station;
  const through = stack.output.interfaces[0]!;
  station.message(advertisement(1800, "05010000000005a0", "2a"));
  expect([through.hopLimit6, through.mtu6]).toEqual([42, 1440]);
  station.message(advertisement(1800, "0501000000000400", "00")); // below 1280
  station.message(advertisement(1800, "0501000000002000", "00")); // beyond the link's
  expect([through.hopLimit6, through.mtu6]).toEqual([42, 1440]);
  const timers = (reachableMs: number, retransmitMs: number): void =>
    void station.message(`8600000000000708${word(reachableMs)}${word(retransmitMs)}`);
  timers(20_000, 2_000);
  expect(through.neighbors6!.requestIntervalMs).toBe(2_000);
  expect(through.neighbors6!.reachableMs).toBeGreaterThanOrEqual(10_000);
  expect(through.neighbors6!.reachableMs).toBeLessThanOrEqual(30_000);
  timers(1, 1);
  expect(through.neighbors6!.requestIntervalMs).toBe(100);
  timers(0xffff_ffff, 0xffff_ffff);
  expect(through.neighbors6!.requestIntervalMs).toBe(60_000);
});

test("a router that is none any more, by lifetime 0 or by its own advertisement's flag, is no way out", () => {
  const { station } = settled();
  const router = (lifetimeS: number): void =>
    void station.message(advertisement(lifetimeS, `0101${ROUTER_MAC}`));
  const way = (): string => station.route("2001:db8:8::5").split(" ")[0]!;
  router(1800);
  expect(way()).toBe("fe80::1%net0");
  router(0);
  expect(way()).toBe("nowhere");
  router(1800);
  station.message(`8800000080000000${hexOf(ROUTER)}0201${ROUTER_MAC}`);
  expect(way()).toBe("fe80::1%net0");
  station.message(`8800000000000000${hexOf(ROUTER)}0201${ROUTER_MAC}`);
  expect(way()).toBe("nowhere");
});

test("RFC 8106: name servers are remembered with their lifetimes", () => {
  const { station } = settled();
  const tell = (server: string, lifetimeS: number): void => {
    station.message(advertisement(0, `19030000${word(lifetimeS)}${hexOf(server)}`));
  };
  const servers = (): string[] => {
    const { addresses, ndp } = station.stack;
    return ndp.nameServers(station.nowMs).map((each) => addresses.format(each));
  };
  tell("2001:db8::53", 600);
  tell("2001:db8::54", 60);
  expect(servers()).toEqual(["2001:db8::53", "2001:db8::54"]);
  station.wait(60_000);
  expect(servers()).toEqual(["2001:db8::53"]);
  tell("2001:db8::53", 0);
  expect(servers()).toEqual([]);
  for (let each = 1; each <= 9; each++) tell(`2001:db8::${each}`, 600);
  expect(servers().length).toBe(8);
  for (let each = 1; each <= 9; each++) tell(`2001:db8::${each}`, 0);
  station.wait(1);
  expect(station.stack.addresses.retained).toBe(6);
});

test("limits: prefixes, addresses and routers of one link", () => {
  const { station } = settled();
  const autoconf = station.stack.ndp.autoconfOf(0)!;
  const many = (from: number, to: number, flags: string): void => {
    for (let each = from; each < to; each++) {
      station.message(advertisement(0, prefixOption(`2001:db8:${each.toString(16)}::`, 3600, 600, flags)));
    }
    station.wait(3_000);
  };
  many(0, AUTO_ADDRESSES_MAX, "40");
  expect([station.own().length, autoconf.counters.refused]).toEqual([1 + AUTO_ADDRESSES_MAX, 0]);
  many(AUTO_ADDRESSES_MAX, AUTO_ADDRESSES_MAX + 1, "40");
  expect([station.own().length, autoconf.counters.refused]).toEqual([1 + AUTO_ADDRESSES_MAX, 1]);
  many(0, LINK_PREFIXES_MAX, "80");
  expect([autoconf.routes().length, autoconf.counters.refused]).toEqual([LINK_PREFIXES_MAX, 1]);
  many(LINK_PREFIXES_MAX, LINK_PREFIXES_MAX + 1, "80");
  expect([autoconf.routes().length, autoconf.counters.refused]).toEqual([LINK_PREFIXES_MAX, 2]);
  for (let each = 1; each <= DEFAULT_ROUTERS_MAX; each++) {
    station.message(advertisement(1800), { from: `fe80::${each.toString(16)}` });
  }
  expect(autoconf.counters.refused).toBe(2);
  station.message(advertisement(1800), { from: "fe80::ffff" });
  expect([autoconf.routes().length, autoconf.counters.refused]).toEqual([
    LINK_PREFIXES_MAX + DEFAULT_ROUTERS_MAX,
    3,
  ]);
});

test("an interface that does not configure itself asks nobody, and believes no router", () => {
  for (const options of [false, { autoconfigure: false }] as const) {
    const station = new Station({ addresses: [{ address: "2001:db8::9/64" }] }, options);
    station.wait(60_000);
    expect(station.message(advertisement(1800, prefixOption("2001:db8:7::", 3600, 600)))).toBe("IcmpType");
    station.wait(60_000);
    expect([station.sent(), station.own()]).toEqual([[], ["2001:db8::9"]]);
  }
});

test("ARP about class E addresses is malformed: they would look like handles", () => {
  const { station } = settled({ addresses: [{ address: "2001:db8::9/64" }, { address: "10.0.0.9/24" }] });
  const handle = station.stack.addresses.parse("2001:db8::9")!;
  const arp = (sender: number, target: number): string => {
    const head = `ffffffffffff${ROUTER_MAC}08060001080006040001`;
    const hex = `${head}${ROUTER_MAC}${word(sender >>> 0)}000000000000${word(target >>> 0)}`;
    return station.frame(new Slab(fromHex(hex)));
  };
  expect(arp(0x0a00_0001, handle)).toBe("ArpMalformed");
  expect(arp(handle, 0x0a00_0009)).toBe("ArpMalformed");
  expect(station.sent()).toEqual([]);
  expect(arp(0x0a00_0001, 0x0a00_0009)).toBe("None");
  expect(station.sent().length).toBe(1);
});

test("RFC 4861 sections 4.4 and 6.2: a router says that it is one, hears what is for all of them, and makes no addresses of what others advertise", () => {
  const config = { addresses: [{ address: "2001:db8::9/64" }] };
  const flagsOf = (station: Station): number => {
    station.message(`8700000000000000${hexOf("2001:db8::9")}0101020000000001`, { to: "ff02::1:ff00:9" });
    return station.frames.at(-1)![58]!;
  };
  const echo = "8000000000010001";
  for (const forwarding of [true, false]) {
    const station = new Station(config, { secret: SECRET }, 1, forwarding);
    station.wait(20_000);
    expect(station.sent().filter((line) => line.includes("router solicitation")).length).toBe(
      forwarding ? 0 : 3,
    );
    expect(station.own().map((text) => text.slice(0, 5))).toEqual(["2001:", "fe80:"]); // a link-local address all the same
    expect(flagsOf(station)).toBe(forwarding ? 0xe0 : 0x60);
    expect(station.message(echo, { to: "ff02::2", hopLimit: 64 })).toBe(forwarding ? "None" : "Ipv6NotOurs");
    station.sent();
    const heard = station.message(advertisement(1800, prefixOption("2001:db8:7::", 3600, 1800)));
    expect(heard).toBe(forwarding ? "IcmpType" : "None");
    station.wait(5_000);
    expect(station.own().length).toBe(forwarding ? 2 : 3);
    expect(station.route("2001:db8:ffff::1")).toMatch(forwarding ? "nowhere" : /^fe80::1%net0 from 2001:/);
  }
  const both = new Station(config, { secret: SECRET, acceptAdvertisements: true }, 1, true);
  both.wait(20_000);
  both.message(advertisement(1800, prefixOption("2001:db8:7::", 3600, 1800)));
  both.wait(5_000);
  expect(both.own().length).toBe(3);
  const neither = new Station(config, { secret: SECRET, acceptAdvertisements: false });
  neither.wait(20_000);
  expect(neither.sent().filter((line) => line.includes("router solicitation"))).toEqual([]);
});

test("RFC 4862 section 5.4: a configured address that asks for it is probed before it is ours, once, after a random delay", () => {
  const config = (more: object = {}): RouteConfig => ({
    addresses: [{ address: "2001:db8::9/64", dad: true, ...more }, { address: "2001:db8::10/64" }],
  });
  const station = new Station(config(), false);
  expect(station.own()).toEqual(["2001:db8::10"]);
  expect(station.route("2001:db8::77")).toBe("2001:db8::77 from 2001:db8::10"); // its network is there already
  station.wait(1_000);
  expect(station.sent()).toEqual([
    "IP6 :: > ff02::1:ff00:9: ICMP6, neighbor solicitation, who has 2001:db8::9, length 24",
  ]);
  // While it is tentative nobody gets an answer, and who only looks for it does not have it.
  const target = hexOf("2001:db8::9");
  station.message(`8700000000000000${target}0101020000000007`, { to: "ff02::1:ff00:9" });
  expect(station.sent()).toEqual([]);
  station.wait(1_000);
  expect(station.own()).toEqual(["2001:db8::9", "2001:db8::10"]);
  expect(station.deadlineMs).toBe(Infinity);
  // Other routes, the same address: it is not asked about again. Taken out and put back it is.
  station.stack.setRoutes({
    ...config(),
    routes: [{ destination: "2001:db8:7::/48", gateway: "2001:db8::1" }],
  });
  expect(station.own()).toEqual(["2001:db8::9", "2001:db8::10"]);
  station.stack.setRoutes({ addresses: [] });
  station.stack.setRoutes(config());
  expect(station.own()).toEqual(["2001:db8::10"]);
  station.wait(2_000);
  expect(station.own()).toEqual(["2001:db8::9", "2001:db8::10"]);
  expect(new Station(config({ dad: false }), false).own()).toEqual(["2001:db8::9", "2001:db8::10"]);
});

test("RFC 4862 section 5.4.5: a configured address that somebody else probes or has is not used", () => {
  const group = "ff02::1:ff00:9";
  const target = hexOf("2001:db8::9");
  for (const how of ["solicitation", "advertisement"] as const) {
    const station = new Station({ addresses: [{ address: "2001:db8::9/64", dad: true }] }, false);
    const told: string[] = [];
    station.stack.ndp.duplicate = (_, address) => void told.push(station.stack.addresses.format(address));
    station.wait(1_500);
    station.sent();
    if (how === "solicitation") station.message(`8700000000000000${target}`, { from: "::", to: group });
    else station.message(`8800000020000000${target}0201020000000007`, { from: "2001:db8::9" });
    expect(told).toEqual(["2001:db8::9"]);
    station.wait(60_000);
    expect(station.own()).toEqual([]);
    station.message(`8700000000000000${target}0101020000000007`, { to: group });
    expect(station.sent()).toEqual([]);
  }
});
