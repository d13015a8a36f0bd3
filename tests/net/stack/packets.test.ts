import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import { Stack } from "../../../net/stack.ts";
import { tcpStateNames } from "../../../net/tcp/tcb.ts";
import { IcmpType, IcmpUnreachable, writeIcmp } from "../../../net/wire/icmp.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_UDP, readIpv4, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { finishUdpChecksum, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { obviousChecksum, pseudoHeader, readSegment, word32 } from "../tcp/checker.ts";
import { LOCAL, REMOTE, Script } from "../tcp/script.ts";

function ipPacket(
  protocol: number,
  data: ArrayLike<number>,
  { source = REMOTE, destination = LOCAL, fragmentOffset = 0, moreFragments = false } = {},
): Uint8Array<ArrayBuffer> {
  const slab = Slab.of(20 + data.length);
  const ip = new Ipv4Record();
  Object.assign(ip, {
    source: parseIpv4(source)!,
    destination: parseIpv4(destination)!,
    protocol,
    timeToLive: 64,
    fragmentOffset,
    moreFragments,
  });
  writeIpv4(ip, slab, 0, data.length);
  slab.bytes.set(data, 20);
  return slab.bytes;
}

function icmp(type: number, code: number, rest: number, data: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const from = new Slab(Uint8Array.from(data));
  const slab = Slab.of(8 + data.length);
  writeIcmp(type, code, rest, from, 0, data.length, slab, 0);
  return slab.bytes;
}

/** An ICMP error about the segment that our script sent last: `first` is its relative sequence number. */
function icmpAbout(s: Script, first: number, type: number, code: number, rest = 0): Uint8Array<ArrayBuffer> {
  const quoted = Slab.of(8);
  quoted.view.setUint16(0, s.localPort);
  quoted.view.setUint16(2, s.main.port);
  quoted.view.setInt32(4, (s.main.ourIsn + first) | 0);
  const quote = ipPacket(6, quoted.bytes, { source: LOCAL, destination: REMOTE });
  return ipPacket(PROTOCOL_ICMP, icmp(type, code, rest, quote), { source: "10.0.0.254" });
}

function udp(
  destinationPort: number,
  data: ArrayLike<number>,
  to = LOCAL,
  from = REMOTE,
): Uint8Array<ArrayBuffer> {
  const slab = Slab.of(8 + data.length);
  const record = new UdpRecord();
  record.sourcePort = 5353;
  record.destinationPort = destinationPort;
  writeUdp(record, slab, 0, data.length);
  slab.bytes.set(data, 8);
  finishUdpChecksum(slab, 0, slab.bytes.length, parseIpv4(from)!, parseIpv4(to)!);
  return ipPacket(PROTOCOL_UDP, slab.bytes, { destination: to, source: from });
}

/** Type, code and second word of an ICMP packet whose checksums are right. */
function readMessage(packet: Uint8Array): { type: number; code: number; rest: number; data: number[] } {
  expect(obviousChecksum(packet.subarray(0, 20))).toBe(0);
  expect(obviousChecksum(packet.subarray(20))).toBe(0);
  return { type: packet[20]!, code: packet[21]!, rest: word32(packet, 24), data: [...packet.subarray(28)] };
}

test("echo is answered with its own data; not to everyone in the network, not to a group", () => {
  const s = new Script();
  const message = icmp(IcmpType.Echo, 0, 0x1234_0001, [1, 2, 3, 4, 5]);
  s.receive(ipPacket(PROTOCOL_ICMP, message));
  expect(s.others.length).toBe(1);
  expect(readMessage(s.others[0]!)).toEqual({ type: 0, code: 0, rest: 0x1234_0001, data: [1, 2, 3, 4, 5] });
  for (const destination of ["10.0.0.255", "255.255.255.255", "224.0.0.1"]) {
    s.receive(ipPacket(PROTOCOL_ICMP, message, { destination }));
  }
  expect(s.others.length).toBe(1);
});

