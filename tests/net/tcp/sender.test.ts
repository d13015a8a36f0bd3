import { expect, test } from "vitest";
import { earliestDeadlineMs } from "../../../net/tcp/tcp.ts";
import { tcpSetKeepAlive, tcpSetNoDelay } from "../../../net/tcp/user.ts";
import { CaState } from "../../../net/tcp/tcb.ts";
import { Script } from "./script.ts";

/** Segments of 1,000 bytes, so that positions are read off. */
function thousands(tcp: ConstructorParameters<typeof Script>[0] = {}): Script {
  return new Script({ ...tcp, tcp: { initialWindowSegments: 4, congestionControl: "newreno", ...tcp.tcp } })
    .accepted("mss 1000");
}

/** `count` segments of 1,000 bytes from the one that starts at 1 + 1000 * `first`. */
/** Full segments, in trains of so many at most that end with PSH. */
function segments(first: number, count: number, train = 2): string[] {
  return Array.from({ length: count }, (_, index) => {
    const sequence = 1 + (first + index) * 1_000;
    const place = index % train, size = Math.min(train, count - index + place);
    return `${size > 1 && place === size - 1 ? "P." : "."} ${sequence}:${sequence + 1_000} ack 1`;
  });
}

test("no MSS option means 536 bytes; with timestamps their 12 bytes are subtracted (MUST-15, MUST-16)", () => {
  const s = new Script().accepted("");
  s.write(1_000);
  s.out(". 1:537 ack 1", "P. 537:1001 ack 1");
  const t = new Script().accepted("mss 1460,TS 100 0");
  t.write(1_448);
  t.out("P. 1:1449 ack 1");
  const small = new Script().accepted("mss 1");
  expect(small.tcb.sndMss).toBe(48); // the floor
  const large = new Script({ mtu: 600 }).accepted("mss 9000");
  large.write(1_000);
  large.out(". 1:561 ack 1", "P. 561:1001 ack 1"); // the path, not the peer
});

test("an ACK in a segment sent again moves the window with it: nothing leaves that was not granted (MUST-34)", () => {
  const s = thousands();
  s.turn(". 1 ack 1 win 4000");
  s.write(5_000);
  s.out(...segments(0, 4));
  s.turn("P. 101:201 ack 1001 win 3000"); // 1:101 was lost
  s.turn("P. 1:101 ack 2001 win 2000");
  expect((s.tcb.sndUna + s.tcb.sndWnd - s.tcb.iss) | 0).toBe(4_001);
  expect(s.tcb.sndMax - s.tcb.iss).toBe(4_001);
  s.turn(". 201 ack 4001 win 4000");
  expect(s.tcb.sndMax - s.tcb.iss).toBe(5_001);
});

test("the MSS that we announce is the link's MTU less 40 (MUST-67)", () => {
  const s = new Script({ mtu: 9000 }).listen();
  s.turn("S 0");
  s.out("S. 0 ack 1 <mss 8960>");
});

test("options at any place, unknown ones, broken ones (MUST-5, MUST-6, MUST-7, MUST-64)", () => {
  const odd = [
    "nop,nop,nop,mss 1000",
    "raw c8 06 1 2 3 4,mss 1000",
    "mss 1000,raw 2 0",
    "mss 1000,raw 8 1",
    "mss 1000,raw 3 ff",
    "mss 1000,eol,raw 2 4 0 64",
  ];
  for (const options of odd) {
    const s = new Script().accepted(options);
    expect(s.tcb.peerMss, options).toBe(1000);
    s.turn("P. 1:11 ack 1 <raw c8 04 1 2,nop,mss 500>");
    s.out(". 1 ack 11");
    expect(s.tcb.peerMss).toBe(1000);
  }
});

test("the window is unsigned and scaled after the handshake (MUST-1, REC-1)", () => {
  const s = new Script({ tcp: { sendBufferBytes: 4 << 20 } }).accepted("mss 1460,wscale 14");
  expect(s.tcb.sndWnd).toBe(65535 * 16384);
  s.turn(". 1 ack 1 win 32768");
  expect(s.tcb.sndWnd).toBe(32768 * 16384);
  const t = new Script().accepted("mss 1460");
  t.turn(". 1 ack 1 win 40000");
  expect(t.tcb.sndWnd).toBe(40000);
});

