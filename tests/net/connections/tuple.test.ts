import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { formatTuple as format, parseTuple as parse, type Tuple } from "../../../net/connections/tuple.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";

const table = new AddressTable({ entropy: new Prng(9) });
const formatTuple = (...ends: [number, number, number, number]): string => format(...ends, table);
const parseTuple = (text: string): Tuple => parse(text, table);
/** Any IPv4 address but those of class E, which no host has. */
const anyAddress = (prng: Prng): number => {
  const address = prng.uint32() | 0;
  return address >>> 28 === 15 ? -1 : address;
};

test("A tuple survives its text form", () => {
  const prng = new Prng(1);
  const addresses = [0, 1, -1, 0x7fff_ffff, -0x8000_0000];
  const ports = [0, 1, 65_535];
  for (let round = 0; round < 500; round++) {
    const tuple = {
      localAddress: prng.chance(0.2) ? prng.pick(addresses) : anyAddress(prng),
      localPort: prng.chance(0.2) ? prng.pick(ports) : prng.below(65_536),
      remoteAddress: prng.chance(0.2) ? prng.pick(addresses) : anyAddress(prng),
      remotePort: prng.chance(0.2) ? prng.pick(ports) : prng.below(65_536),
    };
    const text = formatTuple(tuple.localAddress, tuple.localPort, tuple.remoteAddress, tuple.remotePort);
    expect(parseTuple(text), text).toEqual(tuple);
  }
});

test("The text form, local end first, from signed and unsigned addresses", () => {
  expect(formatTuple(0x0a070001, 80, 0x0a090004, 51_312)).toBe("10.7.0.1:80-10.9.0.4:51312");
  expect(formatTuple(0xffff_ffff, 65_535, -1, 0)).toBe("255.255.255.255:65535-255.255.255.255:0");
});

test("parseTuple() takes the largest numbers and nothing else than the one form", () => {
  const good = "10.7.0.1:80-10.9.0.4:51312";
  expect(parseTuple("255.255.255.255:65535-0.0.0.0:0").localPort).toBe(65_535);
  const bad = [
    "",
    ` ${good}`,
    `${good}\n`,
    good.replace("10.7", "010.7"),
    good.replace(":80", ":080"),
    good.replace(":80", ":+80"),
    good.replace(":80", ":"),
    good.replace(":80", ":8e1"),
    good.replace(":80", ":65536"),
    good.replace("51312", "65536"),
    good.replace("51312", "999999"),
    good.replace("10.9", "256.9"),
    good.replace("0.1:", "256:"),
    good.replace("10.7.0.1", "10.7.1"),
    good.replace("10.7.0.1", "10.7.0.1.2"),
    good.replace("-", " - "),
    good.replace("-", "_"),
    good.slice(0, good.indexOf("-")),
    `${good}-${good}`,
    good.replace("80", "８０"),
  ];
  for (const text of bad) {
    expect(() => parseTuple(text), JSON.stringify(text)).toThrow(TypeError);
    expect(() => parseTuple(text), JSON.stringify(text)).toThrow(`"${text}"`);
  }
});

test("IPv6 ends stand in brackets, in their one form, and come back", () => {
  table.zoneNames[0] = "net0";
  const [one, other] = ["2001:db8::1", "fe80::2%net0"].map((text) => table.parse(text)!) as [number, number];
  const text = formatTuple(one, 80, other, 51_312);
  expect(text).toBe("[2001:db8::1]:80-[fe80::2%net0]:51312");
  expect(parseTuple(text)).toEqual({
    localAddress: one,
    localPort: 80,
    remoteAddress: other,
    remotePort: 51_312,
  });
  const good = "[2001:db8::1]:80-[2001:db8::2]:9";
  expect(parseTuple(good).remotePort).toBe(9);
  const bad = [
    good.replace("[", ""),
    good.replace("2001:db8::1", "2001:db8:0::1"),
    good.replace("2001:db8::1", "2001:DB8::1"),
    good.replace("2001:db8::1", "::ffff:10.0.0.1"),
    good.replace("[2001:db8::1]", "2001:db8::1"),
    good.replace("[2001:db8::1]", "[10.0.0.1]"),
    good.replace("2001:db8::1", "fe80::1"),
    good.replace("2001:db8::1", "fe80::1%0"),
    "240.0.0.0:80-10.0.0.1:9",
  ];
  for (const text of bad) expect(() => parseTuple(text), text).toThrow(TypeError);
});
