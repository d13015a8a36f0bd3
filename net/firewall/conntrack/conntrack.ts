import type { Entropy } from "../../../base/random.ts";
import type { AddressTable } from "../../ip/address_table.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { Nat, type NatAddresses } from "../nat/nat.ts";
import { FlowNames } from "../names/flow_names.ts";
import type { NftPacket } from "../nft/packet.ts";
import { FlowTable, Word } from "./flow_table.ts";
import { FlowKey, isIcmpQuery } from "./key.ts";
import { isNeighbourly, PacketReader, Quoted } from "./packet_reader.ts";
import { CtDirection, CtState, CtStatus, Hook, NO_FLOW, type PacketTrack } from "./state.ts";
import type { NatRules, Tracker } from "./tracker.ts";
import { Judged, TcpTracker } from "./tcp.ts";
import { type ConntrackTimeouts, TIMEOUTS } from "./timeouts.ts";

/** Milliseconds after which datagrams that go both ways are a stream. */
const UDP_STREAM_MS = 2_000;

export interface ConntrackOptions {
  readonly addresses: AddressTable;
  readonly entropy: Entropy;
  readonly nowMs: number;
  /** Which addresses `masquerade` and `redirect` take; without, they drop the packet. */
  readonly natAddresses?: NatAddresses;
  /** Flows at most: `nf_conntrack_max`. Default `FLOWS_MAX`. */
  readonly flowsMax?: number;
  readonly timeouts?: Partial<ConntrackTimeouts>;
}

/**
 * Connection tracking and NAT, decided as the Linux kernel decides (nf_conntrack_core.c and its protocols, sysctls at
 * their defaults). Flows are plain data in a {@linkcode FlowTable}; nothing is allocated for a packet.
 *
 * TCP, UDP and ICMP are followed; of every other protocol a flow is two addresses. No helpers: related is what an
 * ICMP error says about a flow.
 *
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * import { Prng } from "@torpor/torpor/base/random.ts";
 * import { Conntrack, CtState } from "@torpor/torpor/net/firewall/conntrack/mod.ts";
 * import { NftPacket } from "@torpor/torpor/net/firewall/nft/packet.ts";
 * import { AddressTable } from "@torpor/torpor/net/ip/address_table.ts";
 * import assert from "node:assert/strict";
 * const entropy = new Prng(1);
 * const conntrack = new Conntrack({ addresses: new AddressTable({ entropy }), entropy, nowMs: 0 });
 * const datagram = new Slab(Uint8Array.of(
 *   0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
 *   0, 7, 0, 9, 0, 8, 0, 0, // UDP from port 7 to 9, without a checksum
 * ));
 * const packet = new NftPacket();
 * packet.moveTo(datagram, 0, 28, 0);
 * assert(conntrack.track(packet) && packet.track.state === CtState.new);
 * assert(conntrack.confirm(packet));
 * assert.equal(conntrack.size, 1);
 * ```
 */
export class Conntrack implements Tracker {
  readonly table: FlowTable;
  readonly tcp: TcpTracker;
  readonly nat: Nat;
  readonly names: FlowNames = new FlowNames();
  readonly timeouts: ConntrackTimeouts;
  readonly addresses: AddressTable;
  readonly #reader: PacketReader;
  readonly #reply = new FlowKey();
  #nowMs: number;
  /** A flow that the packet at hand has ended. */
  #ended = NO_FLOW;
  /** Flows that the last packets have begun which came in, and which we sent, while they are not in the table. */
  readonly #begun: [number, number] = [NO_FLOW, NO_FLOW];

  constructor(options: ConntrackOptions) {
    const { addresses, entropy, nowMs } = options;
    this.addresses = addresses;
    this.#nowMs = nowMs;
    this.timeouts = { ...TIMEOUTS, ...options.timeouts };
    const flowsMax = options.flowsMax;
    this.table = new FlowTable({
      entropy,
      nowMs,
      holder: addresses,
      ...(flowsMax === undefined ? {} : { flowsMax }),
    });
    this.tcp = new TcpTracker(this.table, this.timeouts);
    this.nat = new Nat(this, entropy, options.natAddresses);
    this.table.removing = (flow) => {
      this.nat.sources.remove(flow);
      this.names.remove(flow);
    };
    this.#reader = new PacketReader(addresses);
  }

  /** Flows in the table. */
  get size(): number {
    return this.table.size;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.table.byteLength + this.nat.sources.byteLength;
  }

  /** Whether packets and bytes are counted, of the flows that begin from now on. */
  get accounting(): boolean {
    return this.table.accounting;
  }
  set accounting(on: boolean) {
    this.table.accounting = on;
  }

