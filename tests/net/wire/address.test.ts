import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import {
  formatIpv4,
  isBroadcast,
  isInPrefix,
  isLoopback,
  isMulticast,
  isSubnetBroadcast,
  isUnspecified,
  maskOf,
  parseIpv4,
  parsePrefix,
} from "../../../net/wire/address.ts";
import { randomInt32 } from "./frames.ts";

const ip = (text: string): number => parseIpv4(text)!;

test("addresses are signed integers and come back as text", () => {
  expect(parseIpv4("0.0.0.0")).toBe(0);
  expect(parseIpv4("127.0.0.1")).toBe(0x7f00_0001);
  expect(parseIpv4("192.0.2.1")).toBe(0xc000_0201 | 0);
  expect(parseIpv4("255.255.255.255")).toBe(-1);
  expect(formatIpv4(0xc000_0201)).toBe("192.0.2.1"); // unsigned is understood too
  const prng = new Prng(791);
  for (let run = 0; run < 1000; run++) {
    const address = randomInt32(prng);
    expect(parseIpv4(formatIpv4(address))).toBe(address);
  }
});

test("parseIpv4() refuses what is not a dotted quad", () => {
  const wrong =
    "|1|1.2.3|1.2.3.4.5|1.2.3.|.1.2.3|1..2.3|1.2.3.256|1.2.3.0004|01.2.3.4|00.0.0.0|1.2.3.4 | 1.2.3.4|" +
    "1.2.3.-4|1.2.3.+4|0x1.2.3.4|1.2.3.4a|1.2.3.1e1|1,2,3,4|4294967295|...|1.2.3.٤";
  for (const text of wrong.split("|")) expect(parseIpv4(text), `"${text}"`).toBeUndefined();
});

test("parsePrefix() takes lengths 0 to 32 and nothing else", () => {
  for (let prefixLength = 0; prefixLength <= 32; prefixLength++) {
    expect(parsePrefix(`10.1.2.3/${prefixLength}`)).toEqual({ address: ip("10.1.2.3"), prefixLength });
  }
  expect(parsePrefix("10.1.2.3")).toEqual({ address: ip("10.1.2.3"), prefixLength: 32 });
  for (
    const text of ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0/8", "/8", "1.2.3.4/8/8"]
  ) {
    expect(parsePrefix(text), text).toBeUndefined();
  }
});

test("maskOf() and isInPrefix() agree with comparing bits one by one", () => {
  expect(maskOf(0)).toBe(0);
  expect(maskOf(1)).toBe(-0x8000_0000);
  expect(maskOf(24)).toBe(ip("255.255.255.0"));
  expect(maskOf(32)).toBe(-1);
  const bits = (address: number): string => (address >>> 0).toString(2).padStart(32, "0");
  const prng = new Prng(4632);
  for (let run = 0; run < 2000; run++) {
    const prefix = randomInt32(prng);
    const prefixLength = prng.between(0, 32);
    const address = prng.chance(0.5) ? prefix ^ (1 << prng.below(32)) : randomInt32(prng);
    expect(isInPrefix(address, prefix, prefixLength), `${bits(address)} ${bits(prefix)} ${prefixLength}`)
      .toBe(bits(address).slice(0, prefixLength) === bits(prefix).slice(0, prefixLength));
  }
});

test("special addresses, each with its neighbours on either side", () => {
  const edges = [
    [isLoopback, "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"],
    [isMulticast, "223.255.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0"],
    [isUnspecified, "255.255.255.255", "0.0.0.0", "0.0.0.0", "0.0.0.1"],
    [isBroadcast, "255.255.255.254", "255.255.255.255", "255.255.255.255", "0.0.0.0"],
  ] as const;
  for (const [is, before, first, last, after] of edges) {
    expect([before, first, last, after].map((text) => is(ip(text))), is.name).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect([before, first, last, after].map((text) => is(ip(text) >>> 0))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  }
});

test("isSubnetBroadcast() knows the last address of a network, down to /30", () => {
  expect(isSubnetBroadcast(ip("10.0.0.255"), ip("10.0.0.7"), 24)).toBe(true);
  expect(isSubnetBroadcast(ip("10.0.0.254"), ip("10.0.0.7"), 24)).toBe(false);
  expect(isSubnetBroadcast(ip("10.0.1.255"), ip("10.0.0.7"), 24)).toBe(false);
  expect(isSubnetBroadcast(ip("10.0.0.3"), ip("10.0.0.1"), 30)).toBe(true);
  expect(isSubnetBroadcast(ip("10.0.0.1"), ip("10.0.0.0"), 31)).toBe(false);
  expect(isSubnetBroadcast(ip("10.0.0.1"), ip("10.0.0.1"), 32)).toBe(false);
});
