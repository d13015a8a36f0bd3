import { expect, test } from "vitest";
import { BUFFER_BYTES_MAX } from "../../../net/tcp/config.ts";
import { checkTcpOptions, tcpGetOptions, type TcpOptions, tcpSetOptions } from "../../../net/tcp/options.ts";
import { tcpClose, tcpSend } from "../../../net/tcp/user.ts";
import { Script, streamBytes } from "./script.ts";

function set(script: Script, options: TcpOptions): void {
  checkTcpOptions(options);
  tcpSetOptions(script.stack.tcp, script.tcb, options, script.nowMs);
  script.poll();
}

test("each option is taken as it is read, and refused by name beyond its limits", () => {
  const script = new Script().accepted();
  const all: Required<TcpOptions> = {
    noDelay: true,
    cork: true,
    quickAck: true,
    keepAlive: true,
    keepAliveIdleMs: 5_000,
    keepAliveIntervalMs: 1_000,
    keepAliveProbes: 4,
    userTimeoutMs: 30_000,
    userTimeoutOption: true,
    userTimeoutAdvertisedMs: 40_000,
    synRetransmitsMax: 3,
    lingerMs: 0,
    finWait2Ms: 7_000,
    receiveBufferBytes: 50_000,
    sendBufferBytes: 60_000,
    congestionControl: "newreno",
    notSentLowWaterBytes: 8_000,
    mssMax: 1_000,
    pathMtuDiscovery: false,
    dscp: 46,
    timeToLive: 3,
  };
  set(script, all);
  expect(tcpGetOptions(script.tcb)).toEqual(all);
  set(script, {});
  expect(tcpGetOptions(script.tcb)).toEqual(all);
  const limits: [keyof TcpOptions, number, number][] = [
    ["keepAliveIdleMs", 1, 32_767_000],
    ["keepAliveIntervalMs", 1, 32_767_000],
    ["keepAliveProbes", 1, 127],
    ["userTimeoutMs", 0, 2 ** 31 - 1],
    ["userTimeoutAdvertisedMs", 0, 32_767 * 60_000],
    ["synRetransmitsMax", 0, 127],
    ["lingerMs", -1, 0],
    ["finWait2Ms", -1, 120_000],
    ["receiveBufferBytes", 2304, BUFFER_BYTES_MAX],
    ["sendBufferBytes", 2304, BUFFER_BYTES_MAX],
    ["notSentLowWaterBytes", 0, 2 ** 32 - 1],
    ["mssMax", 0, 32_767],
    ["dscp", 0, 63],
    ["timeToLive", 1, 255],
  ];
  for (const [name, least, most] of limits) {
    for (const good of [least, most]) expect(() => checkTcpOptions({ [name]: good })).not.toThrow();
    for (const bad of [least - 1, most + 1, NaN]) {
      expect(() => checkTcpOptions({ [name]: bad }), `${name} ${bad}`).toThrow(RangeError);
      expect(() => checkTcpOptions({ [name]: bad })).toThrow(name);
    }
  }
  expect(() => checkTcpOptions({ congestionControl: "bbr" as "cubic" })).toThrow(RangeError);
  expect(() => checkTcpOptions({ mssMax: 87 })).toThrow(RangeError);
  expect(() => checkTcpOptions({ mssMax: 88 })).not.toThrow();
});

test("MUST-48, MUST-49, SHLD-21, SHLD-22: DSCP and TTL can be set, and changed, per connection", () => {
  const script = new Script().accepted();
  set(script, { dscp: 10, timeToLive: 7 });
  script.write(10);
  set(script, { dscp: 63 });
  script.turn(". 1 ack 11");
  script.write(10);
  const sent = script.take(4000).map(({ segment }) => [segment.typeOfService, segment.timeToLive]);
  expect(sent).toEqual([[40, 7], [252, 7]]);
});

