import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import {
  commonPrefixLength,
  formatIpv6,
  type Ipv6Words,
  isInIpv6Prefix,
  maskedWords,
  parseIpv6,
  parseIpv6Prefix,
} from "../../../net/wire/ipv6_address.ts";
import { randomInt32 } from "./frames.ts";

const canonical = (text: string): string => formatIpv6(...parseIpv6(text)!);

test("RFC 5952: every way to write an address reads as one and prints as one", () => {
  const same = "2001:db8::1";
  for (
    const text of [
      "2001:db8::1",
      "2001:0DB8:0:0:0:0:0:1",
      "2001:db8:0:0::1",
      "2001:db8::0:1",
      "2001:db8::0.0.0.1",
    ]
  ) expect(canonical(text)).toBe(same);
  const kept = [
    "::",
    "::1",
    "1::",
    "2001:db8:0:1:1:1:1:1", // one group is not shortened
    "2001:0:0:1::1", // the longest run is
    "2001:db8::1:0:0:1", // and of two the first
    "::ffff:10.0.0.1",
    "1:2:3:4:5:6:7:8",
    "fe80::1",
    "1::4:5:6:0:0",
    "1:0:0:4:5::", // at the end
  ];
  for (const text of kept) expect(canonical(text)).toBe(text);
  expect(canonical("1:2:3:4:5:6:7::")).toBe("1:2:3:4:5:6:7:0");
  expect(canonical("::2:3:4:5:6:7:8")).toBe("0:2:3:4:5:6:7:8");
  expect(canonical("64:ff9b::192.0.2.33")).toBe("64:ff9b::c000:221");
});

test("what is no address is refused", () => {
  const wrong = [
    "",
    ":",
    ":::",
    "1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "12345::",
    "g::",
    ":1",
    "1:",
    ":1::",
    "1.2.3.4",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
    "::01.2.3.4",
    "1:2:3:4:5:6:7:1.2.3.4",
    "fe80::1%eth0",
    "[::1]",
    " ::1",
    "::1 ",
    "0x1::",
    "-1::",
    "::" + "0".repeat(60),
  ];
  for (const text of wrong) expect(parseIpv6(text), text).toBeUndefined();
});

test("random addresses come back, and their text is the one that the platform's URL parser writes", () => {
  const prng = new Prng(5952);
  for (let run = 0; run < 3000; run++) {
    const words = [0, 1, 2, 3].map(() => prng.chance(0.4) ? 0 : randomInt32(prng) & randomInt32(prng));
    const text = formatIpv6(...words as unknown as Ipv6Words);
    expect(parseIpv6(text), text).toEqual(words);
    if (!text.includes(".")) expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
  }
});

test("prefixes: lengths 0 to 128, bits beyond them, and who lies in them", () => {
  expect(parseIpv6Prefix("2001:db8::5/32")).toEqual({ words: [0x20010db8, 0, 0, 5], prefixLength: 32 });
  expect(parseIpv6Prefix("::1")).toEqual({ words: [0, 0, 0, 1], prefixLength: 128 });
  for (const text of ["::/129", "::/", "::/01", "::/-1", "::/1.0", "/64", "::/64/64"]) {
    expect(parseIpv6Prefix(text), text).toBeUndefined();
  }
  const prng = new Prng(128);
  for (let run = 0; run < 500; run++) {
    const words = [0, 1, 2, 3].map(() => prng.uint32() | 0) as unknown as Ipv6Words;
    const prefixLength = prng.between(0, 128);
    const prefix = { words: maskedWords(words, prefixLength), prefixLength };
    expect(isInIpv6Prefix(words, prefix)).toBe(true);
    if (prefixLength === 0) continue;
    const bit = prng.below(prefixLength); // one bit of the prefix is another
    const other = words.map((word, at) => bit >>> 5 === at ? word ^ (0x8000_0000 >>> (bit & 31)) : word);
    expect(isInIpv6Prefix(other as unknown as Ipv6Words, prefix)).toBe(false);
    expect(commonPrefixLength(words, other as unknown as Ipv6Words)).toBe(bit);
  }
});
