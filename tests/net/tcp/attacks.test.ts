import { expect, test } from "vitest";
import { ChallengeLimit } from "../../../net/tcp/challenge.ts";
import { TcpSecrets } from "../../../net/tcp/secrets.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { Prng } from "../../../base/random.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { LOCAL, REMOTE, REMOTE_PORT, Script, type ScriptOptions } from "./script.ts";
import { obviousChecksum, pseudoHeader } from "./checker.ts";

/** A passive connection that waits for the ACK of its SYN-ACK. */
function halfOpen(options: ScriptOptions = {}, syn = "mss 1460"): Script {
  const s = new Script(options).listen();
  s.turn(`S 0 <${syn}>`);
  s.learn();
  return s;
}

/** A connection whose both sides are closed, ours first. */
function timeWait(options: ScriptOptions = {}, syn = "mss 1460"): Script {
  const s = new Script(options).accepted(syn);
  s.shutdown();
  s.turn(`F. 1 ack 2${syn.includes("TS") ? " <TS 105 1>" : ""}`);
  s.take(REMOTE_PORT);
  s.heard();
  expect(s.state).toBe("timeWait");
  return s;
}

test("a SYN in the window of a half-open passive connection: back to LISTEN without a word (RFC 9293 section 3.10.7.4)", () => {
  const s = halfOpen();
  s.turn("S 500 <mss 1460>");
  s.out();
  s.gone();
  expect(s.stack.tcp.counters.embryonicRsts).toBe(1);
  s.turn("S 500 <mss 1460>"); // the peer has restarted, and tries again
  s.main.isn += 500;
  s.out("S. 0 ack 1");

  const outside = halfOpen();
  outside.turn("S 70000 <mss 1460>");
  outside.out(". 1 ack 1");
  expect(outside.listener!.pending).toBe(1);
});

test("a SYN in the window of a half-open active connection gets a challenge ACK (RFC 5961 section 4)", () => {
  const s = new Script().connect();
  s.learn();
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn("S 500 <mss 1460>");
  s.out(". 1 ack 1");
  expect(s.state).toBe("synReceived");
});

test("a SYN-ACK for a half-open passive connection opens nothing: it lies before the window (RFC 9293 section 3.10.7.4)", () => {
  const s = halfOpen();
  s.turn("S. 0 ack 1 <mss 1460>");
  s.out(". 1 ack 1");
  expect(s.listener!.pending).toBe(1);
  s.turn(". 1 ack 1");
  expect(s.state).toBe("established");
});

test("RST in SYN-RECEIVED: exact ends it, in the window gets a challenge ACK, elsewhere nothing (RFC 5961 section 3.2, MUST-11)", () => {
  const s = halfOpen();
  s.turn("R 70000");
  s.turn("R 0");
  s.out();
  s.turn("R 2");
  s.out(". 1 ack 1");
  expect(s.listener!.pending).toBe(1);
  s.turn("R 1");
  s.out();
  s.gone();
});

test("an RST with SYN is an RST, whoever opened: never an answer, and none at the SYN's number is believed (RFC 5961 section 3.2)", () => {
  const passive = halfOpen();
  passive.turn("SR 0");
  passive.turn("SR. 0 ack 1");
  passive.out();
  expect(passive.listener!.pending).toBe(1);
  const active = new Script().connect();
  active.learn();
  active.turn("S 0 <mss 1460>");
  active.out("S. 0 ack 1");
  active.turn("SR. 0 ack 1");
  active.out();
  expect(active.state).toBe("synReceived");
});

