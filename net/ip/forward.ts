import { Slab } from "../../base/slab.ts";
import type { ForwardGate } from "../firewall/forward_gate.ts";
import { Verdict } from "../firewall/packet.ts";
import type { Stack } from "../stack.ts";
import { isInPrefix } from "../wire/address.ts";
import { foldSum } from "../wire/checksum.ts";
import { Drop } from "../wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { IcmpTimeExceeded, IcmpType, IcmpUnreachable } from "../wire/icmp.ts";
import { hasSourceRoute, IPV4_HEADER_LENGTH, Ipv4Record, readIpv4 } from "../wire/ipv4.ts";
import { Ipv6Forwarder } from "./forward6.ts";
import { sendIcmpError } from "./icmp.ts";
import { ICMP_ERRORS_BURST } from "./icmp_limits.ts";
import type { Ipv6Input } from "./ipv6_input.ts";
import { AddressKind, type RouteRecord } from "./route_record.ts";

/** What a router has passed on. */
export interface ForwardCounters {
  packets: number;
  bytes: number;
  /** Packets that were too long for their next link and left in pieces. */
  fragmented: number;
}

/** Where the time to live and, after the protocol, the checksum stand in a header. */
const AT = { timeToLive: 8, checksum: 10 } as const;
/** Packets of one turn whose senders are told that nobody takes them: the burst that the rate limit allows. */
const LOST_MAX = ICMP_ERRORS_BURST;
const LINK_LOCAL = 0xa9fe_0000 | 0;

/**
 * Passes on what is neither ours nor for everyone (RFC 1812 section 5), by the same routes as our own
 * packets. Sends no redirects, and takes no part in routing protocols.
 *
 * A packet passes the firewall once, as `forward`, with the interface that it came in by. Rules see whole
 * packets: while there are any, fragments are put together first, and cut again where they leave.
 */
