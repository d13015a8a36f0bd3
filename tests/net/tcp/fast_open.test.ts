import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { FastOpen, FastOpenMode, parseFastOpenKeys } from "../../../net/tcp/fast_open.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { tcpInfo, TcpInfoOption } from "../../../net/tcp/info.ts";
import { packetTooBig } from "../../../net/tcp/path_mtu.ts";
import { TcpCounters } from "../../../net/tcp/netstat.ts";
import { Tcb, TcpError } from "../../../net/tcp/tcb.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { TcpRecord } from "../../../net/wire/tcp.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { obviousChecksum } from "./checker.ts";
import { LOCAL, REMOTE, REMOTE_PORT, Script, streamBytes } from "./script.ts";

const { client, server, clientWithoutCookie, serverWithoutCookie, allListeners } = FastOpenMode;
const KEY = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4";
const ADDRESSES = new AddressTable({ entropy: new Prng(2) });
const OLDER = "00000000-00000000-00000000-00000000";

/** A listener that takes data from SYNs, and the cookie that it gives to our peer. */
function listening(tcp: Partial<TcpConfig> = {}, queue = 5): { s: Script; cookie: string } {
  const s = new Script({ tcp: { fastOpen: client | server, fastOpenKey: KEY, ...tcp } }).listen();
  s.listener!.fastOpenMax = queue;
  return { s, cookie: cookieFor(s) };
}

