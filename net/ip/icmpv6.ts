import type { Slab } from "../../base/slab.ts";
import type { Stack } from "../stack.ts";
import { isUnspecified } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import { type IcmpRecord, IcmpTimeExceeded, IcmpType, IcmpUnreachable } from "../wire/icmp.ts";
import {
  type Icmpv6Record,
  Icmpv6Type,
  Icmpv6Unreachable,
  isIcmpv6Error,
  writeIcmpv6,
  writeIcmpv6Error,
} from "../wire/icmpv6.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { Problem, PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import { AddressKind } from "./route_record.ts";

/** Answers an echo request; one to a group is answered from an address of our own (RFC 4443 section 4.2). */
export function sendEchoReply6(
  stack: Stack,
  ip: Ipv4Record,
  icmp: Icmpv6Record,
  slab: Slab,
  nowMs: number,
): Drop {
  const { slab: out, transportStart } = stack.output;
  const source = stack.isOurs(ip.destination) ? ip.destination : stack.output.sourceTowards(ip.source);
  if (source === undefined || source === 0 || isUnspecified(ip.source)) return Drop.IcmpType;
  const { rest, dataStart, dataEnd } = icmp;
  const end = writeIcmpv6(Icmpv6Type.EchoReply, 0, rest, slab, dataStart, dataEnd, out, transportStart);
  stack.output.sendTransport(PROTOCOL_ICMPV6, source, ip.source, end, 0, 64, nowMs, false);
  return Drop.None;
}

/**
 * Puts an ICMPv6 error into ICMPv4's words, as RFC 7915 section 5.2 does, so that the layers above know one
 * vocabulary.
 * @returns False when it quotes nobody that we know, or says nothing that anybody wants to hear.
 */
export function translateError(
  stack: Stack,
  icmp: Icmpv6Record,
  slab: Slab,
  zone: number,
  into: IcmpRecord,
): boolean {
  if (!icmp.hasQuote) return false;
  const { quote } = icmp;
  const source = stack.addresses.lookup(slab, quote.headerStart + 8, zone);
  const destination = stack.addresses.lookup(slab, quote.headerStart + 24, zone);
  if (source === 0 || destination === 0) return false;
  into.rest = 0;
  switch (icmp.type) {
    case Icmpv6Type.Unreachable:
      into.type = IcmpType.Unreachable;
      into.code = icmp.code === Icmpv6Unreachable.Port
        ? IcmpUnreachable.Port
        : icmp.code === Icmpv6Unreachable.NoRoute
        ? IcmpUnreachable.Network
        : icmp.code === Icmpv6Unreachable.Prohibited || icmp.code > Icmpv6Unreachable.Port
        ? IcmpUnreachable.Prohibited
        : IcmpUnreachable.Host;
      break;
    case Icmpv6Type.PacketTooBig:
      into.type = IcmpType.Unreachable;
      into.code = IcmpUnreachable.FragmentationNeeded;
      into.rest = Math.min(icmp.rest >>> 0, 0xffff);
      break;
    case Icmpv6Type.TimeExceeded:
      into.type = IcmpType.TimeExceeded;
      into.code = icmp.code === 1 ? IcmpTimeExceeded.Reassembly : IcmpTimeExceeded.Transit;
      break;
    default:
      if (icmp.code === Problem.nextHeader) {
        into.type = IcmpType.Unreachable;
        into.code = IcmpUnreachable.Protocol;
      } else {
        into.type = IcmpType.ParameterProblem;
        into.code = 0;
      }
  }
  into.dataStart = icmp.dataStart;
  into.dataEnd = icmp.dataEnd;
  into.hasQuote = true;
  into.quote.source = source;
  into.quote.destination = destination;
  into.quote.protocol = quote.protocol;
  into.quote.fragmentOffset = quote.fragmentOffset;
  into.quote.headerStart = quote.headerStart;
  into.quote.dataStart = quote.dataStart;
  into.quote.dataEnd = quote.dataEnd;
  into.quoteSourcePort = icmp.quoteSourcePort;
  into.quoteDestinationPort = icmp.quoteDestinationPort;
  into.quoteSequence = icmp.quoteSequence;
  return true;
}

