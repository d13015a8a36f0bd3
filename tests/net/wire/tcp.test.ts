import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Drop } from "../../../net/wire/drop.ts";
import {
  finishTcpChecksum,
  readTcp,
  TCP_HEADER_LENGTH,
  tcpChecksumOk,
  TcpFlag,
  tcpHeaderLength,
  TcpRecord,
  writeTcp,
} from "../../../net/wire/tcp.ts";
import {
  type Framed,
  framed,
  fromHex,
  isClean,
  randomBytes,
  randomInt32,
  randomUint16,
  toHex,
} from "./frames.ts";

/** A header with options that a TCP could send: SYN-only ones on SYN, SACK blocks as many as fit. */
function randomSegment(prng: Prng): TcpRecord {
  const syn = prng.chance(0.4);
  const record = Object.assign(new TcpRecord(), {
    sourcePort: randomUint16(prng, 1),
    destinationPort: randomUint16(prng, 1),
    sequence: randomInt32(prng),
    acknowledgment: randomInt32(prng),
    flags: (prng.below(256) & ~TcpFlag.SYN) | (syn ? TcpFlag.SYN : 0),
    window: randomUint16(prng),
    urgentPointer: randomUint16(prng),
  });
  if (prng.chance(0.6)) {
    record.hasTimestamp = true;
    record.tsVal = randomInt32(prng);
    record.tsEcr = randomInt32(prng);
  }
  if (syn) {
    if (prng.chance(0.7)) record.mss = randomUint16(prng, 1);
    if (prng.chance(0.7)) record.windowScale = prng.between(0, 14);
    record.sackPermitted = prng.chance(0.7);
    if (prng.chance(0.5)) {
      record.fastOpenExperimental = prng.chance(0.5);
      record.fastOpenLength = prng.pick([0, 4, 8, 16]);
      record.fastOpenCookie.set(randomBytes(prng, 16).subarray(0, record.fastOpenLength));
    }
  } else if (prng.chance(0.5)) {
    record.sackCount = prng.between(1, record.hasTimestamp ? 3 : 4);
    for (let edge = 0; edge < 2 * record.sackCount; edge++) record.sackEdges[edge] = randomInt32(prng);
  }
  return record;
}

/** A segment whose header is all ones but for ports, `flags` and the given bytes of options. */
function withOptions(options: Uint8Array, flags: number): Framed {
  const frame = framed(new Uint8Array(TCP_HEADER_LENGTH + options.length).fill(0xff));
  frame.slab.bytes[frame.start + 12] = (TCP_HEADER_LENGTH + options.length) << 2;
  frame.slab.bytes[frame.start + 13] = flags;
  frame.slab.bytes.set(options, frame.start + TCP_HEADER_LENGTH);
  return frame;
}

function readOptions(hex: string, flags: number): TcpRecord {
  const bytes = fromHex(hex);
  const padded = new Uint8Array((bytes.length + 3) & ~3);
  padded.set(bytes);
  const { slab, start, end } = withOptions(padded, flags);
  const got = new TcpRecord();
  expect(readTcp(slab, start, end, got), hex).toBe(Drop.None);
  return got;
}

test("segments round-trip with every mix of options; any flipped bit breaks the checksum (MUST-2, MUST-3, MUST-4)", () => {
  const prng = new Prng(9293);
  const got = new TcpRecord(); // one for all: what the packet before left must not show
  for (let run = 0; run < 2000; run++) {
    const want = randomSegment(prng);
    const dataLength = prng.below(50);
    const headerLength = tcpHeaderLength(want);
    const frame = framed(randomBytes(prng, headerLength + dataLength), 0xa5, prng.below(4));
    const { slab, start, end } = frame;
    const [source, destination] = [randomInt32(prng), randomInt32(prng)];
    want.dataStart = start + headerLength;
    want.dataEnd = end;
    const data = toHex(slab, want.dataStart, end);
    expect(writeTcp(want, slab, start)).toBe(want.dataStart);
    expect(slab.view.getUint16(start + 16)).toBe(0);
    finishTcpChecksum(slab, start, end, source, destination);
    expect(isClean(frame)).toBe(true);
    expect(toHex(slab, want.dataStart, end)).toBe(data);
    expect(tcpChecksumOk(slab, start, end, source, destination)).toBe(true);
    expect(readTcp(slab, start, end, got)).toBe(Drop.None);
    const { sackEdges, fastOpenCookie, ...fields } = got;
    const { sackEdges: wantEdges, fastOpenCookie: wantCookie, ...wantFields } = want;
    const cookieLength = Math.max(0, got.fastOpenLength);
    expect(fastOpenCookie.subarray(0, cookieLength)).toEqual(wantCookie.subarray(0, cookieLength));
    expect(fields, `run ${run} of seed ${prng.seed}`).toEqual(wantFields);
    expect(sackEdges.subarray(0, 2 * got.sackCount)).toEqual(wantEdges.subarray(0, 2 * want.sackCount));
    const at = prng.between(start, end - 1);
    slab.bytes[at]! ^= 1 << prng.below(8);
    expect(tcpChecksumOk(slab, start, end, source, destination), `byte ${at - start}`).toBe(false);
    slab.bytes[at] = 0;
    finishTcpChecksum(slab, start, end, source, destination);
    expect(tcpChecksumOk(slab, start, end, source, destination ^ 0x100)).toBe(false);
  }
});

