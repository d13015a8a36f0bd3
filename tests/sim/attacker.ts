import type { Prng } from "../../base/random.ts";
import { obviousChecksum, pseudoHeader } from "../net/tcp/checker.ts";
import { setWord } from "./fabric.ts";
import type { Flow } from "./judge.ts";
import type { Attack } from "./plan.ts";

/** Packets of an attack that comes many at once. */
const FLOOD = 12;
/** Of them, those that may be answered: at the rate of challenge ACKs (RFC 5961 section 7), and an ACK that was owed. */
export const FLOOD_ANSWERS_MAX = 3;

/** How many packets an attack is. */
export function packetsOf(attack: Attack): number {
  return attack.endsWith("many at once") ? FLOOD : 1;
}

/**
 * A packet of somebody who is on no path, knows the addresses and ports of a connection and guesses the
 * numbers, as RFC 5961 and RFC 5927 have it: it must not break the connection. `undefined` when there is
 * nothing to attack yet. Numbers that would be right are not guessed: blind attackers hit them once in 2^32;
 * but for what a network may have kept since the numbers were last in use, which timestamps tell (RFC 7323 section 5).
 */
export function forge(
  attack: Attack,
  flow: Flow,
  toServer: boolean,
  prng: Prng,
): Uint8Array<ArrayBuffer> | undefined {
  const [victim, other] = toServer ? [flow.server, flow.client] : [flow.client, flow.server];
  if (victim.isn === undefined || other.isn === undefined) return undefined;
  const ports = toServer ? [flow.clientPort, flow.serverPort] : [flow.serverPort, flow.clientPort];
  const next = other.isn + victim.arrived.endOf(1); // what the victim expects
  const far = 0x2000_0000 + prng.below(0x2000_0000);
  const inside = 1 + prng.below(1_000);
  const segment = (
    flags: string,
    sequence: number,
    acknowledgment: number,
    data = 0,
    tsVal?: number,
  ): Uint8Array<ArrayBuffer> => {
    const header = tsVal === undefined ? 20 : 32;
    const tcp = new Uint8Array(header + data);
    setWord(tcp, 0, ports[0]!);
    setWord(tcp, 2, ports[1]!);
    setWord(tcp, 4, (sequence >>> 16) & 0xffff);
    setWord(tcp, 6, sequence & 0xffff);
    setWord(tcp, 8, (acknowledgment >>> 16) & 0xffff);
    setWord(tcp, 10, acknowledgment & 0xffff);
    tcp[12] = header << 2;
    if (tsVal !== undefined) {
      tcp.set([1, 1, 8, 10], 20);
      setWord(tcp, 24, (tsVal >>> 16) & 0xffff);
      setWord(tcp, 26, tsVal & 0xffff);
    }
    tcp[13] = [..."FSRP."].reduce((bits, letter, bit) => bits | (flags.includes(letter) ? 1 << bit : 0), 0);
    setWord(tcp, 14, 1_000);
    tcp.fill(0xbd, header);
    const packet = headed(flow, toServer, 6, tcp);
    setWord(
      packet,
      packet.length - tcp.length + 16,
      obviousChecksum(pseudoHeader(packet, 6, tcp.length), tcp),
    );
    return packet;
  };
  switch (attack) {
    case "reset outside the window":
      return segment("R", next + far, 0);
    case "reset inside the window":
      return segment("R", next + inside, 0);
    case "SYN inside the window":
      return segment("S", next + inside, 0);
    case "data with an old ACK":
      return segment(".P", next, victim.isn + victim.end - far, 10);
    case "data outside the window":
      return segment(".P", next + far, victim.isn + 1, 10);
    case "unreachable":
      return icmp(flow, toServer, prng.below(3), victim.isn + victim.end - 1 - inside, 0);
    case "fragmentation needed, quoting nonsense":
      return icmp(flow, toServer, 4, victim.isn + victim.end + far, 68 + prng.below(500));
    case "data with an old timestamp":
      if (!stamped(flow)) return undefined;
      return segment(".P", next, victim.isn + victim.end, 10, other.manners.firstTsVal - 1_000 - inside);
    case "data without a timestamp":
      return stamped(flow) ? segment(".P", next, victim.isn + victim.end, 10) : undefined;
    case "data with an ACK of what was never sent":
      return segment(".P", next, victim.isn + victim.end + far, 10);
    case "old data, and not what it was":
      return victim.acked > 20 ? segment(".P", other.isn + victim.acked - 20, victim.isn + 1, 10) : undefined;
    case "FIN outside the window":
      return segment("F.", next + far, victim.isn + victim.end);
    case "reset before the window": // but behind a FIN it may be the one that follows it
      return victim.acked - 1 === victim.heardFin ? undefined : segment("R", other.isn + victim.acked - 1, 0);
    case "resets inside the window, many at once":
      return segment("R", next + inside, 0);
    case "SYNs inside the window, many at once":
      return segment("S", next + inside, 0);
    case "garbage": {
      const noise = new Uint8Array(prng.between(1, 60));
      prng.fill(noise);
      return headed(flow, toServer, prng.pick([1, 2, 6, 17, 58, 99]), noise);
    }
  }
}

/** Whether its timestamps count: both ends have offered them. */
function stamped({ client, server }: Flow): boolean {
  return client.manners.stamps && server.manners.stamps;
}

function headed(flow: Flow, toServer: boolean, protocol: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const [source, destination] = toServer
    ? [flow.clientAddress, flow.serverAddress]
    : [flow.serverAddress, flow.clientAddress];
  const ipv6 = source.length === 16;
  const length = (ipv6 ? 40 : 20) + body.length;
  const packet = new Uint8Array(length);
  if (ipv6) packet.set([0x60, 0, 0, 0, body.length >> 8, body.length & 255, protocol, 64]);
  else packet.set([0x45, 0, length >> 8, length & 255, 0, 0, 0x40, 0, 64, protocol]);
  packet.set(source, ipv6 ? 8 : 12);
  packet.set(destination, ipv6 ? 24 : 16);
  if (!ipv6) setWord(packet, 10, obviousChecksum(packet.subarray(0, 20)));
  packet.set(body, length - body.length);
  return packet;
}

/** An ICMP error about a segment that the victim seems to have sent. */
function icmp(
  flow: Flow,
  toServer: boolean,
  code: number,
  sequence: number,
  mtu: number,
): Uint8Array<ArrayBuffer> {
  const ports = toServer ? [flow.serverPort, flow.clientPort] : [flow.clientPort, flow.serverPort];
  const tcp = new Uint8Array(20);
  setWord(tcp, 0, ports[0]!);
  setWord(tcp, 2, ports[1]!);
  setWord(tcp, 4, (sequence >>> 16) & 0xffff);
  setWord(tcp, 6, sequence & 0xffff);
  tcp[12] = 0x50;
  const quote = headed(flow, !toServer, 6, tcp);
  const ipv6 = quote[0]! >> 4 === 6;
  const body = new Uint8Array(8 + quote.length);
  if (ipv6) body.set(code === 4 ? [2, 0, 0, 0, 0, 0, mtu >> 8, mtu & 255] : [1, code, 0, 0]);
  else body.set([3, code, 0, 0, 0, 0, mtu >> 8, mtu & 255]);
  body.set(quote, 8);
  const packet = headed(flow, toServer, ipv6 ? 58 : 1, body);
  const at = packet.length - body.length;
  const sum = ipv6 ? obviousChecksum(pseudoHeader(packet, 58, body.length), body) : obviousChecksum(body);
  setWord(packet, at + 2, sum);
  return packet;
}