test("a half-open connection answers from SND.NXT, whatever window the SYN had (RFC 9293 section 3.10.7.4)", () => {
  const s = new Script().listen();
  s.turn("S 0 win 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn("R 2");
  s.out(". 1 ack 1");
});

test("SYN-ACK for a passive open is old, and is no ACK of our SYN-ACK (RFC 9293 section 3.10.7.4, first step)", () => {
  const s = halfOpen();
  s.turn("S. 0 ack 1 <mss 1460>");
  s.out(". 1 ack 1");
  expect(s.listener!.pending).toBe(1);
});

test("RST at the end of what came ahead of a hole is exact, where SACK tells the peer of it; elsewhere above the hole it is not (RFC 5961 section 3.2)", () => {
  const cases = [
    ["R 301", ". 251:301 ack 1", "sackOK", true],
    ["R 201", ". 251:301 ack 1", "sackOK", false],
    ["R 300", ". 251:301 ack 1", "sackOK", false],
    ["R 302", ". 251:301 ack 1", "sackOK", false],
    ["R 301", ". 251:301 ack 1", "nop", false],
    ["R 302", "F. 251:301 ack 1", "sackOK", true], // behind the FIN
    ["R 301", "F. 251:301 ack 1", "sackOK", false],
    ["R 252", "F. 251 ack 1", "sackOK", true],
  ] as const;
  for (const [reset, last, option, ends] of cases) {
    const s = new Script().accepted(`mss 1460,${option}`);
    s.turn(". 101:201 ack 1");
    s.turn(last);
    s.take(REMOTE_PORT);
    s.turn(reset);
    expect(s.heard(), reset).toEqual(ends ? ["closed reset"] : []);
  }
});

test("RST at the number of the peer's FIN resets a connection that has taken the FIN, as macOS means it", () => {
  const s = new Script().accepted();
  s.turn("F. 1 ack 1");
  s.take(REMOTE_PORT);
  s.turn("R 0"); // one below the FIN
  expect(s.state).toBe("closeWait");
  s.turn("R 1");
  expect(s.heard()).toContain("closed reset");
  const open = new Script().accepted();
  open.turn("P. 1:11 ack 1");
  open.take(REMOTE_PORT);
  open.turn("R 10"); // no FIN: outside the window
  expect(open.state).toBe("established");
});

test("an ACK from before the connection's start is never right, whatever the peer's window was (RFC 5961 section 5.2)", () => {
  const s = new Script().accepted();
  s.turn("P. 1:11 ack 0"); // SND.UNA - MAX.SND.WND would let it in
  s.out(". 1 ack 1");
  expect([s.tcb.bytesIn, s.drops()]).toEqual([0, { TcpBadAck: 1 }]);
  s.turn("P. 1:11 ack 1");
  expect(s.tcb.bytesIn).toBe(10);
});

test("challenge ACKs of one connection: one in half a second, whatever asks for it (RFC 5961 section 7)", () => {
  const s = new Script().accepted();
  for (const noise of ["R 2", "S 1", "S 900000:900010", ". 1 ack 99", ". 900000 ack 1", "S. 0:5 ack 1"]) {
    s.turn(noise);
  }
  expect(s.take(REMOTE_PORT)).toHaveLength(1);
  s.wait(499);
  s.turn("R 2");
  s.out();
  s.wait(1);
  s.turn("R 2");
  s.out(". 1 ack 1");
  s.turn(". 900000:900010 ack 1"); // data is no part of a loop of ACKs: always answered
  s.turn("F. 900000 ack 1");
  s.out(". 1 ack 1", ". 1 ack 1");
  expect(s.stack.tcp.counters).toMatchObject({ challengeAck: 2, ackSkippedChallenge: 6 });
});

test("challenge ACKs of all connections: as many as configured in a second on average, drawn anew each second (RFC 5961 section 7, CVE-2016-5696)", () => {
  const limit = new ChallengeLimit(new TcpSecrets(new Prng(7)));
  const counts = Array.from({ length: 500 }, (_, second) => {
    let count = 0;
    while (limit.take(100, second * 1_000 + (count % 1_000))) count++;
    return count;
  });
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(50);
  expect(Math.max(...counts)).toBeLessThan(150);
  expect(new Set(counts).size).toBeGreaterThan(50);
  expect(counts.reduce((sum, count) => sum + count) / counts.length).toBeCloseTo(100, -1);
  expect(Array.from({ length: 5 }, (_, second) => limit.take(0, second * 1000))).toEqual(
    Array(5).fill(false),
  );

  const s = new Script({ tcp: { challengeAcksPerSecondMax: 4 } }).listen(50);
  const peers = Array.from({ length: 40 }, (_, port) => s.peer(5_000 + port));
  for (const peer of peers) {
    peer.turn("S 0 <mss 1460>");
    s.take(peer.port).forEach(({ segment }) => void peer.show(segment, ""));
    peer.turn(". 1 ack 1");
  }
  for (const peer of peers) peer.turn("R 2");
  const { challengeAck, ackSkippedChallenge } = s.stack.tcp.counters;
  expect(challengeAck).toBeGreaterThanOrEqual(2);
  expect(challengeAck).toBeLessThan(6);
  expect(challengeAck + ackSkippedChallenge).toBe(40);
});

test("RST in TIME-WAIT ends it (RFC 9293), or does not where RFC 1337 is followed", () => {
  const s = timeWait();
  s.turn("R 2");
  s.gone();
  const kept = timeWait({ tcp: { rfc1337: true } });
  kept.turn("R 2");
  expect(kept.state).toBe("timeWait");
  kept.wait(60_000);
  kept.gone();
});

test("TIME-WAIT has room for so many; one more is forgotten when its last ACK has left", () => {
  const s = new Script({ tcp: { timeWaitsMax: 2 } }).listen(9);
  for (const port of [1, 2, 3]) {
    const peer = s.peer(port);
    peer.turn("S 0 <mss 1460>");
    peer.out("S. 0 ack 1");
    peer.turn(". 1 ack 1");
    s.shutdown();
    peer.turn("F. 1 ack 2");
    peer.out("F. 1 ack 1", ". 2 ack 2");
  }
  s.wait(1);
  expect([s.stack.tcp.awake, s.stack.tcp.timeWaits, s.stack.tcp.counters.timeWaitOverflow]).toEqual([
    2,
    2,
    1,
  ]);
  s.peer(3).turn("F. 1 ack 2"); // forgotten
  expect(s.take(3).map(({ segment }) => segment.flags)).toEqual(["R"]);
  s.wait(60_000);
  expect([s.stack.tcp.awake, s.stack.tcp.timeWaits]).toEqual([0, 0]);
});

test("an active open takes ports that are in TIME-WAIT, when timestamps tell the two connections apart (RFC 6191)", () => {
  const open = (s: Script): boolean => {
    const tcb = tcpConnect(s.stack.tcp, parseIpv4(LOCAL)!, 80, parseIpv4(REMOTE)!, REMOTE_PORT, s.nowMs);
    s.poll();
    return tcb !== undefined;
  };
  const stamped = "mss 1460,TS 100 0";
  const s = timeWait({ tcp: { timeWaitReuse: 1 } }, stamped);
  const { sndMax } = s.tcb;
  expect(open(s)).toBe(false); // the same second
  s.wait(1_000);
  expect(open(s)).toBe(false);
  s.wait(1);
  expect(open(s)).toBe(true);
  const [syn] = s.take(REMOTE_PORT);
  expect(syn!.segment.flags).toBe("S");
  expect((syn!.segment.sequence - sndMax) | 0).toBeGreaterThan(65_535);
  expect([s.stack.tcp.awake, s.stack.tcp.timeWaits, s.stack.tcp.counters.twRecycled]).toEqual([1, 0, 1]);

  const hasty = timeWait({ tcp: { timeWaitReuse: 1, timeWaitReuseDelayMs: 5 } }, stamped);
  hasty.wait(5);
  expect(open(hasty)).toBe(false);
  hasty.wait(1);
  expect(open(hasty)).toBe(true);

  for (
    const [tcp, syn] of [[{ timeWaitReuse: 1 }, "mss 1460"], [{}, stamped], [
      { timeWaitReuse: 0 },
      stamped,
    ]] as const
  ) {
    const kept = timeWait({ tcp }, syn);
    kept.wait(5_000);
    expect(open(kept)).toBe(false);
    expect(kept.state).toBe("timeWait");
  }
});

test("a SYN-ACK that echoes a timestamp we never sent is of another connection: RST, and we go on waiting (RFC 7323 section 5.1)", () => {
  for (
    const [echo, good] of [[1, true], [0, true], [2, false], [-1, false], [3001, true], [
      3002,
      false,
    ]] as const
  ) {
    const s = new Script().connect();
    s.learn();
    if (echo > 3000) s.wait(3_000);
    s.take(REMOTE_PORT);
    s.turn(`S. 0 ack 1 <mss 1460,TS 100 ${echo}>`);
    expect(s.state, `${echo}`).toBe(good ? "established" : "synSent");
    if (!good) s.out("R 1");
  }
});

test("the ACK that opens a connection echoes our SYN-ACK, or it is a guess and gets an ACK", () => {
  for (
    const [echo, good] of [[1, true], [0, true], [2, false], [-1, false], [501, true], [502, false]] as const
  ) {
    const s = new Script({ tcp: { challengeAckMs: 0 } }).listen();
    s.turn("S 0 <mss 1460,TS 100 0>");
    s.out("S. 0 ack 1 <mss 1460,TS 1 100>");
    if (echo > 500) s.wait(500);
    s.turn(`P. 1:11 ack 1 <TS 101 ${echo}>`);
    expect(s.listener!.pending, `${echo}`).toBe(good ? 0 : 1);
    s.out(good ? ". 1 ack 11" : ". 1 ack 1");
  }
});

test("TS.Recent: taken from what reaches to the last ACK sent, not from what lies beyond; outdated after 24 days (RFC 7323 sections 4.3 and 5.5)", () => {
  const s = new Script({ tcp: { quickAcks: 0 } }).accepted("mss 1460,TS 1000 0");
  s.turn("P. 1:11 ack 1 <TS 1005 1>"); // from Last.ACK.sent on
  expect(s.tcb.tsRecent).toBe(1005);
  s.turn("P. 11:21 ack 1 <TS 1006 1>"); // in order, but the ACK of what is before it has not left
  expect(s.tcb.tsRecent).toBe(1005);
  s.wait(40);
  s.out(". 1 ack 21 <TS 41 1005>");
  s.turn("P. 11:31 ack 1 <TS 1007 1>"); // from before it
  expect(s.tcb.tsRecent).toBe(1007);
  s.wait(24 * 86_400_000 - 50);
  s.take(REMOTE_PORT);
  s.turn("P. 31:41 ack 1 <TS 5 1>");
  expect(s.tcb.bytesIn).toBe(30);
  s.wait(50);
  s.turn("P. 31:41 ack 1 <TS 5 1>");
  expect([s.tcb.bytesIn, s.tcb.tsRecent]).toEqual([40, 5]);
  s.turn("P. 41:51 ack 1 <TS 4 1>"); // young again
  expect(s.tcb.bytesIn).toBe(40);
});

test("RST is judged without timestamps, and with old ones (RFC 7323 section 5.2)", () => {
  for (const reset of ["R 1", "R 1 <TS 1 0>", "R. 1 ack 1 <TS 999 1>"]) {
    const s = new Script().accepted("mss 1460,TS 1000 0");
    s.turn(reset);
    expect(s.heard(), reset).toEqual(["closed reset"]);
  }
});

test("segments without the timestamp that was agreed on are dropped silently, or taken where that is asked for (RFC 7323 section 3.2)", () => {
  for (const tolerateMissingTimestamps of [false, true]) {
    const s = new Script({ tcp: { tolerateMissingTimestamps } }).accepted("mss 1460,TS 1000 0");
    s.turn("P. 1:11 ack 1");
    expect(s.take(REMOTE_PORT).length).toBe(tolerateMissingTimestamps ? 1 : 0);
    expect([s.tcb.bytesIn, s.tcb.tsRecent]).toEqual([tolerateMissingTimestamps ? 10 : 0, 1000]);
  }
});

test("data on a SYN without Fast Open is not taken, and not acknowledged: it comes again (RFC 9293 section 3.4)", () => {
  const s = new Script().listen();
  s.turn("S 0:100 <mss 1460>");
  s.out("S. 0 ack 1");
  s.turn("P. 1:101 ack 1");
  s.out(". 1 ack 101");
});

test("Christmas trees and their kin find LISTEN deaf, and a connection unmoved", () => {
  const s = new Script().listen();
  for (const flags of ["SF", "SFP", "SFPU", "SFRPU", "SR", "FPU", "-", "F", "P", "U", "FPUEW", "E"]) {
    s.turn(`${flags} 0 <mss 1460>`);
    s.out();
  }
  s.gone();
  s.turn("SEWPU 0 <mss 1460>"); // odd, but a SYN that asks for ECN
  s.out("S.E 0 ack 1");

  const open = new Script().accepted();
  for (const flags of ["FPU", "-", "U", "SFPU", "SF."]) open.turn(`${flags} 1 ack 1`);
  expect([open.state, open.tcb.finReceived]).toEqual(["established", false]);
  expect(open.take(REMOTE_PORT)).toHaveLength(1); // one challenge ACK for the SYNs
});

test("a land attack, and sources that nobody can have, get no answer (RFC 9293 section 3.9.2.3, MUST-57, MUST-63)", () => {
  const sources = [
    "10.0.0.1",
    "127.0.0.1",
    "10.0.0.255",
    "255.255.255.255",
    "224.0.0.1",
    "0.0.0.0",
    "240.0.0.1",
  ];
  const destinations = ["10.0.0.255", "255.255.255.255", "224.0.0.1", "10.0.0.0"];
  const pairs = [...sources.map((source) => [source, LOCAL]), ...destinations.map((to) => [REMOTE, to])];
  for (const [source, destination] of pairs) {
    for (const text of ["S 0 <mss 1460>", ". 5 ack 7", "F. 5 ack 7"]) {
      const s = new Script().listen();
      for (const port of [REMOTE_PORT, 80]) {
        const packet = s.peer(port).packet(text);
        address(packet, source!, destination!);
        s.receive(packet);
      }
      s.poll();
      expect([s.take(REMOTE_PORT), s.take(80), s.others], `${source} ${destination}`).toEqual([[], [], []]);
      s.gone();
    }
  }
});

test("a port of zero on either side gets no answer, open or not", () => {
  const s = new Script().listen();
  for (const at of [20, 22]) {
    for (const text of ["S 0 <mss 1460>", ". 5 ack 7"]) {
      const packet = s.main.packet(text);
      packet[at] = packet[at + 1] = 0;
      checksums(packet);
      s.receive(packet);
    }
  }
  s.poll();
  s.out();
  expect(s.drops()).toEqual({ TcpPort: 4 });
});

test("a lying data offset, a bad checksum, and what is too short are dropped without an answer (MUST-3)", () => {
  const s = new Script().listen();
  for (const words of [0, 1, 4, 7, 15]) {
    const packet = s.main.packet("S 0 <mss 1460>");
    packet[32] = words << 4;
    checksums(packet);
    s.receive(packet);
  }
  for (let bit = 0; bit < 8 * 24; bit += 5) {
    const packet = s.main.packet("S 0 <mss 1460>");
    packet[20 + (bit >>> 3)]! ^= 1 << (bit & 7);
    s.receive(packet);
  }
  for (let length = 20; length < 40; length++) {
    const packet = s.main.packet("S 0").slice(0, length);
    packet[3] = length;
    checksums(packet);
    s.receive(packet);
  }
  s.poll();
  expect([s.take(REMOTE_PORT), s.others]).toEqual([[], []]);
  s.gone();
});

test("illegal options end nothing but the reading of options (MUST-6, MUST-7, MUST-64)", () => {
  const s = new Script().listen(99);
  const cases: [options: string, mss: number][] = [
    ["raw 2 0 5 b4", 536],
    ["raw 2 1 5 b4", 536],
    ["raw 2 3 5 b4", 536],
    ["raw 2 ff 5 b4", 536],
    ["raw c8 6 1 2 3 4,mss 1000", 1000],
    ["nop,mss 1000,nop,raw 8 a", 1000],
    ["raw 1 1 1 2 4 3 e8 8", 1000],
    ["eol,mss 1000", 536],
    ["raw 3 3", 536],
    ["raw fe 0", 536],
    ["raw 22 1", 536],
  ];
  cases.forEach(([options, mss], at) => {
    const peer = s.peer(5_000 + at);
    peer.turn(`S 0 <${options}>`);
    peer.out("S. 0 ack 1");
    peer.turn(`. 1 ack 1 <${options}>`);
    expect([s.state, s.tcb.peerMss], options).toEqual(["established", mss]);
    peer.turn(`P. 1:11 ack 1 <${options}>`);
    expect(s.tcb.bytesIn, options).toBe(10);
    s.listener!.waiting = 0;
  });
});

test("options in a simultaneous open: only what both SYNs had is used (MUST-10, RFC 7323 section 2.2)", () => {
  for (
    const options of [
      "mss 1000,TS 7 0,nop,wscale 3",
      "mss 1000,nop,wscale 3",
      "mss 1000,TS 7 0",
      "mss 1000",
      "",
    ]
  ) {
    for (const bare of [false, true]) {
      const s = new Script().connect();
      s.learn();
      s.turn(`S 0 <${options}>`);
      const [answer] = s.take(REMOTE_PORT);
      const text = s.main.show(answer!.segment, "<");
      expect(text.includes("TS 1 7"), text).toBe(options.includes("TS"));
      expect(text.includes("wscale 7"), text).toBe(options.includes("wscale"));
      const stamp = options.includes("TS") ? " <TS 8 1>" : "";
      s.turn(bare ? `. 1 ack 1${stamp}` : `S. 0 ack 1 <${options.replace("TS 7 0", "TS 8 1")}>`);
      expect(s.state, `${options} ${bare}`).toBe("established");
      s.take(REMOTE_PORT);
      s.turn(`P. 1:11 ack 1 win 100${stamp}`);
      expect([s.tcb.bytesIn, s.tcb.sndWnd]).toEqual([10, options.includes("wscale") ? 800 : 100]);
    }
  }
});

test("a simultaneous close in every order of FIN and ACK (figure 13)", () => {
  const orders: [segments: string[], states: string[]][] = [
    [["F. 1 ack 1", ". 2 ack 2"], ["closing", "timeWait"]],
    [["F. 1 ack 2"], ["timeWait"]],
    [[". 1 ack 2", "F. 1 ack 2"], ["finWait2", "timeWait"]],
    [["F. 1 ack 1", "F. 1 ack 2", ". 2 ack 2"], ["closing", "timeWait", "timeWait"]], // the last segment's ACK is heard again
    [["FP. 1:11 ack 1", ". 12 ack 2"], ["closing", "timeWait"]],
    [["F. 11 ack 1", "P. 1:11 ack 2"], ["finWait1", "timeWait"]],
  ];
  for (const [segments, states] of orders) {
    const s = new Script().accepted();
    s.shutdown();
    segments.forEach((segment, at) => {
      s.turn(segment);
      expect(s.state, segments.join("; ")).toBe(states[at]);
    });
    s.read();
    s.wait(60_000);
    s.gone();
  }
});

/** Rewrites the addresses of a packet. */
function address(packet: Uint8Array, source: string, destination: string): void {
  const view = new DataView(packet.buffer);
  view.setInt32(12, parseIpv4(source)!);
  view.setInt32(16, parseIpv4(destination)!);
  checksums(packet);
}

function checksums(packet: Uint8Array): void {
  const view = new DataView(packet.buffer);
  view.setUint16(10, 0);
  view.setUint16(10, obviousChecksum(packet.subarray(0, 20)));
  if (packet.length < 38) return;
  view.setUint16(36, 0);
  view.setUint16(36, obviousChecksum(pseudoHeader(packet, 6, packet.length - 20), packet.subarray(20)));
}
