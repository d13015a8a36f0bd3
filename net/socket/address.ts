import type { AddressTable } from "../ip/address_table.ts";
import { formatIpv4, IPV6_ANY, isIpv6Handle, isLoopback } from "../wire/address.ts";
import type { NetAddr } from "./types.ts";

/** What to say to somebody who looks for this host at 127.0.0.1, where Deno's would be. */
export const LOOPBACK_HINT =
  "loopback is the machine's, not this host's; leave the hostname out to reach this host";

/** @throws {TypeError} When it is no address. */
export function addressOf(hostname: string, addresses: AddressTable): number {
  const address = addresses.parse(hostname);
  if (address !== undefined) return address;
  if (/^(.*\.)?localhost\.?$/i.test(hostname)) {
    throw new TypeError(`"${hostname}" is not reached here: ${LOOPBACK_HINT}`);
  }
  throw new TypeError(`"${hostname}" is not an IP address`);
}

/** 127.0.0.0/8 or `::1`. */
export function isLoopbackOf(address: number, addresses: AddressTable): boolean {
  return isIpv6Handle(address) ? addresses.format(address) === "::1" : isLoopback(address);
}

/**
 * One end as an application sees it. Through a socket of both families, bound to `::`, an IPv4 address is
 * IPv4-mapped, as on Linux.
 */
export function netAddr(
  transport: "tcp" | "udp",
  address: number | Uint8Array,
  port: number,
  bound: number,
  addresses: AddressTable,
): NetAddr {
  const mapped = bound === IPV6_ANY && typeof address === "number" && !isIpv6Handle(address);
  const hostname = mapped ? `::ffff:${formatIpv4(address)}` : addresses.formatLasting(address);
  return { transport, hostname, port };
}

/** @throws {RangeError} When `port` is not a whole number from `least` to 65535. */
export function checkPort(port: number, least: number): void {
  if (Number.isInteger(port) && port >= least && port <= 65535) return;
  throw new RangeError(`Invalid port (out of range): ${port}`); // as Deno says it
}
