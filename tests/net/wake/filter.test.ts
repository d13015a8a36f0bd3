import { expect, test } from "vitest";
import { redated } from "../../../net/wake/taken_over.ts";
import { tcpSend, tcpSetKeepAlive } from "../../../net/tcp/user.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";
import { SleepyPeer } from "./sleepy_peer.ts";

const DAY_MS = 86_400_000;
const { ACK, RST, SYN, PSH, FIN } = TcpFlag;

/** A connection that is idle and asleep; `next` and `ack` are what its peer would send now. */
function sleeper(
  options: Parameters<SleepyPeer["open"]>[0] = {},
): { peer: SleepyPeer; next: number; ack: number } {
  const peer = new SleepyPeer();
  peer.open(options);
  peer.in({
    sequence: peer.tcb.rcvNxt,
    acknowledgment: peer.tcb.sndMax,
    flags: ACK | PSH,
    data: new Uint8Array(10),
    ...(peer.tcb.timestamps ? { tsVal: 1_000_100 } : {}),
  });
  peer.tcb.receiveQueue.drop(10);
  peer.pass(1000);
  peer.take();
  const { rcvNxt: next, sndMax: ack } = peer.tcb;
  peer.sleep();
  return { peer, next, ack };
}

const ts = { tsVal: 1_000_200 };

test("a keep-alive probe is answered asleep, with the clock of today, and nobody wakes", () => {
  for (const data of [new Uint8Array(0), new Uint8Array(1)]) { // Linux sends none, others one byte of garbage
    const { peer, next, ack } = sleeper();
    peer.pass(7_200_000);
    expect(peer.in({ sequence: next - 1, acknowledgment: ack, data, ...ts })).toBe(Drop.AsleepAnswered);
    const [answer, ...more] = peer.take();
    expect(more).toEqual([]);
    expect(answer).toMatchObject({ flags: ACK, sequence: ack, acknowledgment: next, tsEcr: 1_000_100 });
    expect(answer!.window).toBeGreaterThan(0);
    expect(peer.wakes).toBe(0);
    expect(peer.awake).toBe(false);
  }
});

test("old duplicates, and data beyond the window, are answered asleep", () => {
  for (const at of [-10, -1000, 5_000_000, 0x7fff_ffff]) {
    const { peer, next, ack } = sleeper();
    const data = new Uint8Array(10);
    expect(peer.in({ sequence: next + at, acknowledgment: ack, data, ...ts })).toBe(Drop.AsleepAnswered);
    expect(peer.take()).toMatchObject([{ flags: ACK, sequence: ack, acknowledgment: next }]);
    expect(peer.wakes, `${at}`).toBe(0);
  }
});

test("a window update is taken in asleep, silently, and honoured after the wake", () => {
  for (const [window, bytes] of [[0, 0], [1, 128], [2, 256], [1000, 600]] as const) {
    const { peer, next, ack } = sleeper({ windowScale: 7 });
    expect(peer.in({ sequence: next, acknowledgment: ack, window, ...ts })).toBe(Drop.AsleepIgnored);
    expect(peer.take()).toEqual([]);
    expect(peer.wakes).toBe(0);
    peer.stack.sleepers.wake(peer.record, peer.nowMs);
    peer.poll();
    expect(peer.tcb.sndWnd).toBe(window << 7);
    expect(peer.tcb.tsRecent).toBe(1_000_200);
    tcpSend(peer.stack.tcp, peer.tcb, new Uint8Array(600), 0, 600);
    peer.poll();
    peer.pass(1); // what is smaller than half the window waits for a timer
    if (window !== 1 && window !== 2) {
      expect(peer.take().reduce((sum, { data }) => sum + data!.length, 0)).toBe(bytes);
    } else expect(peer.take().every(({ data }) => data!.length <= bytes)).toBe(true);
  }
});

test("a window that shrinks after a larger one was heard asleep wakes: MAX.SND.WND is not forgotten", () => {
  const { peer, next, ack } = sleeper({ windowScale: 7 });
  const update = (window: number): Drop => peer.in({ sequence: next, acknowledgment: ack, window, ...ts });
  expect([update(2000), update(2000), update(3000)]).toEqual(Array(3).fill(Drop.AsleepIgnored));
  expect(peer.wakes).toBe(0);
  update(2999);
  expect(peer.wakes).toBe(1);
  expect([peer.tcb.sndWnd, peer.tcb.sndWndMax]).toEqual([2999 << 7, 3000 << 7]);
});

