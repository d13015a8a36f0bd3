import type { Entropy } from "../../../base/random.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { foldSum, sumWords } from "../../wire/checksum.ts";
import { finishIcmpChecksum, IcmpType } from "../../wire/icmp.ts";
import { finishIcmpv6Checksum } from "../../wire/icmpv6.ts";
import { Ipv4Record, PROTOCOL_ICMP, readQuotedIpv4 } from "../../wire/ipv4.ts";
import { Ipv6Record, PROTOCOL_ICMPV6, readQuotedIpv6 } from "../../wire/ipv6.ts";
import { Drop } from "../../wire/drop.ts";
import type { Conntrack } from "../conntrack/conntrack.ts";
import { Word } from "../conntrack/flow_table.ts";
import { FlowKey } from "../conntrack/key.ts";
import { CtDirection, CtState, CtStatus, Hook, NO_FLOW } from "../conntrack/state.ts";
import type { NatRules } from "../conntrack/tracker.ts";
import { Nfproto, type NftPacket } from "../nft/packet.ts";
import { NatChooser } from "./choose.ts";
import { NatFlag, NatKind, NatRange, NatRequest } from "./range.ts";
import { End, rewriteEnd } from "./rewrite.ts";
import { FlowSources } from "./sources.ts";

/** Our own addresses, as NAT statements without one ask for them; 0 where there is none. */
export interface NatAddresses {
  /** `masquerade`: what we would speak from ourselves, to where the packet goes, on the interface that it leaves by. */
  masquerade(packet: NftPacket): number;
  /** `redirect`: ours on the interface that the packet came in by; before output, that of ourselves. */
  redirect(packet: NftPacket): number;
}

const STATUS = [CtStatus.snat, CtStatus.dnat] as const;
const DONE = [CtStatus.snatDone, CtStatus.dnatDone] as const;
const MASQUERADE_SHIFT = 16;
const ICMP_HEADER_BYTES = 8;

/**
 * Gives flows other addresses and ports, and rewrites their packets: nf_nat_core.c and nf_nat_proto.c. What a flow's
 * packets become stands in its keys: they leave as the answers expect it.
 */
export class Nat {
  readonly sources: FlowSources;
  readonly #conntrack: Conntrack;
  readonly #chooser: NatChooser;
  readonly #own: NatAddresses | undefined;
  readonly #request = new NatRequest();
  readonly #range = new NatRange();
  readonly #from = new FlowKey();
  readonly #to = new FlowKey();
  readonly #reply = new FlowKey();
  readonly #quote4 = new Ipv4Record();
  readonly #quote6 = new Ipv6Record();

