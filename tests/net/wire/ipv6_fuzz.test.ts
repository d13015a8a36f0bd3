import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import type { Slab } from "../../../base/slab.ts";
import { Drop, dropNames } from "../../../net/wire/drop.ts";
import { finishIcmpv6Checksum, Icmpv6Record, readIcmpv6 } from "../../../net/wire/icmpv6.ts";
import { Ipv6Record, readIpv6, readQuotedIpv6 } from "../../../net/wire/ipv6.ts";
import { formatIpv6, parseIpv6 } from "../../../net/wire/ipv6_address.ts";
import { NdpRecord, readNdp } from "../../../net/wire/ndp.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { atTheEdge, framed, ip6, randomBytes } from "./frames.ts";

const OPTIONS = "110105020000" + "0100"; // a router alert in a hop-by-hop header
const TCP = "1f90c00112345678876543215018ffff00000000" + "68656c6c6f";
const RA = "86000000" + "40800708" + "00007530" + "000003e8" + "0101021122334455" + "05010000000005dc" +
  "030440c000000e100000070800000000" + "20010db8000700000000000000000000" +
  "190300000000025820010db8000000000000000000000053";

/** Packets with everything that is walked or read. */
const PACKETS = [
  ip6(6, TCP),
  ip6(17, "0035c00000100000" + "6162636465666768"),
  ip6(0, "2b00050200000100" + "3c00000000000000" + "0600010400000000" + TCP),
  ip6(0, OPTIONS + TCP),
  ip6(44, "1100000189abcdef" + "0035c00000100000" + "6162636465666768"),
  ip6(44, "11000ff889abcdef" + "6162636465666768"),
  ip6(60, "06009e0400000000" + TCP),
  ip6(43, "0600000100000000" + TCP),
  ip6(58, RA, "ff02::1", 255),
  ip6(
    58,
    "8700000000000000" + "20010db8000000000000000000000002" + "0101021122334455",
    "ff02::1:ff00:2",
    255,
  ),
  ip6(58, "0100000000000000" + "6000000000190640" + "00".repeat(32) + TCP),
];

/** Each reader with what it is given of a packet; the answer must not depend on what lies around it. */
const READERS: [string, (slab: Slab, start: number, end: number) => [Drop, object]][] = [
  ["ipv6", (slab, start, end) => of(new Ipv6Record(), (into) => readIpv6(slab, start, end, into))],
  [
    "quoted ipv6",
    (slab, start, end) => of(new Ipv6Record(), (into) => readQuotedIpv6(slab, start, end, into)),
  ],
  ["icmpv6", (slab, start, end) =>
    of(new Icmpv6Record(), (into) => {
      return end - start < 44 ? Drop.IcmpShort : readIcmpv6(slab, start + 40, end, 1, 2, into);
    })],
  [
    "ndp",
    (slab, start, end) =>
      of(new NdpRecord(), (into) => end - start < 48 ? Drop.IcmpShort : readNdp(slab, start + 40, end, into)),
  ],
];

function of<T extends object>(into: T, read: (into: T) => Drop): [Drop, T] {
  return [read(into), into];
}

function mutated(prng: Prng): Uint8Array<ArrayBuffer> {
  if (prng.chance(0.05)) return randomBytes(prng, prng.below(200));
  const bytes = Uint8Array.from([...prng.pick(PACKETS), ...randomBytes(prng, 8)]);
  const length = prng.chance(0.6) ? bytes.length - 8 : prng.below(bytes.length + 1);
  for (let changes = prng.below(5); changes > 0 && length > 0; changes--) {
    bytes[prng.below(length)] = prng.pick([0, 1, 2, 0x3a, 0x3c, 0x7f, 0x80, 0xff, prng.below(256)]);
  }
  return bytes.slice(0, length);
}

/** Offsets as distances from the packet's start, and whether all of them lie in the packet. */
function relative(record: object, start: number, end: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(record)) {
    if (value instanceof Ipv6Record) {
      fields[key] = (record as Icmpv6Record).hasQuote && relative(value, start, end);
    } else if (typeof value !== "number") fields[key] = value;
    else if (key === "problemAt" || !/(Start|End|At)$/.test(key) || value === 0) fields[key] = value;
    else {
      expect(value).toBeGreaterThanOrEqual(start);
      expect(value).toBeLessThanOrEqual(end);
      fields[key] = value - start;
    }
  }
  return fields;
}

for (const [name, read] of READERS) {
  test(`${name}: no input throws, no answer depends on a byte outside the packet`, () => {
    const prng = new Prng(0x86dd);
    const reasons = new Set<string>();
    for (let run = 0; run < 6000; run++) {
      const bytes = mutated(prng);
      if (name === "icmpv6" && bytes.length >= 48 && prng.chance(0.8)) {
        const { slab, start, end } = framed(bytes);
        finishIcmpv6Checksum(slab, start + 40, end, 1, 2);
        bytes.set(slab.bytes.subarray(start, end));
      }
      const answers = [framed(bytes, 0), framed(bytes, 0xff, 1), framed(bytes, 0x3c, 2), atTheEdge(bytes)]
        .map(({ slab, start, end }) => {
          const [drop, record] = read(slab, start, end);
          if (name === "ndp") return [drop, (record as NdpRecord).prefixCount, (record as NdpRecord).hasLink];
          return [drop, drop === Drop.None && relative(record, start, end)];
        });
      for (const answer of answers) expect(answer, `run ${run} of seed ${prng.seed}`).toEqual(answers[0]);
      reasons.add(dropNames[answers[0]![0] as Drop]!);
    }
    expect(reasons).toContain("None");
    expect(reasons.size).toBeGreaterThan(1);
  });
}

test("printing never throws, and shows nothing from outside the packet", () => {
  const prng = new Prng(6);
  for (let run = 0; run < 4000; run++) {
    const bytes = mutated(prng);
    if (bytes.length > 0 && prng.chance(0.9)) bytes[0] = 0x60 | (bytes[0]! & 15);
    const lines = [framed(bytes, 0), framed(bytes, 0xff, 1), atTheEdge(bytes)].map(({ slab, start, end }) =>
      formatPacket(slab, start, end, "ip")
    );
    expect(new Set(lines).size, lines.join("\n")).toBe(1);
    expect(lines[0]).not.toMatch(/\n|NaN|undefined/);
  }
});

test("address text never throws, and what is read is written in one form", () => {
  const prng = new Prng(4291);
  for (let run = 0; run < 20_000; run++) {
    let text = "";
    for (let length = prng.below(16); length > 0; length--) {
      text += prng.pick([":", ":", "::", "0", "1", "ffff", "10.0.0.1", ".", "a", "g", "%", "/"]);
    }
    const words = parseIpv6(text);
    if (words !== undefined) expect(parseIpv6(formatIpv6(...words)), text).toEqual(words);
  }
});
