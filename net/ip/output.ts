import { Slab } from "../../base/slab.ts";
import type { Link } from "../link/link.ts";
import { Direction, FirewallPacket, Verdict } from "../firewall/packet.ts";
import type { Firewall } from "../firewall/firewall.ts";
import type { TransportOutput } from "../tcp/tcp.ts";
import { IPV4_BROADCAST, isIpv6Handle, isMulticast } from "../wire/address.ts";
import { ARP_LENGTH, ArpOperation, ArpRecord, writeArp } from "../wire/arp.ts";
import { Drop, type DropCounters } from "../wire/drop.ts";
import {
  ETHER_ARP,
  ETHER_IPV4,
  ETHER_IPV6,
  ETHERNET_HEADER_LENGTH,
  EthernetRecord,
  writeEthernet,
} from "../wire/ethernet.ts";
import { finishIcmpv6Checksum } from "../wire/icmpv6.ts";
import {
  IPV4_HEADER_LENGTH,
  IPV4_LENGTH_MAX,
  IPV4_ROUTER_ALERT_LENGTH,
  Ipv4Record,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  writeIpv4,
  writeIpv4RouterAlert,
} from "../wire/ipv4.ts";
import {
  IPV6_FRAGMENT_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
  NEXT_FRAGMENT,
  NEXT_HOP_BY_HOP,
  PROTOCOL_ICMPV6,
  writeIpv6,
  writeIpv6Fragment,
} from "../wire/ipv6.ts";
import { MAC_BROADCAST, MULTICAST6_MAC_HI, MULTICAST_MAC_HI, multicastMacLo } from "../wire/mac.ts";
import { finishTcpChecksum } from "../wire/tcp.ts";
import { finishUdpChecksum } from "../wire/udp.ts";
import type { AddressTable } from "./address_table.ts";
import type { Identifications } from "./identification.ts";
import { Neighbors, type NeighborSink, Resolution } from "./neighbors.ts";
import { pathMtuMin, PathMtus } from "./path_mtu.ts";
import { AddressKind, INTERFACE_LOCAL, type RouteRecord } from "./route_record.ts";
import { RouteTable } from "./routes.ts";

/** What the stack needs of a link to send. */
export type LinkOutput = Pick<Link, "medium" | "mtu" | "send" | "flush">;

/** One interface of a stack: a link, its station address and the stations known on it. */
export interface Interface {
  readonly index: number;
  readonly name: string;
  readonly link: LinkOutput;
  readonly macHi: number;
  readonly macLo: number;
  /** The stations on an Ethernet, and what is done when one of them answers. */
  readonly neighbors: Neighbors | undefined;
  readonly neighborSink: NeighborSink;
  /** The same by IPv6 address (RFC 4861). */
  readonly neighbors6: Neighbors | undefined;
  readonly neighborSink6: NeighborSink;
  /** The longest packets here, by family: what the link carries now, or less when a server or router says so. */
  readonly mtu4: number;
  readonly mtu6: number;
  /** What a DHCP server allows for IPv4, and a router for IPv6. */
  mtuMax4: number;
  mtuMax6: number;
  /** An IPv4 address that was asked about and nobody may have (RFC 5227), 0 for none; and whether somebody has. */
  watched: number;
  claimed: boolean;
  /** When we last insisted on an address of ours. */
  defendedMs: number;
  /** The hop limit of IPv6 packets: the default until a router says otherwise. */
  hopLimit6: number;
  /** Frames were sent since the last flush. */
  dirty: boolean;
}

