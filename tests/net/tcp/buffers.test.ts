import { expect, test } from "vitest";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { tcpSetReceiveBuffer, tcpSetSendBuffer } from "../../../net/tcp/user.ts";
import { Prng } from "../../../base/random.ts";
import { Pair, receiveStream, sendStream } from "../stack/pair.ts";
import { Script } from "./script.ts";

const MSS = 1000;
const RTT_MS = 100;

/** A peer whose window doubles each round trip, and what the application does with it. */
class Download {
  readonly s: Script;
  #at = 1;
  #segments = 10;

  constructor(tcp: Partial<TcpConfig> = {}) {
    this.s = new Script({ tcp, mtu: MSS + 40 }).accepted(`mss ${MSS},wscale 7`);
    this.s.tcb.srttUs = RTT_MS * 1000;
  }

  /** One round trip: as much as peer and window allow, read as it comes, or not. */
  round(reads = true): void {
    const { s } = this;
    for (let segment = 0; segment < this.#segments; segment++) {
      s.wait(RTT_MS / this.#segments);
      if (((s.tcb.rcvAdv - s.tcb.rcvNxt) | 0) < MSS) continue;
      s.turn(`. ${this.#at}:${this.#at + MSS} ack 1`);
      this.#at += MSS;
      if (reads) s.read();
    }
    this.#segments = Math.min(2 * this.#segments, 4_000);
    s.main.out(...s.take(4000).map(() => "").slice(0, 0));
  }

  get bufferBytes(): number {
    return this.s.tcb.receiveBufferBytes;
  }

  get windowBytes(): number {
    return (this.s.tcb.rcvAdv - this.s.tcb.rcvNxt) | 0;
  }
}

test("behind a missing segment the window grows with what has come, up to its maximum, but not while somebody waits to be accepted", () => {
  const lossy = (taken: boolean, tcp: Partial<TcpConfig> = {}): Script => {
    const s = new Script({ tcp, mtu: MSS + 40 }).accepted(`mss ${MSS},wscale 7,sackOK`);
    if (taken) s.stack.tcp.listeners.taken(s.listener!);
    for (let at = 1 + MSS; at + MSS < s.tcb.rcvAdv - s.tcb.irs; at += MSS) {
      s.turn(`. ${at}:${at + MSS} ack 1`);
      if (at > 900 * MSS) break;
    }
    return s;
  };
  const waiting = lossy(false);
  expect(waiting.tcb.receiveBufferBytes).toBe(128 << 10);
  const taken = lossy(true);
  expect(taken.tcb.receiveBufferBytes).toBeGreaterThan(900 * MSS);
  expect((taken.tcb.rcvAdv - taken.tcb.rcvNxt) | 0).toBeGreaterThan(900 * MSS);
  expect(lossy(true, { receiveBufferMax: 200_000 }).tcb.receiveBufferBytes).toBe(200_000);
  // Once memory is tight what comes into the window that was offered makes no buffer larger.
  const { tcb } = lossy(true, { memoryPressureBytes: 300_000, memoryLowBytes: 0 });
  expect(tcb.memory!.tight).toBe(true);
  expect(tcb.receiveBufferBytes).toBeLessThan(tcb.ahead.at(-1)! + 2 * MSS);
  expect(lossy(true, { receiveBufferBytes: 100_000 }).tcb.receiveBufferBytes).toBe(100_000); // no maximum: fixed
});

test("the receive window grows with what the application reads in a round trip, ahead of a sender that doubles, up to its maximum", () => {
  const download = new Download();
  expect(download.bufferBytes).toBe(128 << 10);
  let sent = 10;
  for (let count = 0; count < 9; count++) {
    download.round();
    sent = Math.min(2 * sent, 4_000);
    // What the sender may have in flight in its next round trip.
    expect(download.windowBytes, `round ${count}`).toBeGreaterThan(Math.min(sent * MSS, 5 << 20));
  }
  expect(download.bufferBytes).toBe(6 << 20);
  for (let count = 0; count < 2; count++) download.round();
  expect(download.bufferBytes).toBe(6 << 20);
});

test("an application that does not read, or reads slowly, keeps the buffer that it has", () => {
  const idle = new Download();
  for (let count = 0; count < 5; count++) idle.round(false);
  expect(idle.bufferBytes).toBe(128 << 10);
  expect(idle.s.tcb.receiveQueue.length).toBeLessThanOrEqual((128 << 10) * 17 / 16); // and rounding
  const slow = new Script({ mtu: MSS + 40 }).accepted(`mss ${MSS},wscale 7`);
  slow.tcb.srttUs = RTT_MS * 1000;
  for (let segment = 0; segment < 500; segment++) {
    slow.wait(10); // ten segments in a round trip, for ever
    slow.turn(`. ${1 + segment * MSS}:${1 + (segment + 1) * MSS} ack 1`);
    slow.read();
    slow.take(4000);
  }
  expect(slow.tcb.receiveBufferBytes).toBe(128 << 10);
});

test("a size that the application, or the stack's configuration, has set is not tuned", () => {
  const set = new Download();
  tcpSetReceiveBuffer(set.s.stack.tcp, set.s.tcb, 200_000);
  set.s.poll();
  const configured = new Download({ receiveBufferBytes: 200_000 });
  for (let count = 0; count < 7; count++) {
    set.round();
    configured.round();
  }
  expect(set.bufferBytes).toBe(200_000);
  expect(configured.bufferBytes).toBe(200_000);
  const ranged = new Download({ receiveBufferBytes: 200_000, receiveBufferMax: 400_000 });
  for (let count = 0; count < 7; count++) ranged.round();
  expect(ranged.bufferBytes).toBe(400_000);
});

test("a smaller buffer does not take back what was offered (SHLD-14); a larger one is announced", () => {
  const download = new Download();
  download.round();
  const { s } = download;
  const edge = s.tcb.rcvAdv;
  tcpSetReceiveBuffer(s.stack.tcp, s.tcb, 1); // as little as there is
  expect(s.tcb.receiveBufferBytes).toBe(2_304);
  s.poll();
  s.turn(". 10001:11001 ack 1");
  expect((s.tcb.rcvAdv - edge) | 0).toBe(0);
  s.read();
  s.take(4000);
  tcpSetReceiveBuffer(s.stack.tcp, s.tcb, 1 << 20);
  s.poll();
  s.out(`. 1 ack 11001 win ${(1 << 20) >> 7}`.replace(/ win .*/, ""));
  expect(download.windowBytes).toBe(1 << 20);
  tcpSetReceiveBuffer(s.stack.tcp, s.tcb, 2 ** 40);
  expect(s.tcb.receiveBufferBytes).toBe(2 ** 30); // RFC 7323 section 2.3
});

test("the window scale reaches the maximum; the SYN's window is 65,535 at most (RFC 7323 section 2.2)", () => {
  for (
    const [max, shift] of [[65_535, 0], [65_536, 1], [6 << 20, 7], [15 << 20, 8], [1 << 30, 14]] as const
  ) {
    const s = new Script({ tcp: { receiveBufferMax: max, receiveBufferBytes: Math.min(max, 131_072) } })
      .listen();
    s.turn("S 0 <mss 1460,wscale 7>");
    s.out(`S. 0 ack 1 win 65535 <mss 1460,wscale ${shift}>`);
  }
});

test("after a pause what was measured before is forgotten", () => {
  const download = new Download();
  for (let count = 0; count < 3; count++) download.round();
  const { tcb } = download.s;
  expect(tcb.receiveSpaceBytes).toBeGreaterThan(10 * MSS);
  download.s.wait(2_001);
  download.round();
  expect(tcb.receiveSpaceAtMs).toBeGreaterThan(download.s.nowMs - 2 * RTT_MS);
  expect(tcb.receiveSpaceBytes).toBeLessThan(80 * MSS);
});

test("round trips are measured by the echoed timestamp, from full segments, never over a pause", () => {
  const s = new Script().accepted("mss 1000,TS 100 0,wscale 7");
  const { tcb } = s;
  const far = (rttMs: number, from: number): void => {
    // The echo is of what we said `rttMs` ago; peers that echo the same again say nothing new.
    const echoed = s.nowMs - s.startMs - rttMs + 1;
    s.turn(`. ${from}:${from + 988} ack 1 <TS 101 ${echoed}>`);
    s.read();
  };
  s.wait(1_000);
  let at = 1;
  for (let count = 0; count < 40; count++, at += 988) {
    s.wait(11);
    far(80, at);
  }
  expect(tcb.receiveRttUs).toBeGreaterThan(70_000);
  expect(tcb.receiveRttUs).toBeLessThan(81_000);
  s.wait(10_000);
  far(10_000, at);
  s.wait(1);
  far(1_500, at + 988);
  expect(tcb.receiveRttUs).toBeLessThan(200_000);
});

test("the send buffer follows the congestion window: two of them, up to its maximum", () => {
  const s = new Script({ tcp: { sendBufferBytes: 30_000, sendBufferMax: 200_000 } }).accepted(
    "mss 1000,wscale 7",
  );
  s.main.window = 65_535;
  let at = 1;
  expect(s.write(1 << 20)).toBe(30_000);
  for (let count = 0; count < 200; count++) {
    const sent = (s.tcb.sndMax - s.tcb.sndUna) | 0;
    s.turn(`. 1 ack ${at += Math.min(sent, 10_000)}`);
    s.write(1 << 20);
    expect(s.tcb.sendBufferBytes).toBeLessThanOrEqual(200_000);
    expect(s.tcb.sendBufferBytes).toBeGreaterThanOrEqual(Math.min(200_000, 2 * s.tcb.cwnd - 20_000));
  }
  expect(s.tcb.sendBufferBytes).toBe(200_000);
  expect(s.heard().filter((each) => each.includes("writable")).length).toBeGreaterThan(100);
});

test("a send buffer that was set stays; when it becomes larger, whoever waits for room is told", () => {
  const s = new Script().accepted("mss 1000,wscale 7");
  tcpSetSendBuffer(s.stack.tcp, s.tcb, 20_000);
  expect(s.write(50_000)).toBe(20_000);
  for (let at = 10; at <= 20; at += 10) s.turn(`. 1 ack ${1 + at * MSS}`);
  expect(s.tcb.sendBufferBytes).toBe(20_000);
  s.write(50_000);
  s.heard();
  tcpSetSendBuffer(s.stack.tcp, s.tcb, 10_000);
  s.poll();
  expect(s.heard()).toEqual([]);
  tcpSetSendBuffer(s.stack.tcp, s.tcb, 40_000);
  s.poll();
  expect(s.heard()).toEqual(["writable"]);
});

test("buffers and what was measured survive sleep, and an idle connection's are not worth a byte", () => {
  const download = new Download();
  for (let count = 0; count < 3; count++) download.round();
  const { tcb, nowMs } = download.s;
  const frozen = freezeTcb(tcb, nowMs);
  const back = new Tcb(0);
  thawTcb(frozen, back, DEFAULT_TCP_CONFIG, nowMs + 50);
  for (
    const name of ["receiveBufferBytes", "receiveSpaceBytes", "receiveSpaceSeq", "receiveRttUs"] as const
  ) {
    expect(back[name], name).toBe(tcb[name]);
  }
  const fresh = new Script().accepted("mss 1000,wscale 7");
  fresh.turn(". 1:1001 ack 1");
  fresh.read();
  expect(bufferState(fresh)).not.toEqual([]);
  fresh.wait(2_001);
  expect(bufferState(fresh)).toEqual([]);
});

test("megabytes over a long path: both buffers have grown, and their memory is given back", async () => {
  const pair = new Pair({ seed: 1, delayMs: 50, queueMax: 1e6 });
  const [left, right] = pair.hosts;
  const listener = right.listen({ port: 80 });
  const work = async (): Promise<number> => {
    const [conn, accepted] = await Promise.all([
      left.connect({ hostname: "10.0.0.2", port: 80 }),
      listener.accept(),
    ]);
    const [count] = await Promise.all([
      receiveStream(accepted, new Prng(1)),
      sendStream(conn, 12 << 20, new Prng(2)),
    ]);
    const sizes = pair.hosts.map(({ stack }) => [...stack.tcp.tcbs()][0]!);
    expect(sizes[0]!.sendBufferBytes).toBeGreaterThan(1 << 20);
    expect(sizes[1]!.receiveBufferBytes).toBeGreaterThan(2 << 20);
    await new Promise<void>((resolve) => void pair.clock.at(pair.clock.nowMs() + 200, resolve)); // the last ACK
    for (const { sendQueue, receiveQueue } of sizes) {
      expect(sendQueue.capacity + receiveQueue.capacity).toBe(0);
    }
    accepted.close();
    conn.close();
    return count;
  };
  expect(await pair.finish(work(), 60_000)).toBe(12 << 20);
});

function bufferState(script: Script): unknown {
  return freezeTcb(script.tcb, script.nowMs)[frozenTcbFields.indexOf("bufferState")];
}
