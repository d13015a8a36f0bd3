import { assert } from "../../base/assert.ts";
import { HANDED_ON } from "../../base/handed_on.ts";
import { copied, Copies } from "../../base/copies.ts";
import { Slab } from "../../base/slab.ts";
import { copyTail, Tail } from "../../base/tail.ts";
import type { PacketHooks, PassedOutput } from "../firewall/nft/hooks.ts";
import { OutputGate } from "../firewall/output_gate.ts";
import type { TransportOutput } from "../tcp/tcp.ts";
import { IPV4_BROADCAST, isIpv6Handle } from "../wire/address.ts";
import { Drop, type DropCounters } from "../wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { finishIcmpv6Checksum } from "../wire/icmpv6.ts";
import {
  IPV4_HEADER_LENGTH,
  IPV4_LENGTH_MAX,
  Ipv4Record,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  writeIpv4,
} from "../wire/ipv4.ts";
import {
  IPV6_FRAGMENT_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
  NEXT_FRAGMENT,
  PROTOCOL_ICMPV6,
  writeIpv6,
  writeIpv6Fragment,
} from "../wire/ipv6.ts";
import { finishTcpChecksum, leaveTcpChecksum } from "../wire/tcp.ts";
import { WHOLE_SEGMENT } from "../wire/train.ts";
import { finishUdpChecksum } from "../wire/udp.ts";
import type { AddressTable } from "./address_table.ts";
import { FrameOutput } from "./frame_output.ts";
import type { Identifications } from "./identification.ts";
import { HOP_LIMIT_DEFAULT, type Interface } from "./interface.ts";
import { pathMtuMin, PathMtus } from "./path_mtu.ts";
import { AddressKind, type RouteRecord } from "./route_record.ts";
import { RouteTable } from "./routes.ts";

/** Above every MTU. */
const MTU_END = 1 << 17;

/** Room for the headers in front: the longest is a fragment's of IPv6. */
const HEADERS_LENGTH = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + IPV6_FRAGMENT_HEADER_LENGTH;
/** The most that a datagram holds beside its header. */
const IPV4_DATA_MAX = IPV4_LENGTH_MAX - IPV4_HEADER_LENGTH;
/** Packets to ourselves that wait for their turn. */
const LOOPBACK_MAX = 1024;

/**
 * The way out: route -> firewall -> IP header -> neighbour -> link. Packets are composed in one slab
 * with room for the headers in front, so that nothing is copied on the way down.
 */
