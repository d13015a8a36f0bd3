import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { formatTuple, parseTuple } from "../../../net/connections/tuple.ts";

test("A tuple survives its text form", () => {
  const prng = new Prng(1);
  const addresses = [0, 1, -1, 0x7fff_ffff, -0x8000_0000];
  const ports = [0, 1, 65_535];
  for (let round = 0; round < 500; round++) {
    const tuple = {
      localAddress: prng.chance(0.2) ? prng.pick(addresses) : prng.uint32() | 0,
      localPort: prng.chance(0.2) ? prng.pick(ports) : prng.below(65_536),
      remoteAddress: prng.chance(0.2) ? prng.pick(addresses) : prng.uint32() | 0,
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