test("probes of our closed window are answered asleep as awake, until their ACK or window brings news", () => {
  const [awake, asleep] = [false, true].map((sleeps) => {
    const peer = new SleepyPeer({ receiveBufferBytes: 2048 });
    peer.open({ windowScale: -1, window: 1_000 });
    const { rcvNxt: start, sndMax: ack } = peer.tcb;
    for (const at of [0, 1024]) {
      peer.in({ sequence: start + at, acknowledgment: ack, data: new Uint8Array(1024), ...ts });
    }
    peer.pass(1_000);
    expect(peer.take().at(-1)!.window).toBe(0);
    if (sleeps) peer.sleep();
    const next = start + 2048;
    const probe = { sequence: next, acknowledgment: ack, window: 1_000, data: new Uint8Array(1), ...ts };
    const sent: unknown[] = [];
    for (
      const each of [
        probe, // as BSD asks: the next byte
        { ...probe, flags: ACK | PSH, data: new Uint8Array(700) },
        { ...probe, sequence: next - 1, data: new Uint8Array(0) }, // as Linux does
        { ...probe, sequence: next - 1 }, // or a byte that we have
        { ...probe, sequence: next + 3_000 }, // beyond what may be offered
      ]
    ) {
      peer.pass(10_000);
      peer.in(each);
      sent.push(peer.take().map(({ bytes: _, ...segment }) => segment));
    }
    expect(sent).toHaveLength(5);
    expect(sent.every((segments) => (segments as unknown[]).length === 1)).toBe(true);
    if (sleeps) expect(peer.wakes).toBe(0);
    for (const news of [{ ...probe, window: 777 }, { ...probe, flags: ACK | FIN, data: new Uint8Array(0) }]) {
      peer.in(news);
      sent.push(peer.take().map(({ bytes: _, ...segment }) => segment));
      expect(peer.tcb.sndWnd).toBe(news.window === 777 ? 777 : peer.tcb.sndWnd);
      if (sleeps) expect(peer.wakes).toBeGreaterThan(0);
    }
    expect([peer.tcb.receiveQueue.length, peer.tcb.finReceived]).toEqual([2048, true]);
    return sent;
  });
  expect(asleep).toEqual(awake);
});

test("blind RST and SYN get a challenge ACK at a limited rate, and nobody wakes", () => {
  const { peer, next, ack } = sleeper();
  const rst = { sequence: next + 1, flags: RST };
  expect(peer.in(rst)).toBe(Drop.AsleepAnswered);
  expect(peer.take()).toMatchObject([{ flags: ACK, sequence: ack, acknowledgment: next }]);
  expect(peer.in(rst)).toBe(Drop.AsleepIgnored); // within 500 ms
  expect(peer.in({ sequence: next, flags: SYN, ...ts })).toBe(Drop.AsleepIgnored);
  peer.pass(499);
  expect(peer.in({ sequence: next, flags: SYN, ...ts })).toBe(Drop.AsleepIgnored);
  peer.pass(1);
  expect(peer.in({ sequence: next, flags: SYN, ...ts })).toBe(Drop.AsleepAnswered);
  expect(peer.take()).toHaveLength(1);
  peer.pass(500);
  expect(peer.in({ sequence: next - 2, flags: RST })).toBe(Drop.AsleepIgnored); // out of the window
  expect(peer.in({ sequence: next, acknowledgment: ack + 1, ...ts })).toBe(Drop.AsleepAnswered); // of what was never sent
  expect(peer.wakes).toBe(0);
  expect(peer.alive).toBe(true);
  // The limit holds across the wake.
  peer.take();
  peer.stack.sleepers.wake(peer.record, peer.nowMs);
  peer.poll();
  peer.in(rst);
  expect(peer.take()).toEqual([]);
  peer.pass(500);
  peer.in(rst);
  expect(peer.take()).toHaveLength(1);
});