test("TCP_CORK holds what is no full segment, for an RTO at most (MUST-60, MAY-16)", () => {
  const script = new Script().accepted("mss 1000");
  set(script, { cork: true });
  script.write(1500);
  script.out(". 1:1001 ack 1");
  script.write(300);
  script.turn(". 1 ack 1001");
  script.out();
  script.write(300);
  script.out(". 1001:2001 ack 1");
  script.turn(". 1 ack 2001");
  script.wait(199);
  script.out();
  script.wait(1);
  script.out("P. 2001:2101 ack 1");
  script.turn(". 1 ack 2101");
  script.write(7);
  script.out();
  set(script, { cork: false });
  script.out("P. 2101:2108 ack 1");
  set(script, { cork: true });
  script.turn(". 1 ack 2108");
  script.write(7);
  script.shutdown();
  script.out("FP. 2108:2115 ack 1");
});

test("TCP_QUICKACK: a delayed ACK leaves now, and so do the next ones", () => {
  const script = new Script({ tcp: { quickAcks: 2 } }).accepted();
  script.turn("P. 1:11 ack 1");
  script.turn("P. 11:21 ack 1");
  script.out(". 1 ack 11", ". 1 ack 21");
  script.turn("P. 21:31 ack 1");
  script.out();
  set(script, { quickAck: true });
  script.out(". 1 ack 31");
  script.turn("P. 31:41 ack 1");
  script.out(". 1 ack 41");
  set(script, { quickAck: false });
  script.turn("P. 41:51 ack 1");
  script.out();
});

test("SO_LINGER with time 0: a close is a reset; without it, a FIN", () => {
  const script = new Script().accepted();
  set(script, { lingerMs: 0 });
  script.write(100);
  script.out("P. 1:101 ack 1");
  script.close();
  script.out("R. 101 ack 1");
  script.gone();
  const other = new Script().accepted();
  set(other, { lingerMs: 0 });
  set(other, { lingerMs: -1 });
  other.close();
  other.out("F. 1 ack 1");
});

test("TCP_LINGER2: how long FIN-WAIT-2 lasts without an application; -1 ends it with RST", () => {
  const script = new Script().accepted();
  set(script, { finWait2Ms: 5_000 });
  script.close();
  script.turn(". 1 ack 2");
  expect(script.state).toBe("finWait2");
  script.wait(4_999);
  expect(script.state).toBe("finWait2");
  script.wait(1);
  script.out("F. 1 ack 1");
  script.gone();

  const none = new Script().accepted();
  set(none, { finWait2Ms: -1 });
  none.close();
  none.turn(". 1 ack 2");
  none.out("F. 1 ack 1", "R 2");
  none.gone();

  const half = new Script().accepted();
  set(half, { finWait2Ms: -1 });
  half.shutdown();
  half.turn(". 1 ack 2");
  expect(half.state).toBe("finWait2"); // somebody still reads
  tcpClose(half.stack.tcp, half.tcb, half.nowMs);
  half.poll();
  half.out("F. 1 ack 1", "R. 2 ack 1");
  half.gone();
});

test("TCP_NOTSENT_LOWAT: so much may be unsent; who waits is told at half of it", () => {
  const script = new Script().accepted("mss 1000", 5000);
  set(script, { notSentLowWaterBytes: 4_000 });
  expect(script.write(3_000)).toBe(3_000); // all of it leaves
  expect(script.write(9_000)).toBe(4_000); // of these, 2,000
  expect(script.tcb.wantsWritable).toBe(true);
  expect(script.heard()).toEqual([]); // half of it is unsent
  script.turn(". 1 ack 1001 win 5000");
  expect(script.heard()).toEqual(["writable"]);
  expect(script.write(9_000)).toBe(3_000);
  set(script, { notSentLowWaterBytes: 0 });
  expect(script.heard()).toEqual(["writable"]);
  expect(script.write(9_000)).toBe(9_000);
});

test("TCP_MAXSEG: the SYN announces no more, and no longer segment is sent", () => {
  const script = new Script();
  script.connect();
  script.learn();
  script.abort();
  const passive = new Script().listen();
  passive.listener!.options = { mssMax: 500, timeToLive: 9 };
  passive.in("S 0 win 65535 <mss 1460>");
  passive.poll();
  passive.out("S. 0 ack 1 <mss 500>");
  passive.turn(". 1 ack 1");
  passive.heard();
  passive.write(1000);
  passive.out(". 1:501 ack 1", "P. 501:1001 ack 1");
  set(passive, { mssMax: 100 });
  passive.turn(". 1 ack 1001");
  passive.write(500);
  passive.out("P. 1001:1501 ack 1"); // too late for it
});

