import type { Entropy } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { IPV6_ANY } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { finishIcmpv6Checksum, Icmpv6Type } from "../wire/icmpv6.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH, IPV6_MTU_MIN, PROTOCOL_ICMPV6, writeIpv6 } from "../wire/ipv6.ts";
import { type Ipv6Words, isLinkLocalWord, isMulticastWord } from "../wire/ipv6_address.ts";
import { isBroadcastMac, MULTICAST6_MAC_HI } from "../wire/mac.ts";
import { NdpRecord, NeighborFlag, readNdp, writeNdp } from "../wire/ndp.ts";
import { AddressProbes } from "./address_probes.ts";
import { Autoconf, type AutoconfSink } from "./autoconf.ts";
import { Evidence } from "./neighbors.ts";
import type { Interface } from "./interface.ts";
import type { IpOutput } from "./output.ts";

/** Only a neighbour's packet arrives with this (RFC 4861 section 3.1). */
const HOP_LIMIT = 255;
/** Name servers kept of one link; RFC 8106 section 5.3.1 wants three at least. */
export const NAME_SERVERS_MAX = 8;
/** RFC 4861 section 6.3.2 and 10: reachability is believed for between half and one and a half of what is told. */
const REACHABLE_SPREAD = 0.5;
/** What a router may make of our timers: between asking without end and never asking again. */
const RETRANSMIT_MS = { least: 100, most: 60_000 };
const REACHABLE_MS = { least: 1_000, most: 3_600_000 };

/** ff02::1 and ff02::2. */
const ALL_NODES: Ipv6Words = [0xff02_0000 | 0, 0, 0, 1];
const ALL_ROUTERS: Ipv6Words = [0xff02_0000 | 0, 0, 0, 2];
/** Above this byte a solicited-node group's address has the last 24 bits of its members' (RFC 4291 section 2.7.1). */
const SOLICITED_NODE = 0xff00_0000 | 0;

const FRAME_LENGTH = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + 32;

/** How an interface configures itself. */
export interface Ipv6Options {
  /** Whether configured addresses are probed before they are used, where they do not say so themselves. Default false. */
  readonly dad?: boolean;
  /** Default true: makes a link-local address, asks routers, makes addresses of what they advertise. */
  readonly autoconfigure?: boolean;
  /**
   * 16 secret bytes that interface identifiers are made of (RFC 7217). Keep them, and the station address, and
   * the interface has the same addresses after a restart; by default they are drawn anew.
   */
  readonly secret?: Uint8Array;
  /**
   * Whether routers are asked and believed, false leaves the link-local address. Default: unless this host is a
   * router itself (`forwarding`), as RFC 4862 has it.
   */
  readonly acceptAdvertisements?: boolean;
}

/** Neighbour discovery (RFC 4861, RFC 4862) of one stack's Ethernet interfaces. Redirects are ignored. */
export class Ndp {
  /** An own address is about to be probed, or gone: its solicited-node group is joined, or left. */
  groupJoined: (interfaceIndex: number, group: number) => void = () => {};
  groupLeft: (interfaceIndex: number, group: number) => void = () => {};
  /** Advertisements say that we are a router, and other routers' words about prefixes are for hosts (RFC 4861 section 6.2). */
  isRouter = false;
  /** Somebody else turned out to have a configured address, which is not used therefore. */
  duplicate: (interfaceIndex: number, address: number) => void = () => {};
  readonly #output: IpOutput;
  readonly #entropy: Entropy;
  readonly #record = new NdpRecord();
  readonly #slab = Slab.of(FRAME_LENGTH);
  readonly #autoconf: (Autoconf | undefined)[] = []; // by interface
  readonly #probes: AddressProbes;
  readonly #servers = new Map<number, number>(); // recursive name servers -> until when
  readonly #allNodes: number;
  readonly #allRouters: number;
  #nowMs = 0;

