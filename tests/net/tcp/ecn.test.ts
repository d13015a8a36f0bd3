import { expect, test } from "vitest";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { tcpInfo, TcpInfoOption } from "../../../net/tcp/info.ts";
import { Script, type ScriptOptions } from "./script.ts";

const CE = 3, ECT0 = 2;
const ON = { tcp: { ecn: 1 } };

/** A connection with ECN, opened by the peer. */
function accepted(options: ScriptOptions = ON): Script {
  const script = new Script(options);
  script.listen();
  script.turn("SEW 0 win 65535 <mss 1000,sackOK>");
  script.out("S.E 0 ack 1");
  script.turn(". 1 ack 1");
  script.heard();
  return script;
}

/** The ECN bits of what has left. */
function marks(script: Script): number[] {
  return script.take(4000).map(({ segment }) => segment.typeOfService & 3);
}

function ecnOf(script: Script): number {
  return tcpInfo(script.stack.tcp, script.tcb, script.nowMs).options &
    (TcpInfoOption.ecn | TcpInfoOption.ecnSeen);
}

test("SHLD-8, RFC 3168 section 6.1.1: we ask with ECE and CWR, ECE alone agrees, and the SYN is not marked", () => {
  const script = new Script(ON);
  script.connect();
  expect(script.stack.tcp.config.ecn).toBe(1);
  const { segment } = script.take(4000)[0]!;
  expect([segment.flags, segment.typeOfService]).toEqual(["SEW", 0]);
  for (
    const [flags, agreed] of [["S.E", true], ["S.", false], ["S.EW", false], ["S.W", false]] as const
  ) {
    const other = new Script(ON);
    other.connect();
    other.learn();
    other.turn(`${flags} 0 ack 1 <mss 1000>`);
    expect(ecnOf(other) !== 0, flags).toBe(agreed);
    other.out(". 1 ack 1");
    other.write(10);
    expect(marks(other)).toEqual([agreed ? ECT0 : 0]);
  }
});

test("RFC 3168 section 6.1.1: a listener agrees to what it may, and to unmarked SYNs only", () => {
  for (const [ecn, agreed] of [[0, false], [1, true], [2, true]] as const) {
    const script = new Script({ tcp: { ecn } }).listen();
    script.turn("SEW 0 <mss 1000>");
    script.out(agreed ? "S.E 0 ack 1" : "S. 0 ack 1");
  }
  const plain = new Script(ON).listen();
  plain.turn("SE 0 <mss 1000>");
  plain.out("S. 0 ack 1");
  const marked = new Script(ON).listen();
  marked.turn("SEW 0 <mss 1000>", ECT0);
  marked.out("S. 0 ack 1");
  const passive = new Script(); // by default we agree, and do not ask
  passive.connect();
  passive.out("S 0");
});

test("RFC 3168 section 6.1.1.1: a SYN that is sent again does not ask; a late yes still counts", () => {
  const script = new Script(ON);
  script.connect();
  script.out("SEW 0");
  script.wait(1_000);
  script.out("S 0");
  script.turn("S.E 0 ack 1 <mss 1000>");
  expect(ecnOf(script)).toBe(TcpInfoOption.ecn);
  const answered = new Script(ON);
  answered.listen();
  answered.turn("SEW 0 <mss 1000>");
  answered.out("S.E 0 ack 1");
  answered.wait(1_000);
  answered.out("S.E 0 ack 1");
});

test("RFC 3168 sections 6.1.4 and 6.1.5: new data is ECT(0); ACKs, retransmissions and probes are not marked", () => {
  const script = accepted();
  script.write(2000);
  expect(marks(script)).toEqual([ECT0, ECT0]);
  script.wait(1_000);
  const again = marks(script);
  expect(again.length).toBeGreaterThan(0);
  expect(new Set(again)).toEqual(new Set([0]));
  script.turn(". 1 ack 2001 win 0");
  script.turn("P. 1:11 ack 2001 win 0");
  script.write(10);
  script.wait(400);
  expect(new Set(marks(script))).toEqual(new Set([0]));
});

