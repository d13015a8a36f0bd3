import { expect, test } from "vitest";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { earliestDeadlineMs } from "../../../net/tcp/tcp.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { Script } from "./script.ts";

test("a passive open: LISTEN, SYN-RECEIVED, ESTABLISHED; the options of both sides (MUST-4, MUST-14, SHLD-5)", () => {
  const s = new Script().listen();
  s.turn("S 0 win 65535 <mss 1400,sackOK,TS 100 0,nop,wscale 7>");
  s.out("S. 0 ack 1 win 65535 <mss 1460,sackOK,TS 1 100,wscale 7>");
  s.turn(". 1 ack 1 <TS 101 1>");
  s.out();
  expect(s.heard()).toEqual(["established writable"]);
  expect(s.state).toBe("established");
  expect(s.tcb.sndMss).toBe(1388);
  expect(s.listener!.pending).toBe(0);
});

test("an active open: SYN-SENT, ESTABLISHED", () => {
  const s = new Script().connect();
  s.out("S 0 win 65535 <mss 1460,sackOK,TS 1 0,wscale 7>");
  expect(s.state).toBe("synSent");
  s.turn("S. 0 ack 1 win 65535 <mss 1460,sackOK,TS 100 1,nop,wscale 7>");
  s.out(". 1 ack 1 win 1024 <TS 1 100>");
  expect(s.heard()).toEqual(["established writable"]);
});

test("options that the peer does not offer are not used", () => {
  const s = new Script().connected("");
  s.write(100);
  s.out("P. 1:101 ack 1 win 65535 <>");
  const t = new Script().listen();
  t.turn("S 0");
  t.out("S. 0 ack 1 win 65535 <mss 1460>");
});

test("a simultaneous open: SYN crosses SYN, SYN-ACK crosses SYN-ACK (MUST-10, figure 8)", () => {
  const s = new Script().connect();
  s.out("S 0");
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  expect(s.state).toBe("synReceived");
  s.turn("S. 0 ack 1 <mss 1460>");
  expect(s.state).toBe("established");
  expect(s.heard()).toEqual(["established writable"]);
  s.take(4000);
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11");
});

test("a simultaneous open that a bare ACK ends", () => {
  const s = new Script().connect();
  s.out("S 0");
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn(". 1 ack 1");
  s.out();
  expect(s.state).toBe("established");
});

