import { expect, test } from "vitest";
import { CaState } from "../../../net/tcp/tcb.ts";
import { Script } from "./script.ts";

const RTT_MS = 50;

/** A connection with SACK, a round trip of 50 ms and `count` segments of 1,000 bytes in flight. */
function flying(count: number, options = "mss 1000,sackOK"): Script {
  const s = new Script({ tcp: { congestionControl: "newreno" } }).connect();
  s.learn();
  s.wait(RTT_MS);
  s.turn(`S. 0 ack 1 <${options}>`);
  s.learn();
  expect(s.write(count * s.tcb.sndMss)).toBe(count * s.tcb.sndMss);
  s.take(s.main.port);
  s.wait(RTT_MS);
  return s;
}

test("the block that came last is reported first, the others behind it, and none that is no longer one (RFC 2018 section 4)", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("P. 101:201 ack 1");
  s.out(". 1 ack 1 <sack 101:201>");
  s.turn("P. 301:401 ack 1");
  s.out(". 1 ack 1 <sack 301:401 101:201>");
  s.turn("P. 501:601 ack 1");
  s.out(". 1 ack 1 <sack 501:601 301:401 101:201>");
  s.turn("P. 201:301 ack 1"); // joins two
  s.out(". 1 ack 1 <sack 101:401 501:601>");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 401 <sack 501:601>");
  s.turn("P. 401:501 ack 1");
  s.out(". 1 ack 601 <>");
});

test("a FIN ahead of a hole is reported, alone or behind data: it has a number, too (RFC 2018 section 4)", () => {
  const alone = new Script().accepted("mss 1000,sackOK");
  alone.turn("F. 101 ack 1");
  alone.out(". 1 ack 1 <sack 101:102>");
  alone.turn("P. 1:101 ack 1");
  alone.out(". 1 ack 102 <>");

  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("FP. 101:201 ack 1");
  s.out(". 1 ack 1 <sack 101:202>");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 202 <>");
});

test("without SACK permitted in both SYNs no block is sent, and none is believed (RFC 2018 section 2)", () => {
  const s = new Script().accepted("mss 1000");
  s.turn("P. 101:201 ack 1");
  s.out(". 1 ack 1 <>");
});

test("what comes twice is reported once, in the first block (RFC 2883 section 4)", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101 <>");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101 <sack 1:101>");
  s.turn("P. 201:301 ack 1");
  s.out(". 1 ack 101 <sack 201:301>");
  s.turn("P. 201:301 ack 1"); // twice, ahead of the hole: the duplicate, then the block that it lies in
  s.out(". 1 ack 101 <sack 201:301 201:301>");
});

test("a FIN ahead of a hole has a number like any byte, and is in the block (RFC 2018 section 3)", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("F. 101:201 ack 1");
  s.out(". 1 ack 1 <sack 101:202>");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 202 <>");
  const t = new Script().accepted("mss 1000,sackOK");
  t.turn("F. 11 ack 1");
  t.out(". 1 ack 1 <sack 11:12>");
  t.turn("P. 1:11 ack 1");
  t.out(". 1 ack 12 <>");
});

test("of two duplicates in one segment the first is reported (RFC 2883 section 4)", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101 <>");
  s.turn("P. 201:301 ack 1");
  s.out(". 1 ack 101 <sack 201:301>");
  s.turn("P. 1:401 ack 1");
  s.out(". 1 ack 401 <sack 1:101>");
});

test("a FIN behind data that is known: the data is reported while our end is on its way (RFC 2883 section 4)", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101 <>");
  s.shutdown();
  s.out("F. 1 ack 101 <>");
  s.turn("F. 51:101 ack 1");
  s.out(". 2 ack 102 <sack 51:101>");
});

test("else its FIN ends what we have to report to it, as on Linux", () => {
  const s = new Script().accepted("mss 1000,sackOK");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101 <>");
  s.turn("F. 51:101 ack 1");
  s.out(". 1 ack 102 <>");
});

