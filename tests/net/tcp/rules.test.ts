import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import type { Slab } from "../../../base/slab.ts";
import { isInWindow } from "../../../net/tcp/input.ts";
import { Stack } from "../../../net/stack.ts";
import { tcpConnect, tcpSetKeepAlive } from "../../../net/tcp/user.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { readSegment, type Segment } from "./checker.ts";
import { LOCAL, REMOTE, REMOTE_PORT, Script } from "./script.ts";

/** Everything that leaves in a life with loss, urgency aside: handshake, data, holes, probes, the end. */
function lifeOf(s: Script): Segment[] {
  const seen: Segment[] = [];
  const collect = (): void => {
    const segments = s.take(REMOTE_PORT).map(({ segment }) => segment);
    segments.forEach((segment) => void s.main.show(segment, "<"));
    seen.push(...segments);
  };
  collect();
  s.write(6_000);
  s.turn(". 1 ack 1 win 0");
  s.wait(3_000);
  s.turn(". 1 ack 1 win 65535");
  s.turn("P. 101:201 ack 1");
  s.turn("P. 301:401 ack 1");
  s.turn("P. 1:101 ack 1");
  s.wait(1_000);
  collect();
  s.turn(". 401 ack 6001");
  tcpSetKeepAlive(s.stack.tcp, s.tcb, true, s.nowMs, 1_000, 1_000, 9);
  s.poll();
  s.wait(3_000);
  s.turn("R 77777"); // a challenge ACK
  s.close();
  s.abort();
  collect();
  return seen;
}

test("in a whole life the MSS option stands in SYN and nowhere else, always (MUST-65, MAY-3); options have their lengths and zeros behind them (MUST-68, MUST-69)", () => {
  const offers = ["", "mss 1460", "mss 1460,sackOK", "mss 1460,nop,wscale 7", "mss 536,sackOK,wscale 14,nop"];
  for (const options of offers) {
    for (const active of [false, true]) {
      const s = new Script();
      let syn: { segment: Segment }[];
      if (active) {
        s.connect();
        syn = s.take(REMOTE_PORT);
        syn.forEach(({ segment }) => void s.main.show(segment, "<"));
        s.turn(`S. 0 ack 1 <${options}>`);
      } else {
        s.listen().turn(`S 0 <${options}>`);
        syn = s.take(REMOTE_PORT);
        syn.forEach(({ segment }) => void s.main.show(segment, "<"));
        s.turn(". 1 ack 1");
      }
      expect(syn.map(({ segment }) => segment.options.filter(([kind]) => kind === 2).length)).toEqual([1]);
      // The checker that reads them throws at an option without a length, and at anything but zeros behind the end.
      const segments = lifeOf(s);
      expect(segments.length).toBeGreaterThan(10);
      expect(segments.some(({ flags }) => flags.includes("R"))).toBe(true);
      expect(segments.filter(({ options }) => options.some(([kind]) => kind === 2))).toEqual([]);
    }
  }
});

test("the window takes a segment exactly when one of its octets lies inside (RFC 9293 section 3.10.7.4)", () => {
  // Table 6 in octets: what has a length must overlap the window, what has none must stand in it or at its start.
  for (let window = 0; window <= 6; window++) {
    for (let length = 0; length <= 9; length++) {
      for (let first = -10; first <= 10; first++) {
        let inside = false;
        for (let octet = first; octet < first + length; octet++) inside ||= octet >= 0 && octet < window;
        if (length === 0) inside = first === 0 || (first > 0 && first < window);
        expect(isInWindow(first, length, window), `${first} ${length} ${window}`).toBe(inside);
      }
    }
  }
});

