import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { TcpState } from "../../../net/tcp/tcb.ts";
import {
  canWrite,
  tcpClose,
  tcpReceive,
  tcpSend,
  tcpSetKeepAlive,
  tcpShutdown,
} from "../../../net/tcp/user.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";
import { type PeerSegment, type Sent, SleepyPeer } from "./sleepy_peer.ts";

const RUNS = 800;

/**
 * The twins: one connection, twice. Both live the same life; then one of them is put to sleep, whatever
 * it is doing, and both get the same segments. The sleeper must say what the other says, and once it is
 * awake again it must be what the other is.
 */
test("a sleeping connection behaves as its awake twin", () => {
  let asleepAtTheEnd = 0, woken = 0, answered = 0, putOff = 0;
  for (let seed = 1; seed <= RUNS; seed++) {
    const prng = new Prng(seed);
    const tcp = { quickAcks: prng.pick([0, 16]), receiveBufferBytes: prng.pick([1 << 20, 3000]) };
    const a = new SleepyPeer(tcp, seed), b = new SleepyPeer(tcp, seed);
    const log: string[] = [];
    live(prng, a, b, log);
    if (!a.awake || a.tcb.state < TcpState.established) continue;
    const where = (): string => `seed ${seed}\n${log.join("\n")}`;
    const same = (): void => {
      const sentA = a.take(), sentB = b.take();
      if (sentA.map(masked).join() !== sentB.map(masked).join()) {
        expect(sentB.map(shown), where()).toEqual(sentA.map(shown));
        expect(sentB.map(masked), where()).toEqual(sentA.map(masked));
      }
      if (a.alive !== b.alive) expect(b.alive, where()).toBe(a.alive);
    };
    same();
    b.sleep();
    log.push("-- sleeps");
    for (let step = 0; step < 6 && a.alive; step++) {
      const ms = a.tcb.keepAlive && prng.chance(0.7)
        ? prng.pick([0, 1, 600, 5_000, 59_000])
        : prng.pick([0, 0, 1, 10, 600, 5_000, 90_000_000, 2_200_000_000]);
      log.push(`${ms} ms`);
      a.pass(ms);
      b.pass(ms);
      same();
      if (!a.alive) break;
      const segment = draw(prng, a);
      log.push(JSON.stringify({ ...segment, data: segment.data?.length }));
      const sentBefore = b.sent.length;
      a.in(segment);
      b.in(segment);
      if (!b.awake && b.sent.length > sentBefore) answered++;
      same();
      // A sleeper does not count its ACKs, so it owes a few more quick ones once it is awake.
      if (!b.awake && a.alive) a.tcb.quickAcks = b.frozen![frozenTcbFields.indexOf("quickAcks")] as number;
    }
    if (!a.alive) continue;
    if (b.moves > 0) putOff++;
    if (b.awake) woken++;
    else asleepAtTheEnd++;
    b.stack.sleepers.wake(b.record, b.nowMs);
    b.poll();
    a.poll();
    same();
    const stateA = state(a), stateB = state(b);
    if (JSON.stringify(stateA) !== JSON.stringify(stateB)) expect(stateB, where()).toEqual(stateA);
  }
  // The test is worth something only while every way is taken.
  expect(asleepAtTheEnd).toBeGreaterThan(50);
  expect(woken).toBeGreaterThan(200);
  expect(answered).toBeGreaterThan(200);
  expect(putOff, "keep-alives put off by what did not wake").toBeGreaterThan(30);
});

/** A random life, the same for both. */
function live(prng: Prng, a: SleepyPeer, b: SleepyPeer, log: string[]): void {
  const both = (act: (each: SleepyPeer) => void): void => [a, b].forEach(act);
  const open = {
    isn: prng.pick([5000, -1, 0x7fff_fff0, prng.uint32()]),
    timestamps: prng.chance(0.7),
    windowScale: prng.pick([-1, 0, 7, 14]),
    window: prng.pick([1000, 64_000, 65_535]),
  };
  log.push(JSON.stringify(open));
  both((each) => each.open(open));
  if (prng.chance(0.3)) keepAlive(prng, a, b, log);
  const steps = prng.below(6);
  for (let step = 0; step < steps && a.awake; step++) {
    const kind = prng.below(12);
    const count = prng.between(1, 3000);
    if (kind === 0 && canWrite(a.tcb)) {
      log.push(`sends ${count}`);
      both((each) => tcpSend(each.stack.tcp, each.tcb, new Uint8Array(count).fill(step), 0, count));
    } else if (kind <= 2) {
      log.push(`reads ${count}`);
      both((each) => tcpReceive(each.stack.tcp, each.tcb, new Uint8Array(count), 0, count));
    } else if (kind === 3 && prng.chance(0.3)) {
      log.push("shuts down");
      both((each) => tcpShutdown(each.stack.tcp, each.tcb));
    } else if (kind === 4 && prng.chance(0.2)) {
      log.push("closes");
      both((each) => tcpClose(each.stack.tcp, each.tcb, each.nowMs));
    } else if (kind === 5) {
      keepAlive(prng, a, b, log);
    } else {
      const { tcb } = a;
      const segment: PeerSegment = {
        sequence: tcb.rcvNxt + (prng.chance(0.2) ? 100 : 0),
        acknowledgment: prng.chance(0.8) ? tcb.sndMax : tcb.sndUna,
        window: prng.pick([0, 10, 1000, 65_535]),
        flags: TcpFlag.ACK | (prng.chance(0.1) ? TcpFlag.FIN : 0),
        data: new Uint8Array(prng.chance(0.6) ? prng.between(1, 1400) : 0).fill(step),
        ...stamp(tcb.tsRecent + prng.below(50), tcb.timestamps),
      };
      log.push(JSON.stringify({ ...segment, data: segment.data?.length }));
      both((each) => each.in(segment));
    }
    both((each) => each.poll());
    if (prng.chance(0.6)) {
      const ms = prng.pick([1, 50, 3_000, 100_000]);
      log.push(`${ms} ms`);
      both((each) => each.pass(ms));
    }
  }
}

