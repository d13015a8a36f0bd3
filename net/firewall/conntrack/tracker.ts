import type { Slab } from "../../../base/slab.ts";
import type { Ipv4Record } from "../../wire/ipv4.ts";
import type { NatKind, NatRange } from "../nat/range.ts";
import type { Hook, PacketTrack } from "./state.ts";

/**
 * Connection tracking and NAT, as whoever walks the hooks calls them. For each packet, whole (fragments are put
 * together before), with `ip` describing it in `slab`:
 *
 * - prerouting and output: chains before -200; `track`; chains up to -100; at -100 the NAT step with
 *   `NatKind.destination`; the other chains.
 * - input and postrouting: chains before 100; at 100 the NAT step with `NatKind.source`; the other chains; at the
 *   end `confirm`.
 * - forward: chains only.
 * - dropped anywhere on the way: `release`.
 *
 * The NAT step: while `mayBind`, the chains of type nat of this hook in the order of their priorities; a NAT
 * statement calls `bind`, and so does, with no range, the end of those chains, whatever their verdict but drop. Then `translate`,
 * for every packet that has a flow. The one who walks looks whether `ip.destination` has become another one.
 *
 * Nothing is allocated for a packet. Times are epoch milliseconds.
 */
export interface Tracker {
  /**
   * Finds the flow of a packet, or begins one, and says in `into` what the packet is to it. A packet that was said to be
   * untracked stays so.
   * @returns False when it must be dropped: the table is full, and nothing in it may be given up.
   */
  track(ip: Ipv4Record, slab: Slab, hook: Hook, nowMs: number, into: PacketTrack): boolean;

  /** The flow of a new packet enters the table. @returns False when it must be dropped: another took its place. */
  confirm(track: PacketTrack, nowMs: number): boolean;

  /** The packet goes no further; what it began is forgotten. Harmless for packets that began nothing. */
  release(track: PacketTrack): void;

  /** The packet that we send about another one (a reset, for `reject`) is related to that one's flow. */
  attach(about: PacketTrack, into: PacketTrack): void;

  /** Whether it is still open what becomes of this flow's source or destination: NAT chains are asked. */
  mayBind(track: PacketTrack, kind: NatKind): boolean;

  /**
   * Decides what becomes of a flow's source or destination, once. Without a range nothing is asked for, but a source's
   * port is changed where two flows would else have the same answers.
   * @returns False when no port is free: the packet must be dropped.
   */
  bind(track: PacketTrack, hook: Hook, kind: NatKind, range: NatRange | undefined): boolean;

  /**
   * Rewrites a packet in `slab`, checksums and the quotations of ICMP errors included, and `ip` with it, as
   * its flow demands at this hook.
   * @param partial The TCP checksum is the pseudo-header's only, not inverted: a device fills in the rest.
   * @returns False when the packet must be dropped: what it quotes cannot be read.
   */
  translate(
    ip: Ipv4Record,
    slab: Slab,
    hook: Hook,
    track: PacketTrack,
    partial?: boolean,
  ): boolean;

  /** `ct mark`, as int32; 0 without a flow. */
  mark(track: PacketTrack): number;
  /** `ct mark set`; nothing happens without a flow. */
  setMark(track: PacketTrack, mark: number): void;
  /** `ct status`: bits of `CtStatus`; 0 without a flow. */
  status(track: PacketTrack): number;
  /** `ct expiration`, milliseconds from now; 0 without a flow. */
  expirationMs(track: PacketTrack, nowMs: number): number;
  /** `ct id`: a number that no other living flow has, keyed; 0 without a flow. */
  id(track: PacketTrack): number;
  /** Whether the flow with this id is still there; without it `ct count` counts those that are gone as well. */
  alive?(id: number): boolean;
  /** `ct original|reply saddr` and the like: addresses as int32 or handles. */
  address(track: PacketTrack, direction: number, end: "source" | "destination"): number;
  /** `ct original|reply proto-src` and the like. */
  port(track: PacketTrack, direction: number, end: "source" | "destination"): number;
  /** `ct protocol`. */
  protocol(track: PacketTrack): number;

  /** Flows in the table, and bytes of memory held. */
  readonly size: number;
  readonly byteLength: number;
}
