import { Slab } from "../../base/slab.ts";
import type { Link } from "../link/link.ts";
import { Direction, FirewallPacket, Verdict } from "../firewall/packet.ts";
import type { Firewall } from "../firewall/firewall.ts";
import type { TransportOutput } from "../tcp/tcp.ts";
import { isMulticast } from "../wire/address.ts";
import { ARP_LENGTH, ArpOperation, ArpRecord, writeArp } from "../wire/arp.ts";
import { Drop, type DropCounters } from "../wire/drop.ts";
import {
  ETHER_ARP,
  ETHER_IPV4,
  ETHERNET_HEADER_LENGTH,
  EthernetRecord,
  writeEthernet,
} from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH, IPV4_LENGTH_MAX, Ipv4Record, PROTOCOL_TCP, writeIpv4 } from "../wire/ipv4.ts";
import { MAC_BROADCAST, MULTICAST_MAC_HI, multicastMacLo } from "../wire/mac.ts";
import type { Identifications } from "./identification.ts";
import { Neighbors, type NeighborSink, Resolution } from "./neighbors.ts";
import { AddressKind, INTERFACE_LOCAL, type RouteRecord, RouteTable } from "./routes.ts";

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
  /** Frames were sent since the last flush. */
  dirty: boolean;
}

/** A path MTU learnt from ICMP is forgotten after this time, to find out whether the path has grown (RFC 1191). */
const PATH_MTU_MS = 600_000;
/** Paths remembered; the oldest is forgotten first. */
const PATH_MTUS_MAX = 4096;
/** A lower one is an attack (RFC 5927 section 7); IPv4 promises 576 in practice. */
const PATH_MTU_MIN = 552;
/** The most that a datagram holds beside its header. */
const IPV4_DATA_MAX = IPV4_LENGTH_MAX - IPV4_HEADER_LENGTH;
/** Packets to ourselves that wait for their turn. */
const LOOPBACK_MAX = 1024;

/**
 * The way out: route -> firewall -> IP header -> neighbour -> link. Packets are composed in one slab
 * with room for the headers in front, so that nothing is copied on the way down.
 */