test("a datagram for a closed port gets Port Unreachable with a quotation, at a limited rate; a group's does not", () => {
  const s = new Script();
  const datagram = udp(9, [1, 2, 3]);
  s.receive(datagram);
  const { type, code, data } = readMessage(s.others[0]!);
  expect([type, code, data]).toEqual([3, 3, [...datagram]]);
  s.receive(udp(9, [1, 2, 3], "10.0.0.255"));
  s.receive(udp(9, [1, 2, 3], "255.255.255.255"));
  s.receive(udp(9, [1, 2, 3], "224.0.0.1"));
  expect(s.others.length).toBe(1);
  for (let flood = 0; flood < 200; flood++) s.receive(datagram);
  expect(s.others.length).toBe(6);
  s.nowMs += 1_000;
  for (let flood = 0; flood < 200; flood++) s.receive(datagram);
  expect(s.others.length).toBe(7);
  for (let host = 1; host < 100; host++) s.receive(udp(9, [1], LOCAL, `10.0.7.${host}`)); // all together
  expect(s.others.length).toBe(6 + 50);
});

test("an unknown protocol gets Protocol Unreachable", () => {
  const s = new Script();
  s.receive(ipPacket(99, [1, 2, 3]));
  expect(readMessage(s.others[0]!)).toMatchObject({ type: 3, code: 2 });
});

/** A packet cut into fragments of `length` bytes of data. */
function fragmentsOf(packet: Uint8Array, length: number, id = 7): Uint8Array<ArrayBuffer>[] {
  const data = packet.subarray(20);
  const fragments: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < data.length; at += length) {
    const slab = Slab.of(20 + Math.min(length, data.length - at));
    const ip = new Ipv4Record();
    readIpv4(new Slab(Uint8Array.from(packet)), 0, packet.length, ip);
    Object.assign(ip, { identification: id, fragmentOffset: at, moreFragments: at + length < data.length });
    writeIpv4(ip, slab, 0, slab.bytes.length - 20);
    slab.bytes.set(data.subarray(at, at + length), 20);
    fragments.push(slab.bytes);
  }
  return fragments;
}

test("fragments of datagrams, segments and echo requests are put together and go the ordinary way", () => {
  const s = new Script().listen();
  const socket = s.stack.udp.bind(0, 7)!;
  const payload = Uint8Array.from({ length: 5_000 }, (_, at) => at);
  for (const fragment of fragmentsOf(udp(7, payload), 1_480).toReversed()) s.receive(fragment);
  expect(socket.shift()!.bytes).toEqual(payload);
  for (const fragment of fragmentsOf(s.main.packet("S 0 win 65535 <mss 1460>"), 16)) s.receive(fragment);
  s.poll();
  s.out("S. 0 ack 1");
  // The answer is longer than the link carries, and leaves in fragments of one identification, DF clear.
  for (const fragment of fragmentsOf(ipPacket(PROTOCOL_ICMP, icmp(8, 0, 1, payload)), 1_480)) {
    s.receive(fragment);
  }
  expect(s.others.map((packet) => packet.length)).toEqual([1_500, 1_500, 1_500, 588]);
  expect(s.others.map((packet) => (packet[6]! << 8) | packet[7]!)).toEqual([0x2000, 0x20b9, 0x2172, 0x022b]);
  expect(new Set(s.others.map((packet) => (packet[4]! << 8) | packet[5]!)).size).toBe(1);
  s.others.forEach((packet) => expect(obviousChecksum(packet.subarray(0, 20))).toBe(0));
  const answered = s.others.flatMap((packet) => [...packet.subarray(20)]);
  expect(obviousChecksum(Uint8Array.from(answered))).toBe(0);
  expect(answered.slice(8)).toEqual([...payload]);
  expect([s.drops(), s.stack.reassembly.size]).toEqual([{}, 0]);
});

test("the firewall sees whole packets: a port in the first fragment decides about all of them", () => {
  const s = new Script();
  const socket = s.stack.udp.bind(0, 7)!;
  s.stack.firewall = new Firewall({
    policy: { input: "drop" },
    rules: [{ protocol: "udp", destinationPort: 7, action: "accept" }],
  }, ["net0"]);
  for (const port of [7, 8]) {
    for (const fragment of fragmentsOf(udp(port, new Uint8Array(100)), 8)) s.receive(fragment);
  }
  expect([socket.queue.length, s.drops()]).toEqual([1, { Firewall: 1 }]);
});

