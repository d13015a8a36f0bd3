import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { IgmpRecord, readIgmp } from "../../../net/wire/igmp.ts";
import { Prng } from "../../../base/random.ts";
import { LOCAL, REMOTE, Script } from "../tcp/script.ts";
import { obviousChecksum } from "../tcp/checker.ts";

const GROUP = "239.1.2.3";

function message(bytes: number[]): Uint8Array<ArrayBuffer> {
  const made = Uint8Array.from(bytes);
  new DataView(made.buffer).setUint16(2, obviousChecksum(made));
  return made;
}

const quad = (text: string): number[] => text.split(".").map(Number);

function packet(
  data: Uint8Array,
  destination: string,
  { timeToLive = 1, protocol = 2 } = {},
): Uint8Array<ArrayBuffer> {
  const length = 20 + data.length;
  const made = Uint8Array.from([
    ...[0x45, 0, length >> 8, length & 255, 0, 0, 0, 0, timeToLive, protocol, 0, 0],
    ...quad(REMOTE),
    ...quad(destination),
    ...data,
  ]);
  new DataView(made.buffer).setUint16(10, obviousChecksum(made.subarray(0, 20)));
  return made;
}

/** What has been sent: destination and IGMP message, after the header was judged. */
function reports(s: Script): string[] {
  return s.others.splice(0).map((sent) => {
    expect([...sent.subarray(0, 2), sent[8], sent[9]]).toEqual([0x46, 0xc0, 1, 2]);
    expect([...sent.subarray(20, 24)]).toEqual([0x94, 4, 0, 0]); // router alert
    expect([obviousChecksum(sent.subarray(0, 24)), obviousChecksum(sent.subarray(24))]).toEqual([0, 0]);
    expect([...sent.subarray(12, 16)]).toEqual(quad(LOCAL));
    const body = [...sent.subarray(24)].map((byte, at) => at === 2 || at === 3 ? "cc" : byte.toString(16));
    return `${sent.subarray(16, 20).join(".")} ${body.join(" ")}`;
  });
}

test("joining sends a version 3 report with router alert and time to live 1 to 224.0.0.22 (RFC 3376 section 4.2)", () => {
  const s = new Script();
  const group = parseIpv4(GROUP)!;
  expect(s.stack.igmp.join(0, group, s.nowMs)).toBe(true);
  s.poll();
  expect(reports(s)).toEqual(["224.0.0.22 22 0 cc cc 0 0 0 1 4 0 0 0 ef 1 2 3"]);
  s.wait(1_001);
  expect(reports(s).length).toBe(1); // again, within a second
  s.stack.igmp.leave(0, group, s.nowMs);
  s.poll();
  expect(reports(s)).toEqual(["224.0.0.22 22 0 cc cc 0 0 0 1 3 0 0 0 ef 1 2 3"]);
});

test("queries of versions 1, 2 and 3 are answered in their version, by whom they are heard", () => {
  const group = quad(GROUP);
  const cases: [name: string, query: number[], answer: string[]][] = [
    ["3", [0x11, 20, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0], ["224.0.0.22 22 0 cc cc 0 0 0 1 2 0 0 0 ef 1 2 3"]],
    ["3, sources", [0x11, 20, 0, 0, ...group, 2, 125, 0, 1, 10, 9, 9, 9], [
      "224.0.0.22 22 0 cc cc 0 0 0 1 1 0 0 1 ef 1 2 3 a 9 9 9",
    ]],
    ["2", [0x11, 20, 0, 0, 0, 0, 0, 0], [`${GROUP} 16 0 cc cc ef 1 2 3`]],
    ["1", [0x11, 0, 0, 0, 0, 0, 0, 0], [`${GROUP} 12 0 cc cc ef 1 2 3`]],
    ["another group", [0x11, 20, 0, 0, 239, 1, 2, 4, 2, 125, 0, 0], []],
  ];
  for (const [name, query, answer] of cases) {
    const s = new Script();
    s.stack.igmp.join(0, parseIpv4(GROUP)!, s.nowMs);
    s.poll();
    s.wait(5_000);
    s.others.length = 0;
    expect(s.receive(packet(message(query), "224.0.0.1"))).toBe(Drop.None);
    s.poll();
    s.wait(10_000);
    expect([name, reports(s)]).toEqual([name, answer]);
  }
});