test("an RST that may be exact wakes: at the FIN's own number, and at the end of data ahead of a hole (RFC 5961)", () => {
  const closed = new SleepyPeer();
  closed.open();
  closed.in({ sequence: closed.tcb.rcvNxt, acknowledgment: closed.tcb.sndMax, flags: ACK | FIN, ...ts });
  closed.pass(1_000);
  const { rcvNxt } = closed.tcb;
  closed.sleep();
  closed.in({ sequence: rcvNxt - 2, flags: RST });
  expect(closed.wakes).toBe(0);
  closed.in({ sequence: rcvNxt - 1, flags: RST });
  expect([closed.wakes, closed.alive]).toEqual([1, false]);

  const holed = new SleepyPeer();
  holed.open({ sack: true });
  const { rcvNxt: next, sndMax: ack } = holed.tcb;
  holed.in({ sequence: next + 100, acknowledgment: ack, data: new Uint8Array(10), ...ts });
  holed.pass(1_000);
  holed.sleep();
  holed.in({ sequence: next + 110, flags: RST });
  expect([holed.wakes, holed.alive]).toEqual([1, false]);
});

test("with data ahead of a hole every answer reports it: the record has no room for blocks, and noise wakes (RFC 2018 section 4)", () => {
  const peer = new SleepyPeer();
  peer.open({ sack: true });
  const { rcvNxt: next, sndMax: ack } = peer.tcb;
  peer.in({ sequence: next + 100, acknowledgment: ack, data: new Uint8Array(10), ...ts });
  peer.pass(1_000);
  peer.take();
  peer.sleep();
  peer.in({ sequence: next - 10, acknowledgment: ack, data: new Uint8Array(5), ...ts });
  expect(peer.take()).toMatchObject([{ sack: [[next - 10, next - 5], [next + 100, next + 110]] }]);
  expect(peer.wakes).toBe(1);
});

test("a challenge asleep reports no duplicate, as awake: its segment was not judged by its data (RFC 5961 section 5.2)", () => {
  const { peer, next, ack } = sleeper({ sack: true });
  const bad = { sequence: next - 5, acknowledgment: ack + 1, data: new Uint8Array(10), ...ts };
  expect(peer.in(bad)).toBe(Drop.AsleepAnswered);
  expect(peer.take()).toMatchObject([{ sack: [] }]);
  expect(peer.in({ ...bad, acknowledgment: ack, data: new Uint8Array(5) })).toBe(Drop.AsleepAnswered);
  expect(peer.take()).toMatchObject([{ sack: [[next - 5, next]] }]);
  expect(peer.wakes).toBe(0);
});

test("an ACK that reports a duplicate wakes: it may say that a recovery was for nothing (RFC 2883)", () => {
  const { peer, next, ack } = sleeper({ sack: true });
  const pure = { sequence: next, acknowledgment: ack, ...ts };
  expect(peer.in(pure)).toBe(Drop.AsleepIgnored);
  peer.in({ ...pure, sack: [[ack - 1, ack]] });
  expect(peer.wakes).toBe(1);
  const without = sleeper(); // never agreed on
  without.peer.in({ ...pure, acknowledgment: without.ack, sack: [[ack - 1, ack]] });
  expect(without.peer.wakes).toBe(0);
});

test("an ACK from before the connection's start is answered as awake: the record cannot know, and wakes (RFC 5961 section 5.2)", () => {
  const { peer, next, ack } = sleeper();
  peer.in({ sequence: next, acknowledgment: ack - 1_000, ...ts });
  expect(peer.wakes).toBe(1);
  expect(peer.take()).toMatchObject([{ flags: ACK, sequence: ack, acknowledgment: next }]);
});

test("an exact RST wakes, and kills", () => {
  const { peer, next } = sleeper();
  expect(peer.in({ sequence: next, flags: RST })).toBe(Drop.None);
  expect(peer.wakes).toBe(1);
  expect(peer.alive).toBe(false);
  expect(peer.take()).toEqual([]);
});

test("data, FIN, and both wake, and are delivered", () => {
  for (const [flags, length] of [[ACK | PSH, 5], [ACK | FIN, 0], [ACK | FIN, 5]] as const) {
    const { peer, next, ack } = sleeper();
    peer.in({ sequence: next, acknowledgment: ack, flags, data: new Uint8Array(length).fill(9), ...ts });
    expect(peer.wakes).toBe(1);
    expect(peer.tcb.receiveQueue.toBytes()).toEqual(new Uint8Array(length).fill(9));
    expect(peer.tcb.finReceived).toBe((flags & FIN) !== 0);
    expect(peer.stack.sleepers.held.bytes).toBe(0);
  }
});