test("PSH stands on the last segment of what was written; several writes share it (MUST-61, SHLD-27, SHLD-28)", () => {
  const s = thousands();
  s.write(2_500);
  s.out(...segments(0, 2), "P. 2001:2501 ack 1");
  s.write(300);
  s.write(400);
  s.turn(". 1 ack 2501");
  s.out("P. 2501:3201 ack 1");
});

test("Nagle: a small segment waits for the ACK of what is in flight (SHLD-7); noDelay does not (MUST-17)", () => {
  const s = thousands();
  s.write(10);
  s.write(20);
  s.write(30);
  s.out("P. 1:11 ack 1");
  s.turn(". 1 ack 11");
  s.out("P. 11:61 ack 1");
  s.write(10);
  s.out();
  tcpSetNoDelay(s.stack.tcp, s.tcb, true);
  s.poll();
  s.out("P. 61:71 ack 1");
  s.write(1);
  s.out("P. 71:72 ack 1");
});

test("a train of segments ends with PSH: half the window at most, or what the pace allows, as on Linux; alone it has none", () => {
  const s = thousands({ tcp: { initialWindowSegments: 10 } });
  s.write(100_000);
  s.out(...segments(0, 10, 5)); // a path without delay
  s.turn(". 1 ack 1001");
  s.out(...segments(10, 2));
  // A tenth of a second: ten segments in that time are less than a segment per millisecond.
  const slow = new Script({ tcp: { initialWindowSegments: 10 } }).listen();
  slow.turn("S 0 <mss 1000>");
  slow.learn();
  slow.wait(100).turn(". 1 ack 1");
  slow.write(100_000);
  slow.out(...segments(0, 10, 2));
  const set = new Script({ tcp: { initialWindowSegments: 10, trainSegmentsMin: 4 } }).listen();
  set.turn("S 0 <mss 1000>");
  set.learn();
  set.wait(100).turn(". 1 ack 1");
  set.write(100_000);
  set.out(...segments(0, 10, 4));
});

test("Nagle as Minshall has it: a small segment waits for another small one, not for full ones (SHLD-7)", () => {
  const s = thousands();
  s.write(1_500);
  s.out(". 1:1001 ack 1", "P. 1001:1501 ack 1");
  s.write(100);
  s.turn(". 1 ack 1001"); // the full one is there, the small one is not
  s.out();
  s.turn(". 1 ack 1501");
  s.out("P. 1501:1601 ack 1");
  s.turn(". 1 ack 1601");
  s.out();
  s.write(10);
  s.out("P. 1601:1611 ack 1");
});

test("slow start: each ACK opens the window by what it acknowledges (MUST-19)", () => {
  const s = thousands();
  s.write(100_000);
  s.out(...segments(0, 4));
  s.turn(". 1 ack 1001");
  s.out(...segments(4, 2));
  s.turn(". 1 ack 3001");
  s.out(...segments(6, 4, 3));
  expect(s.tcb.cwnd).toBe(7_000);
});

test("ACKs that arrive in one batch all count", () => {
  const s = thousands();
  s.write(100_000);
  s.out(...segments(0, 4));
  s.in(". 1 ack 1001");
  s.in(". 1 ack 2001");
  s.in(". 1 ack 3001");
  s.turn(". 1 ack 4001");
  s.out(...segments(4, 8, 4));
});

test("a window that the application does not fill does not grow", () => {
  const s = thousands();
  for (let at = 0; at < 20; at++) {
    s.write(1_000);
    s.turn(`. 1 ack ${1001 + 1000 * at}`);
  }
  expect(s.tcb.cwnd).toBe(4_000);
});

test("congestion avoidance: one segment per window (RFC 5681)", () => {
  const s = thousands();
  s.tcb.ssthresh = 4_000;
  s.write(100_000);
  s.out(...segments(0, 4));
  s.turn(". 1 ack 2001");
  s.out(...segments(4, 2));
  expect(s.tcb.cwnd).toBe(4_000);
  s.turn(". 1 ack 4001");
  s.out(...segments(6, 3));
  expect(s.tcb.cwnd).toBe(5_000);
});

