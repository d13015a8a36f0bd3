import { parseIpv4 } from "../wire/address.ts";

/** What to say to somebody who looks for this host at 127.0.0.1, where Deno's would be. */
export const LOOPBACK_HINT =
  "loopback is the machine's, not this host's; leave the hostname out to reach this host";

/** @throws {TypeError} When it is no address: names are not resolved. */
export function addressOf(hostname: string): number {
  const address = parseIpv4(hostname);
  if (address !== undefined) return address;
  if (hostname === "localhost") throw new TypeError(`"localhost" is not reached here: ${LOOPBACK_HINT}`);
  throw new TypeError(`"${hostname}" is not an IPv4 address; names are not resolved yet`);
}

/** @throws {TypeError} When `port` is not a whole number from `least` to 65535. */
export function checkPort(port: number, least: number): void {
  if (Number.isInteger(port) && port >= least && port <= 65535) return;
  throw new TypeError(`Port ${port} is not a whole number from ${least} to 65535`);
}
