import type { Slab } from "../../../base/slab.ts";
import { AddressKind, type RouteRecord } from "../../ip/route_record.ts";
import type { Stack } from "../../stack.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { foldSum } from "../../wire/checksum.ts";
import { sendForeignReset } from "../../tcp/output.ts";
import { Drop } from "../../wire/drop.ts";
import type { Ipv4Record } from "../../wire/ipv4.ts";
import type { TcpRecord } from "../../wire/tcp.ts";
import { Conntrack } from "../conntrack/conntrack.ts";
import { type FrozenFlow, thawFlow } from "../conntrack/freeze.ts";
import { CtDirection, CtState, Hook, NO_FLOW } from "../conntrack/state.ts";
import { type NftEnvironment, NftVerdict } from "./environment.ts";
import { type FirewallEvent, logEvent, traceEvent } from "./events.ts";
import type { Fib } from "./fib.ts";
import { Nfproto, NftPacket, PacketType } from "./packet.ts";
import { forwardPriority } from "./priority.ts";
import { rejectPacket, rejectToOurselves } from "./reject.ts";
import { NftRules } from "./rules.ts";
import type { Ruleset } from "./schema.ts";

/** What goes with a packet to ourselves from its output to its input. */
export interface PassedOutput {
  readonly mark: number;
  readonly flow: number;
  /** That no other flow has: this one may be gone when the packet comes. */
  readonly id: number;
  readonly state: CtState;
  readonly direction: CtDirection;
}

/** A server that has accepted a connection, and will hear no more of it. */
interface Abandoned {
  readonly flow: number;
  readonly id: number;
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** What it expects next. */
  readonly sequence: number;
}

/** In one turn; the others wait until their own patience is over. */
const ABANDONED_MAX = 256;

/** What goes to ourselves takes; the kernel has no segment for that, and says this. */
const MTU_MAX = 0x1_0000;
const MSS_DEFAULT = 536;

/** Route types as `fib` names them, the kernel's RTN_. */
const FibType = { Unicast: 1, Local: 2, Broadcast: 3, Multicast: 5, Unreachable: 7 } as const;

/**
 * Where a stack's packets meet nftables rules: prerouting when a packet has arrived, input when it is ours,
 * forward when it is passed on, output when it is sent, postrouting before it leaves. Without rules nothing is called.
 */
export class PacketHooks {
  /** The rules in force. */
  rules: NftRules | undefined;
  /** Followed connections; made when the first rules ask for them, and kept when rules change. */
  conntrack: Conntrack | undefined;
  /** The last packet at input was said to be queued: the wake policy of its connection may ask. */
  queued = false;
  /** What happens to `log`, for whoever watches. */
  log: NftEnvironment["log"];
  /** Told of every `log`, and of what traced packets meet. */
  event: ((event: FirewallEvent) => void) | undefined;
  /** How often rules have said `log`, by their prefixes. */
  readonly logged: Map<string, number> = new Map();
  /** We send a reset because of `#in`, which is related to that one's connection: nf_ct_attach(). */
  #resetting = false;
  /** Servers whose clients were refused in words: they are told at the end of the turn. */
  readonly #abandoned: Abandoned[] = [];
  /** The one of them that a reset is on its way to: no rule is asked about that. */
  #ending: Abandoned | undefined;
  readonly #stack: Stack;
  readonly #in = new NftPacket();
  /** Nobody at prerouting wants to know what the packet is: it is read when somebody does. */
  #isUnread = false;
  #inInterface = 0;
  #inToGroup = false;
  #inChecksumLeft = false;
  /** Whether anything happens at prerouting, and whether headers may suffice at input. */
  #asksEarly = false;
  #passesRecords = false;
  readonly #out = new NftPacket();
  readonly #route: RouteRecord = { interfaceIndex: 0, nextHop: 0, source: 0 };
  readonly #environment: NftEnvironment;

