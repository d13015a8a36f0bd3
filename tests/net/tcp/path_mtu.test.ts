import { expect, test } from "vitest";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { tcpInfo } from "../../../net/tcp/info.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { tcpSetOptions } from "../../../net/tcp/options.ts";
import { obviousChecksum } from "./checker.ts";
import { REMOTE_PORT, Script, type ScriptOptions } from "./script.ts";

/** Fragmentation Needed, about our segment at `sequence` (relative, as in scripts). */
function tooBig(script: Script, sequence: number, mtu: number): void {
  const quote = new Uint8Array(28);
  const view = new DataView(quote.buffer);
  quote.set([0x45, 0, 5, 220, 0, 0, 0x40, 0, 60, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  view.setUint16(10, obviousChecksum(quote.subarray(0, 20)));
  view.setUint16(20, 80);
  view.setUint16(22, REMOTE_PORT);
  view.setInt32(24, (script.main.ourIsn + sequence) | 0);
  const packet = new Uint8Array(56);
  const all = new DataView(packet.buffer);
  packet.set([0x45, 0, 0, 56, 0, 0, 0, 0, 60, 1, 0, 0, 10, 0, 0, 254, 10, 0, 0, 1]);
  all.setUint16(10, obviousChecksum(packet.subarray(0, 20)));
  packet.set([3, 4], 20);
  all.setUint16(26, mtu);
  packet.set(quote, 28);
  all.setUint16(22, obviousChecksum(packet.subarray(20)));
  script.receive(packet);
  script.poll();
}

function lengths(script: Script): number[] {
  return script.take(REMOTE_PORT).map(({ segment }) => segment.data.length);
}

function probing(mode: number, more: ScriptOptions["tcp"] = {}): Script {
  return new Script({ tcp: { mtuProbing: mode, mtuBaseMss: 1000, congestionControl: "newreno", ...more } });
}

test("RFC 1191: what a router cannot forward goes again in pieces; RFC 5927: nothing else is believed", () => {
  const script = new Script().accepted("mss 1460,sackOK");
  script.write(2920);
  expect(lengths(script)).toEqual([1460, 1460]);
  tooBig(script, 2921, 1000); // never sent
  tooBig(script, 0, 1000); // acknowledged
  expect(lengths(script)).toEqual([]);
  tooBig(script, 1461, 1000);
  const again = lengths(script);
  expect(again.length).toBeGreaterThan(0);
  expect(Math.max(...again)).toBe(960);
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs)).toMatchObject({ pmtu: 1000, sndMss: 960 });
  tooBig(script, 1, 68); // a lie: no path is that narrow
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs).pmtu).toBe(552);
});

test("the path's MTU is shared by all connections to a host, and forgotten after ten minutes (RFC 1191 section 6.3)", () => {
  const script = new Script().accepted("mss 1460");
  const other = script.peer(4001);
  const first = script.tcb;
  other.turn("S 0 <mss 1460>");
  other.out("S. 0 ack 1");
  other.turn(". 1 ack 1");
  const second = script.tcb;
  script.write(1460, first);
  tooBig(script, 1, 1200);
  script.turn(". 1 ack 1461");
  script.take(REMOTE_PORT);
  expect([first.sndMss, second.sndMss]).toEqual([1160, 1460]);
  script.write(1460, second);
  expect(script.take(4001).map(({ segment }) => segment.data.length)).toEqual([1160, 300]);
  other.turn(". 1 ack 1461");
  script.take(4001);
  script.wait(600_000);
  script.write(1460, second);
  expect(script.take(4001).map(({ segment }) => segment.data.length)).toEqual([1460]);
});

test("MUST-67: what our SYN announces is what our link carries, however narrow the way out is known to be", () => {
  const script = new Script().accepted("mss 1460");
  script.write(1460);
  tooBig(script, 1, 1200);
  const other = script.peer(4001);
  other.turn("S 0 <mss 1460>");
  other.out("S. 0 ack 1 <mss 1460>");
  expect(script.tcb.sndMss).toBe(1160);
});

test("IP_MTU_DISCOVER: without it routers may fragment, and are not believed", () => {
  const script = new Script().accepted("mss 1460");
  tcpSetOptions(script.stack.tcp, script.tcb, { pathMtuDiscovery: false }, script.nowMs);
  script.write(1460);
  script.take(REMOTE_PORT);
  tooBig(script, 1, 1000);
  expect(lengths(script)).toEqual([]);
  expect(script.tcb.sndMss).toBe(1460);
});