test("the rest does not come for 30 s: Time Exceeded, code 1, about the first fragment (RFC 1122 section 3.3.2)", () => {
  const s = new Script();
  const [first, second] = fragmentsOf(udp(7, new Uint8Array(64)), 32);
  s.receive(first!);
  s.receive(fragmentsOf(udp(7, new Uint8Array(64)), 32, 8)[1]!); // of another one, the first of which never came
  s.poll();
  s.wait(29_999);
  expect(s.others.length).toBe(0);
  s.wait(1);
  expect(s.others.length).toBe(1);
  expect(readMessage(s.others[0]!)).toEqual({ type: 11, code: 1, rest: 0, data: [...first!] });
  s.receive(second!); // too late
  expect([s.stack.reassembly.size, s.stack.reassembly.counters.timeouts]).toEqual([1, 2]);
  s.wait(30_000);
  expect([s.stack.reassembly.size, s.others.length]).toEqual([0, 1]);
});

test("a datagram longer than the path is cut; identifications of flows do not tell of each other (RFC 7739)", () => {
  const s = new Script({ mtu: 1_500 });
  const payload = Uint8Array.from({ length: 4_000 }, (_, at) => at);
  const other = parseIpv4("10.0.0.9")!;
  s.stack.output.lowerMtu(parseIpv4(REMOTE)!, 1_000);
  s.stack.udp.send(parseIpv4(LOCAL)!, 7, parseIpv4(REMOTE)!, 9, payload, s.nowMs);
  expect(s.others.map((packet) => packet.length)).toEqual([996, 996, 996, 996, 124]); // 976 is a multiple of 8
  const socket = s.stack.udp.bind(0, 9)!;
  for (const packet of s.others.splice(0)) s.receive(turned(packet));
  expect(socket.shift()!.bytes).toEqual(payload);
  const ids: number[] = [];
  for (let time = 0; time < 4; time++) {
    for (const to of [other, parseIpv4(REMOTE)!]) {
      s.stack.udp.send(parseIpv4(LOCAL)!, 7, to, 9, payload, s.nowMs);
      const id = word32(s.others[0]!, 4) >>> 16;
      expect(ids).not.toContain(id);
      ids.push(id);
      s.others.length = 0;
    }
  }
  s.stack.udp.send(parseIpv4(LOCAL)!, 7, other, 9, new Uint8Array(8), s.nowMs);
  expect(word32(s.others[0]!, 4)).toBe(0x0000_4000); // DF, and no identification (RFC 6864)
});

/** A packet as if the other end had sent it; the checksums stay right. */
function turned(packet: Uint8Array): Uint8Array<ArrayBuffer> {
  const back = Uint8Array.from(packet);
  back.set(packet.subarray(16, 20), 12);
  back.set(packet.subarray(12, 16), 16);
  return back;
}

test("fragments wait for a neighbour's answer together", () => {
  const { stack, frames, receive } = ethernet();
  const payload = new Uint8Array(60_000);
  expect(stack.udp.send(parseIpv4(LOCAL)!, 7, parseIpv4(REMOTE)!, 9, payload, 1_000)).toBe(true);
  expect(frames.length).toBe(1); // who has?
  receive(arp(2, [10, 0, 0, 2], [10, 0, 0, 1], OURS));
  expect(frames.length).toBe(1 + 41);
  frames.slice(1).forEach((frame) => {
    expect([...frame.subarray(0, 14)]).toEqual([...THEIRS, ...OURS, 8, 0]);
    expect(obviousChecksum(frame.subarray(14, 34))).toBe(0);
  });
});

test("wrong checksums are dropped and counted, whichever bit is wrong (MUST-3, MUST-2)", () => {
  const s = new Script({ tcp: { quickAcks: 99 } }).accepted();
  const good = s.main.packet("P. 1:33 ack 1");
  for (let bit = 20 * 8; bit < good.length * 8; bit++) {
    const bad = good.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    s.receive(bad);
  }
  s.poll();
  expect(s.tcb.bytesIn).toBe(0);
  expect(s.take(4000).length).toBe(0);
  const { TcpChecksum = 0, TcpOffset = 0, TcpPort = 0 } = s.drops();
  expect(TcpChecksum + TcpOffset + TcpPort).toBe((good.length - 20) * 8);
  for (let bit = 0; bit < 20 * 8; bit++) {
    const bad = good.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    s.receive(bad);
  }
  expect(s.tcb.bytesIn).toBe(0);
  const datagram = udp(9, [1, 2, 3]);
  datagram[30]! ^= 1;
  s.receive(datagram);
  expect(s.drops()).toMatchObject({ UdpChecksum: 1 });
});

