import { Slab } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";
import { isIpv6Handle, isMulticast } from "../wire/address.ts";
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
import { MAC_BROADCAST, MULTICAST6_MAC_HI, MULTICAST_MAC_HI, multicastMacLo } from "../wire/mac.ts";
import type { AddressTable } from "./address_table.ts";
import { Interface, type LinkOutput } from "./interface.ts";
import { Neighbors, type NeighborSink, Resolution } from "./neighbors.ts";
import { AddressKind } from "./route_record.ts";
import type { RouteTable } from "./routes.ts";

/** How neighbour discovery differs from ARP: it waits for proof from above before it asks (RFC 4861 section 7.3). */
const NDP = { delayMs: 5_000, lockMs: 0 };

/** What the last step has to know of those before: `IpOutput`. */
export interface WayOut {
  /** Where packets are composed, with room for a frame's header in front. */
  readonly slab: Slab;
  /** Where the end of the packet at hand lies, if not in the slab. */
  readonly tail: Tail;
  /** Brings it there: the packet in the slab ends at `end`. */
  fetchTail(end: number): void;
  readonly routes: RouteTable;
  readonly drops: DropCounters;
  readonly addresses: AddressTable;
  sourceTowards(destination: number): number | undefined;
}

/** The last step of the way out: neighbour -> frame -> link, and what stations are asked (ARP). */
export class FrameOutput {
  readonly interfaces: Interface[] = [];
  /** A frame has found its link full since this was cleared. */
  full = false;
  /** Told of packets whose next hop does not answer. Must not send: the slab may be in use. */
  lost: ((slab: Slab, start: number, end: number) => void) | undefined;
  /** Sends a neighbour solicitation for `address`; set by whoever speaks neighbour discovery. */
  solicit: (through: Interface, address: number, hi: number, lo: number) => void = () => {};
  readonly #way: WayOut;
  readonly #ethernet = new EthernetRecord();
  readonly #arp = new ArpRecord();
  readonly #arpSlab = Slab.of(ETHERNET_HEADER_LENGTH + ARP_LENGTH);

  constructor(way: WayOut) {
    this.#way = way;
  }

  /** Adds an interface at the next index. */
  addInterface(name: string, link: LinkOutput, macHi: number, macLo: number): Interface {
    const ethernet = link.medium === "ethernet";
    const failed: NeighborSink["failed"] = (_address, waited) => {
      this.#way.drops.count(Drop.NeighborPending);
      for (const frame of waited) this.lost?.(frame, ETHERNET_HEADER_LENGTH, frame.bytes.length);
    };
    const sinkOf = (to: Interface, ipv6: boolean): NeighborSink => ({
      request: (address, hi, lo) =>
        ipv6 ? this.solicit(to, address, hi, lo) : this.askFor(to, address, hi, lo),
      deliver: (frame, start, end, hi, lo) => {
        this.#writeEthernet(frame, start, to, hi, lo, ipv6 ? ETHER_IPV6 : ETHER_IPV4);
        this.#transmit(to, frame, start, end);
      },
      failed,
    });
    const holder = this.#way.addresses;
    const added = new Interface({
      index: this.interfaces.length,
      name,
      link,
      macHi,
      macLo,
      neighbors: ethernet ? new Neighbors() : undefined,
      neighbors6: ethernet ? new Neighbors(undefined, undefined, { ...NDP, holder }) : undefined,
      trainBytesMax: ethernet ? 0 : link.trainBytesMax ?? 0,
    }, sinkOf);
    this.#way.addresses.zoneNames.push(name);
    this.interfaces.push(added);
    return added;
  }

  /**
   * Sends the packet in `slab[start, end)`, before which there is room for a frame's header; with `segmentBytes` only
   * through an interface that has `trainBytesMax`.
   */
  sendPacket(
    interfaceIndex: number,
    nextHop: number,
    start: number,
    end: number,
    nowMs: number,
    segmentBytes: number = 0,
  ): boolean {
    const through = this.interfaces[interfaceIndex]!;
    const neighbors = isIpv6Handle(nextHop) ? through.neighbors6 : through.neighbors;
    if (neighbors === undefined) return this.#transmit(through, this.#way.slab, start, end, segmentBytes);
    return this.#sendEthernet(through, neighbors, nextHop, start - ETHERNET_HEADER_LENGTH, end, nowMs);
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
    const source = this.#way.sourceTowards(address);
    if (source !== undefined) this.sendArp(through, ArpOperation.Request, source, address, hi, lo);
  }

  /** Ends a turn: links that gather frames write them. */
  flush(): void {
    const { interfaces } = this;
    for (let index = 0; index < interfaces.length; index++) {
      const each = interfaces[index]!;
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
    const { slab } = this.#way;
    let hi: number = MAC_BROADCAST.hi;
    let lo: number = MAC_BROADCAST.lo;
    const ipv6 = isIpv6Handle(nextHop);
    if (ipv6 && this.#way.addresses.isMulticast(nextHop)) {
      hi = MULTICAST6_MAC_HI;
      lo = this.#way.addresses.word(nextHop, 3);
    } else if (isMulticast(nextHop)) {
      hi = MULTICAST_MAC_HI;
      lo = multicastMacLo(nextHop);
    } else if (this.#way.routes.classify(nextHop) !== AddressKind.Broadcast) {
      const resolution = neighbors.lookup(nextHop, nowMs);
      if (resolution > Resolution.FoundRequest) {
        if (this.#way.tail.bytes > 0) this.#way.fetchTail(end);
        const kept = resolution !== Resolution.Failed && neighbors.hold(nextHop, slab, start, end);
        if (resolution === Resolution.Request) this.#ask(through, nextHop, hi, lo);
        if (kept) return true;
        if (resolution === Resolution.Failed) this.lost?.(slab, start + ETHERNET_HEADER_LENGTH, end);
        return this.#drop(Drop.NeighborPending);
      }
      hi = neighbors.hi;
      lo = neighbors.lo;
      if (resolution === Resolution.FoundRequest) this.#ask(through, nextHop, hi, lo);
    }
    this.#writeEthernet(slab, start, through, hi, lo, ipv6 ? ETHER_IPV6 : ETHER_IPV4);
    return this.#transmit(through, slab, start, end);
  }

  #ask(through: Interface, address: number, hi: number, lo: number): void {
    if (isIpv6Handle(address)) this.solicit(through, address, hi, lo);
    else this.askFor(through, address, hi, lo);
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

  #transmit(through: Interface, slab: Slab, start: number, end: number, segmentBytes = 0): boolean {
    through.dirty = true;
    const { link } = through;
    const { tail } = this.#way;
    const sent = tail.bytes > 0 && slab === this.#way.slab
      ? link.sendGathered!(slab, start, end, segmentBytes, tail)
      : link.send(slab, start, end, segmentBytes);
    if (sent) return true;
    this.full = true;
    return this.#drop(Drop.LinkFull);
  }

  #drop(reason: Drop): boolean {
    this.#way.drops.count(reason);
    return false;
  }
}