/**
 * Tells the sender of `ip` that its packet went nowhere, in ICMPv4's words (`type`, `code`, `rest`), which are
 * translated.
 */
export function sendIcmpError6(
  stack: Stack,
  type: number,
  code: number,
  rest: number,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
): Drop {
  switch (type) {
    case IcmpType.Unreachable:
      if (code === IcmpUnreachable.FragmentationNeeded) {
        return sendIcmpv6Error(stack, Icmpv6Type.PacketTooBig, 0, rest, true, ip, slab, nowMs);
      }
      return sendIcmpv6Error(stack, Icmpv6Type.Unreachable, unreachableCode(code), 0, false, ip, slab, nowMs);
    case IcmpType.TimeExceeded:
      return sendIcmpv6Error(stack, Icmpv6Type.TimeExceeded, code, 0, false, ip, slab, nowMs);
    default:
      return Drop.IcmpType;
  }
}

function unreachableCode(code: number): number {
  switch (code) {
    case IcmpUnreachable.Port:
      return Icmpv6Unreachable.Port;
    case IcmpUnreachable.Network:
    case IcmpUnreachable.NetworkUnknown:
      return Icmpv6Unreachable.NoRoute;
    case IcmpUnreachable.Prohibited:
    case IcmpUnreachable.NetworkProhibited:
    case IcmpUnreachable.HostProhibited:
      return Icmpv6Unreachable.Prohibited;
    default:
      return Icmpv6Unreachable.Address;
  }
}

/** Tells the sender of `ip` what is wrong with its header, `at` so many bytes from its start. */
export function sendParameterProblem(
  stack: Stack,
  problem: number,
  at: number,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
): Drop {
  const toGroups = problem === Problem.option; // RFC 4443 section 2.4 (e.3)
  return sendIcmpv6Error(stack, Icmpv6Type.ParameterProblem, problem, at, toGroups, ip, slab, nowMs);
}

/**
 * Tells the sender of `ip` what became of its packet, in ICMPv6's own words, unless RFC 4443 section 2.4 (e), (f)
 * forbids it or the rate limit does.
 * @param toGroups Also when the packet went to a group.
 */
export function sendIcmpv6Error(
  stack: Stack,
  type: number,
  code: number,
  rest: number,
  toGroups: boolean,
  ip: Ipv4Record,
  slab: Slab,
  nowMs: number,
): Drop {
  const { addresses, output } = stack;
  const ours = stack.isOurs(ip.destination);
  const passing = stack.forwarding && output.routes.classify(ip.destination) === AddressKind.Other;
  if (!ours && !passing && !(toGroups && addresses.isMulticast(ip.destination))) return Drop.IcmpType;
  if (isUnspecified(ip.source) || addresses.isMulticast(ip.source) || ip.fragmentOffset !== 0) {
    return Drop.IcmpType;
  }
  if (ip.protocol === PROTOCOL_ICMPV6) {
    const about = ip.dataStart < ip.dataEnd ? slab.bytes[ip.dataStart]! : 0;
    if (isIcmpv6Error(about) || about === Icmpv6Type.Redirect) return Drop.IcmpType;
  }
  const source = ours ? ip.destination : output.sourceTowards(ip.source);
  if (source === undefined || source === 0) return Drop.NoRoute;
  const limited = type !== Icmpv6Type.PacketTooBig;
  if (!stack.icmpErrors.allow(addresses.digest(ip.source), limited, nowMs)) return Drop.IcmpRate;
  const { slab: out, transportStart } = output;
  const end = writeIcmpv6Error(type, code, rest, slab, ip.headerStart, ip.dataEnd, out, transportStart);
  output.sendTransport(PROTOCOL_ICMPV6, source, ip.source, end, 0, 64, nowMs, false);
  return Drop.None;
}