function cookieFor(s: Script): string {
  const record = new TcpRecord();
  record.fastOpenLength = 0;
  const fastOpen = new FastOpen(
    { ...s.stack.tcp.config, fastOpen: server },
    new TcpCounters(),
    new Prng(1),
    ADDRESSES,
  );
  const listener = { ...s.listener!, fastOpenMax: 1, fastOpenPending: 0, fastOpenResets: [] };
  fastOpen.judgeSyn(listener, parseIpv4(LOCAL)!, parseIpv4(REMOTE)!, record, 0);
  return [...fastOpen.option.cookie.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

/** An active open with `bytes` for its SYN. */
function connect(s: Script, bytes = 500, port = 80): void {
  s.tcb = tcpConnect(
    s.stack.tcp,
    parseIpv4(LOCAL)!,
    port,
    parseIpv4(REMOTE)!,
    REMOTE_PORT,
    s.nowMs,
    undefined,
    streamBytes(1, bytes),
  )!;
  s.poll();
}

/** A client that has a cookie of its peer: "0011223344556677", with an MSS of 1000. */
function acquainted(tcp: Partial<TcpConfig> = {}): Script {
  const s = new Script({ tcp });
  connect(s, 500, 1);
  s.localPort = 1;
  s.out("S 0 <mss 1460,sackOK,TS 1 0,wscale 7,FO>");
  s.turn("S. 0 ack 1 <mss 1000,FO 0011223344556677>");
  s.out(". 1 ack 1");
  s.turn("R 1");
  s.heard();
  s.localPort = 80;
  return s;
}

test("our cookies are those that Linux makes with the same key (RFC 7413 section 4.1.2)", () => {
  const cookieOf = (key: string, local: string, remote: string): string => {
    const fastOpen = new FastOpen(
      { ...DEFAULT_TCP_CONFIG, fastOpen: server, fastOpenKey: key },
      new TcpCounters(),
      new Prng(1),
      ADDRESSES,
    );
    const record = new TcpRecord();
    record.fastOpenLength = 0;
    const { listener } = new Script().listen();
    listener!.fastOpenMax = 1;
    fastOpen.judgeSyn(listener!, ADDRESSES.parse(local)!, ADDRESSES.parse(remote)!, record, 0);
    return Array.from(fastOpen.option.cookie.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"))
      .join("");
  };
  expect(cookieOf(KEY, "192.168.0.1", "192.0.2.1")).toBe("3021b9d889017eeb");
  expect(cookieOf(OLDER, "192.168.0.1", "192.0.2.1")).toBe("b7c12350a90dc8f5");
  expect(cookieOf(KEY, "fd3d:0a0b:17d6::1", "fd3d:fa7b:d17d::1")).toBe("c1d1e9742a47a9bc");
  expect(cookieOf(OLDER, "fd3d:0a0b:17d6::1", "fd3d:fa7b:d17d::1")).toBe("82af1a8f9a205c34");
});

test("keys are four words of hexadecimal digits, one key or two", () => {
  expect(parseFastOpenKeys("1-2-3-ffffffff")).toEqual([Uint32Array.of(1, 2, 3, 0xffff_ffff)]);
  expect(parseFastOpenKeys(`${KEY},${OLDER}`)).toHaveLength(2);
  for (
    const wrong of [
      "",
      "1-2-3",
      "1-2-3-4-5",
      "1-2-3-g",
      "1-2-3-123456789",
      "1-2-3-4,",
      "1-2-3-4,5-6-7-8,9-1-2-3",
    ]
  ) {
    expect(() => parseFastOpenKeys(wrong)).toThrow(RangeError);
  }
});

test("server: a SYN that asks gets a cookie, in the option that it asked with; its data is not taken (RFC 7413 section 4.2.2)", () => {
  for (const [asked, answered] of [["FO", "FO"], ["FOEXP", "FOEXP"]] as const) {
    const { s, cookie } = listening();
    s.turn(`S 0:100 <mss 1460,${asked}>`);
    s.out(`S. 0 ack 1 <mss 1460,${answered} ${cookie}>`);
    s.wait(1_000);
    s.out("S. 0 ack 1 <mss 1460>"); // only once
    expect(s.heard()).toEqual([]);
    expect(s.stack.tcp.counters.fastOpenCookieReqd).toBe(1);
    s.turn("P. 1:101 ack 1");
    expect(s.read()).toBe(100);
  }
});

test("server: data with a good cookie is delivered at once, and answered before the handshake is over (RFC 7413 section 3)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:101 <mss 1000,FO ${cookie}>`);
  s.out("S. 0 ack 102 <mss 1460>");
  expect(s.heard()).toEqual(["established readable writable"]);
  expect([s.state, s.tcb.receiveQueue.length, s.listener!.waiting]).toEqual(["synReceived", 101, 1]);
  expect(s.read()).toBe(101);
  s.write(2_000);
  s.out(". 1:1001 ack 102", "P. 1001:2001 ack 102");
  s.turn(". 102 ack 2001");
  expect([s.state, s.heard()]).toEqual(["established", ["writable"]]);
  expect([s.tcb.sendQueue.length, s.listener!.waiting, s.listener!.fastOpenPending]).toEqual([0, 1, 0]);
  expect(tcpInfo(s.stack.tcp, s.tcb, s.nowMs).options & TcpInfoOption.synData).toBe(TcpInfoOption.synData);
  expect(s.stack.tcp.counters).toMatchObject({ fastOpenPassive: 1, fastOpenPassiveFail: 0 });
});

test("server: until its SYN-ACK is acknowledged nothing but the SYN-ACK goes again; then what was sent does (RFC 7413 section 4.2.2)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`);
  s.take(REMOTE_PORT).forEach(({ segment }) => void s.main.show(segment, ""));
  s.write(500);
  s.out("P. 1:501 ack 12");
  s.wait(3_000);
  s.out("S. 0 ack 12", "S. 0 ack 12");
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`); // the peer has not heard of us
  s.out("S. 0 ack 12");
  s.turn(". 12 ack 1");
  expect(s.state).toBe("established");
  s.wait(3_000);
  expect(s.take(REMOTE_PORT).map(({ segment }) => segment.data.length)[0]).toBe(500);
  expect(s.tcb.cwnd).toBe(1_000); // two SYN-ACKs were lost
});

test("server: no loss probe of data before the SYN-ACK is acknowledged (RFC 7413, RFC 8985)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1000,sackOK,FO ${cookie}>`);
  s.learn();
  s.write(500);
  s.out("P. 1:501 ack 12");
  s.wait(999);
  s.out();
  s.wait(1);
  s.out("S. 0 ack 12");
});

