import { expect, test } from "vitest";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { LOCAL, Script } from "./script.ts";

/** Past the quick ACKs of a connection's start. */
function calm(options: ConstructorParameters<typeof Script>[0] = {}, syn = "mss 1000"): Script {
  return new Script({ ...options, mtu: 1040, tcp: { quickAcks: 0, ...options.tcp } }).accepted(syn);
}

test("delayed ACK: 40 ms for one segment (MUST-40, SHLD-18), at once for the second (SHLD-19)", () => {
  const s = calm();
  s.turn(". 1:1001 ack 1");
  s.wait(39);
  s.out();
  s.wait(1);
  s.outAt("40 . 1 ack 1001");
  s.turn(". 1001:2001 ack 1");
  s.out();
  s.turn(". 2001:3001 ack 1");
  s.out(". 1 ack 3001");
  s.turn(". 3001:4001 ack 1");
  s.write(10);
  s.out("P. 1:11 ack 4001"); // data carries the ACK
  s.wait(100);
  s.out();
  expect(s.tcb.delayedAckAtMs).toBe(Infinity);
});

test("the second segment counts by its bytes: a peer that announces jumbo frames sends ours", () => {
  const s = calm({}, "mss 8960");
  s.turn(". 1:1001 ack 1");
  s.out();
  s.turn(". 1001:2001 ack 1");
  s.out(". 1 ack 2001");
  for (let at = 0; at < 3; at++) { // small ones add up
    s.turn(`. ${2001 + 400 * at}:${2401 + 400 * at} ack 1`);
    s.out(...(at === 2 ? [". 1 ack 3201"] : []));
  }
});

test("at the start of a connection every segment is acknowledged at once", () => {
  const s = new Script({ tcp: { quickAcks: 4 } }).accepted();
  for (let at = 0; at < 4; at++) {
    s.turn(`P. ${1 + 10 * at}:${11 + 10 * at} ack 1`);
    s.out(`. 1 ack ${11 + 10 * at}`);
  }
  s.turn("P. 41:51 ack 1");
  s.out();
});

test("a batch gets one ACK (MUST-58, MUST-59)", () => {
  const s = calm();
  for (let at = 0; at < 10; at++) s.in(`. ${1 + 1000 * at}:${1001 + 1000 * at} ack 1`);
  s.poll();
  s.out(". 1 ack 10001");
});

test("out of order: each segment is answered at once (MAY-13), kept (SHLD-31), and the hole's filling, too", () => {
  const s = calm();
  s.turn(". 1001:2001 ack 1");
  s.out(". 1 ack 1");
  s.turn(". 3001:4001 ack 1");
  s.out(". 1 ack 1");
  s.turn("F. 4001 ack 1");
  s.out(". 1 ack 1");
  s.turn(". 1:1001 ack 1");
  s.out(". 1 ack 2001");
  s.turn(". 2001:3001 ack 1");
  s.out(". 1 ack 4002");
  expect([s.read(), s.state]).toEqual([4_000, "closeWait"]);
});

test("out-of-order data with FIN gets one duplicate ACK, not two", () => {
  const s = calm();
  s.turn("FP. 1001:2001 ack 1");
  s.out(". 1 ack 1");
  s.turn(". 1:1001 ack 1");
  s.out(". 1 ack 2002");
});

test("an old duplicate is acknowledged again; what overlaps counts once", () => {
  const s = calm();
  s.turn(". 1:1001 ack 1");
  s.turn(". 1:1001 ack 1");
  s.out(". 1 ack 1001");
  s.turn(". 501:1501 ack 1");
  s.turn(". 1:2001 ack 1");
  s.wait(40);
  expect(s.read()).toBe(2_000);
});

test("the window closes as data waits and opens by steps worth a segment (MUST-39, SHLD-14)", () => {
  const s = calm({ tcp: { receiveBufferBytes: 4_000 } });
  for (let at = 0; at < 4; at++) s.turn(`. ${1 + 1000 * at}:${1001 + 1000 * at} ack 1`);
  s.wait(100);
  const frames = s.take(4000);
  expect(frames.at(-1)!.segment.window).toBe(0);
  s.turn(". 4001:4002 ack 1"); // a probe with a byte
  s.out(". 1 ack 4001 win 0");
  for (let byte = 0; byte < 999; byte++) s.read(1);
  s.out();
  s.read(1);
  s.out(". 1 ack 4001 win 1000");
});

test("a peer that sends in tiny pieces cannot make a scaled window last for ever", () => {
  const s = calm({ tcp: { receiveBufferBytes: 8_192, quickAcks: 1e9 } }, "mss 1000,wscale 7");
  let taken = 0;
  for (; s.tcb.bytesIn === taken && taken < 20_000; taken++) s.turn(`P. ${1 + taken}:${2 + taken} ack 1`);
  expect(s.tcb.receiveQueue.length).toBeGreaterThanOrEqual(8_192);
  expect(s.tcb.receiveQueue.length).toBeLessThanOrEqual(8_192 + 512);
  expect(s.take(4000).at(-1)!.segment.window).toBe(0);
});

