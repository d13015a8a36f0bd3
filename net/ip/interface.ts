import type { Link } from "../link/link.ts";
import type { Neighbors, NeighborSink } from "./neighbors.ts";

/** What the stack needs of a link to send. */
export type LinkOutput = Pick<Link, "medium" | "mtu" | "trainBytesMax" | "send" | "sendGathered" | "flush">;

/** The hop limit until a router advertises another (RFC 4861 section 6.3.2). */
export const HOP_LIMIT_DEFAULT = 64;

/** What an interface is made with. */
export type InterfaceParts = Pick<
  Interface,
  "index" | "name" | "link" | "macHi" | "macLo" | "neighbors" | "neighbors6" | "trainBytesMax"
>;

/**
 * One interface of a stack: a link, its station address and the stations known on it. A class, because an object that is
 * written down with getters is a dictionary to V8, and each packet reads it.
 */
export class Interface {
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
  /** See `Link.trainBytesMax`; 0 on an Ethernet, where packets may have to wait for a neighbour. */
  readonly trainBytesMax: number;
  /** What a DHCP server allows for IPv4, and a router for IPv6. */
  mtuMax4 = Infinity;
  mtuMax6 = Infinity;
  /** An IPv4 address that was asked about and nobody may have (RFC 5227), 0 for none; and whether somebody has. */
  watched = 0;
  claimed = false;
  /** When we last insisted on an address of ours. */
  defendedMs = -Infinity;
  /** The hop limit of IPv6 packets: the default until a router says otherwise. */
  hopLimit6: number = HOP_LIMIT_DEFAULT;
  /** Frames were sent since the last flush. */
  dirty = false;

  constructor(parts: InterfaceParts, sinkOf: (added: Interface, ipv6: boolean) => NeighborSink) {
    this.index = parts.index;
    this.name = parts.name;
    this.link = parts.link;
    this.macHi = parts.macHi;
    this.macLo = parts.macLo;
    this.neighbors = parts.neighbors;
    this.neighbors6 = parts.neighbors6;
    this.trainBytesMax = parts.trainBytesMax;
    this.neighborSink = sinkOf(this, false);
    this.neighborSink6 = sinkOf(this, true);
  }

  /** The longest packets here, by family: what the link carries now, or less when a server or router says so. */
  get mtu4(): number {
    return Math.min(this.link.mtu, this.mtuMax4);
  }
  get mtu6(): number {
    return Math.min(this.link.mtu, this.mtuMax6);
  }

  /** When its neighbours want `advance`, epoch milliseconds; `Infinity` for never. */
  nextDeadlineMs(): number {
    const deadlineMs = this.neighbors === undefined ? Infinity : this.neighbors.nextDeadlineMs();
    return this.neighbors6 === undefined
      ? deadlineMs
      : Math.min(deadlineMs, this.neighbors6.nextDeadlineMs());
  }

  /** Asks, asks again and forgets neighbours, as is due. */
  advance(nowMs: number): void {
    this.neighbors?.advance(nowMs, this.neighborSink);
    this.neighbors6?.advance(nowMs, this.neighborSink6);
  }
}