test("server: the SYN-ACK of a connection that is open goes six times again, then the application learns of it", () => {
  const { s, cookie } = listening();
  s.turn(`S 0 <mss 1000,FO ${cookie}>`);
  s.wait(126_999);
  expect(s.take(REMOTE_PORT)).toHaveLength(7);
  s.wait(1);
  expect(s.heard()).toEqual(["established writable", "closed timedOut"]);
  expect(s.listener!.fastOpenPending).toBe(0);
});

test("server: close before the handshake is over sends FIN at once, and the states follow (RFC 7413 section 4.2.2)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`);
  s.out("S. 0 ack 12");
  s.read();
  s.write(100);
  s.close();
  s.out("P. 1:101 ack 12", "F. 101 ack 12");
  expect(s.state).toBe("synReceived");
  s.turn(". 12 ack 101");
  expect(s.state).toBe("finWait1");
  s.turn("F. 12 ack 102");
  s.out(". 102 ack 13");
  expect(s.state).toBe("timeWait");
});

test("server: a wrong cookie gets a right one, and the data is not taken; so does one of another length (RFC 7413 section 4.2.2)", () => {
  for (const wrong of ["0123456789abcdef", "01234567", "0123456789abcdef0123456789abcdef"]) {
    const { s, cookie } = listening();
    s.turn(`S 0:100 <mss 1460,FO ${wrong}>`);
    s.out(`S. 0 ack 1 <mss 1460,FO ${cookie}>`);
    expect(s.heard()).toEqual([]);
    expect(s.stack.tcp.counters).toMatchObject({ fastOpenPassive: 0, fastOpenPassiveFail: 1 });
  }
});

test("server: a cookie of the older key is good, and a new one comes with the SYN-ACK", () => {
  const old = listening({ fastOpenKey: OLDER }).cookie;
  const { s, cookie } = listening({ fastOpenKey: `${KEY},${OLDER}` });
  s.turn(`S 0:100 <mss 1460,FO ${old}>`);
  s.out(`S. 0 ack 101 <mss 1460,FO ${cookie}>`);
});

test("server: who takes part is a matter of mode and listener", () => {
  const tries: [fastOpen: number, queue: number, syn: string, takes: boolean][] = [
    [client | server, 0, "FO COOKIE", false],
    [client, 5, "FO COOKIE", false],
    [server, 5, "FO COOKIE", true],
    [server | allListeners, 0, "FO COOKIE", true],
    [allListeners, 0, "FO COOKIE", false],
    [server, 5, "nop", false],
    [server | serverWithoutCookie, 5, "nop", true],
    [server | serverWithoutCookie, 5, "FO 0123456789abcdef", true],
    [server | serverWithoutCookie, 0, "nop", false],
  ];
  for (const [fastOpen, queue, option, takes] of tries) {
    const { s, cookie } = listening({ fastOpen }, queue);
    s.turn(`S 0:100 <mss 1460,${option.replace("COOKIE", cookie)}>`);
    s.out(takes ? "S. 0 ack 101 <mss 1460>" : "S. 0 ack 1 <mss 1460>");
    expect(s.listener!.fastOpenPending).toBe(takes ? 1 : 0);
  }
});

