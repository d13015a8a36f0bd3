import { assert } from "../base/assert.ts";
import { HANDED_ON } from "../base/handed_on.ts";
import type { Entropy } from "../base/random.ts";
import type { Slab } from "../base/slab.ts";
import { ConnectionMap, Field, RecordState } from "./connections/connection_map.ts";
import { joinEnds } from "./connections/tuple.ts";
import type { Firewall } from "./firewall/firewall.ts";
import { ForwardGate } from "./firewall/forward_gate.ts";
import { InputGate } from "./firewall/gate.ts";
import type { NameAnswer } from "./firewall/names/name_sets.ts";
import type { FrozenFlow } from "./firewall/conntrack/freeze.ts";
import { PacketHooks, type PassedOutput } from "./firewall/nft/hooks.ts";
import type { Ruleset } from "./firewall/nft/schema.ts";
import { Verdict } from "./firewall/packet.ts";
import { ADDRESSES_LIMIT, AddressTable } from "./ip/address_table.ts";
import { Arp } from "./ip/arp.ts";
import { Draws } from "./ip/draws.ts";
import { fillChecksum } from "./ip/fill_checksum.ts";
import { Forwarder } from "./ip/forward.ts";
import { sendIcmpError } from "./ip/icmp.ts";
import { IcmpInput } from "./ip/icmp_input.ts";
import { IcmpLimits } from "./ip/icmp_limits.ts";
import { sendParameterProblem } from "./ip/icmpv6.ts";
import { Identifications } from "./ip/identification.ts";
import { Igmp } from "./ip/igmp.ts";
import type { Interface, LinkOutput } from "./ip/interface.ts";
import { Ipv4Input } from "./ip/ipv4_input.ts";
import { Ipv6Input } from "./ip/ipv6_input.ts";
import { Mld } from "./ip/mld.ts";
import { type Ipv6Options, Ndp } from "./ip/ndp.ts";
import { IpOutput } from "./ip/output.ts";
import { Reassembly } from "./ip/reassembly.ts";
import type { RouteConfig } from "./ip/route_config.ts";
import { AddressKind } from "./ip/route_record.ts";
import { RouteTable } from "./ip/routes.ts";
import { type TcpCalls, tcpCalls } from "./tcp/calls.ts";
import { completeConfig, type TcpConfig } from "./tcp/config.ts";
import { tcpOutput } from "./tcp/output.ts";
import { SegmentInput } from "./tcp/segment_input.ts";
import { type Tcb, TcpEvent } from "./tcp/tcb.ts";
import { earliestDeadlineMs, Tcp, type TcpUpcalls } from "./tcp/tcp.ts";
import { tcpTimers } from "./tcp/timers.ts";
import { UdpInput } from "./udp/input.ts";
import { Udp, type UdpSocket } from "./udp/udp.ts";
import { Sleepers } from "./wake/sleepers.ts";
import { IPV4_BROADCAST, IPV6_ANY, isIpv6Handle, isUnspecified } from "./wire/address.ts";
import { Drop, DropCounters } from "./wire/drop.ts";
import { ETHER_ARP, ETHER_IPV4, ETHER_IPV6, EthernetRecord, readEthernet } from "./wire/ethernet.ts";
import { IcmpTimeExceeded, IcmpType, IcmpUnreachable } from "./wire/icmp.ts";
import { PROTOCOL_IGMP } from "./wire/igmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, readIpv4 } from "./wire/ipv4.ts";
import { isHeaderBroken, NEXT_FRAGMENT, NEXT_NONE, Problem, PROTOCOL_ICMPV6 } from "./wire/ipv6.ts";
import { isBroadcastMac, isGroupMac } from "./wire/mac.ts";
import { cutTrain } from "./wire/train.ts";

/** How a stack is made. The core takes its clock and its entropy as arguments. */
export interface StackOptions {
  readonly nowMs: number;
  readonly entropy: Entropy;
  readonly tcp?: Partial<TcpConfig>;
  /** Connections, awake and asleep, that the map may hold. */
  readonly connectionsMax?: number;
  /** Passes packets for others on between the interfaces (RFC 1812). Default false: a host. */
  readonly forwarding?: boolean;
}

