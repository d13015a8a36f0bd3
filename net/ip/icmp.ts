import type { Slab } from "../../base/slab.ts";
import { seqLess, seqLessEqual } from "../../base/sequence.ts";
import { Field, RecordState } from "../connections/connection_map.ts";
import { Verdict } from "../firewall/packet.ts";
import { AddressKind } from "./route_record.ts";
import type { Stack } from "../stack.ts";
import { claimTooBig } from "../tcp/too_big.ts";
import { pathMtuMin } from "./path_mtu.ts";
import { Asleep } from "../wake/slot.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../tcp/tcb.ts";
import { UdpError } from "../udp/udp.ts";
import { isBroadcast, isIpv6Handle, isMulticast, isUnspecified } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import {
  type IcmpRecord,
  IcmpType,
  IcmpUnreachable,
  isIcmpError,
  writeIcmpEchoReply,
  writeIcmpError,
} from "../wire/icmp.ts";
import { type Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { sendIcmpError6 } from "./icmpv6.ts";

/** An ICMP message for us: echo is answered, errors reach the connection that they quote (RFC 1122 section 3.2.2). */
export function icmpInput(
  stack: Stack,
  interfaceIndex: number,
  ip: Ipv4Record,
  icmp: IcmpRecord,
  slab: Slab,
  nowMs: number,
): Drop {
  if (icmp.type === IcmpType.Echo) {
    if (!stack.isOurs(ip.destination)) return Drop.IcmpType; // a group, or everyone in a network
    const { slab: out, transportStart } = stack.output;
    const end = writeIcmpEchoReply(icmp, slab, out, transportStart);
    stack.output.sendTransport(PROTOCOL_ICMP, ip.destination, ip.source, end, 0, 64, nowMs, false);
    return Drop.None;
  }
  if (!icmp.hasQuote || icmp.type === IcmpType.SourceQuench || icmp.type === IcmpType.Redirect) {
    return Drop.IcmpType; // source quench is ignored by RFC 6633, redirects by prudence
  }
  const quote = icmp.quote;
  if (quote.protocol === PROTOCOL_UDP) return udpError(stack, icmp);
  if (quote.protocol !== PROTOCOL_TCP) return Drop.IcmpType;
  const map = stack.connections;
  const record = map.find(quote.source, quote.destination, icmp.quoteSourcePort, icmp.quoteDestinationPort);
  if (record < 0) return stack.passOn(interfaceIndex, ip, slab) ? Drop.PassedOn : Drop.IcmpType;
  const state = map.state(record);
  if (state === RecordState.awake) {
    const tcb = stack.tcp.tcbAt(map.get(record, Field.slot));
    if (!tcb.saving) return tcpError(stack, tcb, icmp, nowMs);
  } else if (state === RecordState.asleep || stack.sleepers.waits(record)) {
    // As a rule a sleeper has nothing in flight that an honest error could be about (RFC 5927 section 4.1).
    const busy = (map.get(record, Field.meta) & Asleep.wakeOnAny) !== 0;
    if (!busy || !seqLess(icmp.quoteSequence, map.get(record, Field.sndNxt))) return Drop.IcmpType;
  }
  return stack.sleepers.news(record, interfaceIndex, ip, slab, nowMs);
}

/** RFC 1122 section 4.1.3.3: what cannot be delivered is told to whoever sent it, if it wants to know. */
function udpError(stack: Stack, icmp: IcmpRecord): Drop {
  const { source, destination } = icmp.quote;
  const port = icmp.quoteDestinationPort;
  const socket = stack.udp.find(source, icmp.quoteSourcePort, destination, port);
  if (socket === undefined) return Drop.IcmpType;
  const { type, code } = icmp;
  const report = (error: UdpError, hard: boolean, mtu = 0): Drop => {
    stack.udp.report(socket, { error, address: destination, port, mtu }, hard);
    return Drop.None;
  };
  if (type !== IcmpType.Unreachable) {
    return report(UdpError.HostUnreachable, type === IcmpType.ParameterProblem);
  }
  switch (code) {
    case IcmpUnreachable.FragmentationNeeded:
      stack.output.lowerMtu(destination, icmp.rest & 0xffff);
      if (!socket.dontFragment) return Drop.None; // what comes next leaves in fragments
      return report(UdpError.TooBig, true, stack.output.mtuTowards(destination));
    case IcmpUnreachable.Port:
    case IcmpUnreachable.Protocol:
      return report(UdpError.Refused, true);
    case IcmpUnreachable.Network:
      return report(UdpError.NetworkUnreachable, false);
    case IcmpUnreachable.NetworkUnknown:
    case IcmpUnreachable.NetworkProhibited:
      return report(UdpError.NetworkUnreachable, true);
    default: // which of them are final is Linux's judgment
      return report(UdpError.HostUnreachable, !SOFT_UNREACHABLES.includes(code));
  }
}

/** Host, source route failed, network or host with this type of service. */
const SOFT_UNREACHABLES: readonly number[] = [1, 5, 11, 12];

/** RFC 9293 section 3.9.2.2, RFC 5927: soft errors are noted, hard ones end only a handshake. */
function tcpError(stack: Stack, tcb: Tcb, icmp: IcmpRecord, nowMs: number): Drop {
  const sequence = icmp.quoteSequence;
  const first = tcb.state === TcpState.synReceived ? tcb.iss : tcb.sndUna; // Fast Open's SND.UNA is beyond the SYN
  if (seqLess(sequence, first) || seqLessEqual(tcb.sndMax, sequence)) {
    stack.tcp.counters.outOfWindowIcmps++;
    return Drop.IcmpType;
  }
  const unreachable = icmp.type === IcmpType.Unreachable;
  if (unreachable && icmp.code === IcmpUnreachable.FragmentationNeeded) {
    if (!tcb.pathMtuDiscovery) return Drop.IcmpType; // routers were allowed to fragment
    const mtu = Math.max(pathMtuMin(tcb.remoteAddress), icmp.rest & 0xffff);
    claimTooBig(stack.tcp, tcb, mtu, sequence, nowMs);
    return Drop.None;
  }
  tcb.softError = (icmp.type << 8) | icmp.code;
  const hard = unreachable && (icmp.code === IcmpUnreachable.Protocol || icmp.code === IcmpUnreachable.Port);
  const opening = tcb.state === TcpState.synSent || tcb.state === TcpState.synReceived;
  if (hard && tcb.state === TcpState.synSent) stack.tcp.destroy(tcb, TcpError.refused);
  else if (unreachable && opening && stack.tcp.config.icmpEndsHandshake) {
    stack.tcp.destroy(tcb, hard ? TcpError.refused : TcpError.unreachable);
  } else if (tcb.state >= TcpState.established) stack.tcp.notify(tcb, TcpEvent.trouble); // MUST-47, SHLD-25
  return Drop.None;
}

/**
 * Tells the sender of `ip` that its packet went nowhere, unless RFC 1122 section 3.2.2 forbids it or
 * the rate limit does. The packet lies whole in `slab`; `rest` is the message's second word. To IPv6 the words are
 * translated.
 */
export function sendIcmpError(
  stack: Stack,
  type: number,
  code: number,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
  rest: number = 0,
): Drop {
  const { source, destination } = ip;
  if (isIpv6Handle(source)) return sendIcmpError6(stack, type, code, rest, ip, slab, nowMs);
  const kind = stack.output.routes.classify(destination);
  const passing = stack.forwarding && kind === AddressKind.Other;
  if (kind !== AddressKind.Ours && !passing) return Drop.IcmpType;
  const from = passing ? stack.output.sourceTowards(source) : destination; // a router has an address of its own
  if (from === undefined || from === 0) return Drop.IcmpType;
  if (isUnspecified(source) || isMulticast(source) || isBroadcast(source)) return Drop.IcmpType;
  if (ip.fragmentOffset !== 0) return Drop.IcmpType;
  if (ip.protocol === PROTOCOL_ICMP && isIcmpError(slab.bytes[ip.dataStart]!)) return Drop.IcmpType;
  const tooBig = type === IcmpType.Unreachable && code === IcmpUnreachable.FragmentationNeeded;
  if (!stack.icmpErrors.allow(source, !tooBig, nowMs)) return Drop.IcmpRate;
  const { slab: out, transportStart } = stack.output;
  const end = writeIcmpError(type, code, rest, slab, ip.headerStart, ip.dataEnd, out, transportStart);
  stack.output.sendTransport(PROTOCOL_ICMP, from, source, end, 0, 64, nowMs, false);
  return Drop.None;
}

/** What becomes of a datagram or message that the firewall does not take: its sender is told, when a rule says so. */
export function refuseDatagram(
  stack: Stack,
  verdict: Verdict,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
): Drop {
  if (verdict !== Verdict.Reject) return Drop.Firewall;
  sendIcmpError(stack, IcmpType.Unreachable, IcmpUnreachable.Port, ip, slab, nowMs);
  return Drop.FirewallReject;
}