test("options come in Linux's order", () => {
  const options = (fields: Partial<TcpRecord>): string => {
    const record = Object.assign(new TcpRecord(), fields);
    const { slab, start } = framed(new Uint8Array(60));
    const dataStart = writeTcp(record, slab, start);
    expect(dataStart - start).toBe(tcpHeaderLength(record));
    expect(slab.bytes[start + 12]! >>> 4).toBe((dataStart - start) / 4);
    return toHex(slab, start + TCP_HEADER_LENGTH, dataStart);
  };
  const syn = { flags: TcpFlag.SYN, mss: 1460, windowScale: 7, sackPermitted: true };
  const timestamp = { hasTimestamp: true, tsVal: 1, tsEcr: -2 };
  expect(options({})).toBe("");
  expect(options({ ...syn, ...timestamp })).toBe("020405b4" + "0402080a00000001fffffffe" + "01030307");
  expect(options(syn)).toBe("020405b4" + "01010402" + "01030307");
  expect(options({ ...syn, ...timestamp, sackPermitted: false }))
    .toBe("020405b4" + "0101080a00000001fffffffe" + "01030307");
  expect(options({ ...syn, sackPermitted: false, windowScale: -1 })).toBe("020405b4");
  expect(options({ ...syn, mss: 0, windowScale: 0 })).toBe("01010402" + "01030300");
  expect(options(timestamp)).toBe("0101080a00000001fffffffe");
  const blocks = (sackCount: number) => ({ sackCount, sackEdges: Int32Array.of(1, 2, 3, 4, 5, 6, 7, -1) });
  expect(options(blocks(1))).toBe("0101050a0000000100000002");
  expect(options({ ...timestamp, ...blocks(2) }))
    .toBe("0101080a00000001fffffffe" + "0101051200000001000000020000000300000004");
  const cookie = { fastOpenLength: 8, fastOpenCookie: fromHex("3021b9d889017eeb") };
  expect(options({ ...syn, ...timestamp, ...cookie }).slice(40)).toBe("220a3021b9d889017eeb" + "0101");
  expect(options({ ...syn, ...cookie, fastOpenExperimental: true }).slice(24)).toBe(
    "fe0cf9893021b9d889017eeb",
  );
  expect(options({ ...syn, fastOpenLength: 0 }).slice(24)).toBe("22020101");
  expect(options({ ...cookie })).toBe(""); // only on SYN
});

test("as many SACK blocks are written as the header holds", () => {
  const fits = (fields: Partial<TcpRecord>): number => {
    const record = Object.assign(new TcpRecord(), { sackCount: 4, ...fields });
    const { slab, start, end } = framed(new Uint8Array(60).fill(0xa5));
    record.sourcePort = record.destinationPort = 1;
    const dataStart = writeTcp(record, slab, start);
    expect(dataStart - start).toBe(tcpHeaderLength(record));
    const got = new TcpRecord();
    expect(readTcp(slab, start, end, got)).toBe(Drop.None);
    expect(got.dataStart).toBe(dataStart);
    return got.sackCount;
  };
  const syn = { flags: TcpFlag.SYN, mss: 1, windowScale: 1, sackPermitted: true };
  expect(fits({})).toBe(4);
  expect(fits({ hasTimestamp: true })).toBe(3);
  expect(fits(syn)).toBe(3);
  expect(fits({ ...syn, sackPermitted: false })).toBe(3);
  expect(fits({ ...syn, windowScale: -1, hasTimestamp: true })).toBe(2);
  expect(fits({ ...syn, hasTimestamp: true })).toBe(2);
});

test("options that only a SYN may carry are neither read nor written without one (MUST-65)", () => {
  const hex = "020405b4" + "01030307" + "01010402";
  expect(readOptions(hex, TcpFlag.SYN)).toMatchObject({ mss: 1460, windowScale: 7, sackPermitted: true });
  expect(readOptions(hex, TcpFlag.ACK)).toMatchObject({ mss: 0, windowScale: -1, sackPermitted: false });
  const record = Object.assign(new TcpRecord(), {
    flags: TcpFlag.ACK,
    mss: 9,
    windowScale: 1,
    sackPermitted: true,
  });
  expect(tcpHeaderLength(record)).toBe(20);
  expect(writeTcp(record, framed(new Uint8Array(60)).slab, 0)).toBe(20);
});