/** Who makes the stack of a host instead of its constructor, and hears what is asked of it: a recorder. */
export interface StackRecorder {
  /** @internal Makes the stack. */
  stack(options: StackOptions): Stack;
  /** The host has been closed. */
  close(): void;
}

/** An interface of a stack. */
export interface InterfaceOptions {
  readonly name: string;
  readonly link: LinkOutput;
  /** Station address as two numbers, for Ethernet. */
  readonly mac?: { readonly hi: number; readonly lo: number };
}

/** What the layer above is told, at the end of a turn. */
export interface StackUpcalls extends TcpUpcalls {
  udpReadable(socket: UdpSocket): void;
  /** The TCB is about to be freed; the connection lives on in `record`. */
  tcpSuspended(tcb: Tcb, record: number): void;
  /** The connection has a TCB again. Packets that woke it follow. */
  tcpRestored(tcb: Tcb, record: number): void;
  /**
   * Where the stack `sharesAddresses`: a packet of IP about a connection that is not known here. Somebody else has taken
   * care of it when this returns true; it is answered from here else.
   */
  stray?(interfaceIndex: number, packet: Uint8Array): boolean;
}

/** IPv6 addresses beside those of connections: own ones, routes, neighbours, paths, and packets at hand. */
const ADDRESSES_BESIDE = 65_536;
/** Rounds of a turn. Two sockets of one stack that answer each other would else keep the turn for ever. */
const ROUNDS_MAX = 256;

/**
 * THE PACKET WALK. A stack takes frames in with `receive` and sends what is due in `poll`, which
 * returns the next deadline; polled before it, with nothing received or asked for, it sends nothing.
 */
export class Stack {
  /** The IPv6 addresses that handles stand for. */
  readonly addresses: AddressTable;
  readonly connections: ConnectionMap;
  readonly drops: DropCounters = new DropCounters();
  readonly output: IpOutput;
  readonly tcp: Tcp;
  /** What the layers above ask of connections; a recorder puts its own there. */
  calls: TcpCalls = tcpCalls;
  readonly udp: Udp;
  /** Connections without a TCB. */
  readonly sleepers: Sleepers;
  readonly reassembly: Reassembly = new Reassembly();
  readonly icmpErrors: IcmpLimits = new IcmpLimits();
  /** Told about news; set by the socket layer. */
  upcalls: StackUpcalls | undefined;
  /** Whether listeners take new connections. While false, a SYN is dropped without a word: its peer tries again. */
  accepting = true;
  readonly forwarder: Forwarder;
  readonly arp: Arp;
  readonly ndp: Ndp;
  /** For what outsiders must not guess. */
  readonly draws: Draws;
  /** The IPv4 groups that the interfaces are in. */
  readonly igmp: Igmp;
  /** And the IPv6 ones. */
  readonly mld: Mld;
  /** Where packets meet nftables rules: see `setRules`. */
  readonly hooks: PacketHooks;
  #forwarding = false;
  #nowMs: number = HANDED_ON;
  /** What `poll` said last. */
  #toldMs: number = HANDED_ON;
  /** Of the packet at hand: see `receive`. */
  #segmentBytes = 0;
  // The last honest source and own destination that were looked up, and where: the next packet has mostly the same.
  #knownSource = 0;
  #knownDestination = 0;
  #knownRoutes: RouteTable | undefined;
  /** Other stacks have the same addresses, and connections of theirs may be spoken to here. */
  sharesAddresses = false;
  /** The frame at hand is addressed to a group of stations. */
  #toGroup = false;
  readonly #ethernet = new EthernetRecord();
  /** The packet at hand, of either family. */
  readonly #ip = new Ipv4Record();
  readonly #ip4: Ipv4Input;
  readonly #ip6: Ipv6Input;
  readonly #gate = new InputGate();
  readonly #segmentInput: SegmentInput;
  readonly #udpInput: UdpInput;
  readonly #icmpInput: IcmpInput;

