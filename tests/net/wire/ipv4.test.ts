import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import { Drop } from "../../../net/wire/drop.ts";
import {
  IPV4_HEADER_LENGTH,
  IPV4_LENGTH_MAX,
  Ipv4Record,
  readIpv4,
  readQuotedIpv4,
  writeIpv4,
} from "../../../net/wire/ipv4.ts";
import { type Framed, framed, isClean, randomBytes, randomInt32, randomUint16 } from "./frames.ts";

function randomHeader(prng: Prng): Ipv4Record {
  return Object.assign(new Ipv4Record(), {
    source: randomInt32(prng),
    destination: randomInt32(prng),
    protocol: prng.below(256),
    typeOfService: prng.below(256),
    timeToLive: prng.below(256),
    identification: randomUint16(prng),
    dontFragment: prng.chance(0.5),
    moreFragments: prng.chance(0.5),
    fragmentOffset: 8 * prng.below(8192),
  });
}

/** A packet with `optionsLength` bytes of options behind the header. */
function packet(prng: Prng, dataLength: number, optionsLength = 0): Framed {
  const frame = framed(randomBytes(prng, IPV4_HEADER_LENGTH + optionsLength + dataLength));
  writeIpv4(randomHeader(prng), frame.slab, frame.start, optionsLength + dataLength);
  frame.slab.bytes[frame.start] = 0x45 + optionsLength / 4;
  fixChecksum(frame);
  return frame;
}

function fixChecksum({ slab, start }: Framed): void {
  slab.view.setUint16(start + 10, 0);
  slab.view.setUint16(start + 10, checksumOf(slab, start, start + 4 * (slab.bytes[start]! & 15)));
}

test("headers round-trip, padding behind the packet is not data", () => {
  const prng = new Prng(1981);
  for (let run = 0; run < 500; run++) {
    const header = randomHeader(prng);
    const dataLength = prng.below(60);
    const frame = framed(new Uint8Array(20 + dataLength).fill(0xa5), 0xa5, prng.below(4));
    header.headerStart = frame.start;
    header.dataStart = frame.start + 20;
    header.dataEnd = frame.end;
    expect(writeIpv4(header, frame.slab, frame.start, dataLength)).toBe(header.dataStart);
    expect(isClean({ ...frame, end: header.dataStart })).toBe(true);
    const got = new Ipv4Record();
    expect(readIpv4(frame.slab, frame.start, frame.end + prng.below(30), got)).toBe(Drop.None);
    expect(got, `run ${run} of seed ${prng.seed}`).toEqual(header);
  }
});

test("the longest datagram is read", () => {
  const { slab, start, end } = packet(new Prng(3), IPV4_LENGTH_MAX - IPV4_HEADER_LENGTH);
  const got = new Ipv4Record();
  expect(readIpv4(slab, start, end, got)).toBe(Drop.None);
  expect(got.dataEnd - start).toBe(0xffff);
});

test("options are skipped, as many as fit, and covered by the checksum", () => {
  const prng = new Prng(15);
  for (let optionsLength = 0; optionsLength <= 40; optionsLength += 4) {
    const { slab, start, end } = packet(prng, 9, optionsLength);
    const got = new Ipv4Record();
    expect(readIpv4(slab, start, end, got)).toBe(Drop.None);
    expect([got.dataStart - start, got.dataEnd - start]).toEqual([20 + optionsLength, 29 + optionsLength]);
    for (let at = start; at < start + 20 + optionsLength; at++) {
      slab.bytes[at]! ^= 0x10; // one bit anywhere in the header
      expect(readIpv4(slab, start, end, got), `byte ${at - start}`).not.toBe(Drop.None);
      slab.bytes[at]! ^= 0x10;
    }
  }
});

test("every truncation is refused, and the record stays as it was", () => {
  const { slab, start, end } = packet(new Prng(20), 12, 8);
  const into = new Ipv4Record();
  for (let cut = start; cut < end; cut++) {
    const want = cut - start < 20 ? Drop.Ipv4Short : cut - start < 28 ? Drop.Ipv4Header : Drop.Ipv4Length;
    expect(readIpv4(slab, start, cut, into), `${cut - start}`).toBe(want);
  }
  expect(into).toEqual(new Ipv4Record());
  expect(readIpv4(slab, start, end, into)).toBe(Drop.None);
});

test("each field is judged on both sides of its limit", () => {
  const prng = new Prng(24);
  const after = (change: (frame: Framed) => void): Drop => {
    const frame = packet(prng, 12);
    change(frame);
    fixChecksum(frame);
    return readIpv4(frame.slab, frame.start, frame.end, new Ipv4Record());
  };
  const set8 = (value: number) => ({ slab, start }: Framed) => slab.view.setUint8(start, value);
  const length = (value: number) => ({ slab, start }: Framed) => slab.view.setUint16(start + 2, value);
  expect(after(() => {})).toBe(Drop.None);
  expect(after(set8(0x35))).toBe(Drop.Ipv4Version);
  expect(after(set8(0x65))).toBe(Drop.Ipv4Version);
  expect(after(set8(0x44))).toBe(Drop.Ipv4Header);
  expect(after(set8(0x48))).toBe(Drop.None); // 32 bytes of header, nothing else
  expect(after(set8(0x49))).toBe(Drop.Ipv4Header);
  expect(after(length(19))).toBe(Drop.Ipv4Length);
  expect(after(length(20))).toBe(Drop.None);
  expect(after(length(32))).toBe(Drop.None);
  expect(after(length(33))).toBe(Drop.Ipv4Length);
});

test("a quoted packet may be cut short and its checksum wrong", () => {
  const { slab, start } = packet(new Prng(792), 400, 4);
  slab.bytes[start + 8]!--; // a router counted down the time to live and left the checksum
  const got = new Ipv4Record();
  expect(readQuotedIpv4(slab, start, start + 19, got)).toBe(Drop.Ipv4Short);
  expect(readQuotedIpv4(slab, start, start + 23, got)).toBe(Drop.Ipv4Header);
  expect(got).toEqual(new Ipv4Record());
  expect(readQuotedIpv4(slab, start, start + 24, got)).toBe(Drop.None);
  expect([got.dataStart, got.dataEnd]).toEqual([start + 24, start + 24]);
  slab.bytes[start] = 0x55;
  expect(readQuotedIpv4(slab, start, start + 24, got)).toBe(Drop.Ipv4Version);
});