test("what no router on this link sent, or cannot be read, is dropped", () => {
  const s = new Script();
  s.stack.igmp.join(0, parseIpv4(GROUP)!, s.nowMs);
  s.poll();
  s.wait(5_000);
  s.others.length = 0;
  const query = [0x11, 20, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
  const bad: [Uint8Array<ArrayBuffer>, number?][] = [
    [message(query), 64], // has passed a hop
    [message(query.slice(0, 7))],
    [message(query.slice(0, 10))], // no version has this length
    [message([...query.slice(0, 10), 0, 9])], // nine sources that are not there
    [Uint8Array.from(query)], // no checksum
    [message([0x11, 20, 0, 0, 10, 0, 0, 1, 2, 125, 0, 0])], // about no group
  ];
  for (const [bytes, timeToLive = 1] of bad) {
    expect(s.receive(packet(bytes, "224.0.0.1", { timeToLive }))).toBe(Drop.IgmpMalformed);
  }
  s.poll();
  s.wait(20_000);
  expect(s.others).toEqual([]);
});

test("the floating-point codes of version 3 (RFC 3376 sections 4.1.1, 4.1.7)", () => {
  const record = new IgmpRecord();
  const read = (code: number, interval: number): number[] => {
    const bytes = message([0x11, code, 0, 0, 0, 0, 0, 0, 7, interval, 0, 0]);
    expect(readIgmp(new Slab(bytes), 0, bytes.length, record)).toBe(Drop.None);
    return [record.responseMs, record.intervalMs, record.robustness];
  };
  expect(read(127, 127)).toEqual([12_700, 127_000, 7]);
  expect(read(128, 128)).toEqual([12_800, 128_000, 7]);
  expect(read(255, 0x8a)).toEqual([3_174_400, 208_000, 7]);
});

test("random messages crash nothing", () => {
  const prng = new Prng(3);
  const s = new Script();
  s.stack.igmp.join(0, parseIpv4(GROUP)!, s.nowMs);
  for (let count = 0; count < 3_000; count++) {
    const bytes = Array.from({ length: prng.below(40) }, () => prng.below(256));
    bytes[0] = prng.pick([0x11, 0x12, 0x16, 0x17, 0x22, prng.below(256)]);
    s.receive(
      packet(bytes.length < 4 ? Uint8Array.from(bytes) : message(bytes), prng.pick([GROUP, "224.0.0.1"])),
    );
    s.poll();
    if (prng.chance(0.2)) s.wait(prng.below(3_000));
  }
});

test("many groups are reported in as many messages as it takes", () => {
  const s = new Script({ mtu: 600 });
  const room = Math.floor((600 - 24 - 8) / 8);
  for (let at = 0; at <= room; at++) s.stack.igmp.join(0, (parseIpv4(GROUP)! + at) | 0, s.nowMs);
  s.poll();
  s.wait(5_000);
  s.others.length = 0;
  s.receive(packet(message([0x11, 20, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), "224.0.0.1"));
  s.poll();
  s.wait(5_000);
  expect(s.others.map(({ length }) => length)).toEqual([24 + 8 + 8 * room, 24 + 8 + 8]);
});

test("datagrams to a group reach everyone here who listens on their port, while somebody is in the group", () => {
  const s = new Script();
  const group = parseIpv4(GROUP)!;
  const { udp } = s.stack;
  const shared = [udp.bind(0, 7, 0, 0, true)!, udp.bind(0, 7, 0, 0, true)!, udp.bind(group, 7, 0, 0, true)!];
  expect([udp.bind(0, 7), udp.bind(0, 7, 0, 0, true)]).toEqual([undefined, expect.anything()]);
  const datagram = Uint8Array.from([0x11, 0x11, 0, 7, 0, 9, 0, 0, 42]);
  const receive = (): Drop => s.receive(packet(datagram, GROUP, { protocol: 17 }));
  expect(receive()).toBe(Drop.Ipv4NotOurs);
  s.stack.igmp.join(0, group, s.nowMs);
  expect(receive()).toBe(Drop.None);
  expect(shared.map(({ queue }) => queue.length)).toEqual([1, 1, 1]);
  s.stack.igmp.leave(0, group, s.nowMs);
  expect(receive()).toBe(Drop.Ipv4NotOurs);
  s.receive(packet(datagram, LOCAL, { protocol: 17 })); // to the host alone: the latest gets it
  expect(shared.map(({ queue }) => queue.length)).toEqual([1, 1, 1]);
});