test("PAWS: old timestamps are answered asleep until TS.Recent is 24 days old", () => {
  const old = { tsVal: 1_000_099 };
  const { peer, next, ack } = sleeper();
  const data = new Uint8Array(3);
  expect(peer.in({ sequence: next, acknowledgment: ack, data, ...old })).toBe(Drop.AsleepAnswered);
  expect(peer.in({ sequence: next, acknowledgment: ack, data })).toBe(Drop.AsleepIgnored); // without any
  expect(peer.in({ sequence: next, acknowledgment: ack, ...old })).toBe(Drop.AsleepAnswered); // the challenge
  peer.pass(23 * DAY_MS - 1000);
  expect(peer.in({ sequence: next, acknowledgment: ack, data, ...old })).toBe(Drop.AsleepAnswered);
  expect(peer.wakes).toBe(0);
  peer.pass(DAY_MS - 1); // still younger than 24 days: what the day does not tell, the TCB does
  peer.take();
  peer.in({ sequence: next, acknowledgment: ack, data, ...old });
  expect(peer.wakes).toBe(1);
  expect(peer.tcb.receiveQueue.length).toBe(0);
  peer.sleep();
  peer.pass(2 * DAY_MS);
  peer.in({ sequence: next, acknowledgment: ack, data, ...old });
  expect(peer.tcb.receiveQueue.length).toBe(3);
});

test("a timestamp heard asleep is young again", () => {
  const { peer, next, ack } = sleeper();
  peer.pass(20 * DAY_MS);
  peer.in({ sequence: next, acknowledgment: ack, ...ts }); // a pure ACK: TS.Recent moves
  peer.pass(20 * DAY_MS);
  const old = { sequence: next, acknowledgment: ack, data: new Uint8Array(3), tsVal: 1_000_150 };
  expect(peer.in(old)).toBe(Drop.AsleepAnswered);
  peer.stack.sleepers.wake(peer.record, peer.nowMs);
  peer.poll();
  peer.in(old);
  expect(peer.tcb.receiveQueue.length).toBe(0);
});

test("a connection with something under way wakes on anything acceptable, and on noise does not", () => {
  const peer = new SleepyPeer();
  peer.open();
  tcpSend(peer.stack.tcp, peer.tcb, new Uint8Array(100), 0, 100);
  peer.poll();
  const { rcvNxt: next, sndUna } = peer.tcb;
  peer.sleep();
  peer.in({ sequence: next, flags: SYN, ...ts });
  peer.in({ sequence: next - 2, acknowledgment: sndUna, data: new Uint8Array(1), ...ts });
  expect(peer.wakes).toBe(0);
  peer.in({ sequence: next, acknowledgment: sndUna + 100, ...ts });
  expect(peer.wakes).toBe(1);
  expect(peer.tcb.sndUna).toBe((sndUna + 100) | 0);
});

test("the peer's last segment again is noise, unless its ACK or its window may be news", () => {
  const peer = new SleepyPeer();
  peer.open();
  peer.in({
    sequence: peer.tcb.rcvNxt,
    acknowledgment: peer.tcb.sndUna,
    data: new Uint8Array(9),
    window: 500,
    ...ts,
  });
  peer.poll();
  peer.pass(50);
  const { rcvNxt: next, sndUna } = peer.tcb;
  peer.sleep();
  const again = { sequence: next - 9, acknowledgment: sndUna, data: new Uint8Array(9), window: 500, ...ts };
  peer.in(again);
  expect(peer.wakes).toBe(0);
  peer.in({ ...again, window: 600 });
  expect(peer.wakes).toBe(1);
});

test("without a scale data beyond the window's field wakes, for the TCB knows what there is room for; guesses do not (RFC 5961)", () => {
  const peer = new SleepyPeer({ receiveBufferBytes: 1 << 20 });
  peer.open({ windowScale: -1 });
  const { rcvNxt: next, sndMax: ack } = peer.tcb;
  peer.sleep();
  const data = { data: new Uint8Array(1), ...ts };
  peer.in({ sequence: next + (1 << 19), acknowledgment: ack, ...data });
  for (const flags of [RST, SYN, RST | ACK]) {
    peer.in({ sequence: next + 70_000, flags, acknowledgment: ack, ...ts });
  }
  for (const off of [1, -70_000, 1 << 30]) {
    peer.in({ sequence: next + 70_000, acknowledgment: ack + off, ...data });
  }
  expect([peer.wakes, peer.alive]).toEqual([0, true]);
  peer.in({ sequence: next + 70_000, acknowledgment: ack, ...data });
  expect(peer.wakes).toBe(1);
});

