import { formatIpv4, parseIpv4 } from "../wire/address.ts";

/** The two ends of an IPv4 connection; addresses as int32, in host order. */
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
 * import assert from "node:assert/strict";
 * const name = formatTuple(0x0a070001, 80, 0x0a090004, 51312);
 * assert.equal(name, "10.7.0.1:80-10.9.0.4:51312");
 * assert.equal(parseTuple(name).remotePort, 51312);
 * ```
 */
export function formatTuple(
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
): string {
  return `${formatIpv4(localAddress)}:${localPort}-${formatIpv4(remoteAddress)}:${remotePort}`;
}

const TUPLE = /^([0-9.]+):(0|[1-9][0-9]{0,4})-([0-9.]+):(0|[1-9][0-9]{0,4})$/;

/**
 * Reads the text form of a connection: exactly what {@linkcode formatTuple} writes, so that a connection
 * has one name only.
 *
 * @throws {TypeError} When `text` is anything else (a leading zero, a space, a number too large).
 */
export function parseTuple(text: string): Tuple {
  const parts = TUPLE.exec(text);
  const localAddress = parseIpv4(parts?.[1] ?? "");
  const localPort = Number(parts?.[2]);
  const remoteAddress = parseIpv4(parts?.[3] ?? "");
  const remotePort = Number(parts?.[4]);
  if (
    localAddress === undefined || remoteAddress === undefined || localPort > 65_535 || remotePort > 65_535
  ) {
    throw new TypeError(`Cannot read connection "${text}": need the form "10.7.0.1:80-10.9.0.4:51312"`);
  }
  return { localAddress, localPort, remoteAddress, remotePort };
}
