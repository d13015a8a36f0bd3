import { expect, test } from "vitest";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { urgentBytes } from "../../../net/tcp/urgent.ts";
import { tcpSendUrgent } from "../../../net/tcp/user.ts";
import { Script, streamBytes } from "./script.ts";

/** The application writes the stream's next bytes, urgent. */
function writeUrgent(script: Script, from: number, count: number): void {
  expect(tcpSendUrgent(script.stack.tcp, script.tcb, streamBytes(from, count), 0, count)).toBe(count);
  script.poll();
}

test("MUST-30, MUST-62: the pointer names the octet behind the urgent data, in every segment before it", () => {
  const script = new Script().accepted("mss 1000");
  writeUrgent(script, 1, 2500);
  script.out(".U 1:1001 ack 1 urg 2500", ".U 1001:2001 ack 1 urg 1500", "P.U 2001:2501 ack 1 urg 500");
});

test("urgent data waits for no ACK (Nagle), what follows it is not urgent", () => {
  const script = new Script().accepted("mss 1000");
  script.write(10);
  script.out("P. 1:11 ack 1");
  writeUrgent(script, 11, 3);
  script.out("P.U 11:14 ack 1 urg 3");
  script.turn(". 1 ack 14");
  expect(script.write(0)).toBe(0);
  writeUrgent(script, 14, 1);
  script.out("P.U 14:15 ack 1 urg 1");
  script.wait(200); // a retransmission says it again
  script.out("P.U 14:15 ack 1 urg 1");
  script.turn(". 1 ack 15");
  script.turn("P. 1:2 ack 15");
  script.out(". 15 ack 2");
});

test("MUST-31: urgent data of any length: the pointer says 65535 until it is nearer", () => {
  const script = new Script({ mtu: 40_040 }).accepted("mss 40000,wscale 4", 65535);
  script.turn(". 1 ack 1 win 65535");
  writeUrgent(script, 1, 100_000);
  script.out(
    ".U 1:40001 ack 1 urg 65535",
    ".U 40001:80001 ack 1 urg 60000",
  );
  script.turn(". 1 ack 80001 win 65535");
  script.out("P.U 80001:100001 ack 1 urg 20000");
});

test("MUST-66: a closed window is told of urgent data by a segment that it must accept", () => {
  const script = new Script().accepted("mss 1000", 1000);
  script.turn(". 1 ack 1 win 0");
  writeUrgent(script, 1, 5);
  script.out();
  script.wait(200);
  script.out(".U 1 ack 1 urg 5", ". 0 ack 1");
});

test("MUST-32, MUST-33: the application is told once of urgent data, and how much is left of it", () => {
  const script = new Script().accepted();
  script.turn("P.U 1:11 ack 1 urg 20");
  expect(script.heard()).toEqual(["readable urgent"]);
  expect(urgentBytes(script.tcb)).toBe(20);
  script.read(4);
  expect(urgentBytes(script.tcb)).toBe(16);
  script.turn("P.U 11:21 ack 1 urg 20"); // the mark moves on: it is in urgent mode already
  expect(script.heard()).toEqual(["readable"]);
  expect(urgentBytes(script.tcb)).toBe(26);
  script.turn("P.U 21:31 ack 1 urg 5"); // and never back
  expect(urgentBytes(script.tcb)).toBe(26);
  script.read();
  expect(urgentBytes(script.tcb)).toBe(0);
  script.turn("P. 31:41 ack 1");
  expect(script.heard()).toEqual(["readable", "readable"]);
  expect(urgentBytes(script.tcb)).toBe(0);
  script.turn("P.U 41:51 ack 1 urg 1");
  expect(script.heard()).toEqual(["readable urgent"]);
  expect(script.read()).toBe(20); // all in line, the urgent octet too (RFC 6093 section 4)
});

test("MUST-66: URG counts with the window closed; without data; and not from outside the window", () => {
  const script = new Script({ tcp: { receiveBufferBytes: 2304, receiveBufferMax: 2304 } }).accepted();
  script.turn(".U 1 ack 1 urg 2");
  expect(script.heard()).toEqual(["urgent"]);
  expect(urgentBytes(script.tcb)).toBe(2);
  script.turn("P. 1:1305 ack 1");
  script.turn("P. 1305:2305 ack 1");
  script.read(2);
  expect(urgentBytes(script.tcb)).toBe(0);
  script.turn("P.U 2305:2310 ack 1 urg 5");
  expect(script.heard().join(" ")).toContain("urgent");
  script.turn(".U 100000 ack 1 urg 5");
  expect(urgentBytes(script.tcb)).toBe(2307);
});

test("urgent marks of both directions survive sleep", () => {
  const script = new Script().accepted();
  script.in("P.U 1:11 ack 1 urg 20");
  writeUrgent(script, 1, 7);
  const frozen = freezeTcb(script.tcb, script.nowMs);
  script.tcb.sndUrgent = script.tcb.rcvUrgent = false;
  script.tcb.sndUp = script.tcb.rcvUp = 0;
  thawTcb(frozen, script.tcb, script.stack.tcp.config, script.nowMs);
  expect(urgentBytes(script.tcb)).toBe(20);
  script.take(4000);
  script.wait(200);
  script.out("P.U 1:8 ack 11 urg 7");
  script.read(10);
  expect(freezeTcb(script.tcb, script.nowMs)[frozenTcbFields.indexOf("urgentState")]).toEqual([7, 1, 10]);
  script.turn(". 11 ack 8");
  script.turn(". 11:21 ack 8");
  script.read(10);
  expect(freezeTcb(script.tcb, script.nowMs)[frozenTcbFields.indexOf("urgentState")]).toEqual([]);
});
