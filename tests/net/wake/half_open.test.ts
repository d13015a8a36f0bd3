import { expect, test } from "vitest";
import { tcpLog } from "../../../net/tcp/durable.ts";
import type { FrozenTcb } from "../../../net/tcp/frozen_tcb.ts";
import { type Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";
import { type Sent, SleepyPeer } from "./sleepy_peer.ts";

const ISN = 5_000;
const SYN_ACK = TcpFlag.SYN | TcpFlag.ACK;
const DATA = Uint8Array.of(1, 2, 3);
/** Our SYN-ACK is sent so often again. */
const RETRANSMITS_MAX = 5;

/** A process whose listener is durable. */
function process(nowMs?: number): SleepyPeer {
  const peer = new SleepyPeer({ synAckRetransmitsMax: RETRANSMITS_MAX });
  Object.assign(peer.stack.tcp.listeners.byId(0) ?? peer.stack.tcp.listeners.byId(1)!, { durable: true });
  if (nowMs !== undefined) peer.nowMs = nowMs;
  return peer;
}

/** A SYN has come to a durable listener, is in the log, and is answered. */
function halfOpen(): { peer: SleepyPeer; tcb: Tcb; logged: FrozenTcb; synAck: Sent } {
  const peer = process();
  peer.in({ sequence: ISN, flags: TcpFlag.SYN, mss: 1460, windowScale: 7, tsVal: 1_000_000 });
  expect(peer.take()).toEqual([]); // not before it is in the log
  const [tcb] = peer.stack.tcp.tcbs();
  peer.record = tcb!.record;
  const logged = tcpLog(tcb!, peer.nowMs, peer.stack.addresses);
  const { takenRcvNxt, takenRcvAdv, takenSndEnd } = tcb!.durable!;
  peer.stack.sleepers.logged(tcb!, takenRcvNxt, takenRcvAdv, takenSndEnd, peer.nowMs);
  const [synAck] = peer.take();
  expect(synAck).toMatchObject({ flags: SYN_ACK, acknowledgment: ISN + 1 });
  return { peer, tcb: tcb!, logged, synAck: synAck! };
}

/** The client's first segment behind the handshake, which echoes `synAck`. */
function opens(peer: SleepyPeer, synAck: Sent): void {
  const { sequence, tsVal } = synAck;
  peer.in({ sequence: ISN + 1, acknowledgment: sequence + 1, data: DATA, tsVal: 1_000_001, tsEcr: tsVal! });
  expect(peer.tcb.state).toBe(TcpState.established);
  expect(peer.tcb.receiveQueue.toBytes()).toEqual(DATA);
}

test("the ACK of an earlier process's SYN-ACK opens a durable connection: what that said died with it", () => {
  const { peer, logged, synAck } = halfOpen();
  for (const downMs of [0, 1, 10_000, -5_000]) {
    const later = process(peer.nowMs + downMs);
    later.adopt(logged);
    if (downMs > 0) { // a SYN-ACK of its own is lost
      later.wakeNow();
      later.pass(0);
      expect(later.take(), `${downMs}`).toMatchObject([{ flags: SYN_ACK, sequence: synAck.sequence }]);
    }
    opens(later, synAck);
    expect(later.tcb.srttUs, "a round trip over two lives is none").toBe(-1);
  }
});

test("the ACK of a SYN-ACK from before the server's sleep opens the connection", () => {
  for (const sleepAtMs of [0, 1, 400, 1_500, 3_200.7]) {
    const { peer, synAck } = halfOpen();
    peer.pass(sleepAtMs); // later than a second it has been sent again, and no round trip is timed
    peer.take();
    peer.sleep();
    peer.pass(100);
    opens(peer, synAck);
  }
});

test("a later process asks again for the ACK of a SYN-ACK, however often an earlier one has asked", () => {
  const { peer, tcb } = halfOpen();
  while (tcb.retransmits < RETRANSMITS_MAX) peer.pass(1_000);
  peer.sleep();
  const later = process(peer.nowMs + 1_000);
  later.adopt(peer.frozen!);
  later.wakeNow();
  later.pass(0);
  expect(later.take()).toMatchObject([{ flags: SYN_ACK, acknowledgment: ISN + 1 }]);
  later.pass(10_000);
  expect(later.take()).toHaveLength(2);
  expect(later.alive).toBe(true);
  later.pass(100_000); // and gives up as any process does
  expect(later.alive).toBe(false);
});