test("a connection keeps its local address when another one becomes the way out (MUST-45, MUST-44)", () => {
  const sent: Segment[] = [];
  const stack = new Stack({ nowMs: 1_000, entropy: new Prng(1) });
  const send = (slab: Slab, start: number, end: number): boolean => {
    sent.push(readSegment(slab.bytes.slice(start, end)));
    return true;
  };
  stack.addInterface({ name: "net0", link: { medium: "ip", mtu: 1500, send, flush: () => {} } });
  const second = "10.0.0.7";
  stack.setRoutes({ addresses: [{ address: `${LOCAL}/24` }, { address: `${second}/24` }] });
  const remote = parseIpv4(REMOTE)!;
  const local = stack.output.sourceTowards(remote)!;
  expect(local).toBe(parseIpv4(LOCAL)!);
  tcpConnect(stack.tcp, local, 1234, remote, 80, 1_000);
  stack.setRoutes({ addresses: [{ address: `${second}/24` }, { address: `${LOCAL}/24` }] });
  expect(stack.output.sourceTowards(remote)).toBe(parseIpv4(second)!);
  for (let nowMs = 1_000; nowMs < 20_000;) nowMs = Math.min(stack.poll(nowMs), 20_000);
  expect(sent.length).toBe(8); // SYN, and again after 1, 2, 3, 4, 5, 7 and 11 s
  expect(new Set(sent.map(({ source }) => source))).toEqual(new Set([parseIpv4(LOCAL)! >>> 0]));
});

test("nothing that is written stays for ever, whatever its size and with Nagle's algorithm (MUST-60)", () => {
  const prng = new Prng(60);
  const s = new Script({ tcp: { initialWindowSegments: 4 } }).accepted("mss 1000");
  let written = 0;
  for (let round = 0; round < 60; round++) {
    const window = prng.pick([400, 3_000, 65_535]); // less than a segment: nothing but a timer sends it
    for (let part = prng.between(1, 4); part > 0; part--) {
      const count = prng.pick([1, 10, 999, 1_000, 1_001, 2_500]);
      expect(s.write(count)).toBe(count);
      written += count;
    }
    let reached = 0;
    for (let turns = 0; reached < written + 1; turns++) {
      expect(turns, `${written + 1 - reached} octets stay`).toBeLessThan(500);
      for (const { segment } of s.take(REMOTE_PORT)) {
        const end = ((segment.sequence - s.main.ourIsn) | 0) + segment.data.length;
        reached = Math.max(reached, end);
      }
      s.wait(100);
      s.turn(`. 1 ack ${reached} win ${window}`);
    }
  }
  expect(s.tcb.sendQueue.length).toBe(0);
});

test("one half closes, the other goes on for as long as it likes, whoever closes first (MAY-1)", () => {
  const ours = new Script().accepted();
  ours.shutdown();
  ours.out("F. 1 ack 1");
  ours.turn(". 1 ack 2");
  for (let hour = 0, at = 1; hour < 24; hour++, at += 100) {
    ours.wait(3_600_000);
    ours.turn(`P. ${at}:${at + 100} ack 2`);
    ours.take(REMOTE_PORT);
    expect(ours.read()).toBe(100);
  }
  expect(ours.state).toBe("finWait2");
  const theirs = new Script().accepted();
  theirs.turn("F. 1 ack 1");
  theirs.out(". 1 ack 2");
  for (let hour = 0, at = 1; hour < 24; hour++, at += 100) {
    theirs.wait(3_600_000);
    theirs.write(100);
    theirs.out(`P. ${at}:${at + 100} ack 2`);
    theirs.turn(`. 2 ack ${at + 100}`);
  }
  expect(theirs.state).toBe("closeWait");
});

test("a retransmission has the identification of the first, as every segment that must not be fragmented (MAY-4, RFC 6864)", () => {
  const headers: string[] = [];
  const stack = new Stack({ nowMs: 1_000, entropy: new Prng(1) });
  const send = (slab: Slab, start: number): boolean => {
    const [, , , , id1, id2, flags] = slab.bytes.subarray(start, start + 20);
    headers.push(`${id1! * 256 + id2!} ${flags}`);
    return true;
  };
  stack.addInterface({ name: "net0", link: { medium: "ip", mtu: 1500, send, flush: () => {} } });
  stack.setRoutes({ addresses: [{ address: `${LOCAL}/24` }] });
  tcpConnect(stack.tcp, parseIpv4(LOCAL)!, 1234, parseIpv4(REMOTE)!, 80, 1_000);
  for (let nowMs = 1_000; nowMs < 10_000;) nowMs = Math.min(stack.poll(nowMs), 10_000);
  expect(headers).toEqual(Array(7).fill("0 64"));
});

