import { expect, test } from "vitest";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { CaState, packetsInFlight } from "../../../net/tcp/tcb.ts";
import { Script } from "./script.ts";

/** A round trip of 50 ms by the handshake, then `count` segments of 1,000 bytes that left `agoMs` ago. */
function flying(
  count: number,
  agoMs: number,
  tcp: Partial<TcpConfig> = {},
  options = "mss 1000,sackOK",
): Script {
  const s = new Script({ tcp }).connect();
  s.learn();
  s.wait(50);
  s.turn(`S. 0 ack 1 <${options}>`);
  s.learn();
  s.turn(". 1 ack 1");
  s.write(count * s.tcb.sndMss);
  s.take(4000);
  s.wait(agoMs);
  return s;
}

function segments(s: Script): number[] {
  return s.take(4000).filter(({ segment }) => segment.data.length > 0)
    .map(({ segment }) => (((segment.sequence | 0) - s.main.ourIsn) | 0) / 1000 | 0);
}

test("PRR: ten lose the first four; each SACK lets out what keeps the window at seven tenths (RFC 6937, RFC 9438)", () => {
  const s = flying(10, 50);
  const out: number[][] = [];
  for (const end of [5001, 6001, 7001, 8001, 9001, 10001]) {
    s.turn(`. 1 ack 1 <sack 4001:${end}>`);
    out.push(segments(s));
  }
  // Three SACKs prove the loss of all that left before; slow start within ssthresh fills the rest.
  expect(out).toEqual([[], [], [0], [1], [2], [3]]);
  expect([s.tcb.ssthresh, s.tcb.lostOut, s.tcb.retransOut, s.tcb.sackedOut]).toEqual([7_000, 4, 4, 6]);
  expect(packetsInFlight(s.tcb)).toBe(4);
  s.wait(50);
  s.turn(". 1 ack 10001");
  expect([s.tcb.caState, s.tcb.cwnd]).toEqual([CaState.open, 7_000]);
});

test("PRR while more is in flight than the new window: seven tenths of what arrives is let out (RFC 6937 section 3.1)", () => {
  const s = flying(20, 0, { initialWindowSegments: 20 });
  s.write(20_000);
  s.wait(50);
  s.take(4000);
  let count = 0;
  for (let end = 2001; end <= 20_001; end += 1000) {
    s.turn(`. 1 ack 1 <sack 1001:${end}>`);
    count += segments(s).length;
  }
  // 19 have arrived: the loss goes again and, while the window falls from 20 to 14, new ones go with it.
  expect(s.tcb.ssthresh).toBe(14_000);
  expect(packetsInFlight(s.tcb)).toBeLessThanOrEqual(14);
  expect(count).toBe(14);
});

test("PRR: while an ACK shows progress and no further loss, the window slow-starts back to its threshold (RFC 6937 section 3.1, RFC 9937)", () => {
  const s = flying(10, 50);
  s.turn(". 1 ack 1 <sack 4001:10001>");
  expect(segments(s)).toEqual([0, 1, 2, 3]);
  expect(s.tcb.cwnd).toBe(6_000); // as much as arrived
  s.turn(". 1 ack 1001 <sack 4001:10001>");
  expect(s.tcb.cwnd).toBe(7_000); // one more than that would be
});

test("PRR: the first retransmission leaves whatever the new window says (RFC 6937 section 3.1)", () => {
  const s = flying(10, 50);
  s.turn(". 1 ack 1 <sack 1001:3001>"); // ten less these and the loss are the new threshold: no room
  s.wait(16);
  expect(segments(s)).toEqual([0]);
  expect(s.tcb.cwnd).toBe(8_000);
});

test("a retransmission that is lost, too, goes again when something sent after it has arrived (RFC 8985 section 6.2)", () => {
  const s = flying(10, 50);
  s.write(10_000);
  s.turn(". 1 ack 1 <sack 1001:6001>");
  expect(segments(s)[0]).toBe(0);
  s.wait(50);
  s.turn(". 1 ack 1 <sack 1001:10001>");
  const fresh = segments(s);
  expect(fresh.length).toBeGreaterThan(0);
  expect(fresh).not.toContain(0);
  s.wait(60);
  s.turn(". 1 ack 1 <sack 1001:11001>"); // it left with the retransmission, or later
  expect(segments(s)[0]).toBe(0);
  expect(s.tcb.retransmittedSegments).toBe(2);
});

test("what goes again within the millisecond of the others is not taken for one of them (RFC 8985 section 6.2)", () => {
  const s = flying(10, 0);
  s.turn(". 1 ack 1 <sack 2001:5001>");
  expect(segments(s)).toEqual([0, 1]);
  s.turn(". 1 ack 1 <sack 2001:6001>"); // left in the same millisecond, and yet before
  expect([segments(s), s.tcb.retransOut]).toEqual([[], 2]);
});

test("tail loss probe: new data first, else the last segment; with one in flight it waits for a delayed ACK (RFC 8985 section 7.2, 7.3)", () => {
  const fresh = flying(10, 0);
  fresh.write(5_000); // more than the window takes
  fresh.take(4000);
  fresh.wait(102);
  expect(segments(fresh)).toEqual([10]);
  const last = flying(3, 0);
  last.wait(101);
  expect(segments(last)).toEqual([]);
  last.wait(1);
  expect(segments(last)).toEqual([2]);
  const alone = flying(1, 0);
  alone.wait(249); // the timeout, 50 + 200 ms, would come before 2 * 50 + 200
  expect(segments(alone)).toEqual([]);
  alone.wait(1);
  expect(segments(alone)).toEqual([0]);
});