test("limited transmit, fast retransmit, recovery by New Reno with a partial ACK (RFC 3042, 5681, 6582)", () => {
  const s = thousands({ tcp: { initialWindowSegments: 10 } });
  s.write(100_000);
  s.out(...segments(0, 10, 5));
  s.turn(". 1 ack 1");
  s.out(...segments(10, 1));
  s.turn(". 1 ack 1");
  s.out(...segments(11, 1));
  s.turn(". 1 ack 1"); // the third
  s.out(...segments(0, 1));
  expect([s.tcb.ssthresh, s.tcb.cwnd, s.tcb.caState]).toEqual([6_000, 9_000, CaState.recovery]);
  // From here on the window falls from 10 segments to 6 in proportion to what arrives (RFC 6937).
  const out: number[] = [];
  for (let more = 0; more < 4; more++) {
    s.turn(". 1 ack 1");
    out.push(s.take(4000).length);
  }
  expect(out).toEqual([1, 0, 1, 0]);
  s.turn(". 1 ack 3001"); // partial: the next hole is lost, too
  s.out(...segments(3, 1));
  s.turn(". 1 ack 14001"); // all that was sent when the loss was found, and more
  expect([s.tcb.caState, s.tcb.cwnd]).toEqual([CaState.open, 7_000]);
  s.out(...segments(14, 7, 3));
});

test("window updates, data and old ACKs are no duplicate ACKs", () => {
  const s = thousands();
  s.write(100_000);
  s.take(4000);
  s.turn(". 1 ack 1 win 64000");
  s.turn(". 1 ack 1 win 63000");
  s.turn(". 1 ack 1 win 65000");
  s.turn("P. 1:2 ack 1");
  s.turn("P. 2:3 ack 1");
  s.turn("P. 3:4 ack 1");
  expect(s.tcb.sackedOut).toBe(0);
});

test("fast retransmit works beyond 2 GB without a loss", () => {
  const s = thousands({ tcp: { sendBufferBytes: 1 << 20 } });
  for (let jump = 0; jump < 3; jump++) { // as if so much had been sent and acknowledged
    for (const name of ["sndUna", "sndMax", "sndWl2"] as const) {
      s.tcb[name] = (s.tcb[name] + 0x3000_0000) | 0;
    }
    s.main.ourIsn = (s.main.ourIsn + 0x3000_0000) | 0;
  }
  const base = s.tcb.sndUna;
  s.write(100_000);
  s.take(4000);
  for (let dup = 0; dup < 3; dup++) s.in(". 1 ack 1");
  s.poll();
  const retransmitted = s.take(4000).filter(({ segment }) => (segment.sequence | 0) === base);
  expect(retransmitted.length).toBe(1);
});

test("RTO: 200 ms at least, doubled each time, cwnd one segment (MUST-18, MUST-19, RFC 6298)", () => {
  const s = thousands();
  s.wait(1_000);
  s.write(4_000);
  s.outAt(...segments(0, 3).map((text) => `1000 ${text}`), "1000 P. 3001:4001 ack 1");
  s.wait(200 + 400 + 800 + 1600);
  s.outAt("1200 . 1:1001 ack 1", "1600 . 1:1001 ack 1", "2400 . 1:1001 ack 1", "4000 . 1:1001 ack 1");
  expect([s.tcb.cwnd, s.tcb.ssthresh]).toEqual([1_000, 2_000]);
  s.turn(". 1 ack 1001");
  s.out(". 1001:2001 ack 1", ". 2001:3001 ack 1"); // slow start, go-back-N
  s.turn(". 1 ack 4001");
  s.out();
  // Without SACK the state lasts until something more is acknowledged (RFC 6582 section 3.2).
  expect(s.tcb.caState).toBe(CaState.loss);
  s.write(1_000);
  s.turn(". 1 ack 5001");
  expect(s.tcb.caState).toBe(CaState.open);
});

test("Karn: without timestamps an ACK of what was sent twice says nothing and ends no backoff (MUST-18)", () => {
  const s = thousands();
  s.wait(1_000);
  s.write(1_000);
  s.wait(200);
  s.outAt("1000 P. 1:1001 ack 1", "1200 P. 1:1001 ack 1");
  s.wait(50);
  const { srttUs } = s.tcb;
  s.turn(". 1 ack 1001");
  expect(s.tcb.srttUs).toBe(srttUs);
  s.write(1_000);
  s.wait(399);
  s.outAt("1250 P. 1001:2001 ack 1");
  s.wait(1);
  s.outAt("1650 P. 1001:2001 ack 1"); // still backed off
});

