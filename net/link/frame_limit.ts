import type { Medium } from "./link.ts";

/** Ethernet's header (IEEE 802.3): two addresses and a type. There is no FCS on a link. */
const ETHERNET_HEADER_BYTES = 14;

/** Room for one 802.1Q tag, which does not count against the MTU. */
const VLAN_TAG_BYTES = 4;

/** The largest MTU a link takes: IPv4's total length field is 16 bits wide. */
export const MTU_MAX = 65_535;

/** The smallest MTU a link takes: every IPv4 module must forward 68 bytes unfragmented (RFC 791). */
export const MTU_MIN = 68;

/** The longest frame that a link of this medium and MTU carries, in bytes. */
export function frameBytesMax(medium: Medium, mtu: number): number {
  return medium === "ethernet" ? mtu + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES : mtu;
}

/**
 * Returns `mtu` when a link can have it.
 * @throws {RangeError} When it is not a whole number from 68 to 65,535.
 */
export function checkMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < MTU_MIN || mtu > MTU_MAX) {
    throw new RangeError(
      `Cannot make link: mtu is ${mtu}, need a whole number from ${MTU_MIN} to ${MTU_MAX}`,
    );
  }
  return mtu;
}