test("server: so many connections wait for the end of their handshake; a reset one counts for another minute (RFC 7413 section 5.1)", () => {
  const { s, cookie } = listening({}, 2);
  const opens = (port: number): boolean => {
    const peer = s.peer(port);
    peer.turn(`S 0:11 <mss 1460,FO ${cookie}>`);
    const [frame] = s.take(port);
    return ((frame!.segment.acknowledgment - peer.isn) | 0) > 1;
  };
  expect([opens(1), opens(2), opens(3)]).toEqual([true, true, false]);
  expect(s.stack.tcp.counters.fastOpenListenOverflow).toBe(1);
  s.peer(1).turn("R 12"); // forged SYNs are answered by their alleged sender like this
  expect(s.listener!.fastOpenPending).toBe(1);
  expect(opens(4)).toBe(false);
  s.wait(59_999);
  expect(opens(5)).toBe(false);
  s.wait(1);
  expect([opens(6), opens(7)]).toEqual([true, false]);
});

test("server: RST and SYN before the handshake is over: only the exact RST ends what an application holds (RFC 7413, RFC 5961)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1460,FO ${cookie}>`);
  s.out("S. 0 ack 12");
  s.turn("S 500");
  s.out(". 1 ack 12");
  s.turn("R 1"); // where the SYN ended
  s.turn(". 12 ack 2");
  s.out("R 2");
  expect(s.heard()).toEqual(["established readable writable"]);
  s.turn("R 12");
  expect(s.heard()).toEqual(["closed reset"]);
});

test("server: a cookie is not asked for in a flood of SYNs, where SYN cookies answer", () => {
  const { s, cookie } = listening({ synCookies: 2 });
  s.turn(`S 0:11 <mss 1460,FO ${cookie}>`);
  s.out("S. 0 ack 1 <mss 1460>");
});