  constructor(stack: Stack) {
    this.#stack = stack;
    const conntrack = (): Conntrack => this.#track();
    this.#environment = {
      get tracker() {
        return conntrack();
      },
      addresses: stack.addresses,
      fib: this.#fib,
      random: () => stack.draws.uint32(),
      log: (log, rule, packet) => {
        this.log?.(log, rule, packet);
        const { prefix = "" } = log;
        this.logged.set(prefix, (this.logged.get(prefix) ?? 0) + 1);
        if (this.event !== undefined) this.#tell(packet, logEvent(this.rules!.linked, log, rule, packet));
      },
      trace: (packet, chain, rule, code) => {
        if (this.event === undefined) return;
        this.#tell(packet, traceEvent(this.rules!.linked, chain, rule, code, packet));
      },
    };
  }

  /**
   * Takes other rules, all at once; `undefined` for none. Connections that are followed stay.
   * @throws {LinkError} At the first mistake; the old rules stay in force.
   */
  setRules(ruleset: Ruleset | undefined, nowMs: number): void {
    this.rules = ruleset === undefined
      ? undefined
      : new NftRules(ruleset, this.interfaceNames(), this.#environment, nowMs);
    this.#asksEarly = this.rules?.asks(Hook.prerouting) === true;
    this.#passesRecords = this.rules?.passesRecords === true;
    this.queued = false;
    if (this.rules?.uses.accounting) this.conntrack!.accounting = true;
    this.conntrack?.names.forgetAnswers();
  }

  /**
   * Puts flows into the table that another process has followed, `passedMs` milliseconds ago: those whose time is not over.
   * @returns How many there are again.
   */
  restoreFlows(flows: readonly FrozenFlow[], passedMs: number, nowMs: number): number {
    const conntrack = this.#track();
    let restored = 0;
    for (const flow of flows) if (thawFlow(conntrack, flow, passedMs, nowMs)) restored++;
    return restored;
  }

  /** Names by the numbers that packets have: the interfaces, and `lo` for what we send to ourselves. */
  interfaceNames(): string[] {
    return [...this.#stack.output.interfaces.map(({ name }) => name), "lo"];
  }

  /** A packet has arrived, or comes back from ourselves, whole. `ip` is filled again where rules moved the packet. */
  prerouting(
    interfaceIndex: number,
    ip: Ipv4Record,
    slab: Slab,
    toGroup: boolean,
    checksumLeft: boolean,
    nowMs: number,
    passed: PassedOutput | undefined,
  ): Drop {
    this.#inInterface = this.#numberOf(interfaceIndex);
    this.#inToGroup = toGroup;
    this.#inChecksumLeft = checksumLeft;
    this.#isUnread = true;
    if (!this.#asksEarly && passed === undefined) return Drop.None;
    const packet = this.#arrived(ip, slab, nowMs);
    if (passed !== undefined) {
      packet.mark = passed.mark;
      const { track } = packet;
      track.flow = passed.flow;
      track.state = passed.state;
      track.direction = passed.direction;
      if (track.flow !== NO_FLOW && this.conntrack?.id(track) !== passed.id) track.clear();
    }
    return this.#passIn(packet, Hook.prerouting, ip, slab, nowMs);
  }

  /** The packet that has arrived, as rules see it. */
  #arrived(ip: Ipv4Record, slab: Slab, nowMs: number): NftPacket {
    const packet = this.#in;
    if (!this.#isUnread) return packet;
    this.#isUnread = false;
    packet.moveTo(slab, ip.headerStart, ip.dataEnd, nowMs);
    packet.iif = this.#inInterface;
    packet.checksumLeft = this.#inChecksumLeft;
    if (this.#inToGroup) {
      const multicast = this.#stack.output.routes.classify(ip.destination) === AddressKind.Multicast;
      packet.packetType = multicast ? PacketType.Multicast : PacketType.Broadcast;
    }
    return packet;
  }

  /** The packet that passed prerouting is ours. */
  input(ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    if (this.#passesRecords && this.#isUnread && !isIpv6Handle(ip.destination)) {
      const verdict = this.rules!.passInput(ip, slab, this.#inInterface);
      this.queued = false;
      if (verdict === NftVerdict.Accept) return Drop.None;
      if (verdict === NftVerdict.Drop) return Drop.Firewall;
    }
    const packet = this.#arrived(ip, slab, nowMs);
    packet.oif = -1;
    return this.#passIn(packet, Hook.input, ip, slab, nowMs);
  }

  /** The packet that passed prerouting is passed on, and leaves by an interface. */
  forward(ip: Ipv4Record, slab: Slab, oif: number, nowMs: number): Drop {
    const packet = this.#arrived(ip, slab, nowMs);
    packet.oif = oif;
    if (packet.nfproto === Nfproto.Ipv4) packet.priority = forwardPriority(slab.bytes[packet.start + 1]!);
    // As in the kernel, the hop is spent before rules see the packet; whoever sends it spends it for the link.
    changeHops(packet, -1);
    let reason = this.#judgeIn(packet, Hook.forward);
    if (reason === Drop.None) reason = this.#judgeIn(packet, Hook.postrouting);
    changeHops(packet, 1);
    this.#refresh(packet, ip);
    if (reason === Drop.FirewallReject) this.#reject(packet, ip, slab, nowMs);
    return reason;
  }

  /**
   * We send the packet in `[start, end)`.
   * @returns Whether it may be sent. Its destination may be another one afterwards: see `moved`.
   */
  output(slab: Slab, start: number, end: number, oif: number, checksumLeft: boolean, nowMs: number): boolean {
    const packet = this.#out;
    packet.moveTo(slab, start, end, nowMs);
    packet.oif = this.#numberOf(oif);
    packet.checksumLeft = checksumLeft;
    if (this.#ending !== undefined) return this.#passUnasked(packet, Hook.output, this.#ending);
    if (this.#resetting) this.conntrack?.attach(this.#in, packet);
    const verdict = this.rules!.pass(packet, Hook.output);
    if (verdict === NftVerdict.Reject) {
      rejectToOurselves(this.#stack, this.rules!.reject!, packet);
      this.conntrack?.release(packet);
    }
    return verdict === NftVerdict.Accept || verdict === NftVerdict.Queue;
  }

  /** The packet that passed output leaves by an interface, -1 for ourselves. */
  postrouting(oif: number): boolean {
    const packet = this.#out;
    packet.oif = this.#numberOf(oif);
    if (this.#ending !== undefined) return this.#passUnasked(packet, Hook.postrouting, this.#ending);
    const verdict = this.rules!.pass(packet, Hook.postrouting);
    return verdict === NftVerdict.Accept || verdict === NftVerdict.Queue;
  }

  /**
   * The client of a segment has been refused, as if by the server, which waits for it: it gets a reset in the client's name
   * when the turn ends.
   */
  abandon(packet: NftPacket, segment: TcpRecord): void {
    if (this.#abandoned.length >= ABANDONED_MAX) return;
    const { sourcePort, destinationPort, sequence } = segment;
    this.#abandoned.push({
      flow: packet.track.flow,
      id: this.conntrack!.id(packet.track),
      source: this.#address(packet, false),
      destination: this.#address(packet, true),
      sourcePort,
      destinationPort,
      sequence,
    });
  }

  /** Tells the servers that wait for nobody. */
  endAbandoned(nowMs: number): void {
    if (this.#abandoned.length === 0) return;
    for (const each of this.#abandoned.splice(0)) {
      this.#ending = each;
      const { source, destination, sourcePort, destinationPort, sequence } = each;
      sendForeignReset(this.#stack.tcp, source, destination, sourcePort, destinationPort, sequence, nowMs);
    }
    this.#ending = undefined;
  }

  /** Packets that come in have even numbers, those that we send odd ones. */
  #tell(packet: NftPacket, event: FirewallEvent): void {
    this.event!({ ...event, id: 2 * event.id + (packet === this.#out ? 1 : 0) });
  }

  #passUnasked(packet: NftPacket, hook: Hook, { flow, id }: Abandoned): boolean {
    const { conntrack, rules } = this;
    const { track } = packet;
    track.flow = flow;
    track.state = CtState.related;
    track.direction = CtDirection.original;
    packet.hook = hook;
    if (conntrack === undefined || conntrack.table.status(flow) === 0 || conntrack.id(track) !== id) {
      return false;
    }
    return !rules!.uses.nat || conntrack.translate(packet, rules!);
  }

  /** What has to be known of the packet at output when it comes back to us. */
  passedOutput(): PassedOutput {
    const { mark, track } = this.#out;
    const { flow, state, direction } = track;
    return { mark, flow, id: flow === NO_FLOW ? 0 : this.conntrack?.id(track) ?? 0, state, direction };
  }

  /** Source and destination of the packet at output. */
  outSource(): number {
    return this.#address(this.#out, false);
  }
  outDestination(): number {
    return this.#address(this.#out, true);
  }

  #passIn(packet: NftPacket, hook: Hook, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const reason = this.#judgeIn(packet, hook);
    if (packet.track.flow !== NO_FLOW || packet.written) this.#refresh(packet, ip);
    if (reason === Drop.FirewallReject) this.#reject(packet, ip, slab, nowMs);
    return reason;
  }

  #judgeIn(packet: NftPacket, hook: Hook): Drop {
    const verdict = this.rules!.pass(packet, hook);
    if (hook === Hook.input) this.queued = verdict === NftVerdict.Queue;
    if (verdict === NftVerdict.Drop) return Drop.Firewall;
    return verdict === NftVerdict.Reject ? Drop.FirewallReject : Drop.None;
  }

  #reject(packet: NftPacket, ip: Ipv4Record, slab: Slab, nowMs: number): void {
    const reject = this.rules!.reject!;
    this.#resetting = reject.type === "tcp reset";
    rejectPacket(this.#stack, reject, packet, ip, slab, nowMs);
    this.#resetting = false;
    this.conntrack?.release(packet);
  }

  /** Rules may have given the packet other addresses, and written to its header. */
  #refresh(packet: NftPacket, ip: Ipv4Record): void {
    if (packet.written) {
      const { slab: { bytes, view }, start, nfproto } = packet;
      const six = nfproto === Nfproto.Ipv6;
      ip.typeOfService = six ? (view.getUint16(start) >>> 4) & 0xff : bytes[start + 1]!;
      ip.timeToLive = bytes[start + (six ? 7 : 8)]!;
      if (!six) ip.identification = view.getUint16(start + 4);
    }
    ip.source = this.#address(packet, false);
    ip.destination = this.#address(packet, true);
  }

  #address({ slab, start, nfproto, iif, oif }: NftPacket, destination: boolean): number {
    if (nfproto === Nfproto.Ipv4) return slab.view.getInt32(start + (destination ? 16 : 12));
    const zone = (iif >= 0 ? iif : Math.max(oif, 0)) + 1;
    return this.#stack.addresses.read(slab, start + (destination ? 24 : 8), zone);
  }

  #numberOf(interfaceIndex: number): number {
    return interfaceIndex < 0 ? this.#stack.output.interfaces.length : interfaceIndex;
  }

  #track(): Conntrack {
    const stack = this.#stack;
    return this.conntrack ??= new Conntrack({
      addresses: stack.addresses,
      entropy: { fill: (bytes) => bytes.forEach((_, at) => bytes[at] = stack.draws.below(256)) },
      nowMs: stack.nowMs,
      natAddresses: {
        // Where the interface has none, another one's, as in the kernel.
        masquerade: (packet) => {
          const source = stack.output.sourceTowards(this.#address(packet, true)) ?? 0;
          return source !== 0 || packet.nfproto === Nfproto.Ipv6 ? source : stack.output.routes.anyAddress();
        },
        redirect: (packet) => {
          if (packet.hook === Hook.output) return this.#address(packet, false);
          const { routes } = stack.output;
          const own = packet.nfproto === Nfproto.Ipv4
            ? routes.addressOn(packet.iif)
            : routes.ipv6.addressOn(packet.iif);
          return own !== 0 ? own : stack.output.sourceTowards(this.#address(packet, false)) ?? 0;
        },
      },
    });
  }

  readonly #fib: Fib = {
    type: (packet, destination, within) => {
      const { routes } = this.#stack.output;
      const address = this.#address(packet, destination);
      switch (routes.classify(address)) {
        case AddressKind.Ours:
          if (within < 0) return FibType.Local;
          return routes.interfaceOf(address) === within ? FibType.Local : FibType.Unicast;
        case AddressKind.Broadcast:
          return FibType.Broadcast;
        case AddressKind.Multicast:
          return FibType.Multicast;
        default:
          // Of IPv4 the kernel asks its table of local addresses alone: all others are unicast.
          if (!isIpv6Handle(address)) return FibType.Unicast;
          return routes.route(address, this.#route) ? FibType.Unicast : FibType.Unreachable;
      }
    },
    mss: (packet) => {
      const { output } = this.#stack;
      let mtu = MTU_MAX;
      for (const destination of [true, false]) {
        const address = this.#address(packet, destination);
        if (output.routes.route(address, this.#route) && this.#route.interfaceIndex >= 0) {
          mtu = Math.min(mtu, output.mtuTowards(address));
        }
      }
      const headers = packet.nfproto === Nfproto.Ipv6 ? 60 : 40;
      return mtu <= headers || mtu === MTU_MAX ? MSS_DEFAULT : mtu - headers;
    },
    oif: (packet, destination, within) => {
      const { routes, interfaces } = this.#stack.output;
      const address = this.#address(packet, destination);
      if (packet.hook === Hook.prerouting && packet.iif === interfaces.length) return packet.iif; // from ourselves
      // As the kernel's nft_fib4_eval(): where it is ours there is no way out.
      if (routes.classify(address) === AddressKind.Ours || !routes.route(address, this.#route)) return -1;
      const found = this.#numberOf(this.#route.interfaceIndex);
      return within < 0 || within === found ? found : -1;
    },
  };
}

/** Spends a hop of a packet in place, or gives it back; an IPv4 header's checksum follows (RFC 1624). */
function changeHops({ slab, start, nfproto }: NftPacket, by: 1 | -1): void {
  const { view, bytes } = slab;
  if (nfproto === Nfproto.Ipv6) {
    bytes[start + 7]! += by;
    return;
  }
  const before = view.getUint16(start + 8);
  const after = (before + by * 0x100) & 0xffff;
  view.setUint16(start + 8, after);
  const sum = (~view.getUint16(start + 10) & 0xffff) + (~before & 0xffff) + after;
  view.setUint16(start + 10, ~foldSum(sum) & 0xffff);
}