test("RTT: smoothed and varied as RFC 6298 says, with 200 ms at least for the variance; an impossible echo is ignored", () => {
  const s = thousands();
  const t = s.tcb;
  expect([t.srttUs, t.rttvarUs, t.rtoMs]).toEqual([0, 0, 200]);
  s.write(1_000);
  s.wait(100);
  s.turn(". 1 ack 1001");
  expect([t.srttUs, t.rttvarUs, t.rtoMs]).toEqual([12_500, 25_000, 213]);
  s.write(1_000);
  s.wait(180);
  s.turn(". 1 ack 2001");
  expect([t.srttUs, t.rttvarUs, t.rtoMs]).toEqual([33_438, 60_625, 276]);

  const late = new Script().accepted("mss 1460,TS 100 0");
  const { srttUs, rtoMs } = late.tcb;
  late.write(100);
  late.turn(". 1 ack 101 <TS 100 -2000000000>");
  expect([late.tcb.srttUs, late.tcb.rtoMs]).toEqual([srttUs, rtoMs]);
});

test("SYN: sent again each second, then after 2, 4 ... s, given up after more than 180 s (MUST-22, MUST-23)", () => {
  const s = new Script().connect();
  s.wait(400_000);
  s.outAt(...[0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131].map((second) => `${second * 1000} S 0`));
  expect(s.heard()).toEqual(["closed timedOut"]);
  s.gone();

  const doubling = new Script({ tcp: { synLinearTimeouts: 0, synRetransmitsMax: 6 } }).connect();
  doubling.wait(126_999);
  expect(doubling.state).toBe("synSent");
  doubling.wait(1);
  doubling.outAt(...[0, 1, 3, 7, 15, 31, 63].map((second) => `${second * 1000} S 0`));
  doubling.gone();
});

test("SYN-ACK: five times again, doubling at once, and the listener has room again", () => {
  const s = new Script().listen(1);
  s.turn("S 0 <mss 1460>");
  s.wait(62_999);
  s.outAt(...[0, 1, 3, 7, 15, 31].map((second) => `${second * 1000} S. 0 ack 1`));
  expect(s.listener!.pending).toBe(1);
  s.wait(1);
  expect(s.listener!.pending).toBe(0);
  s.gone();
});

test("a handshake with retransmissions starts with an RTO of 3 s, with more than one also with one segment (RFC 6298 section 5.7, RFC 6928 section 2)", () => {
  for (const [seconds, cwnd] of [[1, 14_600], [2, 1_460]] as const) {
    const s = new Script().connect();
    s.wait(seconds * 1000 + 500);
    s.learn();
    s.turn("S. 0 ack 1 <mss 1460>");
    expect([s.tcb.cwnd, s.tcb.rtoMs]).toEqual([cwnd, 3_000]);
  }
});

test("data: given up after R2, later than 100 s (MUST-20, SHLD-10, SHLD-11)", () => {
  const s = thousands();
  s.write(10);
  s.wait(100_000);
  expect(s.state).toBe("established");
  expect(s.tcb.retransmits).toBeGreaterThan(3);
  s.wait(2_000_000);
  expect(s.heard()).toEqual(["trouble", "closed timedOut"]);
  expect(s.take(4000).length).toBe(16);
  s.gone();
});

test("the application's user timeout ends it when it is over, not before (MUST-21)", () => {
  const s = thousands();
  s.tcb.userTimeoutMs = 10_000;
  s.wait(1_000);
  s.write(10);
  s.wait(9_999);
  expect(s.state).toBe("established");
  s.wait(1);
  expect(s.heard()).toEqual(["trouble", "closed timedOut"]);
  // 1.0, 1.2, 1.6, 2.4, 4.0, 7.2 and no more
  expect(s.take(4000).length).toBe(6);
});

test("a closed window is probed after one RTO, then ever more slowly, for as long as answers come (MUST-36, MUST-37, SHLD-29, SHLD-30, MAY-8)", () => {
  const s = thousands({ tcp: { persistMaxMs: 60_000 } });
  s.wait(1_000);
  s.turn(". 1 ack 1 win 0");
  s.write(5_000);
  s.out();
  const startMs = s.nowMs - s.startMs;
  const waits = [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000];
  let atMs = startMs;
  for (const waitMs of waits) {
    s.wait(waitMs);
    s.outAt(`${atMs += waitMs} . 0 ack 1`);
    s.turn(". 1 ack 1 win 0");
  }
  for (let hour = 0; hour < 3; hour++) {
    for (let minute = 0; minute < 60; minute++) {
      s.wait(60_000);
      s.out(". 0 ack 1");
      s.turn(". 1 ack 1 win 0");
    }
  }
  s.turn(". 1 ack 1 win 5000");
  s.out(...segments(0, 4));
});