  constructor(options: StackOptions) {
    const seeds = new Uint32Array(2);
    options.entropy.fill(new Uint8Array(seeds.buffer));
    const addressesMax = Math.min(ADDRESSES_LIMIT, (options.connectionsMax ?? Infinity) + ADDRESSES_BESIDE);
    this.addresses = new AddressTable({ entropy: options.entropy, addressesMax });
    this.#ip4 = new Ipv4Input(this.reassembly);
    this.#ip6 = new Ipv6Input(this.addresses, this.reassembly);
    this.connections = new ConnectionMap({
      addresses: this.addresses,
      seedHi: seeds[0]!,
      seedLo: seeds[1]!,
      ...(options.connectionsMax === undefined ? {} : { recordsMax: options.connectionsMax }),
    });
    this.#nowMs = options.nowMs;
    this.output = new IpOutput(this.drops, this.addresses);
    this.output.setNow(options.nowMs);
    const config = completeConfig(options.tcp);
    this.tcp = new Tcp(config, this.connections, this.output, options.entropy, options.nowMs, {
      expired: (tcb) => this.#expired(tcb),
      send: (tcb) => this.#send(tcb),
      moved: (tcb) => this.sleepers.owner?.moved(tcb),
      tcpEvents: (tcb, events) => this.#tell(tcb, events),
    });
    this.output.identifications = new Identifications(options.entropy);
    this.arp = new Arp(this.output);
    this.ndp = new Ndp(this.output, options.entropy);
    this.udp = new Udp(this.output, this.addresses);
    this.#segmentInput = new SegmentInput(this, this.#gate);
    this.#udpInput = new UdpInput(this, this.#gate);
    this.#icmpInput = new IcmpInput(this, this.#gate);
    this.sleepers = new Sleepers(this);
    this.draws = new Draws(options.entropy);
    this.igmp = new Igmp(this.output, (limit) => this.draws.below(limit));
    this.mld = new Mld(this.output, (limit) => this.draws.below(limit));
    this.output.hasMembers = (group) => (isIpv6Handle(group) ? this.mld : this.igmp).isMember(-1, group);
    this.forwarding = options.forwarding ?? false;
    this.forwarder = new Forwarder(this, this.#ip6, new ForwardGate(this.#gate));
    this.hooks = this.output.hooks = new PacketHooks(this);
    this.output.frames.lost = (slab, start, end) => this.forwarder.lose(slab, start, end);
  }

  /** Whether packets for others are passed on between the interfaces. */
  get forwarding(): boolean {
    return this.#forwarding;
  }
  set forwarding(on: boolean) {
    this.#forwarding = this.ndp.isRouter = this.mld.isRouter = on;
  }

  /** The rules that packets must pass; `undefined` lets everything pass. */
  get firewall(): Firewall | undefined {
    return this.#gate.firewall;
  }
  set firewall(firewall: Firewall | undefined) {
    this.#gate.firewall = this.output.gate.firewall = firewall;
  }

  /** The time of the call at hand, or of the last one. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Takes other nftables rules, all at once, while packets flow; `undefined` for none. They stand beside `firewall`: a
   * packet must pass both. What the rules in force have counted and learnt goes with `hooks.rules.list()` only.
   * @throws {LinkError} At the first mistake; the old rules stay in force.
   */
  setRules(ruleset: Ruleset | undefined): void {
    this.hooks.setRules(ruleset, this.#nowMs);
  }

  /** Names were resolved: their addresses enter the sets of rules that they fill (`NftRules.learnNames`). */
  learnNames(names: readonly string[], answers: readonly NameAnswer[], nowMs: number): void {
    this.hooks.rules?.learnNames(names, answers, nowMs);
  }

  /**
   * Puts flows back that another process has followed, `passedMs` milliseconds ago, as `writeFirewallImage` has them.
   * @returns How many there are again.
   */
  restoreFlows(flows: readonly FrozenFlow[], passedMs: number): number {
    return this.hooks.restoreFlows(flows, passedMs, this.#nowMs);
  }

  /** Adds an interface; its number goes to `receive` and to the routes. */
  addInterface(options: InterfaceOptions): number {
    const ethernet = options.link.medium === "ethernet";
    assert(!ethernet || options.mac !== undefined, "An Ethernet interface needs a station address");
    const { name, link, mac = { hi: 0, lo: 0 } } = options;
    const { index } = this.output.frames.addInterface(name, link, mac.hi, mac.lo);
    if (this.hooks.rules !== undefined) this.setRules(this.hooks.rules.list(this.#nowMs)); // they name interfaces
    return index;
  }

  /** Lets an Ethernet interface find its IPv6 addresses and routers by itself (RFC 4862): after `setRoutes`. */
  autoconfigure(interfaceIndex: number, options: Ipv6Options, nowMs: number): void {
    this.ndp.start(interfaceIndex, options, nowMs);
  }

  /**
   * Takes other addresses and routes, all at once. Connections of addresses that are gone stay in the map.
   * @throws {RouteError} At the first mistake; the old ones stay in force.
   */
  setRoutes(config: RouteConfig): void {
    const { output } = this;
    const routes = new RouteTable(config, output.interfaces.length, this.addresses);
    routes.ipv6.learn(output.routes.ipv6.learnt);
    output.routes.ipv6.dispose();
    output.routes = routes;
    output.pathsChanged();
    this.ndp.probeConfigured(this.#nowMs);
  }

  /** A DHCP server says what an interface's IPv4 packets may measure; `Infinity`: what its link carries. */
  limitMtu(interfaceIndex: number, mtu: number): void {
    this.output.interfaces[interfaceIndex]!.mtuMax4 = mtu;
  }

  /** The TCB of an awake record. */
  awakeTcb(record: number): Tcb {
    return this.tcp.tcbAt(this.connections.get(record, Field.slot));
  }

  /**
   * The public name of a connection, the same through sleep and restart. Where an IPv6 address stands in an image that
   * cannot be read, it is `::`, which nobody has.
   */
  idOf(record: number): string {
    const map = this.connections;
    const ports = map.get(record, Field.ports);
    const local = map.get(record, Field.localAddress);
    const remote = map.state(record) === RecordState.awake
      ? this.addresses.format(this.awakeTcb(record).remoteAddress)
      : this.sleepers.peerOf(record);
    return joinEnds(this.addresses.format(local), ports >>> 16, remote, ports & 0xffff);
  }

  isOurs(address: number): boolean {
    return this.output.routes.isOurs(address);
  }

  /**
   * A frame arrives on an interface. The answer, if any, leaves at the next `poll`.
   * @param segmentBytes See `LinkSink.receive`; above 0 only where bare IP packets arrive.
   */
  receive(
    interfaceIndex: number,
    slab: Slab,
    start: number,
    end: number,
    nowMs: number,
    segmentBytes: number = 0,
  ): Drop {
    this.#nowMs = nowMs;
    this.#segmentBytes = segmentBytes;
    this.output.setNow(nowMs);
    this.#toGroup = false;
    const from = this.output.interfaces[interfaceIndex]!;
    const reason = from.neighbors === undefined
      ? this.#ipInput(from, slab, start, end, nowMs)
      : this.#ethernetInput(from, slab, start, end, nowMs);
    this.drops.count(reason);
    return reason;
  }

  #ethernetInput(from: Interface, slab: Slab, start: number, end: number, nowMs: number): Drop {
    const ethernet = this.#ethernet;
    const reason = readEthernet(slab, start, end, ethernet);
    if (reason !== Drop.None) return reason;
    const { destinationHi: hi, destinationLo: lo } = ethernet;
    if ((hi !== from.macHi || lo !== from.macLo) && !isBroadcastMac(hi, lo) && !isGroupMac(hi)) {
      return Drop.FrameNotOurs;
    }
    this.#toGroup = isGroupMac(hi);
    if (ethernet.etherType === ETHER_IPV4) {
      return this.#ipInput(from, slab, ethernet.dataStart, ethernet.dataEnd, nowMs);
    }
    if (ethernet.etherType === ETHER_IPV6) {
      return this.#ip6Input(from.index, slab, ethernet.dataStart, ethernet.dataEnd, nowMs);
    }
    if (ethernet.etherType === ETHER_ARP) {
      return this.arp.input(from, this.#toGroup, slab, ethernet.dataStart, ethernet.dataEnd, nowMs);
    }
    return Drop.FrameEtherType;
  }

  #ipInput(from: Interface, slab: Slab, start: number, end: number, nowMs: number): Drop {
    if (from.neighbors === undefined && end > start && slab.bytes[start]! >>> 4 === 6) {
      return this.#ip6Input(from.index, slab, start, end, nowMs);
    }
    const ip = this.#ip;
    const reason = readIpv4(slab, start, end, ip);
    if (reason !== Drop.None) return reason;
    // What looks like a handle in an IPv4 header is a class E address, and nobody's.
    if (isIpv6Handle(ip.source)) return Drop.Ipv4Source;
    if (isIpv6Handle(ip.destination)) return Drop.Ipv4NotOurs;
    const { routes } = this.output;
    const { rules } = this.hooks;
    const again = ip.source === this.#knownSource && ip.destination === this.#knownDestination &&
      routes === this.#knownRoutes && (rules === undefined || !rules.uses.nat);
    if (again && ip.fragmentOffset === 0 && !ip.moreFragments && !this.#toGroup) {
      if (rules !== undefined) {
        const left = this.#segmentBytes > 0;
        const refused = this.hooks.prerouting(from.index, ip, slab, false, left, nowMs, undefined);
        if (refused !== Drop.None) return refused;
      }
      return this.#transportInput(from.index, slab, false, nowMs);
    }
    // RFC 1122 section 3.2.1.3: nobody honest speaks from a group, from loopback, or as us.
    const sourceKind = routes.classify(ip.source);
    if (sourceKind !== AddressKind.Other && !isNameless(ip)) return Drop.Ipv4Source;
    if (sourceKind === AddressKind.Other && routes.classify(ip.destination) === AddressKind.Ours) {
      this.#knownSource = ip.source;
      this.#knownDestination = ip.destination;
      this.#knownRoutes = routes;
    }
    return this.#ipDeliver(from.index, slab, nowMs);
  }

  /** What `#ip` describes is whole and has an honest source: is it ours, and whose? */
  #ipDeliver(interfaceIndex: number, slab: Slab, nowMs: number, passed?: PassedOutput): Drop {
    const ip = this.#ip;
    const { rules } = this.hooks;
    if (rules !== undefined) {
      if (this.#segmentBytes > 0 && this.#forwarding && (rules.uses.nat || !this.isOurs(ip.destination))) {
        return this.#receiveCut(interfaceIndex, slab, ip.headerStart, ip.dataEnd, nowMs);
      }
      // Rules see whole datagrams, as in a kernel that follows connections.
      if (ip.moreFragments || ip.fragmentOffset !== 0) {
        const reason = this.#ip4.reassemble(slab, ip, nowMs);
        const { whole } = this.reassembly;
        if (reason !== Drop.None || whole === undefined) return reason;
        slab = whole;
      }
      const left = this.#segmentBytes > 0;
      const reason = this.hooks.prerouting(interfaceIndex, ip, slab, this.#toGroup, left, nowMs, passed);
      if (reason !== Drop.None) return reason;
    }
    const kind = this.output.routes.classify(ip.destination);
    const group = kind === AddressKind.Broadcast || kind === AddressKind.Multicast;
    if (!group && kind !== AddressKind.Ours) {
      if (this.#segmentBytes > 0 && this.#forwarding) {
        return this.#receiveCut(interfaceIndex, slab, ip.headerStart, ip.dataEnd, nowMs);
      }
      return this.#forward(interfaceIndex, slab, nowMs);
    }
    // RFC 1122 section 3.3.6: sent to everyone on the link, meant for one: all would answer, most wrongly.
    if (!group && this.#toGroup) return Drop.Ipv4NotOurs;
    if (kind === AddressKind.Multicast && !this.igmp.isMember(interfaceIndex, ip.destination)) {
      return Drop.Ipv4NotOurs;
    }
    if (ip.moreFragments || ip.fragmentOffset !== 0) {
      const reason = this.#ip4.reassemble(slab, ip, nowMs);
      const { whole } = this.reassembly;
      if (reason !== Drop.None || whole === undefined) return reason;
      slab = whole;
    }
    return this.#transportInput(interfaceIndex, slab, group, nowMs);
  }

  /** Somebody else's train, or packet without a checksum, comes again as frames: the next link may know neither. */
  #receiveCut(interfaceIndex: number, slab: Slab, start: number, end: number, nowMs: number): Drop {
    let reason: Drop = Drop.None;
    cutTrain(slab, start, end, this.#segmentBytes, (frame, from, to) => {
      this.drops.count(reason); // that of the one before; the caller counts the last
      reason = this.receive(interfaceIndex, frame, from, to, nowMs);
    });
    return reason;
  }

  #forward(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    // From a link, and not what everyone on it got: each of them would pass it on.
    if (!this.#forwarding || interfaceIndex < 0 || this.#toGroup || !this.forwarder.mayForward(ip)) {
      return Drop.Ipv4NotOurs;
    }
    if (this.firewall !== undefined && (ip.moreFragments || ip.fragmentOffset !== 0)) {
      const reason = this.#ip4.reassemble(slab, ip, nowMs);
      const { whole } = this.reassembly;
      if (reason !== Drop.None || whole === undefined) return reason;
      slab = whole;
    }
    return this.forwarder.forward(interfaceIndex, ip, slab, nowMs);
  }

  #ip6Input(interfaceIndex: number, slab: Slab, start: number, end: number, nowMs: number): Drop {
    const ip = this.#ip;
    const { record } = this.#ip6;
    const reason = this.#ip6.read(slab, start, end, interfaceIndex + 1, ip);
    if (reason !== Drop.None && (isHeaderBroken(reason) || reason === Drop.AddressTableFull)) return reason;
    // Only who asks about its own address may have none yet (RFC 4862 section 5.4.2).
    const nameless = ip.source === IPV6_ANY && ip.protocol === PROTOCOL_ICMPV6 &&
      this.addresses.isMulticast(ip.destination);
    if (this.output.routes.classify(ip.source) !== AddressKind.Other && !nameless) return Drop.Ipv6Source;
    let cut = false;
    if (this.hooks.rules !== undefined) {
      if (this.#segmentBytes > 0 && this.#forwarding) {
        if (this.hooks.rules.uses.nat || !this.isOurs(ip.destination)) {
          return this.#receiveCut(interfaceIndex, slab, start, end, nowMs);
        }
      }
      if (reason === Drop.None && ip.protocol === NEXT_FRAGMENT) {
        const failed = this.#ip6.reassemble(slab, interfaceIndex + 1, ip, nowMs);
        const { whole } = this.reassembly;
        if (failed !== Drop.None || whole === undefined) return failed;
        slab = whole;
        cut = true;
      }
      const refused = this.#prerouting6(interfaceIndex, slab, nowMs);
      if (refused !== Drop.None) return refused;
    }
    // From a link, and not what everyone on it got: each of them would pass it on.
    if (this.#forwarding && !this.#toGroup && this.forwarder.ipv6.mayForward(ip)) {
      if (this.#segmentBytes > 0) return this.#receiveCut(interfaceIndex, slab, start, end, nowMs);
      return this.forwarder.ipv6.forward(interfaceIndex, ip, reason, slab, nowMs, cut);
    }
    if (reason === Drop.None) return this.#ip6Deliver(interfaceIndex, interfaceIndex + 1, slab, nowMs);
    if (record.problem === Problem.none) return reason;
    sendParameterProblem(this, record.problem, record.problemAt, ip, slab, nowMs);
    return reason;
  }

  #prerouting6(interfaceIndex: number, slab: Slab, nowMs: number, passed?: PassedOutput): Drop {
    const left = this.#segmentBytes > 0;
    return this.hooks.prerouting(interfaceIndex, this.#ip, slab, this.#toGroup, left, nowMs, passed);
  }

  /** As `#ipDeliver`, for what `#ip6` has read. */
  #ip6Deliver(interfaceIndex: number, zone: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const kind = this.output.routes.classify(ip.destination);
    const group = kind === AddressKind.Multicast;
    if (group && !this.mld.isMember(interfaceIndex, ip.destination)) return Drop.Ipv6NotOurs;
    if (!group && (kind !== AddressKind.Ours || this.#toGroup)) return Drop.Ipv6NotOurs;
    if (ip.protocol === NEXT_FRAGMENT) {
      const reason = this.#ip6.reassemble(slab, zone, ip, nowMs);
      const { whole } = this.reassembly;
      if (reason !== Drop.None || whole === undefined) return reason;
      slab = whole;
    }
    return this.#transportInput(interfaceIndex, slab, group, nowMs);
  }

  /** What `#ip` describes is whole and ours. */
  #transportInput(interfaceIndex: number, slab: Slab, group: boolean, nowMs: number): Drop {
    const ip = this.#ip;
    if (this.hooks.rules !== undefined) {
      const reason = this.hooks.input(ip, slab, nowMs);
      if (reason !== Drop.None) return reason;
    }
    if (ip.protocol === PROTOCOL_TCP) {
      if (group) return Drop.TcpAddress;
      return this.#segmentInput.input(interfaceIndex, ip, slab, this.#segmentBytes, nowMs);
    }
    if (this.#segmentBytes > 0) fillChecksum(this.addresses, ip, slab);
    this.#segmentBytes = 0;
    if (ip.protocol === PROTOCOL_UDP) return this.#udpInput.input(interfaceIndex, ip, slab, group, nowMs);
    if (isIpv6Handle(ip.destination)) {
      if (ip.protocol === PROTOCOL_ICMPV6) return this.#icmpInput.input6(interfaceIndex, ip, slab, nowMs);
      if (ip.protocol !== NEXT_NONE) {
        const at = this.#ip6.record.protocolAt - ip.headerStart;
        sendParameterProblem(this, Problem.nextHeader, at, ip, slab, nowMs);
      }
      return Drop.Ipv6Protocol;
    }
    if (ip.protocol === PROTOCOL_ICMP) return this.#icmpInput.input(interfaceIndex, ip, slab, nowMs);
    if (ip.protocol === PROTOCOL_IGMP) {
      if (this.#gate.other(ip, interfaceIndex) !== Verdict.Accept) return Drop.Firewall;
      return this.igmp.input(interfaceIndex, ip, slab, nowMs);
    }
    sendIcmpError(this, IcmpType.Unreachable, IcmpUnreachable.Protocol, ip, slab, nowMs);
    return Drop.Ipv4Protocol;
  }

  /**
   * Whether the packet that `ip` describes, about a connection that is not ours, is passed on to another stack. Its
   * checksum is filled in.
   */
  passOn(interfaceIndex: number, ip: Ipv4Record, slab: Slab): boolean {
    if (!this.sharesAddresses || interfaceIndex < 0) return false;
    return this.upcalls?.stray?.(interfaceIndex, slab.bytes.slice(ip.headerStart, ip.dataEnd)) ?? false;
  }

  /**
   * Ends a turn: timers that are due, then everything that wants to be sent, then news for the owners,
   * until nobody has anything to say or the turn has been long enough. Without `timers`, what is due stays due.
   * @returns When to poll again at the latest, epoch milliseconds; `Infinity` for never.
   */
  poll(nowMs: number, timers = true): number {
    this.#nowMs = nowMs;
    this.tcp.offerFull = false;
    let more = false;
    this.output.setNow(nowMs);
    if (timers) this.#advance(nowMs);
    this.forwarder.tellLost(nowMs);
    for (let rounds = 1;; rounds++) {
      // News first: what an owner writes in answer carries the ACK that is owed.
      this.tcp.drainEvents(); // also when nobody listens: what has ended is freed here
      if (this.udp.hasEvents) this.udp.drainEvents(this.#tellUdp);
      this.tcp.drainOutput();
      this.#deliverLoopback(nowMs);
      this.hooks.endAbandoned(nowMs);
      this.sleepers.owner?.turn(nowMs);
      more = this.tcp.hasOutput || this.tcp.hasEvents || this.udp.hasEvents ||
        this.output.loopback.length > 0;
      if (!more || rounds === ROUNDS_MAX) break;
    }
    this.output.frames.flush();
    if (more) return nowMs;
    let deadlineMs = Math.min(this.tcp.nextDeadlineMs(), this.sleepers.owner?.nextDeadlineMs() ?? Infinity);
    deadlineMs = Math.min(
      deadlineMs,
      this.reassembly.nextDeadlineMs(),
      this.ndp.nextDeadlineMs(),
      this.igmp.nextDeadlineMs(),
      this.mld.nextDeadlineMs(),
    );
    const { interfaces } = this.output;
    for (let index = 0; index < interfaces.length; index++) {
      deadlineMs = Math.min(deadlineMs, interfaces[index]!.nextDeadlineMs());
    }
    if (deadlineMs !== this.#toldMs) this.#toldMs = deadlineMs;
    return this.#toldMs;
  }

  #advance(nowMs: number): void {
    this.tcp.advance(nowMs);
    this.reassembly.advance(nowMs, this.#reassemblyExpired);
    this.igmp.advance(nowMs);
    this.mld.advance(nowMs);
    const { interfaces } = this.output;
    for (let index = 0; index < interfaces.length; index++) interfaces[index]!.advance(nowMs);
    this.ndp.advance(nowMs);
  }

  /** The sender of `first` learns that the rest has not come in time (RFC 792). */
  readonly #reassemblyExpired = (first: Slab): void => {
    if (this.#readWhole(first, 1) !== Drop.None) return;
    if (!this.isOurs(this.#ip.destination)) return; // put together only for the rules
    sendIcmpError(this, IcmpType.TimeExceeded, IcmpTimeExceeded.Reassembly, this.#ip, first, this.#nowMs);
  };

  #expired(tcb: Tcb): void {
    if (!tcb.saving) tcpTimers(this.tcp, tcb, this.#nowMs);
    else if (earliestDeadlineMs(tcb) <= this.#nowMs) this.sleepers.wake(tcb.record, this.#nowMs);
    else this.tcp.arm(tcb); // the deadline has moved since the wheel was set
  }

  #send(tcb: Tcb): void {
    if (tcb.saving) this.sleepers.wake(tcb.record, this.#nowMs);
    else tcpOutput(this.tcp, tcb, this.#nowMs);
  }

  #tell(tcb: Tcb, events: number): void {
    if ((events & TcpEvent.established) !== 0) this.sleepers.owner?.watch(tcb, this.#nowMs);
    this.upcalls?.tcpEvents(tcb, events);
  }

  readonly #tellUdp = (socket: UdpSocket): void => this.upcalls?.udpReadable(socket);

  #deliverLoopback(nowMs: number): void {
    if (this.output.loopback.length === 0) return;
    this.#toGroup = false;
    // What these packets cause is delivered in the next round: a stack that talks to itself still ends its turn.
    this.#segmentBytes = 0;
    for (const { packet, zone, passed } of this.output.loopback.splice(0)) {
      if (this.#readWhole(packet, zone) !== Drop.None) continue;
      if (!isIpv6Handle(this.#ip.destination)) {
        this.drops.count(this.#ipDeliver(-1, packet, nowMs, passed));
        continue;
      }
      const refused = this.hooks.rules === undefined
        ? Drop.None
        : this.#prerouting6(-1, packet, nowMs, passed);
      this.drops.count(refused !== Drop.None ? refused : this.#ip6Deliver(-1, zone, packet, nowMs));
    }
  }

  /** Makes `#ip` describe a packet of either family that fills its slab. */
  #readWhole(packet: Slab, zone: number): Drop {
    const { bytes } = packet;
    return bytes[0]! >>> 4 === 6
      ? this.#ip6.read(packet, 0, bytes.length, zone, this.#ip)
      : readIpv4(packet, 0, bytes.length, this.#ip);
  }

  /** A packet that was held for its connection, which is awake now: a segment, or an ICMP message about one. */
  receiveHeld(interfaceIndex: number, slab: Slab, nowMs: number): void {
    const ip = this.#ip;
    this.#segmentBytes = 0;
    if (this.#readWhole(slab, interfaceIndex + 1) !== Drop.None) return;
    this.drops.count(
      ip.protocol === PROTOCOL_TCP
        ? this.#segmentInput.input(interfaceIndex, ip, slab, 0, nowMs)
        : ip.protocol === PROTOCOL_ICMP
        ? this.#icmpInput.input(interfaceIndex, ip, slab, nowMs)
        : this.#icmpInput.input6(interfaceIndex, ip, slab, nowMs),
    );
  }
}

/** Whether the sender may have no address yet: who asks a DHCP server for one, who tells which groups it is in. */
function isNameless({ source, destination, protocol }: Ipv4Record): boolean {
  if (!isUnspecified(source)) return false;
  return protocol === PROTOCOL_UDP ? destination === IPV4_BROADCAST : protocol === PROTOCOL_IGMP;
}