test("a SYN from or to a group, to everyone, or from ourselves finds silence (MUST-57, MUST-63)", () => {
  const s = new Script().listen();
  const syn = s.main.packet("S 0 <mss 1460>");
  const readdressed = (source: string, destination: string): Uint8Array<ArrayBuffer> => {
    const packet = ipPacket(6, syn.subarray(20), { source, destination });
    const tcp = packet.subarray(20);
    tcp[16] = tcp[17] = 0;
    const sum = obviousChecksum(pseudoHeader(packet, 6, tcp.length), tcp);
    tcp[16] = sum >> 8;
    tcp[17] = sum & 255;
    return packet;
  };
  for (const source of ["255.255.255.255", "10.0.0.255", "224.0.0.1", "127.0.0.1", "0.0.0.0", LOCAL]) {
    s.receive(readdressed(source, LOCAL));
  }
  for (const destination of ["255.255.255.255", "10.0.0.255", "224.0.0.1", "10.0.0.77"]) {
    s.receive(readdressed(REMOTE, destination));
  }
  s.poll();
  expect([s.take(4000).length, s.others.length, s.stack.connections.size]).toEqual([0, 0, 0]);
  expect(s.drops()).toEqual({ Ipv4Source: 6, TcpAddress: 3, Ipv4NotOurs: 1 });
  s.receive(readdressed(REMOTE, LOCAL));
  expect(s.stack.connections.size).toBe(1);
});

test("IP options are skipped (MUST-50)", () => {
  const s = new Script({ tcp: { quickAcks: 99 } }).accepted();
  const plain = s.main.packet("P. 1:11 ack 1");
  const packet = new Uint8Array(plain.length + 8);
  packet.set(plain.subarray(0, 20));
  packet.set([1, 7, 3, 4, 200, 2, 1, 0], 20);
  packet.set(plain.subarray(20), 28);
  packet[0] = 0x47;
  packet[3] = packet.length;
  packet[10] = packet[11] = 0;
  const sum = obviousChecksum(packet.subarray(0, 28));
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  s.receive(packet);
  expect(s.read()).toBe(10);
});

test("soft ICMP errors are noted and abort nothing (MUST-47, MUST-54, MUST-56, SHLD-25); source quench is nothing (MUST-55)", () => {
  const s = new Script().accepted();
  s.write(100);
  s.take(4000);
  s.receive(icmpAbout(s, 1, IcmpType.SourceQuench, 0));
  expect(s.tcb.softError).toBe(0);
  const soft = [[3, 0], [3, 1], [3, 5], [11, 0], [11, 1], [12, 0], [3, 2], [3, 3], [3, 13]];
  for (const [type, code] of soft) {
    s.receive(icmpAbout(s, 1, type!, code!));
    s.poll();
    expect(s.tcb.softError).toBe(type! * 256 + code!);
    expect(s.heard()).toEqual(["trouble"]); // MUST-47, SHLD-25
  }
  s.tcb.softError = 0;
  s.receive(icmpAbout(s, 101, 3, 1)); // about what we never sent
  s.receive(icmpAbout(s, 0, 3, 1)); // about what has been acknowledged
  expect([s.tcb.softError, s.state]).toEqual([0, "established"]);
});

test("hard ICMP errors end an attempt, soft ones name the reason of its end (SHLD-26)", () => {
  const s = new Script().connect();
  s.learn();
  s.receive(icmpAbout(s, 0, 3, 3));
  s.poll();
  expect(s.heard()).toEqual(["closed refused"]);
  s.gone();
  const t = new Script().connect();
  t.learn();
  t.receive(icmpAbout(t, 0, 3, 1));
  expect(t.state).toBe("synSent");
  t.wait(300_000);
  expect(t.heard()).toEqual(["closed unreachable"]);
});

