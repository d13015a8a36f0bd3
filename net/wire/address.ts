/**
 * Addresses: signed 32-bit integers in memory. An IPv4 address is itself; an IPv6 address is a handle of
 * the stack's `AddressTable`, out of 240.0.0.0/8, where no IPv4 host can be.
 *
 * @example
 * ```ts
 * import { formatIpv4, isInPrefix, parseIpv4, parsePrefix } from "@torpor/torpor/net/wire/address.ts";
 * const prefix = parsePrefix("10.0.0.0/8")!;
 * console.log(isInPrefix(parseIpv4("10.1.2.3")!, prefix.address, prefix.prefixLength)); // true
 * console.log(formatIpv4(prefix.address)); // 10.0.0.0
 * ```
 */

/** 0.0.0.0: no address yet, or any. */
export const IPV4_ANY = 0;
/** 255.255.255.255: everyone on this link. */
export const IPV4_BROADCAST = -1;
/** 224.0.0.1: every host on this link, without having to join. */
export const IPV4_ALL_HOSTS: number = 0xe000_0001 | 0;
/** `::` in every address table: no address yet, or any of either family. */
export const IPV6_ANY: number = 0xf000_0000 | 0;

/** Whether `address` stands for an IPv6 address. */
export function isIpv6Handle(address: number): boolean {
  return address >>> 24 === 0xf0;
}

/**
 * The address that `text` names, or `undefined`. Strict: four decimal numbers up to 255, no leading
 * zeros (which some programs read as octal), no blanks.
 */
export function parseIpv4(text: string): number | undefined {
  let address = 0;
  let octet = -1; // none of its digits read
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x2e) {
      if (octet < 0 || ++dots > 3) return undefined;
      address = (address << 8) | octet;
      octet = -1;
    } else if (code >= 0x30 && code <= 0x39) {
      if (octet === 0) return undefined;
      octet = octet < 0 ? code - 0x30 : octet * 10 + code - 0x30;
      if (octet > 255) return undefined;
    } else return undefined;
  }
  return dots === 3 && octet >= 0 ? (address << 8) | octet : undefined;
}

/** `address` as a dotted quad. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** A network: the bits of `address` beyond `prefixLength` may be set, as in an interface's address. */
export interface Ipv4Prefix {
  address: number;
  /** 0 to 32. */
  prefixLength: number;
}

/** The prefix that `text` names, as in `10.0.0.0/8`; a bare address is its own /32. Else `undefined`. */
export function parsePrefix(text: string): Ipv4Prefix | undefined {
  const slash = text.indexOf("/");
  const address = parseIpv4(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  if (slash < 0) return { address, prefixLength: 32 };
  const digits = text.slice(slash + 1);
  if (!/^(0|[12]\d?|3[0-2]?|[4-9])$/.test(digits)) return undefined;
  return { address, prefixLength: Number(digits) };
}

/** The mask with the first `prefixLength` bits set. */
export function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength); // a shift by 32 would be a shift by 0
}

/** Whether `address` lies in the network of `prefix`. */
export function isInPrefix(address: number, prefix: number, prefixLength: number): boolean {
  return ((address ^ prefix) & maskOf(prefixLength)) === 0;
}

/** 0.0.0.0 or `::`. */
export function isUnspecified(address: number): boolean {
  return (address | 0) === IPV4_ANY || (address | 0) === IPV6_ANY;
}

/** 127.0.0.0/8. */
export function isLoopback(address: number): boolean {
  return address >>> 24 === 127;
}

/** 224.0.0.0/4. */
export function isMulticast(address: number): boolean {
  return address >>> 28 === 14;
}

/** 255.255.255.255; a subnet's own broadcast address is `isSubnetBroadcast`'s. */
export function isBroadcast(address: number): boolean {
  return (address | 0) === IPV4_BROADCAST;
}

/** Whether `address` is the last of its network; /31 and /32 have no broadcast address (RFC 3021). */
export function isSubnetBroadcast(address: number, prefix: number, prefixLength: number): boolean {
  if (prefixLength > 30) return false;
  return (address | 0) === (prefix | ~maskOf(prefixLength));
}

/** Whether a socket or listener bound to `bound` hears what is sent to `address`. */
export function hears(bound: number, address: number): boolean {
  return bound === address || bound === IPV6_ANY || (bound === IPV4_ANY && !isIpv6Handle(address));
}

/** Whether two cannot be bound to one port: the same address, or two wildcards with a family in common. */
export function bindsClash(one: number, other: number): boolean {
  return one === other || (isUnspecified(one) && isUnspecified(other));
}