export class IpOutput implements TransportOutput {
  readonly slab: Slab = Slab.forPackets(HEADERS_LENGTH + IPV4_LENGTH_MAX);
  readonly transportStart: number = HEADERS_LENGTH;
  /** The last step, and the interfaces. */
  readonly frames: FrameOutput;
  readonly interfaces: readonly Interface[];
  /** Replaced as a whole when addresses or routes change. */
  routes: RouteTable = new RouteTable({});
  readonly drops: DropCounters;
  readonly addresses: AddressTable;
  /** Packets from us to us, whole, oldest first; `zone` is a link-local destination's. */
  readonly loopback: { packet: Slab; zone: number; passed?: PassedOutput }[] = [];
  readonly gate: OutputGate = new OutputGate();
  /** Where packets meet nftables rules; set by the stack. */
  hooks: PacketHooks | undefined;
  /** Names datagrams that may be fragmented; without it all are called 0. */
  identifications: Identifications | undefined;
  /** Whether somebody on this stack is in a group. */
  hasMembers: (group: number) => boolean = () => false;
  readonly tail: Tail = new Tail();
  #nowMs: number = HANDED_ON;
  readonly #ip = new Ipv4Record();
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };
  // What `#route` is the way to, and by which table.
  #routed = 0;
  #routedBy: RouteTable | undefined;
  readonly #pathMtus: PathMtus;
  /** Both MTUs of each interface, in one number, when they were looked at last. */
  readonly #mtusSeen: number[] = [];

  constructor(drops: DropCounters, addresses: AddressTable) {
    this.drops = drops;
    this.addresses = addresses;
    this.frames = new FrameOutput(this);
    this.interfaces = this.frames.interfaces;
    this.#pathMtus = new PathMtus(addresses);
  }

  /** Moves the clock that path MTUs age by. */
  setNow(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  /** As the interface says; the transport's checksum, which covers the addresses, is filled in here. */
  sendTransport(
    protocol: number,
    source: number,
    destination: number,
    end: number,
    typeOfService: number,
    timeToLive: number,
    nowMs: number,
    dontFragment: boolean = true,
    segmentBytes: number = 0,
  ): boolean {
    this.frames.full = false;
    if (isIpv6Handle(destination)) {
      return this.#send6(
        protocol,
        source,
        destination,
        end,
        typeOfService,
        timeToLive,
        nowMs,
        dontFragment,
        segmentBytes,
      );
    }
    const ip = this.#ip;
    const { slab, transportStart } = this;
    const length = end - transportStart;
    if (length > IPV4_DATA_MAX) return this.#drop(Drop.PacketTooBig);
    if (!this.#routeTo(destination)) return this.#drop(Drop.NoRoute);
    let index = this.#route.interfaceIndex;
    let through = this.interfaces[index];
    const start = this.transportStart - IPV4_HEADER_LENGTH;
    const mtu = dontFragment || through === undefined ? 0 : this.mtuTowards(destination);
    const pieces = mtu > 0 && length + IPV4_HEADER_LENGTH > mtu;
    if (this.tail.bytes > 0 && (pieces || !this.#gathers(through))) this.fetchTail(end);
    let left = this.#checksum(
      protocol,
      source,
      destination,
      end,
      pieces ? undefined : through,
      segmentBytes,
    );
    if (!this.gate.allows(slab, transportStart, protocol, source, destination, end - start, index)) {
      return this.#drop(Drop.Firewall);
    }
    ip.source = source;
    ip.destination = destination;
    ip.protocol = protocol;
    ip.typeOfService = typeOfService;
    ip.timeToLive = timeToLive;
    ip.dontFragment = dontFragment;
    ip.moreFragments = false;
    ip.fragmentOffset = 0;
    // RFC 6864: means nothing where DF is set, and a counter would tell how much we send.
    ip.identification = dontFragment
      ? 0
      : this.identifications?.next(source, destination, protocol, nowMs) ?? 0;
    writeIpv4(ip, this.slab, start, length);
    if (this.hooks?.rules !== undefined) {
      left = this.#passRules(protocol, destination, start, end, left, nowMs);
      if (left < 0) return false;
      index = this.#route.interfaceIndex;
      through = this.interfaces[index];
      ip.source = this.hooks.outSource();
      ip.destination = this.hooks.outDestination();
      ip.typeOfService = this.slab.bytes[start + 1]!;
      ip.timeToLive = this.slab.bytes[start + 8]!;
      ip.identification = this.slab.view.getUint16(start + 4);
      if (left === 0) segmentBytes = 0;
    }
    if (through === undefined) return this.#toOurselves(start, end, 0);
    const { nextHop } = this.#route;
    if (pieces) return this.sendFragments(ip, index, nextHop, mtu, end, nowMs);
    if (segmentBytes === 0 && length + IPV4_HEADER_LENGTH > through.mtu4) {
      return this.#drop(Drop.PacketTooBig);
    }
    return this.frames.sendPacket(index, nextHop, start, end, nowMs, left);
  }

  #send6(
    protocol: number,
    source: number,
    destination: number,
    end: number,
    trafficClass: number,
    timeToLive: number,
    nowMs: number,
    dontFragment: boolean,
    segmentBytes: number,
  ): boolean {
    const { slab, transportStart, addresses } = this;
    const length = end - transportStart;
    if (length > IPV4_LENGTH_MAX) return this.#drop(Drop.PacketTooBig);
    if (!this.#routeTo(destination)) return this.#drop(Drop.NoRoute);
    let { interfaceIndex: index, nextHop } = this.#route;
    let through = this.interfaces[index];
    const start = transportStart - IPV6_HEADER_LENGTH;
    const mtu = dontFragment || through === undefined ? 0 : this.mtuTowards(destination);
    const pieces = mtu > 0 && length + IPV6_HEADER_LENGTH > mtu;
    if (this.tail.bytes > 0 && (pieces || !this.#gathers(through))) this.fetchTail(end);
    let left = this.#checksum(
      protocol,
      source,
      destination,
      end,
      pieces ? undefined : through,
      segmentBytes,
    );
    if (!this.gate.allows(slab, transportStart, protocol, source, destination, end - start, index)) {
      return this.#drop(Drop.Firewall);
    }
    let hopLimit = timeToLive === HOP_LIMIT_DEFAULT && through !== undefined ? through.hopLimit6 : timeToLive;
    let flowLabel = this.#flowLabel(protocol, source, destination);
    if (this.hooks?.rules !== undefined) {
      writeIpv6(slab, start, length, protocol, trafficClass, flowLabel, hopLimit);
      addresses.write(source, slab, start + 8);
      addresses.write(destination, slab, start + 24);
      left = this.#passRules(protocol, destination, start, end, left, nowMs);
      if (left < 0) return false;
      ({ interfaceIndex: index, nextHop } = this.#route);
      through = this.interfaces[index];
      source = this.hooks.outSource();
      destination = this.hooks.outDestination();
      // Rules may have written there.
      const first = slab.view.getUint32(start);
      trafficClass = (first >>> 20) & 0xff;
      flowLabel = first & 0xf_ffff;
      hopLimit = slab.bytes[start + 7]!;
      if (left === 0) segmentBytes = 0;
    }
    if (pieces) {
      // Each piece's headers are written over the end of the piece before: see sendFragments.
      const pieceMax = (mtu - IPV6_HEADER_LENGTH - IPV6_FRAGMENT_HEADER_LENGTH) & ~7;
      const digest = addresses.digest(destination);
      const id = this.identifications?.next(addresses.digest(source), digest, NEXT_FRAGMENT, nowMs) ?? 0;
      for (let at = transportStart; at < end; at += pieceMax) {
        const piece = Math.min(pieceMax, end - at);
        const fragmentAt = at - IPV6_FRAGMENT_HEADER_LENGTH;
        const from = fragmentAt - IPV6_HEADER_LENGTH;
        const payload = piece + IPV6_FRAGMENT_HEADER_LENGTH;
        writeIpv6Fragment(slab, fragmentAt, protocol, at - transportStart, at + piece < end, id);
        writeIpv6(slab, from, payload, NEXT_FRAGMENT, trafficClass, flowLabel, hopLimit);
        addresses.write(source, slab, from + 8);
        addresses.write(destination, slab, from + 24);
        if (!this.frames.sendPacket(index, nextHop, from, at + piece, nowMs)) return false;
      }
      return true;
    }
    writeIpv6(slab, start, length, protocol, trafficClass, flowLabel, hopLimit);
    addresses.write(source, slab, start + 8);
    addresses.write(destination, slab, start + 24);
    if (through === undefined) return this.#toOurselves(start, end, addresses.zone(destination));
    if (segmentBytes === 0 && length + IPV6_HEADER_LENGTH > through.mtu6) {
      return this.#drop(Drop.PacketTooBig);
    }
    return this.frames.sendPacket(index, nextHop, start, end, nowMs, left);
  }

  /** RFC 6437 section 3: the same for every packet of a flow, and no outsider's guess, as the digests are keyed. */
  #flowLabel(protocol: number, source: number, destination: number): number {
    const ported = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
    const ports = ported ? this.slab.view.getInt32(this.transportStart) : protocol;
    let hash = Math.imul(this.addresses.digest(source) ^ ports, 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ this.addresses.digest(destination), 0x85eb_ca77);
    return ((hash ^ (hash >>> 13)) & 0xf_ffff) || 1;
  }

  /**
   * Fills in the checksum, or leaves it to the device, with the sum of the pseudo-header in its place.
   * @returns The `segmentBytes` to send with; 0 when nothing is left to the device.
   */
  #checksum(
    protocol: number,
    source: number,
    destination: number,
    end: number,
    through: Interface | undefined,
    segmentBytes: number,
  ): number {
    const { slab, transportStart: start, addresses } = this;
    if (through !== undefined && protocol === PROTOCOL_TCP && through.trainBytesMax > 0) {
      leaveTcpChecksum(slab, start, end, addresses.sum(source), addresses.sum(destination));
      return segmentBytes > 0 ? segmentBytes : WHOLE_SEGMENT;
    }
    assert(segmentBytes === 0, "Trains go where they are cut");
    this.#finishChecksum(protocol, source, destination, end);
    return 0;
  }

  /**
   * The packet in `[start, end)`, whole, meets the rules on its way out, and may get other addresses and another way.
   * @returns The `segmentBytes` to send with, as `#checksum` does; -1 when it may not leave.
   */
  #passRules(
    protocol: number,
    destination: number,
    start: number,
    end: number,
    left: number,
    nowMs: number,
  ): number {
    const hooks = this.hooks!;
    const { slab } = this;
    const first = this.#route.interfaceIndex;
    if (!hooks.output(slab, start, end, first, left > 0, nowMs)) return this.#refuse(Drop.Firewall);
    const translates = hooks.rules!.uses.nat;
    if (translates) {
      destination = hooks.outDestination();
      if (!this.#routeTo(destination)) return this.#refuse(Drop.NoRoute);
    }
    if (!hooks.postrouting(this.#route.interfaceIndex)) return this.#refuse(Drop.Firewall);
    // Who chooses an address asks the routes.
    if (translates && !this.#routeTo(destination)) return this.#refuse(Drop.NoRoute);
    const through = this.interfaces[this.#route.interfaceIndex];
    if (left === 0 || this.#route.interfaceIndex === first || (through?.trainBytesMax ?? 0) > 0) return left;
    if (left !== WHOLE_SEGMENT) return this.#refuse(Drop.PacketTooBig); // nobody cuts it there
    this.#finishChecksum(protocol, hooks.outSource(), destination, end);
    return 0;
  }

  #refuse(reason: Drop): number {
    this.#drop(reason);
    return -1;
  }

  #finishChecksum(protocol: number, source: number, destination: number, end: number): void {
    const { slab, transportStart: start, addresses } = this;
    const from = addresses.sum(source);
    const to = addresses.sum(destination);
    if (protocol === PROTOCOL_TCP) {
      finishTcpChecksum(slab, start, end, from, to, this.tail.bytes > 0 ? this.tail : undefined);
    } else if (protocol === PROTOCOL_UDP) finishUdpChecksum(slab, start, end, from, to);
    else if (protocol === PROTOCOL_ICMPV6) finishIcmpv6Checksum(slab, start, end, from, to);
  }

  #toOurselves(start: number, end: number, zone: number): boolean {
    if (this.loopback.length >= LOOPBACK_MAX) return this.#drop(Drop.LinkFull);
    const packet = new Slab(this.slab.bytes.slice(start, end));
    this.loopback.push(
      this.hooks?.rules === undefined
        ? { packet, zone }
        : { packet, zone, passed: this.hooks.passedOutput() },
    );
    return true;
  }

  /**
   * Sends `slab[transportStart, end)`, the data that `ip` describes, in pieces (RFC 791 section 3.2), with
   * headers without options. Each header is written over the end of the piece before, which has left by
   * then: links and queues never keep the slab. `ip` may be a fragment itself.
   */
  sendFragments(
    ip: Ipv4Record,
    interfaceIndex: number,
    nextHop: number,
    mtu: number,
    end: number,
    nowMs: number,
  ): boolean {
    const pieceMax = (mtu - IPV4_HEADER_LENGTH) & ~7;
    const { fragmentOffset, moreFragments } = ip;
    for (let at = this.transportStart; at < end; at += pieceMax) {
      const length = Math.min(pieceMax, end - at);
      const start = at - IPV4_HEADER_LENGTH;
      ip.fragmentOffset = fragmentOffset + at - this.transportStart;
      ip.moreFragments = moreFragments || at + length < end;
      writeIpv4(ip, this.slab, start, length);
      // Without one of its pieces the rest is of no use to anybody.
      if (!this.frames.sendPacket(interfaceIndex, nextHop, start, at + length, nowMs)) return false;
    }
    return true;
  }

  /** Sends `slab[transportStart, end)` to everyone on one interface; `source` may be 0, nobody yet. */
  sendBroadcast(
    protocol: number,
    interfaceIndex: number,
    source: number,
    end: number,
    nowMs: number,
  ): boolean {
    const ip = this.#ip;
    const start = this.transportStart - IPV4_HEADER_LENGTH;
    this.#finishChecksum(protocol, source, IPV4_BROADCAST, end);
    ip.source = source;
    ip.destination = IPV4_BROADCAST;
    ip.protocol = protocol;
    ip.timeToLive = 64;
    ip.dontFragment = true;
    ip.moreFragments = false;
    ip.typeOfService = ip.fragmentOffset = ip.identification = 0;
    const { slab, transportStart: at } = this;
    if (!this.gate.allows(slab, at, protocol, source, IPV4_BROADCAST, end - start, interfaceIndex)) {
      return this.#drop(Drop.Firewall);
    }
    if (end - start > this.interfaces[interfaceIndex]!.mtu4) return this.#drop(Drop.PacketTooBig);
    writeIpv4(ip, this.slab, start, end - this.transportStart);
    if (this.hooks?.rules !== undefined) {
      if (!this.hooks.output(this.slab, start, end, interfaceIndex, false, nowMs)) {
        return this.#drop(Drop.Firewall);
      }
      if (!this.hooks.postrouting(interfaceIndex)) return this.#drop(Drop.Firewall);
    }
    return this.frames.sendPacket(interfaceIndex, IPV4_BROADCAST, start, end, nowMs);
  }

  loopBack(protocol: number, source: number, destination: number, end: number): void {
    const ip = this.#ip;
    if (!this.hasMembers(destination)) return;
    if (isIpv6Handle(destination)) return this.#loopBack6(protocol, source, destination, end);
    const start = this.transportStart - IPV4_HEADER_LENGTH;
    this.#finishChecksum(protocol, source, destination, end);
    ip.source = source;
    ip.destination = destination;
    ip.protocol = protocol;
    ip.timeToLive = 1;
    ip.dontFragment = true;
    ip.moreFragments = false;
    ip.typeOfService = ip.fragmentOffset = ip.identification = 0;
    writeIpv4(ip, this.slab, start, end - this.transportStart);
    this.#toOurselves(start, end, 0);
  }

  #loopBack6(protocol: number, source: number, destination: number, end: number): void {
    const { slab, addresses } = this;
    const start = this.transportStart - IPV6_HEADER_LENGTH;
    this.#finishChecksum(protocol, source, destination, end);
    writeIpv6(slab, start, end - this.transportStart, protocol, 0, 0, 1);
    addresses.write(source, slab, start + 8);
    addresses.write(destination, slab, start + 24);
    this.#toOurselves(start, end, addresses.zone(source));
  }

  mtuTowards(destination: number): number {
    return this.#pathMtus.least(destination, this.linkMtuTowards(destination), this.#nowMs);
  }

  linkMtuTowards(destination: number): number {
    if (!this.#routeTo(destination)) return pathMtuMin(destination);
    const through = this.interfaces[this.#route.interfaceIndex];
    if (through === undefined) return IPV4_LENGTH_MAX; // ourselves: no link
    return isIpv6Handle(destination) ? through.mtu6 : through.mtu4;
  }

  /** Whether a packet may leave through there in two pieces. nftables rules may ask for more than its headers. */
  #gathers(through: Interface | undefined): boolean {
    return through !== undefined && through.link.sendGathered !== undefined && this.slab.address >= 0 &&
      this.hooks?.rules === undefined;
  }

  fetchTail(end: number): void {
    const { tail } = this;
    copyTail(tail, this.slab, end - tail.bytes);
    copied[Copies.out]! += tail.bytes;
    tail.bytes = 0;
  }

  trainBytesTowards(destination: number): number {
    if (!this.#routeTo(destination)) return 0;
    return this.interfaces[this.#route.interfaceIndex]?.trainBytesMax ?? 0;
  }

  isHost(address: number): boolean {
    const kind = this.routes.classify(address);
    return kind === AddressKind.Other || kind === AddressKind.Ours;
  }

  /** See `TransportOutput`. */
  get linkFull(): boolean {
    return this.frames.full;
  }

  /** See `TransportOutput`. */
  get pathGeneration(): number {
    for (let index = 0; index < this.interfaces.length; index++) {
      const { mtu4, mtu6 } = this.interfaces[index]!;
      const mtus = mtu4 * MTU_END + mtu6;
      if (mtus === this.#mtusSeen[index]) continue;
      this.#mtusSeen[index] = mtus; // devices, routers and DHCP servers change them without a word
      this.#pathMtus.changed();
    }
    return this.#pathMtus.generationAt(this.#nowMs);
  }

  /** Addresses, routes or links have changed: packets may take another path. */
  pathsChanged(): void {
    this.#pathMtus.changed();
  }

  lowerMtu(destination: number, mtu: number): boolean {
    const wanted = Math.max(pathMtuMin(destination), mtu);
    if (wanted >= this.mtuTowards(destination)) return false;
    this.#pathMtus.set(destination, wanted, this.#nowMs);
    return true;
  }

  /** The address to speak from towards `destination`, or `undefined` when there is no way there. */
  sourceTowards(destination: number): number | undefined {
    if (!this.#routeTo(destination)) return undefined;
    const { source, interfaceIndex } = this.#route;
    return source !== 0 || !isIpv6Handle(destination)
      ? source
      : this.routes.ipv6.sourceTowards(destination, interfaceIndex);
  }

  /** Fills `#route`; false when there is no way to `destination`. Most packets take the way of the one before. */
  #routeTo(destination: number): boolean {
    const { routes } = this;
    if (destination === this.#routed && routes === this.#routedBy) return true;
    this.#routedBy = undefined;
    if (!routes.route(destination, this.#route)) return false;
    if (isIpv6Handle(destination)) return true; // a router may say something else at any time
    this.#routed = destination;
    this.#routedBy = routes;
    return true;
  }

  #drop(reason: Drop): boolean {
    this.drops.count(reason);
    return false;
  }
}
