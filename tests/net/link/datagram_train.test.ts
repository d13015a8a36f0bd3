import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { DatagramTrain } from "../../../net/link/datagram_train.ts";
import { Ipv4Record, PROTOCOL_UDP, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { writeIpv6 } from "../../../net/wire/ipv6.ts";
import { cutTrain } from "../../../net/wire/train.ts";
import { finishUdpChecksum, UDP_HEADER_LENGTH, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { drawSeed } from "../../support/seed.ts";

const SOURCE = 0x0a00_0001, DESTINATION = 0x0a00_0002;

/** A datagram as our stack sends it, in a packet of either family. */
function datagram(
  ipv6: boolean,
  port: number,
  data: Uint8Array,
  dontFragment = true,
): Uint8Array<ArrayBuffer> {
  const ipBytes = ipv6 ? 40 : 20;
  const length = UDP_HEADER_LENGTH + data.length;
  const slab = Slab.of(ipBytes + length);
  if (ipv6) {
    writeIpv6(slab, 0, length, PROTOCOL_UDP, 0, 5, 64);
    slab.view.setInt32(20, SOURCE);
    slab.view.setInt32(36, DESTINATION);
  } else {
    const ip = new Ipv4Record();
    Object.assign(ip, { source: SOURCE, destination: DESTINATION, protocol: PROTOCOL_UDP, timeToLive: 64 });
    ip.dontFragment = dontFragment;
    writeIpv4(ip, slab, 0, length);
  }
  const record = new UdpRecord();
  record.sourcePort = 5_000;
  record.destinationPort = port;
  const at = writeUdp(record, slab, ipBytes, data.length);
  slab.bytes.set(data, at);
  finishUdpChecksum(slab, ipBytes, slab.bytes.length, SOURCE, DESTINATION);
  return slab.bytes;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("what a device cuts of a train of datagrams is what was sent, in its order", () => {
  const seed = drawSeed("DATAGRAM_SEED", 1_000_000);
  const prng = new Prng(seed);
  const train = new DatagramTrain(12);
  let longest = 0;
  for (let run = 0; run < 60; run++) {
    const sent: string[] = [], cut: string[] = [];
    const leave = (): void => {
      if (train.count === 0) return;
      longest = Math.max(longest, train.count);
      const { slab, start, end, count, segmentBytes } = train;
      if (count > 1) train.finish();
      cutTrain(slab, start, end, count > 1 ? segmentBytes : 0xffff, (frame, from, to) => {
        const bytes = frame.bytes.slice(from, to);
        // A device counts identifications on; where "don't fragment" is set they mean nothing (RFC 6864).
        if (bytes[0]! >>> 4 === 4) bytes.fill(0, 4, 6), bytes.fill(0, 10, 12);
        cut.push(hex(bytes));
      });
      train.clear();
    };
    const usual = prng.pick([1, 2, 400, 1_400]);
    for (let each = 0; each < 100; each++) {
      const plain = run === 0; // one flow, one length: a train is as long as it may be
      const length = plain || prng.chance(0.95) ? usual : prng.between(0, 1_472);
      const data = new Uint8Array(length);
      prng.fill(data);
      const bytes = datagram(
        !plain && prng.chance(0.02),
        plain || prng.chance(0.97) ? 7 : 8,
        data,
        plain || !prng.chance(0.01),
      );
      const slab = new Slab(bytes.slice());
      if (!train.add(slab, 0, bytes.length)) {
        leave();
        if (!train.add(slab, 0, bytes.length)) train.clear(); // it goes as it is
      }
      if (train.count === 0) cut.push(hex(bytes));
      if (bytes[0]! >>> 4 === 4 && train.count > 0) bytes.fill(0, 10, 12);
      sent.push(hex(bytes));
    }
    leave();
    expect(cut, `DATAGRAM_SEED=${seed}, run ${run}`).toEqual(sent);
  }
  expect(longest, "Linux cuts no more than 64").toBe(64);
});

test("a train ends with a shorter datagram, before a longer one, and before what is not of its flow", () => {
  const add = (train: DatagramTrain, bytes: Uint8Array): boolean =>
    train.add(new Slab(bytes.slice()), 0, bytes.length);
  const data = (length: number): Uint8Array => new Uint8Array(length).fill(3);
  const train = new DatagramTrain(0);
  const begin = (): void => {
    train.clear();
    expect(add(train, datagram(false, 7, data(100)))).toBe(true);
  };
  begin();
  expect(add(train, datagram(false, 7, data(100)))).toBe(true);
  expect(add(train, datagram(false, 7, data(99)))).toBe(true);
  expect(add(train, datagram(false, 7, data(99)))).toBe(false);
  begin();
  expect(add(train, datagram(false, 7, data(101)))).toBe(false);
  expect(add(train, datagram(false, 8, data(100)))).toBe(false);
  expect(add(train, datagram(true, 7, data(100)))).toBe(false);
  expect(add(train, datagram(false, 7, data(100), false)), "it may be fragmented").toBe(false);
  expect(add(train, datagram(false, 7, data(0)))).toBe(false);
  const unsummed = datagram(false, 7, data(100));
  unsummed.fill(0, 26, 28);
  expect(add(train, unsummed), "it has no checksum").toBe(false);
  const marked = datagram(false, 7, data(100));
  marked[1] = 3;
  expect(add(train, marked), "it has another type of service").toBe(false);
  expect(train.count).toBe(1);
});

test("trains of datagrams that cannot be are cut without reading past them", () => {
  const bytes = datagram(false, 7, new Uint8Array(4));
  const pieces: number[] = [];
  cutTrain(new Slab(bytes), 0, bytes.length, 1, (_, from, to) => pieces.push(to - from));
  expect(pieces).toEqual([29, 29, 29, 29]);
});