  constructor(conntrack: Conntrack, entropy: Entropy, own: NatAddresses | undefined) {
    const { table, tcp, addresses } = conntrack;
    this.#conntrack = conntrack;
    this.#own = own;
    this.sources = new FlowSources(table);
    const drawn = new Uint16Array(1);
    const bytes = new Uint8Array(drawn.buffer);
    this.#chooser = new NatChooser(table, tcp, this.sources, addresses, (below) => {
      entropy.fill(bytes);
      return drawn[0]! % below;
    });
  }

  /** See `Tracker.translate`; the packet has a flow. */
  translate(packet: NftPacket, rules: NatRules): boolean {
    const { table } = this.#conntrack;
    const { hook } = packet;
    const { flow } = packet.track;
    const which = hook === Hook.prerouting || hook === Hook.output ? End.destination : End.source;
    const related = packet.track.state === CtState.related;
    const { protocol } = packet;
    if (related && (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6)) {
      return this.#translateError(packet, which);
    }
    if ((related || packet.track.state === CtState.new) && (table.status(flow) & DONE[which]) === 0) {
      const request = this.#request;
      request.kind = NatKind.none;
      if (!rules.ask(packet, request)) return false;
      if (!this.#bind(packet, which)) return false;
    } else if (
      hook === Hook.postrouting && packet.track.direction === CtDirection.original &&
      this.#leavesElsewhere(packet)
    ) {
      table.remove(flow);
      packet.track.flow = NO_FLOW;
      return false;
    }
    return !this.#isTranslated(packet, which) || this.#rewrite(packet, which);
  }

  /** Whether this end of the packet is to be rewritten: of an answer, the other end. */
  #isTranslated(packet: NftPacket, which: End): boolean {
    const status = this.#conntrack.table.status(packet.track.flow);
    return (status & STATUS[packet.track.direction === CtDirection.original ? which : opposite(which)]) !== 0;
  }

  /** The flow was masqueraded for an interface, and its packets leave by another one now. */
  #leavesElsewhere(packet: NftPacket): boolean {
    const interfaceNumber = this.#conntrack.table.get(packet.track.flow, Word.status) >>> MASQUERADE_SHIFT;
    return interfaceNumber !== 0 && interfaceNumber !== packet.oif + 1;
  }

  /** Decides what becomes of one end of the flow, as `#request` says. */
  #bind(packet: NftPacket, which: End): boolean {
    const { table } = this.#conntrack;
    const flow = packet.track.flow;
    if ((table.status(flow) & CtStatus.confirmed) !== 0) return true; // its keys are known: too late
    const from = this.#from, to = this.#to;
    table.key(flow, CtDirection.reply, this.#reply);
    if (!from.invert(this.#reply)) return true;
    const range = this.#range;
    if (!this.#fillRange(packet, from, which)) return false;
    if (!this.#chooser.choose(flow, from, range, which, to, packet.nowMs)) return false;
    if (!to.equals(from)) {
      if (!this.#reply.invert(to)) return true;
      table.alterReply(flow, this.#reply);
      table.addStatus(flow, STATUS[which]);
    }
    if (which === End.source) this.sources.add(flow);
    table.addStatus(flow, DONE[which]);
    return true;
  }

  /** @returns False when the packet must be dropped: there is no address to give it. */
  #fillRange(packet: NftPacket, from: FlowKey, which: End): boolean {
    const range = this.#range;
    const request = this.#request;
    const own = which === End.source ? from.source : from.destination;
    const { kind } = request;
    range.setAddress(own);
    if (kind === NatKind.none) return true;
    range.hasPort = request.hasPort;
    range.portLow = request.portLow;
    range.portHigh = request.portHigh;
    range.random = (request.flags & (NatFlag.random | NatFlag.fullyRandom)) !== 0;
    range.persistent = (request.flags & NatFlag.persistent) !== 0;
    if (kind === NatKind.masquerade || kind === NatKind.redirect) {
      const masquerade = kind === NatKind.masquerade;
      const address = (masquerade ? this.#own?.masquerade(packet) : this.#own?.redirect(packet)) ?? 0;
      if (address === 0) return false;
      range.addressLow = range.addressHigh = address;
      if (masquerade) {
        this.#conntrack.table.addStatus(packet.track.flow, (packet.oif + 1) << MASQUERADE_SHIFT);
      }
      return true;
    }
    range.hasAddress = request.hasAddress;
    if (!request.hasAddress) return true;
    range.addressLow = this.#addressAt(packet, 0);
    range.addressHigh = this.#addressAt(packet, 4);
    if ((request.flags & NatFlag.netmap) !== 0) {
      range.addressLow = range.addressHigh = this.#mapPrefix(own, range.addressLow, range.addressHigh);
    }
    return isIpv6Handle(range.addressLow) === isIpv6Handle(own) && range.addressLow !== 0;
  }

  /** One of the two addresses of the request; 0 when there is no room for it. */
  #addressAt(packet: NftPacket, at: number): number {
    const { address } = this.#request;
    if (packet.nfproto !== Nfproto.Ipv6) return address[at]!;
    return this.#conntrack.addresses.intern(
      address[at]!,
      address[at + 1]!,
      address[at + 2]!,
      address[at + 3]!,
      0,
    );
  }

  /** The address at the same place of the network from `low` to `high`. */
  #mapPrefix(own: number, low: number, high: number): number {
    if (!isIpv6Handle(low)) return (own & (low ^ high)) | (low & ~(low ^ high));
    const { addresses } = this.#conntrack;
    const word = (at: number): number => {
      const host = addresses.word(low, at) ^ addresses.word(high, at);
      return (addresses.word(own, at) & host) | (addresses.word(low, at) & ~host);
    };
    return addresses.intern(word(0), word(1), word(2), word(3), 0);
  }

  #rewrite(packet: NftPacket, which: End): boolean {
    const { start, transport, end, protocol } = packet;
    const to = this.#target(packet);
    return this.#give(packet, start, transport, end, protocol, which, to, packet.checksumLeft);
  }

  /** What the packet looks like when all its translations are done: what its answer expects. */
  #target(packet: NftPacket): FlowKey {
    const other = packet.track.direction === CtDirection.original ? CtDirection.reply : CtDirection.original;
    this.#conntrack.table.key(packet.track.flow, other, this.#reply);
    this.#to.invert(this.#reply);
    return this.#to;
  }

  #give(
    packet: NftPacket,
    start: number,
    transport: number,
    end: number,
    protocol: number,
    which: End,
    to: FlowKey,
    partial: boolean,
  ): boolean {
    const { addresses } = this.#conntrack;
    const icmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
    const port = icmp || which === End.source ? to.ports >>> 16 : to.ports & 0xffff;
    const address = which === End.source ? to.source : to.destination;
    return rewriteEnd(packet.slab, start, transport, end, protocol, which, address, port, addresses, partial);
  }

  /**
   * An ICMP error is about a packet as it looked where the error comes from; whoever sent that packet knows it as it
   * looked before.
   */
  #translateError(packet: NftPacket, which: End): boolean {
    const { slab, start, transport, end, protocol } = packet;
    const { table } = this.#conntrack;
    const type = slab.bytes[transport]!;
    if (protocol === PROTOCOL_ICMP && type === IcmpType.Redirect) {
      const status = table.status(packet.track.flow);
      const decided = CtStatus.snatDone | CtStatus.dnatDone;
      if ((status & decided) !== decided || (status & (CtStatus.snat | CtStatus.dnat)) !== 0) return false;
    }
    if (!this.#isTranslated(packet, which)) return true;
    const at = transport + ICMP_HEADER_BYTES;
    const other = packet.track.direction === CtDirection.original ? CtDirection.reply : CtDirection.original;
    table.key(packet.track.flow, other, this.#from);
    let quoted: Ipv4Record | Ipv6Record;
    if (packet.nfproto === Nfproto.Ipv6) {
      if (readQuotedIpv6(slab, at, end, this.#quote6) !== Drop.None) return false;
      quoted = this.#quote6;
    } else {
      if (readQuotedIpv4(slab, at, end, this.#quote4) !== Drop.None) return false;
      quoted = this.#quote4;
    }
    const { dataStart, protocol: quotedProtocol } = quoted;
    if (!this.#give(packet, at, dataStart, end, quotedProtocol, opposite(which), this.#from, false)) {
      return false;
    }
    if (protocol === PROTOCOL_ICMP) finishIcmpChecksum(slab, transport, end);
    else {
      const sum = (from: number): number => foldSum(sumWords(slab, from, from + 16, 0));
      finishIcmpv6Checksum(slab, transport, end, sum(start + 8), sum(start + 24));
    }
    return this.#give(packet, start, transport, end, protocol, which, this.#target(packet), false);
  }
}

function opposite(which: End): End {
  return which === End.source ? End.destination : End.source;
}
