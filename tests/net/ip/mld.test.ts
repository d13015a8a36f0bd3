import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import type { Medium } from "../../../net/link/link.ts";
import { Stack } from "../../../net/stack.ts";
import { dropNames } from "../../../net/wire/drop.ts";
import { finishIcmpv6Checksum } from "../../../net/wire/icmpv6.ts";
import { sumIpv6Address, writeIpv6 } from "../../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { fromHex } from "../wire/frames.ts";

const GROUP = "ff15::7:7";
const GROUP_HEX = "ff150000000000000000000000070007";
const NONE_HEX = "0".repeat(32);

class World {
  readonly stack: Stack;
  nowMs = 1_000_000;
  #sent: Uint8Array<ArrayBuffer>[] = [];
  #deadlineMs = Infinity;

  constructor({ medium = "ip" as Medium, mtu = 1500 } = {}) {
    this.stack = new Stack({ nowMs: this.nowMs, entropy: new Prng(4) });
    const at = medium === "ethernet" ? 14 : 0;
    const send = (slab: Slab, start: number, end: number): boolean => {
      this.#sent.push(slab.bytes.slice(start + at, end));
      return true;
    };
    this.stack.addInterface({
      name: "net0",
      link: { medium, mtu, send, flush: () => {} },
      mac: { hi: 0x0200, lo: 1 },
    });
    this.stack.setRoutes({ addresses: [{ address: "fe80::1/64" }, { address: "2001:db8::77:1/64" }] });
    this.poll();
  }

  group(text: string): number {
    return this.stack.addresses.parse(text)!;
  }
  poll(): void {
    this.#deadlineMs = this.stack.poll(this.nowMs);
  }
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (this.poll(); this.#deadlineMs <= untilMs; this.poll()) {
      this.nowMs = Math.max(this.nowMs, this.#deadlineMs);
    }
    this.nowMs = untilMs;
    return this;
  }

  /** What left: destination and message, after the headers were judged. */
  sent(): string[] {
    return this.#sent.splice(0).map((packet) => {
      const slab = new Slab(packet);
      // Hop-by-hop options, hop limit 1, from the link-local address.
      expect([packet[6], packet[7]]).toEqual([0, 1]);
      expect([...packet.subarray(8, 24)]).toEqual([...fromHex("fe800000000000000000000000000001")]);
      expect([...packet.subarray(40, 48)]).toEqual([58, 0, 5, 2, 0, 0, 1, 0]);
      const checksum = slab.view.getUint16(50);
      finishIcmpv6Checksum(slab, 48, packet.length, sumIpv6Address(slab, 8), sumIpv6Address(slab, 24));
      expect(slab.view.getUint16(50)).toBe(checksum);
      slab.view.setUint16(50, 0);
      const hex = Array.from(packet.subarray(48), (byte) => byte.toString(16).padStart(2, "0")).join("");
      return `..${packet[39]!.toString(16)} ${hex}`;
    });
  }

  /** An ICMPv6 message from a router arrives. */
  in(hex: string, { from = "fe80::fe", to = "ff02::1", hopLimit = 1, protocol = 58 } = {}): string {
    const data = fromHex(hex);
    const slab = Slab.of(40 + data.length);
    writeIpv6(slab, 0, data.length, protocol, 0, 0, hopLimit);
    parseIpv6(from)!.forEach((word, at) => slab.view.setInt32(8 + 4 * at, word));
    parseIpv6(to)!.forEach((word, at) => slab.view.setInt32(24 + 4 * at, word));
    slab.bytes.set(data, 40);
    if (protocol === 58) {
      finishIcmpv6Checksum(slab, 40, slab.bytes.length, sumIpv6Address(slab, 8), sumIpv6Address(slab, 24));
    }
    const framed = slab;
    return dropNames[this.stack.receive(0, framed, 0, framed.bytes.length, this.nowMs)]!;
  }
}

const report = (type: number, group = GROUP_HEX): string => `8f000000000000010${type}000000${group}`;
const query2 = (group: string, more = ""): string =>
  `8200000003e80000${group}027d${more === "" ? "0000" : more}`;
const query1 = (group: string): string => `8200000003e80000${group}`;

test("joining and leaving send version 2 reports with router alert and hop limit 1 to ff02::16 (RFC 3810 section 5)", () => {
  const w = new World();
  expect(w.stack.mld.join(0, w.group(GROUP), w.nowMs)).toBe(true);
  expect(w.sent()).toEqual([`..16 ${report(4)}`]);
  expect(w.wait(2_000).sent()).toEqual([`..16 ${report(4)}`]);
  w.stack.mld.leave(0, w.group(GROUP), w.nowMs);
  expect(w.wait(2_000).sent()).toEqual([`..16 ${report(3)}`, `..16 ${report(3)}`]);
});

