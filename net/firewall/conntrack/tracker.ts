import type { NatRequest } from "../nat/range.ts";
import type { FlowNames } from "../names/flow_names.ts";
import type { NftPacket } from "../nft/packet.ts";
import type { PacketTrack } from "./state.ts";

/** The `nat` chains of a hook, asked for the first packet of a flow. */
export interface NatRules {
  /**
   * Walks those of `packet.hook` in their order, until a statement asks for something, and fills `into`; where none does,
   * `into.kind` stays `NatKind.none`.
   * @returns False when a rule said drop.
   */
  ask(packet: NftPacket, into: NatRequest): boolean;
}

/**
 * Connection tracking and NAT, as whoever walks the hooks calls them. For each packet, whole (fragments are put
 * together before), `packet.hook` being where it is:
 *
 * - prerouting and output: chains before -200; `track`; chains up to -100; `translate`; the other chains.
 * - input and postrouting: chains up to 100; `translate`; the other chains; at the end `confirm`.
 * - forward: chains only.
 * - dropped, or taken, anywhere on the way: `release`. What is not released goes when the next packet begins its way.
 *
 * `translate` is called only while there are `nat` chains for the packet's family in any hook, as the kernel does. After
 * it the packet's destination may be another one: it is looked for in the routes afterwards, at output again.
 *
 * A packet to ourselves that has passed output is tracked; before its prerouting `track` is put back as it was.
 *
 * Nothing is allocated for a packet.
 */
export interface Tracker {
  /**
   * Finds the flow of a packet, or begins one, and says in `packet.track` what the packet is to it. A packet that was
   * said to be untracked stays so, and one that has a flow keeps it.
   * @returns False when it must be dropped: the table is full, and nothing in it may be given up.
   */
  track(packet: NftPacket): boolean;

  /**
   * Decides what becomes of a new flow's source (at input and postrouting) or destination, asking `rules`; then rewrites
   * the packet in its slab as its flow demands, checksums and the quotations of ICMP errors included.
   * @returns False when it must be dropped.
   */
  translate(packet: NftPacket, rules: NatRules): boolean;

  /** The flow of a new packet enters the table. @returns False when it must be dropped: another took its place. */
  confirm(packet: NftPacket): boolean;

  /** The packet goes no further; what it began is forgotten. Harmless for packets that began nothing. */
  release(packet: NftPacket): void;

  /** The packet that we send about another one (a reset, for `reject`) is related to that one's flow. */
  attach(about: NftPacket, into: NftPacket): void;

  // What `ct` expressions read and write. The packet has a flow.

  /** `ct mark`, as int32. */
  mark(track: PacketTrack): number;
  setMark(track: PacketTrack, mark: number): void;
  /** `ct zone`. */
  zone(track: PacketTrack): number;
  /** `ct status`: bits of `CtStatus`. */
  status(track: PacketTrack): number;
  /** `ct expiration`, milliseconds from now. */
  expirationMs(track: PacketTrack, nowMs: number): number;
  /** `ct id`: a number that no other flow has or had lately. */
  id(track: PacketTrack): number;
  /** Whether the flow with this id is still there, and not closing: whether `ct count` counts it. */
  alive(id: number): boolean;
  /** `ct original|reply saddr` and the like: addresses as int32 or handles. */
  address(track: PacketTrack, direction: number, end: "source" | "destination"): number;
  /** `ct original|reply proto-src` and the like. */
  port(track: PacketTrack, direction: number, end: "source" | "destination"): number;
  /** `ct protocol`. */
  protocol(track: PacketTrack): number;
  /** `ct original|reply packets`, and bytes: 0 while nothing is counted. */
  packets(track: PacketTrack, direction: number): number;
  bytes(track: PacketTrack, direction: number): number;

  /** What flows have said first: `tls sni` and its like. */
  readonly names: FlowNames;

  /** Flows in the table, and bytes of memory held. */
  readonly size: number;
  readonly byteLength: number;
}