test("server: a connection that sleeps before its handshake is over goes on as if it had not", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`);
  s.write(500);
  const back = new Tcb(0);
  thawTcb(freezeTcb(s.tcb, s.nowMs), back, s.stack.tcp.config, s.nowMs);
  expect(back).toMatchObject({
    state: s.tcb.state,
    fastOpen: s.tcb.fastOpen,
    iss: s.tcb.iss,
    sndUna: s.tcb.sndUna,
    sndMax: s.tcb.sndMax,
    retransmitAtMs: s.tcb.retransmitAtMs,
  });
});

test("client: without a cookie the SYN asks for one; with it the next SYN carries data, at most what fits beside all options (RFC 7413 section 4.2.1)", () => {
  const s = acquainted();
  expect(s.stack.tcp.fastOpen.visits).toBe(1);
  connect(s);
  s.out("S 0:500 <mss 1460,sackOK,TS 1 0,wscale 7,FO 0011223344556677>");
  s.turn("S. 0 ack 501 <mss 1000>");
  s.out(". 501 ack 1");
  expect([s.heard(), s.tcb.sendQueue.length]).toEqual([["established writable"], 0]);
  expect(tcpInfo(s.stack.tcp, s.tcb, s.nowMs)).toMatchObject({
    bytesAcked: 500,
    totalRetrans: 0,
    options: TcpInfoOption.synData,
  });
  expect(s.stack.tcp.counters).toMatchObject({ fastOpenActive: 1, fastOpenActiveFail: 0 });
  s.turn("R 1");
  connect(s, 5_000, 81);
  s.localPort = 81;
  s.out("S 0:960"); // the MSS of the last visit, less 40
  expect(s.tcb.sendQueue.length).toBe(960); // the rest is the caller's
});

test("client: TCP_MAXSEG limits what the SYN carries, and changes nothing of what is remembered of the server (RFC 7413 section 4.1.3)", () => {
  const s = acquainted();
  const [local, remote] = [parseIpv4(LOCAL)!, parseIpv4(REMOTE)!];
  const options = { mssMax: 600 };
  s.tcb = tcpConnect(s.stack.tcp, local, 80, remote, REMOTE_PORT, s.nowMs, options, streamBytes(1, 5_000))!;
  s.poll();
  s.out("S 0:560 <mss 600,sackOK,TS 1 0,wscale 7,FO 0011223344556677>");
  s.turn("S. 0 ack 561 <mss 900>");
  s.turn("R 1");
  expect(s.stack.tcp.fastOpen.mssOf(local, remote, 0)).toBe(900);
});

test("client: a server that takes no data, or part of it, gets the rest with the ACK of its SYN-ACK (RFC 7413 section 4.2.1)", () => {
  for (const [ack, rest] of [[1, "P. 1:501 ack 1"], [301, "P. 301:501 ack 1"]] as const) {
    const s = acquainted();
    connect(s);
    s.learn();
    s.turn(`S. 0 ack ${ack} <mss 1000>`);
    s.out(rest);
    s.turn(". 1 ack 501");
    expect(s.tcb.sendQueue.length).toBe(0);
    const info = tcpInfo(s.stack.tcp, s.tcb, s.nowMs);
    expect(info).toMatchObject({ bytesAcked: 500, totalRetrans: 1 });
    expect(info.options & TcpInfoOption.synData).toBe(0); // only when all of it was taken
    expect(s.stack.tcp.counters).toMatchObject({ fastOpenActive: 0, fastOpenActiveFail: 1 });
  }
});

test("client: a SYN that is sent again carries neither option nor data; they go when the connection is there (RFC 7413 section 4.2.1)", () => {
  const s = acquainted();
  connect(s);
  s.out("S 0:500 <mss 1460,sackOK,TS 1 0,wscale 7,FO 0011223344556677>");
  s.wait(2_000);
  s.out("S 0", "S 0 <mss 1460,sackOK,TS 2001 0,wscale 7>");
  s.turn("S. 0 ack 1 <mss 1000>");
  s.out("P. 1:501 ack 1");
  const t = acquainted(); // an answer to the first one is good all the same
  connect(t);
  t.learn();
  t.wait(1_000);
  t.take(REMOTE_PORT);
  t.turn("S. 0 ack 501 <mss 1000>");
  t.out(". 501 ack 1");
  t.turn("R 1");
  expect(t.stack.tcp.counters.fastOpenActive).toBe(1);
});

test("client: a path that is too narrow for the SYN's data gets a SYN without it at once, and only once (RFC 7413, RFC 1191)", () => {
  const s = acquainted();
  connect(s, 900);
  s.learn();
  s.stack.output.lowerMtu(s.tcb.remoteAddress, 800);
  for (let round = 0; round < 3; round++) packetTooBig(s.stack.tcp, s.tcb, s.nowMs);
  s.out("S 0 <mss 760,sackOK,TS 1 0,wscale 7>");
  s.turn("S. 0 ack 1 <mss 1000>");
  s.out(". 1:761 ack 1", "P. 761:901 ack 1");
});

/** Host unreachable, about our SYN or SYN-ACK. */
function hostUnreachable(s: Script): Uint8Array<ArrayBuffer> {
  const quoted = new Uint8Array(56);
  const view = new DataView(quoted.buffer);
  quoted.set([0x45, 0, 0, 56, 0, 0, 0x40, 0, 64, 1]);
  view.setInt32(12, parseIpv4(REMOTE)!);
  view.setInt32(16, parseIpv4(LOCAL)!);
  quoted.set([3, 1], 20); // host unreachable
  quoted.set([0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6], 28);
  view.setInt32(40, parseIpv4(LOCAL)!);
  view.setInt32(44, parseIpv4(REMOTE)!);
  view.setUint16(48, 80);
  view.setUint16(50, REMOTE_PORT);
  view.setInt32(52, s.tcb.iss);
  view.setUint16(10, obviousChecksum(quoted.subarray(0, 20)));
  view.setUint16(38, obviousChecksum(quoted.subarray(28, 48)));
  view.setUint16(22, obviousChecksum(quoted.subarray(20)));
  return quoted;
}

test("server: an ICMP error about a SYN-ACK is noted, and ends nothing (MUST-56)", () => {
  const { s, cookie } = listening();
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`);
  s.learn();
  s.receive(hostUnreachable(s));
  expect([s.state, s.tcb.softError]).toEqual(["synReceived", 0x301]);
});

