import { expect, test } from "vitest";
import { DEFAULT_TCP_CONFIG } from "../../../../net/tcp/config.ts";
import { congestionOf } from "../../../../net/tcp/congestion/choose.ts";
import { sendingAgain } from "../../../../net/tcp/congestion/window.ts";
import { freezeTcb, thawTcb } from "../../../../net/tcp/freeze.ts";
import { Tcb } from "../../../../net/tcp/tcb.ts";
import { Script, type ScriptOptions } from "../script.ts";

const MSS = 1000;

function started(tcp: ScriptOptions["tcp"] = {}): Script {
  return new Script({ tcp }).accepted("mss 1000");
}

const cwnd = (s: Script): number => s.tcb.cwnd / MSS;

/** Acknowledges the first `segments` of the stream. */
function ack(s: Script, segments: number): number {
  s.turn(`. 1 ack ${1 + segments * MSS}`);
  return cwnd(s);
}

test("the initial window is ten segments, but no more than 14,600 bytes unless two segments are (RFC 6928 section 2)", () => {
  for (const [mss, segments] of [[1000, 10], [1460, 10], [536, 10], [2000, 7.3], [8960, 2]] as const) {
    const s = new Script({ mtu: 9000 }).accepted(`mss ${mss}`);
    expect(s.tcb.cwnd).toBe(segments * mss);
  }
  const linux = new Script({ mtu: 9000, tcp: { initialWindowCapped: false } }).accepted("mss 8960");
  expect(linux.tcb.cwnd).toBe(10 * 8960);
});

test("slow start: each ACK opens the window by what it acknowledges, however many segments (RFC 3465, RFC 5681 section 3.1)", () => {
  for (const step of [1, 2, 5, 10]) {
    const s = started();
    s.write(30_000);
    for (let at = step; at <= 10; at += step) expect(ack(s, at)).toBe(10 + at);
    expect(s.take(4000).length).toBe(30);
  }
});

test("a window that is not filled grows no further than twice what was in flight (RFC 2861)", () => {
  const traces: [written: number, windows: number[]][] = [
    [5_000, [10, 10, 10]],
    [6_000, [12, 12, 12]],
    [9_000, [12, 14, 16, 18, 18]],
    [10_000, [12, 14, 16, 18, 20]],
  ];
  for (const [written, windows] of traces) {
    const s = started();
    s.write(written);
    const seen = windows.map((_, at) => ack(s, Math.min(2 + 2 * at, written / MSS)));
    expect(seen, `${written}`).toEqual(windows);
  }
});

/** A window of 36 segments, all of it acknowledged. */
function grown(tcp: ScriptOptions["tcp"] = {}): Script {
  const s = started(tcp);
  s.write(26_000);
  s.wait(100);
  expect(ack(s, 10)).toBe(20);
  s.wait(100);
  expect(ack(s, 26)).toBe(36);
  s.take(4000);
  return s;
}

test("after more than an RTO without sending it is the initial window again, slow start up to three quarters (RFC 5681 section 4.1)", () => {
  const s = grown();
  s.wait(2_000);
  s.write(30_000);
  expect(s.take(4000).length).toBe(10);
  expect(cwnd(s)).toBe(10);
  const quick = grown();
  quick.wait(100);
  quick.write(30_000);
  expect(quick.take(4000).length).toBe(30);
});

test("slowStartAfterIdle off: the window is kept over any idle time", () => {
  const s = grown({ slowStartAfterIdle: false });
  s.wait(100_000);
  s.write(30_000);
  expect(s.take(4000).length).toBe(30);
  expect(cwnd(s)).toBe(36);
});

test("a closed window is not idleness until data leaves: then the initial window (RFC 5681 section 4.1)", () => {
  const s = grown();
  s.turn(`. 1 ack 26001 win 0`);
  s.write(20_000);
  s.wait(3_000);
  expect(cwnd(s)).toBe(36);
  s.take(4000);
  s.turn(`. 1 ack 26001 win 65535`);
  expect(cwnd(s)).toBe(10);
  expect(s.take(4000).length).toBe(10);
});

test("a window of which little is used for longer than an RTO decays toward what is used (RFC 2861)", () => {
  const decayed = (slowStartAfterIdle: boolean): number => {
    const s = grown({ slowStartAfterIdle, delayedAckMs: 40 });
    let at = 26;
    for (let round = 0; round < 30; round++) {
      s.write(2_000);
      s.wait(50);
      ack(s, at += 2);
    }
    return cwnd(s);
  };
  const seen = decayed(true);
  expect(seen).toBeLessThan(20);
  expect(seen).toBeGreaterThanOrEqual(10); // never below the initial one
  expect(decayed(false)).toBe(36);
});

test("an application that waits for room in the send buffer is not what holds the window back", () => {
  const s = grown();
  s.tcb.sendBufferBytes = 2_000;
  s.tcb.sendBufferSet = true;
  let at = 26;
  for (let round = 0; round < 30; round++) {
    expect(s.write(4_000)).toBe(2_000);
    s.wait(50);
    ack(s, at += 2);
  }
  expect(cwnd(s)).toBe(36);
});

test("idle time asleep is idle time: window and curve are afterwards where they would be awake", () => {
  const s = grown();
  const awake = s.tcb;
  awake.ssthresh = congestionOf(awake).thresholdAfterLoss(awake, awake.cwnd, s.nowMs);
  awake.cwnd = awake.ssthresh;
  awake.cwndLimited = true;
  congestionOf(awake).acked(awake, 5 * MSS, s.nowMs); // an epoch begins
  awake.cubicEpochMs -= 5_000; // and goes on for a while
  s.wait(1_000);
  const asleep = new Tcb(0);
  thawTcb(freezeTcb(awake, s.nowMs), asleep, DEFAULT_TCP_CONFIG, s.nowMs + 60_000);
  for (const tcb of [awake, asleep]) {
    sendingAgain(tcb, DEFAULT_TCP_CONFIG, s.nowMs + 60_000);
    tcb.cwnd = tcb.ssthresh;
    tcb.cwndLimited = true;
    congestionOf(tcb).acked(tcb, 100 * MSS, s.nowMs + 60_100);
  }
  for (
    const name of ["cwnd", "ssthresh", "cubicEpochMs", "cubicWMax", "cubicWEst", "cwndBytesAcked"] as const
  ) {
    expect(asleep[name], name).toBe(awake[name]);
  }
  expect(awake.cubicEpochMs).toBeGreaterThan(s.nowMs + 50_000);
  expect(awake.cubicEpochMs).toBeLessThan(s.nowMs + 60_000);
});