test("unanswered window probes end the connection, later than 100 s", () => {
  const s = thousands();
  s.turn(". 1 ack 1 win 0");
  s.write(5_000);
  s.wait(100_000);
  expect(s.state).toBe("established");
  s.wait(1_000_000);
  expect(s.heard()).toEqual(["closed timedOut"]);
  s.gone();
});

test("a window that shrinks to zero under data in flight: probed by retransmission, without a limit while answered (MUST-34, MUST-35, SHLD-17)", () => {
  const s = thousands();
  s.write(4_000);
  s.take(4000);
  s.turn(". 1 ack 1 win 0");
  let answered = 0;
  for (let minute = 0; minute < 60; minute++) {
    s.wait(60_000);
    const frames = s.take(4000);
    if (frames.length === 0) continue;
    expect(frames.every(({ segment }) => segment.data.length === 1_000)).toBe(true);
    if (minute % 7 !== 3) s.turn(`. 1 ack 1 win 0`), answered++; // a lost answer is not death
  }
  expect(answered).toBeGreaterThan(20);
  expect(s.state).toBe("established");
  s.turn(". 1 ack 1 win 4000");
  s.wait(200_000);
  s.turn(". 1 ack 4001");
  expect(s.tcb.sendQueue.length).toBe(0);
});

test("after a shrink nothing new leaves; what is inside the window goes again; ACKs stay inside it (SHLD-15, SHLD-16)", () => {
  const s = thousands();
  s.write(10_000);
  s.out(...segments(0, 4));
  s.turn(". 1 ack 1001 win 1500");
  s.out();
  s.turn("P. 1:11 ack 1001");
  s.out(". 2501 ack 11"); // 4001 would be refused
  s.wait(300);
  s.out(". 1001:2001 ack 11");
  s.turn(". 11 ack 2001 win 10000");
  s.out(". 4001:5001 ack 11", ". 5001:6001 ack 11"); // F-RTO: was it the window's fault?
  s.turn(". 11 ack 2001 win 10000");
  s.out(". 2001:3001 ack 11"); // it was not
});

test("silly windows: small openings wait for half of the largest window, or for the override timer (MUST-38)", () => {
  const s = thousands();
  s.turn(". 1 ack 1 win 4000");
  s.tcb.sndWndMax = 4_000; // as if it had never been larger
  s.turn(". 1 ack 1 win 0");
  s.write(10_000);
  s.turn(". 1 ack 1 win 10");
  s.turn(". 1 ack 1 win 500");
  s.out();
  s.wait(300);
  s.out(". 1:501 ack 1"); // what fits, when nobody opens it further
  const t = thousands();
  t.turn(". 1 ack 1 win 0");
  t.write(10_000);
  t.turn(". 1 ack 1 win 1000");
  t.out(". 1:1001 ack 1");
});

test("FIN waits for room in the window and is sent when there is some", () => {
  const s = thousands();
  s.turn(". 1 ack 1 win 1000");
  s.write(1_000);
  s.shutdown();
  s.out("P. 1:1001 ack 1");
  s.turn(". 1 ack 1001 win 0");
  s.out();
  s.wait(500);
  s.out(". 1000 ack 1");
  s.turn(". 1 ack 1001 win 1");
  s.out("F. 1001 ack 1");
  s.turn(". 1 ack 1002 win 1");
  expect(s.state).toBe("finWait2");
  expect(earliestDeadlineMs(s.tcb)).toBe(Infinity);
});

test("after idleness longer than the RTO the window is the initial one again, though data came in meanwhile (RFC 5681 section 4.1)", () => {
  const s = thousands();
  s.write(100_000);
  for (let round = 0; round < 30; round++) s.turn(`. 1 ack ${(s.tcb.sndMax - s.tcb.iss) | 0}`);
  expect(s.tcb.sendQueue.length).toBe(0);
  expect(s.tcb.cwnd).toBeGreaterThan(20_000);
  s.take(4000);
  s.wait(1_000);
  s.turn("P. 1:11 ack 100001");
  s.take(4000);
  s.write(50_000);
  expect(s.take(4000).length).toBe(4);
});

