import type { Link } from "../link/link.ts";
import type { Neighbors, NeighborSink } from "./neighbors.ts";

/** What the stack needs of a link to send. */
export type LinkOutput = Pick<Link, "medium" | "mtu" | "trainBytesMax" | "send" | "flush">;

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
  /** The same by IPv6 address (RFC 4861). */
  readonly neighbors6: Neighbors | undefined;
  readonly neighborSink6: NeighborSink;
  /** The longest packets here, by family: what the link carries now, or less when a server or router says so. */
  readonly mtu4: number;
  readonly mtu6: number;
  /** See `Link.trainBytesMax`; 0 on an Ethernet, where packets may have to wait for a neighbour. */
  readonly trainBytesMax: number;
  /** What a DHCP server allows for IPv4, and a router for IPv6. */
  mtuMax4: number;
  mtuMax6: number;
  /** An IPv4 address that was asked about and nobody may have (RFC 5227), 0 for none; and whether somebody has. */
  watched: number;
  claimed: boolean;
  /** When we last insisted on an address of ours. */
  defendedMs: number;
  /** The hop limit of IPv6 packets: the default until a router says otherwise. */
  hopLimit6: number;
  /** Frames were sent since the last flush. */
  dirty: boolean;
}

/** The hop limit until a router advertises another (RFC 4861 section 6.3.2). */
export const HOP_LIMIT_DEFAULT = 64;