test("Fragmentation Needed: sent again at once in pieces that fit, by every connection that is told (RFC 1191)", () => {
  const s = new Script({ tcp: { initialWindowSegments: 4 } }).accepted("mss 1460");
  const other = s.peer(4001);
  other.turn("S 0 <mss 1460>");
  other.out("S. 0 ack 1");
  other.turn(". 1 ack 1");
  const first = [...s.stack.tcp.tcbs()].find((tcb) => tcb.remotePort === 4000)!;
  const second = [...s.stack.tcp.tcbs()].find((tcb) => tcb.remotePort === 4001)!;
  s.write(1_460, first);
  s.out("P. 1:1461 ack 1");
  s.receive(icmpAbout(s, 1, IcmpType.Unreachable, IcmpUnreachable.FragmentationNeeded, 1_000));
  s.poll();
  s.out(". 1:961 ack 1", "P. 961:1461 ack 1");
  expect([first.sndMss, second.sndMss]).toEqual([960, 1_460]);
  second.sndMax = (second.sndMax + 1_460) | 0; // as if it had a segment under way
  second.sendQueue.append(new Uint8Array(1_460), 0, 1_460);
  const about = Slab.of(8);
  about.view.setUint16(0, 80);
  about.view.setUint16(2, 4001);
  about.view.setInt32(4, second.sndUna);
  const quote = ipPacket(6, about.bytes, { source: LOCAL, destination: REMOTE });
  s.receive(ipPacket(PROTOCOL_ICMP, icmp(3, 4, 1_000, quote), { source: "10.0.0.254" }));
  expect(second.sndMss).toBe(960);
  s.receive(icmpAbout(s, 1, 3, 4, 68)); // an attack: no smaller than 552
  expect(first.sndMss).toBe(512);
});

test("Fragmentation Needed about a SYN changes the MSS and does not upset the handshake", () => {
  const s = new Script().connect();
  s.learn();
  s.receive(icmpAbout(s, 0, 3, 4, 1_000));
  s.turn("S. 0 ack 1 <mss 1460>");
  s.out(". 1 ack 1");
  s.write(960);
  s.out("P. 1:961 ack 1");
});

test("every port has a listener on every address of a network that is all ours, and one address more", () => {
  const s = new Script();
  s.stack.setRoutes({ addresses: [{ address: "10.0.0.9/24" }], subnets: ["10.8.0.0/16"] });
  for (let port = 1; port <= 65_535; port++) s.stack.tcp.listeners.add(0, port, 1);
  const own = parseIpv4("10.8.1.1")!;
  for (let port = 1; port <= 1_000; port++) s.stack.tcp.listeners.add(own, port, 1);
  expect(s.stack.tcp.listeners.size).toBe(66_535);
  expect(s.stack.tcp.listeners.find(own, 1_000)!.address).toBe(own);
  expect(s.stack.tcp.listeners.find(own, 1_001)!.address).toBe(0);
  const prng = new Prng(5);
  for (let attempt = 0; attempt < 500; attempt++) {
    const destination = `10.8.${prng.below(256)}.${prng.below(256)}`;
    const port = attempt < 2 ? [1, 65_535][attempt]! : prng.between(1, 65_535);
    s.localPort = port;
    const packet = s.main.packet("S 0 <mss 1460>");
    const [a, b, c, d] = destination.split(".").map(Number);
    packet.set([a!, b!, c!, d!], 16);
    packet[10] =
      packet[11] =
      packet[36] =
      packet[37] =
        0;
    const ipSum = obviousChecksum(packet.subarray(0, 20));
    packet.set([ipSum >> 8, ipSum & 255], 10);
    const sum = obviousChecksum(pseudoHeader(packet, 6, packet.length - 20), packet.subarray(20));
    packet.set([sum >> 8, sum & 255], 36);
    s.receive(packet);
    const [answer] = s.take(4000);
    expect(answer!.segment.flags).toBe("S.");
    expect([answer!.segment.source, answer!.segment.sourcePort]).toEqual([
      parseIpv4(destination)! >>> 0,
      port,
    ]);
    expect(answer!.segment.destination).toBe(parseIpv4(REMOTE)! >>> 0); // one address, as it came (MUST-45)
  }
});

/** A stack on an Ethernet, and what it sends. */
function ethernet(): {
  stack: Stack;
  frames: Uint8Array[];
  receive: (frame: Uint8Array<ArrayBuffer>) => void;
} {
  const frames: Uint8Array[] = [];
  const stack = new Stack({ nowMs: 1_000, entropy: new Prng(1) });
  const send = (slab: Slab, start: number, end: number): boolean =>
    frames.push(slab.bytes.slice(start, end)) > 0;
  const link = { medium: "ethernet", mtu: 1500, send, flush: () => {} } as const;
  stack.addInterface({ name: "net0", link, mac: { hi: 0x0200, lo: 1 } });
  stack.setRoutes({ addresses: [{ address: `${LOCAL}/24` }], subnets: ["10.8.0.0/16"] });
  return {
    stack,
    frames,
    receive: (frame) => void stack.receive(0, new Slab(frame), 0, frame.length, 1_000),
  };
}

