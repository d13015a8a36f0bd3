import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import type { Slab } from "../../../base/slab.ts";
import { ArpRecord, readArp } from "../../../net/wire/arp.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import { Drop, dropNames } from "../../../net/wire/drop.ts";
import { EthernetRecord, readEthernet } from "../../../net/wire/ethernet.ts";
import { finishIcmpChecksum, IcmpRecord, readIcmp } from "../../../net/wire/icmp.ts";
import { Ipv4Record, readIpv4, readQuotedIpv4 } from "../../../net/wire/ipv4.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { readTcp, tcpChecksumOk, TcpRecord } from "../../../net/wire/tcp.ts";
import { readUdp, udpChecksumOk, UdpRecord } from "../../../net/wire/udp.ts";
import { captured } from "./captured.ts";
import { atTheEdge, type Framed, framed, fromHex, randomBytes } from "./frames.ts";

type Fields = Record<string, unknown>;
type Read = (slab: Slab, start: number, end: number, into: never) => Drop;

/** Every reader, a fresh record for it, and where its input lies in the captured frames. */
const READERS: [string, Read, () => object, number][] = [
  ["ethernet", readEthernet, () => new EthernetRecord(), 0],
  ["arp", readArp, () => new ArpRecord(), 14],
  ["ipv4", readIpv4, () => new Ipv4Record(), 14],
  ["quoted ipv4", readQuotedIpv4, () => new Ipv4Record(), 14],
  ["icmp", readIcmp, () => new IcmpRecord(), 34],
  ["udp", readUdp, () => new UdpRecord(), 34],
  ["tcp", readTcp, () => new TcpRecord(), 34],
];

const frames = captured.map(({ hex }) => fromHex(hex));

/** A captured frame from `from` on, or noise, with a few bytes changed, cut or added. */
function mutated(prng: Prng, from: number): Uint8Array {
  if (prng.chance(0.1)) return randomBytes(prng, prng.below(120));
  const bytes = Uint8Array.from([...prng.pick(frames).subarray(from), ...randomBytes(prng, 8)]);
  const length = prng.chance(0.5) ? bytes.length - 8 : prng.below(bytes.length + 1);
  for (let changes = prng.below(4); changes > 0 && length > 0; changes--) {
    bytes[prng.below(Math.min(length, 64))] = prng.pick([0, 1, 2, 0x7f, 0x80, 0xff, prng.below(256)]);
  }
  return bytes.subarray(0, length);
}

/** Makes the checksums of a packet right, so that what lies behind them is reached. */
function mend(name: string, bytes: Uint8Array): Uint8Array {
  const { slab, start, end } = framed(bytes);
  if (name === "ipv4" && bytes.length >= 20) {
    slab.view.setUint16(start + 10, 0);
    slab.view.setUint16(start + 10, checksumOf(slab, start, Math.min(end, start + 4 * (bytes[0]! & 15))));
  }
  if (name === "icmp" && bytes.length >= 8) finishIcmpChecksum(slab, start, end);
  return slab.bytes.slice(start, end);
}

/** The same packet among different neighbours, at different alignments. */
function placed(bytes: Uint8Array): Framed[] {
  return [framed(bytes, 0, 0), framed(bytes, 0xff, 1), framed(bytes, 0x08, 2), atTheEdge(bytes)];
}

/** The record's numbers, offsets counted from the packet's start. */
function relative(record: object, start: number): Fields {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key,
      /Start$|End$/.test(key) ? value - start : value instanceof Ipv4Record ? relative(value, start) : value,
    ]),
  );
}

for (const [name, read, fresh, from] of READERS) {
  test(`${name}: no input throws, no answer depends on a byte outside the packet`, () => {
    const prng = new Prng(0xf0 + from);
    const reasons = new Set<string>();
    for (let run = 0; run < 5000; run++) {
      const noise = mutated(prng, from);
      const bytes = prng.chance(0.7) ? mend(name, noise) : noise;
      const where = `run ${run} of seed ${prng.seed}`;
      const answers = placed(bytes).map(({ slab, start, end }) => {
        const record = fresh();
        const before = structuredClone({ ...record });
        const drop = read(slab, start, end, record as never);
        if (drop !== Drop.None && name !== "icmp") expect({ ...record }, where).toEqual(before);
        if (drop === Drop.None) expectWithin(record, start, end, where);
        if (record instanceof IcmpRecord && !record.hasQuote) Object.assign(record, { quote: undefined });
        return [drop, drop === Drop.None && relative(record, start)];
      });
      for (const answer of answers) expect(answer, where).toEqual(answers[0]);
      reasons.add(dropNames[answers[0]![0] as Drop]!);
    }
    expect(reasons).toContain("None"); // else the fuzzing stopped at the first check
    expect(reasons.size).toBeGreaterThan(1);
  });
}

/** Every offset lies inside the packet, starts before ends. */
function expectWithin(record: object, start: number, end: number, where: string): void {
  const offsets = Object.entries(record).filter(([key]) => /^(data|header)(Start|End)$/.test(key));
  for (const [key, value] of offsets) {
    if (value < start || value > end) expect.unreachable(`${key} outside the packet, ${where}`);
  }
  const { dataStart, dataEnd } = record as { dataStart?: number; dataEnd?: number };
  if (dataStart !== undefined) expect(dataStart, where).toBeLessThanOrEqual(dataEnd!);
  if (record instanceof IcmpRecord && record.hasQuote) expectWithin(record.quote, start, end, where);
}

test("printing never throws, and shows nothing from outside the packet", () => {
  const prng = new Prng(80);
  for (let run = 0; run < 5000; run++) {
    const from = prng.pick([0, 14]);
    const bytes = from === 14 ? mend("ipv4", mutated(prng, 14)) : mutated(prng, 0);
    const lines = placed(bytes).map(({ slab, start, end }) =>
      formatPacket(slab, start, end, from === 0 ? "ethernet" : "ip")
    );
    expect(new Set(lines).size, `run ${run} of seed ${prng.seed}: ${lines.join("\n")}`).toBe(1);
    expect(lines[0]).not.toMatch(/\n|NaN|undefined/);
  }
});

test("checksums of whole segments do not depend on a byte outside the packet", () => {
  const prng = new Prng(1500);
  for (let run = 0; run < 2000; run++) {
    const bytes = mutated(prng, 34);
    if (bytes.length < 20) continue;
    const sums = placed(bytes).map(({ slab, start, end }) => [
      tcpChecksumOk(slab, start, end, 1, 2),
      udpChecksumOk(slab, start, end, 1, 2),
    ]);
    for (const sum of sums) expect(sum).toEqual(sums[0]);
  }
});
