import type { NftPacket } from "./packet.ts";

/** What `fib` expressions ask of the routes. Addresses stand in the packet. */
export interface Fib {
  /** `fib saddr type` and the like: RTN_ numbers (1 unicast, 2 local, 3 broadcast, 5 multicast, 7 unreachable). */
  type(packet: NftPacket, destination: boolean, interfaceIndex: number): number;
  /**
   * The largest segment of TCP that fits the way to where the packet goes, and the one back to its source if there is one:
   * the kernel's get_tcpmss(). -1 where the packet has no way yet.
   */
  mss(packet: NftPacket): number;
  /** The interface by which the address is reached, restricted to `interfaceIndex` unless -1; -1 for none. */
  oif(packet: NftPacket, destination: boolean, interfaceIndex: number): number;
}