test("without window scaling a read of everything sends no window update", () => {
  const s = calm();
  s.turn(". 1:1001 ack 1");
  s.wait(40);
  s.out(". 1 ack 1001 win 65535");
  s.read();
  s.out();
});

test("a window scale offered is never larger than a sixteenth of the buffer can bear", () => {
  const s = new Script({ tcp: { receiveBufferBytes: 3_000, receiveWindowScale: 14 } }).listen();
  s.turn("S 0 <mss 1000,wscale 0>");
  s.out("S. 0 ack 1 win 3000 <mss 1460,wscale 7>");
  const large = new Script({ tcp: { receiveBufferBytes: 1 << 20, receiveWindowScale: 7 } }).listen();
  large.turn("S 0 <wscale 0>");
  large.out("S. 0 ack 1 <mss 1460,wscale 7>");
});

test("with unread data, what is beyond the window is cut off and dropped, and its FIN with it (RFC 9293 section 3.10.7.4)", () => {
  const s = calm({ tcp: { receiveBufferBytes: 1_000 } });
  s.turn(". 1:501 ack 1");
  s.turn("FP. 501:1501 ack 1");
  s.wait(100);
  s.out(". 1 ack 1001 win 0");
  expect([s.read(), s.state]).toEqual([1_000, "established"]);
  s.out(". 1 ack 1001 win 1000");
  s.turn("FP. 1001:1501 ack 1");
  s.out(". 1 ack 1502");
});

test("with nothing unread, one segment is taken whole that begins in the window and ends beyond it (RFC 9293 section 3.10.7.4)", () => {
  const s = calm({ tcp: { receiveBufferBytes: 1_000 } });
  s.turn("P. 1:1501 ack 1");
  s.wait(100);
  s.out(". 1 ack 1501 win 0");
  expect(s.tcb.bytesIn).toBe(1_500);
  s.turn("P. 1501:1502 ack 1"); // but not a second one
  s.out(". 1 ack 1501 win 0");
  s.turn("R. 1501 ack 1 win 0"); // the window has not become negative: RCV.NXT is its edge
  expect(s.state).toBe("closed");
});

test("... but not one that lies behind a hole, or fills it", () => {
  const s = calm({ tcp: { receiveBufferBytes: 1_000 } });
  s.turn(". 501:2501 ack 1");
  s.out(". 1 ack 1 win 1000");
  s.turn(". 1:2001 ack 1");
  s.out(". 1 ack 1001 win 0");
});

test("a FIN alone is taken at a closed window, in its place only; data with it is not (RFC 9293 section 3.10.7.4, MUST-66)", () => {
  const s = calm({ tcp: { receiveBufferBytes: 1_000 } });
  s.turn(". 1:1001 ack 1");
  s.wait(100);
  s.out(". 1 ack 1001 win 0");
  s.turn("F. 1002 ack 1");
  s.turn("FP. 1001:1002 ack 1");
  s.out(". 1 ack 1001 win 0", ". 1 ack 1001 win 0");
  expect(s.state).toBe("established");
  s.turn("F. 1001 ack 1");
  s.wait(80); // ours might have carried the ACK, as on Linux; the last one waited 40 ms in vain
  s.out(". 1 ack 1002 win 0");
  expect([s.state, s.read()]).toEqual(["closeWait", 1_000]);
});

test("with a closed window, ACKs and window updates of refused segments count (RFC 9293 section 3.10.7.4)", () => {
  const s = calm({ tcp: { receiveBufferBytes: 1_000 } });
  s.turn(". 1:1001 ack 1");
  s.wait(40);
  s.out(". 1 ack 1001 win 0");
  s.write(100);
  s.out("P. 1:101 ack 1001");
  s.turn(". 1001:1002 ack 101");
  s.out(". 101 ack 1001 win 0");
  expect(s.tcb.sendQueue.length).toBe(0);
});

test("too many holes: further ones are dropped, and the stream still arrives", () => {
  const s = calm({ tcp: { outOfOrderRangesMax: 2 } });
  s.turn(". 101:201 ack 1");
  s.turn(". 301:401 ack 1");
  s.turn(". 501:601 ack 1");
  expect(s.tcb.ahead.length).toBe(4);
  s.turn(". 401:451 ack 1"); // adds to a run that is there
  expect(s.tcb.ahead).toEqual([100, 200, 300, 450]);
  s.turn(". 1:101 ack 1");
  s.turn(". 201:301 ack 1");
  expect(s.read()).toBe(450);
});

test("timestamps: echoed, required, and old ones refused (RFC 7323, PAWS)", () => {
  const s = new Script({ tcp: { quickAcks: 99 } }).accepted("mss 1460,TS 1000 0");
  s.turn("P. 1:11 ack 1 <TS 1005 1>");
  s.out(". 1 ack 11 <TS 1 1005>");
  s.turn("P. 11:21 ack 1 <TS 1004 1>");
  s.out(". 1 ack 11 <TS 1 1005>");
  s.turn("P. 11:21 ack 1"); // none at all
  s.out();
  expect(s.drops()).toEqual({ TcpPaws: 2 });
  s.turn("P. 21:31 ack 1 <TS 1009 1>"); // ahead of a hole: not yet the one to echo
  s.out(". 1 ack 11 <TS 1 1005>");
  s.turn("P. 11:21 ack 1 <TS 1007 1>");
  s.out(". 1 ack 31 <TS 1 1007>");
  s.turn("R 31"); // RST needs none
  expect(s.heard().at(-1)).toBe("closed reset");
});