test("server: where the configuration says so, it ends the handshake, and what the SYN brought is still read (RFC 5461 section 4.1)", () => {
  const { s, cookie } = listening({ icmpEndsHandshake: true });
  s.turn(`S 0:11 <mss 1000,FO ${cookie}>`);
  s.learn();
  s.heard();
  s.receive(hostUnreachable(s));
  s.poll();
  expect([s.state, s.tcb.error]).toEqual(["closed", TcpError.unreachable]);
  expect(s.heard()).toEqual(["closed unreachable"]);
});

test("client: data in the SYN-ACK is taken (RFC 9293 section 3.10.7.3)", () => {
  const s = acquainted();
  connect(s);
  s.learn();
  s.turn("S. 0:100 ack 501 <mss 1000>");
  expect(s.heard()).toEqual(["established readable writable"]);
  expect(s.read()).toBe(100);
  s.wait(50);
  expect((s.take(REMOTE_PORT).at(-1)!.segment.acknowledgment - s.main.isn) | 0).toBe(101);
  const fin = new Script().connect();
  fin.learn();
  fin.turn("SF. 0:10 ack 1 <mss 1000>");
  expect([fin.state, fin.read()]).toEqual(["closeWait", 10]);
});

test("client: RST answers a SYN with data like any other; an ACK of more than was sent is refused", () => {
  const s = acquainted();
  connect(s);
  s.learn();
  s.turn("S. 0 ack 502");
  s.out("R 502");
  s.turn("R. 0 ack 501");
  expect(s.heard()).toEqual(["closed refused"]);
});

test("client: SYNs with data cross: each side sends its data again (RFC 7413, figure 8)", () => {
  const s = acquainted();
  connect(s);
  s.learn();
  s.turn("S 0:200 <mss 1000,FO 0011223344556677>");
  s.out("S. 0 ack 1 <mss 1460>");
  s.turn("S. 0 ack 1 <mss 1000>");
  expect(s.state).toBe("established");
  expect(s.take(REMOTE_PORT).map(({ segment }) => segment.data.length)).toEqual([500]);
  s.turn("P. 1:201 ack 501");
  expect([s.read(), s.tcb.sendQueue.length]).toEqual([200, 0]);
});

test("client: a server without the option is asked with the experimental one next, then with the other again (RFC 7413 appendix A)", () => {
  const s = new Script();
  const asks = (port: number, answer: string): string => {
    s.localPort = port;
    connect(s, 10, port);
    const [syn] = s.take(REMOTE_PORT);
    const text = s.main.show(syn!.segment, "<");
    s.turn(`S. 0 ack 1 <mss 1000${answer}>`);
    s.turn("R 1");
    s.take(REMOTE_PORT);
    return /FO.*(?=>)/.exec(text)?.[0] ?? "";
  };
  expect([asks(1, ""), asks(2, ""), asks(3, ""), asks(4, "")]).toEqual(["FO", "FOEXP", "FO", "FO"]);
  const t = new Script();
  connect(t, 10, 1);
  t.localPort = 1;
  t.learn();
  t.turn("S. 0 ack 1 <mss 1000>");
  t.turn("R 1");
  connect(t, 10, 2);
  t.localPort = 2;
  t.learn();
  t.turn("S. 0 ack 1 <mss 1000,FOEXP 89abcdef>");
  t.turn("R 1");
  t.take(REMOTE_PORT);
  connect(t, 10, 3);
  t.out("S 0:10 <mss 1460,sackOK,TS 1 0,wscale 7,FOEXP 89abcdef>");
});

test("client: an ordinary connect asks for nothing and learns nothing; nor does one whose mode is off", () => {
  const s = new Script().connect();
  s.out("S 0 <mss 1460,sackOK,TS 1 0,wscale 7>");
  s.turn("S. 0 ack 1 <mss 1000,FO 0011223344556677>");
  expect(s.stack.tcp.fastOpen.visits).toBe(0);
  const off = new Script({ tcp: { fastOpen: 0 } });
  connect(off);
  off.out("S 0 <mss 1460,sackOK,TS 1 0,wscale 7>");
  const blunt = new Script({ tcp: { fastOpen: client | clientWithoutCookie } });
  connect(blunt);
  blunt.out("S 0:500 <mss 1460,sackOK,TS 1 0,wscale 7>");
});

