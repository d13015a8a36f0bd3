import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import {
  UDP_DATA_MAX,
  UDP_QUEUE_BYTES_MAX,
  UDP_REPORTS_MAX,
  UdpError,
  type UdpSocket,
} from "../../../net/udp/udp.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { writeIcmp } from "../../../net/wire/icmp.ts";
import { Ipv4Record, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { LOCAL, REMOTE, Script } from "../tcp/script.ts";
import { obviousChecksum, pseudoHeader } from "../tcp/checker.ts";

const local = parseIpv4(LOCAL)!;
const remote = parseIpv4(REMOTE)!;

/** A packet from a script's stack, turned around: as the other end would send it back. */
function reversed(packet: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const back = packet.slice();
  back.copyWithin(12, 16, 20);
  back.set(packet.subarray(12, 16), 16);
  back.copyWithin(20, 22, 24);
  back.set(packet.subarray(20, 22), 22);
  return back; // no checksum changes: both sums are over the same words
}

/** Sends to port `port` of a stack by having it send from there. */
function deliver(s: Script, port: number, bytes: Uint8Array): void {
  s.stack.udp.send(local, port, remote, 5353, bytes, s.nowMs);
  s.receive(reversed(s.others.pop()!));
}

test("a datagram leaves with right checksums and arrives whole, in order, told once a turn", () => {
  const s = new Script();
  const told: UdpSocket[] = [];
  s.stack.upcalls = { ...s.stack.upcalls!, udpReadable: (socket) => void told.push(socket) };
  const socket = s.stack.udp.bind(0, 7)!;
  s.stack.udp.send(local, 7, remote, 9, Uint8Array.of(1, 2, 3), s.nowMs);
  const packet = s.others[0]!;
  expect(obviousChecksum(packet.subarray(0, 20))).toBe(0);
  expect(obviousChecksum(pseudoHeader(packet, 17, packet.length - 20), packet.subarray(20))).toBe(0);
  deliver(s, 7, Uint8Array.of(1));
  deliver(s, 7, Uint8Array.of());
  deliver(s, 7, Uint8Array.of(3));
  s.poll();
  expect(told).toEqual([socket]);
  const got = [socket.shift()!, socket.shift()!, socket.shift()!];
  expect(got.map(({ bytes }) => [...bytes])).toEqual([[1], [], [3]]);
  expect(got[0]).toMatchObject({ address: remote, port: 5353 });
  expect([socket.shift(), socket.queuedBytes]).toEqual([undefined, 0]);
});

test("the queue has a limit: the last datagram that fits is kept, the next dropped and counted", () => {
  const s = new Script();
  const socket = s.stack.udp.bind(0, 7)!;
  const bytes = new Uint8Array(1_000);
  const fit = Math.floor(UDP_QUEUE_BYTES_MAX / 1_128);
  for (let at = 0; at < fit; at++) deliver(s, 7, bytes);
  expect([socket.queue.length, socket.drops]).toEqual([fit, 0]);
  deliver(s, 7, bytes);
  expect([socket.queue.length, socket.drops, s.drops()]).toEqual([fit, 1, { UdpQueueFull: 1 }]);
  socket.shift();
  deliver(s, 7, bytes);
  expect(socket.queue.length).toBe(fit);
});

test("a specific address is preferred to the wildcard; taken ones are refused, freed ones are not", () => {
  const { udp } = new Script().stack;
  const any = udp.bind(0, 7)!;
  const one = udp.bind(local, 7)!;
  expect(udp.bind(local, 7)).toBeUndefined();
  expect(udp.find(local, 7, 0, 0)).toBe(one);
  expect(udp.find(remote, 7, 0, 0)).toBe(any);
  expect(udp.find(local, 8, 0, 0)).toBeUndefined();
  udp.unbind(one);
  expect(udp.find(local, 7, 0, 0)).toBe(any);
  expect(udp.bind(local, 7)).toBeDefined();
});

test("the longest datagram leaves in fragments, one byte more does not", () => {
  const s = new Script({ mtu: 1500 });
  expect(s.stack.udp.send(local, 7, remote, 9, new Uint8Array(1_472), s.nowMs)).toBe(true);
  expect(s.others.splice(0).map(({ length }) => length)).toEqual([1_500]);
  expect(s.stack.udp.send(local, 7, remote, 9, new Uint8Array(UDP_DATA_MAX), s.nowMs)).toBe(true);
  expect(s.others.splice(0).reduce((sum, { length }) => sum + length - 20, 0)).toBe(65_515);
  expect(s.stack.udp.send(local, 7, remote, 9, new Uint8Array(UDP_DATA_MAX + 1), s.nowMs)).toBe(false);
  expect(s.others.length).toBe(0);
});

test("a connected socket hears its peer alone; who else sends there finds nobody", () => {
  const s = new Script();
  const socket = s.stack.udp.bind(local, 7, remote, 5353)!;
  expect(s.stack.udp.bind(local, 7, remote, 5354)).toBeUndefined();
  deliver(s, 7, Uint8Array.of(1)); // from port 5353
  s.stack.udp.send(local, 7, remote, 5354, Uint8Array.of(2), s.nowMs);
  s.receive(reversed(s.others.pop()!));
  expect(socket.queue.map(({ bytes }) => [...bytes])).toEqual([[1]]);
  expect([s.drops(), s.others.length]).toEqual([{ UdpNoSocket: 1 }, 1]); // port unreachable
});

/** An ICMP error about the packet that was sent last. */
function icmpAbout(s: Script, type: number, code: number, rest = 0): Drop {
  const quote = s.others.at(-1)!.subarray(0, 28);
  const slab = Slab.of(20 + 8 + quote.length);
  writeIcmp(type, code, rest, new Slab(quote.slice()), 0, quote.length, slab, 20);
  const ip = new Ipv4Record();
  Object.assign(ip, { source: parseIpv4("10.0.0.254"), destination: local, protocol: 1, timeToLive: 64 });
  writeIpv4(ip, slab, 0, 8 + quote.length);
  return s.receive(slab.bytes);
}

test("every ICMP error reaches a socket that asks for them, hard ones a connected one, none another (RFC 1122 section 4.1.3.3)", () => {
  const cases: [type: number, code: number, error: UdpError, hard: boolean][] = [
    [3, 0, UdpError.NetworkUnreachable, false],
    [3, 1, UdpError.HostUnreachable, false],
    [3, 2, UdpError.Refused, true],
    [3, 3, UdpError.Refused, true],
    [3, 5, UdpError.HostUnreachable, false],
    [3, 6, UdpError.NetworkUnreachable, true],
    [3, 7, UdpError.HostUnreachable, true],
    [3, 10, UdpError.HostUnreachable, true],
    [3, 11, UdpError.HostUnreachable, false],
    [3, 13, UdpError.HostUnreachable, true],
    [11, 0, UdpError.HostUnreachable, false],
    [11, 1, UdpError.HostUnreachable, false],
    [12, 0, UdpError.HostUnreachable, true],
  ];
  for (const [type, code, error, hard] of cases) {
    const s = new Script();
    const sockets = [
      s.stack.udp.bind(0, 7)!,
      s.stack.udp.bind(0, 8)!,
      s.stack.udp.bind(local, 9, remote, 53)!,
    ];
    sockets[0]!.wantsReports = true;
    for (const { port } of sockets) {
      s.stack.udp.send(local, port, remote, 53, Uint8Array.of(1), s.nowMs);
      expect(icmpAbout(s, type, code)).toBe(Drop.None);
    }
    const report = { error, address: remote, port: 53, mtu: 0 };
    expect(sockets.map(({ reports }) => reports), `${type}/${code}`).toEqual([
      [report],
      [],
      hard ? [report] : [],
    ]);
  }
});

test("an error that quotes no socket's datagram reaches nobody", () => {
  const s = new Script();
  const socket = s.stack.udp.bind(local, 9, remote, 53)!;
  s.stack.udp.send(local, 9, remote, 54, Uint8Array.of(1), s.nowMs);
  expect(icmpAbout(s, 3, 3)).toBe(Drop.IcmpType);
  s.stack.udp.send(local, 8, remote, 53, Uint8Array.of(1), s.nowMs);
  expect(icmpAbout(s, 3, 3)).toBe(Drop.IcmpType);
  expect(socket.reports).toEqual([]);
});

test("a socket keeps 16 reports and drops the next", () => {
  const s = new Script();
  const socket = s.stack.udp.bind(local, 9, remote, 53)!;
  s.stack.udp.send(local, 9, remote, 53, Uint8Array.of(1), s.nowMs);
  for (let count = 1; count <= UDP_REPORTS_MAX + 1; count++) {
    icmpAbout(s, 3, 3);
    expect(socket.reports.length).toBe(Math.min(count, UDP_REPORTS_MAX));
  }
});

test("Fragmentation Needed: the path is narrower now; a socket that sends no fragments is told (RFC 1191)", () => {
  const s = new Script();
  const cut = s.stack.udp.bind(local, 8, remote, 53)!;
  const whole = s.stack.udp.bind(local, 9, remote, 53)!;
  whole.dontFragment = true;
  const send = (socket: UdpSocket, length: number): boolean =>
    s.stack.udp.send(local, socket.port, remote, 53, new Uint8Array(length), s.nowMs, socket);
  expect([send(whole, 1_472), send(whole, 1_473)]).toEqual([true, false]);
  expect(icmpAbout(s, 3, 4, 1_000)).toBe(Drop.None);
  expect(whole.reports).toEqual([{ error: UdpError.TooBig, address: remote, port: 53, mtu: 1_000 }]);
  expect([send(whole, 972), send(whole, 973)]).toEqual([true, false]);
  s.others.length = 0;
  expect(send(cut, 1_400)).toBe(true);
  expect(s.others.map(({ length }) => length)).toEqual([996, 452]);
  icmpAbout(s, 3, 4, 600);
  expect(cut.reports).toEqual([]);
});