test("timestamps wrap, and after 24 days of silence an old one is believed", () => {
  const s = new Script({ tcp: { quickAcks: 99 } }).accepted("mss 1460,TS 4294967290 0");
  s.turn("P. 1:11 ack 1 <TS 5 1>");
  expect(s.read()).toBe(10);
  s.wait(25 * 86_400_000);
  s.turn("P. 11:21 ack 1 <TS 4 1>");
  expect(s.read()).toBe(10);
});

test("blind RST: only the exact number resets, others in the window get a challenge ACK (RFC 5961)", () => {
  const s = calm();
  s.turn("R 2");
  s.out(". 1 ack 1");
  s.turn("R 3");
  s.out(); // one in half a second
  s.wait(500);
  s.turn("R 4");
  s.out(". 1 ack 1");
  s.turn("R 70000");
  s.turn("R 0");
  s.out();
  expect(s.state).toBe("established");
  s.turn("R 1");
  expect(s.heard()).toEqual(["closed reset"]);
});

test("blind SYN: a challenge ACK, wherever it points (RFC 5961)", () => {
  for (const syn of ["S 1", "S 500", "S -9000", "S. 1 ack 1"]) {
    const s = calm();
    s.turn(syn);
    s.out(". 1 ack 1");
    s.turn(syn);
    s.out();
    expect(s.state).toBe("established");
  }
});

test("an ACK of what was never sent, or too old, gets a challenge ACK, and its data is not taken (RFC 5961, MAY-12)", () => {
  const s = calm();
  s.write(100);
  s.take(4000);
  s.turn(". 1 ack 101");
  s.turn("P. 1:11 ack 102");
  s.out(". 101 ack 1");
  s.wait(500);
  s.turn("P. 1:11 ack -70000");
  s.out(". 101 ack 1");
  expect(s.tcb.bytesIn).toBe(0);
  s.turn("P. 1:11 ack 1"); // old, but no older than a window
  expect(s.tcb.bytesIn).toBe(10);
});

test("no ACK flag, no service", () => {
  const s = calm();
  s.turn("P 1:11");
  s.turn("F 1");
  s.out();
  expect([s.tcb.bytesIn, s.state]).toEqual([0, "established"]);
});

test("a keep-alive or a window probe of the peer is answered, with and without a byte", () => {
  const s = calm();
  s.turn(". 1:11 ack 1");
  s.wait(40);
  s.take(4000);
  s.turn(". 10 ack 1");
  s.out(". 1 ack 11");
  s.turn(". 10:11 ack 1");
  s.out(". 1 ack 11");
});

test("two desynchronised ends fall silent: no storm of ACKs", () => {
  const s = calm();
  let answers = 0;
  for (let at = 0; at < 1_000; at++) { // each answer provokes another wrong ACK, 1 ms later
    s.turn(`. ${-500_000 - at} ack ${1}`);
    answers += s.take(4000).length;
    s.wait(1);
  }
  expect(answers).toBe(2);
});

test("initial sequence numbers: a clock of 4 microseconds for one tuple, unrelated between tuples (MUST-8, MUST-9, SHLD-1, RFC 6528)", () => {
  const s = new Script();
  const isn = (localPort: number, remote: string): number => {
    const tcb = tcpConnect(s.stack.tcp, parseIpv4(LOCAL)!, localPort, parseIpv4(remote)!, 9, s.nowMs)!;
    const { iss } = tcb;
    s.tcb = tcb;
    s.abort();
    return iss;
  };
  const first = isn(5000, "10.0.0.9");
  s.wait(1_000);
  expect((isn(5000, "10.0.0.9") - first) | 0).toBe(250_000);
  const others = [isn(5001, "10.0.0.9"), isn(5000, "10.0.0.8"), isn(5002, "10.0.0.9")];
  const near = others.filter((other) => Math.abs((other - first) | 0) < 1_000_000);
  expect(near).toEqual([]);
  const elsewhere = new Script({ seed: 2 });
  elsewhere.localPort = 5000;
  elsewhere.connect();
  const here = new Script({ seed: 1 });
  here.localPort = 5000;
  here.connect();
  expect(elsewhere.tcb.iss).not.toBe(here.tcb.iss);
});

test("no active open to a group, to everyone, to nobody (MUST-46)", () => {
  const s = new Script();
  for (const remote of ["255.255.255.255", "224.0.0.1", "10.0.0.255", "0.0.0.0", "127.0.0.1"]) {
    const tcb = tcpConnect(s.stack.tcp, parseIpv4(LOCAL)!, 5000, parseIpv4(remote)!, 9, s.nowMs);
    expect(tcb, remote).toBeUndefined();
  }
  s.poll();
  expect(s.watcher.segments).toBe(0);
  s.gone();
});