test("RFC 4821 section 7.3: with room for its loss a probe leaves; once it arrives, segments are as long", () => {
  const script = probing(2, { initialWindowSegments: 20 }).accepted("mss 1460,sackOK,wscale 7", 65535);
  script.turn(". 1 ack 1 win 65535");
  expect(script.tcb.sndMss).toBe(1000); // the search begins low
  script.write(5_000);
  expect(lengths(script)).toEqual([1000, 1000, 1000, 1000, 1000]); // too little to probe with
  script.turn(". 1 ack 5001");
  script.write(20_000);
  const sent = lengths(script);
  expect(sent[0]).toBe(1230); // half-way between 1040 and 1500
  expect(new Set(sent.slice(1))).toEqual(new Set([1000]));
  script.turn(`. 1 ack ${5001 + 1230}`);
  expect(script.tcb.sndMss).toBe(1230);
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs)).toMatchObject({ caState: 0, totalRetrans: 0 });
});

test("RFC 4821 section 7.4: a probe that is lost goes again in pieces, and the window stays", () => {
  const script = probing(2, { initialWindowSegments: 20 }).accepted("mss 1460,sackOK,wscale 7", 65535);
  script.turn(". 1 ack 1 win 65535");
  const { cwnd, ssthresh } = script.tcb;
  script.write(20_000);
  expect(lengths(script)[0]).toBe(1230);
  script.wait(10);
  for (let each = 1; each <= 4; each++) {
    script.turn(`. 1 ack 1 <nop,nop,sack 1231 ${1231 + 1000 * each}>`);
  }
  script.wait(50);
  expect(lengths(script)).toEqual([770, 1000, 230]); // new data, then the probe
  expect([script.tcb.ssthresh, script.tcb.cwnd]).toEqual([ssthresh, cwnd]);
  expect(script.tcb.mtuHigh).toBe(1269);
  script.turn(". 1 ack 20001");
  expect(tcpInfo(script.stack.tcp, script.tcb, script.nowMs).caState).toBe(0);
});

test("the search ends within eight bytes and begins anew after ten minutes", () => {
  const script = probing(2, { initialWindowSegments: 20 }).accepted("mss 1460,sackOK,wscale 7", 65535);
  script.turn(". 1 ack 1 win 65535");
  let at = 1;
  const round = (): number[] => {
    script.write(20_000);
    at += 20_000;
    let sent = lengths(script);
    for (let turn = 0; turn < 50 && script.tcb.sendQueue.length > 0; turn++) {
      script.turn(`. 1 ack ${(script.tcb.sndMax - script.tcb.iss) | 0}`);
      sent = [...sent, ...lengths(script)];
    }
    return sent;
  };
  for (let rounds = 0; rounds < 8; rounds++) round();
  expect(script.tcb.mtuHigh - script.tcb.mtuLow).toBeLessThan(8);
  expect(script.tcb.sndMss).toBeGreaterThan(1452);
  const low = script.tcb.mtuLow;
  expect(Math.max(...round())).toBe(script.tcb.sndMss);
  script.tcb.mtuHigh = script.tcb.mtuLow; // as if the path were narrow
  round();
  expect(script.tcb.mtuHigh).toBe(low);
  script.wait(600_000);
  round();
  expect(script.tcb.mtuHigh).toBe(1500);
});

test("RFC 4821 section 7.7: a path that swallows long segments is found by timeouts, where that is on", () => {
  const hole = (mode: number): { script: Script; sizes: number[] } => {
    const script = probing(mode).accepted("mss 1460");
    script.write(1460);
    const sizes: number[] = [];
    for (let second = 0; second < 100; second++) {
      script.wait(1_000);
      sizes.push(...lengths(script));
    }
    return { script, sizes };
  };
  expect(new Set(hole(0).sizes)).toEqual(new Set([1460]));
  const { script, sizes } = hole(1);
  const shrunk = sizes.filter((size, at) => at === 0 || size !== sizes[at - 1]);
  expect(shrunk.slice(0, 3)).toEqual([1460, 1000, 500]);
  expect(script.tcb.mtuProbing).toBe(true);
  expect(Math.min(...sizes)).toBeGreaterThanOrEqual(48);
});