const OURS = [2, 0, 0, 0, 0, 1];
const THEIRS = [2, 0, 0, 0, 0, 2];
const ALL = [255, 255, 255, 255, 255, 255];

function arp(operation: number, senderIp: number[], targetIp: number[], to = ALL): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...to,
    ...THEIRS,
    8,
    6,
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    operation,
    ...THEIRS,
    ...senderIp,
    ...(operation === 1 ? [0, 0, 0, 0, 0, 0] : OURS),
    ...targetIp,
  ]);
}

test("ARP: asked for our addresses and for every one of our network, it answers; for others it does not", () => {
  const { frames, receive } = ethernet();
  receive(arp(1, [10, 0, 0, 2], [10, 0, 0, 1]));
  receive(arp(1, [10, 0, 0, 2], [10, 8, 200, 7]));
  receive(arp(1, [10, 0, 0, 2], [10, 0, 0, 3]));
  expect(frames.map((frame) => [...frame])).toEqual([
    [...THEIRS, ...OURS, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, ...OURS, 10, 0, 0, 1, ...THEIRS, 10, 0, 0, 2],
    [...THEIRS, ...OURS, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, ...OURS, 10, 8, 200, 7, ...THEIRS, 10, 0, 0, 2],
  ]);
});

test("a packet waits for its neighbour's answer and follows it at once", () => {
  const { stack, frames, receive } = ethernet();
  stack.udp.send(parseIpv4(LOCAL)!, 7, parseIpv4(REMOTE)!, 9, Uint8Array.of(1, 2), 1_000);
  expect(frames.map((frame) => [...frame.subarray(0, 14)])).toEqual([[...ALL, ...OURS, 8, 6]]);
  receive(arp(2, [10, 0, 0, 2], [10, 0, 0, 1], OURS));
  expect(frames.length).toBe(2);
  expect([...frames[1]!.subarray(0, 14)]).toEqual([...THEIRS, ...OURS, 8, 0]);
});

test("another station says that it has our address: defended at once, and again no sooner than 10 s later (RFC 5227 section 2.4)", () => {
  const { stack, frames, receive } = ethernet();
  const claim = arp(1, [10, 0, 0, 1], [10, 0, 0, 1]);
  receive(claim);
  receive(claim);
  const announcement = [...ALL, ...OURS, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...OURS, 10, 0, 0, 1];
  const said = (): number[][] =>
    frames.splice(0).filter((frame) => frame[21] === 1).map((frame) => [...frame.subarray(0, 32)]);
  expect(said()).toEqual([announcement]);
  expect(stack.drops.toJSON()).toEqual({ ArpConflict: 2 });
  const slab = new Slab(claim);
  stack.receive(0, slab, 0, claim.length, 1_000 + 9_999);
  expect(said()).toEqual([]);
  stack.receive(0, slab, 0, claim.length, 1_000 + 10_000);
  expect(said()).toEqual([announcement]);
});

test("a unicast packet in a frame to everyone is not answered (RFC 1122 section 3.3.6)", () => {
  const { frames, receive, stack } = ethernet();
  receive(arp(1, [10, 0, 0, 2], [10, 0, 0, 1]));
  frames.length = 0;
  const echo = ipPacket(PROTOCOL_ICMP, icmp(8, 0, 1, [1]));
  receive(Uint8Array.from([...ALL, ...THEIRS, 8, 0, ...echo]));
  expect([frames.length, stack.drops.toJSON()]).toEqual([0, { Ipv4NotOurs: 1 }]);
  receive(Uint8Array.from([...OURS, ...THEIRS, 8, 0, ...echo, 0, 0, 0])); // padded
  expect(frames.filter((frame) => frame[12] === 8 && frame[13] === 0).length).toBe(1);
  receive(Uint8Array.from([2, 0, 0, 0, 0, 9, ...THEIRS, 8, 0, ...echo])); // somebody else's
  expect(stack.drops.toJSON()).toEqual({ Ipv4NotOurs: 1, FrameNotOurs: 1 });
});

test("a stack that listens to itself: loopback of TCP and UDP ends its turn", () => {
  const s = new Script().listen();
  const udpSocket = s.stack.udp.bind(0, 7)!;
  s.stack.udp.send(parseIpv4(LOCAL)!, 8, parseIpv4(LOCAL)!, 7, Uint8Array.of(1), s.nowMs);
  s.stack.udp.send(parseIpv4(LOCAL)!, 8, parseIpv4(LOCAL)!, 6, Uint8Array.of(1), s.nowMs); // refused by ourselves
  s.poll();
  expect(udpSocket.shift()!.bytes).toEqual(Uint8Array.of(1));
  expect([s.others.length, s.watcher.segments]).toEqual([0, 0]);
});

