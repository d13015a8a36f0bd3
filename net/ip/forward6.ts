import type { Slab } from "../../base/slab.ts";
import type { ForwardGate } from "../firewall/forward_gate.ts";
import { Verdict } from "../firewall/packet.ts";
import type { Stack } from "../stack.ts";
import { Drop } from "../wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { Icmpv6Type, Icmpv6Unreachable } from "../wire/icmpv6.ts";
import { Ipv4Record } from "../wire/ipv4.ts";
import {
  IPV6_FRAGMENT_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
  NEXT_FRAGMENT,
  writeIpv6Fragment,
} from "../wire/ipv6.ts";
import type { ForwardCounters } from "./forward.ts";
import { sendIcmpv6Error } from "./icmpv6.ts";
import type { Ipv6Input } from "./ipv6_input.ts";
import { AddressKind, type RouteRecord } from "./route_record.ts";

/** Where a header says how much follows it, what, and how far it may go. */
const AT = { payloadLength: 4, nextHeader: 6, hopLimit: 7 } as const;

/**
 * As `Forwarder`, for IPv6 (RFC 8200): reads no extension headers but to show them to rules, and cuts nothing.
 * While there are rules, fragments are put together for them first, and leave as long as they came.
 */
export class Ipv6Forwarder {
  readonly #stack: Stack;
  readonly #input: Ipv6Input;
  readonly #gate: ForwardGate;
  readonly #counters: ForwardCounters;
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };
  readonly #lostIp = new Ipv4Record();

  constructor(stack: Stack, input: Ipv6Input, gate: ForwardGate, counters: ForwardCounters) {
    this.#stack = stack;
    this.#input = input;
    this.#gate = gate;
    this.#counters = counters;
  }

  /**
   * Whether a packet is for a host behind us, or somewhere: neither ours, nor a group's, nor of its link only (RFC
   * 4291 section 2.5.6). Who asks has looked at the frame, and at the source.
   */
  mayForward(ip: Ipv4Record): boolean {
    const { output, addresses } = this.#stack;
    return output.routes.classify(ip.destination) === AddressKind.Other &&
      !addresses.isLinkLocal(ip.destination);
  }

  /**
   * Passes on the packet that was read last, as `ip`.
   * @param reason What is wrong with its extension headers, `Drop.None` for nothing.
   * @param cut It came in pieces, which have been put together as `Reassembly.whole` already.
   */
  forward(
    interfaceIndex: number,
    ip: Ipv4Record,
    reason: Drop,
    slab: Slab,
    nowMs: number,
    cut = false,
  ): Drop {
    const stack = this.#stack;
    if (stack.addresses.isLinkLocal(ip.source)) { // RFC 4443 section 3.1: it may not leave its link
      this.#refuse(Icmpv6Type.Unreachable, Icmpv6Unreachable.BeyondScope, ip, slab, nowMs);
      return Drop.Ipv6Source;
    }
    const { record } = this.#input;
    const routed = reason === Drop.Ipv6Routing && slab.bytes[ip.headerStart + record.problemAt] === 0;
    if (routed) return Drop.Ipv6Routing; // type 0, a way around every rule (RFC 5095)
    let readable = reason === Drop.None;
    if (stack.firewall !== undefined && readable && ip.protocol === NEXT_FRAGMENT) {
      const failed = this.#input.reassemble(slab, interfaceIndex + 1, ip, nowMs);
      const { whole } = stack.reassembly;
      if (whole === undefined) return failed;
      slab = whole;
      readable = failed === Drop.None;
      cut = true;
    }
    if (ip.timeToLive <= 1) {
      this.#refuse(Icmpv6Type.TimeExceeded, 0, ip, slab, nowMs);
      return Drop.Ipv6HopLimit;
    }
    const route = this.#route;
    if (!stack.output.routes.route(ip.destination, route)) {
      this.#refuse(Icmpv6Type.Unreachable, Icmpv6Unreachable.NoRoute, ip, slab, nowMs);
      return Drop.NoRoute;
    }
    const verdict = this.#gate.judge(ip, slab, interfaceIndex, readable);
    if (verdict !== Verdict.Accept) {
      if (verdict !== Verdict.Reject) return Drop.Firewall;
      this.#refuse(Icmpv6Type.Unreachable, Icmpv6Unreachable.Prohibited, ip, slab, nowMs);
      return Drop.FirewallReject;
    }
    const mtu = stack.output.interfaces[route.interfaceIndex]!.mtu6;
    const length = ip.dataEnd - ip.headerStart;
    const { wholeHeaderLength, longestPiece } = stack.reassembly;
    const longest = cut ? wholeHeaderLength + IPV6_FRAGMENT_HEADER_LENGTH + longestPiece : length;
    if (longest > mtu) {
      sendIcmpv6Error(stack, Icmpv6Type.PacketTooBig, 0, mtu, true, ip, slab, nowMs);
      return Drop.PacketTooBig;
    }
    // After: what gets another source has a sender who would not be told.
    if (stack.hooks.rules !== undefined) {
      const refused = stack.hooks.forward(ip, slab, route.interfaceIndex, nowMs);
      if (refused !== Drop.None) return refused;
    }
    this.#counters.packets++;
    this.#counters.bytes += length;
    if (cut) this.#forwardPieces(ip, slab, nowMs);
    else this.#send(ip, slab, nowMs);
    return Drop.None;
  }

  /** A packet was passed on, but its next hop does not answer. */
  tellLost(slab: Slab, nowMs: number): void {
    const ip = this.#lostIp;
    const { length } = slab.bytes;
    this.#input.read(slab, 0, length, 0, ip);
    const translated = this.#stack.hooks.rules?.uses.nat === true; // tracking knows whose it is
    if (!translated && this.#stack.isOurs(ip.source)) return;
    this.#refuse(Icmpv6Type.Unreachable, Icmpv6Unreachable.Address, ip, slab, nowMs);
  }

  #refuse(type: number, code: number, ip: Ipv4Record, slab: Slab, nowMs: number): void {
    sendIcmpv6Error(this.#stack, type, code, 0, false, ip, slab, nowMs);
  }

  #send(ip: Ipv4Record, slab: Slab, nowMs: number): void {
    const { slab: out, frames } = this.#stack.output;
    const { interfaceIndex, nextHop } = this.#route;
    const start = ETHERNET_HEADER_LENGTH;
    const end = start + ip.dataEnd - ip.headerStart;
    out.bytes.set(slab.bytes.subarray(ip.headerStart, ip.dataEnd), start);
    out.bytes[start + AT.hopLimit]!--;
    frames.sendPacket(interfaceIndex, nextHop, start, end, nowMs);
  }

  /** Sends the datagram that was put together in pieces again, none longer than it came. */
  #forwardPieces(ip: Ipv4Record, whole: Slab, nowMs: number): void {
    const { output, reassembly } = this.#stack;
    const { slab: out, frames } = output;
    const { interfaceIndex, nextHop } = this.#route;
    const headers = reassembly.wholeHeaderLength;
    const pieceMax = reassembly.longestPiece & ~7;
    const protocolAt = lastNextHeader(whole, ip.headerStart, headers);
    const protocol = whole.bytes[protocolAt]!;
    const start = ETHERNET_HEADER_LENGTH;
    const dataAt = start + headers + IPV6_FRAGMENT_HEADER_LENGTH;
    const total = ip.dataEnd - ip.headerStart - headers;
    this.#counters.fragmented++;
    for (let offset = 0; offset < total; offset += pieceMax) {
      const length = Math.min(pieceMax, total - offset);
      const from = ip.headerStart + headers + offset;
      out.bytes.set(whole.bytes.subarray(ip.headerStart, ip.headerStart + headers), start);
      out.bytes[start + protocolAt - ip.headerStart] = NEXT_FRAGMENT;
      out.bytes[start + AT.hopLimit]!--;
      const payload = headers - IPV6_HEADER_LENGTH + IPV6_FRAGMENT_HEADER_LENGTH + length;
      out.view.setUint16(start + AT.payloadLength, payload);
      const more = offset + length < total;
      writeIpv6Fragment(out, start + headers, protocol, offset, more, this.#input.record.identification);
      out.bytes.set(whole.bytes.subarray(from, from + length), dataAt);
      if (!frames.sendPacket(interfaceIndex, nextHop, start, dataAt + length, nowMs)) return;
    }
  }
}

/** Where the last of the headers in `length` bytes from `start` on says what follows it. */
function lastNextHeader(slab: Slab, start: number, length: number): number {
  let last = start + AT.nextHeader;
  for (let at = start + IPV6_HEADER_LENGTH; at < start + length; at += 8 + 8 * slab.bytes[at + 1]!) last = at;
  return last;
}