test("the search survives sleep", () => {
  const script = probing(2, { initialWindowSegments: 20 }).accepted("mss 1460,sackOK,wscale 7", 65535);
  script.turn(". 1 ack 1 win 65535");
  script.write(20_000);
  script.take(REMOTE_PORT);
  const frozen = freezeTcb(script.tcb, script.nowMs);
  expect(frozen[frozenTcbFields.indexOf("mtuState")]).toEqual([1040, 1500, 0, 1270, 0, 1230]);
  const { tcb } = script;
  tcb.mtuProbing = false;
  tcb.mtuProbeSize = tcb.mtuLow = tcb.mtuHigh = 0;
  thawTcb(frozen, tcb, script.stack.tcp.config, script.nowMs);
  script.turn(". 1 ack 1231");
  expect([tcb.sndMss, tcb.mtuLow]).toEqual([1230, 1270]);
});

/** A connection on which full segments have got through, with two more in flight. */
function proven(tcp: ScriptOptions["tcp"] = {}): Script {
  const script = new Script({ tcp }).accepted("mss 1460,sackOK");
  script.write(1460);
  script.turn(". 1 ack 1461");
  script.write(2920);
  expect(lengths(script)).toEqual([1460, 1460, 1460]);
  return script;
}

test("RFC 5927 section 7.2: where longer packets have got through, a router is believed only when a timeout bears it out", () => {
  const script = proven();
  tooBig(script, 1461, 1000);
  expect(lengths(script)).toEqual([]);
  expect([script.tcb.sndMss, script.stack.tcp.counters.tooBigWaited]).toEqual([1460, 1]);
  // It was a lie: the segment arrives, and nothing is left of it.
  script.turn(". 1 ack 4381");
  script.write(1460);
  expect(lengths(script)).toEqual([1460]);
  script.wait(300);
  expect(new Set(lengths(script))).toEqual(new Set([1460])); // sent again, as long as it was
  expect(script.tcb.sndMss).toBe(1460);

  // It was true: nothing arrives, and what goes again goes in pieces.
  const narrow = proven();
  tooBig(narrow, 1461, 1000);
  narrow.wait(1_000);
  const again = lengths(narrow);
  expect(again.at(-1)).toBe(960);
  expect(narrow.tcb.sndMss).toBe(960);
  // From now on nobody waits: there is no progress. And nothing longer has got through a path as narrow as this.
  tooBig(narrow, 1461, 800);
  expect(narrow.tcb.sndMss).toBe(760);
  expect(narrow.stack.tcp.counters.tooBigWaited).toBe(1);
});

test("RFC 5927 section 7.2: a path that is still being found out is believed at once, as is everything where the configuration says so", () => {
  const first = new Script().accepted("mss 1460,sackOK");
  first.write(500); // short ones have got through
  first.turn(". 1 ack 501");
  first.write(1460);
  lengths(first);
  tooBig(first, 501, 1000);
  expect(lengths(first)).toEqual([960, 500]);
  first.turn(". 1 ack 1961");
  first.write(1920);
  lengths(first);
  tooBig(first, 1961, 1000); // no narrower than what has got through
  expect(first.stack.tcp.counters.tooBigWaited).toBe(0);
  tooBig(first, 1961, 900);
  expect([first.stack.tcp.counters.tooBigWaited, first.tcb.sndMss]).toEqual([1, 960]);

  const linux = proven({ tooBigWaits: false });
  tooBig(linux, 1461, 1000);
  expect(Math.max(...lengths(linux))).toBe(960);
});

test("RFC 5927 section 7.2: what a router claimed, and what has got through, is in the image", () => {
  for (const claims of [true, false]) {
    const script = proven();
    if (claims) tooBig(script, 1461, 1000);
    const tcb = new Tcb(0);
    thawTcb(freezeTcb(script.tcb, script.nowMs), tcb, script.stack.tcp.config, script.nowMs);
    expect([tcb.provenBytes, tcb.tooBigMtu]).toEqual([1460, claims ? 1000 : 0]);
    if (claims) expect((tcb.tooBigSeq - script.main.ourIsn) | 0).toBe(1461);
  }
  const script = new Script().accepted("mss 1460,sackOK");
  script.write(900);
  script.turn(". 1 ack 901");
  const frozen = freezeTcb(script.tcb, script.nowMs);
  expect(frozen[frozenTcbFields.indexOf("tooBigState")]).toEqual([900]);
  script.tcb.provenBytes = 400; // no path is so narrow that it would matter
  expect(freezeTcb(script.tcb, script.nowMs)[frozenTcbFields.indexOf("tooBigState")]).toEqual([]);
});
