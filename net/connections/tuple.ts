import type { AddressTable } from "../ip/address_table.ts";

/** The two ends of a connection; addresses as int32, IPv6 ones as handles. */
export interface Tuple {
  localAddress: number;
  localPort: number;
  remoteAddress: number;
  remotePort: number;
}

/**
 * The text form of a connection, local end first: its public name, the same before sleep, after it, and after
 * a restart.
 *
 * @example
 * ```ts
 * import { formatTuple, parseTuple } from "@torpor/torpor/net/connections/tuple.ts";
 * import { AddressTable } from "@torpor/torpor/net/ip/address_table.ts";
 * import { Prng } from "@torpor/torpor/base/random.ts";
 * import assert from "node:assert/strict";
 * const addresses = new AddressTable({ entropy: new Prng(1) });
 * const name = formatTuple(0x0a070001, 80, 0x0a090004, 51312, addresses);
 * assert.equal(name, "10.7.0.1:80-10.9.0.4:51312");
 * assert.equal(parseTuple(name, addresses).remotePort, 51312);
 * const peer = addresses.parse("2001:db8::2")!;
 * assert.equal(formatTuple(peer, 80, peer, 9, addresses), "[2001:db8::2]:80-[2001:db8::2]:9");
 * ```
 */
export function formatTuple(
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
  addresses: AddressTable,
): string {
  return joinEnds(addresses.format(localAddress), localPort, addresses.format(remoteAddress), remotePort);
}

/** As `formatTuple`, of addresses that are text. */
export function joinEnds(local: string, localPort: number, remote: string, remotePort: number): string {
  return `${endOf(local, localPort)}-${endOf(remote, remotePort)}`;
}

function endOf(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

const END = String.raw`(?:([0-9.]+)|\[([0-9a-f:.]+(?:%[^\]]+)?)\]):(0|[1-9][0-9]{0,4})`;
const TUPLE = new RegExp(`^${END}-${END}$`);

/**
 * Reads the text form of a connection: exactly what {@linkcode formatTuple} writes, so that a connection
 * has one name only.
 *
 * @throws {TypeError} When `text` is anything else (a leading zero, a space, a number too large).
 */
export function parseTuple(text: string, addresses: AddressTable): Tuple {
  const parts = TUPLE.exec(text) ?? [];
  const localAddress = addresses.parse(parts[1] ?? parts[2] ?? "");
  const localPort = Number(parts[3]);
  const remoteAddress = addresses.parse(parts[4] ?? parts[5] ?? "");
  const remotePort = Number(parts[6]);
  if (
    localAddress === undefined || remoteAddress === undefined || localPort > 65_535 || remotePort > 65_535 ||
    formatTuple(localAddress, localPort, remoteAddress, remotePort, addresses) !== text
  ) {
    throw new TypeError(
      `Cannot read connection "${text}": need the form "10.7.0.1:80-10.9.0.4:51312" or "[2001:db8::1]:80-[...]:9"`,
    );
  }
  return { localAddress, localPort, remoteAddress, remotePort };
}
