import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { finishUdpChecksum, readUdp, udpChecksumOk, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { framed, isClean, randomBytes, randomInt32, randomUint16 } from "./frames.ts";

test("datagrams round-trip; any flipped bit breaks the checksum (RFC 768)", () => {
  const prng = new Prng(768);
  for (let run = 0; run < 300; run++) {
    const frame = framed(randomBytes(prng, 8 + prng.below(80)), 0xa5, prng.below(4));
    const { slab, start, end } = frame;
    const [source, destination] = [randomInt32(prng), randomInt32(prng)];
    const want = Object.assign(new UdpRecord(), {
      sourcePort: randomUint16(prng),
      destinationPort: randomUint16(prng, 1),
      dataStart: start + 8,
      dataEnd: end,
    });
    expect(writeUdp(want, slab, start, end - start - 8)).toBe(start + 8);
    expect(udpChecksumOk(slab, start, end, source, destination)).toBe(true); // absent
    finishUdpChecksum(slab, start, end, source, destination);
    expect(isClean(frame)).toBe(true);
    const got = new UdpRecord();
    expect(readUdp(slab, start, end + prng.below(9), got)).toBe(Drop.None);
    expect(got).toEqual(want);
    expect(udpChecksumOk(slab, start, end, source, destination)).toBe(true);
    expect(udpChecksumOk(slab, start, end, source ^ 1, destination)).toBe(false);
    const at = prng.between(start, end - 1);
    slab.bytes[at]! ^= 1 << prng.below(8);
    if (slab.view.getUint16(start + 6) !== 0) {
      expect(udpChecksumOk(slab, start, end, source, destination), `byte ${at - start}`).toBe(false);
    }
  }
});

test("a checksum that comes out as zero is sent as 0xffff", () => {
  const { slab, start, end } = framed(new Uint8Array(10));
  writeUdp(Object.assign(new UdpRecord(), { sourcePort: 1, destinationPort: 2 }), slab, start, 2);
  let zeros = 0;
  for (let word = 0; word <= 0xffff; word++) {
    slab.view.setUint16(start + 8, word);
    finishUdpChecksum(slab, start, end, 3, 4);
    expect(slab.view.getUint16(start + 6)).not.toBe(0);
    if (slab.view.getUint16(start + 6) === 0xffff) zeros++;
    if (!udpChecksumOk(slab, start, end, 3, 4)) expect.unreachable(`word ${word}`);
  }
  expect(zeros).toBe(1);
});

test("every truncation and every wrong length is refused, and the record stays as it was", () => {
  const { slab, start, end } = framed(randomBytes(new Prng(17), 12));
  const into = new UdpRecord();
  writeUdp(Object.assign(new UdpRecord(), { destinationPort: 53 }), slab, start, 4);
  for (let cut = start; cut < end; cut++) expect(readUdp(slab, start, cut, into)).toBe(Drop.UdpLength);
  for (const [length, drop] of [[7, Drop.UdpLength], [8, 0], [12, 0], [13, Drop.UdpLength]] as const) {
    slab.view.setUint16(start + 4, length);
    expect(readUdp(slab, start, end, new UdpRecord()), `${length}`).toBe(drop);
  }
  slab.view.setUint16(start + 4, 12);
  slab.view.setUint16(start + 2, 0);
  expect(readUdp(slab, start, end, into)).toBe(Drop.UdpPort);
  expect(into).toEqual(new UdpRecord());
});
