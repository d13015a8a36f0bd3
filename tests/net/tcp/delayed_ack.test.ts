import { expect, test } from "vitest";
import { Script } from "./script.ts";

test("SHLD-18: a connection that answers data with data is interactive: its ACK waits for the answer", () => {
  const s = new Script().accepted();
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11"); // quick ACKs at the start
  s.write(10);
  s.out("P. 1:11 ack 11");
  s.turn("P. 11:21 ack 11");
  s.out();
  s.write(10);
  s.out("P. 11:21 ack 21");
  s.turn("P. 21:31 ack 21");
  s.wait(39);
  s.out();
  s.wait(1); // no answer: no longer interactive
  s.out(". 21 ack 31");
  expect(s.tcb.interactive).toBe(false);
  s.turn("P. 31:41 ack 21");
  s.out(". 21 ack 41");
});

test("data of ours that answers nothing does not make a connection interactive", () => {
  const s = new Script().accepted();
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11");
  s.wait(100);
  s.write(10);
  s.out("P. 1:11 ack 11");
  s.turn("P. 11:21 ack 11");
  s.out(". 11 ack 21");
});

test("after a pause longer than an RTO each segment is acknowledged at once again", () => {
  const s = new Script({ tcp: { quickAcks: 1 } }).accepted();
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11");
  s.turn("P. 11:21 ack 1");
  s.out();
  s.wait(2_000);
  s.out(". 1 ack 21");
  s.turn("P. 21:31 ack 1");
  s.out(". 1 ack 31");
});

test("a FIN behind data waits for ours to carry its ACK, a FIN without any data does not", () => {
  const s = new Script().accepted();
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11");
  s.turn("F. 11 ack 1");
  s.wait(39);
  s.out();
  s.wait(1);
  s.out(". 1 ack 12");
  const bare = new Script().accepted();
  bare.turn("F. 1 ack 1");
  bare.out(". 1 ack 2");
});