export class Forwarder {
  readonly counters: ForwardCounters = { packets: 0, bytes: 0, fragmented: 0 };
  /** The same for IPv6 packets. */
  readonly ipv6: Ipv6Forwarder;
  readonly #stack: Stack;
  readonly #gate: ForwardGate;
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };

  /** Packets of one turn whose next hops did not answer. */
  readonly #lost: Slab[] = [];
  readonly #lostIp = new Ipv4Record();

  constructor(stack: Stack, ip6: Ipv6Input, gate: ForwardGate) {
    this.#stack = stack;
    this.#gate = gate;
    this.ipv6 = new Ipv6Forwarder(stack, ip6, gate, this.counters);
  }

  /**
   * Whether a packet may be passed on at all: both ends are hosts, and neither's address is of this link
   * only (RFC 3927 section 7). Who asks has looked at the frame: what was sent to everyone stays here.
   */
  mayForward(ip: Ipv4Record): boolean {
    return this.#stack.output.routes.classify(ip.destination) === AddressKind.Other &&
      !isInPrefix(ip.destination, LINK_LOCAL, 16) && !isInPrefix(ip.source, LINK_LOCAL, 16);
  }

  /** Passes on the packet that `ip` describes, whole when there are rules. */
  forward(interfaceIndex: number, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const stack = this.#stack;
    if (hasSourceRoute(slab, ip)) return Drop.Ipv4Source; // a way around every rule (RFC 7126 section 4.3)
    if (ip.timeToLive <= 1) {
      sendIcmpError(stack, IcmpType.TimeExceeded, IcmpTimeExceeded.Transit, ip, slab, nowMs);
      return Drop.Ipv4TimeToLive;
    }
    const route = this.#route;
    if (!stack.output.routes.route(ip.destination, route)) {
      sendIcmpError(stack, IcmpType.Unreachable, IcmpUnreachable.Network, ip, slab, nowMs);
      return Drop.NoRoute;
    }
    const verdict = this.#gate.judge(ip, slab, interfaceIndex);
    if (verdict !== Verdict.Accept) {
      if (verdict !== Verdict.Reject) return Drop.Firewall;
      sendIcmpError(stack, IcmpType.Unreachable, IcmpUnreachable.Prohibited, ip, slab, nowMs);
      return Drop.FirewallReject;
    }
    const mtu = stack.output.interfaces[route.interfaceIndex]!.mtu4;
    const length = ip.dataEnd - ip.headerStart;
    if (stack.hooks.rules !== undefined) {
      // Before it gets another source: its sender is told.
      if (length > mtu && mayNotBeCut(ip)) return this.#tellTooBig(ip, slab, mtu, nowMs);
      const reason = stack.hooks.forward(ip, slab, route.interfaceIndex, nowMs);
      if (reason !== Drop.None) return reason;
    }
    if (length > mtu) return this.#forwardPieces(ip, slab, mtu, nowMs);
    const out = stack.output.slab;
    const start = ETHERNET_HEADER_LENGTH;
    out.bytes.set(slab.bytes.subarray(ip.headerStart, ip.dataEnd), start);
    spendTimeToLive(out, start);
    this.#count(length);
    stack.output.frames.sendPacket(route.interfaceIndex, route.nextHop, start, start + length, nowMs);
    return Drop.None;
  }

  /** A packet's next hop does not answer. If it was passed on, its sender is told at the end of the turn. */
  lose(slab: Slab, start: number, end: number): void {
    if (this.#stack.forwarding && this.#lost.length < LOST_MAX) {
      this.#lost.push(new Slab(slab.bytes.slice(start, end)));
    }
  }

  /** Host unreachable, for packets that a neighbour should have taken (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). */
  tellLost(nowMs: number): void {
    if (this.#lost.length === 0) return;
    const stack = this.#stack;
    const ip = this.#lostIp;
    // One that was given an address of ours is not ours: tracking knows whose it is.
    const translated = stack.hooks.rules?.uses.nat === true;
    for (const slab of this.#lost.splice(0)) {
      if (slab.bytes[0]! >>> 4 === 6) {
        this.ipv6.tellLost(slab, nowMs);
        continue;
      }
      if (readIpv4(slab, 0, slab.bytes.length, ip) !== Drop.None) continue;
      if (!translated && stack.isOurs(ip.source)) continue;
      sendIcmpError(stack, IcmpType.Unreachable, IcmpUnreachable.Host, ip, slab, nowMs);
    }
  }

  #tellTooBig(ip: Ipv4Record, slab: Slab, mtu: number, nowMs: number): Drop {
    const { FragmentationNeeded } = IcmpUnreachable;
    sendIcmpError(this.#stack, IcmpType.Unreachable, FragmentationNeeded, ip, slab, nowMs, mtu);
    return Drop.PacketTooBig;
  }

  #forwardPieces(ip: Ipv4Record, slab: Slab, mtu: number, nowMs: number): Drop {
    const { output } = this.#stack;
    if (mayNotBeCut(ip)) return this.#tellTooBig(ip, slab, mtu, nowMs);
    const { interfaceIndex, nextHop } = this.#route;
    const at = output.transportStart;
    const end = at + ip.dataEnd - ip.dataStart;
    output.slab.bytes.set(slab.bytes.subarray(ip.dataStart, ip.dataEnd), at);
    ip.timeToLive--;
    this.#count(ip.dataEnd - ip.headerStart);
    this.counters.fragmented++;
    output.sendFragments(ip, interfaceIndex, nextHop, mtu, end, nowMs);
    return Drop.None;
  }

  #count(length: number): void {
    this.counters.packets++;
    this.counters.bytes += length;
  }
}

/** Whether its sender forbids it; and nobody cuts packets with options any more: told as if it could not be. */
function mayNotBeCut(ip: Ipv4Record): boolean {
  return ip.dontFragment || ip.dataStart - ip.headerStart > IPV4_HEADER_LENGTH;
}

/** One less, and the checksum follows without reading the rest of the header (RFC 1624, equation 3). */
function spendTimeToLive(slab: Slab, at: number): void {
  const { view } = slab;
  const before = view.getUint16(at + AT.timeToLive); // with the protocol: the sum is of words
  const after = (before - 0x100) & 0xffff; // a rule may have given it all it can have
  view.setUint16(at + AT.timeToLive, after);
  const sum = (~view.getUint16(at + AT.checksum) & 0xffff) + (~before & 0xffff) + after;
  view.setUint16(at + AT.checksum, ~foldSum(sum) & 0xffff);
}
