import { Slab } from "../../../base/slab.ts";
import { sendIcmpv6Error } from "../../ip/icmpv6.ts";
import { sendIcmpError } from "../../ip/icmp.ts";
import type { Stack } from "../../stack.ts";
import { sendStrayReset } from "../../tcp/output.ts";
import { Drop } from "../../wire/drop.ts";
import { IcmpType, isIcmpError, writeIcmpError } from "../../wire/icmp.ts";
import { finishIcmpv6Checksum, Icmpv6Type, isIcmpv6Error, writeIcmpv6Error } from "../../wire/icmpv6.ts";
import { IPV4_HEADER_LENGTH, Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, writeIpv4 } from "../../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH, PROTOCOL_ICMPV6, writeIpv6 } from "../../wire/ipv6.ts";
import { finishTcpChecksum, readTcp, TcpFlag, TcpRecord, writeTcp } from "../../wire/tcp.ts";
import type { RejectSpec } from "./linked.ts";
import { Nfproto, type NftPacket } from "./packet.ts";
import { answerTo, refusalFor } from "./refuse.ts";

/** Codes of destination unreachable by those of `icmpx`: no-route, port-unreachable, host-unreachable, admin-prohibited. */
const ICMPX_IPV4 = [0, 3, 1, 13] as const;
const ICMPX_IPV6 = [0, 4, 3, 1] as const;

const segment = new TcpRecord();

function codeOf({ type, code }: RejectSpec, nfproto: number): number {
  if (type !== "icmpx") return code;
  return (nfproto === Nfproto.Ipv6 ? ICMPX_IPV6 : ICMPX_IPV4)[code]!;
}

/** Tells the sender of a packet that rules rejected, as `nft` has it: a TCP reset, or destination unreachable. */
export function rejectPacket(
  stack: Stack,
  reject: RejectSpec,
  packet: NftPacket,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
): void {
  if (reject.type === "tcp reset") {
    if (packet.transport < 0 || readTcp(slab, packet.transport, packet.end, segment) !== Drop.None) return;
    const refusal = refusalFor(stack.hooks.conntrack, reject, packet, segment);
    if (refusal === undefined) sendStrayReset(stack.tcp, ip.destination, ip.source, segment, nowMs);
    else if (refusal.length > 0) {
      stack.hooks.abandon(packet, segment);
      const { output, segment: answer } = stack.tcp;
      answerTo(segment, answer);
      const at = writeTcp(answer, output.slab, output.transportStart);
      output.slab.bytes.set(refusal, at);
      const end = at + refusal.length;
      output.sendTransport(PROTOCOL_TCP, ip.destination, ip.source, end, 0, 64, nowMs);
    }
    return;
  }
  const code = codeOf(reject, packet.nfproto);
  if (packet.nfproto === Nfproto.Ipv6) {
    sendIcmpv6Error(stack, Icmpv6Type.Unreachable, code, 0, false, ip, slab, nowMs);
  } else sendIcmpError(stack, IcmpType.Unreachable, code, ip, slab, nowMs);
}

/**
 * Rules rejected what we ourselves wanted to send: whoever of us sent it is told the same way. The answer comes to us as
 * a packet, at the end of the turn. Rare: it may cost memory.
 */
export function rejectToOurselves(stack: Stack, reject: RejectSpec, packet: NftPacket): void {
  const { slab, start, end, transport, nfproto } = packet;
  if (transport < 0) return;
  const six = nfproto === Nfproto.Ipv6;
  const header = six ? IPV6_HEADER_LENGTH : IPV4_HEADER_LENGTH;
  const answer = Slab.of(header + 1_500);
  const isReset = reject.type === "tcp reset";
  const protocol = isReset ? PROTOCOL_TCP : six ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
  let length: number;
  if (isReset) {
    if (readTcp(slab, transport, end, segment) !== Drop.None || (segment.flags & TcpFlag.RST) !== 0) return;
    const refusal = refusalFor(stack.hooks.conntrack, reject, packet, segment);
    if (refusal === undefined) length = writeReset(answer, header) - header;
    else {
      if (refusal.length === 0) return;
      stack.hooks.abandon(packet, segment);
      const said = new TcpRecord();
      answerTo(segment, said);
      const at = writeTcp(said, answer, header);
      answer.bytes.set(refusal, at);
      length = at + refusal.length - header;
    }
  } else {
    const about = slab.bytes[transport]!;
    if (packet.protocol === PROTOCOL_ICMP && isIcmpError(about)) return;
    if (packet.protocol === PROTOCOL_ICMPV6 && isIcmpv6Error(about)) return;
    const code = codeOf(reject, nfproto);
    const written = six
      ? writeIcmpv6Error(Icmpv6Type.Unreachable, code, 0, slab, start, end, answer, header)
      : writeIcmpError(IcmpType.Unreachable, code, 0, slab, start, end, answer, header);
    length = written - header;
  }
  const from = stack.hooks.outDestination();
  const to = stack.hooks.outSource();
  // Of an error both ends are we ourselves; a reset comes from where the segment was to go.
  const source = isReset ? from : to;
  const { addresses } = stack;
  const sums = [addresses.sum(source), addresses.sum(to)] as const;
  if (isReset) finishTcpChecksum(answer, header, header + length, ...sums);
  else if (six) finishIcmpv6Checksum(answer, header, header + length, ...sums);
  if (six) {
    writeIpv6(answer, 0, length, protocol, 0, 0, 64);
    addresses.write(source, answer, 8);
    addresses.write(to, answer, 24);
  } else {
    const ip = new Ipv4Record();
    Object.assign(ip, { source, destination: to, protocol, timeToLive: 64, dontFragment: true });
    writeIpv4(ip, answer, 0, length);
  }
  const zone = six ? addresses.zone(to) : 0;
  stack.output.loopback.push({ packet: new Slab(answer.bytes.slice(0, header + length)), zone });
}

/** The answer to `segment` of RFC 9293 section 3.10.7.1. */
function writeReset(into: Slab, at: number): number {
  const answer = new TcpRecord();
  answer.clear();
  const acked = (segment.flags & TcpFlag.ACK) !== 0;
  const counted = (segment.flags & TcpFlag.SYN ? 1 : 0) + (segment.flags & TcpFlag.FIN ? 1 : 0);
  answer.sourcePort = segment.destinationPort;
  answer.destinationPort = segment.sourcePort;
  answer.sequence = acked ? segment.acknowledgment : 0;
  answer.acknowledgment = acked ? 0 : (segment.sequence + segment.dataEnd - segment.dataStart + counted) | 0;
  answer.flags = acked ? TcpFlag.RST : TcpFlag.RST | TcpFlag.ACK;
  return writeTcp(answer, into, at);
}