function keepAlive(prng: Prng, a: SleepyPeer, b: SleepyPeer, log: string[]): void {
  const idleMs = prng.pick([700, 60_000, 7_200_000]);
  log.push(`keep-alive after ${idleMs} ms`);
  for (const each of [a, b]) {
    tcpSetKeepAlive(each.stack.tcp, each.tcb, true, each.nowMs, idleMs, 10_000, 3);
  }
}

/** A segment near the edges of what the connection takes. */
function draw(prng: Prng, awake: SleepyPeer): PeerSegment {
  const { tcb } = awake;
  if (tcb.keepAlive && prng.chance(0.4)) { // a sign of life and no more
    return {
      sequence: tcb.rcvNxt,
      acknowledgment: tcb.sndMax,
      window: 65_535,
      ...stamp(tcb.tsRecent + prng.pick([0, 1]), tcb.timestamps),
    };
  }
  const window = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  // What lies beyond what was offered, and would be offered now, the sleeper takes a little earlier.
  const far = tcb.receiveBufferBytes + 100;
  const length = prng.chance(0.4) ? prng.pick([1, 2, 100, 1448]) : 0;
  const edge = prng.pick([
    () => 0,
    () => -1,
    () => -length,
    () => -length - 1,
    () => 1,
    () => Math.max(0, window - 1),
    () => far,
    () => far + 1,
    () => prng.uint32(),
  ])();
  const back = tcb.sndWndMax;
  const ack = prng.pick([
    0,
    0,
    0,
    0,
    1,
    -1,
    -100,
    -back,
    -back - 1,
    -(0xffff << tcb.sndShift) - 1,
    prng.uint32(),
  ]);
  let flags: number = TcpFlag.ACK;
  if (prng.chance(0.1)) flags |= TcpFlag.FIN;
  if (prng.chance(0.1)) flags |= TcpFlag.SYN;
  if (prng.chance(0.12)) flags |= TcpFlag.RST;
  if (prng.chance(0.05)) flags &= ~TcpFlag.ACK;
  if (prng.chance(0.2)) flags |= TcpFlag.PSH;
  return {
    sequence: tcb.rcvNxt + edge,
    acknowledgment: (prng.chance(0.5) ? tcb.sndMax : tcb.sndUna) + ack,
    window: prng.pick([0, 10, 1000, 1000, 65_535]),
    flags,
    ...(length > 0 ? { data: new Uint8Array(length).fill(0xee) } : {}),
    ...stamp(
      tcb.tsRecent + prng.pick([0, 0, 1, 1000, -1, 0x7fff_ffff, -0x7fff_ffff]),
      tcb.timestamps !== prng.chance(0.05),
    ),
  };
}

function stamp(tsVal: number, timestamps: boolean): { tsVal?: number; tsEcr?: number } {
  return timestamps ? { tsVal, tsEcr: 0 } : {};
}

function shown({ flags, sequence, acknowledgment, data, tsEcr, window }: Sent): object {
  return { flags, sequence, acknowledgment, length: data!.length, tsEcr, window };
}

/** The packet without IP identification and IP checksum. */
function masked(sent: Sent): string {
  const bytes = sent.bytes.slice();
  bytes.fill(0, 4, 6);
  bytes.fill(0, 10, 12);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Everything that the connection is, but what a record cannot count while it sleeps. */
function state(peer: SleepyPeer): object {
  const { tcb } = peer;
  const frozen = freezeTcb(tcb, peer.nowMs);
  const named: Record<string, unknown> = Object.fromEntries(
    frozenTcbFields.map((name, at) => [name, frozen[at]]),
  );
  delete named["tsRecentAgeMs"]; // known to the day
  delete named["counters"]; // what the filter answers is not counted
  return named;
}
