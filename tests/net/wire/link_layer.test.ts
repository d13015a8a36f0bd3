import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { ARP_LENGTH, ArpRecord, readArp, writeArp } from "../../../net/wire/arp.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { ETHER_ARP, EthernetRecord, readEthernet, writeEthernet } from "../../../net/wire/ethernet.ts";
import {
  formatMac,
  isBroadcastMac,
  isGroupMac,
  MULTICAST_MAC_HI,
  multicastMacLo,
  parseMac,
} from "../../../net/wire/mac.ts";
import { framed, isClean, randomInt32, randomUint16 } from "./frames.ts";

test("MAC addresses come back as text", () => {
  expect(parseMac("ff:ff:ff:ff:ff:ff")).toEqual({ hi: 0xffff, lo: -1 });
  expect(parseMac("02-00-00-00-00-2A")).toEqual({ hi: 0x0200, lo: 42 });
  const prng = new Prng(802);
  for (let run = 0; run < 500; run++) {
    const mac = { hi: randomUint16(prng), lo: randomInt32(prng) };
    expect(parseMac(formatMac(mac.hi, mac.lo))).toEqual(mac);
  }
  for (const text of ["", "02:00:00:00:00", "02:00:00:00:00:2a:00", "2:0:0:0:0:2a", "02:00:00:00:00:2g"]) {
    expect(parseMac(text), text).toBeUndefined();
  }
});

test("group addresses are told apart", () => {
  const group = multicastMacLo(parseIpv4("239.129.2.3")!);
  expect(formatMac(MULTICAST_MAC_HI, group)).toBe("01:00:5e:01:02:03");
  expect(isGroupMac(MULTICAST_MAC_HI)).toBe(true);
  expect(isGroupMac(0xffff)).toBe(true);
  expect(isGroupMac(0x0200)).toBe(false);
  expect(isBroadcastMac(0xffff, -1)).toBe(true);
  expect(isBroadcastMac(0xffff, -2)).toBe(false);
});

test("Ethernet headers round-trip, and shorter frames are refused", () => {
  const prng = new Prng(14);
  for (let run = 0; run < 200; run++) {
    const header = Object.assign(new EthernetRecord(), {
      destinationHi: randomUint16(prng),
      destinationLo: randomInt32(prng),
      sourceHi: randomUint16(prng),
      sourceLo: randomInt32(prng),
      etherType: randomUint16(prng),
    });
    const frame = framed(new Uint8Array(14), 0xa5, prng.below(4));
    header.dataStart = header.dataEnd = frame.end;
    expect(writeEthernet(header, frame.slab, frame.start)).toBe(frame.end);
    expect(isClean(frame)).toBe(true);
    const got = new EthernetRecord();
    expect(readEthernet(frame.slab, frame.start, frame.end - 1, got)).toBe(Drop.FrameShort);
    expect(got).toEqual(new EthernetRecord());
    expect(readEthernet(frame.slab, frame.start, frame.end, got)).toBe(Drop.None);
    expect(got).toEqual(header);
  }
});

test("ARP messages round-trip, and every truncation is refused", () => {
  const prng = new Prng(826);
  for (let run = 0; run < 200; run++) {
    const message = Object.assign(new ArpRecord(), {
      operation: prng.between(1, 2),
      senderHi: randomUint16(prng),
      senderLo: randomInt32(prng),
      senderIp: randomInt32(prng),
      targetHi: randomUint16(prng),
      targetLo: randomInt32(prng),
      targetIp: randomInt32(prng),
    });
    const frame = framed(new Uint8Array(ARP_LENGTH), 0xa5, prng.below(4));
    expect(writeArp(message, frame.slab, frame.start)).toBe(frame.end);
    expect(isClean(frame)).toBe(true);
    const got = new ArpRecord();
    for (let end = frame.start; end < frame.end; end++) {
      expect(readArp(frame.slab, frame.start, end, got)).toBe(Drop.ArpMalformed);
    }
    expect(got).toEqual(new ArpRecord());
    expect(readArp(frame.slab, frame.start, frame.end + 18, got)).toBe(Drop.None); // Ethernet pads
    expect(got).toEqual(message);
  }
});

test("ARP for other hardware, protocols, sizes and operations is refused", () => {
  const { slab, start, end } = framed(new Uint8Array(ARP_LENGTH));
  const into = new ArpRecord();
  for (const [at, value] of [[0, 6], [2, ETHER_ARP], [4, 0x0804], [4, 0x0610], [6, 0], [6, 3]] as const) {
    writeArp(Object.assign(new ArpRecord(), { operation: 1 }), slab, start);
    expect(readArp(slab, start, end, into)).toBe(Drop.None);
    slab.view.setUint16(start + at, value);
    expect(readArp(slab, start, end, into), `${value} at ${at}`).toBe(Drop.ArpMalformed);
  }
});
