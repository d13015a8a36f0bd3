/**
 * Ethernet addresses: 48 bits fit no small integer, so they travel as a pair, the first two bytes in
 * `hi` (0 to 65535) and the last four in `lo` (a signed 32-bit integer). Comparing is two `===`.
 *
 * @example
 * ```ts
 * import { formatMac, parseMac } from "@torpor/torpor/net/wire/mac.ts";
 * const mac = parseMac("02:00:00:00:00:2a")!;
 * console.log(mac.hi, mac.lo, formatMac(mac.hi, mac.lo)); // 512 42 02:00:00:00:00:2a
 * ```
 */
export interface Mac {
  hi: number;
  lo: number;
}

/** ff:ff:ff:ff:ff:ff: everyone on this link. */
export const MAC_BROADCAST: Readonly<Mac> = { hi: 0xffff, lo: -1 };

/** The address that `text` names, six hexadecimal pairs between colons or hyphens; else `undefined`. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[\da-f]{2}([:-][\da-f]{2}){5}$/i.test(text)) return undefined;
  const digits = text.replaceAll(/[:-]/g, "");
  return { hi: parseInt(digits.slice(0, 4), 16), lo: parseInt(digits.slice(4), 16) | 0 };
}

/** As in `02:00:00:00:00:2a`. */
export function formatMac(hi: number, lo: number): string {
  const digits = hi.toString(16).padStart(4, "0") + (lo >>> 0).toString(16).padStart(8, "0");
  return digits.replaceAll(/..(?=.)/g, "$&:");
}

/** Whether the address names a group: multicast or broadcast. */
export function isGroupMac(hi: number): boolean {
  return (hi & 0x0100) !== 0;
}

/** Whether the address is the broadcast address. */
export function isBroadcastMac(hi: number, lo: number): boolean {
  return hi === MAC_BROADCAST.hi && lo === MAC_BROADCAST.lo;
}

/** `lo` of the group that carries an IPv4 multicast address; its `hi` is {@linkcode MULTICAST_MAC_HI}. */
export function multicastMacLo(address: number): number {
  return 0x5e00_0000 | (address & 0x007f_ffff); // RFC 1112 section 6.4: 01:00:5e and the low 23 bits
}

/** The first two bytes of every IPv4 multicast group's address. */
export const MULTICAST_MAC_HI = 0x0100;

/** The first two bytes of every IPv6 multicast group's address; the last four are the group's own (RFC 2464). */
export const MULTICAST6_MAC_HI = 0x3333;
