import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { AccEcn, freezeAccEcn, thawAccEcn } from "../../../net/tcp/acc_ecn.ts";
import { readTcp, TcpFlag, tcpHeaderLength, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";

test("the state of Accurate ECN goes through an image whole", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const prng = new Prng(seed);
    const acc = new AccEcn();
    const fields = acc as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === "boolean") fields[name] = prng.chance(0.5);
      else if (typeof value === "number") fields[name] = prng.below(4);
    }
    acc.receivedBytes = [prng.below(1e9), prng.below(1e9), prng.below(1e9)];
    acc.deliveredBytes = [prng.below(1e9), prng.below(1e9), prng.below(1e9)];
    acc.ackedPackets = prng.below(1000) / 64;
    acc.optionAtMs = 5_000 - prng.below(5_000);
    expect(thawAccEcn(freezeAccEcn(acc, 5_000), 5_000)).toEqual(acc);
  }
});

test("RFC 9768 section 3.2.3: the option is read in either order, and written beside every other one", () => {
  const slab = Slab.of(64);
  for (let seed = 1; seed <= 2_000; seed++) {
    const prng = new Prng(seed);
    const sent = new TcpRecord(), read = new TcpRecord();
    sent.sourcePort = sent.destinationPort = 9;
    sent.flags = TcpFlag.ACK | (prng.below(8) << 6);
    sent.hasTimestamp = prng.chance(0.5);
    sent.accEcnCount = prng.between(-1, 3);
    // As many blocks as leave room: 40 bytes less the other options.
    const others = (sent.hasTimestamp ? 12 : 0) + (sent.accEcnCount < 0 ? 0 : 2 + 3 * sent.accEcnCount);
    sent.sackCount = prng.between(0, Math.max(0, Math.floor((40 - others - 4) / 8)));
    for (let edge = 0; edge < 8; edge++) sent.sackEdges[edge] = prng.uint32() | 0;
    for (let at = 0; at < 3; at++) sent.accEcn[at] = prng.below(2 ** 24);
    const dataStart = writeTcp(sent, slab, 0);
    expect(dataStart).toBe(tcpHeaderLength(sent));
    readTcp(slab, 0, dataStart, read);
    expect([read.flags, read.hasTimestamp, read.sackCount, read.accEcnCount]).toEqual(
      [sent.flags, sent.hasTimestamp, sent.sackCount, sent.accEcnCount],
    );
    expect(read.sackEdges.subarray(0, 2 * read.sackCount)).toEqual(
      sent.sackEdges.subarray(0, 2 * sent.sackCount),
    );
    // Counters go in the order ECT(1), CE, ECT(0).
    [0, 2, 1].forEach((at, place) => {
      if (sent.accEcnCount >= 0) {
        expect(read.accEcn[at]).toBe(place < sent.accEcnCount ? sent.accEcn[at] : -1);
      }
    });
  }
  const other = Slab.of(32);
  other.bytes.set([0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 16, 0, 0, 0, 0, 0, 0]);
  other.bytes.set([172, 11, 0, 0, 1, 0, 0, 2, 0, 0, 3, 1], 20); // ECT(0) 1, CE 2, ECT(1) 3
  const read = new TcpRecord();
  readTcp(other, 0, 32, read);
  expect([...read.accEcn]).toEqual([3, 1, 2]);
});
