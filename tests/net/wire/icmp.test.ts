import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Drop } from "../../../net/wire/drop.ts";
import {
  finishIcmpChecksum,
  ICMP_ERROR_LENGTH_MAX,
  IcmpRecord,
  IcmpType,
  IcmpUnreachable,
  isIcmpError,
  readIcmp,
  writeIcmp,
  writeIcmpEchoReply,
  writeIcmpError,
} from "../../../net/wire/icmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { framed, isClean, randomBytes, randomInt32, toHex } from "./frames.ts";

/** An IPv4 packet of `length` bytes with random payload. */
function datagram(prng: Prng, length: number, fields: Partial<Ipv4Record>): Slab {
  const slab = new Slab(randomBytes(prng, length));
  writeIpv4(Object.assign(new Ipv4Record(), fields), slab, 0, length - 20);
  return slab;
}

test("an echo reply carries the request's second word and data (RFC 792)", () => {
  const prng = new Prng(792);
  for (const length of [0, 1, 56, 1472, 65507]) {
    const data = framed(randomBytes(prng, length));
    const request = framed(new Uint8Array(8 + length));
    const rest = randomInt32(prng);
    const { slab, start, end } = request;
    const code = prng.pick([0, 9]); // always 0, but for nmap, and Linux gives it back as it is
    expect(writeIcmp(IcmpType.Echo, code, rest, data.slab, data.start, data.end, slab, start)).toBe(end);
    const got = new IcmpRecord();
    expect(readIcmp(slab, start, end, got)).toBe(Drop.None);
    expect(got).toMatchObject({ type: IcmpType.Echo, code, rest, hasQuote: false, dataEnd: end });
    const reply = framed(new Uint8Array(8 + length));
    expect(writeIcmpEchoReply(got, slab, reply.slab, reply.start)).toBe(reply.end);
    expect(isClean(reply)).toBe(true);
    expect(readIcmp(reply.slab, reply.start, reply.end, got)).toBe(Drop.None);
    expect(got).toMatchObject({ type: IcmpType.EchoReply, code, rest });
    expect(toHex(reply.slab, got.dataStart, got.dataEnd)).toBe(toHex(data.slab, data.start, data.end));
    // The same answer in place of the request.
    readIcmp(slab, start, end, got);
    writeIcmpEchoReply(got, slab, slab, start);
    expect(toHex(slab, start, end)).toBe(toHex(reply.slab, reply.start, reply.end));
  }
});

test("an error quotes as much as 576 bytes hold, and its quote is read", () => {
  const prng = new Prng(1812);
  const room = ICMP_ERROR_LENGTH_MAX - 20 - 8;
  for (const length of [28, 40, room - 1, room, room + 1, 1500]) {
    const [source, destination] = [randomInt32(prng), randomInt32(prng)];
    const original = datagram(prng, length, {
      source,
      destination,
      protocol: PROTOCOL_TCP,
      identification: 9,
    });
    const quoted = Math.min(length, room);
    const error = framed(new Uint8Array(8 + quoted));
    const { slab, start } = error;
    const end = writeIcmpError(
      IcmpType.Unreachable,
      IcmpUnreachable.FragmentationNeeded,
      1400,
      original,
      0,
      length,
      slab,
      start,
    );
    expect(end).toBe(error.end);
    expect(20 + end - start).toBeLessThanOrEqual(576);
    expect(isClean(error)).toBe(true);
    expect(toHex(slab, start + 8, end)).toBe(toHex(original, 0, quoted));
    const got = new IcmpRecord();
    expect(readIcmp(slab, start, end, got)).toBe(Drop.None);
    expect(got).toMatchObject({
      type: 3,
      code: 4,
      rest: 1400,
      hasQuote: true,
      dataStart: start + 8,
      dataEnd: end,
    });
    expect(got.quote).toMatchObject({
      source,
      destination,
      protocol: PROTOCOL_TCP,
      identification: 9,
      dataEnd: end,
    });
    expect(got.quoteSourcePort).toBe(original.view.getUint16(20));
    expect(got.quoteDestinationPort).toBe(original.view.getUint16(22));
    expect(got.quoteSequence).toBe(original.view.getInt32(24));
  }
});

test("only what the quoted datagram has is read from it", () => {
  const prng = new Prng(1122);
  const read = (fields: Partial<Ipv4Record>): { has: [boolean, boolean]; got: IcmpRecord } => {
    const original = datagram(prng, 28, fields);
    original.bytes.fill(0x77, 20);
    const { slab, start } = framed(new Uint8Array(36));
    const end = writeIcmpError(IcmpType.TimeExceeded, 0, 0, original, 0, 28, slab, start);
    const got = Object.assign(new IcmpRecord(), {
      quoteSourcePort: 5,
      quoteDestinationPort: 5,
      quoteSequence: 5,
    });
    expect(readIcmp(slab, start, end, got)).toBe(Drop.None);
    return { has: [got.quoteSourcePort + got.quoteDestinationPort !== 0, got.quoteSequence !== 0], got };
  };
  expect(read({ protocol: PROTOCOL_TCP }).has).toEqual([true, true]);
  expect(read({ protocol: PROTOCOL_UDP }).has).toEqual([true, false]);
  expect(read({ protocol: PROTOCOL_ICMP }).has).toEqual([false, false]);
  expect(read({ protocol: PROTOCOL_TCP, fragmentOffset: 8 }).has).toEqual([false, false]);
  expect(read({ protocol: PROTOCOL_TCP, moreFragments: true }).has).toEqual([true, true]);
  expect(read({ protocol: PROTOCOL_UDP, fragmentOffset: 8 }).got.quote.fragmentOffset).toBe(8);
});

test("short messages, short quotes and broken checksums are refused", () => {
  const prng = new Prng(36);
  const original = datagram(prng, 28, { protocol: PROTOCOL_UDP });
  const { slab, start } = framed(new Uint8Array(36));
  const into = new IcmpRecord();
  for (let quoted = 0; quoted <= 28; quoted++) {
    const end = writeIcmpError(IcmpType.Unreachable, 0, 0, original, 0, quoted, slab, start);
    expect(readIcmp(slab, start, end, into), `${quoted}`).toBe(quoted < 28 ? Drop.IcmpShort : Drop.None);
  }
  for (let end = start; end < start + 8; end++) expect(readIcmp(slab, start, end, into)).toBe(Drop.IcmpShort);
  for (let at = start; at < start + 36; at++) {
    slab.bytes[at]! ^= 4;
    expect(readIcmp(slab, start, start + 36, into)).toBe(Drop.IcmpChecksum);
    slab.bytes[at]! ^= 4;
  }
  slab.bytes[start + 8] = 0x65; // the quote is not IPv4
  finishIcmpChecksum(slab, start, start + 36);
  expect(readIcmp(slab, start, start + 36, into)).toBe(Drop.IcmpShort);
});

test("errors are types 3, 4, 5, 11 and 12; other types pass without a quote (RFC 792)", () => {
  const { slab, start, end } = framed(new Uint8Array(8));
  for (let type = 0; type < 256; type++) {
    expect(isIcmpError(type)).toBe([3, 4, 5, 11, 12].includes(type));
    writeIcmp(type, 0, 0, slab, end, end, slab, start);
    expect(readIcmp(slab, start, end, new IcmpRecord())).toBe(isIcmpError(type) ? Drop.IcmpShort : Drop.None);
  }
});