test("a silent peer is asked, and whatever it answers, it is left alone for another while (MAY-5)", () => {
  const s = new Script().accepted();
  tcpSetKeepAlive(s.stack.tcp, s.tcb, true, s.nowMs, 10_000, 1_000, 3);
  for (let round = 0; round < 5; round++) {
    s.wait(9_999);
    s.out();
    s.wait(1);
    s.out(". 0 ack 1");
    s.turn(round % 2 === 0 ? ". 1 ack 1" : "P. 1:1 ack 1 win 1000");
  }
  s.wait(10_000 + 2_000);
  s.out(". 0 ack 1", ". 0 ack 1", ". 0 ack 1");
  s.wait(1_000);
  expect(s.heard()).toEqual(["closed timedOut"]);
});

test("a tail loss probe waits two round trips, and 8 ms where those say nothing of how long a peer may be busy (RFC 8985 section 7.2)", () => {
  for (const [rttMs, probeMs] of [[0, 8], [2, 8], [3, 8], [4, 10], [50, 102]]) {
    const s = new Script().connect();
    s.learn();
    s.wait(rttMs!);
    s.turn("S. 0 ack 1 <mss 1000,sackOK>");
    s.out(". 1 ack 1");
    s.write(2_000);
    s.out(". 1:1001 ack 1", "P. 1001:2001 ack 1");
    s.wait(probeMs! - 1);
    s.out();
    s.wait(1);
    s.out("P. 1001:2001 ack 1");
  }
});

test("a path that becomes narrower makes shorter segments, a wide one does not make longer ones than agreed (SHLD-6)", () => {
  const s = new Script({ mtu: 9_000, tcp: { initialWindowSegments: 4, tooBigWaits: false } }).accepted(
    "mss 4000",
  );
  s.write(4_000);
  s.out("P. 1:4001 ack 1");
  s.turn(". 1 ack 4001");
  s.receive(fragmentationNeeded(s, 1_040));
  s.poll();
  s.write(2_000); // nothing under way that it could be about: not believed
  s.out("P. 4001:6001 ack 1");
  s.receive(fragmentationNeeded(s, 1_040));
  s.poll();
  s.take(REMOTE_PORT);
  s.turn(". 1 ack 6001");
  s.write(2_000);
  s.out(". 6001:7001 ack 1", "P. 7001:8001 ack 1");
});

/** A router's word about the first segment that is not acknowledged. */
function fragmentationNeeded(s: Script, mtu: number): Uint8Array<ArrayBuffer> {
  const quoted = [
    ...header(LOCAL, REMOTE, 6, 28),
    ...word(s.localPort * 65_536 + s.main.port),
    ...word(s.tcb.sndUna),
  ];
  const message = [3, 4, 0, 0, 0, 0, mtu >> 8, mtu & 255, ...quoted];
  setChecksum(message, 2, 0, message.length);
  return Uint8Array.from([...header("10.0.0.254", LOCAL, 1, 20 + message.length), ...message]);
}

function header(source: string, destination: string, protocol: number, length: number): number[] {
  const bytes = [0x45, 0, length >> 8, length & 255, 0, 0, 0, 0, 64, protocol, 0, 0];
  bytes.push(...word(parseIpv4(source)!), ...word(parseIpv4(destination)!));
  setChecksum(bytes, 10, 0, 20);
  return bytes;
}

function word(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

function setChecksum(bytes: number[], at: number, from: number, to: number): void {
  let sum = 0;
  for (let each = from; each < to; each += 2) sum += bytes[each]! * 256 + (bytes[each + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes[at] = (~sum >> 8) & 255;
  bytes[at + 1] = ~sum & 255;
}
