import { assert } from "../base/assert.ts";
import type { Entropy } from "../base/random.ts";
import { Slab } from "../base/slab.ts";
import { ConnectionMap, Field, RecordState } from "./connections/connection_map.ts";
import { formatTuple } from "./connections/tuple.ts";
import type { Firewall } from "./firewall/firewall.ts";
import { ForwardGate } from "./firewall/forward_gate.ts";
import { InputGate } from "./firewall/gate.ts";
import { Verdict } from "./firewall/packet.ts";
import { ADDRESSES_LIMIT, AddressTable } from "./ip/address_table.ts";
import { Draws } from "./ip/draws.ts";
import { Forwarder } from "./ip/forward.ts";
import { icmpInput, sendIcmpError } from "./ip/icmp.ts";
import { sendEchoReply6, sendParameterProblem, translateError } from "./ip/icmpv6.ts";
import { Identifications } from "./ip/identification.ts";
import { Ipv6Input } from "./ip/ipv6_input.ts";
import { type Ipv6Options, Ndp } from "./ip/ndp.ts";
import { Mld } from "./ip/mld.ts";
import { MldType } from "./wire/mld.ts";
import { Igmp } from "./ip/igmp.ts";
import { ICMP_ERRORS_BURST, IcmpLimits } from "./ip/icmp_limits.ts";
import type { Interface, LinkOutput } from "./ip/interface.ts";
import { IpOutput } from "./ip/output.ts";
import { Evidence } from "./ip/neighbors.ts";
import { Fragment, Reassembly } from "./ip/reassembly.ts";
import type { RouteConfig } from "./ip/route_config.ts";
import { AddressKind } from "./ip/route_record.ts";
import { RouteTable } from "./ip/routes.ts";
import { type TcpCalls, tcpCalls } from "./tcp/calls.ts";
import { completeConfig, type TcpConfig } from "./tcp/config.ts";
import { type FrozenTcb, thawTcb } from "./tcp/freeze.ts";
import { packetTooBig } from "./tcp/path_mtu.ts";
import { tcpInput } from "./tcp/input.ts";
import { listenInput } from "./tcp/listen.ts";
import { sendStrayReset, tcpOutput } from "./tcp/output.ts";
import { Tcb, TcpError, TcpEvent, TcpState } from "./tcp/tcb.ts";
import { earliestDeadlineMs, Tcp, type TcpUpcalls } from "./tcp/tcp.ts";
import { tcpTimers } from "./tcp/timers.ts";
import { Udp, type UdpSocket } from "./udp/udp.ts";
import { answerAsleep, judgeAsleep, WakeVerdict } from "./wake/filter.ts";
import { HeldPackets } from "./wake/held.ts";
import { SleepingKeepAlives } from "./wake/keep_alives.ts";
import type { SleepOwner } from "./wake/sleep_owner.ts";
import { locationOfRecord, loseRecord, sleepRecord, wakeRecord } from "./wake/slot.ts";
import { IPV4_BROADCAST, IPV6_ANY, isIpv6Handle, isUnspecified } from "./wire/address.ts";
import { ArpOperation, ArpRecord, readArp } from "./wire/arp.ts";
import { Drop, DropCounters } from "./wire/drop.ts";
import { ETHER_ARP, ETHER_IPV4, ETHER_IPV6, EthernetRecord, readEthernet } from "./wire/ethernet.ts";
import { PROTOCOL_IGMP } from "./wire/igmp.ts";
import { IcmpRecord, IcmpTimeExceeded, IcmpType, IcmpUnreachable, readIcmp } from "./wire/icmp.ts";
import {
  IPV4_LENGTH_MAX,
  Ipv4Record,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  readIpv4,
  wholeIpv4,
} from "./wire/ipv4.ts";
import { Icmpv6Record, Icmpv6Type, readIcmpv6 } from "./wire/icmpv6.ts";
import { NEXT_FRAGMENT, NEXT_NONE, Problem, PROTOCOL_ICMPV6 } from "./wire/ipv6.ts";
import { isBroadcastMac, isGroupMac, MAC_BROADCAST } from "./wire/mac.ts";
import { readTcp, tcpChecksumOk, TcpFlag, TcpRecord } from "./wire/tcp.ts";
import { readUdp, udpChecksumOk, UdpRecord } from "./wire/udp.ts";

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
}