/** The hop limit until a router advertises another (RFC 4861 section 6.3.2). */
const HOP_LIMIT_DEFAULT = 64;
/** DSCP CS6: what routers say to each other and about groups (RFC 3376 section 4). */
const INTERNETWORK_CONTROL = 0xc0;
/** A hop-by-hop header in front of ICMPv6 with a router alert for MLD, and two bytes of padding (RFC 3810 section 5). */
const ROUTER_ALERT6 = Uint8Array.of(PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0);
export const HOP_BY_HOP_ALERT_LENGTH = 8;
/** Room for the headers in front: the longest is a fragment's of IPv6. */
const HEADERS_LENGTH = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + IPV6_FRAGMENT_HEADER_LENGTH;
/** The most that a datagram holds beside its header. */
const IPV4_DATA_MAX = IPV4_LENGTH_MAX - IPV4_HEADER_LENGTH;
/** Packets to ourselves that wait for their turn. */
const LOOPBACK_MAX = 1024;

/** How neighbour discovery differs from ARP: it waits for proof from above before it asks (RFC 4861 section 7.3). */
const NDP = { delayMs: 5_000, lockMs: 0 };

/**
 * The way out: route -> firewall -> IP header -> neighbour -> link. Packets are composed in one slab
 * with room for the headers in front, so that nothing is copied on the way down.
 */