export class IpOutput implements TransportOutput {
  readonly slab: Slab = Slab.of(ETHERNET_HEADER_LENGTH + IPV4_LENGTH_MAX);
  readonly transportStart: number = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
  readonly interfaces: Interface[] = [];
  /** Replaced as a whole when addresses or routes change. */
  routes: RouteTable = new RouteTable({});
  readonly drops: DropCounters;
  /** Packets from us to us, whole, oldest first. */
  readonly loopback: Slab[] = [];
  firewall: Firewall | undefined;
  /** Names datagrams that may be fragmented; without it all are called 0. */
  identifications: Identifications | undefined;
  /** Told of packets whose next hop does not answer. Must not send: the slab may be in use. */
  lost: ((slab: Slab, start: number, end: number) => void) | undefined;
  #nowMs = 0;
  readonly #ip = new Ipv4Record();
  readonly #ethernet = new EthernetRecord();
  readonly #arp = new ArpRecord();
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };
  readonly #judged = new FirewallPacket();
  readonly #arpSlab = Slab.of(ETHERNET_HEADER_LENGTH + ARP_LENGTH);
  readonly #pathMtus = new Map<number, { mtu: number; untilMs: number }>();

  constructor(drops: DropCounters) {
    this.drops = drops;
  }

  /** Moves the clock that path MTUs age by. */
  setNow(nowMs: number): void {
    this.#nowMs = nowMs;
  }

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
    const ip = this.#ip;
    const length = end - this.transportStart;
    if (length > IPV4_DATA_MAX) return this.#drop(Drop.PacketTooBig);
    if (!this.routes.route(destination, this.#route)) return this.#drop(Drop.NoRoute);
    const index = this.#route.interfaceIndex;
    if (this.firewall !== undefined && !this.#allowed(protocol, source, destination, end, index)) {
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
    writeIpv4(ip, this.slab, ETHERNET_HEADER_LENGTH, length);
    if (index === INTERFACE_LOCAL) {
      if (this.loopback.length >= LOOPBACK_MAX) return this.#drop(Drop.LinkFull);
      this.loopback.push(new Slab(this.slab.bytes.slice(ETHERNET_HEADER_LENGTH, end)));
      return true;
    }
    const { nextHop } = this.#route;
    if (!dontFragment && length + IPV4_HEADER_LENGTH > this.mtuTowards(destination)) {
      return this.sendFragments(ip, index, nextHop, this.mtuTowards(destination), end, nowMs);
    }
    if (length + IPV4_HEADER_LENGTH > this.interfaces[index]!.link.mtu) return this.#drop(Drop.PacketTooBig);
    return this.sendPacket(index, nextHop, ETHERNET_HEADER_LENGTH, end, nowMs);
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

  /** Sends the packet in `slab[start, end)`, before which there is room for a frame's header. */
  sendPacket(interfaceIndex: number, nextHop: number, start: number, end: number, nowMs: number): boolean {
    const through = this.interfaces[interfaceIndex]!;
    if (through.neighbors === undefined) return this.#transmit(through, this.slab, start, end);
    const frameStart = start - ETHERNET_HEADER_LENGTH;
    return this.#sendEthernet(through, through.neighbors, nextHop, frameStart, end, nowMs);
  }

  mtuTowards(destination: number): number {
    if (!this.routes.route(destination, this.#route)) return PATH_MTU_MIN;
    const mtu = this.interfaces[this.#route.interfaceIndex]?.link.mtu ?? IPV4_LENGTH_MAX; // ourselves: no link
    const learnt = this.#pathMtus.get(destination);
    return learnt !== undefined && learnt.untilMs > this.#nowMs ? Math.min(mtu, learnt.mtu) : mtu;
  }

  isHost(address: number): boolean {
    const kind = this.routes.classify(address);
    return kind === AddressKind.Other || kind === AddressKind.Ours;
  }

  /** Takes a router's word that packets to `destination` must be smaller; false when that is no news. */
  lowerMtu(destination: number, mtu: number): boolean {
    const wanted = Math.max(PATH_MTU_MIN, mtu);
    if (wanted >= this.mtuTowards(destination)) return false;
    if (this.#pathMtus.size >= PATH_MTUS_MAX) {
      for (const oldest of this.#pathMtus.keys()) {
        this.#pathMtus.delete(oldest);
        break;
      }
    }
    this.#pathMtus.set(destination, { mtu: wanted, untilMs: this.#nowMs + PATH_MTU_MS });
    return true;
  }

  /** The address to speak from towards `destination`, or `undefined` when there is no way there. */
  sourceTowards(destination: number): number | undefined {
    return this.routes.route(destination, this.#route) ? this.#route.source : undefined;
  }

  /** Adds an interface at the next index. */
  addInterface(name: string, link: LinkOutput, macHi: number, macLo: number): Interface {
    const neighbors = link.medium === "ethernet" ? new Neighbors() : undefined;
    const neighborSink: NeighborSink = {
      request: (address, hi, lo) => this.askFor(added, address, hi, lo),
      deliver: (frame, start, end, hi, lo) => {
        this.#writeEthernet(frame, start, added, hi, lo, ETHER_IPV4);
        this.#transmit(added, frame, start, end);
      },
      failed: (_address, waited) => {
        this.drops.count(Drop.NeighborPending);
        for (const frame of waited) this.lost?.(frame, ETHERNET_HEADER_LENGTH, frame.bytes.length);
      },
    };
    const index = this.interfaces.length;
    const added: Interface = { index, name, link, macHi, macLo, neighbors, neighborSink, dirty: false };
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
    if (isMulticast(nextHop)) {
      hi = MULTICAST_MAC_HI;
      lo = multicastMacLo(nextHop);
    } else if (this.routes.classify(nextHop) !== AddressKind.Broadcast) {
      const resolution = neighbors.lookup(nextHop, nowMs);
      if (resolution > Resolution.FoundRequest) {
        const kept = resolution !== Resolution.Failed && neighbors.hold(nextHop, this.slab, start, end);
        if (resolution === Resolution.Request) this.askFor(through, nextHop, hi, lo);
        if (kept) return true;
        if (resolution === Resolution.Failed) this.lost?.(this.slab, start + ETHERNET_HEADER_LENGTH, end);
        return this.#drop(Drop.NeighborPending);
      }
      hi = neighbors.hi;
      lo = neighbors.lo;
      if (resolution === Resolution.FoundRequest) this.askFor(through, nextHop, hi, lo);
    }
    this.#writeEthernet(this.slab, start, through, hi, lo, ETHER_IPV4);
    return this.#transmit(through, this.slab, start, end);
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

  #allowed(protocol: number, source: number, destination: number, end: number, index: number): boolean {
    const judged = this.#judged;
    const view = this.slab.view;
    const ported = protocol !== 1;
    judged.direction = Direction.Output;
    judged.interfaceIndex = index;
    judged.protocol = protocol;
    judged.source = source;
    judged.destination = destination;
    judged.sourcePort = ported ? view.getUint16(this.transportStart) : 0;
    judged.destinationPort = ported ? view.getUint16(this.transportStart + 2) : 0;
    judged.icmpType = ported ? 0 : view.getUint8(this.transportStart);
    judged.tcpFlags = protocol === PROTOCOL_TCP ? view.getUint8(this.transportStart + 13) : 0;
    judged.length = end - this.transportStart + IPV4_HEADER_LENGTH;
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
