import type { Hook, NftPacket } from "./packet.ts";

/** What a `nat` chain asks for: who evaluates it fills one. */
export class NatRequest {
  /** No rule asked for anything. */
  static readonly None = 0;
  static readonly Snat = 1;
  static readonly Dnat = 2;
  static readonly Masquerade = 3;
  static readonly Redirect = 4;

  kind = 0;
  /** `Nfproto` of the addresses; those stand as 16 bytes, an IPv4 address in the first four. */
  nfproto = 0;
  readonly addressMin: Uint8Array = new Uint8Array(16);
  readonly addressMax: Uint8Array = new Uint8Array(16);
  /** Whether the rule names an address, and a port. */
  hasAddress = false;
  hasPort = false;
  portMin = 0;
  portMax = 0;
  /** `random` (also "fully-random") and `persistent`. */
  random = false;
  persistent = false;
  /** `prefix`: network bits are exchanged, host bits stay. */
  prefix = false;
}

/** The `nat` chains of a hook, evaluated for the first packet of a connection. */
export interface NatRules {
  /** Whether there is any chain of type nat in the hook for the packet's family. */
  has(packet: NftPacket): boolean;
  /**
   * Walks them in order. Fills `into`, with kind `NatRequest.None` where no rule spoke.
   * @returns False when a rule said drop.
   */
  ask(packet: NftPacket, into: NatRequest): boolean;
}

/**
 * Connection tracking and address translation, as rules and hooks see them. The hooks call it where the kernel's
 * own stand: `track` at priority -200 in prerouting and output, `translate` at -100 in prerouting and output and
 * at 100 in input and postrouting, `confirm` last in input and postrouting.
 *
 * An entry is known by the number in `NftPacket.ct`, which is its for the packet's whole way.
 */
export interface Tracker {
  /**
   * Finds the packet's connection, or begins one that is not confirmed yet; fills `ct`, `ctState` and
   * `ctDirection`.
   * @returns False when the packet has to be dropped: the table is full.
   */
  track(packet: NftPacket): boolean;
  /**
   * Rewrites the packet, in place, as its connection says; asks `rules` first where the connection is new.
   * @returns False when it has to be dropped.
   */
  translate(packet: NftPacket, hook: Hook, rules: NatRules): boolean;
  /** The packet has passed everything: its connection begins to count. False: another has taken its place. */
  confirm(packet: NftPacket): boolean;

  // What `ct` expressions read and write. `ct` is never NO_CT.
  mark(ct: number): number;
  setMark(ct: number, mark: number): void;
  /** `ct status`, the kernel's IPS_ bits. */
  status(ct: number): number;
  /** Seconds until it expires. */
  expiration(ct: number): number;
  packets(ct: number, direction: 0 | 1): number;
  bytes(ct: number, direction: 0 | 1): number;
  /** `Nfproto` and protocol number. */
  nfproto(ct: number): number;
  protocol(ct: number): number;
  /** The tuple of a direction: 4 or 16 bytes of address, written at `at`. */
  address(ct: number, direction: 0 | 1, destination: boolean, into: Uint8Array, at: number): void;
  port(ct: number, direction: 0 | 1, destination: boolean): number;
  /** A number that no other entry has had: for those who remember entries (`ct count`). */
  id(ct: number): number;
  /** Whether the entry with this `id` is still there and not closing. */
  alive(id: number): boolean;
}

/** What `fib` expressions ask of the routes. Addresses stand in the packet. */
export interface Fib {
  /** `fib saddr type` and the like: RTN_ numbers (1 unicast, 2 local, 3 broadcast, 5 multicast, 7 unreachable). */
  type(packet: NftPacket, destination: boolean, interfaceIndex: number): number;
  /** The interface by which the address is reached, restricted to `interfaceIndex` unless -1; -1 for none. */
  oif(packet: NftPacket, destination: boolean, interfaceIndex: number): number;
}