test("three blocks beyond a hole: it alone is sent again, and no more than the window leaves (RFC 6675 section 5, RFC 6937)", () => {
  const s = flying(10);
  s.in(". 1 ack 1 <sack 1001:2001>");
  s.in(". 1 ack 1 <sack 1001:3001>");
  s.turn(". 1 ack 1 <sack 1001:4001>");
  s.out(". 1:1001 ack 1");
  expect(s.tcb.caState).toBe(CaState.recovery);
  s.turn(". 1 ack 1 <sack 1001:10001>");
  s.out();
  s.wait(RTT_MS);
  s.turn(". 1 ack 10001");
  s.out();
  expect(s.tcb.caState).toBe(CaState.open);
  expect(s.tcb.sent.length).toBe(0);
});

test("a hole is lost once something that was sent later has arrived for a while, however few came (RFC 8985 section 6.2)", () => {
  const s = flying(3);
  s.turn(". 1 ack 1 <sack 2001:3001>"); // one block: no three duplicates will ever come
  s.out();
  s.wait(RTT_MS / 4); // for what only came in another order
  s.out();
  s.wait(4);
  s.out(". 1:1001 ack 1");
  s.wait(RTT_MS);
  s.turn(". 1 ack 1001 <sack 2001:3001>"); // one has left, one may follow (RFC 6937)
  s.out(". 1001:2001 ack 1");
});

test("reordering is no loss: what arrives within the window takes nothing back (RFC 8985 section 6.2)", () => {
  const s = flying(3);
  const { cwnd } = s.tcb;
  s.turn(". 1 ack 1 <sack 2001:3001>");
  s.wait(5);
  s.turn(". 1 ack 3001");
  s.wait(1_000);
  s.out();
  expect(s.tcb.cwnd).toBeGreaterThanOrEqual(cwnd);
});

test("the last segment is lost: a probe after two round trips finds out, long before the timeout (RFC 8985 section 7)", () => {
  const s = flying(5);
  s.turn(". 1 ack 4001");
  s.wait(2 * RTT_MS + 200 + 60);
  s.out("P. 4001:5001 ack 1");
  expect(s.tcb.caState).toBe(CaState.open);
});

test("after a timeout that was none, an ACK of what had been sent once takes it back (RFC 5682, RFC 4015)", () => {
  const s = flying(4);
  const { cwnd } = s.tcb;
  s.wait(2_000);
  const again = s.take(s.main.port);
  expect(again.length).toBeGreaterThan(0); // the probe and the timeout's retransmissions
  expect(s.tcb.caState).toBe(CaState.loss);
  s.turn(". 1 ack 3001"); // two that were sent but once: their first, and only, copies have arrived
  s.take(s.main.port);
  expect([s.tcb.caState < CaState.loss, s.tcb.cwnd >= cwnd]).toEqual([true, true]);
});

test("timestamps tell that the first, not the second, was acknowledged: the window comes back (RFC 3522, RFC 4015)", () => {
  expect(windowAfter("TS 200 51")).toBeGreaterThanOrEqual(10_000); // of what left first, 50 ms after the SYN
  expect(windowAfter("TS 200 101")).toBeLessThan(7_000); // of what was sent again
});

function windowAfter(echo: string): number {
  const s = flying(10, "mss 1012,sackOK,TS 100 1");
  const early = "TS 200 51";
  for (const end of [2001, 3001, 4001]) s.in(`. 1 ack 1 <${early},sack 1001:${end}>`);
  s.turn(`. 1 ack 1 <${early},sack 1001:5001>`);
  expect(s.take(s.main.port).length).toBeGreaterThan(0);
  expect(s.tcb.caState).toBe(CaState.recovery);
  s.wait(5);
  s.turn(`. 1 ack 10001 <${echo}>`);
  expect(s.tcb.caState).toBe(CaState.open);
  return s.tcb.cwnd;
}