  constructor(output: IpOutput, entropy: Entropy) {
    this.#output = output;
    this.#entropy = entropy;
    const { addresses } = output;
    this.#allNodes = addresses.ofWords(ALL_NODES);
    this.#allRouters = addresses.ofWords(ALL_ROUTERS);
    addresses.retain(this.#allNodes);
    addresses.retain(this.#allRouters);
    this.#probes = new AddressProbes({
      probe: (interfaceIndex, address) => this.#probe(output.interfaces[interfaceIndex]!, address),
      duplicate: (interfaceIndex, address) => this.duplicate(interfaceIndex, address),
      withheld: (withheld) => {
        output.routes.ipv6.withhold(withheld);
        output.pathsChanged();
      },
    }, () => this.#draw(1)[0]! / 256);
    output.frames.solicit = (through, address, hi, lo) => this.#solicit(through, address, hi, lo);
  }

  /** The configuration is another one: addresses that ask for it are probed, where there are stations to ask. */
  probeConfigured(nowMs: number): void {
    const { interfaces, routes } = this.#output;
    const asked = routes.ipv6.configured.filter(({ dad, interfaceIndex }) =>
      dad && interfaces[interfaceIndex]!.neighbors6 !== undefined
    );
    this.#probes.follow(asked, nowMs);
  }

  /** Lets an Ethernet interface configure itself. Call it when its configured addresses are set. */
  start(interfaceIndex: number, options: Ipv6Options, nowMs: number): void {
    const through = this.#output.interfaces[interfaceIndex]!;
    if (through.neighbors6 === undefined || options.autoconfigure === false) return;
    const secret = options.secret ?? this.#draw(16);
    const mac = { hi: through.macHi, lo: through.macLo };
    const autoconf = new Autoconf(this.#output.addresses, interfaceIndex, mac, secret, this.#sinkOf(through));
    this.#autoconf[interfaceIndex] = autoconf;
    const configured = this.#output.routes.ipv6.own.some((each) => {
      return each.interfaceIndex === interfaceIndex && isLinkLocalWord(each.words[0]);
    });
    const accepts = options.acceptAdvertisements ?? !this.isRouter;
    autoconf.start(!configured, accepts, this.#draw(1)[0]! / 256, nowMs);
  }

  autoconfOf(interfaceIndex: number): Autoconf | undefined {
    return this.#autoconf[interfaceIndex];
  }

  /** Name servers that routers advertise (RFC 8106), as handles. */
  nameServers(nowMs: number): number[] {
    return [...this.#servers].filter(([, untilMs]) => untilMs > nowMs).map(([address]) => address);
  }

  nextDeadlineMs(): number {
    let deadlineMs = this.#probes.nextDeadlineMs();
    if (this.#autoconf.length === 0) return deadlineMs;
    for (const each of this.#autoconf) {
      if (each !== undefined) deadlineMs = Math.min(deadlineMs, each.nextDeadlineMs());
    }
    return deadlineMs;
  }

  advance(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#probes.advance(nowMs);
    if (this.#autoconf.length === 0) return;
    for (const each of this.#autoconf) each?.advance(nowMs);
  }

  /** A message of neighbour discovery that `ip` carries, its checksum right. */
  input(from: Interface, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    this.#nowMs = nowMs;
    const record = this.#record;
    if (ip.timeToLive !== HOP_LIMIT) return Drop.NdpMalformed;
    if (from.neighbors6 === undefined) return Drop.IcmpType; // there are no stations on this link
    const reason = readNdp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    switch (record.type) {
      case Icmpv6Type.NeighborSolicitation:
        return this.#solicited(from, ip, slab, nowMs);
      case Icmpv6Type.NeighborAdvertisement:
        return this.#advertised(from, ip, slab, nowMs);
      case Icmpv6Type.RouterAdvertisement:
        return this.#routerAdvertised(from, ip, slab, nowMs);
      default:
        return Drop.IcmpType; // solicitations are for routers; redirects are ignored, by prudence
    }
  }

  /** RFC 4861 sections 7.1.1 and 7.2.3, RFC 4862 section 5.4.3. */
  #solicited(from: Interface, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const { addresses, routes } = this.#output;
    const record = this.#record;
    const nameless = ip.source === IPV6_ANY;
    const toGroup = addresses.isMulticast(ip.destination);
    if (isMulticastWord(slab.view.getInt32(record.targetAt))) return Drop.NdpMalformed;
    if (nameless && (record.hasLink || !toGroup || !this.#isSolicitedNode(ip.destination))) {
      return Drop.NdpMalformed;
    }
    const target = addresses.lookup(slab, record.targetAt, from.index + 1);
    if (target === 0) return Drop.None;
    if (this.#autoconf[from.index]?.isTentative(target)) {
      if (nameless) this.#autoconf[from.index]!.duplicate(target, nowMs);
      return Drop.None;
    }
    if (this.#probes.isTentative(from.index, target)) {
      if (nameless) this.#probes.duplicate(target);
      return Drop.None;
    }
    if (!routes.isOurs(target)) return Drop.None;
    if (nameless) { // somebody is about to take it: all hear that it is taken
      this.#advertise(from, target, this.#allNodes, NeighborFlag.override, MULTICAST6_MAC_HI, ALL_NODES[3]);
      return Drop.None;
    }
    const neighbors = from.neighbors6!;
    let hi = MULTICAST6_MAC_HI, lo: number = ALL_NODES[3];
    if (record.hasLink) {
      ({ linkHi: hi, linkLo: lo } = record);
      neighbors.learn(ip.source, hi, lo, Evidence.Request, nowMs, from.neighborSink6);
    } else if (!neighbors.stationOf(ip.source)) return Drop.None; // it asks us alone, so it knows us: ask it first
    else ({ hi, lo } = neighbors);
    this.#advertise(from, target, ip.source, NeighborFlag.solicited | NeighborFlag.override, hi, lo);
    return Drop.None;
  }

  /** RFC 4861 sections 7.1.2 and 7.2.5, RFC 4862 section 5.4.4. */
  #advertised(from: Interface, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const { addresses, routes } = this.#output;
    const { flags, targetAt, hasLink, linkHi, linkLo } = this.#record;
    const solicited = (flags & NeighborFlag.solicited) !== 0;
    if (isMulticastWord(slab.view.getInt32(targetAt))) return Drop.NdpMalformed;
    if (solicited && addresses.isMulticast(ip.destination)) return Drop.NdpMalformed;
    const target = addresses.lookup(slab, targetAt, from.index + 1);
    if (target === 0) return Drop.None;
    const autoconf = this.#autoconf[from.index];
    if (autoconf?.isTentative(target)) {
      autoconf.duplicate(target, nowMs);
      return Drop.None;
    }
    if (this.#probes.isTentative(from.index, target)) {
      this.#probes.duplicate(target);
      return Drop.None;
    }
    if (routes.isOurs(target)) return Drop.None;
    const override = (flags & NeighborFlag.override) !== 0;
    const sink = from.neighborSink6;
    from.neighbors6!.advertise(target, hasLink, linkHi, linkLo, solicited, override, nowMs, sink);
    if ((flags & NeighborFlag.router) === 0) autoconf?.dropRouter(target);
    return Drop.None;
  }

  /** RFC 4861 sections 6.1.2 and 6.3.4, RFC 4862 section 5.5.3, RFC 8106. */
  #routerAdvertised(from: Interface, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const { addresses } = this.#output;
    const record = this.#record;
    if (!addresses.isLinkLocal(ip.source)) return Drop.NdpMalformed;
    const autoconf = this.#autoconf[from.index];
    if (!autoconf?.acceptsRouters) return Drop.IcmpType; // whoever configures this interface is not asked by routers
    const neighbors = from.neighbors6!;
    if (record.hasLink) {
      const { linkHi, linkLo } = record;
      neighbors.learn(ip.source, linkHi, linkLo, Evidence.Request, nowMs, from.neighborSink6);
    }
    if (record.hopLimit !== 0) from.hopLimit6 = record.hopLimit;
    if (record.mtu >= IPV6_MTU_MIN && record.mtu <= from.link.mtu) from.mtuMax6 = record.mtu;
    if (record.retransmitMs !== 0) neighbors.requestIntervalMs = clamp(record.retransmitMs, RETRANSMIT_MS);
    if (record.reachableMs !== 0) {
      const spread = REACHABLE_SPREAD + this.#draw(1)[0]! / 256;
      neighbors.reachableMs = clamp(record.reachableMs, REACHABLE_MS) * spread;
    }
    autoconf.router(ip.source, record.routerLifetimeS, nowMs);
    for (let at = 0; at < record.prefixCount; at++) {
      const { prefixAt, prefixLength, onLink, autonomous, validS, preferredS } = record.prefixes[at]!;
      if (prefixLength > 128) continue;
      const word = (index: number): number => slab.view.getInt32(prefixAt + 4 * index);
      const words: Ipv6Words = [word(0), word(1), word(2), word(3)];
      if (isMulticastWord(words[0])) continue;
      if (onLink) autoconf.onLink(words, prefixLength, validS, nowMs);
      if (autonomous && prefixLength === 64) autoconf.autonomous(words, validS, preferredS, nowMs);
    }
    for (let at = 0; at < record.serverCount; at++) {
      this.#learnServer(
        addresses.read(slab, record.servers[at]!, from.index + 1),
        record.serverLifetimesS[at]!,
        nowMs,
      );
    }
    return Drop.None;
  }

  #learnServer(address: number, lifetimeS: number, nowMs: number): void {
    const { addresses } = this.#output;
    if (address === 0 || addresses.isMulticast(address)) return;
    for (const [known, untilMs] of this.#servers) {
      if (untilMs > nowMs && (known !== address || lifetimeS > 0)) continue;
      this.#servers.delete(known);
      addresses.release(known);
    }
    if (lifetimeS === 0 || (!this.#servers.has(address) && this.#servers.size >= NAME_SERVERS_MAX)) return;
    if (!this.#servers.has(address)) addresses.retain(address);
    this.#servers.set(address, nowMs + 1_000 * lifetimeS);
  }

  /** Asks who has `address`: one station that had it, or all that may (hi, lo: the broadcast address). */
  #solicit(through: Interface, address: number, hi: number, lo: number): void {
    const { addresses, routes } = this.#output;
    const source = routes.ipv6.sourceTowards(address, through.index);
    if (source === 0) return;
    const all = isBroadcastMac(hi, lo);
    const group = all ? this.#groupOf(address) : address;
    if (group === 0) return;
    if (all) [hi, lo] = [MULTICAST6_MAC_HI, addresses.word(group, 3)];
    const end = this.#write(Icmpv6Type.NeighborSolicitation, 0, through.macHi, through.macLo);
    addresses.write(address, this.#slab, MESSAGE_AT + 8);
    this.#send(through, source, group, end, hi, lo);
  }

  #advertise(
    through: Interface,
    target: number,
    destination: number,
    flags: number,
    hi: number,
    lo: number,
  ): void {
    if (this.isRouter) flags |= NeighborFlag.router;
    const end = this.#write(Icmpv6Type.NeighborAdvertisement, flags, through.macHi, through.macLo);
    this.#output.addresses.write(target, this.#slab, MESSAGE_AT + 8);
    this.#send(through, target, destination, end, hi, lo);
  }

  /** Asks whether somebody has `address`, from no address (RFC 4862 section 5.4.2). */
  #probe(through: Interface, address: number): void {
    const { addresses } = this.#output;
    const group = this.#groupOf(address);
    if (group === 0) return; // nobody is asked, and nobody will object
    const end = this.#write(Icmpv6Type.NeighborSolicitation, 0, 0, 0);
    addresses.write(address, this.#slab, MESSAGE_AT + 8);
    this.#send(through, IPV6_ANY, group, end, MULTICAST6_MAC_HI, addresses.word(group, 3));
  }

  #sinkOf(through: Interface): AutoconfSink {
    return {
      probe: (address) => this.#probe(through, address),
      solicitRouters: () => {
        const source = this.#output.routes.ipv6.sourceTowards(this.#allRouters, through.index) || IPV6_ANY;
        const [hi, lo] = source === IPV6_ANY ? [0, 0] : [through.macHi, through.macLo];
        const end = this.#write(Icmpv6Type.RouterSolicitation, 0, hi, lo);
        this.#send(through, source, this.#allRouters, end, MULTICAST6_MAC_HI, ALL_ROUTERS[3]);
      },
      begun: (address) => this.groupJoined(through.index, this.#groupOf(address)),
      ended: (address) => this.groupLeft(through.index, this.#groupOf(address)),
      changed: () => this.#publish(),
    };
  }

  /** Own addresses and routes of all interfaces go into the route table. */
  #publish(): void {
    const all = this.#autoconf.filter((each) => each !== undefined);
    this.#output.routes.ipv6.learn({
      own: all.flatMap((each) => each.own(this.#nowMs)),
      routes: all.flatMap((each) => each.routes()),
    });
  }

  #write(type: number, flags: number, hi: number, lo: number): number {
    return writeNdp(type, flags, hi, lo, this.#slab, MESSAGE_AT);
  }

  #send(
    through: Interface,
    source: number,
    destination: number,
    end: number,
    hi: number,
    lo: number,
  ): void {
    const { addresses } = this.#output;
    const slab = this.#slab;
    finishIcmpv6Checksum(slab, MESSAGE_AT, end, addresses.sum(source), addresses.sum(destination));
    writeIpv6(slab, ETHERNET_HEADER_LENGTH, end - MESSAGE_AT, PROTOCOL_ICMPV6, 0, 0, HOP_LIMIT);
    addresses.write(source, slab, ETHERNET_HEADER_LENGTH + 8);
    addresses.write(destination, slab, ETHERNET_HEADER_LENGTH + 24);
    this.#output.frames.sendFrame(through, slab, 0, end, hi, lo);
  }

  /** The solicited-node group of an address; 0 when the address table is full. */
  #groupOf(address: number): number {
    const { addresses } = this.#output;
    return addresses.intern(ALL_NODES[0], 0, 1, SOLICITED_NODE | (addresses.word(address, 3) & 0xff_ffff), 0);
  }

  #isSolicitedNode(address: number): boolean {
    const { addresses } = this.#output;
    return addresses.word(address, 0) === ALL_NODES[0] && addresses.word(address, 1) === 0 &&
      addresses.word(address, 2) === 1 && addresses.word(address, 3) >>> 24 === 0xff;
  }

  #draw(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    this.#entropy.fill(bytes);
    return bytes;
  }
}

const MESSAGE_AT = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH;

function clamp(value: number, { least, most }: { least: number; most: number }): number {
  return Math.min(Math.max(value, least), most);
}
