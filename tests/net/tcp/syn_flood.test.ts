import { expect, test } from "vitest";
import { parseIpv4 } from "../../../net/wire/address.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { LOCAL, type Peer, REMOTE, Script } from "./script.ts";

/** A listener whose SYN queue is full: `count` handshakes have begun and nobody goes on. */
function flooded(count = 2, tcp: Partial<TcpConfig> = {}): Script {
  const s = new Script({ tcp }).listen(count);
  for (let port = 0; port < count; port++) {
    const peer = s.peer(10_000 + port);
    peer.turn("S 0 <mss 1460>");
    peer.out("S. 0 ack 1");
  }
  expect(s.listener!.pending).toBe(count);
  return s;
}

/** The SYN-ACK that left for `peer`, if any; learns our ISN and timestamp from it. */
function answer(s: Script, peer: Peer): string | undefined {
  const [frame] = s.take(peer.port);
  return frame === undefined ? undefined : peer.show(frame.segment, "<");
}

test("a full SYN queue: cookies keep no state, and the ACK that brings one back is a connection (RFC 4987 section 3.6)", () => {
  const s = flooded();
  const { size } = s.stack.connections;
  for (let round = 0; round < 50; round++) s.turn("S 0 <mss 1460>");
  expect([s.stack.connections.size, s.listener!.pending, s.stack.tcp.awake]).toEqual([size, 2, 2]);
  expect(s.take(4000)).toHaveLength(50);
  s.turn("S 0 <mss 1460,nop,wscale 7>");
  expect(answer(s, s.main)).toBe("S. 0 ack 1 <mss 1460>"); // no timestamp: no place for a window scale
  s.wait(5_000); // a cookie is not sent again
  s.out();
  s.turn("P. 1:101 ack 1"); // data comes with the ACK
  expect(s.heard()).toContain("established readable writable");
  s.out(". 1 ack 101");
  expect(s.tcb).toMatchObject({ sndShift: 0, rcvShift: -1, timestamps: false, sndMss: 1460 });
  expect(s.read()).toBe(100);
  s.write(10);
  s.out("P. 1:11 ack 101");
  expect(s.stack.tcp.counters).toMatchObject({ syncookiesSent: 51, syncookiesRecv: 1, syncookiesFailed: 0 });
});

test("a cookie rounds the MSS down to one of four (RFC 4987)", () => {
  const found = [300, 536, 1299, 1300, 1439, 1440, 1459, 1460, 9000].map((mss) => {
    const s = flooded();
    s.turn(`S 0 <mss ${mss}>`);
    answer(s, s.main);
    s.turn(". 1 ack 1");
    return s.tcb.peerMss;
  });
  expect(found).toEqual([536, 536, 536, 1300, 1300, 1440, 1440, 1460, 1460]);
});

test("with timestamps a cookie keeps the options in the low bits of ours, which never runs ahead (RFC 7323)", () => {
  for (const [scale, kept] of [[undefined, 0], [0, 0], [7, 7], [14, 14]] as const) {
    const s = flooded(2);
    for (let round = 0; round < 70; round++) {
      const nowMs = s.nowMs;
      const peer = s.peer(5_000 + round);
      peer.turn(`S 0 <mss 1460,TS 100 0${scale === undefined ? "" : `,nop,wscale ${scale}`}>`);
      const text = answer(s, peer)!;
      expect(text.includes("wscale"), text).toBe(scale !== undefined);
      const offset = s.stack.tcp.secrets.timestampOffset(parseIpv4(LOCAL)!, parseIpv4(REMOTE)!);
      const agoMs = (Math.floor(nowMs) + offset - (peer.tsBase! + 1)) | 0;
      expect(agoMs).toBeGreaterThanOrEqual(0);
      expect(agoMs).toBeLessThan(64);
      s.wait(1);
      peer.turn("P. 1:11 ack 1 win 500 <TS 101 1>");
      s.listener!.waiting = 0;
      expect(s.tcb).toMatchObject({ timestamps: true, sndShift: kept, state: 3, sndMss: 1448 });
      expect(s.tcb.rcvShift).toBe(scale === undefined ? -1 : 7); // ours is chosen anew
      expect(s.tcb.srttUs).toBe(-1); // what comes back tells no round-trip time
      expect(s.tcb.rtoMs).toBe(1_000);
      s.take(peer.port);
      s.heard();
    }
  }
});

test("a forged, changed or stale cookie gets RST; nobody keeps state for it (RFC 4987)", () => {
  const s = flooded();
  const ack = (at: number, more = ""): void => s.turn(`. 1 ack ${at}${more}`);
  s.turn("S 0 <mss 1460>");
  answer(s, s.main);
  for (const at of [5, 1_000_000, -4]) { // the table's values are neighbours
    ack(at);
    s.out(`R ${at}`);
  }
  s.main.turn(". 2 ack 1"); // another ISN of the peer
  s.out("R 1");
  const other = s.peer(4001);
  other.ourIsn = s.main.ourIsn;
  other.turn(". 1 ack 1"); // another port
  other.out("R 1");
  expect(s.stack.tcp.counters).toMatchObject({ syncookiesRecv: 0, syncookiesFailed: 5 });
  s.wait(120_000); // in its second minute, whichever it began in, it may still be good; later never
  s.turn("S 77 <mss 1460>"); // the half-open ones have expired: an ordinary handshake
  expect(s.stack.tcp.counters.syncookiesSent).toBe(1);
  s.turn("R 78");
  s.take(4000);
  ack(1);
  expect(s.take(4000).map(({ segment }) => segment.flags)).toEqual(["R"]);
});