test("sockets of one stack that answer each other for ever do not hold the turn", () => {
  const s = new Script();
  const ports = [7, 8];
  const sockets = ports.map((port) => s.stack.udp.bind(0, port)!);
  let answered = 0;
  s.stack.upcalls = {
    ...s.stack.upcalls!,
    udpReadable: (socket) => {
      answered++;
      const { bytes, port } = socket.shift()!;
      s.stack.udp.send(parseIpv4(LOCAL)!, socket.port, parseIpv4(LOCAL)!, port, bytes, s.nowMs);
    },
  };
  s.stack.udp.send(parseIpv4(LOCAL)!, 7, parseIpv4(LOCAL)!, 8, Uint8Array.of(1), s.nowMs);
  expect(s.poll()).toBe(s.nowMs); // there is more to do
  expect(answered).toBe(255); // one in each round but the first
  for (const socket of sockets) s.stack.udp.unbind(socket);
  expect(s.poll()).toBe(Infinity);
});

test("loopback holds 1,024 packets and drops the next", () => {
  const s = new Script();
  const send = (): boolean =>
    s.stack.udp.send(parseIpv4(LOCAL)!, 7, parseIpv4(LOCAL)!, 8, Uint8Array.of(1), s.nowMs);
  for (let packet = 0; packet < 1_024; packet++) expect(send()).toBe(true);
  expect([send(), s.drops()]).toEqual([false, { LinkFull: 1 }]);
});

test("path MTUs: 4,096 are remembered, for ten minutes, none below 552", () => {
  const { output } = new Script().stack;
  const first = parseIpv4("10.0.1.0")!;
  output.setNow(0);
  for (let at = 0; at < 4_096; at++) output.lowerMtu(first + at, 1_000);
  expect([output.mtuTowards(first), output.mtuTowards(first + 4_095)]).toEqual([1_000, 1_000]);
  output.lowerMtu(first + 4_096, 100);
  expect([output.mtuTowards(first), output.mtuTowards(first + 4_096)]).toEqual([1_500, 552]);
  expect(output.lowerMtu(first + 1, 1_000)).toBe(false); // no news
  output.setNow(599_999);
  expect(output.mtuTowards(first + 1)).toBe(1_000);
  output.setNow(600_000);
  expect(output.mtuTowards(first + 1)).toBe(1_500);
});

test("random bytes behind right checksums crash nothing and leave the connection's invariants whole", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const s = new Script({ seed }).accepted("mss 1460,TS 100 0,wscale 7");
    s.write(3_000);
    for (let step = 0; step < 200; step++) {
      const packet = s.main.packet(`. ${prng.between(-5, 2000)} ack ${prng.between(-5, 3_010)} <TS 100 1>`);
      for (let change = prng.below(4); change > 0; change--) {
        packet[24 + prng.below(packet.length - 24)] = prng.below(256);
      }
      packet[36] = packet[37] = 0;
      const sum = obviousChecksum(pseudoHeader(packet, 6, packet.length - 20), packet.subarray(20));
      packet.set([sum >> 8, sum & 255], 36);
      s.receive(packet);
      s.poll();
      if (prng.chance(0.3)) s.wait(prng.below(1_000));
      const { tcb } = s;
      if (tcb.state === 0) break;
      const label = `seed ${seed} step ${step} ${tcpStateNames[tcb.state]}`;
      expect((tcb.sndMax - tcb.sndUna) | 0, label).toBeGreaterThanOrEqual(0);
      expect((tcb.rcvAdv - tcb.rcvNxt) | 0, label).toBeGreaterThanOrEqual(0);
      expect(tcb.cwnd, label).toBeGreaterThanOrEqual(tcb.sndMss);
    }
  }
});

test("readSegment() of the checker refuses what is wrong, so that it can find something", () => {
  const good = new Script().main.packet("S 0 <mss 1460>");
  expect(readSegment(good).options).toEqual([[2, 5, 180]]);
  for (let at = 0; at < good.length; at++) {
    const bad = good.slice();
    bad[at]! ^= 4;
    expect(() => readSegment(bad), `${at}`).toThrow();
  }
});