test("what was in flight when it was forced to sleep is retransmitted on time", () => {
  const awake = new SleepyPeer(), asleep = new SleepyPeer();
  const times = [awake, asleep].map((peer) => {
    peer.open();
    tcpSend(peer.stack.tcp, peer.tcb, new Uint8Array(100), 0, 100);
    peer.poll();
    peer.take();
    if (peer === asleep) peer.sleep();
    const sentAt: number[] = [];
    for (let ms = 0; ms < 5_000; ms++) {
      peer.pass(1);
      for (const sent of peer.take()) sentAt.push(peer.nowMs, sent.sequence, sent.data!.length);
    }
    return sentAt;
  });
  expect(times[1]).toEqual(times[0]);
  expect(times[0]!.length).toBeGreaterThan(6);
  expect(asleep.wakes).toBe(1);
});

test("its keep-alive probes leave asleep, and a peer that is gone ends it: only that wakes", () => {
  const peer = new SleepyPeer();
  peer.open();
  peer.pass(50);
  tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 60_000, 1_000, 3);
  peer.take();
  const { rcvNxt, sndMax } = peer.tcb;
  peer.sleep();
  peer.pass(59_999);
  expect([peer.wakes, peer.take()]).toEqual([0, []]);
  for (let probe = 0; probe < 3; probe++) {
    peer.pass(probe === 0 ? 1 : 1_000);
    const probes = peer.take();
    expect(probes).toMatchObject([{ flags: ACK, sequence: (sndMax - 1) | 0, acknowledgment: rcvNxt }]);
  }
  peer.pass(999);
  expect([peer.wakes, peer.take(), peer.stack.tcp.counters.keepAlive]).toEqual([0, [], 3]);
  peer.pass(1);
  expect(peer.wakes).toBe(1);
  expect(peer.alive).toBe(false);
  expect(peer.take()).toMatchObject([{ flags: RST | ACK, sequence: sndMax }]);
});

test("asleep and awake a user timeout ends keep-alive, not the number of probes (RFC 5482 section 4.2)", () => {
  for (const userTimeoutMs of [1, 60_000, 60_001, 61_000, 62_500, 70_000]) {
    const [awake, asleep] = [false, true].map((sleeps) => {
      const peer = new SleepyPeer();
      peer.open();
      peer.pass(50);
      tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 60_000, 1_000, 3);
      peer.tcb.userTimeoutMs = userTimeoutMs;
      peer.take();
      if (sleeps) peer.sleep();
      const sent: string[] = [];
      for (let at = 0; at < 200_000; at += 500) {
        peer.pass(500);
        for (const { flags, sequence } of peer.take()) sent.push(`${at} ${flags} ${sequence}`);
      }
      expect([peer.alive, peer.wakes]).toEqual([false, sleeps ? 1 : 0]);
      return sent;
    });
    expect(asleep, `${userTimeoutMs} ms`).toEqual(awake);
    expect(awake!.length).toBeGreaterThan(1);
  }
});

test("while it wakes packets are held in order, up to the limit", () => {
  const { peer, next, ack } = sleeper();
  peer.serving = false;
  for (let at = 0; at < 70; at++) {
    const drop = peer.in({ sequence: next + at, acknowledgment: ack, data: Uint8Array.of(at), ...ts });
    expect(drop, `${at}`).toBe(at < 64 ? Drop.None : Drop.HeldFull);
  }
  expect(peer.take()).toEqual([]);
  expect(peer.wakes).toBe(1);
  peer.serving = true;
  peer.poll();
  expect(peer.tcb.receiveQueue.toBytes()).toEqual(Uint8Array.from({ length: 64 }, (_, at) => at));
  expect(peer.stack.sleepers.held.bytes).toBe(0);
});