test("a probe that repaired a loss reduces the window as a loss does; one that was not needed costs nothing (RFC 8985 section 7.4)", () => {
  const lost = flying(10, 0);
  lost.wait(102);
  expect(segments(lost)).toEqual([9]);
  lost.turn(". 1 ack 10001");
  lost.write(1_000); // what acknowledges data behind the probe tells that there was no duplicate
  lost.turn(". 1 ack 11001");
  expect([lost.tcb.ssthresh, lost.tcb.probeOut]).toEqual([14_000, false]); // slow start had reached 20

  const late = flying(10, 0);
  late.wait(102);
  late.take(4000);
  late.turn(". 1 ack 10001");
  late.turn(". 1 ack 10001 <sack 9001:10001>"); // both have arrived
  late.write(1_000);
  late.turn(". 1 ack 11001");
  expect([late.tcb.ssthresh, late.tcb.probeOut]).toEqual([0x7fff_ffff, false]);
});

test("after a probe the timeout counts from it; one probe per tail (RFC 8985 section 7.3, RFC 6298 section 5)", () => {
  const s = flying(5, 0);
  s.wait(1_000);
  s.outAt("152 P. 4001:5001 ack 1", "402 . 1:1001 ack 1", "902 . 1:1001 ack 1");
});

test("F-RTO: new data tells a delay from a loss (RFC 5682 section 3.1)", () => {
  const late = flying(4, 0, { tailLossProbe: false });
  late.write(10_000);
  late.take(4000);
  const { cwnd } = late.tcb;
  late.wait(250);
  expect(segments(late)).toEqual([0]);
  expect(late.tcb.caState).toBe(CaState.loss);
  late.turn(". 1 ack 1001"); // of the original or of the copy? Two new segments will tell
  expect(segments(late)).toEqual([10, 11]);
  late.turn(". 1 ack 2001");
  expect([late.tcb.caState, late.tcb.cwnd >= cwnd]).toEqual([CaState.open, true]);

  const lost = flying(4, 0, { tailLossProbe: false });
  lost.write(10_000);
  lost.take(4000);
  lost.wait(250);
  lost.take(4000);
  lost.turn(". 1 ack 1001");
  expect(segments(lost)).toEqual([10, 11]);
  lost.turn(". 1 ack 1001 <sack 10001:11001>");
  expect(segments(lost)[0]).toBe(1);
  expect(lost.tcb.caState).toBe(CaState.loss);
});

test("DSACKs for all that was sent again take the reduction back (RFC 2883, RFC 3708)", () => {
  const s = flying(10, 50);
  const { cwnd } = s.tcb;
  s.turn(". 1 ack 1 <sack 1001:4001>");
  expect(segments(s)).toEqual([0]);
  expect(s.tcb.ssthresh).toBe(7_000);
  s.turn(". 1 ack 4001"); // the original was late
  s.turn(". 1 ack 4001 <sack 1:1001>"); // and here is the copy
  expect([s.tcb.caState, s.tcb.cwnd >= cwnd, s.tcb.ssthresh]).toEqual([CaState.open, true, 0x7fff_ffff]);
});

test("DSACKs that cannot be ours change nothing (RFC 2883, RFC 3708)", () => {
  const s = flying(10, 50);
  const { delivered } = s.tcb;
  s.turn(". 1 ack 1001 <sack 1:1001>"); // nothing was sent twice
  s.turn(". 1 ack 2001 <sack -100000:1001>");
  expect(s.tcb.delivered - delivered).toBe(2); // what the ACKs say, and no more
  expect([s.tcb.rackDsackSeen, s.tcb.undoArmed, s.tcb.caState]).toEqual([false, false, CaState.open]);
});

test("limited transmit: each of the first two duplicate ACKs lets out a new segment (RFC 3042)", () => {
  for (const [options, ack] of [["mss 1000", ". 1 ack 1"], ["mss 1000,sackOK", ""]] as const) {
    const s = flying(10, 0, {}, options);
    s.write(10_000);
    s.take(4000);
    s.wait(50);
    s.turn(ack === "" ? ". 1 ack 1 <sack 1001:2001>" : ack);
    expect(segments(s)).toEqual([10]);
    s.turn(ack === "" ? ". 1 ack 1 <sack 1001:3001>" : ack);
    expect(segments(s)).toEqual([11]);
    expect(s.tcb.caState).toBe(CaState.disorder);
  }
});

test("what was reordered by more than three segments makes the sender more patient, by as much (RFC 8985 section 6.2)", () => {
  const s = flying(10, 50);
  s.turn(". 1 ack 1 <sack 6001:7001>");
  s.turn(". 1 ack 7001");
  expect([s.tcb.reordering, s.tcb.reorderingSeen > 0]).toEqual([7, true]);
});

test("a DSACK where reordering was seen widens the window by a quarter of the shortest round trip, for sixteen recoveries (RFC 8985 section 6.2)", () => {
  const s = flying(10, 50);
  s.turn(". 1 ack 1 <sack 6001:7001>");
  s.wait(16); // too early
  expect(segments(s).length).toBeGreaterThan(0);
  s.turn(". 1 ack 7001");
  expect(s.tcb.rackReorderSteps).toBe(1);
  s.turn(". 1 ack 8001 <sack 1:1001>");
  expect([s.tcb.rackReorderSteps, s.tcb.rackReorderPersist]).toEqual([2, 16]);
});

test("a flood of small segments is as limited as one of large ones: the window counts segments", () => {
  const s = flying(0, 0);
  s.tcb.noDelay = true;
  for (let count = 0; count < 50; count++) s.write(10);
  expect(s.take(4000).length).toBe(10);
});