  track(packet: NftPacket): boolean {
    this.#nowMs = packet.nowMs;
    this.#settle();
    const side = packet.hook === Hook.output ? 1 : 0;
    if (this.#begun[side] !== NO_FLOW) this.#forget(this.#begun[side]); // that packet got lost on its way
    // Seen before: by `notrack`, or on its way out to ourselves.
    if (packet.track.state === CtState.untracked || packet.track.flow !== NO_FLOW) return true;
    packet.track.state = CtState.invalid;
    packet.track.direction = CtDirection.original;
    const { protocol } = packet;
    if (packet.transport < 0) return true;
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
      if (!this.#trackIcmp(packet)) return true;
    }
    const reader = this.#reader;
    if (!reader.readKey(packet)) return !reader.full;
    for (;;) {
      let found = this.table.find(reader.key, packet.nowMs);
      if (found === NO_FLOW) {
        if (!this.#reply.invert(reader.key)) return true; // nothing answers such a message
        const made = this.table.make(reader.key, this.#reply, packet.nowMs);
        if (made === NO_FLOW) return false;
        this.#begun[side] = made;
        found = 2 * made;
      }
      const flow = found >>> 1, way = (found & 1) as CtDirection;
      const judged = this.#judge(packet, flow, way);
      if (judged === Judged.invalid && (this.table.status(flow) & CtStatus.confirmed) === 0) {
        this.#forget(flow); // it begins nothing
      } else if (judged === Judged.again) {
        this.table.remove(flow);
        continue;
      } else if (judged !== Judged.invalid) this.#belongs(packet, flow, way, judged);
      return true;
    }
  }

  #belongs(packet: NftPacket, flow: number, way: CtDirection, judged: Judged): void {
    const { table } = this;
    const status = table.status(flow);
    packet.track.flow = flow;
    packet.track.direction = way;
    packet.track.state = way === CtDirection.reply || (status & CtStatus.seenReply) !== 0
      ? CtState.established
      : CtState.new;
    if (way === CtDirection.reply && (status & CtStatus.seenReply) === 0) {
      table.addStatus(flow, CtStatus.seenReply);
    }
    if (judged === Judged.ended) this.#ended = flow;
    if (judged !== Judged.passed) table.count(flow, way, packet.end - packet.start);
  }

  #judge(packet: NftPacket, flow: number, way: CtDirection): Judged {
    const { table, timeouts } = this;
    const { slab, transport, end, protocol, nowMs } = packet;
    const status = table.status(flow);
    switch (protocol) {
      case PROTOCOL_TCP:
        if (!this.tcp.header.read(slab, transport, end)) return Judged.invalid;
        if (!this.#reader.checksumOk(packet)) return Judged.invalid;
        if ((status & CtStatus.confirmed) === 0 && !this.tcp.begin(flow)) return Judged.invalid;
        return this.tcp.input(flow, way, slab, nowMs);
      case PROTOCOL_UDP:
        if (!this.#reader.isDatagram(packet) || !this.#reader.checksumOk(packet)) return Judged.invalid;
        this.#judgeUdp(flow, status, nowMs);
        return Judged.accepted;
      case PROTOCOL_ICMP:
      case PROTOCOL_ICMPV6: {
        if (!isIcmpQuery(protocol, (table.get(flow, Word.original + 2) >>> 8) & 0xff)) return Judged.invalid;
        table.rememberFor(flow, protocol === PROTOCOL_ICMP ? timeouts.icmp : timeouts.icmpv6, nowMs);
        return Judged.accepted;
      }
      default:
        table.rememberFor(flow, timeouts.generic, nowMs);
        return Judged.accepted;
    }
  }

  #judgeUdp(flow: number, status: number, nowMs: number): void {
    const { table, timeouts } = this;
    if ((status & CtStatus.confirmed) === 0) {
      table.set(flow, Word.udpStream, table.tick(nowMs + UDP_STREAM_MS));
    }
    let seconds = timeouts.udp;
    if (
      (status & CtStatus.seenReply) !== 0 && ((table.get(flow, Word.udpStream) - table.tick(nowMs)) | 0) < 0
    ) {
      seconds = timeouts.udpStream;
      table.addStatus(flow, CtStatus.assured);
    }
    table.rememberFor(flow, seconds, nowMs);
  }

  /** @returns Whether it is a query or its answer, to be followed as such. */
  #trackIcmp(packet: NftPacket): boolean {
    const reader = this.#reader;
    if (!reader.isIcmp(packet)) return false;
    if (isNeighbourly(packet)) {
      packet.track.state = CtState.untracked;
      return false;
    }
    const quoted = reader.readQuote(packet);
    if (quoted === Quoted.nothing) return true;
    if (quoted === Quoted.unreadable || !this.#reply.invert(reader.key)) return false;
    // It is about a packet of a flow, and goes to who has sent that: as an answer to it would.
    const found = this.table.find(this.#reply, packet.nowMs);
    if (found === NO_FLOW) return false;
    const flow = found >>> 1, way = (found & 1) as CtDirection;
    this.table.key(flow, way, this.#reply);
    // Else what says that it is about a flow comes to somebody who has no part in it.
    if (reader.destinationOf(packet) !== this.#reply.destination) return false;
    packet.track.flow = flow;
    packet.track.direction = way;
    packet.track.state = CtState.related;
    return false;
  }

  translate(packet: NftPacket, rules: NatRules): boolean {
    return packet.track.flow === NO_FLOW || this.nat.translate(packet, rules);
  }

  confirm(packet: NftPacket): boolean {
    const flow = packet.track.flow;
    let kept = true;
    if (
      flow !== NO_FLOW && packet.track.direction === CtDirection.original &&
      (this.table.status(flow) & CtStatus.confirmed) === 0
    ) {
      kept = this.table.confirm(flow, this.#reply, packet.nowMs);
      if (kept) this.#begins(flow);
      else this.release(packet);
    }
    this.#settle();
    return kept;
  }

  release(packet: NftPacket): void {
    const flow = packet.track.flow;
    packet.track.flow = NO_FLOW;
    if (flow !== NO_FLOW && this.#begun.includes(flow)) this.#forget(flow);
    this.#settle();
  }

  /** A flow that is not in the table goes. */
  #forget(flow: number): void {
    this.#begins(flow);
    this.table.remove(flow);
  }

  /** It is no longer one that has just begun. */
  #begins(flow: number): void {
    if (this.#begun[0] === flow) this.#begun[0] = NO_FLOW;
    if (this.#begun[1] === flow) this.#begun[1] = NO_FLOW;
  }

  attach(about: NftPacket, into: NftPacket): void {
    const { flow, direction } = about.track;
    const { track } = into;
    track.flow = flow;
    track.direction = direction === CtDirection.original ? CtDirection.reply : CtDirection.original;
    track.state = flow === NO_FLOW ? CtState.invalid : CtState.related;
  }

  /** The flow that the last packet has ended goes, now that the packet has gone. */
  #settle(): void {
    const ended = this.#ended;
    this.#ended = NO_FLOW;
    if (ended !== NO_FLOW) this.table.remove(ended);
  }

  zone({ flow }: PacketTrack): number {
    return this.table.get(flow, Word.protocolAndZone) >>> 8;
  }

  mark({ flow }: PacketTrack): number {
    return this.table.get(flow, Word.mark);
  }
  setMark({ flow }: PacketTrack, mark: number): void {
    this.table.set(flow, Word.mark, mark);
  }
  status({ flow }: PacketTrack): number {
    return this.table.status(flow);
  }
  expirationMs({ flow }: PacketTrack, nowMs: number): number {
    // The time of a flow's first packet has not begun: the kernel says that nothing is left of it.
    if ((this.table.status(flow) & CtStatus.confirmed) === 0) return 0;
    return this.table.remainingMs(flow, nowMs);
  }
  id({ flow }: PacketTrack): number {
    return this.table.id(flow);
  }
  alive(id: number): boolean {
    const flow = this.table.byId(id, this.#nowMs);
    if (flow === NO_FLOW) return false;
    return this.table.protocol(flow) !== PROTOCOL_TCP || !this.tcp.isClosing(flow);
  }
  address({ flow }: PacketTrack, direction: number, end: "source" | "destination"): number {
    const word = direction === CtDirection.original ? Word.original : Word.reply;
    return this.table.get(flow, end === "source" ? word : word + 1);
  }
  port({ flow }: PacketTrack, direction: number, end: "source" | "destination"): number {
    const ports = this.table.get(flow, (direction === CtDirection.original ? Word.original : Word.reply) + 2);
    return end === "source" ? ports >>> 16 : ports & 0xffff;
  }
  protocol({ flow }: PacketTrack): number {
    return this.table.protocol(flow);
  }
  packets({ flow }: PacketTrack, direction: number): number {
    return this.table.counter(flow, direction as CtDirection, 0);
  }
  bytes({ flow }: PacketTrack, direction: number): number {
    return this.table.counter(flow, direction as CtDirection, 1);
  }
}