test("a window scale above 14 is 14 (RFC 7323 section 2.3)", () => {
  for (const [shift, want] of [[0, 0], [14, 14], [15, 14], [255, 14]] as const) {
    expect(readOptions(`010303${shift.toString(16).padStart(2, "0")}`, TcpFlag.SYN).windowScale).toBe(
      want,
    );
  }
});

test("random lists of options are read as they were meant (MUST-5, MUST-6, MUST-64)", () => {
  const prng = new Prng(7);
  for (let run = 0; run < 5000; run++) {
    const bytes: number[] = [];
    const want = new TcpRecord();
    const syn = prng.chance(0.5);
    const put = (kind: number, body: Uint8Array): boolean => {
      if (bytes.length + 2 + body.length > 40) return false;
      bytes.push(kind, 2 + body.length, ...body);
      return true;
    };
    for (let left = prng.below(8); left > 0; left--) {
      const body = randomBytes(prng, 32);
      const view = new DataView(body.buffer);
      switch (prng.below(11)) {
        case 0:
          if (bytes.length < 40) bytes.push(1);
          break;
        case 1:
          if (put(2, body.subarray(0, 2)) && syn) want.mss = view.getUint16(0);
          break;
        case 2:
          if (put(3, body.subarray(0, 1)) && syn) want.windowScale = Math.min(14, body[0]!);
          break;
        case 3:
          if (put(4, body.subarray(0, 0)) && syn) want.sackPermitted = true;
          break;
        case 4: {
          const count = prng.between(1, 4);
          if (!put(5, body.subarray(0, 8 * count))) break;
          want.sackCount = count;
          for (let edge = 0; edge < 2 * count; edge++) want.sackEdges[edge] = view.getInt32(4 * edge);
          break;
        }
        case 5:
          if (!put(8, body.subarray(0, 8))) break;
          want.hasTimestamp = true;
          want.tsVal = view.getInt32(0);
          want.tsEcr = view.getInt32(4);
          break;
        case 6: {
          const experimental = prng.chance(0.5);
          const length = prng.pick([0, 2, 4, 5, 8, 16, 18]);
          const cookie = body.subarray(0, length);
          const put34 = experimental ? put(254, Uint8Array.of(0xf9, 0x89, ...cookie)) : put(34, cookie);
          if (!put34 || !syn || length === 5) break;
          want.fastOpenExperimental = experimental;
          want.fastOpenLength = length === 2 || length === 18 ? -1 : length;
          if (want.fastOpenLength > 0) want.fastOpenCookie.set(cookie);
          break;
        }
        case 7: // known kinds of a length that they never have
          put(...prng.pick<[number, Uint8Array]>([
            [2, body.subarray(0, prng.pick([0, 1, 3]))],
            [3, body.subarray(0, prng.pick([0, 2]))],
            [4, body.subarray(0, 1)],
            [5, body.subarray(0, prng.pick([0, 4, 7, 9]))],
            [8, body.subarray(0, prng.pick([0, 7, 9]))],
            [28, body.subarray(0, prng.pick([0, 1, 3]))],
            [34, body.subarray(0, prng.pick([1, 7]))],
            [254, Uint8Array.of(0xf9, 0x89, 1)],
            [254, Uint8Array.of(0xf9)],
            [254, Uint8Array.of(0x89, 0xf9, 1, 2, 3, 4)],
          ]));
          break;
        case 8:
          if (put(28, body.subarray(0, 2))) want.userTimeout = view.getUint16(0);
          break;
        default:
          put(prng.pick([6, 7, 9, 27, 33, 253, 255]), body.subarray(0, prng.below(12)));
      }
    }
    if (bytes.length < 40 && prng.chance(0.3)) { // what follows an end is never read
      const after = prng.pick([[0], [2, 0], [8, 1], [5, 41], [253]]);
      bytes.push(...after);
      if (after[0] === 0) { while (bytes.length < 40 && bytes.length % 4 !== 0) bytes.push(prng.below(256)); }
    }
    if (bytes.length > 40) continue;
    const padded = new Uint8Array((bytes.length + 3) & ~3);
    padded.set(bytes);
    const { slab, start, end } = withOptions(padded, syn ? TcpFlag.SYN : TcpFlag.ACK);
    const got = new TcpRecord();
    expect(readTcp(slab, start, end, got)).toBe(Drop.None);
    want.dataStart = want.dataEnd = end;
    const { sourcePort, destinationPort, sequence, acknowledgment, flags, window, urgentPointer } = got;
    Object.assign(want, {
      sourcePort,
      destinationPort,
      sequence,
      acknowledgment,
      flags,
      window,
      urgentPointer,
    });
    expect(got.sackEdges.subarray(0, 2 * got.sackCount), `run ${run} of seed ${prng.seed}`)
      .toEqual(want.sackEdges.subarray(0, 2 * want.sackCount));
    if (want.fastOpenLength < 0) want.fastOpenExperimental = got.fastOpenExperimental;
    want.sackEdges.set(got.sackEdges);
    expect(got, `run ${run} of seed ${prng.seed}: ${Array.from(padded)}`).toEqual(want);
  }
});