test("RFC 3168 section 6.1.3: a mark is echoed in every segment until CWR, at once, and again for the next mark", () => {
  const script = accepted({ tcp: { ecn: 1, quickAcks: 0 } });
  script.turn("P. 1:11 ack 1", ECT0);
  expect(ecnOf(script)).toBe(TcpInfoOption.ecn | TcpInfoOption.ecnSeen);
  script.wait(40);
  script.out(". 1 ack 11");
  script.turn("P. 11:21 ack 1", CE);
  script.out(".E 1 ack 21"); // not delayed
  script.turn("P. 21:31 ack 1", ECT0);
  script.write(10);
  expect(script.take(4000).every(({ segment }) => segment.flags.includes("E"))).toBe(true);
  script.turn("P.W 31:41 ack 11", ECT0);
  script.out(". 11 ack 41"); // the peer's window may be one segment: it does not wait for us
  script.turn("P.W 41:51 ack 11", CE); // CWR of an older mark, and a new one
  script.out(".E 11 ack 51");
  expect(script.tcb.ecnEcho).toBe(true);
});

test("RFC 3168 section 6.1.2: an echo halves the window once per window of data, and CWR says so once", () => {
  const script = accepted({ tcp: { ecn: 1, congestionControl: "newreno" } });
  script.write(10_000);
  expect(marks(script).length).toBe(10);
  script.turn(".E 1 ack 1001");
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs)).toMatchObject({
    caState: 2,
    sndSsthresh: 4,
    deliveredCe: 1,
  });
  script.write(20_000);
  for (let at = 2001; at <= 10_001; at += 1000) script.turn(`.E 1 ack ${at}`);
  const sent = script.take(4000).map(({ segment }) => segment.flags);
  expect(sent[0]).toContain("W");
  expect(sent.slice(1).join("")).not.toContain("W");
  const info = tcpInfo(script.stack.tcp, script.tcb, script.nowMs);
  expect(info).toMatchObject({ sndSsthresh: 4, deliveredCe: 10, totalRetrans: 0 });
  expect(info.sndCwnd).toBe(4);
  script.turn(". 1 ack 12001");
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs).caState).toBe(0);
  script.turn(".E 1 ack 13001"); // the next window: once more
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs).caState).toBe(2);
});

test("without ECN no flag of it is sent, and none believed", () => {
  const script = new Script().accepted("mss 1000");
  script.write(2000);
  script.turn("P.EW 1:11 ack 1001", CE);
  script.turn("P. 11:21 ack 2001", CE);
  script.wait(100);
  expect(script.take(4000).every(({ segment }) => !/[EW]/.test(segment.flags))).toBe(true);
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs)).toMatchObject({ caState: 0, deliveredCe: 0 });
});

test("ECN survives sleep: what was agreed, what is echoed, and the CWR that is owed", () => {
  const script = accepted({ tcp: { ecn: 1, quickAcks: 0 } });
  script.in("P. 1:11 ack 1");
  script.turn("P. 11:21 ack 1", CE);
  script.write(3000);
  script.turn(".E 21 ack 1001");
  script.take(4000);
  const frozen = freezeTcb(script.tcb, script.nowMs);
  const place = frozenTcbFields.indexOf("ecnState");
  expect(frozen[place]).toEqual([15, 1]);
  const { tcb } = script;
  tcb.ecnOk =
    tcb.ecnSeen =
    tcb.ecnEcho =
    tcb.ecnReduced =
      false;
  tcb.deliveredCe = 0;
  thawTcb(frozen, tcb, script.stack.tcp.config, script.nowMs);
  script.turn(". 21 ack 3001");
  script.take(4000);
  script.write(100);
  const { segment } = script.take(4000)[0]!;
  expect([segment.flags, segment.typeOfService]).toEqual(["P.EW", ECT0]);
});