test("MUST-21: a user timeout ends a connection whose window probes are answered, too", () => {
  const script = new Script().accepted("mss 1000", 1000);
  set(script, { userTimeoutMs: 5_000 });
  script.turn(". 1 ack 1 win 0");
  script.write(10);
  const probesAtMs: number[] = [];
  let endAtMs = 0;
  for (let ms = 1; endAtMs === 0; ms++) {
    script.wait(1);
    if (script.tcb.record < 0) endAtMs = ms;
    for (const { atMs } of script.take(4000)) {
      probesAtMs.push(atMs);
      script.turn(". 1 ack 1 win 0");
    }
  }
  expect(script.heard()).toEqual(["closed timedOut"]);
  // After 200 ms the first probe, and 5 s later the end, to the millisecond.
  expect(probesAtMs).toEqual([200, 600, 1_400, 3_000]);
  expect(endAtMs).toBe(5_200);
});

test("with a user timeout, that and not the count of probes ends a silent connection (RFC 5482, as in Linux)", () => {
  const script = new Script().accepted();
  set(script, {
    keepAlive: true,
    keepAliveIdleMs: 1_000,
    keepAliveIntervalMs: 1_000,
    keepAliveProbes: 2,
    userTimeoutMs: 4_500,
  });
  script.wait(4_999);
  expect(script.state).toBe("established");
  script.wait(1);
  expect(script.heard()).toEqual(["closed timedOut"]);
  script.outAt("1000 . 0 ack 1", "2000 . 0 ack 1", "3000 . 0 ack 1", "4000 . 0 ack 1", "5000 R. 1 ack 1");
});

test("SHLD-9, SHLD-10: the application is told of trouble at R1, three retransmissions, long before R2", () => {
  const script = new Script().accepted();
  script.write(10);
  script.wait(1_399);
  expect(script.heard()).toEqual([]);
  script.wait(1);
  expect(script.heard()).toEqual(["trouble"]);
  expect(script.tcb.retransmits).toBe(3);
  script.turn(". 1 ack 11");
  expect(script.heard()).toEqual([]);
});

test("TCP_NODELAY lets out what a cork holds, once (as in Linux)", () => {
  const script = new Script().accepted("mss 1000");
  set(script, { cork: true });
  script.write(40);
  script.write(40);
  script.out();
  set(script, { noDelay: true });
  script.out("P. 1:81 ack 1");
  script.turn(". 1 ack 81");
  script.write(40);
  script.out();
});

test("MSG_MORE: a small segment waits for what follows, without PSH, until an ACK or an RTO (MAY-15, MAY-16, MUST-60)", () => {
  const script = new Script().accepted("mss 1000");
  const { tcp } = script.stack;
  let at = 1;
  const send = (count: number, more: boolean): void => {
    expect(tcpSend(tcp, script.tcb, streamBytes(at, count), 0, count, more)).toBe(count);
    at += count;
    script.poll();
  };
  send(40, true);
  script.wait(199);
  script.out();
  script.wait(1);
  script.out("P. 1:41 ack 1");
  script.turn(". 1 ack 41");
  send(20, true);
  send(20, false);
  script.out("P. 41:81 ack 1");
  script.turn(". 1 ack 81");
  send(1050, true);
  script.out(". 81:1081 ack 1");
  send(5, true);
  script.turn(". 1 ack 1081");
  script.out(". 1081:1136 ack 1");
});

test("the end of the stream leaves though the congestion window is full (as in Linux)", () => {
  const script = new Script({ tcp: { initialWindowSegments: 2 } }).accepted("mss 1000");
  script.write(2000);
  script.shutdown();
  script.out(". 1:1001 ack 1", "P. 1001:2001 ack 1", "F. 2001 ack 1");
  const other = new Script({ tcp: { initialWindowSegments: 2 } }).accepted("mss 1000");
  other.write(3001);
  other.shutdown();
  other.out(". 1:1001 ack 1", ". 1001:2001 ack 1"); // more than one segment: it waits
});
