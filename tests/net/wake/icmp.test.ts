import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { tcpSend } from "../../../net/tcp/user.ts";
import { obviousChecksum } from "../tcp/checker.ts";
import { SleepyPeer } from "./sleepy_peer.ts";

/** Fragmentation Needed about our segment at `sequence`, from a router. */
function tooBig(peer: SleepyPeer, sequence: number, mtu: number): void {
  const packet = new Uint8Array(56);
  const view = new DataView(packet.buffer);
  packet.set([0x45, 0, 0, 56, 0, 0, 0, 0, 60, 1, 0, 0, 10, 0, 0, 254, 10, 0, 0, 1]);
  view.setUint16(10, obviousChecksum(packet.subarray(0, 20)));
  packet.set([3, 4], 20);
  view.setUint16(26, mtu);
  packet.set([0x45, 0, 5, 220, 0, 0, 0x40, 0, 60, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 28);
  view.setUint16(38, obviousChecksum(packet.subarray(28, 48)));
  view.setUint16(48, 80);
  view.setUint16(50, 4000);
  view.setInt32(52, sequence);
  view.setUint16(22, obviousChecksum(packet.subarray(20)));
  peer.stack.receive(0, new Slab(packet), 0, packet.length, peer.nowMs);
  peer.poll();
}

test("an ICMP error about data in flight wakes a sleeper, and does to it what it does to one awake (RFC 1191)", () => {
  const sizes = (asleep: boolean): number[] => {
    const peer = new SleepyPeer();
    peer.open({ window: 64_000 });
    tcpSend(peer.stack.tcp, peer.tcb, new Uint8Array(1448), 0, 1448);
    peer.poll();
    const { sequence } = peer.take()[0]!;
    if (asleep) peer.sleep();
    tooBig(peer, sequence, 1000);
    expect(peer.wakes).toBe(asleep ? 1 : 0);
    expect(peer.tcb.sndMss).toBe(948);
    return peer.take().map(({ bytes }) => bytes.length - 52);
  };
  expect(sizes(true)).toEqual([948, 500]);
  expect(sizes(false)).toEqual([948, 500]);
});

test("ICMP errors about nothing in flight leave a sleeper alone (RFC 5927 section 4.1)", () => {
  const peer = new SleepyPeer();
  peer.open();
  const { sndMax } = peer.tcb;
  peer.sleep();
  tooBig(peer, sndMax - 100, 1000);
  expect([peer.wakes, peer.awake]).toEqual([0, false]);
  const busy = new SleepyPeer();
  busy.open({ window: 64_000 });
  tcpSend(busy.stack.tcp, busy.tcb, new Uint8Array(100), 0, 100);
  busy.poll();
  const end = busy.tcb.sndMax;
  busy.sleep();
  tooBig(busy, end, 1000); // never sent
  expect([busy.wakes, busy.awake]).toEqual([0, false]);
});