test("keep-alive: off by default (MUST-25), after two hours when on (MUST-24, MUST-28), SEG.SEQ = SND.NXT - 1 (SHLD-12), one loss is not death (MUST-29)", () => {
  const off = thousands();
  off.wait(86_400_000);
  off.out();

  const s = thousands();
  tcpSetKeepAlive(s.stack.tcp, s.tcb, true, s.nowMs);
  s.poll();
  s.wait(7_199_999);
  s.out();
  s.wait(1);
  s.outAt("7200000 . 0 ack 1");
  s.wait(75_000);
  s.outAt("7275000 . 0 ack 1");
  s.turn(". 1 ack 1");
  s.wait(7_200_000);
  s.outAt("14475000 . 0 ack 1");
  s.wait(9 * 75_000);
  expect(s.heard()).toEqual(["closed timedOut"]);
  expect(s.take(4000).map(({ segment }) => segment.flags)).toEqual([..."........", "R."]);
  s.gone();
});

test("keep-alive: times are the application's (MUST-27); silent while data is unacknowledged (MUST-26); also when half closed", () => {
  const s = thousands();
  tcpSetKeepAlive(s.stack.tcp, s.tcb, true, s.nowMs, 1_000, 500, 2);
  s.turn(". 1 ack 1 win 0");
  s.write(10);
  s.wait(30_000);
  for (const { segment } of s.take(4000)) expect(segment.acknowledgment).toBe(1001); // window probes only
  expect(s.tcb.keepAlives).toBe(0);

  const t = thousands();
  tcpSetKeepAlive(t.stack.tcp, t.tcb, true, t.nowMs, 1_000, 500, 2);
  t.shutdown();
  t.turn(". 1 ack 2");
  t.take(4000);
  t.wait(1_000);
  t.out(". 1 ack 1");
  t.wait(1_000);
  expect(t.heard()).toEqual(["closed timedOut"]);
});

test("bulk transfer in both directions across the end of sequence space", () => {
  const probe = new Script().listen();
  probe.turn("S 0 <mss 1000>");
  probe.learn();
  const distance = (0xffff_ff00 - probe.main.ourIsn) >>> 0;
  const s = new Script({
    startMs: probe.startMs + Math.floor(distance / 250),
    tcp: { initialWindowSegments: 4 },
  });
  s.main.isn = -500; // and the peer's as well
  s.accepted("mss 1000");
  expect(s.tcb.iss >>> 0).toBeGreaterThan(0xffff_fd00);
  s.write(20_000);
  for (let at = 0; at < 40; at++) {
    s.in(`. ${1 + 500 * at}:${501 + 500 * at} ack ${(s.tcb.sndMax - s.tcb.iss) | 0}`);
    s.poll();
    if (at % 5 === 0) s.read();
    s.take(4000).forEach(({ segment }) => void s.main.show(segment, "")); // which checks every byte's place
  }
  s.read();
  expect([s.tcb.bytesIn, s.tcb.sendQueue.length]).toEqual([20_000, 0]);
});

test("an orphan does not probe a closed window for ever, though every probe is answered", () => {
  const s = thousands();
  s.turn(". 1 ack 1 win 0");
  s.write(5_000);
  s.close();
  for (let minute = 0; minute < 30 && s.state !== "closed"; minute++) {
    s.wait(60_000);
    s.turn(". 1 ack 1 win 0");
  }
  expect(s.take(4000).at(-1)!.segment.flags).toBe("R");
  s.gone();
  const t = thousands(); // the same with data in flight
  t.write(3_000);
  t.turn(". 1 ack 1 win 0");
  t.close();
  for (let minute = 0; minute < 60 && t.state !== "closed"; minute++) {
    t.wait(60_000);
    t.turn(". 1 ack 1 win 0");
  }
  t.gone();
});

test("type of service and time to live are the application's (MUST-48, MUST-49, SHLD-21, SHLD-22)", () => {
  const s = thousands();
  s.write(10);
  s.tcb.typeOfService = 0x28;
  s.tcb.timeToLive = 7;
  s.turn(". 1 ack 11");
  s.write(10);
  const fields = s.take(4000).map(({ segment }) => [segment.typeOfService, segment.timeToLive]);
  expect(fields).toEqual([[0, 64], [0x28, 7]]);
});

test("a stack that nobody listens to frees what has ended all the same", () => {
  const s = thousands();
  s.stack.upcalls = undefined;
  s.turn("R 1");
  s.gone();
});