test("a packet, a deadline or a write while it is being saved call the sleep off", () => {
  const { peer, next, ack } = sleeper();
  peer.stack.sleepers.wake(peer.record, peer.nowMs);
  peer.poll();
  const { tcb, stack } = peer;
  peer.serving = false;
  stack.sleepers.beginSave(tcb);
  peer.in({ sequence: next, acknowledgment: ack, data: Uint8Array.of(1), ...ts });
  peer.in({ sequence: next + 1, acknowledgment: ack, data: Uint8Array.of(2), ...ts });
  expect(peer.wakes).toBe(2);
  expect(tcb.receiveQueue.length).toBe(0);
  stack.sleepers.unsave(tcb, peer.nowMs);
  expect(tcb.receiveQueue.toBytes()).toEqual(Uint8Array.of(1, 2));
});

test("wake() of an awake connection is no wake", () => {
  const peer = new SleepyPeer();
  peer.open();
  peer.stack.sleepers.wake(peer.record, peer.nowMs);
  expect(peer.wakes).toBe(0);
  expect(peer.awake).toBe(true);
});

test("the owner of a lost image is told, the peer gets a reset, and nothing is left for the next record", () => {
  const { peer, next, ack } = sleeper();
  const told: string[] = [];
  peer.stack.upcalls = {
    tcpRestored: (tcb) => void told.push(`restored ${tcb.state} at ${tcb.sndMax === (ack | 0)}`),
    tcpEvents: (tcb, events) => void told.push(`events ${events} error ${tcb.error}`),
    tcpSuspended() {},
    udpReadable() {},
  };
  peer.serving = false;
  peer.in({ sequence: next, acknowledgment: ack, data: Uint8Array.of(1), ...ts });
  peer.stack.sleepers.forget(peer.record, peer.nowMs);
  peer.poll();
  expect(told).toEqual(["restored 8 at true", "events 16 error 1"]);
  expect(peer.take()).toMatchObject([{ flags: RST, sequence: ack }]);
  expect(peer.alive).toBe(false);
  expect(peer.stack.sleepers.held.bytes).toBe(0);
});

test("in a process whose clock was set back to before the image, the first probe wakes: timestamps do not run backward", () => {
  const { peer, next, ack } = sleeper();
  peer.stack.sleepers.wake(peer.record, peer.nowMs);
  peer.poll();
  peer.pass(3_600_000);
  const probe = { sequence: next - 1, acknowledgment: ack, ...ts };
  peer.in(probe);
  const before = peer.take()[0]!.tsVal!;
  peer.sleep();

  const later = new SleepyPeer(); // its clock is an hour behind
  later.adopt(peer.frozen!);
  later.pass(1_000);
  later.in(probe);
  expect(later.wakes).toBe(1);
  const first = later.take()[0]!.tsVal!;
  expect((first - before) | 0).toBeGreaterThanOrEqual(1_000);
  later.pass(5_000);
  later.in(probe);
  expect(later.take()[0]!.tsVal! - first).toBe(5_000);
});

test("what an earlier process answered asleep has no later timestamp than the next one, whose clock is a little behind", () => {
  const { peer, next, ack } = sleeper();
  const probe = { sequence: next - 1, acknowledgment: ack, ...ts };
  peer.pass(20_000);
  peer.in(probe);
  const before = peer.take()[0]!.tsVal!;
  expect(peer.wakes).toBe(0);

  const later = new SleepyPeer();
  later.nowMs = peer.nowMs - 5_000; // and still behind the image
  later.adopt(peer.frozen!);
  later.in(probe);
  const asleep = later.take()[0]!.tsVal!;
  expect(later.wakes).toBe(0);
  expect((asleep - before) | 0).toBeGreaterThan(0);
  later.wakeNow();
  later.pass(1_000);
  later.in(probe);
  expect(later.take()[0]!.tsVal! - asleep).toBe(1_000); // awake it goes by the same clock
});

test("by a clock that was set back, a later process that takes over from the same image has later timestamps", () => {
  for (const backMs of [1, 5_000, 3_600_000, 86_399_999]) {
    const { peer, next, ack } = sleeper();
    const probe = { sequence: next - 1, acknowledgment: ack, ...ts };
    peer.pass(20_000);
    peer.in(probe);
    let before = peer.take()[0]!.tsVal!;
    let nowMs = peer.nowMs - backMs;
    for (const process of ["the second", "the third", "the fourth"]) { // none of them writes an image
      const later = new SleepyPeer();
      later.nowMs = nowMs;
      later.adopt(peer.frozen!);
      for (let answer = 0; answer < 2; answer++) {
        later.pass(700);
        later.in(probe);
        const { tsVal } = later.take()[0]!;
        expect((tsVal! - before) | 0, `${process}, ${backMs} ms back`).toBeGreaterThan(0);
        before = tsVal!;
      }
      nowMs = later.nowMs + 10;
    }
  }
});