test("client: so many servers are remembered; who was not visited for longest is forgotten", () => {
  const config = { ...DEFAULT_TCP_CONFIG, fastOpenCacheMax: 3 };
  const fastOpen = new FastOpen(config, new TcpCounters(), new Prng(1), ADDRESSES);
  const synAck = new TcpRecord();
  synAck.fastOpenLength = 4;
  const visit = (server: number): void => fastOpen.learn(1, server, synAck, 1000, 4, false);
  [10, 11, 12].forEach(visit);
  expect(fastOpen.visits).toBe(3);
  expect(fastOpen.prepareSyn(1, 10, 0)).toBe(true); // used: the oldest is 11 now
  visit(13);
  expect(fastOpen.visits).toBe(3);
  expect([10, 11, 12, 13].map((server) => fastOpen.prepareSyn(1, server, 0))).toEqual([
    true,
    false,
    true,
    true,
  ]);
  expect(fastOpen.prepareSyn(2, 10, 0)).toBe(false); // from another address
  fastOpen.forget();
  expect([fastOpen.visits, fastOpen.prepareSyn(1, 13, 0)]).toEqual([0, false]);
});

test("client: where SYNs with data vanish, Fast Open goes off for a while, twice as long each time, until data comes through (RFC 7413 section 7.2)", () => {
  const s = acquainted({ fastOpenBlackholeMs: 3_600_000, synLinearTimeouts: 0 });
  const uses = (port: number): boolean => {
    s.localPort = port;
    connect(s, 10, port);
    const [syn] = s.take(REMOTE_PORT);
    void s.main.show(syn!.segment, "");
    return syn!.segment.data.length > 0;
  };
  const vanish = (): void => {
    s.wait(7_000); // the third timeout
    s.take(REMOTE_PORT);
    s.abort();
  };
  expect(uses(100)).toBe(true);
  vanish();
  expect(s.stack.tcp.counters).toMatchObject({ fastOpenBlackhole: 1, fastOpenActiveFail: 1 });
  expect(uses(101)).toBe(false);
  s.abort();
  s.wait(3_600_000);
  expect(uses(102)).toBe(true);
  vanish();
  s.wait(3_600_000);
  expect(uses(103)).toBe(false);
  s.abort();
  s.wait(3_600_000);
  expect(uses(104)).toBe(true);
  s.turn("S. 0 ack 11 <mss 1000>");
  s.turn("P. 1:11 ack 11");
  s.abort();
  s.take(REMOTE_PORT);
  expect(uses(105)).toBe(true);
  vanish();
  s.wait(3_600_000);
  expect(uses(106)).toBe(true); // it was proven good between: from the beginning
});

test("client: a RST out of order, or a FIN without what was before it, is a sign of data that vanishes (RFC 7413 section 7.2)", () => {
  for (const sign of ["R 100", "F. 100 ack 501"]) {
    const s = acquainted({ fastOpenBlackholeMs: 1_000 });
    connect(s);
    s.learn();
    s.turn("S. 0 ack 501 <mss 1000>");
    s.turn(sign);
    expect(s.stack.tcp.counters.fastOpenBlackhole, sign).toBe(1);
    s.turn(sign);
    const talked = acquainted({ fastOpenBlackholeMs: 1_000 });
    connect(talked);
    talked.learn();
    talked.turn("S. 0 ack 501 <mss 1000>");
    talked.turn("P. 1:11 ack 501");
    talked.turn(sign);
    expect(talked.stack.tcp.counters.fastOpenBlackhole, sign).toBe(0);
  }
});
