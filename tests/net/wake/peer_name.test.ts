import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Stack } from "../../../net/stack.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { takeHeld } from "./take_held.ts";
import { SleepyPeer } from "./sleepy_peer.ts";

test("an IPv6 sleeper is called by its peer's address, not by that of a router whose ICMP error is held for it", () => {
  const peer = new SleepyPeer();
  peer.open();
  const stack = new Stack({ nowMs: peer.nowMs, entropy: new Prng(1) });
  const frozen = [...freezeTcb(peer.tcb, peer.nowMs)] as unknown[];
  const bytesOf = (text: string): Uint8Array =>
    stack.addresses.freeze(stack.addresses.parse(text)!) as Uint8Array;
  const [local, remote, router] = ["2001:db8::1", "2001:db8::2", "2001:db8::fe"].map(bytesOf);
  frozen[frozenTcbFields.indexOf("localAddress")] = local;
  frozen[frozenTcbFields.indexOf("remoteAddress")] = remote;
  const { record } = stack.sleepers.adopt(frozen as unknown as FrozenTcb, 7, peer.nowMs);
  const hold = (source: Uint8Array): void => {
    const slab = Slab.of(60);
    slab.bytes[0] = 0x60;
    slab.bytes.set(source, 8);
    expect(stack.sleepers.held.hold(record, 0, slab, 0, 60)).toBe(true);
  };
  expect(stack.sleepers.peerOf(record)).toBe("::"); // nobody keeps its image here
  hold(router!);
  expect(stack.sleepers.peerOf(record)).toBe("::");
  takeHeld(stack.sleepers.held, record);
  hold(remote!);
  expect(stack.sleepers.peerOf(record)).toBe("2001:db8::2");
});