export class IpOutput implements TransportOutput {
  readonly slab: Slab = Slab.of(HEADERS_LENGTH + IPV4_LENGTH_MAX);
  readonly transportStart: number = HEADERS_LENGTH;
  readonly interfaces: Interface[] = [];
  /** Replaced as a whole when addresses or routes change. */
  routes: RouteTable = new RouteTable({});
  readonly drops: DropCounters;
  readonly addresses: AddressTable;
  /** Packets from us to us, whole, oldest first; `zone` is a link-local destination's. */
  readonly loopback: { packet: Slab; zone: number }[] = [];
  firewall: Firewall | undefined;
  /** Names datagrams that may be fragmented; without it all are called 0. */
  identifications: Identifications | undefined;
  /** Whether somebody on this stack is in a group. */
  hasMembers: (group: number) => boolean = () => false;
  /** Told of packets whose next hop does not answer. Must not send: the slab may be in use. */
  lost: ((slab: Slab, start: number, end: number) => void) | undefined;
  /** Sends a neighbour solicitation for `address`; set by whoever speaks neighbour discovery. */
  solicit: (through: Interface, address: number, hi: number, lo: number) => void = () => {};
  #nowMs = 0;
  readonly #ip = new Ipv4Record();
  readonly #ethernet = new EthernetRecord();
  readonly #arp = new ArpRecord();
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };
  readonly #judged = new FirewallPacket();
  readonly #arpSlab = Slab.of(ETHERNET_HEADER_LENGTH + ARP_LENGTH);
  readonly #pathMtus: PathMtus;

  constructor(drops: DropCounters, addresses: AddressTable) {
    this.drops = drops;
    this.addresses = addresses;
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
  ): boolean {
    this.#finishChecksum(protocol, source, destination, end);
    if (isIpv6Handle(destination)) {
      return this.#send6(protocol, source, destination, end, typeOfService, timeToLive, nowMs, dontFragment);
    }
    const ip = this.#ip;
    const length = end - this.transportStart;
    if (length > IPV4_DATA_MAX) return this.#drop(Drop.PacketTooBig);
    if (!this.routes.route(destination, this.#route)) return this.#drop(Drop.NoRoute);
    const index = this.#route.interfaceIndex;
    const start = this.transportStart - IPV4_HEADER_LENGTH;
    if (this.firewall !== undefined && !this.#allowed(protocol, source, destination, start, end, index)) {
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
    if (index === INTERFACE_LOCAL) return this.#toOurselves(start, end, 0);
    const { nextHop } = this.#route;
    if (!dontFragment && length + IPV4_HEADER_LENGTH > this.mtuTowards(destination)) {
      return this.sendFragments(ip, index, nextHop, this.mtuTowards(destination), end, nowMs);
    }
    if (length + IPV4_HEADER_LENGTH > this.interfaces[index]!.mtu4) return this.#drop(Drop.PacketTooBig);
    return this.sendPacket(index, nextHop, start, end, nowMs);
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
  ): boolean {
    const { slab, transportStart, addresses } = this;
    const length = end - transportStart;
    if (length > IPV4_LENGTH_MAX) return this.#drop(Drop.PacketTooBig);
    if (!this.routes.route(destination, this.#route)) return this.#drop(Drop.NoRoute);
    const { interfaceIndex: index, nextHop } = this.#route;
    const through = this.interfaces[index];
    const start = transportStart - IPV6_HEADER_LENGTH;
    if (this.firewall !== undefined && !this.#allowed(protocol, source, destination, start, end, index)) {
      return this.#drop(Drop.Firewall);
    }
    const hopLimit = timeToLive === HOP_LIMIT_DEFAULT && through !== undefined
      ? through.hopLimit6
      : timeToLive;
    const flowLabel = this.#flowLabel(protocol, source, destination);
    const mtu = dontFragment || through === undefined ? 0 : this.mtuTowards(destination);
    if (mtu > 0 && length + IPV6_HEADER_LENGTH > mtu) {
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
        if (!this.sendPacket(index, nextHop, from, at + piece, nowMs)) return false;
      }
      return true;
    }
    writeIpv6(slab, start, length, protocol, trafficClass, flowLabel, hopLimit);
    addresses.write(source, slab, start + 8);
    addresses.write(destination, slab, start + 24);
    if (through === undefined) return this.#toOurselves(start, end, addresses.zone(destination));
    if (length + IPV6_HEADER_LENGTH > through.mtu6) return this.#drop(Drop.PacketTooBig);
    return this.sendPacket(index, nextHop, start, end, nowMs);
  }

  /** RFC 6437 section 3: the same for every packet of a flow, and no outsider's guess, as the digests are keyed. */
  #flowLabel(protocol: number, source: number, destination: number): number {
    const ported = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
    const ports = ported ? this.slab.view.getInt32(this.transportStart) : protocol;
    let hash = Math.imul(this.addresses.digest(source) ^ ports, 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ this.addresses.digest(destination), 0x85eb_ca77);
    return ((hash ^ (hash >>> 13)) & 0xf_ffff) || 1;
  }

  #finishChecksum(protocol: number, source: number, destination: number, end: number): void {
    const { slab, transportStart: start, addresses } = this;
    const from = addresses.sum(source);
    const to = addresses.sum(destination);
    if (protocol === PROTOCOL_TCP) finishTcpChecksum(slab, start, end, from, to);
    else if (protocol === PROTOCOL_UDP) finishUdpChecksum(slab, start, end, from, to);
    else if (protocol === PROTOCOL_ICMPV6) finishIcmpv6Checksum(slab, start, end, from, to);
  }

  #toOurselves(start: number, end: number, zone: number): boolean {
    if (this.loopback.length >= LOOPBACK_MAX) return this.#drop(Drop.LinkFull);
    this.loopback.push({ packet: new Slab(this.slab.bytes.slice(start, end)), zone });
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
      if (!this.sendPacket(interfaceIndex, nextHop, start, at + length, nowMs)) return false;
    }
    return true;
  }

  /**
   * Sends the ICMPv6 message `slab[transportStart, end)` to a group on one interface, not beyond this link, with
   * an alert for routers (RFC 2711): what MLD says. `source` may be `::`.
   */
  sendIcmpv6WithAlert(
    interfaceIndex: number,
    source: number,
    destination: number,
    end: number,
    nowMs: number,
  ): boolean {
    const { slab, transportStart, addresses } = this;
    finishIcmpv6Checksum(slab, transportStart, end, addresses.sum(source), addresses.sum(destination));
    const optionsAt = transportStart - HOP_BY_HOP_ALERT_LENGTH;
    const start = optionsAt - IPV6_HEADER_LENGTH;
    slab.bytes.set(ROUTER_ALERT6, optionsAt);
    writeIpv6(slab, start, end - optionsAt, NEXT_HOP_BY_HOP, 0, 0, 1);
    addresses.write(source, slab, start + 8);
    addresses.write(destination, slab, start + 24);
    return this.sendPacket(interfaceIndex, destination, start, end, nowMs);
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
    if (
      this.firewall !== undefined &&
      !this.#allowed(protocol, source, IPV4_BROADCAST, start, end, interfaceIndex)
    ) return this.#drop(Drop.Firewall);
    if (end - start > this.interfaces[interfaceIndex]!.mtu4) return this.#drop(Drop.PacketTooBig);
    writeIpv4(ip, this.slab, start, end - this.transportStart);
    return this.sendPacket(interfaceIndex, IPV4_BROADCAST, start, end, nowMs);
  }

  /**
   * Sends `slab[transportStart + 4, end)` to a group on one interface, not beyond this link: what routers
   * shall look at (RFC 2113).
   */
  sendWithRouterAlert(
    protocol: number,
    interfaceIndex: number,
    destination: number,
    end: number,
    nowMs: number,
  ): boolean {
    const ip = this.#ip;
    const start = this.transportStart - IPV4_HEADER_LENGTH;
    ip.source = this.routes.addressOn(interfaceIndex);
    ip.destination = destination;
    ip.protocol = protocol;
    ip.typeOfService = INTERNETWORK_CONTROL;
    ip.timeToLive = 1;
    ip.dontFragment = true;
    ip.moreFragments = false;
    ip.fragmentOffset = ip.identification = 0;
    if (
      this.firewall !== undefined &&
      !this.#allowed(protocol, ip.source, destination, start, end, interfaceIndex)
    ) return this.#drop(Drop.Firewall);
    writeIpv4RouterAlert(ip, this.slab, start, end - this.transportStart - IPV4_ROUTER_ALERT_LENGTH);
    return this.sendPacket(interfaceIndex, destination, start, end, nowMs);
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

  /** Sends the packet in `slab[start, end)`, before which there is room for a frame's header. */
  sendPacket(interfaceIndex: number, nextHop: number, start: number, end: number, nowMs: number): boolean {
    const through = this.interfaces[interfaceIndex]!;
    const neighbors = isIpv6Handle(nextHop) ? through.neighbors6 : through.neighbors;
    if (neighbors === undefined) return this.#transmit(through, this.slab, start, end);
    return this.#sendEthernet(through, neighbors, nextHop, start - ETHERNET_HEADER_LENGTH, end, nowMs);
  }

  mtuTowards(destination: number): number {
    return this.#pathMtus.least(destination, this.linkMtuTowards(destination), this.#nowMs);
  }

  linkMtuTowards(destination: number): number {
    if (!this.routes.route(destination, this.#route)) return pathMtuMin(destination);
    const through = this.interfaces[this.#route.interfaceIndex];
    if (through === undefined) return IPV4_LENGTH_MAX; // ourselves: no link
    return isIpv6Handle(destination) ? through.mtu6 : through.mtu4;
  }

  isHost(address: number): boolean {
    const kind = this.routes.classify(address);
    return kind === AddressKind.Other || kind === AddressKind.Ours;
  }

  /** See `TransportOutput`. */
  get pathGeneration(): number {
    return this.#pathMtus.generationAt(this.#nowMs);
  }

  /** Addresses, routes or links have changed: packets may take another path. */
  pathsChanged(): void {
    this.#pathMtus.changed();
  }

  /** Takes a router's word that packets to `destination` must be smaller; false when that is no news. */
  lowerMtu(destination: number, mtu: number): boolean {
    const wanted = Math.max(pathMtuMin(destination), mtu);
    if (wanted >= this.mtuTowards(destination)) return false;
    this.#pathMtus.set(destination, wanted, this.#nowMs);
    return true;
  }

  /** The address to speak from towards `destination`, or `undefined` when there is no way there. */
  sourceTowards(destination: number): number | undefined {
    if (!this.routes.route(destination, this.#route)) return undefined;
    const { source, interfaceIndex } = this.#route;
    return source !== 0 || !isIpv6Handle(destination)
      ? source
      : this.routes.ipv6.sourceTowards(destination, interfaceIndex);
  }

  /** Adds an interface at the next index. */
  addInterface(name: string, link: LinkOutput, macHi: number, macLo: number): Interface {
    const ethernet = link.medium === "ethernet";
    const deliver = (etherType: number): NeighborSink["deliver"] => (frame, start, end, hi, lo) => {
      this.#writeEthernet(frame, start, added, hi, lo, etherType);
      this.#transmit(added, frame, start, end);
    };
    const failed: NeighborSink["failed"] = (_address, waited) => {
      this.drops.count(Drop.NeighborPending);
      for (const frame of waited) this.lost?.(frame, ETHERNET_HEADER_LENGTH, frame.bytes.length);
    };
    const added: Interface = {
      index: this.interfaces.length,
      name,
      link,
      macHi,
      macLo,
      neighbors: ethernet ? new Neighbors() : undefined,
      neighborSink: {
        request: (address, hi, lo) => this.askFor(added, address, hi, lo),
        deliver: deliver(ETHER_IPV4),
        failed,
      },
      neighbors6: ethernet
        ? new Neighbors(undefined, undefined, { ...NDP, holder: this.addresses })
        : undefined,
      neighborSink6: {
        request: (address, hi, lo) => this.solicit(added, address, hi, lo),
        deliver: deliver(ETHER_IPV6),
        failed,
      },
      get mtu4() {
        return Math.min(link.mtu, this.mtuMax4);
      },
      get mtu6() {
        return Math.min(link.mtu, this.mtuMax6);
      },
      mtuMax4: Infinity,
      watched: 0,
      claimed: false,
      defendedMs: -Infinity,
      mtuMax6: Infinity,
      hopLimit6: HOP_LIMIT_DEFAULT,
      dirty: false,
    };
    this.addresses.zoneNames.push(name);
    this.interfaces.push(added);
    return added;
  }

  /** Sends an ARP packet (RFC 826) to the station `hi`, `lo`. */
  sendArp(
    through: Interface,
    operation: number,
    senderIp: number,
    targetIp: number,
    hi: number,
    lo: number,
  ): void {
    const arp = this.#arp;
    const request = operation === ArpOperation.Request;
    arp.operation = operation;
    arp.senderHi = through.macHi;
    arp.senderLo = through.macLo;
    arp.senderIp = senderIp;
    arp.targetHi = request ? 0 : hi;
    arp.targetLo = request ? 0 : lo;
    arp.targetIp = targetIp;
    const at = this.#writeEthernet(this.#arpSlab, 0, through, hi, lo, ETHER_ARP);
    this.#transmit(through, this.#arpSlab, 0, writeArp(arp, this.#arpSlab, at));
  }

  /** Asks the station `hi`, `lo`, or everyone, who has `address`. */
  askFor(through: Interface, address: number, hi: number, lo: number): void {
    const source = this.sourceTowards(address);
    if (source !== undefined) this.sendArp(through, ArpOperation.Request, source, address, hi, lo);
  }

  /** Ends a turn: links that gather frames write them. */
  flush(): void {
    for (const each of this.interfaces) {
      if (!each.dirty) continue;
      each.dirty = false;
      each.link.flush();
    }
  }

  #sendEthernet(
    through: Interface,
    neighbors: Neighbors,
    nextHop: number,
    start: number,
    end: number,
    nowMs: number,
  ): boolean {
    let hi: number = MAC_BROADCAST.hi;
    let lo: number = MAC_BROADCAST.lo;
    const ipv6 = isIpv6Handle(nextHop);
    if (ipv6 && this.addresses.isMulticast(nextHop)) {
      hi = MULTICAST6_MAC_HI;
      lo = this.addresses.word(nextHop, 3);
    } else if (isMulticast(nextHop)) {
      hi = MULTICAST_MAC_HI;
      lo = multicastMacLo(nextHop);
    } else if (this.routes.classify(nextHop) !== AddressKind.Broadcast) {
      const resolution = neighbors.lookup(nextHop, nowMs);
      if (resolution > Resolution.FoundRequest) {
        const kept = resolution !== Resolution.Failed && neighbors.hold(nextHop, this.slab, start, end);
        if (resolution === Resolution.Request) this.#ask(through, nextHop, hi, lo);
        if (kept) return true;
        if (resolution === Resolution.Failed) this.lost?.(this.slab, start + ETHERNET_HEADER_LENGTH, end);
        return this.#drop(Drop.NeighborPending);
      }
      hi = neighbors.hi;
      lo = neighbors.lo;
      if (resolution === Resolution.FoundRequest) this.#ask(through, nextHop, hi, lo);
    }
    this.#writeEthernet(this.slab, start, through, hi, lo, ipv6 ? ETHER_IPV6 : ETHER_IPV4);
    return this.#transmit(through, this.slab, start, end);
  }

  #ask(through: Interface, address: number, hi: number, lo: number): void {
    if (isIpv6Handle(address)) this.solicit(through, address, hi, lo);
    else this.askFor(through, address, hi, lo);
  }

  /** Sends what a frame's room in front allows: an IPv6 packet of neighbour discovery at `start` + 14. */
  sendFrame(through: Interface, slab: Slab, start: number, end: number, hi: number, lo: number): void {
    if (through.neighbors6 === undefined) {
      this.#transmit(through, slab, start + ETHERNET_HEADER_LENGTH, end);
      return;
    }
    this.#writeEthernet(slab, start, through, hi, lo, ETHER_IPV6);
    this.#transmit(through, slab, start, end);
  }

  #writeEthernet(
    slab: Slab,
    at: number,
    through: Interface,
    hi: number,
    lo: number,
    etherType: number,
  ): number {
    const ethernet = this.#ethernet;
    ethernet.destinationHi = hi;
    ethernet.destinationLo = lo;
    ethernet.sourceHi = through.macHi;
    ethernet.sourceLo = through.macLo;
    ethernet.etherType = etherType;
    return writeEthernet(ethernet, slab, at);
  }

  #allowed(
    protocol: number,
    source: number,
    destination: number,
    start: number,
    end: number,
    index: number,
  ): boolean {
    const judged = this.#judged;
    const view = this.slab.view;
    const ported = protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6;
    judged.direction = Direction.Output;
    judged.interfaceIndex = index;
    judged.protocol = protocol;
    judged.source = source;
    judged.destination = destination;
    judged.sourcePort = ported ? view.getUint16(this.transportStart) : 0;
    judged.destinationPort = ported ? view.getUint16(this.transportStart + 2) : 0;
    judged.icmpType = ported ? 0 : view.getUint8(this.transportStart);
    judged.tcpFlags = protocol === PROTOCOL_TCP ? view.getUint8(this.transportStart + 13) : 0;
    judged.length = end - start;
    // Everything but a SYN, a first datagram or an echo request answers somebody; conntrack refines this later.
    judged.state = protocol === PROTOCOL_TCP && (judged.tcpFlags & 0x12) !== 0x02 ? 1 : 0;
    return this.firewall!.decide(judged) === Verdict.Accept;
  }

  #transmit(through: Interface, slab: Slab, start: number, end: number): boolean {
    through.dirty = true;
    return through.link.send(slab, start, end) || this.#drop(Drop.LinkFull);
  }

  #drop(reason: Drop): boolean {
    this.drops.count(reason);
    return false;
  }
}