test("queries of versions 2 and 1 are answered in their version (RFC 3810 sections 6 and 8, RFC 2710)", () => {
  const cases: [name: string, query: string, answer: string[]][] = [
    ["2, general", query2(NONE_HEX), [`..16 ${report(2)}`]],
    ["2, group", query2(GROUP_HEX), [`..16 ${report(2)}`]],
    ["2, sources", query2(GROUP_HEX, `0001${"20010db8000000000000000000000009"}`), [`..16 ${report(2)}`]],
    ["2, another group", query2("ff150000000000000000000000070008"), []],
    ["1", query1(NONE_HEX), [`..7 8300000000000000${GROUP_HEX}`]],
  ];
  for (const [name, query, answer] of cases) {
    const w = new World();
    w.stack.mld.join(0, w.group(GROUP), w.nowMs);
    w.wait(5_000).sent();
    expect(w.in(query)).toBe("None");
    expect([name, w.wait(10_000).sent()]).toEqual([name, answer]);
  }
  const w = new World();
  w.stack.mld.join(0, w.group(GROUP), w.nowMs);
  w.in(query1(NONE_HEX));
  w.wait(5_000).sent();
  w.stack.mld.leave(0, w.group(GROUP), w.nowMs);
  expect(w.wait(5_000).sent()).toEqual([`..2 8400000000000000${GROUP_HEX}`]);
});

test("what nobody on this link sent, or cannot be read, is dropped", () => {
  const w = new World();
  w.stack.mld.join(0, w.group(GROUP), w.nowMs);
  w.wait(5_000).sent();
  expect(w.in(query2(NONE_HEX), { hopLimit: 64 })).toBe("MldMalformed");
  expect(w.in(query2(NONE_HEX), { from: "2001:db8::9" })).toBe("MldMalformed");
  expect(w.in(query1(NONE_HEX).slice(0, 46))).toBe("MldMalformed");
  expect(w.in(`${query1(NONE_HEX)}0000`)).toBe("MldMalformed"); // no version has this length
  expect(w.in(query2(NONE_HEX, "0009"))).toBe("MldMalformed"); // nine sources that are not there
  expect(w.wait(20_000).sent()).toEqual([]);
});

test("a group is heard while somebody is in it; all nodes' and solicited-node groups always", () => {
  const w = new World();
  const socket = w.stack.udp.bind(w.group("::"), 7)!;
  const datagram = "13890007000a00000102"; // no checksum: dropped, but as ours
  expect(w.in(datagram, { to: GROUP, protocol: 17, hopLimit: 64 })).toBe("Ipv6NotOurs");
  w.stack.mld.join(0, w.group(GROUP), w.nowMs);
  expect(w.in(datagram, { to: GROUP, protocol: 17, hopLimit: 64 })).toBe("UdpChecksum");
  expect(w.in(datagram, { to: "ff02::1", protocol: 17, hopLimit: 64 })).toBe("UdpChecksum");
  expect(w.in(datagram, { to: "ff01::1", protocol: 17, hopLimit: 64 })).toBe("Ipv6NotOurs"); // never on a wire
  expect(w.in(datagram, { to: "ff02::1:ff77:1", protocol: 17, hopLimit: 64 })).toBe("UdpChecksum");
  expect(socket.queue.length).toBe(0);
});

test("on Ethernet the groups of the own addresses are joined with them, and left (RFC 4861 section 7.2.1)", () => {
  const w = new World({ medium: "ethernet" });
  const solicited = (last: string): string => `ff0200000000000000000001ff${last}`;
  expect(w.sent()).toEqual([
    `..16 ${report(4, solicited("000001"))}`,
    `..16 ${report(4, solicited("770001"))}`,
  ]);
  w.wait(2_000).sent();
  w.stack.setRoutes({ addresses: [{ address: "fe80::1/64" }] });
  w.poll();
  expect(w.sent()).toEqual([`..16 ${report(3, solicited("770001"))}`]);
});

test("many groups are reported in as many messages as it takes", () => {
  const w = new World({ mtu: 1_280 });
  const room = Math.floor((1_280 - 40 - 8 - 8) / 20);
  for (let at = 0; at <= room; at++) w.stack.mld.join(0, w.group(`ff15::${at.toString(16)}`), w.nowMs);
  w.wait(5_000).sent();
  w.in(query2(NONE_HEX));
  const lengths = w.wait(5_000).sent().map((text) => text.split(" ")[1]!.length / 2);
  expect(lengths).toEqual([8 + 20 * room, 8 + 20]);
});

test("random messages crash nothing", () => {
  const prng = new Prng(3);
  const w = new World();
  w.stack.mld.join(0, w.group(GROUP), w.nowMs);
  for (let count = 0; count < 2_000; count++) {
    const bytes = Array.from({ length: prng.between(4, 60) }, () => prng.below(256));
    bytes[0] = prng.pick([0x82, 0x83, 0x84, 0x8f]);
    w.in(bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    if (prng.chance(0.2)) w.wait(prng.below(3_000));
  }
});