/** Packets of one turn whose senders are told that nobody takes them: the burst that the rate limit allows. */
const LOST_MAX = ICMP_ERRORS_BURST;
/** IPv6 addresses beside those of connections: own ones, routes, neighbours, paths, and packets at hand. */
const ADDRESSES_BESIDE = 65_536;
/** RFC 5227 section 1.1: how often an address is defended. */
const DEFEND_INTERVAL_MS = 10_000;
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
  readonly held: HeldPackets = new HeldPackets();
  readonly reassembly: Reassembly = new Reassembly();
  readonly icmpErrors: IcmpLimits = new IcmpLimits();
  /** Told about news; set by the socket layer. */
  upcalls: StackUpcalls | undefined;
  /** Keeps the sleepers; without one nothing sleeps. */
  sleepOwner: SleepOwner | undefined;
  /** Whether listeners take new connections. While false, a SYN is dropped without a word: its peer tries again. */
  accepting = true;
  /** Whether packets for others are passed on between the interfaces. */
  forwarding: boolean;
  readonly forwarder: Forwarder;
  readonly ndp: Ndp;
  /** For what outsiders must not guess. */
  readonly draws: Draws;
  /** The IPv4 groups that the interfaces are in. */
  readonly igmp: Igmp;
  /** And the IPv6 ones. */
  readonly mld: Mld;
  #nowMs: number;
  /** The frame at hand is addressed to a group of stations. */
  #toGroup = false;
  readonly #ethernet = new EthernetRecord();
  readonly #arp = new ArpRecord();
  /** The packet at hand, of either family. */
  readonly #ip = new Ipv4Record();
  readonly #ip6: Ipv6Input;
  readonly #tcp = new TcpRecord();
  readonly #udp = new UdpRecord();
  readonly #icmp = new IcmpRecord();
  readonly #icmp6 = new Icmpv6Record();
  readonly #fragment = new Fragment();
  readonly #lost: Slab[] = [];
  readonly #gate = new InputGate();
  readonly #keepAlives = new SleepingKeepAlives();

  constructor(options: StackOptions) {
    const seeds = new Uint32Array(2);
    options.entropy.fill(new Uint8Array(seeds.buffer));
    const addressesMax = Math.min(ADDRESSES_LIMIT, (options.connectionsMax ?? Infinity) + ADDRESSES_BESIDE);
    this.addresses = new AddressTable({ entropy: options.entropy, addressesMax });
    this.#ip6 = new Ipv6Input(this.addresses, this.reassembly);
    this.connections = new ConnectionMap({
      holder: this.addresses,
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
      tcpEvents: (tcb, events) => this.#tell(tcb, events),
    });
    this.output.identifications = new Identifications(options.entropy);
    this.output.frames.lost = this.#packetLost;
    this.ndp = new Ndp(this.output, options.entropy);
    this.udp = new Udp(this.output, this.addresses);
    this.draws = new Draws(options.entropy);
    this.igmp = new Igmp(this.output, (limit) => this.draws.below(limit));
    this.mld = new Mld(this.output, (limit) => this.draws.below(limit));
    this.output.hasMembers = (group) => (isIpv6Handle(group) ? this.mld : this.igmp).isMember(-1, group);
    this.forwarding = options.forwarding ?? false;
    this.forwarder = new Forwarder(this, new ForwardGate(this.#gate));
  }

  /** The rules that packets must pass; `undefined` lets everything pass. */
  get firewall(): Firewall | undefined {
    return this.#gate.firewall;
  }
  set firewall(firewall: Firewall | undefined) {
    this.#gate.firewall = this.output.gate.firewall = firewall;
  }

  /** Adds an interface; its number goes to `receive` and to the routes. */
  addInterface(options: InterfaceOptions): number {
    const ethernet = options.link.medium === "ethernet";
    assert(!ethernet || options.mac !== undefined, "An Ethernet interface needs a station address");
    return this.output.frames.addInterface(
      options.name,
      options.link,
      options.mac?.hi ?? 0,
      options.mac?.lo ?? 0,
    )
      .index;
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
  }

  /** A DHCP server says what an interface's IPv4 packets may measure; `Infinity`: what its link carries. */
  limitMtu(interfaceIndex: number, mtu: number): void {
    this.output.interfaces[interfaceIndex]!.mtuMax4 = mtu;
  }

  /** The TCB of an awake record. */
  awakeTcb(record: number): Tcb {
    return this.tcp.tcbAt(this.connections.get(record, Field.slot));
  }

  /** The public name of a connection, the same through sleep and restart. */
  idOf(record: number): string {
    const map = this.connections;
    const ports = map.get(record, Field.ports);
    const local = map.get(record, Field.localAddress);
    const remote = map.get(record, Field.remoteAddress);
    return formatTuple(local, ports >>> 16, remote, ports & 0xffff, this.addresses);
  }

  isOurs(address: number): boolean {
    return this.output.routes.isOurs(address);
  }

  /** A frame arrives on an interface. The answer, if any, leaves at the next `poll`. */
  receive(interfaceIndex: number, slab: Slab, start: number, end: number, nowMs: number): Drop {
    this.#nowMs = nowMs;
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
      return this.#arpInput(from, slab, ethernet.dataStart, ethernet.dataEnd, nowMs);
    }
    return Drop.FrameEtherType;
  }

  #arpInput(from: Interface, slab: Slab, start: number, end: number, nowMs: number): Drop {
    const arp = this.#arp;
    const reason = readArp(slab, start, end, arp);
    if (reason !== Drop.None) return reason;
    const { senderIp, senderHi, senderLo, targetIp } = arp;
    if (isIpv6Handle(senderIp) || isIpv6Handle(targetIp)) return Drop.ArpMalformed; // class E is nobody's
    const forUs = this.isOurs(targetIp);
    this.#watch(from, arp, nowMs);
    if (!isUnspecified(senderIp) && !this.isOurs(senderIp)) {
      const toAll = isGroupMac(this.#ethernet.destinationHi);
      const evidence = !forUs || (toAll && arp.operation === ArpOperation.Reply)
        ? Evidence.Announcement
        : arp.operation === ArpOperation.Request
        ? Evidence.Request
        : Evidence.Reply;
      from.neighbors!.learn(senderIp, senderHi, senderLo, evidence, nowMs, from.neighborSink);
    }
    if (forUs && arp.operation === ArpOperation.Request) {
      this.output.frames.sendArp(from, ArpOperation.Reply, targetIp, senderIp, senderHi, senderLo);
    }
    return Drop.None;
  }

  /** RFC 5227: whether somebody else has, or is about to take, an address that is ours or shall be. */
  #watch(from: Interface, arp: ArpRecord, nowMs: number): void {
    const { senderIp, senderHi, senderLo, targetIp } = arp;
    if (senderHi === from.macHi && senderLo === from.macLo) return; // our own words
    const probes = isUnspecified(senderIp) && targetIp === from.watched;
    if (from.watched !== 0 && (senderIp === from.watched || probes)) from.claimed = true;
    const taken = !isUnspecified(senderIp) && this.output.routes.interfaceOf(senderIp) === from.index;
    if (!taken) return;
    this.drops.count(Drop.ArpConflict);
    if (nowMs - from.defendedMs < DEFEND_INTERVAL_MS) return; // section 2.4 (b): or two would shout for ever
    from.defendedMs = nowMs;
    this.announce(from.index, senderIp);
  }

  /** Asks who has an address that shall be ours (RFC 5227 section 2.1.1): see `claimed`. */
  probe(interfaceIndex: number, address: number): void {
    const through = this.output.interfaces[interfaceIndex]!;
    if (through.watched !== address) through.claimed = false;
    through.watched = address;
    const { hi, lo } = MAC_BROADCAST;
    this.output.frames.sendArp(through, ArpOperation.Request, 0, address, hi, lo);
  }

  /** The address that was asked about, if somebody has it; asking ends with that. 0 for nobody. */
  claimed(interfaceIndex: number): number {
    const through = this.output.interfaces[interfaceIndex]!;
    const { watched } = through;
    if (!through.claimed) return 0;
    through.watched = 0;
    through.claimed = false;
    return watched;
  }

  /** Tells everyone on an Ethernet that an address is ours (RFC 5227 section 2.3). */
  announce(interfaceIndex: number, address: number): void {
    const through = this.output.interfaces[interfaceIndex]!;
    if (through.neighbors === undefined) return;
    through.watched = 0;
    through.claimed = false;
    const { hi, lo } = MAC_BROADCAST;
    this.output.frames.sendArp(through, ArpOperation.Request, address, address, hi, lo);
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
    // RFC 1122 section 3.2.1.3: nobody honest speaks from a group, from loopback, or as us.
    if (this.output.routes.classify(ip.source) !== AddressKind.Other && !isNameless(ip)) {
      return Drop.Ipv4Source;
    }
    return this.#ipDeliver(from.index, slab, nowMs);
  }

  /** What `#ip` describes is whole and has an honest source: is it ours, and whose? */
  #ipDeliver(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const kind = this.output.routes.classify(ip.destination);
    const group = kind === AddressKind.Broadcast || kind === AddressKind.Multicast;
    if (!group && kind !== AddressKind.Ours) return this.#forward(interfaceIndex, slab, nowMs);
    // RFC 1122 section 3.3.6: sent to everyone on the link, meant for one: all would answer, most wrongly.
    if (!group && this.#toGroup) return Drop.Ipv4NotOurs;
    if (kind === AddressKind.Multicast && !this.igmp.isMember(interfaceIndex, ip.destination)) {
      return Drop.Ipv4NotOurs;
    }
    if (ip.moreFragments || ip.fragmentOffset !== 0) {
      const reason = this.#fragmentInput(slab, nowMs);
      const { whole } = this.reassembly;
      if (reason !== Drop.None || whole === undefined) return reason;
      slab = whole;
    }
    return this.#transportInput(interfaceIndex, slab, group, nowMs);
  }

  #forward(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    // From a link, and not what everyone on it got: each of them would pass it on.
    if (!this.forwarding || interfaceIndex < 0 || this.#toGroup || !this.forwarder.mayForward(ip)) {
      return Drop.Ipv4NotOurs;
    }
    if (this.firewall !== undefined && (ip.moreFragments || ip.fragmentOffset !== 0)) {
      const reason = this.#fragmentInput(slab, nowMs);
      const { whole } = this.reassembly;
      if (reason !== Drop.None || whole === undefined) return reason;
      slab = whole;
    }
    return this.forwarder.forward(interfaceIndex, ip, slab, nowMs);
  }

  /** Puts a fragment to the others of its datagram. When that is whole, `#ip` describes it, in `reassembly.whole`. */
  #fragmentInput(slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const fragment = this.#fragment;
    fragment.source = ip.source;
    fragment.destination = ip.destination;
    fragment.protocol = ip.protocol;
    fragment.identification = ip.identification;
    fragment.ipv6 = false;
    fragment.offset = ip.fragmentOffset;
    fragment.more = ip.moreFragments;
    fragment.ecn = ip.typeOfService & 3;
    fragment.headerStart = ip.headerStart;
    fragment.headerEnd = fragment.dataStart = ip.dataStart;
    fragment.dataEnd = ip.dataEnd;
    fragment.lengthMax = IPV4_LENGTH_MAX - (ip.dataStart - ip.headerStart);
    const reason = this.reassembly.add(fragment, slab, nowMs);
    const { whole } = this.reassembly;
    if (whole === undefined) return reason;
    wholeIpv4(whole, 0, whole.bytes.length, this.reassembly.congestionExperienced);
    return readIpv4(whole, 0, whole.bytes.length, ip);
  }

  #ip6Input(interfaceIndex: number, slab: Slab, start: number, end: number, nowMs: number): Drop {
    const ip = this.#ip;
    const { record } = this.#ip6;
    const reason = this.#ip6.read(slab, start, end, interfaceIndex + 1, ip);
    if (reason !== Drop.None && record.problem === Problem.none) return reason;
    // Only who asks about its own address may have none yet (RFC 4862 section 5.4.2).
    const nameless = ip.source === IPV6_ANY && ip.protocol === PROTOCOL_ICMPV6 &&
      this.addresses.isMulticast(ip.destination);
    if (this.output.routes.classify(ip.source) !== AddressKind.Other && !nameless) return Drop.Ipv6Source;
    if (reason === Drop.None) return this.#ip6Deliver(interfaceIndex, interfaceIndex + 1, slab, nowMs);
    sendParameterProblem(this, record.problem, record.problemAt, ip, slab, nowMs);
    return reason;
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
    if (ip.protocol === PROTOCOL_TCP) {
      return group ? Drop.TcpAddress : this.#tcpInput(interfaceIndex, slab, nowMs);
    }
    if (ip.protocol === PROTOCOL_UDP) return this.#udpInput(interfaceIndex, slab, group, nowMs);
    if (isIpv6Handle(ip.destination)) {
      if (ip.protocol === PROTOCOL_ICMPV6) return this.#icmp6Input(interfaceIndex, slab, nowMs);
      if (ip.protocol !== NEXT_NONE) {
        const at = this.#ip6.record.protocolAt - ip.headerStart;
        sendParameterProblem(this, Problem.nextHeader, at, ip, slab, nowMs);
      }
      return Drop.Ipv6Protocol;
    }
    if (ip.protocol === PROTOCOL_ICMP) return this.#icmpInput(interfaceIndex, slab, nowMs);
    if (ip.protocol === PROTOCOL_IGMP) {
      if (this.#gate.other(ip, interfaceIndex) !== Verdict.Accept) return Drop.Firewall;
      return this.igmp.input(interfaceIndex, ip, slab, nowMs);
    }
    sendIcmpError(this, IcmpType.Unreachable, IcmpUnreachable.Protocol, ip, slab, nowMs);
    return Drop.Ipv4Protocol;
  }

  #tcpInput(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const segment = this.#tcp;
    const reason = readTcp(slab, ip.dataStart, ip.dataEnd, segment);
    if (reason !== Drop.None) return reason;
    segment.ecn = ip.typeOfService & 3;
    const { addresses } = this;
    const from = addresses.sum(ip.source);
    if (!tcpChecksumOk(slab, ip.dataStart, ip.dataEnd, from, addresses.sum(ip.destination))) {
      return Drop.TcpChecksum;
    }
    const map = this.connections;
    const record = map.find(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
    let predecessor: Tcb | undefined;
    if (record >= 0) {
      const state = map.state(record);
      const tcb = state === RecordState.awake ? this.awakeTcb(record) : undefined;
      if (this.#gate.tcp(ip, segment, interfaceIndex, true, tcb) !== Verdict.Accept) return Drop.Firewall;
      if (tcb === undefined) return this.#asleepInput(record, interfaceIndex, segment, slab, nowMs);
      if (tcb.saving) {
        this.wake(record, nowMs);
        return this.hold(record, interfaceIndex, slab);
      }
      const result = tcpInput(this.tcp, tcb, segment, slab, nowMs);
      if (result !== Drop.TcpClosed || (segment.flags & TcpFlag.SYN) === 0) return result;
      predecessor = tcb; // a SYN that ends TIME-WAIT is a new connection's (RFC 6191)
    }
    if (record < 0 || predecessor !== undefined) { // whoever opens anew is new to the rules
      const verdict = this.#gate.tcp(ip, segment, interfaceIndex, false, undefined);
      if (verdict === Verdict.Reject) sendStrayReset(this.tcp, ip.destination, ip.source, segment, nowMs);
      if (verdict !== Verdict.Accept) return verdict === Verdict.Reject ? Drop.FirewallReject : Drop.Firewall;
    }
    const listener = this.tcp.listeners.find(ip.destination, segment.destinationPort);
    // The ACK of a SYN cookie makes a connection as well.
    if (!this.accepting && (listener !== undefined || (segment.flags & TcpFlag.SYN) !== 0)) {
      return Drop.TcpBacklogFull;
    }
    if (listener !== undefined) return listenInput(this.tcp, listener, ip, segment, slab, nowMs, predecessor);
    sendStrayReset(this.tcp, ip.destination, ip.source, segment, nowMs);
    return Drop.TcpNoListener;
  }

  /** A segment for a connection without a TCB: answered, ignored, or held while it is restored. */
  #asleepInput(
    record: number,
    interfaceIndex: number,
    segment: TcpRecord,
    slab: Slab,
    nowMs: number,
  ): Drop {
    if (this.connections.state(record) === RecordState.asleep) {
      const verdict = judgeAsleep(this.tcp, record, segment, nowMs);
      if (verdict === WakeVerdict.heard) {
        this.sleepOwner?.deadlineMoved(record, this.#keepAlives.heard(record, nowMs));
        return Drop.AsleepIgnored;
      }
      if (verdict === WakeVerdict.ignore) return Drop.AsleepIgnored;
      if (verdict !== WakeVerdict.hold) {
        const sent = answerAsleep(this.tcp, record, segment, verdict === WakeVerdict.challenge, nowMs);
        return sent ? Drop.AsleepAnswered : Drop.AsleepIgnored;
      }
      this.wake(record, nowMs);
    }
    return this.hold(record, interfaceIndex, slab);
  }

  /** Keeps the packet at hand until the connection of `record` is awake. */
  hold(record: number, interfaceIndex: number, slab: Slab): Drop {
    const { headerStart, dataEnd } = this.#ip;
    return this.held.hold(record, interfaceIndex, slab, headerStart, dataEnd) ? Drop.None : Drop.HeldFull;
  }

  #udpInput(interfaceIndex: number, slab: Slab, group: boolean, nowMs: number): Drop {
    const ip = this.#ip;
    const record = this.#udp;
    const reason = readUdp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const { addresses } = this;
    const from = addresses.sum(ip.source);
    const absent = isIpv6Handle(ip.source) && slab.view.getUint16(ip.dataStart + 6) === 0; // RFC 8200 section 8.1
    if (absent || !udpChecksumOk(slab, ip.dataStart, record.dataEnd, from, addresses.sum(ip.destination))) {
      return Drop.UdpChecksum;
    }
    const verdict = this.#gate.udp(ip, record, interfaceIndex);
    if (verdict !== Verdict.Accept) return this.#refuseDatagram(verdict, slab, nowMs);
    if (group) return this.udp.inputGroup(ip, record, slab);
    const result = this.udp.input(ip, record, slab);
    if (result === Drop.UdpNoSocket) {
      sendIcmpError(this, IcmpType.Unreachable, IcmpUnreachable.Port, ip, slab, nowMs);
    }
    return result;
  }

  #icmpInput(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const record = this.#icmp;
    const reason = readIcmp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const { quote } = record;
    if (record.hasQuote && (isIpv6Handle(quote.source) || isIpv6Handle(quote.destination))) {
      return Drop.IcmpType;
    }
    const verdict = this.#gate.icmp(ip, record, interfaceIndex, this.#quotesOurs(record));
    if (verdict !== Verdict.Accept) return this.#refuseDatagram(verdict, slab, nowMs);
    return icmpInput(this, interfaceIndex, ip, record, slab, nowMs);
  }

  #icmp6Input(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const ip = this.#ip;
    const record = this.#icmp6;
    const { addresses } = this;
    const from = addresses.sum(ip.source);
    const reason = readIcmpv6(slab, ip.dataStart, ip.dataEnd, from, addresses.sum(ip.destination), record);
    if (reason !== Drop.None) return reason;
    if (record.type >= Icmpv6Type.RouterSolicitation && record.type <= Icmpv6Type.Redirect) {
      // As ARP, it is no business of the firewall's rules.
      const through = this.output.interfaces[interfaceIndex];
      return through === undefined ? Drop.NdpMalformed : this.ndp.input(through, ip, slab, nowMs);
    }
    if (record.type === MldType.Query || record.type === MldType.Report1) {
      return this.mld.input(interfaceIndex, ip, slab, nowMs);
    }
    const known = translateError(this, record, slab, interfaceIndex + 1, this.#icmp);
    const verdict = this.#gate.icmp(ip, record, interfaceIndex, known && this.#quotesOurs(this.#icmp));
    if (verdict !== Verdict.Accept) return this.#refuseDatagram(verdict, slab, nowMs);
    if (record.type === Icmpv6Type.Echo) return sendEchoReply6(this, ip, record, slab, nowMs);
    return known ? icmpInput(this, interfaceIndex, ip, this.#icmp, slab, nowMs) : Drop.IcmpType;
  }

  /** Whether an ICMP error is about a connection or socket of ours. */
  #quotesOurs(icmp: IcmpRecord): boolean {
    if (!icmp.hasQuote) return false;
    const { source, destination, protocol } = icmp.quote;
    if (protocol === PROTOCOL_UDP) {
      return this.udp.find(source, icmp.quoteSourcePort, destination, icmp.quoteDestinationPort) !==
        undefined;
    }
    if (protocol !== PROTOCOL_TCP) return false;
    return this.connections.find(source, destination, icmp.quoteSourcePort, icmp.quoteDestinationPort) >= 0;
  }

  #refuseDatagram(verdict: Verdict, slab: Slab, nowMs: number): Drop {
    if (verdict !== Verdict.Reject) return Drop.Firewall;
    sendIcmpError(this, IcmpType.Unreachable, IcmpUnreachable.Port, this.#ip, slab, nowMs);
    return Drop.FirewallReject;
  }

  /**
   * Ends a turn: timers that are due, then everything that wants to be sent, then news for the owners,
   * until nobody has anything to say or the turn has been long enough. Without `timers`, what is due stays due.
   * @returns When to poll again at the latest, epoch milliseconds; `Infinity` for never.
   */
  poll(nowMs: number, timers = true): number {
    this.#nowMs = nowMs;
    let more = false;
    this.output.setNow(nowMs);
    if (timers) this.#advance(nowMs);
    if (this.#lost.length > 0) this.#tellLost(nowMs);
    for (let rounds = 1;; rounds++) {
      // News first: what an owner writes in answer carries the ACK that is owed.
      this.tcp.drainEvents(); // also when nobody listens: what has ended is freed here
      if (this.udp.hasEvents) this.udp.drainEvents(this.#tellUdp);
      this.tcp.drainOutput();
      this.#deliverLoopback(nowMs);
      this.sleepOwner?.turn(nowMs);
      more = this.tcp.hasOutput || this.tcp.hasEvents || this.udp.hasEvents ||
        this.output.loopback.length > 0;
      if (!more || rounds === ROUNDS_MAX) break;
    }
    this.output.frames.flush();
    if (more) return nowMs;
    let deadlineMs = Math.min(this.tcp.nextDeadlineMs(), this.sleepOwner?.nextDeadlineMs() ?? Infinity);
    deadlineMs = Math.min(
      deadlineMs,
      this.reassembly.nextDeadlineMs(),
      this.ndp.nextDeadlineMs(),
      this.igmp.nextDeadlineMs(),
      this.mld.nextDeadlineMs(),
    );
    for (const each of this.output.interfaces) {
      if (each.neighbors !== undefined) deadlineMs = Math.min(deadlineMs, each.neighbors.nextDeadlineMs());
      if (each.neighbors6 !== undefined) deadlineMs = Math.min(deadlineMs, each.neighbors6.nextDeadlineMs());
    }
    return deadlineMs;
  }

  #advance(nowMs: number): void {
    this.tcp.advance(nowMs);
    this.reassembly.advance(nowMs, this.#reassemblyExpired);
    this.igmp.advance(nowMs);
    this.mld.advance(nowMs);
    for (const each of this.output.interfaces) {
      each.neighbors?.advance(nowMs, each.neighborSink);
      each.neighbors6?.advance(nowMs, each.neighborSink6);
    }
    this.ndp.advance(nowMs);
  }

  /** A packet's next hop does not answer. If it was passed on, its sender is told at the end of the turn. */
  readonly #packetLost = (slab: Slab, start: number, end: number): void => {
    if (this.forwarding && this.#lost.length < LOST_MAX) {
      this.#lost.push(new Slab(slab.bytes.slice(start, end)));
    }
  };

  /** Host unreachable, for packets that a neighbour should have taken (RFC 1812 section 5.2.7.1). */
  #tellLost(nowMs: number): void {
    for (const slab of this.#lost.splice(0)) {
      const ip = this.#ip;
      if (readIpv4(slab, 0, slab.bytes.length, ip) !== Drop.None || this.isOurs(ip.source)) continue;
      sendIcmpError(this, IcmpType.Unreachable, IcmpUnreachable.Host, ip, slab, nowMs);
    }
  }

  /** The sender of `first` learns that the rest has not come in time (RFC 792). */
  readonly #reassemblyExpired = (first: Slab): void => {
    if (this.#readWhole(first, 1) !== Drop.None) return;
    if (!this.isOurs(this.#ip.destination)) return; // put together only for the rules
    sendIcmpError(this, IcmpType.TimeExceeded, IcmpTimeExceeded.Reassembly, this.#ip, first, this.#nowMs);
  };

  #expired(tcb: Tcb): void {
    if (!tcb.saving) tcpTimers(this.tcp, tcb, this.#nowMs);
    else if (earliestDeadlineMs(tcb) <= this.#nowMs) this.wake(tcb.record, this.#nowMs);
    else this.tcp.arm(tcb); // the deadline has moved since the wheel was set
  }

  #send(tcb: Tcb): void {
    if (tcb.saving) this.wake(tcb.record, this.#nowMs);
    else tcpOutput(this.tcp, tcb, this.#nowMs);
  }

  #tell(tcb: Tcb, events: number): void {
    if ((events & TcpEvent.established) !== 0) this.sleepOwner?.watch(tcb, this.#nowMs);
    this.upcalls?.tcpEvents(tcb, events);
  }

  readonly #tellUdp = (socket: UdpSocket): void => this.upcalls?.udpReadable(socket);

  #deliverLoopback(nowMs: number): void {
    if (this.output.loopback.length === 0) return;
    this.#toGroup = false;
    // What these packets cause is delivered in the next round: a stack that talks to itself still ends its turn.
    for (const { packet, zone } of this.output.loopback.splice(0)) {
      if (this.#readWhole(packet, zone) !== Drop.None) continue;
      const ipv6 = isIpv6Handle(this.#ip.destination);
      const reason = ipv6 ? this.#ip6Deliver(-1, zone, packet, nowMs) : this.#ipDeliver(-1, packet, nowMs);
      this.drops.count(reason);
    }
  }

  /** Makes `#ip` describe a packet of either family that fills its slab. */
  #readWhole(packet: Slab, zone: number): Drop {
    const { bytes } = packet;
    return bytes[0]! >>> 4 === 6
      ? this.#ip6.read(packet, 0, bytes.length, zone, this.#ip)
      : readIpv4(packet, 0, bytes.length, this.#ip);
  }

  // Sleep: what checkpoint/suspend.ts builds on.

  /** Asks for a connection to be awake: it sleeps, or its image is being written. Idempotent. */
  wake(record: number, nowMs: number): void {
    const state = this.connections.state(record);
    if (state === RecordState.waking) return;
    if (state === RecordState.awake && !this.awakeTcb(record).saving) return;
    assert(state !== RecordState.free, "A connection that has ended cannot wake");
    assert(this.sleepOwner !== undefined, "Nobody keeps the sleepers");
    this.connections.setState(record, RecordState.waking);
    this.sleepOwner.wake(record, nowMs);
  }

  /** From here on whatever touches the connection goes through `wake` first. */
  beginSave(tcb: Tcb): void {
    assert(tcb.events === 0 && !tcb.outputQueued && !tcb.saving, "A connection with news cannot go to sleep");
    tcb.saving = true;
  }

  /**
   * The image is durable: frees the TCB, the record becomes a location.
   * @returns When one of the connection's timers wants it awake; `Infinity` for never.
   */
  sleep(tcb: Tcb, location: number): number {
    assert(tcb.saving, "Save first, then sleep");
    const record = tcb.record;
    assert(this.connections.state(record) === RecordState.awake, "Somebody wants it awake");
    this.upcalls?.tcpSuspended(tcb, record);
    sleepRecord(this.connections, record, tcb, location);
    this.#keepAlives.add(record, tcb);
    const deadlineMs = earliestDeadlineMs(tcb);
    this.tcp.detach(tcb);
    return deadlineMs;
  }

  /** The sleep was called off before the TCB was freed; held packets follow. */
  unsave(tcb: Tcb, nowMs: number): void {
    const record = tcb.record;
    tcb.saving = false;
    this.connections.setState(record, RecordState.awake);
    this.tcp.queueOutput(tcb);
    this.#release(record, nowMs);
  }

  /**
   * Enters a connection that sleeps in a store since before this process started. Of two images of one
   * connection the later one counts.
   * @returns Its record, or -1 when the map is full or the connection is awake; the first of its
   * deadlines; and the location of the image that counts no more, or -1.
   */
  adopt(
    frozen: FrozenTcb,
    location: number,
    nowMs: number,
  ): { record: number; deadlineMs: number; staleLocation: number } {
    const map = this.connections;
    const scratch = new Tcb(-1);
    thawTcb(frozen, scratch, this.tcp.config, nowMs, this.addresses);
    const deadlineMs = earliestDeadlineMs(scratch);
    const { localAddress, remoteAddress, localPort, remotePort } = scratch;
    let record = map.find(localAddress, remoteAddress, localPort, remotePort);
    let staleLocation = -1;
    if (record < 0) {
      record = map.insert(localAddress, remoteAddress, localPort, remotePort);
    } else if (map.state(record) === RecordState.asleep) {
      const known = locationOfRecord(map, record);
      if (known !== location) staleLocation = known;
    } else {
      record = -1;
    }
    if (record >= 0) {
      sleepRecord(map, record, scratch, location);
      this.#keepAlives.add(record, scratch);
    }
    scratch.sendQueue.clear();
    scratch.receiveQueue.clear();
    return { record, deadlineMs, staleLocation };
  }

  /** Restores a waking connection and delivers what was held for it, in order. */
  resume(record: number, frozen: FrozenTcb, attachment: unknown, nowMs: number): Tcb {
    assert(this.connections.state(record) === RecordState.waking, "Only what wakes can be restored");
    const tcb = this.tcp.attach(record);
    thawTcb(frozen, tcb, this.tcp.config, nowMs, this.addresses);
    if (tcb.state === TcpState.timeWait) this.tcp.timeWaits++;
    wakeRecord(this.connections, record, tcb, nowMs);
    this.#keepAlives.take(record, tcb);
    packetTooBig(this.tcp, tcb, nowMs); // for the path may have become narrower in its sleep
    tcb.attachment = attachment;
    this.tcp.queueOutput(tcb);
    this.tcp.arm(tcb);
    try {
      this.#tellRestored(tcb, record);
    } finally { // or they would be left to the record's next connection
      this.#release(record, nowMs);
    }
    return tcb;
  }

  /** The image of a waking connection is lost: its owner is told, the peer gets a reset for what it sent. */
  forget(record: number, nowMs: number): void {
    assert(this.connections.state(record) === RecordState.waking, "Only what wakes can be found to be lost");
    const tcb = this.tcp.attach(record);
    loseRecord(this.connections, record, tcb);
    this.#keepAlives.take(record, tcb);
    try {
      this.#tellRestored(tcb, record);
    } finally {
      this.tcp.destroy(tcb, TcpError.reset);
      this.#release(record, nowMs);
    }
  }

  #tellRestored(tcb: Tcb, record: number): void {
    tcb.listener = this.tcp.listeners.find(tcb.localAddress, tcb.localPort)?.id ?? -1;
    this.tcp.enterHandshake(tcb);
    this.upcalls?.tcpRestored(tcb, record);
  }

  /** What was held for a connection: a segment, or an ICMP message about one. */
  #inputAgain(interfaceIndex: number, slab: Slab, nowMs: number): Drop {
    const { protocol } = this.#ip;
    if (protocol === PROTOCOL_TCP) return this.#tcpInput(interfaceIndex, slab, nowMs);
    return protocol === PROTOCOL_ICMP
      ? this.#icmpInput(interfaceIndex, slab, nowMs)
      : this.#icmp6Input(interfaceIndex, slab, nowMs);
  }

  #release(record: number, nowMs: number): void {
    for (const { slab, interfaceIndex } of this.held.take(record)) {
      if (this.#readWhole(slab, interfaceIndex + 1) === Drop.None) {
        this.drops.count(this.#inputAgain(interfaceIndex, slab, nowMs));
      }
    }
  }
}

/** Whether the sender may have no address yet: who asks a DHCP server for one, who tells which groups it is in. */
function isNameless({ source, destination, protocol }: Ipv4Record): boolean {
  if (!isUnspecified(source)) return false;
  return protocol === PROTOCOL_UDP ? destination === IPV4_BROADCAST : protocol === PROTOCOL_IGMP;
}