test("a cookie is good for at least a minute and less than two (RFC 4987)", () => {
  for (const [ageMs, good] of [[59_999, true], [120_000, false]] as const) {
    for (const startMs of [1_700_000_000_000, 1_700_000_030_000, 1_700_000_039_999]) {
      const s = new Script({ tcp: { synCookies: 2 }, startMs }).listen();
      s.turn("S 0 <mss 1460>");
      answer(s, s.main);
      s.wait(ageMs);
      s.turn("S 0 <mss 1460>"); // cookies are in use
      s.take(4000);
      s.turn(". 1 ack 1");
      expect(s.take(4000).length, `${ageMs}, ${startMs}`).toBe(good ? 0 : 1);
      expect(s.stack.tcp.awake).toBe(good ? 1 : 0);
    }
  }
});

test("an ACK out of nowhere is no cookie when none was sent lately, or when they are off", () => {
  const cookie = new Script({ tcp: { synCookies: 2 } }).listen();
  cookie.turn("S 0 <mss 1460>");
  answer(cookie, cookie.main);
  for (const tcp of [{ synCookies: 1 }, { synCookies: 0 }] as const) {
    const s = new Script({ tcp }).listen();
    s.main.ourIsn = cookie.main.ourIsn; // the same seed, the same secrets
    s.turn(". 1 ack 1");
    s.out("R 1");
    expect(s.stack.tcp.counters.syncookiesFailed).toBe(0);
    s.gone();
  }
});

test("without cookies a full SYN queue drops; RST, expiry and success each make room (RFC 4987)", () => {
  const s = flooded(2, { synCookies: 0 });
  s.turn("S 0 <mss 1460>");
  s.out();
  expect(s.drops()).toEqual({ TcpBacklogFull: 1 });
  expect(s.stack.tcp.counters.reqQFullDrop).toBe(1);
  s.peer(10_000).turn("R 1");
  s.turn("S 0 <mss 1460>");
  s.out("S. 0 ack 1");
  s.wait(63_000);
  expect(s.listener!.pending).toBe(0);
  expect(s.stack.tcp.awake).toBe(0);
});

test("the SYN queue has a limit of its own, however long the backlog", () => {
  const s = new Script({ tcp: { synBacklogMax: 3 } }).listen(1_000);
  for (let port = 0; port < 5; port++) s.peer(10_000 + port).turn("S 0 <mss 1460>");
  expect([s.listener!.pending, s.stack.tcp.counters.syncookiesSent]).toEqual([3, 2]);
});

test("a full accept queue: SYNs are dropped, the last ACK is as if lost, and the SYN-ACK goes again", () => {
  const s = new Script().listen(1);
  const peers = [1, 2, 3, 4].map((port) => s.peer(port));
  for (const peer of peers.slice(0, 3)) { // all begin before one waits; two fit, as on Linux
    s.listener!.pending = 0;
    peer.turn("S 0 <mss 1460>");
    peer.out("S. 0 ack 1");
  }
  s.listener!.pending = 3;
  for (const peer of peers.slice(0, 3)) peer.turn("P. 1:11 ack 1");
  expect([s.listener!.waiting, s.listener!.pending]).toEqual([2, 1]);
  expect(s.heard()).toEqual(Array(2).fill("established readable writable"));
  peers[2]!.out();
  peers[3]!.turn("S 0 <mss 1460>");
  peers[3]!.out();
  expect(s.drops()).toEqual({ TcpBacklogFull: 2 });
  expect(s.stack.tcp.counters.listenOverflows).toBe(2);
  s.wait(1_000);
  peers[2]!.out("S. 0 ack 1");
  s.listener!.waiting--; // one is accepted
  peers[2]!.turn("P. 1:11 ack 1");
  peers[2]!.out(". 1 ack 11");
  expect(s.heard()).toEqual(["established readable writable"]);
});

test("a cookie that comes back to a full accept queue is met with silence, and good again later", () => {
  const s = new Script({ tcp: { synCookies: 2 } }).listen(1);
  const [a, b, c] = [s.peer(1), s.peer(2), s.peer(3)];
  for (const peer of [a, b, c]) {
    peer.turn("S 0 <mss 1460>");
    peer.out("S. 0 ack 1");
  }
  for (const peer of [a, b, c]) peer.turn(". 1 ack 1");
  c.out();
  expect(s.stack.tcp.awake).toBe(2);
  s.listener!.waiting--;
  c.turn("P. 1:11 ack 1");
  c.out(". 1 ack 11");
});

test("who was in TIME-WAIT gets a place in a full SYN queue, and no cookie", () => {
  const s = new Script({ tcp: { synCookies: 2 } }).listen();
  s.turn("S 0 <mss 1460>");
  answer(s, s.main);
  s.turn(". 1 ack 1");
  s.shutdown();
  s.turn("F. 1 ack 2");
  s.take(4000);
  s.turn("S 9000 <mss 1460>");
  s.main.isn += 9000;
  s.out("S. 0 ack 1");
  expect([s.listener!.pending, s.stack.tcp.counters.syncookiesSent]).toEqual([1, 1]);
});

test("a stack that takes no new connections takes no cookies back either", () => {
  const s = new Script({ tcp: { synCookies: 2 } }).listen();
  s.turn("S 0 <mss 1460>");
  answer(s, s.main);
  s.stack.accepting = false;
  s.turn(". 1 ack 1");
  s.out();
  s.stack.accepting = true;
  s.turn(". 1 ack 1");
  expect(s.heard()).toEqual(["established writable"]);
});
