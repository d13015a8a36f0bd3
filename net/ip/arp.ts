import type { Slab } from "../../base/slab.ts";
import { isIpv6Handle, isUnspecified } from "../wire/address.ts";
import { ArpOperation, ArpRecord, readArp } from "../wire/arp.ts";
import { Drop } from "../wire/drop.ts";
import { MAC_BROADCAST } from "../wire/mac.ts";
import type { Interface } from "./interface.ts";
import { Evidence } from "./neighbors.ts";
import type { IpOutput } from "./output.ts";

/** RFC 5227 section 1.1: how often an address is defended. */
const DEFEND_INTERVAL_MS = 10_000;

/** What stations on an Ethernet say of their IPv4 addresses (RFC 826), and conflicts over ours (RFC 5227). */
export class Arp {
  readonly #output: IpOutput;
  readonly #arp = new ArpRecord();

  constructor(output: IpOutput) {
    this.#output = output;
  }

  /**
   * An ARP packet arrives.
   * @param toAll It was sent to everyone.
   */
  input(from: Interface, toAll: boolean, slab: Slab, start: number, end: number, nowMs: number): Drop {
    const arp = this.#arp;
    const { routes } = this.#output;
    const reason = readArp(slab, start, end, arp);
    if (reason !== Drop.None) return reason;
    const { senderIp, senderHi, senderLo, targetIp } = arp;
    if (isIpv6Handle(senderIp) || isIpv6Handle(targetIp)) return Drop.ArpMalformed; // class E is nobody's
    const forUs = routes.isOurs(targetIp);
    this.#watch(from, arp, nowMs);
    if (!isUnspecified(senderIp) && !routes.isOurs(senderIp)) {
      const evidence = !forUs || (toAll && arp.operation === ArpOperation.Reply)
        ? Evidence.Announcement
        : arp.operation === ArpOperation.Request
        ? Evidence.Request
        : Evidence.Reply;
      from.neighbors!.learn(senderIp, senderHi, senderLo, evidence, nowMs, from.neighborSink);
    }
    if (forUs && arp.operation === ArpOperation.Request) {
      this.#output.frames.sendArp(from, ArpOperation.Reply, targetIp, senderIp, senderHi, senderLo);
    }
    return Drop.None;
  }

  /** Asks who has an address that shall be ours (RFC 5227 section 2.1.1): see `claimed`. */
  probe(interfaceIndex: number, address: number): void {
    const through = this.#output.interfaces[interfaceIndex]!;
    if (through.watched !== address) through.claimed = false;
    through.watched = address;
    const { hi, lo } = MAC_BROADCAST;
    this.#output.frames.sendArp(through, ArpOperation.Request, 0, address, hi, lo);
  }

  /** The address that was asked about, if somebody has it; asking ends with that. 0 for nobody. */
  claimed(interfaceIndex: number): number {
    const through = this.#output.interfaces[interfaceIndex]!;
    const { watched } = through;
    if (!through.claimed) return 0;
    through.watched = 0;
    through.claimed = false;
    return watched;
  }

  /** Tells everyone on an Ethernet that an address is ours (RFC 5227 section 2.3). */
  announce(interfaceIndex: number, address: number): void {
    const through = this.#output.interfaces[interfaceIndex]!;
    if (through.neighbors === undefined) return;
    through.watched = 0;
    through.claimed = false;
    const { hi, lo } = MAC_BROADCAST;
    this.#output.frames.sendArp(through, ArpOperation.Request, address, address, hi, lo);
  }

  /** RFC 5227: whether somebody else has, or is about to take, an address that is ours or shall be. */
  #watch(from: Interface, arp: ArpRecord, nowMs: number): void {
    const { senderIp, senderHi, senderLo, targetIp } = arp;
    if (senderHi === from.macHi && senderLo === from.macLo) return; // our own words
    const probes = isUnspecified(senderIp) && targetIp === from.watched;
    if (from.watched !== 0 && (senderIp === from.watched || probes)) from.claimed = true;
    const taken = !isUnspecified(senderIp) && this.#output.routes.interfaceOf(senderIp) === from.index;
    if (!taken) return;
    this.#output.drops.count(Drop.ArpConflict);
    if (nowMs - from.defendedMs < DEFEND_INTERVAL_MS) return; // section 2.4 (b): or two would shout for ever
    from.defendedMs = nowMs;
    this.announce(from.index, senderIp);
  }
}
