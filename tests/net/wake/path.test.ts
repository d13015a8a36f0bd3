import { expect, test } from "vitest";
import { tcpSend } from "../../../net/tcp/user.ts";
import { SleepyPeer } from "./sleepy_peer.ts";

for (const mtu of [1400, 1500, 9000]) {
  test(`data in flight at MTU 1500 goes again at MTU ${mtu}, in pieces that fit`, () => {
    const old = new SleepyPeer();
    old.open();
    tcpSend(old.stack.tcp, old.tcb, new Uint8Array(2 * 1448).fill(7), 0, 2 * 1448);
    old.poll();
    expect(old.take().map(({ data }) => data!.length)).toEqual([1448, 1448]);
    old.sleep();

    const peer = new SleepyPeer({}, 1, mtu);
    peer.nowMs = old.nowMs;
    peer.adopt(old.frozen!);
    const { sndUna } = peer.wakeNow();
    const sent = peer.take();
    if (mtu < 1500) { // at once: it is known that it did not get through in one piece
      expect(sent.map(({ data }) => data!.length)).toEqual([1348, 1348, 200]);
      expect(sent[0]!.sequence).toBe(sndUna);
      expect(peer.tcb.sndMss).toBe(1348);
    } else {
      expect(sent).toEqual([]);
      peer.pass(1_500);
      expect(peer.take()[0]!.data!.length).toBe(1448);
    }
    for (let round = 0; round < 20 && peer.tcb.sendQueue.length > 0; round++) {
      peer.in({
        sequence: peer.tcb.rcvNxt,
        acknowledgment: peer.tcb.sndMax,
        tsVal: 1_000_000,
        tsEcr: 0,
      });
      peer.pass(2_000);
    }
    expect(peer.tcb.sendQueue.length).toBe(0);
  });
}