test("RST in SYN-RECEIVED: a passive open returns to LISTEN, an active one is refused (MUST-11)", () => {
  const s = new Script().listen();
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  expect(s.listener!.pending).toBe(1);
  s.turn("R 1");
  s.out();
  s.gone();
  s.turn("S 100 <mss 1460>");
  expect(s.stack.connections.size).toBe(1);

  const t = new Script().connect();
  t.out("S 0");
  t.turn("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.turn("R 1");
  expect(t.heard()).toEqual(["closed refused"]);
  t.gone();
});

test("LISTEN ignores RST, answers ACK with RST, ignores what has no SYN", () => {
  const s = new Script().listen();
  s.turn("R 0");
  s.turn("- 5:10");
  s.turn("F 5");
  s.out();
  s.turn(". 5 ack 77");
  s.out("R 77");
  s.turn("S. 5 ack 77");
  s.out("R 77");
  s.gone();
});

test("a segment for nobody: RST at its ACK, or RST,ACK of all of it; never an answer to RST", () => {
  const s = new Script();
  s.turn(". 5 ack 77");
  s.out("R 77");
  s.turn("S 5");
  s.out("R. 0 ack 6");
  s.turn("SF 5:10");
  s.out("R. 0 ack 12");
  s.turn("R 5");
  s.turn("R. 5 ack 7");
  s.out();
  expect(s.drops()).toEqual({ TcpNoListener: 5 });
});

test("SYN-SENT: a wrong ACK gets RST, RST counts only with the right ACK", () => {
  const s = new Script().connect();
  s.out("S 0");
  s.turn(". 5 ack 0");
  s.out("R 0");
  s.turn(". 5 ack 2");
  s.out("R 2");
  s.turn("S. 5 ack 2");
  s.out("R 2");
  s.turn("R. 5 ack 2");
  s.turn("R 5");
  s.turn(". 5 ack 1");
  s.turn("F 5");
  s.out();
  expect(s.state).toBe("synSent");
  s.turn("R. 0 ack 1");
  expect(s.heard()).toEqual(["closed refused"]);
  s.out();
  s.gone();
});

test("SYN-RECEIVED: a wrong ACK gets RST and changes nothing; the SYN again gets its SYN-ACK again", () => {
  const s = new Script().listen();
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn(". 1 ack 2");
  s.out("R 2");
  s.turn(". 1 ack 0");
  s.out("R 0");
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn("S 0 <mss 1460>"); // noise by now
  s.wait(499);
  s.turn("S 0 <mss 1460>");
  s.out();
  s.wait(1);
  s.turn("SEW 0 <mss 1460>"); // an ECN-setup SYN is a SYN
  s.out("S. 0 ack 1");
  s.wait(999); // the timer has started over
  s.out();
  s.wait(1);
  s.out("S. 0 ack 1");
  s.turn(". 1 ack 1");
  expect(s.state).toBe("established");
});

test("data and FIN may come with the ACK of the SYN-ACK", () => {
  const s = new Script().listen();
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn("FP. 1:101 ack 1");
  s.out();
  s.wait(40); // as on Linux: our FIN might have carried it
  s.out(". 1 ack 102");
  expect(s.heard()).toEqual(["established readable writable"]);
  expect(s.state).toBe("closeWait");
  expect(s.read()).toBe(100);
  s.close();
  s.out("F. 1 ack 102");
  s.turn(". 102 ack 2");
  expect(s.heard()).toEqual(["closed none"]);
  s.gone();
});

test("the peer closes first: CLOSE-WAIT, LAST-ACK, CLOSED; the application learns it (MUST-12)", () => {
  const s = new Script().accepted();
  s.turn("F. 1 ack 1");
  s.out(". 1 ack 2");
  expect([s.state, s.heard(), s.tcb.finReceived]).toEqual(["closeWait", ["readable"], true]);
  s.write(100); // the half that we send still works (MAY-1)
  s.out("P. 1:101 ack 2");
  s.turn(". 2 ack 101");
  s.shutdown();
  s.out("F. 101 ack 2");
  expect(s.state).toBe("lastAck");
  s.turn("F. 1 ack 101"); // our ACK was lost
  s.out(". 102 ack 2");
  s.turn(". 2 ack 102");
  expect(s.heard()).toEqual(["closed none"]);
  s.gone();
});

test("we close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT for 2 MSL (MUST-13)", () => {
  const s = new Script({ tcp: { timeWaitMs: 60_000 } }).accepted();
  s.shutdown();
  s.out("F. 1 ack 1");
  expect(s.state).toBe("finWait1");
  s.turn(". 1 ack 2");
  expect(s.state).toBe("finWait2");
  s.turn("P. 1:101 ack 2"); // the peer's half is still open
  expect(s.read()).toBe(100);
  s.out(". 2 ack 101");
  s.wait(600_000); // and stays so while the application holds on
  s.turn("F. 101 ack 2");
  s.out(". 2 ack 102");
  expect([s.state, s.heard()]).toEqual(["timeWait", ["readable", "readable"]]);
  s.wait(40_000);
  s.turn("F. 101 ack 2"); // our ACK was lost: answered, and the wait begins anew
  s.out(". 2 ack 102");
  s.wait(59_999);
  expect(s.state).toBe("timeWait");
  s.wait(1);
  expect(s.heard()).toEqual(["closed none"]);
  s.out();
  s.gone();
});

test("FIN that acknowledges our FIN: FIN-WAIT-1 to TIME-WAIT at once", () => {
  const s = new Script().accepted();
  s.shutdown();
  s.out("F. 1 ack 1");
  s.turn("F. 1 ack 2");
  s.out(". 2 ack 2");
  expect(s.state).toBe("timeWait");
});

test("a simultaneous close: FIN crosses FIN, CLOSING, TIME-WAIT", () => {
  const s = new Script().accepted();
  s.shutdown();
  s.out("F. 1 ack 1");
  s.turn("F. 1 ack 1");
  s.out(". 2 ack 2");
  expect(s.state).toBe("closing");
  s.turn(". 2 ack 2");
  expect(s.state).toBe("timeWait");
  s.wait(60_000);
  s.gone();
});

test("close in SYN-SENT forgets the connection; in SYN-RECEIVED the FIN waits for the handshake", () => {
  const s = new Script().connect();
  s.out("S 0");
  s.close();
  s.out();
  s.gone();

  const t = new Script().connect();
  t.out("S 0");
  t.turn("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.shutdown();
  t.out();
  t.turn(". 1 ack 1");
  t.out("F. 1 ack 1");
  expect(t.state).toBe("finWait1");
});

test("RST ends every state; the application is told but in TIME-WAIT (SHLD-2)", () => {
  const states: [string, (s: Script) => void, string, string][] = [
    ["established", () => {}, "R 1", "reset"],
    ["established", () => {}, "R. 1:21 ack 1", "reset"], // RST may carry data
    ["finWait1", (s) => s.shutdown(), "R 1", "reset"],
    ["finWait2", (s) => (s.shutdown(), s.turn(". 1 ack 2")), "R 1", "reset"],
    ["closeWait", (s) => s.turn("F. 1 ack 1"), "R 2", "reset"],
    ["closing", (s) => (s.shutdown(), s.turn("F. 1 ack 1")), "R 2", "reset"],
    ["lastAck", (s) => (s.turn("F. 1 ack 1"), s.shutdown()), "R 2", "reset"],
    ["timeWait", (s) => (s.shutdown(), s.turn("F. 1 ack 2")), "R 2", "none"],
  ];
  for (const [state, reach, reset, error] of states) {
    const s = new Script().accepted();
    reach(s);
    expect(s.state).toBe(state);
    s.take(4000);
    s.heard();
    s.turn(reset);
    s.out();
    expect(s.heard(), state).toEqual([`closed ${error}`]);
    s.gone();
  }
});

test("RST and its data are taken in with a closed window (MUST-66)", () => {
  for (const reset of ["R 1001", "R. 1001:1021 ack 1"]) {
    const s = new Script({ tcp: { receiveBufferBytes: 1000 } }).accepted();
    s.turn(". 1:1001 ack 1");
    s.take(4000);
    expect(s.tcb.rcvAdv).toBe(s.tcb.rcvNxt);
    s.heard();
    s.turn(reset);
    expect(s.heard(), reset).toEqual(["closed reset"]);
  }
});

test("abort sends RST in every state that has a peer", () => {
  const s = new Script().accepted();
  s.write(10);
  s.out("P. 1:11 ack 1");
  s.abort();
  s.out("R. 11 ack 1");
  expect(s.heard()).toEqual(["closed aborted"]);
  s.gone();
  const t = new Script().connect();
  t.out("S 0");
  t.abort();
  t.out();
  t.gone();
});

test("abort is silent once both ends have sent their FIN, unless data was not read (RFC 9293 section 3.10.5)", () => {
  for (const [unread, reset] of [["", []], ["P. 1:11 ack 1", ["R. 2 ack 12"]]] as const) {
    const s = new Script().accepted(); // CLOSING
    if (unread !== "") s.turn(unread);
    s.shutdown();
    s.turn(unread === "" ? "F. 1 ack 1" : "F. 11 ack 1");
    expect(s.state).toBe("closing");
    s.take(s.main.port);
    s.abort();
    s.out(...reset);
    expect(s.heard().at(-1)).toBe("closed aborted");
  }
  const s = new Script().accepted(); // LAST-ACK
  s.turn("F. 1 ack 1");
  s.shutdown();
  expect(s.state).toBe("lastAck");
  s.take(s.main.port);
  s.abort();
  s.out();
  s.gone();
});

test("close with unread data sends RST (SHLD-3, RFC 2525 section 2.17)", () => {
  const s = new Script().accepted();
  s.turn("P. 1:11 ack 1");
  s.out(". 1 ack 11");
  s.close();
  s.out("R. 1 ack 11");
  s.gone();
});

test("close with unread data in TIME-WAIT keeps TIME-WAIT (MUST-13)", () => {
  const s = new Script().accepted();
  s.shutdown();
  s.turn("FP. 1:11 ack 2");
  s.out("F. 1 ack 1", ". 2 ack 12");
  s.close();
  expect(s.state).toBe("timeWait");
  s.turn("FP. 1:11 ack 2");
  s.out(". 2 ack 12");
  s.wait(60_000);
  s.out();
  s.gone();
});

test("data for an application that has let go gets RST", () => {
  const s = new Script().accepted();
  s.close();
  s.out("F. 1 ack 1");
  s.turn(". 1 ack 2");
  s.turn("P. 1:11 ack 2");
  s.out("R 2");
  s.gone();
});

test("the application ends its stream at a closed window: FIN-WAIT-1 and LAST-ACK at once, the FIN when it can (RFC 9293 section 3.10.4)", () => {
  const s = new Script().accepted();
  s.turn(". 1 ack 1 win 0");
  s.write(10);
  s.shutdown();
  s.out();
  expect(s.state).toBe("finWait1");
  s.turn("F. 1 ack 1 win 0"); // both have ended: whoever was first waits in TIME-WAIT
  s.out(". 1 ack 2");
  expect(s.state).toBe("closing");
  s.turn(". 2 ack 1 win 100");
  s.out("FP. 1:11 ack 2");
  s.turn(". 2 ack 12 win 100");
  expect(s.state).toBe("timeWait");

  const last = new Script().accepted();
  last.turn("F. 1 ack 1 win 0");
  last.wait(40);
  last.out(". 1 ack 2");
  last.write(10);
  last.shutdown();
  expect(last.state).toBe("lastAck");
  last.turn(". 2 ack 1 win 100");
  last.out("FP. 1:11 ack 2");
  last.turn(". 2 ack 11 win 100"); // not the FIN's ACK
  expect(last.state).toBe("lastAck");
  last.turn(". 2 ack 12 win 100");
  last.gone();
});

test("what an orphan gets behind the peer's FIN is nothing (RFC 9293 section 3.10.7.4)", () => {
  const s = new Script().accepted();
  s.close();
  s.out("F. 1 ack 1");
  s.turn("F. 1 ack 1");
  s.out(". 2 ack 2");
  s.turn("P. 2:12 ack 1");
  expect(s.state).toBe("closing");
});

test("data ahead of a hole is nothing unread: close sends FIN, and RST when the hole is filled", () => {
  const s = new Script().accepted();
  s.turn("P. 11:21 ack 1");
  s.out(". 1 ack 1");
  s.close();
  s.out("F. 1 ack 1");
  s.turn("P. 1:11 ack 1");
  s.out("R 1");
  s.gone();
});

test("a FIN is answered at once when something had come ahead of it", () => {
  const s = new Script().accepted();
  s.turn("P. 11:21 ack 1");
  s.out(". 1 ack 1");
  s.turn("F. 1 ack 1");
  s.out(". 1 ack 2");
});

test("a FIN ahead of data says that there was some: for an application that has let go it gets RST (SHLD-3)", () => {
  const s = new Script().accepted();
  s.close();
  s.out("F. 1 ack 1");
  s.turn("F. 11 ack 2");
  s.out("R 2");
  s.gone();

  const waits = new Script().accepted(); // who still reads waits for what is missing
  waits.shutdown();
  waits.out("F. 1 ack 1");
  waits.turn("F. 11 ack 2");
  waits.out(". 2 ack 1");
  expect(waits.state).toBe("finWait2");
});

test("the ACK in the peer's last segment sent again counts: a FIN that acknowledges ours ends CLOSING and LAST-ACK", () => {
  const closing = new Script().accepted();
  closing.shutdown();
  closing.out("F. 1 ack 1");
  closing.turn("F. 1 ack 1");
  closing.out(". 2 ack 2");
  closing.turn("F. 1 ack 2");
  closing.out(". 2 ack 2");
  expect(closing.state).toBe("timeWait");

  const last = new Script().accepted();
  last.turn("F. 1 ack 1");
  last.wait(40);
  last.out(". 1 ack 2");
  last.close();
  last.out("F. 1 ack 2");
  last.turn("F. 1 ack 2");
  last.out(". 2 ack 2");
  last.gone();
});

test("what lies behind the peer's FIN is no data: nobody is reset for it (RFC 9293 section 3.10.7.4, seventh step)", () => {
  const s = new Script().accepted();
  s.close();
  s.turn("F. 1 ack 1");
  s.out("F. 1 ack 1", ". 2 ack 2");
  expect(s.state).toBe("closing");
  s.turn("P. 2:12 ack 2"); // its ACK counts
  s.out();
  expect(s.state).toBe("timeWait");
});

test("an orphan waits for the peer's FIN only so long", () => {
  const s = new Script({ tcp: { finWait2Ms: 60_000 } }).accepted();
  s.close();
  s.turn(". 1 ack 2");
  s.out("F. 1 ack 1");
  s.wait(59_999);
  expect(s.state).toBe("finWait2");
  s.wait(1);
  s.out();
  s.gone();

  const t = new Script({ tcp: { finWait2Ms: 60_000 } }).accepted();
  t.shutdown();
  t.turn(". 1 ack 2");
  t.wait(100_000);
  t.close(); // it becomes an orphan only now
  t.wait(59_999);
  expect(t.state).toBe("finWait2");
  t.wait(1);
  t.gone();
});

test("FIN is sent again until it is acknowledged, with the data before it", () => {
  const s = new Script().accepted();
  s.wait(1_000);
  s.write(100);
  s.shutdown();
  s.out("P. 1:101 ack 1", "F. 101 ack 1");
  s.wait(300);
  s.out("FP. 1:101 ack 1");
  s.turn(". 1 ack 101");
  s.wait(1_000);
  s.take(4000);
  s.turn(". 1 ack 102");
  expect(s.state).toBe("finWait2");
  expect(earliestDeadlineMs(s.tcb)).toBe(Infinity);
});

test("TIME-WAIT: a SYN with a newer timestamp opens anew (SHLD-4, MAY-2), an older one does not", () => {
  const inTimeWait = (options: string): Script => {
    const s = new Script().accepted(options);
    s.shutdown();
    s.turn(`F. 1 ack 2${options.includes("TS") ? " <TS 105 1>" : ""}`);
    s.take(4000);
    s.heard();
    expect(s.state).toBe("timeWait");
    return s;
  };
  const newer = inTimeWait("mss 1460,TS 100 0");
  newer.turn("S 9000 <mss 1460,TS 106 0>");
  newer.main.isn += 9000;
  newer.out("S. 0 ack 1");
  expect(newer.heard()).toEqual(["closed none"]);
  expect(newer.stack.connections.size).toBe(1);

  const older = inTimeWait("mss 1460,TS 100 0");
  older.turn("S 9000 <mss 1460,TS 104 0>");
  older.out(". 2 ack 2");
  expect(older.state).toBe("timeWait");

  const later = inTimeWait("mss 1460");
  later.turn("S 3 <mss 1460>");
  later.main.isn += 3;
  later.out("S. 0 ack 1");

  const before = inTimeWait("mss 1460");
  before.turn("S -9000 <mss 1460>");
  before.out(". 2 ack 2");

  // Nobody would take the new connection: the old one stays to answer.
  const closed = inTimeWait("mss 1460,TS 100 0");
  closed.stack.tcp.listeners.remove(closed.listener!);
  closed.turn("S 9000 <mss 1460,TS 106 0>");
  expect(closed.state).toBe("timeWait");
  closed.out(". 2 ack 2");
});

test("a connection that opens anew starts beyond all that its predecessor sent (MAY-2)", () => {
  const s = new Script().accepted("mss 1460,wscale 14");
  s.turn(". 1 ack 1 win 65535");
  for (let sent = 0; sent < 900_000;) { // faster than the ISN clock: 250 bytes in a millisecond
    sent += s.write(10_000);
    s.take(4000);
    while (s.tcb.sendQueue.length > 0) s.turn(`. 1 ack ${(s.tcb.sndMax - s.tcb.iss) | 0}`);
  }
  s.take(4000);
  s.shutdown();
  const last = s.tcb.sndMax;
  s.turn(`F. 1 ack ${(last - s.tcb.iss) | 0}`);
  expect(s.state).toBe("timeWait");
  s.take(4000);
  s.turn("S 9000 <mss 1460>");
  const [answer] = s.take(4000);
  expect(answer!.segment.flags).toBe("S.");
  expect((answer!.segment.sequence - last) | 0).toBeGreaterThan(0);
});

test("a listener that closes takes its half-open connections with it", () => {
  const s = new Script().listen();
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.stack.tcp.listeners.remove(s.listener!);
  s.turn(". 1 ack 1");
  s.out("R 1");
  expect(s.stack.connections.size).toBe(0);
});

test("several connections of one listener and one port live side by side (MUST-42, MUST-41)", () => {
  const s = new Script().accepted();
  const other = s.peer(4001);
  other.isn = 77_000;
  other.turn("S 0 <mss 1460>");
  other.out("S. 0 ack 1");
  other.turn(". 1 ack 1");
  other.turn("P. 1:11 ack 1");
  other.out(". 1 ack 11");
  s.turn("P. 1:5 ack 1");
  s.out(". 1 ack 5");
  expect(s.stack.tcp.awake).toBe(2);
  expect(s.stack.tcp.listeners.add(0, 80, 8)).toBeUndefined();
});

test("the backlog bounds handshakes under way: the last one fits, the next is ignored (RFC 4987)", () => {
  const s = new Script({ tcp: { synCookies: 0 } }).listen(2);
  const [a, b, c] = [s.peer(4001), s.peer(4002), s.peer(4003)];
  a.turn("S 0 <mss 1460>");
  b.turn("S 0 <mss 1460>");
  a.out("S. 0 ack 1");
  b.out("S. 0 ack 1");
  c.turn("S 0 <mss 1460>");
  c.out();
  expect(s.drops()).toEqual({ TcpBacklogFull: 1 });
  a.turn(". 1 ack 1");
  c.turn("S 0 <mss 1460>");
  c.out("S. 0 ack 1");
});

test("a full map: the last connection fits, the next is ignored", () => {
  const s = new Script({ connectionsMax: 1 }).listen();
  const [a, b] = [s.peer(4001), s.peer(4002)];
  a.turn("S 0 <mss 1460>");
  a.out("S. 0 ack 1");
  b.turn("S 0 <mss 1460>");
  b.out();
  expect(s.drops()).toEqual({ TcpTableFull: 1 });
  expect(s.listener!.pending).toBe(1);
  a.turn("R 1");
  b.turn("S 0 <mss 1460>");
  b.out("S. 0 ack 1");
});

test("a listener of one address does not hear the others (MUST-43); a connection speaks from where its route says (MUST-44)", () => {
  const s = new Script();
  s.stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }, { address: "10.1.0.1/24" }] });
  const { listeners } = s.stack.tcp;
  const [one, two] = ["10.0.0.1", "10.1.0.1"].map((address) => parseIpv4(address)!);
  s.listener = listeners.add(two!, 80, 8)!;
  s.turn("S 0 <mss 1460>");
  s.out("R. 0 ack 1");
  const any = listeners.add(0, 80, 8)!;
  const here = listeners.add(one!, 80, 8)!;
  expect([listeners.find(one!, 80), listeners.find(two!, 80)]).toEqual([here, s.listener]);
  expect(listeners.find(parseIpv4("10.2.0.1")!, 80)).toBe(any);
  listeners.remove(here);
  s.turn("S 0 <mss 1460>");
  s.main.out("S. 0 ack 1");
  expect(any.pending).toBe(1);
  const from = ["10.0.0.9", "10.1.0.9"].map((to) => s.stack.output.sourceTowards(parseIpv4(to)!));
  expect(from).toEqual([one, two]);
});

test("a connection to itself: SYN meets its own SYN", () => {
  const s = new Script();
  const address = parseIpv4("10.0.0.1")!;
  s.tcb = tcpConnect(s.stack.tcp, address, 4000, address, 4000, s.nowMs)!;
  s.poll();
  expect([s.state, s.heard()]).toEqual(["established", ["established writable"]]);
  s.write(5_000);
  s.wait(100);
  expect(s.read()).toBe(5_000);
  s.close();
  s.wait(60_000);
  s.gone();
});