test("from an image that is dated anew timestamps are later than what was answered from the old one", () => {
  const { peer, next, ack } = sleeper();
  const probe = { sequence: next - 1, acknowledgment: ack, ...ts };
  const second = new SleepyPeer();
  second.nowMs = peer.nowMs + 10_000;
  second.adopt(peer.frozen!);
  second.pass(30_000);
  second.in(probe);
  let before = second.take()[0]!.tsVal!;
  let nowMs = second.nowMs - 3_600_000;
  const anew = redated(peer.frozen!, nowMs);
  for (const process of ["the third", "the fourth"]) {
    const later = new SleepyPeer();
    later.nowMs = nowMs;
    later.adopt(anew);
    later.in(probe);
    later.pass(700);
    const { tsVal } = later.take()[0]!;
    expect((tsVal! - before) | 0, process).toBeGreaterThan(0);
    before = tsVal!;
    nowMs = later.nowMs + 4_000_000; // past the time at which the old image was made
  }
});

test("adopt(): the later image of a connection counts; one that is awake is not replaced", () => {
  const { peer } = sleeper();
  const frozen = peer.frozen!;
  const other = new SleepyPeer();
  const first = other.stack.sleepers.adopt(frozen, 5, other.nowMs);
  expect(first.staleLocation).toBe(-1);
  expect(other.stack.sleepers.adopt(frozen, 5, other.nowMs)).toEqual(first); // the same image again
  expect(other.stack.sleepers.adopt(frozen, 2 ** 40 + 6, other.nowMs)).toEqual({
    ...first,
    staleLocation: 5,
  });
  expect(other.stack.sleepers.adopt(frozen, 8, other.nowMs).staleLocation).toBe(2 ** 40 + 6);
  other.frozen = frozen;
  other.record = first.record;
  other.stack.sleepers.wake(first.record, other.nowMs);
  other.poll();
  expect(other.stack.sleepers.adopt(frozen, 9, other.nowMs)).toMatchObject({ record: -1, staleLocation: -1 });
});

test("with keep-alive, duplicate ACKs wake nobody and put off the probe; an answered ACK does not", () => {
  const peer = new SleepyPeer();
  peer.open();
  peer.pass(50);
  tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 60_000, 1_000, 3);
  const { rcvNxt: sequence, sndMax: acknowledgment } = peer.tcb;
  peer.sleep();
  for (let round = 0; round < 5; round++) {
    peer.pass(50_000);
    expect(peer.in({ sequence, acknowledgment, ...ts })).toBe(Drop.AsleepIgnored);
  }
  peer.pass(30_000);
  expect(peer.in({ sequence: sequence - 1, acknowledgment, ...ts })).toBe(Drop.AsleepAnswered); // its own probe
  peer.take();
  peer.pass(29_999);
  expect([peer.wakes, peer.take()]).toEqual([0, []]);
  peer.pass(1);
  expect(peer.take()).toHaveLength(1);
  peer.pass(500);
  expect(peer.wakes).toBe(0);
  expect([peer.wakeNow().keepAlives, peer.tcb.keepAliveAtMs - peer.nowMs]).toEqual([1, 500]);
});

test("the answer to a probe that was sent before the sleep is heard asleep, and a crash does not count it as missing", () => {
  const open = (): SleepyPeer => {
    const peer = new SleepyPeer();
    peer.open();
    peer.pass(50);
    tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 60_000, 1_000, 3);
    peer.pass(61_000);
    expect(peer.tcb.keepAlives).toBe(2);
    peer.sleep();
    return peer;
  };
  const unheard = open();
  expect(unheard.wakeNow().keepAlives).toBe(2);
  const heard = open();
  const { sequence, acknowledgment } = heard.take().at(-1)!;
  heard.in({ sequence: acknowledgment, acknowledgment: sequence + 1, ...ts });
  expect(heard.wakes).toBe(0);
  expect([heard.wakeNow().keepAlives, heard.tcb.keepAliveAtMs - heard.nowMs]).toEqual([0, 60_000]);
  const next = new SleepyPeer();
  next.adopt(open().frozen!);
  expect(next.wakeNow().keepAlives).toBe(0);
});
