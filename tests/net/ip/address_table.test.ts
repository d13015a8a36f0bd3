import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";
import { IPV6_ANY, isIpv6Handle } from "../../../net/wire/address.ts";
import { isStrayLinkLocalWord, parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { foldSum } from "../../../net/wire/checksum.ts";
import { sumIpv6Address } from "../../../net/wire/ipv6.ts";

function table(options: { addressesMax?: number; transientsMax?: number } = {}): AddressTable {
  return new AddressTable({ entropy: new Prng(7), ...options });
}

test("an address has one handle, whether it comes from text, from a packet or from an image", () => {
  const addresses = table();
  const handle = addresses.parse("2001:db8::7:1")!;
  expect(isIpv6Handle(handle)).toBe(true);
  expect(addresses.parse("2001:0db8:0::0007:1")).toBe(handle);
  const slab = Slab.of(20);
  addresses.write(handle, slab, 3);
  expect(addresses.read(slab, 3, 1)).toBe(handle);
  expect(addresses.lookup(slab, 3, 1)).toBe(handle);
  expect(addresses.thaw(addresses.freeze(handle))).toBe(handle);
  expect(addresses.freeze(handle)).toEqual(slab.bytes.slice(3, 19));
  expect(foldSum(addresses.sum(handle))).toBe(foldSum(sumIpv6Address(slab, 3)));
  expect(addresses.format(handle)).toBe("2001:db8::7:1");
  slab.bytes[18]!++;
  expect(addresses.lookup(slab, 3, 1)).toBe(0);
  expect(addresses.parse("::")).toBe(IPV6_ANY);
});

test("IPv4 addresses are themselves, mapped ones too, and class E is nobody's", () => {
  const addresses = table();
  expect(addresses.parse("10.0.0.1")).toBe(0x0a000001);
  expect(addresses.parse("::ffff:10.0.0.1")).toBe(0x0a000001);
  expect(addresses.parse("255.255.255.255")).toBe(-1);
  expect(isIpv6Handle(-1)).toBe(false);
  for (const text of ["240.0.0.0", "240.0.0.1", "254.1.2.3", "::1%net0", "fe80::1%nowhere", "x"]) {
    expect(addresses.parse(text), text).toBeUndefined();
  }
  expect(addresses.thaw(0x0a000001)).toBe(0x0a000001);
  expect(addresses.freeze(-1)).toBe(0xffff_ffff);
  expect(() => addresses.thaw(0xf000_0001)).toThrow(RangeError);
  expect(() => addresses.thaw(new Uint8Array(15))).toThrow(RangeError);
  expect(addresses.sum(0x0a000001)).toBe(0x0a000001);
  addresses.retain(0x0a000001);
  addresses.release(0x0a000001);
  expect(addresses.retained).toBe(1);
});

test("a link-local address is another one on every interface, in text, packets and images", () => {
  const addresses = table();
  addresses.zoneNames.push("net0", "lan");
  const one = addresses.parse("fe80::1%net0")!;
  const other = addresses.parse("fe80::1%lan")!;
  expect(one).not.toBe(other);
  expect(addresses.parse("fe80::1")).toBe(one);
  expect(addresses.parse("fe80::1%1")).toBe(other);
  expect([one, other].map((each) => addresses.format(each))).toEqual(["fe80::1%net0", "fe80::1%lan"]);
  const slab = Slab.of(16);
  addresses.write(other, slab, 0);
  expect([...slab.bytes]).toEqual([0xfe, 0x80, ...new Array(13).fill(0), 1]); // the zone is never on a wire
  expect(addresses.read(slab, 0, 2)).toBe(other);
  expect(addresses.thaw(addresses.freeze(other))).toBe(other);
  expect(addresses.freeze(other)).not.toEqual(addresses.freeze(one));
});

test("fe80::/10 beyond fe80::/64 names nobody: images keep the interface's number in those bits (RFC 4291 section 2.5.6)", () => {
  const addresses = table({});
  addresses.zoneNames.push("eth0");
  expect(addresses.parse("fe80:1::1")).toBe(undefined);
  expect(addresses.parse("fe80:0:0:1::1")).not.toBe(undefined);
  const near = addresses.parse("fe80::1")!;
  expect(addresses.thaw(addresses.freeze(near))).toBe(near);
});

test("a packet may name addresses beyond fe80::/64: they are nobody's, whatever interface they come from", () => {
  const addresses = table();
  const words = (first: number): [number, number, number, number] => [first | 0, 0, 0, 1];
  const near = addresses.intern(...words(0xfe80_0000), 1);
  const stray = addresses.intern(...words(0xfe80_0001), 1);
  expect(stray).not.toBe(near);
  expect(isStrayLinkLocalWord(addresses.word(stray, 0))).toBe(true);
  expect([addresses.word(near, 0), addresses.zone(near), addresses.zone(stray)]).toEqual([
    0xfe80_0000 | 0,
    1,
    0,
  ]);
  expect(addresses.intern(...words(0xfe80_0000), 2)).not.toBe(near);
  expect(addresses.intern(...words(0xfebf_0000), 1)).not.toBe(near);
});

test("a digest stays with its address and not with the handle, when that becomes another's", () => {
  const addresses = table({ transientsMax: 16 });
  const first = addresses.intern(1, 2, 3, 4, 0);
  const digest = addresses.digest(first);
  let again = 0;
  for (let at = 0; at < 17 && again !== first; at++) again = addresses.intern(9, 9, 9, at, 0);
  expect(again).toBe(first); // the record is used again
  expect(addresses.digest(again)).not.toBe(digest);
});

test("an address takes 30 bytes and less when there are many", () => {
  const addresses = table();
  const count = 90_000; // the index just short of growing
  for (let at = 0; at < count; at++) addresses.retain(addresses.intern(0x2001_0db8, at, at * 7, 1, 0));
  expect(addresses.byteLength / count).toBeLessThan(30);
  for (let at = 0; at < count; at += 997) {
    expect(addresses.words(addresses.intern(0x2001_0db8, at, at * 7, 1, 0))).toEqual([
      0x2001_0db8,
      at,
      at * 7,
      1,
    ]);
  }
});

test("what nobody holds is forgotten, the oldest first; what is held stays", () => {
  const addresses = table({ transientsMax: 100 });
  const held = addresses.parse("2001:db8::1")!;
  addresses.retain(held);
  addresses.retain(held);
  const before = addresses.digest(held);
  const early = addresses.parse("2001:db8::2")!;
  const earlyDigest = addresses.digest(early);
  for (let at = 0; at < 99; at++) addresses.intern(1, 2, 3, at, 0);
  expect(addresses.format(early)).toBe("2001:db8::2");
  expect(addresses.size).toBe(102); // with ::
  for (let at = 99; at < 5000; at++) addresses.intern(1, 2, 3, at, 0);
  expect(addresses.size).toBe(102);
  expect(addresses.format(held)).toBe("2001:db8::1");
  expect(addresses.parse("2001:db8::1")).toBe(held);
  expect(addresses.digest(held)).toBe(before);
  const again = addresses.parse("2001:db8::2")!;
  expect(addresses.digest(again)).toBe(earlyDigest); // a new handle, the same digest
  addresses.release(held);
  expect(addresses.retained).toBe(2);
  addresses.release(held);
  expect(addresses.retained).toBe(1);
  for (let at = 0; at < 200; at++) addresses.intern(4, 2, 3, at, 0);
  expect(addresses.size).toBe(101);
  expect(() => addresses.release(held)).toThrow();
});

test("an address that was forgotten is not found again where it was", () => {
  const addresses = table({ transientsMax: 16 });
  const held = addresses.intern(1, 2, 3, 4, 0);
  addresses.retain(held);
  for (let at = 0; at < 16; at++) addresses.intern(9, 9, 9, at, 0);
  addresses.release(held); // the oldest of them goes, and nobody takes its place
  expect(addresses.size).toBe(17);
  const again = addresses.intern(9, 9, 9, 0, 0);
  expect(addresses.size).toBe(17); // the next oldest made room for it
  addresses.retain(again);
  for (let at = 100; at < 200; at++) addresses.intern(9, 9, 9, at, 0);
  expect(addresses.words(again)).toEqual([9, 9, 9, 0]);
});

test("a table full of held addresses takes no more, and says so; one place free is one more", () => {
  const addresses = table({ addressesMax: 50, transientsMax: 16 });
  const handles: number[] = [];
  for (let at = 0; at < 33; at++) {
    const handle = addresses.intern(1, 1, 1, at, 0);
    expect(handle, `${at}`).not.toBe(0);
    addresses.retain(handle);
    handles.push(handle);
  }
  // 34 are held; 16 places are left for the packets at hand, and recycled among them.
  for (let at = 0; at < 100; at++) expect(addresses.intern(2, 2, 2, at, 0)).not.toBe(0);
  expect(addresses.size).toBe(50);
  const more = addresses.intern(3, 3, 3, 3, 0);
  addresses.retain(more);
  expect(addresses.intern(3, 3, 3, 4, 0)).toBe(0);
  expect(() => addresses.parse("9::9")).toThrow(RangeError);
  expect(addresses.intern(1, 1, 1, 5, 0)).toBe(handles[5]);
  addresses.release(more);
  expect(addresses.intern(3, 3, 3, 4, 0)).not.toBe(0);
});

test("a random life: the table agrees with a Map, handles of what is held never change (seed 24)", () => {
  const prng = new Prng(24);
  const addresses = table({ transientsMax: 64 });
  const held = new Map<string, { handle: number; count: number }>();
  for (let step = 0; step < 60_000; step++) {
    const text = `2001:db8::${prng.between(1, step < 30_000 ? 20_000 : 50).toString(16)}`;
    const handle = addresses.ofWords(parseIpv6(text)!);
    const entry = held.get(text);
    if (entry !== undefined) expect(handle).toBe(entry.handle);
    expect(addresses.format(handle)).toBe(text);
    if (prng.chance(0.4)) {
      addresses.retain(handle);
      held.set(text, { handle, count: (entry?.count ?? 0) + 1 });
    } else if (entry !== undefined) {
      addresses.release(handle);
      if (entry.count === 1) held.delete(text);
      else entry.count--;
    }
  }
  expect(addresses.retained).toBe(held.size + 1);
  for (const [text, { handle, count }] of held) {
    expect(addresses.parse(text)).toBe(handle);
    for (let left = count; left > 0; left--) addresses.release(handle);
  }
  expect(addresses.retained).toBe(1);
  expect(addresses.size).toBe(65);
});