test("an illegal length ends the options, keeps what came before, and spares the segment (MUST-7)", () => {
  for (const illegal of ["0800", "0801", "080d", "fd00", "fd01", "fd0d", "05ff"]) { // 12 bytes are left
    const got = readOptions("020405b4" + illegal + "01030307" + "0402" + "01010101", TcpFlag.SYN);
    expect(got, illegal).toMatchObject({
      mss: 1460,
      windowScale: -1,
      sackPermitted: false,
      hasTimestamp: false,
    });
  }
  // The last legal length: to the very end of the header.
  const got = readOptions("020405b4" + "fd0c" + "01030307" + "0402" + "01010101", TcpFlag.SYN);
  expect(got).toMatchObject({ mss: 1460, windowScale: -1, sackPermitted: false });
  expect(readOptions("00" + "02" + "020405b4" + "0101", TcpFlag.SYN).mss).toBe(0); // end of options
});

test("an option that lacks its last bytes is not read from the data behind it", () => {
  const options = {
    "0204ffff": "mss",
    "0303ff": "windowScale",
    "0402": "sackPermitted",
    "080affffffffffffffff": "hasTimestamp",
    "050affffffffffffffff": "sackCount",
  };
  for (const [hex, field] of Object.entries(options)) {
    const whole = (header: number): unknown => {
      const bytes = fromHex(hex);
      const padded = new Uint8Array(12).fill(1);
      padded.set(bytes.subarray(0, header), 12 - Math.min(header, bytes.length));
      const { slab, start, end } = withOptions(padded, TcpFlag.SYN);
      slab.bytes.set(bytes.subarray(header), end); // poison that would complete it
      const got = new TcpRecord();
      expect(readTcp(slab, start, end, got)).toBe(Drop.None);
      return got[field as keyof TcpRecord];
    };
    const absent = new TcpRecord()[field as keyof TcpRecord];
    const length = hex.length / 2;
    for (let present = 1; present < length; present++) {
      expect(whole(present), `${present} of ${hex}`).toBe(absent);
    }
    expect(whole(length), hex).not.toBe(absent);
  }
});

test("every truncation is refused, and the record stays as it was", () => {
  const record = Object.assign(new TcpRecord(), {
    sourcePort: 1,
    destinationPort: 2,
    hasTimestamp: true,
    sackCount: 2,
  });
  const { slab, start, end } = framed(new Uint8Array(tcpHeaderLength(record)));
  writeTcp(record, slab, start);
  const into = new TcpRecord();
  for (let cut = start; cut < end; cut++) {
    expect(readTcp(slab, start, cut, into)).toBe(cut - start < 20 ? Drop.TcpShort : Drop.TcpOffset);
  }
  expect(into).toEqual(new TcpRecord());
  expect(readTcp(slab, start, end, into)).toBe(Drop.None);
});

test("data offset and ports are judged on both sides of their limits", () => {
  const { slab, start, end } = framed(new Uint8Array(60).fill(1));
  const read = (at: number, value: number): Drop => {
    const before = slab.view.getUint16(start + at);
    slab.view.setUint16(start + at, value);
    const drop = readTcp(slab, start, end, new TcpRecord());
    slab.view.setUint16(start + at, before);
    return drop;
  };
  slab.view.setUint16(start + 12, 0x5010);
  expect(read(12, 0x4f10)).toBe(Drop.TcpOffset);
  expect(read(12, 0x5010)).toBe(Drop.None);
  expect(read(12, 0x5f10)).toBe(Drop.None); // reserved bits are ignored
  expect(read(12, 0xf010)).toBe(Drop.None);
  for (const at of [0, 2]) {
    expect(read(at, 0)).toBe(Drop.TcpPort);
    expect(read(at, 1)).toBe(Drop.None);
    expect(read(at, 0xffff)).toBe(Drop.None);
  }
});
