import { expect, test } from "vitest";
import { UDP_DATA_MAX, UDP_QUEUE_BYTES_MAX, type UdpSocket } from "../../../net/udp/udp.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
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
  expect(udp.find(local, 7)).toBe(one);
  expect(udp.find(remote, 7)).toBe(any);
  expect(udp.find(local, 8)).toBeUndefined();
  udp.unbind(one);
  expect(udp.find(local, 7)).toBe(any);
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
